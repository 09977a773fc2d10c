"""Conditions on records, as a user writes them: ``key=user:*``, ``status=miss,closed``, ``latency>5ms``. Pure."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from fnmatch import filter as filter_names
from fnmatch import fnmatchcase
from typing import Final, TypeAlias

from memproto import Dialect, ObservedExchange
from memproto.capture.follower import Record
from memproto.capture.summary import Summary

__all__ = ["Filter", "FilterError", "parse_filter"]

#: Whether a record is wanted.
Filter: TypeAlias = Callable[[Record, Summary], bool]


class FilterError(ValueError):
    """The condition cannot be understood; the text says why, in one line."""


_DIALECTS: Final = tuple(dialect.value for dialect in Dialect)
_CONDITION: Final = re.compile(r"\s*([a-z]+)\s*(>=|<=|!=|=|>|<)\s*(.+?)\s*")
_COMPARISONS: Final[dict[str, Callable[[float, float], bool]]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    "!=": operator.ne,
}
_NUMBER: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]*)")
_SECONDS: Final = {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}
_BYTES: Final = {"": 1.0, "b": 1.0, "k": 1024.0, "m": 1024.0**2}


def _dialects(_record: Record, summary: Summary) -> tuple[str, ...]:
    return (summary.dialect,)


def _commands(_record: Record, summary: Summary) -> tuple[str, ...]:
    return (summary.command.lower(),)


def _keys(_record: Record, summary: Summary) -> tuple[str, ...]:
    return tuple(key.decode("utf-8", "backslashreplace") for key in summary.keys)


def _statuses(_record: Record, summary: Summary) -> tuple[str, ...]:
    return (summary.status,)


def _certain(record: Record, _summary: Summary) -> tuple[str, ...]:
    event = record.event
    return ("yes" if event.certain else "no",) if isinstance(event, ObservedExchange) else ()


def _latency(record: Record) -> float | None:
    return record.latency


def _size(record: Record) -> float | None:
    return max(record.sent, record.received)


_WORDS: Final[dict[str, Callable[[Record, Summary], tuple[str, ...]]]] = {
    "dialect": _dialects,
    "command": _commands,
    "key": _keys,
    "status": _statuses,
    "certain": _certain,
}
_NUMBERS: Final[dict[str, tuple[Callable[[Record], float | None], dict[str, float]]]] = {
    "latency": (_latency, _SECONDS),
    "size": (_size, _BYTES),
}


def parse_filter(text: str) -> Filter:
    """Return the condition that a text says.

    ``dialect``, ``command``, ``key``, ``status`` and ``certain`` are compared (``=``, ``!=``) with patterns as those
    of a shell, one or several with commas; a key with one. A record has a key if one of its keys fits. ``latency`` (in
    ``s``, ``ms`` or ``us``) and ``size`` (the longer of request and reply, in bytes, ``k`` or ``m``) are compared with
    a number. A record without a latency meets no condition on it. Raises :class:`FilterError`.
    """
    condition = _CONDITION.fullmatch(text)
    if condition is None:
        raise FilterError(f"filter {text!r} is not of the form NAME=VALUE, such as key=user:* or latency>5ms")
    name, comparison, value = condition.groups()
    if name in _WORDS:
        return _words_filter(name, comparison, value)
    if name in _NUMBERS:
        return _number_filter(name, comparison, value)
    raise FilterError(f"filter {text!r}: {name!r} is none of {', '.join((*_WORDS, *_NUMBERS))}")


def _words_filter(name: str, comparison: str, value: str) -> Filter:
    if comparison not in ("=", "!="):
        raise FilterError(f"{name} is compared with = or !=, not with {comparison}")
    words_of = _WORDS[name]
    # A key may have commas and capital letters.
    patterns = (value,) if name == "key" else tuple(value.lower().split(","))
    if name == "dialect" and (unknown := [pattern for pattern in patterns if not filter_names(_DIALECTS, pattern)]):
        raise FilterError(f"dialect is one of {', '.join(_DIALECTS)}, not {unknown[0]!r}")

    def matches(record: Record, summary: Summary) -> bool:
        found = any(fnmatchcase(word, pattern) for word in words_of(record, summary) for pattern in patterns)
        return found is (comparison == "=")

    return matches


def _number_filter(name: str, comparison: str, value: str) -> Filter:
    number_of, units = _NUMBERS[name]
    number = _NUMBER.fullmatch(value)
    if number is None or number[2].lower() not in units:
        known = ", ".join(unit for unit in units if unit)
        raise FilterError(f"{name} is compared with a number, alone or with one of {known}, not with {value!r}")
    bound = float(number[1]) * units[number[2].lower()]
    compare = _COMPARISONS[comparison]

    def matches(record: Record, _summary: Summary) -> bool:
        found = number_of(record)
        return found is not None and compare(found, bound)

    return matches
