"""The journal's long work in parts, smaller budgets, steps of the wall clock, older files, lost commits."""

from __future__ import annotations

import re
import sqlite3
import struct
import zlib
from pathlib import Path

import pytest

from memproto.engine import ITEM_OVERHEAD, Engine, JournalState
from memproto.server.journal import Interrupted, JournalError, SqliteJournal
from memproto.server.journal_log import log_fault
from tests.support.journals import NEVER, filled, journal, loaded, no_room, saved


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def rows(opened: SqliteJournal) -> int:
    ((count,),) = opened._connection.execute("SELECT count(*) FROM items").fetchall()
    assert isinstance(count, int)
    return count


def busy(opened: SqliteJournal) -> bool:
    return opened.pending


# --- clearing


def test_a_clear_deletes_no_row_until_it_is_swept_and_then_a_bounded_number(path: Path) -> None:
    filled(path, 300)
    with journal(path) as opened:
        assert not busy(opened)
        opened.clear()
        opened.put(saved(b"key:0100", b"again"))
        opened.put(saved(b"new"))
        opened.commit(JournalState(1, NEVER))
        assert (rows(opened), opened.pending) == (301, True)
        for left in (201, 102, 2):
            opened.sweep(100)
            assert rows(opened) == left
            assert loaded(opened) == [saved(b"key:0100", b"again"), saved(b"new")]
        opened.sweep(100)
        assert not busy(opened)
        opened.sweep(100)
        assert loaded(opened) == [saved(b"key:0100", b"again"), saved(b"new")]


def test_large_values_are_swept_a_few_at_a_time(path: Path) -> None:
    filled(path, 10, 1_000_000)
    with journal(path) as opened:
        opened.clear()
        opened.commit(JournalState(1, NEVER))
        opened.sweep()
        assert rows(opened) == 5
        opened.sweep()
        assert (rows(opened), opened.pending) == (0, True)
        opened.sweep()
        assert not busy(opened)


def test_what_is_not_swept_yet_is_swept_by_the_next_process(path: Path) -> None:
    filled(path, 30)
    with journal(path) as opened:
        opened.clear()
        opened.commit(JournalState(1, NEVER))
        opened.sweep(10)
    with journal(path) as opened:
        assert (rows(opened), loaded(opened), opened.pending) == (20, [], True)
        opened.sweep()
        assert (rows(opened), opened.pending) == (0, False)
    with journal(path) as opened:
        assert not busy(opened)


def test_a_sweep_that_fails_can_be_repeated(path: Path) -> None:
    filled(path, 30)
    with journal(path) as opened:
        opened.clear()
        opened.commit(JournalState(1, NEVER))
        with no_room(0), pytest.raises(JournalError):
            opened.sweep()
        assert (rows(opened), opened.pending) == (30, True)
        opened.sweep()
        assert (rows(opened), opened.pending) == (0, False)


# --- a smaller budget


def test_an_engine_with_a_smaller_budget_loads_the_newest_and_reads_no_more(path: Path) -> None:
    filled(path, 300, 100)
    budget = 100 * (ITEM_OVERHEAD + 108)
    with journal(path) as opened:
        engine = Engine(journal=opened, memory_limit=budget, item_size_max=1000)
        assert len(engine) == 100
        assert [each.item.key for each in loaded(opened)] == [b"key:%04d" % at for at in range(200, 300)]
        assert busy(opened)
        while opened.pending:
            opened.sweep(70)
        assert rows(opened) == 100
    with journal(path) as opened:
        assert len(loaded(opened)) == 100


def test_keeping_as_many_as_there_are_removes_none(path: Path) -> None:
    filled(path, 3)
    with journal(path) as opened:
        opened.keep_newest(3)
        assert not busy(opened)
        assert len(loaded(opened)) == 3


# --- stopping while it is read


