from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memproto import (
    LocalProtocolError,
    Magic,
    Opcode,
    Packet,
    RemoteProtocolError,
    Status,
    decode_packet,
    encode_packet,
)
from memproto._wire.checks import check_bytes
from memproto.binary._layout import STORE
from memproto.binary._packet import SHORT, error_packet, with_extras
from memproto.testing import packets
from tests.support.reached import reached, reaches
from tests.support.wire import wire

SET = wire("80010001 08000000 0000000e 01020304 0000000000000007 deadbeef 0000000a 'k' 'hello'")
SET_PACKET = Packet(0x80, 1, bytes.fromhex("deadbeef0000000a"), b"k", b"hello", 0, 0, 0x01020304, 7)
MISS = wire("81000000 00000001 00000009 cafebabe 0000000000000000 'Not found'")
MISS_PACKET = Packet(0x81, 0, value=b"Not found", vbucket_or_status=1, opaque=0xCAFEBABE)
STRANGE = wire("81fe0002 03090102 00000006 00000000 ffffffffffffffff 'xyz' 'kk' 'v'")
STRANGE_PACKET = Packet(0x81, 0xFE, b"xyz", b"kk", b"v", 0x0102, 9, 0, 0xFFFFFFFFFFFFFFFF)

EXAMPLES = [(SET, SET_PACKET), (MISS, MISS_PACKET), (STRANGE, STRANGE_PACKET)]


@pytest.mark.parametrize(("data", "packet"), EXAMPLES)
def test_packet_is_decoded_and_encoded_to_the_same_bytes(data: bytes, packet: Packet) -> None:
    assert decode_packet(data) == (packet, len(data))
    assert decode_packet(data + b"\x00more") == (packet, len(data))
    assert decode_packet(b"before" + data, 6) == (packet, 6 + len(data))
    assert encode_packet(packet) == data


@pytest.mark.parametrize("data", [SET, MISS, STRANGE])
def test_beginning_of_a_packet_needs_more_bytes(data: bytes) -> None:
    assert [decode_packet(data[:size]) for size in range(len(data))] == [None] * len(data)


def test_a_packet_can_tell_what_it_is() -> None:
    assert SET_PACKET.is_request
    assert not MISS_PACKET.is_request
    assert MISS_PACKET.status is Status.KEY_NOT_FOUND
    assert STRANGE_PACKET.status == 0x0102


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("00", "magic is 0x00, expected 0x80 (request) or 0x81 (response)"),
        (
            "08",
            "magic is 0x08, expected 0x80 (request) or 0x81 (response): a request with Couchbase's framing extras"
            " is another framing, which memcached does not speak",
        ),
        (
            "18",
            "magic is 0x18, expected 0x80 (request) or 0x81 (response): a response with Couchbase's framing extras"
            " is another framing, which memcached does not speak",
        ),
        (
            "82",
            "magic is 0x82, expected 0x80 (request) or 0x81 (response): Couchbase's server-to-client request"
            " is another framing, which memcached does not speak",
        ),
        (
            "83",
            "magic is 0x83, expected 0x80 (request) or 0x81 (response): Couchbase's client-to-server response"
            " is another framing, which memcached does not speak",
        ),
        (
            "80000005 01000000 00000005 00000000 0000000000000000",
            "body length is 5, less than extras (1) + key (5)",
        ),
    ],
)
def test_bytes_that_are_no_packet_are_refused_with_the_reason(data: str, message: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_packet(bytes.fromhex(data))
    assert str(caught.value) == message
    assert caught.value.reply_hint == b""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"magic": 0x82}, "magic is 0x82, expected"),
        ({"opcode": 256}, "opcode is 256, must be 0 to 255"),
        ({"opcode": -1}, "opcode is -1, must be 0 to 255"),
        ({"vbucket_or_status": 65536}, "vbucket_or_status is 65536, must be 0 to 65535"),
        ({"data_type": 256}, "data_type is 256, must be 0 to 255"),
        ({"opaque": 1 << 32}, "opaque is 4294967296, must be 0 to 4294967295"),
        ({"cas": 1 << 64}, "cas is 18446744073709551616, must be 0 to 18446744073709551615"),
        ({"cas": "1"}, "cas is str, must be an int"),
        ({"extras": bytes(256)}, "extras_length is 256, must be 0 to 255"),
        ({"key": bytes(65536)}, "key_length is 65536, must be 0 to 65535"),
        ({"key": "text"}, "key is str, must be bytes"),
        ({"value": bytearray()}, "value is bytearray, must be bytes"),
        ({"extras": None}, "extras is None, must be bytes"),
    ],
)
def test_field_that_does_not_fit_is_refused_by_name(change: dict[str, int], message: str) -> None:
    with pytest.raises(LocalProtocolError, match=f"^{message}"):
        encode_packet(SET_PACKET.replace(**change))


