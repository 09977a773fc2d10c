from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memproto import (
    Add,
    AnyReply,
    Append,
    Authenticated,
    BinaryEnvelope,
    Challenge,
    Counter,
    Decrement,
    Delete,
    Deleted,
    Dialect,
    Failure,
    Flush,
    Get,
    Increment,
    InvalidRequest,
    Item,
    LocalProtocolError,
    Mechanisms,
    Noop,
    Ok,
    Packet,
    Prepend,
    Quit,
    RawReply,
    RemoteProtocolError,
    Replace,
    SaslAuth,
    SaslList,
    SaslStep,
    Set,
    Stats,
    StatsReply,
    Status,
    Stored,
    Touch,
    Touched,
    Unknown,
    Values,
    Verbosity,
    Version,
    VersionReply,
)
from memproto.binary import decode_reply, encode_reply
from memproto.testing import binary_envelopes, failures, replies_to
from tests.support.kinds import KINDS, Kind, by_kind, requests_of
from tests.support.reached import reached, reaches
from tests.support.wire import wire

GET = BinaryEnvelope(Get((b"k",)), 0x00, 7)
GETQ = BinaryEnvelope(Get((b"k",)), 0x09, 7)
GETK = BinaryEnvelope(Get((b"k",)), 0x0C, 7)
GETKQ = BinaryEnvelope(Get((b"k",)), 0x0D, 7)
TOUCH = BinaryEnvelope(Touch(b"k", 1), 0x1C)
STAT = BinaryEnvelope(Stats(), 0x10, 7)
RAW = BinaryEnvelope(Unknown(Packet(0x80, 0x50)), 0x50, 7)
INVALID = BinaryEnvelope(InvalidRequest(Failure(4), ""), 0x21)
AUTH = BinaryEnvelope(SaslAuth(b"PLAIN"), 0x21)
STEP = BinaryEnvelope(SaslStep(b"PLAIN", b"x"), 0x22)

