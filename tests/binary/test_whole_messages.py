from __future__ import annotations

import construct
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memproto import (
    AnyRequest,
    BinaryEnvelope,
    Body,
    Dialect,
    Failure,
    Layout,
    OpcodeSpec,
    Packet,
    Presence,
    Quiet,
    RawReply,
    RemoteProtocolError,
    Status,
    Unknown,
    binary,
)
from memproto.binary import decode_packet, decode_reply, decode_request, encode_packet, encode_reply, encode_request
from memproto.testing import binary_envelopes, packets, replies_to, requests
from tests.support.kinds import KINDS, Kind, any_request, by_kind, requests_of
from tests.support.reached import reached, reaches
from tests.support.wire import wire

# Couchbase's own: HELLO has an agent name and a list of 16-bit features, SELECT_BUCKET the name of a bucket.
HELLO = OpcodeSpec(0x1F, "HELLO", Body(key=Presence.MAY, value=Presence.MAY), Body(value=Presence.MAY))
SELECT_BUCKET = OpcodeSpec(0x89, "SELECT_BUCKET", Body(key=Presence.MUST), Body())
# A mutation with extras of its own, and a quiet opcode that is nobody's twin.
DURABLE = Layout(construct.Struct("level" / construct.Int8ub, "timeout" / construct.Int16ub))
OBSERVE = OpcodeSpec(0x91, "OBSERVE", Body((DURABLE,), Presence.MUST), Body(None, value=Presence.MAY))
FIND_QUIETLY = OpcodeSpec(0x92, "FIND_QUIETLY", Body(key=Presence.MUST), quiet=Quiet.MISS)
OWN = (HELLO, SELECT_BUCKET, OBSERVE, FIND_QUIETLY)

HELLO_REQUEST = wire("801f0005 00000000 00000009 00000001 0000000000000000 'agent' 0003 0007")
HELLO_REPLY = wire("811f0000 00000000 00000002 00000001 0000000000000000 0003")


def test_own_opcode_is_decoded_and_encoded_to_the_same_bytes() -> None:
    envelope = decode_request(HELLO_REQUEST, OWN)
    packet = Packet(0x80, 0x1F, b"", b"agent", b"\0\3\0\7", opaque=1)
    assert envelope == BinaryEnvelope(Unknown(packet), 0x1F, 1)
    assert encode_request(envelope) == HELLO_REQUEST
    assert encode_reply(RawReply(value=b"\0\3"), envelope, OWN) == HELLO_REPLY
    assert decode_reply(HELLO_REPLY, envelope, OWN) == RawReply(value=b"\0\3")


