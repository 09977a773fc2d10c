"""Whether the fields of an object have the types that its class declares.

A message checks nothing when it is made, because most are made by readers that give the right types. What an embedder
hands in is checked where it enters, by rules that are derived from the annotations: there is no second list of fields.
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

# What is wrong with a value that stands at this path, such as ``items[0].key``; ``None`` if nothing is.
_Look: TypeAlias = Callable[[str, object], str | None]


class _Rule(NamedTuple):
    """What one annotation allows."""

    #: The classes of which an instance can be right.
    kinds: tuple[type, ...]
    #: Those whose own instances are right without a further look.
    plain: frozenset[type]
    #: What must be there, as the error says it, alone and as one of many.
    words: str
    name: str
    look: _Look


def field_names(kind: type) -> tuple[str, ...]:
    """The names of the fields of a message or a dataclass, in their order; none for any other class."""
    # A base class must not declare it: type checkers know the names of a subclass from its own tuple.
    names: tuple[str, ...] = getattr(kind, "__match_args__", ())
    return names


def article(name: str) -> str:
    """A name with the article that it takes."""
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"


def found(value: object) -> str:
    """A value of a wrong type as an error says it: by its type, or by its name where it has one."""
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return "None" if value is None else type(value).__name__


def misfit(path: str, value: object, words: str) -> str:
    """What is wrong with a value that must be what ``words`` say."""
    return f"{path} is {found(value)}, must be {words}"


def _instance(kind: type, words: str, kinds: tuple[type, ...] = ()) -> _Rule:
    kinds = kinds or (kind,)

    def look(path: str, value: object) -> str | None:
        return None if isinstance(value, kinds) else misfit(path, value, words)

    return _Rule(kinds, frozenset(kinds), words, kind.__name__, look)


def _nested(kind: type, words: str) -> _Rule:
    """A message in a message."""

    def look(path: str, value: object) -> str | None:
        if not isinstance(value, kind):
            return misfit(path, value, words)
        return _class_of(type(value)).fault(value, f"{path}.")

    return _Rule((kind,), frozenset(), words, kind.__name__, look)


def _union(parts: tuple[object, ...]) -> _Rule:
    rules = [_rule(part) for part in parts]
    words = " or ".join(rule.words for rule in rules)
    if len(parts) > _MANY:
        # The nearest class that all have in common says it shorter.
        bases = [kind.__mro__ for rule in rules for kind in rule.kinds]
        words = next(article(base.__name__.lstrip("_")) for base in bases[0][1:] if all(base in mro for mro in bases))

    def look(path: str, value: object) -> str | None:
        for rule in rules:
            if isinstance(value, rule.kinds):
                return rule.look(path, value)
        return misfit(path, value, words)

    kinds = tuple(kind for rule in rules for kind in rule.kinds)
    return _Rule(kinds, frozenset().union(*(rule.plain for rule in rules)), words, words, look)


def _tuple_of_many(inner: _Rule) -> _Rule:
    words = f"a tuple of {inner.name}"

    def look(path: str, value: object) -> str | None:
        if not isinstance(value, tuple):
            return misfit(path, value, words)
        if inner.plain.issuperset(map(type, value)):
            return None
        for index, each in enumerate(value):
            fault = inner.look(f"{path}[{index}]", each)
            if fault is not None:
                return fault
        return None

    return _Rule((tuple,), frozenset(), words, words, look)


def _tuple_of_these(rules: list[_Rule]) -> _Rule:
    name = f"({', '.join(rule.name for rule in rules)})"
    words = f"a tuple {name}"

    def look(path: str, value: object) -> str | None:
        if not isinstance(value, tuple):
            return misfit(path, value, words)
        if len(value) != len(rules):
            return f"{path} is a tuple of {len(value)}, must be {words}"
        for index, (rule, each) in enumerate(zip(rules, value, strict=True)):
            fault = rule.look(f"{path}[{index}]", each)
            if fault is not None:
                return fault
        return None

    return _Rule((tuple,), frozenset(), words, name, look)


# A union of more is told of by what its members have in common.
_MANY: Final = 4

# What type checkers take for these, too.
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
        return _nested(origin, article(origin.__name__))
    if hint is NoneType:
        return _instance(NoneType, "None")
    if not isinstance(hint, type):
        raise TypeError(f"{hint!r} is no annotation of a field that can be checked")
    # A named tuple is right or wrong as a whole.
    if field_names(hint) and not issubclass(hint, tuple):
        return _nested(hint, article(hint.__name__))
    words = "bytes" if hint is bytes else article(hint.__name__)
    return _instance(hint, words, _WIDER.get(hint, ()))


def _no_values(message: object) -> tuple[object, ...]:
    return ()


class _Class:
    """What is known of a class with fields. Made at its first object: to resolve annotations takes a while."""

    __slots__ = ("rules", "values")

    def __init__(self, kind: type) -> None:
        names = field_names(kind)
        hints: dict[str, object] = get_type_hints(kind.__init__) if names else {}  # type: ignore[misc]
        self.rules = [(name, _rule(hints[name])) for name in names]
        # All fields at once, always as a tuple: of one name alone it would be none.
        self.values: Callable[[object], tuple[object, ...]] = attrgetter(*names, names[0]) if names else _no_values

    def fault(self, message: object, prefix: str = "") -> str | None:
        """What is wrong with the first field that is not right; ``None`` if all are."""
        for (name, rule), value in zip(self.rules, self.values(message), strict=False):
            if type(value) not in rule.plain:
                fault = rule.look(prefix + name, value)
                if fault is not None:
                    return fault
        return None


_CLASSES: dict[type, _Class] = {}


def _class_of(kind: type) -> _Class:
    known = _CLASSES.get(kind)
    if known is None:
        known = _CLASSES[kind] = _Class(kind)
    return known


def check_fields(message: object) -> None:
    """Raise LocalProtocolError that names the first field whose value is not of the declared type."""
    fault = _class_of(type(message)).fault(message)
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


#: What bytes may be handed in as.
BYTES_LIKE: Final = bytes | bytearray | memoryview


def check_value(name: str, value: object, hint: object) -> None:
    """Raise LocalProtocolError unless the value of an argument is of the type that ``hint`` annotates."""
    fault = _rule(hint).look(name, value)
    if fault is not None:
        raise LocalProtocolError(fault)
