from __future__ import annotations

import math
import pickle
import zlib
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from memproto import LocalProtocolError
from memproto.conventions import (
    CONVENTIONS,
    LIMIT,
    Bits,
    Compression,
    Convention,
    ConventionError,
    Form,
    Kind,
    Reading,
    Scalar,
    candidates,
    describe,
    read,
    unwrap,
    write,
)
from tests.support.reached import reached, reaches

DOCS = Path(__file__).parent.parent.parent / "docs" / "conventions.md"

# 5000 times x as bmemcached, pylibmc and python-memcached stored it.
X_5000 = bytes.fromhex("789cedc13101000000c2a0da8b6f0a3fa000000000 80b70114162848".replace(" ", ""))
# A gzip file of "hello" as Java writes it.
GZIP_HELLO = bytes.fromhex("1f8b0800000000000000cb48cdc9c907 0086a6103605000000".replace(" ", ""))

# --- what was recorded, and what the clients' sources say

STORED: list[tuple[str, int, bytes, object]] = [
    ("bmemcached", 0, b"hello", "hello"),
    ("bmemcached", 0, b"\xc5\xbelut\xc3\xbd", "\u017elut\u00fd"),
    ("bmemcached", 2, b"42", 42),
    ("bmemcached", 2, b"1180591620717411303424", 2**70),
    ("bmemcached", 4, b"42", 42),
    ("bmemcached", 16, b"\x00\xff", b"\x00\xff"),
    ("bmemcached", 8, X_5000, "x" * 5000),
    ("bmemcached", 24, X_5000, b"x" * 5000),
    # A counter that INCREMENT made and DECREMENT has padded.
    ("bmemcached", 0, b"0 ", "0 "),
    ("bmemcached", 2, b"9 ", 9),
    ("python-memcached", 16, b"text", "text"),
    ("python-memcached", 0, b"bytes", b"bytes"),
    ("python-memcached", 2, b"42", 42),
    ("python-memcached", 4, b"-7", -7),
    ("python-memcached", 24, X_5000, "x" * 5000),
    ("python-memcached", 8, X_5000, b"x" * 5000),
    ("pymemcache", 0, b"bytes", b"bytes"),
    ("pymemcache", 16, b"text", b"text"),
    ("pymemcache-pickle", 16, b"text", "text"),
    ("pymemcache-pickle", 0, b"bytes", b"bytes"),
    ("pymemcache-pickle", 2, b"42", 42),
    ("pymemcache-pickle", 4, b"42", 42),
    ("pymemcache-pickle", 32, b"as it is", b"as it is"),
    ("pymemcache-pickle", 8, X_5000, X_5000),
    ("pymemcache-compressed", 24, X_5000, "x" * 5000),
    ("pymemcache-compressed", 8, X_5000, b"x" * 5000),
    ("pylibmc", 16, b"hello", "hello"),
    ("pylibmc", 4, b"42", 42),
    ("pylibmc", 2, b"1", True),
    ("pylibmc", 0, b"\x00\xff", b"\x00\xff"),
    ("pylibmc", 24, X_5000, "x" * 5000),
    ("dalli", 0, b"rawval", b"rawval"),
    ("dalli", 4, b"text", "text"),
    ("dalli", 6, X_5000, "x" * 5000),
    ("memjs", 0, b"value", b"value"),
    ("node-memcached", 0, b"text", "text"),
    ("node-memcached", 0, b"a\\\r\\\nb\\c\\\\\n", "a\r\nb\\c\\\n"),
    ("node-memcached", 2, b'{"a":[1,2.5,null,"x"]}', {"a": [1, 2.5, None, "x"]}),
    ("node-memcached", 4, b"\x00\xc3\xbf\\\n", b"\x00\xff\n"),
    ("node-memcached", 8, b"42", 42),
    ("node-memcached", 8, b"-1.5e+300", -1.5e300),
    ("node-memcached", 8, b"Infinity", math.inf),
    ("node-memcached", 3, b"text", "text"),
    ("php-memcached", 0, b"hello", "hello"),
    ("php-memcached", 1, b"42", 42),
    ("php-memcached", 2, b"1.5", 1.5),
    ("php-memcached", 2, b"1.0E+25", 1e25),
    ("php-memcached", 2, b"-Infinity", -math.inf),
    ("php-memcached", 2, b".5", 0.5),
    ("php-memcached", 2, b"5.", 5.0),
    ("php-memcached", 3, b"1", True),
    ("php-memcached", 3, b"", False),
    ("php-memcached", 6, b"[true]", [True]),
    ("php-memcached", 0x00070001, b"42", 42),
    ("php-memcached", 0x30, b"\x88\x13\x00\x00" + X_5000, "x" * 5000),
    ("php-memcached", 0x30, b"\x00\x00\x13\x88" + X_5000, "x" * 5000),
    ("php-memcached", 0x10, X_5000, "x" * 5000),
    ("php-memcached", 0x20, b"plain", "plain"),
    ("spymemcached", 0, b"hello", "hello"),
    ("spymemcached", 2, GZIP_HELLO, "hello"),
    ("spymemcached", 0x100, b"1", True),
    ("spymemcached", 0x100, b"0", False),
    ("spymemcached", 0x200, b"", 0),
    ("spymemcached", 0x200, b"\x80", 128),
    ("spymemcached", 0x200, b"\xff\xff\xff\xff", -1),
    ("spymemcached", 0x300, b"\x01\x00\x00\x00\x00", 2**32),
    ("spymemcached", 0x300, b"\x80\x00\x00\x00\x00\x00\x00\x00", -(2**63)),
    ("spymemcached", 0x400, b"\x01\x8b\xcf\xe5\x68\x00", 1_700_000_000_000),
    ("spymemcached", 0x500, b"\xff", -1),
    ("spymemcached", 0x600, b"\x3f\xc0\x00\x00", 1.5),
    ("spymemcached", 0x700, b"\x3f\xf8\x00\x00\x00\x00\x00\x00", 1.5),
    ("spymemcached", 0x700, b"\x01", 5e-324),
    ("spymemcached", 0x800, b"\x00\xff", b"\x00\xff"),
    ("couchbase", 0x02000000, b'{"a":1}', {"a": 1}),
    ("couchbase", 0x02000006, b"42", 42),
    ("couchbase", 0x03000000, b"\x00\xff", b"\x00\xff"),
    ("couchbase", 0x04000000, b"text", "text"),
]