def test_own_extras_are_unpacked_by_their_layout() -> None:
    data = wire("80910001 03000000 00000004 00000000 0000000000000000 01 00ff 'k'")
    envelope = decode_request(data, OWN)
    assert isinstance(envelope.request, Unknown)
    assert DURABLE.unpack(envelope.request.packet.extras) == {"level": 1, "timeout": 255}
    assert DURABLE.pack(level=1, timeout=255) == b"\x01\x00\xff"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("80890000 00000000 00000000 00000000 0000000000000000", "key of SELECT_BUCKET is missing"),
        (
            "80890001 00000000 00000002 00000000 0000000000000000 'bv'",
            "value of SELECT_BUCKET is 1 bytes, must not be there",
        ),
        ("80910001 02000000 00000003 00000000 0000000000000000 0000 'k'", "extras of OBSERVE are 2 bytes, must be 3"),
    ],
)
def test_the_shape_of_own_opcodes_is_checked(data: str, message: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_request(wire(data), OWN)
    assert str(caught.value) == message
    # Undeclared, the same bytes are a raw request of any shape.
    assert isinstance(decode_request(wire(data)).request, Unknown)


def test_own_quiet_opcode_hides_its_miss() -> None:
    envelope = BinaryEnvelope(Unknown(Packet(0x80, 0x92, key=b"k")), 0x92)
    assert encode_reply(RawReply(1, value=b"Not found"), envelope, OWN) == b""
    assert encode_reply(RawReply(1), envelope) == bytes.fromhex("81920000 00000001") + bytes(16)
    assert encode_reply(RawReply(), envelope, OWN) == bytes.fromhex("81920000 00000000") + bytes(16)


def test_an_own_opcode_may_replace_one_of_the_table() -> None:
    ioctl = OpcodeSpec(0x23, "IOCTL_GET", Body(key=Presence.MUST))
    data = wire("80230001 00000000 00000001 00000000 0000000000000000 'k'")
    with pytest.raises(RemoteProtocolError, match=r"^extras of GATK are 0 bytes, must be 4$"):
        decode_request(data)
    envelope = decode_request(data, [ioctl])
    assert envelope == BinaryEnvelope(Unknown(Packet(0x80, 0x23, key=b"k")), 0x23)
    assert encode_request(envelope) == data


def test_reply_to_an_opcode_without_a_name_is_decoded_and_encoded() -> None:
    envelope = BinaryEnvelope(Unknown(Packet(0x80, 0xFF)), 0xFF)
    data = wire("81ff0000 00000081 0000000f 00000000 0000000000000000 'Unknown command'")
    assert decode_reply(data, envelope) == Failure(Status.UNKNOWN_COMMAND)
    assert encode_reply(Failure(Status.UNKNOWN_COMMAND), envelope) == data
    assert encode_reply(RawReply(0x81, value=b"Unknown command"), envelope) == data


def test_a_value_of_any_size_is_taken() -> None:
    size = (1 << 20) + 1
    data = wire("80010001 08000000 0010000a 00000000 0000000000000000 0000000000000000 'k'") + bytes(size)
    envelope = decode_request(data)
    assert encode_request(envelope) == data


def test_a_stat_without_the_value_that_its_header_announces_is_no_whole_request() -> None:
    data = wire("80100000 00000000 00000005 00000000 0000000000000000")
    with pytest.raises(RemoteProtocolError, match=r"^24 bytes are less than the request, which is 29$"):
        decode_request(data)


def test_public_names_are_those_of_the_package() -> None:
    assert (binary.decode_packet, binary.encode_packet) == (decode_packet, encode_packet)
    assert set(binary.__all__) <= set(vars(binary))


@pytest.mark.parametrize("source", ["packet", "spoilt"])
@reaches(decoded={"packet": 0.1, "spoilt": 0.03}, refused=0.1)
@given(packet=packets(), data=st.data())
def test_a_raw_request_is_decoded_or_refused(source: str, packet: Packet, data: st.DataObject) -> None:
    raw = encode_packet(packet)
    if source == "spoilt":
        raw = encode_request(data.draw(binary_envelopes(any_request(Dialect.BINARY))))
        at = data.draw(st.integers(0, len(raw) - 1))
        raw = raw[:at] + data.draw(st.binary(min_size=1, max_size=4)) + raw[at + 1 :]
    try:
        envelope = decode_request(raw)
    except RemoteProtocolError:
        reached("refused")
        return
    reached("decoded")
    assert encode_request(envelope) == raw


@given(requests())
def test_every_request_has_an_envelope(request: AnyRequest) -> None:
    envelope = BinaryEnvelope(
        request, request.packet.opcode if isinstance(request, Unknown) else binary.opcode_for(request)
    )
    assert type(decode_request(encode_request(envelope)).request) is type(request)


@given(to=binary_envelopes(), data=st.data())
def test_a_reply_that_is_cut_is_not_taken(to: BinaryEnvelope, data: st.DataObject) -> None:
    said = encode_reply(data.draw(replies_to(to.request)), to)
    for size in range(len(said)):
        with pytest.raises(RemoteProtocolError, match=r"bytes are less than one reply$"):
            decode_reply(said[:size], to)


@pytest.mark.untraced
@pytest.mark.parametrize("kind", KINDS[Dialect.BINARY])
@pytest.mark.parametrize("where", ["anywhere", "status"])
@by_kind
@reaches(read={"status": 0.2})
@given(data=st.data())
def test_any_reply_bytes_are_read_or_refused(kind: Kind, where: str, data: st.DataObject) -> None:
    to = data.draw(binary_envelopes(requests_of(kind, Dialect.BINARY)))
    said = encode_reply(data.draw(replies_to(to.request)), to) or bytes(24)
    if where == "status":
        mutated = (
            said[:7] + data.draw(st.sampled_from([b"\0", b"\1", b"\2", b"\4", b"\x20", b"\x81", b"\xff"])) + said[8:]
        )
    else:
        at = data.draw(st.integers(0, len(said) - 1))
        mutated = said[:at] + data.draw(st.binary(min_size=1, max_size=4)) + said[at + 1 :]
    try:
        reply = decode_reply(mutated, to)
    except RemoteProtocolError:
        return
    # What was read can be said again, and means the same.
    again = encode_reply(reply, to)
    reached("read")
    if again:
        assert decode_reply(again, to) == reply
