"""A blocking client: one connection, one call is one round trip.

    with Client("127.0.0.1", 11211, timeout=1.0) as client:
        client.set(b"greeting", b"hello")
        client.get(b"greeting")

    Client("unix:/run/memcached.sock", dialect=Dialect.META)
    Client("cache.example", tls=ssl.create_default_context(), username="me", password="secret")
    ClientOf(Commands(serde), "cache.example")  # other values than bytes

The results are the same in every dialect, but for what one cannot say: classic text creates no counters, takes no key
with blanks or control characters, and is the only one but meta that takes a negative expiry, which is at once.

No answer reaches a call that it does not belong to. A call that times out leaves the connection in step: its answer is
still read, later, and dropped. Three timeouts in a row cost the connection, and so does any other interruption:
whatever a signal handler raises, at any place, ``TimeoutError`` too. The next call opens a new one. A call that only
reads is made again if the server turns out to have closed the connection since the last call; one that writes never is.

``timeout`` is for the whole call: looking up the addresses, connecting to any of them, TLS, the login, sending,
receiving, and doing all that again on another connection. Only the look-up of a name cannot be cut short.

A connection belongs to the process that opened it: after a fork the child closes its copy, of which the server notices
nothing, and opens its own when it makes a call. A client is for one thread at a time; a call that finds another one
under way, in another thread or where a signal handler has interrupted it, uses a connection of its own.

Raised are ``TimeoutError``; ``ConnectionError`` or another ``OSError`` for a server that is not there, is full or goes
away; ``ServerError`` for a refusal that the call has no result for, ``AuthenticationError`` for refused credentials;
``memproto.LocalProtocolError`` for arguments that do not fit the protocol, of which nothing is sent, and
``memproto.RemoteProtocolError`` for a server that breaks it.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from random import SystemRandom
from typing import Concatenate, Final, Generic, ParamSpec, Self, TypedDict, TypeVar, Unpack

from memproto import ClientConnection, Dialect, Exchange, Limits, LocalProtocolError, Quit, RemoteProtocolError, Signal
from memproto.clients.full import is_full
from memproto.clients.stream import WRITABLE, Expired, Fault, Stream, TlsStream
from memproto.commands import RAW, AuthenticationError, Command, Commands, ServerError, authenticate

__all__ = ["AuthenticationError", "Client", "ClientOf", "ServerError", "Trace"]

P = ParamSpec("P")
T = TypeVar("T")
V = TypeVar("V")

#: Called with ">" and each block of bytes to send, or "<" and each received.
Trace = Callable[[str, bytes], None]

_NEED_DATA: Final = Signal.NEED_DATA
# What the sockets' buffers always take when they are empty, so that there is no need to wait for room.
_SMALL: Final = 16384
_PIECE: Final = 65536
# A connection unused for so many seconds is looked at before it is used.
_IDLE: Final = 1.0
# So many timeouts in a row, and the connection is given up. That something still comes proves nothing: where a server
# has left out an answer, each may come a call late.
_PATIENCE: Final = 3
# Not from a state that parent and child share after a fork.
_CHANCE: Final = SystemRandom()


class _Link:
    """A connection: the stream and what is known of the conversation."""

    def __init__(self, stream: Stream, dialect: Dialect, limits: Limits, trace: Trace | None) -> None:
        self.stream = stream
        # So that what is left of another connection, by a proxy for one, fits no request of this.
        self.connection = ClientConnection(limits, dialect=dialect, first_opaque=_CHANCE.getrandbits(32))
        self.trace = trace
        #: Whether another call may use it. False during a call.
        self.in_step = False
        #: Whether the server may have received something of the last call.
        self.sent = False
        self.last = 0.0
        # What has come of the first answer, until it is known not to be a refusal of the connection.
        self._first: bytes | None = b""
        # How the server has broken the protocol, though the call before got its answer.
        self._broken: RemoteProtocolError | None = None
        self._limits, self._dialect = limits, dialect
        self._most = limits.outstanding
        self._quiet = dialect is Dialect.BINARY
        self._written = False
        self._timeouts = 0

    def is_usable(self, now: float) -> bool:
        """Whether a call may use it: it is this process's own and, as far as can be seen, not closed by the server."""
        if self.stream.process != os.getpid():
            return False
        # After a while a look: if there is something to read though nothing was asked, it is most likely the end.
        return now - self.last <= _IDLE or self.connection.outstanding > 0 or not self.stream.has_data()

    def ask(self, command: Command[object], deadline: float | None) -> list[object]:
        """The replies to the requests of a call, asked at once up to the limit.

        Raises :class:`Fault`; what else is raised is not the connection's. ``in_step`` tells whether it can be used.
        """
        replies: list[object] = []
        count = len(command.requests)
        if self.connection.outstanding + count > self._most:
            # Not all at once; so that none is sent if one that comes later does not fit the protocol, try them all.
            command.check(self._limits, self._dialect)
        self.in_step = self.sent = False
        while len(replies) < count:
            if self._broken is not None:
                raise Fault(self._broken)
            before = self.connection.outstanding
            if before >= self._most:
                raise Fault(TimeoutError(f"{before} calls that timed out are still unanswered"))
            try:
                exchanges = command.send(self.connection, len(replies), self._most - before, self._quiet)
            except LocalProtocolError:
                self.in_step = self.connection.outstanding == before
                raise
            last = exchanges[-1]
            data = last.data if len(exchanges) == 1 else b"".join([exchange.data for exchange in exchanges])
            try:
                self._exchange(data, last, deadline, not before)
            except Expired:
                # Raised by nobody else. So nothing has come in between, and all bytes are accounted for.
                self._timeouts += 1
                if self._written and self._timeouts < _PATIENCE:
                    for exchange in exchanges:
                        self.connection.abandon(exchange)
                    self.in_step = True
                raise Fault(TimeoutError("the call took longer than its timeout")) from None
            self._timeouts = 0
            if count == 1:
                self.in_step = self._broken is None
                return [last.reply]
            replies += [exchange.reply for exchange in exchanges]
        self.in_step = self._broken is None
        return replies

    def _exchange(self, data: bytes, last: Exchange[object], deadline: float | None, empty: bool) -> None:
        """Send, and read until the answer is there; ``empty`` is whether the sockets' buffers are.

        What is large is sent in pieces, and read is in between: to write all before reading anything would lock up with
        a server that has stopped reading because nobody reads its answers.
        """
        stream = self.stream
        encoded = stream.encode(data)
        self._written = False
        self.sent = True
        sent = stream.send(encoded) if empty and len(encoded) <= _SMALL else 0
        if self.trace is not None:
            self.trace(">", data)
        if sent < len(encoded):
            unsent = memoryview(encoded)[sent:]
            while unsent:
                ready = stream.wait(deadline, write=True)
                if ready & WRITABLE:
                    unsent = unsent[stream.send(unsent[:_PIECE]) :]
                if ready != WRITABLE:
                    self._take(stream.receive(), last)
        self._written = True
        while last.reply is None:
            stream.wait(deadline)
            self._take(stream.receive(), last)

    def _take(self, data: bytes, last: Exchange[object]) -> None:
        if self.trace is not None:
            self.trace("<", data)
        if self._first is not None:
            data = self._first = self._first + data
            full = is_full(data)
            if full is None:
                return
            if full:
                self.sent = False
                raise Fault(ConnectionRefusedError("the server has too many open connections"))
            self._first = None
        self.connection.receive_data(data)
        try:
            # To the end, because what nobody asked for must not wait for the next call.
            while self.connection.next_event() is not _NEED_DATA:
                pass
        except RemoteProtocolError as error:
            if last.reply is None:
                raise Fault(error) from None
            self._broken = error  # but the answer came before

    def close(self) -> None:
        """Close it; if it is in step, with a goodbye, which need not arrive."""
        if self.in_step and self.stream.process == os.getpid():
            self.in_step = False
            with suppress(Fault, LocalProtocolError):
                data = self.connection.send(Quit()).data
                if self.trace is not None:
                    self.trace(">", data)
                self.stream.send(self.stream.encode(data))
        self.stream.close()


