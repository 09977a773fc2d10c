"""One connection of a client: it reads requests and writes replies, never faster than the client takes them."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Protocol

from memproto import ConnectionClosed, RemoteProtocolError, ServerConnection, Signal
from memproto.engine import Dump
from memproto.model import AdminReply, AnyReply, AnyRequest, Append, ClassicEnvelope, Envelope, Failure, Prepend, Values
from memproto.server.log import format_address, log, shorten
from memproto.server.long_replies import LONG, LongReply, is_long
from memproto.text import encode_reply_part

# Requests whose cost is the size of the item.
_COPYING = frozenset({Append, Prepend})

#: How many bytes of replies are joined before they are written.
_BLOCK_BYTES = 64 * 1024
#: After how many bytes written or copied the other clients have their turn, as after ``requests_per_turn``.
TURN_BYTES = 512 * 1024


class Hangup(Exception):  # noqa: N818 - no error, the client's own wish
    """The connection is to be closed without a reply to the request."""


class Host(Protocol):
    """What a session asks of its server."""

    requests_per_turn: int
    bytes_written: int
    #: How often a client had more requests than are answered in one turn.
    yields: int
    #: Whether there is a journal, so that replies may have to wait for a commit.
    durable: bool

    def connection(self) -> ServerConnection:
        """A new protocol state for one connection."""
        ...

    def session_opened(self, session: Session) -> bool:
        """Count a new connection; whether it is within the limit."""
        ...

    def session_closed(self, session: Session) -> None:
        """Forget a connection that is closed."""

    @property
    def bytes_copied(self) -> int:
        """How many bytes of values requests such as ``append`` have copied, though they are small themselves."""
        ...

    def count_received(self, size: int) -> None:
        """Count bytes received; they are held until a request is complete."""

    def now(self) -> float:
        """The time for the engine, in Unix seconds."""
        ...

    def execute(self, request: AnyRequest, now: float) -> AnyReply:
        """Execute a request. Raises :class:`Hangup`."""
        ...

    def begin(self, request: AnyRequest, now: float) -> AnyReply | Dump:
        """Execute a request; a dump is returned to be read in parts. Raises :class:`Hangup`."""
        ...

    def uncommitted(self) -> bool:
        """Whether there are changes that are not in the journal."""
        ...

    def commit(self) -> bool:
        """Write them now, and call :meth:`Session.committed` of all that wait for it; whether that was possible."""
        ...

    def commit_later(self, session: Session) -> None:
        """Do so at the end of this turn of the event loop, for this session too."""


class Session(asyncio.Protocol):
    """Reads, executes and answers the requests of one client.

    With a journal, replies wait in ``_pending`` until the changes of their turn are committed.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._connection = host.connection()
        self._transport: asyncio.Transport | None = None
        self._write_paused = False  # the client does not take its replies
        self._next_turn: asyncio.Handle | None = None  # the rest of a long pipeline
        self._awaiting_commit = False
        self._pending: list[tuple[Envelope, AnyReply]] = []
        self._unsent: deque[bytes] = deque()  # parts of replies that the client has not yet taken
        self._long_reply: LongReply | None = None  # a reply that is made in parts
        self._envelope_in_parts: Envelope | None = None  # of the pending part of a long reply
        self._final_bytes: bytes | None = None  # to be sent before the connection is closed
        self._closing = False
        self._read_paused = False
        self._answering = False
        #: When it was last answered, in seconds of :meth:`Host.now`.
        self.last_active: float = host.now()
        self._turn_bytes = 0  # written, copied, or of values that wait for a commit
        #: Whether anything was received since the server last looked.
        self.received_lately: bool = True

    # --- called by asyncio

    # Streams come with a Transport; uvloop's is one in all but inheritance.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or refuse it in memcached's words."""
        self._transport = transport
        if not self._host.session_opened(self):
            transport.write(b"ERROR Too many open connections\r\n")
            self._close(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._closing = True
        if self._next_turn is not None:
            self._next_turn.cancel()
        self._transport = None
        self._pending.clear()
        self._unsent.clear()
        if self._long_reply is not None:
            self._long_reply.close()
        self._host.session_closed(self)

    def data_received(self, data: bytes) -> None:
        """Answer the requests that are complete now."""
        self.received_lately = True
        self._connection.receive_data(data)
        self._host.count_received(len(data))
        if not self.busy:
            self._answer()

    def eof_received(self) -> bool:
        """Answer all requests before the end of the stream; then the connection is closed."""
        self._connection.receive_eof()
        if not self.busy:
            self._answer()
        return True

    def pause_writing(self) -> None:
        """Neither read nor answer until the client has taken its replies."""
        self._write_paused = True
        self._pause_reading()

    def resume_writing(self) -> None:
        """Go on: the client has taken its replies."""
        self._write_paused = False
        self.received_lately = True
        if not self.busy:
            # Not at once: asyncio reports the loss of a connection twice if it is closed here.
            self._next_turn = asyncio.get_running_loop().call_soon(self._answer)

    # --- called by the server

    @property
    def peer(self) -> str:
        """The address of the client, as memcached writes it."""
        assert self._transport is not None
        return format_address(self._transport.get_extra_info("peername"))

    @property
    def listener(self) -> str:
        """The address that the client has connected to, in the same form."""
        assert self._transport is not None
        return format_address(self._transport.get_extra_info("sockname"))

    @property
    def state(self) -> str:
        """The state of the connection, in memcached's words."""
        if self._answering:
            return "conn_parse_cmd"
        if self.busy:
            return "conn_mwrite"
        return "conn_nread" if self._connection.mid_request else "conn_read"

    @property
    def busy(self) -> bool:
        """Whether replies wait for the client or for a commit, or requests wait for their turn."""
        return self._write_paused or self._awaiting_commit or self._next_turn is not None

    @property
    def bytes_held(self) -> int:
        """How many bytes the server holds for this client: of incomplete requests, and of replies not yet taken."""
        transport = self._transport
        if transport is None:
            return 0
        return self._connection.buffered + sum(map(len, self._unsent)) + transport.get_write_buffer_size()

    def finish(self) -> None:
        """Answer what has been received, and close once it is sent."""
        if not self._closing:
            self.eof_received()

    def abort(self) -> None:
        """Close without sending the rest."""
        if self._transport is not None:
            self._transport.abort()

    def replace_replies(self, execute: Callable[[AnyRequest], AnyReply]) -> None:
        """Execute the requests of all pending replies again, because nothing could be committed."""
        self._pending = [(envelope, execute(envelope.request)) for envelope, _ in self._pending]
        if any(to is self._envelope_in_parts and isinstance(reply, Failure) for to, reply in self._pending):
            # Other parts of this reply may have been sent already.
            self._pending = []
            self.abort()

    def committed(self) -> None:
        """Send the pending replies, because their changes are committed, and go on."""
        self._awaiting_commit = False
        if not self.busy:
            self._answer()

    # --- answering

    def _answer(self) -> None:
        self._next_turn = None
        if self._transport is not None and not self._closing:
            self._answering = True
            self.last_active = self._host.now()
            self._take_turn(self._transport)
            self._answering = False

    def _take_turn(self, transport: asyncio.Transport) -> None:
        self._turn_bytes = 0
        if (self._pending or self._unsent or self._final_bytes is not None) and not self._flush_pending(transport):
            return
        if self._long_reply is not None:
            self._answer_part(transport, self._long_reply)
            return
        connection, host = self._connection, self._host
        execute, durable = host.execute, host.durable
        logs_requests = log.isEnabledFor(logging.DEBUG)
        now = self.last_active
        out: list[bytes] = []
        size = 0
        copied = host.bytes_copied
        event = None
        for _ in range(host.requests_per_turn):
            if self._turn_bytes >= TURN_BYTES:
                break
            try:
                event = connection.next_event()
                if not isinstance(event, Envelope):
                    break
                if type(event.request) in LONG and is_long(event):
                    self._long_reply = LongReply(event, host.begin)
                    break
                reply = execute(event.request, now)
                if type(event.request) in _COPYING:
                    self._turn_bytes += host.bytes_copied - copied
                    copied = host.bytes_copied
                if logs_requests:
                    log.debug("%s: %s -> %s", self.peer, shorten(event.request), shorten(reply))
                if durable and (self._pending or host.uncommitted()):
                    self._pending.append((event, reply))
                    if type(reply) is Values:
                        # If the items have been replaced since, only this reply holds the values.
                        self._turn_bytes += sum(len(item.value) for item in reply.items)
                    continue
                if type(reply) is Values and len(reply.items) > 1:
                    # Many values are not to be in memory twice, nor to be encoded for a client that does not read.
                    self._pending.append((event, reply))
                    self._write(transport, out)
                    out, size = [], 0
                    if self._write_paused or not self._flush_pending(transport):
                        return
                    continue
                data = connection.send(reply, event)
                out.append(data)
                size += len(data)
                if size >= _BLOCK_BYTES:
                    self._write(transport, out)
                    out, size = [], 0
                    if self._write_paused:
                        return
            except RemoteProtocolError as error:
                log.info("%s: %s", transport.get_extra_info("peername"), error)
                self._final_bytes = error.reply_hint
                break
            except Hangup:
                self._final_bytes = b""
                break
        self._write(transport, out)
        if self._pending:
            self._await_commit()
        elif self._final_bytes is not None:
            self._flush_pending(transport)
        elif isinstance(event, ConnectionClosed):
            self._close(transport)
        elif not self._write_paused and isinstance(event, Signal):
            self._resume_reading()
        elif not self._write_paused:
            self._yield()

    def _yield(self) -> None:
        """Leave the turn to the other clients; the rest of this pipeline follows in the next turn of the loop."""
        self._host.yields += 1
        self._pause_reading()
        self._next_turn = asyncio.get_running_loop().call_soon(self._answer)

    def _answer_part(self, transport: asyncio.Transport, long: LongReply) -> None:
        """Make the next part of a long reply, which takes a turn; it is sent once what it shows is committed."""
        host = self._host
        if host.durable and host.uncommitted():
            self._await_commit()
            return
        try:
            part = long.next(host.now())
        except Hangup:
            self._long_reply, self._final_bytes = None, b""
            self._flush_pending(transport)
            return
        if part.last:
            self._long_reply = None
        else:
            self._envelope_in_parts = part.to
        self._pending.append((part.to, part.reply))
        if host.durable and host.uncommitted():
            self._await_commit()
        elif self._flush_pending(transport):
            self._yield()

    def _await_commit(self) -> None:
        self._awaiting_commit = True
        self._host.commit_later(self)

    def _flush_pending(self, transport: asyncio.Transport) -> bool:
        """Write the pending replies, as much as one turn allows; whether all is written and more can follow."""
        unsent = self._unsent
        for envelope, reply in self._pending:
            unsent += self._parts_of(reply, envelope)
        self._pending.clear()
        out: list[bytes] = []
        size = 0
        while unsent:
            # A part that is written is no longer held, even if the client never takes the others.
            part = unsent.popleft()
            out.append(part)
            size += len(part)
            if size >= _BLOCK_BYTES:
                self._write(transport, out)
                out, size = [], 0
                if self._write_paused:
                    return False
                if self._turn_bytes >= TURN_BYTES and unsent:
                    self._yield()
                    return False
        if self._final_bytes is not None:
            out.append(self._final_bytes)
            self._write(transport, out)
            self._close(transport)
            return False
        self._write(transport, out)
        return not self._write_paused

    def _parts_of(self, reply: AnyReply, to: Envelope) -> tuple[bytes, ...]:
        if to is not self._envelope_in_parts:
            return self._connection.send_parts(reply, to)
        assert isinstance(reply, Values | AdminReply)
        assert isinstance(to, ClassicEnvelope)
        return encode_reply_part(reply, to)

    def _write(self, transport: asyncio.Transport, parts: list[bytes]) -> None:
        data = b"".join(parts)
        if data:
            self._host.bytes_written += len(data)
            self._turn_bytes += len(data)
            transport.write(data)

    def _close(self, transport: asyncio.Transport) -> None:
        self._closing = True
        transport.close()

    def _pause_reading(self) -> None:
        if self._transport is not None and not self._read_paused:
            self._read_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._read_paused and self._transport is not None and not self._transport.is_closing():
            self._read_paused = False
            self._transport.resume_reading()
