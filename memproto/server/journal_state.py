"""What the journal keeps beside the items, in two small tables."""

from __future__ import annotations

import math
import sqlite3
import struct
import zlib
from typing import Any, NamedTuple

#: The tables of version 2; version 1 had ``marks`` instead.
STATE_TABLES = (
    "CREATE TABLE clocks (seq INTEGER PRIMARY KEY, ahead REAL, crc INTEGER)",
    "CREATE TABLE state (id INTEGER PRIMARY KEY, seq INTEGER, cas INTEGER, flush_at REAL, dead INTEGER, ahead REAL,"
    " crc INTEGER)",
)
MARKS_TABLE = "CREATE TABLE marks (id INTEGER PRIMARY KEY, seq INTEGER, cas INTEGER, flush_at REAL, crc INTEGER)"

# SQLite's integers are signed.
_TOP = 1 << 63
_ALL = (1 << 64) - 1
_MARK_NUMBERS = struct.Struct(">QQd")
_STATE_NUMBERS = struct.Struct(">QQdQd")
_CLOCK_NUMBERS = struct.Struct(">Qd")


def signed(unsigned: int) -> int:
    """An unsigned 64-bit number as SQLite takes it."""
    return (unsigned ^ _TOP) - _TOP


def unsigned(number: int) -> int:
    """The number again."""
    return number & _ALL


class State(NamedTuple):
    """The row of ``state``."""

    #: The last number of the order of writing that was given.
    sequence: int = 0
    #: The last CAS that was given, and when a flush that was put off is due.
    cas: int = 0
    flush_at: float = math.inf
    #: Items up to this number in the order of writing are gone, though their rows may be there.
    dead: int = 0
    #: By how many seconds the wall clock was ahead of the clock by which items expire.
    ahead: float = 0.0


class Step(NamedTuple):
    """A row of ``clocks``: items up to ``sequence`` were written by a clock that was ``ahead`` seconds behind."""

    sequence: int
    ahead: float


def read_state(connection: sqlite3.Connection) -> State | None:
    """The state; ``None`` if its row is damaged. Raises ``sqlite3.Error``."""
    rows = connection.execute("SELECT seq, cas, flush_at, dead, ahead, crc FROM state").fetchall()
    return _state(*rows[0]) if rows else State()


# Anything may stand in the columns of a damaged file.
def _state(seq: Any, cas: Any, flush_at: Any, dead: Any, ahead: Any, crc: Any) -> State | None:
    try:
        state = State(seq, unsigned(cas), flush_at, dead, ahead)
        return state if crc == zlib.crc32(_STATE_NUMBERS.pack(*state)) else None
    except (TypeError, struct.error):
        return None


def write_state(connection: sqlite3.Connection, state: State) -> None:
    """Write the state. Raises ``sqlite3.Error``."""
    crc = zlib.crc32(_STATE_NUMBERS.pack(*state))
    row = (state.sequence, signed(state.cas), state.flush_at, state.dead, state.ahead, crc)
    connection.execute("INSERT OR REPLACE INTO state VALUES (1, ?, ?, ?, ?, ?, ?)", row)


def read_steps(connection: sqlite3.Connection) -> list[Step] | None:
    """The steps of the clock; ``None`` if a row is damaged. Raises ``sqlite3.Error``."""
    steps = []
    for seq, ahead, crc in connection.execute("SELECT seq, ahead, crc FROM clocks ORDER BY seq"):
        try:
            intact = crc == zlib.crc32(_CLOCK_NUMBERS.pack(seq, ahead))
        except (TypeError, struct.error):
            intact = False
        if not intact:
            return None
        steps.append(Step(seq, ahead))
    return steps


def write_step(connection: sqlite3.Connection, step: Step) -> None:
    """Add a step of the clock; to the one before it, if nothing was written since. Raises ``sqlite3.Error``."""
    crc = zlib.crc32(_CLOCK_NUMBERS.pack(*step))
    connection.execute("INSERT OR REPLACE INTO clocks VALUES (?, ?, ?)", (*step, crc))


def upgrade(connection: sqlite3.Connection) -> bool:
    """Turn the tables of version 1 into those of version 2; false if a row is damaged. Raises ``sqlite3.Error``."""
    state = State()
    for seq, cas, flush_at, crc in connection.execute("SELECT seq, cas, flush_at, crc FROM marks").fetchall():
        try:
            intact = crc == zlib.crc32(_MARK_NUMBERS.pack(seq, unsigned(cas), flush_at))
        except (TypeError, struct.error):
            intact = False
        if not intact:
            return False
        state = State(seq, unsigned(cas), flush_at)
    connection.execute("DROP TABLE marks")
    for table in STATE_TABLES:
        connection.execute(table)
    write_state(connection, state)
    return True