@pytest.mark.parametrize(("convention", "flags", "value", "expected"), STORED)
def test_read_gives_what_each_client_has_stored(convention: str, flags: int, value: bytes, expected: object) -> None:
    assert describe(flags, convention).readable
    got = read(value, flags, convention)
    assert got == expected
    assert type(got) is type(expected) or (convention, flags) == ("pylibmc", 2)


UNREADABLE = [
    ("bmemcached", 1, Kind.PICKLE, Compression.NONE),
    ("bmemcached", 9, Kind.PICKLE, Compression.ZLIB),
    ("python-memcached", 1, Kind.PICKLE, Compression.NONE),
    ("python-memcached", 32, Kind.UNKNOWN, Compression.NONE),
    ("pymemcache-pickle", 1, Kind.PICKLE, Compression.NONE),
    ("pymemcache-compressed", 9, Kind.PICKLE, Compression.ZLIB),
    ("pylibmc", 1, Kind.PICKLE, Compression.NONE),
    ("pylibmc", 17, Kind.UNKNOWN, Compression.NONE),
    ("dalli", 1, Kind.MARSHAL, Compression.NONE),
    ("dalli", 3, Kind.MARSHAL, Compression.ZLIB),
    ("php-memcached", 4, Kind.PHP, Compression.NONE),
    ("php-memcached", 5, Kind.IGBINARY, Compression.NONE),
    ("php-memcached", 7, Kind.MSGPACK, Compression.NONE),
    ("php-memcached", 8, Kind.UNKNOWN, Compression.NONE),
    ("php-memcached", 80, Kind.TEXT, Compression.LENGTH_FASTLZ),
    ("php-memcached", 0x91, Kind.INTEGER, Compression.LENGTH_ZSTD),
    ("php-memcached", 0x70, Kind.TEXT, Compression.UNKNOWN),
    ("spymemcached", 1, Kind.JAVA, Compression.NONE),
    ("spymemcached", 3, Kind.JAVA, Compression.GZIP),
    ("spymemcached", 0x900, Kind.UNKNOWN, Compression.NONE),
    ("couchbase", 0, Kind.UNKNOWN, Compression.NONE),
    ("couchbase", 0x01000000, Kind.PRIVATE, Compression.NONE),
    ("couchbase", 0x05000000, Kind.UNKNOWN, Compression.NONE),
    ("couchbase", 0x24000000, Kind.TEXT, Compression.UNKNOWN),
]


