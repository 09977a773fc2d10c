"""What a cache does, said as plainly as can be: a dict, rebuilt without what has expired before every request."""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from memproto import (
    Add,
    AnyReply,
    AnyRequest,
    Append,
    Counter,
    Decrement,
    Delete,
    Deleted,
    Failure,
    Flush,
    Get,
    Increment,
    Item,
    Ok,
    Prepend,
    Replace,
    Set,
    Status,
    Stored,
    Touch,
    Touched,
    Values,
)

NOT_FOUND, EXISTS, NOT_STORED, NOT_A_NUMBER = map(
    Failure, (Status.KEY_NOT_FOUND, Status.KEY_EXISTS, Status.NOT_STORED, Status.DELTA_BAD_VALUE)
)


class Held(NamedTuple):
    """What the model knows of a key."""

    value: bytes
    flags: int
    end: float
    cas: int = 0


def end_of(exptime: int, now: float) -> float:
    """When an expiry is over."""
    return inf if exptime == 0 else exptime if exptime > 30 * 86400 else now + max(exptime, 0)


def number_of(text: bytes) -> int | None:
    """The number that C's strtoull finds, read byte by byte."""
    rest = text.lstrip(b" \t\n\v\f\r")
    sign = rest[:1] if rest[:1] in (b"+", b"-") else b""
    digits = 0
    while rest[len(sign) + digits : len(sign) + digits + 1].isdigit():
        digits += 1
    behind = rest[len(sign) + digits :]
    if not digits or behind[:1] not in (b"", b"\0", b" ", b"\t", b"\n", b"\v", b"\f", b"\r"):
        return None
    number = int(rest[len(sign) : len(sign) + digits])
    wrapped = -number % 2**64 if sign == b"-" else number
    suspect = wrapped >= 2**63 and b"-" in text.split(b"\0")[0]
    return None if number >= 2**64 or suspect else wrapped


class Model:
    """A cache without limits of size. ``now`` must not go back."""

    def __init__(self) -> None:
        self.held: dict[bytes, Held] = {}
        self.cas = 0
        self.flush = inf

    def put(self, key: bytes, held: Held) -> int:
        self.cas += 1
        self.held[key] = held._replace(cas=self.cas)
        return self.cas

    def execute(self, request: AnyRequest, now: float) -> AnyReply:
        if self.flush <= now:
            self.held, self.flush = {}, inf
        self.held = {key: held for key, held in self.held.items() if held.end > now}
        if isinstance(request, Get):
            return Values(tuple(self.get(key, request.exptime, now) for key in request.keys if key in self.held))
        if isinstance(request, Flush):
            return self.flushed(request.exptime or 0, now)
        assert isinstance(request, Set | Add | Replace | Append | Prepend | Increment | Decrement | Delete | Touch)
        return self.change(request, self.held.get(request.key), now)

    def get(self, key: bytes, exptime: int | None, now: float) -> Item:
        held = self.held[key]
        if exptime is not None:
            self.held[key] = held._replace(end=end_of(exptime, now))
        return Item(key, held.value, held.flags, held.cas)

    def flushed(self, delay: int, now: float) -> AnyReply:
        over = delay > 30 * 86400 and delay <= now - 1
        self.flush = inf if over else end_of(delay, now) - 1 if delay else now
        if self.flush <= now or over:
            self.cas += 1
        return Ok()

    def change(
        self,
        request: Set | Add | Replace | Append | Prepend | Increment | Decrement | Delete | Touch,
        old: Held | None,
        now: float,
    ) -> AnyReply:
        key, cas = request.key, 0 if isinstance(request, Touch) else request.cas
        if isinstance(request, Set | Add | Replace):
            if old is None and (cas or isinstance(request, Replace)):
                return NOT_FOUND
            if old is not None and (cas not in (0, old.cas) or (not cas and isinstance(request, Add))):
                return EXISTS
            return Stored(self.put(key, Held(request.value, request.flags, end_of(request.exptime, now))))
        if old is None:
            if isinstance(request, Increment | Decrement) and request.exptime is not None:
                created = Held(b"%d" % request.initial, 0, end_of(request.exptime, now))
                return Counter(request.initial, self.put(key, created))
            return NOT_STORED if isinstance(request, Append | Prepend) else NOT_FOUND
        if isinstance(request, Touch):
            self.held[key] = old._replace(end=end_of(request.exptime, now))
            return Touched(old.flags, old.cas)
        if isinstance(request, Increment | Decrement) and old.value == b"":
            return NOT_A_NUMBER
        if cas not in (0, old.cas):
            return EXISTS
        if isinstance(request, Delete):
            del self.held[key]
            return Deleted()
        if isinstance(request, Append | Prepend):
            both = old.value + request.value if isinstance(request, Append) else request.value + old.value
            return Stored(self.put(key, old._replace(value=both)))
        number = number_of(old.value)
        if number is None:
            return NOT_A_NUMBER
        up = isinstance(request, Increment)
        number = (number + request.delta) % 2**64 if up else max(number - request.delta, 0)
        return Counter(number, self.put(key, old._replace(value=(b"%d" % number).ljust(len(old.value)))))
