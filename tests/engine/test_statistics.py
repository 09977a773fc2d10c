"""What Stats tells, under memcached's names."""

from __future__ import annotations

import pytest

from memproto import (
    Add,
    AnyRequest,
    Append,
    Decrement,
    Delete,
    Failure,
    Flush,
    Get,
    Increment,
    Prepend,
    Replace,
    Set,
    Stats,
    StatsReply,
    Status,
    Touch,
)
from memproto.engine import ITEM_OVERHEAD, Engine

NOW = 1000.0

NOTHING_YET = StatsReply(
    (
        (b"cmd_get", b"0"),
        (b"cmd_touch", b"0"),
        (b"cmd_set", b"0"),
        (b"cmd_flush", b"0"),
        (b"cas_badval", b"0"),
        (b"store_too_large", b"0"),
        (b"store_no_memory", b"0"),
        (b"total_items", b"0"),
        (b"get_hits", b"0"),
        (b"get_misses", b"0"),
        (b"delete_hits", b"0"),
        (b"delete_misses", b"0"),
        (b"incr_hits", b"0"),
        (b"incr_misses", b"0"),
        (b"decr_hits", b"0"),
        (b"decr_misses", b"0"),
        (b"cas_hits", b"0"),
        (b"cas_misses", b"0"),
        (b"touch_hits", b"0"),
        (b"touch_misses", b"0"),
        (b"get_expired", b"0"),
        (b"evictions", b"0"),
        (b"evicted_unfetched", b"0"),
        (b"expired_unfetched", b"0"),
        (b"crawler_reclaimed", b"0"),
        (b"limit_maxbytes", b"67108864"),
        (b"bytes", b"0"),
        (b"curr_items", b"0"),
    )
)


def stats(engine: Engine, group: bytes = b"") -> dict[str, str]:
    reply = engine.execute(Stats(group), NOW)
    assert isinstance(reply, StatsReply)
    return {name.decode(): value.decode() for name, value in reply.stats}


def changed(request: AnyRequest) -> dict[str, int]:
    """What this request has counted, after a counter "n", a text "t" and an item "old" that has expired."""
    engine = Engine()
    for known in (Set(b"n", b"9"), Set(b"t", b"text"), Set(b"old", b"", exptime=-1), Set(b"gone", b"", exptime=1)):
        engine.execute(known, NOW - 1)
    before = stats(engine)
    engine.execute(request, NOW)
    after = stats(engine)
    return {name: int(after[name]) - int(before[name]) for name in after if after[name] != before[name]}


def test_statistics_of_a_new_engine_are_zero() -> None:
    assert Engine().execute(Stats(), NOW) == NOTHING_YET


BOTH = len(b"x") + ITEM_OVERHEAD
GONE = {"get_expired": 1, "expired_unfetched": 1, "curr_items": -1, "bytes": -4 - ITEM_OVERHEAD}


