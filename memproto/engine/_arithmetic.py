"""The rules of incr and decr."""

from __future__ import annotations

from memproto.engine._cache import EXISTS, NOT_FOUND, Cache
from memproto.engine._expiry import expires_at
from memproto.engine._meta import counter_meta, expiry_after
from memproto.engine._numbers import add_delta, format_counter, parse_number
from memproto.model import AnyReply, Counter, Decrement, Failure, Increment, Item, Status

_NO_MEMORY_TO_CREATE = Failure(Status.OUT_OF_MEMORY, b"Out of memory allocating new item")
_NO_MEMORY_TO_COUNT = Failure(Status.OUT_OF_MEMORY, b"Out of memory incrementing value")
_NOT_A_NUMBER = Failure(Status.DELTA_BAD_VALUE)


def count(cache: Cache, request: Increment | Decrement, now: float) -> AnyReply:
    """Add to the number that an item's value spells, or subtract from it."""
    up = isinstance(request, Increment)
    entry = cache.items.find(request.key, now)
    if entry is None:
        if request.exptime is not None:
            return _create(cache, request, request.exptime, now)
        cache.counters["incr_misses" if up else "decr_misses"] += 1
        return NOT_FOUND
    old = entry.item
    if not old.value:
        # memcached looks at the length first and at the CAS then.
        return _NOT_A_NUMBER
    if request.cas and old.cas != request.cas:
        return EXISTS
    number = parse_number(old.value)
    if number is None:
        return _NOT_A_NUMBER
    cache.counters["incr_hits" if up else "decr_hits"] += 1
    number = add_delta(number, request.delta if up else -request.delta)
    value = format_counter(old.value, number)
    before = entry.expires
    expires = expiry_after(request.meta, before, now)
    if len(value) > len(old.value):
        if cache.is_too_large(old.key, len(value), old.flags) or not cache.has_room(old.key, len(value)):
            return cache.refuse(request, _NO_MEMORY_TO_COUNT)
        item = Item(old.key, value, old.flags, cache.next_cas(request.meta))
        cache.put(item, expires, now)
    else:
        item = Item(old.key, value, old.flags, cache.next_cas(request.meta), old.base64)
        cache.items.change(entry, item, expires)
    return Counter(number, item.cas, counter_meta(request.meta, before, expires, now))


def _create(cache: Cache, request: Increment | Decrement, exptime: int, now: float) -> AnyReply:
    key, value = request.key, str(request.initial).encode()
    if cache.is_too_large(key, len(value), 0) or not cache.has_room(key, len(value)):
        return cache.refuse(request, _NO_MEMORY_TO_CREATE)
    item = Item(key, value, 0, cache.next_cas(request.meta))
    expires = expires_at(exptime, now)
    cache.put(item, expires, now)
    return Counter(request.initial, item.cas, counter_meta(request.meta, expires, expires, now))