@pytest.mark.parametrize(("convention", "flags", "kind", "compression"), UNREADABLE)
def test_read_of_a_form_that_is_not_supported_is_refused(
    convention: str, flags: int, kind: Kind, compression: Compression
) -> None:
    reading = describe(flags, convention)
    assert (reading.kind, reading.compression, reading.readable) == (kind, compression, False)
    with pytest.raises(ConventionError):
        read(b"I01\n.", flags, convention)


def test_read_error_names_the_flags_and_the_reason() -> None:
    with pytest.raises(ConventionError, match=r"^bmemcached flags 0x1 are pickle, which is never read here$"):
        read(b"I01\n.", 1, "bmemcached")
    with pytest.raises(ConventionError, match=r"^pylibmc does not know flags 0x11$"):
        read(b"I01\n.", 17, "pylibmc")
    with pytest.raises(ConventionError, match=r"^value is compressed: length and fastlz, which is not undone here$"):
        read(b"\x88\x13\0\0\x01xx", 80, "php-memcached")
    with pytest.raises(ConventionError, match=r"^value is not integer \(decimal text\): it begins with b'4x'$"):
        read(b"4x", 2, "bmemcached")


def test_read_never_loads_a_pickle() -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (pytest.fail, ("unpickled",))

    bomb = pickle.dumps(Bomb())
    for convention in CONVENTIONS:
        for flags in range(64):
            try:
                value = read(bomb, flags, convention)
            except ConventionError:
                continue
            assert value == bomb
    # Who trusts the writers finds the bytes here.
    assert unwrap(zlib.compress(bomb), 9, "bmemcached") == bomb


# --- describe


def test_describe_accounts_for_every_bit() -> None:
    assert describe(2 | 8 | 0x100, "bmemcached") == Reading(
        "bmemcached", Kind.INTEGER, Compression.ZLIB, "decimal text", "", 0x100, 0, True
    )
    assert describe(16 | 2, "bmemcached").unknown == 2
    assert describe(4, "bmemcached").note == "long, written by old versions"
    assert describe(0x12340020, "php-memcached") == Reading(
        "php-memcached", Kind.TEXT, Compression.NONE, "UTF-8", "PHP's strings may be any bytes", 0x20, 0x12340000, True
    )
    assert describe(0x14010006, "couchbase") == Reading(
        "couchbase", Kind.TEXT, Compression.NONE, "UTF-8", "", 0x10010000, 6, True
    )
    assert describe(0x24000000, "couchbase").unknown == 0x20000000
    assert describe(17, "pylibmc") == Reading("pylibmc", Kind.UNKNOWN, Compression.NONE, unknown=17)
    assert describe(1 << 63, "memjs").unknown == 1 << 63


@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(CONVENTIONS)))
def test_describe_of_any_flags_gives_a_reading(flags: int, convention: str) -> None:
    reading = describe(flags, convention)
    assert reading.convention == convention
    assert reading.unknown | reading.user | flags == flags
    assert not reading.unknown & reading.user
    assert (convention in candidates(flags)) == (
        not reading.unknown and Kind.UNKNOWN is not reading.kind and Compression.UNKNOWN is not reading.compression
    )


@pytest.mark.parametrize("flags", [-1, 1 << 64])
def test_flags_out_of_range_are_refused(flags: int) -> None:
    message = rf"^flags is {flags}, must be 0 to 18446744073709551615$"
    with pytest.raises(LocalProtocolError, match=message):
        describe(flags, "memjs")
    with pytest.raises(LocalProtocolError, match=message):
        candidates(flags)
    with pytest.raises(LocalProtocolError, match=message):
        unwrap(b"", flags, "memjs")
    with pytest.raises(LocalProtocolError, match=message):
        read(b"", flags, "memjs")


def test_unknown_convention_is_refused_by_name() -> None:
    with pytest.raises(LocalProtocolError, match=r"^convention is 'redis', must be one of bmemcached, python-memc"):
        describe(0, "redis")
    with pytest.raises(LocalProtocolError, match=r"^convention is 'redis'"):
        write(b"", "redis")