@pytest.mark.parametrize(
    ("request_", "counted"),
    [
        (Get((b"n",)), {"cmd_get": 1, "get_hits": 1}),
        (Get((b"x",)), {"cmd_get": 1, "get_misses": 1}),
        (Get((b"n", b"x", b"t", b"y")), {"cmd_get": 4, "get_hits": 2, "get_misses": 2}),
        (Get((b"old",)), {"cmd_get": 1, "get_misses": 1}),
        (Get((b"gone",)), {"cmd_get": 1, "get_misses": 1, **GONE}),
        (Get((b"n", b"x"), 60), {"cmd_touch": 2, "touch_hits": 1, "touch_misses": 1}),
        (Touch(b"n"), {"cmd_touch": 1, "touch_hits": 1}),
        (Touch(b"x"), {"cmd_touch": 1, "touch_misses": 1}),
        (Touch(b"gone"), {"cmd_touch": 1, "touch_misses": 1, **GONE}),
        (Set(b"x", b""), {"cmd_set": 1, "total_items": 1, "curr_items": 1, "bytes": BOTH}),
        (Set(b"n", b""), {"cmd_set": 1, "total_items": 1, "bytes": -1}),
        (Set(b"n", b"", exptime=-1), {"cmd_set": 1, "total_items": 1, "curr_items": -1, "bytes": -BOTH - 1}),
        (Set(b"n", b"1", cas=1), {"cmd_set": 1, "total_items": 1, "cas_hits": 1}),
        (Set(b"n", b"1", cas=9), {"cmd_set": 1, "cas_badval": 1}),
        (Set(b"x", b"1", cas=9), {"cmd_set": 1, "cas_misses": 1}),
        (Set(b"x", bytes(2**20)), {"store_too_large": 1}),
        (Add(b"n", b""), {"cmd_set": 1}),
        (Replace(b"x", b""), {"cmd_set": 1}),
        (Replace(b"gone", b""), {"cmd_set": 1, **GONE}),
        (Append(b"n", b"0"), {"cmd_set": 1, "total_items": 1, "bytes": 1}),
        (Prepend(b"x", b"0"), {"cmd_set": 1}),
        (Delete(b"n"), {"delete_hits": 1, "curr_items": -1, "bytes": -BOTH - 1}),
        (Delete(b"n", cas=99), {}),
        (Delete(b"x"), {"delete_misses": 1}),
        (Increment(b"n", 0), {"incr_hits": 1}),
        # Written in place it is the same item, but a longer one is another.
        (Increment(b"n", 1), {"incr_hits": 1, "total_items": 1, "bytes": 1}),
        (Increment(b"n", 1, cas=99), {}),
        (Increment(b"t"), {}),
        (Increment(b"x"), {"incr_misses": 1}),
        # As with memcached a counter that is created is no miss, and no set.
        (Increment(b"x", exptime=0), {"total_items": 1, "curr_items": 1, "bytes": BOTH + 1}),
        (Decrement(b"n"), {"decr_hits": 1}),
        (Decrement(b"x"), {"decr_misses": 1}),
        (Decrement(b"x", exptime=0), {"total_items": 1, "curr_items": 1, "bytes": BOTH + 1}),
        (Flush(), {"cmd_flush": 1, "curr_items": -3, "bytes": -3 * ITEM_OVERHEAD - 11}),
        (Flush(100), {"cmd_flush": 1}),
    ],
)
def test_each_request_changes_its_counters(request_: AnyRequest, counted: dict[str, int]) -> None:
    assert changed(request_) == counted


def test_what_counts_without_memory_and_without_flush() -> None:
    engine = Engine(memory_limit=1024, item_size_max=1024, evict=False, flush=False)
    requests = (Set(b"a", b"9" * 20), Set(b"b", bytes(500)), Increment(b"c", exptime=0, initial=10**18), Flush())
    for request in requests:
        engine.execute(request, NOW)
    told = stats(engine)
    assert (told["store_no_memory"], told["cmd_set"], told["total_items"]) == ("2", "2", "1")
    assert told["cmd_flush"] == "0"


def test_evictions_and_whether_anybody_had_asked() -> None:
    engine = Engine(memory_limit=4 * ITEM_OVERHEAD + 100, item_size_max=400)
    for key in (b"a", b"b", b"c", b"d"):
        engine.execute(Set(key, b""), NOW)
    engine.execute(Get((b"a",)), NOW)
    engine.execute(Touch(b"b"), NOW)
    engine.execute(Get((b"c",), 0), NOW)
    for key in (b"e", b"f", b"g", b"h", b"i"):
        engine.execute(Set(key, b""), NOW)
    told = stats(engine)
    # d and e had not been read; a, b and c had been read or touched.
    assert (told["evictions"], told["evicted_unfetched"]) == ("5", "2")
    assert told["curr_items"] == "4"


@pytest.mark.parametrize(
    ("request_", "unfetched"),
    [
        (Get((b"k",)), "0"),
        (Get((b"k",), 1), "0"),
        (Touch(b"k", 1), "0"),
        (Increment(b"k", 0), "1"),
        (Add(b"k", b""), "1"),
        (Append(b"k", b""), "1"),
    ],
)
def test_expired_item_counts_as_unfetched_unless_it_was_read(request_: AnyRequest, unfetched: str) -> None:
    engine = Engine()
    engine.execute(Set(b"k", b"1", exptime=1), NOW - 1.5)
    engine.execute(request_, NOW - 1)
    engine.execute(Get((b"k",)), NOW)
    told = stats(engine)
    assert (told["get_expired"], told["expired_unfetched"]) == ("1", unfetched)


def test_stored_value_counts_as_unfetched_again() -> None:
    for store in (Set(b"k", b"2", exptime=1), Append(b"k", b"2"), Increment(b"k", 5)):
        engine = Engine()
        engine.execute(Set(b"k", b"9", exptime=1), NOW - 1)
        engine.execute(Get((b"k",)), NOW - 1)
        engine.execute(store, NOW - 1)
        engine.execute(Get((b"k",)), NOW)
        assert stats(engine)["expired_unfetched"] == "1"


