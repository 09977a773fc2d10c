from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memproto import (
    Add,
    AnyRequest,
    Append,
    BinaryEnvelope,
    Decrement,
    Delete,
    Failure,
    Flush,
    Get,
    Increment,
    InvalidRequest,
    Limits,
    LocalProtocolError,
    Noop,
    Packet,
    Prepend,
    Quit,
    RemoteProtocolError,
    Replace,
    Request,
    SaslAuth,
    SaslList,
    SaslStep,
    Set,
    Stats,
    Touch,
    Unknown,
    Verbosity,
    Version,
)
from memproto.binary import decode_request, encode_request, opcode_for
from memproto.binary._server import BinaryServer
from memproto.testing import binary_envelopes
from tests.support.serving import serve_binary_three_ways
from tests.support.wire import wire

# 24 bytes of header: magic, opcode, key, extras, data type, vbucket, body, opaque, cas.
EXAMPLES: list[tuple[str, BinaryEnvelope]] = [
    ("80000001 00000000 00000001 00000000 0000000000000000 'k'", BinaryEnvelope(Get((b"k",)), 0x00)),
    ("80090001 00000000 00000001 00000000 0000000000000000 'k'", BinaryEnvelope(Get((b"k",)), 0x09)),
    ("800c0002 00000000 00000002 0000002a 0000000000000000 'ky'", BinaryEnvelope(Get((b"ky",)), 0x0C, 42)),
    ("800d0001 00000000 00000001 00000000 0000000000000000 0a", BinaryEnvelope(Get((b"\n",)), 0x0D)),
    ("800000010007 0102 00000001 00000000 0000000000000009 'k'", BinaryEnvelope(Get((b"k",)), 0, 0, 0x0102, 7, 9)),
    ("801d0001 04000000 00000005 00000000 0000000000000000 0000003c 'k'", BinaryEnvelope(Get((b"k",), 60), 0x1D)),
    ("801e0001 04000000 00000005 00000000 0000000000000000 00000000 'k'", BinaryEnvelope(Get((b"k",), 0), 0x1E)),
    (
        "80230001 04000000 00000005 00000000 0000000000000000 ffffffff 'k'",
        BinaryEnvelope(Get((b"k",), 4294967295), 0x23),
    ),
    ("80240001 04000000 00000005 00000000 0000000000000000 00000001 'k'", BinaryEnvelope(Get((b"k",), 1), 0x24)),
    (
        "80010005 08000000 00000012 01020304 0000000000000000 deadbeef 0000003c 'hello' 'world'",
        BinaryEnvelope(Set(b"hello", b"world", 0xDEADBEEF, 60), 0x01, 0x01020304),
    ),
    (
        "80110001 08000000 00000009 00000000 ffffffffffffffff 00000000 00000000 'k'",
        BinaryEnvelope(Set(b"k", b"", 0, 0, 0xFFFFFFFFFFFFFFFF), 0x11),
    ),
    (
        "80020001 08000000 0000000a 00000000 0000000000000000 00000001 00000002 'kv'",
        BinaryEnvelope(Add(b"k", b"v", 1, 2), 2),
    ),
    (
        "80120001 08000000 0000000a 00000000 0000000000000003 00000001 00000002 'kv'",
        BinaryEnvelope(Add(b"k", b"v", 1, 2, 3), 0x12),
    ),
    (
        "80030001 08000000 0000000a 00000000 0000000000000000 00000001 00000002 'kv'",
        BinaryEnvelope(Replace(b"k", b"v", 1, 2), 3),
    ),
    (
        "80130001 08000000 00000009 00000000 0000000000000000 0000000000000000 'k'",
        BinaryEnvelope(Replace(b"k", b""), 0x13),
    ),
    ("80040001 00000000 00000001 00000000 0000000000000005 'k'", BinaryEnvelope(Delete(b"k", 5), 0x04)),
    ("80140001 00000000 00000001 00000000 0000000000000000 'k'", BinaryEnvelope(Delete(b"k"), 0x14)),
    (
        "80050001 14000000 00000015 00000000 0000000000000006 0000000000000001 00000000000000ff 0000000a 'k'",
        BinaryEnvelope(Increment(b"k", 1, 255, 10, 6), 0x05),
    ),
    (
        "80150001 14000000 00000015 00000000 0000000000000000 ffffffffffffffff 0000000000000000 ffffffff 'k'",
        BinaryEnvelope(Increment(b"k", 0xFFFFFFFFFFFFFFFF), 0x15),
    ),
    (
        "80060001 14000000 00000015 00000000 0000000000000000 0000000000000001 0000000000000000 00000000 'k'",
        BinaryEnvelope(Decrement(b"k", 1, 0, 0), 0x06),
    ),
    (
        "80160001 14000000 00000015 00000000 0000000000000000 0000000000000001 0000000000000000 ffffffff 'k'",
        BinaryEnvelope(Decrement(b"k"), 0x16),
    ),
    ("80070000 00000000 00000000 00000000 0000000000000000", BinaryEnvelope(Quit(), 0x07)),
    ("80170000 00000000 00000000 00000000 0000000000000000", BinaryEnvelope(Quit(), 0x17)),
    ("80080000 00000000 00000000 00000000 0000000000000000", BinaryEnvelope(Flush(), 0x08)),
    ("80080000 04000000 00000004 00000000 0000000000000000 00000000", BinaryEnvelope(Flush(0), 0x08)),
    ("80180000 04000000 00000004 00000000 0000000000000000 0000000a", BinaryEnvelope(Flush(10), 0x18)),
    ("800a0000 00000000 00000000 ffffffff 0000000000000000", BinaryEnvelope(Noop(), 0x0A, 0xFFFFFFFF)),
    ("800b0000 00000000 00000000 00000000 0000000000000001", BinaryEnvelope(Version(), 0x0B, ignored_cas=1)),
    ("800e0001 00000000 00000002 00000000 0000000000000007 'kv'", BinaryEnvelope(Append(b"k", b"v", 7), 0x0E)),
    ("80190001 00000000 00000001 00000000 0000000000000000 'k'", BinaryEnvelope(Append(b"k", b""), 0x19)),
    ("800f0001 00000000 00000002 00000000 0000000000000000 'kv'", BinaryEnvelope(Prepend(b"k", b"v"), 0x0F)),
    ("801a0001 00000000 00000002 00000000 0000000000000000 'kv'", BinaryEnvelope(Prepend(b"k", b"v"), 0x1A)),
    ("80100000 00000000 00000000 00000000 0000000000000000", BinaryEnvelope(Stats(), 0x10)),
    ("80100005 00000000 00000005 00000000 0000000000000000 'items'", BinaryEnvelope(Stats(b"items"), 0x10)),
    ("801b0000 04000000 00000004 00000000 0000000000000000 00000002", BinaryEnvelope(Verbosity(2), 0x1B)),
    ("801c0001 04000000 00000005 00000000 0000000000000000 0000003c 'k'", BinaryEnvelope(Touch(b"k", 60), 0x1C)),
    ("80200000 00000000 00000000 00000000 0000000000000000", BinaryEnvelope(SaslList(), 0x20)),
    (
        "80210005 00000000 0000000c 00000000 0000000000000000 'PLAIN' 00 'usr' 00 'pw'",
        BinaryEnvelope(SaslAuth(b"PLAIN", b"\0usr\0pw"), 0x21),
    ),
    (
        "80220005 00000000 00000006 00000000 0000000000000000 'PLAIN' 'x'",
        BinaryEnvelope(SaslStep(b"PLAIN", b"x"), 0x22),
    ),
    (
        "80500002 01050000 00000006 00000009 0000000000000003 'e' 'kk' 'vvv'",
        BinaryEnvelope(Unknown(Packet(0x80, 0x50, b"e", b"kk", b"vvv", 0, 5, 9, 3)), 0x50, 9, 0, 5),
    ),
    # Named, yet not served by memcached: no shape of it is wrong.
    (
        "801b0000 00000000 00000000 00000000 0000000000000000",
        BinaryEnvelope(Unknown(Packet(0x80, 0x1B)), 0x1B),
    ),
    (
        "80300001 00000000 00000001 00000000 0000000000000000 'k'",
        BinaryEnvelope(Unknown(Packet(0x80, 0x30, key=b"k")), 0x30),
    ),
]


