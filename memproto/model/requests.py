"""Requests: one type per meaning, the same for every dialect."""

from __future__ import annotations

from dataclasses import field
from typing import Generic, TypeAlias, TypeVar

from memproto.model._message import Packet, message
from memproto.model.replies import (
    AdminReply,
    Authenticated,
    Challenge,
    Counter,
    Deleted,
    Failure,
    Mechanisms,
    MetaDebugReply,
    Ok,
    RawReply,
    StatsReply,
    Stored,
    Touched,
    Values,
    VersionReply,
)

R_co = TypeVar("R_co", covariant=True)


class Request(Generic[R_co]):
    """The base of all requests; ``Request[X]`` is answered by an ``X`` or by a :class:`Failure`."""

    __slots__ = ()


@message
class MetaOptions:
    """What only the meta dialect can ask of a cache, by its flags.

    ``vivify`` N and ``recache`` R (expiries), ``invalidate`` I, ``exptime`` T where the request has no expiry of
    its own, ``new_cas`` E, ``unless_cas`` C of mg, ``drop_value`` x, ``base64`` b, ``bump`` false for u; ``details``
    is whether h, l or t ask for an :class:`ItemMeta`, and ``ttl_first`` whether t stands before T.
    """

    vivify: int | None = None
    recache: int | None = None
    bump: bool = True
    unless_cas: int = 0
    new_cas: int = 0
    invalidate: bool = False
    exptime: int | None = None
    drop_value: bool = False
    base64: bool = False
    details: bool = False
    ttl_first: bool = False


@message
class Get(Request[Values]):
    """Fetch the items under ``keys``; with ``exptime`` also set their expiry (get and touch).

    ``exptime`` here and in all requests: 0 is never, 1 to 2592000 (30 days) seconds from now, more is Unix
    time; negative, in the text dialects only, is at once.
    """

    keys: tuple[bytes, ...]
    exptime: int | None = None
    meta: MetaOptions | None = None


@message
class Set(Request[Stored]):
    """Store the value. With a ``cas`` other than 0 only if the item's CAS is still that one.

    The CAS 0 of a text ``cas`` or C0 is compared too, and no item has it: it is -1 here, as it is in :class:`Replace`
    and :class:`Delete`, and binary cannot say it.

    ``strict`` and ``unlink`` tell a cache what memcached's command does where the commands of one meaning differ. The
    readers set them, for all stores; they are not on the wire, so two requests that differ in them only are equal.
    """

    key: bytes
    value: bytes
    flags: int = 0
    exptime: int = 0
    cas: int = 0
    meta: MetaOptions | None = None
    #: Compare a ``cas`` even in a cache without CAS, where no item has one: the text commands do, binary does not.
    strict: bool = field(default=False, compare=False, repr=False)
    #: Remove the old item if this one is too large, or if there is no memory for it.
    unlink: bool = field(default=True, compare=False, repr=False)


@message
class Add(Request[Stored]):
    """Store only if the key is absent; in binary a ``cas`` makes it a compare-and-swap, as with :class:`Set`."""

    key: bytes
    value: bytes
    flags: int = 0
    exptime: int = 0
    cas: int = 0
    meta: MetaOptions | None = None
    #: Remove the old item if this one is too large, or if there is no memory for it.
    unlink: bool = field(default=False, compare=False, repr=False)


@message
class Replace(Request[Stored]):
    """Store only if the key is present; a ``cas`` is compared as with :class:`Set`."""

    key: bytes
    value: bytes
    flags: int = 0
    exptime: int = 0
    cas: int = 0
    meta: MetaOptions | None = None
    #: Compare a ``cas`` even in a cache without CAS, where no item has one: the text commands do, binary does not.
    strict: bool = field(default=False, compare=False, repr=False)
    #: Remove the old item if this one is too large, or if there is no memory for it.
    unlink: bool = field(default=False, compare=False, repr=False)


@message
class Append(Request[Stored]):
    """Put ``value`` behind the stored one; flags and expiry stay."""

    key: bytes
    value: bytes
    cas: int = 0
    meta: MetaOptions | None = None
    #: What a text client sent as flags; they count against the size of an item, and change nothing.
    flags: int = field(default=0, compare=False, repr=False)
    #: Remove the old item if this one is too large, or if there is no memory for it.
    unlink: bool = field(default=False, compare=False, repr=False)


