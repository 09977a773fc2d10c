"""The events of an observer: exchanges, replies without a request, bytes that were skipped."""

from __future__ import annotations

import enum
from typing import ClassVar, Final, TypeAlias, final

from memproto.connection.events import ConnectionClosed
from memproto.model import AnyReply, Envelope, Message, Packet, Silence


class Side(enum.Enum):
    """The two sides of a conversation, each with a stream of its own."""

    CLIENT = "client"
    SERVER = "server"


class NoReply(enum.Enum):
    """Why an observer has no reply to a request, although the protocol requires one."""

    NOT_SEEN = "the reply is not among the bytes that were seen"
    CLOSED = "the connection ended before the reply"


class SkipReason(enum.Enum):
    """Why an observer skipped bytes."""

    GAP = "the bytes were not captured"
    NO_MESSAGE = "no message begins here; the observer looks for the next one"
    FAULT = "the sender broke the protocol or a limit"
    CUT_OFF = "the bytes end inside a message"


@final
class ObservedExchange(Message):
    """A request, and its reply, or why there is none.

    ``envelope`` is the request with the details of its dialect, as :class:`~memproto.ServerConnection` gives it.
    ``reply`` is the reply; :class:`~memproto.Silence` where the request asked for none and got none; or a
    :class:`NoReply`. ``request_range`` are the offsets of the request in the client's stream, ``reply_range`` those of
    the reply in the server's stream; without a reply it is empty. Offsets count from 0 and include gaps. ``missing``
    is how many bytes of the request's and the reply's values were lost in gaps; NULs stand for them.

    ``certain`` is whether the bytes leave no other choice. It is false if the reply may answer another request, if
    the reply to this one may have been given to another, or if the message may have lost its beginning.
    """

    __match_args__: ClassVar = ("envelope", "reply", "request_range", "reply_range", "missing", "certain")
    __slots__ = __match_args__

    def __init__(
        self,
        envelope: Envelope,
        reply: AnyReply | Silence | NoReply,
        request_range: range,
        reply_range: range,
        missing: int = 0,
        certain: bool = True,
    ) -> None:
        self.envelope: Final[Envelope] = envelope
        self.reply: Final[AnyReply | Silence | NoReply] = reply
        self.request_range: Final[range] = request_range
        self.reply_range: Final[range] = reply_range
        self.missing: Final[int] = missing
        self.certain: Final[bool] = certain


@final
class UnmatchedReply(Message):
    """A reply to a request that was not seen, or that fits none of the requests seen.

    ``reply`` is what it says as far as that is known without the request: keys that only the request has are empty.
    ``reply_range`` are its offsets in the server's stream. ``packet`` is the packet of a binary reply, with opcode and
    opaque; ``None`` in text, and if it was over a limit. ``detail``, for people, says why it answers none of the
    requests that waited; it is empty if none did.
    """

    __match_args__: ClassVar = ("reply", "reply_range", "packet", "detail")
    __slots__ = __match_args__

    def __init__(self, reply: AnyReply, reply_range: range, packet: Packet | None = None, detail: str = "") -> None:
        self.reply: Final[AnyReply] = reply
        self.reply_range: Final[range] = reply_range
        self.packet: Final[Packet | None] = packet
        self.detail: Final[str] = detail


@final
class SkippedBytes(Message):
    """Bytes of one stream that belong to no message.

    ``side`` is who sent them, ``skipped`` their offsets in the stream of that side. ``detail`` is for people: what was
    wrong with them, if ``reason`` is ``SkipReason.FAULT``; else it may be empty.
    """

    __match_args__: ClassVar = ("side", "skipped", "reason", "detail")
    __slots__ = __match_args__

    def __init__(self, side: Side, skipped: range, reason: SkipReason, detail: str = "") -> None:
        self.side: Final[Side] = side
        self.skipped: Final[range] = skipped
        self.reason: Final[SkipReason] = reason
        self.detail: Final[str] = detail


ObserverEvent: TypeAlias = ObservedExchange | UnmatchedReply | SkippedBytes | ConnectionClosed
