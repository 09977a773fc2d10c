"""The rules of set, add, replace, compare-and-swap, append and prepend."""

from __future__ import annotations

from memproto.engine._cache import EXISTS, NO_MEMORY, NOT_FOUND, TOO_LARGE, Cache
from memproto.engine._expiry import expires_at
from memproto.engine._items import Entry
from memproto.model import Add, AnyReply, Append, Failure, Item, Prepend, Replace, Set, Status, Stored

_NOT_STORED = Failure(Status.NOT_STORED)


def store(cache: Cache, request: Set | Add | Replace, now: float) -> AnyReply:
    """Store an item, if the command's condition and the CAS allow it."""
    items, key = cache.items, request.key
    if cache.is_too_large(key, len(request.value), request.flags):
        return cache.refuse(request, TOO_LARGE)
    old = items.find(key, now)
    cache.counters["cmd_set"] += 1
    refusal = None
    if request.cas and (cache.with_cas or request.cas < 0 or request.strict):
        # A CAS makes a compare-and-swap of all three, whatever the command.
        refusal = _compare(cache, request.cas, old)
        if refusal is EXISTS and old is not None and _is_outdated(request, old):
            return _store_stale(cache, request, old, now)
    elif type(request) is Set:
        pass
    elif type(request) is Replace:
        refusal = NOT_FOUND if old is None else None
    elif old is not None:
        # As with memcached an add that is refused uses the item.
        items.entries.move_to_end(key)
        refusal = EXISTS
    if refusal is not None:
        return refusal
    if not cache.evict and not cache.has_room(key, len(request.value)):
        return cache.refuse(request, NO_MEMORY)
    item = _item(cache, request)
    cache.put(item, expires_at(request.exptime, now), now)
    return Stored(item.cas)


def _item(cache: Cache, request: Set | Add | Replace) -> Item:
    options = request.meta
    base64 = options is not None and options.base64
    return Item(request.key, request.value, request.flags, cache.next_cas(options), base64)


def _compare(cache: Cache, cas: int, old: Entry | None) -> Failure | None:
    if old is None:
        cache.counters["cas_misses"] += 1
        return NOT_FOUND
    # Without CAS numbers nothing matches, not even what a journal remembers.
    if old.item.cas != cas or not cache.with_cas:
        cache.counters["cas_badval"] += 1
        return EXISTS
    cache.counters["cas_hits"] += 1
    return None


def _is_outdated(request: Set | Add | Replace, entry: Entry) -> bool:
    """Whether a refused compare-and-swap comes from an older item and asks to be stored as stale then."""
    options = request.meta
    return options is not None and options.invalidate and 0 < request.cas < entry.item.cas


def _store_stale(cache: Cache, request: Set | Add | Replace, old: Entry, now: float) -> Stored:
    """Store a value that was computed from an older item than the present one, and mark it stale.

    Its expiry stays, and so does whether a client has won the right to recompute it.
    """
    item, leased = _item(cache, request), old.leased
    entry = cache.put(item, old.expires, now, stale=True)
    assert entry is not None
    entry.leased = leased
    return Stored(item.cas)


def concatenate(cache: Cache, request: Append | Prepend, now: float) -> AnyReply:
    """Append to an item's value, or prepend."""
    key = request.key
    # The flags that are sent change nothing, but memcached allocates room for them.
    if cache.is_too_large(key, len(request.value), request.flags):
        return cache.refuse(request, TOO_LARGE)
    entry = cache.items.find(key, now)
    cache.counters["cmd_set"] += 1
    if entry is None:
        return _create(cache, request, now)
    old = entry.item
    if request.cas and cache.with_cas and old.cas != request.cas:
        return EXISTS
    length = len(old.value) + len(request.value)
    if cache.is_too_large(key, length, old.flags):
        return _NOT_STORED
    if not cache.has_room(key, length):
        return cache.refuse(request, NO_MEMORY)
    value = old.value + request.value if isinstance(request, Append) else request.value + old.value
    cache.copied += length
    # As with memcached the new item does not remember a base64 key.
    item = Item(old.key, value, old.flags, cache.next_cas(request.meta))
    cache.put(item, entry.expires, now)
    return Stored(item.cas)


def _create(cache: Cache, request: Append | Prepend, now: float) -> AnyReply:
    """Without an item there is nothing to append to, unless a meta option asks for a new one."""
    options = request.meta
    if options is None or options.vivify is None:
        return _NOT_STORED
    return store(cache, Add(request.key, request.value, 0, options.vivify, 0, options), now)