@message
class Prepend(Request[Stored]):
    """Put ``value`` in front of the stored one; flags and expiry stay."""

    key: bytes
    value: bytes
    cas: int = 0
    meta: MetaOptions | None = None
    #: What a text client sent as flags; they count against the size of an item, and change nothing.
    flags: int = field(default=0, compare=False, repr=False)
    #: Remove the old item if this one is too large, or if there is no memory for it.
    unlink: bool = field(default=False, compare=False, repr=False)


@message
class Delete(Request[Deleted]):
    """Remove the item; with a ``cas`` other than 0 only if it still has that CAS."""

    key: bytes
    cas: int = 0
    meta: MetaOptions | None = None


@message
class Increment(Request[Counter]):
    """Add ``delta`` to the decimal number stored as text, modulo 2**64.

    On a missing key the item is created with ``initial`` (the delta is not added) and ``exptime``; with
    ``exptime=None`` it is not created.
    """

    key: bytes
    delta: int = 1
    initial: int = 0
    exptime: int | None = None
    cas: int = 0
    meta: MetaOptions | None = None


@message
class Decrement(Request[Counter]):
    """Subtract ``delta``, stopping at 0; everything else as with :class:`Increment`."""

    key: bytes
    delta: int = 1
    initial: int = 0
    exptime: int | None = None
    cas: int = 0
    meta: MetaOptions | None = None


@message
class Touch(Request[Touched]):
    """Set a new expiry and leave the rest, the CAS too, as it is."""

    key: bytes
    exptime: int = 0


@message
class Flush(Request[Ok]):
    """Forget all items, now or after a delay; ``exptime=None`` leaves the delay out, which is now."""

    exptime: int | None = None


@message
class Stats(Request[StatsReply]):
    """Ask for statistics: the general ones, or a ``group`` such as ``b"items"``."""

    group: bytes = b""


@message
class Version(Request[VersionReply]):
    """Ask for the server's version."""


@message
class Verbosity(Request[Ok]):
    """Set how much the server logs. memcached does not know it in binary."""

    level: int


@message
class Noop(Request[Ok]):
    """Do nothing; its answer proves that all before it has been answered."""


@message
class Quit(Request[Ok]):
    """End the connection."""


@message
class SaslList(Request[Mechanisms]):
    """Ask which SASL mechanisms there are."""


@message
class SaslAuth(Request[Authenticated | Challenge]):
    """Begin to authenticate; ``data`` is the mechanism's initial response, which may be empty."""

    mechanism: bytes
    data: bytes = b""


@message
class SaslStep(Request[Authenticated | Challenge]):
    """Answer a challenge."""

    mechanism: bytes
    data: bytes = b""


@message
class Unknown(Request[RawReply]):
    """A command that memcached does not know, raw. An engine answers it with status UNKNOWN_COMMAND."""

    packet: Packet


@message
class UnknownLine(Request[RawReply]):
    """A text line that memcached does not know, without its end. An engine answers it with status UNKNOWN_COMMAND."""

    line: bytes


@message
class AdminCommand(Request[AdminReply]):
    """An administrative command of classic text, word by word: cache_memlimit, slabs, lru, shutdown and so on."""

    words: tuple[bytes, ...]


@message
class MetaDebug(Request[MetaDebugReply]):
    """Ask for the facts of one item, as meta's ``me`` does; a help for people, not for programs."""

    key: bytes


@message
class InvalidRequest(Request[Ok]):
    """A request that the connection refuses on an intact stream; ``reply`` is memcached's own answer to it.

    ``reason`` names the field, the value seen and the rule. ``request`` is what was understood of it, with
    an empty value, or ``None``; a cache needs it, because memcached drops the old item of a SET that is
    too large, and a server with users counts a :class:`SaslStep` without a challenge.
    """

    reply: Failure
    reason: str
    request: Request[object] | None = None


AnyRequest: TypeAlias = (
    Get
    | Set
    | Add
    | Replace
    | Append
    | Prepend
    | Delete
    | Increment
    | Decrement
    | Touch
    | Flush
    | Stats
    | Version
    | Verbosity
    | Noop
    | Quit
    | SaslList
    | SaslAuth
    | SaslStep
    | Unknown
    | UnknownLine
    | AdminCommand
    | MetaDebug
    | InvalidRequest
)
