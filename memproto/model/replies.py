"""Replies: one type per meaning, the same for every dialect; and the failures."""

from __future__ import annotations

from typing import ClassVar, Final, TypeAlias, final

from memproto.model._message import Message
from memproto.model.enums import STATUSES, Status


@final
class Failure(Message):
    """Any answer that is not a success: a miss, a refusal, an error.

    ``status`` is a :class:`~memproto.Status` or, for a number memcached does not use, an ``int``.
    ``text`` is for people only; ``None`` stands for the words memcached itself uses with that status. Where a text
    dialect says a status by a code alone (``NOT_FOUND``, ``EX`` ...) it has no room for a text, and leaves it out.
    """

    __match_args__: ClassVar = ("status", "text")
    __slots__ = __match_args__

    def __init__(self, status: int, text: bytes | None = None) -> None:
        self.status: Final[int] = status
        self.text: Final[bytes | None] = text

    @property
    def reason(self) -> bytes:
        """The text, or memcached's own words where there is none."""
        if self.text is not None:
            return self.text
        known = STATUSES.get(self.status)
        return b"" if known is None else known.text


@final
class ItemMeta(Message):
    """What only meta replies contain of an item.

    ``ttl`` and ``last_access`` are seconds, ``ttl`` -1 for never. Of all clients that request a stale or missing item
    one has ``won`` and should store a new value; the others have ``lost``. ``unchanged`` means that the item has the
    CAS that the request named, so that the value is not sent. ``size`` is the size of the value, in a reply that
    contains the size and no value.
    """

    __match_args__: ClassVar = ("ttl", "hit_before", "last_access", "won", "lost", "stale", "unchanged", "size")
    __slots__ = __match_args__

    def __init__(
        self,
        ttl: int = -1,
        hit_before: bool = False,
        last_access: int = 0,
        won: bool = False,
        lost: bool = False,
        stale: bool = False,
        unchanged: bool = False,
        size: int | None = None,
    ) -> None:
        self.ttl: Final[int] = ttl
        self.hit_before: Final[bool] = hit_before
        self.last_access: Final[int] = last_access
        self.won: Final[bool] = won
        self.lost: Final[bool] = lost
        self.stale: Final[bool] = stale
        self.unchanged: Final[bool] = unchanged
        self.size: Final[int | None] = size


@final
class Item(Message):
    """One stored item as a get returns it. ``cas`` 0 means that the reply has none."""

    __match_args__: ClassVar = ("key", "value", "flags", "cas", "base64", "meta")
    __slots__ = __match_args__

    def __init__(
        self, key: bytes, value: bytes, flags: int = 0, cas: int = 0, base64: bool = False, meta: ItemMeta | None = None
    ) -> None:
        self.key: Final[bytes] = key
        self.value: Final[bytes] = value
        self.flags: Final[int] = flags
        self.cas: Final[int] = cas
        #: Whether it was stored under a base64 key, which a meta reply then shows.
        self.base64: Final[bool] = base64
        self.meta: Final[ItemMeta | None] = meta


@final
class Values(Message):
    """The answer to :class:`Get`: the items that were found, in the order of the keys. None found: a miss."""

    __match_args__: ClassVar = ("items",)
    __slots__ = __match_args__

    def __init__(self, items: tuple[Item, ...] = ()) -> None:
        self.items: Final[tuple[Item, ...]] = items


@final
class Stored(Message):
    """The item was stored; ``cas`` is its new CAS, 0 if the reply has none."""

    __match_args__: ClassVar = ("cas",)
    __slots__ = __match_args__

    def __init__(self, cas: int = 0) -> None:
        self.cas: Final[int] = cas


@final
class Deleted(Message):
    """The item is gone. memcached sends CAS 0 here."""

    __match_args__: ClassVar = ("cas",)
    __slots__ = __match_args__

    def __init__(self, cas: int = 0) -> None:
        self.cas: Final[int] = cas


@final
class Counter(Message):
    """The new number after :class:`Increment` or :class:`Decrement`, 0 to 2**64 - 1."""

    __match_args__: ClassVar = ("value", "cas", "meta")
    __slots__ = __match_args__

    def __init__(self, value: int, cas: int = 0, meta: ItemMeta | None = None) -> None:
        self.value: Final[int] = value
        self.cas: Final[int] = cas
        self.meta: Final[ItemMeta | None] = meta


@final
class Touched(Message):
    """The expiry was changed. ``flags`` are the item's, ``None`` if the reply does not contain them."""

    __match_args__: ClassVar = ("flags", "cas")
    __slots__ = __match_args__

    def __init__(self, flags: int | None = None, cas: int = 0) -> None:
        self.flags: Final[int | None] = flags
        self.cas: Final[int] = cas