def test_reading_stops_when_the_server_is_to_stop(path: Path) -> None:
    filled(path, 3)
    asked = 0

    def second() -> bool:
        nonlocal asked
        asked += 1
        return asked > 1

    opened = SqliteJournal(str(path), stop=second)
    found = []
    with pytest.raises(Interrupted) as caught:
        found += [each.item.key for each in opened.newest_first()]
    opened.close()
    assert (caught.value.code, asked) == (0, 2)
    assert "not read to the end" in str(caught.value)


def test_checking_a_large_file_stops_when_the_server_is_to_stop(path: Path) -> None:
    filled(path, 30_000, 20)
    with pytest.raises(Interrupted):
        SqliteJournal(str(path), stop=lambda: True)
    # Once all is read nobody is asked any more.
    opened = SqliteJournal(str(path))
    opened.finish_loading()
    assert len(loaded(opened)) == 30_000
    opened.close()


# --- steps of the wall clock


def test_a_step_of_the_wall_clock_is_known_to_the_next_process(path: Path) -> None:
    with journal(path) as opened:
        opened.put(saved(b"old", expires=1000.0))
        opened.put(saved(b"forever"))
        opened.commit(JournalState(2, 500.0))
        opened.ahead = 0.5
        assert (opened.dirty,) == (False,)
        opened.ahead = 86_400.0
        assert (opened.dirty,) == (True,)
        opened.commit(JournalState(2, 500.0))
        assert loaded(opened)[0].expires == 1000.0
    for _ in range(2):
        with journal(path) as opened:
            assert (opened.ahead, opened.dirty) == (0.0, False)
            assert opened.engine_state() == JournalState(2, 86_900.0)
            assert [each.expires for each in loaded(opened)] == [87_400.0, NEVER]
    with journal(path) as opened:
        opened.ahead = -86_400.0
        opened.commit(JournalState(2, NEVER))
    with journal(path) as opened:
        # Written by the second clock, so the first step is none of its.
        opened.put(saved(b"new", expires=2000.0))
        assert [each.expires for each in loaded(opened)] == [1000.0, NEVER]
        opened.ahead = 100.0
        opened.commit(JournalState(2, NEVER))
    with journal(path) as opened:
        assert [each.expires for each in loaded(opened)] == [1100.0, NEVER, 2100.0]


def test_a_damaged_step_is_found(path: Path) -> None:
    with journal(path) as opened:
        opened.ahead = 5.0
        opened.commit(JournalState(2, NEVER))
    with journal(path):
        pass
    for change in ("UPDATE clocks SET ahead = 6", "UPDATE clocks SET ahead = 'x'"):
        connection = sqlite3.connect(path)
        with connection:
            connection.execute(change)
        connection.close()
        with pytest.raises(JournalError, match="the row of marks or of a clock has changed"):
            SqliteJournal(str(path))


# --- a file of version 1


def _version_1(path: Path, crc: int | None = None, cas: int | str = 7) -> None:
    filled(path, 3)
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("DROP TABLE state")
        connection.execute("DROP TABLE clocks")
        connection.execute(
            "CREATE TABLE marks (id INTEGER PRIMARY KEY, seq INTEGER, cas INTEGER, flush_at REAL, crc INTEGER)"
        )
        right = zlib.crc32(struct.pack(">QQd", 3, 7, 99.5))
        connection.execute("INSERT INTO marks VALUES (1, 3, ?, 99.5, ?)", (cas, right if crc is None else crc))
        connection.execute("PRAGMA user_version = 1")
    connection.close()


def test_a_file_of_version_1_is_taken_over(path: Path) -> None:
    _version_1(path)
    for _ in range(2):
        with journal(path) as opened:
            assert opened.engine_state() == JournalState(7, 99.5)
            assert len(loaded(opened)) == 3
            opened.put(saved(b"new"))
            opened.commit(JournalState(7, 99.5))
            assert loaded(opened)[-1] == saved(b"new")
            opened.discard(b"new")
            opened.commit(JournalState(7, 99.5))


