"""What only the meta commands ask: facts about an item, and who is to make a stale or missing one anew."""

from __future__ import annotations

import math

from memproto.engine._items import Entry, Items, stored_size
from memproto.engine._rules import MONTH, NEVER, expires_at
from memproto.model import Add, Get, Item, ItemMeta, MetaDebugReply, MetaOptions, Replace, Set


def seconds_left(expires: float, now: float) -> int:
    """The time to live as meta tells it: whole seconds, 0 for what is over, -1 for never."""
    return -1 if expires == NEVER else max(math.ceil(expires - now), 0)


def touched_by(options: MetaOptions | None, expires: float, now: float) -> float:
    """The expiry that an item has after a command that may set it by ``T``."""
    if options is None or options.exptime is None:
        return expires
    return expires_at(options.exptime, now)


def told_of(options: MetaOptions | None, before: float, expires: float, now: float) -> ItemMeta | None:
    """What a counter's reply tells of its expiry, which was ``before``, if it was asked for."""
    if options is None or not options.details:
        return None
    return ItemMeta(seconds_left(before if options.ttl_first else expires, now))


def ask(items: Items, entry: Entry, created: bool, request: Get, options: MetaOptions, now: float) -> Item:
    """The item as one get with meta options sees it; the entry is changed as the options say.

    Of all who see a stale, a freshly created or an early expiring item one wins the right to make it anew.
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
    told = ItemMeta(
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
        items.discard(item.key)
    elif touched:
        items.change(entry, entry.item, entry.expires)
    elif options.bump and item.key in items.entries:
        # A use is no change, so that no journal is told.
        items.entries.move_to_end(item.key)
    return Item(item.key, item.value, item.flags, item.cas, item.base64, told)


def _ends_before(recache: int, expires: float, now: float) -> bool:
    """Whether fewer seconds than this are left, as ``t`` tells them; from 30 days on it is a Unix time, as always."""
    if recache > MONTH:
        return now < recache and expires < recache
    # As with memcached an item that has exactly so many seconds left does not end before.
    return expires != NEVER and seconds_left(expires, now) < recache


def is_outdated(request: Set | Add | Replace, entry: Entry) -> bool:
    """Whether a refused compare-and-swap comes from an older item and asks to be stored as stale then."""
    options = request.meta
    return options is not None and options.invalidate and 0 < request.cas < entry.item.cas


def facts(entry: Entry, now: float, cas: bool) -> MetaDebugReply:
    """What ``me`` tells of an item."""
    item = entry.item
    numbers: dict[bytes, object] = {
        b"exp": seconds_left(entry.expires, now),
        b"la": max(int(now - entry.accessed), 0),
        b"cas": item.cas,
        b"fetch": "yes" if entry.fetched else "no",
        b"cls": 1,
        b"size": stored_size(item.key, len(item.value), item.flags, cas),
    }
    return MetaDebugReply(tuple((name, str(value).encode()) for name, value in numbers.items()))
