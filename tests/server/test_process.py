"""The reference server as a process: how it starts, what its options do, and how it stops."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
import subprocess
import sys
import time

import pytest

from memproto import Noop, Ok
from memproto.clients.client import Client, ServerError
from memproto.commands import ReplyTooLargeError
from memproto.server import server as server_module
from memproto.server.command_line import parse_arguments
from memproto.server.server import Server
from tests.support.peers import DEADLINE, ROOT, Running, require, running_example

NOOP = b"\x80\x0a" + bytes(22)
NOOP_REPLY = b"\x81\x0a" + bytes(22)
LOOPS = ["asyncio", pytest.param("uvloop", marks=pytest.mark.peer("uvloop"))]


def with_loop(name: str) -> tuple[str, str]:
    if name == "uvloop":
        require("uvloop")
    return "--loop", name


def read_to_the_end(link: socket.socket) -> bytes:
    data = bytearray()
    while piece := link.recv(65536):
        data += piece
    return bytes(data)


def wait_until_refused(port: int) -> None:
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), DEADLINE).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.01)
    pytest.fail("the server still accepts connections")


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1], ids=lambda number: number.name)
def test_a_signal_stops_it_after_its_answers(loop: str, number: signal.Signals) -> None:
    with running_example(*with_loop(loop)) as server:
        with socket.create_connection(("127.0.0.1", server.port), DEADLINE) as link:
            link.sendall(NOOP * 5000 + NOOP[:7])
            assert server.stop(number) == 0
            # Also what it had not yet read when the signal came.
            assert read_to_the_end(link) == NOOP_REPLY * 5000
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), DEADLINE)
        assert server.said == f"listening on 127.0.0.1:{server.port}\n"


@pytest.mark.parametrize("loop", LOOPS)
def test_idle_connections_do_not_hold_it_up(loop: str) -> None:
    with running_example(*with_loop(loop)) as server:
        links = [socket.create_connection(("127.0.0.1", server.port), DEADLINE) for _ in range(20)]
        assert server.stop() == 0
        for link in links:
            assert link.recv(1) == b""
            link.close()


@pytest.mark.parametrize("loop", LOOPS)
def test_a_slow_client_gets_its_answers_from_a_stopping_server(loop: str) -> None:
    size, count = 1_000_000, 20
    with running_example(*with_loop(loop)) as server:
        with (
            Client(port=server.port, timeout=DEADLINE) as client,
            socket.create_connection(("127.0.0.1", server.port), DEADLINE) as link,
        ):
            client.set(b"k", bytes(size))
            link.sendall((b"\x80\x00\x00\x01" + bytes(7) + b"\x01" + bytes(12) + b"k") * count)
            # Its first answer is on its way, so the server has all of it.
            first = link.recv(1)
            server.process.send_signal(signal.SIGTERM)
            wait_until_refused(server.port)
            assert server.process.poll() is None
            data = first + read_to_the_end(link)
            assert len(data) == count * (24 + 4 + 1_000_000)
        assert server.process.wait(DEADLINE) == 0


def test_a_client_that_never_reads_is_cut_off_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "GRACE", 0.1)

    async def run() -> int:
        loop = asyncio.get_running_loop()
        server = Server(parse_arguments(["-p", "-1"]))
        await server.start()
        address = server.address
        value = bytes(1_000_000)
        body = (9 + len(value)).to_bytes(4, "big")
        get = b"\x80\x00\x00\x01" + bytes(7) + b"\x01" + bytes(12) + b"k"
        with socket.socket() as link:
            link.setblocking(False)
            await loop.sock_connect(link, address)
            await loop.sock_sendall(link, b"\x80\x11\0\x01\x08" + bytes(3) + body + bytes(20) + b"k" + value + get * 20)
            assert await loop.sock_recv(link, 2) == b"\x81\x00"
            await server.stop()
            received = 2
            while piece := await loop.sock_recv(link, 65536):
                received += len(piece)
            return received

    # What the system held for it still arrives.
    assert asyncio.run(run()) < 20 * (24 + 4 + 1_000_000)


def test_a_client_that_never_ends_does_not_hold_it_up() -> None:
    with running_example() as server, socket.create_connection(("127.0.0.1", server.port), DEADLINE) as link:
        link.settimeout(0.01)
        server.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + DEADLINE
        while server.process.poll() is None and time.monotonic() < deadline:
            try:
                link.sendall(NOOP)
                link.recv(1000)
            except TimeoutError:
                continue
            except ConnectionError:
                break
        assert server.process.wait(DEADLINE) == 0


def test_a_server_that_was_never_started_can_be_stopped() -> None:
    server = Server(parse_arguments([]))
    asyncio.run(server.stop())
    # It can still be asked, and has accepted nobody.
    assert server.execute(Noop(), 1.0) == Ok()
    assert server.bytes_written == 0


def run_server(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "memproto", "serve", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, cwd=ROOT, check=False)


def test_server_on_a_port_in_use_does_not_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        told = run_server("-p", str(port))
    assert told.returncode == 71
    assert told.stderr.startswith(f"cannot listen on 127.0.0.1:{port}: [Errno {errno.EADDRINUSE}]")
    assert told.stderr.count("\n") == 1


def test_server_on_what_is_no_address_does_not_start() -> None:
    told = run_server("-l", "256.0.0.1")
    assert told.returncode == 71
    assert told.stderr.startswith("cannot listen on 256.0.0.1:11211: ")


def test_mistake_on_the_command_line_is_one_line_and_an_exit_code() -> None:
    told = run_server("-p", "99999")
    assert (told.returncode, told.stdout) == (64, "")
    assert told.stderr.startswith("memproto serve: error: Invalid port number 99999: ")
    assert run_server("-q").returncode == 1
    told = run_server("-V")
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.startswith("memcached 1.6.")


def test_server_listens_on_the_port_that_was_asked_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    server = Running(sys.executable, "-m", "memproto", "serve", "-p", str(port))
    try:
        server.wait_for_port()
        assert server.port == port
        with Client(port=port, timeout=DEADLINE) as client:
            assert client.stats(b"settings")[b"tcpport"] == str(port).encode()
    finally:
        assert server.stop() == 0


def test_largest_item_is_that_of_the_option() -> None:
    with running_example("-I", "4k") as server, Client(port=server.port, timeout=DEADLINE) as client:
        assert client.stats(b"settings")[b"item_size_max"] == b"4096"
        assert client.set(b"key", bytes(4000))
        for size in (4096, 4097, 2**20):
            with pytest.raises(ServerError, match="status 0x0003"):
                client.set(b"key", bytes(size))
        assert client.get(b"key") is None
    with running_example("-I", "8m") as server, Client(port=server.port, timeout=DEADLINE) as client:
        assert client.set(b"key", bytes(7 * 2**20))
        # The limit of the client's own, until it is told of the server's.
        with pytest.raises(ReplyTooLargeError, match="limit is 1048576"):
            client.get(b"key")
        assert client.get(b"other") is None


def test_items_keep_to_the_memory_of_the_option() -> None:
    with running_example("-m1", "-I100k") as server, Client(port=server.port, timeout=DEADLINE) as client:
        for number in range(100):
            client.set(b"%d" % number, bytes(50_000))
        stats = client.stats()
        assert stats[b"limit_maxbytes"] == b"1048576"
        assert int(stats[b"bytes"]) <= 2**20
        assert int(stats[b"curr_items"]) + int(stats[b"evictions"]) == 100
        assert client.get(b"0") is None
        assert client.get(b"99") == bytes(50_000)


@pytest.mark.parametrize(
    ("option", "lines"), [([], 1), (["-v"], 2), (["-vv", "--loop", "asyncio"], 4)], ids=["silent", "-v", "-vv"]
)
def test_log_has_more_with_each_v(option: list[str], lines: int) -> None:
    with running_example(*option) as server:
        with socket.create_connection(("127.0.0.1", server.port), DEADLINE) as link:
            link.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert link.recv(1000) == b""
            address = link.getsockname()
        server.stop()
        told = server.said.splitlines()
        assert len(told) == lines, server.said
        if option:
            assert told[-1].endswith(f"{address}: line b'GET / HTTP/1.1' is HTTP")
