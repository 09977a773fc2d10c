"""One connection on asyncio: bytes to the protocol, requests to the engine, replies back."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Protocol

from memproto import (
    AnyReply,
    AnyRequest,
    ConnectionClosed,
    Dialect,
    Envelope,
    Limits,
    RemoteProtocolError,
    ServerConnection,
)

log = logging.getLogger("examples.server")

#: So many bytes of answers are gathered before they are written.
_BLOCK = 64 * 1024


class Host(Protocol):
    """What a session asks of the server it belongs to."""

    limits: Limits
    dialects: frozenset[Dialect]
    requests_per_turn: int
    bytes_read: int
    bytes_written: int

    def opened(self, session: Session) -> bool:
        """A connection was made; whether there is room for it."""

    def closed(self, session: Session) -> None:
        """A connection is gone."""

    def execute(self, request: AnyRequest, now: float) -> AnyReply:
        """Carry out a request."""


class Session(asyncio.Protocol):
    """Reads, answers and writes for one client, and never faster than the client reads."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._connection = ServerConnection(host.limits, dialects=host.dialects)
        self._transport: asyncio.Transport | None = None
        self._held_up = False  # the client does not read its answers
        self._turn: asyncio.Handle | None = None  # the rest of a long pipeline, due in the next turn of the loop
        self._ended = False
        self._paused = False

    # --- what asyncio calls

    # Streams come with a Transport; uvloop's is one in all but inheritance.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or refuse it in memcached's words."""
        self._transport = transport
        if not self._host.opened(self):
            transport.write(b"ERROR Too many open connections\r\n")
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._ended = True
        if self._turn is not None:
            self._turn.cancel()
        self._transport = None
        self._host.closed(self)

    def data_received(self, data: bytes) -> None:
        """Answer what is complete now."""
        self._host.bytes_read += len(data)
        self._connection.receive_data(data)
        if self._turn is None and not self._held_up:
            self._answer()

    def eof_received(self) -> bool:
        """Answer what came before the end; the connection is closed after the last answer."""
        self._connection.receive_eof()
        if self._turn is None and not self._held_up:
            self._answer()
        return True

    def pause_writing(self) -> None:
        """The client is slow: neither read nor answer until it has caught up."""
        self._held_up = True
        self._pause_reading()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._held_up = False
        if self._turn is None:
            # Not at once: asyncio reports the loss of a connection twice if it is closed in here.
            self._turn = asyncio.get_running_loop().call_soon(self._answer)

    # --- what the server asks

    @property
    def peer(self) -> str:
        """Where the client is, as memcached writes it."""
        assert self._transport is not None
        name = self._transport.get_extra_info("peername")
        return f"tcp:{name[0]}:{name[1]}" if isinstance(name, tuple) else "unix:"

    def finish(self) -> None:
        """Answer what has been received, and close when it is sent."""
        if not self._ended:
            self._connection.receive_eof()
            if self._turn is None and not self._held_up:
                self._answer()

    def abort(self) -> None:
        """Close without sending the rest."""
        if self._transport is not None:
            self._transport.abort()

    # --- answering

    def _answer(self) -> None:
        self._turn = None
        transport = self._transport
        if transport is None or self._ended:
            return
        connection, execute = self._connection, self._host.execute
        now = time.time()
        out: list[bytes] = []
        size = 0
        for _ in range(self._host.requests_per_turn):
            try:
                event = connection.next_event()
            except RemoteProtocolError as error:
                log.info("%s: %s", transport.get_extra_info("peername"), error)
                out.append(error.last_words)
                self._write(transport, out)
                self._end()
                return
            if isinstance(event, Envelope):
                data = connection.send(execute(event.request, now), event)
                out.append(data)
                size += len(data)
                if size >= _BLOCK:
                    self._write(transport, out)
                    out, size = [], 0
                    if self._held_up:
                        return
                continue
            self._write(transport, out)
            if isinstance(event, ConnectionClosed):
                self._end()
            elif not self._held_up:
                self._resume_reading()
            return
        # The others' turn; the rest of this pipeline comes in the loop's next round.
        self._write(transport, out)
        if not self._held_up:
            self._pause_reading()
            self._turn = asyncio.get_running_loop().call_soon(self._answer)

    def _write(self, transport: asyncio.Transport, parts: list[bytes]) -> None:
        data = b"".join(parts)
        if data:
            self._host.bytes_written += len(data)
            transport.write(data)

    def _end(self) -> None:
        self._ended = True
        if self._transport is not None:
            self._transport.close()

    def _pause_reading(self) -> None:
        if self._transport is not None and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()
