"""Requests that name an item by its key: one type per meaning, the same for every dialect."""

from __future__ import annotations

from typing import ClassVar, Final, TypeAlias, final

from memproto.model._message import Message
from memproto.model.replies import Counter, Deleted, MetaDebugReply, Stored, Touched, Values
from memproto.model.request_base import _Request


@final
class MetaOptions(Message):
    """What only the meta dialect can ask of a cache, by its flags.

    ``vivify`` N and ``recache`` R (expiries), ``invalidate`` I, ``exptime`` T where the request has no expiry of
    its own, ``new_cas`` E, ``unless_cas`` C of mg, ``drop_value`` x, ``base64`` b, ``bump`` false for u; ``details``
    is whether h, l or t ask for an :class:`ItemMeta`, and ``ttl_first`` whether t stands before T.
    """

    __match_args__: ClassVar = (
        "vivify",
        "recache",
        "bump",
        "unless_cas",
        "new_cas",
        "invalidate",
        "exptime",
        "drop_value",
        "base64",
        "details",
        "ttl_first",
    )
    __slots__ = __match_args__

    def __init__(
        self,
        vivify: int | None = None,
        recache: int | None = None,
        bump: bool = True,
        unless_cas: int = 0,
        new_cas: int = 0,
        invalidate: bool = False,
        exptime: int | None = None,
        drop_value: bool = False,
        base64: bool = False,
        details: bool = False,
        ttl_first: bool = False,
    ) -> None:
        self.vivify: Final[int | None] = vivify
        self.recache: Final[int | None] = recache
        self.bump: Final[bool] = bump
        self.unless_cas: Final[int] = unless_cas
        self.new_cas: Final[int] = new_cas
        self.invalidate: Final[bool] = invalidate
        self.exptime: Final[int | None] = exptime
        self.drop_value: Final[bool] = drop_value
        self.base64: Final[bool] = base64
        self.details: Final[bool] = details
        self.ttl_first: Final[bool] = ttl_first


@final
class Get(_Request):
    """Fetch the items under ``keys``; with ``exptime`` also set their expiry (get and touch).

    ``exptime`` here and in all requests: 0 is never, 1 to 2592000 (30 days) seconds from now, more is Unix
    time; negative, in the text dialects only, is at once.
    """

    __match_args__: ClassVar = ("keys", "exptime", "meta")
    __slots__ = __match_args__

    def __init__(self, keys: tuple[bytes, ...], exptime: int | None = None, meta: MetaOptions | None = None) -> None:
        self.keys: Final[tuple[bytes, ...]] = keys
        self.exptime: Final[int | None] = exptime
        self.meta: Final[MetaOptions | None] = meta

    @classmethod
    def reply_types(cls) -> tuple[type[Values], ...]:
        return (Values,)


class _Store(_Request):
    """The base of the requests that store a value."""

    __slots__ = ()

    @classmethod
    def reply_types(cls) -> tuple[type[Stored], ...]:
        return (Stored,)


class _StoreItem(_Store):
    """The base of the requests that store an item."""

    __match_args__: ClassVar = ("key", "value", "flags", "exptime", "cas", "meta", "strict", "unlink")
    __slots__ = __match_args__
    _not_compared = ("strict", "unlink")
    _not_shown = ("strict", "unlink")

    def __init__(
        self,
        key: bytes,
        value: bytes,
        flags: int = 0,
        exptime: int = 0,
        cas: int = 0,
        meta: MetaOptions | None = None,
        strict: bool = False,
        unlink: bool | None = None,
    ) -> None:
        self.key: Final[bytes] = key
        self.value: Final[bytes] = value
        self.flags: Final[int] = flags
        self.exptime: Final[int] = exptime
        self.cas: Final[int] = cas
        self.meta: Final[MetaOptions | None] = meta
        #: Compare a ``cas`` even in a cache without CAS, where no item has one: the text commands do, binary does not.
        self.strict: Final[bool] = strict
        #: Remove the old item if this one is too large, or if there is no memory for it; ``None``: only a Set does.
        self.unlink: Final[bool | None] = unlink


@final
class Set(_StoreItem):
    """Store the value. With a ``cas`` other than 0 only if the item's CAS is still that one.

    The CAS 0 of a text ``cas`` or C0 is compared too, and no item has it: it is -1 here, as it is in :class:`Replace`
    and :class:`Delete`, and has no form in binary.

    ``strict`` and ``unlink`` state what memcached's command does where the commands of one meaning differ. The readers
    set them, for all stores; they are not on the wire, so two requests that differ in them only are equal.
    """

    __slots__ = ()


