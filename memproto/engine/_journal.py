"""What an embedder keeps so that the items outlive the process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol, runtime_checkable

from memproto.engine._expiry import NEVER
from memproto.model import Item


class JournalState(NamedTuple):
    """What has to outlive the process in addition to the items."""

    #: The last CAS that was given out; 0 for none.
    cas: int = 0
    #: When a delayed flush takes effect, in Unix seconds; ``math.inf`` for none.
    flush_at: float = NEVER


class StoredItem(NamedTuple):
    """What has to be kept of an item."""

    item: Item
    #: When it expires, in Unix seconds; ``math.inf`` for never.
    expires: float
    #: Whether it was marked stale, which only meta can ask for.
    stale: bool = False


@runtime_checkable
class Journal(Protocol):
    """Makes the items outlive the process. The engine reports each change to it before it returns the reply.

    ``Engine.execute`` passes on what a journal raises, in the middle of a change. So a journal that can fail should
    only remember each change, write it later, and undo with ``Engine.restore`` what it could not write.
    """

    def put(self, stored: StoredItem, /) -> None:
        """An item was stored or changed."""

    def discard(self, key: bytes, /) -> None:
        """An item was deleted, evicted or found expired."""

    def clear(self) -> None:
        """All items were flushed."""

    def newest_first(self) -> Iterable[StoredItem]:
        """All items put and not discarded since, the one put last at the beginning.

        The engine stops reading as soon as its budget is full, so what is not read need not be in memory.
        """
        ...

    def keep_newest(self, count: int, /) -> None:
        """Forget all but the ``count`` items that were put last: there was no room for the others."""