# --- candidates


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (
            0,
            "bmemcached python-memcached pymemcache pymemcache-pickle pymemcache-compressed pylibmc dalli memjs"
            " node-memcached php-memcached spymemcached",
        ),
        (
            1,
            "bmemcached python-memcached pymemcache-pickle pymemcache-compressed pylibmc dalli"
            " php-memcached spymemcached",
        ),
        (3, "dalli php-memcached spymemcached"),
        (6, "dalli php-memcached"),
        (8, "bmemcached python-memcached pymemcache-compressed pylibmc node-memcached"),
        (16, "bmemcached python-memcached pymemcache-pickle pymemcache-compressed pylibmc php-memcached"),
        (80, "php-memcached"),
        (0x200, "spymemcached"),
        (0x10004, "php-memcached"),
        (0x02000006, "php-memcached couchbase"),
        (0xDEADBEEF, ""),
        (1 << 32, ""),
    ],
)
def test_candidates_are_the_conventions_that_can_have_written_the_flags(flags: int, names: str) -> None:
    assert candidates(flags) == tuple(names.split())


def test_flags_16_are_text_to_some_clients_and_bytes_to_others() -> None:
    assert {name: describe(0, name).kind for name in candidates(16)} == {
        "bmemcached": Kind.TEXT,
        "python-memcached": Kind.BYTES,
        "pymemcache-pickle": Kind.BYTES,
        "pymemcache-compressed": Kind.BYTES,
        "pylibmc": Kind.BYTES,
        "php-memcached": Kind.TEXT,
    }
    assert describe(16, "bmemcached").kind is Kind.BYTES
    assert describe(16, "pylibmc").kind is Kind.TEXT


# --- write

WRITTEN: list[tuple[str, Scalar, bytes, int]] = [
    ("bmemcached", "text", b"text", 0),
    ("bmemcached", b"\xff", b"\xff", 16),
    ("bmemcached", 2**70, b"1180591620717411303424", 2),
    ("python-memcached", "text", b"text", 16),
    ("python-memcached", b"\xff", b"\xff", 0),
    ("python-memcached", -42, b"-42", 2),
    ("pymemcache", b"\xff", b"\xff", 0),
    ("pymemcache-pickle", "text", b"text", 16),
    ("pymemcache-pickle", 42, b"42", 2),
    ("pymemcache-compressed", b"\xff", b"\xff", 0),
    ("pylibmc", "text", b"text", 16),
    ("pylibmc", b"\xff", b"\xff", 0),
    ("pylibmc", 42, b"42", 4),
    ("pylibmc", True, b"1", 2),
    ("pylibmc", False, b"0", 2),
    ("dalli", "\u017e", b"\xc5\xbe", 4),
    ("dalli", b"raw", b"raw", 0),
    ("memjs", b"raw", b"raw", 0),
    ("node-memcached", "a\r\nb", b"a\\\r\\\nb", 0),
    ("node-memcached", b"\x00\xff\n", b"\x00\xc3\xbf\\\n", 4),
    ("node-memcached", True, b"true", 2),
    ("node-memcached", 42, b"42", 8),
    ("node-memcached", 9007199254740991, b"9007199254740991", 8),
    ("node-memcached", 1.5, b"1.5", 8),
    ("node-memcached", -math.inf, b"-Infinity", 8),
    ("php-memcached", "text", b"text", 0),
    ("php-memcached", 9223372036854775807, b"9223372036854775807", 1),
    ("php-memcached", -9223372036854775808, b"-9223372036854775808", 1),
    ("php-memcached", 1e25, b"1e+25", 2),
    ("php-memcached", math.inf, b"Infinity", 2),
    ("php-memcached", True, b"1", 3),
    ("php-memcached", False, b"", 3),
    ("spymemcached", "text", b"text", 0),
    ("spymemcached", b"\xff", b"\xff", 0x800),
    ("spymemcached", True, b"1", 0x100),
    ("spymemcached", 0, b"", 0x200),
    ("spymemcached", 2147483647, b"\x7f\xff\xff\xff", 0x200),
    ("spymemcached", 2147483648, b"\x80\x00\x00\x00", 0x300),
    ("spymemcached", -2147483648, b"\x80\x00\x00\x00", 0x200),
    ("spymemcached", -2147483649, b"\xff\xff\xff\xff\x7f\xff\xff\xff", 0x300),
    ("spymemcached", 1.5, b"\x3f\xf8\x00\x00\x00\x00\x00\x00", 0x700),
    ("couchbase", "text", b"text", 0x04000000),
    ("couchbase", b"\xff", b"\xff", 0x03000000),
    ("couchbase", 42, b"42", 0x02000000),
    ("couchbase", 1.5, b"1.5", 0x02000000),
    ("couchbase", False, b"false", 0x02000000),
]


