"""Find which of several servers has a key, by the ketama of libmemcached, which pylibmc and php-memcached use, too.

    ring = Ring(["10.0.0.1:11211", "10.0.0.2:11211:3"])  # the second takes three times as many keys
    ring.node(b"key")                                    # Node(host='10.0.0.2', port=11211, weight=3)
    list(ring.nodes(b"key"))                             # then the nodes that take it if that one is dead

Each server has points on a circle of 2**32, and a key belongs to the server of the next point. libmemcached has three
placements that differ in everything else. Their names here are those of pylibmc's behaviors:

- ``ketama_weighted``, ``{"ketama_weighted": True}``: 160 points for a server of average weight, four from each MD5;
  what libketama and php-memcached's ``OPT_LIBKETAMA_COMPATIBLE`` do;
- ``ketama``, ``{"ketama": True}``: 100 points, and everything by Jenkins' one-at-a-time hash;
- ``ketama_md5``, ``{"ketama": True, "hash": "md5"}``: 100 points, each an MD5.

If a weight is more than 1, the latter two use the points of the first, but not its hash of keys. A point depends on the
host as you write it, without the port 11211: ``localhost`` and ``127.0.0.1`` are different servers.
"""

from __future__ import annotations

import math
import re
import struct
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from hashlib import md5
from typing import Final, Literal, NamedTuple, TypeAlias

Placement: TypeAlias = Literal["ketama_weighted", "ketama", "ketama_md5"]

_UNIX: Final = "unix:"
_HOST_PORT_WEIGHT: Final = re.compile(r"(?:\[([^\]]+)\]|([^:\[\]]+))(?::([0-9]{1,9})(?::([0-9]{1,9}))?)?")
_DEFAULT_PORT: Final = 11211
_MAX_PORT: Final = 65535
_POINTS: Final = 100
_POINTS_IF_WEIGHTED: Final = 160
_POINTS_OF_DIGEST: Final = 4


class Node(NamedTuple):
    """A server; ``host`` may be a Unix socket, ``unix:PATH``, with the port 0."""

    host: str
    port: int = _DEFAULT_PORT
    weight: int = 1

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host and not self.host.startswith(_UNIX) else self.host
        return host if host.startswith(_UNIX) else f"{host}:{self.port}"


#: A node, or ``"host"``, ``"host:port"``, ``"host:port:weight"``, ``"[::1]:port:weight"``, ``"unix:PATH"``.
NodeLike: TypeAlias = str | tuple[str, int] | tuple[str, int, int] | Node


def parse_node(given: NodeLike) -> Node:
    """Return the node of a string or tuple.

    Raises ValueError for a host, port or weight that is out of range, TypeError for one of a wrong type.
    """
    node = _checked(_parse_text(given) if isinstance(given, str) else given)
    unix = node.host.startswith(_UNIX)
    if not (0 if unix else 1) <= node.port <= (0 if unix else _MAX_PORT) or node.weight < 1:
        raise ValueError(f"{given!r} is no host:port:weight, with a port of 1 to 65535 and a weight of 1 or more")
    return node


def node_of(host: str, port: int) -> Node:
    """Return the node of a client of one server; a Unix socket has no port.

    Raises ValueError for a port out of range, which the system takes for another one, and as :func:`parse_node` does.
    """
    node = _checked((host, port))
    if not node.host.startswith(_UNIX) and not 1 <= node.port <= _MAX_PORT:
        raise ValueError(f"port is {port!r}, must be 1 to {_MAX_PORT}")
    return node


def _checked(given: object) -> Node:
    if not isinstance(given, tuple | list) or not 2 <= len(given) <= 3:
        raise TypeError(f"{given!r:.80} is no node, must be a str or a tuple of host, port and perhaps weight")
    host, *numbers = given
    if not isinstance(host, str) or any(type(number) is not int for number in numbers):
        raise TypeError(f"{given!r:.80} is no node, the host must be a str, port and weight ints")
    if not host or "\0" in host:
        raise ValueError(f"{given!r:.80} is no node, the host must have one character or more, and no NUL")
    return Node(host, *numbers)


def _parse_text(text: str) -> Node:
    if text.startswith(_UNIX):
        return Node(text, 0)
    match = _HOST_PORT_WEIGHT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no host:port:weight")
    return Node(match[1] or match[2], int(match[3] or _DEFAULT_PORT), int(match[4] or 1))


