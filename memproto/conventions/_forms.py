"""How values are encoded: each form with its reader and, where there is one, its writer.

Readers take bytes of any length and content and end in linear time with a value or a ``ValueError``, which the
callers turn into a :class:`ConventionError`.
"""

from __future__ import annotations

import enum
import json
import math
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

#: What :func:`~memproto.conventions.write` takes; ``bool`` is among them as an ``int``.
Scalar: TypeAlias = str | bytes | int | float

T = TypeVar("T", bound=Scalar)

#: Longest number in text, in characters: what Python itself converts in linear time.
MAX_NUMBER: Final = 4300
# JavaScript has doubles only: beyond this they skip integers.
_MAX_SAFE: Final = 2**53 - 1
_LONG: Final = 2**63


class ConventionError(ValueError):
    """A value that the named convention cannot read or write. The message says why.

    The bytes do not fit the flags, the value would have to be unpickled or the like, it is compressed in a way
    that is not known here, it expands beyond the limit, or the convention has no form for it.
    """


class Kind(enum.Enum):
    """What a value is. From ``PICKLE`` on, none can be read here: see :attr:`Form.read`."""

    TEXT = "text"
    BYTES = "bytes"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    FLOAT = "float"
    #: JavaScript's: an integer or a float.
    NUMBER = "number"
    #: Milliseconds since 1970, read as an ``int``.
    DATE = "date"
    JSON = "json"
    PICKLE = "pickle"
    MARSHAL = "marshal"
    PHP = "php"
    IGBINARY = "igbinary"
    MSGPACK = "msgpack"
    JAVA = "java"
    #: The writer's own encoding, which the flags do not name.
    PRIVATE = "private"
    #: The convention does not know these flags.
    UNKNOWN = "unknown"


class Compression(enum.Enum):
    """How a value is compressed. From ``LENGTH_FASTLZ`` on, none is undone here."""

    NONE = "none"
    ZLIB = "zlib"
    GZIP = "gzip"
    #: php-memcached's: the length of the original in 4 bytes of host order, then zlib.
    LENGTH_ZLIB = "length and zlib"
    LENGTH_FASTLZ = "length and fastlz"
    LENGTH_ZSTD = "length and zstd"
    #: The convention does not know these bits.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Form:
    """How values of one kind are written down.

    ``read`` turns the bytes, decompressed, into a value and ``write`` does the reverse; both raise
    ``ValueError`` for what does not fit. No ``read``: it would run code of the writer's choice, or needs what is not
    here. No ``write``: it is only read.
    """

    kind: Kind
    description: str
    read: Callable[[bytes], object] | None = None
    write: Callable[[Scalar], bytes] | None = None


def _writer(accepts: type[T] | tuple[type[T], ...], encode: Callable[[T], bytes]) -> Callable[[Scalar], bytes]:
    def write(value: Scalar) -> bytes:
        if not isinstance(value, accepts):
            raise ValueError(f"the form takes no {type(value).__name__}")  # noqa: TRY004
        return encode(value)

    return write


# --- text and bytes


# Both methods mean UTF-8.
TEXT: Final = Form(Kind.TEXT, "UTF-8", bytes.decode, _writer(str, str.encode))
BYTES: Final = Form(Kind.BYTES, "as it is", bytes, _writer(bytes, bytes))
WIDENED: Final = Form(
    Kind.BYTES,
    "each byte as the character of that number, in UTF-8",
    lambda data: data.decode().encode("latin-1"),
    _writer(bytes, lambda value: value.decode("latin-1").encode()),
)

# --- numbers in text

# memcached pads with spaces what DECREMENT has made shorter.
_INTEGER: Final = re.compile(rb"\s*([+-]?[0-9]+)\s*")
_FLOAT: Final = re.compile(rb"\s*([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|-?Infinity|NaN)\s*")


def _number(pattern: re.Pattern[bytes], data: bytes) -> bytes:
    if len(data) > MAX_NUMBER:
        raise ValueError(f"a number of {len(data)} bytes, limit is {MAX_NUMBER}")
    match = pattern.fullmatch(data)
    if match is None:
        raise ValueError(f"it begins with {data[:20]!r}")
    return match[1]


def _read_integer(data: bytes) -> int:
    return int(_number(_INTEGER, data))


def _write_integer(value: int) -> bytes:
    # Asked first, because making the text takes the square of its length; a digit has less than 4 bits.
    if value.bit_length() > 4 * MAX_NUMBER:
        raise ValueError(f"a number of {value.bit_length()} bits, limit is {MAX_NUMBER} characters")
    return _number(_INTEGER, b"%d" % value)


def _read_float(data: bytes) -> float:
    return float(_number(_FLOAT, data))


