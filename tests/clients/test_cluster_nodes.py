"""Both clients of several servers: nodes that come and go, commands on many keys, leases, errors instead of misses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from memproto import Dialect
from memproto.clients import AsyncCluster, Cluster, Lease, Node
from tests.clients.test_cluster import KEYS, VALUES, both, real
from tests.support.opaques import opaques_begin_at_0
from tests.support.peers import DEADLINE, memcached
from tests.support.scripted_servers import answer_version, server

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
