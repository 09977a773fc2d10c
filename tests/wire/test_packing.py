from __future__ import annotations

import construct
import pytest
from construct import Struct
from hypothesis import given
from hypothesis import strategies as st

from memproto import Field, Layout, LocalProtocolError
from memproto._wire.packing import Declaration

PAIR = Layout(Struct("size" / construct.Int16ub * "bytes of it", "delta" / construct.Int8sb))


def test_fields_are_derived_from_the_declaration() -> None:
    assert PAIR.fields == (Field("size", "H", 2, "bytes of it"), Field("delta", "b", 1, ""))
    assert PAIR.size == 3
    assert PAIR.packer.format == ">Hb"
    assert repr(PAIR) == "Layout(size: 2, delta: 1)"


def test_the_meaning_may_stand_before_or_after_the_name() -> None:
    layout = Layout(Struct("outer" / ("inner" / construct.Int8ub * "said inside")))
    assert layout.fields == (Field("outer", "B", 1, "said inside"),)
    layout = Layout(Struct("outer" / ("inner" / construct.Int8ub * "said inside") * "said outside"))
    assert layout.fields == (Field("outer", "B", 1, "said outside"),)


def test_empty_layout_packs_and_unpacks_nothing() -> None:
    layout = Layout(Struct())
    assert (layout.size, layout.fields, layout.unpack(b""), layout.pack()) == (0, (), {}, b"")


def test_pack_and_unpack_are_inverse() -> None:
    assert PAIR.pack(delta=-2, size=0x0102) == b"\x01\x02\xfe"
    assert PAIR.unpack(b"\x01\x02\xfe") == {"size": 258, "delta": -2}
    assert PAIR.pack_checked(65535, 127) == b"\xff\xff\x7f"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": 65536, "delta": 0}, "size is 65536, must be 0 to 65535"),
        ({"size": -1, "delta": 0}, "size is -1, must be 0 to 65535"),
        ({"size": 0, "delta": 128}, "delta is 128, must be -128 to 127"),
        ({"size": 0, "delta": -129}, "delta is -129, must be -128 to 127"),
        ({"size": 1.5, "delta": 0}, r"size is 1\.5, must be an integer"),
        ({"size": 0, "delta": None}, "delta is None, must be an integer"),
        ({"size": 0}, r"fields given are \['size'\], this layout has \['delta', 'size'\]"),
        ({"size": 0, "delta": 0, "more": 0}, r"fields given are \['delta', 'more', 'size'\], this layout has"),
    ],
)
def test_value_that_does_not_fit_is_refused_by_name(values: dict[str, int], message: str) -> None:
    with pytest.raises(LocalProtocolError, match=f"^{message}"):
        PAIR.pack(**values)


@pytest.mark.parametrize("data", [b"", b"12", b"1234"])
def test_unpack_wants_the_exact_length(data: bytes) -> None:
    with pytest.raises(LocalProtocolError, match=f"^extras are {len(data)} bytes, this layout has 3$"):
        PAIR.unpack(data)


def test_misfit_is_only_for_values_that_do_not_fit() -> None:
    with pytest.raises(AssertionError, match="all values fit"):
        PAIR.misfit(0, 0)


@pytest.mark.parametrize(
    "declaration",
    [
        Struct("a" / construct.Int16ul),
        Struct("a" / construct.Int16un),
        Struct("a" / construct.Float32b),
        Struct("a" / construct.Bytes(2)),
        Struct("a" / construct.Flag),
        Struct("a" / construct.VarInt),
        Struct("a" / Struct("b" / construct.Int8ub)),
        Struct("a" / construct.Int8ub[2]),
        Struct("a" / construct.Rebuild(construct.Int8ub, 0)),
        Struct("a" / construct.Enum(construct.Int8ub, one=1)),
        Struct(construct.Int8ub),
        Struct("" / construct.Int8ub),
        Struct(construct.Padding(1)),
    ],
    ids=str,
)
def test_a_declaration_that_is_not_flat_and_big_endian_is_refused(declaration: Declaration) -> None:
    with pytest.raises(TypeError, match=r"is not a (flat struct of named fields|big-endian integer)"):
        Layout(declaration)


def test_only_a_struct_can_be_declared() -> None:
    with pytest.raises(TypeError, match=r"is not a construct\.Struct$"):
        Layout(construct.Int8ub)


CODES = {
    "B": construct.Int8ub,
    "b": construct.Int8sb,
    "H": construct.Int16ub,
    "h": construct.Int16sb,
    "L": construct.Int32ub,
    "l": construct.Int32sb,
    "Q": construct.Int64ub,
    "q": construct.Int64sb,
}


@given(codes=st.lists(st.sampled_from(sorted(CODES)), max_size=6), data=st.data())
def test_any_flat_struct_agrees_with_construct(codes: list[str], data: st.DataObject) -> None:
    declaration = Struct(*(f"field{index}" / CODES[code] for index, code in enumerate(codes)))
    layout = Layout(declaration)
    raw = data.draw(st.binary(min_size=layout.size, max_size=layout.size))
    said = {name: value for name, value in declaration.parse(raw).items() if name != "_io"}
    assert layout.unpack(raw) == said
    assert layout.pack(**said) == declaration.build(said) == raw


def test_a_name_stands_once() -> None:
    with pytest.raises(TypeError, match=r"has two fields of one name$"):
        Layout(Struct("n" / construct.Int8ub, "n" / construct.Int8ub))