@pytest.mark.parametrize(("convention", "value", "data", "flags"), WRITTEN)
def test_write_gives_the_bytes_and_flags_of_each_client(
    convention: str, value: Scalar, data: bytes, flags: int
) -> None:
    assert write(value, convention) == (data, flags)


UNWRITABLE: list[tuple[str, Scalar, str]] = [
    ("bmemcached", True, "bmemcached has no form for this bool"),
    ("bmemcached", 1.5, "bmemcached has no form for this float"),
    ("bmemcached", "\ud800", "bmemcached has no form for this str: 'utf-8' codec can't encode"),
    ("pymemcache", "text", "pymemcache has no form for this str"),
    ("memjs", 1, "memjs has no form for this int"),
    ("dalli", 1, "dalli has no form for this int"),
    ("php-memcached", b"x", "php-memcached has no form for this bytes"),
    (
        "php-memcached",
        2**63,
        "php-memcached has no form for this int: it must be -9223372036854775808 to 92233720368547758",
    ),
    ("php-memcached", -(2**63) - 1, "php-memcached has no form for this int: it must be"),
    (
        "node-memcached",
        2**53,
        "node-memcached has no form for this int: JavaScript skips integers beyond 90071992547409",
    ),
    ("node-memcached", -(2**53), "node-memcached has no form for this int: JavaScript skips"),
    (
        "spymemcached",
        2**63,
        "spymemcached has no form for this int: it must be -9223372036854775808 to 922337203685477",
    ),
    ("spymemcached", -(2**63) - 1, "spymemcached has no form for this int: it must be"),
    ("couchbase", math.nan, "couchbase has no form for this float: Out of range float values are not JSON"),
]


@pytest.mark.parametrize(("convention", "value", "message"), UNWRITABLE)
def test_write_of_a_type_without_a_form_is_refused(convention: str, value: Scalar, message: str) -> None:
    with pytest.raises(ConventionError, match=f"^{message}"):
        write(value, convention)


def test_write_of_a_subclass_of_str_is_refused() -> None:
    class Markup(str):
        __slots__ = ()

    with pytest.raises(ConventionError, match=r"^bmemcached has no form for this Markup$"):
        write(Markup("x"), "bmemcached")


scalars = st.one_of(
    st.text(), st.binary(), st.integers(), st.integers(-(2**63), 2**63 - 1), st.booleans(), st.floats(allow_nan=False)
)


@reaches(read=0.2, refused=0.0)
@given(scalars, st.sampled_from(sorted(CONVENTIONS)))
@example("\\\r\\\\\n\\", "node-memcached")
@example(-0.0, "spymemcached")
@example(-(2**31), "spymemcached")
def test_read_gives_back_what_write_has_written(value: Scalar, convention: str) -> None:
    try:
        data, flags = write(value, convention)
    except ConventionError:
        reached("refused")
        return
    reached("read")
    again = read(data, flags, convention)
    assert again == value
    assert type(again) is type(value) or (convention, type(value)) == ("pylibmc", bool)
    reading = describe(flags, convention)
    assert (reading.compression, reading.unknown, reading.readable) == (Compression.NONE, 0, True)
    assert convention in candidates(flags)
    assert unwrap(data, flags, convention) == read(data, flags, _raw(convention))


def _raw(name: str) -> Convention:
    """The convention with every kind taken as bytes."""
    same = Form(Kind.BYTES, "as it is", bytes)
    return Convention(name, "", (Bits(0, 0, same),), escapes=CONVENTIONS[name].escapes)


@given(st.sampled_from(["php-memcached", "node-memcached", "spymemcached"]))
def test_nan_is_read_back_as_nan(convention: str) -> None:
    again = read(*write(math.nan, convention), convention)
    assert isinstance(again, float)
    assert math.isnan(again)


# --- numbers


@pytest.mark.parametrize("convention", ["bmemcached", "couchbase"])
def test_integers_over_4300_digits_are_refused(convention: str) -> None:
    for length in (4299, 4300):
        number = 10**length - 1
        assert read(*write(number, convention), convention) == number
    for number in (10**4300, -(10**4299), 1 << 17200):
        with pytest.raises(ConventionError, match=r": "):
            write(number, convention)
    flags = write(1, convention)[1]
    assert read(b"7" * 4300, flags, convention) == int("7" * 4300)
    with pytest.raises(ConventionError, match="a number of 4301 bytes, limit is 4300"):
        read(b"7" * 4301, flags, convention)


