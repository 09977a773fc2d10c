"""Which files the SQLite journal refuses, and how; each damage is really done."""

from __future__ import annotations

import math
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from memproto.engine import JournalState
from memproto.server.journal import JournalError
from tests.support.journals import NEVER, filled, journal, loaded, no_room, saved


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def refusal(path: Path) -> tuple[int, str]:
    """The code and the text with which this file is refused, by opening it or by loading it."""
    with pytest.raises(JournalError) as caught, journal(path) as opened:
        loaded(opened)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(f"{path}: ")
    return caught.value.code, text.removeprefix(f"{path}: ")


# --- what is refused at the start


def test_disk_without_room_is_refused_and_leaves_no_hindrance(path: Path) -> None:
    with no_room(0):
        assert refusal(path)[0] == 74
    # What is left there is no hindrance.
    filled(path)


def test_file_in_a_missing_folder_is_refused(tmp_path: Path) -> None:
    code, text = refusal(tmp_path / "none" / "journal")
    assert (code, text) == (73, f"there is no folder {tmp_path / 'none'}")


def test_folder_or_device_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path) == (73, "must be a file, is a folder")
    assert refusal(Path("/dev/null")) == (73, "must be a file, is something else")
    (tmp_path / "file").touch()
    assert refusal(tmp_path / "file" / "journal") == (73, "cannot be created: Not a directory")


