"""Python's garbage collector, which would look at every item again each time there are a quarter more of them.

With a million items that takes half a second, in which no client is answered. Items are in no cycles, so it is of no
use. Connections of asyncio are, so that they are not left out forever.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

#: So many connections may wait, after they were closed, for the next time that all is looked at; one takes 2 KiB.
MOST_WAITING = 10_000


class Freezer:
    """Leaves out of later collections what has outlived a full one; for ``gc.callbacks``."""

    def __init__(self, connections: Callable[[], int]) -> None:
        self._connections = connections
        self._frozen = 0

    def __call__(self, phase: str, info: Mapping[str, int]) -> None:
        """Called by the collector before and after each collection."""
        if phase != "stop" or info["generation"] != 2:
            return
        self._frozen += self._connections()
        if self._frozen >= MOST_WAITING:
            self._frozen = 0
            gc.unfreeze()
        else:
            gc.freeze()


@contextmanager
def freezing(connections: Callable[[], int]) -> Iterator[None]:
    """Have a :class:`Freezer` called, which asks how many ``connections`` there are."""
    freezer = Freezer(connections)
    gc.callbacks.append(freezer)
    try:
        yield
    finally:
        gc.callbacks.remove(freezer)
        gc.unfreeze()
