"""The client's short ways for what is usual: they say and understand the same as the long ones, and nothing more."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memproto import (
    Add,
    BinaryEnvelope,
    ClassicEnvelope,
    ClientConnection,
    Counter,
    Decrement,
    Delete,
    Deleted,
    Dialect,
    Failure,
    Get,
    Increment,
    Item,
    Limits,
    LocalProtocolError,
    Noop,
    Ok,
    Opcode,
    Quit,
    Replace,
    Request,
    Set,
    Silence,
    Status,
    Stored,
    Touch,
    Touched,
    Values,
    Version,
)
from memproto import binary as whole_binary
from memproto import text as whole_text
from memproto.model import AnyReply, MetaOptions
from memproto.text.classic._arguments import verb_for
from tests.support.reached import reached, reaches
from tests.support.telling import Told, tell, tell_three_ways
from tests.support.wire import each_byte, wire

Usual: TypeAlias = Get | Delete | Set | Add | Replace

BINARY, CLASSIC, META = Dialect.BINARY, Dialect.CLASSIC, Dialect.META
#: Under these nothing is read by a short way.
NARROW = Limits(head=277, line=319)

_KEYS = st.binary(max_size=8) | st.sampled_from([b"key:1", b"noreply", b"a b", b"\x7f", b"\0", b"k" * 250, b"k" * 251])
_NUMBERS = st.sampled_from([0, 0, 1, -1, 5, -(1 << 31), -(1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 64])
_OPTIONS = st.none() | st.none() | st.sampled_from([MetaOptions(), MetaOptions(base64=True), MetaOptions(vivify=5)])
_VALUES = st.binary(max_size=8)
_REQUESTS: st.SearchStrategy[Usual] = st.one_of(
    st.builds(Get, st.tuples(_KEYS), st.none() | _NUMBERS, _OPTIONS),
    st.builds(Delete, _KEYS, _NUMBERS),
    *(st.builds(kind, _KEYS, _VALUES, _NUMBERS, _NUMBERS, _NUMBERS, _OPTIONS) for kind in (Set, Add, Replace)),
)
_OPCODES: dict[type[Request[object]], tuple[int, int]] = {
    Get: (Opcode.GET, Opcode.GETQ),
    Delete: (Opcode.DELETE, Opcode.DELETEQ),
    Set: (Opcode.SET, Opcode.SETQ),
    Add: (Opcode.ADD, Opcode.ADDQ),
    Replace: (Opcode.REPLACE, Opcode.REPLACEQ),
}


def _sent(dialect: Dialect, request: Request[object], quiet: bool = False) -> bytes | str:
    """The bytes behind those of a first request, or the refusal."""
    client = ClientConnection(dialect=dialect)
    client.send(Get((b"first",)))
    try:
        return (client.send_quiet(request) if quiet else client.send(request)).data
    except LocalProtocolError as error:
        assert client.outstanding == 1
        return str(error)


def _or_refusal(encode: Callable[[], bytes]) -> bytes | str:
    try:
        return encode()
    except LocalProtocolError as error:
        return str(error)


@reaches(said=0.1, refused=0.1)
@given(request_=_REQUESTS, quiet=st.booleans())
def test_request_is_sent_with_the_bytes_of_whole_binary_messages(request_: Usual, quiet: bool) -> None:
    said = _sent(BINARY, request_, quiet)
    reached("refused" if isinstance(said, str) else "said")
    opcode = _OPCODES[type(request_)][quiet]
    if isinstance(request_, Get) and request_.exptime is not None:
        opcode = Opcode.GATQ if quiet else Opcode.GAT
    options = getattr(request_, "meta", None)
    if options == MetaOptions(vivify=5):
        assert isinstance(said, str)
        assert "has meta options that only meta can say" in said
        return
    assert said == _or_refusal(lambda: whole_binary.encode_request(BinaryEnvelope(request_, opcode, 1)))


@reaches(said=0.1, refused=0.1)
@given(request_=_REQUESTS)
def test_request_is_sent_with_the_bytes_of_whole_classic_messages(request_: Usual) -> None:
    said = _sent(CLASSIC, request_)
    reached("refused" if isinstance(said, str) else "said")
    options = getattr(request_, "meta", None)
    if options == MetaOptions(vivify=5):
        assert isinstance(said, str)
        assert "has meta options that only meta can say" in said
        return
    bare = request_ if isinstance(request_, Delete) else request_.replace(meta=None)
    assert said == _or_refusal(lambda: whole_text.encode_request(ClassicEnvelope(bare, verb_for(bare))))


@given(request_=_REQUESTS)
def test_request_is_sent_with_the_bytes_of_whole_meta_messages(request_: Usual) -> None:
    said = _sent(META, request_)
    ask = {Get: (b"v", b"f", b"c", b"k"), Delete: ()}.get(type(request_), (b"c",))
    assert said == _or_refusal(lambda: whole_text.encode_request(whole_text.meta_envelope(request_, *ask, b"O1")))


def test_key_of_a_subclass_of_bytes_is_sent_as_bytes() -> None:
    class Key(bytes):
        pass

    for dialect in Dialect:
        said = [ClientConnection(dialect=dialect).send(Get((kind(b"k"),))).data for kind in (bytes, Key)]
        assert said[0] == said[1]
        said = [ClientConnection(dialect=dialect).send(Get((kind(b"k"), b"l"))).data for kind in (bytes, Key)]
        assert said[0] == said[1]


# --- binary replies

READ: list[tuple[Request[object], str, AnyReply | str]] = [
    (Set(b"k", b""), "81010000 00000000 00000000 00000000 0000000000000009", Stored(9)),
    # A data type is of no interest.
    (Set(b"k", b""), "81010000 00010000 00000000 00000000 0000000000000009", Stored(9)),
    (Set(b"k", b""), "81010000 00000000 00000001 00000000 0000000000000009 'x'",
     "value of a reply to SET is 1 bytes, must not be there"),
    (Set(b"k", b""), "81010000 00000000 00000000 00000001 0000000000000009",
     "opaque of a reply is 0x00000001, expected 0x00000000"),
    (Set(b"k", b""), "81020000 00000000 00000000 00000000 0000000000000009",
     "opcode of the reply is 0x02, of the request 0x01"),
    (Delete(b"k"), "81040000 00000000 00000000 00000000 0000000000000000", Deleted()),
    (Get((b"k",)), "81000000 04000000 00000005 00000000 0000000000000009 00000007 'v'",
     Values((Item(b"k", b"v", 7, 9),))),
    (Get((b"k",)), "81000000 04010000 00000005 00000000 0000000000000009 00000007 'v'",
     Values((Item(b"k", b"v", 7, 9),))),
    (Get((b"k",)), "81000000 00000001 00000004 00000000 0000000000000000 'none'", Values()),
    (Get((b"k",)), "81000000 00000001 00000000 00000000 0000000000000000", Values()),
    (Get((b"k",)), "81000000 04000000 00000003 00000000 0000000000000009 000000",
     "body length is 3, less than extras (4) + key (0)"),
    (Get((b"k",)), "81000000 04000000 00000005 00000001 0000000000000009 00000007 'v'",
     "opaque of a reply is 0x00000001, expected 0x00000000"),
    (Get((b"a", b"b")), "810d0001 04000000 00000006 00000000 0000000000000009 00000007 'av'"
     "810a0000 00000000 00000000 00000002 0000000000000000", Values((Item(b"a", b"v", 7, 9),))),
    (Get((b"a", b"b")), "810d0001 04000000 00000006 00000000 0000000000000009 00000007 'av'"
     "810d0002 04000000 00000006 00000001 0000000000000009 00000007 'bb'"
     "810a0000 00000000 00000000 00000002 0000000000000000", "key of the reply is b'bb', asked was b'b'"),
    (Get((b"a", b"b")), "810d0001 04000000 00000006 00000000 0000000000000009 00000007 'av'"
     "810d0001 04000000 00000004 00000001 0000000000000009 00000007",
     "body length is 4, less than extras (4) + key (1)"),
    (Get((b"a", b"b")), "810d0001 04000000 00000006 00000001 0000000000000009 00000007 'bv'"
     "810a0000 00000000 00000001 00000002 0000000000000000 'x'",
     "value of a reply to NOOP is 1 bytes, must not be there"),
    (Get((b"a", b"a")), "810d0001 04000000 00000006 00000000 0000000000000009 00000007 'av'"
     "810d0001 04000000 00000006 00000000 0000000000000009 00000007 'av'",
     "key b'a' is answered twice or out of order"),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "text", "reply"), READ, ids=[row[1][:60] for row in READ])
@pytest.mark.parametrize("limits", [None, NARROW], ids=["short", "long"])
def test_binary_reply_is_read_or_refused_however_it_is_cut(
    request_: Request[object], text: str, reply: AnyReply | str, limits: Limits | None
) -> None:
    told = tell_three_ways(lambda client: client.send(request_), wire(text), limits)
    assert told == (Told([], reply) if isinstance(reply, str) else Told([reply]))


def test_the_limit_on_all_values_holds_to_the_byte() -> None:
    hits = [
        wire(f"810d0001 04000000 00000006 {number:08x} 0000000000000009 00000007") + key + b"v"
        for number, key in enumerate((b"a", b"b"))
    ]
    noop = wire("810a0000 00000000 00000000 00000002 0000000000000000")
    items = Values((Item(b"a", b"v", 7, 9), Item(b"b", b"v", 7, 9)))
    over = Failure(Status.REPLY_TOO_LARGE, b"values are 2 bytes and more, limit is 1")
    for limits, told in ((Limits(answer=2), Told([items])), (Limits(answer=1), Told([over]))):
        for pieces in ([b"".join(hits) + noop], [hits[0], hits[1] + noop], each_byte(b"".join(hits) + noop)):
            client = ClientConnection(limits)
            client.send(Get((b"a", b"b")))
            assert tell(client, pieces) == told


def test_hits_in_pieces_and_unusual_ones_between_usual_ones() -> None:
    keys = tuple(b"%d" % number for number in range(6))
    hit = "810d0001 04{:02x}0000 00000006 {:08x} 0000000000000009 00000007 '{}v'"
    miss = "810d0001 00000001 00000001 00000003 0000000000000000 '3'"
    data = wire(hit.format(0, 0, 0) + hit.format(1, 1, 1) + hit.format(0, 2, 2) + miss + hit.format(0, 5, 5))
    data += wire("810a0000 00000000 00000000 00000006 0000000000000000")
    found = Values(tuple(Item(b"%d" % number, b"v", 7, 9) for number in (0, 1, 2, 5)))
    assert tell_three_ways(lambda client: client.send(Get(keys)), data) == Told([found])
    for cut in range(1, len(data)):
        client = ClientConnection()
        client.send(Get(keys))
        assert tell(client, [data[:cut], data[cut:]]) == Told([found])


def test_opaques_of_a_multi_get_go_on_at_0_after_the_largest() -> None:
    client = ClientConnection(first_opaque=0xFFFFFFFE)
    exchange = client.send(Get((b"a", b"b", b"c")))
    assert exchange.data == wire(
        "800d0001 00000000 00000001 fffffffe 0000000000000000 'a'"
        "800d0001 00000000 00000001 ffffffff 0000000000000000 'b'"
        "800d0001 00000000 00000001 00000000 0000000000000000 'c'"
        "800a0000 00000000 00000000 00000001 0000000000000000"
    )
    assert client.send(Noop()).data[12:16] == bytes((0, 0, 0, 2))
    hit = "810d0001 04000000 00000006 {} 0000000000000009 00000007 '{}v'"
    data = wire(
        hit.format("fffffffe", "a") + hit.format("ffffffff", "b") + hit.format("00000000", "c")
        + "810a0000 00000000 00000000 00000001 0000000000000000"
        + "810a0000 00000000 00000000 00000002 0000000000000000"
    )  # fmt: skip
    assert tell(client, [data]) == Told([Values(tuple(Item(key, b"v", 7, 9) for key in (b"a", b"b", b"c"))), Ok()])


def test_quiet_requests_before_a_regular_reply_are_settled() -> None:
    client = ClientConnection()
    quiet = [client.send_quiet(Set(b"k", b"v")) for _ in range(3)]
    answered = [client.send(Set(b"k", b"v")) for _ in range(2)]
    stored = [wire(f"81010000 00000000 00000000 {number:08x} 0000000000000009") for number in (3, 4)]
    assert tell(client, [stored[0] + stored[1]]) == Told([Silence(), Silence(), Silence(), Stored(9), Stored(9)])
    assert [exchange.reply for exchange in (*quiet, *answered)] == [Silence()] * 3 + [Stored(9)] * 2


# --- text replies

LONG = b"9" * 20
TEXT_READ: list[tuple[Dialect, Request[object], bytes, AnyReply | str]] = [
    (CLASSIC, Get((b"k",)), b"VALUE k 7 1 9\r\nv\r\nEND\r\n", Values((Item(b"k", b"v", 7, 9),))),
    (CLASSIC, Get((b"k",)), b"VALUE k 7 1\r\nv\r\nEND\r\n", Values((Item(b"k", b"v", 7),))),
    (CLASSIC, Get((b"k",)), b"VALUE k 7 1 9\nv\r\nEND\n", Values((Item(b"k", b"v", 7, 9),))),
    (CLASSIC, Get((b"k",)), b"VALUE k 7 1 " + LONG + b"\r\nv\r\nEND\r\n", "numbers in b'VALUE k 7 1 9999999999"),
    (CLASSIC, Get((b"k",)), b"VALUE k 4294967296 1 9\r\nv\r\nEND\r\n", "numbers in b'VALUE k 4294967296 1 9' are not"),
    (CLASSIC, Get((b"k",)), b"VALUE k 7 2 9\r\nv\r\nEND\r\n", "data of b'k' are not followed by CR LF after 2 bytes"),
    (CLASSIC, Get((b"k",)), b"VALUE k 7 1 9\r\nv\r\nVALUE k 7 1 9\r\nv\r\nEND\r\n",
     "key of a VALUE is b'k', which was not asked for here"),
    (CLASSIC, Get((b"k",)), b"VALUE kk 7 1 9\r\nv\r\nEND\r\n", "key of a VALUE is b'kk', which was not asked for here"),
    (CLASSIC, Get((b"a", b"b")), b"VALUE a 7 1 9\r\nv\r\nVALUE b 4294967296 1 9\r\nv\r\nEND\r\n",
     "numbers in b'VALUE b 4294967296 1 9' are not flags, length and cas"),
    (CLASSIC, Get((b"a", b"b")), b"VALUE a 7 1 9\r\nv\r\nVALUE b 7 x 9\r\nv\r\nEND\r\n",
     "numbers in b'VALUE b 7 x 9' are not flags, length and cas"),
    (CLASSIC, Get((b"a", b"b")), b"VALUE a 7 1 9\r\nv\r\nVALUE b 7 1 x\r\nv\r\nEND\r\n",
     "numbers in b'VALUE b 7 1 x' are not flags, length and cas"),
    (CLASSIC, Get((b"a", b"b")), b"VALUE a 7 1 9\r\nv\r\nVALUE b 7 1\r\nv\r\nEND\r\n",
     Values((Item(b"a", b"v", 7, 9), Item(b"b", b"v", 7)))),
    (CLASSIC, Get((b"a", b"b")), b"VALUE a 7 1 9\r\nv\r\nVALUE b 7 1 9\r\nvvEND\r\n",
     "data of b'b' are not followed by CR LF after 1 bytes"),
    (CLASSIC, Get((b"a", b"b")), b"VALUE a 7 1 9\r\nv\r\nVALUE b" + b" " * 2100, "line has more than 2048 bytes,"),
    (CLASSIC, Set(b"k", b"v"), b"STORED\n", Stored()),
    (CLASSIC, Delete(b"k"), b"NOT_FOUND\r\n", Failure(Status.KEY_NOT_FOUND)),
    (CLASSIC, Increment(b"k"), b"18446744073709551615\r\n", Counter((1 << 64) - 1)),
    (CLASSIC, Increment(b"k"), b"18446744073709551616\r\n",
     "line b'18446744073709551616' does not answer Increment"),
    (CLASSIC, Decrement(b"k"), b"7    \r\n", Counter(7)),
    (CLASSIC, Touch(b"k"), b"TOUCHED\n", Touched()),
    (CLASSIC, Version(), b"VERSION\r\n", "line b'VERSION' does not answer Version"),
    (CLASSIC, Noop(), b"VERSION \r\n", Ok()),
    (CLASSIC, Quit(), b"OK\r\n", "line b'OK' does not answer Quit"),
    (META, Get((b"k",)), b"VA 1 f7 c9 kk O0\r\nv\r\n", Values((Item(b"k", b"v", 7, 9),))),
    (META, Get((b"k",)), b"VA 1 f7 c" + LONG + b" kk O0\r\nv\r\n", "flag c of the reply is b'99999999999999999999'"),
    (META, Get((b"k",)), b"VA 2 f7 c9 kk O0\r\nvvv\r\n", "value is not followed by CR LF after 2 bytes"),
    (META, Get((b"k",)), b"VA 1 f7 c9 kl O0\r\nv\r\n", "key of the reply is b'l', asked was b'k'"),
    (META, Get((b"k",)), b"VA 1 f7 c9 kk O00\r\nv\r\n", "opaque of the reply is b'00', which was not sent"),
    (META, Set(b"k", b"v"), b"HD c" + LONG + b" O0\r\n", "flag c of the reply is b'99999999999999999999'"),
    (META, Set(b"k", b"v"), b"HD c9 O0\n", Stored(9)),
    (META, Set(b"k", b"v"), b"HD c9 O0\r\n", Stored(9)),
    (META, Delete(b"k"), b"HD O0\r\n", Deleted()),
    (META, Delete(b"k"), b"HD O0\n", Deleted()),
    (META, Get((b"a", b"b")), b"VA 1 f7 c9 ka O0\r\nv\r\nVA 1 f7 c9 kb O0\r\nv\r\n",
     Values((Item(b"a", b"v", 7, 9), Item(b"b", b"v", 7, 9)))),
    (META, Get((b"a", b"b")), b"EN ka O0\r\nVA 1 f7 c9 kb O0\r\nvv\r\n", "value is not followed by CR LF after 1"),
    (META, Get((b"a", b"b")), b"EN ka O0\r\nVA 1 f7 c" + LONG + b" kb O0\r\nv\r\n",
     "flag c of the reply is b'99999999999999999999'"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("dialect", "request_", "heard", "reply"), TEXT_READ, ids=[repr(row[2])[:70] for row in TEXT_READ]
)
@pytest.mark.parametrize("limits", [None, Limits(line=319)], ids=["short", "long"])
def test_text_reply_is_read_or_refused_however_it_is_cut(
    dialect: Dialect, request_: Request[object], heard: bytes, reply: AnyReply | str, limits: Limits | None
) -> None:
    told = tell_three_ways(lambda client: client.send(request_), heard, limits, dialect=dialect)
    if isinstance(reply, str):
        assert told.replies == []
        assert told.fault is not None
        assert told.fault.startswith(reply.replace("2048", "319") if limits else reply)
    else:
        assert told == Told([reply])


@pytest.mark.parametrize("dialect", [CLASSIC, META])
def test_repeated_reply_is_a_fault_and_a_lost_one_in_meta(dialect: Dialect) -> None:
    """In meta it is noticed at once; in classic when nobody waits, or for ever."""
    said, other = (b"HD c9 O0\r\n", b"HD c9 O1\r\n") if dialect is META else (b"STORED\r\n", b"STORED\r\n")
    client = ClientConnection(dialect=dialect)
    client.send(Set(b"a", b""))
    client.send(Set(b"b", b""))
    twice = tell(client, [said + said + other])
    if dialect is META:
        assert twice == Told([Stored(9)], "opaque of the reply is b'0', which was not sent with this request")
    else:
        assert twice == Told([Stored(), Stored()], "byte 0x53 came that nothing asked for")
    assert not client.reusable
    client = ClientConnection(dialect=dialect)
    client.send(Set(b"a", b""))
    client.send(Set(b"b", b""))
    lost = tell(client, [other])
    if dialect is META:
        assert lost == Told([], "opaque of the reply is b'1', which was not sent with this request")
    else:
        assert lost == Told([Stored()])
        assert client.outstanding == 1
