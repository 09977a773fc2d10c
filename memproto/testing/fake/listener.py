"""The socket on which a fake accepts connections; it keeps its port while it refuses them."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import suppress

_BACKLOG = 128


class Listener:
    """Listens on TCP, or with ``path`` on a Unix socket. Raises OSError if that is impossible."""

    def __init__(self, host: str, port: int, path: str | None) -> None:
        self._path = path
        self._host = host
        self.port: int = port
        self.socket: socket.socket = self._bound()
        if path is None:
            self.port = self.socket.getsockname()[1]
        self.listening: bool = False
        self.listen()

    def _bound(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        sock = socket.socket(family if self._path is None else socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            if self._path is None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind((self._host, self.port))
            else:
                sock.bind(self._path)
        except OSError as error:
            sock.close()
            # The system does not say which address it is.
            address = self._path or f"{self._host}:{self.port}"
            raise OSError(error.errno or errno.ENAMETOOLONG, error.strerror or str(error), address) from None
        return sock

    def listen(self) -> None:
        """Accept connections."""
        self.socket.listen(_BACKLOG)
        self.listening = True

    def refuse(self) -> None:
        """Refuse connections. The socket that replaces the listening one keeps the port for this process."""
        self._close()
        self.listening = False
        self.socket = self._bound()

    def accept(self) -> Iterator[socket.socket]:
        """The connections that wait."""
        with suppress(OSError):
            while True:
                yield self.socket.accept()[0]

    def close(self) -> None:
        """Close, also for processes that have inherited the socket."""
        self._close()
        self.listening = False

    def close_copy(self) -> None:
        """Close the socket of this process only."""
        self.socket.close()

    def _close(self) -> None:
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        if self._path is not None:
            with suppress(OSError):
                os.unlink(self._path)
