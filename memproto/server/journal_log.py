"""Whether commits in the write-ahead log of a SQLite file are lost, which SQLite itself does not tell.

SQLite reads the log up to the first page that does not fit its checksum, and takes what follows for the rest of a write
that was cut short. That it is when the process was killed. It is not if whole commits follow: then the log has been
damaged, or the system lost power and had not yet written all of it.
"""

from __future__ import annotations

import os
import struct

# https://www.sqlite.org/fileformat2.html#walformat: the magic number tells the order of bytes of the checksums.
_HEADER = struct.Struct(">8I")
_FRAME = struct.Struct(">6I")
_WORDS = {0x377F0682: struct.Struct("<II"), 0x377F0683: struct.Struct(">II")}
_VERSION = 3_007_000
_MASK = (1 << 32) - 1


def log_fault(path: str) -> str | None:
    """What is wrong with the log of the file ``path``, ``None`` if nothing can be told. Raises OSError."""
    log = path + "-wal"
    if not os.path.exists(log) or os.path.getsize(log) < _HEADER.size:
        return None
    with open(log, "rb") as file:
        header = file.read(_HEADER.size)
        magic, version, page, _, *salts, first, second = _HEADER.unpack(header)
        words = _WORDS.get(magic)
        sums = (0, 0) if words is None else _checksum(words, header[:24], (0, 0))
        if words is None or version != _VERSION or sums != (first, second):
            return "its header has changed, and all that was in it is lost"
        lost = _count_lost_commits(file.read(), page, tuple(salts), words, sums)
    return f"a page in it has changed; it and {lost} later commits are lost" if lost else None


def _count_lost_commits(
    frames: bytes, page: int, salts: tuple[int, ...], words: struct.Struct, sums: tuple[int, int]
) -> int:
    """How many whole commits stand behind a frame that does not fit."""
    lost = 0
    broken = False
    size = _FRAME.size + page
    for at in range(0, len(frames) - size + 1, size):
        _, pages, *own, first, second = _FRAME.unpack_from(frames, at)
        if tuple(own) != salts:
            # From here on it is what an earlier round of the log has left, unless this page is the damage.
            broken = True
            sums = first, second
            continue
        body = frames[at : at + 8] + frames[at + _FRAME.size : at + size]
        # Each frame goes on from the checksum in the one before it, also if that one is damaged.
        if _checksum(words, body, sums) != (first, second):
            broken = True
        elif broken and pages:
            lost += 1
        sums = first, second
    return lost


def _checksum(words: struct.Struct, data: bytes, sums: tuple[int, int]) -> tuple[int, int]:
    first, second = sums
    for one, other in words.iter_unpack(data):
        first = (first + one + second) & _MASK
        second = (second + other + first) & _MASK
    return first, second