def test_packet_with_the_largest_parts_is_encoded_and_decoded() -> None:
    packet = Packet(0x80, 0xFF, bytes(255), bytes(65535), b"v")
    data = encode_packet(packet)
    assert data[:12] == bytes.fromhex("80ffffff ff000000 000100ff")
    assert decode_packet(data) == (packet, 24 + 255 + 65535 + 1)


def test_check_bytes_refuses_too_few_and_too_many_by_name() -> None:
    check_bytes("key", b"k" * 3, 3, 3)
    with pytest.raises(LocalProtocolError, match=r"^key is 4 bytes, limit is 3$"):
        check_bytes("key", b"k" * 4, 3)
    with pytest.raises(LocalProtocolError, match=r"^key is 2 bytes, the least is 3$"):
        check_bytes("key", b"k" * 2, 3, 3)


def test_error_packet_has_opcode_opaque_status_and_text() -> None:
    expected = wire("81630000 00000004 00000011 00000007 0000000000000000 'Invalid arguments'")
    assert error_packet(0x63, 7, Status.INVALID_ARGUMENTS) == expected


@given(packets())
def test_any_packet_is_decoded_as_it_was_encoded(packet: Packet) -> None:
    data = encode_packet(packet)
    assert decode_packet(data) == (packet, len(data))
    assert data[0] == packet.magic
    assert packet.is_request is (packet.magic is Magic.REQUEST)


@st.composite
def headed(draw: st.DrawFn, contradictory: bool) -> bytes:
    """A header whose lengths agree with each other or do not, and a body that is there whole or in part."""
    extras, key, value = (draw(st.integers(0, most)) for most in (20, 12, 12))
    key += contradictory
    start = struct.pack(">BBHBBH", draw(st.sampled_from([0x80, 0x81])), draw(st.integers(0, 255)), key, extras, 0, 0)
    less = draw(st.integers(value + 1, value + extras + key)) if contradictory else 0
    body = extras + key + value - less
    rest = draw(st.binary(min_size=12, max_size=12)) + draw(st.binary(min_size=body, max_size=body + 4))
    data = start + body.to_bytes(4, "big") + rest
    return data[: len(data) - draw(st.sampled_from([0, 0, 1, 8]))]


@pytest.mark.parametrize("source", ["headed", "contradictory", "rubbish"])
@reaches(packet={"headed": 0.1}, incomplete={"headed": 0.1}, refused={"contradictory": 0.2, "rubbish": 0.2})
@given(data=st.data())
def test_any_bytes_are_a_packet_or_not(source: str, data: st.DataObject) -> None:
    raw = data.draw(st.binary(max_size=64) if source == "rubbish" else headed(source == "contradictory"))
    lengths = struct.unpack_from(">HBxHL", raw, 2) if len(raw) >= 24 else None
    wrong = lengths is not None and lengths[3] < lengths[0] + lengths[1]
    try:
        taken = decode_packet(raw)
    except RemoteProtocolError:
        reached("refused")
        assert wrong or raw[0] not in (0x80, 0x81)
        return
    assert not wrong
    assert not raw or raw[0] in (0x80, 0x81)
    if taken is None:
        reached("incomplete")
        assert lengths is None or len(raw) < 24 + lengths[3]
    else:
        reached("packet")
        packet, end = taken
        assert lengths is not None
        assert end == 24 + lengths[3]
        assert encode_packet(packet) == raw[:end]


def test_enum_members_and_numbers_are_the_same_on_the_wire() -> None:
    assert encode_packet(Packet(Magic.REQUEST, Opcode.NOOP)) == bytes.fromhex("800a") + bytes(22)


def test_a_header_with_extras_has_no_padding() -> None:
    packer = with_extras(SHORT, STORE)
    assert (packer.format, packer.size) == (">QLLQLL", 32)
