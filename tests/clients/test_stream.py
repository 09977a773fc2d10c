"""The deadline of a call in every phase of it, by a clock that only waiting moves; and under gevent."""

from __future__ import annotations

import errno
import gc
import os
import runpy
import select
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import ExitStack
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memproto import Dialect, RemoteProtocolError
from memproto.clients import stream
from memproto.clients.client import Client
from memproto.clients.stream import READABLE, WRITABLE, Fault, Stream, TlsStream, _close_in_child, _Select
from memproto.clients.tls import Tls
from tests.support.certificates import client_context
from tests.support.opaques import opaques_begin_at_0
from tests.support.peers import DEADLINE, ROOT, require
from tests.support.reached import reached, reaches
from tests.support.scripted_servers import NOOP_REPLY, answer_version, over_tls, server

__all__ = ["opaques_begin_at_0"]

TIMEOUT = 10.0
AUTHENTICATED = b"\x81\x21" + bytes(9) + b"\x0d" + bytes(12) + b"Authenticated"


class World:
    """Stands for ``socket``, ``select`` and ``time``: addresses, and a server that takes and says little at a time."""

    POLLIN, POLLOUT = select.POLLIN, select.POLLOUT

    def __init__(self, addresses: list[str], delays: list[float], words: bytes, piece: int) -> None:
        self.now = 100.0
        self.addresses, self.delays, self.words, self.piece = addresses, delays, words, piece
        self.waits = 0

    def __getattr__(self, name: str) -> object:
        return getattr(socket, name)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def getaddrinfo(self, *_: object) -> list[tuple[int, int, int, str, str]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in self.addresses]

    def socket(self, *_: object) -> FakeSocket:
        return FakeSocket(self)

    def poll(self) -> FakePoll:
        return FakePoll(self)


class FakeSocket:
    def __init__(self, world: World) -> None:
        self.world = world
        self.kind = ""

    def setblocking(self, flag: bool) -> None: ...

    def setsockopt(self, *_: int) -> None: ...

    def getsockopt(self, *_: int) -> int:
        return 0

    def close(self) -> None: ...

    def connect_ex(self, kind: str) -> int:
        self.kind = kind
        return {"open": 0, "refused": errno.ECONNREFUSED, "slow": errno.EINPROGRESS, "silent": errno.EINPROGRESS}[kind]

    def send(self, data: memoryview) -> int:
        return min(len(data), self.world.piece)

    def recv(self, size: int) -> bytes:
        data, self.world.words = self.world.words[: self.world.piece], self.world.words[self.world.piece :]
        return data


class FakePoll:
    def __init__(self, world: World) -> None:
        self.world = world

    def register(self, each: FakeSocket, events: int) -> None:
        self.socket, self.events = each, events

    def poll(self, milliseconds: float | None) -> list[tuple[int, int]]:
        world = self.world
        world.waits += 1
        assert milliseconds is not None
        assert milliseconds > 0
        # What is asked for is never more than what is left, whatever came before.
        assert world.now + milliseconds / 1000 <= 100.0 + TIMEOUT + 1e-6
        delay = world.delays.pop(0) if world.delays else 1.0
        ready = self.events & (select.POLLOUT | (select.POLLIN if world.words and self.socket.kind != "slow" else 0))
        if self.socket.kind == "slow" and delay < milliseconds / 1000:
            self.socket.kind = "open"
        if self.socket.kind == "silent" or not ready or delay >= milliseconds / 1000:
            world.now += milliseconds / 1000
            return []
        world.now += delay
        return [(0, ready)]


@reaches(answered=0.0, late=0.0, refused=0.0)
@given(
    addresses=st.lists(st.sampled_from(["open", "refused", "slow", "silent"]), min_size=1, max_size=4),
    delays=st.lists(st.floats(0, 3), max_size=30),
    size=st.integers(0, 60_000),
    piece=st.integers(1, 70_000),
    login=st.booleans(),
    stored=st.booleans(),
)
def test_call_in_any_phase_waits_no_longer_than_its_timeout(
    addresses: list[str], delays: list[float], size: int, piece: int, login: bool, stored: bool
) -> None:
    words = AUTHENTICATED * login
    if stored:
        words += b"\x81\x01" + bytes(10) + login.to_bytes(4, "big") + bytes(8)
    world = World(addresses, delays, words, piece)
    with ExitStack() as stack:
        for name in ("socket", "select", "time"):
            stack.enter_context(patch(f"memproto.clients.stream.{name}", world))
        stack.enter_context(patch("memproto.clients.client.time", world))
        stack.enter_context(patch("memproto.clients.connection._RANDOM.getrandbits", lambda bits: 0))
        client = Client("name", timeout=TIMEOUT, username="user" if login else None)
        try:
            assert client.set(b"key", bytes(size)) is True
        except TimeoutError:
            reached("late")
            # It has waited until the end, not less.
            assert world.now >= 100.0 + TIMEOUT - 1e-6
        except ConnectionRefusedError:
            reached("refused")
            assert addresses[-1] == "refused"
        except ConnectionError:
            assert world.words == b""
        except RemoteProtocolError:
            assert login  # the answer to the call came with the one before
        else:
            reached("answered")
            assert stored
        assert world.now <= 100.0 + TIMEOUT + 1e-6


