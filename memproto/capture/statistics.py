"""What a whole capture amounts to: commands, hit rate, hot keys, sizes, expiries, errors, slowest. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from heapq import heappush, heappushpop
from typing import Final

from memproto import NoReply, ObservedExchange, Values
from memproto.capture.follower import Record
from memproto.capture.lines import format_line
from memproto.capture.summary import Summary, shown
from memproto.engine import MONTH
from memproto.model import Add, Get, Replace, Set, Touch

__all__ = ["Statistics"]

_TOP: Final = 10
# So many keys are counted; then those that were counted least are forgotten.
_MAX_KEYS: Final = 100_000
_AT_ONCE: Final = -1
_UNIX_TIME: Final = 64
_EXPIRIES: Final = {_AT_ONCE: "at once", 0: "never", 1: "1 second", _UNIX_TIME: "at a Unix time"}
# Statuses that say neither a success nor a failure of the server.
_NO_ERRORS: Final = frozenset(
    {"hit", "miss", "stored", "deleted", "touched", "ok", "authenticated", "challenge", "silent"}
)


class Statistics:
    """Counts the records that it is given."""

    def __init__(self) -> None:
        self.exchanges: int = 0
        self.commands: Final[Counter[str]] = Counter()
        #: Keys that were asked for, and found.
        self.asked: int = 0
        self.found: int = 0
        self.keys: Final[Counter[bytes]] = Counter()
        #: Sizes of values, and expiries in seconds, by the power of two that bounds them. The expiries that are no
        #: seconds from now have numbers of their own.
        self.sizes: Final[Counter[int]] = Counter()
        self.expiries: Final[Counter[int]] = Counter()
        self.errors: Final[Counter[str]] = Counter()
        #: Latency, order of arrival, line.
        self._slowest: list[tuple[float, int, str]] = []
        self._first: float | None = None
        self._last: float | None = None

    def add(self, record: Record, summary: Summary) -> None:
        """Count one record."""
        event = record.event
        if record.time is not None:
            self._first = record.time if self._first is None else min(self._first, record.time)
            self._last = record.time if self._last is None else max(self._last, record.time)
        if summary.status not in _NO_ERRORS:
            self.errors[summary.status] += 1
        if not isinstance(event, ObservedExchange):
            return
        self.exchanges += 1
        if not event.certain:
            self.errors["not certain"] += 1
        self.commands[f"{summary.dialect} {summary.command}"] += 1
        for key in summary.keys:
            self.keys[key] += 1
        if len(self.keys) > _MAX_KEYS:
            for key, _ in self.keys.most_common()[_MAX_KEYS // 2 :]:
                del self.keys[key]
        self._count_values(event)
        if record.latency is not None:
            entry = (record.latency, -self.exchanges, "")
            if len(self._slowest) < _TOP:
                heappush(self._slowest, (*entry[:2], format_line(record, summary)))
            elif entry > self._slowest[0]:
                heappushpop(self._slowest, (*entry[:2], format_line(record, summary)))

    def _count_values(self, event: ObservedExchange) -> None:
        request, reply = event.envelope.request, event.reply
        if isinstance(request, Set | Add | Replace):
            self.sizes[len(request.value).bit_length()] += 1
            self.expiries[_expiry_bits(request.exptime)] += 1
        elif isinstance(request, Touch):
            self.expiries[_expiry_bits(request.exptime)] += 1
        elif isinstance(request, Get) and not isinstance(reply, NoReply):
            self.asked += len(request.keys)
            if isinstance(reply, Values):
                self.found += len(reply.items)
                for item in reply.items:
                    self.sizes[len(item.value).bit_length()] += 1

    def format(self) -> str:
        """Return all of it as text."""
        seconds = 0.0 if self._first is None or self._last is None else self._last - self._first
        lines = [f"{self.exchanges} exchanges" + (f" in {seconds:.3f} s" if seconds else "")]
        if self.asked:
            lines.append(f"{self.found} of {self.asked} keys found: hit rate {100 * self.found / self.asked:.1f} %")
        for title, rows in (
            ("commands", _ranked((name, str(count)) for name, count in self.commands.most_common())),
            ("hot keys", _ranked((shown(key), str(count)) for key, count in self.keys.most_common(_TOP))),
            ("sizes of values", _powers(self.sizes, "bytes", {0: "0 bytes", 1: "1 byte"})),
            ("expiries", _powers(self.expiries, "seconds", _EXPIRIES)),
            ("errors and events", _ranked((name, str(count)) for name, count in self.errors.most_common())),
            ("slowest", [line for *_, line in sorted(self._slowest, reverse=True)]),
        ):
            if rows:
                lines += ["", title, *(f"  {row}" for row in rows)]
        return "\n".join(lines)


def _ranked(rows: Iterable[tuple[str, str]]) -> list[str]:
    rows = list(rows)
    width = max((len(count) for _, count in rows), default=0)
    return [f"{count:>{width}}  {name}" for name, count in rows]


def _expiry_bits(exptime: int) -> int:
    if exptime < 0:
        return _AT_ONCE
    return exptime.bit_length() if exptime <= MONTH else _UNIX_TIME


def _powers(counts: Counter[int], unit: str, names: dict[int, str]) -> list[str]:
    """Return how many numbers are below each power of two, and not below the one before; some have a name instead."""

    def name(bits: int) -> str:
        return names.get(bits) or f"{1 << (bits - 1)} to {(1 << bits) - 1} {unit}"

    return _ranked((name(bits), str(counts[bits])) for bits in sorted(counts))