def test_floats_over_4300_bytes_are_refused() -> None:
    assert read(b"0." + b"1" * 4298, 2, "php-memcached") == 1 / 9
    for convention, flags in (("php-memcached", 2), ("node-memcached", 8)):
        for data in (b"0." + b"1" * 4299, b"1" * 1_000_000):
            with pytest.raises(ConventionError, match="limit is 4300"):
                read(data, flags, convention)


@pytest.mark.parametrize(
    "data", [b"", b" ", b"+", b"1_000", b"0x10", b"1.5", b"12 3", b"\xd9\xa1", b"1\0", b"None", b"--1", b"1e3"]
)
def test_read_of_a_malformed_integer_is_refused(data: bytes) -> None:
    for convention, flags in (("bmemcached", 2), ("pylibmc", 4), ("php-memcached", 1)):
        with pytest.raises(ConventionError, match="value is not integer"):
            read(data, flags, convention)


@pytest.mark.parametrize(
    "data", [b"", b".", b"e5", b"1e", b"inf", b"nan", b"1_0.5", b"0x1p3", b"+Infinity", b"1.5.", b"\xff"]
)
def test_read_of_a_malformed_float_is_refused(data: bytes) -> None:
    for convention, flags in (("php-memcached", 2), ("node-memcached", 8)):
        with pytest.raises(ConventionError, match=r"value is not (float|number)"):
            read(data, flags, convention)


@pytest.mark.parametrize(
    ("flags", "data", "message"),
    [
        (0x100, b"", "value is not boolean"),
        (0x100, b"\x01", "value is not boolean"),
        (0x100, b"11", "value is not boolean"),
        (0x200, bytes(5), "it is 5 bytes, limit is 4"),
        (0x300, bytes(9), "it is 9 bytes, limit is 8"),
        (0x500, bytes(2), "it is 2 bytes, limit is 1"),
        (0x600, bytes(5), "it is 5 bytes, limit is 4"),
        (0x700, bytes(9), "it is 9 bytes, limit is 8"),
        (0, b"\xff", "value is not text"),
    ],
)
def test_read_of_a_value_that_java_does_not_write_is_refused(flags: int, data: bytes, message: str) -> None:
    with pytest.raises(ConventionError, match=message):
        read(data, flags, "spymemcached")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"NaN", "NaN is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        (b"\xff", "can't decode byte"),
        (b"\xef\xbb\xbf1", "BOM"),
        (b"[" * 200_000, "it is nested too deeply"),
    ],
)
def test_read_of_malformed_json_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ConventionError, match=rf"^value is not json \(JSON in UTF-8\): .*{message}"):
        read(data, 0x02000000, "couchbase")


def test_read_of_malformed_widened_bytes_is_refused() -> None:
    for data in (b"\xff", "\u0100".encode()):
        with pytest.raises(ConventionError, match="value is not bytes"):
            read(data, 4, "node-memcached")


# --- compression


def test_limit_on_expansion_holds_to_the_byte() -> None:
    for limit in (5000, 5001, 2**80):
        assert read(X_5000, 8, "bmemcached", limit=limit) == "x" * 5000
    for limit in (4999, 1, 0):
        with pytest.raises(ConventionError, match=rf"^compressed value expands to more than {limit} bytes$"):
            read(X_5000, 8, "bmemcached", limit=limit)
    assert read(zlib.compress(b""), 8, "bmemcached", limit=0) == ""
    # What is not compressed does not expand.
    assert read(b"hello", 0, "bmemcached", limit=0) == "hello"
    with pytest.raises(LocalProtocolError, match=r"^limit is -1, the least is 0$"):
        unwrap(b"hello", 0, "bmemcached", limit=-1)


def test_limit_on_expansion_is_16_mib_by_default() -> None:
    assert LIMIT == 16 * 1024 * 1024
    assert len(unwrap(zlib.compress(bytes(LIMIT)), 8, "bmemcached")) == LIMIT
    with pytest.raises(ConventionError, match="expands to more than 16777216 bytes"):
        unwrap(zlib.compress(bytes(LIMIT + 1)), 8, "bmemcached")


