"""The numbers that STAT reports, under memcached's names. All items are in one class; nothing is counted by prefix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from memproto.engine._cache import NOT_FOUND, Cache
from memproto.model import AnyReply, Stats, StatsReply

# What STAT slabs repeats for each class.
_OF_SLABS = ("get_hits", "cmd_set", "delete_hits", "incr_hits", "decr_hits", "cas_hits", "cas_badval", "touch_hits")
_PAGE = 1024 * 1024

_Numbers: TypeAlias = Mapping[str, object]


def statistics(cache: Cache, request: Stats, now: float) -> AnyReply:
    """The reply to STAT."""
    numbers_of = _GROUPS.get(request.group)
    if numbers_of is None:
        return NOT_FOUND
    return StatsReply(tuple((name.encode(), str(number).encode()) for name, number in numbers_of(cache).items()))


def _general(cache: Cache) -> _Numbers:
    """The statistics of STAT without a group; the embedder adds those of its process and connections."""
    counters, items = cache.counters, cache.items
    return {
        "cmd_get": counters["get_hits"] + counters["get_misses"],
        "cmd_touch": counters["touch_hits"] + counters["touch_misses"],
        **counters,
        "limit_maxbytes": items.budget,
        "bytes": items.size,
        "curr_items": len(items.entries),
    }


def _settings(cache: Cache) -> _Numbers:
    """The engine's part of STAT settings."""
    return {
        "maxbytes": cache.items.budget,
        "evictions": "on" if cache.evict else "off",
        "cas_enabled": "yes" if cache.with_cas else "no",
        "item_size_max": cache.item_size_max,
        "flush_enabled": "yes" if cache.may_flush else "no",
    }


def _slabs(cache: Cache) -> _Numbers:
    """STAT slabs: one class, with chunks of a byte in pages of a mebibyte, as clients expect there to be some."""
    if not cache.items.entries:
        return {"active_slabs": 0, "total_malloced": 0}
    size = cache.items.size
    pages = -(-size // _PAGE)
    return {
        "1:chunk_size": 1,
        "1:chunks_per_page": _PAGE,
        "1:total_pages": pages,
        "1:total_chunks": pages * _PAGE,
        "1:used_chunks": size,
        "1:free_chunks": pages * _PAGE - size,
        "1:free_chunks_end": 0,
        **{f"1:{name}": cache.counters[name] for name in _OF_SLABS},
        "active_slabs": 1,
        "total_malloced": pages * _PAGE,
    }


def _items(cache: Cache) -> _Numbers:
    """STAT items: one class holds all, and there is nothing to tell of an empty cache."""
    if not cache.items.entries:
        return {}
    return {
        "items:1:number": len(cache.items.entries),
        "items:1:evicted": cache.counters["evictions"],
        "items:1:evicted_unfetched": cache.counters["evicted_unfetched"],
        "items:1:expired_unfetched": cache.counters["expired_unfetched"],
        "items:1:mem_requested": cache.items.size,
    }


def _reset(cache: Cache) -> _Numbers:
    cache.counters.update(dict.fromkeys(cache.counters, 0))
    return {}


_GROUPS: Mapping[bytes, Callable[[Cache], _Numbers]] = {
    b"": _general,
    b"settings": _settings,
    b"slabs": _slabs,
    b"items": _items,
    b"reset": _reset,
    b"sizes": lambda _cache: {"sizes_status": "disabled"},
    b"detail on": lambda _cache: {},
    b"detail off": lambda _cache: {},
    b"detail dump": lambda _cache: {"detailed": "END\r\n"},
}
