"""Accepts connections.

The event loops can do this themselves. asyncio, when it has no more files, fails 32 times at once, and tries again for
each of these a second later: so it does little else before long, and logs a traceback each time.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Protocol

from memproto.server.log import log

#: How many connections are accepted in a turn of the event loop, so that the others have their turn too.
ACCEPTS_PER_TURN = 32
#: Seconds until it tries again when the system has no file or no memory for a connection.
RETRY = 1.0
#: Seconds between two lines of the log about that.
LOG_INTERVAL = 60.0

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Listening(Protocol):
    """A socket that listens and does not block."""

    def fileno(self) -> int:
        """Its file descriptor."""
        ...

    def accept(self) -> tuple[socket.socket, object]:
        """The next connection and its address. Raises OSError."""
        ...

    def close(self) -> None:
        """Stop listening."""


class Acceptor:
    """Accepts the connections of ``link``; ``session`` makes a protocol for each."""

    def __init__(self, link: Listening, session: Callable[[], asyncio.Protocol]) -> None:
        self._link = link
        self._session = session
        self._loop = asyncio.get_running_loop()
        self._retry: asyncio.TimerHandle | None = None
        self._last_logged = -LOG_INTERVAL
        self._tasks: set[asyncio.Task[object]] = set()
        self._listen()

    def _listen(self) -> None:
        self._retry = None
        self._loop.add_reader(self._link.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                link, _ = self._link.accept()
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._wait(error)
                # Any other error is that of one connection, or says that there is none.
                return
            link.setblocking(False)
            task: asyncio.Task[object] = self._loop.create_task(self._loop.connect_accepted_socket(self._session, link))
            # The loop itself holds no reference.
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _wait(self, error: OSError) -> None:
        self._loop.remove_reader(self._link.fileno())
        self._retry = self._loop.call_later(RETRY, self._listen)
        if self._loop.time() - self._last_logged >= LOG_INTERVAL:
            self._last_logged = self._loop.time()
            log.error("cannot accept connections for now: %s", error.strerror)

    def close(self) -> None:
        """Stop accepting, and close the socket."""
        if self._retry is not None:
            self._retry.cancel()
        self._loop.remove_reader(self._link.fileno())
        self._link.close()