def test_name_with_three_silent_addresses_gives_each_its_share_of_one_timeout() -> None:
    ends = []
    world = World(["silent"] * 3, [], b"", 1)
    with ExitStack() as stack:
        for name in ("socket", "select", "time"):
            stack.enter_context(patch(f"memproto.clients.stream.{name}", world))
        stack.enter_context(patch("memproto.clients.client.time", world))
        stack.enter_context(patch.object(FakeSocket, "close", lambda _: ends.append(world.now)))
        with pytest.raises(TimeoutError):
            Client("name", timeout=9.0).noop()
    assert ends == [103.0, 106.0, 109.0]


def test_call_on_address_behind_silent_one_succeeds() -> None:
    world = World(["silent", "refused", "open"], [0.1] * 9, NOOP_REPLY, 1000)
    with ExitStack() as stack:
        for name in ("socket", "select", "time"):
            stack.enter_context(patch(f"memproto.clients.stream.{name}", world))
        stack.enter_context(patch("memproto.clients.client.time", world))
        client = Client("name", timeout=9.0)
        assert client.noop() is True
    assert 103.0 <= world.now < 104.0


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan")])
def test_timeout_of_0_or_less_is_refused(timeout: float) -> None:
    with pytest.raises(ValueError, match="must be more than 0 and at most 2147483 seconds, or None"):
        Client(timeout=timeout)
    client = Client(timeout=None)
    with pytest.raises(ValueError, match="must be more than 0 and at most 2147483 seconds, or None"):
        client.timeout = timeout
    assert client.timeout is None


def test_unix_socket_with_full_queue_raises_timeout(tmp_path: object) -> None:
    path = f"{tmp_path}/socket"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(path)
        listener.listen(0)
        first.connect(path)
        with Client(f"unix:{path}", timeout=0.1) as client, pytest.raises(TimeoutError):
            client.noop()


def test_stream_without_poll_uses_select(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("memproto.clients.stream.select.poll")
    with server(answer_version) as port, Client(port=port, timeout=30.0) as client:
        assert client.version() == b"1.2.3"
        (link,) = client._connections
        assert isinstance(link.stream._reads, _Select)
        assert link.stream._reads.poll(30_000) == [(0, READABLE)]  # the end
        assert link.stream._both.poll(0) == [(0, READABLE | WRITABLE)]


GEVENT = """
from gevent import monkey; monkey.patch_all()
import gevent, socket, sys
from memproto.clients.client import Client
from examples.threaded import ThreadedServer
from memproto import Dialect

mute = socket.create_server(("127.0.0.1", 0))
ticks = 0

def tick():
    global ticks
    while True:
        ticks += 1
        gevent.sleep(0.01)

gevent.spawn(tick)
client = Client(port=mute.getsockname()[1], timeout=0.3)
try:
    client.version()
except TimeoutError:
    assert ticks > 3, ticks
else:
    raise AssertionError
with ThreadedServer() as server:
    gevent.spawn(server.serve_forever, 0.01)
    for dialect in Dialect:
        with Client(port=server.server_address[1], timeout=30.0, dialect=dialect) as client:
            assert client.set(b"key", bytes(500_000))
            others = [gevent.spawn(client.get, b"key") for _ in range(5)]
            assert client.get(b"key") == bytes(500_000)
            assert [other.get() for other in others] == [bytes(500_000)] * 5
            with gevent.Timeout(30):
                assert client.delete(b"key")
    server.shutdown()
print("done", flush=True)
import os; os._exit(0)
"""


@pytest.mark.peer("gevent")
def test_call_under_gevent_keeps_its_timeout_and_lets_other_greenlets_run() -> None:
    require("gevent")
    done = subprocess.run(
        [sys.executable, "-c", GEVENT], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
    )
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr


@pytest.mark.parametrize("dialect", Dialect, ids=lambda dialect: dialect.name.lower())
def test_first_opaque_of_each_connection_is_random(dialect: Dialect) -> None:
    drawn = iter([17, 4_000_000_000])
    asked: list[bytes] = []

    def trace(way: str, data: bytes) -> None:
        asked.append(data)
        raise OSError

    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        patch("memproto.clients.connection._RANDOM.getrandbits", lambda bits: next(drawn)),
        Client(port=listener.getsockname()[1], timeout=30.0, dialect=dialect, trace=trace) as client,
    ):
        for _ in range(2):
            with pytest.raises(OSError, match=r"^$"):
                client.get(b"k")
    assert next(drawn, None) is None
    if dialect is Dialect.BINARY:
        assert [data[12:16] for data in asked] == [b"\0\0\0\x11", b"\xee\x6b\x28\0"]
    else:
        assert (asked[0] != asked[1]) is (dialect is Dialect.META)


