"""Which requests meet with which fault."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from fnmatch import fnmatchcase
from types import TracebackType
from typing import Self, TypeAlias, get_args

from memproto import (
    Add,
    AnyRequest,
    Append,
    Decrement,
    Delete,
    Failure,
    Get,
    Increment,
    LocalProtocolError,
    MetaDebug,
    Prepend,
    Replace,
    Set,
    Touch,
)
from memproto.testing.arguments import check_count, check_type, misuse
from memproto.testing.fake.faults import Fault, Reply, check_fault

#: The requests that a rule is for: one class, several, or ``None`` for all.
Kinds: TypeAlias = type[AnyRequest] | tuple[type[AnyRequest], ...] | None

_KINDS: tuple[type[AnyRequest], ...] = get_args(AnyRequest)


#: The requests with one key.
_Keyed: TypeAlias = Set | Add | Replace | Append | Prepend | Delete | Increment | Decrement | Touch | MetaDebug


def keys_of(request: AnyRequest) -> tuple[bytes, ...]:
    """The keys that a request names, none for one that names no item."""
    if isinstance(request, Get):
        return request.keys
    return (request.key,) if isinstance(request, _Keyed) else ()


class UnusedRuleWarning(UserWarning):
    """A rule has ended, and no request met with its fault: probably the test does not test what it says."""


class Rule:
    """A fault that some requests meet with, as long as the rule is not removed. As a context manager it removes itself.

    Made by :meth:`FakeMemcached.fail`.
    """

    def __init__(self, rules: Rules, kinds: Kinds, key: bytes | None, nth: int, times: int | None, how: Fault) -> None:
        self._rules = rules
        self._kinds = _checked_kinds(kinds)
        check_type("key", key, (bytes, type(None)), 'a pattern in bytes, such as b"user:*", or None')
        self._pattern = None if key is None else key.decode("latin-1")
        check_count("nth", nth, 1)
        if times is not None:
            check_count("times", times, 1)
        self._nth = nth
        self._times = times
        check_fault(how)
        #: The fault.
        self.how: Fault = how
        self._check_reply()
        self._matched = 0
        self._applied = 0
        self._warned = False

    def _check_reply(self) -> None:
        if isinstance(self.how, Reply) and not isinstance(self.how.reply, Failure):
            for kind in self._kinds:
                if type(self.how.reply) not in kind.reply_types():
                    raise misuse("reply", self.how.reply, f"a Failure or a reply to {kind.__name__}")

    @property
    def matched(self) -> int:
        """How many requests the rule was for, those before the ``nth`` included."""
        self._rules.settle()
        return self._matched

    @property
    def applied(self) -> int:
        """How many requests met with the fault."""
        self._rules.settle()
        return self._applied

    def __repr__(self) -> str:
        kinds = "" if self._kinds is _KINDS else " for " + ", ".join(kind.__name__ for kind in self._kinds)
        key = "" if self._pattern is None else f" key={self._pattern.encode('latin-1')!r}"
        nth = "" if self._nth == 1 else f" nth={self._nth}"
        return f"<Rule {self.how!r}{kinds}{key}{nth} matched={self._matched} applied={self._applied}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.remove()
        if error is None:
            self.warn_if_unused()

    def remove(self) -> None:
        """Let no more requests meet with the fault. Replies that are delayed already stay so."""
        with suppress(RuntimeError):  # a child process has inherited the rule, and the fake is the parent's
            self._rules.settle()
        self._rules.remove(self)

    def warn_if_unused(self) -> None:
        """Give an UnusedRuleWarning, at the line that has called the caller, if no request met with the fault."""
        if not self._applied and not self._warned:
            self._warned = True
            warnings.warn(f"no request met with the fault of {self!r}", UnusedRuleWarning, stacklevel=3)

    def applies_to(self, request: AnyRequest) -> bool:
        """Count the request if the rule is for it; whether it is to meet with the fault."""
        if not isinstance(request, self._kinds):
            return False
        pattern = self._pattern
        if pattern is not None and not any(fnmatchcase(key.decode("latin-1"), pattern) for key in keys_of(request)):
            return False
        self._matched += 1
        return self._matched >= self._nth and (self._times is None or self._applied < self._times)

    def apply(self) -> Fault:
        """Count a request that meets with the fault; the fault."""
        self._applied += 1
        return self.how


class Rules:
    """The rules of a fake. Of several rules for a request, the one made last applies."""

    def __init__(self, settle: Callable[[], None] = lambda: None) -> None:
        #: Called before counters are read: carries out what clients have already sent.
        self.settle: Callable[[], None] = settle
        self._rules: tuple[Rule, ...] = ()

    @property
    def active(self) -> tuple[Rule, ...]:
        """Those that were made and not removed, the last one first."""
        return self._rules

    def add(self, kinds: Kinds, key: bytes | None, nth: int, times: int | None, how: Fault) -> Rule:
        """Make a rule. Raises LocalProtocolError for an argument of a wrong type or out of range."""
        rule = Rule(self, kinds, key, nth, times, how)
        self._rules = (rule, *self._rules)
        return rule

    def remove(self, rule: Rule) -> None:
        """Remove a rule, if it is there."""
        self._rules = tuple(each for each in self._rules if each is not rule)

    def clear(self) -> None:
        """Remove all."""
        self._rules = ()

    def fault_for(self, request: AnyRequest) -> Fault | None:
        """The fault that a request meets with, if any."""
        applying = [rule for rule in self._rules if rule.applies_to(request)]
        return applying[0].apply() if applying else None


def _checked_kinds(kinds: object) -> tuple[type[AnyRequest], ...]:
    if kinds is None:
        return _KINDS
    if kinds == ():
        raise LocalProtocolError("request is an empty tuple, must have a request class such as Get, or be None")
    given: tuple[object, ...] = kinds if isinstance(kinds, tuple) else (kinds,)
    checked: list[type[AnyRequest]] = []
    for each in given:
        found = [kind for kind in _KINDS if kind is each]
        if not found:
            raise misuse("request", each, "a request class such as Get, a tuple of these, or None")
        checked += found
    return tuple(checked)
