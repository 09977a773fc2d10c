"""memcached over UDP: each datagram is a conversation of its own.

It may hold several commands; the reply to each is cut into datagrams and numbered by itself, as is each hit of a text
``get`` of several keys. One limit holds for all the replies to a datagram together.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Protocol, TypeAlias

from memproto import (
    AnyReply,
    AnyRequest,
    ClassicEnvelope,
    Dialect,
    Envelope,
    Get,
    Quit,
    RemoteProtocolError,
    ServerConnection,
    Values,
)
from memproto.server.log import log
from memproto.server.session import Hangup
from memproto.text import encode_reply
from memproto.udp import PAYLOAD_SIZE, accept_request, split

_END = b"END\r\n"
_MISS = Values()
#: How many datagrams wait while others are answered; more are dropped, as datagrams may be.
MAX_WAITING = 64

Address: TypeAlias = tuple[str, int]


class Host(Protocol):
    """What datagrams ask of their server."""

    requests_per_turn: int
    datagrams_per_reply: int
    bytes_read: int
    bytes_written: int

    def connection(self) -> ServerConnection:
        """A connection for one datagram."""
        ...

    def commit(self) -> bool:
        """Write all changes to the journal; whether that was possible."""
        ...

    def now(self) -> float:
        """The time for the engine, in Unix seconds."""
        ...

    def execute(self, request: AnyRequest, now: float) -> AnyReply:
        """Execute a request. Raises ``Hangup``."""
        ...


class Datagrams(asyncio.DatagramProtocol):
    """Answers datagrams one after the other, in turns with the other clients.

    A turn is as many commands as the host allows. What the network does not take yet is kept, and nothing
    is answered until it takes more; meanwhile :data:`MAX_WAITING` datagrams wait.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._transport: asyncio.DatagramTransport | None = None
        self._write_paused = False
        self._waiting: deque[tuple[bytes, Address]] = deque()
        self._conversation: Conversation | None = None
        self._unsent: deque[bytes] = deque()
        self._next_turn: asyncio.Handle | None = None

    # asyncio's own is a DatagramTransport; uvloop's is one in all but inheritance.
    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        """Keep the transport."""
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop the datagrams that wait."""
        self._transport = None
        if self._next_turn is not None:
            self._next_turn.cancel()

    def pause_writing(self) -> None:
        """Send nothing until the network takes more."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """Go on sending."""
        self._write_paused = False
        self._go_on_later()

    def error_received(self, exc: Exception) -> None:
        """Log that a datagram could not be delivered."""
        log.info("datagram: %s", exc)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        """Answer one datagram, once those before it are answered."""
        if self._transport is None or len(self._waiting) >= MAX_WAITING:
            return
        self._host.bytes_read += len(data)
        self._waiting.append((data, addr))
        if self._next_turn is None and not self._write_paused:
            self._answer()

    def _go_on_later(self) -> None:
        if self._next_turn is None:
            self._next_turn = asyncio.get_running_loop().call_soon(self._answer)

    def _answer(self) -> None:
        """One turn."""
        self._next_turn = None
        if self._conversation is None and self._waiting:
            self._conversation = Conversation(self._host, *self._waiting.popleft())
        conversation = self._conversation
        if conversation is not None:
            if not self._unsent:
                self._unsent += conversation.turn()
            self._send(conversation.addr)
            if conversation.over and not self._unsent:
                self._conversation = None
        if not self._write_paused and (self._conversation is not None or self._waiting):
            self._go_on_later()

    def _send(self, addr: Address) -> None:
        unsent, transport = self._unsent, self._transport
        while unsent and transport is not None and not self._write_paused:
            datagram = unsent.popleft()
            self._host.bytes_written += len(datagram)
            transport.sendto(datagram, addr)


class Conversation:
    """The commands of one datagram, and the replies to them."""

    def __init__(self, host: Host, data: bytes, addr: Address) -> None:
        self.addr = addr
        self._host = host
        self._connection = host.connection()
        self._datagrams_left = host.datagrams_per_reply
        self._limit_logged = False
        self._last_empty = False
        request = accept_request(data)
        #: Whether there are no more commands.
        self.over: bool = request is None
        self._request_id = 0 if request is None else request.request_id
        if request is not None:
            self._connection.receive_data(request.payload)

    def turn(self) -> list[bytes]:
        """Execute as many commands as one turn allows; the datagrams that answer them."""
        datagrams: list[bytes] = []
        now = self._host.now()
        for _ in range(0 if self.over else self._host.requests_per_turn):
            try:
                event = self._connection.next_event()
                if not isinstance(event, Envelope):
                    self.over = True
                    break
                datagrams += self._replies(self._host.execute(event.request, now), event)
            except RemoteProtocolError as error:
                log.info("%s: %s", self.addr, error)
                self.over = True
                datagrams += self._datagrams(error.reply_hint)
                break
            except Hangup:
                self.over = True
                break
        # If nothing can be committed, nothing is done and nothing sent, as if the datagram had been lost.
        return datagrams if self._host.commit() else []

    def _replies(self, reply: AnyReply, to: Envelope) -> Iterator[bytes]:
        if isinstance(to, ClassicEnvelope) and isinstance(reply, Values) and len(reply.items) > 1:
            self._connection.send(_MISS, to)  # the connection need not encode what is sent item by item
            last = len(reply.items) - 1
            for number, item in enumerate(reply.items):
                if self._datagrams_left < _needed(len(item.value)):
                    return self._refuse()
                # As the reply to a get of this key alone: among many keys each item would be sought again.
                message = encode_reply(Values((item,)), to.replace(request=Get((item.key,))))
                yield from self._datagrams(message if number == last else message.removesuffix(_END))
            return None
        # Without copying the value, which may be too long.
        parts = self._connection.send_parts(reply, to)
        if self._datagrams_left < _needed(sum(map(len, parts))):
            return self._refuse()
        silent = to.dialect is Dialect.BINARY or isinstance(to.request, Quit)
        yield from self._datagrams(b"".join(parts), silent)

    def _datagrams(self, message: bytes, silent: bool = False) -> list[bytes]:
        """Cut one message; an empty ``silent`` one is a bare header, once for many in a row, as in memcached."""
        again, self._last_empty = self._last_empty, silent and not message
        if again and self._last_empty:
            return []
        datagrams = split(message, self._request_id, header_if_empty=silent)
        if self._datagrams_left < len(datagrams):
            self._refuse()
            return []
        self._datagrams_left -= len(datagrams)
        return datagrams

    def _refuse(self) -> None:
        """Send nothing: the source may be forged, and the replies would flood a host that sent no request."""
        if not self._limit_logged:
            self._limit_logged = True
            log.info("%s: replies of more than %s datagrams are not sent", self.addr, self._host.datagrams_per_reply)


def _needed(size: int) -> int:
    """How many datagrams so many bytes need."""
    return -(-size // PAYLOAD_SIZE)
