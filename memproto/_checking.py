"""Whether the fields of a message have the types that it declares.

A message checks nothing when it is made, because most are made by readers that give the right types. What an embedder
hands in is checked where it enters: ``send``, ``execute``, ``encode_request`` and ``encode_reply``. The rules are
derived from the annotations of the message classes; there is no second list of fields.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache
from operator import attrgetter
from types import NoneType
from typing import Final, NamedTuple, TypeAlias, get_args, get_origin, get_type_hints

from memproto.errors import LocalProtocolError
from memproto.messages import AnyReply, AnyRequest, Request

REQUESTS: Final[frozenset[object]] = frozenset(get_args(AnyRequest))
REPLIES: Final[frozenset[object]] = frozenset(get_args(AnyReply))

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


def _article(name: str) -> str:
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"


def _found(value: object) -> str:
    return "None" if value is None else type(value).__name__


def _fault(path: str, value: object, words: str) -> str:
    return f"{path} is {_found(value)}, must be {words}"


def _instance(kind: type, words: str) -> _Rule:
    def look(path: str, value: object) -> str | None:
        return None if isinstance(value, kind) else _fault(path, value, words)

    # A bool is an int to type checkers, too.
    plain = frozenset({int, bool} if kind is int else {kind})
    return _Rule((kind,), plain, words, kind.__name__, look)


def _nested(kind: type, words: str) -> _Rule:
    """A message in a message."""

    def look(path: str, value: object) -> str | None:
        if not isinstance(value, kind):
            return _fault(path, value, words)
        return _class_of(type(value)).fault(value, f"{path}.")

    return _Rule((kind,), frozenset(), words, kind.__name__, look)


def _union(parts: tuple[object, ...]) -> _Rule:
    rules = [_rule(part) for part in parts]
    requests = REQUESTS.issuperset(parts)
    words = "a request" if requests else " or ".join(rule.words for rule in rules)

    def look(path: str, value: object) -> str | None:
        for rule in rules:
            if isinstance(value, rule.kinds):
                return rule.look(path, value)
        return _fault(path, value, words)

    kinds = tuple(kind for rule in rules for kind in rule.kinds)
    return _Rule(kinds, frozenset().union(*(rule.plain for rule in rules)), words, words, look)


def _tuple_of_many(inner: _Rule) -> _Rule:
    words = f"a tuple of {inner.name}"

    def look(path: str, value: object) -> str | None:
        if not isinstance(value, tuple):
            return _fault(path, value, words)
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
            return _fault(path, value, words)
        if len(value) != len(rules):
            return f"{path} is a tuple of {len(value)}, must be {words}"
        for index, (rule, each) in enumerate(zip(rules, value, strict=True)):
            fault = rule.look(f"{path}[{index}]", each)
            if fault is not None:
                return fault
        return None

    return _Rule((tuple,), frozenset(), words, name, look)


@cache
def _rule(hint: object) -> _Rule:
    """The rule of an annotation. ``TypeError`` for a form that no message uses."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is tuple:
        if arguments[1:] == (...,):
            return _tuple_of_many(_rule(arguments[0]))
        return _tuple_of_these([_rule(argument) for argument in arguments])
    if origin is Request:
        return _nested(Request, "a request")
    if arguments:
        return _union(arguments)
    if hint is NoneType:
        return _instance(NoneType, "None")
    if not isinstance(hint, type):
        raise TypeError(f"{hint!r} is no annotation of a field that can be checked")
    if is_dataclass(hint):
        return _nested(hint, _article(hint.__name__))
    return _instance(hint, "bytes" if hint is bytes else _article(hint.__name__))


def _no_values(message: object) -> tuple[object, ...]:
    return ()


class _Class:
    """What is known of a class of messages. Made at its first message: to resolve annotations takes a while."""

    __slots__ = ("rules", "shapes", "values")

    def __init__(self, kind: type) -> None:
        hints: dict[str, object] = get_type_hints(kind)
        # A request that a user has derived from Request may be no dataclass, and has no fields to look at then.
        names = [field.name for field in fields(kind)] if is_dataclass(kind) else []
        self.rules = [(name, _rule(hints[name])) for name in names]
        # All fields at once, always as a tuple: of one name alone it would be none.
        self.values: Callable[[object], tuple[object, ...]] = attrgetter(*names, names[0]) if names else _no_values
        #: The types of all fields in messages that were found right: what most messages are compared with.
        self.shapes: list[tuple[type, ...]] = []

    def fault(self, message: object, prefix: str = "") -> str | None:
        """What is wrong with the first field that is not right; ``None`` if all are."""
        values = self.values(message)
        plain = len(self.shapes) < _SHAPES
        for (name, rule), value in zip(self.rules, values, strict=False):
            if type(value) not in rule.plain:
                plain = False
                fault = rule.look(prefix + name, value)
                if fault is not None:
                    return fault
        shape = tuple(map(type, values))
        if plain and shape not in self.shapes:
            self.shapes.append(shape)
        return None


# So many are kept of a class. A message of another shape is looked at field by field.
_SHAPES: Final = 8

_CLASSES: dict[type, _Class] = {}
# Those of them that are requests, and replies.
_REQUEST_CLASSES: dict[type, _Class] = {}
_REPLY_CLASSES: dict[type, _Class] = {}


def _class_of(kind: type) -> _Class:
    known = _CLASSES.get(kind)
    if known is None:
        known = _CLASSES[kind] = _Class(kind)
        if kind in REQUESTS:
            _REQUEST_CLASSES[kind] = known
        elif kind in REPLIES:
            _REPLY_CLASSES[kind] = known
    return known


def check_fields(message: object) -> None:
    """Raise LocalProtocolError that names the first field of a message whose value is not of the declared type."""
    fault = _class_of(type(message)).fault(message)
    if fault is not None:
        raise LocalProtocolError(fault)


def check_request(request: object) -> None:
    """Raise LocalProtocolError unless this is a request, and each of its fields is of the declared type."""
    known = _REQUEST_CLASSES.get(type(request))
    if known is not None and tuple(map(type, known.values(request))) in known.shapes:
        return
    if type(request) not in REQUESTS:
        hint = "a request, such as Get; an event has it as event.request"
        raise LocalProtocolError(_fault("request", request, hint))
    check_fields(request)


def check_reply(reply: object) -> None:
    """Raise LocalProtocolError unless this is a reply, and each of its fields is of the declared type."""
    known = _REPLY_CLASSES.get(type(reply))
    if known is not None and tuple(map(type, known.values(reply))) in known.shapes:
        return
    if type(reply) not in REPLIES:
        raise LocalProtocolError(_fault("reply", reply, "a reply, such as Values or Failure"))
    check_fields(reply)