def _method(build: Callable[Concatenate[Commands[V], P], Command[T]]) -> Callable[Concatenate[ClientOf[V], P], T]:
    """The method that makes the call of this name."""

    @wraps(build)
    def method(client: ClientOf[V], /, *arguments: P.args, **options: P.kwargs) -> T:
        return client.run(build(client.commands, *arguments, **options))

    return method


class ClientOf(Generic[V]):
    """One connection to one server, opened by the first call; ``calls`` says what its values are.

    ``host`` may be a Unix socket, ``unix:PATH``. ``timeout`` is what a whole call may take, in seconds, more than 0 or
    ``None`` for no limit. With ``username`` each connection begins with SASL PLAIN, in the text dialects with the
    ``set`` of ``memcached -Y``. ``tls`` is for a server behind TLS, whose name is ``server_hostname`` or else ``host``.
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
        # The connection while no call uses it. A call takes it out and puts it back when all has gone well.
        self._links: list[_Link] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def timeout(self) -> float | None:
        """The seconds that a whole call may take, ``None`` for no limit. May be set."""
        return self._timeout

    @timeout.setter
    def timeout(self, seconds: float | None) -> None:
        if seconds is not None and not seconds > 0:
            raise ValueError(f"timeout is {seconds!r}, must be more than 0 seconds, or None for no limit")
        self._timeout = seconds

    def run(self, command: Command[T]) -> T:
        """Make a call. All others are this with a call of their name."""
        try:
            return self.attempt(command)
        except Fault as fault:
            raise fault.error from None

    def attempt(self, command: Command[T]) -> T:
        """The same for another client that stands on this one: what is the server's fault is raised as :class:`Fault`.

        No other exception is, so that what a signal handler raises can be told from it by its type.
        """
        if not command.requests:
            return command.result(())
        now = time.monotonic()
        deadline = None if self._timeout is None else now + self._timeout
        link: _Link | None = None
        try:
            try:
                # Nobody else has it now, and whoever interrupts this does not put it back.
                link = self._links.pop()
            except IndexError:
                link = None
            if link is not None and not link.is_usable(now):
                link.stream.close()
                link = None
            fresh = link is None
            while True:
                if link is None:
                    link = self._open(deadline)
                try:
                    replies = link.ask(command, deadline)
                    break
                except Fault as fault:
                    fault.sent = link.sent
                    if fresh or not command.repeatable or not isinstance(fault.error, ConnectionError):
                        raise
                link.stream.close()
                link, fresh = None, True
            link.last = now
        except BaseException:
            if link is not None:
                self._put_back(link)
            raise
        self._put_back(link)
        # From here on it may be another thread's, whatever is raised.
        return command.result(replies)

    def check(self, command: Command[object]) -> None:
        """Raise ``memproto.LocalProtocolError`` if the call does not fit the protocol; nothing is asked."""
        command.check(self._limits, self._dialect)

    def get(self, key: bytes) -> V | None:
        """The value, ``None`` if there is none."""
        # As the others, without what it costs to make them.
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
        """Say goodbye and hang up. Another call opens a new connection."""
        while self._links:
            self._links.pop().close()

    def _put_back(self, link: _Link) -> None:
        if link.in_step and not self._links:
            self._links.append(link)
        else:
            link.stream.close()

    def _open(self, deadline: float | None) -> _Link:
        stream = None
        try:
            stream = (Stream if self._tls is None else TlsStream).open(self._host, self._port, deadline)
            if isinstance(stream, TlsStream) and self._tls is not None:
                stream.handshake(self._tls, self._name, deadline)
            link = _Link(stream, self._dialect, self._limits, self._trace)
            if self._login is not None:
                self._login.result(link.ask(self._login, deadline))
            return link  # noqa: TRY300  # an interruption here is caught below
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
    """The same for values that are bytes."""

    def __init__(
        self, host: str = "127.0.0.1", port: int = 11211, timeout: float | None = None, **options: Unpack[_Options]
    ) -> None:
        super().__init__(Commands(RAW), host, port, timeout, **options)
