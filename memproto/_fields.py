"""The check whether the fields of an object have the types that its class declares.

The ``__init__`` of a message checks nothing, because most messages are made by readers that give the right types. What
an embedder passes is checked at the entry points, by rules that are derived from the annotations of ``__init__``: there
is no second list of fields.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum
from functools import cache
from operator import attrgetter
from types import NoneType, UnionType
from typing import Final, NamedTuple, TypeAlias, Union, get_args, get_origin, get_type_hints

from memproto.errors import LocalProtocolError

# Returns what is wrong with the value at this path, such as ``items[0].key``; ``None`` if nothing is.
_Check: TypeAlias = Callable[[str, object], str | None]


class _Rule(NamedTuple):
    """What one annotation allows."""

    #: The classes of the values that can be right.
    kinds: tuple[type, ...]
    #: Those of them whose direct instances are right whatever they contain.
    exact: frozenset[type]
    #: What the error says the value must be: alone, and as a part of a tuple.
    expected: str
    name: str
    check: _Check


def field_names(kind: type) -> tuple[str, ...]:
    """The names of the fields of a message or a dataclass, in their order; none for any other class."""
    # A base class must not declare it: type checkers know the names of a subclass from its own tuple.
    names: tuple[str, ...] = getattr(kind, "__match_args__", ())
    return names


def with_article(name: str) -> str:
    """A name with its indefinite article."""
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"


def describe(value: object) -> str:
    """A value of a wrong type in an error: its type, or its name if it is a class or a member of an enum."""
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return "None" if value is None else type(value).__name__


def wrong_type(path: str, value: object, expected: str) -> str:
    """The text of the error about a value of a wrong type."""
    return f"{path} is {describe(value)}, must be {expected}"


def _instance(kind: type, expected: str, kinds: tuple[type, ...] = ()) -> _Rule:
    kinds = kinds or (kind,)

    def check(path: str, value: object) -> str | None:
        return None if isinstance(value, kinds) else wrong_type(path, value, expected)

    return _Rule(kinds, frozenset(kinds), expected, kind.__name__, check)


def _nested(kind: type, expected: str) -> _Rule:
    """A message in a message."""

    def check(path: str, value: object) -> str | None:
        if not isinstance(value, kind):
            return wrong_type(path, value, expected)
        return _rules_of(type(value)).fault(value, f"{path}.")

    return _Rule((kind,), frozenset(), expected, kind.__name__, check)


def _union(parts: tuple[object, ...]) -> _Rule:
    rules = [_rule(part) for part in parts]
    expected = " or ".join(rule.expected for rule in rules)
    if len(parts) > _MANY:
        # The name of the nearest common base class is shorter.
        first, *others = [kind.__mro__ for rule in rules for kind in rule.kinds]
        base = next(base for base in first[1:] if all(base in mro for mro in others))
        expected = with_article(base.__name__.lstrip("_"))

    def check(path: str, value: object) -> str | None:
        for rule in rules:
            if isinstance(value, rule.kinds):
                return rule.check(path, value)
        return wrong_type(path, value, expected)

    kinds = tuple(kind for rule in rules for kind in rule.kinds)
    return _Rule(kinds, frozenset().union(*(rule.exact for rule in rules)), expected, expected, check)


def _tuple_of_many(inner: _Rule) -> _Rule:
    expected = f"a tuple of {inner.name}"

    def check(path: str, value: object) -> str | None:
        if not isinstance(value, tuple):
            return wrong_type(path, value, expected)
        if inner.exact.issuperset(map(type, value)):
            return None
        for index, each in enumerate(value):
            fault = inner.check(f"{path}[{index}]", each)
            if fault is not None:
                return fault
        return None

    return _Rule((tuple,), frozenset(), expected, expected, check)


def _tuple_of_these(rules: list[_Rule]) -> _Rule:
    name = f"({', '.join(rule.name for rule in rules)})"
    expected = f"a tuple {name}"

    def check(path: str, value: object) -> str | None:
        if not isinstance(value, tuple):
            return wrong_type(path, value, expected)
        if len(value) != len(rules):
            return f"{path} is a tuple of {len(value)}, must be {expected}"
        for index, (rule, each) in enumerate(zip(rules, value, strict=True)):
            fault = rule.check(f"{path}[{index}]", each)
            if fault is not None:
                return fault
        return None

    return _Rule((tuple,), frozenset(), expected, name, check)


# The error about a union of more classes names their common base class.
_MANY: Final = 4

# Type checkers accept these classes for an int and a float.
_WIDER: dict[object, tuple[type, ...]] = {int: (int, bool), float: (float, int, bool)}


@cache
def _rule(hint: object) -> _Rule:
    """The rule of an annotation. ``TypeError`` for a form that no message uses."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is tuple:
        if arguments[1:] == (...,):
            return _tuple_of_many(_rule(arguments[0]))
        return _tuple_of_these([_rule(argument) for argument in arguments])
    if origin in (Union, UnionType):
        return _union(arguments)
    if isinstance(origin, type):
        return _nested(origin, with_article(origin.__name__))
    if hint is NoneType:
        return _instance(NoneType, "None")
    if not isinstance(hint, type):
        raise TypeError(f"{hint!r} is no annotation of a field that can be checked")
    # A named tuple is right or wrong as a whole.
    if field_names(hint) and not issubclass(hint, tuple):
        return _nested(hint, with_article(hint.__name__))
    expected = "bytes" if hint is bytes else with_article(hint.__name__)
    return _instance(hint, expected, _WIDER.get(hint, ()))


