"""The events of a connection besides the requests: the end of the stream, and replies."""

from __future__ import annotations

from typing import ClassVar, Final, TypeAlias, final

from memproto._wire.exchange import Exchange
from memproto.model import AnyReply, Envelope, Message, Silence


@final
class ConnectionClosed(Message):
    """The stream ended where it may end: the peer quit or closed between two messages, and all is answered."""

    __slots__ = ()


@final
class ReplyReceived(Message):
    """A request of ours has been answered: the event of a client connection.

    ``reply`` is also to be found as ``exchange.reply``, where type checkers know its type.
    """

    __match_args__: ClassVar = ("exchange", "reply")
    __slots__ = __match_args__

    def __init__(self, exchange: Exchange[object], reply: AnyReply | Silence) -> None:
        self.exchange: Final[Exchange[object]] = exchange
        self.reply: Final[AnyReply | Silence] = reply


ServerEvent: TypeAlias = Envelope | ConnectionClosed
ClientEvent: TypeAlias = ReplyReceived | ConnectionClosed
