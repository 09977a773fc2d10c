"""What a dialect of your own has to be, to be spoken by a :class:`~memproto.ServerConnection`."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from memproto._buffer import ReceiveBuffer
from memproto.events import Envelope
from memproto.messages import AnyReply

__all__ = ["ReceiveBuffer", "ServerDialect"]


@runtime_checkable
class ServerDialect(Protocol):
    """The server's half of a dialect: it reads requests and writes their replies. One object per connection.

    The connection keeps what all dialects have in common: the order of requests and replies, the limit on those that
    are unanswered, authentication as a state, the end of the stream. Subclass it, or be like it.
    """

    #: Whether the peer has yet to authenticate; set by the connection. A dialect that can be authenticated lets only
    #: that through then, and gives what else comes as :class:`~memproto.Malformed` with the refusal as its reply.
    locked: bool = False

    @property
    def midway(self) -> bool:
        """Whether a request has been read in part and is kept here, so that a stream that ends now is cut off."""
        return False

    def read(self, buffer: ReceiveBuffer) -> Envelope | None:
        """The next request, in an :class:`~memproto.Envelope` or a subclass of your own; ``None`` for "more is needed".

        It is called again when more bytes have come. A bad request on an intact stream is a
        :class:`~memproto.Malformed` with its reply; :class:`~memproto.RemoteProtocolError` is for lost framing
        and ends the conversation. A :class:`~memproto.Quit` does too, once it is answered.
        """

    def write(self, reply: AnyReply, to: Envelope) -> tuple[bytes, ...]:
        """The bytes that answer a request that :meth:`read` gave, in pieces.

        Raises :class:`~memproto.LocalProtocolError` for a reply that has no form here.
        """
        ...