# 24 bytes of header: magic, opcode, key, extras, data type, status, body, opaque, cas.
EXAMPLES: list[tuple[BinaryEnvelope, AnyReply, str]] = [
    (GET, Values((Item(b"k", b"v", 1, 5),)), "81000000 04000000 00000005 00000007 0000000000000005 00000001 'v'"),
    (GET, Values((Item(b"k", b""),)), "81000000 04000000 00000004 00000007 0000000000000000 00000000"),
    (GETQ, Values((Item(b"k", b"v"),)), "81090000 04000000 00000005 00000007 0000000000000000 00000000 'v'"),
    (GETK, Values((Item(b"k", b"v", 2, 3),)), "810c0001 04000000 00000006 00000007 0000000000000003 00000002 'kv'"),
    (GETKQ, Values((Item(b"k", b""),)), "810d0001 04000000 00000005 00000007 0000000000000000 00000000 'k'"),
    (GET, Values(), "81000000 00000001 00000009 00000007 0000000000000000 'Not found'"),
    (GETK, Values(), "810c0001 00000001 00000001 00000007 0000000000000000 'k'"),
    (GET, Failure(Status.AUTH_ERROR), "81000000 00000020 0000000d 00000007 0000000000000000 'Auth failure.'"),
    (GETKQ, Failure(Status.AUTH_ERROR), "810d0000 00000020 0000000d 00000007 0000000000000000 'Auth failure.'"),
    (
        BinaryEnvelope(Get((b"k",), 9), 0x1D),
        Values((Item(b"k", b"v"),)),
        "811d0000 04000000 00000005 00000000 0000000000000000 00000000 'v'",
    ),
    (BinaryEnvelope(Get((b"k",), 9), 0x23), Values(), "81230001 00000001 00000001 00000000 0000000000000000 'k'"),
    (BinaryEnvelope(Set(b"k", b"v"), 0x01), Stored(9), "81010000 00000000 00000000 00000000 0000000000000009"),
    (
        BinaryEnvelope(Set(b"k", b"v"), 0x11),
        Failure(Status.KEY_EXISTS),
        "81110000 00000002 00000014 00000000 0000000000000000 'Data exists for key.'",
    ),
    (
        BinaryEnvelope(Set(b"k", b"v"), 0x01),
        Failure(Status.OUT_OF_MEMORY, b"Out of memory allocating item"),
        "81010000 00000082 0000001d 00000000 0000000000000000 'Out of memory allocating item'",
    ),
    (BinaryEnvelope(Add(b"k", b"v"), 0x02), Stored(9), "81020000 00000000 00000000 00000000 0000000000000009"),
    (BinaryEnvelope(Replace(b"k", b"v"), 0x03), Stored(), "81030000 00000000 00000000 00000000 0000000000000000"),
    (
        BinaryEnvelope(Append(b"k", b"v"), 0x19),
        Failure(Status.NOT_STORED),
        "81190000 00000005 0000000b 00000000 0000000000000000 'Not stored.'",
    ),
    (BinaryEnvelope(Prepend(b"k", b"v"), 0x0F), Stored(1), "810f0000 00000000 00000000 00000000 0000000000000001"),
    (BinaryEnvelope(Delete(b"k"), 0x04), Deleted(), "81040000 00000000 00000000 00000000 0000000000000000"),
    (
        BinaryEnvelope(Delete(b"k"), 0x14),
        Failure(Status.KEY_NOT_FOUND),
        "81140000 00000001 00000009 00000000 0000000000000000 'Not found'",
    ),
    (
        BinaryEnvelope(Increment(b"k"), 0x05),
        Counter(258, 4),
        "81050000 00000000 00000008 00000000 0000000000000004 0000000000000102",
    ),
    (
        BinaryEnvelope(Decrement(b"k"), 0x06),
        Failure(Status.DELTA_BAD_VALUE),
        "81060000 00000006 0000002e 00000000 0000000000000000 'Non-numeric server-side value for incr or decr'",
    ),
    (TOUCH, Touched(0xDEADBEEF, 2), "811c0000 04000000 00000004 00000000 0000000000000002 deadbeef"),
    (TOUCH, Touched(None), "811c0000 00000000 00000000 00000000 0000000000000000"),
    (BinaryEnvelope(Flush(), 0x08), Ok(), "81080000 00000000 00000000 00000000 0000000000000000"),
    (BinaryEnvelope(Quit(), 0x07), Ok(), "81070000 00000000 00000000 00000000 0000000000000000"),
    (BinaryEnvelope(Noop(), 0x0A, 0xFFFFFFFF), Ok(), "810a0000 00000000 00000000 ffffffff 0000000000000000"),
    (BinaryEnvelope(Verbosity(1), 0x1B), Ok(), "811b0000 00000000 00000000 00000000 0000000000000000"),
    (
        BinaryEnvelope(Version(), 0x0B),
        VersionReply(b"1.6.18"),
        "810b0000 00000000 00000006 00000000 0000000000000000 '1.6.18'",
    ),
    (STAT, StatsReply(), "81100000 00000000 00000000 00000007 0000000000000000"),
    (
        STAT,
        StatsReply(((b"pid", b"12"), (b"x", b""))),
        "81100003 00000000 00000005 00000007 0000000000000000 'pid12'"
        "81100001 00000000 00000001 00000007 0000000000000000 'x'"
        "81100000 00000000 00000000 00000007 0000000000000000",
    ),
    (STAT, Failure(Status.KEY_NOT_FOUND), "81100000 00000001 00000009 00000007 0000000000000000 'Not found'"),
    (
        BinaryEnvelope(SaslList(), 0x20),
        Mechanisms((b"PLAIN", b"CRAM-MD5")),
        "81200000 00000000 0000000e 00000000 0000000000000000 'PLAIN CRAM-MD5'",
    ),
    (BinaryEnvelope(SaslList(), 0x20), Mechanisms(), "81200000 00000000 00000000 00000000 0000000000000000"),
    (AUTH, Authenticated(), "81210000 00000000 0000000d 00000000 0000000000000000 'Authenticated'"),
    (AUTH, Challenge(b"<1@host>"), "81210000 00000021 00000008 00000000 0000000000000000 '<1@host>'"),
    (AUTH, Challenge(), "81210000 00000021 00000000 00000000 0000000000000000"),
    (STEP, Failure(Status.AUTH_ERROR), "81220000 00000020 0000000d 00000000 0000000000000000 'Auth failure.'"),
    (STEP, Authenticated(b"yes"), "81220000 00000000 00000003 00000000 0000000000000000 'yes'"),
    (
        RAW,
        Failure(Status.UNKNOWN_COMMAND),
        "81500000 00000081 0000000f 00000007 0000000000000000 'Unknown command'",
    ),
    (RAW, RawReply(0, b"ee", b"k", b"v", 3, 1), "81500001 02010000 00000004 00000007 0000000000000003 'eekv'"),
    (RAW, Failure(0x86, b"busy"), "81500000 00000086 00000004 00000007 0000000000000000 'busy'"),
    (GET, Failure(0x86, b"busy"), "81000000 00000086 00000004 00000007 0000000000000000 'busy'"),
    (GET, Failure(Status.NOT_MY_VBUCKET), "81000000 00000007 00000000 00000007 0000000000000000"),
    (GET, Failure(Status.OUT_OF_MEMORY, b""), "81000000 00000082 00000000 00000007 0000000000000000"),
]


