"""The state that every rule of the cache works with: the items, the counters, the CAS numbers given out."""

from __future__ import annotations

from memproto._fields import check_time
from memproto.engine._expiry import NEVER
from memproto.engine._items import FLAGS_SIZE, Entry, Items, stored_size
from memproto.engine._journal import JournalState
from memproto.model import Add, Append, Failure, Item, MetaOptions, Prepend, Replace, Set, Status, VersionReply

NOT_FOUND = Failure(Status.KEY_NOT_FOUND)
EXISTS = Failure(Status.KEY_EXISTS)
TOO_LARGE = Failure(Status.VALUE_TOO_LARGE)
NO_MEMORY = Failure(Status.OUT_OF_MEMORY, b"Out of memory allocating item")

_STORES = (Set, Add, Replace, Append, Prepend)

# Above this a CAS can only be one that a meta command chose.
_CHOSEN_CAS = 1 << 63

# What the rules count, by the names in STAT; ``cmd_get`` and ``cmd_touch`` are sums of hits and misses.
_HITS_AND_MISSES = ("get", "delete", "incr", "decr", "cas", "touch")
_COUNTERS = (
    *("cmd_set", "cmd_flush", "cas_badval", "store_too_large", "store_no_memory", "total_items"),
    *(f"{command}_{outcome}" for command in _HITS_AND_MISSES for outcome in ("hits", "misses")),
)


class Cache:
    """The state of an engine. The rules are functions that take it, a request and the time."""

    def __init__(
        self,
        items: Items,
        item_size_max: int,
        evict: bool,
        with_cas: bool,
        may_flush: bool,
        version: VersionReply,
        state: JournalState,
    ) -> None:
        self.items = items
        self.item_size_max = item_size_max
        # How many bytes of an item's size its key, value and flags may take.
        self._item_room = item_size_max - stored_size(b"", 0, 0, with_cas)
        self.evict = evict
        self.with_cas = with_cas
        self.may_flush = may_flush
        self.version = version
        loaded = (entry.item.cas for entry in items.entries.values())
        self.last_cas = max((number for number in loaded if number < _CHOSEN_CAS), default=0)
        self.last_cas = max(self.last_cas, state.cas)
        self.flush_at = state.flush_at
        # One table with what the items count.
        self.counters = items.counters = dict.fromkeys(_COUNTERS, 0) | items.counters
        #: How many bytes of values append and prepend have copied.
        self.copied = 0

    def next_cas(self, options: MetaOptions | None = None) -> int:
        """The CAS of an item that is stored now; a meta command may choose it."""
        if not self.with_cas:
            return 0
        if options is not None and options.new_cas:
            return options.new_cas
        self.last_cas = self.last_cas + 1
        return self.last_cas

    def put(self, item: Item, expires: float, now: float, stale: bool = False) -> Entry | None:
        """Store a new item. If it has expired already, there is no entry."""
        self.counters["total_items"] += 1
        if expires <= now:
            self.items.discard(item.key)
            return None
        entry = self.items.put(item, expires, stale)
        entry.accessed = now
        return entry

    def is_too_large(self, key: bytes, length: int, flags: int) -> bool:
        """Whether an item with a value of this length is over the item size limit."""
        return len(key) + length + (FLAGS_SIZE if flags else 0) > self._item_room

    def has_room(self, key: bytes, length: int) -> bool:
        """Whether a value of this length can be stored: without eviction it must fit into the budget."""
        return self.evict or self.items.fits(key, length)

    def refuse(self, request: object, reply: Failure) -> Failure:
        """Count a store that is over the item size limit or has no room, and return its reply."""
        self.counters["store_too_large" if reply.status == Status.VALUE_TOO_LARGE else "store_no_memory"] += 1
        # Some stores that fail must not leave the value that they were to replace.
        if isinstance(request, _STORES) and (isinstance(request, Set) if request.unlink is None else request.unlink):
            self.items.discard(request.key)
        return reply

    def carry_out_delayed_flush(self, now: float) -> None:
        """Carry out a delayed flush whose time has come. Raises LocalProtocolError if ``now`` is no finite time."""
        check_time("now", now)
        if now >= self.flush_at:
            self.items.clear()
            self.flush_at = NEVER