def _as_served(envelope: BinaryEnvelope) -> BinaryEnvelope:
    """What a connection delivers: VERBOSITY has a message, but memcached does not serve it in binary."""
    if not isinstance(envelope.request, Verbosity):
        return envelope
    packet = Packet(
        0x80,
        0x1B,
        envelope.request.level.to_bytes(4, "big"),
        vbucket_or_status=envelope.vbucket,
        data_type=envelope.data_type,
        opaque=envelope.opaque,
        cas=envelope.ignored_cas,
    )
    return BinaryEnvelope(Unknown(packet), 0x1B, envelope.opaque, envelope.vbucket, envelope.data_type)


@pytest.mark.parametrize(("text", "envelope"), EXAMPLES, ids=[text[:8] for text, _ in EXAMPLES])
def test_request_is_encoded_decoded_and_served_as_its_bytes(text: str, envelope: BinaryEnvelope) -> None:
    data = wire(text)
    assert decode_request(data) == envelope
    assert encode_request(envelope) == data
    assert serve_binary_three_ways(data).events == [_as_served(envelope)]


def test_every_opcode_with_a_message_has_an_example() -> None:
    assert {envelope.opcode for _, envelope in EXAMPLES if not isinstance(envelope.request, Unknown)} == {
        *range(0x1F),
        *range(0x20, 0x25),
    }


