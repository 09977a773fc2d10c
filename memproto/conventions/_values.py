"""Pure functions over the table: what flags say, and values in and out."""

from __future__ import annotations

import re
import sys
import zlib
from typing import Final

from memproto._fields import check_least
from memproto.conventions._forms import Compression, ConventionError, Form, Kind, Scalar
from memproto.conventions._table import CONVENTIONS, Bits, Convention, Reading
from memproto.errors import LocalProtocolError

#: What a compressed value may expand to where the caller sets no limit of his own, in bytes.
LIMIT: Final = 16 * 1024 * 1024
# Newer servers may be built with flags of 64 bits.
_MAX_FLAGS: Final = (1 << 64) - 1

_LENGTH: Final = 4
WBITS: Final = {Compression.ZLIB: 15, Compression.LENGTH_ZLIB: 15, Compression.GZIP: 31}
_UNDONE: Final = frozenset({Compression.NONE, *WBITS})

_UNKNOWN_KIND: Final = Bits(0, 0, Form(Kind.UNKNOWN, ""))
_UNKNOWN_COMPRESSION: Final = Bits(0, 0, Compression.UNKNOWN)

_BREAKS: Final = re.compile(rb"([\r\n])")
_ESCAPED_BREAKS: Final = re.compile(rb"\\([\r\n])")


def candidates(flags: int) -> tuple[str, ...]:
    """The named conventions under which a client could have written these flags, in the order of the table.

    Often several, since the conventions overlap; none if no one is known to write such flags.
    Flags must be 0 to 2**64 - 1, else :class:`~memproto.LocalProtocolError`.
    """
    return tuple(
        reading.convention
        for reading in (describe(flags, convention) for convention in CONVENTIONS.values())
        if reading.kind is not Kind.UNKNOWN and reading.compression is not Compression.UNKNOWN and not reading.unknown
    )


def describe(flags: int, convention: Convention | str) -> Reading:
    """What these flags say under a convention, named or your own, as the client itself would read them.

    Flags that are not 0 to 2**64 - 1 and an unknown name are a :class:`~memproto.LocalProtocolError`.
    """
    convention = _convention(convention)
    kind, compression = _rows(flags, convention)
    return Reading(
        convention.name,
        kind.means.kind,
        compression.means,
        kind.means.description,
        kind.note,
        flags & ~(convention.user | kind.mask | compression.mask),
        flags & convention.user,
        kind.means.read is not None and compression.means in _UNDONE,
    )


def unwrap(value: bytes, flags: int, convention: Convention | str, *, limit: int = LIMIT) -> bytes:
    """The bytes of a value of any kind, decompressed and without escapes, but not interpreted.

    Whoever trusts the writers of a cache can unpickle them; nothing here does. ``limit`` is the most bytes, 0 or
    more, that a compressed value may expand to, 16 MiB if not given; one byte above it the expansion stops.

    Raises :class:`ConventionError` if the value expands to more, is damaged, cut short or followed by something, or
    is compressed in a way that is not undone here; :class:`~memproto.LocalProtocolError` as :func:`describe` does.
    """
    convention = _convention(convention)
    _, compression = _rows(flags, convention)
    check_least("limit", limit, 0)
    data = _decompressed(value, compression.means, limit)
    return _ESCAPED_BREAKS.sub(rb"\1", data) if convention.escapes else data


def read(value: bytes, flags: int, convention: Convention | str, *, limit: int = LIMIT) -> object:
    """The value as the client that wrote it meant it: ``str``, ``bytes``, ``int``, ``bool``, ``float`` or JSON's.

    A date is an ``int`` of milliseconds since 1970. Bits that the client's own reader ignores are ignored. Numbers in
    text have at most 4300 characters; ``limit`` is that of :func:`unwrap`.

    Raises :class:`ConventionError` for a value that does not fit its flags, for flags that the convention does not
    know, and for every kind that would have to be unpickled, unmarshalled or the like: never is any of these done.
    Also raises what :func:`unwrap` raises.
    """
    convention = _convention(convention)
    form = _rows(flags, convention)[0].means
    if form.kind is Kind.UNKNOWN:
        raise ConventionError(f"{convention.name} does not know flags {flags:#x}")
    if form.read is None:
        raise ConventionError(f"{convention.name} flags {flags:#x} are {form.kind.value}, which is never read here")
    data = unwrap(value, flags, convention, limit=limit)
    try:
        return form.read(data)
    except ValueError as error:
        raise ConventionError(f"value is not {form.kind.value} ({form.description}): {error}") from None


def write(value: Scalar, convention: Convention | str) -> tuple[bytes, int]:
    """The bytes and flags with which the client would store this value, never compressed.

    Only forms that are read back equal are written: ``read(*write(x, c), c) == x``, NaN excepted. Types count
    exactly, so that no subclass loses what it is: pass ``str(x)``, ``int(x)``. Raises :class:`ConventionError` for a
    value that the convention has no such form for, and :class:`~memproto.LocalProtocolError` for an unknown name.
    """
    convention = _convention(convention)
    reason = ""
    for row in convention.kinds:
        if type(value) in row.writes and row.means.write is not None:
            try:
                data = row.means.write(value)
            except ValueError as error:
                reason = f": {error}"
            else:
                return (_BREAKS.sub(rb"\\\1", data) if convention.escapes else data), row.value
    raise ConventionError(f"{convention.name} has no form for this {type(value).__name__}{reason}")


def _convention(convention: Convention | str) -> Convention:
    if isinstance(convention, Convention):
        return convention
    if convention not in CONVENTIONS:
        raise LocalProtocolError(f"convention is {convention!r}, must be one of {', '.join(CONVENTIONS)}")
    return CONVENTIONS[convention]


def _rows(flags: int, convention: Convention) -> tuple[Bits[Form], Bits[Compression]]:
    if not 0 <= flags <= _MAX_FLAGS:
        raise LocalProtocolError(f"flags is {flags}, must be 0 to {_MAX_FLAGS}")
    kind = next((row for row in convention.kinds if row.matches(flags)), _UNKNOWN_KIND)
    return kind, next((row for row in convention.compressions if row.matches(flags)), _UNKNOWN_COMPRESSION)


def _decompressed(value: bytes, compression: Compression, limit: int) -> bytes:
    if compression is Compression.NONE:
        return value
    if compression not in WBITS:
        raise ConventionError(f"value is compressed: {compression.value}, which is not undone here")
    if compression is not Compression.LENGTH_ZLIB:
        return _inflated(value, WBITS[compression], limit)
    data = _inflated(value[_LENGTH:], WBITS[compression], limit)
    # In the byte order of the writer's host, which is unknown.
    lengths = (int.from_bytes(value[:_LENGTH], "little"), int.from_bytes(value[:_LENGTH], "big"))
    if len(data) not in lengths:
        raise ConventionError(f"value expands to {len(data)} bytes, its length says {lengths[0]} or {lengths[1]}")
    return data


def _inflated(data: bytes, wbits: int, limit: int) -> bytes:
    stream = zlib.decompressobj(wbits)
    try:
        # One more than the limit shows that there is more; and 0 would mean no limit.
        inflated = stream.decompress(data, min(limit, sys.maxsize - 1) + 1)
    except zlib.error as error:
        raise ConventionError(f"compressed value is damaged: {error}") from None
    if len(inflated) > limit:
        raise ConventionError(f"compressed value expands to more than {limit} bytes")
    if not stream.eof:
        raise ConventionError(f"compressed value of {len(data)} bytes is cut short")
    if stream.unused_data:
        raise ConventionError(f"{len(stream.unused_data)} bytes follow the compressed value")
    return inflated
