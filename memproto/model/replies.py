"""Replies: one type per meaning, the same for every dialect; and the failures."""

from __future__ import annotations

from typing import TypeAlias

from memproto.model._message import message
from memproto.model.enums import STATUSES, Status


@message
class Failure:
    """Any answer that is not a success: a miss, a refusal, an error.

    ``status`` is a :class:`~memproto.Status` or, for a number memcached does not use, an ``int``.
    ``text`` is for people only; ``None`` stands for the words memcached itself uses with that status. Where a text
    dialect says a status by a code alone (``NOT_FOUND``, ``EX`` ...) it has no room for a text, and leaves it out.
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
class ItemMeta:
    """What only the meta dialect tells of an item.

    ``ttl`` and ``last_access`` are seconds, ``ttl`` -1 for never. Of all who ask for a stale or missing item one has
    ``won`` and should make it anew; the others have ``lost``. ``unchanged`` is that the CAS is the one that the
    client named, so that the value is not sent. ``size`` is the value's, where that is told and the value is not.
    """

    ttl: int = -1
    hit_before: bool = False
    last_access: int = 0
    won: bool = False
    lost: bool = False
    stale: bool = False
    unchanged: bool = False
    size: int | None = None


@message
class Item:
    """One stored item as a get returns it. ``cas`` 0 means that the server told none."""

    key: bytes
    value: bytes
    flags: int = 0
    cas: int = 0
    #: Whether it was stored under a base64 key, which a meta reply then shows.
    base64: bool = False
    meta: ItemMeta | None = None


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
    meta: ItemMeta | None = None


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
    """The success of an :class:`Unknown` request, raw; its opcode and opaque are the connection's.

    A client gets a :class:`Failure` for any other ``status``. A server may send one here, with extras, key or CAS.
    """

    status: int = Status.SUCCESS
    extras: bytes = b""
    key: bytes = b""
    value: bytes = b""
    cas: int = 0
    data_type: int = 0


@message
class AdminReply:
    """The lines that answer :class:`AdminCommand`, each without its end."""

    lines: tuple[bytes, ...] = (b"OK",)


@message
class MetaDebugReply:
    """The answer to :class:`MetaDebug`: facts of the item as (name, value) pairs."""

    facts: tuple[tuple[bytes, bytes], ...] = ()


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
    | AdminReply
    | MetaDebugReply
    | Failure
)
