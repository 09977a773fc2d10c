from __future__ import annotations

import struct

import pytest
from construct import ConstructError, Struct
from hypothesis import given
from hypothesis import strategies as st

from memproto import (
    OPCODES,
    Body,
    Layout,
    LocalProtocolError,
    Opcode,
    OpcodeSpec,
    Presence,
    Quiet,
    RemoteProtocolError,
    decode_packet,
    encode_packet,
)
from memproto.binary import _layout as layout
from memproto.testing import packets
from tests.support.reached import reached, reaches

LAYOUTS = {name: value for name, value in vars(layout).items() if isinstance(value, Layout)}


def test_the_header_is_the_documented_one() -> None:
    assert [(field.name, field.code) for field in layout.HEADER.fields] == [
        ("magic", "B"),
        ("opcode", "B"),
        ("key_length", "H"),
        ("extras_length", "B"),
        ("data_type", "B"),
        ("vbucket_or_status", "H"),
        ("body_length", "L"),
        ("opaque", "L"),
        ("cas", "Q"),
    ]
    assert layout.HEADER.size == 24


def test_the_extras_have_the_documented_sizes() -> None:
    assert {name: value.size for name, value in LAYOUTS.items()} == {
        "HEADER": 24,
        "NONE": 0,
        "FLAGS": 4,
        "EXPIRATION": 4,
        "STORE": 8,
        "ARITHMETIC": 20,
        "VERBOSITY": 4,
        "COUNTER": 8,
        "RANGE": 8,
    }


def test_every_field_has_a_meaning() -> None:
    assert [field for value in LAYOUTS.values() for field in value.fields if not field.meaning] == []


E, MUST, MAY, NOT, ANY = ((0,), Presence.MUST, Presence.MAY, Presence.MUST_NOT, Presence.UNCHECKED)

# Section 4 of the protocol's description: request extras, key, value; reply extras, key, value; quiet twin.
ROWS: dict[int, tuple[object, ...]] = {
    0x00: (E, MUST, NOT, (4,), NOT, MAY, 0x09),
    0x0C: (E, MUST, NOT, (4,), MUST, MAY, 0x0D),
    0x01: ((8,), MUST, MAY, E, NOT, NOT, 0x11),
    0x02: ((8,), MUST, MAY, E, NOT, NOT, 0x12),
    0x03: ((8,), MUST, MAY, E, NOT, NOT, 0x13),
    0x04: (E, MUST, NOT, E, NOT, NOT, 0x14),
    0x05: ((20,), MUST, NOT, E, NOT, MUST, 0x15),
    0x06: ((20,), MUST, NOT, E, NOT, MUST, 0x16),
    0x07: (E, NOT, NOT, E, NOT, NOT, 0x17),
    0x08: ((0, 4), NOT, NOT, E, NOT, NOT, 0x18),
    0x0A: (E, NOT, NOT, E, NOT, NOT, None),
    0x0B: (E, NOT, NOT, E, NOT, MAY, None),
    0x0E: (E, MUST, MAY, E, NOT, NOT, 0x19),
    0x0F: (E, MUST, MAY, E, NOT, NOT, 0x1A),
    0x10: (E, MAY, ANY, E, MAY, MAY, None),
    0x1C: ((4,), MUST, ANY, (4, 0), NOT, NOT, None),
    0x1D: ((4,), MUST, ANY, (4,), NOT, MAY, 0x1E),
    0x23: ((4,), MUST, ANY, (4,), MUST, MAY, 0x24),
    0x20: (E, NOT, NOT, E, NOT, MAY, None),
    0x21: (E, MUST, MAY, E, NOT, MAY, None),
    0x22: (E, MUST, MAY, E, NOT, MAY, None),
}


def _row(spec: OpcodeSpec) -> tuple[object, ...]:
    asked, told = spec.request, spec.reply
    assert asked.extras is not None
    assert told.extras is not None
    asked_sizes = tuple(each.size for each in asked.extras)
    return (
        asked_sizes,
        asked.key,
        asked.value,
        tuple(each.size for each in told.extras),
        told.key,
        told.value,
        spec.twin,
    )


def test_the_table_of_served_opcodes_is_the_documented_one() -> None:
    answered = {
        int(spec.opcode): _row(spec) for spec in OPCODES.values() if spec.supported and spec.quiet is Quiet.NOTHING
    }
    assert answered == ROWS


def test_twins_are_each_others_and_alike() -> None:
    for spec in OPCODES.values():
        if spec.twin is not None:
            twin = OPCODES[spec.twin]
            assert (twin.twin, twin.request, twin.reply) == (spec.opcode, spec.request, spec.reply)
            assert (twin.quiet is Quiet.NOTHING) is not (spec.quiet is Quiet.NOTHING)
            assert {twin.name, spec.name} == {
                min(twin.name, spec.name, key=len),
                f"{min(twin.name, spec.name, key=len)}Q",
            }


def test_quiet_opcodes_hide_a_miss_or_a_success() -> None:
    misses = {int(spec.opcode) for spec in OPCODES.values() if spec.quiet is Quiet.MISS}
    assert misses == {0x09, 0x0D, 0x1E, 0x24}
    successes = {int(spec.opcode) for spec in OPCODES.values() if spec.quiet is Quiet.SUCCESS}
    served = {opcode for opcode in successes if OPCODES[opcode].supported}
    assert served == {0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1A}
    assert successes - served == {0x32, 0x34, 0x36, 0x38, 0x3A, 0x3C}


