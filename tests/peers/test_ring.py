"""The ring against pylibmc: 10,000 keys, and where each has gone among five real servers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pytest

from memproto.clients.client import Client
from memproto.clients.cluster import Cluster
from memproto.clients.ring import Node, Placement, Ring
from tests.support.peers import DEADLINE, memcached, require

pytestmark = [pytest.mark.once, pytest.mark.peer("pylibmc"), pytest.mark.peer("memcached")]

KEYS = [b"key:%d" % number for number in range(10_000)]
BEHAVIORS: dict[Placement, dict[str, object]] = {
    "ketama_weighted": {"ketama_weighted": True},
    "ketama": {"ketama": True},
    "ketama_md5": {"ketama": True, "hash": "md5"},
}
# The last are weights for which the points of a node are not what whole numbers would give.
EQUAL, WEIGHTED, ODD = (1, 1, 1, 1, 1), (1, 2, 3, 4, 10), (1, 1, 1, 10, 12)


@pytest.fixture(scope="module")
def ports() -> Iterator[list[int]]:
    require("pylibmc")
    with ExitStack() as stack:
        yield [stack.enter_context(memcached()) for _ in range(5)]


def pylibmc_stores(nodes: Sequence[Node], placement: Placement) -> None:
    import pylibmc

    servers = [f"{node}:{node.weight}" for node in nodes]
    client = pylibmc.Client(servers, binary=True, behaviors=BEHAVIORS[placement])
    assert client.set_multi({key.decode(): b"x" for key in KEYS}) == []
    client.disconnect_all()


def found(ring: Ring, nodes: Sequence[Node]) -> int:
    """How many keys are where the ring says. Each key is in one place only."""
    there = stored = 0
    for node in nodes:
        with Client(node.host, node.port, timeout=DEADLINE) as client:
            there += len(client.get_multi([key for key in KEYS if ring.node(key) == node]))
            stored += int(client.stats()[b"curr_items"])
            client.flush()
            client.get_multi(KEYS)  # which makes memcached drop them
    assert stored == len(KEYS)
    return there


@pytest.mark.parametrize("weights", [EQUAL, WEIGHTED, ODD])
@pytest.mark.parametrize("placement", BEHAVIORS)
def test_ten_thousand_keys_are_where_pylibmc_puts_them(
    ports: list[int], placement: Placement, weights: tuple[int, ...]
) -> None:
    nodes = [Node("127.0.0.1", port, weight) for port, weight in zip(ports, weights, strict=True)]
    pylibmc_stores(nodes, placement)
    assert found(Ring(nodes, placement), nodes) == 10_000


@pytest.mark.parametrize("weights", [EQUAL, WEIGHTED])
def test_and_without_one_of_the_nodes(ports: list[int], weights: tuple[int, ...]) -> None:
    nodes = [Node("127.0.0.1", port, weight) for port, weight in zip(ports, weights, strict=True)]
    ring = Ring(nodes)
    rest = ring.without(nodes[2])
    pylibmc_stores(rest.all, "ketama_weighted")
    assert found(rest, rest.all) == 10_000
    moved = [key for key in KEYS if rest.node(key) != ring.node(key)]
    # Only the keys of that node, if all are equal.
    assert (weights == EQUAL) == all(ring.node(key) == nodes[2] for key in moved)
    assert {key for key in KEYS if ring.node(key) == nodes[2]} <= set(moved)


def test_a_cluster_and_pylibmc_share_what_they_store(ports: list[int]) -> None:
    import pylibmc

    nodes = [Node("127.0.0.1", port, weight) for port, weight in zip(ports, WEIGHTED, strict=True)]
    pylibmc_stores(nodes, "ketama")
    with Cluster(nodes, placement="ketama", timeout=DEADLINE) as cluster:
        assert len(cluster.get_multi(KEYS)) == 10_000
        assert cluster.set_multi(dict.fromkeys(KEYS, b"y")) == []
    client = pylibmc.Client([f"{node}:{node.weight}" for node in nodes], binary=True, behaviors=BEHAVIORS["ketama"])
    assert client.get_multi([key.decode() for key in KEYS]) == {key.decode(): b"y" for key in KEYS}
    client.disconnect_all()
