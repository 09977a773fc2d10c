"""A connection as the asyncio client uses it: bytes in and out over TCP, Unix socket or TLS.

The event loop only tells when the socket is ready. This module receives and sends every byte itself, without a
transport of the loop. So a signal handler that raises an exception between two instructions (``KeyboardInterrupt``, or
``TimeoutError`` of a SIGALRM handler) cannot lose bytes or send them twice unnoticed: ``in_transfer`` is set before
bytes are received or sent, and cleared after their receiver has taken note of them. Whoever finds it set closes the
connection.

The loop must have ``add_reader``: asyncio's own on Unix and uvloop have it; on Windows ``asyncio.SelectorEventLoop``
has it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from memproto.clients.keepalive import keep_alive
from memproto.clients.system_errors import is_system_error
from memproto.clients.tls import Tls

__all__ = ["INTERRUPTED", "AsyncStream"]

#: The reason that a connection is closed for when ``in_transfer`` was found set.
INTERRUPTED: Final = "a call was interrupted"

_CONNECTING: Final = (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY)
# The most bytes to receive at a time.
_CHUNK: Final = 64 * 1024
# How long to wait before the next attempt while the queue of a Unix socket is full, in seconds.
_QUEUE_FULL: Final = 0.01


class AsyncStream:
    """A socket and its TLS.

    It calls ``on_data`` with all bytes received, with ``b""`` at the end of the stream; ``on_sent`` when the socket has
    taken bytes that had to wait; and ``on_failure`` with the kind of the error and its text.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_data: Callable[[bytes], None],
        on_sent: Callable[[], None],
        on_failure: Callable[[type[Exception], str], None],
    ) -> None:
        #: Whether bytes are on their way between the socket and the protocol. If it is set when the next transfer
        #: begins, an exception has interrupted the last one, and bytes may be lost.
        self.in_transfer: bool = False
        #: The bytes that the socket has not taken yet.
        self.unsent: bytes | memoryview = b""
        self._loop = loop
        self._on_data, self._on_sent, self._on_failure = on_data, on_sent, on_failure
        self._socket: socket.socket | None = None
        self._fd = -1
        self._tls: Tls | None = None

    # --- opening

    async def connect(self, family: int, address: str | tuple[object, ...], keepalive: int | None = None) -> float:
        """Connect to one address and return the seconds that took. Closes the socket it had. Raises OSError."""
        self.close()
        opened = socket.socket(family, socket.SOCK_STREAM)
        opened.setblocking(False)
        self._fd, self._socket = opened.fileno(), opened
        began = self._loop.time()
        if family == socket.AF_UNIX:
            while (error := opened.connect_ex(address)) == errno.EAGAIN:
                await asyncio.sleep(_QUEUE_FULL)
        else:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if keepalive is not None:
                keep_alive(opened, keepalive)
            error = opened.connect_ex(address)
            if error in _CONNECTING:
                await self._ready(self._loop.add_writer, self._loop.remove_writer)
                error = opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, f"connecting to {address}: {os.strerror(error)}")
        return self._loop.time() - began

    async def handshake(self, context: ssl.SSLContext, name: str) -> bytes:
        """Begin TLS with a server whose certificate must be one for ``name``.

        Returns what the server has sent behind the end of the handshake, because nothing makes the socket readable for
        it any more. Raises ssl.SSLError or another OSError.
        """
        opened, tls = self._socket, Tls(context, name)
        assert opened is not None
        done = False
        while not done:
            try:
                done = tls.handshake()
            except OSError:
                with suppress(OSError):
                    opened.send(tls.outgoing.read())  # the alert, which tells the server why
                raise
            unsent = tls.outgoing.read()
            while unsent:
                await self._ready(self._loop.add_writer, self._loop.remove_writer)
                unsent = unsent[opened.send(unsent) :]
            if not done:
                await self._ready(self._loop.add_reader, self._loop.remove_reader)
                data = opened.recv(_CHUNK)
                if not data:
                    raise ConnectionError("the connection was lost: the server closed it")
                tls.receive(data)
        self._tls = tls
        return tls.decrypt(b"")

    async def _ready(self, add: Callable[[int, Callable[[], None]], object], remove: Callable[[int], object]) -> None:
        """Wait until the socket is readable or writable."""
        ready = self._loop.create_future()

        def on_ready() -> None:
            if not ready.done():
                ready.set_result(None)

        add(self._fd, on_ready)
        try:
            await ready
        finally:
            if self._socket is not None:  # close() has removed it already
                remove(self._fd)

    def start(self) -> None:
        """Receive from now on."""
        self._loop.add_reader(self._fd, self._on_readable)

    # --- bytes

    def write(self, data: bytes) -> None:
        """Send what the socket takes at once, and keep the rest until it takes more. The caller sets ``in_transfer``.

        There must be no unsent bytes. A failure of the socket goes to ``on_failure`` and is not raised; ssl.SSLError
        is.
        """
        self._send(data if self._tls is None else self._tls.encrypt(data))

    def write_last(self, data: bytes) -> None:
        """Send what the socket takes at once, before the connection is closed. Raises OSError."""
        assert self._socket is not None
        self._socket.send(data if self._tls is None else self._tls.encrypt(data))

    def _send(self, data: bytes | memoryview) -> None:
        opened = self._socket
        assert opened is not None
        try:
            while (sent := opened.send(data)) < len(data):
                data = memoryview(data)[sent:]
            data = b""
        except OSError as error:
            if not _would_block(error):
                self._on_failure(ConnectionError, f"the connection was lost: {error}")
                return
        if data and not self.unsent:
            self._loop.add_writer(self._fd, self._on_writable)
        elif self.unsent and not data:
            self._loop.remove_writer(self._fd)
            self._on_sent()
        self.unsent = data

    def _on_writable(self) -> None:
        try:
            if self.in_transfer:
                self._on_failure(ConnectionError, INTERRUPTED)
                return
            self.in_transfer = True
            self._send(self.unsent)
            self.in_transfer = False
        except BaseException:
            self._on_failure(ConnectionError, INTERRUPTED)
            raise

    def _on_readable(self) -> None:
        try:
            interrupted, self.in_transfer = self.in_transfer, True
            if interrupted:
                self._on_failure(ConnectionError, INTERRUPTED)
                return
            assert self._socket is not None
            try:
                data = self._socket.recv(_CHUNK)
                ended = not data
                if self._tls is not None and data:
                    data = self._tls.decrypt(data)
            except OSError as error:
                if not _would_block(error):
                    self._on_failure(ConnectionError, f"the connection was lost: {error}")
                    return
            else:
                if data or ended:
                    self._on_data(data)
            self.in_transfer = False
        except BaseException:
            self._on_failure(ConnectionError, INTERRUPTED)
            raise

    # --- closing

    def close(self) -> None:
        """Close the socket, if there is one, and remove it from the loop."""
        if self._socket is not None:
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            # First, because another socket may get the same number as soon as this one is closed.
            opened, self._socket = self._socket, None
            opened.close()

    def discard(self) -> None:
        """Close the socket and leave the loop alone: it is closed, or it is the loop of another process."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _would_block(error: OSError) -> bool:
    """Whether the socket is just not ready. Raises an exception of a signal handler again."""
    if not is_system_error(error):
        raise error
    return error.errno == errno.EAGAIN
