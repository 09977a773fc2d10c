"""The rules of delete, which in meta may keep the item, and of flush."""

from __future__ import annotations

from memproto.engine._cache import EXISTS, NOT_FOUND, Cache
from memproto.engine._expiry import NEVER, flushes_at
from memproto.engine._items import Entry
from memproto.engine._meta import expiry_after
from memproto.model import AnyReply, Delete, Deleted, Failure, Flush, Item, MetaOptions, Ok, Status

_FORBIDDEN = Failure(Status.AUTH_ERROR)


def delete(cache: Cache, request: Delete, now: float) -> AnyReply:
    """Remove an item, if the CAS allows it."""
    entry = cache.items.find(request.key, now)
    if entry is None:
        cache.counters["delete_misses"] += 1
        return NOT_FOUND
    if request.cas and entry.item.cas != max(request.cas, 0):
        return EXISTS
    cache.counters["delete_hits"] += 1
    if request.meta is None:
        cache.items.discard(request.key)
    else:
        _mark_stale_or_drop_value(cache, entry, request.meta, now)
    return Deleted()


def _mark_stale_or_drop_value(cache: Cache, entry: Entry, options: MetaOptions, now: float) -> None:
    item = entry.item
    value, flags = (b"", 0) if options.drop_value else (item.value, item.flags)
    item = Item(item.key, value, flags, cache.next_cas(options), item.base64)
    expires = expiry_after(options, entry.expires, now)
    if options.invalidate:
        entry.stale = True
        # Another client may win the right to recompute it.
        entry.leased = False
    cache.items.change(entry, item, expires)


def flush(cache: Cache, request: Flush, now: float) -> AnyReply:
    """Remove all items, now or later. Their memory is freed by ``cache.items.work()``."""
    if not cache.may_flush:
        return _FORBIDDEN
    cache.counters["cmd_flush"] += 1
    cache.flush_at = flushes_at(request.exptime, now)
    if cache.flush_at <= now:
        cache.items.clear()
        cache.flush_at = NEVER
    if cache.flush_at == NEVER:
        # memcached gives a flush a CAS as it does a store, unless the flush is delayed.
        cache.next_cas()
    return Ok()
