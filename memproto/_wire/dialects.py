"""What a dialect is: for a server, which a dialect of your own may be, and for a client, which is memproto's."""

from __future__ import annotations

from collections import deque
from typing import Protocol, TypeVar, runtime_checkable

from memproto._wire.buffer import ReceiveBuffer
from memproto._wire.exchange import Exchange
from memproto.model import AnyReply, Envelope, Failure, Request, Silence

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
    awaiting_auth: bool = False

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
    """The client's half of a dialect. One object per connection.

    The connection first calls the reader of the oldest exchange (:class:`ReplyReader`), which knows the regular form
    of the reply; ``read_irregular`` reads everything else.
    """

    #: The serial number of the next request; it changes only when a request has been encoded.
    opaque: int

    @property
    def regular(self) -> bool:
        """Whether the reader of the oldest exchange may read; only :meth:`read_irregular` changes it.

        It may not while :meth:`read_irregular` has consumed a part of that reply and keeps it here, and not under
        limits that the readers do not check.
        """
        ...

    def encode(self, request: Request[R], quiet: bool = False) -> Exchange[R]:
        """Encode a request. Raises LocalProtocolError, with nothing changed."""
        ...

    def read_irregular(self, buffer: ReceiveBuffer, waiting: deque[Exchange[object]]) -> AnyReply | Silence | None:
        """Read the reply to the oldest exchange whatever its form; ``waiting`` may be empty.

        ``None`` if more bytes are needed: what is needed is then noted in the buffer, or the buffer is discarding. It
        is not called while the need lasts, and with an empty buffer only if ``regular`` is false.

        Raises RemoteProtocolError.
        """
        ...

    def fault_after(self, request: Request[object], failure: Failure) -> str:
        """Why nothing that follows this failure can be read as replies; empty if it can."""
        ...
