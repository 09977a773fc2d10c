"""From construct declarations to ``struct`` packers: the one place where the fast path is derived.

construct states the layout; it does not parse packets at run time (see ``docs/design.md``). Only flat,
big-endian, integer declarations can be derived, anything else is refused when it is declared.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Protocol

from construct import FormatField, Renamed
from construct import Struct as Declared

from memproto._fields import BYTES_LIKE, check_value
from memproto.errors import LocalProtocolError

_INTEGER_CODES = frozenset("BHLQbhlq")


class Declaration(Protocol):
    """What is asked of a declaration: a flat ``construct.Struct`` of named big-endian integers."""

    def sizeof(self) -> int:
        """The size in bytes."""
        ...

    def parse(self, data: bytes) -> object:
        """Construct's own interpretation, used by tests as the reference."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a layout: its name, ``struct`` code, size in bytes and meaning."""

    name: str
    code: str
    size: int
    meaning: str


def _field(subcon: object, declaration: object) -> Field:
    if not isinstance(subcon, Renamed) or not subcon.name:
        raise TypeError(f"{declaration!r} is not a flat struct of named fields: {subcon!r}")
    inner, meaning = subcon.subcon, subcon.docs
    while isinstance(inner, Renamed):
        inner, meaning = inner.subcon, meaning or inner.docs
    if not isinstance(inner, FormatField) or inner.fmtstr[0] != ">" or inner.fmtstr[1:] not in _INTEGER_CODES:
        raise TypeError(f"field {subcon.name} of {declaration!r} is not a big-endian integer: {inner!r}")
    return Field(str(subcon.name), str(inner.fmtstr[1:]), inner.sizeof(), str(meaning))


class Layout:
    """A declaration with the packer derived from it.

    ``declaration`` is a flat ``construct.Struct`` of named big-endian integer fields (``TypeError`` if not).
    ``size`` is its length in bytes, ``fields`` describes its fields in order, ``packer`` is the equivalent
    ``struct.Struct``.
    """

    __slots__ = ("declaration", "fields", "packer", "size")

    def __init__(self, declaration: Declaration) -> None:
        if not isinstance(declaration, Declared):
            raise TypeError(f"{declaration!r} is not a construct.Struct")
        self.declaration: Declaration = declaration
        self.fields: tuple[Field, ...] = tuple(_field(subcon, declaration) for subcon in declaration.subcons)
        if len({field.name for field in self.fields}) != len(self.fields):
            raise TypeError(f"{declaration!r} has two fields of one name")
        self.packer: struct.Struct = struct.Struct(">" + "".join(field.code for field in self.fields))
        self.size: int = self.packer.size

    def __repr__(self) -> str:
        return f"Layout({', '.join(f'{field.name}: {field.size}' for field in self.fields)})"

    def unpack(self, data: bytes) -> dict[str, int]:
        """The fields by name. ``data`` must be exactly ``size`` bytes, else :class:`LocalProtocolError`."""
        check_value("extras", data, BYTES_LIKE)
        if len(data) != self.size:
            raise LocalProtocolError(f"extras are {len(data)} bytes, this layout has {self.size}")
        return dict(zip((field.name for field in self.fields), self.packer.unpack(data), strict=True))

    def pack(self, **values: int) -> bytes:
        """The bytes of these fields; a missing, surplus or out-of-range one is a :class:`LocalProtocolError`."""
        names = [field.name for field in self.fields]
        if sorted(values) != sorted(names):
            raise LocalProtocolError(f"fields given are {sorted(values)}, this layout has {sorted(names)}")
        return self.pack_checked(*(values[name] for name in names))

    def pack_checked(self, *values: int) -> bytes:
        """The bytes of these fields, given in order; out of range is a :class:`LocalProtocolError`."""
        try:
            return self.packer.pack(*values)
        except struct.error:
            raise self.misfit(*values) from None

    def misfit(self, *values: object) -> LocalProtocolError:
        """The error that names the first of these values that does not fit its field."""
        for field, value in zip(self.fields, values, strict=True):
            if not isinstance(value, int):
                return LocalProtocolError(f"{field.name} is {value!r}, must be an integer")
            bits = field.size * 8 - field.code.islower()
            low, high = (-(1 << bits) if field.code.islower() else 0), (1 << bits) - 1
            if not low <= value <= high:
                return LocalProtocolError(f"{field.name} is {value}, must be {low} to {high}")
        raise AssertionError("all values fit")
