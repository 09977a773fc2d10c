"""What concerns all items, in slices: the same replies and the same state in the end, and a bounded step each time."""

from __future__ import annotations

from collections import OrderedDict
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memproto import (
    AdminCommand,
    AdminReply,
    AnyReply,
    AnyRequest,
    Failure,
    Flush,
    Get,
    Item,
    Set,
    Stats,
    Status,
    Stored,
    Values,
)
from memproto.engine import ITEM_OVERHEAD, Dump, Engine, StoredItem
from memproto.engine._items import Entry, Items
from tests.engine.test_model import Kept
from tests.support.cache_requests import cache_requests, exptimes, texts
from tests.support.reached import reached, reaches

NOW = 1_700_000_000.0
MB = 1024 * 1024
METADUMP = AdminCommand((b"lru_crawler", b"metadump", b"all"))
BUSY = AdminReply((b"BUSY currently processing crawler request",))


def command(line: str) -> AdminCommand:
    return AdminCommand(tuple(line.encode().split()))


def filled(count: int, size: int = 10) -> Engine:
    engine = Engine()
    for at in range(count):
        engine.execute(Set(b"%06d" % at, bytes(size)), NOW)
    return engine


def busy(engine: Engine) -> bool:
    return engine.pending


def begun(engine: Engine, request: AnyRequest) -> Dump:
    dump = engine.begin(request, NOW)
    assert isinstance(dump, Dump)
    return dump


def whole(reply: AnyReply | Dump, now: float, most: int) -> AnyReply:
    """The reply, after all parts of it are read."""
    if not isinstance(reply, Dump):
        return reply
    lines: list[bytes] = []
    while not reply.done:
        part = reply.read(now, most).lines
        assert len(part) <= most + 1
        lines += part
    return AdminReply(tuple(lines))


# --- the law

administration = st.sampled_from(
    [METADUMP]
    + [
        command(line)
        for line in (
            "stats cachedump 1 0",
            "stats cachedump 1 2",
            "stats cachedump 2 0",
            "cache_memlimit 8",
            "lru_crawler metadump 7",
        )
    ]
)
steps = st.sampled_from((0.0, 0.0, 1.0, 10.0, 100.0))
any_requests = cache_requests(texts, exptimes, st.sampled_from((None, 0, 1, 10)), st.just(0)) | administration


@given(st.lists(st.tuples(steps, any_requests), max_size=40), st.integers(1, 5))
def test_requests_in_slices_give_the_replies_and_the_state_of_requests_at_once(
    timed: list[tuple[float, AnyRequest]], most: int
) -> None:
    journals = Kept(), Kept()
    at_once, sliced = (Engine(journal=journal, memory_limit=8 * MB) for journal in journals)
    now = NOW
    for step, request in timed:
        now += step
        assert whole(sliced.begin(request, now), now, most) == at_once.execute(request, now)
        sliced.work(most)
    while sliced.pending:
        sliced.work(most)
    at_once.work()
    assert not at_once.pending
    assert list(journals[0].items.items()) == list(journals[1].items.items())
    assert (sliced.size, len(sliced), sliced.journal_state) == (at_once.size, len(at_once), at_once.journal_state)
    assert sliced.execute(METADUMP, now) == at_once.execute(METADUMP, now)
    assert sliced.execute(Stats(), now) == at_once.execute(Stats(), now)


CLEAR, RESIZE = -1, -2


@reaches(worked=0.05)
@given(st.lists(st.integers(0, 60) | st.sampled_from((CLEAR, RESIZE)), max_size=60), st.integers(0, 40))
def test_no_store_makes_the_whole_grow_beyond_the_budget_while_there_is_work_left(
    actions: list[int], worked: int
) -> None:
    """What is cleared and not yet freed counts, and what has no room since the budget is smaller."""
    budgets = [(ITEM_OVERHEAD + 40) * each for each in (40, 10, 20, 5, 1)]
    items = Items(budgets[0], None)
    # What was in use when work was last done or left over, if that is more than the budget.
    ceiling = items.budget
    for number, action in enumerate(actions):
        if action == CLEAR:
            items.clear()
        elif action == RESIZE:
            items.resize(budgets[number % len(budgets)])
        else:
            items.put(Item(b"%d" % (number % 30), bytes(action * 30)), inf)
        used = items.size + sum(map(_used, items._cleared))
        assert _used(items.entries) == items.size
        # One item stays, however large it is.
        alone = len(items.entries) == 1 and not items._cleared
        if action < 0:
            ceiling = max(items.budget, used)
        assert alone or used <= ceiling
        assert items.pending == ((used > items.budget and not alone) or bool(items._cleared))
        if worked and number % 3 == 0:
            items.work(worked)
            left = items.size + sum(map(_used, items._cleared))
            reached("worked")
            assert left <= used
            ceiling = max(items.budget, left)
    items.finish()
    assert not items.pending
    assert items.size <= items.budget or len(items.entries) == 1


