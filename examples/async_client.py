"""An asyncio client with a pool of connections that reconnects by itself.

    async with AsyncClient("127.0.0.1", 11211, pool=4, timeout=1.0) as client:
        await client.set(b"greeting", b"hello")
        await client.get(b"greeting")

    AsyncClient("unix:/run/memcached.sock", dialect=Dialect.META)
    AsyncClient("cache.example", tls=ssl.create_default_context(), username="me", password="secret")
    AsyncClientOf(Calls(serde), "cache.example")  # other values than bytes

A connection is not taken by one call: the calls of many tasks share it, one behind the other, and none waits for
the answer to another before it is sent. That costs fewer connections and fewer round trips, and it is safe because a
request is handed to the transport whole: a call that is cancelled or times out, at whatever ``await``, leaves the
connection in step, its answer is read and dropped, and the other calls do not notice. The price is that a small answer
waits behind a large one that was asked first; that is what ``pool`` is for. As with any client, what a cancelled call
has asked may still be done, and with a pool even after what is asked later on another connection. In classic text
sharing is weaker against a server that leaves out or repeats answers: those that name no key may reach the wrong call.
In binary and meta none can, and with a server that is merely slow none does in classic either.

Writing stops while the transport's buffer is full or ``limits.outstanding`` requests are unanswered; more calls wait
their turn. A lost connection fails the calls that wait for it, and the next call opens another. A call that only
reads is made again on another connection if the first had been open before; one that writes never is. After three
timeouts in a row a connection gets no more calls.

Raised are ``TimeoutError``; ``ConnectionError`` or another ``OSError`` for a server that is not there or goes away;
``ServerError`` for a refusal that the call has no result for, ``AuthenticationError`` for refused credentials;
``memproto.LocalProtocolError`` for arguments that do not fit the protocol, of which nothing is sent, and
``memproto.RemoteProtocolError`` for a server that breaks it.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Concatenate, Final, Generic, ParamSpec, Self, TypedDict, TypeVar, Unpack, cast

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
from memproto.calls import RAW, AuthenticationError, Call, Calls, ServerError, authenticate

__all__ = ["AsyncClient", "AsyncClientOf", "AuthenticationError", "ServerError"]

P = ParamSpec("P")
T = TypeVar("T")
V = TypeVar("V")

_UNIX: Final = "unix:"
_NEED_DATA: Final = Signal.NEED_DATA
# So many timeouts in a row, each of a call made after the one before, and a connection is given up.
_PATIENCE: Final = 3
# How long a goodbye may take, and then how long a hang-up, in seconds.
_GOODBYE: Final = 1.0


class _Link(asyncio.Protocol):
    """One connection, shared by the calls that happen to come to it."""

    transport: asyncio.Transport

    def __init__(self, dialect: Dialect, limits: Limits, forget: Callable[[_Link], None]) -> None:
        self.connection = ClientConnection(limits, dialect=dialect)
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        #: How many calls in a row have timed out; those that wait at the same time count as one.
        self.timeouts = 0
        self._most = limits.outstanding
        self._quiet = dialect is Dialect.BINARY
        self._forget = forget
        # The last request of each call and who waits for its answer. When it is answered all those before it are.
        self._waiting: dict[Exchange[object], asyncio.Future[None]] = {}
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()
        self._paused = False
        self._retired = False
        self._failure = ""
        # Whether bytes are just now on their way between the transport and the connection. Found true by the next
        # ones it says that a KeyboardInterrupt has come between, and some may be lost.
        self._between = False

    # --- what the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._changed.set()

    def data_received(self, data: bytes) -> None:
        interrupted, self._between = self._between, True
        if interrupted:
            self.fail(ConnectionError, "a call was interrupted")
        if self._failure:
            return
        connection, waiting = self.connection, self._waiting
        try:
            connection.receive_data(data)
            while (event := connection.next_event()) is not _NEED_DATA:
                assert isinstance(event, ReplyReceived)
                answered = waiting.pop(event.exchange, None)
                if answered is not None and not answered.done():
                    answered.set_result(None)
        except RemoteProtocolError as fault:
            self.fail(RemoteProtocolError, str(fault))
        self._between = False
        self._changed.set()
        self._end_if_retired()

    def connection_lost(self, error: Exception | None) -> None:
        try:
            self.fail(ConnectionError, f"the connection was lost: {error or 'the server closed it'}")
        finally:
            self.closed.set_result(None)

    # --- what the client asks

    async def ask(self, call: Call[object]) -> list[object]:
        """The replies to the requests of a call, asked at once up to the limit."""
        replies: list[object] = []
        while len(replies) < len(call.requests):
            number = min(len(call.requests) - len(replies), self._most)
            if self._turn.locked() or not self._has_room(number):
                async with self._turn:
                    while not self._has_room(number):
                        self._changed.clear()
                        await self._changed.wait()
            exchanges = self._send(call, len(replies), number)
            answered = self._waiting[exchanges[-1]] = asyncio.get_running_loop().create_future()
            try:
                await answered
            except BaseException:
                self._waiting.pop(exchanges[-1], None)
                for exchange in exchanges:
                    self.connection.abandon(exchange)
                self._end_if_retired()
                raise
            self.timeouts = 0
            replies += [exchange.reply for exchange in exchanges]
        return replies

    def check(self) -> None:
        """Raise ConnectionError if the connection is lost."""
        if self._failure or self.transport.is_closing():
            raise ConnectionError(self._failure or "the connection was lost")

    def _has_room(self, number: int) -> bool:
        self.check()
        return not self._paused and self.connection.outstanding + number <= self._most

    def _send(self, call: Call[object], start: int, number: int) -> list[Exchange[object]]:
        if self._between:
            self.fail(ConnectionError, "a call was interrupted")
            raise ConnectionError(self._failure)
        self._between = True
        before = self.connection.outstanding
        try:
            exchanges = call.send(self.connection, start, number, self._quiet)
        except LocalProtocolError:
            self._between = False
            if self.connection.outstanding != before:
                self.retire()
            raise
        self.transport.write(exchanges[0].data if number == 1 else b"".join([exchange.data for exchange in exchanges]))
        self._between = False
        return exchanges

    # --- its end

    def timed_out(self, timeouts: int) -> None:
        """No answer in time for a call that was made when ``timeouts`` was this.

        That something still comes proves nothing: where a server has left out an answer, each may come a call late.
        """
        if self.timeouts == timeouts:
            self.timeouts += 1
            if self.timeouts == _PATIENCE:
                self.retire()

    def retire(self) -> None:
        """No more calls; those that wait get their answers."""
        self._retired = True
        self._forget(self)
        self._end_if_retired()

    def _end_if_retired(self) -> None:
        if self._retired and not self._waiting:
            self.transport.abort()  # to close would be to wait until the last byte is written

    def fail(self, kind: type[Exception], words: str) -> None:
        """All that wait are told, and the connection is at its end."""
        # In this order and each time, because a KeyboardInterrupt may have cut it short the time before.
        self._forget(self)
        self.transport.abort()
        self._failure = self._failure or words
        for answered in self._waiting.values():
            if not answered.done():
                answered.set_exception(kind(words))
        self._changed.set()

    def say_goodbye(self) -> None:
        """Close in good order if nothing is under way."""
        if not self._waiting and not self._between and self.connection.reusable:
            self.transport.write(self.connection.send(Quit()).data)
            self.transport.close()
        else:
            self.fail(ConnectionError, "the client was closed")


def _method(
    build: Callable[Concatenate[Calls[V], P], Call[T]],
) -> Callable[Concatenate[AsyncClientOf[V], P], Coroutine[None, None, T]]:
    """The method that makes the call of this name."""

    @wraps(build)
    async def method(client: AsyncClientOf[V], /, *arguments: P.args, **options: P.kwargs) -> T:
        return await client.run(build(client.calls, *arguments, **options))

    return method


class AsyncClientOf(Generic[V]):
    """Up to ``pool`` connections to one server, opened when they are needed; ``calls`` says what values are.

    ``host`` may be a Unix socket, ``unix:PATH``. ``timeout`` is what a whole call may take, in seconds, ``None`` for no
    limit; without one a server that has died silently is not noticed. With ``username`` each connection begins
    with SASL PLAIN, in the text dialects with the ``set`` of ``memcached -Y``. ``tls`` is for a server behind TLS,
    whose name is ``server_hostname`` or else ``host``.

    After a failure to connect nothing is tried for a while, ``backoff`` seconds at first and twice as many each time
    up to the second number, less up to a half by chance. Calls in that time raise ``ConnectionError`` at once,
    or with ``patient`` wait for the next attempt, as long as their ``timeout`` lets them.
    """

    def __init__(
        self,
        calls: Calls[V],
        host: str = "127.0.0.1",
        port: int = 11211,
        *,
        pool: int = 1,
        timeout: float | None = None,
        dialect: Dialect = Dialect.BINARY,
        limits: Limits | None = None,
        username: str | None = None,
        password: str = "",
        tls: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
        backoff: tuple[float, float] = (0.05, 2.0),
        patient: bool = False,
    ) -> None:
        self.calls = calls
        self.timeout = timeout
        self._host, self._port = host, port
        self._pool = pool
        self._dialect = dialect
        self._limits = limits or Limits()
        self._login = None if username is None else authenticate(username, password)
        self._tls, self._name = tls, server_hostname or host
        self._backoff, self._patient = backoff, patient
        self._failures, self._failure, self._retry_at = 0, "", 0.0
        self._links: list[_Link] = []
        self._unclosed: set[_Link] = set()
        self._opening = asyncio.Lock()
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def run(self, call: Call[T]) -> T:
        """Make a call. All others are this with a call of their name."""
        if not call.requests:
            return call.result(())
        if self.timeout is None:
            return call.result(await self._replies(call))
        async with asyncio.timeout(self.timeout) as limit:
            replies = await self._replies(call, limit)
        return call.result(replies)

    get = _method(Calls.get)
    gat = _method(Calls.gat)
    gets = _method(Calls.gets)
    get_multi = _method(Calls.get_multi)
    gets_multi = _method(Calls.gets_multi)
    set = _method(Calls.set)
    add = _method(Calls.add)
    replace = _method(Calls.replace)
    append = _method(Calls.append)
    prepend = _method(Calls.prepend)
    cas = _method(Calls.cas)
    set_multi = _method(Calls.set_multi)
    delete = _method(Calls.delete)
    delete_multi = _method(Calls.delete_multi)
    incr = _method(Calls.incr)
    decr = _method(Calls.decr)
    touch = _method(Calls.touch)
    flush = _method(Calls.flush)
    stats = _method(Calls.stats)
    version = _method(Calls.version)
    noop = _method(Calls.noop)

    async def close(self) -> None:
        """Fail the calls that wait, say goodbye, and wait until all connections are closed. It is for good."""
        self._closed = True
        links = list(self._unclosed)
        self._links.clear()
        for link in links:
            link.say_goodbye()
        try:
            if links:
                await asyncio.wait([link.closed for link in links], timeout=_GOODBYE)
        finally:
            for link in links:
                link.transport.abort()
        if links:
            # Again not for ever: a KeyboardInterrupt may have come between a loss and the word of it.
            await asyncio.wait([link.closed for link in links], timeout=_GOODBYE)

    async def _replies(self, call: Call[object], limit: asyncio.Timeout | None = None) -> list[object]:
        for attempt in range(self._pool + 1):
            link, fresh = self._idlest(), False
            if link is None:
                link, fresh = await self._another()
            timeouts = link.timeouts
            try:
                return await link.ask(call)
            except ConnectionError:
                # The server may have hung up long ago, which shows only now; to read once more does no harm.
                if fresh or not call.repeatable or attempt == self._pool:
                    raise
            except asyncio.CancelledError:
                if limit is not None and limit.expired():
                    link.timed_out(timeouts)
                raise
        raise AssertionError("unreachable")

    async def _another(self) -> tuple[_Link, bool]:
        """A connection, and whether it was opened for the purpose."""
        # Whoever holds the lock opens a connection. If that call is cancelled, the next one goes on.
        async with self._opening:
            while True:
                wait = self._retry_at - asyncio.get_running_loop().time()
                link = self._idlest(wait > 0)
                if link is not None:
                    return link, False
                if wait > 0:
                    if not self._patient:
                        raise ConnectionError(f"next attempt to connect in {wait:.2f} seconds: {self._failure}")
                    await asyncio.sleep(wait)
                try:
                    return await self._open(), True
                except OSError as error:
                    self._put_off(error)
                    if isinstance(error, ssl.SSLError) or not (self._patient or self._links):
                        raise

    def _idlest(self, any_will_do: bool = False) -> _Link | None:
        """The connection with the least to do; ``None`` if another one should be opened. Raises ConnectionError."""
        if self._closed:
            raise ConnectionError("the client is closed")
        best: _Link | None = None
        for link in self._links:
            if link.transport.is_closing():
                continue  # and the transport is about to tell it
            if best is None or link.connection.outstanding < best.connection.outstanding:
                best = link
        if best is None or any_will_do or len(self._links) >= self._pool or not best.connection.outstanding:
            return best
        return None

    async def _open(self) -> _Link:
        loop = asyncio.get_running_loop()

        def link() -> _Link:
            return _Link(self._dialect, self._limits, self._forget)

        name = self._name if self._tls is not None else None
        if self._host.startswith(_UNIX):
            path = self._host.removeprefix(_UNIX)
            _, opened = await loop.create_unix_connection(link, path, ssl=self._tls, server_hostname=name)
        else:
            _, opened = await loop.create_connection(link, self._host, self._port, ssl=self._tls, server_hostname=name)
        self._unclosed.add(opened)
        opened.closed.add_done_callback(lambda _: self._unclosed.discard(opened))
        try:
            if self._login is not None:
                self._login.result(await opened.ask(self._login))
            self._idlest()  # raises if the client was closed meanwhile
            opened.check()
        except BaseException:
            opened.transport.abort()
            raise
        self._failures = 0
        self._links.append(opened)
        return opened

    def _put_off(self, error: OSError) -> None:
        """No attempt for a while. By chance not all clients of a server come back to it at once."""
        first, most = self._backoff
        wait = min(first * 2.0**self._failures, most) * random.uniform(0.5, 1.0)
        self._failures = min(self._failures + 1, 64)
        self._failure = str(error)
        self._retry_at = asyncio.get_running_loop().time() + wait

    def _forget(self, link: _Link) -> None:
        if link in self._links:
            self._links.remove(link)


class _Options(TypedDict, total=False):
    pool: int
    timeout: float | None
    dialect: Dialect
    limits: Limits | None
    username: str | None
    password: str
    tls: ssl.SSLContext | None
    server_hostname: str | None
    backoff: tuple[float, float]
    patient: bool


class AsyncClient(AsyncClientOf[bytes]):
    """The same for values that are bytes."""

    def __init__(self, host: str = "127.0.0.1", port: int = 11211, **options: Unpack[_Options]) -> None:
        super().__init__(Calls(RAW), host, port, **options)
