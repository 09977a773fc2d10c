"""The stores: set, add, replace and compare-and-swap, append and prepend."""

from __future__ import annotations

from memproto.engine._core import Core
from memproto.engine._items import Entry
from memproto.engine._meta import is_outdated
from memproto.engine._rules import expires_at
from memproto.model import Add, AnyReply, Append, Failure, Item, Prepend, Replace, Set, Status, Stored

NOT_FOUND = Failure(Status.KEY_NOT_FOUND)
EXISTS = Failure(Status.KEY_EXISTS)
_NOT_STORED = Failure(Status.NOT_STORED)


class Stores(Core):
    """An engine, as far as it stores values."""

    def _store(self, request: Set | Add | Replace, now: float) -> AnyReply:
        items, key = self._items, request.key
        if self._is_too_large(key, len(request.value), request.flags):
            return self._too_large(request)
        old = items.find(key, now)
        self._counters["cmd_set"] += 1
        refusal = None
        if request.cas and (self._with_cas or request.cas < 0 or (not isinstance(request, Add) and request.strict)):
            # A CAS makes a compare-and-swap of all three, whatever the command.
            refusal = self._compare(request.cas, old)
            if refusal is EXISTS and old is not None and is_outdated(request, old):
                return self._store_stale(request, old, now)
        elif type(request) is Set:
            pass
        elif type(request) is Replace:
            refusal = NOT_FOUND if old is None else None
        elif old is not None:
            # As with memcached, who asks in vain uses the item.
            items.entries.move_to_end(key)
            refusal = EXISTS
        if refusal is not None:
            return refusal
        if not self._evict and not self._has_room(key, len(request.value)):
            return self._no_memory(request)
        item = self._item(request)
        self._put(item, expires_at(request.exptime, now), now)
        return Stored(item.cas)

    def _item(self, request: Set | Add | Replace) -> Item:
        options = request.meta
        base64 = options is not None and options.base64
        return Item(request.key, request.value, request.flags, self._next_cas(options), base64)

    def _store_stale(self, request: Set | Add | Replace, old: Entry, now: float) -> Stored:
        """Store what was computed from an older item than the present one: better than nothing, but stale.

        When it expires, and whether somebody was told to make it anew, stays as it was.
        """
        item, leased = self._item(request), old.leased
        entry = self._put(item, old.expires, now, stale=True)
        assert entry is not None
        entry.leased = leased
        return Stored(item.cas)

    def _compare(self, cas: int, old: Entry | None) -> Failure | None:
        if old is None:
            self._counters["cas_misses"] += 1
            return NOT_FOUND
        # Without CAS numbers nothing matches, not even what a journal remembers.
        if old.item.cas != cas or not self._with_cas:
            self._counters["cas_badval"] += 1
            return EXISTS
        self._counters["cas_hits"] += 1
        return None

    def _concatenate(self, request: Append | Prepend, now: float) -> AnyReply:
        key = request.key
        # The flags that are sent change nothing, but memcached allocates room for them.
        if self._is_too_large(key, len(request.value), request.flags):
            return self._too_large(request)
        entry = self._items.find(key, now)
        self._counters["cmd_set"] += 1
        if entry is None:
            return self._vivified(request, now)
        old = entry.item
        if request.cas and self._with_cas and old.cas != request.cas:
            return EXISTS
        length = len(old.value) + len(request.value)
        if self._is_too_large(key, length, old.flags):
            return _NOT_STORED
        if not self._has_room(key, length):
            return self._no_memory(request)
        value = old.value + request.value if isinstance(request, Append) else request.value + old.value
        self.copied += length
        # As with memcached an item that is made anew from an old one does not remember a base64 key.
        item = Item(old.key, value, old.flags, self._next_cas(request.meta))
        self._put(item, entry.expires, now)
        return Stored(item.cas)

    def _vivified(self, request: Append | Prepend, now: float) -> AnyReply:
        options = request.meta
        if options is None or options.vivify is None:
            return _NOT_STORED
        return self._store(Add(request.key, request.value, 0, options.vivify, 0, options), now)
