"""One connection of the asyncio client: the socket, the calls that share it, and how it ends.

The event loop only tells when the socket is ready. Every byte is received and sent here and not by a transport of the
loop, so that an exception of a signal handler (``KeyboardInterrupt``, or ``TimeoutError`` of a SIGALRM handler) that
comes between two instructions cannot lose bytes, or send them twice, without a trace: a mark is set before bytes are
received or sent and taken away after the connection has noted it. Whoever finds the mark gives the connection up.

So the loop must have ``add_reader``: asyncio's own on Unix and uvloop have it, Windows has it in
``asyncio.SelectorEventLoop``.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import socket
import ssl
from collections.abc import Callable
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
from memproto.clients.full import is_full
from memproto.clients.interruptions import is_of_system
from memproto.clients.tls import Tls
from memproto.commands import Command

__all__ = ["Link", "NotSentError"]

#: What was true of a connection when a call began: the timeouts counted, the blocks received, and the time.
Since: TypeAlias = tuple[int, int, float]

_NEED_DATA: Final = Signal.NEED_DATA
_UNDER_WAY: Final = (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY)
# How much is received at a time, in bytes.
_PIECE: Final = 64 * 1024
# So many timeouts in a row, each of a call made after the one before, and a connection is given up.
_PATIENCE: Final = 3
# Whoever waits for a connection to be opened waits so many seconds at least before that counts as a timeout.
_OPENING: Final = 10.0
# How long to wait before another attempt when the queue of a Unix socket is full, in seconds.
_QUEUE_FULL: Final = 0.01
_CHANCE: Final = random.SystemRandom()
_INTERRUPTED: Final = "a call was interrupted"


class NotSentError(ConnectionError):
    """The connection was lost before anything of the call was sent."""


class Link:
    """One connection, shared by the calls that happen to come to it. ``forget`` is called when it is at its end."""

    def __init__(self, dialect: Dialect, limits: Limits, forget: Callable[[Link], None]) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self._time = self.loop.time
        # By chance, so that no answer of another connection fits: one that a proxy mixes up, say.
        first_opaque = _CHANCE.getrandbits(32)
        self.connection: ClientConnection = ClientConnection(limits, dialect=dialect, first_opaque=first_opaque)
        #: The task that opens the connection.
        self.opening: asyncio.Task[None] | None = None
        #: Whether it takes calls: it is open, not retired, and not lost.
        self.usable: bool = False
        #: Whether it takes no more calls, though some may still wait for their answers.
        self.retired: bool = False
        #: Why the connection is at its end, empty if it is not.
        self.failure: str = ""
        self._timeouts = self._received = 0
        # The shortest time in which anything was answered; what is cancelled earlier says nothing about the server.
        self._round_trip = _OPENING
        self._most = limits.outstanding
        self._quiet = dialect is Dialect.BINARY
        self._forget = forget
        self._socket: socket.socket | None = None
        self._fd = -1
        self._tls: Tls | None = None
        # The last request of each call and who waits for its answer. When it is answered all those before it are.
        self._waiting: dict[Exchange[object], asyncio.Future[None]] = {}
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()
        self._unsent: bytes | memoryview = b""
        # The first bytes received, until it is clear that they are not the line of a full server.
        self._first: bytes | None = b""
        # Whether bytes are just now on their way between the socket and the connection. Found true by the next ones
        # it says that an exception has come between, and some may be lost.
        self._between = False

    # --- opening

    async def connect(self, family: int, address: str | tuple[object, ...]) -> None:
        """Connect to one address; what was opened before is closed. Raises OSError."""
        if self.failure:
            raise ConnectionError(self.failure)
        self._close()
        opened = socket.socket(family, socket.SOCK_STREAM)
        opened.setblocking(False)
        self._fd, self._socket = opened.fileno(), opened
        began = self.loop.time()
        if family == socket.AF_UNIX:
            while (error := opened.connect_ex(address)) == errno.EAGAIN:
                await asyncio.sleep(_QUEUE_FULL)
        else:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            error = opened.connect_ex(address)
            if error in _UNDER_WAY:
                await self._ready(self.loop.add_writer, self.loop.remove_writer)
                error = opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, f"connecting to {address}: {os.strerror(error)}")
        self._round_trip = self.loop.time() - began

    async def secure(self, context: ssl.SSLContext, name: str) -> None:
        """Make the TLS handshake. Raises ssl.SSLError or another OSError."""
        link, tls = self._socket, Tls(context, name)
        assert link is not None
        done = False
        while not done:
            try:
                done = tls.handshake()
            except OSError:
                with suppress(OSError):
                    link.send(tls.outgoing.read())  # the alert, which tells the server why
                raise
            unsent = tls.outgoing.read()
            while unsent:
                await self._ready(self.loop.add_writer, self.loop.remove_writer)
                unsent = unsent[link.send(unsent) :]
            if not done:
                await self._ready(self.loop.add_reader, self.loop.remove_reader)
                data = link.recv(_PIECE)
                if not data:
                    raise ConnectionError("the connection was lost: the server closed it")
                tls.take(data)
        self._tls = tls

    async def _ready(self, add: Callable[[int, Callable[[], None]], object], remove: Callable[[int], object]) -> None:
        """Wait until the socket can be read, or written."""
        ready = self.loop.create_future()

        def tell() -> None:
            if not ready.done():
                ready.set_result(None)

        add(self._fd, tell)
        try:
            await ready
        finally:
            if self._socket is not None:  # to close it was to remove it
                remove(self._fd)

    def start(self) -> None:
        """Receive from now on."""
        # What has come together with the end of the handshake makes the socket readable no more.
        if self._tls is not None and (early := self._tls.decrypt(b"")):
            self._take(early)
        if self.failure:
            raise ConnectionError(self.failure)
        self.loop.add_reader(self._fd, self._on_readable)

    def take_calls(self) -> None:
        """Take calls from now on. Raises ConnectionError if the connection is lost already."""
        if self.failure:
            raise ConnectionError(self.failure)
        self.usable = True

    @property
    def is_opening(self) -> bool:
        """Whether it is being opened, and will take calls then."""
        return self.opening is not None and not (self.usable or self.retired or self.failure)

    # --- calls

    def since(self) -> Since:
        """What is true now, for :meth:`unanswered`."""
        return self._timeouts, self._received, self._time()

    async def ask(self, command: Command[object], limit: asyncio.Timeout | None = None) -> list[object]:
        """The replies to the requests of a call, asked at once up to the limit on outstanding requests.

        ``limit`` is the client's own timeout. Raises NotSentError, or another ConnectionError after something was
        sent; RemoteProtocolError.
        """
        replies: list[object] = []
        while len(replies) < len(command.requests):
            number = min(len(command.requests) - len(replies), self._most)
            exchanges: list[Exchange[object]] = []
            since = self._timeouts, self._received, self._time()
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
                    self.unanswered(since, limit)
                raise
            self._timeouts = 0
            took = self._time() - since[2]
            if took < self._round_trip:
                self._round_trip = took
            replies += [exchange.reply for exchange in exchanges]
        return replies

    def _stop_waiting(self, exchanges: list[Exchange[object]]) -> None:
        if exchanges:
            self._waiting.pop(exchanges[-1], None)
        for exchange in exchanges:
            self.connection.abandon(exchange)
        self._end_if_retired()

    def _has_room(self, number: int) -> bool:
        if self.failure or self.retired:
            raise NotSentError(self.failure or "the connection does not answer in time")
        return not self._unsent and self.connection.outstanding + number <= self._most

    def unanswered(self, since: Since, limit: asyncio.Timeout | None) -> None:
        """Count a call that began then and has ended without an answer, because of ``limit`` or cancelled.

        The client's own timeout counts even if something has been received: where a server has left out an answer,
        each may come a call late. A cancelled call counts if the connection has received nothing since, and
        the call has waited long enough for an answer. Calls that wait at the same time count as one.
        """
        timeouts, received, began = since
        if self._timeouts != timeouts:
            return
        waited = self._time() - began
        if (limit is None or not limit.expired()) and (self._received != received or waited < self._round_trip):
            return
        self._timeouts += 1
        if self._timeouts == _PATIENCE:
            self.retire()

    # --- bytes

    def _send(self, command: Command[object], start: int, number: int) -> list[Exchange[object]]:
        if self._between:
            self.fail(ConnectionError, _INTERRUPTED)
            raise NotSentError(self.failure)
        self._between = True
        before = self.connection.outstanding
        try:
            exchanges = command.send(self.connection, start, number, self._quiet)
            data = exchanges[0].data if number == 1 else b"".join([exchange.data for exchange in exchanges])
            self._write(data if self._tls is None else self._tls.encrypt(data))
            self._between = False
        except BaseException as error:
            if isinstance(error, LocalProtocolError) and self.connection.outstanding == before:
                self._between = False
            else:
                self.fail(ConnectionError, _INTERRUPTED)
            raise
        if self.failure:
            raise ConnectionError(self.failure)
        return exchanges

    def _write(self, data: bytes | memoryview) -> None:
        """Write what goes at once, and keep the rest until the socket takes more."""
        link = self._socket
        assert link is not None
        try:
            while (sent := link.send(data)) < len(data):
                data = memoryview(data)[sent:]
            data = b""
        except OSError as error:
            if not _only_blocks(error):
                self.fail(ConnectionError, f"the connection was lost: {error}")
                return
        if data and not self._unsent:
            self.loop.add_writer(self._fd, self._on_writable)
        elif self._unsent and not data:
            self.loop.remove_writer(self._fd)
            self._changed.set()
        self._unsent = data

    def _on_writable(self) -> None:
        try:
            if self._between:
                self.fail(ConnectionError, _INTERRUPTED)
                return
            self._between = True
            self._write(self._unsent)
            self._between = False
        except BaseException:
            self.fail(ConnectionError, _INTERRUPTED)
            raise

    def _on_readable(self) -> None:
        try:
            interrupted, self._between = self._between, True
            if interrupted:
                self.fail(ConnectionError, _INTERRUPTED)
                return
            assert self._socket is not None
            try:
                data = self._socket.recv(_PIECE)
                ended = not data
                if self._tls is not None and data:
                    data = self._tls.decrypt(data)
            except OSError as error:
                if not _only_blocks(error):
                    self.fail(ConnectionError, f"the connection was lost: {error}")
                    return
            else:
                if data or ended:
                    self._take(data)
            self._between = False
        except BaseException:
            self.fail(ConnectionError, _INTERRUPTED)
            raise

    def _take(self, data: bytes) -> None:
        if self._first is not None:
            data = self._first + data if data else b""
            full = is_full(data)
            if full:
                self.fail(ConnectionRefusedError, "the server has too many open connections")
                return
            self._first = data if full is None else None
            if data and full is None:
                return
        if not data:
            self.fail(ConnectionError, "the connection was lost: the server closed it")
            return
        self._received += 1
        connection, waiting = self.connection, self._waiting
        try:
            connection.receive_data(data)
            while (event := connection.next_event()) is not _NEED_DATA:
                assert isinstance(event, ReplyReceived)
                answered = waiting.get(event.exchange)
                if answered is not None:
                    if not answered.done():
                        answered.set_result(None)
                    del waiting[event.exchange]
        except RemoteProtocolError as fault:
            self.fail(RemoteProtocolError, str(fault))
        self._changed.set()
        if self.retired:
            self._end_if_retired()

    # --- its end

    def retire(self) -> None:
        """No more calls. Those that wait get their answers, unless the client needs the place of this connection."""
        self.retired = True
        usable, self.usable = self.usable, False
        if not usable:
            self.give_up("the connection does not answer in time")
        self._end_if_retired()

    def _end_if_retired(self) -> None:
        if self.retired and not self._waiting:
            self.give_up("the connection does not answer in time")

    def say_goodbye(self) -> None:
        """Close, in good order if nothing is under way."""
        link = self._socket
        if self.usable and not self._between and not self._unsent and not self.connection.outstanding:
            self._between = True
            with suppress(OSError, LocalProtocolError):  # it need not arrive
                assert link is not None
                data = self.connection.send(Quit()).data
                link.send(data if self._tls is None else self._tls.encrypt(data))
        self.give_up("the client was closed")

    def give_up(self, words: str) -> None:
        """Close, whether it is open or still being opened."""
        if self.opening is not None and not self.opening.done():
            self.opening.cancel()
        self.fail(ConnectionError, words)

    def fail(self, kind: type[Exception], words: str) -> None:
        """Close, and fail the calls that wait."""
        # In this order and each time, because a KeyboardInterrupt may have cut it short the time before.
        self.failure = self.failure or words
        self.usable = False
        self._close()
        self._forget(self)
        for answered in self._waiting.values():
            if not answered.done():
                answered.set_exception(kind(words))
        self._changed.set()

    def _close(self) -> None:
        if self._socket is not None:
            self.loop.remove_reader(self._fd)
            self.loop.remove_writer(self._fd)
            # First, because the number may be another socket's as soon as this one is closed.
            link, self._socket = self._socket, None
            link.close()

    def discard(self) -> None:
        """Close the socket and touch nothing else: the loop is closed, or it is that of another process."""
        self.failure = "the connection belongs to another process or event loop"
        self.usable = False
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _only_blocks(error: OSError) -> bool:
    """Whether the socket is just not ready. What a signal handler has raised is raised again."""
    if not is_of_system(error):
        raise error
    return error.errno == errno.EAGAIN
