"""The options that all clients share: values by name, keys as text, keepalive, reports of calls, wrong values."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from typing import assert_type

import pytest

from memproto import Dialect, Item, Limits, LocalProtocolError
from memproto.clients import (
    AsyncClient,
    AsyncCluster,
    AsyncSettings,
    CallReport,
    Client,
    Cluster,
    Lease,
    Node,
    Settings,
)
from memproto.clients.keepalive import keep_alive
from memproto.clients.pickles import pickling
from memproto.commands import Serde, ServerError
from memproto.testing import FakeMemcached
from tests.support.peers import DEADLINE, memcached
from tests.support.scripted_servers import threaded_tiny_server

real = pytest.mark.peer("memcached")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with threaded_tiny_server() as port:
        yield port


def test_values_by_name_are_objects_and_their_type_is_known(port: int) -> None:
    with (
        Client(port=port, timeout=DEADLINE, values="json") as json,
        Client(port=port, timeout=DEADLINE, values="pymemcache") as pymemcache,
        Client(port=port, timeout=DEADLINE, values=pickling("pymemcache")) as pickled,
        Client(port=port, timeout=DEADLINE) as raw,
    ):
        assert_type(json, Client[object])
        assert_type(raw, Client[bytes])
        assert_type(raw, Client)
        assert_type(json.get(b"k"), object | None)
        assert_type(raw.get(b"k", 0), bytes | int)
        assert json.set(b"k", {"a": [1, None]})
        assert json.get(b"k") == {"a": [1, None]}
        assert raw.get(b"k") == b'{"a": [1, null]}'
        assert pymemcache.set(b"k", 42)
        item = raw.gets(b"k")
        assert item is not None
        assert (item.value, item.flags) == (b"42", 2)
        assert pickled.set(b"k", {1, 2})
        assert pickled.get(b"k") == {1, 2}


def test_unknown_name_of_values_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match=r"client is 'pickle', must be one of raw, "):
        Client(values="pickle")


def test_text_keys_with_a_prefix_in_every_method(port: int) -> None:
    with (
        Client(port=port, timeout=DEADLINE, encoding="utf-8", prefix="app:") as client,
        Client(port=port, timeout=DEADLINE) as raw,
    ):
        assert client.set("\xe4", b"1")
        assert raw.get("app:\xe4".encode()) == b"1"
        assert client.get("\xe4") == b"1"
        assert client.get("nothing", "default") == "default"
        assert client.get(b"nothing") is None
        assert client.get_multi(["\xe4", "nothing"]) == {"\xe4": b"1"}
        assert client.incr_multi(["\xe4", "nothing"], 2) == {"\xe4": 3}
        assert client.add_multi({"\xe4": b"0", "\xf6": b"2"}) == ["\xe4"]
        assert client.gat_multi(["\xf6"], 60) == {"\xf6": b"2"}
        assert client.touch_multi(["\xf6", "nothing"], 60) == ["\xf6"]
        assert isinstance(client.gets_multi(["\xf6"])["\xf6"], Item)
        assert client.delete_multi(["\xe4", "\xf6"]) == ["\xe4", "\xf6"]


def test_text_key_without_an_encoding_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(LocalProtocolError, match="key is 'k', must be bytes; with an encoding it may be a str"):
        Client("127.0.0.1", 1).get("k")


def test_asyncio_client_has_the_same_options(port: int) -> None:
    reports: list[CallReport] = []

    async def main() -> None:
        async with AsyncClient(
            port=port, timeout=DEADLINE, values="json", encoding="utf-8", keepalive=60, on_call=reports.append
        ) as client:
            assert_type(client, AsyncClient[object])
            assert await client.set("k", [1])
            assert await client.get("k") == [1]
            assert await client.get("nothing", 0) == 0
            with pytest.raises(LocalProtocolError):
                await client.get("k" * 251)
            assert client.timeout == DEADLINE
            with pytest.raises(ValueError, match="timeout is 0, must be more than 0"):
                client.timeout = 0
            client.timeout = None
            assert await client.noop()
        async with AsyncCluster([("127.0.0.1", port)], timeout=None, values="json", encoding="utf-8") as cluster:
            assert_type(cluster, AsyncCluster[object])
            assert await cluster.get("k") == [1]

    asyncio.run(main())
    outcomes = [(report.command, report.keys, report.done, report.outcome) for report in reports]
    assert outcomes == [
        ("set", 1, 1, "ok"),
        ("get", 1, 1, "ok"),
        ("get", 1, 0, "miss"),
        ("get", 1, 0, "LocalProtocolError"),
        ("noop", 0, 0, "ok"),
    ]
    assert {report.node for report in reports} == {Node("127.0.0.1", port)}


def test_report_of_asyncio_call_that_fails_has_the_error_that_is_raised() -> None:
    reports: list[CallReport] = []

    async def main() -> None:
        async with AsyncClient(
            "127.0.0.1", 1, timeout=DEADLINE, on_call=reports.append, limits=Limits(outstanding=2)
        ) as client:
            with pytest.raises(ConnectionRefusedError):
                await client.get(b"a")
            with pytest.raises(LocalProtocolError, match="key"):
                await client.delete_multi([b"a", b"b", b""])
            assert await client.get_multi([]) == {}

    asyncio.run(main())
    assert [(report.command, report.keys, report.outcome) for report in reports] == [
        ("get", 1, "ConnectionRefusedError"),
        ("delete", 3, "LocalProtocolError"),
    ]


def test_report_of_each_call_says_what_came_of_it(port: int) -> None:
    reports: list[CallReport] = []
    with Client(port=port, timeout=DEADLINE, on_call=reports.append) as client:
        client.set_multi({b"a": b"1", b"b": b"2"})
        client.get_multi([b"a", b"b", b"c"])
        client.get_multi([])
        client.delete(b"c")
        client.noop()
    with Client("127.0.0.1", 1, timeout=DEADLINE, on_call=reports.append) as client, pytest.raises(OSError):  # noqa: PT011
        client.get(b"a")
    assert [(report.command, report.keys, report.done, report.outcome) for report in reports] == [
        ("set", 2, 2, "ok"),
        ("get", 3, 2, "miss"),
        ("delete", 1, 0, "miss"),
        ("noop", 0, 0, "ok"),
        ("get", 1, 0, "ConnectionRefusedError"),
    ]
    assert all(0 <= report.seconds < DEADLINE for report in reports)
    assert reports[-1].node == Node("127.0.0.1", 1)


def test_report_that_raises_reaches_the_caller_and_leaves_the_connection(port: int) -> None:
    def fail(_: CallReport) -> None:
        raise OverflowError

    with Client(port=port, timeout=DEADLINE, on_call=fail) as client:
        for _ in range(2):
            with pytest.raises(OverflowError):
                client.noop()
            assert [link.protocol.outstanding for link in client._connections] == [0]


def test_cluster_reports_each_node(port: int) -> None:
    reports: list[CallReport] = []
    with Cluster([("127.0.0.1", port), ("127.0.0.1", 1)], timeout=DEADLINE, on_call=reports.append) as cluster:
        cluster.get_multi([b"%d" % number for number in range(20)])
    assert {(report.node.port, report.outcome) for report in reports} == {(port, "miss"), (1, "ConnectionRefusedError")}


def test_keepalive_is_set_on_the_socket(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with Client(port=port, timeout=DEADLINE, keepalive=60) as client:
        assert client.noop()
        opened = client._connections[0].stream._socket
        assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
        monkeypatch.delattr(socket, "TCP_KEEPIDLE")  # where the system does not have it
        keep_alive(opened, 30)
        monkeypatch.undo()
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 30


def test_keepalive_that_the_system_refuses_is_an_error_of_the_connection(port: int) -> None:
    with Client(port=port, timeout=DEADLINE, keepalive=2**30) as client, pytest.raises(OSError, match="Invalid"):
        client.noop()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timeout": 0}, "timeout is 0, must be more than 0 and at most 2147483 seconds, or None"),
        ({"timeout": float("inf")}, "timeout is inf, must be more than 0"),
        ({"idle": -1.0}, "idle is -1.0, must be more than 0"),
        ({"pool": 0}, "pool is 0, must be at least 1"),
        ({"keepalive": 0}, "keepalive is 0, must be at least 1 second"),
        ({"keepalive": 2**31}, "keepalive is 2147483648, must be at most 2147483647 second"),
        ({"backoff": (2.0, 1.0)}, r"backoff is \(2.0, 1.0\), must be two numbers from 0 on, the first not the larger"),
        ({"backoff": (-1.0, 1.0)}, r"backoff is \(-1.0, 1.0\), must be two numbers from 0 on"),
    ],
)
def test_option_out_of_range_is_refused(options: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        AsyncSettings(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timeout": "1"}, "timeout is str, must be a number of seconds, or None"),
        ({"timeout": True}, "timeout is bool, must be a number of seconds, or None"),
        ({"idle": [1]}, "idle is list, must be a number of seconds, or None"),
        ({"pool": 1.5}, "pool is float, must be an int, or None"),
        ({"keepalive": "60"}, "keepalive is str, must be an int, or None"),
        ({"dialect": "meta"}, "dialect is str, must be a Dialect"),
        ({"encoding": b"ascii"}, "encoding is bytes, must be the name of a codec, or None"),
        ({"prefix": None}, "prefix is None, must be bytes or a str"),
        ({"username": b"me"}, "username is bytes, must be a str, or None"),
        ({"password": b"secret"}, "password is bytes, must be a str"),
        ({"tls": True}, "tls is bool, must be an ssl.SSLContext, or None"),
        ({"server_hostname": 1}, "server_hostname is int, must be a str, or None"),
        ({"limits": 1}, "limits is int, must be Limits, or None"),
        ({"on_call": "print"}, "on_call is str, must be a function, or None"),
        ({"trace": 1}, "trace is int, must be a function, or None"),
        ({"backoff": 0.1}, "backoff is 0.1, must be two numbers of seconds"),
        ({"backoff": (0.1, "2")}, "backoff is (0.1, '2'), must be two numbers of seconds"),
        ({"patient": 1}, "patient is int, must be a bool"),
    ],
)
def test_option_of_a_wrong_type_is_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(TypeError, match=f"^{re.escape(words)}$"):
        AsyncClient(**options)  # type: ignore[call-overload]


def test_unknown_option_is_refused_by_every_client() -> None:
    for client in (Client, AsyncClient):
        with pytest.raises(TypeError, match="tiemout"):
            client("127.0.0.1", tiemout=1)  # type: ignore[call-overload]
    for cluster in (Cluster, AsyncCluster):
        with pytest.raises(TypeError, match="tiemout"):
            cluster(["127.0.0.1"], tiemout=1)  # type: ignore[call-overload]


def test_a_timeout_is_the_default() -> None:
    assert Client().timeout == AsyncClient().timeout == 1.0


def test_configuration_endpoint_lists_the_nodes() -> None:
    async def discover(address: tuple[str, int]) -> list[tuple[str, int]]:
        async with AsyncClient(*address, timeout=DEADLINE, dialect=Dialect.CLASSIC) as client:
            return await client.discover()

    nodes = [("a.example", 11211), ("b.example", 11212)]
    with FakeMemcached() as endpoint:
        with Client(*endpoint.address, timeout=DEADLINE, dialect=Dialect.CLASSIC) as client:
            with pytest.raises(ServerError):
                client.discover()
            endpoint.discovery(nodes)
            assert client.discover() == nodes
        assert asyncio.run(discover(endpoint.address)) == nodes
        with Client(*endpoint.address, timeout=DEADLINE) as binary, pytest.raises(LocalProtocolError):
            binary.discover()


@real
def test_of_many_callers_one_has_the_lease() -> None:
    serde = Serde[str](lambda text: (text.encode(), 0), lambda data, _: data.decode())
    with memcached() as port, Client(port=port, timeout=DEADLINE, values=serde, dialect=Dialect.META) as client:
        first, second = client.get_or_lease(b"k", 30), client.get_or_lease(b"k", 30)
        assert (first.value, first.won) == (None, True)
        assert (second.value, second.won) == (None, False)
        assert client.cas(b"k", "value", first.cas, 5)
        assert assert_type(client.get_or_lease(b"k", 30), Lease[str])[:2] == ("value", False)
        # It expires in 5 seconds, so that one caller should store it again before.
        assert client.get_or_lease(b"k", 30, recache=10)[:2] == ("value", True)
        assert client.get_or_lease(b"k", 30, recache=10)[:2] == ("value", False)
        assert client.invalidate(b"k", 30)
        stale, loser = client.get_or_lease(b"k", 30), client.get_or_lease(b"k", 30)
        assert stale[:3] == ("value", True, True)
        assert loser[:3] == ("value", False, True)
        assert client.set(b"k", "newer")
        assert client.cas(b"k", "older", stale.cas) is False
        assert client.get(b"k") == "newer"


def test_repr_of_settings_has_no_password() -> None:
    assert "secret" not in repr(Settings(username="me", password="secret"))
