"""The check whether the fields of an object have the types that its class declares.

The ``__init__`` of a message checks nothing, because most messages are made by readers that give the right types. What
an embedder passes is checked at the entry points, by rules that are derived from the annotations of ``__init__``: there
is no second list of fields.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from enum import Enum
from functools import cache
from itertools import repeat
from operator import attrgetter, contains
from types import NoneType, UnionType
from typing import Final, NamedTuple, TypeAlias, Union, get_args, get_origin, get_type_hints

from memproto.errors import LocalProtocolError


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


# Returns what is wrong inside a value, such as ``[0].key is None, must be bytes``; ``None`` if nothing is.
_Check: TypeAlias = Callable[[object], str | None]


class _Rule(NamedTuple):
    """What one annotation allows."""

    #: The classes of the values that can be right.
    kinds: tuple[type, ...]
    #: What the error says the value must be: alone, and as a part of a tuple.
    expected: str
    name: str
    #: What checks the parts of such a value, if it has any.
    inside: _Check | None = None
    #: Those of the classes whose direct instances are right whatever they contain.
    exact: frozenset[type] = frozenset()

    def fault(self, value: object) -> str | None:
        if not isinstance(value, self.kinds):
            return wrong_type("", value, self.expected)
        return None if self.inside is None else self.inside(value)


def _union(rules: list[_Rule]) -> _Rule:
    kinds = tuple(kind for rule in rules for kind in rule.kinds)
    expected = " or ".join(rule.expected for rule in rules)
    if len(rules) > _MANY:
        # The name of the nearest common base class is shorter.
        first, *others = [kind.__mro__ for kind in kinds]
        base = next(base for base in first[1:] if all(base in mro for mro in others))
        expected = with_article(base.__name__.lstrip("_"))

    def inside(value: object) -> str | None:
        return next(rule for rule in rules if isinstance(value, rule.kinds)).fault(value)

    return _Rule(kinds, expected, expected, inside, frozenset().union(*(rule.exact for rule in rules)))


def _first_fault(rules: Iterable[_Rule], values: tuple[object, ...]) -> str | None:
    for index, (rule, value) in enumerate(zip(rules, values, strict=False)):
        fault = rule.fault(value)
        if fault is not None:
            return f"[{index}]{fault}"
    return None


def _tuple_of_many(rule: _Rule) -> _Rule:
    expected = f"a tuple of {rule.name}"

    def inside(value: object) -> str | None:
        assert isinstance(value, tuple)
        return None if rule.exact.issuperset(map(type, value)) else _first_fault(repeat(rule), value)

    return _Rule((tuple,), expected, expected, inside)


def _tuple_of_these(rules: list[_Rule]) -> _Rule:
    name = f"({', '.join(rule.name for rule in rules)})"

    def inside(value: object) -> str | None:
        assert isinstance(value, tuple)
        if len(value) != len(rules):
            return f" is a tuple of {len(value)}, must be a tuple {name}"
        return _first_fault(rules, value)

    return _Rule((tuple,), f"a tuple {name}", name, inside)


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
        return _union([_rule(argument) for argument in arguments])
    kind = origin or hint
    if not isinstance(kind, type):
        raise TypeError(f"{hint!r} is no annotation of a field that can be checked")
    name = kind.__name__
    # A named tuple is right or wrong as a whole.
    if origin or (field_names(kind) and not issubclass(kind, tuple)):
        return _Rule((kind,), with_article(name), name, _fault_inside)
    kinds = _WIDER.get(kind, (kind,))
    expected = "None" if kind is NoneType else "bytes" if kind is bytes else with_article(name)
    return _Rule(kinds, expected, name, exact=frozenset(kinds))


def _no_values(message: object) -> tuple[object, ...]:
    return ()


class _FieldRules:
    """The rules of the fields of one class. Made for its first object, because resolving annotations is slow."""

    __slots__ = ("exact", "rules", "values")

    def __init__(self, kind: type) -> None:
        hints: dict[str, object] = {}
        for base in reversed(kind.__mro__):
            # A parameter without an annotation is as that of the base class; without that it may be anything.
            hints |= get_type_hints(vars(base).get("__init__", object.__init__))
        names = field_names(kind)
        self.rules = [(name, _rule(hints.get(name, object))) for name in names]
        self.exact = [rule.exact for _, rule in self.rules]
        # With a single name, attrgetter would return the value and no tuple.
        self.values: Callable[[object], tuple[object, ...]] = attrgetter(*names, names[0]) if names else _no_values

    def fault(self, message: object) -> str | None:
        """What is wrong with the first field that is not right, beginning with its name; ``None`` if all are."""
        values = self.values(message)
        if all(map(contains, self.exact, map(type, values))):
            return None
        for (name, rule), value in zip(self.rules, values, strict=False):
            fault = None if type(value) in rule.exact else rule.fault(value)
            if fault is not None:
                return name + fault
        return None


_RULES: dict[type, _FieldRules] = {}


def _fault_of(message: object) -> str | None:
    """What is wrong with the first field whose value is not of the declared type; ``None`` if all are."""
    kind = type(message)
    rules = _RULES.get(kind) or _RULES.setdefault(kind, _FieldRules(kind))
    return rules.fault(message)


def _fault_inside(message: object) -> str | None:
    fault = _fault_of(message)
    return fault and f".{fault}"


def check_fields(message: object) -> None:
    """Raise LocalProtocolError that names the first field whose value is not of the declared type."""
    fault = _fault_of(message)
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
    fault = _rule(hint).fault(value)
    if fault is not None:
        raise LocalProtocolError(name + fault)
