"""The options of all clients, in one place: their names and types, their defaults and the rules for their values.

    Client("cache.example", timeout=0.5, encoding="utf-8", values="json")
    AsyncCluster(["10.0.0.1", "10.0.0.2"], timeout=0.5, encoding="utf-8", values="json")

``values`` stands apart because it decides the type of the values, and so the type of the client.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from types import NoneType
from typing import Final, TypeAlias, TypedDict, TypeVar, final

from memproto import Dialect, Limits
from memproto.clients.reports import CallReport
from memproto.commands import RAW, Key, Serde
from memproto.conventions import JSON_OBJECTS, serde

__all__ = ["AsyncOptions", "AsyncSettings", "Options", "Settings", "Trace", "Values", "serde_of"]

V = TypeVar("V")

#: A serde, or its name; ``None`` for bytes.
Values: TypeAlias = Serde[V] | str | None
#: The client calls this with ">" and each block of bytes that it sends, or "<" and each block that it receives.
Trace: TypeAlias = Callable[[str, bytes], None]

#: The longest time limit, 24 days: the system counts a wait in milliseconds, in 31 bits.
MAX_SECONDS: Final = 2_147_483

# The largest number that the system takes.
_MOST: Final = 2**31 - 1

_JSON: Final[Serde[object]] = Serde(
    lambda value: (JSON_OBJECTS.dump(value), 0), lambda data, _: JSON_OBJECTS.load(data)
)


class Options(TypedDict, total=False):
    """The options of every client; :class:`Settings` has their meaning and their defaults."""

    timeout: float | None
    pool: int | None
    idle: float | None
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
    trace: Trace | None


class AsyncOptions(Options, total=False):
    """The options of an asyncio client of one server."""

    backoff: tuple[float, float]
    patient: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options of a client with their defaults.

    Raises ValueError for an option that is out of range, TypeError for one of a wrong type and for an unknown one.
    """

    #: The most seconds that a call may take, more than 0; ``None`` is no limit.
    timeout: float | None = 1.0
    #: The most connections to a server. ``None``: an asyncio client has one; a blocking one opens one for each call in
    #: progress, and keeps one.
    pool: int | None = None
    #: A connection that no call has used for more than so many seconds is closed when the next call looks for one.
    idle: float | None = None
    #: The dialect of the requests. Leases need ``Dialect.META``.
    dialect: Dialect = Dialect.BINARY
    #: With a codec of Python, such as ``utf-8``, keys may be ``str``.
    encoding: str | None = None
    #: What stands in front of each key on the wire. It plays no part in the choice of a node.
    prefix: Key = b""
    #: With a username each connection begins with SASL PLAIN, in the text dialects with the ``set`` of
    #: ``memcached -Y``.
    username: str | None = None
    #: The password of the username.
    password: str = field(default="", repr=False)
    #: With a context each connection uses TLS.
    tls: ssl.SSLContext | None = None
    #: The name that the certificate must have, if it is not the host. Only with ``tls``.
    server_hostname: str | None = None
    #: After so many seconds of silence TCP asks whether the server is still there, and again after each such time. A
    #: Unix socket needs no such thing.
    keepalive: int | None = None
    #: What a server can make the client hold; ``None`` is ``Limits()``.
    limits: Limits | None = None
    #: Called after each call, in its thread or task. What it raises reaches the caller.
    on_call: Callable[[CallReport], None] | None = None
    #: Called with all bytes sent and received, without TLS. What it raises ends the connection.
    trace: Trace | None = None

    def __post_init__(self) -> None:
        check_seconds("timeout", self.timeout)
        check_seconds("idle", self.idle)
        for name, number, unit in (("pool", self.pool, ""), ("keepalive", self.keepalive, " second")):
            if not (number is None or _is_int(number)):
                raise _wrong_type(name, number, "an int, or None")
            if number is not None and not 1 <= number <= _MOST:
                rule = "at least 1" if number < 1 else f"at most {_MOST}"
                raise ValueError(f"{name} is {number}, must be {rule}{unit}")
        for name, value, kinds, expected in (
            ("dialect", self.dialect, Dialect, "a Dialect"),
            ("encoding", self.encoding, (str, NoneType), "the name of a codec, or None"),
            ("prefix", self.prefix, (bytes, str), "bytes or a str"),
            ("username", self.username, (str, NoneType), "a str, or None"),
            ("password", self.password, str, "a str"),
            ("tls", self.tls, (ssl.SSLContext, NoneType), "an ssl.SSLContext, or None"),
            ("server_hostname", self.server_hostname, (str, NoneType), "a str, or None"),
            ("limits", self.limits, (Limits, NoneType), "Limits, or None"),
        ):
            if not isinstance(value, kinds):
                raise _wrong_type(name, value, expected)
        for name, function in (("on_call", self.on_call), ("trace", self.trace)):
            if not (function is None or callable(function)):
                raise _wrong_type(name, function, "a function, or None")
        if self.password and self.username is None:
            raise ValueError("username is None, must be a str where there is a password")
        if self.server_hostname is not None and self.tls is None:
            raise ValueError(f"server_hostname is {self.server_hostname!r}, must be None where tls is None")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncSettings(Settings):
    """The options of an :class:`AsyncClient` with their defaults. Raises as :class:`Settings` does."""

    #: After a failure to connect the client tries nothing for the first number of seconds, twice as long each time, at
    #: most for the second number; a random part of up to one half is taken off.
    backoff: tuple[float, float] = (0.05, 2.0)
    #: Whether a call in that time waits, within its timeout, and does not raise at once.
    patient: bool = False

    def __post_init__(self) -> None:
        Settings.__post_init__(self)  # dataclasses with slots have no super()
        backoff: object = self.backoff
        if not (isinstance(backoff, tuple) and len(backoff) == 2 and all(map(_is_number, backoff))):
            raise TypeError(f"backoff is {backoff!r:.60}, must be two numbers of seconds")
        first, most = self.backoff
        if not 0 <= first <= most:
            raise ValueError(f"backoff is {self.backoff}, must be two numbers from 0 on, the first not the larger one")
        if not isinstance(self.patient, bool):
            raise _wrong_type("patient", self.patient, "a bool")


def check_seconds(name: str, seconds: float | None) -> None:
    """Raise ValueError for seconds that are not more than 0 or over the limit, TypeError for no number.

    ``None`` is no limit.
    """
    if not (seconds is None or _is_number(seconds)):
        raise _wrong_type(name, seconds, "a number of seconds, or None")
    if seconds is not None and not 0 < seconds <= MAX_SECONDS:
        raise ValueError(f"{name} is {seconds!r}, must be more than 0 and at most {MAX_SECONDS} seconds, or None")


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _wrong_type(name: str, value: object, expected: str) -> TypeError:
    # Without the value, which may be a password.
    return TypeError(f"{name} is {'None' if value is None else type(value).__name__}, must be {expected}")


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
