"""A whole capture: frames in, exchanges of memcached out. Pure."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from typing import Final

from memproto import Side
from memproto.capture.follower import Ends, Follower, Record
from memproto.capture.fragments import Fragments
from memproto.capture.packets import Address, Fragment, Frame, Segment, Skipped, UdpPacket, decode_frame, format_address
from memproto.capture.splitter import is_request
from memproto.capture.tcp_connections import Connection, Delivery, Tracker
from memproto.capture.tcp_reassembly import Piece
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
    and those of port 11211; and UDP at that port. ``keep`` and ``auth_required`` are as for
    :class:`~memproto.capture.follower.Follower`.
    """

    def __init__(self, ports: frozenset[int] = frozenset(), *, keep: bool = False, auth_required: bool = False) -> None:
        self._ports = ports or frozenset({PORT})
        self._any_port = not ports
        self._keep = keep
        self._auth_required = auth_required
        self._fragments = Fragments()
        self._tracker = Tracker()
        self._followers: dict[Connection, Follower] = {}
        # What came of connections of which it is not known yet what they are: how many pieces, and which gaps.
        self._tries: dict[Connection, int] = {}
        self._lost: dict[Connection, list[Piece]] = {}
        self._udp = _Questions(keep)
        #: How many frames were passed over, and why.
        self.skipped: Final[Counter[Skipped]] = Counter()
        #: How many connections were none of memcached.
        self.others: int = 0

    def add(self, frame: Frame) -> Iterator[Record]:
        """Take one frame; the records that are complete now."""
        packet = decode_frame(frame.link, frame.data)
        if isinstance(packet, Fragment):
            whole = self._fragments.add(packet, frame.time)
            if whole is None:
                return
            packet = whole
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
        self._fragments.end()
        if self._fragments.lost:
            self.skipped[Skipped.FRAGMENT] = self._fragments.lost

    def _is_served(self, address: Address) -> bool:
        return address[1] in self._ports

    def _deliver(self, delivery: Delivery) -> Iterator[Record]:
        connection = delivery.connection
        for piece in delivery.pieces:
            follower = self._followers.get(connection)
            if follower is None:
                follower = self._begin(connection, piece)
                if follower is None:
                    continue
                for lost in self._lost.pop(connection, ()):
                    yield from _told(follower, connection, lost)
            yield from _told(follower, connection, piece)
        if delivery.ended:
            self._forget(connection)
            if (ended := self._followers.pop(connection, None)) is not None:
                client = connection.client
                yield from ended.end(closed=client is not None and delivery.finished[1 - client])

    def _begin(self, connection: Connection, piece: Piece) -> Follower | None:
        """Return a follower if it is now known that the connection is memcached's, and which end is the client."""
        mid_stream = connection.client is None
        served = [self._is_served(end) for end in connection.ends]
        if connection.client is None and served[0] != served[1]:
            connection.client = served.index(False)
        elif not any(served) or connection.client is None:
            if connection.client == 1 - piece.sender or not is_request(piece.data):
                self._doubt(connection, piece)
                return None
            connection.client = piece.sender
        client, server = connection.client, 1 - connection.client
        ends = Ends(format_address(connection.ends[client]), format_address(connection.ends[server]), "tcp")
        follower = self._followers[connection] = Follower(
            ends, mid_stream=mid_stream, keep=self._keep, auth_required=self._auth_required
        )
        self._tries.pop(connection, None)
        return follower

    def _doubt(self, connection: Connection, piece: Piece) -> None:
        """Count a piece that is no request. A capture may begin anywhere, so that a few are none."""
        tries = self._tries[connection] = self._tries.get(connection, 0) + 1
        if piece.lost:
            self._lost.setdefault(connection, []).append(piece)
        if tries >= _TRIES or (connection.client is not None and connection not in self._lost):
            self._forget(connection)
            self.others += 1
            connection.ignored = True

    def _forget(self, connection: Connection) -> None:
        self._tries.pop(connection, None)
        self._lost.pop(connection, None)


def _told(follower: Follower, connection: Connection, piece: Piece) -> list[Record]:
    """Tell a follower of a piece; the records that are complete now."""
    side = Side.CLIENT if piece.sender == connection.client else Side.SERVER
    if piece.lost:
        return follower.lost(side, piece.lost, piece.time)
    sent = follower.client_sent if side is Side.CLIENT else follower.server_sent
    return sent(piece.data, piece.time)


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
            yield from old.end(closed=False)
        elif len(self._followers) >= _MAX_QUESTIONS:
            yield from self._followers.popitem(last=False)[1].end(closed=False)
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
            yield from follower.end(closed=False)
        self._followers.clear()
