"""The items of a cache, the least recently used first, within a budget of bytes."""

from __future__ import annotations

import sys
from collections import OrderedDict

from memproto.engine._journal import Journal, StoredItem
from memproto.model import Item

#: What one item costs besides its key and value, in bytes. memcached's own header is 48 to 56; objects of Python cost
#: more, and the budget is meant for real memory: on CPython 3.11 (``benchmarks/memory.py``) the resident memory of a
#: full cache grows by 500 to 590 per item that expires. 395 to 420 of them are objects (two of ours, the headers of
#: key and value, three numbers, a link of the order); the rest is the table of keys, which doubles at once and is
#: largest just after that, and what the allocator rounds up.
ITEM_OVERHEAD = 560

# memcached's header (48), the key's NUL and the value's CR LF: what counts against the item size limit.
_HEADER = 48 + 1 + 2
#: What flags other than 0 add to it.
FLAGS_SIZE = 4
_CAS = 8

# What is counted here, by the names in STAT.
_COUNTERS = ("get_expired", "evictions", "evicted_unfetched", "expired_unfetched", "crawler_reclaimed")


def stored_size(key: bytes, value_length: int, flags: int, cas: bool = True) -> int:
    """The size of an item as memcached counts it against the item size limit (``-I``), in bytes."""
    return _HEADER + len(key) + value_length + (FLAGS_SIZE if flags else 0) + (_CAS if cas else 0)


class Entry:
    """An item in the cache: what a get returns, and when it expires (Unix time, ``math.inf`` for never)."""

    __slots__ = ("accessed", "expires", "fetched", "item", "leased", "stale")

    def __init__(self, item: Item, expires: float) -> None:
        self.item: Item = item
        self.expires: float = expires
        #: When it was last used.
        self.accessed: float = 0.0
        #: Whether it was read since it was stored.
        self.fetched: bool = False
        #: Whether it was marked stale, and whether a client has won the right to recompute it.
        self.stale: bool = False
        self.leased: bool = False


