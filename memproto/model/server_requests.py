"""Requests that name no item: to the server, for authentication, and those that memcached does not know."""

from __future__ import annotations

from typing import ClassVar, Final, TypeAlias, final

from memproto.model.packet import Packet
from memproto.model.replies import (
    AdminReply,
    Authenticated,
    Challenge,
    ClusterConfigReply,
    Failure,
    Mechanisms,
    Ok,
    RawReply,
    StatsReply,
    VersionReply,
)
from memproto.model.request_base import _Request
from memproto.model.request_type import Request


class _Order(_Request):
    """The base of the requests whose reply says only that they succeeded."""

    __slots__ = ()

    @classmethod
    def reply_types(cls) -> tuple[type[Ok], ...]:
        return (Ok,)


@final
class Flush(_Order):
    """Forget all items, now or after a delay; ``exptime=None`` leaves the delay out, which is now."""

    __match_args__: ClassVar = ("exptime",)
    __slots__ = __match_args__

    def __init__(self, exptime: int | None = None) -> None:
        self.exptime: Final[int | None] = exptime


@final
class Stats(_Request):
    """Ask for statistics: the general ones, or a ``group`` such as ``b"items"``."""

    __match_args__: ClassVar = ("group",)
    __slots__ = __match_args__

    def __init__(self, group: bytes = b"") -> None:
        self.group: Final[bytes] = group

    @classmethod
    def reply_types(cls) -> tuple[type[StatsReply], ...]:
        return (StatsReply,)


@final
class Version(_Request):
    """Ask for the server's version."""

    __slots__ = ()

    @classmethod
    def reply_types(cls) -> tuple[type[VersionReply], ...]:
        return (VersionReply,)


@final
class Verbosity(_Order):
    """Set how much the server logs. memcached does not know it in binary."""

    __match_args__: ClassVar = ("level",)
    __slots__ = __match_args__

    def __init__(self, level: int) -> None:
        self.level: Final[int] = level


@final
class Noop(_Order):
    """Do nothing; its answer proves that all before it has been answered."""

    __slots__ = ()


@final
class Quit(_Order):
    """End the connection."""

    __slots__ = ()


@final
class SaslList(_Request):
    """Ask which SASL mechanisms there are."""

    __slots__ = ()

    @classmethod
    def reply_types(cls) -> tuple[type[Mechanisms], ...]:
        return (Mechanisms,)


class _Sasl(_Request):
    """The base of the steps of an authentication."""

    __match_args__: ClassVar = ("mechanism", "data")
    __slots__ = __match_args__

    def __init__(self, mechanism: bytes, data: bytes = b"") -> None:
        self.mechanism: Final[bytes] = mechanism
        self.data: Final[bytes] = data

    @classmethod
    def reply_types(cls) -> tuple[type[Authenticated | Challenge], ...]:
        return Authenticated, Challenge


@final
class SaslAuth(_Sasl):
    """Begin to authenticate; ``data`` is the mechanism's initial response, which may be empty."""

    __slots__ = ()


@final
class SaslStep(_Sasl):
    """Answer a challenge."""

    __slots__ = ()


@final
class Unknown(_Request):
    """A command that memcached does not know, raw. An engine answers it with status UNKNOWN_COMMAND."""

    __match_args__: ClassVar = ("packet",)
    __slots__ = __match_args__

    def __init__(self, packet: Packet) -> None:
        self.packet: Final[Packet] = packet

    @classmethod
    def reply_types(cls) -> tuple[type[RawReply], ...]:
        return (RawReply,)


@final
class UnknownLine(_Request):
    """A text line that memcached does not know, without its end. An engine answers it with status UNKNOWN_COMMAND."""

    __match_args__: ClassVar = ("line",)
    __slots__ = __match_args__

    def __init__(self, line: bytes) -> None:
        self.line: Final[bytes] = line

    @classmethod
    def reply_types(cls) -> tuple[type[RawReply], ...]:
        return (RawReply,)


@final
class AdminCommand(_Request):
    """An administrative command of classic text, word by word: cache_memlimit, slabs, lru, shutdown and so on."""

    __match_args__: ClassVar = ("words",)
    __slots__ = __match_args__

    def __init__(self, words: tuple[bytes, ...]) -> None:
        self.words: Final[tuple[bytes, ...]] = words

    @classmethod
    def reply_types(cls) -> tuple[type[AdminReply], ...]:
        return (AdminReply,)


@final
class ClusterConfig(_Request):
    """Ask for the nodes of a cluster (``config get cluster``), as Amazon ElastiCache and Google Memorystore list them.

    memcached does not know it, and an engine answers it with status UNKNOWN_COMMAND.
    """

    __slots__ = ()

    @classmethod
    def reply_types(cls) -> tuple[type[ClusterConfigReply], ...]:
        return (ClusterConfigReply,)


@final
class InvalidRequest(_Order):
    """A request that the connection refuses on an intact stream; ``reply`` is memcached's own answer to it.

    ``reason`` names the field, the value seen and the rule. ``request`` is what was understood of it, with
    an empty value, or ``None``; a cache needs it, because memcached drops the old item of a SET that is
    too large, and a server with users counts a :class:`SaslStep` without a challenge.
    """

    __match_args__: ClassVar = ("reply", "reason", "request")
    __slots__ = __match_args__

    def __init__(self, reply: Failure, reason: str, request: Request[object] | None = None) -> None:
        self.reply: Final[Failure] = reply
        self.reason: Final[str] = reason
        self.request: Final[Request[object] | None] = request


ServerRequest: TypeAlias = (
    Flush
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
    | ClusterConfig
    | InvalidRequest
)
