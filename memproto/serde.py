"""How values become bytes and flags, and come back: the pair of functions that a client is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, NamedTuple, TypeVar

V = TypeVar("V")

__all__ = ["RAW", "Serde"]


class Serde(NamedTuple, Generic[V]):
    """How values become bytes with flags, and come back. ``memproto.conventions`` knows what popular clients do."""

    dump: Callable[[V], tuple[bytes, int]]
    load: Callable[[bytes, int], V]


#: Values are bytes; the flags are nobody's business.
RAW: Final[Serde[bytes]] = Serde(lambda value: (value, 0), lambda data, _: data)
