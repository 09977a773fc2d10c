"""The result of a command, computed from its replies; and the exceptions for a refusal that has no result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Generic, NamedTuple, TypeAlias, TypeVar

from memproto import model
from memproto._wire.arguments import misuse
from memproto._wire.exchange import Exchange
from memproto.errors import LocalProtocolError
from memproto.model import Failure, Item, Status, Values

R = TypeVar("R")
V = TypeVar("V")

#: The replies to the requests of a command, in their order.
Replies: TypeAlias = Sequence[object]


class Lease(NamedTuple, Generic[V]):
    """The result of ``get_or_lease``: a value or none, and whether this caller should store a new one."""

    #: ``None`` for a miss.
    value: V | None
    #: Whether this caller, and no other, should store a new value.
    won: bool
    #: Whether the value was marked as stale by ``invalidate``.
    stale: bool = False
    #: For the call of ``cas`` that stores the new value: it fails if another client has stored one meanwhile.
    cas: int = 0


class ServerError(Exception):
    """The server has refused a request; ``failure`` is its reply, with status and text."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.reason.decode(errors='replace')} (status {int(failure.status):#06x})")
        self.failure = failure


class ReplyTooLargeError(ServerError):
    """The reply is over one of the connection's :class:`~memproto.Limits`, and was skipped.

    The server has not refused the request, and the connection can be used as before. A get may succeed with wider
    limits; any other request was carried out.
    """


class AuthenticationError(ServerError):
    """The server refuses the user name or the password."""


def refusal(reply: object) -> Exception:
    """The exception for a reply from which no result can be computed."""
    if isinstance(reply, Failure):
        return (ReplyTooLargeError if reply.status == Status.REPLY_TOO_LARGE else ServerError)(reply)
    hint = ""
    if reply is None:
        hint = ", it is that of an exchange which is not answered yet"
    elif isinstance(reply, Exchange):
        hint = ", an exchange has it as exchange.reply"
    return LocalProtocolError(f"{reply!r:.80} is no reply to this command{hint}")


def not_replies(replies: object, count: int) -> LocalProtocolError | None:
    """The error of an argument that is no list of ``count`` replies; ``None`` if it is one."""
    if isinstance(replies, str | bytes) or not isinstance(replies, Sequence):
        return misuse("replies", replies, "a list of replies, one for each request")
    if len(replies) != count:
        return LocalProtocolError(f"replies are {len(replies)}, must be {count}, one for each request")
    return None


def only(replies: Replies, kind: type[R]) -> R:
    """The only reply, which must be of this type."""
    (reply,) = replies
    if isinstance(reply, kind):
        return reply
    raise refusal(reply)


# The replies that say no more than that a request was carried out.
_DONE: Final = frozenset({model.Stored, model.Deleted, model.Touched, model.Ok, model.Silence})


def is_done(reply: object) -> bool:
    """Whether a request was carried out; false for a refusal."""
    if type(reply) in _DONE:
        return True
    if isinstance(reply, Failure):
        return False
    raise refusal(reply)


def done(replies: Replies) -> bool:
    """True: a refusal raises :class:`ServerError`."""
    (reply,) = replies
    if not is_done(reply):
        raise refusal(reply)
    return True


def _unless(refused: Status) -> Callable[[Replies], bool]:
    def succeeds(replies: Replies) -> bool:
        (reply,) = replies
        if isinstance(reply, Failure) and reply.status == refused:
            return False
        return done(replies)

    return succeeds


unless_exists: Final = _unless(Status.KEY_EXISTS)
unless_absent: Final = _unless(Status.KEY_NOT_FOUND)
unless_not_stored: Final = _unless(Status.NOT_STORED)


def swapped(replies: Replies) -> bool | None:
    """The result of a compare-and-swap."""
    (reply,) = replies
    if isinstance(reply, Failure) and reply.status == Status.KEY_NOT_FOUND:
        return None
    return unless_exists(replies)


def first_item(replies: Replies) -> Item | None:
    """The item of a get of one key."""
    items = only(replies, Values).items
    return items[0] if items else None


def has_value(item: Item) -> bool:
    """False for the empty item that a get with a lease makes, until its winner stores a value."""
    return bool(item.value) or item.meta is None or not (item.meta.won or item.meta.lost)


def number(replies: Replies) -> int | None:
    """The number after incr or decr."""
    (reply,) = replies
    if isinstance(reply, Failure) and reply.status == Status.KEY_NOT_FOUND:
        return None
    return only(replies, model.Counter).value


def statistics(replies: Replies) -> dict[bytes, bytes]:
    """The statistics by name."""
    return dict(only(replies, model.StatsReply).stats)


def nodes(replies: Replies) -> list[tuple[str, int]]:
    """The nodes of a cluster, as pairs of host and port."""
    return [(node.host.decode(), node.port) for node in only(replies, model.ClusterConfigReply).nodes]


def version(replies: Replies) -> bytes:
    """The server's version."""
    return only(replies, model.VersionReply).version


def accepted(replies: Replies) -> None:
    """Raise :class:`AuthenticationError` unless the server has accepted the credentials."""
    (reply,) = replies
    if isinstance(reply, model.Authenticated):
        return
    if isinstance(reply, model.Challenge):
        reply = Failure(Status.AUTH_CONTINUE, b"the server wants another step, which PLAIN has not")
    if isinstance(reply, Failure):
        raise AuthenticationError(reply)
    raise refusal(reply)
