"""Requests and replies: one type per meaning, the same for every dialect.

Messages are plain data and know nothing of opcodes or wire formats. Keys and values are ``bytes``; numbers
are unsigned unless said otherwise. Type checkers treat every field as read-only; at run time nothing guards
them, because guarding costs more than decoding the packet does.

Each request type names the type of reply that answers it: ``Request[Values]`` is answered by ``Values``, or,
as any request can be, by a :class:`Failure`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar, dataclass_transform

from memproto.enums import STATUSES, Magic, Status

T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)


@dataclass_transform(frozen_default=True)
def message(cls: type[T]) -> type[T]:
    """Make a class plain data: slots, equality by type and value, hashable, read-only to type checkers."""
    return dataclass(slots=True, unsafe_hash=True)(cls)


@message
class Packet:
    """One binary packet as it lies on the wire, for any opcode, known or not.

    The three length fields of the header are not here: they are computed from ``extras``, ``key`` and
    ``value`` when the packet is encoded. ``vbucket_or_status`` is the vbucket id of a request and the status
    of a response; both share bytes 6 and 7 of the header.
    """

    magic: int
    opcode: int
    extras: bytes = b""
    key: bytes = b""
    value: bytes = b""
    vbucket_or_status: int = 0
    data_type: int = 0
    opaque: int = 0
    cas: int = 0

    @property
    def is_request(self) -> bool:
        """Whether the magic byte says request (0x80)."""
        return self.magic == Magic.REQUEST

    @property
    def status(self) -> int:
        """Bytes 6 and 7 read as a response's status, a :class:`Status` where memcached knows it."""
        return STATUSES.get(self.vbucket_or_status, self.vbucket_or_status)


# --- replies


@message
class Failure:
    """Any answer that is not a success: a miss, a refusal, an error.

    ``status`` is a :class:`~memproto.Status` or, for a number memcached does not use, an ``int``.
    ``text`` is for people only; ``None`` stands for the words memcached itself uses with that status.
    """

    status: int
    text: bytes | None = None

    @property
    def reason(self) -> bytes:
        """The text, or memcached's own words where there is none."""
        if self.text is not None:
            return self.text
        known = STATUSES.get(self.status)
        return b"" if known is None else known.text


@message
class Item:
    """One stored item as a get returns it. ``cas`` 0 means that the server told none."""

    key: bytes
    value: bytes
    flags: int = 0
    cas: int = 0


@message
class Values:
    """The answer to :class:`Get`: the items that were found, in the order of the keys. None found: a miss."""

    items: tuple[Item, ...] = ()


@message
class Stored:
    """The item was stored; ``cas`` is its new CAS, 0 where the server told none."""

    cas: int = 0


@message
class Deleted:
    """The item is gone. memcached sends CAS 0 here."""

    cas: int = 0


@message
class Counter:
    """The new number after :class:`Increment` or :class:`Decrement`, 0 to 2**64 - 1."""

    value: int
    cas: int = 0


@message
class Touched:
    """The expiry was changed. ``flags`` are the item's, ``None`` where the server does not tell them."""

    flags: int | None = None
    cas: int = 0


@message
class Ok:
    """Done, and there is nothing to tell: the answer to Flush, Noop, Verbosity and Quit."""


@message
class VersionReply:
    """The server's version, such as ``b"1.6.18"``; clients parse ``x.y.z``."""

    version: bytes


@message
class StatsReply:
    """All statistics of one answer, as (name, value) pairs in the server's order. No name is empty."""

    stats: tuple[tuple[bytes, bytes], ...] = ()


@message
class Mechanisms:
    """The SASL mechanisms that the server offers, such as ``(b"PLAIN",)``."""

    names: tuple[bytes, ...] = ()


@message
class Authenticated:
    """The credentials were accepted."""

    text: bytes = b"Authenticated"


@message
class Challenge:
    """The mechanism wants another step; ``data`` is its challenge, which may be empty."""

    data: bytes = b""


@message
class RawReply:
    """The answer to an :class:`Unknown` request, raw; its opcode and opaque are the connection's."""

    status: int = Status.SUCCESS
    extras: bytes = b""
    key: bytes = b""
    value: bytes = b""
    cas: int = 0
    data_type: int = 0


@message
class Silence:
    """What a quiet request got: nothing. A get missed, anything else succeeded."""


AnyReply: TypeAlias = (
    Values
    | Stored
    | Deleted
    | Counter
    | Touched
    | Ok
    | VersionReply
    | StatsReply
    | Mechanisms
    | Authenticated
    | Challenge
    | RawReply
    | Failure
)


# --- requests


class Request(Generic[R_co]):
    """The base of all requests; ``Request[X]`` is answered by an ``X`` or by a :class:`Failure`."""

    __slots__ = ()


@message
class Get(Request[Values]):
    """Fetch the items under ``keys``; with ``exptime`` also set their expiry (get and touch).

    ``exptime`` here and in all requests: 0 is never, 1 to 2592000 (30 days) seconds from now, more is Unix
    time; negative, in the text dialects only, is at once.
    """

    keys: tuple[bytes, ...]
    exptime: int | None = None


@message
class Set(Request[Stored]):
    """Store the value. With a ``cas`` other than 0 only if the item's CAS is still that one."""

    key: bytes
    value: bytes
    flags: int = 0
    exptime: int = 0
    cas: int = 0


@message
class Add(Request[Stored]):
    """Store only if the key is absent; in binary a ``cas`` makes it a compare-and-swap, as with :class:`Set`."""

    key: bytes
    value: bytes
    flags: int = 0
    exptime: int = 0
    cas: int = 0


@message
class Replace(Request[Stored]):
    """Store only if the key is present; a ``cas`` is compared as with :class:`Set`."""

    key: bytes
    value: bytes
    flags: int = 0
    exptime: int = 0
    cas: int = 0


@message
class Append(Request[Stored]):
    """Put ``value`` behind the stored one; flags and expiry stay."""

    key: bytes
    value: bytes
    cas: int = 0


@message
class Prepend(Request[Stored]):
    """Put ``value`` in front of the stored one; flags and expiry stay."""

    key: bytes
    value: bytes
    cas: int = 0


@message
class Delete(Request[Deleted]):
    """Remove the item; with a ``cas`` other than 0 only if it still has that CAS."""

    key: bytes
    cas: int = 0


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


@message
class Decrement(Request[Counter]):
    """Subtract ``delta``, stopping at 0; everything else as with :class:`Increment`."""

    key: bytes
    delta: int = 1
    initial: int = 0
    exptime: int | None = None
    cas: int = 0


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
class Malformed(Request[Ok]):
    """A request that the connection refuses on an intact stream; ``reply`` is memcached's own answer to it.

    ``reason`` names the field, the value seen and the rule. ``request`` is what was understood of it, with
    an empty value, or ``None``; a cache needs it, because memcached drops the old item of a SET that is
    too large.
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
    | Malformed
)
