"""The answer to ``config get cluster``."""

from __future__ import annotations

import pytest

from memproto import Failure, LocalProtocolError, RawReply, Status, UnknownLine
from memproto.testing import FakeMemcached

ASK = UnknownLine(b"config get cluster")


def test_the_nodes_are_told_with_the_number_of_the_configuration() -> None:
    fake = FakeMemcached()
    fake.discovery([("one.example", 11211), ("10.0.0.2", 11212)])
    answer = b"CONFIG cluster 0 56\r\n1\none.example|one.example|11211 10.0.0.2|10.0.0.2|11212\n\r\nEND\r\n"
    assert fake.execute(ASK) == RawReply(value=answer)
    assert fake.execute(UnknownLine(b" config  get cluster ")) == RawReply(value=answer)
    fake.discovery([("10.0.0.2", 1)])
    assert fake.execute(ASK) == RawReply(value=b"CONFIG cluster 0 22\r\n2\n10.0.0.2|10.0.0.2|1\n\r\nEND\r\n")


def test_without_nodes_the_command_is_unknown() -> None:
    fake = FakeMemcached()
    assert fake.execute(ASK) == Failure(Status.UNKNOWN_COMMAND)
    fake.discovery([])
    assert fake.execute(UnknownLine(b"config get other")) == Failure(Status.UNKNOWN_COMMAND)
    assert fake.execute(ASK) == RawReply(value=b"CONFIG cluster 0 3\r\n1\n\n\r\nEND\r\n")
    fake.clear()
    assert fake.execute(ASK) == Failure(Status.UNKNOWN_COMMAND)


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ("host:1", "one of the nodes is 'host:1', must be a pair of host and port"),
        (("host",), "one of the nodes is tuple, must be a pair"),
        ((b"host", 1), "the host of a node is b'host', must be a str"),
        (("host", "1"), "the port of a node is '1', must be an int, 0 or more"),
    ],
)
def test_what_is_no_node_is_refused(node: object, words: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        FakeMemcached().discovery([node])  # type: ignore[list-item]
    assert str(caught.value).startswith(words)
