"""The example servers as programs: real clients, libmemcached's conformance tests, and clients that mean no good."""

from __future__ import annotations

import importlib
import random
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any

import pytest

from examples.tiny_client import TinyClient
from memproto import Get, Item, Set, Stats, StatsReply, Stored, Values
from tests.peers.test_memccapable import check
from tests.support.example_programs import connect, example, read_to_end, talk
from tests.support.peers import require

NOOP, NOOP_REPLY = b"\x80\x0a" + bytes(22), b"\x81\x0a" + bytes(22)
LARGE = bytes(1_000_000)
SERVERS = [
    "asyncio_server",
    "couchbase",
    "threaded",
    pytest.param("trio_server", marks=pytest.mark.peer("trio")),
    pytest.param("twisted_server", marks=pytest.mark.peer("twisted")),
]
#: Two connections at most, and a fifth of a second of silence.
LIMITED = {
    "asyncio_server": "import asyncio; example.CacheServer.__init__.__defaults__ = (2, 0.2); "
    "asyncio.run(example.main('127.0.0.1', 0))",
    "trio_server": "import trio; example.CacheServer.__init__.__defaults__ = (2, 0.2); "
    "trio.run(example.main, '127.0.0.1', 0)",
    "twisted_server": "example.CacheFactory.connections, example.CacheFactory.idle = 2, 0.2; "
    "example.react(example.main, (0,))",
}


@pytest.fixture(scope="module", params=SERVERS)
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    name: str = request.param
    if name in ("trio_server", "twisted_server"):
        require(name.removesuffix("_server"))
    with example(name) as port:
        yield port


@pytest.fixture(params=list(LIMITED))
def limited_port(request: pytest.FixtureRequest) -> Iterator[int]:
    name: str = request.param
    if name != "asyncio_server":
        require(name.removesuffix("_server"))
    with example(name, code=f"import examples.{name} as example; {LIMITED[name]}") as port:
        yield port


def check_alive(port: int) -> None:
    """Another client is served as if nothing had happened."""
    with closing(TinyClient(port)) as client:
        assert isinstance(client.ask(Set(b"alive", b"yes", 7)), Stored)
        reply = client.ask(Get((b"alive",)))
        assert isinstance(reply, Values)
        assert [(item.value, item.flags) for item in reply.items] == [(b"yes", 7)]


# --- real clients


@pytest.mark.once
@pytest.mark.peer("memccapable")
@pytest.mark.parametrize("protocol", ["-a", "-b"])
def test_server_passes_memccapable(port: int, protocol: str) -> None:
    require("memccapable")
    check(port, protocol)


@pytest.mark.peer("pymemcache")
def test_pymemcache_is_served(port: int) -> None:
    require("pymemcache")
    pymemcache: Any = importlib.import_module("pymemcache")
    with closing(pymemcache.Client(("127.0.0.1", port), default_noreply=False)) as client:
        assert client.set("key", b"value")
        assert client.get("key") == b"value"
        assert client.get_many(["key", "absent"]) == {"key": b"value"}
        assert client.add("key", b"other") is False
        client.set("number", b"5")
        assert client.incr("number", 2) == 7
        assert client.delete("key")
        assert client.get("key") is None


@pytest.mark.peer("bmemcached")
def test_python_binary_memcached_is_served(port: int) -> None:
    require("bmemcached")
    bmemcached: Any = importlib.import_module("bmemcached")
    client = bmemcached.Client((f"127.0.0.1:{port}",))
    assert client.set("key", "value")
    assert client.get("key") == "value"
    assert client.get_multi(["key", "absent"]) == {"key": "value"}
    assert client.incr("count", 1, default=5) == 5
    assert client.delete("key")
    client.disconnect_all()


@pytest.mark.once
@pytest.mark.peer("pylibmc")
@pytest.mark.parametrize("binary", [False, True])
def test_pylibmc_is_served(port: int, binary: bool) -> None:
    require("pylibmc")
    pylibmc: Any = importlib.import_module("pylibmc")
    client = pylibmc.Client([f"127.0.0.1:{port}"], binary=binary, behaviors={"tcp_nodelay": True})
    assert client.set("key", "value")
    assert client.get_multi(["key", "absent"]) == {"key": "value"}
    assert client.set_multi({"a": 1, "b": 2}) == []
    assert client.get_multi(["a", "b"]) == {"a": 1, "b": 2}
    client.disconnect_all()


# --- the stream


def test_requests_that_arrive_byte_by_byte_are_answered_in_order(port: int) -> None:
    with connect(port) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"set k 5 0 5\r\nvalue\r\nget k absent\r\nmg k v f\r\nbogus\r\n":
            link.sendall(bytes([byte]))
        link.shutdown(socket.SHUT_WR)
        assert read_to_end(link) == b"STORED\r\nVALUE k 5 5\r\nvalue\r\nEND\r\nVA 5 f5\r\nvalue\r\nERROR\r\n"


def test_pipeline_of_ten_thousand_requests_is_answered_before_the_end_of_the_stream(port: int) -> None:
    pipeline = b"".join(b"set k%d 0 0 1\r\n%d\r\nget k%d\r\n" % (n, n % 10, n) for n in range(5000))
    answers = b"".join(b"STORED\r\nVALUE k%d 0 1\r\n%d\r\nEND\r\n" % (n, n % 10) for n in range(5000))
    assert talk(port, pipeline) == answers
    assert talk(port, pipeline + b"quit\r\nget k1\r\n") == answers


