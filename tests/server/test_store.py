"""The engine with its journal: what cannot be written did not happen."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from memproto import (
    Add,
    AnyReply,
    Counter,
    Delete,
    Deleted,
    Failure,
    Flush,
    Get,
    Increment,
    Item,
    Ok,
    Set,
    Stats,
    Status,
    Stored,
    Touch,
    Values,
)
from memproto.engine import Engine
from memproto.model import InvalidRequest, MetaOptions
from memproto.server import store as store_module
from memproto.server.command_line import parse_arguments
from memproto.server.options import Options
from memproto.server.store import Store

NOW = 1_700_000_000.0
REFUSED = Failure(Status.OUT_OF_MEMORY, b"the journal cannot be written")


def options(path: Path) -> Options:
    return parse_arguments(["--persist", str(path / "items")])


def full(store: Store) -> None:
    """Let the disk be full: no page more than there are."""
    assert store.journal is not None
    connection = store.journal._connection
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    ((pages,),) = connection.execute("PRAGMA page_count").fetchall()
    connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()


def roomy(store: Store) -> None:
    assert store.journal is not None
    store.journal._connection.execute("PRAGMA max_page_count = 1000000").fetchall()


def values(reply: AnyReply) -> tuple[Item, ...]:
    assert isinstance(reply, Values)
    return reply.items


def test_without_a_journal_nothing_is_ever_unsettled() -> None:
    store = Store(parse_arguments([]))
    assert store.engine.execute(Set(b"k", b"v"), NOW) == Stored(1)
    assert not store.uncommitted()
    assert store.commit()
    store.close()


def test_what_is_settled_is_there_again(tmp_path: Path) -> None:
    store = Store(options(tmp_path))
    assert not store.uncommitted()
    store.engine.execute(Set(b"k", b"v", 7, 60), NOW)
    assert store.uncommitted()
    assert store.commit()
    assert not store.uncommitted()
    store.engine.execute(Set(b"k", b"lost"), NOW)
    assert store.journal is not None
    store.journal.close()

    again = Store(options(tmp_path))
    assert values(again.engine.execute(Get((b"k",)), NOW)) == (Item(b"k", b"v", 7, 1),)
    assert again.engine.execute(Set(b"other", b""), NOW) == Stored(2)
    again.close()


def test_a_number_given_out_is_kept_also_if_nothing_is_left_of_it(tmp_path: Path) -> None:
    store = Store(options(tmp_path))
    assert store.engine.execute(Set(b"k", b"v", exptime=-1), NOW) == Stored(1)
    assert store.uncommitted()
    assert store.engine.execute(Flush(10), NOW) == Ok()
    store.close()
    again = Store(options(tmp_path))
    assert again.engine.execute(Set(b"k", b"v"), NOW) == Stored(2)
    assert values(again.engine.execute(Get((b"k",)), NOW + 9)) == ()
    again.close()


def test_what_cannot_be_written_did_not_happen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(options(tmp_path))
    store.engine.execute(Set(b"k", b"old", 7, 60), NOW)
    store.engine.execute(Set(b"gone", b"1"), NOW)
    assert store.commit()
    full(store)
    marks = store.engine.journal_state
    for request in (Set(b"k", bytes(100_000)), Delete(b"gone"), Set(b"new", bytes(100_000)), Flush(10)):
        store.engine.execute(request, NOW)
    with caplog.at_level(logging.ERROR):
        assert not store.commit()
        store.engine.execute(Set(b"new", bytes(100_000)), NOW)
        assert not store.commit()
    (told,) = caplog.messages
    assert told.startswith("cannot write, so every change is refused until it can be written again: ")
    assert not store.uncommitted()
    assert store.engine.journal_state == marks
    found = values(store.engine.execute(Get((b"k", b"gone", b"new")), NOW + 20))
    assert found == (Item(b"k", b"old", 7, 1), Item(b"gone", b"1", 0, 2))
    assert values(store.engine.execute(Get((b"k",)), NOW + 60)) == ()
    caplog.clear()

    roomy(store)
    assert store.engine.execute(Set(b"new", bytes(100_000)), NOW) == Stored(3)
    with caplog.at_level(logging.ERROR):
        assert store.commit()
    assert caplog.messages == ["the journal can be written again"]
    store.close()


def test_a_flush_that_cannot_be_written_did_not_happen(tmp_path: Path) -> None:
    store = Store(options(tmp_path))
    for number in range(100):
        store.engine.execute(Set(b"key-%d" % number, b"value"), NOW)
    assert store.commit()
    full(store)
    store.engine.execute(Flush(), NOW)
    store.engine.execute(Set(b"new", bytes(1_000_000)), NOW)
    assert not store.commit()
    assert len(store.engine) == 100
    assert values(store.engine.execute(Get((b"key-7",)), NOW)) == (Item(b"key-7", b"value", 0, 8),)
    store.close()


@pytest.mark.parametrize(
    "request_",
    [
        Set(b"k", b"v"),
        Add(b"x", b"v"),
        Delete(b"k"),
        Increment(b"k"),
        Touch(b"k", 10),
        Flush(),
        Get((b"k",), 10),
        Get((b"x",), meta=MetaOptions(vivify=0)),
    ],
)
def test_what_would_change_something_is_refused(tmp_path: Path, request_: Set | Add | Delete | Flush | Get) -> None:
    store = Store(options(tmp_path))
    store.engine.execute(Set(b"k", b"1"), NOW)
    assert store.refuse(request_, NOW) == REFUSED
    store.close()


def test_what_only_reads_is_carried_out(tmp_path: Path) -> None:
    store = Store(options(tmp_path))
    store.engine.execute(Set(b"k", b"1"), NOW)
    assert values(store.refuse(Get((b"k",)), NOW)) == (Item(b"k", b"1", 0, 1),)
    assert not isinstance(store.refuse(Stats(), NOW), Failure)
    too_large = Failure(Status.VALUE_TOO_LARGE)
    assert store.refuse(InvalidRequest(too_large, "", Set(b"k", b"")), NOW) == too_large
    assert values(store.engine.execute(Get((b"k",)), NOW)) == (Item(b"k", b"1", 0, 1),)
    assert store.engine.execute(Increment(b"k"), NOW) == Counter(2, 2)
    assert store.engine.execute(Delete(b"k"), NOW) == Deleted()
    store.close()


def test_engine_that_cannot_be_made_leaves_the_journal_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> Engine:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "Engine", fail)
        for wanted in (options(tmp_path), Options()):
            with pytest.raises(MemoryError):
                Store(wanted)
    Store(options(tmp_path)).close()


def test_sweep_that_fails_is_logged_and_tried_again_after_a_commit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(options(tmp_path))
    store.sweep(10)
    store.engine.execute(Set(b"a", bytes(100_000)), NOW)
    assert store.commit()
    store.engine.execute(Flush(), NOW)
    assert store.commit()
    assert store.journal is not None
    connection = store.journal._connection
    connection.execute("PRAGMA query_only = ON").fetchall()
    store.sweep(10)
    assert caplog.messages[0].startswith("cannot delete what was flushed from the file: ")
    store.sweep(10)
    assert len(caplog.messages) == 1
    connection.execute("PRAGMA query_only = OFF").fetchall()
    store.engine.execute(Set(b"b", b""), NOW)
    assert store.commit()
    pending = [store.pending]
    store.sweep(10)
    store.engine.work(10)
    assert [*pending, store.pending] == [True, False]
    store.close()
