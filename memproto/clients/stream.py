"""A connection as the blocking client uses it: bytes in and out, each wait up to a deadline, TCP, Unix socket or TLS.

The socket never blocks. Every wait is a ``poll`` with the time that is left by the monotonic clock. So neither a signal
whose handler returns nor a server that sends a byte now and then prolongs a call. Under gevent's monkey patching
``poll`` lets the other greenlets run.

A failure raises :class:`Expired` or :class:`Fault`. Only this module raises them, so that nobody mistakes a
``TimeoutError`` or ``BlockingIOError`` of a signal handler for a failure. After any other exception nobody knows which
bytes have been sent or received, and the connection must not be used again.

A connection belongs to the process that opened it. At a fork the child closes its copies of all connections and sends
nothing.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import ssl
import time
from contextlib import suppress
from typing import Final, Protocol, Self, TypeAlias
from weakref import ref

from memproto import RemoteProtocolError
from memproto.clients.keepalive import keep_alive
from memproto.clients.system_errors import is_system_error
from memproto.clients.tls import Tls

__all__ = ["READABLE", "WRITABLE", "Expired", "Fault", "Stream", "TlsStream"]

_Address: TypeAlias = str | tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]

_UNIX: Final = "unix:"
_CHUNK: Final = 65536
#: The bits that :meth:`Stream.wait` returns, with the values of ``select.POLLIN`` and ``select.POLLOUT``.
READABLE: Final = 1
WRITABLE: Final = 4
# In progress, by the names of Unix and of Windows.
_CONNECTING: Final = (errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", errno.EWOULDBLOCK))
# How long to wait before the next attempt while the queue of a Unix socket is full, in seconds. No poll tells when it
# has room.
_QUEUE_FULL: Final = 0.01


class Expired(Exception):  # noqa: N818  # it says what has happened
    """The deadline is over. The connection is intact if all bytes of the request have been sent."""


class Fault(Exception):  # noqa: N818
    """A failure of the server or the network. The connection is lost, unless ``error`` is a TimeoutError.

    ``error`` is the exception for the caller of the client. ``sent`` says whether the server may have received a part
    of the request.
    """

    def __init__(self, error: OSError | RemoteProtocolError, sent: bool = False) -> None:
        super().__init__(error)
        self.error: OSError | RemoteProtocolError = error
        self.sent: bool = sent


class Stream:
    """A connected socket. Every method may raise :class:`Fault`."""

    def __init__(self, family: int, opened: list[socket.socket] | None = None) -> None:
        #: The process that opened it.
        self.process: int = os.getpid()
        made = None
        try:
            made = self._socket = socket.socket(family, socket.SOCK_STREAM)
            if opened is not None:
                opened.append(made)
            _remember(made)
            made.setblocking(False)
            self._reads = _poller(made, READABLE)
            self._both = _poller(made, READABLE | WRITABLE)
        except BaseException as error:
            if made is not None:
                made.close()
            if isinstance(error, OSError):
                raise _fault(error) from error
            raise

    @classmethod
    def open(
        cls,
        host: str,
        port: int,
        deadline: float | None,
        keepalive: int | None = None,
        opened: list[socket.socket] | None = None,
    ) -> Self:
        """Connect to the addresses of a host one after the other, or to ``unix:PATH``.

        Each address has an equal share of the time until ``deadline``, and what the ones before have left. Only the
        look-up of a name cannot be cut short. With ``keepalive`` TCP asks a server that was silent for so many seconds
        whether it is there. All sockets are added to ``opened``, so that the caller can close them if an interruption
        prevents that here. Raises :class:`Expired` or :class:`Fault`.
        """
        addresses = _addresses(host, port)
        while True:
            left = len(addresses)
            family, address = addresses.pop(0)
            now = time.monotonic()
            stream = None
            try:
                stream = cls(family, opened)
                stream._connect(family, address, None if deadline is None else now + (deadline - now) / left)
                if keepalive is not None and family != socket.AF_UNIX:
                    stream._keep_alive(keepalive)
                return stream  # noqa: TRY300  # an interruption here is caught below
            except BaseException as error:
                if stream is not None:
                    stream.close()
                if not addresses or not isinstance(error, Expired | Fault):
                    raise

    def _connect(self, family: int, address: _Address, deadline: float | None) -> None:
        code = self._socket.connect_ex(address)
        while code == errno.EAGAIN and family == socket.AF_UNIX:
            time.sleep(_QUEUE_FULL if deadline is None else min(_QUEUE_FULL, _milliseconds(deadline) / 1000))
            code = self._socket.connect_ex(address)
        if code in _CONNECTING:
            self.wait(deadline, write=True)
            code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise Fault(OSError(code, os.strerror(code)))
        if family != socket.AF_UNIX:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _keep_alive(self, seconds: int) -> None:
        try:
            keep_alive(self._socket, seconds)
        except OSError as error:
            raise _fault(error) from error

    def encode(self, data: bytes) -> bytes:
        """Return the bytes to send for these; without TLS the same."""
        return data

    def send(self, data: bytes | memoryview) -> int:
        """Send what the socket takes at once, and return how many bytes that was. It is a fault if it takes none."""
        try:
            return self._socket.send(data)
        except OSError as error:
            raise _fault(error) from error

    def receive(self) -> bytes:
        """Return the bytes received. Call it only after :meth:`wait`. The end of the stream is a fault."""
        try:
            data = self._socket.recv(_CHUNK)
        except OSError as error:
            raise _fault(error) from error
        if not data:
            raise Fault(ConnectionError("the server closed the connection before it had answered"))
        return data

    def wait(self, deadline: float | None, write: bool = False) -> int:
        """Wait until the socket is readable, or with ``write`` also until it is writable.

        Returns the bits READABLE and WRITABLE, and others. An error or the end of the stream makes a socket readable.
        Raises :class:`Expired` if the deadline is over, even if the socket is readable: a server may send a byte now
        and then forever.
        """
        found = (self._both if write else self._reads).poll(None if deadline is None else _milliseconds(deadline))
        if not found:
            raise Expired
        return found[0][1]

    def has_data(self) -> bool:
        """Whether the socket is readable now: there are bytes, or the end of the stream."""
        return bool(self._reads.poll(0))

    def close(self) -> None:
        """Close the socket and send nothing, not even the end of TLS."""
        self._socket.close()
        _OPEN.pop(id(self._socket), None)


class TlsStream(Stream):
    """A stream with TLS, which begins with :meth:`handshake`."""

    _tls: Tls

    def handshake(self, context: ssl.SSLContext, name: str, deadline: float | None) -> None:
        """Begin TLS; the certificate must be one for ``name``. Raises :class:`Expired`."""
        tls = self._tls = Tls(context, name)
        while True:
            try:
                done = tls.handshake()
            except OSError as error:
                with suppress(Fault):
                    self.send(tls.outgoing.read())  # the alert, which tells the server why
                raise _fault(error) from error
            unsent = memoryview(tls.outgoing.read())
            while unsent:
                self.wait(deadline, write=True)
                unsent = unsent[self.send(unsent) :]
            if done:
                return
            self.wait(deadline)
            tls.receive(super().receive())

    def encode(self, data: bytes) -> bytes:
        """Return the bytes to send for these: encrypted."""
        try:
            return self._tls.encrypt(data)
        except OSError as error:
            raise _fault(error) from error

    def receive(self) -> bytes:
        """Return the bytes received, decrypted; empty if a record is incomplete. Call it only after :meth:`wait`.

        The end of the stream is a fault.
        """
        data, end = b"", None
        try:
            data = super().receive()
        except Fault as fault:
            end = fault
        try:
            # At the end of the stream TLS may still hold bytes that arrived with the end of the handshake.
            data = self._tls.decrypt(data)
        except OSError as error:
            raise _fault(error) from error
        if end is not None and not data:
            raise end
        return data


def _fault(error: OSError) -> OSError | Fault:
    """Return what to raise for an error of an operation: a fault for the system's, a signal handler's as it is."""
    return Fault(error) if is_system_error(error) else error


# --- waiting


class _Poller(Protocol):
    def poll(self, milliseconds: float | None, /) -> list[tuple[int, int]]: ...


class _Select:
    """Has the interface of ``select.poll`` for one socket, where there is no ``poll``: on Windows."""

    def __init__(self, connected: socket.socket, events: int) -> None:
        self._reads = [connected]
        self._writes = [connected] if events & WRITABLE else []

    def poll(self, milliseconds: float | None, /) -> list[tuple[int, int]]:
        seconds = None if milliseconds is None else milliseconds / 1000
        # On Windows a refused connection is an exceptional condition of the socket.
        read, write, other = select.select(self._reads, self._writes, self._writes, seconds)
        events = (READABLE if read else 0) | (WRITABLE if write or other else 0)
        return [(0, events)] if events else []


def _poller(connected: socket.socket, events: int) -> _Poller:
    if not hasattr(select, "poll"):
        return _Select(connected, events)
    poller = select.poll()
    poller.register(connected, events)
    return poller


def _milliseconds(deadline: float) -> float:
    milliseconds = (deadline - time.monotonic()) * 1000
    if milliseconds <= 0:
        raise Expired
    return milliseconds


# --- connecting


def _addresses(host: str, port: int) -> list[tuple[int, _Address]]:
    if host.startswith(_UNIX):
        return [(socket.AF_UNIX, host.removeprefix(_UNIX))]
    try:
        found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    except OSError as error:
        raise _fault(error) from error
    return [(family, address) for family, _, _, _, address in found]


# --- forks

# The reference to a socket that the garbage collector took stays until another socket has its identity, or forever.
# That is rare, and better than a callback of the reference, which would lose an exception of a signal handler.
_OPEN: Final[dict[int, ref[socket.socket]]] = {}


def _remember(made: socket.socket) -> None:
    _OPEN[id(made)] = ref(made)


def _close_in_child() -> None:
    """Close the child's copies of all sockets, so that it cannot read replies to its parent, not even within a call."""
    for each in _OPEN.values():
        made = each()
        if made is not None:
            made.close()
    _OPEN.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
