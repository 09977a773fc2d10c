"""Where the reference server listens, and what it speaks there."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
import stat
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from memproto import Dialect
from memproto.clients.client import Client, ServerError
from memproto.server import acceptor
from memproto.server.acceptor import Acceptor
from tests.server.test_process import run_server
from tests.support.peers import DEADLINE, require, running_example

LOOPS = ["asyncio", pytest.param("uvloop", marks=pytest.mark.peer("uvloop"))]


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize("loop", LOOPS)
def test_unix_socket_serves_all_dialects(tmp_path: Path, loop: str, dialect: Dialect) -> None:
    if loop == "uvloop":
        require("uvloop")
    path = tmp_path / "socket"
    with running_example("-s", str(path), "--loop", loop) as server:
        assert server.said == f"listening on unix:{path}\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        with Client(f"unix:{path}", timeout=DEADLINE, dialect=dialect) as client:
            assert client.set(b"key", b"value") is True
            assert client.get(b"key") == b"value"
            assert client.stats(b"settings")[b"domain_socket"] == str(path).encode()
            assert b"unix:" in client.stats(b"conns").values()
    assert not path.exists()


def test_unix_socket_tcp_and_udp_together_serve_the_same_items(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with running_example("-s", str(path), "-p", "-1", "-U", "-1") as server:
        assert server.said == f"listening on udp:127.0.0.1:{server.udp}, unix:{path}, 127.0.0.1:{server.port}\n"
        with Client(f"unix:{path}", timeout=DEADLINE) as one, Client(port=server.port, timeout=DEADLINE) as other:
            one.set(b"key", b"value")
            assert other.get(b"key") == b"value"
            told = set(other.stats(b"conns").values())
            assert told > {b"conn_listening", b"unix:%b" % os.fsencode(path), b"tcp:127.0.0.1:%d" % server.port}


def test_unix_socket_that_was_left_behind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as link:
        link.bind(str(path))
    with running_example("-s", str(path)), Client(f"unix:{path}", timeout=DEADLINE) as client:
        assert client.noop()


def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    told = run_server("-s", str(path), "-p", "-1", "-U", "-1")
    assert told.returncode == 71
    assert told.stderr.startswith(f"cannot listen on unix:{path}: [Errno ")
    assert path.read_text() == "precious"


def test_unix_socket_without_a_server_is_an_error_of_the_client(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Client(f"unix:{tmp_path}/none", timeout=DEADLINE).noop()


def test_server_on_a_udp_port_in_use_does_not_start() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind(("127.0.0.1", 0))
        port = link.getsockname()[1]
        told = run_server("-p", "-1", "-U", str(port))
    assert told.returncode == 71
    assert told.stderr.startswith(f"cannot listen on udp:127.0.0.1:{port}: ")


@pytest.mark.skipif(not socket.has_ipv6, reason="there is no IPv6")
def test_ipv4_and_ipv6_addresses_are_all_served() -> None:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("this machine has no address ::1")
    with running_example("-l", "[::1]:-1,127.0.0.1", "-U", "-1") as server:
        addresses = server.said.removeprefix("listening on ").strip().split(", ")
        assert [address.rpartition(":")[0] for address in addresses] == [
            "udp:[::1]",
            "udp:127.0.0.1",
            "[::1]",
            "127.0.0.1",
        ]
        for host, address in (("::1", addresses[2]), ("127.0.0.1", addresses[3])):
            with socket.create_connection((host, int(address.rpartition(":")[2])), DEADLINE) as link:
                link.sendall(b"mn\r\n")
                assert link.recv(100) == b"MN\r\n"


def test_a_name_stands_for_all_its_addresses() -> None:
    names = {found[4][0] for found in socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)}
    with running_example("-l", "localhost") as server:
        addresses = server.said.removeprefix("listening on ").strip().split(", ")
        assert "127.0.0.1" in {address.rpartition(":")[0] for address in addresses}
        assert len(addresses) <= len(names)
        with Client(port=server.port, timeout=DEADLINE) as client:
            assert client.noop()


@pytest.mark.parametrize("address", ["192.0.2.1", "a..b", "no-such-host.invalid", "127.0.0.1,192.0.2.1"])
def test_address_that_this_machine_does_not_have_is_an_error(address: str) -> None:
    told = run_server("-p", "-1", "-l", address)
    assert told.returncode == 71
    assert told.stderr.startswith(f"cannot listen on {address.rpartition(',')[2]}:-1: ")
    assert told.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("protocol", "binary", "text"), [("auto", True, True), ("ascii", False, True), ("binary", True, False)]
)
def test_protocol_option_chooses_the_dialects(protocol: str, binary: bool, text: bool) -> None:
    noop = b"\x80\x0a" + bytes(22)
    with running_example("-B", protocol) as server:
        for sent, answer, spoken in ((noop, b"\x81" + noop[1:], binary), (b"mn\r\n", b"MN\r\n", text)):
            with socket.create_connection(("127.0.0.1", server.port), DEADLINE) as link:
                link.sendall(sent)
                link.shutdown(socket.SHUT_WR)
                assert (link.recv(100) == answer) is spoken
        with Client(
            port=server.port, timeout=DEADLINE, dialect=Dialect.BINARY if binary else Dialect.CLASSIC
        ) as client:
            name = {"auto": b"auto-negotiate"}.get(protocol, protocol.encode())
            assert client.stats(b"settings")[b"binding_protocol"] == name


def test_verbosity_is_set_by_text_and_unknown_in_binary() -> None:
    with (
        running_example() as server,
        socket.create_connection(("127.0.0.1", server.port), DEADLINE) as link,
        Client(port=server.port, timeout=DEADLINE) as client,
    ):
        assert client.stats(b"settings")[b"verbosity"] == b"0"
        link.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert link.recv(100) == b""
        with socket.create_connection(("127.0.0.1", server.port), DEADLINE) as other:
            other.sendall(b"verbosity 1\r\n")
            assert other.recv(100) == b"OK\r\n"
            assert client.stats(b"settings")[b"verbosity"] == b"1"
            other.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert other.recv(100) == b""
        with socket.create_connection(("127.0.0.1", server.port), DEADLINE) as other:
            other.sendall(b"\x80\x1b\0\0\4\0\0\0\0\0\0\4" + bytes(12) + b"\0\0\0\2")
            assert other.recv(100)[6:8] == b"\0\x81"
        assert client.stats(b"settings")[b"verbosity"] == b"1"
        with pytest.raises(ServerError):
            client.stats(b"nonsense")
    assert server.said.count("is HTTP") == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is looked at in /proc")
@pytest.mark.parametrize("where", ["tcp", "unix"])
@pytest.mark.parametrize("loop", LOOPS)
def test_without_files_for_more_connections_one_line_says_so_and_those_there_are_served(
    tmp_path: Path, loop: str, where: str
) -> None:
    if loop == "uvloop":
        require("uvloop")
    path = tmp_path / "socket"
    with (
        running_example("--loop", loop, *(() if where == "tcp" else ("-s", str(path)))) as server,
        ExitStack() as stack,
    ):

        def connect() -> socket.socket:
            if where == "tcp":
                return stack.enter_context(socket.create_connection(("127.0.0.1", server.port), DEADLINE))
            link = stack.enter_context(socket.socket(socket.AF_UNIX))
            link.settimeout(DEADLINE)
            link.connect(str(path))
            return link

        def serves(link: socket.socket) -> bool:
            link.sendall(b"mn\r\n")
            return link.recv(100) == b"MN\r\n"

        # What the server opens for its first client stays open.
        with connect() as first:
            assert serves(first)
        process = server.process.pid
        files = Path(f"/proc/{process}/fd")
        most = len(list(files.iterdir())) + 10
        resource.prlimit(process, resource.RLIMIT_NOFILE, (most, most))
        links = [connect() for _ in range(60)]
        # Not all ten: the file of the client that has just gone may be open still.
        assert all(serves(link) for link in links[:8])
        deadline = time.monotonic() + DEADLINE
        while len(server.lines) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        # It tries again, and fails again.
        time.sleep(2 * acceptor.RETRY)
        assert all(serves(link) for link in links[:8])
        for link in links[:8]:
            link.close()
        # The next in the queue.
        assert all(serves(link) for link in links[10:16])
        assert len(server.lines) == 2
        assert server.lines[1].endswith(f"cannot accept connections for now: {os.strerror(errno.EMFILE)}\n")
        for link in links:
            link.close()


def test_a_connection_that_cannot_be_accepted_does_not_stop_the_others() -> None:
    class Link:
        """A listening socket that has a fault to tell before the next connection."""

        def __init__(self, link: socket.socket, *faults: int) -> None:
            self.link = link
            self.faults = list(faults)

        def fileno(self) -> int:
            return self.link.fileno()

        def accept(self) -> tuple[socket.socket, object]:
            if self.faults:
                raise OSError(self.faults.pop(0), "fault")
            return self.link.accept()

        def close(self) -> None:
            self.link.close()

    async def run() -> None:
        made = asyncio.Event()

        class Protocol(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                made.set()
                transport.close()

        listening = socket.create_server(("127.0.0.1", 0))
        listening.setblocking(False)
        # Linux tells the faults of the network, too.
        link = Link(listening, errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.EINTR)
        acceptor = Acceptor(link, Protocol)
        _, writer = await asyncio.open_connection(*listening.getsockname())
        async with asyncio.timeout(DEADLINE):
            await made.wait()
        assert link.faults == []
        writer.close()
        acceptor.close()

    asyncio.run(run())