def test_stores_after_a_flush_find_only_the_room_that_the_flushed_items_have_left() -> None:
    one = ITEM_OVERHEAD + 2
    items = Items(4 * one, None)
    for key in b"abcd":
        items.put(Item(bytes([key]), b"1"), inf)
    items.clear()
    for key in b"efgh":
        items.put(Item(bytes([key]), b"1"), inf)
        assert items.size + sum(map(_used, items._cleared)) == 4 * one
    assert list(items.entries) == [b"e", b"f", b"g", b"h"]


def test_stores_after_the_work_for_a_smaller_budget_is_done_stay_within_it() -> None:
    one = ITEM_OVERHEAD + 2
    items = Items(4 * one, None)
    for key in b"abcd":
        items.put(Item(bytes([key]), b"1"), inf)
    items.resize(2 * one)
    items.work(2)
    assert not items.pending
    for key in b"ef":
        items.put(Item(bytes([key]), b"1"), inf)
        assert items.size == 2 * one
    assert list(items.entries) == [b"e", b"f"]


def _used(entries: OrderedDict[bytes, Entry]) -> int:
    return sum(ITEM_OVERHEAD + len(key) + len(entry.item.value) for key, entry in entries.items())


# --- each of them


class Counted(OrderedDict[bytes, Entry]):
    """A table that counts how many entries leave it."""

    left = 0

    def pop(self, key: bytes, default: Entry | None = None) -> Entry:  # type: ignore[override]
        self.left += 1
        return super().pop(key, default)  # type: ignore[arg-type]

    def popitem(self, last: bool = True) -> tuple[bytes, Entry]:
        self.left += 1
        return super().popitem(last)


def counted(engine: Engine) -> Counted:
    table = Counted(engine._cache.items.entries)
    engine._cache.items.entries = table
    return table


def test_a_flush_removes_all_at_once_and_frees_a_bounded_number_of_items_at_a_time() -> None:
    engine = filled(100)
    table = counted(engine)
    assert engine.begin(Flush(), NOW) == engine.execute(Flush(), NOW)
    engine = filled(100)
    table = counted(engine)
    engine.begin(Flush(), NOW)
    assert (len(engine), engine.size, table.left, engine.pending) == (0, 0, 0, True)
    for freed in (30, 60, 90):
        engine.work(30)
        assert (table.left, engine.pending) == (freed, True)
    engine.work(30)
    assert (table.left, engine.pending) == (100, False)


def test_a_flush_that_was_put_off_leaves_work_too() -> None:
    engine = filled(5)
    engine.begin(Flush(10), NOW)
    assert not busy(engine)
    assert engine.begin(Get((b"000001",)), NOW + 10) == Values()
    assert busy(engine)
    engine.work(4)
    assert busy(engine)
    engine.work(1)
    assert not busy(engine)


