"""One direction of a conversation that is observed: its bytes, counted, and the requests that were read of it."""

from __future__ import annotations

from typing import Final

from memproto._wire.buffer import ReceiveBuffer
from memproto._wire.exchange import Exchange, ReplyReader
from memproto.connection.observer_events import Side, SkippedBytes, SkipReason
from memproto.model import Envelope


class ObservedRequest(Exchange[object]):
    """A request that was read, and the reader of its reply."""

    __slots__ = ("envelope", "missing", "where")

    def __init__(
        self, envelope: Envelope, where: range, missing: int, quiet: bool, reader: ReplyReader, opaque: int = 0
    ) -> None:
        super().__init__(envelope.request, (), quiet, reader, opaque)
        self.envelope: Final[Envelope] = envelope
        self.where: Final[range] = where
        self.missing: Final[int] = missing


class ObservedStream(ReceiveBuffer):
    """The bytes that one side sent. Offsets count from the first byte, gaps included."""

    __slots__ = ("begin", "end", "ended", "fault", "lost", "missing", "side")

    def __init__(self, side: Side) -> None:
        super().__init__()
        self.side: Final[Side] = side
        #: Where the message begins that is being read, and where the bytes end that were fed.
        self.begin = self.end = 0
        #: How many bytes of that message were lost in gaps.
        self.missing = 0
        #: Whether the side sends nothing more.
        self.ended = False
        #: Why no message begins at ``begin``, ``None`` if one does; and what was wrong.
        self.lost: SkipReason | None = None
        self.fault = ""

    @property
    def position(self) -> int:
        """The offset of the next byte that is not read and not to be discarded."""
        return self.end - len(self) + self._discard

    def append(self, data: bytes) -> None:
        """Add what the side sent."""
        self.end += len(data)
        self.feed(data)

    def take_message(self) -> tuple[range, int]:
        """The offsets of the message that has been read, and how many bytes of it were lost."""
        where, missing = range(self.begin, self.position), self.missing
        self.begin, self.missing = where.stop, 0
        return where, missing

    def lose(self, reason: SkipReason, fault: str = "") -> None:
        """Note that the message at ``begin`` cannot be read."""
        self.lost, self.fault = reason, fault

    def skip(self) -> SkippedBytes | None:
        """The event of the bytes between ``begin`` and the next unread byte, if there are any; a message begins now."""
        reason, fault, (where, _) = self.lost, self.fault, self.take_message()
        self.lost, self.fault = None, ""
        return SkippedBytes(self.side, where, reason or SkipReason.NO_MESSAGE, fault) if where else None
