"""The options of all clients, in one place: their names and types, their defaults and the rules for their values.

    Client("cache.example", timeout=0.5, encoding="utf-8", values="json")
    AsyncCluster(["10.0.0.1", "10.0.0.2"], timeout=0.5, encoding="utf-8", values="json")

``values`` stands apart because it decides the type of the values, and so the type of the client.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias, TypedDict, TypeVar, final

from memproto import Dialect, Limits
from memproto.clients.reports import CallReport
from memproto.commands import RAW, Key, Serde
from memproto.conventions import JSON_OBJECTS, serde

__all__ = ["AsyncOptions", "BlockingOptions", "Options", "Settings", "Trace", "Values", "serde_of"]

V = TypeVar("V")

#: A serde, or its name; ``None`` for bytes.
Values: TypeAlias = Serde[V] | str | None
#: The client calls this with ">" and each block of bytes that it sends, or "<" and each block that it receives.
Trace: TypeAlias = Callable[[str, bytes], None]

#: The longest time limit, 24 days: the system counts a wait in milliseconds, in 31 bits.
MAX_SECONDS: Final = 2_147_483

_JSON: Final[Serde[object]] = Serde(
    lambda value: (JSON_OBJECTS.dump(value), 0), lambda data, _: JSON_OBJECTS.load(data)
)


class Options(TypedDict, total=False):
    """The options of every client; :class:`Settings` has their meaning and their defaults."""

    timeout: float | None
    pool: int | None
    dialect: Dialect
    encoding: str | None
    prefix: Key
    username: str | None
    password: str
    tls: ssl.SSLContext | None
    server_hostname: str | None
    keepalive: int | None
    limits: Limits | None
    on_call: Callable[[CallReport], None] | None


class BlockingOptions(Options, total=False):
    """The options of a blocking client."""

    idle: float | None
    trace: Trace | None


class AsyncOptions(Options, total=False):
    """The options of an asyncio client."""

    backoff: tuple[float, float]
    patient: bool


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options of a client with their defaults.

    Raises ValueError for an option that is out of range, TypeError for an unknown one.
    """

    #: The most seconds that a call may take, more than 0; ``None`` is no limit.
    timeout: float | None = 1.0
    #: The most connections to a server. ``None``: an asyncio client has one; a blocking one opens one for each call in
    #: progress, and keeps one.
    pool: int | None = None
    dialect: Dialect = Dialect.BINARY
    #: With a codec of Python, such as ``utf-8``, keys may be ``str``.
    encoding: str | None = None
    #: What stands in front of each key on the wire. It plays no part in the choice of a node.
    prefix: Key = b""
    #: With a username each connection begins with SASL PLAIN, in the text dialects with the ``set`` of
    #: ``memcached -Y``.
    username: str | None = None
    password: str = field(default="", repr=False)
    #: With a context each connection uses TLS.
    tls: ssl.SSLContext | None = None
    #: The name that the certificate must have, if it is not the host.
    server_hostname: str | None = None
    #: After so many seconds of silence TCP asks whether the server is still there, and again after each such time.
    keepalive: int | None = None
    limits: Limits | None = None
    #: Called after each call, in its thread or task. What it raises reaches the caller.
    on_call: Callable[[CallReport], None] | None = None
    #: A connection that no call has used for so many seconds is closed.
    idle: float | None = None
    #: Called with all bytes sent and received.
    trace: Trace | None = None
    #: After a failure to connect the client tries nothing for the first number of seconds, twice as long each time, at
    #: most for the second number; a random part of up to one half is taken off.
    backoff: tuple[float, float] = (0.05, 2.0)
    #: Whether a call in that time waits, within its timeout, and does not raise at once.
    patient: bool = False

    def __post_init__(self) -> None:
        check_seconds("timeout", self.timeout)
        check_seconds("idle", self.idle)
        if self.pool is not None and self.pool < 1:
            raise ValueError(f"pool is {self.pool}, must be at least 1")
        if self.keepalive is not None and self.keepalive < 1:
            raise ValueError(f"keepalive is {self.keepalive}, must be at least 1 second")


def check_seconds(name: str, seconds: float | None) -> None:
    """Raise ValueError for a number of seconds that is not more than 0, or over the limit; ``None`` is no limit."""
    if seconds is not None and not 0 < seconds <= MAX_SECONDS:
        raise ValueError(f"{name} is {seconds!r}, must be more than 0 and at most {MAX_SECONDS} seconds, or None")


def serde_of(values: Values[V]) -> Serde[V]:
    """The serde that ``values`` names; the client's own type says what ``V`` is.

    The names are those of :func:`memproto.conventions.serde`, and ``json``. Raises ``memproto.LocalProtocolError`` for
    another one.
    """
    if values is None:
        return RAW  # type: ignore[return-value]
    if isinstance(values, str):
        return _JSON if values == "json" else serde(values)  # type: ignore[return-value]
    return values
