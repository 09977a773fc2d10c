"""The rules of get, get-and-touch and touch."""

from __future__ import annotations

from memproto.engine._cache import NOT_FOUND, Cache
from memproto.engine._expiry import expires_at
from memproto.engine._items import Entry
from memproto.engine._meta import get_with_options
from memproto.model import AnyReply, Get, Touch, Touched, Values

_MISS = Values()


def get(cache: Cache, request: Get, now: float) -> AnyReply:
    """The items of the keys that are found."""
    keys = request.keys
    if request.meta is not None:
        return get_with_options(cache, request, request.meta, now)
    if request.exptime is not None:
        # As with memcached's binary protocol these count as touches and not as gets.
        touched = [_touch_entry(cache, key, request.exptime, now) for key in keys]
        return Values(tuple(entry.item for entry in touched if entry is not None))
    entries = cache.items.entries
    if len(keys) == 1:
        # Apart from the rest, because it needs no list.
        (key,) = keys
        entry = entries.get(key)
        if entry is None or entry.expires <= now:
            _miss(cache, key, entry)
            return _MISS
        entries.move_to_end(key)
        entry.fetched = True
        entry.accessed = now
        cache.counters["get_hits"] += 1
        return Values((entry.item,))
    found = []
    for key in keys:
        entry = entries.get(key)
        if entry is None or entry.expires <= now:
            _miss(cache, key, entry)
            continue
        entries.move_to_end(key)
        entry.fetched = True
        entry.accessed = now
        found.append(entry.item)
    cache.counters["get_hits"] += len(found)
    return Values(tuple(found)) if found else _MISS


def _miss(cache: Cache, key: bytes, expired: Entry | None) -> None:
    cache.counters["get_misses"] += 1
    if expired is not None:
        cache.items.expire(key, expired)


def touch(cache: Cache, request: Touch, now: float) -> AnyReply:
    """Give an item another expiry."""
    entry = _touch_entry(cache, request.key, request.exptime, now)
    return NOT_FOUND if entry is None else Touched(entry.item.flags, entry.item.cas)


def _touch_entry(cache: Cache, key: bytes, exptime: int, now: float) -> Entry | None:
    entry = cache.items.find(key, now)
    if entry is None:
        cache.counters["touch_misses"] += 1
        return None
    cache.counters["touch_hits"] += 1
    entry.fetched = True
    expires = expires_at(exptime, now)
    if expires <= now:
        cache.items.discard(key)
    else:
        cache.items.change(entry, entry.item, expires)
    return entry
