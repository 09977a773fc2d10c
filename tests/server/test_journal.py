"""The SQLite journal: what it keeps, in which order, what a failed commit leaves, and how large it gets."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memproto import Item
from memproto.engine import JournalState, StoredItem
from memproto.server.journal import JournalError, SqliteJournal, Undo
from tests.support.journals import NEVER, filled, journal, loaded, no_room, saved
from tests.support.reached import reached, reaches


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


# --- what it keeps


EXACT = [
    StoredItem(Item(b"plain", b"value"), NEVER),
    StoredItem(Item(b"k", b"", 0, 1), 1800000000.0),
    StoredItem(Item(b"flags", b"v", 2**32 - 1, 2**63 - 1), 1800000000.25),
    StoredItem(Item(b"more", b"v", 2**64 - 1, 2**63), 0.5),
    StoredItem(Item(bytes(range(250)), bytes(range(256)), 1, 2**64 - 1, base64=True), NEVER),
    StoredItem(Item(b"stale", b"\0" * 5000, 7, 8), NEVER, stale=True),
    StoredItem(Item(b"large", b"x" * 1_000_000, 7, 9), NEVER),
]


@pytest.mark.parametrize("full_sync", [False, True])
def test_all_is_kept_exactly_and_in_the_order_of_writing(path: Path, full_sync: bool) -> None:
    with journal(path, full_sync=full_sync) as opened:
        for each in EXACT:
            opened.put(each)
        opened.commit(JournalState(2**64 - 1, 1800000000.5))
    with journal(path) as opened:
        assert loaded(opened) == EXACT
        assert opened.engine_state() == JournalState(2**64 - 1, 1800000000.5)
        opened.put(EXACT[1])
        opened.put(EXACT[0])
        opened.discard(b"more")
        opened.put(EXACT[1])
        opened.commit(JournalState(5, NEVER))
    with journal(path) as opened:
        assert loaded(opened) == [*EXACT[2:3], *EXACT[4:], EXACT[0], EXACT[1]]
        assert opened.engine_state() == JournalState(5, NEVER)


def test_a_new_file_is_empty_and_for_its_owner_only(path: Path) -> None:
    with journal(path) as opened:
        assert loaded(opened) == []
        assert opened.engine_state() == JournalState(0, NEVER)
        assert not opened.dirty
        opened.commit(JournalState(1, NEVER))
        assert [each.stat().st_mode & 0o777 for each in (path, Path(f"{path}-wal"))] == [0o600, 0o600]
    assert os.listdir(path.parent) == ["journal"]


def test_an_empty_file_is_taken_and_a_name_is_only_a_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.touch()
    filled(path, 3)
    monkeypatch.chdir(path.parent)
    with journal(Path(":memory:")) as opened:
        opened.put(saved(b"a"))
        opened.commit(JournalState(1, NEVER))
    with journal(path.parent / ":memory:") as opened:
        assert loaded(opened) == [saved(b"a")]


def test_nothing_is_written_before_the_commit(path: Path) -> None:
    with journal(path) as opened:
        assert not opened.dirty
        opened.discard(b"none")
        dirty = [opened.dirty]
        opened.undo()
        opened.clear()
        assert [*dirty, opened.dirty] == [True, True]
        opened.undo()
        opened.put(saved(b"a"))
        assert loaded(opened) == []
        opened.commit(JournalState(1, NEVER))
        assert not opened.dirty
        opened.put(saved(b"lost"))
    with journal(path) as opened:
        assert loaded(opened) == [saved(b"a")]


def test_a_clear_takes_what_was_before_and_leaves_what_comes_after(path: Path) -> None:
    filled(path)
    with journal(path) as opened:
        opened.put(saved(b"before"))
        opened.clear()
        opened.put(saved(b"key:0001", b"after"))
        opened.commit(JournalState(1, NEVER))
        assert loaded(opened) == [saved(b"key:0001", b"after")]


def test_loading_does_not_hold_all_at_once(path: Path) -> None:
    filled(path, count=200, size=100_000)
    with journal(path) as opened:
        tracemalloc.start()
        try:
            assert sum(len(each.item.value) for each in opened.newest_first()) == 20_000_000
            assert tracemalloc.get_traced_memory()[1] < 1_000_000
        finally:
            tracemalloc.stop()


def test_a_load_may_be_left_unfinished(path: Path) -> None:
    filled(path)
    with journal(path) as opened:
        assert next(opened.newest_first()).item.key == b"key:0299"
        opened.put(saved(b"a"))
        opened.commit(JournalState(301, NEVER))


# --- any history


KEYS = st.sampled_from([b"a", b"b", b"c", b"d"])
STEPS = st.one_of(
    st.builds(
        StoredItem,
        st.builds(
            Item,
            KEYS,
            st.binary(max_size=20) | st.binary(min_size=1, max_size=4).map(lambda each: each * 2000),
            st.integers(0, 2**64 - 1),
            st.integers(0, 2**64 - 1),
            st.booleans(),
        ),
        st.floats(allow_nan=False, min_value=0),
        st.booleans(),
    ),
    KEYS,
    st.sampled_from(["clear", "commit", "failing commit", "sweep"]),
    st.sampled_from(["reopen", "kill", "keep"]),
    # The wall clock is set to another time.
    st.integers(-1000, 1000),
)


_STEPS = (*("StoredItem", "bytes", "int", "clear", "commit", "failing commit", "reopen", "kill", "sweep", "keep"),)


@reaches(**dict.fromkeys(_STEPS, 0.03))
@given(
    st.lists(STEPS, min_size=8, max_size=25),
    st.lists(st.builds(JournalState, st.integers(0, 2**64 - 1), st.floats(0)), min_size=25),
)
def test_any_history_ends_as_it_does_in_a_dict(
    steps: list[StoredItem | bytes | str | int], marks: list[JournalState]
) -> None:
    kept: dict[bytes, StoredItem] = {}
    now: dict[bytes, StoredItem] = {}
    told = JournalState(0, NEVER)
    # By how much each item expires later than it was written, and how far the clock of the process is behind.
    shifts: dict[bytes, int] = {}
    ahead = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "0")
        opened = SqliteJournal(str(path))
        try:
            for at, step in enumerate(steps):
                reached(step if isinstance(step, str) else type(step).__name__)
                if isinstance(step, StoredItem):
                    opened.put(step)
                    now.pop(step.item.key, None)
                    now[step.item.key] = step
                elif isinstance(step, bytes):
                    opened.discard(step)
                    now.pop(step, None)
                elif step == "clear":
                    opened.clear()
                    now = {}
                elif step == "commit":
                    shifts = {key: shift for key, shift in shifts.items() if now.get(key) is kept.get(key)}
                    opened.commit(marks[at])
                    kept, told, ahead = dict(now), marks[at], int(opened.ahead)
                elif step == "failing commit":
                    with no_room(0), pytest.raises(JournalError):
                        opened.commit(marks[at])
                    opened.ahead = float(ahead)
                    undo(opened, now, kept)
                    now = dict(kept)
                elif step == "sweep":
                    opened.sweep(1)
                elif step == "keep":
                    if not opened.dirty:
                        opened.keep_newest(2)
                        kept = dict(list(kept.items())[-2:])
                        now = dict(kept)
                elif isinstance(step, int):
                    opened.ahead = float(step)
                else:
                    if step == "kill":
                        # What the next process finds: the files, as they are while this one has them open.
                        copy = Path(folder, f"after {at}")
                        shutil.copy(path, copy)
                        shutil.copy(f"{path}-wal", f"{copy}-wal")
                        path = copy
                    opened.close()
                    opened, now = SqliteJournal(str(path)), dict(kept)
                    shifts = {key: shifts.get(key, 0) + ahead for key in kept}
                    told, ahead = JournalState(told.cas, told.flush_at + ahead), 0
                assert loaded(opened) == [
                    each._replace(expires=each.expires + shifts.get(key, 0)) for key, each in kept.items()
                ]
                assert opened.engine_state() == told
        finally:
            opened.close()


def undo(opened: SqliteJournal, now: dict[bytes, StoredItem], kept: dict[bytes, StoredItem]) -> None:
    """See that what is told repairs a cache that has gone on without the file."""
    everything, items = opened.undo()
    assert not opened.dirty
    if everything:
        assert items == {}
        return
    repaired = {**now, **{key: each for key, each in items.items() if each is not None}}
    held = {key: each for key, each in repaired.items() if items.get(key, each) is not None}
    assert {key: each.item for key, each in held.items()} == {key: each.item for key, each in kept.items()}


# --- what goes wrong while it runs


def test_a_commit_that_fails_leaves_the_file_as_it_was_and_can_be_repeated(path: Path) -> None:
    filled(path, 3)
    before = [saved(b"key:%04d" % at, b"%04d" % at * 25, at + 1) for at in range(3)]
    with journal(path) as opened:
        opened.put(saved(b"new", bytes(100_000)))
        opened.put(saved(b"key:0001", b"changed"))
        opened.discard(b"key:0002")
        opened.discard(b"none")
        with no_room(50_000), pytest.raises(JournalError, match="/journal: ") as caught:
            opened.commit(JournalState(9, 1.0))
        assert caught.value.code == 74
        assert opened.dirty
        assert opened.engine_state() == JournalState(3, NEVER)
        assert loaded(opened) == before
        opened.commit(JournalState(9, 1.0))
        assert loaded(opened) == [before[0], saved(b"new", bytes(100_000)), saved(b"key:0001", b"changed")]


def test_undo_tells_what_the_file_has(path: Path) -> None:
    filled(path, 3)
    with journal(path) as opened:
        opened.put(saved(b"new"))
        opened.discard(b"key:0002")
        assert opened.undo() == Undo(False, {b"new": None, b"key:0002": saved(b"key:0002", b"0002" * 25, 3)})
        assert not opened.dirty
        opened.clear()
        opened.put(saved(b"new"))
        assert opened.undo() == Undo(True, {})
        assert not opened.dirty


def until_it_is_full(opened: SqliteJournal) -> int:
    """How many items of 50,000 bytes were committed, one by one; the next one waits."""
    for stored in range(100):
        opened.put(saved(b"key:%02d" % stored, bytes(50_000)))
        try:
            opened.commit(JournalState(stored, NEVER))
        except JournalError as error:
            assert (error.code, "/journal: no room is left: " in str(error)) == (74, True)  # noqa: PT017
            return stored
    return 100


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root of Linux may mount")
def test_commit_on_a_full_disk_fails_and_keeps_what_was_committed(tmp_path: Path) -> None:
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", tmp_path], check=False).returncode:
        pytest.skip("cannot mount a small disk here")
    try:
        with journal(tmp_path / "journal") as opened:
            stored = until_it_is_full(opened)
            assert 5 < stored < 20
            assert opened.undo() == Undo(False, {b"key:%02d" % stored: None})
            kept = loaded(opened)
            assert kept == [saved(b"key:%02d" % at, bytes(50_000)) for at in range(stored)]
        with journal(tmp_path / "journal") as opened:
            assert loaded(opened) == kept
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.parametrize("name", ["journal", "journal-wal"])
def test_a_file_that_was_removed_takes_no_more(path: Path, name: str) -> None:
    with journal(path) as opened:
        opened.put(saved(b"a"))
        opened.commit(JournalState(1, NEVER))
        (path.parent / name).unlink()
        opened.put(saved(b"b"))
        with pytest.raises(JournalError, match=r"/journal: the file or its log was removed or replaced$") as caught:
            opened.commit(JournalState(2, NEVER))
        assert caught.value.code == 74
        assert opened.undo() == Undo(False, {b"b": None})
        assert loaded(opened) == [saved(b"a")]


def test_a_file_that_was_replaced_takes_no_more(path: Path) -> None:
    filled(path)
    with journal(path) as opened:
        shutil.copy(path, f"{path}2")
        os.replace(f"{path}2", path)
        with pytest.raises(JournalError, match=r"was removed or replaced$"):
            opened.commit(JournalState(301, NEVER))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up")
def test_a_process_that_gives_up_its_rights_keeps_the_file(path: Path) -> None:
    with journal(path) as opened:
        os.seteuid(65534)
        try:
            opened.put(saved(b"a"))
            opened.commit(JournalState(1, NEVER))
            opened.close()
        finally:
            os.seteuid(0)
    with journal(path) as opened:
        assert loaded(opened) == [saved(b"a")]


@pytest.mark.parametrize(("full_sync", "number"), [(False, 1), (True, 2)])
def test_full_sync_waits_for_the_disk_at_every_commit(path: Path, full_sync: bool, number: int) -> None:
    with journal(path, full_sync=full_sync) as opened:
        assert opened._connection.execute("PRAGMA synchronous").fetchone() == (number,)


def test_value_that_sqlite_refuses_fails_the_commit(path: Path) -> None:
    with journal(path) as opened:
        opened._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1000)  # a billion otherwise
        opened.put(saved(b"k", bytes(1001)))
        with pytest.raises(JournalError, match="string or blob too big"):
            opened.commit(JournalState(1, NEVER))
        assert opened.undo() == Undo(False, {b"k": None})


# --- how large it gets


def test_the_file_does_not_grow_with_rewriting(path: Path) -> None:
    filled(path, 500, 1000)
    once = path.stat().st_size
    assert 500_000 < once < 800_000
    with journal(path) as opened:
        for turn in range(100):
            for at in range(500):
                opened.put(saved(b"key:%04d" % at, b"%04d" % turn * 250, turn))
            opened.commit(JournalState(turn, NEVER))
            # The log grows to 4,000 pages, and by what one commit writes beyond.
            assert Path(f"{path}-wal").stat().st_size < 18_000_000
        assert sum(1 for _ in loaded(opened)) == 500
    assert path.stat().st_size < 1.2 * once


@pytest.mark.parametrize("clear", [False, True])
def test_the_file_shrinks_when_items_go(path: Path, clear: bool) -> None:
    filled(path, 2000, 1000)
    assert path.stat().st_size > 2_000_000
    with journal(path) as opened:
        if clear:
            opened.clear()
        else:
            for at in range(2000):
                opened.discard(b"key:%04d" % at)
        opened.commit(JournalState(1, NEVER))
        while opened.pending:
            opened.sweep()
        pages = opened._connection.execute("PRAGMA page_count").fetchone()[0]
        for turn in range(64):
            opened.commit(JournalState(turn, NEVER))
        # 64 pages at every 16th commit.
        assert opened._connection.execute("PRAGMA page_count").fetchone()[0] == pages - 4 * 64
    assert path.stat().st_size < 50_000
