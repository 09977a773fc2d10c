"""Rows of an explanation: the bytes of a field, its name, its value, what it means. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

__all__ = ["Row", "bytes_row", "format_rows", "text_row"]

#: The bytes in hex, the field's name, its value, what it means.
Row: TypeAlias = tuple[str, str, str, str]

# How many bytes of a field are shown, and how many of a text; a longer one is cut, and its length shown.
_SHOWN: Final = 16
_TEXT_SHOWN: Final = 60


def _cut(data: bytes, most: int) -> str:
    return repr(data) if len(data) <= most else f"{data[:most]!r}... ({len(data)} bytes)"


def bytes_row(name: str, data: bytes, meaning: str = "") -> Row:
    """Return the row of a field of bytes."""
    hexed = data.hex(" ") if len(data) <= _SHOWN else data[:_SHOWN].hex(" ") + " ..."
    return hexed, name, _cut(data, _SHOWN), meaning


def text_row(name: str, data: bytes, meaning: str = "") -> Row:
    """Return the row of a field that is text, without its bytes in hex."""
    return "", name, _cut(data, _TEXT_SHOWN), meaning


def format_rows(rows: Iterable[Row]) -> list[str]:
    """Return the rows as lines, in columns."""
    rows = list(rows)
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    return [
        "  "
        + "  ".join(cell.ljust(width) for cell, width in zip(row, (*widths, 0), strict=True) if width or cell).rstrip()
        for row in rows
    ]
