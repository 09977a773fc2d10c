"""The SQLite file of the journal: created, recognised and checked, or refused with the reason."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from memproto.server.errors import StartError
from memproto.server.journal_state import MARKS_TABLE, STATE_TABLES, upgrade

# The exit codes of sysexits.h.
DATA_ERROR, CANNOT_CREATE, IO_ERROR, TRY_LATER, NO_PERMISSION = 65, 73, 74, 75, 77

#: Distinguishes our files from those of other programs, in the header of each SQLite file: "memp".
APPLICATION = 0x6D656D70
#: The version of the tables below.
VERSION = 2

# The value comes last, so that the other columns are read without it. ``seq`` is the order of writing; ``crc`` is of
# all that is restored, because SQLite finds damage to its own structures and not to what it keeps in them.
_ITEMS = (
    "CREATE TABLE items (id INTEGER PRIMARY KEY, seq INTEGER, key BLOB NOT NULL UNIQUE, flags INTEGER, cas INTEGER,"
    " expires REAL, base64 INTEGER, stale INTEGER, crc INTEGER, value BLOB)"
)
#: The tables of each version, by their names.
TABLES: dict[int, tuple[str, ...]] = {1: (_ITEMS, MARKS_TABLE), VERSION: (STATE_TABLES[0], _ITEMS, *STATE_TABLES[1:])}

#: The log is written back to the tables when it has so many pages; more do not make it faster.
_LOG_PAGES = 4000
_PAGE = 4096
#: The memory for pages, in KiB; a smaller one makes stores slower.
_CACHE = 8192

_FORBIDDEN = (NO_PERMISSION, "the file and its folder must be readable and writable: ")
_DAMAGED = (DATA_ERROR, "the file is damaged: ")
_REASONS = {
    sqlite3.SQLITE_BUSY: (TRY_LATER, "another process uses the file: "),
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_FULL: (IO_ERROR, "no room is left: "),
    sqlite3.SQLITE_CANTOPEN: _FORBIDDEN,
    sqlite3.SQLITE_PERM: _FORBIDDEN,
    sqlite3.SQLITE_READONLY: _FORBIDDEN,
}


class JournalError(StartError):
    """The file cannot be used, or cannot be written; the text names the file and the reason."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Interrupted(JournalError):  # noqa: N818 - no error of the file
    """The server is to stop while it reads the file."""

    def __init__(self, path: str) -> None:
        super().__init__(0, f"{path}: not read to the end, because the server is to stop")


def damaged(path: str, how: str) -> JournalError:
    """The error for a journal whose content has changed."""
    return JournalError(DATA_ERROR, f"{path}: the file is damaged: {how}")


@contextmanager
def translate_errors(path: str) -> Iterator[None]:
    """Turn what SQLite and the system raise into a :class:`JournalError`."""
    try:
        yield
    except UnicodeError as error:
        # SQLite's message may quote a damaged file.
        raise damaged(path, str(error)) from error
    except (sqlite3.Error, OSError, OverflowError) as error:
        # The lowest byte is the kind of error, the others are details.
        number = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if number == sqlite3.SQLITE_INTERRUPT:
            raise Interrupted(path) from error
        code, reason = _REASONS.get(number, (IO_ERROR, ""))
        raise JournalError(code, f"{path}: {reason}{error}") from error


@contextmanager
def transaction(connection: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    """Commit all that is written in this context; after an exception, nothing of it."""
    connection.execute(f"BEGIN {kind}")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite may have rolled back already.
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def number(connection: sqlite3.Connection, pragma: str) -> int:
    """The number that a pragma without argument gives."""
    ((value,),) = connection.execute(f"PRAGMA {pragma}").fetchall()
    return int(value)


def open_journal(path: str, full_sync: bool, stop: Callable[[], bool]) -> sqlite3.Connection:
    """A connection to the file, which is created if need be, and which no other process can use from now on.

    ``stop`` is called now and then; when it is true, this function or a later statement raises :class:`Interrupted`.
    """
    _prepare(path)
    with translate_errors(path):
        connection = sqlite3.connect(path, timeout=0, isolation_level=None)
        # Only a damaged file has text in it, which need not be UTF-8.
        connection.text_factory = bytes
        # Every few milliseconds: to read a large file takes seconds.
        connection.set_progress_handler(stop, 100_000)
        try:
            _configure(connection, path, full_sync)
        except BaseException:
            connection.close()
            raise
    return connection


def _configure(connection: sqlite3.Connection, path: str, full_sync: bool) -> None:
    for pragma in (
        "locking_mode = EXCLUSIVE",
        "cell_size_check = ON",
        "trusted_schema = OFF",
        f"cache_size = {-_CACHE}",
        f"wal_autocheckpoint = {_LOG_PAGES}",
        f"journal_size_limit = {_LOG_PAGES * _PAGE}",
        f"synchronous = {'FULL' if full_sync else 'NORMAL'}",
        f"fullfsync = {'ON' if full_sync else 'OFF'}",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    if not number(connection, "page_count"):
        _create(connection)
    version = number(connection, "user_version")
    _verify(connection, path, version)
    if version < VERSION:
        with transaction(connection):
            if not upgrade(connection):
                raise damaged(path, "the row of marks has changed")
            connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    # Where only reading is allowed, nothing has failed yet.
    with transaction(connection):
        pass


def _create(connection: sqlite3.Connection) -> None:
    # In one transaction, so that the file is empty or complete. auto_vacuum can be set before the first write.
    with transaction(connection, "DEFERRED"):
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        for table in TABLES[VERSION]:
            connection.execute(table)


def _verify(connection: sqlite3.Connection, path: str, version: int) -> None:
    tables = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
    if tuple(sql for (sql,) in tables) != tuple(table.encode() for table in TABLES[version]):
        raise damaged(path, "its tables are not those that were made")
    ((verdict,),) = connection.execute("PRAGMA integrity_check(1)").fetchall()
    if verdict != b"ok":
        raise damaged(path, " ".join(verdict.decode(errors="replace").split()))


def _prepare(path: str) -> None:
    """Make sure that the file exists and may be opened: a journal, an empty file, or a new one for its owner only."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        _recognise(path)
    except FileNotFoundError as error:
        raise JournalError(CANNOT_CREATE, f"{path}: there is no folder {os.path.dirname(path)}") from error
    except OSError as error:
        code = NO_PERMISSION if isinstance(error, PermissionError) else CANNOT_CREATE
        raise JournalError(code, f"{path}: cannot be created: {error.strerror}") from error


def _recognise(path: str) -> None:
    """Read the header before SQLite does: opening might write to the file of another program."""
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            what = "a folder" if stat.S_ISDIR(mode) else "something else"
            raise JournalError(CANNOT_CREATE, f"{path}: must be a file, is {what}")
        # Where SQLite may only read it goes on, and fails later with a worse message.
        with open(path, "r+b") as file:
            header = file.read(100)
    except OSError as error:
        raise JournalError(NO_PERMISSION, f"{path}: cannot be opened: {error.strerror}") from error
    if not header:
        return
    if header[:16] != b"SQLite format 3\0":
        raise JournalError(DATA_ERROR, f"{path}: no journal of this server but some other file, which is left as it is")
    if header[68:72] != APPLICATION.to_bytes(4, "big"):
        raise JournalError(DATA_ERROR, f"{path}: a SQLite file of some other program, which is left as it is")
    version = int.from_bytes(header[60:64], "big")
    if version not in TABLES:
        known = f"this server knows versions 1 to {VERSION}"
        raise JournalError(DATA_ERROR, f"{path}: version {version} of the journal, {known}")