@pytest.mark.parametrize(("to", "reply", "text"), EXAMPLES, ids=[text[:17] for _, _, text in EXAMPLES])
def test_reply_is_encoded_and_decoded_as_its_bytes(to: BinaryEnvelope, reply: AnyReply, text: str) -> None:
    data = wire(text)
    assert encode_reply(reply, to) == data
    assert decode_reply(data, to) == reply


SILENT: list[tuple[BinaryEnvelope, AnyReply]] = [
    (GETQ, Values()),
    (GETKQ, Values()),
    (GETQ, Failure(Status.KEY_NOT_FOUND)),
    (BinaryEnvelope(Get((b"k",), 1), 0x1E), Values()),
    (BinaryEnvelope(Get((b"k",), 1), 0x24), Values()),
    (BinaryEnvelope(Set(b"k", b""), 0x11), Stored(1)),
    (BinaryEnvelope(Add(b"k", b""), 0x12), Stored(1)),
    (BinaryEnvelope(Replace(b"k", b""), 0x13), Stored(1)),
    (BinaryEnvelope(Delete(b"k"), 0x14), Deleted()),
    (BinaryEnvelope(Increment(b"k"), 0x15), Counter(1)),
    (BinaryEnvelope(Decrement(b"k"), 0x16), Counter(1)),
    (BinaryEnvelope(Quit(), 0x17), Ok()),
    (BinaryEnvelope(Flush(), 0x18), Ok()),
    (BinaryEnvelope(Append(b"k", b""), 0x19), Stored(1)),
    (BinaryEnvelope(Prepend(b"k", b""), 0x1A), Stored(1)),
    (BinaryEnvelope(Unknown(Packet(0x80, 0x32)), 0x32), RawReply()),
]


@pytest.mark.parametrize(("to", "reply"), SILENT)
def test_reply_that_the_quiet_rules_forbid_is_empty(to: BinaryEnvelope, reply: AnyReply) -> None:
    assert encode_reply(reply, to) == b""


@pytest.mark.parametrize("to", [to for to, _ in SILENT if not isinstance(to.request, Unknown)])
@given(data=st.data())
def test_an_error_is_said_even_to_a_quiet_request(to: BinaryEnvelope, data: st.DataObject) -> None:
    failure = data.draw(failures(to.request))
    said = encode_reply(failure, to)
    assert said[1] == to.opcode
    assert decode_reply(said, to) == failure


def test_a_miss_can_be_said_as_a_failure() -> None:
    assert encode_reply(Failure(Status.KEY_NOT_FOUND), GETK) == encode_reply(Values(), GETK)
    assert encode_reply(Failure(Status.KEY_NOT_FOUND, b"gone"), GET)[24:] == b"gone"


