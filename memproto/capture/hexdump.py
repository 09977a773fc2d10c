"""Hex dumps as bytes or packets: bare digits, xxd, hexdump -C, and tcpdump -x, -X and -XX. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from memproto.capture.packets import ETHERTYPES, TYPED_LINKS, Frame, LinkType

__all__ = ["decode_hex", "frames_of_dump", "is_packet_row"]

# Bytes as pairs of digits, in groups of any even length.
_DIGITS: Final = re.compile(r"(?:[0-9a-fA-F]{2})+")
_SEPARATORS: Final = re.compile(r"[\s:,]+")
# Two halves of eight bytes, as hexdump -C has them; else groups up to the first place with two blanks.
_BYTES: Final = re.compile(
    r"(?:[0-9a-fA-F]{2} ){8} (?:[0-9a-fA-F]{2}(?: |$))+|(?:[0-9a-fA-F]{2})+(?: (?:[0-9a-fA-F]{2})+(?=\s|$))*|$"
)
_ROW: Final = re.compile(r"([0-9a-fA-F]{4,16})(:?)(?:\s+|$)(.*)")
_PACKET_ROW: Final = re.compile(r"\s+0x([0-9a-fA-F]{4,8}):\s*(.*)")
_SAME: Final = "*"
# The time at the beginning of a line of tcpdump: with a date, without one, or as seconds since 1970.
_CLOCK: Final = re.compile(r"(?:(\d{4}-\d\d-\d\d) )?(\d\d):(\d\d):(\d\d\.\d+) ")
_SECONDS: Final = re.compile(r"(\d{1,12}\.\d+) ")


def decode_hex(text: str) -> bytes | None:
    """Return the bytes of bare digits or of a dump with offsets; ``None`` if the text is neither."""
    rows = _rows(text)
    if rows is not None:
        return rows
    groups = [group for group in _SEPARATORS.split(text) if group]
    if groups and all(_DIGITS.fullmatch(group) for group in groups):
        return bytes.fromhex("".join(groups))
    return None


def _rows(text: str) -> bytes | None:
    """Return the bytes of rows whose offsets agree with their lengths."""
    data = bytearray()
    # Where the current dump begins in data; the length of the last row; whether rows like the last are left out.
    begin, last, same = 0, 0, False
    for line in text.splitlines():
        if not line.strip():
            continue
        if line.strip() == _SAME and last:
            same = True
            continue
        row = _ROW.match(line.strip())
        if row is None:
            return None
        offset = int(row[1], 16)
        found = _BYTES.match(row[3])
        if found is None:
            return None
        if offset == 0 and not same:
            begin = len(data)
        elif same and last and offset > len(data) - begin:
            data += bytes(data[-last:]) * ((offset - len(data) + begin) // last)
        # What looks like more bytes were the characters of the row above.
        surplus = len(data) - begin - offset
        if 0 < surplus <= last:
            del data[-surplus:]
        if offset != len(data) - begin:
            return None
        added = bytes.fromhex(found[0])
        data += added
        last, same = len(added), False
    return bytes(data) if data else None


def is_packet_row(line: str) -> bool:
    """Return whether this is a line of bytes as tcpdump -x, -X or -XX prints it."""
    return _PACKET_ROW.match(line) is not None


def frames_of_dump(lines: Iterable[str]) -> Iterator[Frame]:
    """Yield the packets of a dump of tcpdump -x, -X or -XX. Lines of any other form are passed over.

    Times are those of the day if the dump has no date. The link type is recognised by the bytes.
    """
    time = 0.0
    frame = bytearray()
    for line in lines:
        row = _PACKET_ROW.match(line)
        if row is None or int(row[1], 16) == 0:
            if frame:
                yield _dumped(time, bytes(frame))
                frame.clear()
            if row is None:
                time = _time_of(line, time)
                continue
        found = _BYTES.match(row[2])
        # The characters behind a short row are never taken for bytes: tcpdump has 16 bytes in a row.
        frame += bytes.fromhex(found[0])[:16] if found else b""
    if frame:
        yield _dumped(time, bytes(frame))


def _time_of(line: str, before: float) -> float:
    clock = _CLOCK.match(line)
    if clock is not None:
        day = datetime.fromisoformat(clock[1]).replace(tzinfo=UTC).timestamp() if clock[1] else 0.0
        return day + int(clock[2]) * 3600 + int(clock[3]) * 60 + float(clock[4])
    seconds = _SECONDS.match(line)
    return before if seconds is None else float(seconds[1])


def _dumped(time: float, frame: bytes) -> Frame:
    """Return the frame with its link type: -X leaves the link layer out, -XX has it."""
    version = frame[0] >> 4
    length = int.from_bytes(frame[2:4], "big") if version == 4 else int.from_bytes(frame[4:6], "big") + 40
    if version not in (4, 6) or length != len(frame):
        for link, (where, size) in TYPED_LINKS.items():
            ethertype = int.from_bytes(frame[where : where + 2], "big")
            if ethertype in ETHERTYPES and frame[size : size + 1].hex()[:1] in ("4", "6"):
                return Frame(time, link, frame)
    return Frame(time, LinkType.RAW, frame)
