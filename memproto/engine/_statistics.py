"""The numbers that STAT reports, under memcached's names."""

from __future__ import annotations

from collections.abc import Mapping

from memproto.engine._items import Items
from memproto.model import AnyReply, Failure, StatsReply, Status

#: What the engine counts; ``cmd_get`` and ``cmd_touch`` are sums of hits and misses.
COUNTERS: tuple[str, ...] = (
    "cmd_set",
    "cmd_flush",
    "get_hits",
    "get_misses",
    "delete_misses",
    "delete_hits",
    "incr_misses",
    "incr_hits",
    "decr_misses",
    "decr_hits",
    "cas_misses",
    "cas_hits",
    "cas_badval",
    "touch_hits",
    "touch_misses",
    "store_too_large",
    "store_no_memory",
    "total_items",
)

# What STAT slabs repeats for each class.
_OF_SLABS = ("get_hits", "cmd_set", "delete_hits", "incr_hits", "decr_hits", "cas_hits", "cas_badval", "touch_hits")
_PAGE = 1024 * 1024

Statistics = tuple[tuple[bytes, bytes], ...]


def _encoded(numbers: Mapping[str, object]) -> Statistics:
    return tuple((name.encode(), str(number).encode()) for name, number in numbers.items())


def statistics(group: bytes, counters: Mapping[str, int], items: Items) -> AnyReply:
    """The reply to STAT with this group. All is in one class; nothing is counted by prefix."""
    if group == b"":
        return StatsReply(_general(counters, items))
    if group == b"items":
        return StatsReply(_item_statistics(items))
    if group == b"sizes":
        return StatsReply(((b"sizes_status", b"disabled"),))
    if group == b"slabs":
        return StatsReply(_slab_statistics(counters, items))
    if group in (b"detail on", b"detail off"):
        return StatsReply()
    if group == b"detail dump":
        return StatsReply(((b"detailed", b"END\r\n"),))
    return Failure(Status.KEY_NOT_FOUND)


def _general(counters: Mapping[str, int], items: Items) -> Statistics:
    """The statistics of STAT without a group; the embedder adds those of its process and connections."""
    return _encoded(
        {
            "cmd_get": counters["get_hits"] + counters["get_misses"],
            "cmd_touch": counters["touch_hits"] + counters["touch_misses"],
            **counters,
            "get_expired": items.expired,
            "limit_maxbytes": items.budget,
            "bytes": items.size,
            "curr_items": len(items.entries),
            "evictions": items.evicted,
            "evicted_unfetched": items.evicted_unfetched,
            "expired_unfetched": items.expired_unfetched,
            "crawler_reclaimed": items.reclaimed,
        }
    )


def settings(budget: int, item_size_max: int, evict: bool, cas: bool, flush: bool) -> Statistics:
    """The engine's part of STAT settings."""
    return _encoded(
        {
            "maxbytes": budget,
            "evictions": "on" if evict else "off",
            "cas_enabled": "yes" if cas else "no",
            "item_size_max": item_size_max,
            "flush_enabled": "yes" if flush else "no",
        }
    )


def _slab_statistics(counters: Mapping[str, int], items: Items) -> Statistics:
    """STAT slabs: one class, with chunks of a byte in pages of a mebibyte, as clients expect there to be some."""
    pages = -(-items.size // _PAGE)
    numbers: dict[str, object] = {}
    if items.entries:
        numbers = {
            "chunk_size": 1,
            "chunks_per_page": _PAGE,
            "total_pages": pages,
            "total_chunks": pages * _PAGE,
            "used_chunks": items.size,
            "free_chunks": pages * _PAGE - items.size,
            "free_chunks_end": 0,
            **{name: counters[name] for name in _OF_SLABS},
        }
    return _encoded(
        {
            **{f"1:{name}": number for name, number in numbers.items()},
            "active_slabs": int(bool(numbers)),
            "total_malloced": pages * _PAGE if numbers else 0,
        }
    )


def _item_statistics(items: Items) -> Statistics:
    """STAT items: one class holds all, and there is nothing to tell of an empty cache."""
    if not items.entries:
        return ()
    numbers = {
        "number": len(items.entries),
        "evicted": items.evicted,
        "evicted_unfetched": items.evicted_unfetched,
        "expired_unfetched": items.expired_unfetched,
        "mem_requested": items.size,
    }
    return _encoded({f"items:1:{name}": number for name, number in numbers.items()})