def test_a_raw_reply_that_is_no_success_arrives_as_a_failure() -> None:
    data = wire("81500001 02010086 00000004 00000007 0000000000000003 'eekv'")
    assert encode_reply(RawReply(0x86, b"ee", b"k", b"v", 3, 1), RAW) == data
    assert decode_reply(data, RAW) == Failure(0x86, b"v")


@pytest.mark.parametrize("kind", KINDS[Dialect.BINARY])
@by_kind
@reaches(said=0.2)
@given(data=st.data())
def test_any_reply_is_decoded_as_it_was_encoded(kind: Kind, data: st.DataObject) -> None:
    to = data.draw(binary_envelopes(requests_of(kind, Dialect.BINARY)))
    reply = data.draw(replies_to(to.request))
    said = encode_reply(reply, to)
    if said:
        reached("said")
        assert decode_reply(said, to) == reply
    else:
        assert isinstance(reply, (Values, Stored, Deleted, Counter, Ok, RawReply))
        assert to.opcode in {0x09, 0x0D, 0x1E, 0x24, *range(0x11, 0x1B), *range(0x32, 0x3D, 2)}


@reaches(text=0.2)
@given(failures())
def test_a_standard_text_is_never_spelt_out(reply: Failure) -> None:
    if reply.text is not None:
        reached("text")
        assert reply.reason == reply.text != Failure(reply.status).reason or reply.status not in set(Status)


LOCAL: list[tuple[BinaryEnvelope, AnyReply, str]] = [
    (GET, Stored(), "Stored does not answer Get"),
    (STAT, Values(), "Values does not answer Stats"),
    (RAW, Ok(), "Ok does not answer Unknown"),
    (INVALID, Authenticated(), "Authenticated does not answer InvalidRequest"),
    (GET, Failure(0), "status of a failure is 0, which means success"),
    (GET, Failure(0x10000), "status is REPLY_TOO_LARGE (0x10000), which is never on the wire"),
    (GET, Failure(0x10001), "vbucket_or_status is 65537, must be 0 to 65535"),
    (GET, Failure(4, "text"), "text is str, must be bytes or None"),  # type: ignore[arg-type]
    (GET, Values((Item(b"k", b""), Item(b"k", b""))), "items are 2, one binary reply carries 1"),
    (GET, Values((Item(b"k", b"", 1 << 32),)), "flags is 4294967296, must be 0 to 4294967295"),
    (GET, Values((Item(b"k", b"", -1),)), "flags is -1, must be 0 to 4294967295"),
    (GET, Values((Item(b"k", b"", 0, -1),)), "cas is -1, must be 0 to 18446744073709551615"),
    (
        BinaryEnvelope(Set(b"k", b""), 1),
        Stored(1 << 64),
        "cas is 18446744073709551616, must be 0 to 18446744073709551615",
    ),
    (BinaryEnvelope(Increment(b"k"), 5), Counter(-1), "counter is -1, must be 0 to 18446744073709551615"),
    (TOUCH, Touched(1 << 32), "flags is 4294967296, must be 0 to 4294967295"),
    (STAT, StatsReply(((b"", b""),)), "name of a statistic is 0 bytes, the least is 1"),
    (STAT, StatsReply(((bytes(65536), b""),)), "name of a statistic is 65536 bytes, limit is 65535"),
    (RAW, RawReply(extras=bytes(256)), "extras is 256 bytes, limit is 255"),
    (RAW, RawReply(key=bytes(65536)), "key is 65536 bytes, limit is 65535"),
    (RAW, RawReply(data_type=256), "data_type is 256, must be 0 to 255"),
    (BinaryEnvelope(Version(), 0x0B), VersionReply("1.6"), "version is str, must be bytes"),  # type: ignore[arg-type]
    (GET, Values((Item(b"k", "v"),)), "items[0].value is str, must be bytes"),  # type: ignore[arg-type]
    (BinaryEnvelope(Get((b"k",)), 0x0C), Values((Item(b"j", b""),)), "key of the item is b'j', asked was b'k'"),
    (STAT, StatsReply(((b"n", "v"),)), "stats[0][1] is str, must be bytes"),  # type: ignore[arg-type]
    (RAW, RawReply(value="v"), "value is str, must be bytes"),  # type: ignore[arg-type]
    (BinaryEnvelope(SaslList(), 0x20), Mechanisms((b"",)), "mechanism is 0 bytes, the least is 1"),
]


