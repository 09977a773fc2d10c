"""What only meta asks of the engine: leases, stale items, early recaches, what a get tells, and ``me``."""

from __future__ import annotations

import pytest

from memproto import (
    Add,
    AnyRequest,
    Append,
    Counter,
    Decrement,
    Delete,
    Deleted,
    Failure,
    Get,
    Increment,
    Item,
    ItemMeta,
    MetaDebug,
    MetaDebugReply,
    MetaOptions,
    Prepend,
    Set,
    Stats,
    StatsReply,
    Status,
    Stored,
    Values,
    Verbosity,
)
from memproto.engine import Engine

NOW = 1_700_000_000.0
KEY = b"key"
NOTHING = ItemMeta()


class Cache:
    """An engine and its clock."""

    def __init__(self, **options: bool) -> None:
        self.engine = Engine(**options)  # type: ignore[arg-type]
        self.now = NOW

    def ask(self, request: AnyRequest) -> object:
        return self.engine.execute(request, self.now)

    def get(self, exptime: int | None = None, **options: int | bool | None) -> Item | None:
        """One get with meta options; the item."""
        values = self.ask(Get((KEY,), exptime, MetaOptions(**options)))  # type: ignore[arg-type]
        assert isinstance(values, Values)
        return values.items[0] if values.items else None

    def meta(self, exptime: int | None = None, **options: int | bool | None) -> ItemMeta:
        item = self.get(exptime, **options)
        assert item is not None
        assert item.meta is not None
        return item.meta

    def counted(self, *names: str) -> list[int]:
        reply = self.ask(Stats())
        assert isinstance(reply, StatsReply)
        return [int(dict(reply.stats)[name.encode()]) for name in names]


@pytest.fixture
def cache() -> Cache:
    cache = Cache()
    assert cache.ask(Set(KEY, b"value", 7)) == Stored(1)
    return cache


def test_get_with_options_reports_ttl_last_access_and_whether_it_was_hit(cache: Cache) -> None:
    cache.now += 5
    assert cache.get() == Item(KEY, b"value", 7, 1, meta=ItemMeta(-1, False, 5))
    cache.now += 2.5
    assert cache.meta() == ItemMeta(-1, True, 2)
    assert cache.counted("cmd_get", "get_hits", "cmd_touch") == [2, 2, 0]


def test_get_without_bump_is_no_use_of_the_item(cache: Cache) -> None:
    cache.ask(Set(b"other", b""))
    cache.now += 5
    for _ in range(2):
        assert cache.meta(bump=False) == ItemMeta(-1, False, 5)


def test_get_with_an_exptime_sets_the_expiry(cache: Cache) -> None:
    assert cache.meta(100) == ItemMeta(100)
    assert cache.meta(50, ttl_first=True).ttl == 100
    assert cache.meta().ttl == 50
    cache.now += 0.5
    assert cache.meta().ttl == 50
    assert cache.meta(0, bump=False).ttl == -1
    assert cache.counted("touch_hits", "get_hits") == [3, 2]
    # The value is told once more.
    item = cache.get(-1)
    assert item is not None
    assert (item.value, item.meta and item.meta.ttl) == (b"value", 0)
    assert cache.get(100) is None
    assert cache.counted("touch_misses", "get_misses", "curr_items") == [1, 0, 0]


def test_get_with_the_cas_of_the_item_reports_it_as_unchanged(cache: Cache) -> None:
    assert cache.meta(unless_cas=1).unchanged
    assert not cache.meta(unless_cas=2).unchanged


def test_get_of_a_missing_item_counts_as_a_miss(cache: Cache) -> None:
    assert cache.ask(Get((b"absent",), None, MetaOptions())) == Values()
    assert cache.counted("get_misses") == [1]


def test_one_wins_the_right_to_make_a_missing_item() -> None:
    cache = Cache()
    assert cache.get(vivify=30) == Item(KEY, b"", 0, 1, meta=ItemMeta(30, won=True))
    assert cache.get(vivify=30) == Item(KEY, b"", 0, 1, meta=ItemMeta(30, True, lost=True))
    assert cache.meta(recache=1000).won is False
    assert cache.ask(Set(KEY, b"made")) == Stored(2)
    assert cache.meta(vivify=30) == ItemMeta(-1)
    assert cache.counted("get_misses", "get_hits", "total_items") == [1, 3, 2]


def test_a_created_item_keeps_the_expiry_that_it_was_created_with() -> None:
    cache = Cache()
    assert cache.meta(-1, vivify=30, new_cas=77) == ItemMeta(30, won=True)
    assert cache.get() == Item(KEY, b"", 0, 77, meta=ItemMeta(30, True, lost=True))


