"""The CAS 0 of a text command is compared as any other; only in binary, append, prepend and arithmetic it is none."""

from __future__ import annotations

import pytest

from memproto import (
    Append,
    ClientConnection,
    Delete,
    Deleted,
    Dialect,
    Increment,
    LocalProtocolError,
    MetaOptions,
    Replace,
    Request,
    Set,
    Stored,
)
from memproto.engine import Engine
from memproto.text import decode_reply, decode_request, encode_reply, encode_request, meta_envelope
from tests.support.serving import serve

NOW = 1_700_000_000.0


def _said(engine: Engine, data: bytes) -> bytes:
    return serve([data], lambda envelope: engine.execute(envelope.request, NOW)).output


# As memcached 1.6.18 answers them, one after the other.
CONVERSATION = [
    (b"cas none 0 0 1 0\r\nx\r\n", b"NOT_FOUND\r\n"),
    (b"ms none 1 C0\r\nx\r\n", b"NF\r\n"),
    (b"ms none 1 C0 I\r\nx\r\n", b"NF\r\n"),
    (b"md none C0\r\n", b"NF\r\n"),
    (b"set k 0 0 1\r\na\r\n", b"STORED\r\n"),
    (b"cas k 0 0 1 0\r\nb\r\n", b"EXISTS\r\n"),
    (b"ms k 1 C0\r\nc\r\n", b"EX\r\n"),
    (b"ms k 1 C0 MR\r\nc\r\n", b"EX\r\n"),
    # Not as an outdated CAS, which would be stored as stale.
    (b"ms k 1 C0 I\r\nd\r\n", b"EX\r\n"),
    (b"md k C0\r\n", b"EX\r\n"),
    (b"md k I C0\r\n", b"EX\r\n"),
    (b"get k\r\n", b"VALUE k 0 1\r\na\r\nEND\r\n"),
    (b"ms k 1 C0 MA\r\nz\r\n", b"HD\r\n"),
    (b"ms k 1 C0 MP\r\ny\r\n", b"HD\r\n"),
    (b"ms k 1 C0 ME\r\nx\r\n", b"NS\r\n"),
    (b"ms new 1 C0 ME\r\n1\r\n", b"HD\r\n"),
    (b"ma new C0 v\r\n", b"VA 1\r\n2\r\n"),
    (b"get k\r\n", b"VALUE k 0 3\r\nyaz\r\nEND\r\n"),
]


def test_server_compares_a_cas_of_zero_in_a_conversation() -> None:
    engine = Engine()
    assert [_said(engine, data) for data, _ in CONVERSATION] == [said for _, said in CONVERSATION]


def test_cas_zero_in_a_cache_without_cas_is_as_memcached_has_it() -> None:
    engine = Engine(cas=False)
    data = b"cas k 0 0 1 0\r\na\r\nset k 0 0 1\r\na\r\ncas k 0 0 1 0\r\nb\r\nms k 1 C0\r\nc\r\nmd k C0\r\n"
    assert _said(engine, data) == b"NOT_FOUND\r\nSTORED\r\nEXISTS\r\nEX\r\nHD\r\n"


@pytest.mark.parametrize(
    ("data", "request_"),
    [
        (b"cas k 5 6 1 0\r\nv\r\n", Set(b"k", b"v", 5, 6, -1)),
        (b"ms k 1 C0\r\nv\r\n", Set(b"k", b"v", cas=-1)),
        (b"ms k 1 C0 MR\r\nv\r\n", Replace(b"k", b"v", cas=-1)),
        (b"ms k 1 C0 MA\r\nv\r\n", Append(b"k", b"v")),
        (b"md k C0 x\r\n", Delete(b"k", -1, MetaOptions(drop_value=True))),
        (b"ma k C0\r\n", Increment(b"k")),
    ],
)
def test_cas_zero_is_minus_one_in_the_message_and_encodes_back(data: bytes, request_: Request[object]) -> None:
    envelope = decode_request(data)
    assert envelope.request == request_
    assert encode_request(envelope) == data


def test_cas_minus_one_is_sent_as_zero_in_text() -> None:
    classic = ClientConnection(dialect=Dialect.CLASSIC)
    assert classic.send(Set(b"k", b"v", cas=-1)).data == b"cas k 0 0 1 0\r\nv\r\n"
    assert encode_request(meta_envelope(Set(b"k", b"v", cas=-1))) == b"ms k 1 C0\r\nv\r\n"
    assert encode_request(meta_envelope(Delete(b"k", -1))) == b"md k C0\r\n"


@pytest.mark.parametrize("request_", [Append(b"k", b"v", -1), Increment(b"k", cas=-1), Set(b"k", b"v", cas=-2)])
def test_cas_below_minus_one_is_refused(request_: Append | Increment | Set) -> None:
    with pytest.raises(LocalProtocolError, match="cas is -"):
        meta_envelope(request_)


@pytest.mark.parametrize("request_", [Set(b"k", b"v", cas=-1), Delete(b"k", -1)])
def test_cas_minus_one_is_refused_in_binary(request_: Set | Delete) -> None:
    with pytest.raises(LocalProtocolError, match="cas is -1"):
        ClientConnection().send(request_)


@pytest.mark.parametrize(("asked", "reply"), [(b"ms k 1 v\r\na\r\n", Stored()), (b"md k v\r\n", Deleted())])
def test_value_asked_of_a_command_that_has_none_is_not_in_the_reply(asked: bytes, reply: Stored | Deleted) -> None:
    envelope = decode_request(asked)
    assert encode_reply(reply, envelope) == b"HD\r\n"
    assert decode_reply(b"HD\r\n", envelope) == reply
