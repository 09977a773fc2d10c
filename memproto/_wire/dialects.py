"""What a dialect is: for a server, which a dialect of your own may be, and for a client, which is memproto's."""

from __future__ import annotations

from collections import deque
from typing import Protocol, TypeVar, runtime_checkable

from memproto._wire.buffer import ReceiveBuffer
from memproto._wire.exchange import Exchange
from memproto.model import AnyReply, Envelope, Request, Silence

__all__ = ["ClientDialect", "ReceiveBuffer", "ServerDialect"]

R = TypeVar("R")


@runtime_checkable
class ServerDialect(Protocol):
    """The server's half of a dialect: it reads requests and writes their replies. One object per connection.

    The connection keeps what all dialects have in common: the order of requests and replies, the limit on those that
    are unanswered, authentication as a state, the end of the stream. Subclass it, or be like it.
    """

    #: Whether the peer has yet to authenticate; set by the connection. A dialect that can be authenticated lets only
    #: that through then, and gives what else comes as :class:`~memproto.InvalidRequest` with the refusal as its reply.
    locked: bool = False

    @property
    def mid_request(self) -> bool:
        """Whether a request has been read in part and is kept here, so that a stream that ends now is cut off."""
        return False

    def read(self, buffer: ReceiveBuffer) -> Envelope | None:
        """The next request, in an :class:`~memproto.Envelope` or a subclass of your own; ``None`` for "more is needed".

        It is called again when more bytes have come. A bad request on an intact stream is a
        :class:`~memproto.InvalidRequest` with its reply; :class:`~memproto.RemoteProtocolError` is for lost framing
        and ends the conversation. A :class:`~memproto.Quit` does too, once it is answered.
        """

    def write(self, reply: AnyReply, to: Envelope) -> tuple[bytes, ...]:
        """The bytes that answer a request that :meth:`read` gave, in pieces.

        Raises :class:`~memproto.LocalProtocolError` for a reply that has no form here.
        """
        ...


class ClientDialect(Protocol):
    """The client's half of a dialect."""

    @property
    def mid_request(self) -> bool:
        """Whether a reply has been read in part of which nothing is in the buffer."""
        ...

    #: The serial number of the next request; it changes only when a request has been encoded.
    opaque: int

    def ask(self, request: Request[R], quiet: bool = False) -> Exchange[R]:
        """Lay out a request. Raises LocalProtocolError."""
        ...

    def advance(self, buffer: ReceiveBuffer, waiting: deque[Exchange[object]]) -> AnyReply | Silence | None:
        """The reply to the first that waits; ``None`` for "more bytes are needed". Raises RemoteProtocolError."""
