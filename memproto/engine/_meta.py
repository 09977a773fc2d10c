"""What only the meta commands ask for: details of an item, and which client recomputes a stale or missing one."""

from __future__ import annotations

import math

from memproto.engine._cache import NOT_FOUND, Cache
from memproto.engine._expiry import NEVER, expires_at
from memproto.engine._items import Entry, stored_size
from memproto.limits import MONTH
from memproto.model import AnyReply, Get, Item, ItemMeta, MetaDebug, MetaDebugReply, MetaOptions, Values


def seconds_left(expires: float, now: float) -> int:
    """The time to live as meta reports it: whole seconds, 0 for what is over, -1 for never."""
    return -1 if expires == NEVER else max(math.ceil(expires - now), 0)


def expiry_after(options: MetaOptions | None, expires: float, now: float) -> float:
    """The expiry that an item has after a command that may set it by ``T``."""
    if options is None or options.exptime is None:
        return expires
    return expires_at(options.exptime, now)


def counter_meta(options: MetaOptions | None, before: float, expires: float, now: float) -> ItemMeta | None:
    """What the reply to incr or decr says about the expiry, which was ``before``, if the client asked for it."""
    if options is None or not options.details:
        return None
    return ItemMeta(seconds_left(before if options.ttl_first else expires, now))


def get_with_options(cache: Cache, request: Get, options: MetaOptions, now: float) -> AnyReply:
    """A get with meta options, which may create what it does not find."""
    # A get that sets the expiry counts as a touch.
    hits, misses = ("get_hits", "get_misses") if request.exptime is None else ("touch_hits", "touch_misses")
    found = []
    for key in request.keys:
        entry = cache.items.find(key, now)
        cache.counters[misses if entry is None else hits] += 1
        created = entry is None and options.vivify is not None
        if entry is None:
            if options.vivify is None:
                continue
            # As with memcached such an item does not remember a base64 key.
            item = Item(key, b"", 0, cache.next_cas(options))
            entry = cache.put(item, expires_at(options.vivify, now), now) or Entry(item, now)
            entry.accessed = now
        found.append(_read(cache, entry, created, request, options, now))
    return Values(tuple(found))


def _read(cache: Cache, entry: Entry, created: bool, request: Get, options: MetaOptions, now: float) -> Item:
    """The item as one get with meta options sees it; the entry is changed as the options say.

    Of all clients that see a stale, a new or a soon expiring item, one wins the right to recompute it.
    """
    before = entry.expires
    # A created item has the expiry that it was created with.
    touched = request.exptime is not None and not created
    if touched and request.exptime is not None:
        entry.expires = expires_at(request.exptime, now)
    ends_soon = False
    if options.recache and not created:
        ends_soon = _ends_before(options.recache, entry.expires, now)
    won = created or ((ends_soon or entry.stale) and not entry.leased)
    item = entry.item
    meta = ItemMeta(
        seconds_left(before if options.ttl_first else entry.expires, now),
        entry.fetched,
        max(int(now - entry.accessed), 0),
        won,
        entry.leased,
        entry.stale,
        bool(options.unless_cas) and options.unless_cas == item.cas,
    )
    entry.leased = entry.leased or won
    if options.bump:
        entry.fetched = True
        entry.accessed = now
    if touched and entry.expires <= now:
        cache.items.discard(item.key)
    elif touched:
        cache.items.change(entry, entry.item, entry.expires)
    elif options.bump and item.key in cache.items.entries:
        # A use is no change, so the journal gets no report.
        cache.items.entries.move_to_end(item.key)
    return Item(item.key, item.value, item.flags, item.cas, item.base64, meta)


def _ends_before(recache: int, expires: float, now: float) -> bool:
    """Whether fewer seconds than this are left, as ``t`` reports them; above 30 days it is a Unix time."""
    if recache > MONTH:
        return now < recache and expires < recache
    # As with memcached an item that has exactly so many seconds left does not end before.
    return expires != NEVER and seconds_left(expires, now) < recache


def debug_info(cache: Cache, request: MetaDebug, now: float) -> AnyReply:
    """The reply to ``me``."""
    entry = cache.items.find(request.key, now)
    if entry is None:
        return NOT_FOUND
    item = entry.item
    numbers: dict[bytes, object] = {
        b"exp": seconds_left(entry.expires, now),
        b"la": max(int(now - entry.accessed), 0),
        b"cas": item.cas,
        b"fetch": "yes" if entry.fetched else "no",
        b"cls": 1,
        b"size": stored_size(item.key, len(item.value), item.flags, cache.with_cas),
    }
    return MetaDebugReply(tuple((name, str(value).encode()) for name, value in numbers.items()))
