"""One TCP connection: its segments in any order, the bytes of both ends in the order in which they took effect. Pure.

A segment is delivered when all bytes before it have been, and all bytes of the other end that it acknowledges. So a
reply never comes before its request, whatever the order of the packets in the capture.

Bytes that the capture does not have are a gap. A gap is reported when the receiver has acknowledged the bytes and they
have not come within a second of capture time; when they were not acknowledged, within a minute; when too many bytes
wait behind it; and at the end.
"""

from __future__ import annotations

from heapq import heappop, heappush, heapreplace
from math import inf
from typing import Final, NamedTuple

from memproto.capture.packets import Segment

__all__ = ["MAX_WAITING", "Conversation", "Piece"]

#: The most bytes of one connection that wait for earlier ones, with the overhead of each segment.
MAX_WAITING: Final = 4 * 1024 * 1024
_OVERHEAD: Final = 256
# Seconds of capture time in which bytes may still come that the receiver has acknowledged, or has not.
_PATIENCE: Final = 1.0
_LONG_PATIENCE: Final = 60.0
_HALF: Final = 1 << 31
_ALL: Final = (1 << 32) - 1
# No TCP window is larger, so no honest acknowledgement is further ahead.
_WINDOW: Final = 1 << 30


class Piece(NamedTuple):
    """The next bytes of one end: ``data``, or as many as ``lost`` that the capture does not have.

    ``sender`` is 0 or 1. ``time`` is that of the packet.
    """

    sender: int
    time: float
    data: bytes
    lost: int = 0


class _Waiting(NamedTuple):
    """A segment: the position of its first byte, and the position of the other end that it acknowledges."""

    at: int
    ack: int
    # Makes each entry different, so that a comparison does not get to the data.
    order: int
    time: float
    data: bytes
    missing: int
    fin: bool


class _Direction:
    """What one end sends. Positions are sequence numbers that do not wrap."""

    __slots__ = ("acked", "begin", "finished", "next", "waiting")

    def __init__(self) -> None:
        #: The position of the first byte, and of the next byte to deliver, once they are known.
        self.begin: int | None = None
        self.next: int = 0
        #: How far the other end has acknowledged.
        self.acked: int = 0
        #: A heap of the segments that cannot be delivered yet.
        self.waiting: list[_Waiting] = []
        self.finished: bool = False

    def position(self, number: int) -> int:
        """Return the position that a sequence number means: of all that it can mean, the nearest to the next byte."""
        if self.begin is None:
            self.begin = self.next = number + _ALL + 1
        return self.next + ((number - self.next + _HALF) & _ALL) - _HALF