def _write_float(value: float) -> bytes:
    if math.isnan(value):
        return b"NaN"
    if math.isinf(value):
        return b"Infinity" if value > 0 else b"-Infinity"
    return repr(value).encode("ascii")


def _read_number(data: bytes) -> int | float:
    return _read_integer(data) if _INTEGER.fullmatch(data[: MAX_NUMBER + 1]) else _read_float(data)


def _write_number(value: int | float) -> bytes:
    if isinstance(value, float):
        return _write_float(value)
    if abs(value) > _MAX_SAFE:
        raise ValueError(f"JavaScript skips integers beyond {_MAX_SAFE}")
    return _write_integer(value)


def _write_long(value: int) -> bytes:
    if not -_LONG <= value < _LONG:
        raise ValueError(f"it must be {-_LONG} to {_LONG - 1}")
    return _write_integer(value)


INTEGER: Final = Form(Kind.INTEGER, "decimal text", _read_integer, _writer(int, _write_integer))
LONG: Final = Form(Kind.INTEGER, "decimal text, written within 64 bits", _read_integer, _writer(int, _write_long))
FLOAT: Final = Form(Kind.FLOAT, "decimal text, Infinity or NaN", _read_float, _writer(float, _write_float))
NUMBER: Final = Form(Kind.NUMBER, "decimal text, Infinity or NaN", _read_number, _writer((int, float), _write_number))

# --- booleans


def _boolean(true: bytes, false: bytes) -> Form:
    values = {true: True, false: False}

    def read(data: bytes) -> bool:
        if data not in values:
            raise ValueError(f"it begins with {data[:20]!r}")
        return values[data]

    return Form(Kind.BOOLEAN, f"{true!r} or {false!r}", read, _writer(bool, lambda value: true if value else false))


ONE_OR_EMPTY: Final = _boolean(b"1", b"")
ONE_OR_ZERO: Final = _boolean(b"1", b"0")

# --- Java's numbers: big-endian, without the zero bytes in front


def _widened_to(data: bytes, size: int) -> bytes:
    if len(data) > size:
        raise ValueError(f"it is {len(data)} bytes, limit is {size}")
    return data.rjust(size, b"\0")


def _java_integer(size: int, kind: Kind = Kind.INTEGER) -> Form:
    least = -(1 << (8 * size - 1))

    def read(data: bytes) -> int:
        return int.from_bytes(_widened_to(data, size), "big", signed=True)

    def encode(value: int) -> bytes:
        if not least <= value < -least:
            raise ValueError(f"it must be {least} to {-least - 1}")
        return value.to_bytes(size, "big", signed=True).lstrip(b"\0")

    return Form(kind, f"big-endian, up to {size} bytes without zeros in front", read, _writer(int, encode))


def _java_float(layout: struct.Struct) -> Form:
    def read(data: bytes) -> float:
        (value,) = layout.unpack(_widened_to(data, layout.size))
        return float(value)

    def encode(value: float) -> bytes:
        return layout.pack(value).lstrip(b"\0")

    return Form(Kind.FLOAT, f"IEEE 754 big-endian, up to {layout.size} bytes", read, _writer(float, encode))


JAVA_BYTE: Final = _java_integer(1)
JAVA_INT: Final = _java_integer(4)
JAVA_LONG: Final = _java_integer(8)
JAVA_DATE: Final = _java_integer(8, Kind.DATE)
JAVA_FLOAT: Final = _java_float(struct.Struct(">f"))
JAVA_DOUBLE: Final = _java_float(struct.Struct(">d"))

# --- JSON


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _read_json(data: bytes) -> object:
    try:
        value: object = json.loads(
            data.decode(), parse_int=lambda text: _read_integer(text.encode()), parse_constant=_no_constant
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


def _write_json(value: Scalar) -> bytes:
    if isinstance(value, bytes):
        raise ValueError("JSON has no bytes")  # noqa: TRY004
    if type(value) is int:
        return _write_integer(value)
    return json.dumps(value, allow_nan=False).encode("ascii")


JSON: Final = Form(Kind.JSON, "JSON in UTF-8", _read_json, _write_json)

# --- what is not read here

PICKLE: Final = Form(Kind.PICKLE, "Python's pickle, any protocol")
MARSHAL: Final = Form(Kind.MARSHAL, "Ruby's Marshal, or the serializer that the client was given")
PHP: Final = Form(Kind.PHP, "PHP's serialize()")
IGBINARY: Final = Form(Kind.IGBINARY, "igbinary")
MSGPACK: Final = Form(Kind.MSGPACK, "MessagePack")
JAVA: Final = Form(Kind.JAVA, "Java's object serialization")
PRIVATE: Final = Form(Kind.PRIVATE, "the writer's own")
