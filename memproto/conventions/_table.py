"""The conventions as data: which bits of ``flags`` mean what to which client.

Read from the clients' sources and, for most, seen in recorded traffic; Couchbase's from its published rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Generic, TypeVar

from memproto.conventions import _forms as forms
from memproto.conventions._forms import Compression, Form, Kind, Scalar
from memproto.errors import LocalProtocolError

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class Bits(Generic[M]):
    """One row: flags that have ``value`` under ``mask`` mean ``means``.

    ``writes`` are the exact types of the values that the client stores with these flags and reads back equal.
    A value with bits outside the mask is a :class:`~memproto.LocalProtocolError`.
    """

    mask: int
    value: int
    means: M
    note: str = ""
    writes: tuple[type[Scalar], ...] = ()

    def __post_init__(self) -> None:
        if self.value & ~self.mask:
            raise LocalProtocolError(f"value {self.value:#x} has bits that are not in its mask {self.mask:#x}")

    def matches(self, flags: int) -> bool:
        """Whether these flags have that value."""
        return flags & self.mask == self.value


@dataclass(frozen=True, slots=True)
class Convention:
    """What one client means by the flags.

    ``kinds`` and ``compressions`` are asked in order and the first row that matches counts, which is the order in which
    the client's own reader asks; none matching: unknown. ``user`` are the bits left to the application.
    ``escapes``: a backslash stands before each CR and LF of a value.
    """

    name: str
    client: str
    kinds: tuple[Bits[Form], ...]
    compressions: tuple[Bits[Compression], ...] = (Bits(0, 0, Compression.NONE),)
    user: int = 0
    escapes: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """What flags say under one convention.

    ``description`` says how the value is encoded, ``note`` what else a reader should know. ``unknown`` are the bits
    that had no part in this reading and ``user`` those that the application has set, both in their place.
    ``readable`` is whether :func:`read` takes such values at all.
    """

    convention: str
    kind: Kind
    compression: Compression
    description: str = ""
    note: str = ""
    unknown: int = 0
    user: int = 0
    readable: bool = False


_ZLIB_8: Final = (Bits(8, 8, Compression.ZLIB), Bits(0, 0, Compression.NONE))
_ALL: Final = 0xFFFFFFFF

_PYMEMCACHE: Final = (
    Bits(16, 16, forms.TEXT, writes=(str,)),
    Bits(2, 2, forms.INTEGER, writes=(int,)),
    Bits(4, 4, forms.INTEGER, "long, read only"),
    Bits(1, 1, forms.PICKLE),
    # The client gives the bytes for any other flags too.
    Bits(0, 0, forms.BYTES, writes=(bytes,)),
)

_TYPES_OF_PYLIBMC: Final = 1 | 2 | 4 | 16
_TYPES_OF_PHP: Final = 0x0F
_PACKING_OF_PHP: Final = 0xF0
_TYPES_OF_JAVA: Final = 0xFF00
_FORMATS_OF_COUCHBASE: Final = 0x0F000000

_CONVENTIONS: Final = (
    Convention(
        "bmemcached",
        "python-binary-memcached 0.33",
        (
            Bits(16, 16, forms.BYTES, writes=(bytes,)),
            Bits(2, 2, forms.INTEGER, writes=(int,)),
            Bits(4, 4, forms.INTEGER, "long, written by old versions"),
            Bits(1, 1, forms.PICKLE, "a bool too"),
            Bits(0, 0, forms.TEXT, "bytes in raw_data mode", (str,)),
        ),
        _ZLIB_8,
    ),
    Convention(
        "python-memcached",
        "python-memcached 1.62",
        (
            Bits(16, 16, forms.TEXT, writes=(str,)),
            Bits(2, 2, forms.INTEGER, writes=(int,)),
            Bits(4, 4, forms.INTEGER, "long, of Python 2"),
            Bits(1, 1, forms.PICKLE, "a bool or a subclass too"),
            Bits(_ALL ^ 8, 0, forms.BYTES, writes=(bytes,)),
        ),
        _ZLIB_8,
    ),
    Convention(
        "pymemcache",
        "pymemcache 4.0 without a serde",
        (Bits(0, 0, forms.BYTES, "str is stored the same way", (bytes,)),),
    ),
    Convention("pymemcache-pickle", "pymemcache 4.0 with serde.pickle_serde", _PYMEMCACHE),
    Convention("pymemcache-compressed", "pymemcache 4.0 with serde.compressed_serde", _PYMEMCACHE, _ZLIB_8),
    Convention(
        "pylibmc",
        "pylibmc 1.6",
        (
            Bits(_TYPES_OF_PYLIBMC, 16, forms.TEXT, writes=(str,)),
            Bits(_TYPES_OF_PYLIBMC, 4, forms.INTEGER, writes=(int,)),
            Bits(_TYPES_OF_PYLIBMC, 2, forms.INTEGER, "a bool, read back as 1 or 0", (bool,)),
            Bits(_TYPES_OF_PYLIBMC, 1, forms.PICKLE),
            Bits(_TYPES_OF_PYLIBMC, 0, forms.BYTES, writes=(bytes,)),
        ),
        _ZLIB_8,
    ),
    Convention(
        "dalli",
        "dalli 3.2 and 5.0",
        (
            Bits(1, 1, forms.MARSHAL, "strings and integers too"),
            Bits(4, 4, forms.TEXT, "5.x with string_fastpath", (str,)),
            Bits(0, 0, forms.BYTES, "stored with raw: true, and counters", (bytes,)),
        ),
        (Bits(2, 2, Compression.ZLIB), Bits(0, 0, Compression.NONE)),
    ),
    Convention("memjs", "memjs 1.3", (Bits(0, 0, forms.BYTES, "strings too; flags are a serializer's own", (bytes,)),)),
    Convention(
        "node-memcached",
        "memcached 2.2 (npm)",
        (
            Bits(_ALL, 2, forms.JSON, writes=(bool,)),
            Bits(_ALL, 4, forms.WIDENED, writes=(bytes,)),
            Bits(_ALL, 8, forms.NUMBER, writes=(int, float)),
            # The client gives the string for any other flags too.
            Bits(0, 0, forms.TEXT, writes=(str,)),
        ),
        escapes=True,
    ),
    Convention(
        "php-memcached",
        "php-memcached 3.2",
        (
            Bits(_TYPES_OF_PHP, 0, forms.TEXT, "PHP's strings may be any bytes", (str,)),
            Bits(_TYPES_OF_PHP, 1, forms.LONG, writes=(int,)),
            Bits(_TYPES_OF_PHP, 2, forms.FLOAT, writes=(float,)),
            Bits(_TYPES_OF_PHP, 3, forms.ONE_OR_EMPTY, writes=(bool,)),
            Bits(_TYPES_OF_PHP, 4, forms.PHP),
            Bits(_TYPES_OF_PHP, 5, forms.IGBINARY),
            Bits(_TYPES_OF_PHP, 6, forms.JSON),
            Bits(_TYPES_OF_PHP, 7, forms.MSGPACK),
        ),
        (
            Bits(_PACKING_OF_PHP, 0x30, Compression.LENGTH_ZLIB),
            Bits(_PACKING_OF_PHP, 0x50, Compression.LENGTH_FASTLZ),
            Bits(_PACKING_OF_PHP, 0x90, Compression.LENGTH_ZSTD),
            Bits(_PACKING_OF_PHP, 0x10, Compression.ZLIB, "old versions"),
            # An algorithm alone does not make it compressed.
            Bits(0x10, 0, Compression.NONE),
        ),
        user=0xFFFF0000,
    ),
    Convention(
        "spymemcached",
        "spymemcached, SerializingTranscoder",
        (
            Bits(1, 1, forms.JAVA),
            Bits(_TYPES_OF_JAVA, 0x100, forms.ONE_OR_ZERO, writes=(bool,)),
            Bits(_TYPES_OF_JAVA, 0x200, forms.JAVA_INT, writes=(int,)),
            Bits(_TYPES_OF_JAVA, 0x300, forms.JAVA_LONG, writes=(int,)),
            Bits(_TYPES_OF_JAVA, 0x400, forms.JAVA_DATE),
            Bits(_TYPES_OF_JAVA, 0x500, forms.JAVA_BYTE),
            Bits(_TYPES_OF_JAVA, 0x600, forms.JAVA_FLOAT),
            Bits(_TYPES_OF_JAVA, 0x700, forms.JAVA_DOUBLE, writes=(float,)),
            Bits(_TYPES_OF_JAVA, 0x800, forms.BYTES, writes=(bytes,)),
            Bits(_TYPES_OF_JAVA, 0, forms.TEXT, writes=(str,)),
        ),
        (Bits(2, 2, Compression.GZIP), Bits(0, 0, Compression.NONE)),
    ),
    Convention(
        "couchbase",
        "Couchbase SDKs, common flags (RFC 20)",
        (
            Bits(_FORMATS_OF_COUCHBASE, 0x01000000, forms.PRIVATE),
            Bits(_FORMATS_OF_COUCHBASE, 0x02000000, forms.JSON, writes=(int, float, bool)),
            Bits(_FORMATS_OF_COUCHBASE, 0x03000000, forms.BYTES, writes=(bytes,)),
            Bits(_FORMATS_OF_COUCHBASE, 0x04000000, forms.TEXT, writes=(str,)),
        ),
        (Bits(0xE0000000, 0, Compression.NONE),),
        # Each SDK's flags of former times.
        user=0x0000FFFF,
    ),
)

#: The named conventions. :func:`read` and the others also take a :class:`Convention` of your own.
CONVENTIONS: Final = MappingProxyType({convention.name: convention for convention in _CONVENTIONS})
