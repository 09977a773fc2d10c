"""The order of use, the budget, and the journal."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

import pytest

from memproto import (
    Add,
    AnyRequest,
    Append,
    Decrement,
    Delete,
    Flush,
    Get,
    Increment,
    Item,
    MetaOptions,
    Prepend,
    Replace,
    Set,
    Stats,
    StatsReply,
    Status,
    Stored,
    Touch,
    Values,
)
from memproto.engine import ITEM_OVERHEAD, Engine, Entry, Journal, JournalState, StoredItem
from memproto.model import Failure

NOW = 1_700_000_000.0
#: What an item of a one-byte key and a one-byte value costs.
ONE = ITEM_OVERHEAD + 2


def run(engine: Engine, *requests: AnyRequest, now: float = NOW) -> None:
    for request in requests:
        engine.execute(request, now)


def values(reply: object) -> tuple[Item, ...]:
    assert isinstance(reply, Values)
    return reply.items


def there(engine: Engine, keys: str, now: float = NOW) -> str:
    """Those of the keys that are there."""
    reply = engine.execute(Get(tuple(key.encode() for key in keys)), now)
    assert isinstance(reply, Values)
    return b"".join(item.key for item in reply.items).decode()


def four(*, budget: int = 4 * ONE, evict: bool = True, journal: Journal | None = None) -> Engine:
    """An engine that is full of a, b, c and d, stored in this order."""
    engine = Engine(memory_limit=budget, item_size_max=budget, evict=evict, journal=journal)
    run(engine, *(Set(key, b"1") for key in (b"a", b"b", b"c", b"d")))
    return engine


# --- the budget


def test_size_counts_key_value_and_overhead_of_each_item() -> None:
    engine = Engine()
    assert engine.size == 0
    for request, size in (
        (Set(b"key", b"value"), ITEM_OVERHEAD + 8),
        (Append(b"key", b"!"), ITEM_OVERHEAD + 9),
        (Set(b"key", b""), ITEM_OVERHEAD + 3),
        (Increment(b"n", initial=100, exptime=0), 2 * ITEM_OVERHEAD + 7),
        (Decrement(b"n", 99), 2 * ITEM_OVERHEAD + 7),
        (Increment(b"n", 10000), 2 * ITEM_OVERHEAD + 9),
        (Touch(b"n", 10), 2 * ITEM_OVERHEAD + 9),
        (Touch(b"n", -1), ITEM_OVERHEAD + 3),
        (Delete(b"n"), ITEM_OVERHEAD + 3),
        (Set(b"key", b"", exptime=-1), 0),
        (Delete(b"key"), 0),
        (Set(b"key", b"value"), ITEM_OVERHEAD + 8),
        (Flush(), 0),
        (Flush(), 0),
    ):
        run(engine, request)
        assert engine.size == size


def test_the_budget_is_used_to_the_last_byte() -> None:
    engine = four()
    assert (len(engine), engine.size) == (4, 4 * ONE)
    run(engine, Append(b"d", b"1"))
    assert there(engine, "abcd") == "bcd"


def test_one_large_item_takes_the_room_of_many() -> None:
    engine = four()
    run(engine, Set(b"e", bytes(ONE - 2)))
    assert there(engine, "abcde") == "cde"
    assert engine.size == 2 * ONE + ITEM_OVERHEAD + ONE - 1


def test_the_last_item_stays_even_if_it_alone_is_over_the_budget() -> None:
    engine = Engine(memory_limit=400, item_size_max=400)
    run(engine, Set(b"a", bytes(300)), Set(b"b", bytes(300)))
    assert there(engine, "ab") == "b"
    run(engine, Append(b"b", bytes(30)))
    assert there(engine, "b") == "b"
    assert engine.size == ITEM_OVERHEAD + 331
    assert Engine(memory_limit=400, item_size_max=400, evict=False).execute(Set(b"a", b""), NOW) == Failure(
        Status.OUT_OF_MEMORY, b"Out of memory allocating item"
    )


# --- the order


@pytest.mark.parametrize(
    ("use", "left"),
    [
        ((), "cdef"),
        ((Get((b"a",)),), "daef"),
        ((Get((b"a", b"b")),), "abef"),
        ((Get((b"b", b"a")), Get((b"b",))), "abef"),
        ((Get((b"a",), 0),), "daef"),
        ((Touch(b"a"),), "daef"),
        ((Set(b"a", b"2"),), "daef"),
        ((Replace(b"a", b"2"),), "daef"),
        ((Set(b"a", b"2", cas=1),), "daef"),
        ((Append(b"a", b""),), "daef"),
        ((Prepend(b"a", b""),), "daef"),
        ((Increment(b"a"),), "daef"),
        # An Add in vain is a use with memcached, and nothing else in vain is.
        ((Add(b"a", b"2"),), "daef"),
        ((Set(b"a", b"2", cas=9),), "cdef"),
        ((Add(b"a", b"2", cas=9),), "cdef"),
        ((Replace(b"a", b"2", cas=9),), "cdef"),
        ((Append(b"a", b"2", cas=9),), "cdef"),
        ((Increment(b"a", cas=9),), "cdef"),
        ((Delete(b"a", cas=9),), "cdef"),
        ((Delete(b"d"), Get((b"d",))), "bcef"),
    ],
)
def test_eviction_takes_the_least_recently_used_first(use: tuple[AnyRequest, ...], left: str) -> None:
    engine = four()
    run(engine, *use, Set(b"e", b"1"), Set(b"f", b"1"))
    assert sorted(there(engine, "abcdef")) == sorted(left)


def test_expired_items_have_their_turn_like_others() -> None:
    engine = four()
    run(engine, Touch(b"b", 1))
    run(engine, Set(b"e", b"1"), now=NOW + 1)
    assert len(engine) == 4
    assert there(engine, "abcde", NOW + 1) == "cde"
    assert len(engine) == 3


def test_full_cache_without_evict_keeps_all_items() -> None:
    engine = four(evict=False)
    run(engine, Set(b"e", b"1"), Append(b"a", b"1"), Increment(b"a", 10), Increment(b"f", exptime=0))
    assert there(engine, "abcdef") == "abcd"


# --- the journal


class Recorder:
    """A journal that remembers what it was told, and tells what it was given."""

    def __init__(self, *loaded: tuple[Item, float] | tuple[Item, float, bool]) -> None:
        self.told: list[tuple[object, ...]] = []
        self._loaded = loaded

    def put(self, saved: StoredItem) -> None:
        self.told.append(("put", *saved) if saved.stale else ("put", saved.item, saved.expires))

    def discard(self, key: bytes) -> None:
        self.told.append(("discard", key))

    def clear(self) -> None:
        self.told.append(("clear",))

    def newest_first(self) -> Iterable[StoredItem]:
        self.told.append(("load",))
        yield from (StoredItem(*each) for each in reversed(self._loaded))
        self.told.append(("loaded",))

    def keep_newest(self, count: int) -> None:
        self.told.append(("keep", count))

    def since(self) -> list[tuple[object, ...]]:
        told, self.told = self.told, []
        return told


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (Get((b"k",)), []),
        (Get((b"k",), 10), [("put", Item(b"k", b"9", 7, 1), NOW + 10)]),
        (Get((b"k",), -1), [("discard", b"k")]),
        (Touch(b"k", 10), [("put", Item(b"k", b"9", 7, 1), NOW + 10)]),
        (Touch(b"k", -1), [("discard", b"k")]),
        (Touch(b"x", -1), []),
        (Set(b"k", b"v"), [("put", Item(b"k", b"v", 0, 2), inf)]),
        (Set(b"k", b"v", exptime=-1), [("discard", b"k")]),
        (Set(b"x", b"v", exptime=-1), []),
        (Set(b"k", b"v", exptime=1_800_000_000), [("put", Item(b"k", b"v", 0, 2), 1_800_000_000)]),
        (Set(b"k", b"v", cas=9), []),
        (Set(b"k", bytes(2**20)), [("discard", b"k")]),
        (Add(b"k", b"v"), []),
        (Add(b"x", b"v", 5), [("put", Item(b"x", b"v", 5, 2), inf)]),
        (Append(b"k", b"v"), [("put", Item(b"k", b"9v", 7, 2), NOW + 60)]),
        (Increment(b"k", 0), [("put", Item(b"k", b"9", 7, 2), NOW + 60)]),
        (Increment(b"k"), [("put", Item(b"k", b"10", 7, 2), NOW + 60)]),
        (Increment(b"x", initial=3, exptime=0), [("put", Item(b"x", b"3", 0, 2), inf)]),
        (Increment(b"x"), []),
        (Delete(b"k"), [("discard", b"k")]),
        (Delete(b"k", cas=9), []),
        (Delete(b"x"), []),
        (Flush(), [("clear",)]),
        (Flush(10), []),
    ],
)
def test_journal_gets_every_change(request_: AnyRequest, told: list[tuple[object, ...]]) -> None:
    journal = Recorder()
    engine = Engine(journal=journal)
    run(engine, Set(b"k", b"9", 7, 60))
    assert journal.since() == [("load",), ("loaded",), ("put", Item(b"k", b"9", 7, 1), NOW + 60)]
    run(engine, request_)
    assert journal.since() == told


def test_the_journal_is_told_of_expiry_eviction_and_the_moment_of_a_flush() -> None:
    journal = Recorder()
    engine = four(journal=journal)
    run(engine, Touch(b"b", 1), Flush(100))
    journal.since()
    run(engine, Get((b"b",)), now=NOW + 1)
    assert journal.since() == [("discard", b"b")]
    run(engine, Set(b"e", b"1"), Set(b"f", b"1"), now=NOW + 1)
    e, f = Item(b"e", b"1", 0, 5), Item(b"f", b"1", 0, 6)
    assert journal.since() == [("put", e, inf), ("put", f, inf), ("discard", b"a")]
    run(engine, Get((b"e",)), now=NOW + 99)
    assert journal.since() == [("clear",)]


def test_what_is_loaded_is_there_and_the_cas_goes_on_above_it() -> None:
    journal = Recorder((Item(b"a", b"1", 5, 40), inf), (Item(b"b", b"2", 0, 7), NOW + 1), (Item(b"c", b"3"), NOW))
    engine = Engine(journal=journal)
    assert journal.since() == [("load",), ("loaded",)]
    assert (len(engine), engine.size) == (3, 3 * ONE)
    assert engine.execute(Get((b"a", b"b", b"c")), NOW) == Values((Item(b"a", b"1", 5, 40), Item(b"b", b"2", 0, 7)))
    assert journal.since() == [("discard", b"c")]
    assert there(engine, "ab", NOW + 1) == "a"
    assert engine.execute(Set(b"n", b""), NOW + 1) == Stored(41)
    assert Engine(journal=Recorder()).execute(Set(b"n", b""), NOW) == Stored(1)


def test_key_that_the_journal_has_twice_is_loaded_once() -> None:
    engine = Engine(journal=Recorder((Item(b"a", b"1"), inf), (Item(b"a", b"22"), inf)))
    assert (len(engine), engine.size) == (1, ONE + 1)


def test_what_is_loaded_last_was_used_last_and_what_is_too_much_is_discarded() -> None:
    items = [(Item(bytes([key]), b"1", 0, 1), inf) for key in b"abcdef"]
    journal = Recorder(*items)
    engine = Engine(memory_limit=4 * ONE, item_size_max=4 * ONE, journal=journal)
    # The rest is not even read.
    assert journal.since() == [("load",), ("keep", 4)]
    run(engine, Set(b"g", b"1"))
    assert there(engine, "abcdefg") == "defg"


def test_exception_of_a_journal_is_passed_on() -> None:
    class Full(Recorder):
        def put(self, saved: StoredItem) -> None:
            raise OSError("disk full")

    engine = Engine(journal=Full())
    with pytest.raises(OSError, match=r"^disk full$"):
        run(engine, Set(b"k", b"v"))


def test_journal_keeps_that_an_item_is_stale() -> None:
    journal = Recorder()
    engine = Engine(journal=journal)
    run(engine, Set(b"k", b"1"), Delete(b"k", meta=MetaOptions(invalidate=True)))
    assert journal.since()[-1] == ("put", Item(b"k", b"1", 0, 2), inf, True)
    run(engine, Set(b"k", b"2", cas=1, meta=MetaOptions(invalidate=True)))
    assert journal.since()[-1] == ("put", Item(b"k", b"2", 0, 3), inf, True)
    run(engine, Set(b"k", b"3"))
    assert journal.since()[-1] == ("put", Item(b"k", b"3", 0, 4), inf)
    again = Engine(journal=Recorder((Item(b"k", b"2", 0, 3), inf, True)))
    (item,) = values(again.execute(Get((b"k",), meta=MetaOptions()), NOW))
    assert item.meta is not None
    assert (item.meta.stale, item.meta.won) == (True, True)


def test_the_marks_are_what_goes_on_beside_the_items() -> None:
    engine = Engine(journal=Recorder((Item(b"a", b"1", 0, 40), inf)), journal_state=JournalState(50))
    assert engine.journal_state == JournalState(50, inf)
    assert engine.execute(Set(b"gone", b"", exptime=-1), NOW) == Stored(51)
    run(engine, Flush(10))
    assert engine.journal_state == JournalState(51, NOW + 9)
    again = Engine(journal=Recorder((Item(b"a", b"1", 0, 40), inf)), journal_state=engine.journal_state)
    assert there(again, "a", NOW + 8) == "a"
    assert there(again, "a", NOW + 9) == ""
    assert again.execute(Set(b"a", b""), NOW + 9) == Stored(52)


def test_a_number_that_a_command_chose_does_not_end_the_count() -> None:
    engine = Engine(journal=Recorder((Item(b"a", b"1", 0, 2**64 - 1), inf), (Item(b"b", b"1", 0, 7), inf)))
    assert engine.execute(Set(b"a", b""), NOW) == Stored(8)


def test_what_could_not_be_kept_is_undone_without_telling_the_journal() -> None:
    journal = Recorder((Item(b"a", b"1", 5, 40), NOW + 60), (Item(b"b", b"2", 0, 7), inf))
    engine = Engine(journal=journal)
    run(engine, Set(b"a", b"other"), Delete(b"b"), Set(b"c", b"new"))
    journal.since()
    engine.restore(b"a", StoredItem(Item(b"a", b"1", 5, 40), NOW + 60))
    engine.restore(b"b", StoredItem(Item(b"b", b"2", 0, 7), inf))
    engine.restore(b"c", None)
    engine.restore(b"d", None)
    assert journal.since() == []
    assert values(engine.execute(Get((b"a", b"b", b"c")), NOW)) == (Item(b"a", b"1", 5, 40), Item(b"b", b"2", 0, 7))
    assert (len(engine), engine.size) == (2, 2 * ONE)
    assert there(engine, "ab", NOW + 60) == "b"
    assert engine.execute(Set(b"a", b""), NOW) == Stored(43)


def test_reload_holds_the_items_of_the_journal_only() -> None:
    journal = Recorder((Item(b"a", b"1", 5, 40), inf))
    engine = Engine(journal=journal)
    run(engine, Set(b"b", b"2"), Flush(10))
    journal.since()
    engine.reload()
    assert journal.since() == [("load",), ("loaded",)]
    assert (len(engine), engine.size, engine.journal_state) == (1, ONE, JournalState(41, NOW + 9))
    engine.journal_state = JournalState(40)
    assert there(engine, "ab", NOW + 20) == "a"
    assert engine.execute(Set(b"a", b""), NOW) == Stored(41)
    engine.journal_state = JournalState(41, NOW + 30)
    assert there(engine, "ab", NOW + 30) == ""


def test_expire_looks_at_so_many_items_at_a_time() -> None:
    journal = Recorder()
    engine = four(journal=journal)
    run(engine, Touch(b"a", 10), Touch(b"b", 10), Get((b"b",)), Touch(b"d", 20))
    journal.since()
    assert engine.expire(NOW + 9) == 0
    assert engine.expire(NOW + 10, 3) == 1
    assert engine.expire(NOW + 10, 1) == 1
    assert sorted(told[1] for told in journal.since()) == [b"a", b"b"]  # type: ignore[type-var]
    assert engine.expire(NOW + 20, 1) == 1
    assert [engine.expire(NOW + 20, 1) for _ in range(3)] == [0, 0, 0]
    assert (len(engine), engine.size) == (1, ONE)
    assert there(engine, "abcd", NOW + 20) == "c"
    run(engine, Flush(30))
    assert engine.expire(NOW + 29) == 0
    assert len(engine) == 0


def test_the_crawler_passes_over_what_has_gone_since_its_round_began_and_counts_the_rest() -> None:
    engine = four()
    run(engine, Touch(b"a", 10), Touch(b"b", 10), Touch(b"c", 11))
    assert engine.expire(NOW, 1) == 0
    run(engine, Delete(b"b"))
    assert engine.expire(NOW + 10, 100) == 1
    assert engine.expire(NOW + 10.9, 100) == 0
    assert engine.expire(NOW + 11, 100) == 1
    assert (len(engine), engine.memory_limit) == (1, 4 * ONE)
    stats = engine.execute(Stats(), NOW + 11)
    assert isinstance(stats, StatsReply)
    assert dict(stats.stats)[b"crawler_reclaimed"] == b"2"


def test_entries_are_public() -> None:
    entry = Entry(Item(b"k", b"v"), inf)
    assert (entry.item, entry.expires, entry.fetched) == (Item(b"k", b"v"), inf, False)