def test_item_that_is_created_with_a_past_expiry_is_not_kept() -> None:
    cache = Cache()
    for _ in range(2):
        assert cache.meta(vivify=-1) == ItemMeta(0, won=True)
    assert len(cache.engine) == 0


@pytest.mark.parametrize(
    ("expiry", "recache", "wins"),
    [(20, 30, True), (30, 30, False), (40, 30, False), (0, 30, False), (20, 0, False), (20, -1, False)],
)
def test_one_wins_the_right_to_make_an_item_anew_before_it_expires(expiry: int, recache: int, wins: bool) -> None:
    cache = Cache()
    cache.ask(Set(KEY, b"value", exptime=expiry))
    assert cache.meta(recache=recache).won is wins
    assert cache.meta(recache=recache) == ItemMeta(expiry or -1, True, lost=wins)


def test_one_client_wins_the_right_to_recompute_a_stale_item(cache: Cache) -> None:
    assert cache.ask(Delete(KEY, 0, MetaOptions(invalidate=True, exptime=30))) == Deleted()
    assert cache.get() == Item(KEY, b"value", 7, 2, meta=ItemMeta(30, won=True, stale=True))
    assert cache.meta() == ItemMeta(30, True, lost=True, stale=True)
    # Marked once more, another may win.
    cache.ask(Delete(KEY, 2, MetaOptions(invalidate=True)))
    assert cache.meta().won
    # All others just get it.
    assert cache.ask(Get((KEY,))) == Values((Item(KEY, b"value", 7, 3),))
    assert cache.ask(Set(KEY, b"new", cas=3)) == Stored(4)
    assert cache.meta() == NOTHING
    assert cache.ask(Delete(KEY, 3, MetaOptions(invalidate=True))) == Failure(Status.KEY_EXISTS)


def test_what_was_made_from_an_older_item_is_stored_stale(cache: Cache) -> None:
    old = MetaOptions(invalidate=True)
    cache.ask(Delete(KEY, 0, MetaOptions(invalidate=True, exptime=30)))
    cache.meta()
    assert cache.ask(Set(KEY, b"no", 0, 0, 1)) == Failure(Status.KEY_EXISTS)
    assert cache.ask(Set(KEY, b"late", 5, 1000, 1, old)) == Stored(3)
    # Its expiry, and that somebody makes it anew, stay.
    assert cache.get() == Item(KEY, b"late", 5, 3, meta=ItemMeta(30, lost=True, stale=True))
    assert cache.ask(Set(KEY, b"no", 0, 0, 4, old)) == Failure(Status.KEY_EXISTS)
    assert cache.ask(Set(KEY, b"right", 0, 0, 3, old)) == Stored(4)
    assert cache.meta() == NOTHING
    assert cache.ask(Set(b"absent", b"", 0, 0, 4, old)) == Failure(Status.KEY_NOT_FOUND)


def test_delete_with_drop_value_keeps_the_item(cache: Cache) -> None:
    assert cache.ask(Delete(KEY, 0, MetaOptions(drop_value=True, new_cas=99))) == Deleted()
    assert cache.get() == Item(KEY, b"", 0, 99, meta=NOTHING)


def test_store_with_new_cas_gives_the_item_that_cas(cache: Cache) -> None:
    own = MetaOptions(new_cas=500)
    assert cache.ask(Set(KEY, b"5", meta=own)) == Stored(500)
    assert cache.ask(Append(KEY, b"0", meta=MetaOptions(new_cas=600))) == Stored(600)
    assert cache.ask(Increment(KEY, meta=MetaOptions(new_cas=700))) == Counter(51, 700)
    assert cache.ask(Set(KEY, b"5")) == Stored(2)
    without = Cache(cas=False)
    assert without.ask(Set(KEY, b"", meta=own)) == Stored(0)


def test_a_base64_key_is_remembered_while_the_item_is_the_same(cache: Cache) -> None:
    encoded = MetaOptions(base64=True)

    def remembers() -> bool:
        item = cache.get(bump=False)
        assert item is not None
        return item.base64

    for change, still in (
        (Increment(KEY), True),
        (Delete(KEY, 0, MetaOptions(invalidate=True)), True),
        (Increment(KEY, 100), False),
        (Append(KEY, b"0"), False),
        (Set(KEY, b""), False),
    ):
        cache.ask(Set(KEY, b"10", meta=encoded))
        assert remembers()
        cache.ask(change)
        assert remembers() is still
    cache.ask(Delete(KEY))
    cache.get(vivify=0, base64=True)
    assert not remembers()


