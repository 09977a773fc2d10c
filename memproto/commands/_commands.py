"""The commands of a cache client, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeAlias, TypeVar, overload

from memproto import model
from memproto._fields import check_value
from memproto._wire.arguments import misuse
from memproto.commands import _results as results
from memproto.commands._command import Command
from memproto.commands._results import Lease, Replies
from memproto.errors import LocalProtocolError
from memproto.serde import Serde

V = TypeVar("V")
D = TypeVar("D")
T = TypeVar("T")
K = TypeVar("K", bytes, str)

#: A key: bytes, or text if the commands have an encoding.
Key: TypeAlias = bytes | str


def _check_serde(serde: object) -> None:
    if not (isinstance(serde, tuple) and len(serde) == 2 and all(map(callable, serde))):
        raise misuse("serde", serde, "a Serde, a pair of functions: RAW, or what memproto.conventions.serde() makes")


def _check_iterable(keys: object) -> None:
    # Of one key alone tuple() would make the numbers of its bytes.
    if isinstance(keys, str | bytes) or not isinstance(keys, Iterable):
        raise misuse("keys", keys, "an iterable of keys")


def _check_mapping(items: object) -> None:
    if not isinstance(items, Mapping):
        raise misuse("items", items, "a mapping of keys to values")


def _unchanged(keys: tuple[Key, ...]) -> tuple[bytes, ...]:
    # Without an encoding they must be bytes, which send() checks.
    return keys  # type: ignore[return-value]


class Commands(Generic[V]):
    """The commands of a cache client, for values of type ``V``, which ``serde`` turns into bytes and flags and back.

    Each method returns a :class:`Command`; its documentation says what the result of that command is.

    Keys are bytes. With an ``encoding``, a codec of Python such as ``utf-8``, they may also be ``str``. ``prefix`` is
    put in front of each key on the wire, where both together have 1 to 250 bytes. Results have the keys as the caller
    has given them, but for ``Item.key``. An ``exptime`` is 0 for never, up to 30 days (``memproto.engine.MONTH``) the
    seconds from now, and above that Unix time; classic and meta also take a negative one, which means at once.
    ``flags`` are 0 to 2**32 - 1, and are combined (by or) with those of the serde.

    A method raises :class:`~memproto.LocalProtocolError` for an argument of a wrong type, and whatever the serde
    raises. The result of a command raises :class:`ServerError` for a refusal that is not named here.
    """

    __slots__ = ("_dump", "_encoding", "_load", "_prefix", "_values", "_wire_keys")

    def __init__(self, serde: Serde[V], *, encoding: str | None = None, prefix: Key = b"") -> None:
        _check_serde(serde)
        check_value("encoding", encoding, str | None)
        self._dump, self._load = serde
        # Once, not with every get.
        self._values = self._value
        self._encoding = encoding
        try:
            self._prefix = self.encode(prefix, "prefix")
            "".encode(encoding or "ascii")
        except LookupError:
            raise LocalProtocolError(f"encoding is {encoding!r}, Python has no such codec") from None
        self._wire_keys = self._changed if encoding is not None or self._prefix else _unchanged

    def encode(self, key: Key, name: str = "key") -> bytes:
        """Return the bytes of a key, without the prefix. Raises :class:`~memproto.LocalProtocolError`."""
        if isinstance(key, str) and self._encoding is not None:
            try:
                return key.encode(self._encoding)
            except UnicodeEncodeError:
                raise LocalProtocolError(f"{name} is {key!r}, encoding {self._encoding} has no bytes for it") from None
        if not isinstance(key, bytes):
            raise misuse(name, key, "bytes; with an encoding it may be a str")
        return key

    def keys_of(self, keys: Iterable[K]) -> tuple[K, ...]:
        """Return keys as a tuple. Raises :class:`~memproto.LocalProtocolError` if they are one key or no iterable."""
        _check_iterable(keys)
        return tuple(keys)

    def keys_of_items(self, items: Mapping[K, V]) -> tuple[K, ...]:
        """Return the keys of items. Raises :class:`~memproto.LocalProtocolError` if the items are no mapping."""
        _check_mapping(items)
        return tuple(items)

    def _wire_key(self, key: Key) -> bytes:
        return self._prefix + (key if isinstance(key, bytes) else self.encode(key))

    def _changed(self, keys: tuple[Key, ...]) -> tuple[bytes, ...]:
        return tuple(map(self._wire_key, keys))

    def _with_wire_keys(self, keys: Iterable[K]) -> tuple[tuple[bytes, ...], dict[bytes, K]]:
        """The keys on the wire, and by each of them the key as it was given."""
        given = self.keys_of(keys)
        wire = self._wire_keys(given)
        try:
            return wire, dict(zip(wire, given, strict=True))
        except TypeError:
            for key in given:
                self.encode(key)
            raise

    # --- retrieval

    @overload
    def get(self, key: Key) -> Command[V | None]: ...

    @overload
    def get(self, key: Key, default: D) -> Command[V | D]: ...

    def get(self, key: Key, default: D | None = None) -> Command[V | D | None]:
        """Get a value. The result is ``default`` for a miss."""
        key = self._prefix + (key if isinstance(key, bytes) else self.encode(key))
        if default is None:
            return Command((model.Get((key,)),), self._values, True)

        def value(replies: Replies) -> V | D | None:
            items = results.only(replies, model.Values).items
            return self._load(items[0].value, items[0].flags) if items and results.has_value(items[0]) else default

        return Command((model.Get((key,)),), value, True)

    def gat(self, key: Key, exptime: int) -> Command[V | None]:
        """Get a value, and set its expiry. The result is ``None`` for a miss."""
        return Command((model.Get((self._wire_key(key),), exptime),), self._values)

    def gets(self, key: Key) -> Command[model.Item | None]:
        """Get an item as it is stored: bytes, flags and CAS. The result is ``None`` for a miss."""
        return Command((model.Get((self._wire_key(key),)),), results.first_item, True)

    def get_multi(self, keys: Iterable[K]) -> Command[dict[K, V]]:
        """Get many values. The result has those keys that have a value."""
        return self._get_multi(keys, None)

    def gat_multi(self, keys: Iterable[K], exptime: int) -> Command[dict[K, V]]:
        """Get many values, and set their expiry. The result has those keys that have a value."""
        return self._get_multi(keys, exptime)

    def _get_multi(self, keys: Iterable[K], exptime: int | None) -> Command[dict[K, V]]:
        wire, given = self._with_wire_keys(keys)
        load = self._load

        def found(replies: Replies) -> dict[K, V]:
            items = results.only(replies, model.Values).items if given else ()
            return {
                given[item.key]: load(item.value, item.flags) for item in items if item.value or results.has_value(item)
            }

        requests = (model.Get(wire, exptime),) if given else ()
        return Command(requests, found, exptime is None)

    def gets_multi(self, keys: Iterable[K]) -> Command[dict[K, model.Item]]:
        """Get many items as they are stored. The result has those keys that have an item."""
        wire, given = self._with_wire_keys(keys)

        def found(replies: Replies) -> dict[K, model.Item]:
            items = results.only(replies, model.Values).items if given else ()
            return {given[item.key]: item for item in items}

        return Command((model.Get(wire),) if given else (), found, True)

    def get_or_lease(self, key: Key, lease: int, recache: int | None = None) -> Command[Lease[V]]:
        """Get a value, and learn whether this caller should store a new one: a :class:`Lease`. In meta only.

        If there is no value, one caller gets ``won``, and has ``lease`` seconds to store one; until then the others get
        neither. With ``recache``, one caller gets ``won`` and the value if that expires in fewer than so many seconds.
        """
        check_value("lease", lease, int)
        check_value("recache", recache, int | None)
        options = model.MetaOptions(vivify=lease, recache=recache)

        def leased(replies: Replies) -> Lease[V]:
            item = results.first_item(replies)
            if item is None:
                return Lease(None, True)
            won = item.meta is not None and item.meta.won
            value = self._load(item.value, item.flags) if results.has_value(item) else None
            return Lease(value, won, item.meta is not None and item.meta.stale, item.cas)

        return Command((model.Get((self._wire_key(key),), meta=options),), leased)

    # --- storage

    def set(self, key: Key, value: V, exptime: int = 0, flags: int = 0) -> Command[bool]:
        """Store a value. The result is true."""
        data, all_flags = self._dumped(value, flags)
        return Command((model.Set(self._wire_key(key), data, all_flags, exptime),), results.done)

    def add(self, key: Key, value: V, exptime: int = 0, flags: int = 0) -> Command[bool]:
        """Store a value if the key is absent. The result is false if it is present."""
        data, all_flags = self._dumped(value, flags)
        return Command((model.Add(self._wire_key(key), data, all_flags, exptime),), results.unless_exists)

    def replace(self, key: Key, value: V, exptime: int = 0, flags: int = 0) -> Command[bool]:
        """Store a value if the key is present. The result is false if it is absent."""
        data, all_flags = self._dumped(value, flags)
        return Command((model.Replace(self._wire_key(key), data, all_flags, exptime),), results.unless_absent)

    def append(self, key: Key, value: bytes) -> Command[bool]:
        """Add bytes to the end of a stored value. The result is false for a miss."""
        return Command((model.Append(self._wire_key(key), value),), results.unless_not_stored)

    def prepend(self, key: Key, value: bytes) -> Command[bool]:
        """Add bytes to the beginning of a stored value. The result is false for a miss."""
        return Command((model.Prepend(self._wire_key(key), value),), results.unless_not_stored)

    def cas(self, key: Key, value: V, cas: int, exptime: int = 0, flags: int = 0) -> Command[bool | None]:
        """Store a value if the item still has this CAS. The result is false if it has another, ``None`` for a miss.

        No item has the CAS 0, which is that of a :class:`Lease` while the node is dead: it stores if there is no item,
        and the result is false if there is one.
        """
        data, all_flags = self._dumped(value, flags)
        if cas == 0:
            return Command((model.Add(self._wire_key(key), data, all_flags, exptime),), results.unless_exists)
        return Command((model.Set(self._wire_key(key), data, all_flags, exptime, cas),), results.swapped)

    def set_multi(self, items: Mapping[K, V], exptime: int = 0, flags: int = 0) -> Command[list[K]]:
        """Store many values. The result has the keys that the server has refused to store."""
        return self._store_multi(model.Set, items, exptime, flags)

    def add_multi(self, items: Mapping[K, V], exptime: int = 0, flags: int = 0) -> Command[list[K]]:
        """Store the values whose keys are absent. The result has the keys that were not stored."""
        return self._store_multi(model.Add, items, exptime, flags)

    def _store_multi(
        self, store: type[model.Set] | type[model.Add], items: Mapping[K, V], exptime: int, flags: int
    ) -> Command[list[K]]:
        keys = self.keys_of_items(items)
        dumped = [self._dumped(value, flags) for value in items.values()]
        requests = tuple(
            store(key, *data_and_flags, exptime)
            for key, data_and_flags in zip(self._wire_keys(keys), dumped, strict=True)
        )

        def refused(replies: Replies) -> list[K]:
            return [key for key, reply in zip(keys, replies, strict=True) if not results.is_done(reply)]

        return Command(requests, refused)

    # --- the rest

    def delete(self, key: Key) -> Command[bool]:
        """Remove an item. The result is false for a miss."""
        return Command((model.Delete(self._wire_key(key)),), results.unless_absent)

    def delete_multi(self, keys: Iterable[K]) -> Command[list[K]]:
        """Remove many items. The result has the keys that had an item."""
        return self._change_multi(keys, model.Delete)

    def touch_multi(self, keys: Iterable[K], exptime: int = 0) -> Command[list[K]]:
        """Set the expiry of many items. The result has the keys that have an item."""
        # Binary has no quiet touch.
        return self._change_multi(keys, lambda key: model.Touch(key, exptime), needs_replies=True)

    def _change_multi(
        self, keys: Iterable[K], build: Callable[[bytes], model.Delete | model.Touch], needs_replies: bool = False
    ) -> Command[list[K]]:
        given = self.keys_of(keys)

        def changed(replies: Replies) -> list[K]:
            return [key for key, reply in zip(given, replies, strict=True) if results.unless_absent((reply,))]

        return Command(tuple(map(build, self._wire_keys(given))), changed, needs_replies=needs_replies)

    def invalidate(self, key: Key, exptime: int) -> Command[bool]:
        """Mark a value as stale, and let it expire in ``exptime`` seconds; false for a miss. In meta only.

        :meth:`get` still finds it. Of the callers of :meth:`get_or_lease` one wins, and the others get the stale value.
        """
        check_value("exptime", exptime, int)
        options = model.MetaOptions(invalidate=True, exptime=exptime)
        return Command((model.Delete(self._wire_key(key), meta=options),), results.unless_absent)

    def incr(self, key: Key, delta: int = 1, initial: int | None = None, exptime: int = 0) -> Command[int | None]:
        """Add to a number. The result is the new number; for a miss ``initial``, which is then stored, or ``None``.

        Numbers are 0 to 2**64 - 1; above that they begin again at 0. ``exptime`` is that of the new item. Classic text
        cannot store ``initial``: sending it raises :class:`~memproto.LocalProtocolError` there.
        """
        made = None if initial is None else exptime
        return Command((model.Increment(self._wire_key(key), delta, initial or 0, made),), results.number)

    def incr_multi(
        self, keys: Iterable[K], delta: int = 1, initial: int | None = None, exptime: int = 0
    ) -> Command[dict[K, int]]:
        """Add to many numbers, each as :meth:`incr`. The result has the new numbers, without misses."""
        given = self.keys_of(keys)
        made = None if initial is None else exptime

        def numbers(replies: Replies) -> dict[K, int]:
            found = {key: results.number((reply,)) for key, reply in zip(given, replies, strict=True)}
            return {key: value for key, value in found.items() if value is not None}

        requests = tuple(model.Increment(key, delta, initial or 0, made) for key in self._wire_keys(given))
        return Command(requests, numbers, needs_replies=True)

    def decr(self, key: Key, delta: int = 1, initial: int | None = None, exptime: int = 0) -> Command[int | None]:
        """Subtract from a number, down to 0 at most; for the rest as :meth:`incr`."""
        made = None if initial is None else exptime
        return Command((model.Decrement(self._wire_key(key), delta, initial or 0, made),), results.number)

    def touch(self, key: Key, exptime: int = 0) -> Command[bool]:
        """Set the expiry of an item. The result is false for a miss."""
        return Command((model.Touch(self._wire_key(key), exptime),), results.unless_absent)

    def flush(self, delay: int | None = None) -> Command[bool]:
        """Remove all items, now or ``delay`` seconds from now. The result is true."""
        check_value("delay", delay, int | None)
        return Command((model.Flush(delay),), results.done)

    def stats(self, group: bytes = b"") -> Command[dict[bytes, bytes]]:
        """Get the statistics of the server by name: the general ones, or those of a ``group`` such as ``items``."""
        # To ask for the group "reset" is not only to ask.
        return Command((model.Stats(group),), results.statistics, group == b"")

    def version(self) -> Command[bytes]:
        """Get the version of the server."""
        return Command((model.Version(),), results.version, True)

    def discover(self) -> Command[list[tuple[str, int]]]:
        """Get the nodes of the cluster whose configuration endpoint this server is, as pairs of host and port.

        ElastiCache and Memorystore have such servers; memcached refuses the command. Not in binary.
        """
        return Command((model.ClusterConfig(),), results.nodes, True)

    def noop(self) -> Command[bool]:
        """Send a request without effect. The result is true: the server has answered."""
        return Command((model.Noop(),), results.done, True)

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
        if isinstance(reply, model.Values):
            items = reply.items
            if not items:
                return None
            item = items[0]
            return self._load(item.value, item.flags) if item.value or results.has_value(item) else None
        raise results.refusal(reply)
