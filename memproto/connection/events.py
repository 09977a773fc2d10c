"""What a connection tells its embedder, beside the requests: the end of the stream, and answers."""

from __future__ import annotations

from typing import Generic, TypeAlias, TypeVar

from memproto._wire.exchange import Exchange
from memproto.model import AnyReply, Envelope, Silence, message

R_co = TypeVar("R_co", covariant=True)


@message
class ConnectionClosed:
    """The stream ended where it may end: the peer quit or closed between two messages, and all is answered."""


@message
class ReplyReceived(Generic[R_co]):
    """A request of ours has been answered: the event of a client connection.

    ``reply`` is also to be found as ``exchange.reply``, where type checkers know its type.
    """

    exchange: Exchange[R_co]
    reply: AnyReply | Silence


ServerEvent: TypeAlias = Envelope | ConnectionClosed
ClientEvent: TypeAlias = ReplyReceived[object] | ConnectionClosed
