"""The journal of ``--persist``: the items in a SQLite file, which outlives the process.

What the engine tells is only remembered; :meth:`SqliteJournal.commit` writes all of it in one transaction, so that one
commit does for the requests of many clients. No answer may leave before the commit that covers it.

A commit survives the death of the process at any moment. It survives the loss of power too with ``full_sync``, which
waits for the disk at every commit; without, the last commits may be lost then, but never a part of one.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import zlib
from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from memproto import Item
from memproto.engine import JournalState, StoredItem
from memproto.server.journal_file import (
    IO_ERROR,
    Interrupted,
    JournalError,
    damaged,
    number,
    opened,
    told,
    transaction,
)
from memproto.server.journal_log import log_fault
from memproto.server.journal_state import (
    State,
    Step,
    read_state,
    read_steps,
    signed,
    unsigned,
    write_state,
    write_step,
)

__all__ = ["Interrupted", "JournalError", "SqliteJournal", "Undo"]

# One that is there keeps its row, so that the index of keys need not be written.
_PUT = (
    "INSERT INTO items (seq, key, flags, cas, expires, base64, stale, crc, value) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (key) DO UPDATE SET seq = excluded.seq, flags = excluded.flags, cas = excluded.cas,"
    " expires = excluded.expires, base64 = excluded.base64, stale = excluded.stale, crc = excluded.crc,"
    " value = excluded.value"
)
_DISCARD = "DELETE FROM items WHERE key = ?"
# A row up to the number that is dead is gone; one with a damaged number is not.
_ROWS = "SELECT id, length(value), (seq BETWEEN 1 AND ?) IS TRUE FROM items WHERE id > ? ORDER BY id"
_THERE = "(seq BETWEEN 1 AND ?) IS NOT TRUE"
_NEWEST_FIRST = "SELECT id, seq FROM items WHERE (seq BETWEEN 1 AND ?) IS NOT TRUE ORDER BY seq DESC LIMIT -1 OFFSET ?"
_COLUMNS = "SELECT seq, key, value, flags, cas, expires, base64, stale, crc FROM items WHERE "

#: Every so many commits free pages are given back to the system, so many at a time, if they are a quarter of all;
#: and when the file is closed. A page takes 10 to 70 microseconds.
_SHRINK_EVERY = 16
_SHRINK_PAGES = 64
_LAST_SHRINK_PAGES = 20_000

#: So many bytes of values of cleared items are deleted at a time; 4 MB take some 10 ms.
_SWEEP_BYTES = 4 * 1024 * 1024

#: A smaller difference between the clocks is none, in seconds.
_STEP = 1.0

_ITEM_NUMBERS = struct.Struct(">QQQd??")


class Undo(NamedTuple):
    """What the file has instead of what could not be written to it."""

    #: A flush could not be written: any item may differ, and all have to be loaded again.
    everything: bool
    #: Otherwise the keys that waited and what the file has of them; ``None`` is nothing.
    items: dict[bytes, StoredItem | None]


class SqliteJournal:
    """The ``Journal`` of an engine in the file ``path``; every error is a :class:`JournalError`.

    The file is made if it is not there. It is checked, and belongs to this process until it is closed. ``stop`` is
    asked now and then, until all is loaded, whether the server is to stop; then :class:`Interrupted` is raised.

    ``clear`` and ``keep_newest`` only note up to which number in the order of writing the items are gone. Their rows
    are deleted by :meth:`sweep`, or written again.
    """

    def __init__(self, path: str, *, full_sync: bool = False, stop: Callable[[], bool] = lambda: False) -> None:
        self._path = os.path.abspath(path)
        self._stop = stop
        self._waiting: dict[bytes, StoredItem | None] = {}
        self._cleared = False
        self._commits = 0
        #: What is wrong with the log that an earlier process has left, if anything.
        self.fault: str | None = None
        with told(self._path):
            self.fault = log_fault(self._path)
        self._connection = opened(self._path, full_sync, stop)
        try:
            with told(self._path):
                self._state, self._steps = self._read_state()
                self._files = self._seen()
        except BaseException:
            self._connection.close()
            raise
        #: By how many seconds the wall clock is ahead of that of the engine, as it is to be written.
        self.ahead: float = self._state.ahead
        # Behind which row the next to be swept are; None if there are none.
        self._swept: int | None = 0 if self._state.dead else None

    # --- what the engine calls

    def put(self, stored: StoredItem) -> None:
        """Remember that this was stored or changed."""
        key = stored.item.key
        # What is put again goes to the end: the order is that of the last writes.
        self._waiting.pop(key, None)
        self._waiting[key] = stored

    def discard(self, key: bytes) -> None:
        """Remember that this key is gone."""
        self._waiting[key] = None

    def clear(self) -> None:
        """Remember that all are gone."""
        self._waiting.clear()
        self._cleared = True

    def newest_first(self) -> Iterator[StoredItem]:
        """What is committed, what was written last first; one at a time, because it may be large."""
        with told(self._path):
            execute = self._connection.execute
            rows = array("q", (row for row, _ in execute(_NEWEST_FIRST, (self._state.dead, 0))))
            for row in rows:
                if self._stop():
                    raise Interrupted(self._path)
                for columns in execute(_COLUMNS + "id = ?", (row,)).fetchall():
                    yield self._saved(*columns)

    def keep_newest(self, count: int) -> None:
        """Remove all but the ``count`` that were written last."""
        with told(self._path):
            for _, dead in self._connection.execute(_NEWEST_FIRST, (self._state.dead, count)).fetchmany(1):
                state = self._state._replace(dead=dead)
                with transaction(self._connection):
                    write_state(self._connection, state)
                self._state, self._swept = state, 0

    # --- what the server calls

    @property
    def dirty(self) -> bool:
        """Whether anything waits for a commit."""
        return self._cleared or bool(self._waiting) or abs(self.ahead - self._state.ahead) >= _STEP

    def marks(self) -> JournalState:
        """The marks of the last commit."""
        return JournalState(self._state.cas, self._state.flush_at)

    def loaded(self) -> None:
        """All is read, so do not ask any more whether to stop."""
        self._connection.set_progress_handler(None, 0)
        self._stop = lambda: False

    def commit(self, marks: JournalState) -> None:
        """Write all that waits, and the marks. If that fails the file is as it was, and all goes on waiting."""
        with told(self._path):
            self._look()
            with transaction(self._connection):
                state = self._write(marks)
        if self._cleared:
            self._swept = 0
        self._forget()
        self._state = state
        self._commits += 1
        if self._commits % _SHRINK_EVERY == 0:
            self._shrink(_SHRINK_PAGES)

    @property
    def pending(self) -> bool:
        """Whether there may be rows of cleared items left, for :meth:`sweep` to delete."""
        return self._swept is not None

    def sweep(self, most: int = 1000) -> None:
        """Delete the rows of cleared items among the next ``most`` rows, or among fewer if their values are large."""
        if self._swept is None:
            return
        seen = size = 0
        gone = []
        with told(self._path):
            last = self._swept
            rows = self._connection.execute(_ROWS, (self._state.dead, self._swept))
            for last, length, is_gone in rows:
                seen += 1
                if is_gone:
                    gone.append((last,))
                    size += length
                if seen == most or size >= _SWEEP_BYTES:
                    break
            ended = seen < most and size < _SWEEP_BYTES
            rows.close()
            self._look()
            with transaction(self._connection):
                self._connection.executemany("DELETE FROM items WHERE id = ?", gone)
                if ended:
                    write_state(self._connection, self._state._replace(dead=0))
        if ended:
            self._state = self._state._replace(dead=0)
        self._swept = None if ended else last

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

    def _write(self, marks: JournalState) -> State:
        before = self._state
        dead = before.sequence if self._cleared else before.dead
        gone = [(key,) for key, saved in self._waiting.items() if saved is None]
        if gone:
            self._connection.executemany(_DISCARD, gone)
        if len(gone) < len(self._waiting):
            self._connection.executemany(_PUT, self._rows(before.sequence))
        sequence = before.sequence + len(self._waiting) - len(gone)
        state = State(sequence, marks.cas, marks.flush_at, dead, self.ahead)
        write_state(self._connection, state)
        return state

    def _rows(self, sequence: int) -> Iterator[tuple[object, ...]]:
        for saved in self._waiting.values():
            if saved is not None:
                item = saved.item
                sequence += 1
                numbers = (signed(item.flags), signed(item.cas), saved.expires, item.base64, saved.stale)
                yield sequence, item.key, *numbers, _checksum(sequence, saved), item.value

    def _read_state(self) -> tuple[State, list[Step]]:
        state, steps = read_state(self._connection), read_steps(self._connection)
        if state is None or steps is None:
            raise damaged(self._path, "the row of marks or of a clock has changed")
        if abs(state.ahead) >= _STEP:
            # The clock of this process begins with the wall clock, and that of what is in the file did not.
            if steps and steps[-1].sequence == state.sequence:
                steps[-1] = Step(state.sequence, steps[-1].ahead + state.ahead)
            else:
                steps.append(Step(state.sequence, state.ahead))
            state = state._replace(flush_at=state.flush_at + state.ahead, ahead=0.0)
            with transaction(self._connection):
                write_step(self._connection, steps[-1])
                write_state(self._connection, state)
        return state, steps

    def _find(self, key: bytes) -> StoredItem | None:
        with told(self._path):
            rows = self._connection.execute(_COLUMNS + "key = ? AND " + _THERE, (key, self._state.dead)).fetchall()
        return self._saved(*rows[0]) if rows else None

    # Anything may stand in the columns of a damaged file.
    def _saved(
        self, seq: Any, key: Any, value: Any, flags: Any, cas: Any, expires: Any, base64: Any, stale: Any, crc: Any
    ) -> StoredItem:
        saved = None
        try:
            saved = StoredItem(Item(key, value, unsigned(flags), unsigned(cas), bool(base64)), expires, bool(stale))
            intact = _checksum(seq, saved) == crc
        except (TypeError, struct.error):
            intact = False
        if saved is None or not intact:
            raise damaged(self._path, f"the item {key!r} has changed")
        if not self._steps:
            return saved
        ahead = sum(step.ahead for step in self._steps if seq <= step.sequence)
        return saved._replace(expires=saved.expires + ahead)

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


def _checksum(sequence: int, saved: StoredItem) -> int:
    item = saved.item
    numbers = _ITEM_NUMBERS.pack(sequence, item.flags, item.cas, saved.expires, item.base64, saved.stale)
    return zlib.crc32(numbers, zlib.crc32(item.value, zlib.crc32(item.key)))
