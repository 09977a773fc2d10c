"""``config get cluster``: the nodes of a cluster, as hosted services list them."""

from __future__ import annotations

import pytest

from memproto import (
    ClientConnection,
    ClusterConfig,
    ClusterConfigReply,
    ClusterNode,
    Dialect,
    Failure,
    Limits,
    LocalProtocolError,
    RemoteProtocolError,
    Status,
)
from memproto.text import decode_cluster_config, decode_request, encode_cluster_config, encode_reply
from tests.support.telling import Told, tell, tell_three_ways

NODES = ClusterConfigReply(
    12,
    (
        ClusterNode(b"node1.example.com", b"10.82.235.120", 11211),
        ClusterNode(b"node2.example.com", b"2001:db8::1", 11211),
        ClusterNode(b"node3.example.com", b"", 11212),
    ),
)
DATA = b"12\nnode1.example.com|10.82.235.120|11211 node2.example.com|2001:db8::1|11211 node3.example.com||11212\n"
REPLY = b"CONFIG cluster 0 102\r\n" + DATA + b"\r\nEND\r\n"


@pytest.mark.parametrize("dialect", [Dialect.CLASSIC, Dialect.META])
def test_reply_is_read_in_any_pieces(dialect: Dialect) -> None:
    def ask(client: ClientConnection) -> None:
        assert client.send(ClusterConfig()).data == b"config get cluster\r\n"

    assert tell_three_ways(ask, REPLY, dialect=dialect) == Told([NODES])
    assert tell_three_ways(ask, b"ERROR\r\n", dialect=dialect) == Told([Failure(Status.UNKNOWN_COMMAND)])


def test_data_are_written_and_read_as_of_older_engines() -> None:
    assert encode_cluster_config(NODES) == DATA
    assert decode_cluster_config(DATA) == NODES
    assert decode_cluster_config(b"1\r\nh|i|5\r\n") == ClusterConfigReply(1, (ClusterNode(b"h", b"i", 5),))
    assert decode_cluster_config(encode_cluster_config(ClusterConfigReply(0))) == ClusterConfigReply(0)


def test_reply_over_the_limit_is_skipped_and_the_request_fails() -> None:
    client = ClientConnection(Limits(value=101), dialect=Dialect.CLASSIC)
    client.send(ClusterConfig())
    expected = Failure(Status.REPLY_TOO_LARGE, b"nodes of the cluster are 102 bytes, limit is 101")
    assert tell(client, [REPLY]) == Told([expected])


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (b"CONFIG cluster 0 x\r\n", "line b'CONFIG cluster 0 x' does not answer ClusterConfig"),
        (b"CONFIG other 0 1\r\n", "line b'CONFIG other 0 1' does not answer ClusterConfig"),
        (b"STORED\r\n", "line b'STORED' does not answer ClusterConfig"),
        (
            b"CONFIG cluster 0 2\r\n1\nabcdefgh",
            "nodes of the cluster are not followed by CR LF END after 2 bytes",
        ),
        (
            b"CONFIG cluster 0 2\r\nx\n\r\nEND\r\n",
            "version of the cluster is b'x', must be a number and a line end",
        ),
        (b"CONFIG cluster 0 1\r\n1\r\nEND\r\n", "version of the cluster is b'1', must be a number and a line end"),
        (b"CONFIG cluster 0 5\r\n1\na|b\r\nEND\r\n", "node is b'a|b', must be host, ip and port with | between them"),
        (
            b"CONFIG cluster 0 7\r\n1\n|a|12\r\nEND\r\n",
            "node is b'|a|12', must be host, ip and port with | between them",
        ),
        (
            b"CONFIG cluster 0 11\r\n1\na|b|65536\r\nEND\r\n",
            "node is b'a|b|65536', must be host, ip and port with | between them",
        ),
    ],
)
def test_reply_of_another_form_is_a_fault(said: bytes, fault: str) -> None:
    client = ClientConnection(dialect=Dialect.CLASSIC)
    client.send(ClusterConfig())
    assert tell(client, [said]) == Told(fault=fault)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (ClusterConfigReply(-1), "version is -1, must be 0 to"),
        (ClusterConfigReply(1, (ClusterNode(b"", b"", 1),)), "host is 0 bytes, the least is 1"),
        (ClusterConfigReply(1, (ClusterNode(b"a b", b"", 1),)), "host is b'a b', must hold no space"),
        (ClusterConfigReply(1, (ClusterNode(b"a", b"1\n", 1),)), "ip is b'1\\\\n', must hold no space"),
        (ClusterConfigReply(1, (ClusterNode(b"a", b"1|2", 1),)), r"host or ip is b'1\|2', must hold no \|"),
        (ClusterConfigReply(1, (ClusterNode(b"a", b"", 65536),)), "port is 65536, must be 0 to 65535"),
    ],
)
def test_field_that_does_not_fit_is_refused(reply: ClusterConfigReply, message: str) -> None:
    with pytest.raises(LocalProtocolError, match=message):
        encode_cluster_config(reply)
    with pytest.raises(LocalProtocolError, match=message):
        encode_reply(reply, decode_request(b"config get cluster\r\n"))


def test_wrong_types_are_refused() -> None:
    with pytest.raises(LocalProtocolError, match="reply is 5, must be a ClusterConfigReply"):
        encode_cluster_config(5)  # type: ignore[arg-type]
    with pytest.raises(LocalProtocolError, match="data is 'x', must be bytes"):
        decode_cluster_config("x")  # type: ignore[arg-type]
    with pytest.raises(RemoteProtocolError, match="version of the cluster is b''"):
        decode_cluster_config(b"")
