"""The engine: each request, the moment it comes, and the reply the rules of memcached give it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TypeVar

from memproto._fields import check_value
from memproto.engine._administer import administer
from memproto.engine._core import JournalState
from memproto.engine._dump import Dump
from memproto.engine._items import Entry, Journal
from memproto.engine._meta import ask, facts, told_of, touched_by
from memproto.engine._rules import NEVER, counted, expires_at, flushes_at, number_in, recounted
from memproto.engine._statistics import COUNTERS, settings, statistics
from memproto.engine._stores import EXISTS, NOT_FOUND, Stores
from memproto.errors import LocalProtocolError
from memproto.model import (
    Add,
    AdminCommand,
    AdminReply,
    AnyReply,
    Append,
    Counter,
    Decrement,
    Delete,
    Deleted,
    Failure,
    Flush,
    Get,
    Increment,
    InvalidRequest,
    Item,
    MetaDebug,
    MetaOptions,
    Noop,
    Ok,
    Prepend,
    Quit,
    Replace,
    Request,
    SaslAuth,
    SaslList,
    SaslStep,
    Set,
    Stats,
    StatsReply,
    Status,
    Touch,
    Touched,
    Unknown,
    UnknownLine,
    Values,
    Verbosity,
    Version,
    VersionReply,
)
from memproto.model._checks import check_request

_MISS = Values()
_NO_MEMORY_TO_CREATE = Failure(Status.OUT_OF_MEMORY, b"Out of memory allocating new item")
_NO_MEMORY_TO_COUNT = Failure(Status.OUT_OF_MEMORY, b"Out of memory incrementing value")
_NOT_A_NUMBER = Failure(Status.DELTA_BAD_VALUE)
_FORBIDDEN = Failure(Status.AUTH_ERROR)
_UNKNOWN = Failure(Status.UNKNOWN_COMMAND)
_OK = Ok()
_BUSY = AdminReply((b"BUSY currently processing crawler request",))
_NO_MARKS = JournalState()
_NOOP = Noop()

R = TypeVar("R")


class Engine(Stores):
    """A cache.

    ``memory_limit`` is the budget of all items and ``item_size_max`` the limit of one, in bytes. Without ``evict``
    a store that does not fit is refused with OUT_OF_MEMORY. Without ``cas`` all CAS are 0, and
    stores that are not ``strict`` ignore the one they carry; without ``flush`` a
    Flush is refused. ``version`` is what Version answers: clients parse it as ``x.y.z`` and choose
    features by it. A ``journal`` is loaded first and told every change; ``marks`` are the :attr:`marks` kept with it.

    Requests that are not a cache's business (SASL, unknown commands) are answered UNKNOWN_COMMAND,
    as memcached answers them in binary without ``-S``.

    Raises :class:`~memproto.LocalProtocolError` for an argument of a wrong type, and for limits that contradict each
    other.
    """

    def __init__(
        self,
        *,
        memory_limit: int = 64 * 1024 * 1024,
        item_size_max: int = 1024 * 1024,
        evict: bool = True,
        cas: bool = True,
        flush: bool = True,
        version: bytes = b"1.6.18",
        journal: Journal | None = None,
        marks: JournalState = _NO_MARKS,
    ) -> None:
        super().__init__(memory_limit, item_size_max, evict, cas, journal, marks)
        check_value("flush", flush, bool)
        check_value("version", version, bytes)
        self._may_flush = flush
        self._version = VersionReply(version)
        # The last one that was begun.
        self._dump = Dump(self._items, lambda _entry: None)
        self._dump.close()
        self._handlers: Mapping[type[Request[object]], Callable[..., AnyReply]] = {
            Get: self._get,
            Set: self._store,
            Add: self._store,
            Replace: self._store,
            Append: self._concatenate,
            Prepend: self._concatenate,
            Delete: self._delete,
            Increment: self._count,
            Decrement: self._count,
            Touch: self._touch,
            Flush: self._flush_whole,
            Stats: self._stats,
            Version: lambda _request, _now: self._version,
            Noop: lambda _request, _now: _OK,
            Quit: lambda _request, _now: _OK,
            InvalidRequest: self._malformed,
            MetaDebug: self._debug,
            AdminCommand: self._administer_whole,
            Verbosity: lambda _request, _now: _OK,
            **dict.fromkeys((SaslList, SaslAuth, SaslStep, Unknown, UnknownLine), lambda _request, _now: _UNKNOWN),
        }

    def execute(self, request: Request[R], now: float) -> R | Failure:
        """Carry out one request at the time ``now``, in Unix seconds, and give its reply.

        Every request has a reply. ``now`` should not go back.

        Raises :class:`~memproto.LocalProtocolError`, with nothing changed, if ``request`` is no request, or if a field
        of it, or ``now``, is of a wrong type, or if ``now`` is infinite or NaN. What the journal
        raises comes out as it is.
        """
        check_request(request)
        try:
            # NaN and infinity are not usual either.
            usual = now < self._flush_at
        except TypeError:
            raise LocalProtocolError(f"now is {type(now).__name__}, must be Unix seconds, a float or an int") from None
        if not usual:
            self._flush_if_due(now)
        # The table gives each request the rule that makes its own kind of reply.
        return self._handlers[type(request)](request, now)  # type: ignore[return-value]

    def begin(self, request: Request[R], now: float) -> R | Failure | Dump:
        """Carry out one request as :meth:`execute` does, but in slices what concerns all items.

        A dump of all items is returned as a :class:`~memproto.engine.Dump`, whose parts the caller reads. There is one
        at a time, and the next is answered with memcached's ``BUSY``. A flush or ``cache_memlimit`` takes effect at
        once and leaves the rest to :meth:`work`, see :attr:`pending`. Any other reply is the same.

        A get of many keys is the caller's to divide: it is the same as a get of each part of the keys.

        Raises what :meth:`execute` raises.
        """
        if not isinstance(request, Flush | AdminCommand):
            return self.execute(request, now)
        check_request(request)
        # This looks at ``now``, and whether a flush is due.
        self.execute(_NOOP, now)
        if isinstance(request, Flush):
            return self._flush(request, now)  # type: ignore[return-value]
        reply = administer(request.words, self._items)
        if isinstance(reply, Dump):
            if not self._dump.done:
                return _BUSY  # type: ignore[return-value]
            self._dump = reply
        return reply  # type: ignore[return-value]

    # --- reading

    def _get(self, request: Get, now: float) -> AnyReply:
        keys = request.keys
        if request.meta is not None:
            return self._meta_get(request, request.meta, now)
        if request.exptime is not None:
            return self._get_and_touch(keys, request.exptime, now)
        entries = self._items.entries
        if len(keys) == 1:
            # Apart from the rest, because it needs no list.
            (key,) = keys
            entry = entries.get(key)
            if entry is None or entry.expires <= now:
                self._missed(key, entry)
                return _MISS
            entries.move_to_end(key)
            entry.fetched = True
            entry.accessed = now
            self._counters["get_hits"] += 1
            return Values((entry.item,))
        found = []
        for key in keys:
            entry = entries.get(key)
            if entry is None or entry.expires <= now:
                self._missed(key, entry)
                continue
            entries.move_to_end(key)
            entry.fetched = True
            entry.accessed = now
            found.append(entry.item)
        self._counters["get_hits"] += len(found)
        return Values(tuple(found)) if found else _MISS

    def _missed(self, key: bytes, expired: Entry | None) -> None:
        self._counters["get_misses"] += 1
        if expired is not None:
            self._items.expire(key, expired)

    def _get_and_touch(self, keys: tuple[bytes, ...], exptime: int, now: float) -> AnyReply:
        # As with memcached's binary protocol these count as touches and not as gets.
        touched = [self._touched(key, exptime, now) for key in keys]
        return Values(tuple(entry.item for entry in touched if entry is not None))

    def _meta_get(self, request: Get, options: MetaOptions, now: float) -> AnyReply:
        # A get that sets the expiry counts as a touch.
        hits, misses = ("get_hits", "get_misses") if request.exptime is None else ("touch_hits", "touch_misses")
        found = []
        for key in request.keys:
            entry = self._items.find(key, now)
            self._counters[misses if entry is None else hits] += 1
            created = entry is None and options.vivify is not None
            if entry is None:
                if options.vivify is None:
                    continue
                # As with memcached such an item does not remember a base64 key.
                item = Item(key, b"", 0, self._next_cas(options))
                entry = self._put(item, expires_at(options.vivify, now), now) or Entry(item, now)
                entry.accessed = now
            found.append(ask(self._items, entry, created, request, options, now))
        return Values(tuple(found))

    def _debug(self, request: MetaDebug, now: float) -> AnyReply:
        entry = self._items.find(request.key, now)
        return NOT_FOUND if entry is None else facts(entry, now, self._with_cas)

    def _touch(self, request: Touch, now: float) -> AnyReply:
        entry = self._touched(request.key, request.exptime, now)
        return NOT_FOUND if entry is None else Touched(entry.item.flags, entry.item.cas)

    def _touched(self, key: bytes, exptime: int, now: float) -> Entry | None:
        entry = self._items.find(key, now)
        if entry is None:
            self._counters["touch_misses"] += 1
            return None
        self._counters["touch_hits"] += 1
        entry.fetched = True
        expires = expires_at(exptime, now)
        if expires <= now:
            self._items.discard(key)
        else:
            self._items.change(entry, entry.item, expires)
        return entry

    # --- the rest

    def _malformed(self, request: InvalidRequest, now: float) -> AnyReply:
        if request.reply.status == Status.VALUE_TOO_LARGE:
            self._too_large(request.request)
        return request.reply

    def _delete(self, request: Delete, now: float) -> AnyReply:
        entry = self._items.find(request.key, now)
        if entry is None:
            self._counters["delete_misses"] += 1
            return NOT_FOUND
        if request.cas and entry.item.cas != max(request.cas, 0):
            return EXISTS
        self._counters["delete_hits"] += 1
        options = request.meta
        if options is None:
            self._items.discard(request.key)
            return Deleted()
        return self._deface(entry, options, now)

    def _deface(self, entry: Entry, options: MetaOptions, now: float) -> AnyReply:
        """A delete that keeps the item: marked stale, or without its value."""
        item = entry.item
        value, flags = (b"", 0) if options.drop_value else (item.value, item.flags)
        item = Item(item.key, value, flags, self._next_cas(options), item.base64)
        expires = touched_by(options, entry.expires, now)
        if options.invalidate:
            entry.stale = True
            # Another may win the right to make it anew.
            entry.leased = False
        self._items.change(entry, item, expires)
        return Deleted()

    def _count(self, request: Increment | Decrement, now: float) -> AnyReply:
        up = isinstance(request, Increment)
        entry = self._items.find(request.key, now)
        if entry is None:
            if request.exptime is not None:
                return self._create_counter(request, request.exptime, now)
            self._counters["incr_misses" if up else "decr_misses"] += 1
            return NOT_FOUND
        old = entry.item
        if not old.value:
            # memcached looks at the length first and at the CAS then.
            return _NOT_A_NUMBER
        if request.cas and old.cas != request.cas:
            return EXISTS
        number = number_in(old.value)
        if number is None:
            return _NOT_A_NUMBER
        self._counters["incr_hits" if up else "decr_hits"] += 1
        number = counted(number, request.delta if up else -request.delta)
        value = recounted(old.value, number)
        before = entry.expires
        expires = touched_by(request.meta, before, now)
        if len(value) > len(old.value):
            if self._is_too_large(old.key, len(value), old.flags) or not self._has_room(old.key, len(value)):
                return self._no_memory(request, _NO_MEMORY_TO_COUNT)
            item = Item(old.key, value, old.flags, self._next_cas(request.meta))
            self._put(item, expires, now)
        else:
            item = Item(old.key, value, old.flags, self._next_cas(request.meta), old.base64)
            self._items.change(entry, item, expires)
        return Counter(number, item.cas, told_of(request.meta, before, expires, now))

    def _create_counter(self, request: Increment | Decrement, exptime: int, now: float) -> AnyReply:
        key, value = request.key, str(request.initial).encode()
        if self._is_too_large(key, len(value), 0) or not self._has_room(key, len(value)):
            return self._no_memory(request, _NO_MEMORY_TO_CREATE)
        item = Item(key, value, 0, self._next_cas(request.meta))
        expires = expires_at(exptime, now)
        self._put(item, expires, now)
        return Counter(request.initial, item.cas, told_of(request.meta, expires, expires, now))

    def _flush(self, request: Flush, now: float) -> AnyReply:
        if not self._may_flush:
            return _FORBIDDEN
        self._counters["cmd_flush"] += 1
        self._flush_at = flushes_at(request.exptime, now)
        if self._flush_at <= now:
            self._items.clear()
            self._flush_at = NEVER
        if self._flush_at == NEVER:
            # memcached numbers a flush among the stores, unless it is put off.
            self._next_cas()
        return _OK

    def _flush_whole(self, request: Flush, now: float) -> AnyReply:
        reply = self._flush(request, now)
        self._items.finish()
        return reply

    def _administer_whole(self, request: AdminCommand, now: float) -> AnyReply:
        reply = administer(request.words, self._items)
        self._items.finish()
        return reply.read(now, sys.maxsize) if isinstance(reply, Dump) else reply

    # --- statistics

    def _stats(self, request: Stats, now: float) -> AnyReply:
        if request.group == b"reset":
            self._counters = dict.fromkeys(COUNTERS, 0)
            self._items.forget_counts()
            return StatsReply()
        if request.group == b"settings":
            return StatsReply(
                settings(self._items.budget, self._item_size_max, self._evict, self._with_cas, self._may_flush)
            )
        return statistics(request.group, self._counters, self._items)