@given(binary_envelopes())
def test_any_request_is_decoded_as_it_was_encoded(envelope: BinaryEnvelope) -> None:
    assert decode_request(encode_request(envelope)) == envelope


@given(envelopes=st.lists(binary_envelopes(), max_size=4))
def test_requests_follow_each_other(envelopes: list[BinaryEnvelope]) -> None:
    data = b"".join(map(encode_request, envelopes))
    served = serve_binary_three_ways(data)
    until_quit = [index for index, envelope in enumerate(envelopes) if isinstance(envelope.request, Quit)]
    expected = [_as_served(envelope) for envelope in envelopes]
    assert served.events == (expected[: until_quit[0] + 1] if until_quit else expected)
    assert served.closed is bool(until_quit)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "0 bytes are less than one request"),
        ("80000001 00000000 00000001 00000000 0000000000000000", "24 bytes are less than one request"),
        ("800a0000 00000000 00000000 00000000 0000000000000000 80", "1 bytes follow the request"),
        ("801c0001 04000000 00000006 00000000 0000000000000000 0000003c 'k' 'v'", "1 bytes follow the request"),
        ("81", "magic is 0x81, expected 0x80 (request)"),
        ("80000000 00000000 00000000 00000000 0000000000000000", "key of GET is missing"),
        ("80210021 00000000 00000021 00000000 0000000000000000" + "6d" * 33, "mechanism is 33 bytes, limit is 32"),
    ],
)
def test_bytes_that_are_not_one_request_are_refused_with_the_reason(data: str, message: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_request(wire(data))
    assert str(caught.value) == message


MISFITS: list[tuple[AnyRequest, int, str]] = [
    (Get((b"k" * 251,)), 0, "key is 251 bytes, limit is 250"),
    (Get((b"",)), 0, "key of GET is missing"),
    (Get(()), 0, "keys are 0, one binary packet carries 1"),
    (Get((b"a", b"b")), 0, "keys are 2, one binary packet carries 1"),
    (Get((b"k",), 0), 0x00, "extras of GET are 4 bytes, must be 0"),
    (Get((b"k",)), 0x1D, "extras of GAT are 0 bytes, must be 4"),
    (Get((b"k",), 1 << 32), 0x1D, "expiration is 4294967296, must be 0 to 4294967295"),
    (Get((b"k",), -1), 0x1D, "expiration is -1, must be 0 to 4294967295"),
    (Get(("text",)), 0x00, "request.keys[0] is str, must be bytes"),  # type: ignore[arg-type]
    (Set(b"k", "text"), 0x01, "request.value is str, must be bytes"),  # type: ignore[arg-type]
    (Set(b"k", b"", 1 << 32), 0x01, "flags is 4294967296, must be 0 to 4294967295"),
    (Set(b"k", b"", 0, -1), 0x01, "expiration is -1, must be 0 to 4294967295"),
    (Set(b"k", b"", 0, 0, 1 << 64), 0x01, "cas is 18446744073709551616, must be 0 to 18446744073709551615"),
    (Set(b"k", b""), 0x02, "opcode 0x02 does not say Set"),
    (Set(b"k", b""), 0x99, "opcode 0x99 does not say Set"),
    (Delete(b""), 0x04, "key of DELETE is missing"),
    (Increment(b"k", -1), 0x05, "delta is -1, must be 0 to 18446744073709551615"),
    (Increment(b"k", 1, 1 << 64), 0x05, "initial is 18446744073709551616, must be 0 to 18446744073709551615"),
    (
        Increment(b"k", exptime=0xFFFFFFFF),
        0x05,
        "exptime is 4294967295, which means do not create on the wire: say None for that",
    ),
    (Touch(b"k", -1), 0x1C, "expiration is -1, must be 0 to 4294967295"),
    (Flush(-1), 0x08, "expiration is -1, must be 0 to 4294967295"),
    (Verbosity(-1), 0x1B, "level is -1, must be 0 to 4294967295"),
    (Stats(b"k" * 251), 0x10, "key is 251 bytes, limit is 250"),
    (SaslAuth(b"m" * 33), 0x21, "mechanism is 33 bytes, limit is 32"),
    (SaslStep(b""), 0x22, "key of SASL_STEP is missing"),
    (Unknown(Packet(0x80, 256)), 256, "opcode is 256, must be 0 to 255"),
]


@pytest.mark.parametrize(("request_", "opcode", "message"), MISFITS, ids=[message for _, _, message in MISFITS])
def test_field_that_does_not_fit_is_refused_by_name(request_: AnyRequest, opcode: int, message: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        encode_request(BinaryEnvelope(request_, opcode))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: BinaryEnvelope(Noop(), 10, opaque=1 << 32), "opaque is 4294967296, must be 0 to 4294967295"),
        (lambda: BinaryEnvelope(Noop(), 10, vbucket=-1), "vbucket_or_status is -1, must be 0 to 65535"),
        (lambda: BinaryEnvelope(Noop(), 10, data_type=256), "data_type is 256, must be 0 to 255"),
        (lambda: BinaryEnvelope(Noop(), 10, ignored_cas=-1), "cas is -1, must be 0 to 18446744073709551615"),
    ],
)
def test_field_of_an_envelope_that_does_not_fit_is_refused_by_name(
    change: Callable[[], BinaryEnvelope], message: str
) -> None:
    with pytest.raises(LocalProtocolError, match=f"^{message}$"):
        encode_request(change())


