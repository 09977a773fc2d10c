"""The answer to ``config get cluster``."""

from __future__ import annotations

import pytest

from memproto import ClusterConfig, ClusterConfigReply, ClusterNode, Failure, LocalProtocolError, Status, UnknownLine
from memproto.testing import FakeMemcached

ASK = ClusterConfig()


def test_the_nodes_are_told_with_the_number_of_the_configuration() -> None:
    fake = FakeMemcached()
    fake.discovery([("one.example", 11211), ("10.0.0.2", 11212)])
    first, second = ClusterNode(b"one.example", b"one.example", 11211), ClusterNode(b"10.0.0.2", b"10.0.0.2", 11212)
    assert fake.execute(ASK) == ClusterConfigReply(1, (first, second))
    fake.discovery([("10.0.0.2", 1)])
    assert fake.execute(ASK) == ClusterConfigReply(2, (ClusterNode(b"10.0.0.2", b"10.0.0.2", 1),))


def test_without_nodes_the_command_is_unknown() -> None:
    fake = FakeMemcached()
    assert fake.execute(ASK) == Failure(Status.UNKNOWN_COMMAND)
    fake.discovery([])
    assert fake.execute(UnknownLine(b"config get other")) == Failure(Status.UNKNOWN_COMMAND)
    assert fake.execute(ASK) == ClusterConfigReply(1)
    fake.clear()
    assert fake.execute(ASK) == Failure(Status.UNKNOWN_COMMAND)


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ("host:1", "one of the nodes is 'host:1', must be a pair of host and port"),
        (("host",), "one of the nodes is tuple, must be a pair"),
        ((b"host", 1), "the host of a node is b'host', must be a str"),
        (("a|b", 1), "the host of a node is 'a|b', must be a name or address without spaces and |"),
        (("host", "1"), "the port of a node is '1', must be an int, 0 to 65535"),
    ],
)
def test_what_is_no_node_is_refused(node: object, words: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        FakeMemcached().discovery([node])  # type: ignore[list-item]
    assert str(caught.value).startswith(words)