class Conversation:
    """The segments of one connection, between the ends 0 and 1."""

    __slots__ = ("_directions", "_held", "_order", "_since", "closed")

    def __init__(self) -> None:
        #: Whether both ends have finished, or one has reset the connection. Nothing is delivered from then on.
        self.closed: bool = False
        self._directions = (_Direction(), _Direction())
        self._held = 0
        self._order = 0
        # When something was delivered last, or began to wait.
        self._since = 0.0

    @property
    def finished(self) -> tuple[bool, bool]:
        """Whether each end has finished, or the connection was reset."""
        first, second = self._directions
        return first.finished, second.finished

    @property
    def waits(self) -> bool:
        """Whether segments wait for bytes that have not come."""
        return self._held > 0

    def is_of_another(self, sender: int, seq: int) -> bool:
        """Return whether a SYN with this sequence number begins another connection between the same ends."""
        begin = self._directions[sender].begin
        return begin is not None and (begin - 1 - seq) & _ALL != 0

    def add(self, sender: int, segment: Segment, now: float) -> list[Piece]:
        """Take a segment that the end ``sender`` has sent; the pieces that can be delivered now.

        ``now`` is the time of the packet in seconds from any origin.
        """
        if self.closed:
            return []
        own, other = self._directions[sender], self._directions[1 - sender]
        at = own.position(segment.seq + segment.syn)
        ack = 0
        if segment.ack is not None:
            ack = other.position(segment.ack)
            if ack - other.next > _WINDOW:
                ack = 0
            other.acked = max(other.acked, ack)
        if segment.rst:
            own.finished = other.finished = True
            return self.end()
        data = segment.data
        if not self._held and at == own.next and ack <= other.next and not segment.missing:
            self._advance(own, len(data), segment.fin)
            return [Piece(sender, now, data)] if data else []
        if at + len(data) + segment.missing + segment.fin > own.next or ack > other.next:
            self._order += 1
            if not self._held:
                self._since = now
            waiting = _Waiting(at, ack, self._order, now, data, segment.missing, segment.fin)
            heappush(own.waiting, waiting)
            self._held += len(data) + _OVERHEAD
        return self.deliver(now)

    def deliver(self, now: float) -> list[Piece]:
        """Return the pieces that can be delivered at ``now``, gaps that are given up among them."""
        pieces: list[Piece] = []
        self._deliver_ready(pieces)
        if pieces:
            self._since = now
        while self._held and self._is_lost(now):
            self._skip(pieces)
            self._deliver_ready(pieces)
        return pieces

    def end(self) -> list[Piece]:
        """Return the pieces that still waited, with the gaps before them: nothing comes any more."""
        pieces: list[Piece] = []
        self._deliver_ready(pieces)
        while self._held:
            self._skip(pieces)
            self._deliver_ready(pieces)
        self.closed = True
        return pieces

    def _advance(self, direction: _Direction, length: int, fin: bool) -> None:
        direction.next += length
        if fin:
            direction.next += 1
            direction.finished = True
            self.closed = all(each.finished for each in self._directions)

    def _deliver_ready(self, pieces: list[Piece]) -> None:
        """Deliver what waits for nothing any more, of both ends in turn."""
        idle = 0
        sender = 0
        while idle < 2 and self._held:
            idle += 1
            own, other = self._directions[sender], self._directions[1 - sender]
            while own.waiting and own.waiting[0].at <= own.next and own.waiting[0].ack <= other.next:
                self._deliver(sender, pieces)
                idle = 0
            sender = 1 - sender

    def _deliver(self, sender: int, pieces: list[Piece]) -> None:
        own = self._directions[sender]
        first = heappop(own.waiting)
        self._held -= len(first.data) + _OVERHEAD
        # Of bytes that come twice the first ones count.
        data = first.data[own.next - first.at :]
        missing = min(first.missing, first.at + len(first.data) + first.missing - own.next)
        if data:
            pieces.append(Piece(sender, first.time, data))
        if missing > 0:
            pieces.append(Piece(sender, first.time, b"", missing))
        else:
            missing = 0
        is_last = first.fin and not own.finished
        if len(data) + missing or is_last:
            self._advance(own, len(data) + missing, is_last)

    def _is_lost(self, now: float) -> bool:
        """Return whether the bytes that segments wait for are given up."""
        if self._held > MAX_WAITING:
            return True
        acknowledged = any(
            own.waiting and (own.waiting[0].at <= own.next or own.acked > own.next) for own in self._directions
        )
        return now - self._since >= (_PATIENCE if acknowledged else _LONG_PATIENCE)

    def _skip(self, pieces: list[Piece]) -> None:
        """Give up the bytes that the segment waits for that was captured first."""
        sender = min((0, 1), key=self._time_of_first)
        own, other = self._directions[sender], self._directions[1 - sender]
        first = own.waiting[0]
        if first.at > own.next:
            pieces.append(Piece(sender, first.time, b"", first.at - own.next))
            own.next = first.at
            return
        until = min(first.ack, other.waiting[0].at) if other.waiting else first.ack
        if until > other.next:
            pieces.append(Piece(1 - sender, first.time, b"", until - other.next))
            other.next = until
        else:
            # Each end waits for the other: one of the two segments is a copy of an earlier one that was not captured.
            heapreplace(own.waiting, first._replace(ack=0))

    def _time_of_first(self, sender: int) -> float:
        waiting = self._directions[sender].waiting
        return waiting[0].time if waiting else inf
