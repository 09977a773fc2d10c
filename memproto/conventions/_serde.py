"""Whole values in and out as one client has them: a pair of functions, for ``memproto.commands.Commands`` or others."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple

from memproto._fields import check_least
from memproto.conventions._forms import Compression, ConventionError, Form, Kind, _read_json
from memproto.conventions._table import CONVENTIONS, Bits, Convention
from memproto.conventions._values import LIMIT, WBITS, read, write
from memproto.errors import LocalProtocolError
from memproto.serde import Serde


class Objects(NamedTuple):
    """Turns objects into bytes and back, in place of the client's own serializer. Both may raise ValueError."""

    dump: Callable[[object], bytes]
    load: Callable[[bytes], object]


def _dump_json(value: object) -> bytes:
    try:
        data = json.dumps(value, allow_nan=False).encode("ascii")
        if _read_json(data) == value:
            return data
    except (TypeError, RecursionError) as error:
        raise ValueError(f"it is not JSON: {error}") from None
    raise ValueError("JSON would make another value of it")


#: JSON instead of pickles or Ruby's Marshal, for clients that are configured to do the same.
JSON_OBJECTS: Final = Objects(_dump_json, _read_json)

#: The names of :func:`serde`. ``raw`` is bytes alone.
_NAMED: Final = {
    "python-binary-memcached": CONVENTIONS["bmemcached"],
    # With a serde of its own, because without one it is raw; it reads both what that compresses and what it does not.
    "pymemcache": CONVENTIONS["pymemcache-compressed"],
    "pylibmc": CONVENTIONS["pylibmc"],
    "dalli": CONVENTIONS["dalli"],
}
_RAW: Final = "raw"
_COMPRESSED: Final = (Compression.ZLIB, Compression.GZIP)
_SERIALIZED: Final = frozenset({Kind.PICKLE, Kind.MARSHAL})


def serde(
    client: str | Convention, *, objects: Objects | None = None, compress_over: int | None = None, limit: int = LIMIT
) -> Serde[object]:
    """The pair of functions that turns values to what this client reads, and what it has written to values.

    ``client`` is ``python-binary-memcached``, ``pymemcache``, ``pylibmc``, ``dalli``, ``raw`` or a :class:`Convention`.
    ``raw`` takes bytes and gives bytes, whatever their flags: it is pymemcache without a serde too. The others take
    the types that :func:`write` takes and, if the convention has a form of JSON, whatever JSON makes the same value of
    again. ``objects`` does the rest, in the place where the client has what it pickles or marshals.

    Values of more than ``compress_over`` bytes are compressed, as the client does it, if that makes them smaller;
    without it none are. ``limit`` is the most bytes that a compressed value may expand to.

    Both functions raise :class:`ConventionError`: ``dump`` for a value that has no form, ``load`` for everything that
    :func:`read` raises it for. An unknown name, and what the convention has no bits for, is a
    :class:`~memproto.LocalProtocolError`.
    """
    check_least("limit", limit, 0)
    if compress_over is not None:
        check_least("compress_over", compress_over, 0)
    if client == _RAW:
        if objects is not None or compress_over is not None:
            raise LocalProtocolError("raw has no flags for objects or compression")
        return _RAW_SERDE
    convention = _convention(client)
    row = _object_row(convention, objects)
    if objects is not None and row is not None:
        form = Form(Kind.PRIVATE, "by the serializer given", objects.load)
        kinds = tuple(replace(bits, means=form) if bits is row else bits for bits in convention.kinds)
        convention = replace(convention, kinds=kinds)
    dump_object = (objects or JSON_OBJECTS).dump
    compress = _compressor(convention, compress_over)

    def dump(value: object) -> tuple[bytes, int]:
        if row is None or _has_form(value, convention):
            # It raises for any other type.
            data, flags = write(value, convention)  # type: ignore[arg-type]
        else:
            try:
                data, flags = dump_object(value), row.value
            except ValueError as error:
                raise ConventionError(
                    f"{convention.name} has no form for this {type(value).__name__}: {error}"
                ) from None
        return compress(data, flags)

    def load(data: bytes, flags: int) -> object:
        return read(data, flags, convention, limit=limit)

    return Serde(dump, load)


def _convention(client: str | Convention) -> Convention:
    if isinstance(client, Convention):
        return client
    names: list[object] = list(_NAMED)
    if client not in names:
        raise LocalProtocolError(f"client is {client!r}, must be one of {_RAW}, {', '.join(_NAMED)}")
    return _NAMED[client]


def _object_row(convention: Convention, objects: Objects | None) -> Bits[Form] | None:
    """What flags objects have: where the client would put them, or JSON if it has that itself."""
    wanted = frozenset({Kind.JSON}) if objects is None else _SERIALIZED
    row = next((bits for bits in convention.kinds if bits.means.kind in wanted), None)
    if objects is not None and row is None:
        raise LocalProtocolError(f"{convention.name} has no flags for objects of a serializer")
    return row


def _has_form(value: object, convention: Convention) -> bool:
    return any(type(value) in bits.writes for bits in convention.kinds)


def _compressor(convention: Convention, over: int | None) -> Callable[[bytes, int], tuple[bytes, int]]:
    if over is None:
        return lambda data, flags: (data, flags)
    row = next((bits for bits in convention.compressions if bits.means in _COMPRESSED), None)
    if row is None:
        raise LocalProtocolError(f"{convention.name} has no flags for compression that is known here")
    added, wbits = row.value, WBITS[row.means]

    def compress(data: bytes, flags: int) -> tuple[bytes, int]:
        if len(data) > over:
            smaller = zlib.compress(data, wbits=wbits)
            if len(smaller) < len(data):
                return smaller, flags | added
        return data, flags

    return compress


def _dump_raw(value: object) -> tuple[bytes, int]:
    if not isinstance(value, bytes):
        raise ConventionError(f"raw has no form for this {type(value).__name__}")
    return value, 0


_RAW_SERDE: Final[Serde[object]] = Serde(_dump_raw, lambda data, _: data)
