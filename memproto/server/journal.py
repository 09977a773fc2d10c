"""The journal of ``--persist``: the items in a SQLite file, which outlives the process.

The journal collects the changes of the engine; :meth:`SqliteJournal.commit` writes all of them in one transaction, so
that one commit serves the requests of many clients. No reply may be sent before its changes are committed.

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
    open_journal,
    transaction,
    translate_errors,
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

# A key that is already there keeps its row, so that the index of keys need not be written.
_PUT = (
    "INSERT INTO items (seq, key, flags, cas, expires, base64, stale, crc, value) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (key) DO UPDATE SET seq = excluded.seq, flags = excluded.flags, cas = excluded.cas,"
    " expires = excluded.expires, base64 = excluded.base64, stale = excluded.stale, crc = excluded.crc,"
    " value = excluded.value"
)
_DISCARD = "DELETE FROM items WHERE key = ?"
# Rows whose number is at most that of ``dead`` are cleared; rows with a damaged number are not.
_ROWS = "SELECT id, length(value), (seq BETWEEN 1 AND ?) IS TRUE FROM items WHERE id > ? ORDER BY id"
_THERE = "(seq BETWEEN 1 AND ?) IS NOT TRUE"
_NEWEST_FIRST = "SELECT id, seq FROM items WHERE (seq BETWEEN 1 AND ?) IS NOT TRUE ORDER BY seq DESC LIMIT -1 OFFSET ?"
_COLUMNS = "SELECT seq, key, value, flags, cas, expires, base64, stale, crc FROM items WHERE "

#: After how many commits free pages are given back to the system, if they are a quarter of all, and how many at a
#: time; and how many when the file is closed. A page takes 10 to 70 microseconds.
_SHRINK_EVERY = 16
_SHRINK_PAGES = 64
_LAST_SHRINK_PAGES = 20_000

#: How many bytes of values of cleared items are deleted at a time; 4 MB take some 10 ms.
_SWEEP_BYTES = 4 * 1024 * 1024

#: A smaller difference between the clocks is ignored, in seconds.
_STEP = 1.0

_ITEM_NUMBERS = struct.Struct(">QQQd??")


class Undo(NamedTuple):
    """The items of the file, for changes that could not be written to it."""

    #: Whether a flush could not be written: then any item may differ, and all have to be loaded again.
    everything: bool
    #: Otherwise the keys of the changes, and their items in the file; ``None`` where there is none.
    items: dict[bytes, StoredItem | None]


class SqliteJournal:
    """The ``Journal`` of an engine in the file ``path``; every error is a :class:`JournalError`.

    The file is created if it does not exist. It is checked, and locked by this process until it is closed. ``stop`` is
    called now and then until all items are loaded; when it is true, :class:`Interrupted` is raised.

    ``clear`` and ``keep_newest`` only note up to which number in the order of writing the items are cleared. Their rows
    are deleted by :meth:`sweep`, or written again.
    """

    def __init__(self, path: str, *, full_sync: bool = False, stop: Callable[[], bool] = lambda: False) -> None:
        self._path = os.path.abspath(path)
        self._stop = stop
        self._waiting: dict[bytes, StoredItem | None] = {}
        self._cleared = False
        self._commits = 0
        #: What is wrong with the write-ahead log that an earlier process has left, if anything.
        self.fault: str | None = None
        with translate_errors(self._path):
            self.fault = log_fault(self._path)
        self._connection = open_journal(self._path, full_sync, stop)
        try:
            with translate_errors(self._path):
                self._state, self._steps = self._read_state()
                self._files = self._file_identity()
        except BaseException:
            self._connection.close()
            raise
        #: By how many seconds the wall clock is ahead of the clock of the engine; written by the next commit.
        self.ahead: float = self._state.ahead
        # The last row that :meth:`sweep` has looked at; None if no row is cleared.
        self._swept: int | None = 0 if self._state.dead else None

    # --- called by the engine

    def put(self, stored: StoredItem) -> None:
        """Note that this item was stored or changed."""
        key = stored.item.key
        # A key that is put again goes to the end: the order is that of the last writes.
        self._waiting.pop(key, None)
        self._waiting[key] = stored

    def discard(self, key: bytes) -> None:
        """Note that this item is removed."""
        self._waiting[key] = None

    def clear(self) -> None:
        """Note that all items are removed."""
        self._waiting.clear()
        self._cleared = True

    def newest_first(self) -> Iterator[StoredItem]:
        """All committed items, the last written first; read one at a time, because they may be large."""
        with translate_errors(self._path):
            execute = self._connection.execute
            rows = array("q", (row for row, _ in execute(_NEWEST_FIRST, (self._state.dead, 0))))
            for row in rows:
                if self._stop():
                    raise Interrupted(self._path)
                for columns in execute(_COLUMNS + "id = ?", (row,)).fetchall():
                    yield self._saved(*columns)

    def keep_newest(self, count: int) -> None:
        """Remove all items but the ``count`` that were written last."""
        with translate_errors(self._path):
            for _, dead in self._connection.execute(_NEWEST_FIRST, (self._state.dead, count)).fetchmany(1):
                state = self._state._replace(dead=dead)
                with transaction(self._connection):
                    write_state(self._connection, state)
                self._state, self._swept = state, 0

    # --- called by the server

    @property
    def dirty(self) -> bool:
        """Whether there are changes to commit."""
        return self._cleared or bool(self._waiting) or abs(self.ahead - self._state.ahead) >= _STEP

    def engine_state(self) -> JournalState:
        """The state of the last commit."""
        return JournalState(self._state.cas, self._state.flush_at)

    def finish_loading(self) -> None:
        """Note that all items are read: ``stop`` is not called any more."""
        self._connection.set_progress_handler(None, 0)
        self._stop = lambda: False

    def commit(self, engine_state: JournalState) -> None:
        """Write all changes, and the state of the engine. If that fails the file and the changes are as they were."""
        with translate_errors(self._path):
            self._check_file_in_place()
            with transaction(self._connection):
                state = self._write(engine_state)
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
        with translate_errors(self._path):
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
            self._check_file_in_place()
            with transaction(self._connection):
                self._connection.executemany("DELETE FROM items WHERE id = ?", gone)
                if ended:
                    write_state(self._connection, self._state._replace(dead=0))
        if ended:
            self._state = self._state._replace(dead=0)
        self._swept = None if ended else last

    def undo(self) -> Undo:
        """Drop all changes; the items of the file in place of the changed ones."""
        keys, everything = tuple(self._waiting), self._cleared
        self._forget()
        return Undo(everything, {} if everything else {key: self._find(key) for key in keys})

    def close(self) -> None:
        """Close the file, without writing the changes."""
        self._shrink(_LAST_SHRINK_PAGES)
        with translate_errors(self._path):
            self._connection.close()

    # --- private

    def _forget(self) -> None:
        self._waiting.clear()
        self._cleared = False

    def _check_file_in_place(self) -> None:
        try:
            seen = self._file_identity()
        except PermissionError:
            # The process has given up rights since it opened the file.
            return
        if seen != self._files:
            # All that is written now would be lost when the process ends.
            raise JournalError(IO_ERROR, f"{self._path}: the file or its log was removed or replaced")

    def _write(self, engine_state: JournalState) -> State:
        before = self._state
        dead = before.sequence if self._cleared else before.dead
        gone = [(key,) for key, saved in self._waiting.items() if saved is None]
        if gone:
            self._connection.executemany(_DISCARD, gone)
        if len(gone) < len(self._waiting):
            self._connection.executemany(_PUT, self._rows(before.sequence))
        sequence = before.sequence + len(self._waiting) - len(gone)
        state = State(sequence, engine_state.cas, engine_state.flush_at, dead, self.ahead)
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
            # The clock of this process starts from the wall clock; the times in the file are by another clock.
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
        with translate_errors(self._path):
            rows = self._connection.execute(_COLUMNS + "key = ? AND " + _THERE, (key, self._state.dead)).fetchall()
        return self._saved(*rows[0]) if rows else None

    # The columns of a damaged file may hold values of any type.
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
        # If this fails the file stays large, and nothing is lost.
        with suppress(sqlite3.Error):
            if number(self._connection, "freelist_count") * 4 > number(self._connection, "page_count"):
                # Not execute(), which would free one page only.
                self._connection.executescript(f"PRAGMA incremental_vacuum({pages})")

    def _file_identity(self) -> tuple[tuple[int, int], ...]:
        try:
            both = os.stat(self._path), os.stat(self._path + "-wal")
        except FileNotFoundError:
            return ()
        return tuple((each.st_dev, each.st_ino) for each in both)


def _checksum(sequence: int, saved: StoredItem) -> int:
    item = saved.item
    numbers = _ITEM_NUMBERS.pack(sequence, item.flags, item.cas, saved.expires, item.base64, saved.stale)
    return zlib.crc32(numbers, zlib.crc32(item.value, zlib.crc32(item.key)))
