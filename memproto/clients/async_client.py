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
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Concatenate, Final, Generic, ParamSpec, Self, TypeVar, Unpack, overload

from memproto import Limits, RemoteProtocolError
from memproto.clients.async_connection import NotSentError
from memproto.clients.async_pool import AsyncPool
from memproto.clients.documented import documented_by
from memproto.clients.options import AsyncOptions, AsyncSettings, Values, check_seconds, serde_of
from memproto.clients.reports import report_of
from memproto.clients.ring import node_of
from memproto.clients.stream import Fault
from memproto.commands import AuthenticationError, Command, Commands, Key, Serde, ServerError

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

# After one of these errors the server has certainly not received the command.
_NOT_SENT: Final = (NotSentError, ConnectionRefusedError, FileNotFoundError, socket.gaierror)


def _method(
    build: Callable[Concatenate[Commands[U], P], Command[T]],
) -> Callable[Concatenate[AsyncClient[U], P], Coroutine[None, None, T]]:
    """Return the method that runs the command which ``build`` returns."""

    @documented_by(build)
    async def method(client: AsyncClient[U], /, *arguments: P.args, **options: P.kwargs) -> T:
        return await client.run(build(client.commands, *arguments, **options))

    return method


class AsyncClient(Generic[V]):
    """An asyncio client of one server, which any number of tasks may use. Calls open the connections.

    ``host`` may be a Unix socket, ``unix:PATH``. Values are bytes, unless ``values`` is a serde or the name of one:
    those of :func:`memproto.conventions.serde`, and ``json``. :class:`AsyncSettings` explains the other options.
    ``pool`` limits the open sockets at any time, including those of connections that a task is opening or that get no
    more calls.

    ``timeout`` limits a whole call: connecting to each address of the host in turn, the TLS handshake, the login and
    the replies. If neither the client nor its callers have a timeout, the client does not notice a server that has died
    silently. A call may be cancelled at any time.

    A call raises what a call of :class:`Client` raises, and ``RuntimeError`` if the client is in use in the running
    event loop of another thread.

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
        settings = AsyncSettings(**options)
        self.commands: Commands[V] = Commands(serde_of(values), encoding=settings.encoding, prefix=settings.prefix)
        self._dialect, self._limits = settings.dialect, settings.limits or Limits()
        self._on_call = settings.on_call
        self._node = node_of(host, port)
        self._pool = AsyncPool(self._node, settings)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    @property
    def timeout(self) -> float | None:
        """The seconds that a whole call may take, ``None`` for no limit. May be set. Raises ValueError."""
        return self._pool.timeout

    @timeout.setter
    def timeout(self, seconds: float | None) -> None:
        check_seconds("timeout", seconds)
        self._pool.timeout = seconds

    async def run(self, command: Command[T]) -> T:
        """Send the requests of a command and return its result. Each other method does this for the command it names.

        Raises what the documentation of the class lists.
        """
        try:
            if self._on_call is None and command.requests:
                # The same as attempt(), but faster.
                return command.result(await self._replies(command))
            return await self.attempt(command)
        except Fault as fault:
            raise fault.error from None

    async def attempt(self, command: Command[T]) -> T:
        """Do the same as :meth:`run`, but raise :class:`Fault` for each failure of the server or the network.

        This is for a client that is built on this one: the type tells a failure from an exception of the serde or of
        ``on_call``.
        """
        if not command.requests:
            return command.result(())
        began = time.monotonic()
        replies: list[object] = []
        failure: BaseException | None = None
        try:
            try:
                replies = await self._replies(command)
            except (OSError, RemoteProtocolError) as error:
                failure = error
                raise Fault(error, sent=not isinstance(error, _NOT_SENT)) from None
            return command.result(replies)
        except BaseException as error:
            failure = failure or error
            raise
        finally:
            if self._on_call is not None:
                self._on_call(report_of(self._node, command, replies, time.monotonic() - began, failure))

    async def _replies(self, command: Command[object]) -> list[object]:
        if len(command.requests) > self._limits.outstanding:
            # They are sent in rounds, and nothing may be sent if one of them does not fit the protocol.
            command.check(self._limits, self._dialect)
        if self._pool.timeout is None:
            return await self._pool.replies(command)
        async with asyncio.timeout(self._pool.timeout) as limit:
            return await self._pool.replies(command, limit)

    @overload
    async def get(self, key: Key) -> V | None: ...

    @overload
    async def get(self, key: Key, default: D) -> V | D: ...

    async def get(self, key: Key, default: D | None = None) -> V | D | None:
        """Get a value. The result is ``default`` for a miss."""
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
        await self._pool.close()