@pytest.mark.parametrize(
    ("convention", "flags", "data"),
    [("bmemcached", 8, X_5000), ("spymemcached", 2, GZIP_HELLO), ("php-memcached", 0x30, b"\x88\x13\0\0" + X_5000)],
)
def test_compressed_value_that_is_cut_or_too_long_is_refused(convention: str, flags: int, data: bytes) -> None:
    for at in range(len(data)):
        with pytest.raises(ConventionError, match=r"is cut short$"):
            read(data[:at], flags, convention)
    for more in (b"\0", data):
        with pytest.raises(ConventionError, match=rf"^{len(more)} bytes follow the compressed value$"):
            read(data + more, flags, convention)


def test_damaged_compressed_value_is_refused() -> None:
    with pytest.raises(ConventionError, match=r"^compressed value is damaged: "):
        read(b"hello", 8, "bmemcached")
    with pytest.raises(ConventionError, match=r"^compressed value is damaged: "):
        read(X_5000, 2, "spymemcached")
    with pytest.raises(ConventionError, match=r"^value expands to 5000 bytes, its length says 5001 or 2299723776$"):
        read(b"\x89\x13\0\0" + X_5000, 0x30, "php-memcached")


@reaches(value=0.1, refused=0.05)
@given(st.binary(max_size=200), st.integers(0, 2**32 - 1) | st.integers(0, 255), st.sampled_from(sorted(CONVENTIONS)))
def test_any_bytes_are_a_value_or_one_exception(value: bytes, flags: int, convention: str) -> None:
    try:
        got = read(value, flags, convention, limit=1000)
    except ConventionError:
        reached("refused")
        return
    reached("value")
    assert got is None or isinstance(got, str | bytes | int | float | list | dict)


# --- the table


def test_conventions_are_frozen_data() -> None:
    with pytest.raises(TypeError):
        CONVENTIONS["mine"] = CONVENTIONS["memjs"]  # type: ignore[index]
    with pytest.raises(FrozenInstanceError):
        CONVENTIONS["memjs"].name = "mine"  # type: ignore[misc]
    assert all(name == convention.name for name, convention in CONVENTIONS.items())


def test_no_row_is_hidden_by_an_earlier_one() -> None:
    for convention in CONVENTIONS.values():
        for kind in convention.kinds:
            assert next(row for row in convention.kinds if row.matches(kind.value)) is kind
            assert describe(kind.value, convention).kind is kind.means.kind
        for compression in convention.compressions:
            assert next(row for row in convention.compressions if row.matches(compression.value)) is compression
            assert describe(compression.value, convention).compression is compression.means


def test_own_convention_is_read_and_written() -> None:
    json_form = CONVENTIONS["couchbase"].kinds[1].means
    mine = Convention(
        "mine",
        "a proxy",
        (
            Bits(0xF, 1, json_form, writes=(str, int, bytes)),
            Bits(0xF, 2, Form(Kind.PRIVATE, "ours"), writes=(float,)),
            Bits(0xF, 3, CONVENTIONS["bmemcached"].kinds[1].means, writes=(bool, bytes)),
        ),
    )
    assert write("a\n", mine) == (b'"a\\n"', 1)
    assert read(b'"a\\n"', 1, mine) == "a\n"
    assert write(True, mine) == (b"1", 3)
    with pytest.raises(ConventionError, match=r"^mine has no form for this bytes: the form takes no bytes$"):
        write(b"x", mine)
    with pytest.raises(ConventionError, match=r"^mine has no form for this float$"):
        write(1.5, mine)
    with pytest.raises(LocalProtocolError, match=r"^value 0x10 has bits that are not in its mask 0xf$"):
        Bits(0xF, 0x10, json_form)


def test_page_of_conventions_has_every_row() -> None:
    page = DOCS.read_text(encoding="utf-8")
    for convention in CONVENTIONS.values():
        assert f"### {convention.name}\n\n{convention.client}" in page
        section = page.partition(f"### {convention.name}\n")[2].partition("\n### ")[0]
        for bits in convention.kinds:
            note = f"; {bits.note}" if bits.note else ""
            line = f"| {bits.value:#x} | {bits.mask:#x} | {bits.means.kind.value} | {bits.means.description}{note} |"
            assert line in section, line
        for row in convention.compressions:
            if row.mask:
                note = f"; {row.note}" if row.note else ""
                line = f"| {row.value:#x} | {row.mask:#x} | compression | {row.means.value}{note} |"
                assert line in section, line
