"""A blocking client of one server: one call is one round trip.

    with Client("127.0.0.1", 11211) as client:
        client.set(b"greeting", b"hello")
        client.get(b"greeting")

    Client("unix:/run/memcached.sock", dialect=Dialect.META)
    Client("cache.example", tls=ssl.create_default_context(), username="me", password="secret")
    Client("cache.example", values="pymemcache", encoding="utf-8", pool=8)

The results are the same in every dialect, but for what a dialect cannot express: classic text creates no counters and
takes no key with a space, CR, LF or NUL; only classic and meta take a negative expiry, which means at once; only meta
has leases.

No reply reaches a call that it does not answer. A call that times out leaves the connection usable: a later call reads
the late reply and drops it. After three timeouts in a row the client gives the connection up, and so it does after any
other interruption: whatever exception a signal handler raises, at any place, ``TimeoutError`` too. The next call opens
a new connection. A call that only reads is sent again if the server has closed the connection since the last call; one
that writes is never sent again.

``timeout`` limits the whole call: waiting for a connection of the pool, looking up the addresses, connecting to any of
them, TLS, the login, sending, receiving, and all that again on another connection. Only the look-up of a name cannot be
cut short.

Any number of threads may use a client. Each call in progress has a connection of its own, also one of a signal handler
that has interrupted another. Without ``pool`` there may be any number of them, and one is kept for later. With ``pool``
there are at most so many, which are kept until they are ``idle``; a call waits for a free one within its timeout and
then raises ``TimeoutError``.

A connection belongs to the process that opened it. After a fork the child closes its copy, which the server does not
notice, and opens its own when it makes a call.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Concatenate, Final, Generic, ParamSpec, Self, TypeVar, Unpack, overload

from memproto import Limits
from memproto.clients.connection import Connection
from memproto.clients.documented import documented_by
from memproto.clients.options import Options, Settings, Values, check_seconds, serde_of
from memproto.clients.permits import Permits
from memproto.clients.reports import report_of
from memproto.clients.ring import node_of
from memproto.clients.stream import Expired, Fault, Stream, TlsStream
from memproto.commands import AuthenticationError, Command, Commands, Key, Serde, ServerError, authenticate

if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    V = TypeVarWithDefault("V", default=bytes)
else:
    V = TypeVar("V")

__all__ = ["AuthenticationError", "Client", "ServerError"]

D = TypeVar("D")
P = ParamSpec("P")
T = TypeVar("T")
U = TypeVar("U")


def _method(build: Callable[Concatenate[Commands[U], P], Command[T]]) -> Callable[Concatenate[Client[U], P], T]:
    """Return the method that runs the command which ``build`` returns."""

    @documented_by(build)
    def method(client: Client[U], /, *arguments: P.args, **options: P.kwargs) -> T:
        return client.run(build(client.commands, *arguments, **options))

    return method


class Client(Generic[V]):
    """A blocking client of one server, which any number of threads may use. Calls open the connections.

    ``host`` may be a Unix socket, ``unix:PATH``. Values are bytes, unless ``values`` is a serde or the name of one:
    those of :func:`memproto.conventions.serde`, and ``json``. :class:`Settings` explains the other options.

    A call raises:

    - ``TimeoutError``: it took longer than ``timeout``; the server may have carried out a write;
    - ``ConnectionError`` or another ``OSError``: the server cannot be reached, has too many connections, or has closed
      this one;
    - :class:`ServerError`: the server refuses, and the call has no result for that;
    - :class:`AuthenticationError`: the server refuses the credentials;
    - :class:`~memproto.LocalProtocolError`: an argument does not fit the protocol or the dialect; nothing was sent;
    - :class:`~memproto.RemoteProtocolError`: the server breaks the protocol.

    Raises ValueError for an option that is out of range.
    """

    @overload
    def __init__(
        self: Client[bytes],
        host: str = ...,
        port: int = ...,
        *,
        values: None = None,
        **options: Unpack[Options],
    ) -> None: ...

    @overload
    def __init__(
        self: Client[object], host: str = ..., port: int = ..., *, values: str, **options: Unpack[Options]
    ) -> None: ...

    @overload
    def __init__(self, host: str = ..., port: int = ..., *, values: Serde[V], **options: Unpack[Options]) -> None: ...

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 11211,
        *,
        values: Values[V] = None,
        **options: Unpack[Options],
    ) -> None:
        settings = self._settings = Settings(**options)
        self.commands: Commands[V] = Commands(serde_of(values), encoding=settings.encoding, prefix=settings.prefix)
        self._timeout = settings.timeout
        self._limits = settings.limits or Limits()
        self._node = node_of(host, port)
        self._on_call = settings.on_call
        self._login = None if settings.username is None else authenticate(settings.username, settings.password)
        # The connections that no call uses. A call takes one out, and puts it back if it has ended well.
        self._connections: list[Connection] = []
        # By the process, because threads of the parent that hold some do not exist in a forked child.
        self._permits: dict[int, Permits[Connection]] = {}
        #: Whether each connection is closed at the end of its call. May be set.
        self.retired: bool = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def timeout(self) -> float | None:
        """The seconds that a whole call may take, ``None`` for no limit. May be set. Raises ValueError."""
        return self._timeout

    @timeout.setter
    def timeout(self, seconds: float | None) -> None:
        check_seconds("timeout", seconds)
        self._timeout = seconds

    def run(self, command: Command[T]) -> T:
        """Send the requests of a command and return its result. Each other method does this for the command it names.

        Raises what the documentation of the class lists.
        """
        try:
            if self._on_call is None and command.requests:
                # The same as attempt(), but faster.
                return command.result(self._replies(command))
            return self.attempt(command)
        except Fault as fault:
            raise fault.error from None

    def attempt(self, command: Command[T]) -> T:
        """Do the same as :meth:`run`, but raise :class:`Fault` for each failure of the server or the network.

        This is for a client that is built on this one: the type tells a failure from an exception of a signal handler.
        """
        if not command.requests:
            return command.result(())
        if self._on_call is None:
            return command.result(self._replies(command))
        began = time.monotonic()
        replies: list[object] = []
        failure: BaseException | None = None
        try:
            replies = self._replies(command)
            return command.result(replies)
        except BaseException as error:
            failure = error.error if isinstance(error, Fault) else error
            raise
        finally:
            self._on_call(report_of(self._node, command, replies, time.monotonic() - began, failure))

    def _replies(self, command: Command[object]) -> list[object]:
        now = time.monotonic()
        deadline = None if self._timeout is None else now + self._timeout
        connection: Connection | None = None
        try:
            try:
                # No other call can use it now, and an interruption does not put it back.
                connection = self._connections.pop()
            except IndexError:
                connection = None
            if connection is not None and not connection.is_usable(now):
                self._close(connection)
                connection = None
            while True:
                if connection is None:
                    connection = self._new_connection(deadline)
                try:
                    replies = connection.run(command, deadline)
                    break
                except Fault as fault:
                    fault.sent = connection.sent
                    fresh = not connection.last_used
                    if fresh or not command.repeatable or not isinstance(fault.error, ConnectionError):
                        raise
                self._close(connection)
                connection = None
            connection.last_used = now
        except BaseException:
            if connection is not None:
                self._put_back(connection)
            raise
        # From here on another thread may use the connection, so an exception must not close it.
        self._put_back(connection)
        return replies

    @overload
    def get(self, key: Key) -> V | None: ...

    @overload
    def get(self, key: Key, default: D) -> V | D: ...

    def get(self, key: Key, default: D | None = None) -> V | D | None:
        """Get a value. The result is ``default`` for a miss."""
        # The same as _method(Commands[V].get), but faster.
        return self.run(self.commands.get(key, default))

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

    def close(self) -> None:
        """Send ``quit`` and close the connection. Another call opens a new one."""
        while self._connections:
            connection = self._connections.pop()
            connection.close()
            self._close(connection)

    def _put_back(self, connection: Connection) -> None:
        kept = self._connections
        if not connection.reusable or (kept and connection.permit is None):
            self._close(connection)
            return
        permits = None if connection.permit is None else self._permits_here()
        if permits is not None and permits.hand_over(connection):
            return
        kept.append(connection)
        if self.retired:  # only now: it may have been set, and close() called, just before
            self.close()
        if permits is not None:
            permits.hand_over(None)  # to one that has begun to wait just before
            self._close_idle(connection.last_used)

    def _close(self, connection: Connection) -> None:
        connection.stream.close()
        if connection.permit is not None:
            self._permits_here().give_back(connection.permit)

    def _close_idle(self, now: float) -> None:
        """Close the connections of the pool that are idle, the oldest of which is the first."""
        idle, kept = self._settings.idle, self._connections
        try:
            while idle is not None and now - kept[0].last_used > idle:
                self._close(kept.pop(0))
        except IndexError:
            return

    # --- opening

    def _permits_here(self) -> Permits[Connection]:
        """Return the permits of this process."""
        process = os.getpid()
        found = self._permits.get(process)
        return self._permits.setdefault(process, Permits(self._settings.pool or 1)) if found is None else found

    def _new_connection(self, deadline: float | None) -> Connection:
        """Open a connection; with a pool that is exhausted, wait for one that another call puts back."""
        if self._settings.pool is None:
            return self._open(deadline)
        permits = self._permits_here()

        def find() -> Connection | None:
            try:
                return self._connections.pop()
            except IndexError:
                return None

        try:
            found = permits.take_or(find, self._put_back, deadline)
        except Expired:
            raise Fault(TimeoutError(f"all {self._settings.pool} connections of the pool are in use")) from None
        if isinstance(found, Connection):
            if found.is_usable(time.monotonic()):
                return found
            self._close(found)
            return self._new_connection(deadline)
        opened: list[socket.socket] = []
        try:
            connection = self._open(deadline, opened)
        except BaseException:
            for each in opened:
                each.close()  # a second interruption may have prevented that
            permits.give_back(found)
            raise
        connection.permit = found
        return connection

    def _open(self, deadline: float | None, opened: list[socket.socket] | None = None) -> Connection:
        stream, settings, node = None, self._settings, self._node
        try:
            stream = (Stream if settings.tls is None else TlsStream).open(
                node.host, node.port, deadline, settings.keepalive, opened
            )
            if isinstance(stream, TlsStream) and settings.tls is not None:
                stream.handshake(settings.tls, settings.server_hostname or node.host, deadline)
            connection = Connection(stream, settings.dialect, self._limits, settings.trace, settings.idle)
            if self._login is not None:
                self._login.result(connection.run(self._login, deadline))
            return connection  # noqa: TRY300  # an interruption here is caught below
        except BaseException as error:
            if stream is not None:
                stream.close()
            if isinstance(error, Expired):
                raise Fault(TimeoutError("the call took longer than its timeout")) from None
            raise