def test_an_unknown_request_is_sent_as_a_request_with_the_opaque_of_its_envelope() -> None:
    packet = Packet(0x81, 0x50, opaque=1, cas=2)
    data = encode_request(BinaryEnvelope(Unknown(packet), 0x50, opaque=7))
    assert data == bytes.fromhex("80500000 00000000 00000000 00000007 0000000000000002")


@pytest.mark.parametrize(
    ("request_", "normal", "quiet"),
    [
        (Get((b"k",)), 0x00, 0x09),
        (Get((b"k",), 0), 0x1D, 0x1E),
        (Set(b"k", b""), 0x01, 0x11),
        (Add(b"k", b""), 0x02, 0x12),
        (Replace(b"k", b""), 0x03, 0x13),
        (Delete(b"k"), 0x04, 0x14),
        (Increment(b"k"), 0x05, 0x15),
        (Decrement(b"k"), 0x06, 0x16),
        (Quit(), 0x07, 0x17),
        (Flush(), 0x08, 0x18),
        (Append(b"k", b""), 0x0E, 0x19),
        (Prepend(b"k", b""), 0x0F, 0x1A),
        (Noop(), 0x0A, None),
        (Version(), 0x0B, None),
        (Stats(), 0x10, None),
        (Verbosity(0), 0x1B, None),
        (Touch(b"k"), 0x1C, None),
        (SaslList(), 0x20, None),
        (SaslAuth(b"m"), 0x21, None),
        (SaslStep(b"m"), 0x22, None),
    ],
)
def test_each_request_has_its_opcode_and_its_quiet_one(
    request_: Request[object], normal: int, quiet: int | None
) -> None:
    assert opcode_for(request_) == normal
    if quiet is not None:
        assert opcode_for(request_, quiet=True) == quiet
    else:
        with pytest.raises(LocalProtocolError, match=r"^[A-Z_]+ has no quiet form$"):
            opcode_for(request_, quiet=True)


def test_raw_requests_have_no_opcode_of_their_own() -> None:
    unknown = Unknown(Packet(0x80, 0x50))
    with pytest.raises(LocalProtocolError, match=r"^Unknown has no opcode of its own in binary$"):
        opcode_for(unknown)
    malformed = InvalidRequest(Failure(4), "")
    with pytest.raises(LocalProtocolError, match=r"^opcode 0x0a does not say InvalidRequest$"):
        encode_request(BinaryEnvelope(malformed, 0x0A))


def test_awaiting_auth_can_be_set_and_cleared() -> None:
    reader = BinaryServer(Limits())
    for awaiting_auth in (True, False):
        reader.awaiting_auth = awaiting_auth
        assert reader.awaiting_auth is awaiting_auth
