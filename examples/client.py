"""A blocking client: one connection, one call is one round trip.

    with Client("127.0.0.1", 11211, timeout=1.0) as client:
        client.set(b"greeting", b"hello")
        client.get(b"greeting")

    Client("unix:/run/memcached.sock", dialect=Dialect.META)
    Client("cache.example", tls=ssl.create_default_context(), username="me", password="secret")
    ClientOf(Calls(serde), "cache.example")  # other values than bytes

The results are the same in every dialect, but for what one cannot say: classic text creates no counters, takes no key
with blanks or control characters, and is the only one but meta that takes a negative expiry, which is at once.

No answer reaches a call that it does not belong to. A call that times out leaves the connection in step: its answer is
still read, later, and dropped. Three timeouts in a row cost the connection, and so does any other interruption, a
``KeyboardInterrupt`` at any place too; the next call opens a new one. A call that only reads is made again if the
server turns out to have closed the connection since the last call; one that writes never is. A client is for one
thread at a time.

Raised are ``TimeoutError``; ``ConnectionError`` or another ``OSError`` for a server that is not there or goes away;
``ServerError`` for a refusal that the call has no result for, ``AuthenticationError`` for refused credentials;
``memproto.LocalProtocolError`` for arguments that do not fit the protocol, of which nothing is sent, and
``memproto.RemoteProtocolError`` for a server that breaks it.
"""

from __future__ import annotations

import selectors
import socket
import ssl
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Concatenate, Final, Generic, ParamSpec, Self, TypedDict, TypeVar, Unpack

from memproto import ClientConnection, Dialect, Exchange, Limits, LocalProtocolError, Quit, RemoteProtocolError, Signal
from memproto.calls import RAW, AuthenticationError, Call, Calls, ServerError, authenticate

__all__ = ["AuthenticationError", "Client", "ClientOf", "ServerError", "Trace"]

P = ParamSpec("P")
T = TypeVar("T")
V = TypeVar("V")

#: Called with ">" and each block of bytes sent, or "<" and each received.
Trace = Callable[[str, bytes], None]

_UNIX: Final = "unix:"
_NEED_DATA: Final = Signal.NEED_DATA
_BLOCKED: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
# What the sockets' buffers always take when they are empty, so that writing it can neither wait nor lock up.
_SMALL: Final = 16384
_PIECE: Final = 65536
# A connection unused for so many seconds is looked at before it is used.
_IDLE: Final = 1.0
# So many timeouts in a row, and the connection is given up. That something still comes proves nothing: where a server
# has left out an answer, each may come a call late.
_PATIENCE: Final = 3


