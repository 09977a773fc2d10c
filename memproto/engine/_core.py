"""What every rule of the engine works with: the items, the counters, the numbers given out."""

from __future__ import annotations

import sys
from typing import NamedTuple

from memproto._fields import check_least, check_time, check_value
from memproto.engine._items import FLAGS_SIZE, Entry, Items, Journal, StoredItem, stored_size
from memproto.engine._rules import NEVER
from memproto.engine._statistics import COUNTERS
from memproto.errors import LocalProtocolError
from memproto.model import Add, Append, Failure, Item, MetaOptions, Prepend, Replace, Set, Status

_TOO_LARGE = Failure(Status.VALUE_TOO_LARGE)
_NO_MEMORY = Failure(Status.OUT_OF_MEMORY, b"Out of memory allocating item")

_STORES = (Set, Add, Replace, Append, Prepend)

# Above this a CAS can only be one that a meta command chose.
_CHOSEN = 1 << 63


class JournalState(NamedTuple):
    """What has to outlive the process beside the items."""

    #: The last CAS that was given out; 0 for none.
    cas: int = 0
    #: When a flush that was put off is due, in Unix seconds; ``math.inf`` for none.
    flush_at: float = NEVER


class Core:
    """The state of an engine, and what its rules share."""

    def __init__(
        self,
        memory_limit: int,
        item_size_max: int,
        evict: bool,
        cas: bool,
        journal: Journal | None,
        marks: JournalState,
    ) -> None:
        check_value("memory_limit", memory_limit, int)
        check_value("item_size_max", item_size_max, int)
        check_value("evict", evict, bool)
        check_value("cas", cas, bool)
        check_value("journal", journal, Journal | None)
        check_value("marks", marks, JournalState)
        if item_size_max < 1 or memory_limit < item_size_max:
            raise LocalProtocolError(f"item_size_max is {item_size_max}, must be 1 to memory_limit ({memory_limit})")
        self._items = Items(memory_limit, journal)
        self._item_size_max = item_size_max
        #: What of an item's size its key, value and flags may have.
        self._item_room = item_size_max - stored_size(b"", 0, 0, cas)
        self._evict = evict
        self._with_cas = cas
        loaded = (entry.item.cas for entry in self._items.entries.values())
        self._cas = max((number for number in loaded if number < _CHOSEN), default=0)
        self._cas = max(self._cas, marks.cas)
        self._flush_at = marks.flush_at
        self._counters = dict.fromkeys(COUNTERS, 0)
        #: How many bytes of values have been copied to append or prepend a few, which the requests do not show.
        self.copied = 0

    def __len__(self) -> int:
        """How many items are held, expired ones that nobody asked for included."""
        return len(self._items.entries)

    @property
    def size(self) -> int:
        """How many bytes of the budget are used."""
        return self._items.size

    @property
    def memory_limit(self) -> int:
        """The budget, which ``cache_memlimit`` may have changed."""
        return self._items.budget

    def shrink(self, size: int, most: int = sys.maxsize) -> int:
        """Evict the least recently used until :attr:`size` is at most this, or one item is left; how many.

        ``most`` is how many at most. For an embedder who sees from outside that memory is short; the budget stays.
        """
        check_least("size", size, 0)
        check_least("most", most, 0)
        return self._items.shrink(size, most)

    @property
    def pending(self) -> bool:
        """Whether a request that was begun has left something for :meth:`work` to do."""
        return self._items.pending

    def work(self, most: int = 1000) -> None:
        """Do a part of what is left: free or evict at most so many items.

        Needed after a flush or a smaller ``cache_memlimit`` that was begun with ``Engine.begin``, and after a flush
        that was put off. If nobody calls it, stores do the work, as far as they need the memory.
        """
        check_least("most", most, 0)
        self._items.work(most)

    # --- for an embedder with a journal

    @property
    def marks(self) -> JournalState:
        """What a journal has to keep beside the items, so that no CAS is given twice and no flush is forgotten.

        Set it back only if no reply that came after has left.
        """
        return JournalState(self._cas, self._flush_at)

    @marks.setter
    def marks(self, marks: JournalState) -> None:
        self._cas, self._flush_at = marks

    def restore(self, key: bytes, saved: StoredItem | None) -> None:
        """Put back what a key had, or that it had nothing, without telling the journal.

        For an embedder whose journal could not keep a change.
        """
        self._items.restore(key, saved)

    def reload(self) -> None:
        """Hold what the journal has and nothing else. Marks and counters stay."""
        self._items.load()

    def expire(self, now: float, most: int = 1000) -> int:
        """Remove those of the next ``most`` items that have expired; how many.

        Called now and then it goes round all of them. Without it an expired item stays until somebody asks
        for it, or until it is the least recently used when room is needed.
        """
        check_time("now", now)
        check_least("most", most, 0)
        self._flush_if_due(now)
        return self._items.crawl(now, most)

    def _flush_if_due(self, now: float) -> None:
        check_time("now", now)
        if now >= self._flush_at:
            self._items.clear()
            self._flush_at = NEVER

    # --- for the rules

    def _next_cas(self, options: MetaOptions | None = None) -> int:
        if not self._with_cas:
            return 0
        if options is not None and options.new_cas:
            return options.new_cas
        self._cas = self._cas + 1
        return self._cas

    def _put(self, item: Item, expires: float, now: float, stale: bool = False) -> Entry | None:
        """Store a new item, which may have expired already: then there is no entry."""
        self._counters["total_items"] += 1
        if expires <= now:
            self._items.discard(item.key)
            return None
        entry = self._items.put(item, expires, stale)
        entry.accessed = now
        return entry

    def _is_too_large(self, key: bytes, length: int, flags: int) -> bool:
        return len(key) + length + (FLAGS_SIZE if flags else 0) > self._item_room

    def _has_room(self, key: bytes, length: int) -> bool:
        return self._evict or self._items.fits(key, length)

    def _too_large(self, request: object) -> Failure:
        self._counters["store_too_large"] += 1
        return self._failed(request, _TOO_LARGE)

    def _no_memory(self, request: object, reply: Failure = _NO_MEMORY) -> Failure:
        self._counters["store_no_memory"] += 1
        return self._failed(request, reply)

    def _failed(self, request: object, reply: Failure) -> Failure:
        # Some stores that fail must not leave the value that they were to replace.
        if isinstance(request, _STORES) and request.unlink:
            self._items.discard(request.key)
        return reply
