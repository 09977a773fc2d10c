"""Both clients of several servers: nodes that come and go, commands on many keys, leases, errors instead of misses."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from memproto import Dialect
from memproto.clients import AsyncCluster, Cluster, Lease, Node, Ring
from memproto.clients.routing import NodeResults, Router
from memproto.commands import RAW, Commands, Serde
from memproto.testing import FakeMemcached
from tests.clients.test_cluster import KEYS, VALUES, both, real
from tests.support.counted_sockets import Counted, counted
from tests.support.opaques import opaques_begin_at_0
from tests.support.peers import DEADLINE, memcached
from tests.support.scripted_servers import VERSION_REPLY, answer_version, read, server

__all__ = ["opaques_begin_at_0"]


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[Node]]:
    with ExitStack() as stack:
        yield [Node("127.0.0.1", stack.enter_context(memcached()), weight) for weight in (1, 1, 2)]


# --- nodes that come and go


@real
@both
def test_nodes_that_are_added_and_removed_take_and_lose_their_keys(kind: Any, nodes: list[Node]) -> None:
    with kind(nodes[:2], timeout=DEADLINE) as cluster:
        assert cluster.flush() is True
        assert cluster.set_multi(VALUES) == []
        assert cluster.set_nodes(nodes) is None
        assert set(cluster.router.ring.all) == set(nodes)
        assert cluster.flush() is True
        assert cluster.set_multi(VALUES) == []
        lost = {key for key in KEYS if cluster.router.ring.node(key) == nodes[0]}
        cluster.set_nodes(nodes[1:])
        found = cluster.get_multi(KEYS)
        assert found.keys().isdisjoint(lost)
        assert all(found[key] == VALUES[key] for key in found)
        cluster.set_nodes(nodes)
        assert cluster.get_multi(KEYS) == VALUES
        with pytest.raises(ValueError, match="each of them once"):
            cluster.set_nodes([nodes[0], nodes[0]])
        with pytest.raises(ValueError, match="one or more nodes"):
            cluster.set_nodes([])
        assert set(cluster.router.ring.all) == set(nodes)


def test_nodes_of_a_cluster_are_those_given() -> None:
    assert Cluster(["a", "b:1"]).nodes == AsyncCluster(["a", "b:1"]).nodes == (Node("a"), Node("b", 1))


def test_removed_node_is_not_dead_when_it_comes_back() -> None:
    with Cluster([("127.0.0.1", 1), ("127.0.0.1", 2)], timeout=DEADLINE) as cluster:
        cluster.get_multi(KEYS)
        assert len(cluster.router.dead_nodes()) == 2
        cluster.set_nodes([("127.0.0.1", 2)])
        cluster.set_nodes([("127.0.0.1", 1), ("127.0.0.1", 2)])
        assert cluster.router.dead_nodes() == {Node("127.0.0.1", 2)}


def test_failure_of_a_removed_node_does_not_make_it_dead_when_it_comes_back() -> None:
    nodes = [Node("a"), Node("b")]
    router = Router(Commands(RAW), Ring(nodes), "miss", 30.0, None)
    plan = router.read_multi(KEYS, router.commands.get_multi)
    assert next(plan).keys() == set(nodes)
    router.set_nodes(nodes[1:])
    with pytest.raises(StopIteration):
        plan.send(NodeResults())
    router.set_nodes(nodes)
    assert router.dead_nodes() == {nodes[1]}


@real
@both
def test_call_between_the_change_of_the_nodes_and_that_of_the_clients_is_carried_out(
    kind: Any, nodes: list[Node]
) -> None:
    with kind(nodes[:1], timeout=DEADLINE) as cluster:
        cluster.router.set_nodes(nodes)  # a thread was interrupted here, in set_nodes of the cluster
        assert cluster.set_multi(VALUES) == []
        assert cluster.get_multi(KEYS) == VALUES


@real
@both
def test_command_for_a_node_that_was_removed_meanwhile_finds_it_dead(kind: Any, nodes: list[Node]) -> None:
    with kind(nodes[:2], timeout=DEADLINE) as cluster:
        plan = cluster.router.read_multi(KEYS, cluster.router.commands.get_multi)

        def changed() -> Any:
            commands = next(plan)
            cluster.router.set_nodes(nodes[1:2])
            found = yield commands
            assert found.results.keys() == {nodes[1]}
            assert isinstance(found.failures[nodes[0]], ConnectionError)
            assert not found.unknown
            return found.results[nodes[1]]

        found = cluster.run(changed())
        assert found.keys() <= {key for key in KEYS if Ring(nodes[:2]).node(key) == nodes[1]}


def test_two_tasks_change_the_nodes_at_once_and_all_calls_are_carried_out() -> None:
    async def main(mute: Node, living: Node) -> None:
        async with AsyncCluster([mute, living], timeout=DEADLINE, username="me", password="secret") as cluster:
            keys = {cluster.router.ring.node(key): key for key in KEYS}
            call = asyncio.create_task(cluster.get(keys[mute]))
            await asyncio.sleep(0)
            assert await cluster.set(keys[living], b"value") is True
            # The client of the mute node is opening its connection, so that closing it takes time.
            await asyncio.gather(cluster.set_nodes(["127.0.0.1:2"]), cluster.set_nodes([mute, living]))
            assert await call is None
            assert await cluster.get(keys[living]) == b"value"
            assert cluster.nodes == (mute, living)

    with socket.create_server(("127.0.0.1", 0)) as mute, FakeMemcached(users={"me": "secret"}) as fake:
        asyncio.run(main(Node(*mute.getsockname()), Node(*fake.address)))


def test_close_that_is_cancelled_at_once_closes_the_sockets_of_all_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(nodes: list[Node]) -> None:
        cluster = AsyncCluster(nodes, timeout=DEADLINE)
        await cluster.get_multi(KEYS)
        assert Counted.open == 2
        closing = asyncio.create_task(cluster.close())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert await cluster.set(KEYS[0], b"value") is False

    with FakeMemcached() as one, FakeMemcached() as other, counted(monkeypatch):
        asyncio.run(main([Node(*one.address), Node(*other.address)]))


def test_connection_of_a_call_is_closed_at_its_end_if_the_node_was_removed_meanwhile() -> None:
    asked, go_on, closed = threading.Event(), threading.Event(), threading.Event()

    def answer_late(link: socket.socket) -> None:
        read(link, 24)
        asked.set()
        assert go_on.wait(DEADLINE)
        link.sendall(VERSION_REPLY)
        assert read(link, 24)[:2] == b"\x80\x07"  # quit
        assert link.recv(1) == b""
        closed.set()

    with server(answer_late) as port, Cluster([("127.0.0.1", port)], timeout=DEADLINE) as cluster:
        versions = cluster.router.on_all_nodes(cluster.router.commands.version())
        thread = threading.Thread(target=cluster.run, args=(versions,))
        thread.start()
        assert asked.wait(DEADLINE)
        (removed,), client = cluster.nodes, cluster._client(cluster.nodes[0])
        for _ in range(2):
            cluster.set_nodes(["127.0.0.1:1", removed])
            assert cluster._client(removed) is client  # so that its pool counts the connection of the call
            cluster.set_nodes(["127.0.0.1:1"])
        go_on.set()
        thread.join(DEADLINE)
        assert closed.wait(DEADLINE)


# --- commands on many keys


@real
@both
@pytest.mark.parametrize("dialect", Dialect, ids=lambda dialect: dialect.name.lower())
def test_commands_on_many_keys_go_to_all_nodes(kind: Any, nodes: list[Node], dialect: Dialect) -> None:
    with kind(nodes, timeout=DEADLINE, dialect=dialect, encoding="ascii", prefix="app:") as cluster:
        assert cluster.flush() is True
        keys = [f"key{number}" for number in range(20)]
        assert {cluster.router.ring.node(key.encode()) for key in keys} == set(nodes)
        assert cluster.add_multi(dict.fromkeys(keys[:15], b"1"), 60) == []
        assert sorted(cluster.add_multi(dict.fromkeys(keys, b"5"))) == sorted(keys[:15])
        assert cluster.incr_multi([*keys[:15], "nothing"], 2) == dict.fromkeys(keys[:15], 3)
        assert cluster.gat_multi(keys[:5], 60) == dict.fromkeys(keys[:5], b"3")
        assert sorted(cluster.touch_multi([*keys, "nothing"], 60)) == sorted(keys)
        assert {key: item.value for key, item in cluster.gets_multi(keys[14:16]).items()} == {
            keys[14]: b"3",
            keys[15]: b"5",
        }
        assert cluster.get("nothing", 0) == 0
        assert cluster.get(keys[0], 0) == b"3"


@real
@both
def test_lease_in_a_cluster_is_won_by_everybody_while_the_node_is_dead(kind: Any, nodes: list[Node]) -> None:
    with kind(nodes, timeout=DEADLINE, dialect=Dialect.META) as cluster:
        assert cluster.flush() is True
        lease = cluster.get_or_lease(b"lease", 30)
        assert (lease.value, lease.won) == (None, True)
        assert cluster.get_or_lease(b"lease", 30).won is False
        assert cluster.cas(b"lease", b"value", lease.cas) is True
        assert cluster.invalidate(b"lease", 30) is True
    with kind([("127.0.0.1", 1)], timeout=DEADLINE, dialect=Dialect.META) as cluster:
        for _ in range(2):
            assert cluster.get_or_lease(b"lease", 30) == Lease(None, True)
        assert cluster.get(b"lease", 0) == 0
        assert cluster.invalidate(b"lease", 30) is False
        assert cluster.incr_multi([b"k"]) == {}
        assert cluster.add_multi({b"k": b"v"}) == [b"k"]
        assert cluster.touch_multi([b"k"]) == []


# --- what is no failure of a node


def raise_it(error: BaseException) -> Any:
    raise error


@both
@pytest.mark.parametrize("error", [OSError("disk"), TimeoutError("slow"), ConnectionError("gone")], ids=repr)
def test_error_of_the_serde_reaches_the_caller_and_makes_no_node_dead(kind: Any, error: Exception) -> None:
    serde = Serde[object](lambda _: (b"value", 0), lambda *_: raise_it(error))
    with FakeMemcached() as fake, kind([fake.address], timeout=DEADLINE, values=serde) as cluster:
        assert cluster.set(b"key", None) is True
        for name, argument in (("get", b"key"), ("get_multi", [b"key"])):
            with pytest.raises(type(error)) as raised:
                getattr(cluster, name)(argument)
            assert raised.value is error
            assert cluster.router.dead_nodes() == set()


@both
@pytest.mark.parametrize("error", [OSError("disk"), TimeoutError("slow"), ConnectionError("gone")], ids=repr)
def test_error_of_on_call_reaches_the_caller_and_makes_no_node_dead(kind: Any, error: Exception) -> None:
    with FakeMemcached() as fake, kind([fake.address], timeout=DEADLINE, on_call=lambda _: raise_it(error)) as cluster:
        with pytest.raises(type(error)) as raised:
            cluster.set(b"key", b"value")
        assert raised.value is error
        assert cluster.router.dead_nodes() == set()


def test_stop_iteration_of_the_serde_is_not_taken_for_the_result() -> None:
    serde = Serde[object](lambda _: (b"value", 0), lambda *_: raise_it(StopIteration("mine")))
    with FakeMemcached() as fake, Cluster([fake.address], timeout=DEADLINE, values=serde) as cluster:
        assert cluster.set(b"key", None) is True
        with pytest.raises(StopIteration, match="mine"):
            cluster.get(b"key")


# --- errors instead of misses


@both
def test_failure_of_a_node_in_raise_is_raised_and_then_that_it_is_dead(kind: Any) -> None:
    with kind([("127.0.0.1", 1)], timeout=DEADLINE, dead="raise") as cluster:
        with pytest.raises(ConnectionRefusedError):
            cluster.get(b"k")
        for call in (cluster.get, cluster.delete, cluster.incr):
            with pytest.raises(ConnectionError, match=r"^127.0.0.1:1 is dead: it has failed in the last 30.0 seconds$"):
                call(b"k")
        with pytest.raises(ConnectionError, match="is dead"):
            cluster.set_multi({b"k": b"v"})


@both
def test_failure_of_one_of_several_nodes_in_raise_is_raised(kind: Any) -> None:
    with server(answer_version) as port, kind([("127.0.0.1", 1)], timeout=DEADLINE, dead="raise") as cluster:
        cluster.set_nodes([("127.0.0.1", 1), ("127.0.0.1", port)])
        with pytest.raises(ConnectionRefusedError):
            cluster.run(cluster.router.on_all_nodes(cluster.router.commands.version()))


@real
@both
def test_cluster_in_raise_without_failures_is_like_any_other(kind: Any, nodes: list[Node]) -> None:
    with kind(nodes, timeout=DEADLINE, dead="raise") as cluster:
        assert cluster.set_multi(VALUES) == []
        assert cluster.get_multi(KEYS) == VALUES
