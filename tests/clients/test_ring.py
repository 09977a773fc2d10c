"""The ring places keys where libmemcached 1.0.16 has placed them, recorded from ``memcached_generate_hash``."""

from __future__ import annotations

from collections import Counter

import pytest

from memproto.clients import AsyncClient, Client
from memproto.clients.ring import Node, NodeLike, Placement, Ring, parse_node

THREE: list[NodeLike] = ["10.0.0.1", "10.0.0.2:11211", "10.0.0.3:11212"]
WEIGHTED: list[NodeLike] = ["10.0.0.1:11211:1", "10.0.0.2:11212:2", "10.0.0.3:11213:5"]
# Weights for which libmemcached's floats give other numbers of points than whole numbers would.
FLOATS: list[NodeLike] = [(f"10.0.0.{index}", 11211, weight) for index, weight in enumerate((1, 1, 1, 10, 12), 1)]

KEYS = [b"key:%d" % number for number in range(50)]


@pytest.mark.parametrize(
    ("nodes", "placement", "places"),
    [
        (THREE, "ketama_weighted", "11221222101112111001010222222022200020001020202102"),
        (THREE, "ketama", "20102022021000212001021201222102102200200220010201"),
        (THREE, "ketama_md5", "12122111222120121221121122212020200220221001202100"),
        (WEIGHTED, "ketama_weighted", "11212201211221222122122201121222212221122202102222"),
        (WEIGHTED, "ketama", "22212201222222202222221021202220121222122002222022"),
        (WEIGHTED, "ketama_md5", "11212201211221222122122201121222212221122202102222"),
        (FLOATS, "ketama_weighted", "34344334434333131441443324443433433433344303333344"),
        (FLOATS, "ketama", "44333444333443304433434444344344434344444403433044"),
        (FLOATS, "ketama_md5", "34344334434333131441443324443433433433344303333344"),
    ],
)
def test_keys_have_nodes_of_libmemcached(nodes: list[NodeLike], placement: Placement, places: str) -> None:
    ring = Ring(nodes, placement)
    assert "".join(str(ring.all.index(ring.node(key))) for key in KEYS) == places


def test_keys_of_any_bytes_have_nodes_of_libmemcached() -> None:
    keys = ["häßlich".encode(), b"\xff\xfe", "☃".encode(), b"\x80" * 9]
    expected: dict[Placement, list[int]] = {"ketama": [2, 1, 2, 1], "ketama_weighted": [2, 1, 0, 2]}
    for placement, places in expected.items():
        ring = Ring(THREE, placement)
        assert [ring.all.index(ring.node(key)) for key in keys] == places


def test_ring_of_25_equal_nodes_has_156_points_for_each() -> None:
    ring = Ring([f"10.0.1.{index}" for index in range(25)])
    places = {b"key:111": 11, b"key:127": 14, b"key:198": 21, b"key:215": 22, b"key:268": 11, b"key:282": 17}
    # With 160 points they would be at 1, 23, 24, 9, 17 and 22.
    assert {key: ring.all.index(ring.node(key)) for key in places} == places


def test_keys_of_removed_node_go_to_next_nodes() -> None:
    placements: tuple[Placement, ...] = ("ketama_weighted", "ketama", "ketama_md5")
    for placement in placements:
        ring = Ring(THREE, placement)
        for gone in ring.all:
            rest = ring.without(gone)
            assert gone not in rest.all
            for key in KEYS:
                order = list(ring.nodes(key))
                assert order[0] == ring.node(key)
                assert set(order) == set(ring.all)
                assert len(order) == 3
                assert rest.node(key) == next(node for node in order if node != gone)


def test_node_of_more_weight_has_more_keys() -> None:
    ring = Ring(WEIGHTED)
    taken = Counter(ring.node(b"%d" % number).weight for number in range(10_000))
    assert taken == {1: 1288, 2: 2643, 5: 6069}


def test_ring_of_one_node_has_all_keys_on_it() -> None:
    ring = Ring(["cache"])
    assert {ring.node(key) for key in KEYS} == {Node("cache", 11211, 1)}
    assert list(ring.nodes(b"key")) == [Node("cache", 11211, 1)]


@pytest.mark.parametrize(
    ("written", "node", "text"),
    [
        ("cache", Node("cache", 11211, 1), "cache:11211"),
        ("cache:11212", Node("cache", 11212, 1), "cache:11212"),
        ("10.0.0.1:11212:7", Node("10.0.0.1", 11212, 7), "10.0.0.1:11212"),
        ("[::1]", Node("::1", 11211, 1), "[::1]:11211"),
        ("[::1]:1:2", Node("::1", 1, 2), "[::1]:1"),
        ("unix:/run/a:b.sock", Node("unix:/run/a:b.sock", 0, 1), "unix:/run/a:b.sock"),
        (("cache", 1), Node("cache", 1, 1), "cache:1"),
        (("unix:/run/a", 0, 2), Node("unix:/run/a", 0, 2), "unix:/run/a"),
    ],
)
def test_node_as_text_or_tuple_is_parsed(written: NodeLike, node: Node, text: str) -> None:
    assert parse_node(written) == node
    assert str(node) == text


@pytest.mark.parametrize(
    "written",
    ["", ":1", "a:", "a:x", "a:1:2:3", "a:0", "a:65536", "a:1:0", "a:-1", "::1", "[::1", "[::1]x", ("unix:/a", 1)],
)
def test_node_out_of_range_is_refused(written: NodeLike) -> None:
    with pytest.raises(ValueError, match="is no host:port:weight"):
        parse_node(written)


def test_ring_without_nodes_or_with_repeated_ones_is_refused() -> None:
    for nodes in ([], ["a", "a:11211:2"]):
        with pytest.raises(ValueError, match="a ring is of one or more nodes, each of them once"):
            Ring(nodes)
    with pytest.raises(ValueError, match="placement is 'modula', must be ketama_weighted, ketama or ketama_md5"):
        Ring(["a"], "modula")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_port_out_of_range_of_a_client_of_one_server_is_refused(kind: type[Client | AsyncClient]) -> None:
    for port in (-1, 0, 65536, 70000):
        with pytest.raises(ValueError, match=f"^port is {port}, must be 1 to 65535$"):
            kind("127.0.0.1", port)
    kind("127.0.0.1", 65535)
    kind("unix:/path", 0)
