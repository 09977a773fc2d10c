"""A blocking client: keys and values are bytes, one call is one round trip.

    with Client("127.0.0.1", 11211, timeout=1.0) as client:
        client.set(b"greeting", b"hello")
        client.get(b"greeting")

    Client("unix:/run/memcached.sock", dialect=Dialect.META)

The results are the same in every dialect, but for what one cannot say: classic text creates no counters, takes no key
with blanks or control characters, and is the only one but meta that takes a negative expiry, which is at once. What a
dialect cannot say is not sent and raises ``memproto.LocalProtocolError``.

A call that times out leaves the connection in step: its answer is still read, later, and dropped. After any other
interruption the connection is dropped and the next call opens a new one.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import TypeVar

from memproto import (
    Add,
    Append,
    ClientConnection,
    ConnectionClosed,
    Decrement,
    Delete,
    Dialect,
    Failure,
    Flush,
    Get,
    Increment,
    Item,
    Limits,
    Noop,
    Prepend,
    ProtocolError,
    Quit,
    Replace,
    Request,
    Set,
    Signal,
    Stats,
    Status,
    Touch,
    Version,
)

R = TypeVar("R")

_UNIX = "unix:"

#: Called with ">" and each block of bytes sent, or "<" and each received.
Trace = Callable[[str, bytes], None]


class ServerError(Exception):
    """The server refused; ``failure`` has the status and the server's words."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.reason.decode(errors='replace')} (status {int(failure.status):#06x})")
        self.failure = failure