# --- groups


def test_settings_are_those_of_the_engine() -> None:
    assert stats(Engine(), b"settings") == {
        "maxbytes": "67108864",
        "evictions": "on",
        "cas_enabled": "yes",
        "item_size_max": "1048576",
        "flush_enabled": "yes",
    }
    other = Engine(memory_limit=5000, item_size_max=400, evict=False, cas=False, flush=False)
    assert stats(other, b"settings") == {
        "maxbytes": "5000",
        "evictions": "off",
        "cas_enabled": "no",
        "item_size_max": "400",
        "flush_enabled": "no",
    }


def test_items_are_one_class() -> None:
    engine = Engine()
    assert engine.execute(Stats(b"items"), NOW) == StatsReply()
    engine.execute(Set(b"key", b"value"), NOW)
    assert stats(engine, b"items") == {
        "items:1:number": "1",
        "items:1:evicted": "0",
        "items:1:evicted_unfetched": "0",
        "items:1:expired_unfetched": "0",
        "items:1:mem_requested": str(8 + ITEM_OVERHEAD),
    }


@pytest.mark.parametrize("group", [b"reset", b"detail on", b"detail off"])
def test_stats_group_without_statistics_is_empty(group: bytes) -> None:
    engine = Engine()
    engine.execute(Set(b"key", b"value"), NOW)
    assert engine.execute(Stats(group), NOW) == StatsReply()


def test_slabs_are_one_class_that_agrees_with_the_items() -> None:
    engine = Engine()
    assert stats(engine, b"slabs") == {"active_slabs": "0", "total_malloced": "0"}
    engine.execute(Set(b"key", bytes(1_000_000)), NOW)
    engine.execute(Set(b"key2", bytes(100_000)), NOW)
    engine.execute(Get((b"key",)), NOW)
    told = stats(engine, b"slabs")
    size = stats(engine)["bytes"]
    assert told == {
        "1:chunk_size": "1",
        "1:chunks_per_page": "1048576",
        "1:total_pages": "2",
        "1:total_chunks": "2097152",
        "1:used_chunks": size,
        "1:free_chunks": str(2097152 - int(size)),
        "1:free_chunks_end": "0",
        "1:get_hits": "1",
        "1:cmd_set": "2",
        "1:delete_hits": "0",
        "1:incr_hits": "0",
        "1:decr_hits": "0",
        "1:cas_hits": "0",
        "1:cas_badval": "0",
        "1:touch_hits": "0",
        "active_slabs": "1",
        "total_malloced": "2097152",
    }
    assert stats(engine, b"items")["items:1:mem_requested"] == size


def test_sizes_and_the_dump_are_those_of_a_server_that_does_not_track() -> None:
    assert stats(Engine(), b"sizes") == {"sizes_status": "disabled"}
    assert stats(Engine(), b"detail dump") == {"detailed": "END\r\n"}


@pytest.mark.parametrize("group", [b"nosuch", b"conns", b"detail", b"resetfoo", b"settings ", b"sizes_enable", b"\x00"])
def test_unknown_stats_group_is_not_found(group: bytes) -> None:
    assert Engine().execute(Stats(group), NOW) == Failure(Status.KEY_NOT_FOUND)


def test_reset_forgets_what_was_counted_but_not_what_is_there() -> None:
    engine = Engine(memory_limit=1000, item_size_max=1000)
    engine.execute(Set(b"a", b"", exptime=1), NOW - 1)
    engine.execute(Get((b"a",)), NOW)
    engine.execute(Set(b"b", b""), NOW)
    engine.execute(Set(b"c", bytes(400), exptime=1), NOW - 1)
    assert engine.expire(NOW) == 1
    engine.execute(Set(b"c", bytes(401)), NOW)
    told = stats(engine)
    assert [told[name] for name in ("evictions", "evicted_unfetched", "get_expired", "expired_unfetched")] == list(
        "1112"
    )
    assert told["crawler_reclaimed"] == "1"
    engine.execute(Stats(b"reset"), NOW)
    told = stats(engine)
    assert {name: number for name, number in told.items() if number != "0"} == {
        "limit_maxbytes": "1000",
        "bytes": str(402 + ITEM_OVERHEAD),
        "curr_items": "1",
    }
