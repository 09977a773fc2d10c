"""Python's garbage collector, which would look at every item again each time there are a quarter more of them.

With a million items that takes half a second, in which no client is answered. Items are in no cycles, so it is of no
use. Connections of asyncio are, so that they are not left out forever.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

#: How many closed connections may wait for the next collection of all objects; one takes 2 KiB.
MAX_UNCOLLECTED = 10_000


class Freezer:
    """Leaves objects that have survived a full collection out of later ones; for ``gc.callbacks``."""

    def __init__(self, connections: Callable[[], int]) -> None:
        self._connections = connections
        self._frozen = 0

    def __call__(self, phase: str, info: Mapping[str, int]) -> None:
        """Called by the collector before and after each collection."""
        if phase != "stop" or info["generation"] != 2:
            return
        self._frozen += self._connections()
        if self._frozen >= MAX_UNCOLLECTED:
            self._frozen = 0
            gc.unfreeze()
        else:
            gc.freeze()


@contextmanager
def freezing(connections: Callable[[], int]) -> Iterator[None]:
    """Use a :class:`Freezer` in this context; ``connections`` gives their number."""
    freezer = Freezer(connections)
    gc.callbacks.append(freezer)
    try:
        yield
    finally:
        gc.callbacks.remove(freezer)
        gc.unfreeze()
