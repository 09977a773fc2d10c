"""The engine: a request and its time in, the reply by memcached's rules out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TypeAlias, TypeVar

from memproto import model
from memproto._fields import check_least, check_value
from memproto.engine._admin import administer
from memproto.engine._arithmetic import count
from memproto.engine._cache import TOO_LARGE, Cache
from memproto.engine._deletes import delete, flush
from memproto.engine._dump import Dump
from memproto.engine._items import Items
from memproto.engine._journal import Journal, JournalState, StoredItem
from memproto.engine._meta import debug_info
from memproto.engine._reads import get, touch
from memproto.engine._statistics import statistics
from memproto.engine._stores import concatenate, store
from memproto.errors import LocalProtocolError
from memproto.model import AnyReply, Failure, InvalidRequest, Request, Status, VersionReply
from memproto.model._checks import check_request

_UNKNOWN = Failure(Status.UNKNOWN_COMMAND)
_OK = model.Ok()
_BUSY = model.AdminReply((b"BUSY currently processing crawler request",))
_NEW = JournalState()

R = TypeVar("R")

_Rule: TypeAlias = Callable[..., AnyReply | Dump]


def _refuse(cache: Cache, request: InvalidRequest, now: float) -> AnyReply:
    """The reply that an invalid request brings along; one that is too large counts, and may remove the old item."""
    if request.reply.status == Status.VALUE_TOO_LARGE:
        cache.refuse(request.request, TOO_LARGE)
    return request.reply


def _wholly(rule: _Rule) -> Callable[..., AnyReply]:
    """A rule that leaves work, or a dump, and one that does all of it at once."""

    def carry_out(cache: Cache, request: Request[object], now: float) -> AnyReply:
        reply = rule(cache, request, now)
        cache.items.finish()
        return reply.read(now, sys.maxsize) if isinstance(reply, Dump) else reply

    return carry_out


# The rules of what concerns all items, which may leave work for later.
_IN_SLICES: Mapping[type[Request[object]], _Rule] = {model.Flush: flush, model.AdminCommand: administer}
_RULES: Mapping[type[Request[object]], Callable[..., AnyReply]] = {
    model.Get: get,
    **dict.fromkeys((model.Set, model.Add, model.Replace), store),
    **dict.fromkeys((model.Append, model.Prepend), concatenate),
    model.Delete: delete,
    **dict.fromkeys((model.Increment, model.Decrement), count),
    model.Touch: touch,
    model.MetaDebug: debug_info,
    **{kind: _wholly(rule) for kind, rule in _IN_SLICES.items()},
    model.Stats: statistics,
    InvalidRequest: _refuse,
    model.Version: lambda cache, _request, _now: cache.version,
    **dict.fromkeys((model.Noop, model.Quit, model.Verbosity), lambda _cache, _request, _now: _OK),
    **dict.fromkeys(
        (model.SaslList, model.SaslAuth, model.SaslStep, model.Unknown, model.UnknownLine, model.ClusterConfig),
        lambda _cache, _request, _now: _UNKNOWN,
    ),
}


class Engine:
    """A cache.

    ``memory_limit`` is the budget of all items and ``item_size_max`` the limit of one, in bytes. Without ``evict``
    a store that does not fit is refused with OUT_OF_MEMORY. Without ``cas`` all CAS are 0, and stores that are not
    ``strict`` ignore the CAS of the request. Without ``flush`` a Flush is refused. ``version`` is the reply to Version:
    clients parse it as ``x.y.z`` and choose features by it. The items of a ``journal`` are loaded first, and each
    change is reported to it; ``journal_state`` is the :attr:`journal_state` that was kept with it.

    The reply to requests that do not concern a cache (SASL, unknown commands) is UNKNOWN_COMMAND, as in memcached's
    binary protocol without ``-S``.

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
        journal_state: JournalState = _NEW,
    ) -> None:
        check_value("memory_limit", memory_limit, int)
        check_value("item_size_max", item_size_max, int)
        check_value("evict", evict, bool)
        check_value("cas", cas, bool)
        check_value("journal", journal, Journal | None)
        check_value("journal_state", journal_state, JournalState)
        check_value("flush", flush, bool)
        check_value("version", version, bytes)
        if item_size_max < 1 or memory_limit < item_size_max:
            raise LocalProtocolError(f"item_size_max is {item_size_max}, must be 1 to memory_limit ({memory_limit})")
        self._cache = Cache(
            Items(memory_limit, journal), item_size_max, evict, cas, flush, VersionReply(version), journal_state
        )
        # The last one that was begun.
        self._dump: Dump | None = None

    def execute(self, request: Request[R], now: float) -> R | Failure:
        """Carry out one request at the time ``now``, in Unix seconds, and return its reply.

        Every request has a reply. ``now`` should not go back.

        Raises :class:`~memproto.LocalProtocolError`, with nothing changed, if ``request`` is no request, or if a field
        of it, or ``now``, is of a wrong type, or if ``now`` is infinite or NaN. It passes on
        what the journal raises.
        """
        check_request(request)
        try:
            usual = now < self._cache.flush_at
        except TypeError:
            raise LocalProtocolError(f"now is {type(now).__name__}, must be Unix seconds, a float or an int") from None
        if not usual:
            self._cache.carry_out_delayed_flush(now)
        # The table gives each request the rule that makes its own kind of reply.
        return _RULES[type(request)](self._cache, request, now)  # type: ignore[return-value]

    def begin(self, request: Request[R], now: float) -> R | Failure | Dump:
        """Carry out one request as :meth:`execute` does, but what concerns all items in slices.

        A dump of all items is returned as a :class:`~memproto.engine.Dump`, whose parts the caller reads. There is one
        at a time, and the next is answered with memcached's ``BUSY``. A flush or ``cache_memlimit`` takes effect at
        once and leaves the rest to :meth:`work`, see :attr:`pending`. Any other reply is the same.

        A get of many keys is the caller's to divide: it is the same as a get of each part of the keys.

        Raises what :meth:`execute` raises.
        """
        rule = _IN_SLICES.get(type(request))
        if rule is None:
            return self.execute(request, now)
        check_request(request)
        self._cache.carry_out_delayed_flush(now)
        reply = rule(self._cache, request, now)
        if isinstance(reply, Dump):
            if self._dump is not None and not self._dump.done:
                return _BUSY  # type: ignore[return-value]
            self._dump = reply
        return reply  # type: ignore[return-value]

    # --- memory

    def __len__(self) -> int:
        """How many items are held, including expired ones that no request has found yet."""
        return len(self._cache.items.entries)

    @property
    def size(self) -> int:
        """How many bytes of the budget are used."""
        return self._cache.items.size

    @property
    def memory_limit(self) -> int:
        """The budget in bytes, which ``cache_memlimit`` may have changed."""
        return self._cache.items.budget

    @property
    def copied(self) -> int:
        """How many bytes of values append and prepend have copied so far; the requests do not show it."""
        return self._cache.copied

    def shrink(self, size: int, most: int = sys.maxsize) -> int:
        """Evict the least recently used items until :attr:`size` is at most this, or one item is left; return how many.

        At most ``most`` items are evicted. It is for an embedder who sees that the process is short of memory; the
        budget stays.
        Raises :class:`~memproto.LocalProtocolError` for a negative number.
        """
        check_least("size", size, 0)
        check_least("most", most, 0)
        return self._cache.items.shrink(size, most)

    @property
    def pending(self) -> bool:
        """Whether a request that was begun has left something for :meth:`work` to do."""
        return self._cache.items.pending

    def work(self, most: int = 1000) -> None:
        """Do a part of what is left: free or evict at most so many items.

        Needed after a flush or a smaller ``cache_memlimit`` that was begun with ``Engine.begin``, and after a delayed
        flush. If the embedder does not call it, stores do the work, as far as they need the memory.
        Raises :class:`~memproto.LocalProtocolError` for a negative number.
        """
        check_least("most", most, 0)
        self._cache.items.work(most)

    def expire(self, now: float, most: int = 1000) -> int:
        """Remove those of the next ``most`` items that have expired; return how many.

        An embedder who calls it now and then goes round all items. Without it an expired item stays until a client
        asks for it, or until it is the least recently used when room is needed.
        Raises :class:`~memproto.LocalProtocolError` for a negative number, and for a ``now`` that is no finite number.
        """
        check_least("most", most, 0)
        self._cache.carry_out_delayed_flush(now)
        return self._cache.items.crawl(now, most)

    # --- for an embedder with a journal

    @property
    def journal_state(self) -> JournalState:
        """What a journal has to keep besides the items, so that no CAS is given twice and no flush is forgotten.

        Set it back only if no later reply has been sent.
        """
        return JournalState(self._cache.last_cas, self._cache.flush_at)

    @journal_state.setter
    def journal_state(self, state: JournalState) -> None:
        self._cache.last_cas, self._cache.flush_at = state

    def restore(self, key: bytes, stored: StoredItem | None) -> None:
        """Put back the item that a key had, or none, without a report to the journal.

        For an embedder whose journal could not keep a change.
        """
        self._cache.items.restore(key, stored)

    def reload(self) -> None:
        """Hold the items that the journal has and nothing else. The journal state and the counters stay."""
        self._cache.items.load()
