"""Calls, and the judge of what they give back.

Each value names its key and a number of its own, each increment has a delta of its own, and the counters of two keys
never come near each other; so that whatever is handed out tells what it belongs to.
"""

from __future__ import annotations

import enum
import random
from collections import Counter as Tallies
from dataclasses import dataclass, field
from typing import TypeAlias

from memproto import Add, AnyReply, AnyRequest, Counter, Delete, Deleted, Failure, Increment, Set, Status, Stored

VALUES = tuple(b"key-%d" % number for number in range(4))
COUNTERS = tuple(b"counter-%d" % number for number in range(2))
KEYS = VALUES + COUNTERS


class Kind(enum.Enum):
    """The calls that all clients have."""

    GET = "get"
    GETS = "gets"
    MANY = "get of several keys"
    SET = "set"
    ADD = "add"
    CAS = "cas"
    DELETE = "delete"
    INCREMENT = "incr"


@dataclass(frozen=True, slots=True)
class Call:
    """One call. ``fresh`` is whether a CAS is the item's own when the call begins."""

    kind: Kind
    keys: tuple[bytes, ...]
    value: bytes = b""
    delta: int = 0
    fresh: bool = True

    @property
    def key(self) -> bytes:
        """The first of the keys."""
        return self.keys[0]


class Done(enum.Enum):
    """A result that says no more than that the call was carried out."""

    DONE = "done"


#: What a client's adapter makes of a result. A pair is a value and its CAS.
Result: TypeAlias = bytes | tuple[bytes | None, int] | dict[bytes, bytes] | bool | int | Done | None


class Verdict(enum.Enum):
    """What a result is worth."""

    RIGHT = "right"
    WRONG = "wrong"
    LOST = "lost"


_WEIGHTS = {
    Kind.GET: 5,
    Kind.GETS: 1,
    Kind.MANY: 3,
    Kind.SET: 4,
    Kind.ADD: 1,
    Kind.CAS: 1,
    Kind.DELETE: 1,
    Kind.INCREMENT: 2,
}


def calls(seed: str, count: int) -> list[Call]:
    """Calls that follow from the seed."""
    chance = random.Random(seed)
    made = []
    for number in range(count):
        (kind,) = chance.choices(tuple(_WEIGHTS), tuple(_WEIGHTS.values()))
        key = chance.choice(VALUES)
        value = b"%b/serial-%d" % (key, number) + b"." * chance.choice((0, 0, 0, 0, 30, 30, 200, 20_000))
        match kind:
            case Kind.GET:
                made.append(Call(kind, (chance.choice(KEYS),)))
            case Kind.MANY:
                made.append(Call(kind, tuple(chance.sample(KEYS, chance.randint(2, len(KEYS))))))
            case Kind.INCREMENT:
                made.append(Call(kind, (chance.choice(COUNTERS),), delta=number + 1))
            case _:
                made.append(Call(kind, (key,), value, fresh=chance.random() < 0.7))
    return made