@final
class Ok(Message):
    """Success without a result: the reply to Flush, Noop, Verbosity and Quit."""

    __slots__ = ()


@final
class VersionReply(Message):
    """The server's version, such as ``b"1.6.18"``; clients parse ``x.y.z``."""

    __match_args__: ClassVar = ("version",)
    __slots__ = __match_args__

    def __init__(self, version: bytes) -> None:
        self.version: Final[bytes] = version


@final
class StatsReply(Message):
    """All statistics of one answer, as (name, value) pairs in the server's order. No name is empty."""

    __match_args__: ClassVar = ("stats",)
    __slots__ = __match_args__

    def __init__(self, stats: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        self.stats: Final[tuple[tuple[bytes, bytes], ...]] = stats


@final
class Mechanisms(Message):
    """The SASL mechanisms that the server offers, such as ``(b"PLAIN",)``."""

    __match_args__: ClassVar = ("names",)
    __slots__ = __match_args__

    def __init__(self, names: tuple[bytes, ...] = ()) -> None:
        self.names: Final[tuple[bytes, ...]] = names


@final
class Authenticated(Message):
    """The credentials were accepted."""

    __match_args__: ClassVar = ("text",)
    __slots__ = __match_args__

    def __init__(self, text: bytes = b"Authenticated") -> None:
        self.text: Final[bytes] = text


@final
class Challenge(Message):
    """The mechanism wants another step; ``data`` is its challenge, which may be empty."""

    __match_args__: ClassVar = ("data",)
    __slots__ = __match_args__

    def __init__(self, data: bytes = b"") -> None:
        self.data: Final[bytes] = data


@final
class RawReply(Message):
    """The success of an :class:`Unknown` request, raw; its opcode and opaque are the connection's.

    A client gets a :class:`Failure` for any other ``status``. A server may send one here, with extras, key or CAS.
    """

    __match_args__: ClassVar = ("status", "extras", "key", "value", "cas", "data_type")
    __slots__ = __match_args__

    def __init__(
        self,
        status: int = Status.SUCCESS,
        extras: bytes = b"",
        key: bytes = b"",
        value: bytes = b"",
        cas: int = 0,
        data_type: int = 0,
    ) -> None:
        self.status: Final[int] = status
        self.extras: Final[bytes] = extras
        self.key: Final[bytes] = key
        self.value: Final[bytes] = value
        self.cas: Final[int] = cas
        self.data_type: Final[int] = data_type


@final
class AdminReply(Message):
    """The lines that answer :class:`AdminCommand`, each without its end."""

    __match_args__: ClassVar = ("lines",)
    __slots__ = __match_args__

    def __init__(self, lines: tuple[bytes, ...] = (b"OK",)) -> None:
        self.lines: Final[tuple[bytes, ...]] = lines


@final
class MetaDebugReply(Message):
    """The answer to :class:`MetaDebug`: the fields of the item as (name, value) pairs."""

    __match_args__: ClassVar = ("fields",)
    __slots__ = __match_args__

    def __init__(self, fields: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        self.fields: Final[tuple[tuple[bytes, bytes], ...]] = fields


@final
class ClusterNode(Message):
    """One server of a cluster: its name, its address, which may be empty, and its port."""

    __match_args__: ClassVar = ("host", "ip", "port")
    __slots__ = __match_args__

    def __init__(self, host: bytes, ip: bytes, port: int) -> None:
        self.host: Final[bytes] = host
        self.ip: Final[bytes] = ip
        self.port: Final[int] = port


@final
class ClusterConfigReply(Message):
    """The answer to :class:`ClusterConfig`. ``version`` grows whenever the ``nodes`` change."""

    __match_args__: ClassVar = ("version", "nodes")
    __slots__ = __match_args__

    def __init__(self, version: int, nodes: tuple[ClusterNode, ...] = ()) -> None:
        self.version: Final[int] = version
        self.nodes: Final[tuple[ClusterNode, ...]] = nodes


@final
class Silence(Message):
    """What a quiet request got: nothing. A get missed, anything else succeeded."""

    __slots__ = ()


ItemReply: TypeAlias = Values | Stored | Deleted | Counter | Touched | MetaDebugReply
AnyReply: TypeAlias = (
    ItemReply
    | Ok
    | VersionReply
    | StatsReply
    | AdminReply
    | ClusterConfigReply
    | Mechanisms
    | Authenticated
    | Challenge
    | RawReply
    | Failure
)