def test_quiet_requests_are_answered_where_the_protocol_says_so(port: int) -> None:
    quiet_miss = b"\x80\x09" + (6).to_bytes(2, "big") + bytes(4) + (6).to_bytes(4, "big") + bytes(12) + b"absent"
    assert talk(port, quiet_miss + NOOP + b"\x80\x17" + bytes(22)) == NOOP_REPLY


def test_lost_framing_is_answered_with_the_hint_before_the_server_closes(port: int) -> None:
    assert talk(port, b"\x08") == b"ERROR\r\n"
    assert talk(port, NOOP + b"rubbish" * 4) == NOOP_REPLY
    answer = talk(port, NOOP + b"\x80\x00" + bytes(22))
    assert answer.startswith(NOOP_REPLY)
    assert answer.endswith(b"Invalid arguments")
    check_alive(port)


def test_random_bytes_end_one_connection_only(port: int) -> None:
    chance = random.Random(10)
    for size in (1, 23, 24, 25, 100, 3000) * 5:
        first = chance.choice([b"", b"\x80", b"\x80\x00\x00\x01", b"get ", b"mg "])
        # Unread input at the server's end may turn its close into a reset.
        with suppress(ConnectionError):
            talk(port, first + chance.randbytes(size))
    check_alive(port)


# --- what bounds it


def test_client_that_does_not_read_holds_up_only_itself(port: int) -> None:
    with closing(TinyClient(port)) as other, connect(port) as link:
        other.ask(Set(b"large", LARGE))
        before = hits(other)
        # Several gigabytes of answers, and then as many requests as the server takes.
        link.sendall(b"get" + b" large" * 300 + b"\r\n")
        link.setblocking(False)
        with suppress(BlockingIOError):
            for _ in range(100):
                link.send(b"get large\r\n" * 5000)
            pytest.fail("the server reads without end")
        for _ in range(20):
            check_alive(port)
        # One get of many keys, and none of those behind it.
        assert hits(other) - before <= 300 + 20


def hits(client: TinyClient) -> int:
    stats = client.ask(Stats())
    assert isinstance(stats, StatsReply)
    return int(dict(stats.stats)[b"get_hits"])


def test_client_that_reads_late_gets_all_of_its_answers(port: int) -> None:
    with closing(TinyClient(port)) as other, connect(port) as link:
        other.ask(Set(b"large", LARGE))
        link.sendall(b"get large\r\n" * 20 + b"quit\r\n")
        check_alive(port)
        answer = b"VALUE large 0 1000000\r\n" + LARGE + b"\r\nEND\r\n"
        whole = read_to_end(link) == answer * 20
        assert whole


def test_hundred_clients_at_once_get_their_own_answers(port: int) -> None:
    def ask(n: int) -> bool:
        pipeline = b"".join(b"set c%d.%d 0 0 3\r\nabc\r\nget c%d.%d\r\n" % (n, m, n, m) for m in range(20))
        answers = b"".join(b"STORED\r\nVALUE c%d.%d 0 3\r\nabc\r\nEND\r\n" % (n, m) for m in range(20))
        return talk(port, pipeline) == answers

    with ThreadPoolExecutor(100) as pool:
        assert list(pool.map(ask, range(100))) == [True] * 100


def test_clients_that_vanish_are_no_error(port: int) -> None:
    with closing(TinyClient(port)) as other:
        other.ask(Set(b"large", LARGE))
    for _ in range(10):
        with connect(port) as link:
            # A close that throws unread answers away reaches the server as a reset.
            link.sendall(b"get large\r\n" * 20)
            link.recv(1)
    check_alive(port)


def test_silent_client_is_disconnected(limited_port: int) -> None:
    with connect(limited_port) as link:
        link.sendall(b"version\r\nset k 0 0 5\r\nva")
        assert link.recv(16, socket.MSG_WAITALL) == b"VERSION 1.6.18\r\n"
        with suppress(ConnectionResetError):
            assert link.recv(1) == b""


def test_client_that_does_not_read_is_disconnected(limited_port: int) -> None:
    with closing(TinyClient(limited_port)) as other, connect(limited_port) as link:
        other.ask(Set(b"large", LARGE))
        link.sendall(b"get large\r\n" * 50)
        # It is let in when one of the two has been cut off; before that it may meet a reset.
        for _ in range(1000):
            with suppress(OSError):
                if talk(limited_port, NOOP) == NOOP_REPLY:
                    break
            time.sleep(0.01)
        else:
            pytest.fail("nobody is let in any more")


def test_connection_over_the_limit_is_refused(limited_port: int) -> None:
    with connect(limited_port) as one, connect(limited_port) as two:
        for link in (one, two):
            link.sendall(NOOP)
            assert link.recv(24, socket.MSG_WAITALL) == NOOP_REPLY
        with connect(limited_port) as three:
            assert read_to_end(three) in (b"", b"ERROR Too many open connections\r\n")


def test_items_are_the_same_for_every_client(port: int) -> None:
    with closing(TinyClient(port)) as one, closing(TinyClient(port)) as other:
        stored = one.ask(Set(b"shared", b"value", 9))
        assert isinstance(stored, Stored)
        assert other.ask(Get((b"shared",))) == Values((Item(b"shared", b"value", 9, stored.cas),))
