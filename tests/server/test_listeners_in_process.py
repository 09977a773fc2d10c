"""Where the server listens, in this process: Unix sockets, UDP, names with several addresses, and what goes wrong."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from memproto.server import Options, Server, StartError, listeners
from memproto.udp import Datagram, decode_datagram, encode_datagram


async def fault_of(options: Options) -> str:
    with pytest.raises(StartError) as caught:
        await Server(options).start()
    return str(caught.value)


def test_udp_has_a_port_of_its_own() -> None:
    async def run() -> None:
        async with Server(Options(port=0, udp=-1)) as server:
            assert server.listeners.udp is not None
            assert server.addresses == (f"udp:127.0.0.1:{server.listeners.udp[1]}",)
            with socket.socket(type=socket.SOCK_DGRAM) as link:
                link.setblocking(False)
                link.connect(server.listeners.udp)
                loop = asyncio.get_running_loop()
                await loop.sock_sendall(link, encode_datagram(Datagram(7, payload=b"version\r\n")))
                async with asyncio.timeout(10):
                    answer = decode_datagram(await loop.sock_recv(link, 1500))
            assert (answer.request_id, answer.payload) == (7, b"VERSION 1.6.18\r\n")

    asyncio.run(run())


def test_socket_that_was_left_behind_is_replaced_and_another_servers_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "socket"

    async def run() -> None:
        with socket.socket(socket.AF_UNIX) as link:
            link.bind(str(path))
        async with Server(Options(port=0, path=str(path))):
            path.unlink()
            path.write_text("of another server")
        assert path.exists()

    asyncio.run(run())


def test_path_without_a_folder_is_an_error(tmp_path: Path) -> None:
    fault = asyncio.run(fault_of(Options(port=0, path=f"{tmp_path}/no folder/socket")))
    assert fault == f"cannot listen on unix:{tmp_path}/no folder/socket: [Errno 2] No such file or directory"


def test_address_that_is_taken_when_it_listens_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: socket.socket, backlog: int) -> None:
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))

    monkeypatch.setattr(socket.socket, "listen", refuse)
    assert asyncio.run(fault_of(Options(port=-1))).startswith("cannot listen on 127.0.0.1:-1: [Errno")


Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str, int]]


def resolving(monkeypatch: pytest.MonkeyPatch, faults: Sequence[int | None]) -> None:
    """A name stands for as many addresses; a socket for each can be made, or fails with an error number."""
    made = listeners._socket
    left = list(faults)

    def make(
        family: int, kind: socket.SocketKind, protocol: int, address: tuple[str | int, ...] | tuple[int, bytes]
    ) -> socket.socket:
        fault = left.pop(0)
        if fault is not None:
            raise OSError(fault, os.strerror(fault))
        return made(family, kind, protocol, ("127.0.0.1", 0))

    async def found(*_: object, **__: object) -> list[Address]:
        addresses = [(f"127.0.0.{number}", 0) for number in range(1, 1 + len(faults))]
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", address) for address in addresses]

    monkeypatch.setattr(listeners, "_socket", make)
    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", found)


@pytest.mark.parametrize(
    ("faults", "listening"),
    [((None, None), 2), ((errno.EADDRNOTAVAIL, None), 1), ((None, errno.EAFNOSUPPORT), 1)],
)
def test_name_listens_on_the_addresses_that_this_machine_can_have(
    faults: tuple[int | None, ...], listening: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        resolving(monkeypatch, faults)
        async with Server(Options(port=-1, host="some-name")) as server:
            assert len(server.addresses) == listening

    asyncio.run(run())


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        ((errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT), errno.EAFNOSUPPORT),
        ((None, errno.EADDRINUSE), errno.EADDRINUSE),
        ((errno.EACCES, None), errno.EACCES),
    ],
)
def test_name_without_a_possible_address_is_an_error_and_so_is_an_address_in_use(
    faults: tuple[int | None, ...], reason: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        resolving(monkeypatch, faults)
        assert await fault_of(Options(port=-1, host="some-name")) == (
            f"cannot listen on some-name:-1: [Errno {reason}] {os.strerror(reason)}"
        )

    asyncio.run(run())


class Link:
    """A socket that notes what is done to it."""

    def __init__(self, *_: object, fault: bool = False) -> None:
        self.fault = fault
        self.calls: list[object] = []

    def setblocking(self, flag: bool) -> None:
        self.calls.append(flag)

    def setsockopt(self, *option: int) -> None:
        self.calls.append(option)

    def bind(self, address: object) -> None:
        self.calls.append(address)
        if self.fault:
            raise OSError(errno.EADDRINUSE, "in use")

    def close(self) -> None:
        self.calls.append("close")


def test_ipv6_socket_is_for_ipv6_only(monkeypatch: pytest.MonkeyPatch) -> None:
    only = (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    link = Link()
    monkeypatch.setattr(socket, "socket", lambda *_: link)
    listeners._socket(socket.AF_INET6, socket.SOCK_DGRAM, 0, ("::1", 0, 0, 0))
    assert link.calls == [False, only, ("::1", 0, 0, 0)]


def test_socket_that_cannot_be_bound_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    link = Link(fault=True)
    monkeypatch.setattr(socket, "socket", lambda *_: link)
    with pytest.raises(OSError, match="in use"):
        listeners._socket(socket.AF_INET, socket.SOCK_DGRAM, 0, ("127.0.0.1", 1))
    assert link.calls[-1] == "close"
