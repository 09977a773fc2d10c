"""Where the server listens: TCP, a Unix socket, UDP."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Callable
from contextlib import suppress

from examples.server.options import Options

# As memcached's: nobody but the user that the server runs as may connect.
_UMASK = 0o077


class ListenError(Exception):
    """Some address cannot be listened on; the text says which and why."""


class Listeners:
    """The open sockets. ``addresses`` are where they listen, as people write it."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.tcp: tuple[str, int] | None = None
        self.udp: tuple[str, int] | None = None
        self._servers: list[asyncio.Server] = []
        self._datagrams: asyncio.DatagramTransport | None = None
        self._path: str | None = None

    async def open(
        self,
        options: Options,
        session: Callable[[], asyncio.Protocol],
        datagrams: Callable[[], asyncio.DatagramProtocol],
    ) -> None:
        """Listen on all that is asked for. Raises :class:`ListenError`, with nothing left open."""
        where = ""
        try:
            if options.udp:
                where = f"udp:{options.host}:{options.udp}"
                await self._open_udp(options, datagrams)
            if options.path is not None:
                where = f"unix:{options.path}"
                await self._open_unix(options.path, session)
            if options.port:
                where = f"{options.host}:{options.port}"
                await self._open_tcp(options, session)
        except OSError as error:
            self.close()
            raise ListenError(f"{where}: {error}") from error

    async def _open_tcp(self, options: Options, session: Callable[[], asyncio.Protocol]) -> None:
        loop = asyncio.get_running_loop()
        # The system takes 0 for "any free one".
        server = await loop.create_server(session, options.host, max(options.port, 0), backlog=1024)
        self._servers.append(server)
        host, port = server.sockets[0].getsockname()[:2]
        self.tcp = str(host), int(port)
        self.addresses.append(f"{host}:{port}")

    async def _open_unix(self, path: str, session: Callable[[], asyncio.Protocol]) -> None:
        with suppress(FileNotFoundError):
            if stat.S_ISSOCK(os.lstat(path).st_mode):
                # Left behind by a server that could not tidy up.
                os.unlink(path)
        link = socket.socket(socket.AF_UNIX)
        before = os.umask(_UMASK)
        try:
            link.bind(path)
        except BaseException:
            link.close()
            raise
        finally:
            os.umask(before)
        self._path = path
        loop = asyncio.get_running_loop()
        self._servers.append(await loop.create_unix_server(session, sock=link, backlog=1024))
        self.addresses.append(f"unix:{path}")

    async def _open_udp(self, options: Options, datagrams: Callable[[], asyncio.DatagramProtocol]) -> None:
        loop = asyncio.get_running_loop()
        address = options.host, max(options.udp, 0)
        self._datagrams, _ = await loop.create_datagram_endpoint(datagrams, local_addr=address)
        host, port = self._datagrams.get_extra_info("sockname")[:2]
        self.udp = str(host), int(port)
        self.addresses.append(f"udp:{host}:{port}")

    def close(self) -> None:
        """Listen no more; open connections are none of its business."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        if self._datagrams is not None:
            self._datagrams.close()
            self._datagrams = None
        if self._path is not None:
            with suppress(FileNotFoundError):
                os.unlink(self._path)
            self._path = None
