"""Journals of SQLite for tests."""

from __future__ import annotations

import math
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from memproto import Item
from memproto.engine import JournalState, StoredItem
from memproto.server.journal import SqliteJournal

NEVER = math.inf


def saved(key: bytes, value: bytes = b"v", cas: int = 0, expires: float = NEVER) -> StoredItem:
    return StoredItem(Item(key, value, 0, cas), expires)


@contextmanager
def journal(path: Path, *, full_sync: bool = False) -> Iterator[SqliteJournal]:
    opened = SqliteJournal(str(path), full_sync=full_sync)
    try:
        yield opened
    finally:
        opened.close()


def filled(path: Path, count: int = 300, size: int = 100) -> None:
    """A file with that many items, well formed and closed."""
    with journal(path) as opened:
        for at in range(count):
            opened.put(saved(b"key:%04d" % at, b"%04d" % at * (size // 4), at + 1))
        opened.commit(JournalState(count, NEVER))


@contextmanager
def no_room(size: int) -> Iterator[None]:
    """No file of this process may grow beyond ``size`` meanwhile: the system refuses to write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def loaded(opened: SqliteJournal) -> list[StoredItem]:
    """What is in the file, what was written last at the end."""
    return list(opened.newest_first())[::-1]
