"""A blocking client: one connection, one call is one round trip.

    with Client("127.0.0.1", 11211, timeout=1.0) as client:
        client.set(b"greeting", b"hello")
        client.get(b"greeting")

    Client("unix:/run/memcached.sock", dialect=Dialect.META)
    Client("cache.example", tls=ssl.create_default_context(), username="me", password="secret")
    ClientOf(Commands(serde), "cache.example")  # other values than bytes

The results are the same in every dialect, but for what a dialect cannot express: classic text creates no counters and
takes no key with blanks or control characters; only classic and meta take a negative expiry, which means at once.

No reply reaches a call that it does not answer. A call that times out leaves the connection usable: a later call reads
the late reply and drops it. After three timeouts in a row the client gives the connection up, and so it does after any
other interruption: whatever exception a signal handler raises, at any place, ``TimeoutError`` too. The next call opens
a new connection. A call that only reads is sent again if the server has closed the connection since the last call; one
that writes is never sent again.

``timeout`` limits the whole call: looking up the addresses, connecting to any of them, TLS, the login, sending,
receiving, and all that again on another connection. Only the look-up of a name cannot be cut short.

A connection belongs to the process that opened it. After a fork the child closes its copy, which the server does not
notice, and opens its own when it makes a call. A client is for one thread at a time. A call that finds another one
in progress, in another thread or because a signal handler has interrupted it, uses a connection of its own.

A call raises ``TimeoutError``; ``ConnectionError`` or another ``OSError`` for a server that is not there, has too many
connections or goes away; ``ServerError`` for a refusal that the call has no result for; ``AuthenticationError`` for
refused credentials; ``memproto.LocalProtocolError`` for arguments that do not fit the protocol, and then nothing is
sent; ``memproto.RemoteProtocolError`` for a server that breaks the protocol.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, Final, Generic, ParamSpec, Self, TypedDict, TypeVar, Unpack

from memproto import Dialect, Limits
from memproto.clients.connection import Connection, Trace
from memproto.clients.stream import Expired, Fault, Stream, TlsStream
from memproto.commands import RAW, AuthenticationError, Command, Commands, ServerError, authenticate

__all__ = ["AuthenticationError", "Client", "ClientOf", "ServerError", "Trace"]

P = ParamSpec("P")
T = TypeVar("T")
V = TypeVar("V")


def _method(build: Callable[Concatenate[Commands[V], P], Command[T]]) -> Callable[Concatenate[ClientOf[V], P], T]:
    """Return the method that runs the command which ``build`` returns."""

    @wraps(build)
    def method(client: ClientOf[V], /, *arguments: P.args, **options: P.kwargs) -> T:
        return client.run(build(client.commands, *arguments, **options))

    return method


class ClientOf(Generic[V]):
    """One connection to one server, opened by the first call.

    ``commands`` has the serde, which says what values are. ``host`` may be a Unix socket, ``unix:PATH``. ``timeout``
    limits a whole call, in seconds, more than 0, or ``None`` for no limit. ``trace`` is called with all bytes sent and
    received. With ``username`` each connection begins with SASL PLAIN, in the text dialects with the ``set`` of
    ``memcached -Y``. With ``tls`` each connection uses TLS; the certificate must be one for ``server_hostname``, or
    else ``host``.

    Raises ValueError for a ``timeout`` that is not more than 0.
    """

    def __init__(
        self,
        commands: Commands[V],
        host: str = "127.0.0.1",
        port: int = 11211,
        timeout: float | None = None,
        *,
        dialect: Dialect = Dialect.BINARY,
        limits: Limits | None = None,
        trace: Trace | None = None,
        username: str | None = None,
        password: str = "",
        tls: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
    ) -> None:
        self.commands = commands
        self._host, self._port = host, port
        self.timeout = timeout
        self._dialect = dialect
        self._limits = limits or Limits()
        self._trace = trace
        self._login = None if username is None else authenticate(username, password)
        self._tls, self._name = tls, server_hostname or host
        # The connection while no call uses it. A call takes it out, and puts it back if it has ended well.
        self._connections: list[Connection] = []

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
        if seconds is not None and not seconds > 0:
            raise ValueError(f"timeout is {seconds!r}, must be more than 0 seconds, or None for no limit")
        self._timeout = seconds

    def run(self, command: Command[T]) -> T:
        """Send the requests of a command and return its result. Each other method does this for the command it names.

        Raises what the module's documentation lists.
        """
        try:
            return self.attempt(command)
        except Fault as fault:
            raise fault.error from None

    def attempt(self, command: Command[T]) -> T:
        """Do the same as :meth:`run`, but raise :class:`Fault` for each failure of the server or the network.

        This is for a client that is built on this one: the type tells a failure from an exception of a signal handler.
        """
        if not command.requests:
            return command.result(())
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
                connection.stream.close()
                connection = None
            fresh = connection is None
            while True:
                if connection is None:
                    connection = self._open(deadline)
                try:
                    replies = connection.run(command, deadline)
                    break
                except Fault as fault:
                    fault.sent = connection.sent
                    if fresh or not command.repeatable or not isinstance(fault.error, ConnectionError):
                        raise
                connection.stream.close()
                connection, fresh = None, True
            connection.last_used = now
        except BaseException:
            if connection is not None:
                self._put_back(connection)
            raise
        self._put_back(connection)
        # From here on another thread may use the connection, so an exception must not close it.
        return command.result(replies)

    def check(self, command: Command[object]) -> None:
        """Raise ``memproto.LocalProtocolError`` if the command does not fit the protocol. Nothing is sent."""
        command.check(self._limits, self._dialect)

    def get(self, key: bytes) -> V | None:
        """Return the value, ``None`` if there is none."""
        # The same as _method(Commands.get), but faster.
        return self.run(self.commands.get(key))

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

    def close(self) -> None:
        """Send ``quit`` and close the connection. Another call opens a new one."""
        while self._connections:
            self._connections.pop().close()

    def _put_back(self, connection: Connection) -> None:
        if connection.reusable and not self._connections:
            self._connections.append(connection)
        else:
            connection.stream.close()

    def _open(self, deadline: float | None) -> Connection:
        stream = None
        try:
            stream = (Stream if self._tls is None else TlsStream).open(self._host, self._port, deadline)
            if isinstance(stream, TlsStream) and self._tls is not None:
                stream.handshake(self._tls, self._name, deadline)
            connection = Connection(stream, self._dialect, self._limits, self._trace)
            if self._login is not None:
                self._login.result(connection.run(self._login, deadline))
            return connection  # noqa: TRY300  # an interruption here is caught below
        except BaseException as error:
            if stream is not None:
                stream.close()
            if isinstance(error, Expired):
                raise Fault(TimeoutError("the call took longer than its timeout")) from None
            raise


class _Options(TypedDict, total=False):
    dialect: Dialect
    limits: Limits | None
    trace: Trace | None
    username: str | None
    password: str
    tls: ssl.SSLContext | None
    server_hostname: str | None


class Client(ClientOf[bytes]):
    """:class:`ClientOf` for values that are bytes."""

    def __init__(
        self, host: str = "127.0.0.1", port: int = 11211, timeout: float | None = None, **options: Unpack[_Options]
    ) -> None:
        super().__init__(Commands(RAW), host, port, timeout, **options)