def test_every_named_opcode_has_its_row() -> None:
    assert set(OPCODES) == set(Opcode)
    assert all(OPCODES[opcode].name == opcode.name for opcode in Opcode)
    unserved = [spec.opcode for spec in OPCODES.values() if not spec.supported]
    assert sorted(unserved) == [0x1B, *range(0x30, 0x48)]


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        OPCODES[0x99] = OpcodeSpec(0x99, "MINE")  # type: ignore[index]


def test_extras_are_found_by_their_length() -> None:
    flush = OPCODES[0x08].request
    assert flush.extras_of(0) is layout.NONE
    assert flush.extras_of(4) is layout.EXPIRATION
    assert flush.extras_of(8) is None
    assert layout.ANYTHING.extras_of(0) is None
    assert Body() == Body((layout.NONE,), Presence.MUST_NOT, Presence.MUST_NOT)


# --- law 5: construct's own interpretation and the derived packers agree


def _parsed(declaration: object, raw: bytes) -> dict[str, int] | None:
    assert isinstance(declaration, Struct)
    try:
        return {name: value for name, value in declaration.parse(raw).items() if name != "_io"}
    except ConstructError:
        return None


@pytest.mark.parametrize("name", sorted(LAYOUTS))
@reaches(parsed=0.2, refused=0.0)
@given(data=st.data())
def test_parsing_agrees_with_construct(name: str, data: st.DataObject) -> None:
    derived = LAYOUTS[name]
    raw = data.draw(st.binary(max_size=derived.size + 4) | st.binary(min_size=derived.size, max_size=derived.size))
    expected = _parsed(derived.declaration, raw)
    try:
        unpacked: tuple[int, ...] | None = derived.packer.unpack_from(raw)
    except struct.error:
        unpacked = None
    reached("refused" if unpacked is None else "parsed")
    assert unpacked == (None if expected is None else tuple(expected.values()))
    # construct takes trailing bytes in silence; unpack() wants the length exact.
    if len(raw) == derived.size:
        assert derived.unpack(raw) == expected
    else:
        with pytest.raises(LocalProtocolError):
            derived.unpack(raw)


@pytest.mark.parametrize("name", sorted(LAYOUTS))
@pytest.mark.parametrize("fits", [True, False])
@reaches(built={True: 1.0}, refused={False: 1.0})
@given(data=st.data())
def test_building_agrees_with_construct(name: str, fits: bool, data: st.DataObject) -> None:
    derived = LAYOUTS[name]
    assert isinstance(derived.declaration, Struct)
    edges = st.sampled_from([-1, 0, *(1 << bits for bits in (8, 16, 32, 64)), *((1 << n) - 1 for n in (8, 16, 32, 64))])
    values = {field.name: data.draw(edges | st.integers(-1, 1 << 64)) for field in derived.fields}
    if fits:
        # The low bits of each number.
        values = {field.name: values[field.name] % (1 << 8 * field.size) for field in derived.fields}
    elif derived.fields:
        wrong = data.draw(st.sampled_from(derived.fields))
        values[wrong.name] = data.draw(st.sampled_from([-1, 1 << 8 * wrong.size, 1 << 70]))
    try:
        built: bytes | None = derived.declaration.build(values)
    except ConstructError:
        built = None
    reached("refused" if built is None else "built")
    if built is None:
        with pytest.raises(LocalProtocolError, match=r" is -?\d+, must be 0 to \d+$"):
            derived.pack(**values)
    else:
        assert derived.pack(**values) == built


MANGLED = st.builds(
    lambda head, tail: head + tail,
    st.builds(
        lambda magic, key, extras, body: struct.pack(">BBHBBHLLQ", magic, 1, key, extras, 0, 0, body, 7, 9),
        st.sampled_from([0x80, 0x81]),
        st.integers(0, 12),
        st.integers(0, 12),
        st.integers(0, 40),
    ),
    st.binary(max_size=48),
)


_RAW = {"mangled": MANGLED, "rubbish": st.binary(max_size=80), "packet": packets().map(encode_packet)}


@pytest.mark.parametrize("source", _RAW)
@reaches(packet={"packet": 1.0}, refused={"rubbish": 0.1})
@given(data=st.data())
def test_whole_packets_agree_with_construct(source: str, data: st.DataObject) -> None:
    raw = data.draw(_RAW[source])
    try:
        expected = layout.PACKET.parse(raw)
    except ConstructError:
        expected = None
    try:
        taken = decode_packet(raw)
    except RemoteProtocolError:
        taken = None
        reached("refused")
        # Beside the lengths, only the magic, which the declaration leaves open, is refused.
        assert expected is None or expected.magic not in (0x80, 0x81)
    else:
        assert (taken is None) is (expected is None)
    if taken is not None and expected is not None:
        packet, end = taken
        reached("packet")
        assert (packet.magic, packet.opcode, packet.vbucket_or_status) == (
            expected.magic,
            expected.opcode,
            expected.vbucket_or_status,
        )
        assert (packet.data_type, packet.opaque, packet.cas) == (expected.data_type, expected.opaque, expected.cas)
        assert (packet.extras, packet.key, packet.value) == (expected.extras, expected.key, expected.value)
        assert end == 24 + expected.body_length
        assert encode_packet(packet) == raw[:end] == layout.PACKET.build(expected)


def test_construct_refuses_lengths_that_contradict_each_other() -> None:
    good = bytes.fromhex("80000001 00000000 00000001 00000000 0000000000000000 6b")
    assert _parsed(layout.PACKET, good) is not None
    assert _parsed(layout.PACKET, good[:11] + b"\x00" + good[12:]) is None
