"""What a client asks and what the replies come to, as pure data: the same for a blocking client and any other.

    calls = Commands()
    call = calls.get(b"key")                 # Command[bytes | None]
    exchanges = call.send(connection)
    ...                                      # write their bytes; read until the last of them is answered
    value = call.result([exchange.reply for exchange in exchanges])

Another serde than ``RAW`` makes other values of the bytes. A refusal that a call has no result for is a
:class:`ServerError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Generic, TypeAlias, TypeVar

from memproto._fields import check_value
from memproto._wire.arguments import check_dialect, misuse
from memproto.connection.client import ClientConnection, Exchange
from memproto.errors import LocalProtocolError
from memproto.limits import Limits
from memproto.model import (
    Add,
    Append,
    Authenticated,
    Challenge,
    Counter,
    Decrement,
    Delete,
    Deleted,
    Dialect,
    Failure,
    Flush,
    Get,
    Increment,
    Item,
    Noop,
    Ok,
    Prepend,
    Replace,
    Request,
    SaslAuth,
    Set,
    Silence,
    Stats,
    StatsReply,
    Status,
    Stored,
    Touch,
    Touched,
    Values,
    Version,
    VersionReply,
)
from memproto.serde import RAW, Serde

__all__ = [
    "RAW",
    "AuthenticationError",
    "Command",
    "Commands",
    "Replies",
    "ReplyTooLargeError",
    "Serde",
    "ServerError",
    "authenticate",
]

T_co = TypeVar("T_co", covariant=True)
R = TypeVar("R")
V = TypeVar("V")

Replies: TypeAlias = Sequence[object]


class ServerError(Exception):
    """The server refused; ``failure`` has the status and the server's words."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.reason.decode(errors='replace')} (status {int(failure.status):#06x})")
        self.failure = failure


class ReplyTooLargeError(ServerError):
    """The reply was over one of the connection's :class:`~memproto.Limits` and was skipped.

    It is no fault of the server, and the connection can be used as before. A get may succeed with wider limits;
    anything else has been carried out.
    """


class AuthenticationError(ServerError):
    """The server does not take the credentials."""


class Command(Generic[T_co]):
    """So many requests, and what the replies to them come to.

    ``repeatable`` is whether the call may be made again when it is not known if the server has seen it.
    """

    __slots__ = ("_read", "repeatable", "requests")

    def __init__(
        self,
        requests: tuple[Request[object], ...],
        result: Callable[[Replies], T_co],
        repeatable: bool = False,
    ) -> None:
        #: What to ask, in this order. There may be nothing to ask, and even so there is a result.
        self.requests: tuple[Request[object], ...] = requests
        self._read = result
        self.repeatable: bool = repeatable

    def result(self, replies: Replies) -> T_co:
        """What the replies come to, given a list of them, one for each request.

        Raises :class:`ServerError`, what the serde raises, and :class:`~memproto.LocalProtocolError` for what are not
        the replies to these requests: one alone instead of a list, an exchange, or ``None``, the reply of an exchange
        that is not answered yet.
        """
        try:
            return self._read(replies)
        except (TypeError, ValueError, LocalProtocolError):
            wrong = _not_replies(replies, len(self.requests))
            if wrong is None:
                # It is about one of the replies, or the serde has raised it.
                raise
            raise wrong from None

    def send(
        self, connection: ClientConnection, start: int = 0, most: int | None = None, quiet: bool = False
    ) -> list[Exchange[object]]:
        """Ask, at most so many requests from ``start`` on. When the last of them is answered, all are.

        With ``quiet`` all but the last are asked quietly, which in binary saves the answers and in text nothing.
        Raises :class:`~memproto.LocalProtocolError` as ``connection.send_all`` does: either all of them are sent or
        none. An argument of a wrong type is one, too.
        """
        try:
            if len(self.requests) == 1 and not start:
                return [connection.send(self.requests[0])]
            if start < 0:
                raise LocalProtocolError(f"start is {start}, the least is 0")
            if most is not None and most < 1:
                raise LocalProtocolError(f"most is {most}, the least is 1")
            return connection.send_all(self.requests[start : None if most is None else start + most], quiet=quiet)
        except (AttributeError, TypeError):
            # Looked at only now: a call is made often, and by mistake once.
            check_value("connection", connection, ClientConnection)
            check_value("start", start, int)
            check_value("most", most, int | None)
            raise

    def check(self, limits: Limits, dialect: Dialect) -> None:
        """Raise :class:`~memproto.LocalProtocolError` if a connection with these would refuse any of the requests.

        Nothing is asked. It is for what is sent in several rounds, or on several connections: were one request refused
        when the others are on their way, a part of the call would be carried out. Arguments of a wrong type are refused
        in the same way.
        """
        check_value("limits", limits, Limits)
        check_dialect("dialect", dialect)
        if self.requests:
            limits = replace(limits, outstanding=len(self.requests))
            ClientConnection(limits, dialect=dialect).send_all(self.requests)


