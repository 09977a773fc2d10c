"""The connections of an asyncio client to its server: which one takes a call, when one is opened, and when closed."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import ssl
import threading
from contextlib import suppress
from typing import Final

from memproto import Limits
from memproto.clients.async_connection import NO_REPLY, AsyncConnection, NotSentError
from memproto.clients.options import AsyncSettings
from memproto.clients.ring import Node
from memproto.commands import Command, authenticate

__all__ = ["AsyncPool"]

_UNIX: Final = "unix:"
# How long close() waits for the tasks that open connections to end, in seconds.
_CLOSE_TIMEOUT: Final = 1.0


class AsyncPool:
    """At most ``settings.pool`` connections, for one process and one event loop at a time."""

    def __init__(self, node: Node, settings: AsyncSettings) -> None:
        #: The seconds that a whole call may take.
        self.timeout: float | None = settings.timeout
        #: Every connection that may have an open socket.
        self.connections: list[AsyncConnection] = []
        self._node = node
        self._settings = settings
        self._most = settings.pool or 1
        self._login = None if settings.username is None else authenticate(settings.username, settings.password)
        self._failed_attempts, self._last_error, self._retry_at = 0, "", 0.0
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process, self._thread = os.getpid(), threading.get_ident()

    async def replies(self, command: Command[object], limit: asyncio.Timeout | None = None) -> list[object]:
        """Send the requests of a command, again if the connection is lost and that does no harm; return the replies.

        ``limit`` is the client's own timeout. Raises what a call of the client raises.
        """
        if asyncio.get_running_loop() is not self._loop or os.getpid() != self._process:
            self._use_running_loop()
        attempts = 0
        while True:
            attempts += 1
            connection, fresh = self._least_busy(), False
            if connection is None:
                connection, fresh = await self._wait_for_connection(limit)
            try:
                return await connection.run(command, limit)
            except ConnectionError as error:
                # The server may have closed it long ago, which shows only now. To read a second time does no harm.
                may_repeat = isinstance(error, NotSentError) or (command.repeatable and not fresh)
                if not may_repeat or attempts > self._most or connection.loop is not self._loop:
                    raise

    async def close(self) -> None:
        """Close all connections, and raise ConnectionError in the calls that wait. A closed client stays closed.

        An idle connection sends ``quit``. All sockets are closed before this waits for anything.
        """
        self._closed = True
        self._use_running_loop()
        connections = list(self.connections)
        try:
            for connection in connections:
                connection.close_gracefully("the client was closed")
        finally:
            for connection in connections:
                connection.give_up("the client was closed")
        opening = [each.opening for each in connections if each.opening is not None and not each.opening.done()]
        if opening:
            await asyncio.wait(opening, timeout=_CLOSE_TIMEOUT)

    def _use_running_loop(self) -> None:
        """Make the running event loop of this process the client's own. Raises RuntimeError."""
        loop, process = asyncio.get_running_loop(), os.getpid()
        if loop is self._loop and process == self._process:
            return
        gone = process != self._process or self._loop is None or self._loop.is_closed()
        if not gone and self._loop is not None and self._loop.is_running():
            if self._thread != threading.get_ident():
                raise RuntimeError("the client is in use in the event loop of another thread, which is running")
            gone = True  # no thread runs two loops: an exception has ended the run of this one
        while self.connections:
            connection = self.connections.pop()
            if gone:
                connection.discard()
            else:
                connection.give_up("the client is used in another event loop")
        self._loop, self._process, self._thread = loop, process, threading.get_ident()
        self._retry_at = 0.0  # it is a time of the other loop's clock

    def _least_busy(self) -> AsyncConnection | None:
        """Return the connection with the fewest outstanding requests; ``None`` if the client should open another one.

        Raises ConnectionError if the client is closed.
        """
        if self._closed:
            raise ConnectionError("the client is closed")
        if self._settings.idle is not None:
            self._close_idle(self._settings.idle)
        best: AsyncConnection | None = None
        opening = False
        for connection in self.connections:
            if not connection.usable:
                opening = opening or connection.is_opening
            elif best is None or connection.protocol.outstanding < best.protocol.outstanding:
                best = connection
        if best is None or opening or len(self.connections) >= self._most or not best.protocol.outstanding:
            return best
        return best if self._backoff_left() > 0 else None

    def _close_idle(self, seconds: float) -> None:
        for connection in list(self.connections):
            if connection.is_idle(seconds):
                connection.close_gracefully("no call has used the connection")

    def _backoff_left(self) -> float:
        """Return the seconds until the client may try to connect again after a failure; 0 or less if it may now."""
        return self._retry_at - asyncio.get_running_loop().time()

    async def _wait_for_connection(self, limit: asyncio.Timeout | None) -> tuple[AsyncConnection, bool]:
        """Return a connection, and whether this call has opened it. Raises OSError, AuthenticationError."""
        mine: AsyncConnection | None = None
        while True:
            if asyncio.get_running_loop() is not self._loop:
                raise ConnectionError("the client is used in another event loop")
            connection = self._least_busy()
            if connection is not None:
                return connection, connection is mine
            connection = next((each for each in self.connections if each.is_opening), None)
            if connection is None:
                wait = self._backoff_left()
                if wait > 0:
                    if not self._settings.patient:
                        raise ConnectionError(f"next attempt to connect in {wait:.2f} seconds: {self._last_error}")
                    await asyncio.sleep(wait)
                    continue
                mine = connection = self._open_connection()
            assert connection.opening is not None
            began = connection.snapshot()
            try:
                # A task of its own opens it: if this call is cancelled, others still wait for the connection.
                await asyncio.wait([connection.opening])
            except asyncio.CancelledError:
                connection.count_timeout(began, limit)
                raise
            error = connection.opening_error()
            if error is not None and not self._closed:
                connection.give_up(str(error))
                if connection.retired:
                    continue  # calls that had waited longer than this one have timed out
                waits = self._settings.patient or any(each.usable for each in self.connections)
                if not isinstance(error, OSError) or isinstance(error, ssl.SSLError) or not waits:
                    raise error

    def _open_connection(self) -> AsyncConnection:
        """Begin to open a connection. It takes the place of a retired one if the client has ``pool`` of them."""
        for each in list(self.connections):
            # One that has failed, or that no task opens, is here only if a KeyboardInterrupt came in between.
            if each.failure or each.opening is None or (each.retired and len(self.connections) >= self._most):
                each.give_up(NO_REPLY)
        settings = self._settings
        connection = AsyncConnection(settings.dialect, settings.limits or Limits(), self._remove, settings.trace)
        self.connections.append(connection)
        connection.open_by(self._establish)
        return connection

    async def _establish(self, connection: AsyncConnection) -> None:
        """Open a connection.

        The calls that wait for it limit how long that may take, see ``AsyncConnection.count_timeout``.
        """
        try:
            await self._connect(connection)
            await connection.start(self._settings.tls, self._settings.server_hostname or self._node.host)
            if self._login is not None:
                self._login.result(await connection.run(self._login))
            connection.take_calls()
        except BaseException as error:
            if isinstance(error, OSError):
                self._delay_next_attempt(error)
            connection.fail(ConnectionError, str(error))
            raise
        self._failed_attempts = 0

    async def _connect(self, connection: AsyncConnection) -> None:
        """Connect to the first address that accepts. Raises OSError.

        Each address has an equal share of the timeout, so that a silent one leaves time for the next. Only the timeout
        of the call limits the last one.
        """
        loop = asyncio.get_running_loop()
        host, port = self._node.host, self._node.port
        if host.startswith(_UNIX):
            return await connection.connect(socket.AF_UNIX, host.removeprefix(_UNIX))
        try:
            found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
        except socket.gaierror:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        *others, (family, _, _, _, last) = found
        share = None if self.timeout is None else self.timeout / len(found)
        for other, _, _, _, address in others:
            with suppress(OSError):
                async with asyncio.timeout(share):
                    return await connection.connect(other, address, self._settings.keepalive)
        return await connection.connect(family, last, self._settings.keepalive)

    def _delay_next_attempt(self, error: OSError) -> None:
        """Try nothing for a while. The time is random in part, so that not all clients of a server return at once."""
        first, most = self._settings.backoff
        wait = min(first * 2.0**self._failed_attempts, most) * random.uniform(0.5, 1.0)
        self._failed_attempts = min(self._failed_attempts + 1, 64)
        self._last_error = str(error)
        self._retry_at = asyncio.get_running_loop().time() + wait

    def _remove(self, connection: AsyncConnection) -> None:
        if connection in self.connections:
            self.connections.remove(connection)