def test_a_smaller_budget_is_reached_a_bounded_number_of_items_at_a_time() -> None:
    engine = filled(50, MB // 2)
    table = counted(engine)
    assert engine.begin(command("cache_memlimit 8"), NOW) == AdminReply()
    size, before = engine.size, table.left
    assert engine.memory_limit == 8 * MB
    # A store in between takes no more than it gives back.
    assert engine.begin(Set(b"new", bytes(MB // 2)), NOW) == Stored(51)
    assert engine.size <= size
    assert table.left - before <= 2
    while engine.pending:
        size, before = engine.size, table.left
        engine.work(5)
        assert table.left - before <= 5
        assert engine.size < size
    assert MB * 7 < engine.size <= MB * 8
    assert engine.execute(Get((b"new",)), NOW) != Values()


def test_a_smaller_budget_holds_at_once_for_who_executes() -> None:
    engine = filled(50, MB // 2)
    engine.execute(command("cache_memlimit 8"), NOW)
    assert engine.size <= MB * 8
    assert not busy(engine)


def test_a_flush_while_a_smaller_budget_is_not_yet_reached_asks_no_more_of_a_store() -> None:
    engine = filled(1000)
    engine.begin(command("cache_memlimit 8"), NOW)
    engine._cache.items.resize(ITEM_OVERHEAD * 10)
    table = counted(engine)
    engine.begin(Flush(), NOW)
    engine.begin(Set(b"new", bytes(10)), NOW)
    assert table.left <= 2


def test_memory_can_be_shrunk_a_bounded_number_of_items_at_a_time() -> None:
    engine = filled(10)
    assert [engine.shrink(0, 4) for _ in range(4)] == [4, 4, 1, 0]


# --- dumps


@pytest.mark.parametrize("most", [1, 3, 10, 11, 1000])
@pytest.mark.parametrize("line", ["lru_crawler metadump all", "stats cachedump 1 0", "stats cachedump 1 4"])
def test_parts_of_a_dump_together_are_the_dump(line: str, most: int) -> None:
    engine = filled(10)
    assert whole(begun(engine, command(line)), NOW, most) == engine.execute(command(line), NOW)


def test_each_part_of_a_dump_looks_at_a_bounded_number_of_items() -> None:
    engine = filled(100)
    looked = 0

    def get(key: bytes) -> Entry | None:
        nonlocal looked
        looked += 1
        return table.get(key)

    class Table(OrderedDict[bytes, Entry]):
        def get(self, key: bytes, default: object = None) -> Entry | None:  # type: ignore[override]
            return get(key)

    table = OrderedDict(engine._cache.items.entries)
    engine._cache.items.entries = Table(table)
    dump = begun(engine, METADUMP)
    while not dump.done:
        before = looked
        # No item that has expired, or of which there is no line, makes a part longer.
        dump.read(inf, 7)
        assert looked - before <= 7
    assert looked == 100


def test_an_item_that_stays_is_in_the_dump_once_whatever_changes_meanwhile() -> None:
    engine = filled(100)
    dump = begun(engine, METADUMP)
    lines = list(dump.read(NOW, 50).lines)
    for at in range(0, 100, 2):
        engine.execute(Get((b"%06d" % at,)), NOW)
        engine.execute(Set(b"%06d" % (at + 1), b"again"), NOW)
        engine.execute(Set(b"new%d" % at, b""), NOW)
    lines += whole(dump, NOW, 7).lines  # type: ignore[union-attr]
    keys = [line.split()[0] for line in lines]
    assert sorted(key for key in keys if b"new" not in key) == sorted(
        [b"END", *(b"key=%06d" % at for at in range(100))]
    )
    engine.begin(Flush(), NOW)
    assert dump.read(NOW) == AdminReply(())


def test_what_is_flushed_during_a_dump_is_in_it_no_more() -> None:
    engine = filled(10)
    dump = begun(engine, METADUMP)
    assert len(dump.read(NOW, 5).lines) == 5
    engine.begin(Flush(), NOW)
    assert whole(dump, NOW, 5) == AdminReply((b"END",))


def test_second_dump_is_answered_busy_until_the_first_has_ended() -> None:
    engine = filled(10)
    first = begun(engine, METADUMP)
    first.read(NOW, 5)
    assert engine.begin(METADUMP, NOW) == BUSY
    assert engine.begin(command("stats cachedump 1 0"), NOW) == BUSY
    # What is no dump is none of this, and neither is who takes all at once.
    assert engine.begin(command("lru_crawler metadump x"), NOW) == AdminReply((b"BADCLASS invalid class id",))
    assert len(engine.execute(METADUMP, NOW).lines) == 11  # type: ignore[union-attr]
    whole(first, NOW, 5)
    second = begun(engine, METADUMP)
    second.close()
    assert second.read(NOW) == AdminReply(())
    begun(engine, METADUMP)


@pytest.mark.parametrize(("length", "told"), [(28, 7826), (29, 7825)])
def test_a_cachedump_has_two_megabytes_to_the_byte(length: int, told: int) -> None:
    # 7825 lines of 268 bytes and one of 46, which with ``END`` and the NUL of memcached make 2 MB.
    engine = Engine(memory_limit=16 * MB)
    for number in range(7825):
        engine.execute(Set(b"%0250d" % number, b""), NOW)
    engine.execute(Set(b"k" * length, b""), NOW)
    reply = engine.execute(command("stats cachedump 1 0"), NOW)
    assert isinstance(reply, AdminReply)
    assert len(reply.lines) == told + 1
    assert reply.lines[0] == b"ITEM %0250d [0 b; 0 s]" % 0
    assert reply.lines[-1] == b"END"


# --- a get of many keys


@given(st.lists(st.sampled_from([b"%06d" % at for at in range(12)]), min_size=1, max_size=30), st.integers(1, 7))
def test_a_get_of_many_keys_is_the_gets_of_its_parts(keys: list[bytes], most: int) -> None:
    one, other = filled(8), filled(8)
    for exptime in (None, 5):
        parts: tuple[Item, ...] = ()
        for at in range(0, len(keys), most):
            reply = other.begin(Get(tuple(keys[at : at + most]), exptime), NOW)
            assert isinstance(reply, Values)
            parts += reply.items
        assert one.execute(Get(tuple(keys), exptime), NOW) == Values(parts)
    assert one.execute(Stats(), NOW) == other.execute(Stats(), NOW)
    assert one.execute(METADUMP, NOW) == other.execute(METADUMP, NOW)


# --- loading


def test_no_more_is_read_of_a_journal_than_the_budget_takes() -> None:
    class Long(Kept):
        read = 0

        def newest_first(self):  # type: ignore[no-untyped-def]
            for at in range(1000):
                self.read += 1
                yield StoredItem(Item(b"%06d" % at, bytes(94), cas=1000 - at), inf)

        def keep_newest(self, count: int) -> None:
            self.kept = count

        def discard(self, key: bytes) -> None:
            pass

    journal = Long()
    engine = Engine(journal=journal, memory_limit=(ITEM_OVERHEAD + 100) * 10, item_size_max=500)
    assert (len(engine), journal.read, journal.kept) == (10, 11, 10)
    # Those put last are the last to go.
    engine.execute(Set(b"newest", bytes(94)), NOW)
    assert engine.execute(Get((b"000009",)), NOW) == Values()
    assert engine.execute(Get((b"000008",)), NOW) != Values()


def test_no_flush_is_begun_where_none_is_allowed() -> None:
    engine = Engine(flush=False)
    assert engine.begin(Flush(), NOW) == Failure(Status.AUTH_ERROR)