class _Link:
    """A connection: the socket and what is known of the conversation."""

    def __init__(
        self, link: socket.socket, dialect: Dialect, limits: Limits, timeout: float | None, trace: Trace | None
    ) -> None:
        self.socket = link
        self.connection = ClientConnection(limits, dialect=dialect)
        self.timeout = timeout
        self.trace = trace
        #: Whether a call is under way. Found true by the next call it says that this one was interrupted, and that
        #: nobody knows which bytes have left or arrived.
        self.in_call = True
        #: Whether the server has broken the protocol, though the call got its answer.
        self.is_spoilt = False
        self.last = 0.0
        self._most = limits.outstanding
        self._quiet = dialect is Dialect.BINARY
        self._written = False
        self._timeouts = 0
        #: Whether opening it has taken a part of the time of the call.
        self.is_fresh = True
        _limit(link, timeout)

    def is_stale(self) -> bool:
        """Whether there is something to read though nothing was asked: the end, most likely."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.socket, selectors.EVENT_READ)
            return not self.connection.outstanding and bool(selector.select(0))

    def ask(self, call: Call[object], deadline: float | None) -> list[object]:
        """The replies to the requests of a call, asked at once up to the limit."""
        replies: list[object] = []
        while len(replies) < len(call.requests):
            before = self.connection.outstanding
            if before >= self._most:
                raise TimeoutError(f"{before} calls that timed out are still unanswered")
            try:
                exchanges = call.send(self.connection, len(replies), self._most - before, self._quiet)
            except LocalProtocolError:
                self.in_call = self.connection.outstanding != before
                raise
            last = exchanges[-1]
            data = last.data if len(exchanges) == 1 else b"".join([exchange.data for exchange in exchanges])
            self._written = False
            try:
                if before or self.is_fresh or len(data) > _SMALL:
                    self._by_and_by(memoryview(data), last, deadline)
                else:
                    self.socket.sendall(data)
                    self._written = True
                    if self.trace is not None:
                        self.trace(">", data)
                    self._receive(self.socket.recv(_PIECE), last)
                    if last.reply is None:
                        self._by_and_by(memoryview(b""), last, deadline)
            except (TimeoutError, BlockingIOError):
                self._timeouts += 1
                if self._written and self._timeouts < _PATIENCE:
                    for exchange in exchanges:
                        self.connection.abandon(exchange)
                    self.in_call = False
                raise TimeoutError("the call took longer than its timeout") from None
            self._timeouts = 0
            if len(call.requests) == 1:
                return [last.reply]
            replies += [exchange.reply for exchange in exchanges]
        return replies

    def _by_and_by(self, unsent: memoryview, last: Exchange[object], deadline: float | None) -> None:
        """Read, also while writing, until the answer is there.

        To write all before reading anything would lock up with a server that has stopped reading because nobody
        reads its answers.
        """
        self.socket.setblocking(False)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self.socket, selectors.EVENT_READ)
                while unsent or last.reply is None:
                    if deadline is not None and time.monotonic() >= deadline:
                        raise TimeoutError
                    wait = selectors.EVENT_READ
                    if unsent:
                        try:
                            unsent, wait = unsent[self.send(unsent[:_PIECE]) :], 0
                        except _BLOCKED:
                            wait |= selectors.EVENT_WRITE
                    self._written = not unsent
                    try:
                        self._receive(self.socket.recv(_PIECE), last)
                    except _BLOCKED:
                        if wait:
                            selector.modify(self.socket, wait)
                            selector.select(_left(deadline))
        finally:
            _limit(self.socket, self.timeout)

    def send(self, data: memoryview) -> int:
        """Write what goes at once; how much that was."""
        sent = self.socket.send(data)
        if self.trace is not None:
            self.trace(">", bytes(data[:sent]))
        return sent

    def _receive(self, data: bytes, last: Exchange[object]) -> None:
        if self.trace is not None:
            self.trace("<", data)
        if not data:
            raise ConnectionError("the server closed the connection before it had answered")
        self.connection.receive_data(data)
        try:
            # To the end, because what nobody asked for must not wait for the next call.
            while self.connection.next_event() is not _NEED_DATA:
                pass
        except RemoteProtocolError:
            if last.reply is None:
                raise
            self.is_spoilt = True  # but the answer came before the fault


def _method(build: Callable[Concatenate[Calls[V], P], Call[T]]) -> Callable[Concatenate[ClientOf[V], P], T]:
    """The method that makes the call of this name."""

    @wraps(build)
    def method(client: ClientOf[V], /, *arguments: P.args, **options: P.kwargs) -> T:
        return client.run(build(client.calls, *arguments, **options))

    return method


class ClientOf(Generic[V]):
    """One connection to one server, opened by the first call; ``calls`` says what its values are.

    ``host`` may be a Unix socket, ``unix:PATH``. ``timeout`` is what a whole call may take, in seconds, ``None`` for no
    limit. With ``username`` each connection begins with SASL PLAIN, in the text dialects with the ``set`` of
    ``memcached -Y``. ``tls`` is for a server behind TLS, whose name is ``server_hostname`` or else ``host``.
    """

    def __init__(
        self,
        calls: Calls[V],
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
        self.calls = calls
        self._host, self._port = host, port
        self._timeout = timeout
        self._dialect = dialect
        self._limits = limits or Limits()
        self._trace = trace
        self._login = None if username is None else authenticate(username, password)
        self._tls, self._name = tls, server_hostname or host
        self._link: _Link | None = None

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
        self._timeout = seconds
        if self._link is not None:
            self._link.timeout = seconds
            _limit(self._link.socket, seconds)

    def run(self, call: Call[T]) -> T:
        """Make a call. All others are this with a call of their name."""
        if not call.requests:
            return call.result(())
        now = time.monotonic()
        deadline = None if self._timeout is None else now + self._timeout
        link = self._link
        if link is not None and (link.in_call or (now - link.last > _IDLE and link.is_stale())):
            self._drop()
            link = None
        while True:
            fresh = link is None
            link = link or self._open(deadline)
            link.in_call = True
            try:
                replies = link.ask(call, deadline)
                break
            except BaseException as error:
                if link.in_call:
                    self._drop()
                if fresh or not call.repeatable or not isinstance(error, ConnectionError):
                    raise
                link = None
        link.last = now
        link.is_fresh = False
        link.in_call = link.is_spoilt
        return call.result(replies)

    def get(self, key: bytes) -> V | None:
        """The value, ``None`` if there is none."""
        # As the others, without what it costs to make them.
        return self.run(self.calls.get(key))

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

    def close(self) -> None:
        """Say goodbye and hang up. Another call opens a new connection."""
        link = self._link
        if link is not None and not link.in_call:
            link.in_call = True
            with suppress(OSError, LocalProtocolError):  # it need not arrive
                link.socket.setblocking(False)
                link.send(memoryview(link.connection.send(Quit()).data))
        self._drop()

    def _open(self, deadline: float | None) -> _Link:
        opened = None
        try:
            if self._host.startswith(_UNIX):
                opened = socket.socket(socket.AF_UNIX)
                opened.settimeout(_left(deadline))
                opened.connect(self._host.removeprefix(_UNIX))
            else:
                opened = socket.create_connection((self._host, self._port), _left(deadline))
                opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                opened = self._tls.wrap_socket(opened, server_hostname=self._name, do_handshake_on_connect=False)
                opened.settimeout(_left(deadline))
                opened.do_handshake()
            link = _Link(opened, self._dialect, self._limits, self._timeout, self._trace)
            if self._login is not None:
                self._login.result(link.ask(self._login, deadline))
            self._link = link
        except BaseException:
            if opened is not None:
                opened.close()
            raise
        return link

    def _drop(self) -> None:
        if self._link is not None:
            self._link.socket.close()
            self._link = None


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
        super().__init__(Calls(RAW), host, port, timeout, **options)


def _limit(link: socket.socket, seconds: float | None) -> None:
    """Let no operation take longer."""
    if sys.platform != "linux" or seconds is None or isinstance(link, ssl.SSLSocket):
        link.settimeout(seconds)
        return
    # The kernel does it without a poll before each operation, and says EAGAIN when the time is over.
    link.settimeout(None)
    microseconds = max(round(seconds * 1_000_000), 1)
    value = struct.pack("@ll", *divmod(microseconds, 1_000_000))
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)


def _left(deadline: float | None) -> float | None:
    # Not zero, which would be not to wait but to fail at once.
    return None if deadline is None else max(deadline - time.monotonic(), 0.001)
