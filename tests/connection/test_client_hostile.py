"""Hostile replies are faults, on the fast paths and off them alike; usual replies take the fast paths."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memproto import (
    Add,
    AnyReply,
    ClientConnection,
    Delete,
    Deleted,
    Dialect,
    Envelope,
    Failure,
    Get,
    Item,
    Limits,
    LocalProtocolError,
    RemoteProtocolError,
    Replace,
    Request,
    ServerConnection,
    Set,
    Stats,
    Status,
    Stored,
    Values,
)
from memproto._wire.dialects import ReceiveBuffer
from memproto.binary._client import BinaryClient
from memproto.testing import pieces
from memproto.text._client import TextClient
from tests.support.telling import Told, tell
from tests.support.wire import each_byte, wire

BINARY, CLASSIC, META = Dialect.BINARY, Dialect.CLASSIC, Dialect.META
# Under these no fast path is taken.
NARROW = Limits(line=319, head=277)

# --- literal cases

TWO = Get((b"a", b"b"))
HIT = wire("810d0001 04000000 00000006 00000000 0000000000000009 00000007 'av'")
CASES: list[tuple[Dialect, Request[object], bytes, AnyReply | str]] = [
    # The NOOP that ends a get of many.
    (BINARY, TWO, HIT + wire("810a0000 00000081 0000000f 00000002 0000000000000000 'Unknown command'"),
     Failure(Status.UNKNOWN_COMMAND)),
    (BINARY, TWO, HIT + wire("810b0000 00000000 00000000 00000002 0000000000000000"),
     "opcode of the reply is 0x0b, of the request 0x0a"),
    (BINARY, TWO, HIT + wire("810d0000 00000001 00000000 00000002 0000000000000000"),
     "opcode of the reply is 0x0d, of the request 0x0a"),
    (BINARY, TWO, HIT + wire("810a0000 00000000 00000000 00000003 0000000000000000"),
     "opaque of a reply is 0x00000003, expected 0x00000000"),
    (BINARY, TWO, HIT + wire("810a0001 00000000 00000001 00000002 0000000000000000 'k'"),
     "key of a reply to NOOP is 1 bytes, must not be there"),
    # Statistics.
    (CLASSIC, Stats(), b"FOO name value\r\nEND\r\n", "line b'FOO name value' does not answer Stats"),
    (CLASSIC, Stats(), b"STAT a 1\r\nFOO name value\r\nEND\r\n", "line b'FOO name value' does not answer Stats"),
    (CLASSIC, Stats(), b"STAT \r\nEND\r\n", "line b'STAT ' does not answer Stats"),
    (CLASSIC, Stats(), b"STATS a 1\r\nEND\r\n", "line b'STATS a 1' does not answer Stats"),
]  # fmt: skip


@pytest.mark.parametrize(("dialect", "request_", "heard", "reply"), CASES, ids=[repr(row[2])[-50:] for row in CASES])
@pytest.mark.parametrize("limits", [None, NARROW], ids=["fast", "irregular"])
def test_unexpected_message_inside_a_reply_of_many_ends_it(
    dialect: Dialect, request_: Request[object], heard: bytes, reply: AnyReply | str, limits: Limits | None
) -> None:
    for cuts in ([heard], each_byte(heard)):
        client = ClientConnection(limits, dialect=dialect)
        client.send(request_)
        assert tell(client, cuts) == (Told([], reply) if isinstance(reply, str) else Told([reply]))


@pytest.mark.parametrize("limit", [18, 19, 20])
def test_a_hit_line_over_the_limit_is_a_fault_at_any_place_of_a_get_of_many(limit: int) -> None:
    first, second = b"VA 1 f0 c9 ka O0\r\nv\r\n", b"VA 1 f0 c999 kb O0\r\nv\r\n"
    assert (len(first), len(second)) == (16 + 2 + 3, 18 + 2 + 3)
    for heard in (first + second, first.replace(b"c9", b"c9999")[:-1] + b"\n" + second):
        for cuts in ([heard], each_byte(heard)):
            client = ClientConnection(Limits(line=limit), dialect=META)
            client.send(TWO)
            told = tell(client, cuts)
            longest = max(len(line) for line in heard.split(b"\r\n"))
            fault = f"line has more than {limit} bytes, which is the limit"
            assert told.fault == (fault if longest > limit else None)


def test_a_cr_that_was_taken_is_not_the_beginning_of_a_line_end() -> None:
    buffer = ReceiveBuffer()
    buffer.feed(b"\r\n")
    assert buffer.take(1) == b"\r"
    with pytest.raises(RemoteProtocolError, match=r"^line b'' ends in a bare LF, must end in CR LF$"):
        buffer.take_line(8, False)


def test_bytes_dropped_from_the_buffer_do_not_come_back() -> None:
    buffer = ReceiveBuffer()
    buffer.feed(b"first")
    assert buffer.take(20) is None
    for size in (10, 2000):
        buffer.feed(b"x" * size)
        buffer.clear()
        assert len(buffer) == 0
        buffer.feed(b"ab")
        assert buffer.take(2) == b"ab"
        assert buffer.take(1) is None
        buffer.feed(b"c")
        assert buffer.take(1) == b"c"
        buffer.feed(b"d")
        assert buffer.take(3) is None


@pytest.mark.parametrize("cas", [-1, 1 << 64])
def test_the_cas_of_an_item_is_checked_when_it_is_written(cas: int) -> None:
    for line in (b"mg k v c\r\n", b"mg k c\r\n", b"gets k\r\n"):
        server = ServerConnection()
        server.receive_data(line)
        event = server.next_event()
        assert isinstance(event, Envelope)
        with pytest.raises(LocalProtocolError, match=f"^cas is {cas}, must be 0 to 18446744073709551615$"):
            server.send(Values((Item(b"k", b"v", 0, cas),)), event)


# --- the fast paths

USUAL: list[tuple[Dialect, Request[object], bytes, AnyReply]] = [
    (BINARY, Get((b"k",)), wire("81000000 04000000 00000005 00000000 0000000000000009 00000007 'v'"),
     Values((Item(b"k", b"v", 7, 9),))),
    (BINARY, Get((b"k",)), wire("81000000 00000001 00000009 00000000 0000000000000000 'Not found'"), Values()),
    *((BINARY, kind(b"k", b"v"), wire(f"81{opcode:02x}0000 00000000 00000000 00000000 0000000000000009"), Stored(9))
      for opcode, kind in ((1, Set), (2, Add), (3, Replace))),
    (BINARY, Delete(b"k"), wire("81040000 00000000 00000000 00000000 0000000000000000"), Deleted()),
    (BINARY, TWO, HIT + wire("810a0000 00000000 00000000 00000002 0000000000000000"),
     Values((Item(b"a", b"v", 7, 9),))),
    (CLASSIC, Get((b"k",)), b"VALUE k 7 1 9\r\nv\r\nEND\r\n", Values((Item(b"k", b"v", 7, 9),))),
    (CLASSIC, Get((b"k",)), b"END\r\n", Values()),
    *((CLASSIC, kind(b"k", b"v"), b"STORED\r\n", Stored()) for kind in (Set, Add, Replace)),
    (CLASSIC, Delete(b"k"), b"DELETED\r\n", Deleted()),
    (META, Get((b"k",)), b"VA 1 f7 c9 kk O0\r\nv\r\n", Values((Item(b"k", b"v", 7, 9),))),
    (META, Get((b"k",)), b"EN kk O0\r\n", Values()),
    *((META, kind(b"k", b"v"), b"HD c9 O0\r\n", Stored(9)) for kind in (Set, Add, Replace)),
    (META, Delete(b"k"), b"HD O0\r\n", Deleted()),
]  # fmt: skip


@pytest.mark.parametrize(
    ("dialect", "request_", "heard", "reply"), USUAL, ids=[f"{row[0].value} {row[2]!r:.60}" for row in USUAL]
)
def test_the_usual_request_and_its_usual_reply_take_the_fast_path(
    dialect: Dialect, request_: Request[object], heard: bytes, reply: AnyReply, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*_: object) -> None:
        raise AssertionError("the slow path was taken")

    client = ClientConnection(dialect=dialect)
    if request_ != TWO:
        monkeypatch.setattr("memproto.binary._client.check_request", slow)
        monkeypatch.setattr("memproto.text._client.check_request", slow)
        monkeypatch.setattr("memproto.text.meta._client.check_request", slow)
    client.send(request_)
    monkeypatch.setattr(BinaryClient, "read_irregular", slow)
    monkeypatch.setattr(TextClient, "read_irregular", slow)
    assert tell(client, [heard]) == Told([reply])


@st.composite
def _spoilt(draw: st.DrawFn, heard: bytes) -> bytes:
    """These bytes with some of them changed, left out, repeated, or put in."""
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(heard)))
        to = draw(st.integers(at, min(len(heard), at + 8)))
        inserted = draw(
            st.sampled_from([b"", b"\r\n", b"\n", b" ", b"0", b"9", b"\0", b"\x81", b"END\r\n", heard[at:to] * 2])
            | st.binary(max_size=3)
        )
        heard = heard[:at] + inserted + heard[to:]
    return heard


@pytest.mark.parametrize("dialect", list(Dialect))
@given(data=st.data(), many=st.integers(1, 3))
def test_fast_and_irregular_agree_on_any_input(dialect: Dialect, data: st.DataObject, many: int) -> None:
    rows = [row for row in USUAL if row[0] is dialect]
    chosen = data.draw(st.lists(st.sampled_from(rows), min_size=1, max_size=many))
    heard, opaque = b"", 0
    for _, request, reply, _ in chosen:
        if dialect is BINARY:
            reply = b"".join(map(partial(_renumbered, opaque), _packets(reply)))
        if dialect is META:
            reply = reply.replace(b" O0\r\n", b" O%d\r\n" % opaque)
        heard += reply
        opaque += 3 if request is TWO and dialect is BINARY else 1
    stream = data.draw(_spoilt(heard))
    cuts = data.draw(pieces(stream))
    told = []
    for limits in (Limits(), NARROW):
        for each in ([stream], cuts):
            client = ClientConnection(limits, dialect=dialect)
            client.send_all([request for _, request, _, _ in chosen])
            told.append(tell(client, each, eof=True))
    assert told[0] == told[1]
    assert told[2] == told[3]
    # How much of a packet is kept while the rest is awaited does depend on the limits.
    usual, narrow = (replace(each, fault=re.sub("[0-9]+ bytes", "", each.fault or "")) for each in told[::2])
    # A packet that never becomes whole: if its header is over the narrow limits, the header alone is judged.
    if (usual.fault or "").startswith("stream ended inside a packet"):
        narrow = replace(narrow, fault=usual.fault)
    assert usual == narrow


def _packets(data: bytes) -> list[bytes]:
    found = []
    while data:
        size = 24 + int.from_bytes(data[8:12], "big")
        found.append(data[:size])
        data = data[size:]
    return found


def _renumbered(more: int, packet: bytes) -> bytes:
    """A packet whose opaque is so much more."""
    return packet[:12] + (int.from_bytes(packet[12:16], "big") + more).to_bytes(4, "big") + packet[16:]
