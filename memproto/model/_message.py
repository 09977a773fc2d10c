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

    # What copy.replace() of Python 3.13 calls.
    __replace__ = replace

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        values = _compared_values(type(self))
        return values(self) == values(other)

    def __hash__(self) -> int:
        return hash(_compared_values(type(self))(self))

    def __repr__(self) -> str:
        names = (name for name in field_names(type(self)) if name not in self._not_shown)
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    def __reduce__(self) -> tuple[type[Self], tuple[object, ...]]:
        return type(self), tuple([getattr(self, name) for name in field_names(type(self))])


# What gives the values that equality and hash use, of a message of this class. Made at its first message.
_COMPARED: dict[type, Callable[[object], object]] = {}


def _compared_values(kind: type[Message]) -> Callable[[object], object]:
    values = _COMPARED.get(kind)
    if values is None:
        names = [name for name in field_names(kind) if name not in kind._not_compared]
        values = _COMPARED[kind] = attrgetter(*names) if names else _nothing
    return values


def _nothing(message: object) -> None:
    """Stands for the values of a message without fields."""
