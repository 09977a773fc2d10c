"""An asyncio client with a pool of connections that reconnects by itself.

    async with AsyncClient("127.0.0.1", 11211, pool=4) as client:
        await client.set(b"greeting", b"hello")
        await client.get(b"greeting")

    AsyncClient("unix:/run/memcached.sock", dialect=Dialect.META)
    AsyncClient("cache.example", tls=ssl.create_default_context(), username="me", password="secret")
    AsyncClient("cache.example", values="pymemcache", encoding="utf-8")

The calls of many tasks share a connection. Each sends its requests behind those of the others and does not wait for
the replies to them. That takes fewer connections and fewer round trips. It is safe because no task receives or sends
bytes itself: a call may be cancelled or time out at any ``await``; the connection reads its reply and drops it, and the
other calls do not notice. The price is that a small reply waits behind a large one that was requested earlier; a
``pool`` of several connections helps. As with any client, the server may still carry out the requests of a cancelled
call; with a pool it may do so after later requests on another connection. In classic text, sharing is weaker against a
server that leaves out or repeats replies: those that name no key may reach the wrong call. In binary and meta none can.
A server that is only slow never causes this, in classic neither.

The client writes no more calls while the socket takes no more bytes, or while ``limits.outstanding`` requests are
unanswered; the calls wait for their turn. A lost connection raises ConnectionError in the calls that wait for it, and
the next call opens another connection. A call that only reads is sent again on another connection if the first had been
open before the call; one that writes is sent again only if no byte of it was sent.

After three timeouts in a row a connection gets no more calls. A call counts if it exceeds the client's ``timeout``. A
call that its caller cancels, with a timeout of its own for example, counts if its connection has received nothing since
the call began. The calls that still wait for such a connection get their replies, unless ``pool`` connections are open
and another call needs a new one: then they raise ``ConnectionError``.

A connection belongs to the process and the event loop in which it was opened. A client that is used in a forked child
or in another event loop opens new connections there and closes the old ones; in a child it closes only its copies of
the sockets, which the parent and the server do not notice. A client in use in the running event loop of one thread
raises ``RuntimeError`` in that of another.

A call raises ``TimeoutError``; ``ConnectionError`` or another ``OSError`` for a server that is not there, goes away, or
has too many connections; ``ServerError`` for a refusal that the call has no result for; ``AuthenticationError`` for
refused credentials; ``memproto.LocalProtocolError`` for arguments that do not fit the protocol, and then nothing is
sent; ``memproto.RemoteProtocolError`` for a server that breaks the protocol.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, Final, Generic, ParamSpec, Self, TypeVar, Unpack, overload

from memproto import Limits
from memproto.clients.async_connection import NO_REPLY, AsyncConnection, NotSentError
from memproto.clients.options import AsyncOptions, Settings, Values, check_seconds, serde_of
from memproto.clients.reports import report_of
from memproto.clients.ring import Node
from memproto.commands import AuthenticationError, Command, Commands, Key, Serde, ServerError, authenticate

if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    V = TypeVarWithDefault("V", default=bytes)
else:
    V = TypeVar("V")

__all__ = ["AsyncClient", "AuthenticationError", "ServerError"]

D = TypeVar("D")
P = ParamSpec("P")
T = TypeVar("T")
U = TypeVar("U")

_UNIX: Final = "unix:"
# How long close() waits for the tasks that open connections to end, in seconds.
_CLOSE_TIMEOUT: Final = 1.0


def _method(
    build: Callable[Concatenate[Commands[U], P], Command[T]],
) -> Callable[Concatenate[AsyncClient[U], P], Coroutine[None, None, T]]:
    """Return the method that runs the command which ``build`` returns."""

    @wraps(build)
    async def method(client: AsyncClient[U], /, *arguments: P.args, **options: P.kwargs) -> T:
        return await client.run(build(client.commands, *arguments, **options))

    return method


class AsyncClient(Generic[V]):
    """At most ``pool`` connections to one server, each opened when a call needs it.

    ``host`` may be a Unix socket, ``unix:PATH``. Values are bytes, unless ``values`` is a serde or the name of one:
    those of :func:`memproto.conventions.serde`, and ``json``. :class:`Settings` explains the other options. ``pool``
    limits the open sockets at any time, including those of connections that a task is opening or that get no more
    calls.

    ``timeout`` limits a whole call: connecting to each address of the host in turn, the TLS handshake, the login and
    the replies. If neither the client nor its callers have a timeout, the client does not notice a server that has died
    silently.

    Raises ValueError for an option that is out of range.
    """

    @overload
    def __init__(
        self: AsyncClient[bytes],
        host: str = ...,
        port: int = ...,
        *,
        values: None = None,
        **options: Unpack[AsyncOptions],
    ) -> None: ...

    @overload
    def __init__(
        self: AsyncClient[object], host: str = ..., port: int = ..., *, values: str, **options: Unpack[AsyncOptions]
    ) -> None: ...

    @overload
    def __init__(
        self, host: str = ..., port: int = ..., *, values: Serde[V], **options: Unpack[AsyncOptions]
    ) -> None: ...

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 11211,
        *,
        values: Values[V] = None,
        **options: Unpack[AsyncOptions],
    ) -> None:
        settings = self._settings = Settings(**options)
        self.commands: Commands[V] = Commands(serde_of(values), encoding=settings.encoding, prefix=settings.prefix)
        self._timeout = settings.timeout
        self._host, self._port = host, port
        self._pool = settings.pool or 1
        self._dialect = settings.dialect
        self._limits = settings.limits or Limits()
        self._login = None if settings.username is None else authenticate(settings.username, settings.password)
        self._backoff, self._patient = settings.backoff, settings.patient
        self._on_call = settings.on_call
        self._failed_attempts, self._last_error, self._retry_at = 0, "", 0.0
        #: Every connection that may have an open socket.
        self._connections: list[AsyncConnection] = []
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process, self._thread = os.getpid(), threading.get_ident()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    @property
    def timeout(self) -> float | None:
        """The seconds that a whole call may take, ``None`` for no limit. May be set. Raises ValueError."""
        return self._timeout

    @timeout.setter
    def timeout(self, seconds: float | None) -> None:
        check_seconds("timeout", seconds)
        self._timeout = seconds

    async def run(self, command: Command[T]) -> T:
        """Send the requests of a command and return its result. Each other method does this for the command it names.

        Raises what the module's documentation lists.
        """
        if asyncio.get_running_loop() is not self._loop or os.getpid() != self._process:
            self._use_running_loop()
        if not command.requests:
            return command.result(())
        if len(command.requests) > self._limits.outstanding:
            self.check(command)
        if self._on_call is not None:
            return await self._reported(command)
        if self._timeout is None:
            return command.result(await self._replies(command))
        async with asyncio.timeout(self._timeout) as limit:
            replies = await self._replies(command, limit)
        return command.result(replies)

    async def _reported(self, command: Command[T]) -> T:
        began = time.monotonic()
        replies: list[object] = []
        failure: BaseException | None = None
        try:
            async with asyncio.timeout(self._timeout) as limit:
                replies = await self._replies(command, limit)
            return command.result(replies)
        except BaseException as error:
            failure = error
            raise
        finally:
            if self._on_call is not None:
                node = Node(self._host, self._port)
                self._on_call(report_of(node, command, replies, time.monotonic() - began, failure))

    def check(self, command: Command[object]) -> None:
        """Raise ``memproto.LocalProtocolError`` if the command does not fit the protocol. Nothing is sent."""
        command.check(self._limits, self._dialect)

    @overload
    async def get(self, key: Key) -> V | None: ...

    @overload
    async def get(self, key: Key, default: D) -> V | D: ...

    async def get(self, key: Key, default: D | None = None) -> V | D | None:
        """Return the value, ``default`` if there is none."""
        return await self.run(self.commands.get(key, default))

    gat: Final = _method(Commands[V].gat)
    gets: Final = _method(Commands[V].gets)
    get_multi: Final = _method(Commands[V].get_multi)
    gat_multi: Final = _method(Commands[V].gat_multi)
    gets_multi: Final = _method(Commands[V].gets_multi)
    get_or_lease: Final = _method(Commands[V].get_or_lease)
    set: Final = _method(Commands[V].set)
    add: Final = _method(Commands[V].add)
    replace: Final = _method(Commands[V].replace)
    append: Final = _method(Commands[V].append)
    prepend: Final = _method(Commands[V].prepend)
    cas: Final = _method(Commands[V].cas)
    set_multi: Final = _method(Commands[V].set_multi)
    add_multi: Final = _method(Commands[V].add_multi)
    delete: Final = _method(Commands[V].delete)
    delete_multi: Final = _method(Commands[V].delete_multi)
    invalidate: Final = _method(Commands[V].invalidate)
    incr: Final = _method(Commands[V].incr)
    decr: Final = _method(Commands[V].decr)
    incr_multi: Final = _method(Commands[V].incr_multi)
    touch: Final = _method(Commands[V].touch)
    touch_multi: Final = _method(Commands[V].touch_multi)
    flush: Final = _method(Commands[V].flush)
    stats: Final = _method(Commands[V].stats)
    version: Final = _method(Commands[V].version)
    discover: Final = _method(Commands[V].discover)
    noop: Final = _method(Commands[V].noop)

    async def close(self) -> None:
        """Close all connections, and raise ConnectionError in the calls that wait. A closed client stays closed.

        An idle connection sends ``quit``. All sockets are closed before this waits for anything.
        """
        self._closed = True
        self._use_running_loop()
        connections = list(self._connections)
        try:
            for connection in connections:
                connection.close_gracefully()
        finally:
            for connection in connections:
                connection.give_up("the client was closed")
        opening = [each.opening for each in connections if each.opening is not None and not each.opening.done()]
        if opening:
            await asyncio.wait(opening, timeout=_CLOSE_TIMEOUT)

    def _use_running_loop(self) -> None:
        """Make the running event loop of this process the client's own. Raises RuntimeError."""
        loop, process = asyncio.get_running_loop(), os.getpid()
        if loop is self._loop and process == self._process:
            return
        gone = process != self._process or self._loop is None or self._loop.is_closed()
        if not gone and self._loop is not None and self._loop.is_running():
            if self._thread != threading.get_ident():
                raise RuntimeError("the client is in use in the event loop of another thread, which is running")
            gone = True  # no thread runs two loops: an exception has ended the run of this one
        for connection in list(self._connections):
            if gone:
                connection.discard()
            else:
                connection.give_up("the client is used in another event loop")
        self._connections.clear()
        self._loop, self._process, self._thread = loop, process, threading.get_ident()
        self._retry_at = 0.0  # it is a time of the other loop's clock

    async def _replies(self, command: Command[object], limit: asyncio.Timeout | None = None) -> list[object]:
        attempts = 0
        while True:
            attempts += 1
            connection, fresh = self._least_busy(), False
            if connection is None:
                connection, fresh = await self._wait_for_connection(limit)
            try:
                return await connection.run(command, limit)
            except ConnectionError as error:
                # The server may have closed it long ago, which shows only now. To read a second time does no harm.
                may_repeat = isinstance(error, NotSentError) or (command.repeatable and not fresh)
                if not may_repeat or attempts > self._pool or connection.loop is not self._loop:
                    raise

    def _least_busy(self) -> AsyncConnection | None:
        """Return the connection with the fewest outstanding requests; ``None`` if the client should open another one.

        Raises ConnectionError if the client is closed.
        """
        if self._closed:
            raise ConnectionError("the client is closed")
        best: AsyncConnection | None = None
        opening = False
        for connection in self._connections:
            if not connection.usable:
                opening = opening or connection.is_opening
            elif best is None or connection.protocol.outstanding < best.protocol.outstanding:
                best = connection
        if best is None or opening or len(self._connections) >= self._pool or not best.protocol.outstanding:
            return best
        return best if self._backoff_left() > 0 else None

    def _backoff_left(self) -> float:
        """Return the seconds until the client may try to connect again after a failure; 0 or less if it may now."""
        return self._retry_at - asyncio.get_running_loop().time()

    async def _wait_for_connection(self, limit: asyncio.Timeout | None) -> tuple[AsyncConnection, bool]:
        """Return a connection, and whether this call has opened it. Raises OSError, AuthenticationError."""
        mine: AsyncConnection | None = None
        while True:
            if asyncio.get_running_loop() is not self._loop:
                raise ConnectionError("the client is used in another event loop")
            connection = self._least_busy()
            if connection is not None:
                return connection, connection is mine
            connection = next((each for each in self._connections if each.is_opening), None)
            if connection is None:
                wait = self._backoff_left()
                if wait > 0:
                    if not self._patient:
                        raise ConnectionError(f"next attempt to connect in {wait:.2f} seconds: {self._last_error}")
                    await asyncio.sleep(wait)
                    continue
                mine = connection = self._open_connection()
            assert connection.opening is not None
            began = connection.snapshot()
            try:
                # A task of its own opens it: if this call is cancelled, others still wait for the connection.
                await asyncio.wait([connection.opening])
            except asyncio.CancelledError:
                connection.count_timeout(began, limit)
                raise
            error = connection.opening_error()
            if error is not None and not self._closed:
                connection.give_up(str(error))
                if connection.retired:
                    continue  # calls that had waited longer than this one have timed out
                others = any(each.usable for each in self._connections)
                if not isinstance(error, OSError) or isinstance(error, ssl.SSLError) or not (self._patient or others):
                    raise error

    def _open_connection(self) -> AsyncConnection:
        """Begin to open a connection. It takes the place of a retired one if the client has ``pool`` of them."""
        for each in list(self._connections):
            # One that has failed, or that no task opens, is here only if a KeyboardInterrupt came in between.
            if each.failure or each.opening is None or (each.retired and len(self._connections) >= self._pool):
                each.give_up(NO_REPLY)
        connection = AsyncConnection(self._dialect, self._limits, self._remove)
        self._connections.append(connection)
        connection.open_by(self._establish)
        return connection

    async def _establish(self, connection: AsyncConnection) -> None:
        """Open a connection.

        The calls that wait for it limit how long that may take, see ``AsyncConnection.count_timeout``.
        """
        try:
            await self._connect(connection)
            await connection.start(self._settings.tls, self._settings.server_hostname or self._host)
            if self._login is not None:
                self._login.result(await connection.run(self._login))
            connection.take_calls()
        except BaseException as error:
            if isinstance(error, OSError):
                self._delay_next_attempt(error)
            connection.fail(ConnectionError, str(error))
            raise
        self._failed_attempts = 0

    async def _connect(self, connection: AsyncConnection) -> None:
        """Connect to the first address that accepts. Raises OSError.

        Each address has an equal share of the timeout, so that a silent one leaves time for the next. Only the timeout
        of the call limits the last one.
        """
        loop = asyncio.get_running_loop()
        if self._host.startswith(_UNIX):
            return await connection.connect(socket.AF_UNIX, self._host.removeprefix(_UNIX))
        try:
            found = socket.getaddrinfo(self._host, self._port, 0, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
        except socket.gaierror:
            found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        *others, (family, _, _, _, last) = found
        share = None if self._timeout is None else self._timeout / len(found)
        for other, _, _, _, address in others:
            with suppress(OSError):
                async with asyncio.timeout(share):
                    return await connection.connect(other, address, self._settings.keepalive)
        return await connection.connect(family, last, self._settings.keepalive)

    def _delay_next_attempt(self, error: OSError) -> None:
        """Try nothing for a while. The time is random in part, so that not all clients of a server return at once."""
        first, most = self._backoff
        wait = min(first * 2.0**self._failed_attempts, most) * random.uniform(0.5, 1.0)
        self._failed_attempts = min(self._failed_attempts + 1, 64)
        self._last_error = str(error)
        self._retry_at = asyncio.get_running_loop().time() + wait

    def _remove(self, connection: AsyncConnection) -> None:
        if connection in self._connections:
            self._connections.remove(connection)
