"""memcached over UDP: every datagram is a conversation of its own.

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
from memproto.server.session import Hangup, log
from memproto.text import encode_reply
from memproto.udp import PAYLOAD_SIZE, accept_request, split

_END = b"END\r\n"
_MISS = Values()
#: So many datagrams wait while others are answered; more are lost, as datagrams may be.
MOST_WAITING = 64

Address: TypeAlias = tuple[str, int]


class Host(Protocol):
    """What datagrams ask of the server they belong to."""

    requests_per_turn: int
    datagrams_per_reply: int
    bytes_read: int
    bytes_written: int

    def connection(self) -> ServerConnection:
        """A connection for one datagram."""
        ...

    def settle(self) -> bool:
        """Write to the disk what has changed; whether that was possible."""
        ...

    def now(self) -> float:
        """The time for the engine, in Unix seconds."""
        ...

    def execute(self, request: AnyRequest, now: float) -> AnyReply:
        """Carry out a request. Raises ``Hangup``."""
        ...


class Datagrams(asyncio.DatagramProtocol):
    """Answers datagrams one after the other, in turns with the other clients.

    A turn is as many commands as the host allows. What the network does not take yet is kept, and nothing
    is answered until it takes more; meanwhile :data:`MOST_WAITING` datagrams wait.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._transport: asyncio.DatagramTransport | None = None
        self._held_up = False  # the network takes no more
        self._waiting: deque[tuple[bytes, Address]] = deque()
        self._conversation: Conversation | None = None
        self._unsent: deque[bytes] = deque()
        self._turn: asyncio.Handle | None = None

    # asyncio's own is a DatagramTransport; uvloop's is one in all but inheritance.
    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        """Take the socket."""
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop what waits."""
        self._transport = None
        if self._turn is not None:
            self._turn.cancel()

    def pause_writing(self) -> None:
        """The network takes no more."""
        self._held_up = True

    def resume_writing(self) -> None:
        """It takes more again."""
        self._held_up = False
        self._go_on_later()

    def error_received(self, exc: Exception) -> None:
        """A datagram could not be delivered; the client may ask again."""
        log.info("datagram: %s", exc)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        """Answer one datagram, once those before it are answered."""
        if self._transport is None or len(self._waiting) >= MOST_WAITING:
            return
        self._host.bytes_read += len(data)
        self._waiting.append((data, addr))
        if self._turn is None and not self._held_up:
            self._answer()

    def _go_on_later(self) -> None:
        if self._turn is None:
            self._turn = asyncio.get_running_loop().call_soon(self._answer)

    def _answer(self) -> None:
        """One turn."""
        self._turn = None
        if self._conversation is None and self._waiting:
            self._conversation = Conversation(self._host, *self._waiting.popleft())
        conversation = self._conversation
        if conversation is not None:
            if not self._unsent:
                self._unsent += conversation.turn()
            self._send(conversation.addr)
            if conversation.over and not self._unsent:
                self._conversation = None
        if not self._held_up and (self._conversation is not None or self._waiting):
            self._go_on_later()

    def _send(self, addr: Address) -> None:
        unsent, transport = self._unsent, self._transport
        while unsent and transport is not None and not self._held_up:
            datagram = unsent.popleft()
            self._host.bytes_written += len(datagram)
            transport.sendto(datagram, addr)


class Conversation:
    """The commands of one datagram, and the replies to them."""

    def __init__(self, host: Host, data: bytes, addr: Address) -> None:
        self.addr = addr
        self._host = host
        self._connection = host.connection()
        self._left = host.datagrams_per_reply
        self._told = False  # that the replies are over the limit
        self._silent = False  # the last datagram had nothing to say
        request = accept_request(data)
        #: Whether there are no more commands.
        self.over: bool = request is None
        self._request_id = 0 if request is None else request.request_id
        if request is not None:
            self._connection.receive_data(request.payload)

    def turn(self) -> list[bytes]:
        """Carry out as many commands as one turn may have; the datagrams that answer them."""
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
        # If the disk takes nothing it is as if the datagram had been lost: what it asked for is not done.
        return datagrams if self._host.settle() else []

    def _replies(self, reply: AnyReply, to: Envelope) -> Iterator[bytes]:
        if isinstance(to, ClassicEnvelope) and isinstance(reply, Values) and len(reply.items) > 1:
            self._connection.send(_MISS, to)  # the connection need not encode what is sent item by item
            last = len(reply.items) - 1
            for number, item in enumerate(reply.items):
                if self._left < _needed(len(item.value)):
                    return self._refuse()
                # As the reply to a get of this key alone: among many keys each item would be sought again.
                message = encode_reply(Values((item,)), to.replace(request=Get((item.key,))))
                yield from self._datagrams(message if number == last else message.removesuffix(_END))
            return None
        # Without copying the value, which may be too long.
        parts = self._connection.send_parts(reply, to)
        if self._left < _needed(sum(map(len, parts))):
            return self._refuse()
        silent = to.dialect is Dialect.BINARY or isinstance(to.request, Quit)
        yield from self._datagrams(b"".join(parts), silent)

    def _datagrams(self, message: bytes, silent: bool = False) -> list[bytes]:
        """One message; if it is empty and ``silent``, a header that says so, as memcached once for many in a row."""
        again, self._silent = self._silent, silent and not message
        if again and self._silent:
            return []
        datagrams = split(message, self._request_id, header_if_empty=silent)
        if self._left < len(datagrams):
            self._refuse()
            return []
        self._left -= len(datagrams)
        return datagrams

    def _refuse(self) -> None:
        """The source may be forged; then this much would hit a client that did not ask."""
        if not self._told:
            self._told = True
            log.info("%s: replies of more than %s datagrams are not sent", self.addr, self._host.datagrams_per_reply)


def _needed(size: int) -> int:
    """How many datagrams so many bytes need."""
    return -(-size // PAYLOAD_SIZE)
