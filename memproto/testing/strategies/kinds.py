"""Which classes of requests are made, and how often."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeAlias

from hypothesis import strategies as st

from memproto import AnyRequest, Get, Set
from memproto.testing.arguments import misuse

#: Which classes of requests a user wants.
Kinds: TypeAlias = Collection[type[AnyRequest]]


def chosen(kinds: object, made: Collection[type[AnyRequest]]) -> list[type[AnyRequest]]:
    """The kinds of requests that a user gives, or all that are made for ``None``. Raises LocalProtocolError."""
    if kinds is None:
        return list(made)
    if isinstance(kinds, str | bytes) or not isinstance(kinds, Collection) or not kinds:
        raise misuse("kinds", kinds, "a collection of request classes, such as {Get, Set}, and not be empty")
    wanted = [kind for kind in made if kind in kinds]
    for kind in kinds:
        if kind not in wanted:
            names = ", ".join(sorted(each.__name__ for each in made))
            raise misuse("one of the kinds", kind, f"one of the requests made here: {names}")
    return wanted


# A run in which every twentieth request is a get, and every twentieth a flush, has hardly any hit.
_WEIGHTS: dict[type[AnyRequest], int] = {Get: 6, Set: 6}


def weighted(kinds: list[type[AnyRequest]]) -> st.SearchStrategy[type[AnyRequest]]:
    """One of the kinds, the usual ones more often."""
    return st.sampled_from([kind for kind in kinds for _ in range(_WEIGHTS.get(kind, 1))])
