"""IP packets that were sent in fragments, put together again. Pure.

Of bytes that come twice the first ones count. A packet is given up when its fragments have not all come within a minute
of capture time, and when others need the memory.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from struct import error as StructError  # noqa: N812
from typing import Final, TypeAlias

from memproto.capture.packets import Fragment, Segment, Skipped, UdpPacket, decode_transport

__all__ = ["MAX_HELD", "Fragments"]

#: The most bytes of packets that are not complete, with the overhead of each fragment.
MAX_HELD: Final = 4 * 1024 * 1024
_OVERHEAD: Final = 256
# Seconds of capture time: a sender uses its identifications again.
_PATIENCE: Final = 60.0

_Key: TypeAlias = tuple[bytes, bytes, int, int]


class _Packet:
    """What has come of one packet."""

    __slots__ = ("_data", "_ends", "_starts", "begun", "count", "protocol", "size", "total")

    def __init__(self, begun: float) -> None:
        self.begun = begun
        #: How many fragments have come, and what they cost.
        self.count = 0
        self.size = 0
        #: How long the packet is, and the protocol of its first bytes, once that is known.
        self.total: int | None = None
        self.protocol = 0
        self._data = bytearray()
        # The stretches of bytes that have come, in order; none touches the next.
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, fragment: Fragment) -> bytes | None:
        """Take a fragment; the whole packet if it is complete now."""
        begin, end = fragment.offset, fragment.offset + len(fragment.data)
        if not begin:
            self.protocol = fragment.protocol
        if not fragment.more and self.total is None:
            self.total = end
        self.count += 1
        self._put(begin, fragment.data)
        self.size = len(self._data) + self.count * _OVERHEAD
        if self.total is None or self._starts != [0] or self._ends[0] < self.total:
            return None
        return bytes(self._data[: self.total])

    def _put(self, begin: int, data: bytes) -> None:
        """Write the bytes that are new, and join the stretches that touch."""
        end = begin + len(data)
        self._data.extend(bytes(max(end - len(self._data), 0)))
        first = bisect_right(self._ends, begin - 1)
        last = bisect_right(self._starts, end)
        at = begin
        for start, stop in zip(self._starts[first:last], self._ends[first:last], strict=True):
            if at < start:
                self._data[at:start] = data[at - begin : start - begin]
            at = max(at, stop)
        if at < end:
            self._data[at:end] = data[at - begin :]
        if first < last:
            begin, end = min(begin, self._starts[first]), max(end, self._ends[last - 1])
        self._starts[first:last] = [begin]
        self._ends[first:last] = [end]


class Fragments:
    """Fragments in, whole packets out. ``limit`` bounds what is held, in bytes."""

    def __init__(self, limit: int = MAX_HELD) -> None:
        self._limit = limit
        # Those that began first come first.
        self._packets: OrderedDict[_Key, _Packet] = OrderedDict()
        #: How many bytes are held, with the overhead.
        self.held: int = 0
        #: How many fragments were given up.
        self.lost: int = 0

    def add(self, fragment: Fragment, now: float) -> Segment | UdpPacket | Skipped | None:
        """Take a fragment captured at ``now`` seconds; the packet if it is complete now."""
        # In IPv6 each fragment may name another protocol; that of the first one counts.
        protocol = fragment.protocol if len(fragment.source) == 4 else 0
        key = (fragment.source, fragment.target, protocol, fragment.identification)
        packet = self._packets.get(key)
        if packet is not None and not 0 <= now - packet.begun < _PATIENCE:
            self._give_up(key)
            packet = None
        if packet is None:
            packet = self._packets[key] = _Packet(now)
        self.held -= packet.size
        data = packet.add(fragment)
        if data is not None:
            del self._packets[key]
            try:
                return decode_transport(packet.protocol, fragment.source, fragment.target, data, 0, len(data))
            except StructError:
                return Skipped.TRUNCATED
        self.held += packet.size
        while self.held > self._limit:
            self._give_up(next(iter(self._packets)))
        return None

    def end(self) -> None:
        """Give up what is not complete when the capture is over."""
        while self._packets:
            self._give_up(next(iter(self._packets)))

    def _give_up(self, key: _Key) -> None:
        packet = self._packets.pop(key)
        self.held -= packet.size
        self.lost += packet.count
