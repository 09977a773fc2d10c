"""One command: its requests, and how its result is computed from the replies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Generic, TypeVar

from memproto._fields import check_value
from memproto._wire.arguments import check_dialect
from memproto._wire.exchange import Exchange
from memproto.commands._results import Replies, accepted, not_replies
from memproto.connection.client import ClientConnection
from memproto.errors import LocalProtocolError
from memproto.limits import Limits
from memproto.model import Dialect, Request, SaslAuth

T_co = TypeVar("T_co", covariant=True)


class Command(Generic[T_co]):
    """Some requests, and the function that computes the result from their replies.

    ``repeatable`` says whether a client may run the command again when it does not know if the server has received it,
    ``needs_replies`` whether none of the requests may be sent quietly.
    """

    __slots__ = ("_read", "needs_replies", "repeatable", "requests")

    def __init__(
        self,
        requests: tuple[Request[object], ...],
        result: Callable[[Replies], T_co],
        repeatable: bool = False,
        needs_replies: bool = False,
    ) -> None:
        #: The requests to send, in this order. There may be none; the command has a result even so.
        self.requests: tuple[Request[object], ...] = requests
        self._read = result
        self.repeatable: bool = repeatable
        self.needs_replies: bool = needs_replies

    def result(self, replies: Replies) -> T_co:
        """The result, computed from a list of replies, one for each request.

        Raises :class:`ServerError` for a refusal that is no result, whatever the serde raises, and
        :class:`~memproto.LocalProtocolError` for an argument that is no list of replies to these requests: a single
        reply, an exchange, or ``None``, the reply of an exchange that is not answered yet.
        """
        try:
            return self._read(replies)
        except (TypeError, ValueError, LocalProtocolError):
            wrong = not_replies(replies, len(self.requests))
            if wrong is None:
                # It is about one of the replies, or the serde has raised it.
                raise
            raise wrong from None

    def send(
        self, connection: ClientConnection, start: int = 0, most: int | None = None, quiet: bool = False
    ) -> list[Exchange[object]]:
        """Send at most ``most`` requests from index ``start`` on. When the last of them is answered, all are.

        With ``quiet`` all but the last are sent quietly, unless the result needs their replies. That saves replies in
        binary and nothing in text.
        Raises :class:`~memproto.LocalProtocolError` as ``connection.send_all`` does: either all of them are sent or
        none. It does so for an argument of a wrong type, too.
        """
        try:
            if len(self.requests) == 1 and not start:
                return [connection.send(self.requests[0])]
            if start < 0:
                raise LocalProtocolError(f"start is {start}, the least is 0")
            if most is not None and most < 1:
                raise LocalProtocolError(f"most is {most}, the least is 1")
            requests = self.requests[start : None if most is None else start + most]
            return connection.send_all(requests, quiet=quiet and not self.needs_replies)
        except (AttributeError, TypeError):
            # The types are checked only now, because every call of a client comes through here.
            check_value("connection", connection, ClientConnection)
            check_value("start", start, int)
            check_value("most", most, int | None)
            raise

    def check(self, limits: Limits, dialect: Dialect) -> None:
        """Raise :class:`~memproto.LocalProtocolError` if a connection with these would refuse any of the requests.

        Nothing is sent. Use it before requests go out in several rounds, or on several connections: if one request were
        refused after others are sent, a part of the command would be carried out. Arguments of a wrong type are refused
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
    return Command((SaslAuth(b"PLAIN", credentials),), accepted)
