"""The journal of ``--persist``: the items in a SQLite file, which outlives the process.

What the engine tells is only remembered; :meth:`SqliteJournal.commit` writes all of it in one transaction, so that one
commit does for the requests of many clients. No answer may leave before the commit that covers it.

A commit survives the death of the process at any moment. It survives the loss of power too with ``full_sync``, which
waits for the disk at every commit; without, the last commits may be lost then, but never a part of one.
"""

from __future__ import annotations

import math
import os
import sqlite3
import struct
import zlib
from array import array
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from examples.server._journal_file import IO_ERROR, JournalError, damaged, number, opened, told, transaction
from memproto import Item
from memproto.engine import Marks, Saved

__all__ = ["JournalError", "SqliteJournal", "Undo"]

# One that is there keeps its row, so that the index of keys need not be written.
_PUT = (
    "INSERT INTO items (seq, key, flags, cas, expires, base64, stale, crc, value) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (key) DO UPDATE SET seq = excluded.seq, flags = excluded.flags, cas = excluded.cas,"
    " expires = excluded.expires, base64 = excluded.base64, stale = excluded.stale, crc = excluded.crc,"
    " value = excluded.value"
)
_DISCARD = "DELETE FROM items WHERE key = ?"
_MARK = "INSERT OR REPLACE INTO marks VALUES (1, ?, ?, ?, ?)"
_COLUMNS = "SELECT seq, key, value, flags, cas, expires, base64, stale, crc FROM items WHERE "

#: Every so many commits free pages are given back to the system, so many at a time, if they are a quarter of all;
#: and when the file is closed. A page takes 10 to 70 microseconds.
_SHRINK_EVERY = 16
_SHRINK_PAGES = 64
_LAST_SHRINK_PAGES = 20_000

# SQLite's integers are signed.
_TOP = 1 << 63
_ALL = (1 << 64) - 1
_ITEM_NUMBERS = struct.Struct(">QQQd??")
_MARK_NUMBERS = struct.Struct(">QQd")


class Undo(NamedTuple):
    """What the file has instead of what could not be written to it."""

    #: A flush could not be written: any item may differ, and all have to be loaded again.
    everything: bool
    #: Otherwise the keys that waited and what the file has of them; ``None`` is nothing.
    items: dict[bytes, Saved | None]