@pytest.mark.parametrize("kind", [Append, Prepend])
def test_append_with_vivify_creates_a_missing_item(cache: Cache, kind: type[Append] | type[Prepend]) -> None:
    assert cache.ask(kind(b"new", b"v")) == Failure(Status.NOT_STORED)
    assert cache.ask(kind(b"new", b"v", 0, MetaOptions(base64=True))) == Failure(Status.NOT_STORED)
    assert cache.ask(kind(b"new", b"v", 0, MetaOptions(vivify=30))) == Stored(2)
    cache.now += 31
    assert cache.ask(Get((b"new",))) == Values()


def test_add_with_the_option_base64_alone_is_refused_if_the_key_exists(cache: Cache) -> None:
    assert cache.ask(Add(KEY, b"", meta=MetaOptions(base64=True))) == Failure(Status.KEY_EXISTS)


def test_incr_with_an_exptime_sets_the_expiry_and_reports_it(cache: Cache) -> None:
    cache.ask(Set(KEY, b"10", exptime=100))
    told = MetaOptions(details=True)
    assert cache.ask(Increment(KEY, meta=told)) == Counter(11, 3, ItemMeta(100))
    assert cache.ask(Decrement(KEY, meta=MetaOptions(exptime=50))) == Counter(10, 4)
    assert cache.ask(Increment(KEY, 90, meta=MetaOptions(exptime=0, details=True))) == Counter(100, 5, NOTHING)
    first = MetaOptions(exptime=30, details=True, ttl_first=True)
    assert cache.ask(Increment(KEY, meta=first)) == Counter(101, 6, NOTHING)
    assert cache.ask(Increment(KEY, meta=told)) == Counter(102, 7, ItemMeta(30))
    # A created one has the expiry that it was created with.
    options = MetaOptions(exptime=30, details=True)
    assert cache.ask(Increment(b"new", 1, 5, 200, 0, options)) == Counter(5, 8, ItemMeta(200))
    assert cache.ask(Increment(b"other", 1, 5, 200)) == Counter(5, 9)


def test_me_gives_the_fields_of_an_item(cache: Cache) -> None:
    cache.now += 3
    fields = {b"exp": b"-1", b"la": b"3", b"cas": b"1", b"fetch": b"no", b"cls": b"1", b"size": b"71"}
    assert cache.ask(MetaDebug(KEY)) == MetaDebugReply(tuple(fields.items()))
    cache.get(100)
    fields |= {b"exp": b"100", b"la": b"0", b"fetch": b"yes"}
    assert cache.ask(MetaDebug(KEY)) == MetaDebugReply(tuple(fields.items()))
    assert cache.ask(MetaDebug(b"absent")) == Failure(Status.KEY_NOT_FOUND)


def test_verbosity_is_answered_ok(cache: Cache) -> None:
    from memproto import Ok

    assert cache.ask(Verbosity(1)) == Ok()


def test_a_get_of_several_keys_with_options_goes_on_behind_a_miss(cache: Cache) -> None:
    reply = cache.ask(Get((b"absent", KEY, b"gone", KEY), meta=MetaOptions()))
    assert isinstance(reply, Values)
    assert [item.key for item in reply.items] == [KEY, KEY]


@pytest.mark.parametrize("exptime", [-1, 1_000_000_000])
def test_a_get_that_sets_a_past_expiry_removes_the_item(cache: Cache, exptime: int) -> None:
    assert len(cache.engine) == 1
    assert cache.get(exptime) is not None
    assert len(cache.engine) == 0


@pytest.mark.parametrize(
    ("recache", "passed", "wins"),
    [
        (100, 0, False),
        (100, 0.5, False),
        (100, 1, True),
        (101, 0, True),
        (99, 0, False),
        (99, 2, True),
        (0, 99.5, False),
    ],
)
def test_who_asks_with_exactly_as_many_seconds_left_as_recache_does_not_win(
    cache: Cache, recache: int, passed: float, wins: bool
) -> None:
    cache.get(100)
    cache.now += passed
    assert cache.meta(recache=recache).won is wins


def test_a_recache_with_a_unix_time_wins_if_the_item_expires_before_it(cache: Cache) -> None:
    cache.get(100)
    assert not cache.meta(recache=int(cache.now) + 100).won
    assert not cache.meta(recache=3_000_000).won
    assert cache.meta(recache=int(cache.now) + 101).won


def test_an_item_without_expiry_is_never_to_be_made_again_early(cache: Cache) -> None:
    assert not cache.meta(recache=2_592_000).won
    assert not cache.meta(recache=2**31).won
