"""Dumps of all items, in parts."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterator
from itertools import islice

from memproto.engine._items import Entry, Items, stored_size
from memproto.model import AdminReply

_END = b"END"
# What memcached writes as a percent sign and two digits.
_RESERVED = re.compile(rb"[^A-Za-z0-9_.~-]")
#: So many bytes memcached answers to ``stats cachedump`` at most, the last line and a NUL included.
_CACHEDUMP_BYTES = 2 * 1024 * 1024
_CACHEDUMP_END = 6
# What cannot stand in a line.
_NOT_IN_LINES = re.compile(rb"[\x00-\x20\x7f]")

Line = Callable[[Entry], bytes | None]


class Dump:
    """The reply to ``lru_crawler metadump`` or ``stats cachedump``, in parts.

    Together the lines of all parts are the lines of the reply. Items that are stored or removed between two parts
    may be in the dump or not; each item that stays is in it once, as it is when its part is read.
    """

    def __init__(self, items: Items, line: Line, most_lines: int = sys.maxsize, most_bytes: int = sys.maxsize) -> None:
        self._items = items
        self._line = line
        self._lines_left = most_lines
        self._bytes_left = most_bytes
        # Most dumps of a few lines end before all keys are needed.
        self._keys: Iterator[bytes] | None = None
        #: Whether there are no more parts.
        self.done: bool = False

    def read(self, now: float, most: int = 1000) -> AdminReply:
        """The next part, from the next ``most`` items; it may have no lines. The last part ends with ``END``.

        ``now`` is in Unix seconds. Call it until ``done``; after that there are no lines.
        """
        if self.done:
            return AdminReply(())
        if self._keys is None:
            self._keys = iter(self._items.keys())
        entries = self._items.entries
        lines: list[bytes] = []
        looked_at = 0
        for key in islice(self._keys, most):
            looked_at += 1
            entry = entries.get(key)
            line = None if entry is None or entry.expires <= now else self._line(entry)
            if line is None:
                continue
            self._bytes_left -= len(line) + 2
            if self._bytes_left < 0:
                break
            lines.append(line)
            self._lines_left -= 1
            if not self._lines_left:
                break
        if looked_at < most or self._bytes_left < 0 or not self._lines_left:
            self.close()
            lines.append(_END)
        return AdminReply(tuple(lines))

    def close(self) -> None:
        """Give it up, if its reader is gone; then the engine can begin another."""
        self.done = True
        self._keys = None


def cachedump(items: Items, limit: int) -> Dump:
    """``stats cachedump``: keys and sizes, at most ``limit`` of them (0 for any number) and 2 MB."""
    return Dump(items, _cachedump_line, limit or sys.maxsize, _CACHEDUMP_BYTES - _CACHEDUMP_END)


def metadump(items: Items) -> Dump:
    """``lru_crawler metadump``: the details of each item, whose key may have any bytes."""
    return Dump(items, _metadump_line)


def _cachedump_line(entry: Entry) -> bytes | None:
    item = entry.item
    # A key that cannot stand in a line is left out.
    if _NOT_IN_LINES.search(item.key):
        return None
    expires = 0 if entry.expires == math.inf else int(entry.expires)
    return b"ITEM %b [%d b; %d s]" % (item.key, len(item.value), expires)


def _metadump_line(entry: Entry) -> bytes:
    item = entry.item
    key = _RESERVED.sub(lambda found: b"%%%02X" % ord(found[0]), item.key)
    return b"key=%b exp=%d la=%d cas=%d fetch=%b cls=1 size=%d" % (
        key,
        -1 if entry.expires == math.inf else int(entry.expires),
        int(entry.accessed),
        item.cas,
        b"yes" if entry.fetched else b"no",
        stored_size(item.key, len(item.value), item.flags),
    )
