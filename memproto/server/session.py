"""One client's session: bytes in, answers out, and never faster than the client reads them."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Protocol

from memproto import (
    AdminReply,
    AnyReply,
    AnyRequest,
    Append,
    ClassicEnvelope,
    ConnectionClosed,
    Envelope,
    Failure,
    Prepend,
    RemoteProtocolError,
    ServerConnection,
    Values,
)
from memproto.engine import Dump
from memproto.server.long_replies import LONG, LongReply, is_long
from memproto.text import encode_reply_part

# Their cost is the size of the item.
_COPYING = frozenset({Append, Prepend})

log: logging.Logger = logging.getLogger("memproto.server")

# So many characters of a message are logged.
_BRIEF = 200
#: So many bytes of answers are gathered before they are written.
_BLOCK = 64 * 1024
#: After so many bytes written or copied it is the turn of the other clients, as after ``requests_per_turn``.
TURN_BYTES = 512 * 1024


class Hangup(Exception):  # noqa: N818 - no error, the client's own wish
    """What a request asked for leaves nobody to answer it."""


class Host(Protocol):
    """What a session asks of the server it belongs to."""

    requests_per_turn: int
    bytes_written: int
    #: How often a client had more to ask than it may in one go.
    yields: int
    #: Whether there is a disk, so that answers may have to wait for it.
    durable: bool

    def connection(self) -> ServerConnection:
        """A connection that has just been made."""
        ...

    def opened(self, session: Session) -> bool:
        """A connection was made; whether there is room for it."""
        ...

    def closed(self, session: Session) -> None:
        """A connection is gone."""

    @property
    def copied(self) -> int:
        """Bytes of values that were copied for requests that do not show it."""
        ...

    def received(self, size: int) -> None:
        """So many bytes came, and are held until they are a whole request."""

    def now(self) -> float:
        """The time for the engine, in Unix seconds."""
        ...

    def execute(self, request: AnyRequest, now: float) -> AnyReply:
        """Carry out a request. Raises :class:`Hangup`."""
        ...

    def begin(self, request: AnyRequest, now: float) -> AnyReply | Dump:
        """The same, but a dump is returned to be read in parts. Raises :class:`Hangup`."""
        ...

    def unsettled(self) -> bool:
        """Whether there are changes that are not on the disk."""
        ...

    def settle(self) -> bool:
        """Commit them now, and call :meth:`Session.settled` of all who wait for it; whether that was possible."""
        ...

    def settle_later(self, session: Session) -> None:
        """Do so for this session, too, at the end of this turn of the loop."""


class Session(asyncio.Protocol):
    """Reads, answers and writes for one client.

    What a turn has changed is committed before the answers to it leave: until then they are due, as replies.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._connection = host.connection()
        self._transport: asyncio.Transport | None = None
        self._held_up = False  # the client does not read its answers
        self._turn: asyncio.Handle | None = None  # the rest of a long pipeline, due in the next turn of the loop
        self._waiting = False  # for the disk
        self._due: list[tuple[Envelope, AnyReply]] = []
        self._rest: deque[bytes] = deque()  # of answers that the client has not taken whole
        self._long: LongReply | None = None  # a reply that is being made in parts
        self._part_of: Envelope | None = None  # what the part that is due answers
        self._last_words: bytes | None = None
        self._ended = False
        self._paused = False
        self._answering = False
        #: When it was last answered, in seconds of :meth:`Host.now`.
        self.active: float = host.now()
        self._spent = 0  # bytes of this turn: written, copied, or of values that wait for the disk
        #: Whether anything came since the server last looked.
        self.stirred: bool = True

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
        self._due.clear()
        self._rest.clear()
        if self._long is not None:
            self._long.close()
        self._host.closed(self)

    def data_received(self, data: bytes) -> None:
        """Answer what is complete now."""
        self.stirred = True
        self._connection.receive_data(data)
        self._host.received(len(data))
        if self._turn is None and not self._held_up and not self._waiting:
            self._answer()

    def eof_received(self) -> bool:
        """Answer what came before the end; the connection is closed after the last answer."""
        self._finish_later()
        return True

    def pause_writing(self) -> None:
        """The client is slow: neither read nor answer until it has caught up."""
        self._held_up = True
        self._pause_reading()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._held_up = False
        self.stirred = True
        if self._turn is None and not self._waiting:
            # Not at once: asyncio reports the loss of a connection twice if it is closed in here.
            self._turn = asyncio.get_running_loop().call_soon(self._answer)

    # --- what the server asks

    @property
    def peer(self) -> str:
        """Where the client is, as memcached writes it."""
        assert self._transport is not None
        return _written(self._transport.get_extra_info("peername"))

    @property
    def listener(self) -> str:
        """Where it has connected to, written the same way."""
        assert self._transport is not None
        return _written(self._transport.get_extra_info("sockname"))

    @property
    def state(self) -> str:
        """What it is at, in memcached's words."""
        if self._answering:
            return "conn_parse_cmd"
        if self.busy:
            return "conn_mwrite"
        return "conn_nread" if self._connection.mid_request else "conn_read"

    @property
    def busy(self) -> bool:
        """Whether the client has answers to take, or is being answered."""
        return self._held_up or self._waiting or self._turn is not None

    @property
    def held(self) -> int:
        """How many bytes the server holds for this client: of requests not yet whole, and of answers not taken."""
        transport = self._transport
        if transport is None:
            return 0
        return self._connection.buffered + sum(map(len, self._rest)) + transport.get_write_buffer_size()

    def finish(self) -> None:
        """Answer what has been received, and close when it is sent."""
        if not self._ended:
            self._finish_later()

    def abort(self) -> None:
        """Close without sending the rest."""
        if self._transport is not None:
            self._transport.abort()

    def redo(self, again: Callable[[AnyRequest], AnyReply]) -> None:
        """The disk took nothing: make each of the answers that are due anew."""
        self._due = [(envelope, again(envelope.request)) for envelope, _ in self._due]
        if any(to is self._part_of and isinstance(reply, Failure) for to, reply in self._due):
            # Other parts of this reply may have left already.
            self._due = []
            self.abort()

    def settled(self) -> None:
        """The answers that are due are true: send them, and go on."""
        self._waiting = False
        if self._turn is None and not self._held_up:
            self._answer()

    # --- answering

    def _finish_later(self) -> None:
        self._connection.receive_eof()
        if self._turn is None and not self._held_up and not self._waiting:
            self._answer()

    def _answer(self) -> None:
        self._turn = None
        if self._transport is not None and not self._ended:
            self._answering = True
            self.active = self._host.now()
            self._take_turn(self._transport)
            self._answering = False

    def _take_turn(self, transport: asyncio.Transport) -> None:
        self._spent = 0
        if (self._due or self._rest or self._last_words is not None) and not self._pay(transport):
            return
        if self._long is not None:
            self._answer_part(transport, self._long)
            return
        connection, host = self._connection, self._host
        execute, durable = host.execute, host.durable
        telling = log.isEnabledFor(logging.DEBUG)
        now = self.active
        out: list[bytes] = []
        size = 0
        copied = host.copied
        event = None
        for _ in range(host.requests_per_turn):
            if self._spent >= TURN_BYTES:
                break
            try:
                event = connection.next_event()
                if isinstance(event, Envelope):
                    if type(event.request) in LONG and is_long(event):
                        self._long = LongReply(event, host.begin)
                        break
                    reply = execute(event.request, now)
                    if type(event.request) in _COPYING:
                        self._spent += host.copied - copied
                        copied = host.copied
                    if telling:
                        log.debug("%s: %s -> %s", self.peer, _brief(event.request), _brief(reply))
                    if durable and (self._due or host.unsettled()):
                        self._due.append((event, reply))
                        if type(reply) is Values:
                            # It may be all that holds them, if they have been replaced since.
                            self._spent += sum(len(item.value) for item in reply.items)
                        continue
                    if type(reply) is Values and len(reply.items) > 1:
                        # Many values need not be in memory twice, nor be sent to one who does not read.
                        self._due.append((event, reply))
                        self._write(transport, out)
                        out, size = [], 0
                        if self._held_up or not self._pay(transport):
                            return
                        continue
                    data = connection.send(reply, event)
                    out.append(data)
                    size += len(data)
                    if size >= _BLOCK:
                        self._write(transport, out)
                        out, size = [], 0
                        if self._held_up:
                            return
                    continue
            except RemoteProtocolError as error:
                log.info("%s: %s", transport.get_extra_info("peername"), error)
                self._last_words = error.reply_hint
            except Hangup:
                self._last_words = b""
            self._write(transport, out)
            if self._due:
                self._wait()
            elif self._last_words is not None:
                self._pay(transport)
            elif isinstance(event, ConnectionClosed):
                self._end()
            elif not self._held_up:
                self._resume_reading()
            return
        self._write(transport, out)
        if self._due:
            self._wait()
        elif not self._held_up:
            self._yield()

    def _yield(self) -> None:
        """The others' turn; the rest of this pipeline comes in the loop's next round."""
        self._host.yields += 1
        self._pause_reading()
        self._turn = asyncio.get_running_loop().call_soon(self._answer)

    def _answer_part(self, transport: asyncio.Transport, long: LongReply) -> None:
        """Make the next part of a long reply, which takes a turn; it leaves when what it shows is on the disk."""
        host = self._host
        if host.durable and host.unsettled():
            self._wait()
            return
        try:
            part = long.next(host.now())
        except Hangup:
            self._long, self._last_words = None, b""
            self._pay(transport)
            return
        if part.last:
            self._long = None
        else:
            self._part_of = part.to
        self._due.append((part.to, part.reply))
        if host.durable and host.unsettled():
            self._wait()
        elif self._pay(transport):
            self._yield()

    def _wait(self) -> None:
        self._waiting = True
        self._host.settle_later(self)

    def _pay(self, transport: asyncio.Transport) -> bool:
        """Write what is due, as far as the client takes it in one turn; whether that is all, and more can follow."""
        rest = self._rest
        for envelope, reply in self._due:
            rest += self._parts_of(reply, envelope)
        self._due.clear()
        out: list[bytes] = []
        size = 0
        while rest:
            # What is sent is held no longer, even if the client never takes what is left.
            part = rest.popleft()
            out.append(part)
            size += len(part)
            if size >= _BLOCK:
                self._write(transport, out)
                out, size = [], 0
                if self._held_up:
                    return False
                if self._spent >= TURN_BYTES and rest:
                    self._yield()
                    return False
        if self._last_words is not None:
            out.append(self._last_words)
            self._write(transport, out)
            self._end()
            return False
        self._write(transport, out)
        return not self._held_up

    def _parts_of(self, reply: AnyReply, to: Envelope) -> tuple[bytes, ...]:
        if to is not self._part_of:
            return self._connection.send_parts(reply, to)
        assert isinstance(reply, Values | AdminReply)
        assert isinstance(to, ClassicEnvelope)
        return encode_reply_part(reply, to)

    def _write(self, transport: asyncio.Transport, parts: list[bytes]) -> None:
        data = b"".join(parts)
        if data:
            self._host.bytes_written += len(data)
            self._spent += len(data)
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


def _written(address: object) -> str:
    return f"tcp:{address[0]}:{address[1]}" if isinstance(address, tuple) else f"unix:{address or ''}"


def _brief(message: object) -> str:
    text = repr(message)
    return text if len(text) <= _BRIEF else f"{text[:_BRIEF]}..."