def authenticate(username: str, password: str) -> Command[None]:
    """SASL PLAIN in binary, the ``set`` of ``memcached -Y`` in text. Raises :class:`AuthenticationError` if refused."""
    check_value("username", username, str)
    check_value("password", password, str)
    if "\0" in username or "\0" in password:
        raise LocalProtocolError("username or password has a NUL, which is what separates them")
    credentials = b"\0%b\0%b" % (username.encode(), password.encode())
    return Command((SaslAuth(b"PLAIN", credentials),), _accepted)


def _check_serde(serde: object) -> None:
    if not (isinstance(serde, tuple) and len(serde) == 2 and all(map(callable, serde))):
        raise misuse("serde", serde, "a Serde, a pair of functions: RAW, or what memproto.conventions.serde() makes")


def _keys_of(keys: object) -> tuple[bytes, ...]:
    # Of one key alone tuple() would make the numbers of its bytes.
    if isinstance(keys, str | bytes) or not isinstance(keys, Iterable):
        raise misuse("keys", keys, "an iterable of keys")
    return tuple(keys)


class Commands(Generic[V]):
    """The calls of a cache client, for values of type ``V``.

    Arguments are as in the requests: ``exptime`` 0 is never. ``flags`` are added to those that the serde gives.
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
        return Command((Get((key,)),), _item, True)

    def get_multi(self, keys: Iterable[bytes]) -> Command[dict[bytes, V]]:
        """The values of those keys that have one."""
        wanted = _keys_of(keys)
        return Command((Get(wanted),), self._found, True) if wanted else Command((), lambda _replies: {}, True)

    def gets_multi(self, keys: Iterable[bytes]) -> Command[dict[bytes, Item]]:
        """The items of those keys that have one, as they are stored."""
        wanted = _keys_of(keys)
        return Command((Get(wanted),), _items, True) if wanted else Command((), lambda _replies: {}, True)

    # --- storage

    def set(self, key: bytes, value: V, exptime: int = 0, flags: int = 0) -> Command[bool]:
        """Store: true."""
        data, all_flags = self._dumped(value, flags)
        return Command((Set(key, data, all_flags, exptime),), _done)

    def add(self, key: bytes, value: V, exptime: int = 0, flags: int = 0) -> Command[bool]:
        """Store if the key is absent; false if it is not."""
        data, all_flags = self._dumped(value, flags)
        return Command((Add(key, data, all_flags, exptime),), _unless_exists)

    def replace(self, key: bytes, value: V, exptime: int = 0, flags: int = 0) -> Command[bool]:
        """Store if the key is present; false if it is not."""
        data, all_flags = self._dumped(value, flags)
        return Command((Replace(key, data, all_flags, exptime),), _unless_absent)

    def append(self, key: bytes, value: bytes) -> Command[bool]:
        """Put bytes behind the stored ones; false if there are none."""
        return Command((Append(key, value),), _unless_not_stored)

    def prepend(self, key: bytes, value: bytes) -> Command[bool]:
        """Put bytes in front of the stored ones; false if there are none."""
        return Command((Prepend(key, value),), _unless_not_stored)

    def cas(self, key: bytes, value: V, cas: int, exptime: int = 0, flags: int = 0) -> Command[bool | None]:
        """Store if the item still has this CAS; false if it has another, ``None`` if the item is gone."""
        data, all_flags = self._dumped(value, flags)
        return Command((Set(key, data, all_flags, exptime, cas),), _swapped)

    def set_multi(self, items: Mapping[bytes, V], exptime: int = 0, flags: int = 0) -> Command[list[bytes]]:
        """Store them all; the keys of those that the server has refused, best none."""
        if not isinstance(items, Mapping):
            raise misuse("items", items, "a mapping of keys to values")
        keys = tuple(items)
        requests = []
        for key, value in items.items():
            data, all_flags = self._dumped(value, flags)
            requests.append(Set(key, data, all_flags, exptime))

        def refused(replies: Replies) -> list[bytes]:
            return [key for key, reply in zip(keys, replies, strict=True) if not _is_done(reply)]

        return Command(tuple(requests), refused)

    # --- the rest

    def delete(self, key: bytes) -> Command[bool]:
        """Remove; false if there was nothing."""
        return Command((Delete(key),), _unless_absent)

    def delete_multi(self, keys: Iterable[bytes]) -> Command[list[bytes]]:
        """Remove them all; the keys of those that were there."""
        gone = _keys_of(keys)

        def removed(replies: Replies) -> list[bytes]:
            return [key for key, reply in zip(gone, replies, strict=True) if _unless_absent((reply,))]

        return Command(tuple(map(Delete, gone)), removed)

    def incr(self, key: bytes, delta: int = 1, initial: int | None = None, exptime: int = 0) -> Command[int | None]:
        """Add; the new number. A missing one is made from ``initial``, or stays missing: ``None``.

        Classic text has no way to do both at once, so that ``initial`` raises ``LocalProtocolError`` there.
        """
        return Command((Increment(key, delta, initial or 0, None if initial is None else exptime),), _count)

    def decr(self, key: bytes, delta: int = 1, initial: int | None = None, exptime: int = 0) -> Command[int | None]:
        """Subtract, down to 0 at most; otherwise as :meth:`incr`."""
        return Command((Decrement(key, delta, initial or 0, None if initial is None else exptime),), _count)

    def touch(self, key: bytes, exptime: int = 0) -> Command[bool]:
        """Set a new expiry; false if there is no such item."""
        return Command((Touch(key, exptime),), _unless_absent)

    def flush(self, delay: int | None = None) -> Command[bool]:
        """Forget all items, now or ``delay`` seconds from now: true."""
        return Command((Flush(delay),), _done)

    def stats(self, group: bytes = b"") -> Command[dict[bytes, bytes]]:
        """The server's statistics by name."""
        # To ask for the group "reset" is not only to ask.
        return Command((Stats(group),), _statistics, group == b"")

    def version(self) -> Command[bytes]:
        """The server's version."""
        return Command((Version(),), _version, True)

    def noop(self) -> Command[bool]:
        """Ask for nothing, and be answered: true."""
        return Command((Noop(),), _done, True)

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
        raise _refused(reply)

    def _found(self, replies: Replies) -> dict[bytes, V]:
        load = self._load
        return {key: load(item.value, item.flags) for key, item in _items(replies).items()}