@dataclass(slots=True)
class Tally:
    """What came of some schedules."""

    schedules: int = 0
    calls: int = 0
    answers: int = 0
    wrong: int = 0
    lost: int = 0
    raised: int = 0
    stuck: int = 0
    #: How many calls were interrupted.
    interrupted: int = 0
    #: The wrong ones by what they were.
    kinds: Tallies[str] = field(default_factory=Tallies)

    def add(self, other: Tally) -> None:
        """Put the numbers of other schedules to these."""
        for name in ("schedules", "calls", "answers", "wrong", "lost", "raised", "stuck", "interrupted"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.kinds += other.kinds


@dataclass(frozen=True, slots=True)
class _Version:
    tick: int
    value: bytes | None
    cas: int


class Oracle:
    """Watches what the server does, and judges results by it."""

    def __init__(self) -> None:
        self.tick = 0
        self._versions = {key: [_Version(0, None, 0)] for key in KEYS}
        self._issued: set[tuple[bytes, bytes | int]] = set()
        self._done: dict[tuple[bytes, bytes | int], AnyReply] = {}
        self._deletes: list[tuple[int, bytes, AnyReply]] = []
        #: What the server was made to store, count or delete without any call that asked for it.
        self.corrupt = 0

    # --- what happens

    def issue(self, call: Call) -> None:
        """A call begins."""
        self._issued.add(_token(call))

    def executed(self, request: AnyRequest, reply: AnyReply) -> None:
        """The server carried out a request."""
        self.tick += 1
        if isinstance(request, Set | Add):
            self._settle((request.key, request.value), request.key, reply)
            if isinstance(reply, Stored):
                self._versions[request.key].append(_Version(self.tick, request.value, reply.cas))
        elif isinstance(request, Increment):
            self._settle((request.key, request.delta), request.key, reply)
            if isinstance(reply, Counter):
                self._versions[request.key].append(_Version(self.tick, b"%d" % reply.value, reply.cas))
        elif isinstance(request, Delete):
            self.corrupt += (request.key, b"") not in self._issued
            self._deletes.append((self.tick, request.key, reply))
            if isinstance(reply, Deleted):
                self._versions[request.key].append(_Version(self.tick, None, 0))

    def _settle(self, token: tuple[bytes, bytes | int], key: bytes, reply: AnyReply) -> None:
        self.corrupt += token not in self._issued
        self._versions.setdefault(key, [_Version(0, None, 0)])
        self._done[token] = reply

    def cas(self, key: bytes) -> int:
        """The CAS of the item now."""
        return self._versions[key][-1].cas

    # --- judgement

    def judge(self, call: Call, result: Result, began: int, failed: bool) -> Verdict:
        """What the result of a call is worth that began at the tick ``began``.

        ``failed`` is whether the network let the client down during the call: then a false or empty result may be
        how the client tells of it, and the answer is lost, not wrong.
        """
        match call.kind:
            case Kind.GET:
                return self._judge_value(call.key, result, began)
            case Kind.GETS:
                return self._judge_pair(call.key, result, began)
            case Kind.MANY:
                return self._judge_many(call.keys, result, began)
            case Kind.DELETE:
                return self._judge_delete(call, result, began, failed)
            case Kind.INCREMENT:
                truth = self._done.get(_token(call))
                if isinstance(truth, Counter) and result == truth.value:
                    return Verdict.RIGHT
                return _refused(failed and not result)
        return _judge_store(self._done.get(_token(call)), result, failed)

    def _since(self, key: bytes, began: int) -> list[_Version]:
        """What the item was at some time from ``began`` on."""
        versions = self._versions[key]
        last = max(at for at, version in enumerate(versions) if version.tick <= began)
        return versions[last:]

    def _judge_value(self, key: bytes, result: Result, began: int) -> Verdict:
        if result in [version.value for version in self._since(key, began)]:
            return Verdict.RIGHT
        return _refused(result is None)

    def _judge_pair(self, key: bytes, result: Result, began: int) -> Verdict:
        value, cas = result if isinstance(result, tuple) else (result, 0)
        if (value, cas) in [(version.value, version.cas) for version in self._since(key, began)]:
            return Verdict.RIGHT
        return _refused(value is None)

    def _judge_many(self, keys: tuple[bytes, ...], result: Result, began: int) -> Verdict:
        if not isinstance(result, dict) or not result.keys() <= set(keys):
            return Verdict.WRONG
        verdicts = {self._judge_value(key, result.get(key), began) for key in keys}
        return next(each for each in (Verdict.WRONG, Verdict.LOST, Verdict.RIGHT) if each in verdicts)

    def _judge_delete(self, call: Call, result: Result, began: int, failed: bool) -> Verdict:
        truths = [reply for tick, key, reply in self._deletes if tick > began and key == call.key]
        if result is Done.DONE:
            return _refused(False) if not truths else Verdict.RIGHT
        if any(isinstance(reply, Deleted) is (result is True) for reply in truths):
            return Verdict.RIGHT
        return _refused(failed and not result)


def _token(call: Call) -> tuple[bytes, bytes | int]:
    if call.kind is Kind.DELETE:
        return call.key, b""
    return call.key, call.delta if call.kind is Kind.INCREMENT else call.value


def _refused(lost: bool) -> Verdict:
    return Verdict.LOST if lost else Verdict.WRONG


def _judge_store(truth: AnyReply | None, result: Result, failed: bool) -> Verdict:
    if truth is not None and isinstance(truth, Stored) is (result is True):
        return Verdict.RIGHT
    # Refusals of other kinds than these are never given here.
    if isinstance(truth, Failure) and truth.status not in (Status.KEY_EXISTS, Status.KEY_NOT_FOUND, Status.NOT_STORED):
        return Verdict.WRONG
    return _refused(failed and not result)
