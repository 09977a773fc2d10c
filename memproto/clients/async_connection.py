"""One connection of the asyncio client: the calls that share it, how it counts timeouts, and how it ends."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Final, TypeAlias

from memproto import (
    ClientConnection,
    Dialect,
    Exchange,
    Limits,
    LocalProtocolError,
    Quit,
    RemoteProtocolError,
    ReplyReceived,
    Signal,
)
from memproto.clients.async_stream import INTERRUPTED, AsyncStream
from memproto.clients.options import Trace
from memproto.clients.refusal import is_refusal
from memproto.commands import Command

__all__ = ["NO_REPLY", "AsyncConnection", "NotSentError", "Snapshot"]

#: The state of a connection when a call began: the timeouts counted, the blocks received, and the time of the loop.
Snapshot: TypeAlias = tuple[int, int, float]

#: The reason that a connection is closed for after too many timeouts.
NO_REPLY: Final = "the connection does not answer in time"

_NEED_DATA: Final = Signal.NEED_DATA
# After so many timeouts in a row, each of a call made after the one before, a connection gets no more calls.
_MAX_TIMEOUTS: Final = 3
# A call that waits for a connection to be opened must wait at least so many seconds before that counts as a timeout.
_OPENING: Final = 10.0
_RANDOM: Final = random.SystemRandom()


class NotSentError(ConnectionError):
    """The connection was lost before a byte of the call was sent."""


class AsyncConnection:
    """One connection, which several calls share. It calls ``on_end`` with itself when it is closed."""

    def __init__(
        self,
        dialect: Dialect,
        limits: Limits,
        on_end: Callable[[AsyncConnection], None],
        trace: Trace | None = None,
    ) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self._time = self.loop.time
        # A random opaque, so that a reply of another connection, which a proxy may mix up, fits no request here.
        first_opaque = _RANDOM.getrandbits(32)
        self.protocol: ClientConnection = ClientConnection(limits, dialect=dialect, first_opaque=first_opaque)
        self.stream: AsyncStream = AsyncStream(self.loop, self._receive, self._wake_waiting_calls, self.fail)
        #: The task that opens the connection.
        self.opening: asyncio.Task[None] | None = None
        #: Whether it takes calls: it is open, not retired, and not lost.
        self.usable: bool = False
        #: Whether it takes no more calls, though some may still wait for their replies.
        self.retired: bool = False
        #: Why the connection is closed, empty if it is not.
        self.failure: str = ""
        self._last_used = 0.0
        self._trace = trace
        self._timeouts = self._received = 0
        # The shortest time to a reply so far. A call that is cancelled earlier says nothing about the server.
        self._round_trip = _OPENING
        self._max_outstanding = limits.outstanding
        self._quiet = dialect is Dialect.BINARY
        self._on_end = on_end
        # The last request of each call, and the future that the call waits for. When it is answered, all before it are.
        self._waiting: dict[Exchange[object], asyncio.Future[None]] = {}
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()
        # The first bytes received, until they are known not to be a refusal of the connection.
        self._first: bytes | None = b""

    # --- opening

    def open_by(self, establish: Callable[[AsyncConnection], Coroutine[object, object, None]]) -> None:
        """Begin a task in which this function opens the connection."""
        self.opening = self.loop.create_task(establish(self))
        self.opening.add_done_callback(_exception_of)

    @property
    def is_opening(self) -> bool:
        """Whether it is being opened and will take calls afterwards."""
        return self.opening is not None and not (self.usable or self.retired or self.failure)

    def opening_error(self) -> Exception | None:
        """Return why the task could not open the connection, ``None`` if it has done so. Only when it has ended."""
        assert self.opening is not None
        error = _exception_of(self.opening)
        # The task may have been cancelled, by close() for one, or a signal handler may have raised in it.
        return (
            error if error is None or isinstance(error, Exception) else ConnectionError(self.failure or "interrupted")
        )

    async def connect(self, family: int, address: str | tuple[object, ...], keepalive: int | None = None) -> None:
        """Connect to one address; an earlier socket is closed. Raises OSError."""
        self._check_open()
        self._round_trip = await self.stream.connect(family, address, keepalive)

    async def start(self, tls: ssl.SSLContext | None, name: str) -> None:
        """Make the TLS handshake, if there is to be one, and receive from now on. Raises OSError."""
        if tls is not None:
            early = await self.stream.handshake(tls, name)
            if early:
                self._receive(early)
        self._check_open()
        self.stream.start()

    def take_calls(self) -> None:
        """Take calls from now on. Raises ConnectionError if the connection is lost already."""
        self._check_open()
        self._last_used = self._time()
        self.usable = True

    def is_idle(self, seconds: float) -> bool:
        """Whether no call has used it for more than so many seconds."""
        return self.usable and not self._waiting and self._time() - self._last_used > seconds

    def _check_open(self) -> None:
        if self.failure:
            raise ConnectionError(self.failure)

    # --- calls

    async def run(self, command: Command[object], limit: asyncio.Timeout | None = None) -> list[object]:
        """Send the requests of a command, as many at once as the limit allows, and return the replies.

        ``limit`` is the client's own timeout. Raises NotSentError if nothing was sent; another ConnectionError;
        RemoteProtocolError.
        """
        replies: list[object] = []
        while len(replies) < len(command.requests):
            number = min(len(command.requests) - len(replies), self._max_outstanding)
            exchanges: list[Exchange[object]] = []
            began = self._timeouts, self._received, self._time()
            try:
                if self._turn.locked() or not self._has_room(number):
                    async with self._turn:
                        while not self._has_room(number):
                            self._changed.clear()
                            await self._changed.wait()
                exchanges = self._send(command, len(replies), number)
                answered = self._waiting[exchanges[-1]] = self.loop.create_future()
                await answered
            except NotSentError as error:
                raise error if not replies else ConnectionError(str(error)) from None
            except BaseException as error:
                self._stop_waiting(exchanges)
                if isinstance(error, asyncio.CancelledError):
                    self.count_timeout(began, limit)
                raise
            self._timeouts = 0
            self._last_used = self._time()
            took = self._last_used - began[2]
            if took < self._round_trip:
                self._round_trip = took
            replies += [exchange.reply for exchange in exchanges]
        return replies

    def _has_room(self, number: int) -> bool:
        if self.failure or self.retired:
            raise NotSentError(self.failure or NO_REPLY)
        return not self.stream.unsent and self.protocol.outstanding + number <= self._max_outstanding

    def _send(self, command: Command[object], start: int, number: int) -> list[Exchange[object]]:
        stream = self.stream
        if stream.in_transfer:
            self.fail(ConnectionError, INTERRUPTED)
            raise NotSentError(self.failure)
        stream.in_transfer = True
        before = self.protocol.outstanding
        try:
            exchanges = command.send(self.protocol, start, number, self._quiet)
            data = exchanges[0].data if number == 1 else b"".join([exchange.data for exchange in exchanges])
            stream.write(data)
            if self._trace is not None:
                self._trace(">", data)
            stream.in_transfer = False
        except BaseException as error:
            if isinstance(error, LocalProtocolError) and self.protocol.outstanding == before:
                stream.in_transfer = False
            else:
                self.fail(ConnectionError, INTERRUPTED)
            raise
        self._check_open()
        return exchanges

    def _stop_waiting(self, exchanges: list[Exchange[object]]) -> None:
        if exchanges:
            self._waiting.pop(exchanges[-1], None)
        for exchange in exchanges:
            self.protocol.abandon(exchange)
        self._close_if_retired()

    def _receive(self, data: bytes) -> None:
        if self._trace is not None and data:
            self._trace("<", data)
        if self._first is not None:
            data = self._first + data if data else b""
            refused = is_refusal(data)
            if refused:
                self.fail(ConnectionRefusedError, "the server has too many open connections")
                return
            self._first = data if refused is None else None
            if data and refused is None:
                return
        if not data:
            self.fail(ConnectionError, "the connection was lost: the server closed it")
            return
        self._received += 1
        protocol, waiting = self.protocol, self._waiting
        try:
            protocol.receive_data(data)
            while (event := protocol.next_event()) is not _NEED_DATA:
                assert isinstance(event, ReplyReceived)
                answered = waiting.get(event.exchange)
                if answered is not None:
                    if not answered.done():
                        answered.set_result(None)
                    del waiting[event.exchange]
        except RemoteProtocolError as error:
            self.fail(RemoteProtocolError, str(error))
        self._changed.set()
        if self.retired:
            self._close_if_retired()

    def _wake_waiting_calls(self) -> None:
        """Let the calls that wait for their turn look again whether there is room."""
        self._changed.set()

    # --- timeouts

    def snapshot(self) -> Snapshot:
        """Return the present state, for :meth:`count_timeout`."""
        return self._timeouts, self._received, self._time()

    def count_timeout(self, began: Snapshot, limit: asyncio.Timeout | None) -> None:
        """Count a call that began then and got no reply, because ``limit`` was over or the caller cancelled it.

        The client's own timeout counts even if the connection has received something: where a server has left out a
        reply, each later one may come one call late. A cancelled call counts if the connection has received nothing
        since, and the call has waited long enough for a reply. Calls that wait at the same time count as one.
        """
        timeouts, received, time = began
        if self._timeouts != timeouts:
            return
        waited = self._time() - time
        if (limit is None or not limit.expired()) and (self._received != received or waited < self._round_trip):
            return
        self._timeouts += 1
        if self._timeouts == _MAX_TIMEOUTS:
            self._retire()

    def _retire(self) -> None:
        """Take no more calls. Those that wait get their replies, unless the client needs the place of this one."""
        self.retired = True
        usable, self.usable = self.usable, False
        if not usable:
            self.give_up(NO_REPLY)
        self._close_if_retired()

    def _close_if_retired(self) -> None:
        if self.retired and not self._waiting:
            self.give_up(NO_REPLY)

    # --- closing

    def close_gracefully(self, reason: str) -> None:
        """Close. If no request is outstanding, send ``quit`` first; no error is raised if that fails."""
        stream = self.stream
        if self.usable and not stream.in_transfer and not stream.unsent and not self.protocol.outstanding:
            stream.in_transfer = True
            with suppress(OSError, LocalProtocolError):
                data = self.protocol.send(Quit()).data
                stream.write_last(data)
                if self._trace is not None:
                    self._trace(">", data)
        self.give_up(reason)

    def give_up(self, reason: str) -> None:
        """Close, whether it is open or still being opened."""
        if self.opening is not None and not self.opening.done():
            self.opening.cancel()
        self.fail(ConnectionError, reason)

    def fail(self, kind: type[Exception], reason: str) -> None:
        """Close, and raise an error of this kind in the calls that wait."""
        # All of this each time and in this order, because a KeyboardInterrupt may have cut it short the time before.
        self.failure = self.failure or reason
        self.usable = False
        self.stream.close()
        self._on_end(self)
        for answered in self._waiting.values():
            if not answered.done():
                answered.set_exception(kind(reason))
        self._changed.set()

    def discard(self) -> None:
        """Close the socket and change nothing else: the loop is closed, or it is the loop of another process."""
        self.failure = "the connection belongs to another process or event loop"
        self.usable = False
        self.stream.discard()


def _exception_of(opening: asyncio.Task[None]) -> BaseException | None:
    """Return the exception of a task that has ended. Asyncio logs one that nobody has asked for."""
    return asyncio.CancelledError() if opening.cancelled() else opening.exception()