def _no_values(message: object) -> tuple[object, ...]:
    return ()


class _FieldRules:
    """The rules of the fields of one class. Made for its first object, because resolving annotations is slow."""

    __slots__ = ("rules", "values")

    def __init__(self, kind: type) -> None:
        hints: dict[str, object] = {}
        for base in reversed(kind.__mro__):
            # A parameter without an annotation is as that of the base class; without that it may be anything.
            hints |= get_type_hints(vars(base).get("__init__", object.__init__))
        names = field_names(kind)
        self.rules = [(name, _rule(hints.get(name, object))) for name in names]
        # With a single name, attrgetter would return the value and no tuple.
        self.values: Callable[[object], tuple[object, ...]] = attrgetter(*names, names[0]) if names else _no_values

    def fault(self, message: object, prefix: str = "") -> str | None:
        """What is wrong with the first field that is not right; ``None`` if all are."""
        for (name, rule), value in zip(self.rules, self.values(message), strict=False):
            if type(value) not in rule.exact:
                fault = rule.check(prefix + name, value)
                if fault is not None:
                    return fault
        return None


_RULES: dict[type, _FieldRules] = {}


def _rules_of(kind: type) -> _FieldRules:
    known = _RULES.get(kind)
    if known is None:
        known = _RULES[kind] = _FieldRules(kind)
    return known


def check_fields(message: object) -> None:
    """Raise LocalProtocolError that names the first field whose value is not of the declared type."""
    fault = _rules_of(type(message)).fault(message)
    if fault is not None:
        raise LocalProtocolError(fault)


def check_least(name: str, number: object, least: int) -> None:
    """Raise LocalProtocolError unless this is an int, and not below ``least``."""
    if not isinstance(number, int):
        check_value(name, number, int)
    elif number < least:
        raise LocalProtocolError(f"{name} is {number}, the least is {least}")


def check_time(name: str, time: object) -> None:
    """Raise LocalProtocolError unless this is a time in seconds: a float or an int, not infinite and not NaN."""
    check_value(name, time, float)
    if isinstance(time, float) and not math.isfinite(time):
        raise LocalProtocolError(f"{name} is {time}, must be finite")


#: The types in which a caller may pass bytes.
BYTES_LIKE: Final = bytes | bytearray | memoryview


def check_value(name: str, value: object, hint: object) -> None:
    """Raise LocalProtocolError unless the value of an argument is of the type that ``hint`` annotates."""
    fault = _rule(hint).check(name, value)
    if fault is not None:
        raise LocalProtocolError(fault)