class SqliteJournal:
    """The ``Journal`` of an engine in the file ``path``; every error is a :class:`JournalError`.

    The file is made if it is not there. It is checked, and belongs to this process until it is closed.
    """

    def __init__(self, path: str, *, full_sync: bool = False) -> None:
        self._path = os.path.abspath(path)
        self._waiting: dict[bytes, Saved | None] = {}
        self._cleared = False
        self._commits = self._sequence = 0
        self._marks = Marks(0, math.inf)
        self._connection = opened(self._path, full_sync)
        try:
            with told(self._path):
                self._read_marks()
                self._files = self._seen()
        except BaseException:
            self._connection.close()
            raise

    # --- what the engine calls

    def put(self, saved: Saved) -> None:
        """Remember that this was stored or changed."""
        key = saved.item.key
        # What is put again goes to the end: the order is that of the last writes.
        self._waiting.pop(key, None)
        self._waiting[key] = saved

    def discard(self, key: bytes) -> None:
        """Remember that this key is gone."""
        self._waiting[key] = None

    def clear(self) -> None:
        """Remember that all are gone."""
        self._waiting.clear()
        self._cleared = True

    def load(self) -> Iterator[Saved]:
        """What is committed, in the order in which it was written; one at a time, because it may be large."""
        with told(self._path):
            execute = self._connection.execute
            rows = array("q", (row for (row,) in execute("SELECT id FROM items ORDER BY seq")))
            for row in rows:
                for columns in execute(_COLUMNS + "id = ?", (row,)).fetchall():
                    yield self._saved(*columns)

    # --- what the server calls

    @property
    def dirty(self) -> bool:
        """Whether anything waits for a commit."""
        return self._cleared or bool(self._waiting)

    def marks(self) -> Marks:
        """The marks of the last commit."""
        return self._marks

    def commit(self, marks: Marks) -> None:
        """Write all that waits, and the marks. If that fails the file is as it was, and all goes on waiting."""
        before = self._sequence
        try:
            with told(self._path):
                self._look()
                with transaction(self._connection):
                    self._write(marks)
        except BaseException:
            self._sequence = before
            raise
        self._forget()
        self._marks = marks
        self._commits += 1
        if self._commits % _SHRINK_EVERY == 0:
            self._shrink(_SHRINK_PAGES)

    def undo(self) -> Undo:
        """Forget what waits, and tell what the file has instead."""
        keys, everything = tuple(self._waiting), self._cleared
        self._forget()
        return Undo(everything, {} if everything else {key: self._find(key) for key in keys})

    def close(self) -> None:
        """Close the file; what waits is not written."""
        self._shrink(_LAST_SHRINK_PAGES)
        with told(self._path):
            self._connection.close()

    # --- inside

    def _forget(self) -> None:
        self._waiting.clear()
        self._cleared = False

    def _look(self) -> None:
        try:
            seen = self._seen()
        except PermissionError:
            # The process has given up rights since, but not the file.
            return
        if seen != self._files:
            # What is written to it now would be gone with the process.
            raise JournalError(IO_ERROR, f"{self._path}: the file or its log was removed or replaced")

    def _write(self, marks: Marks) -> None:
        execute, executemany = self._connection.execute, self._connection.executemany
        if self._cleared:
            execute("DELETE FROM items")
        gone = [(key,) for key, saved in self._waiting.items() if saved is None]
        if gone:
            executemany(_DISCARD, gone)
        if len(gone) < len(self._waiting):
            executemany(_PUT, self._rows())
        crc = zlib.crc32(_MARK_NUMBERS.pack(self._sequence, marks.cas, marks.flush_at))
        execute(_MARK, (self._sequence, _signed(marks.cas), marks.flush_at, crc))

    def _rows(self) -> Iterator[tuple[object, ...]]:
        for saved in self._waiting.values():
            if saved is not None:
                item = saved.item
                self._sequence += 1
                numbers = (_signed(item.flags), _signed(item.cas), saved.expires, item.base64, saved.stale)
                yield self._sequence, item.key, *numbers, _checksum(self._sequence, saved), item.value

    def _read_marks(self) -> None:
        for sequence, cas, flush_at, crc in self._connection.execute("SELECT seq, cas, flush_at, crc FROM marks"):
            try:
                marks = Marks(cas & _ALL, flush_at)
                intact = crc == zlib.crc32(_MARK_NUMBERS.pack(sequence, *marks))
            except (TypeError, struct.error):
                intact = False
            if not intact:
                raise damaged(self._path, "the row of marks has changed")
            self._sequence, self._marks = sequence, marks

    def _find(self, key: bytes) -> Saved | None:
        with told(self._path):
            rows = self._connection.execute(_COLUMNS + "key = ?", (key,)).fetchall()
        return self._saved(*rows[0]) if rows else None

    # Anything may stand in the columns of a damaged file.
    def _saved(
        self, seq: Any, key: Any, value: Any, flags: Any, cas: Any, expires: Any, base64: Any, stale: Any, crc: Any
    ) -> Saved:
        try:
            saved = Saved(Item(key, value, flags & _ALL, cas & _ALL, bool(base64)), expires, bool(stale))
            intact = _checksum(seq, saved) == crc
        except (TypeError, struct.error):
            intact = False
        if not intact:
            raise damaged(self._path, f"the item {key!r} has changed")
        return saved

    def _shrink(self, pages: int) -> None:
        # If it fails the file stays large, which is no loss.
        with suppress(sqlite3.Error):
            if number(self._connection, "freelist_count") * 4 > number(self._connection, "page_count"):
                # Not execute(), which takes one step only, and that is one page.
                self._connection.executescript(f"PRAGMA incremental_vacuum({pages})")

    def _seen(self) -> tuple[tuple[int, int], ...]:
        try:
            both = os.stat(self._path), os.stat(self._path + "-wal")
        except FileNotFoundError:
            return ()
        return tuple((each.st_dev, each.st_ino) for each in both)


def _signed(unsigned: int) -> int:
    return (unsigned ^ _TOP) - _TOP


def _checksum(sequence: int, saved: Saved) -> int:
    item = saved.item
    numbers = _ITEM_NUMBERS.pack(sequence, item.flags, item.cas, saved.expires, item.base64, saved.stale)
    return zlib.crc32(numbers, zlib.crc32(item.value, zlib.crc32(item.key)))