@pytest.mark.parametrize(("to", "reply", "message"), LOCAL, ids=[message for _, _, message in LOCAL])
def test_reply_that_does_not_fit_is_refused_with_the_reason(to: BinaryEnvelope, reply: AnyReply, message: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        encode_reply(reply, to)
    assert str(caught.value) == message


REMOTE: list[tuple[BinaryEnvelope, str, str]] = [
    (GET, "", "0 bytes are less than one reply"),
    (GET, "81000000 04000000 00000005 00000007 0000000000000000 00000000", "28 bytes are less than one reply"),
    (GET, "80000000 00000000 00000000 00000007 0000000000000000", "magic is that of a request"),
    (GET, "81000000 00000001 00000000 00000008 0000000000000000", "opaque is 0x00000008, of the request 0x00000007"),
    (GET, "81010000 00000000 00000000 00000007 0000000000000000", "opcode of the reply is 0x01, of the request 0x00"),
    (GET, "81000000 00000001 00000000 00000007 0000000000000000 00", "1 bytes follow the reply"),
    (GET, "81000000 00000000 00000000 00000007 0000000000000000", "extras of a reply to GET are 0 bytes, must be 4"),
    (
        TOUCH,
        "811c0000 05000000 00000005 00000000 0000000000000000 0000000000",
        "extras of a reply to TOUCH are 5 bytes, must be 4 or 0",
    ),
    (
        GET,
        "81000001 04000000 00000005 00000007 0000000000000000 00000000 'k'",
        "key of a reply to GET is 1 bytes, must not be there",
    ),
    (
        TOUCH,
        "811c0000 00000000 00000001 00000000 0000000000000000 'v'",
        "value of a reply to TOUCH is 1 bytes, must not be there",
    ),
    (
        GETK,
        "810c0001 04000000 00000005 00000007 0000000000000000 00000000 'j'",
        "key of the reply is b'j', asked was b'k'",
    ),
    (GETK, "810c0000 04000000 00000004 00000007 0000000000000000 00000000", "key of a reply to GETK is missing"),
    (GETK, "810c0001 00000001 00000001 00000007 0000000000000000 'j'", "key of the reply is b'j', asked was b'k'"),
    (
        BinaryEnvelope(Increment(b"k"), 5),
        "81050000 00000000 00000007 00000000 0000000000000000 00000000000000",
        "counter is 7 bytes, must be 8",
    ),
    (
        BinaryEnvelope(Increment(b"k"), 5),
        "81050000 00000000 00000009 00000000 0000000000000000 000000000000000000",
        "counter is 9 bytes, must be 8",
    ),
    (
        STAT,
        "81100000 00000000 00000001 00000007 0000000000000000 'v'",
        "statistic without a name has a value of 1 bytes",
    ),
    (
        STAT,
        "81100001 04000000 00000005 00000007 0000000000000000 00000000 'n'",
        "extras of a reply to STAT are 4 bytes, must be 0",
    ),
    (
        STAT,
        "81100001 00000000 00000001 00000007 0000000000000000 'n'",
        "25 bytes are less than one reply",
    ),
]


@pytest.mark.parametrize(("to", "text", "message"), REMOTE, ids=[message for _, _, message in REMOTE])
def test_bytes_that_do_not_answer_are_refused_with_the_reason(to: BinaryEnvelope, text: str, message: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_reply(wire(text), to)
    assert str(caught.value) == message


def test_a_miss_of_getk_may_come_without_its_key() -> None:
    data = wire("810c0000 00000001 00000009 00000007 0000000000000000 'Not found'")
    assert decode_reply(data, GETK) == Values()


def test_a_statistic_that_fails_ends_the_answer() -> None:
    data = wire(
        "81100001 00000000 00000002 00000007 0000000000000000 'nv'"
        "81100000 00000020 0000000d 00000007 0000000000000000 'Auth failure.'"
    )
    assert decode_reply(data, STAT) == Failure(Status.AUTH_ERROR)