# --- readers of replies


def _refused(reply: object) -> Exception:
    if isinstance(reply, Failure):
        return (ReplyTooLargeError if reply.status == Status.REPLY_TOO_LARGE else ServerError)(reply)
    hint = ""
    if reply is None:
        hint = ", it is that of an exchange which is not answered yet"
    elif isinstance(reply, Exchange):
        hint = ", an exchange has it as exchange.reply"
    return LocalProtocolError(f"{reply!r:.80} is no reply to this call{hint}")


def _not_replies(replies: object, count: int) -> LocalProtocolError | None:
    """The error of what was given for a list of so many replies; ``None`` if that is what it is."""
    if isinstance(replies, str | bytes) or not isinstance(replies, Sequence):
        return misuse("replies", replies, "a list of replies, one for each request")
    if len(replies) != count:
        return LocalProtocolError(f"replies are {len(replies)}, must be {count}, one for each request")
    return None


def _only(replies: Replies, kind: type[R]) -> R:
    (reply,) = replies
    if isinstance(reply, kind):
        return reply
    raise _refused(reply)


# What answers a request that only does something.
_DONE: Final = frozenset({Stored, Deleted, Touched, Ok, Silence})


def _is_done(reply: object) -> bool:
    if type(reply) in _DONE:
        return True
    if isinstance(reply, Failure):
        return False
    raise _refused(reply)


def _done(replies: Replies) -> bool:
    (reply,) = replies
    if not _is_done(reply):
        raise _refused(reply)
    return True


def _unless(refusal: Status) -> Callable[[Replies], bool]:
    def succeeds(replies: Replies) -> bool:
        (reply,) = replies
        if isinstance(reply, Failure) and reply.status == refusal:
            return False
        return _done(replies)

    return succeeds


_unless_exists: Final = _unless(Status.KEY_EXISTS)
_unless_absent: Final = _unless(Status.KEY_NOT_FOUND)
_unless_not_stored: Final = _unless(Status.NOT_STORED)


def _swapped(replies: Replies) -> bool | None:
    (reply,) = replies
    if isinstance(reply, Failure) and reply.status == Status.KEY_NOT_FOUND:
        return None
    return _unless_exists(replies)


def _item(replies: Replies) -> Item | None:
    items = _only(replies, Values).items
    return items[0] if items else None


def _items(replies: Replies) -> dict[bytes, Item]:
    return {item.key: item for item in _only(replies, Values).items}


def _count(replies: Replies) -> int | None:
    (reply,) = replies
    if isinstance(reply, Failure) and reply.status == Status.KEY_NOT_FOUND:
        return None
    return _only(replies, Counter).value


def _statistics(replies: Replies) -> dict[bytes, bytes]:
    return dict(_only(replies, StatsReply).stats)


def _version(replies: Replies) -> bytes:
    return _only(replies, VersionReply).version


def _accepted(replies: Replies) -> None:
    (reply,) = replies
    if isinstance(reply, Authenticated):
        return
    if isinstance(reply, Challenge):
        reply = Failure(Status.AUTH_CONTINUE, b"the server wants another step, which PLAIN has not")
    if isinstance(reply, Failure):
        raise AuthenticationError(reply)
    raise _refused(reply)
