"""Where the server listens: TCP with and without TLS, a Unix socket, UDP."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import stat
from collections.abc import Callable
from contextlib import suppress

from memproto.server.acceptor import Acceptor
from memproto.server.addresses import Endpoint
from memproto.server.errors import ListenError
from memproto.server.options import Options
from memproto.server.tls import server_context
from memproto.server.tls_protocol import TlsProtocol

__all__ = ["ListenError", "Listeners"]

# This machine cannot have such an address. That is no error if the name has another address too.
_IMPOSSIBLE = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}
_FAMILIES = {socket.AF_INET: "INET", socket.AF_INET6: "INET6"}

Sessions = Callable[[], asyncio.Protocol]
DatagramSessions = Callable[[], asyncio.DatagramProtocol]


class Listeners:
    """The open sockets. ``addresses`` are where they listen, as people write it, ``ports`` as memcached does.

    ``tcp`` and ``udp`` are the first of their kind. ``tls`` is the context for ``-Z``; without one, it is made when
    the options ask for it.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.addresses: list[str] = []
        self.ports: list[str] = []
        self.tcp: tuple[str, int] | None = None
        self.udp: tuple[str, int] | None = None
        self.tls = tls
        self._acceptors: list[Acceptor] = []
        self._datagrams: list[asyncio.DatagramTransport] = []
        self._path: str | None = None
        self._inode = (0, 0)

    async def open(self, options: Options, session: Sessions, datagrams: DatagramSessions) -> None:
        """Listen on all that is asked for. Raises ``ListenError`` or ``TlsError``, with nothing left open."""
        if self.tls is None and options.tls is not None:
            self.tls = server_context(options.tls)
        where = ""
        try:
            for endpoint in options.endpoints if options.udp else ():
                where = f"udp:{_named(endpoint, options.udp)}"
                await self._open_udp(endpoint, options, datagrams)
            if options.path is not None:
                where = f"unix:{options.path}"
                self._open_unix(options, session)
            for endpoint in options.endpoints if options.port else ():
                where = _named(endpoint, options.port)
                await self._open_tcp(endpoint, options, session)
        # UnicodeError: a host's name that cannot be one.
        except (OSError, UnicodeError) as error:
            self.close()
            raise ListenError(f"cannot listen on {where}: {error}") from error

    async def _open_tcp(self, endpoint: Endpoint, options: Options, session: Sessions) -> None:
        for link in await _bound(endpoint, options.port, socket.SOCK_STREAM):
            self._listen(link, options, self._encrypted(session) if endpoint.tls else session)
            where = self._take("TCP", link)
            self.tcp = self.tcp or where
            self.addresses.append(_format_address(where))

    def _encrypted(self, session: Sessions) -> Sessions:
        """Makes the protocol of each connection: with TLS, if there is TLS."""
        context = self.tls
        return session if context is None else lambda: TlsProtocol(context, session)

    def _listen(self, link: socket.socket, options: Options, session: Sessions) -> None:
        try:
            link.listen(options.backlog)
        except OSError:
            link.close()
            raise
        self._acceptors.append(Acceptor(link, session))

    def _open_unix(self, options: Options, session: Sessions) -> None:
        path = options.path
        assert path is not None
        with suppress(FileNotFoundError):
            if stat.S_ISSOCK(os.lstat(path).st_mode):
                # A server that was killed has left it.
                os.unlink(path)
        link = socket.socket(socket.AF_UNIX)
        link.setblocking(False)
        before = os.umask(0o777 & ~options.path_mode)
        try:
            link.bind(path)
        except BaseException:
            link.close()
            raise
        finally:
            os.umask(before)
        self._path, self._inode = path, _inode(path)
        self._listen(link, options, session)
        self.addresses.append(f"unix:{path}")

    async def _open_udp(self, endpoint: Endpoint, options: Options, datagrams: DatagramSessions) -> None:
        loop = asyncio.get_running_loop()
        for link in await _bound(endpoint, options.udp, socket.SOCK_DGRAM):
            transport, _ = await loop.create_datagram_endpoint(datagrams, sock=link)
            self._datagrams.append(transport)
            where = self._take("UDP", link)
            self.udp = self.udp or where
            self.addresses.append(f"udp:{_format_address(where)}")

    def _take(self, kind: str, link: socket.socket) -> tuple[str, int]:
        host, port = link.getsockname()[:2]
        self.ports.append(f"{kind} {_FAMILIES[link.family]}: {port}")
        return str(host), int(port)

    def close(self) -> None:
        """Stop listening; open connections remain."""
        for acceptor in self._acceptors:
            acceptor.close()
        self._acceptors.clear()
        for transport in self._datagrams:
            transport.close()
        self._datagrams.clear()
        if self._path is not None:
            with suppress(OSError):
                # Another server may have created its own there.
                if _inode(self._path) == self._inode:
                    os.unlink(self._path)
            self._path = None


def _inode(path: str) -> tuple[int, int]:
    """The identity of a file, whatever its name."""
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def _named(endpoint: Endpoint, port: int) -> str:
    return _format_address((endpoint.host or "*", endpoint.port or port))


def _format_address(where: tuple[str, int]) -> str:
    host, port = where
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _bound(endpoint: Endpoint, port: int, kind: socket.SocketKind) -> list[socket.socket]:
    """A socket for each address that the endpoint stands for. Raises OSError, with nothing left open."""
    # For the system 0 is any free port.
    found = await asyncio.get_running_loop().getaddrinfo(
        endpoint.host, max(endpoint.port or port, 0), type=kind, flags=socket.AI_PASSIVE
    )
    links: list[socket.socket] = []
    impossible: OSError | None = None
    for family, _, protocol, _, address in dict.fromkeys(found):
        try:
            links.append(_socket(family, kind, protocol, address))
        except OSError as error:
            if error.errno not in _IMPOSSIBLE:
                for link in links:
                    link.close()
                raise
            impossible = error
    if not links and impossible is not None:
        raise impossible
    return links


def _socket(
    family: int, kind: socket.SocketKind, protocol: int, address: tuple[str | int, ...] | tuple[int, bytes]
) -> socket.socket:
    link = socket.socket(family, kind, protocol)
    try:
        link.setblocking(False)
        if family == socket.AF_INET6:
            # Its IPv4 twin has a socket of its own.
            link.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Each connection inherits these. Keep-alive finds clients whose machine is gone.
            link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.bind(address)
    except BaseException:
        link.close()
        raise
    return link
