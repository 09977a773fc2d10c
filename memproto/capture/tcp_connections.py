"""All TCP connections of a capture: which segment belongs to which, and which are over. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

from memproto.capture.packets import Address, Segment
from memproto.capture.tcp_reassembly import Conversation, Piece

__all__ = ["MAX_CONNECTIONS", "Connection", "Delivery", "Tracker"]

#: The most connections that are followed; one more ends the one that was idle longest.
MAX_CONNECTIONS: Final = 16384
# Seconds of capture time between two looks at the connections that wait for lost bytes.
_INTERVAL: Final = 1.0

_Key: TypeAlias = tuple[Address, Address]


class Connection:
    """A connection between two addresses, ``ends``; the senders 0 and 1 of its pieces are their indices."""

    __slots__ = ("client", "conversation", "ends", "ignored")

    def __init__(self, ends: tuple[Address, Address]) -> None:
        self.ends: Final[tuple[Address, Address]] = ends
        #: Which end has opened the connection; ``None`` if the capture does not show that. The caller may set it.
        self.client: int | None = None
        #: The caller sets this if the connection does not interest it. Nothing of it is delivered from then on.
        self.ignored: bool = False
        self.conversation: Final[Conversation] = Conversation()


class Delivery(NamedTuple):
    """What one connection delivers: the next pieces, and whether they are its last.

    ``finished`` is whether each end was seen to finish, or one of them to reset the connection.
    """

    connection: Connection
    pieces: list[Piece]
    ended: bool
    finished: tuple[bool, bool]


class Tracker:
    """Segments in, in the order of the capture; pieces of connections out."""

    def __init__(self, limit: int = MAX_CONNECTIONS) -> None:
        self._limit = limit
        # The connection that was idle longest comes first.
        self._connections: OrderedDict[_Key, Connection] = OrderedDict()
        self._waiting: set[Connection] = set()
        self._next_look = 0.0

    def add(self, segment: Segment, now: float) -> Iterator[Delivery]:
        """Take one segment, captured at ``now`` seconds; what can be delivered."""
        if self._waiting and not self._next_look - _INTERVAL <= now < self._next_look:
            yield from self._look(now)
        key = _key(segment.source, segment.target)
        connection = self._connections.get(key)
        sender = 1 if connection is not None and connection.ends[1] == segment.source else 0
        if connection is not None and segment.syn and connection.conversation.is_of_another(sender, segment.seq):
            yield from self._end(key)
            connection = None
        if connection is None:
            if not (segment.data or segment.missing or segment.syn):
                return
            if len(self._connections) >= self._limit:
                yield from self._end(next(iter(self._connections)))
            sender = 0
            connection = self._connections[key] = Connection((segment.source, segment.target))
        self._connections.move_to_end(key)
        if connection.ignored:
            return
        if segment.syn:
            connection.client = sender if segment.ack is None else 1 - sender
        conversation = connection.conversation
        was_closed = conversation.closed
        pieces = conversation.add(sender, segment, now)
        if conversation.waits:
            if not self._waiting:
                self._next_look = now + _INTERVAL
            self._waiting.add(connection)
        elif self._waiting:
            self._waiting.discard(connection)
        if pieces or conversation.closed != was_closed:
            yield Delivery(connection, pieces, conversation.closed, conversation.finished)

    def end(self) -> Iterator[Delivery]:
        """Return what is left when the capture is over; each connection that is open ends."""
        while self._connections:
            yield from self._end(next(iter(self._connections)))

    def _end(self, key: _Key) -> Iterator[Delivery]:
        connection = self._connections.pop(key)
        self._waiting.discard(connection)
        if not connection.ignored and not connection.conversation.closed:
            pieces = connection.conversation.end()
            yield Delivery(connection, pieces, True, connection.conversation.finished)

    def _look(self, now: float) -> Iterator[Delivery]:
        """Deliver what has waited long enough for lost bytes."""
        self._next_look = now + _INTERVAL
        for connection in list(self._waiting):
            pieces = connection.conversation.deliver(now)
            if not connection.conversation.waits:
                self._waiting.discard(connection)
            if pieces:
                conversation = connection.conversation
                yield Delivery(connection, pieces, conversation.closed, conversation.finished)


def _key(one: Address, other: Address) -> _Key:
    return (one, other) if one <= other else (other, one)