class Items:
    """Keys to entries in the order of use. ``budget`` is in bytes, counted with :data:`ITEM_OVERHEAD`.

    What concerns all items takes long: :meth:`clear` and :meth:`resize` change the state at once and leave the rest
    to :meth:`work`. Until that is done, a store does as much of it as the store itself needs memory.
    """

    def __init__(self, budget: int, journal: Journal | None) -> None:
        self.entries: OrderedDict[bytes, Entry] = OrderedDict()
        self.budget: int = budget
        self.size: int = 0
        self.counters: dict[str, int] = dict.fromkeys(_COUNTERS, 0)
        self._uncrawled: list[bytes] = []
        # Tables of entries that were cleared, not yet freed, and how many bytes of the budget they still take.
        self._cleared: list[OrderedDict[bytes, Entry]] = []
        self._cleared_size = 0
        # How large ``size`` may become before something has to go.
        self._room = budget
        self._journal = journal
        self.load()

    def load(self) -> None:
        """Hold what the journal has, as much of it as the budget allows, and nothing else."""
        self.entries.clear()
        self.size = 0
        if self._journal is None:
            return
        full = False
        for item, expires, stale in self._journal.newest_first():
            if item.key in self.entries:
                # An older one that was replaced.
                continue
            cost = _cost(item)
            full = bool(self.entries) and self.size + cost > self.budget
            if full:
                break
            entry = self.entries[item.key] = Entry(item, expires)
            entry.stale = stale
            self.entries.move_to_end(item.key, last=False)
            self.size += cost
        if full:
            # Only now, because a journal need not bear to be changed while it is read.
            self._journal.keep_newest(len(self.entries))
        self._set_room()

    def restore(self, key: bytes, stored: StoredItem | None) -> None:
        """Put back what a key had, or that it had nothing, without telling the journal."""
        entry = self.entries.pop(key, None)
        if entry is not None:
            self.size -= _cost(entry.item)
        if stored is not None:
            self._insert(*stored)

    def find(self, key: bytes, now: float) -> Entry | None:
        """The entry of a key that is there and has not expired. Its place in the order stays."""
        entry = self.entries.get(key)
        if entry is None:
            return None
        if entry.expires <= now:
            self.expire(key, entry)
            return None
        return entry

    def expire(self, key: bytes, entry: Entry, counter: str = "get_expired") -> None:
        """Remove an entry that was found to have expired."""
        self.counters[counter] += 1
        self.counters["expired_unfetched"] += not entry.fetched
        self.discard(key)

    def crawl(self, now: float, most: int) -> int:
        """Look at the next ``most`` entries, all of them in turn, and remove those that have expired; how many."""
        if not self._uncrawled:
            self._uncrawled = self.keys()
        before = self.counters["crawler_reclaimed"]
        for _ in range(min(most, len(self._uncrawled))):
            key = self._uncrawled.pop()
            entry = self.entries.get(key)
            if entry is not None and entry.expires <= now:
                self.expire(key, entry, "crawler_reclaimed")
        return self.counters["crawler_reclaimed"] - before

    def keys(self) -> list[bytes]:
        """All keys, in no special order, which changes all the time."""
        # The iterator of OrderedDict itself looks each key up, and takes 30 times as long.
        return list(dict.__iter__(self.entries))

    def fits(self, key: bytes, length: int) -> bool:
        """Whether a value of this length fits in the budget without evicting any other than its own predecessor."""
        old = self.entries.get(key)
        cost = ITEM_OVERHEAD + len(key) + length
        return self.size + cost - (0 if old is None else _cost(old.item)) <= self.budget

    def put(self, item: Item, expires: float, stale: bool = False) -> Entry:
        """Store, as the most recently used, and evict from the other end until the budget holds."""
        entry = self._insert(item, expires, stale)
        if self._journal is not None or self.size > self._room:
            self._settle(entry)
        return entry

    def change(self, entry: Entry, item: Item, expires: float) -> None:
        """Give an entry another item of the same key, or another expiry; it becomes the most recently used."""
        self._set(entry, item, expires)
        self._settle(entry)

    def _insert(self, item: Item, expires: float, stale: bool = False) -> Entry:
        entry = self.entries.get(item.key)
        if entry is None:
            entry = self.entries[item.key] = Entry(item, expires)
            self.size += _cost(item)
        else:
            entry.fetched = entry.leased = False
            self._set(entry, item, expires)
        entry.stale = stale
        return entry

    def _set(self, entry: Entry, item: Item, expires: float) -> None:
        # The key is the same, and so is the rest of what an item costs.
        self.size += len(item.value) - len(entry.item.value)
        entry.item = item
        entry.expires = expires
        self.entries.move_to_end(item.key)

    def _settle(self, entry: Entry) -> None:
        if self._journal is not None:
            self._journal.put(StoredItem(entry.item, entry.expires, entry.stale))
        if self.size > self._room:
            self._make_room()

    def _make_room(self) -> None:
        while self._cleared and self.size > self._room:
            self._discard_one()
        self.shrink(self._room)

    def shrink(self, size: int, most: int = sys.maxsize) -> int:
        """Evict the least recently used, at most so many, until no more than ``size`` bytes are used; how many."""
        evicted = 0
        # The last one stays, whatever its size: it has just been stored.
        while self.size > size and len(self.entries) > 1 and evicted < most:
            key, entry = next(iter(self.entries.items()))
            evicted += 1
            self.counters["evictions"] += 1
            self.counters["evicted_unfetched"] += not entry.fetched
            self.discard(key)
        return evicted

    def resize(self, budget: int) -> None:
        """Change the budget. What no longer fits is evicted by :meth:`work`; until then ``size`` does not grow."""
        self.budget = budget
        self._set_room()

    # --- work that is left over

    @property
    def pending(self) -> bool:
        """Whether there is something for :meth:`work` to do."""
        return bool(self._cleared) or (self.size > self.budget and len(self.entries) > 1)

    def work(self, most: int) -> None:
        """Free at most so many of the entries that were cleared or have no room; ``budget`` holds when all is done."""
        done = 0
        while self._cleared and done < most:
            self._discard_one()
            done += 1
        self.shrink(self.budget, most - done)
        self._set_room()

    def finish(self) -> None:
        """Do all the work that is left."""
        self._cleared.clear()
        self._cleared_size = 0
        self.work(sys.maxsize)

    def _set_room(self) -> None:
        # Whatever is left to do, the whole must not grow meanwhile.
        self._room = max(self.budget - self._cleared_size, self.size)

    def _discard_one(self) -> None:
        table = self._cleared[-1]
        _, entry = table.popitem()
        cost = _cost(entry.item)
        self._cleared_size -= cost
        self._room += cost
        if not table:
            self._cleared.pop()

    def discard(self, key: bytes) -> None:
        """Remove the entry of a key, if there is one."""
        entry = self.entries.pop(key, None)
        if entry is not None:
            self.size -= _cost(entry.item)
            if self._journal is not None:
                self._journal.discard(key)

    def clear(self) -> None:
        """Remove all. Their memory is freed by :meth:`work`, and counts against the budget until then."""
        if self.entries:
            self._cleared.append(self.entries)
            self._cleared_size += self.size
            self.entries = OrderedDict()
            self.size = 0
            self._set_room()
        if self._journal is not None:
            self._journal.clear()


def _cost(item: Item) -> int:
    return ITEM_OVERHEAD + len(item.key) + len(item.value)
