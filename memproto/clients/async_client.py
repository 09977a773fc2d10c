"""An asyncio client with a pool of connections that reconnects by itself.

    async with AsyncClient("127.0.0.1", 11211, pool=4, timeout=1.0) as client:
        await client.set(b"greeting", b"hello")
        await client.get(b"greeting")

    AsyncClient("unix:/run/memcached.sock", dialect=Dialect.META)
    AsyncClient("cache.example", tls=ssl.create_default_context(), username="me", password="secret")
    AsyncClientOf(Commands(serde), "cache.example")  # other values than bytes

The calls of many tasks share a connection, one behind the other, and no call waits for the answer to another before it
is sent. That costs fewer connections and fewer round trips. It is safe because no task receives or sends bytes itself:
a call that is cancelled or times out, at whatever ``await``, leaves the connection in step, its answer is read
and dropped, and the other calls do not notice. The price is that a small answer waits behind a large one that was
asked first; that is what ``pool`` is for. As with any client, what a cancelled call has asked may still be done, and
with a pool even after what is asked later on another connection. In classic text sharing is weaker against a server
that leaves out or repeats answers: those that name no key may reach the wrong call. In binary and meta none can,
and with a server that is merely slow none does in classic either.

No more calls are written while the socket takes no more bytes or ``limits.outstanding`` requests are unanswered; they
wait their turn. A lost connection fails the calls that wait for it, and the next call opens another. A call that only
reads is made again on another connection if the first had been open before; one that writes is made again only if
nothing of it was sent.

After three timeouts in a row a connection gets no more calls. A call counts if it exceeds the client's ``timeout``;
a call that its caller cancels, with a timeout of its own for example, counts if its connection has received nothing
since the call began. The calls that still wait for such a connection get their answers, unless ``pool`` connections
are open and another call needs a new one: then they fail with ``ConnectionError``.

Connections belong to the process and the event loop in which they were opened. A client that is used in a forked child
or in another event loop opens new ones there; the old ones are closed, in a child without a trace for its parent.
It is an error, ``RuntimeError``, to use one in event loops of two threads at the same time.

Raised are ``TimeoutError``; ``ConnectionError`` or another ``OSError`` for a server that is not there, goes away, or
has too many connections; ``ServerError`` for a refusal that the call has no result for, ``AuthenticationError`` for
refused credentials; ``memproto.LocalProtocolError`` for arguments that do not fit the protocol, of which nothing is
sent, and ``memproto.RemoteProtocolError`` for a server that breaks it.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import wraps
from typing import Concatenate, Final, Generic, ParamSpec, Self, TypedDict, TypeVar, Unpack

from memproto import Dialect, Limits
from memproto.clients.async_connection import Link, NotSentError
from memproto.commands import RAW, AuthenticationError, Command, Commands, ServerError, authenticate

__all__ = ["AsyncClient", "AsyncClientOf", "AuthenticationError", "ServerError"]

P = ParamSpec("P")
T = TypeVar("T")
V = TypeVar("V")

_UNIX: Final = "unix:"
# How long close() waits for the tasks that open connections, in seconds.
_GOODBYE: Final = 1.0


def _method(
    build: Callable[Concatenate[Commands[V], P], Command[T]],
) -> Callable[Concatenate[AsyncClientOf[V], P], Coroutine[None, None, T]]:
    """The method that makes the call of this name."""

    @wraps(build)
    async def method(client: AsyncClientOf[V], /, *arguments: P.args, **options: P.kwargs) -> T:
        return await client.run(build(client.commands, *arguments, **options))

    return method


class AsyncClientOf(Generic[V]):
    """At most ``pool`` connections to one server, opened when they are needed; ``calls`` says what values are.

    ``pool`` bounds the open sockets at any time, with those of connections that are just being opened or that get no
    more calls. ``host`` may be a Unix socket, ``unix:PATH``.

    ``timeout`` is what a whole call may take, in seconds, with connecting (to each address of the host in turn), the
    TLS handshake and the login; ``None`` is no limit. With neither it nor timeouts of the callers a server that has
    died silently is not noticed.

    With ``username`` each connection begins with SASL PLAIN, in the text dialects with the ``set`` of ``memcached -Y``.
    ``tls`` is for a server behind TLS, whose name is ``server_hostname`` or else ``host``.

    After a failure to connect nothing is tried for a while, ``backoff`` seconds at first and twice as many each time
    up to the second number, less up to a half by chance. Calls in that time raise ``ConnectionError`` at once,
    or with ``patient`` wait for the next attempt, as long as their ``timeout`` lets them.
    """

    def __init__(
        self,
        commands: Commands[V],
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
        if pool < 1:
            raise ValueError(f"pool is {pool}, must be at least 1")
        self.commands = commands
        self.timeout = timeout
        self._host, self._port = host, port
        self._pool = pool
        self._dialect = dialect
        self._limits = limits or Limits()
        self._login = None if username is None else authenticate(username, password)
        self._tls, self._name = tls, server_hostname or host
        self._backoff, self._patient = backoff, patient
        self._failures, self._failure, self._retry_at = 0, "", 0.0
        #: Every connection that may have an open socket.
        self._links: list[Link] = []
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process, self._thread = os.getpid(), threading.get_ident()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def run(self, command: Command[T]) -> T:
        """Make a call. All others are this with a call of their name."""
        if asyncio.get_running_loop() is not self._loop or os.getpid() != self._process:
            self._move()
        if not command.requests:
            return command.result(())
        if len(command.requests) > self._limits.outstanding:
            self.check(command)
        if self.timeout is None:
            return command.result(await self._replies(command))
        async with asyncio.timeout(self.timeout) as limit:
            replies = await self._replies(command, limit)
        return command.result(replies)

    def check(self, command: Command[object]) -> None:
        """Raise ``memproto.LocalProtocolError`` if the call does not fit the protocol; nothing is asked."""
        command.check(self._limits, self._dialect)

    get: Final = _method(Commands.get)
    gat: Final = _method(Commands.gat)
    gets: Final = _method(Commands.gets)
    get_multi: Final = _method(Commands.get_multi)
    gets_multi: Final = _method(Commands.gets_multi)
    set: Final = _method(Commands.set)
    add: Final = _method(Commands.add)
    replace: Final = _method(Commands.replace)
    append: Final = _method(Commands.append)
    prepend: Final = _method(Commands.prepend)
    cas: Final = _method(Commands.cas)
    set_multi: Final = _method(Commands.set_multi)
    delete: Final = _method(Commands.delete)
    delete_multi: Final = _method(Commands.delete_multi)
    incr: Final = _method(Commands.incr)
    decr: Final = _method(Commands.decr)
    touch: Final = _method(Commands.touch)
    flush: Final = _method(Commands.flush)
    stats: Final = _method(Commands.stats)
    version: Final = _method(Commands.version)
    noop: Final = _method(Commands.noop)

    async def close(self) -> None:
        """Fail the calls that wait, and close all connections, in good order those that are idle. It is for good.

        All sockets are closed before this waits for anything.
        """
        self._closed = True
        self._move()
        links = list(self._links)
        try:
            for link in links:
                link.say_goodbye()
        finally:
            for link in links:
                link.give_up("the client was closed")
        opening = [link.opening for link in links if link.opening is not None and not link.opening.done()]
        if opening:
            await asyncio.wait(opening, timeout=_GOODBYE)

    def _move(self) -> None:
        """Make the running event loop of this process the client's own. Raises RuntimeError."""
        loop, process = asyncio.get_running_loop(), os.getpid()
        if loop is self._loop and process == self._process:
            return
        gone = process != self._process or self._loop is None or self._loop.is_closed()
        if not gone and self._loop is not None and self._loop.is_running():
            if self._thread != threading.get_ident():
                raise RuntimeError("the client is in use in the event loop of another thread, which is running")
            gone = True  # no thread runs two loops: this one was torn out of its run by an exception
        for link in list(self._links):
            if gone:
                link.discard()
            else:
                link.give_up("the client is used in another event loop")
        self._links.clear()
        self._loop, self._process, self._thread = loop, process, threading.get_ident()
        self._retry_at = 0.0  # by the other loop's clock

    async def _replies(self, command: Command[object], limit: asyncio.Timeout | None = None) -> list[object]:
        for attempt in range(self._pool + 1):
            link, fresh = self._idlest(), False
            if link is None:
                link, fresh = await self._another(limit)
            try:
                return await link.ask(command, limit)
            except ConnectionError as error:
                # The server may have hung up long ago, which shows only now; to read once more does no harm.
                may_repeat = isinstance(error, NotSentError) or (command.repeatable and not fresh)
                if not may_repeat or attempt == self._pool or link.loop is not self._loop:
                    raise
        raise AssertionError("unreachable")

    def _idlest(self) -> Link | None:
        """The connection with the least to do; ``None`` if another one should be opened. Raises ConnectionError."""
        if self._closed:
            raise ConnectionError("the client is closed")
        best: Link | None = None
        opening = False
        for link in self._links:
            if not link.usable:
                opening = opening or link.is_opening
            elif best is None or link.connection.outstanding < best.connection.outstanding:
                best = link
        if best is None or opening or len(self._links) >= self._pool or not best.connection.outstanding:
            return best
        return best if self._wait() > 0 else None

    def _wait(self) -> float:
        """For how many seconds nothing is tried after a failure to connect."""
        return self._retry_at - asyncio.get_running_loop().time()

    async def _another(self, limit: asyncio.Timeout | None) -> tuple[Link, bool]:
        """A connection, and whether this call has opened it. Raises OSError, AuthenticationError."""
        mine: Link | None = None
        while True:
            if asyncio.get_running_loop() is not self._loop:
                raise ConnectionError("the client is used in another event loop")
            link = self._idlest()
            if link is not None:
                return link, link is mine
            link = next((each for each in self._links if each.is_opening), None)
            if link is None:
                wait = self._wait()
                if wait > 0:
                    if not self._patient:
                        raise ConnectionError(f"next attempt to connect in {wait:.2f} seconds: {self._failure}")
                    await asyncio.sleep(wait)
                    continue
                mine = link = self._open()
            assert link.opening is not None
            since = link.since()
            try:
                # By a task of its own: if this call is cancelled, others still wait for the connection.
                await asyncio.wait([link.opening])
            except asyncio.CancelledError:
                link.unanswered(since, limit)
                raise
            error = _failure(link)
            if error is not None and not self._closed:
                link.give_up(str(error))
                if link.retired:
                    continue  # given up because of others, that had waited longer
                others = any(each.usable for each in self._links)
                if not isinstance(error, OSError) or isinstance(error, ssl.SSLError) or not (self._patient or others):
                    raise error

    def _open(self) -> Link:
        """Begin to open a connection, in the place of a retired one if there are ``pool`` of them."""
        for link in list(self._links):
            # One that has failed, or that nothing opens, is here only if a KeyboardInterrupt has come between.
            if link.failure or link.opening is None or (link.retired and len(self._links) >= self._pool):
                link.give_up("the connection does not answer in time")
        link = Link(self._dialect, self._limits, self._forget)
        self._links.append(link)
        link.opening = asyncio.get_running_loop().create_task(self._establish(link))
        link.opening.add_done_callback(_failure_of)
        return link

    async def _establish(self, link: Link) -> None:
        """Open a connection. How long that takes is limited by the calls that wait for it, see ``Link.unanswered``."""
        try:
            await self._connect(link)
            if self._tls is not None:
                await link.secure(self._tls, self._name)
            link.start()
            if self._login is not None:
                self._login.result(await link.ask(self._login))
            link.take_calls()
        except BaseException as error:
            if isinstance(error, OSError):
                self._put_off(error)
            link.fail(ConnectionError, str(error))
            raise
        self._failures = 0

    async def _connect(self, link: Link) -> None:
        """Connect to the first address that takes it. Raises OSError.

        Each address has its share of the timeout, so that a silent one leaves time for the next; there is nothing
        better to do than to wait for the last one.
        """
        loop = asyncio.get_running_loop()
        if self._host.startswith(_UNIX):
            return await link.connect(socket.AF_UNIX, self._host.removeprefix(_UNIX))
        try:
            found = socket.getaddrinfo(self._host, self._port, 0, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
        except socket.gaierror:
            found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        *others, (family, _, _, _, last) = found
        share = None if self.timeout is None else self.timeout / len(found)
        for other, _, _, _, address in others:
            with suppress(OSError):
                async with asyncio.timeout(share):
                    return await link.connect(other, address)
        return await link.connect(family, last)

    def _put_off(self, error: OSError) -> None:
        """No attempt for a while. By chance not all clients of a server come back to it at once."""
        first, most = self._backoff
        wait = min(first * 2.0**self._failures, most) * random.uniform(0.5, 1.0)
        self._failures = min(self._failures + 1, 64)
        self._failure = str(error)
        self._retry_at = asyncio.get_running_loop().time() + wait

    def _forget(self, link: Link) -> None:
        if link in self._links:
            self._links.remove(link)


def _failure_of(opening: asyncio.Task[None]) -> BaseException | None:
    """What became of a task that is done; asyncio reports what nobody has looked at."""
    return asyncio.CancelledError() if opening.cancelled() else opening.exception()


def _failure(link: Link) -> Exception | None:
    """Why the connection could not be opened, if it could not."""
    assert link.opening is not None
    error = _failure_of(link.opening)
    # The task may have been cancelled, by close() for one, or a signal handler may have raised in it.
    return error if error is None or isinstance(error, Exception) else ConnectionError(link.failure or "interrupted")


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
        super().__init__(Commands(RAW), host, port, **options)
