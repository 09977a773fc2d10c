"""One connection, or one question over UDP: its bytes with their times in, its exchanges out. Pure."""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple, TypeAlias

from memproto import ConnectionClosed, Limits, ObservedExchange, Observer, Side, Signal, SkippedBytes, UnmatchedReply

__all__ = ["Ends", "Event", "Follower", "Record"]

#: What a record is about.
Event: TypeAlias = ObservedExchange | UnmatchedReply | SkippedBytes


# NULs stand for a gap of this size in a value, and for the beginning of a larger one between messages.
_MAX_LOST: Final = 1 << 20


class Ends(NamedTuple):
    """The two ends of a conversation as text, and ``tcp`` or ``udp``."""

    client: str
    server: str
    transport: str


class Record(NamedTuple):
    """An exchange or another event of a conversation.

    ``time`` is when its first byte was captured; ``latency`` are the seconds from the last byte of the request to the
    last byte of the reply. Both are ``None`` if the input has no times; so is ``latency`` without a reply. ``ends`` is
    ``None`` if the input does not name them. ``request`` and ``reply`` are the bytes as they were on the wire, if the
    follower keeps them; NULs stand for those that were lost. ``sent`` and ``received`` are their numbers.
    """

    event: Event
    ends: Ends | None
    time: float | None
    latency: float | None
    sent: int
    received: int
    request: bytes = b""
    reply: bytes = b""


class _Mark(NamedTuple):
    """Some bytes of one side: up to which offset, when, and which, if they are kept."""

    end: int
    time: float | None
    data: bytes


class _Stream:
    """The bytes of one side that no exchange has used yet."""

    __slots__ = ("_end", "_marks")

    def __init__(self) -> None:
        self._marks: deque[_Mark] = deque()
        self._end = 0

    def add(self, size: int, time: float | None, data: bytes) -> None:
        self._end += size
        self._marks.append(_Mark(self._end, time, data))

    def release(self, offset: int) -> None:
        """Forget the bytes before this offset."""
        marks = self._marks
        while marks and marks[0].end <= offset:
            marks.popleft()

    def times(self, where: range) -> tuple[float | None, float | None]:
        """Return when the first and the last byte of a range were captured."""
        first: _Mark | None = None
        for mark in self._marks:
            if first is None and mark.end > where.start:
                first = mark
            if mark.end >= where.stop:
                return (mark if first is None else first).time, mark.time
        return None, None

    def bytes_of(self, where: range) -> bytes:
        """Return the bytes of a range, with NULs for those that are lost, though not for all of a large gap."""
        parts: list[bytes] = []
        begin = where.start
        for mark in self._marks:
            if begin >= where.stop:
                break
            if mark.end > begin:
                end = min(mark.end, where.stop)
                at = len(mark.data) - mark.end
                # Lost bytes are a mark without data.
                parts.append(mark.data[begin + at : end + at] if mark.data else bytes(min(end - begin, _MAX_LOST)))
                begin = end
        return b"".join(parts)


class Follower:
    """Follows one conversation. ``keep`` is whether records have the bytes of their messages.

    ``mid_stream`` and ``auth_required`` are as for :class:`~memproto.Observer`. ``outstanding`` is how many requests
    may wait for replies.
    """

    __slots__ = ("_client", "_ends", "_keep", "_observer", "_server")

    def __init__(
        self,
        ends: Ends | None,
        *,
        mid_stream: bool = False,
        keep: bool = False,
        outstanding: int = 1024,
        auth_required: bool = False,
    ) -> None:
        self._ends = ends
        self._keep = keep
        # A server may be configured for values and answers of any size.
        limits = Limits(value=1 << 28, answer=1 << 26, outstanding=outstanding)
        self._observer = Observer(limits, mid_stream=mid_stream, auth_required=auth_required)
        self._client = _Stream()
        self._server = _Stream()

    @property
    def outstanding(self) -> int:
        """How many requests were seen whose replies were not."""
        return self._observer.outstanding

    def client_sent(self, data: bytes, time: float | None = None) -> list[Record]:
        """Take bytes of the client; the records that are complete now. ``time`` is in seconds."""
        self._client.add(len(data), time, data if self._keep else b"")
        self._observer.client_sent(data)
        return self._records()

    def server_sent(self, data: bytes, time: float | None = None) -> list[Record]:
        """Take bytes of the server, likewise."""
        self._server.add(len(data), time, data if self._keep else b"")
        self._observer.server_sent(data)
        return self._records()

    def lost(self, side: Side, size: int, time: float | None = None) -> list[Record]:
        """Note that the capture does not have the next ``size`` bytes of a side."""
        if side is Side.CLIENT:
            self._client.add(size, time, b"")
            self._observer.client_gap(size)
        else:
            self._server.add(size, time, b"")
            self._observer.server_gap(size)
        return self._records()

    def end(self, *, closed: bool = True) -> list[Record]:
        """Return the records of what is left at the end: nothing more comes of either side.

        ``closed`` is whether the server ended the conversation; else only the capture may have ended.
        """
        if closed:
            self._observer.client_eof()
            self._observer.server_eof()
        else:
            self._observer.stop()
        return self._records()

    def _records(self) -> list[Record]:
        records: list[Record] = []
        while not isinstance(event := self._observer.next_event(), Signal | ConnectionClosed):
            if isinstance(event, ObservedExchange):
                records.append(self._exchange(event))
            elif isinstance(event, UnmatchedReply):
                records.append(self._unmatched(event))
            else:
                records.append(self._skipped(event))
        return records

    def _exchange(self, event: ObservedExchange) -> Record:
        asked, said = event.request_range, event.reply_range
        self._client.release(asked.start)
        time, since = self._client.times(asked)
        until = None
        if said:
            self._server.release(said.start)
            _, until = self._server.times(said)
        latency = None if since is None or until is None else until - since
        request, reply = b"", b""
        if self._keep:
            request, reply = self._client.bytes_of(asked), self._server.bytes_of(said)
        return Record(event, self._ends, time, latency, len(asked), len(said), request, reply)

    def _unmatched(self, event: UnmatchedReply) -> Record:
        said = event.reply_range
        self._server.release(said.start)
        reply = self._server.bytes_of(said) if self._keep else b""
        return Record(event, self._ends, self._server.times(said)[0], None, 0, len(said), b"", reply)

    def _skipped(self, event: SkippedBytes) -> Record:
        is_client = event.side is Side.CLIENT
        stream = self._client if is_client else self._server
        size = len(event.skipped)
        if not is_client or not self._observer.outstanding:
            # Else an exchange of older bytes may still come.
            stream.release(event.skipped.start)
        time, _ = stream.times(event.skipped)
        data = stream.bytes_of(event.skipped) if self._keep else b""
        if is_client:
            return Record(event, self._ends, time, None, size, 0, data, b"")
        return Record(event, self._ends, time, None, 0, size, b"", data)
