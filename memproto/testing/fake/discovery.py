"""How clients find the nodes of a cluster: the answer to ``config get cluster`` of ElastiCache and Memorystore."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from memproto import AnyRequest, ClusterConfig, ClusterConfigReply, ClusterNode
from memproto.testing.arguments import check_port, check_type, misuse

#: Host and port of a node.
Node: TypeAlias = tuple[str, int]


class Discovery:
    """The nodes of a cluster, and the number of this configuration, which grows with each change."""

    def __init__(self) -> None:
        self._version = 0
        self._nodes: tuple[Node, ...] = ()

    def set(self, nodes: Iterable[Node]) -> None:
        """Take other nodes. Raises LocalProtocolError for what is no pair of host and port."""
        check_type("nodes", nodes, (Iterable,), "a list of pairs of host and port")
        self._nodes = tuple(map(_checked, nodes))
        self._version += 1

    def clear(self) -> None:
        """Answer no longer."""
        self._version = 0

    def answer(self, request: AnyRequest) -> ClusterConfigReply | None:
        """The reply to ``config get cluster``, ``None`` for any other request and if no nodes were ever set."""
        if not self._version or not isinstance(request, ClusterConfig):
            return None
        nodes = tuple(ClusterNode(host.encode(), host.encode(), port) for host, port in self._nodes)
        return ClusterConfigReply(self._version, nodes)


def _checked(node: object) -> Node:
    if not isinstance(node, tuple) or len(node) != 2:
        raise misuse("one of the nodes", node, 'a pair of host and port, such as ("127.0.0.1", 11211)')
    host, port = node
    check_type("the host of a node", host, (str,), "a str")
    check_port("the port of a node", port)
    if not host or "|" in host or any(letter.isspace() or not letter.isprintable() for letter in host):
        raise misuse("the host of a node", host, "a name or address without spaces and |")
    return node
