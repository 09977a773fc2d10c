"""The commands of a cache client, by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

from memproto._fields import check_value
from memproto._wire.arguments import misuse
from memproto.commands._command import Command
from memproto.commands._results import (
    Replies,
    done,
    first_item,
    is_done,
    items_by_key,
    number,
    refusal,
    statistics,
    swapped,
    unless_absent,
    unless_exists,
    unless_not_stored,
    version,
)
from memproto.model import (
    Add,
    Append,
    Decrement,
    Delete,
    Flush,
    Get,
    Increment,
    Item,
    Noop,
    Prepend,
    Replace,
    Set,
    Stats,
    Touch,
    Values,
    Version,
)
from memproto.serde import Serde

V = TypeVar("V")


def _check_serde(serde: object) -> None:
    if not (isinstance(serde, tuple) and len(serde) == 2 and all(map(callable, serde))):
        raise misuse("serde", serde, "a Serde, a pair of functions: RAW, or what memproto.conventions.serde() makes")


def _keys_of(keys: object) -> tuple[bytes, ...]:
    # Of one key alone tuple() would make the numbers of its bytes.
    if isinstance(keys, str | bytes) or not isinstance(keys, Iterable):
        raise misuse("keys", keys, "an iterable of keys")
    return tuple(keys)


class Commands(Generic[V]):
    """The commands of a cache client, for values of type ``V``, which ``serde`` turns into bytes and flags and back.

    Arguments are as in the requests: an ``exptime`` of 0 means never. ``flags`` are added to those of the serde.
    Each method returns a :class:`Command`; its documentation says what the result of that command is. They raise
    :class:`~memproto.LocalProtocolError` for an argument of a wrong type, and whatever the serde raises.
    """

    __slots__ = ("_dump", "_load", "_values")

    def __init__(self, serde: Serde[V]) -> None:
        _check_serde(serde)
        self._dump, self._load = serde
        # Once, not with every get.
        self._values = self._value

    # --- retrieval

    def get(self, key: bytes) -> Command[V | None]:
        """The value, ``None`` if there is none."""
        return Command((Get((key,)),), self._values, True)

    def gat(self, key: bytes, exptime: int) -> Command[V | None]:
        """The value, with a new expiry set; ``None`` if there is none."""
        return Command((Get((key,), exptime),), self._values)

    def gets(self, key: bytes) -> Command[Item | None]:
        """The item as it is stored, with flags and CAS; ``None`` if there is none."""
        return Command((Get((key,)),), first_item, True)

    def get_multi(self, keys: Iterable[bytes]) -> Command[dict[bytes, V]]:
        """The values of those keys that have one."""
        wanted = _keys_of(keys)
        return Command((Get(wanted),), self._found, True) if wanted else Command((), lambda _replies: {}, True)

    def gets_multi(self, keys: Iterable[bytes]) -> Command[dict[bytes, Item]]:
        """The items of those keys that have one, as they are stored."""
        wanted = _keys_of(keys)
        return Command((Get(wanted),), items_by_key, True) if wanted else Command((), lambda _replies: {}, True)

    # --- storage

    def set(self, key: bytes, value: V, exptime: int = 0, flags: int = 0) -> Command[bool]:
        """Store: true."""
        data, all_flags = self._dumped(value, flags)
        return Command((Set(key, data, all_flags, exptime),), done)

    def add(self, key: bytes, value: V, exptime: int = 0, flags: int = 0) -> Command[bool]:
        """Store if the key is absent; false if it is not."""
        data, all_flags = self._dumped(value, flags)
        return Command((Add(key, data, all_flags, exptime),), unless_exists)

    def replace(self, key: bytes, value: V, exptime: int = 0, flags: int = 0) -> Command[bool]:
        """Store if the key is present; false if it is not."""
        data, all_flags = self._dumped(value, flags)
        return Command((Replace(key, data, all_flags, exptime),), unless_absent)

    def append(self, key: bytes, value: bytes) -> Command[bool]:
        """Put bytes behind the stored ones; false if there are none."""
        return Command((Append(key, value),), unless_not_stored)

    def prepend(self, key: bytes, value: bytes) -> Command[bool]:
        """Put bytes in front of the stored ones; false if there are none."""
        return Command((Prepend(key, value),), unless_not_stored)

    def cas(self, key: bytes, value: V, cas: int, exptime: int = 0, flags: int = 0) -> Command[bool | None]:
        """Store if the item still has this CAS; false if it has another, ``None`` if the item is gone."""
        data, all_flags = self._dumped(value, flags)
        return Command((Set(key, data, all_flags, exptime, cas),), swapped)

    def set_multi(self, items: Mapping[bytes, V], exptime: int = 0, flags: int = 0) -> Command[list[bytes]]:
        """Store all items; the keys of those that the server has refused."""
        if not isinstance(items, Mapping):
            raise misuse("items", items, "a mapping of keys to values")
        keys = tuple(items)
        requests = []
        for key, value in items.items():
            data, all_flags = self._dumped(value, flags)
            requests.append(Set(key, data, all_flags, exptime))

        def refused(replies: Replies) -> list[bytes]:
            return [key for key, reply in zip(keys, replies, strict=True) if not is_done(reply)]

        return Command(tuple(requests), refused)

    # --- the rest

    def delete(self, key: bytes) -> Command[bool]:
        """Remove; false if there was nothing."""
        return Command((Delete(key),), unless_absent)

    def delete_multi(self, keys: Iterable[bytes]) -> Command[list[bytes]]:
        """Remove them all; the keys of those that were there."""
        gone = _keys_of(keys)

        def removed(replies: Replies) -> list[bytes]:
            return [key for key, reply in zip(gone, replies, strict=True) if unless_absent((reply,))]

        return Command(tuple(map(Delete, gone)), removed)

    def incr(self, key: bytes, delta: int = 1, initial: int | None = None, exptime: int = 0) -> Command[int | None]:
        """Add; the new number. A missing one is made from ``initial``, or stays missing: ``None``.

        Classic text has no way to do both at once, so that ``initial`` raises ``LocalProtocolError`` there.
        """
        return Command((Increment(key, delta, initial or 0, None if initial is None else exptime),), number)

    def decr(self, key: bytes, delta: int = 1, initial: int | None = None, exptime: int = 0) -> Command[int | None]:
        """Subtract, down to 0 at most; otherwise as :meth:`incr`."""
        return Command((Decrement(key, delta, initial or 0, None if initial is None else exptime),), number)

    def touch(self, key: bytes, exptime: int = 0) -> Command[bool]:
        """Set a new expiry; false if there is no such item."""
        return Command((Touch(key, exptime),), unless_absent)

    def flush(self, delay: int | None = None) -> Command[bool]:
        """Remove all items, now or ``delay`` seconds from now: true."""
        return Command((Flush(delay),), done)

    def stats(self, group: bytes = b"") -> Command[dict[bytes, bytes]]:
        """The server's statistics by name."""
        # To ask for the group "reset" is not only to ask.
        return Command((Stats(group),), statistics, group == b"")

    def version(self) -> Command[bytes]:
        """The server's version."""
        return Command((Version(),), version, True)

    def noop(self) -> Command[bool]:
        """A request without effect: true, when the server has answered."""
        return Command((Noop(),), done, True)

    def _dumped(self, value: V, flags: int) -> tuple[bytes, int]:
        dumped = self._dump(value)
        try:
            data, own = dumped
            return data, own | flags
        except (TypeError, ValueError):
            check_value("flags", flags, int)
            raise misuse("what the serde made of the value", dumped, "a tuple of bytes and flags, an int") from None

    def _value(self, replies: Replies) -> V | None:
        (reply,) = replies
        if isinstance(reply, Values):
            items = reply.items
            return self._load(items[0].value, items[0].flags) if items else None
        raise refusal(reply)

    def _found(self, replies: Replies) -> dict[bytes, V]:
        load = self._load
        return {key: load(item.value, item.flags) for key, item in items_by_key(replies).items()}
