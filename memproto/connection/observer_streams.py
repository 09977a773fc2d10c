"""One direction of a conversation that is observed: its bytes, counted, and the requests that were read of it."""

from __future__ import annotations

from typing import Final

from memproto._wire.buffer import ReceiveBuffer
from memproto._wire.exchange import Exchange, ReplyReader
from memproto.connection.observer_events import Side, SkippedBytes, SkipReason
from memproto.connection.observer_names import Name
from memproto.model import Envelope

# The largest gap inside a value that NULs stand for, and the most such bytes of one message. A forged capture can claim
# that any number of bytes is missing.
_MAX_GAP: Final = 1 << 20
_MAX_MISSING: Final = 1 << 24
# So many bytes that are skipped are reported before their end is known.
_MAX_SKIPPED: Final = 1 << 16


class ObservedRequest(Exchange[object]):
    """A request that was read, and the reader of its reply."""

    __slots__ = ("envelope", "has_new_opaque", "is_first", "missing", "names", "where")

    def __init__(
        self, envelope: Envelope, where: range, missing: int, quiet: bool, reader: ReplyReader, opaque: int = 0
    ) -> None:
        super().__init__(envelope.request, (), quiet, reader, opaque)
        self.envelope: Final[Envelope] = envelope
        self.where: Final[range] = where
        self.missing: Final[int] = missing
        #: Whether it is the first one behind a loss, and may have lost its beginning.
        self.is_first: bool = False
        #: Whether its opaque is not that of the request before.
        self.has_new_opaque: bool = False
        #: What its reply may repeat of it, if that is counted.
        self.names: tuple[Name, ...] = ()


class ObservedStream(ReceiveBuffer):
    """The bytes that one side sent. Offsets count from the first byte, gaps included."""

    __slots__ = ("begin", "detail", "end", "ended", "is_client", "is_first", "lost", "may_begin", "missing", "stopped")

    def __init__(self, is_client: bool) -> None:
        super().__init__()
        self.is_client: Final[bool] = is_client
        #: Where the message begins that is being read, and where the bytes end that were fed.
        self.begin: int = 0
        self.end: int = 0
        #: How many bytes of that message were lost in gaps.
        self.missing: int = 0
        #: Whether the side sends nothing more; and whether nothing more is fed of what it sends.
        self.ended: bool = False
        self.stopped: bool = False
        #: Why no message is known to begin at ``begin``, ``None`` if one does; and what was wrong.
        self.lost: SkipReason | None = None
        self.detail: str = ""
        #: Whether the next message is the first one behind a loss. What looks like one may be the end of another.
        self.is_first: bool = False
        #: Whether a message may begin with the next byte, if ``lost``.
        self.may_begin: bool = False

    @property
    def position(self) -> int:
        """The offset of the next byte that is not read and not to be discarded."""
        return self.end - len(self) + self._discard

    @property
    def mid_message(self) -> bool:
        """Whether a part of a message has been consumed."""
        return self.position > self.begin

    def append(self, data: bytes) -> None:
        """Add what the side sent."""
        self.end += len(data)
        self.feed(data)

    def take_message(self) -> tuple[range, int]:
        """The offsets of the message that has been read, and how many bytes of it were lost."""
        where, missing = range(self.begin, self.position), self.missing
        self.begin, self.missing, self.is_first = where.stop, 0, False
        return where, missing

    def lose(self, reason: SkipReason, detail: str = "", may_begin: bool = False) -> None:
        """Note that the message at ``begin`` cannot be read; ``may_begin`` is whether one may begin behind it."""
        if self.lost is None:
            self.lost, self.detail = reason, detail
        self.may_begin = may_begin

    def skip(self) -> SkippedBytes | None:
        """The event of the bytes from ``begin`` to the next unread one, if there are any. A message begins behind."""
        reason, detail = self.lost or SkipReason.CUT_OFF, self.detail
        self.lost, self.detail, self.may_begin = None, "", False
        where, _ = self.take_message()
        self.is_first = True
        side = Side.CLIENT if self.is_client else Side.SERVER
        return SkippedBytes(side, where, reason, detail) if where else None

    def skip_part(self) -> SkippedBytes | None:
        """The event of the bytes that are skipped up to now, if they are many; a message is still looked for."""
        if self.position - self.begin < _MAX_SKIPPED or self.lost is None:
            return None
        reason, detail, may_begin = self.lost, self.detail, self.may_begin
        skipped = self.skip()
        self.lose(reason, detail, may_begin)
        return skipped

    def cut_off(self) -> SkippedBytes | None:
        """The event of what is left at the end of the stream, if anything is."""
        rest = self.end - self.begin
        self.clear()
        return self.skip() if rest > 0 else None

    def fill(self, size: int, line_end: bytes, in_value: bool) -> int:
        """Let ``size`` missing bytes go by that are skipped anyway or, as NULs, in a value; how many are left over.

        ``line_end`` is what follows the value, and is part of what the reader waits for.
        """
        dropped = min(size, self._discard)
        self._discard -= dropped
        self.end += dropped
        filled = min(size, self.need - len(self)) if in_value and self.need > 0 else 0
        if filled > _MAX_GAP or self.missing + filled > _MAX_MISSING:
            filled = 0
        if filled:
            here, value_ends = len(self), self.need - len(line_end)
            nuls = max(min(filled, value_ends - here), 0)
            self.append(bytes(nuls) + line_end[max(here - value_ends, 0) :][: filled - nuls])
            self.missing += filled
        return size - dropped - filled

    def lose_bytes(self, size: int) -> None:
        """Drop what is left of a message before a gap of this size, and look for the next one behind it."""
        self.clear()
        self.end += size
        self.lose(SkipReason.GAP, may_begin=True)

    def lose_message(self, detail: str) -> None:
        """Give up the message that could not be read; the next one begins behind its first byte at the earliest."""
        may_begin = self.mid_message
        if not may_begin:
            self.discard(1)
        self.lose(SkipReason.FAULT, detail, may_begin)
