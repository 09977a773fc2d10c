"""The items of a fake as a mapping."""

from __future__ import annotations

import math
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, MutableMapping, ValuesView
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar, overload

from memproto import MAX_KEY, Delete, Failure, Flush, LocalProtocolError, MetaOptions, Set
from memproto.engine import MONTH, Engine, StoredItem
from memproto.testing.arguments import check_count, check_type

T = TypeVar("T")


class _NoDefault(Enum):
    NO_DEFAULT = "no default"


@dataclass(frozen=True, slots=True)
class FakeItem:
    """An item as the server holds it.

    ``exptime`` is what a client would have to send now to store the item with the same expiry: 0 for never, the
    seconds left if these are at most 30 days, else Unix time. ``cas`` 0, in an item that is stored, lets the server
    choose the CAS.
    """

    value: bytes
    flags: int = 0
    exptime: int = 0
    cas: int = 0


class ItemJournal:
    """Knows all items, because the engine reports each change to it."""

    def __init__(self) -> None:
        #: By key, in the order in which they were stored or changed.
        self.stored: dict[bytes, StoredItem] = {}

    def put(self, stored: StoredItem, /) -> None:
        """An item was stored or changed."""
        self.stored.pop(stored.item.key, None)
        self.stored[stored.item.key] = stored

    def discard(self, key: bytes, /) -> None:
        """An item was deleted, evicted or found expired."""
        del self.stored[key]

    def clear(self) -> None:
        """All items were flushed."""
        self.stored = {}

    def newest_first(self) -> Iterable[StoredItem]:
        """All items."""
        return reversed(self.stored.values())

    def keep_newest(self, count: int, /) -> None:
        """Never called: nothing is loaded."""


@dataclass(frozen=True, slots=True)
class Access:
    """Everything that the mapping needs while no request is executed."""

    engine: Engine
    journal: ItemJournal
    now: float


class FakeItems(MutableMapping[bytes, FakeItem]):
    """The items of a fake, by key: a live view, which any thread may use.

    To read an item changes nothing: no counter, and not which item was used last. To assign bytes or a
    :class:`FakeItem` stores an item, whatever rules there are; that is not in ``fake.requests``. Loops go over the
    items that were there at their beginning.

    Raises :class:`~memproto.LocalProtocolError` for a key that is not bytes, and for an item that the server would
    refuse; :class:`KeyError` for a key without an item.
    """

    def __init__(self, access: Callable[[], AbstractContextManager[Access]]) -> None:
        self._access = access

    def __getitem__(self, key: bytes) -> FakeItem:
        check_type("key", key, (bytes,), "bytes")
        with self._access() as access:
            stored = access.journal.stored.get(key)
            if stored is None or stored.expires <= access.now:
                raise KeyError(key)
            return _shown(stored, access.now)

    def __setitem__(self, key: bytes, value: FakeItem | bytes) -> None:
        check_type("key", key, (bytes,), "bytes")
        check_type("value", value, (FakeItem, bytes), "bytes or a FakeItem")
        item = FakeItem(value) if isinstance(value, bytes) else value
        check_count("the size of the key", len(key), 1, MAX_KEY)
        check_count("flags", item.flags, 0, 2**32 - 1)
        check_count("exptime", item.exptime, -(2**63), 2**63 - 1)
        check_count("cas", item.cas, 0, 2**64 - 1)
        options = MetaOptions(new_cas=item.cas) if item.cas else None
        with self._access() as access:
            reply = access.engine.execute(Set(key, item.value, item.flags, item.exptime, meta=options), access.now)
        if isinstance(reply, Failure):
            raise LocalProtocolError(
                f"item {key!r:.60} of {len(item.value)} bytes was refused: {reply.reason.decode()}"
            )

    @overload
    def pop(self, key: bytes, /) -> FakeItem: ...
    @overload
    def pop(self, key: bytes, /, default: FakeItem | T) -> FakeItem | T: ...
    def pop(self, key: bytes, /, default: FakeItem | T | _NoDefault = _NoDefault.NO_DEFAULT) -> FakeItem | T:
        """Remove an item and return it, or ``default``; no client changes it in between."""
        check_type("key", key, (bytes,), "bytes")
        with self._access() as access:
            stored = access.journal.stored.get(key)
            access.engine.execute(Delete(key), access.now)
        if stored is not None and stored.expires > access.now:
            return _shown(stored, access.now)
        if isinstance(default, _NoDefault):
            raise KeyError(key)
        return default

    def popitem(self) -> tuple[bytes, FakeItem]:
        """Remove some item and return it with its key. Raises KeyError if there is none."""
        with self._access() as access:
            for key, stored in access.journal.stored.items():
                if stored.expires > access.now:
                    access.engine.execute(Delete(key), access.now)
                    return key, _shown(stored, access.now)
        raise KeyError("there are no items")

    def __delitem__(self, key: bytes) -> None:
        check_type("key", key, (bytes,), "bytes")
        with self._access() as access:
            if isinstance(access.engine.execute(Delete(key), access.now), Failure):
                raise KeyError(key)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._shown())

    def __len__(self) -> int:
        return len(self._shown())

    def keys(self) -> KeysView[bytes]:
        """The keys that there are now."""
        return self._shown().keys()

    def values(self) -> ValuesView[FakeItem]:
        """The items that there are now."""
        return self._shown().values()

    def items(self) -> ItemsView[bytes, FakeItem]:
        """The keys and items that there are now."""
        return self._shown().items()

    def clear(self) -> None:
        """Remove all items."""
        with self._access() as access:
            access.engine.execute(Flush(), access.now)

    def __repr__(self) -> str:
        return f"<FakeItems {self._shown()!r}>"

    def _shown(self) -> dict[bytes, FakeItem]:
        with self._access() as access:
            now = access.now
            return {key: _shown(each, now) for key, each in access.journal.stored.items() if each.expires > now}


def _shown(stored: StoredItem, now: float) -> FakeItem:
    item, expires, _ = stored
    return FakeItem(item.value, item.flags, _exptime(expires, now), item.cas)


def _exptime(expires: float, now: float) -> int:
    if expires == math.inf:
        return 0
    left = math.ceil(expires - now)
    return left if left <= MONTH else math.ceil(expires)
