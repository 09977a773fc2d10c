"""The base class of all messages: what they have in common, from the names of their fields."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import ClassVar, Self

from memproto._fields import field_names


class Message:
    """Plain data: the base of requests, replies, envelopes and events.

    The fields of a class are the parameters of its ``__init__``, which keeps each under its own name;
    ``__match_args__`` names them in that order. Two messages are equal if they are of one class and their fields are
    equal. Messages can be hashed, matched, copied and pickled. Type checkers treat the fields as read-only; at run
    time nothing guards them.
    """

    __slots__ = ()
    #: The fields that equality and hash leave out, and those that repr leaves out.
    _not_compared: ClassVar[tuple[str, ...]] = ()
    _not_shown: ClassVar[tuple[str, ...]] = ()

    def replace(self, **changes: object) -> Self:
        """A message of the same class with other values for the fields that are named.

        Raises :class:`TypeError` if the class has no field of that name.
        """
        kind: Callable[..., Self] = type(self)
        return kind(**({name: getattr(self, name) for name in field_names(type(self))} | changes))

    # copy.replace() of Python 3.13 calls this. mypyc compiles no second name of a method.
    def __replace__(self, **changes: object) -> Self:
        return self.replace(**changes)

    def __eq__(self, other: object) -> bool:
        kind = type(self)
        if type(other) is not kind:
            return NotImplemented
        values = _COMPARED.get(kind) or _compared_values(kind)
        return values(self) == values(other)

    def __hash__(self) -> int:
        kind = type(self)
        values = _COMPARED.get(kind) or _compared_values(kind)
        return hash(values(self))

    def __repr__(self) -> str:
        shown = [f"{name}={getattr(self, name)!r}" for name in field_names(type(self)) if name not in self._not_shown]
        return f"{type(self).__qualname__}({', '.join(shown)})"

    def __reduce__(self) -> tuple[type[Self], tuple[object, ...]]:
        return type(self), tuple([getattr(self, name) for name in field_names(type(self))])


# By class, what gives the values that equality and hash use. Made at the first message of the class.
_COMPARED: dict[type, Callable[[object], object]] = {}


def _compared_values(kind: type[Message]) -> Callable[[object], object]:
    names = [name for name in field_names(kind) if name not in kind._not_compared]
    values: Callable[[object], object] = attrgetter(*names) if names else _no_values
    _COMPARED[kind] = values
    return values


def _no_values(message: object) -> None:
    """Stand for the values of a message without fields."""