class Client:
    """One connection to one server, opened by the first call. ``host`` may be a Unix socket, ``unix:PATH``.

    ``timeout`` is what a whole call may take, in seconds, ``None`` for no limit; a call that takes longer
    raises ``TimeoutError``. Refusals that a call has no result for raise :class:`ServerError`, arguments that do
    not fit the protocol ``memproto.LocalProtocolError``, and a server that breaks it ``memproto.RemoteProtocolError``.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 11211,
        timeout: float | None = None,
        *,
        dialect: Dialect = Dialect.BINARY,
        limits: Limits | None = None,
        trace: Trace | None = None,
    ) -> None:
        self._address = (host, port)
        self._timeout = timeout
        self._dialect = dialect
        self._limits = limits
        self._trace = trace
        self._socket: socket.socket | None = None
        self._selector: selectors.BaseSelector
        self._connection = ClientConnection(limits, dialect=dialect)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- retrieval

    def get(self, key: bytes) -> bytes | None:
        """The value, ``None`` if there is none."""
        item = self._item(Get((key,)))
        return None if item is None else item.value

    def gets(self, key: bytes) -> Item | None:
        """The item with its flags and CAS, ``None`` if there is none."""
        return self._item(Get((key,)))

    def get_multi(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """The values of those keys that have one, in one round trip."""
        wanted = tuple(keys)
        return {item.key: item.value for item in self._done(Get(wanted)).items} if wanted else {}

    def gat(self, key: bytes, exptime: int) -> bytes | None:
        """The value, with a new expiry set; ``None`` if there is none."""
        item = self._item(Get((key,), exptime))
        return None if item is None else item.value

    # --- storage: True if stored

    def set(self, key: bytes, value: bytes, exptime: int = 0, flags: int = 0) -> bool:
        """Store."""
        self._done(Set(key, value, flags, exptime))
        return True

    def add(self, key: bytes, value: bytes, exptime: int = 0, flags: int = 0) -> bool:
        """Store if the key is absent."""
        return self._succeeds(Add(key, value, flags, exptime), Status.KEY_EXISTS)

    def replace(self, key: bytes, value: bytes, exptime: int = 0, flags: int = 0) -> bool:
        """Store if the key is present."""
        return self._succeeds(Replace(key, value, flags, exptime), Status.KEY_NOT_FOUND)

    def append(self, key: bytes, value: bytes) -> bool:
        """Put ``value`` behind the stored one; false if there is none."""
        return self._succeeds(Append(key, value), Status.NOT_STORED)

    def prepend(self, key: bytes, value: bytes) -> bool:
        """Put ``value`` in front of the stored one; false if there is none."""
        return self._succeeds(Prepend(key, value), Status.NOT_STORED)

    def cas(self, key: bytes, value: bytes, cas: int, exptime: int = 0, flags: int = 0) -> bool | None:
        """Store if the item still has this CAS; false if it has another, ``None`` if the item is gone."""
        reply = self._ask(Set(key, value, flags, exptime, cas))
        if isinstance(reply, Failure) and reply.status == Status.KEY_NOT_FOUND:
            return None
        return self._judge(reply, Status.KEY_EXISTS)

    # --- the rest

    def delete(self, key: bytes) -> bool:
        """Remove; false if there was nothing."""
        return self._succeeds(Delete(key), Status.KEY_NOT_FOUND)

    def incr(self, key: bytes, delta: int = 1, initial: int | None = None, exptime: int = 0) -> int | None:
        """Add; the new number. A missing one is made from ``initial``, or stays missing: ``None``.

        Classic text has no way to do both at once, so that ``initial`` raises ``memproto.LocalProtocolError`` there.
        """
        return self._count(Increment(key, delta, initial or 0, None if initial is None else exptime))

    def decr(self, key: bytes, delta: int = 1, initial: int | None = None, exptime: int = 0) -> int | None:
        """Subtract, down to 0 at most; otherwise as :meth:`incr`."""
        return self._count(Decrement(key, delta, initial or 0, None if initial is None else exptime))

    def touch(self, key: bytes, exptime: int = 0) -> bool:
        """Set a new expiry; false if there is no such item."""
        return self._succeeds(Touch(key, exptime), Status.KEY_NOT_FOUND)

    def flush(self, delay: int | None = None) -> bool:
        """Forget all items, now or ``delay`` seconds from now."""
        self._done(Flush(delay))
        return True

    def stats(self, group: bytes = b"") -> dict[bytes, bytes]:
        """The server's statistics by name."""
        return dict(self._done(Stats(group)).stats)

    def version(self) -> bytes:
        """The server's version."""
        return self._done(Version()).version

    def noop(self) -> bool:
        """Ask for nothing, and wait until it is answered."""
        self._done(Noop())
        return True

    def close(self) -> None:
        """Say goodbye and hang up. Another call opens a new connection."""
        if self._socket is not None and self._connection.reusable:
            with suppress(OSError, ProtocolError):  # it need not arrive
                self._write(self._socket, memoryview(self._connection.send(Quit()).data))
        self._drop()

    # --- asking

    def _item(self, request: Get) -> Item | None:
        items = self._done(request).items
        return items[0] if items else None

    def _count(self, request: Increment | Decrement) -> int | None:
        reply = self._ask(request)
        if not isinstance(reply, Failure):
            return reply.value
        if reply.status == Status.KEY_NOT_FOUND:
            return None
        raise ServerError(reply)

    def _succeeds(self, request: Request[object], refusal: Status) -> bool:
        return self._judge(self._ask(request), refusal)

    def _judge(self, reply: object, refusal: Status) -> bool:
        if not isinstance(reply, Failure):
            return True
        if reply.status == refusal:
            return False
        raise ServerError(reply)

    def _done(self, request: Request[R]) -> R:
        reply = self._ask(request)
        if isinstance(reply, Failure):
            raise ServerError(reply)
        return reply

    def _ask(self, request: Request[R]) -> R | Failure:
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        link = self._connected()
        exchange = self._connection.send(request)
        unsent = memoryview(exchange.data)
        try:
            while unsent or exchange.reply is None:
                event = self._connection.next_event()
                if isinstance(event, ConnectionClosed):
                    raise ConnectionError("the server closed the connection")  # noqa: TRY301
                if event is Signal.NEED_DATA:
                    if unsent:
                        unsent = self._write(link, unsent)
                    if unsent or exchange.reply is None:
                        self._read(link, bool(unsent), deadline)
        except BaseException as error:
            if isinstance(error, TimeoutError) and not unsent:
                self._connection.abandon(exchange)
            else:
                self._drop()  # what was sent, or what was read, may be half of something
            raise
        return exchange.reply

    def _connected(self) -> socket.socket:
        if self._socket is None or not self._connection.reusable:
            self._drop()
            self._connection = ClientConnection(self._limits, dialect=self._dialect)
            self._socket = self._open()
            self._socket.setblocking(False)
            self._selector = selectors.DefaultSelector()
            self._selector.register(self._socket, selectors.EVENT_READ)
        return self._socket

    def _open(self) -> socket.socket:
        host, port = self._address
        if host.startswith(_UNIX):
            link = socket.socket(socket.AF_UNIX)
            try:
                link.settimeout(self._timeout)
                link.connect(host.removeprefix(_UNIX))
            except BaseException:
                link.close()
                raise
            return link
        link = socket.create_connection((host, port), self._timeout)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return link

    def _write(self, link: socket.socket, data: memoryview) -> memoryview:
        """Send as much as goes at once; the rest."""
        try:
            sent = link.send(data)
        except BlockingIOError:
            return data
        if self._trace is not None:
            self._trace(">", bytes(data[:sent]))
        return data[sent:]

    def _read(self, link: socket.socket, unsent: bool, deadline: float | None) -> None:
        """Wait for bytes, or for room to send more, and take what is there.

        To send all before reading anything would lock up with a server that has stopped reading because nobody
        reads its answers.
        """
        self._selector.modify(link, selectors.EVENT_READ | selectors.EVENT_WRITE if unsent else selectors.EVENT_READ)
        if not self._selector.select(_left(deadline)):
            raise TimeoutError("the call took longer than its timeout")
        try:
            data = link.recv(65536)
        except BlockingIOError:
            return
        if self._trace is not None:
            self._trace("<", data)
        if data:
            self._connection.receive_data(data)
        else:
            self._connection.receive_eof()

    def _drop(self) -> None:
        self._connection.close()
        if self._socket is not None:
            self._selector.close()
            self._socket.close()
            self._socket = None


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(deadline - time.monotonic(), 0.0)