@contextmanager
def without_rights() -> Iterator[Path]:
    """A folder, and no right to do what only root may."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        root = os.geteuid() == 0
        try:
            yield Path(folder)
        finally:
            if root:
                os.seteuid(0)
            os.chmod(folder, 0o755)


def give_up_rights(*files: Path) -> None:
    if os.geteuid() == 0:
        for each in files:
            os.chown(each, 65534, 65534)
        os.seteuid(65534)


def test_file_that_may_not_be_created_is_refused() -> None:
    with without_rights() as folder:
        os.chmod(folder, 0o555)
        give_up_rights()
        assert refusal(folder / "journal") == (77, "cannot be created: Permission denied")


def test_file_that_may_not_be_read_is_refused() -> None:
    with without_rights() as folder:
        filled(folder / "journal")
        os.chmod(folder / "journal", 0o000)
        give_up_rights(folder / "journal")
        assert refusal(folder / "journal") == (77, "cannot be opened: Permission denied")


def test_file_that_may_not_be_written_is_refused() -> None:
    with without_rights() as folder:
        filled(folder / "journal")
        os.chmod(folder / "journal", 0o444)
        give_up_rights(folder / "journal", folder)
        assert refusal(folder / "journal") == (77, "cannot be opened: Permission denied")


def test_file_in_a_folder_that_may_not_be_written_is_refused() -> None:
    with without_rights() as folder:
        filled(folder / "journal")
        os.chmod(folder, 0o555)
        give_up_rights(folder / "journal")
        code, text = refusal(folder / "journal")
        assert (code, text.partition(": ")[0]) == (77, "the file and its folder must be readable and writable")


def other_database(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_a_file_of_another_program_is_left_as_it_is(path: Path) -> None:
    other = "no journal of this server but some other file, which is left as it is"
    for data in (b"# a text\n", b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(9000), bytes(8192), b"SQLite format 2\0" * 500):
        path.write_bytes(data)
        assert refusal(path) == (65, other)
        assert path.read_bytes() == data
    assert os.listdir(path.parent) == ["journal"]


def test_another_database_is_left_as_it_is(path: Path) -> None:
    other_database(path, "CREATE TABLE items (key BLOB)", "INSERT INTO items VALUES (x'00')")
    data = path.read_bytes()
    assert refusal(path) == (65, "a SQLite file of some other program, which is left as it is")
    # One with a log that waits to be written back.
    other_database(path, "PRAGMA journal_mode = WAL")
    open_elsewhere = sqlite3.connect(path)
    open_elsewhere.execute("INSERT INTO items VALUES (x'01')")
    open_elsewhere.commit()
    log = Path(f"{path}-wal").read_bytes()
    data = path.read_bytes()
    assert refusal(path) == (65, "a SQLite file of some other program, which is left as it is")
    assert (path.read_bytes(), Path(f"{path}-wal").read_bytes()) == (data, log)
    open_elsewhere.close()


def test_file_of_a_newer_version_is_refused_and_left_as_it_is(path: Path) -> None:
    filled(path)
    other_database(path, "PRAGMA user_version = 3")
    data = path.read_bytes()
    assert refusal(path) == (65, "version 3 of the journal, this server knows versions 1 to 2")
    assert path.read_bytes() == data


def test_file_with_other_tables_is_refused(path: Path) -> None:
    filled(path)
    other_database(path, "CREATE TRIGGER t AFTER DELETE ON items BEGIN DELETE FROM state; END")
    assert refusal(path) == (65, "the file is damaged: its tables are not those that were made")


def test_file_that_another_process_uses_is_refused(path: Path) -> None:
    code = (
        "import sys; from memproto.server.journal import SqliteJournal; journal = SqliteJournal(sys.argv[1]); "
        "print(flush=True); sys.stdin.read()"
    )
    root = Path(__file__).resolve().parent.parent.parent
    command = (sys.executable, "-c", code, path)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"\n"
            assert refusal(path) == (75, "another process uses the file: database is locked")
        finally:
            process.kill()
    filled(path)


# --- damage


@pytest.mark.parametrize("length", [1, 99, 100, 511, 4095, 4096, 4097, 8192, 20_000])
def test_file_cut_short_is_refused(path: Path, length: int) -> None:
    filled(path)
    assert path.stat().st_size > 40_000
    os.truncate(path, length)
    code, text = refusal(path)
    assert code == 65
    assert text


def test_file_without_its_last_byte_is_refused(path: Path) -> None:
    filled(path)
    os.truncate(path, path.stat().st_size - 1)
    assert refusal(path)[0] == 65


def test_flipped_bytes_are_found_or_do_no_harm(path: Path) -> None:
    """At every 127th byte: the file is refused, or all in it is as it was."""
    filled(path, 120)
    data = path.read_bytes()
    with journal(path) as opened:
        before, marks = loaded(opened), opened.engine_state()
    refused = harmless = 0
    for at in range(0, len(data), 127):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        try:
            with journal(path) as opened:
                assert (loaded(opened), opened.engine_state()) == (before, marks), at
        except JournalError as error:
            refused += error.code == 65
        else:
            harmless += 1
    # What is left over in the pages may be anything.
    assert refused > 100
    assert refused + harmless == math.ceil(len(data) / 127)


def test_item_or_state_that_has_changed_in_the_file_is_refused(path: Path) -> None:
    filled(path, 3)
    other_database(path, "UPDATE items SET flags = 1 WHERE id = 2")
    assert refusal(path) == (65, "the file is damaged: the item b'key:0001' has changed")
    with journal(path) as opened:
        opened.discard(b"key:0001")
        with pytest.raises(JournalError, match="the item b'key:0001' has changed"):
            opened.undo()
    other_database(path, "UPDATE items SET value = 'text' WHERE id = 2")
    assert refusal(path) == (65, "the file is damaged: the item b'key:0001' has changed")
    other_database(path, "UPDATE state SET cas = 0")
    assert refusal(path) == (65, "the file is damaged: the row of marks or of a clock has changed")
    other_database(path, "UPDATE state SET cas = 'text'")
    assert refusal(path) == (65, "the file is damaged: the row of marks or of a clock has changed")


def test_a_torn_log_loses_the_last_commits_and_no_part_of_one(path: Path, tmp_path: Path) -> None:
    with journal(path) as opened:
        for at in range(5):
            for each in (b"a", b"b"):
                opened.put(saved(each, b"%d" % at * 3000, at))
            opened.commit(JournalState(at, NEVER))
        data, log = path.read_bytes(), Path(f"{path}-wal").read_bytes()
    found = set()
    copy = tmp_path / "copy"
    for length in range(0, len(log) + 1, 3000):
        copy.write_bytes(data)
        Path(f"{copy}-wal").write_bytes(log[:length])
        with journal(copy) as opened:
            last = opened.engine_state().cas
            items = loaded(opened)
        found.add((last, len(items)))
        assert items in ([], [saved(each, b"%d" % last * 3000, last) for each in (b"a", b"b")])
    assert found >= {(0, 0), (0, 2), (1, 2), (2, 2), (3, 2)}