@pytest.mark.parametrize(("crc", "cas"), [(1, 7), (None, "seven")])
def test_a_damaged_file_of_version_1_is_refused_and_left_as_it_is(path: Path, crc: int | None, cas: int | str) -> None:
    _version_1(path, crc, cas)
    with pytest.raises(JournalError, match="the row of marks has changed"):
        SqliteJournal(str(path))
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchall() == [(1,)]
    connection.close()


# --- lost commits


def _log_of(path: Path) -> tuple[bytes, bytes]:
    """A file and the log of ten commits behind it, as a killed process leaves them."""
    with journal(path) as opened:
        for at in range(10):
            opened.put(saved(b"key%d" % at, bytes(5000), at))
            opened.commit(JournalState(at, NEVER))
        return path.read_bytes(), Path(f"{path}-wal").read_bytes()


def test_a_log_that_was_cut_short_has_no_fault(path: Path, tmp_path: Path) -> None:
    _, log = _log_of(path)
    other = tmp_path / "other"
    assert log_fault(str(other)) is None
    for length in (*range(100), *range(100, len(log), 1111), len(log)):
        Path(f"{other}-wal").write_bytes(log[:length])
        assert log_fault(str(other)) is None, length


def test_a_log_whose_header_has_changed_is_lost(path: Path, tmp_path: Path) -> None:
    _, log = _log_of(path)
    for at in (0, 7, 20, 31):
        tmp_path.joinpath("other-wal").write_bytes(log[:at] + bytes([log[at] ^ 0x10]) + log[at + 1 :])
        fault = log_fault(str(tmp_path / "other"))
        assert fault == "its header has changed, and all that was in it is lost", at


def test_a_page_of_a_log_that_has_changed_loses_it_and_the_commits_behind_it(path: Path, tmp_path: Path) -> None:
    _, log = _log_of(path)
    for at in (32 + 30, 32 + 8):  # in the page, and in the salt of its frame
        tmp_path.joinpath("other-wal").write_bytes(log[:at] + bytes([log[at] ^ 0x10]) + log[at + 1 :])
        fault = log_fault(str(tmp_path / "other"))
        assert fault is not None, at
        assert re.fullmatch(r"a page in it has changed; it and \d+ later commits are lost", fault)


@pytest.mark.untraced
def test_every_damage_of_a_log_behind_which_there_are_commits_is_told(path: Path, tmp_path: Path) -> None:
    data, log = _log_of(path)
    other = tmp_path / "other"
    told = 0
    for at in (*range(32), *range(32, len(log), 2101)):
        other.write_bytes(data)
        Path(f"{other}-wal").write_bytes(log[:at] + bytes([log[at] ^ 0x10]) + log[at + 1 :])
        fault = log_fault(str(other))
        opened = SqliteJournal(str(other))
        lost = len(loaded(opened)) < 10
        opened.close()
        assert opened.fault == fault
        assert fault is None or lost, at
        if fault is None:
            # Only in the last commit, where it looks like a write that was cut short, or where it does no harm.
            assert not lost or at > len(log) - 5 * 4120, at
        else:
            told += 1
    assert told > 30


def test_what_an_earlier_round_has_left_in_the_log_is_no_fault(path: Path, tmp_path: Path) -> None:
    with journal(path) as opened:
        for at in range(30):
            opened.put(saved(b"key%d" % at, bytes(5000), at))
            opened.commit(JournalState(at, NEVER))
        opened._connection.execute("PRAGMA wal_checkpoint").fetchall()
        for at in range(3):
            opened.put(saved(b"again%d" % at, bytes(5000), at))
            opened.commit(JournalState(at, NEVER))
        log = Path(f"{path}-wal").read_bytes()
    assert len(log) > 30 * 4000
    other = tmp_path / "other"
    Path(f"{other}-wal").write_bytes(log)
    assert log_fault(str(other)) is None
