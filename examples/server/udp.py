"""memcached over UDP: every datagram is a conversation of its own.

It may hold several commands; what answers each is cut into datagrams and numbered by itself, as is each hit of a text
``get`` of several keys.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Protocol

from examples.server.session import Hangup, log
from memproto import (
    AnyReply,
    AnyRequest,
    ClassicEnvelope,
    Dialect,
    Envelope,
    LocalProtocolError,
    Quit,
    RemoteProtocolError,
    ServerConnection,
    Values,
)
from memproto.text import encode_reply
from memproto.udp import accept_request, split

_END = b"END\r\n"


class Host(Protocol):
    """What datagrams ask of the server they belong to."""

    datagrams_per_reply: int
    bytes_read: int
    bytes_written: int

    def connection(self) -> ServerConnection:
        """A connection for one datagram."""

    def settle(self) -> bool:
        """Write to the disk what has changed; whether that was possible."""

    def execute(self, request: AnyRequest, now: float) -> AnyReply:
        """Carry out a request. Raises ``Hangup``."""


class Datagrams(asyncio.DatagramProtocol):
    """Answers datagrams. While the network takes no more, those that come are lost, as datagrams may be."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._transport: asyncio.DatagramTransport | None = None
        self._held_up = False

    # asyncio's own is a DatagramTransport; uvloop's is one in all but inheritance.
    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        """Take the socket."""
        self._transport = transport

    def pause_writing(self) -> None:
        """The network takes no more."""
        self._held_up = True

    def resume_writing(self) -> None:
        """It takes more again."""
        self._held_up = False

    def error_received(self, exc: Exception) -> None:
        """A datagram could not be delivered; whoever asked may ask again."""
        log.info("datagram: %s", exc)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one datagram."""
        if self._transport is None or self._held_up:
            return
        self._host.bytes_read += len(data)
        for datagram in self.answers(data, addr):
            self._host.bytes_written += len(datagram)
            self._transport.sendto(datagram, addr)

    def answers(self, data: bytes, addr: tuple[str, int]) -> Iterator[bytes]:
        """The datagrams that answer one, made only as they are taken."""
        request = accept_request(data)
        if request is None:
            return
        messages = list(self._messages(request.payload, addr))
        if not self._host.settle():
            # As if it had been lost: what it asked for is not done.
            return
        maximum = self._host.datagrams_per_reply
        hushed = False
        for message, silent in messages:
            # As with memcached silences in a row are told once.
            again, hushed = hushed, silent and not message
            if again and hushed:
                continue
            try:
                yield from split(message, request.request_id, maximum=maximum, header_if_empty=silent)
            except LocalProtocolError as error:
                # The source may be forged; then this much would hit somebody who did not ask.
                log.info("%s: %s", addr, error)

    def _messages(self, payload: bytes, addr: tuple[str, int]) -> Iterator[tuple[bytes, bool]]:
        """What to say to each complete command, and whether to say so if that is nothing."""
        connection = self._host.connection()
        connection.receive_data(payload)
        now = time.time()
        try:
            while isinstance(event := connection.next_event(), Envelope):
                reply = self._host.execute(event.request, now)
                message = connection.send(reply, event)
                if event.dialect is Dialect.BINARY or isinstance(event.request, Quit):
                    yield message, True
                elif isinstance(event, ClassicEnvelope) and isinstance(reply, Values) and len(reply.items) > 1:
                    yield from _one_by_one(reply, event)
                else:
                    yield message, False
        except RemoteProtocolError as error:
            log.info("%s: %s", addr, error)
            yield error.last_words, False
        except Hangup:
            return


def _one_by_one(reply: Values, to: ClassicEnvelope) -> Iterator[tuple[bytes, bool]]:
    """Each item as a message; the end of the list belongs to the last."""
    *others, last = (encode_reply(Values((item,)), to) for item in reply.items)
    for message in others:
        yield message.removesuffix(_END), False
    yield last, False
