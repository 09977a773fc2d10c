"""The pair of functions with which a client turns values into bytes and flags, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, NamedTuple, TypeVar

V = TypeVar("V")

__all__ = ["RAW", "Serde"]


class Serde(NamedTuple, Generic[V]):
    """Two functions: one turns a value into bytes and flags, the other turns them back.

    ``memproto.conventions`` has those of popular clients.
    """

    dump: Callable[[V], tuple[bytes, int]]
    load: Callable[[bytes, int], V]


#: Values are bytes; the flags have no meaning.
RAW: Final[Serde[bytes]] = Serde(lambda value: (value, 0), lambda data, _: data)