@final
class Add(_StoreItem):
    """Store only if the key is absent; in binary a ``cas`` makes it a compare-and-swap, as with :class:`Set`."""

    __slots__ = ()


@final
class Replace(_StoreItem):
    """Store only if the key is present; a ``cas`` is compared as with :class:`Set`."""

    __slots__ = ()


class _Concatenation(_Store):
    """The base of the requests that add to the stored value."""

    __match_args__: ClassVar = ("key", "value", "cas", "meta", "flags", "unlink")
    __slots__ = __match_args__
    _not_compared = ("flags", "unlink")
    _not_shown = ("flags", "unlink")

    def __init__(
        self,
        key: bytes,
        value: bytes,
        cas: int = 0,
        meta: MetaOptions | None = None,
        flags: int = 0,
        unlink: bool = False,
    ) -> None:
        self.key: Final[bytes] = key
        self.value: Final[bytes] = value
        self.cas: Final[int] = cas
        self.meta: Final[MetaOptions | None] = meta
        #: What a text client sent as flags; they count against the size of an item, and change nothing.
        self.flags: Final[int] = flags
        #: As in :class:`Set`.
        self.unlink: Final[bool] = unlink


@final
class Append(_Concatenation):
    """Put ``value`` behind the stored one; flags and expiry stay."""

    __slots__ = ()


@final
class Prepend(_Concatenation):
    """Put ``value`` in front of the stored one; flags and expiry stay."""

    __slots__ = ()


@final
class Delete(_Request):
    """Remove the item; with a ``cas`` other than 0 only if it still has that CAS."""

    __match_args__: ClassVar = ("key", "cas", "meta")
    __slots__ = __match_args__

    def __init__(self, key: bytes, cas: int = 0, meta: MetaOptions | None = None) -> None:
        self.key: Final[bytes] = key
        self.cas: Final[int] = cas
        self.meta: Final[MetaOptions | None] = meta

    @classmethod
    def reply_types(cls) -> tuple[type[Deleted], ...]:
        return (Deleted,)


class _Arithmetic(_Request):
    """The base of the requests that count."""

    __match_args__: ClassVar = ("key", "delta", "initial", "exptime", "cas", "meta")
    __slots__ = __match_args__

    def __init__(
        self,
        key: bytes,
        delta: int = 1,
        initial: int = 0,
        exptime: int | None = None,
        cas: int = 0,
        meta: MetaOptions | None = None,
    ) -> None:
        self.key: Final[bytes] = key
        self.delta: Final[int] = delta
        self.initial: Final[int] = initial
        self.exptime: Final[int | None] = exptime
        self.cas: Final[int] = cas
        self.meta: Final[MetaOptions | None] = meta

    @classmethod
    def reply_types(cls) -> tuple[type[Counter], ...]:
        return (Counter,)


@final
class Increment(_Arithmetic):
    """Add ``delta`` to the decimal number stored as text, modulo 2**64.

    On a missing key the item is created with ``initial`` (the delta is not added) and ``exptime``; with
    ``exptime=None`` it is not created.
    """

    __slots__ = ()


@final
class Decrement(_Arithmetic):
    """Subtract ``delta``, stopping at 0; everything else as with :class:`Increment`."""

    __slots__ = ()


@final
class Touch(_Request):
    """Set a new expiry and leave the rest, the CAS too, as it is."""

    __match_args__: ClassVar = ("key", "exptime")
    __slots__ = __match_args__

    def __init__(self, key: bytes, exptime: int = 0) -> None:
        self.key: Final[bytes] = key
        self.exptime: Final[int] = exptime

    @classmethod
    def reply_types(cls) -> tuple[type[Touched], ...]:
        return (Touched,)


@final
class MetaDebug(_Request):
    """Ask for the internal fields of one item, as meta's ``me`` does; for people, not for programs."""

    __match_args__: ClassVar = ("key",)
    __slots__ = __match_args__

    def __init__(self, key: bytes) -> None:
        self.key: Final[bytes] = key

    @classmethod
    def reply_types(cls) -> tuple[type[MetaDebugReply], ...]:
        return (MetaDebugReply,)


ItemRequest: TypeAlias = (
    Get | Set | Add | Replace | Append | Prepend | Delete | Increment | Decrement | Touch | MetaDebug
)