class Ring:
    """The nodes and their points. A ring never changes, and does not know which nodes are dead.

    Raises ValueError if there is no node, a node is there twice or out of range, or ``placement`` is no name of a
    placement; TypeError for nodes of a wrong type.
    """

    def __init__(self, nodes: Iterable[NodeLike], placement: Placement = "ketama_weighted") -> None:
        _check_nodes(nodes)
        self.all: tuple[Node, ...] = tuple(map(parse_node, nodes))
        if len({(node.host, node.port) for node in self.all}) < len(self.all) or not self.all:
            raise ValueError("a ring is of one or more nodes, each of them once")
        if placement not in ("ketama_weighted", "ketama", "ketama_md5"):
            raise ValueError(f"placement is {placement!r}, must be ketama_weighted, ketama or ketama_md5")
        self.placement: Placement = placement
        self._hash: Callable[[bytes], int] = _hash_one_at_a_time if placement == "ketama" else _hash_md5
        weighted = placement == "ketama_weighted" or any(node.weight > 1 for node in self.all)
        points = _weighted_points(self.all) if weighted else _points(self.all, self._hash)
        circle = sorted(points, key=lambda point: point[0])
        self._points = [place for place, _ in circle]
        self._nodes = [node for _, node in circle]

    def node(self, key: bytes) -> Node:
        """Return the node that has the key."""
        at = bisect_left(self._points, self._hash(key))
        return self._nodes[at if at < len(self._nodes) else 0]

    def nodes(self, key: bytes) -> Iterator[Node]:
        """Yield all nodes in the order in which they take the key: the first has it, the next if that one is dead."""
        start = bisect_left(self._points, self._hash(key))
        seen: set[Node] = set()
        for at in range(start, start + len(self._nodes)):
            node = self._nodes[at % len(self._nodes)]
            if node not in seen:
                seen.add(node)
                yield node

    def without(self, *nodes: NodeLike) -> Ring:
        """Return a ring without these nodes.

        If all weights are equal, only the keys of these nodes move, to the nodes that :meth:`nodes` yields. Otherwise
        the others get more points, as in libmemcached, and some of their keys move, too.
        """
        gone = set(map(parse_node, nodes))
        return Ring([node for node in self.all if node not in gone], self.placement)


def _check_nodes(nodes: object) -> None:
    # Of one string alone map() would make a node of each character.
    if isinstance(nodes, str | bytes) or not isinstance(nodes, Iterable):
        raise TypeError(f"nodes is {nodes!r:.80}, must be an iterable of nodes")


def _points(nodes: Iterable[Node], hash_: Callable[[bytes], int]) -> Iterator[tuple[int, Node]]:
    for node in nodes:
        for index in range(_POINTS):
            yield hash_(_label(node, index)), node


def _weighted_points(nodes: tuple[Node, ...]) -> Iterator[tuple[int, Node]]:
    total = _float32(sum(node.weight for node in nodes))
    for node in nodes:
        # libmemcached computes in floats of 32 bits, step by step: each of 25 equal nodes has 156 points, not 160.
        share = _float32(_float32(node.weight) / total)
        hashes = _float32(_float32(share * _POINTS_IF_WEIGHTED) / _POINTS_OF_DIGEST)
        for index in range(math.floor(_float32(_float32(hashes * len(nodes)) + 1e-10))):
            for place in struct.unpack("<4I", md5(_label(node, index), usedforsecurity=False).digest()):
                yield place, node


def _label(node: Node, index: int) -> bytes:
    port = "" if node.port == _DEFAULT_PORT else f":{node.port}"
    return f"{node.host.removeprefix(_UNIX)}{port}-{index}".encode()


def _float32(number: float) -> float:
    (rounded,) = struct.unpack("f", struct.pack("f", number))
    return float(rounded)


def _hash_md5(data: bytes) -> int:
    return int.from_bytes(md5(data, usedforsecurity=False).digest()[:4], "little")


def _hash_one_at_a_time(data: bytes) -> int:
    value = 0
    for byte in data:
        # libmemcached adds signed chars, as x86 has them. Other machines place keys with non-ASCII bytes differently.
        value = (value + (byte ^ 0x80) - 0x80) * 1025 & 0xFFFFFFFF
        value ^= value >> 6
    value = value * 9 & 0xFFFFFFFF
    value ^= value >> 11
    return value * 32769 & 0xFFFFFFFF