def test_call_over_unix_socket_gets_its_reply(tmp_path: object) -> None:
    path = f"{tmp_path}/socket"

    def answer(listener: socket.socket) -> None:
        link, _ = listener.accept()
        with link:
            answer_version(link)

    with socket.socket(socket.AF_UNIX) as listener, Client(f"unix:{path}", timeout=DEADLINE) as client:
        listener.bind(path)
        listener.listen()
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        assert client.version() == b"1.2.3"
        thread.join(DEADLINE)


def test_name_without_address_raises_gaierror() -> None:
    with Client("name.invalid", timeout=DEADLINE) as client, pytest.raises(socket.gaierror):
        client.version()


def test_stream_without_socket_of_the_system_raises_fault() -> None:
    with pytest.raises(Fault) as raised:
        Stream(9_999)
    assert isinstance(raised.value.error, OSError)


def test_stream_interrupted_while_it_is_made_leaves_no_socket_open(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[socket.socket] = []

    def interrupt(connected: socket.socket, events: int) -> None:
        made.append(connected)
        raise KeyboardInterrupt

    monkeypatch.setattr("memproto.clients.stream._poller", interrupt)
    with pytest.raises(KeyboardInterrupt):
        Client(timeout=DEADLINE).version()
    assert [each.fileno() for each in made] == [-1]


def test_forked_child_closes_its_copies_of_all_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memproto.clients.stream._OPEN", {})
    kept, lost = Stream(socket.AF_INET), Stream(socket.AF_INET)
    lost._socket.close()
    del lost
    gc.collect()
    _close_in_child()
    assert kept._socket.fileno() == -1
    assert stream._OPEN == {}


def test_module_without_fork_registers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "register_at_fork")
    assert "Stream" in runpy.run_path(stream.__file__)


def test_encode_before_handshake_raises_fault() -> None:
    made = TlsStream(socket.AF_INET)
    made._tls = Tls(client_context(), "localhost")
    with pytest.raises(Fault) as raised:
        made.encode(b"request")
    assert isinstance(raised.value.error, ssl.SSLError)
    made.close()


def test_bytes_without_tls_after_handshake_raise_ssl_error() -> None:
    def answer(link: socket.socket) -> None:
        assert link.recv(9) == b"version\r\n"
        socket.socket.send(link, b"VERSION 1.2.3\r\n")  # not encrypted, as the method of SSLSocket would do
        while socket.socket.recv(link, 1000):
            pass

    with (
        server(over_tls(answer)) as port,
        Client("localhost", port, timeout=DEADLINE, tls=client_context(), dialect=Dialect.CLASSIC) as client,
        pytest.raises(ssl.SSLError, match=r"(?i)wrong.version"),
    ):
        client.version()


@pytest.mark.parametrize("cut", [False, True], ids=["at once", "after a part of the reply"])
def test_server_that_closes_over_tls_before_its_reply_raises_connection_error(cut: bool) -> None:
    def close(link: socket.socket) -> None:
        assert link.recv(9) == b"version\r\n"
        if cut:
            link.sendall(b"VERS")

    with (
        server(over_tls(close)) as port,
        Client("localhost", port, timeout=DEADLINE, tls=client_context(), dialect=Dialect.CLASSIC) as client,
        pytest.raises(ConnectionError, match="the server closed the connection before it had answered"),
    ):
        client.version()
