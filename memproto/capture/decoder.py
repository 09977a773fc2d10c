"""A whole capture: frames in, exchanges of memcached out. Pure."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from typing import Final

from memproto import Side
from memproto.capture.follower import Ends, Follower, Record
from memproto.capture.packets import Address, Frame, Segment, Skipped, UdpPacket, decode_frame, format_address
from memproto.capture.splitter import is_request
from memproto.capture.tracker import Connection, Delivery, Tracker
from memproto.udp import HEADER, Reassembler, accept_request

__all__ = ["PORT", "Decoder"]

#: Where memcached listens if it is not told otherwise.
PORT: Final = 11211

# After so many pieces that are no request, a connection of an unknown port is none of memcached.
_TRIES: Final = 8
# The most questions over UDP that wait for the rest of their replies.
_MAX_QUESTIONS: Final = 1024


class Decoder:
    """Frames in, records out, as exchanges finish.

    With ``ports`` only these are looked at. Without, every TCP connection is that begins with a request of memcached,
    and those of port 11211; and UDP at that port. ``keep`` is as for :class:`~memproto.capture.follower.Follower`.
    """

    def __init__(self, ports: frozenset[int] = frozenset(), *, keep: bool = False) -> None:
        self._ports = ports or frozenset({PORT})
        self._any_port = not ports
        self._keep = keep
        self._tracker = Tracker()
        self._followers: dict[Connection, Follower] = {}
        self._tries: dict[Connection, int] = {}
        self._udp = _Questions(keep)
        #: How many frames were passed over, and why.
        self.skipped: Final[Counter[Skipped]] = Counter()
        #: How many connections were none of memcached.
        self.others: int = 0

    def add(self, frame: Frame) -> Iterator[Record]:
        """Take one frame; the records that are complete now."""
        packet = decode_frame(frame.link, frame.data)
        if isinstance(packet, Segment):
            if self._any_port or self._is_served(packet.source) or self._is_served(packet.target):
                for delivery in self._tracker.add(packet, frame.time):
                    yield from self._deliver(delivery)
        elif isinstance(packet, UdpPacket):
            if self._is_served(packet.target):
                yield from self._udp.ask(packet, frame.time)
            elif self._is_served(packet.source):
                yield from self._udp.answer(packet, frame.time)
        else:
            self.skipped[packet] += 1

    def end(self) -> Iterator[Record]:
        """Return the records of what is left when the capture is over."""
        for delivery in self._tracker.end():
            yield from self._deliver(delivery)
        yield from self._udp.end()

    def _is_served(self, address: Address) -> bool:
        return address[1] in self._ports

    def _deliver(self, delivery: Delivery) -> Iterator[Record]:
        connection = delivery.connection
        for sender, time, data, lost in delivery.pieces:
            follower = self._followers.get(connection) or self._begin(connection, sender, data)
            if follower is None:
                pass
            elif lost:
                yield from follower.lost(Side.CLIENT if sender == connection.client else Side.SERVER, lost, time)
            elif sender == connection.client:
                yield from follower.client_sent(data, time)
            else:
                yield from follower.server_sent(data, time)
        if delivery.ended:
            self._tries.pop(connection, None)
            if (ended := self._followers.pop(connection, None)) is not None:
                yield from ended.end()

    def _begin(self, connection: Connection, sender: int, data: bytes) -> Follower | None:
        """Return a follower if it is now known that the connection is memcached's, and which end is the client."""
        mid_stream = connection.client is None or connection in self._tries
        served = [self._is_served(end) for end in connection.ends]
        if connection.client is None and served[0] != served[1]:
            connection.client = served.index(False)
        elif not any(served) or connection.client is None:
            if connection.client == 1 - sender or not is_request(data):
                self._doubt(connection, is_lost=not data)
                return None
            connection.client = sender
        client, server = connection.client, 1 - connection.client
        ends = Ends(format_address(connection.ends[client]), format_address(connection.ends[server]), "tcp")
        follower = self._followers[connection] = Follower(ends, mid_stream=mid_stream, keep=self._keep)
        self._tries.pop(connection, None)
        return follower

    def _doubt(self, connection: Connection, *, is_lost: bool) -> None:
        tries = self._tries.get(connection, 0) + 1
        if tries < _TRIES and (is_lost or connection.client is None):
            self._tries[connection] = tries
            return
        self._tries.pop(connection, None)
        self.others += 1
        connection.ignored = True


class _Questions:
    """What is asked over UDP: each request id of each pair of addresses has a conversation of its own."""

    def __init__(self, keep: bool) -> None:
        self._keep = keep
        self._reassembler = Reassembler()
        self._followers: OrderedDict[tuple[Address, Address, int], Follower] = OrderedDict()

    def ask(self, packet: UdpPacket, now: float) -> Iterator[Record]:
        """Take a datagram of a client. A request id that comes again begins a conversation of its own."""
        request = accept_request(packet.data)
        if request is None:
            return
        key = (packet.source, packet.target, request.request_id)
        if (old := self._followers.pop(key, None)) is not None:
            yield from old.end()
        elif len(self._followers) >= _MAX_QUESTIONS:
            yield from self._followers.popitem(last=False)[1].end()
        ends = Ends(format_address(packet.source), format_address(packet.target), "udp")
        follower = self._followers[key] = Follower(ends, keep=self._keep)
        self._reassembler.forget(request.request_id, key[:2])
        yield from follower.client_sent(request.payload, now)

    def answer(self, packet: UdpPacket, now: float) -> Iterator[Record]:
        """Take a datagram of a server. A reply to a request that was not captured is passed over."""
        if len(packet.data) < HEADER.size:
            return
        message = self._reassembler.feed(packet.data, now, (packet.target, packet.source))
        if message is None:
            return
        follower = self._followers.get((packet.target, packet.source, message.request_id))
        if follower is not None:
            yield from follower.server_sent(message.payload, now)

    def end(self) -> Iterator[Record]:
        """Return the records of the questions whose replies are not complete."""
        for follower in self._followers.values():
            yield from follower.end()
        self._followers.clear()
