"""What the readers of replies have in common in both text dialects."""

from __future__ import annotations

from memproto._wire.buffer import ReceiveBuffer
from memproto._wire.exchange import Exchange, ReplyReader
from memproto.limits import Limits
from memproto.model import AnyReply, Failure, Silence, Values


class TextReader(ReplyReader):
    """Reads the replies to one kind of request, or to one request.

    :meth:`read` reads the regular form of the reply, :meth:`read_irregular` any form.
    """

    __slots__ = ()

    def begin(self, exchange: Exchange[object], limits: Limits) -> TextReader:
        """The reader of an irregular reply: this one, or a new one if it has to keep a part of the reply."""
        return self

    def read_irregular(
        self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits
    ) -> AnyReply | Silence | None:
        """Read the reply whatever its form; ``None`` if more bytes are needed. Raises RemoteProtocolError."""
        raise NotImplementedError


class Quieted(TextReader):
    """Reads the reply to a quiet request, which is sent as one that asks for a reply: a success becomes silence."""

    __slots__ = ("reader",)

    def __init__(self, reader: TextReader) -> None:
        self.reader = reader

    def begin(self, exchange: Exchange[object], limits: Limits) -> TextReader:
        return Quieted(self.reader.begin(exchange, limits))

    def read_irregular(
        self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits
    ) -> AnyReply | Silence | None:
        reply = self.reader.read_irregular(buffer, exchange, limits)
        if reply is None or isinstance(reply, Failure) or (isinstance(reply, Values) and reply.items):
            return reply
        return Silence()
