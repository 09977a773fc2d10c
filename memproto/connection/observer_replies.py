"""The server's direction of an observed conversation: replies, each with its request, and what is skipped."""

from __future__ import annotations

from collections import deque
from typing import Final, TypeAlias

from memproto._wire.exchange import Exchange
from memproto.binary._layout import OpcodeSpec
from memproto.connection.observer_certainty import Certainty
from memproto.connection.observer_events import (
    NoReply,
    ObservedExchange,
    SkippedBytes,
    UnmatchedReply,
)
from memproto.connection.observer_matching import BinaryReplies, TextReplies
from memproto.connection.observer_requests import ObservedRequests, is_in_value
from memproto.connection.observer_resync import find_message
from memproto.connection.observer_streams import ObservedRequest, ObservedStream
from memproto.errors import RemoteProtocolError
from memproto.limits import Limits
from memproto.model import AnyReply, BinaryEnvelope, Envelope, Failure, Magic, Quit, SaslAuth, Silence
from memproto.text._lines import CRLF

ReplyEvent: TypeAlias = ObservedExchange | UnmatchedReply | SkippedBytes

_NOTHING: Final = range(0)


class ObservedReplies:
    """Reads replies as a client does, and goes on where a client would give up."""

    __slots__ = (
        "_certainty",
        "_detail",
        "_limits",
        "_opcodes",
        "_reader",
        "_requests",
        "_waiting",
        "events",
        "held",
        "stream",
    )

    def __init__(
        self, limits: Limits, opcodes: tuple[OpcodeSpec, ...], requests: ObservedRequests, certainty: Certainty
    ) -> None:
        self.stream: Final[ObservedStream] = ObservedStream(is_client=False)
        self._limits = limits
        self._opcodes = opcodes
        self._requests = requests
        self._certainty = certainty
        self._reader: BinaryReplies | TextReplies | None = None
        self._waiting: deque[Exchange[object]] = deque()
        # Why the reply that is being read answers none of the requests.
        self._detail = ""
        #: Events that come before those of the bytes that are not read yet.
        self.events: Final[deque[ReplyEvent]] = deque()
        #: How many bytes the requests have that wait for their replies.
        self.held: int = 0

    def __len__(self) -> int:
        """How many requests wait for their replies."""
        return len(self._waiting)

    def expect(self, envelope: Envelope) -> None:
        """Wait for the reply to a request."""
        is_first = self._requests.stream.is_first
        where, missing = self._requests.stream.take_message()
        is_binary = isinstance(envelope, BinaryEnvelope)
        while self._waiting and self._is_binary() is not is_binary:
            # What was taken for requests before was none of the kind that is spoken here.
            self.events.append(self.give_up(NoReply.NOT_SEEN, False))
        request = self._reader_for(is_binary).expect(envelope, where, missing)
        request.is_first = is_first
        self._certainty.expect(request)
        self._waiting.append(request)
        self.held += len(where)

    @property
    def _oldest(self) -> ObservedRequest:
        oldest = self._waiting[0]
        assert isinstance(oldest, ObservedRequest)
        return oldest

    def _is_binary(self) -> bool:
        """Whether the replies are packets; as long as there is no request, by their first byte."""
        if self._waiting:
            return isinstance(self._oldest.envelope, BinaryEnvelope)
        self.stream.gather(1)
        return self.stream.data[self.stream.at] == Magic.RESPONSE

    def _reader_for(self, is_binary: bool) -> BinaryReplies | TextReplies:
        kind = BinaryReplies if is_binary else TextReplies
        if type(self._reader) is not kind:
            self._reader = (
                BinaryReplies(self._limits, self._opcodes, self._certainty)
                if is_binary
                else TextReplies(self._limits, self._certainty)
            )
        return self._reader

    def read(self) -> ReplyEvent | None:
        """The next event; ``None`` if more bytes are needed."""
        stream = self.stream
        if stream.lost is not None:
            requests = self._requests
            binary = requests.binary if requests.sure else None
            if not find_message(stream, binary, requests.specs, self._limits.value):
                return stream.skip_part()
            self._reader = None
            skipped = stream.skip()
            if skipped is not None:
                return skipped
        if not len(stream) and not stream.mid_message:
            return None
        reader = self._reader or self._reader_for(self._is_binary())
        if self._waiting and not reader.is_unmatched:
            try:
                return self._read_matched(reader)
            except RemoteProtocolError as fault:
                if stream.mid_message:
                    return self._lose(str(fault))
                self._detail = str(fault)
        try:
            return self._read_unmatched(reader)
        except RemoteProtocolError as fault:
            return self._lose(self._detail or str(fault))

    def _read_matched(self, reader: BinaryReplies | TextReplies) -> ObservedExchange | None:
        stream, waiting = self.stream, self._waiting
        oldest = self._oldest
        reply: AnyReply | Silence | None = None
        if not reader.is_passing and self._certainty.is_exact(oldest) and reader.regular:
            reply = oldest._reader.read(stream, oldest, self._limits)
        if reply is None and not stream.need:
            reply = reader.read_irregular(stream, waiting)
        if reply is None:
            return None
        if isinstance(reply, Silence):
            return self.give_up(NoReply.NOT_SEEN, self._certainty.exact)
        return self._settle(reply)

    def _settle(self, reply: AnyReply) -> ObservedExchange:
        oldest = self._take_oldest()
        certain = self._certainty.certain and not (oldest.is_first or self.stream.is_first)
        where, missing = self.stream.take_message()
        if isinstance(reply, Failure) and isinstance(oldest.request, SaslAuth):
            self._requests.refuse_auth()
        return ObservedExchange(oldest.envelope, reply, oldest.where, where, oldest.missing + missing, certain)

    def give_up(self, why: NoReply, certain: bool) -> ObservedExchange:
        """The event of the oldest request, which has no reply; ``certain`` is whether that is known."""
        oldest = self._take_oldest()
        reply = Silence() if oldest.quiet else why
        certain = certain and not oldest.is_first
        return ObservedExchange(oldest.envelope, reply, oldest.where, _NOTHING, oldest.missing, certain)

    def give_up_one_of_many(self) -> ObservedExchange:
        """The event of the oldest request, for which too many others wait; its reply may still come."""
        self._certainty.lose_replies(self._waiting)
        return self.give_up(NoReply.NOT_SEEN, False)

    def _take_oldest(self) -> ObservedRequest:
        oldest = self._oldest
        self._waiting.popleft()
        self._certainty.report(oldest)
        self.held -= len(oldest.where)
        return oldest

    def _read_unmatched(self, reader: BinaryReplies | TextReplies) -> UnmatchedReply | None:
        read = None if self.stream.need else reader.read_unmatched(self.stream)
        if read is None:
            return None
        (reply, packet), (where, _), detail = read, self.stream.take_message(), self._detail
        self._detail = ""
        if self._waiting:
            self._certainty.lose_replies(self._waiting)
        return UnmatchedReply(reply, where, packet, detail)

    def _lose(self, detail: str) -> ReplyEvent | None:
        """Give up the reply that is being read, and look for the next one."""
        broken = self._break_off()
        self.stream.lose_message(detail)
        return broken or self.read()

    def _break_off(self) -> ObservedExchange | None:
        """Forget what was read of a reply in part; the event of the request that it answers."""
        stream, reader = self.stream, self._reader
        in_message = stream.lost is None and stream.mid_message
        matched = in_message and self._waiting and not (reader and reader.is_unmatched)
        self._reader, self._detail = None, ""
        self._certainty.lose_replies(self._waiting)
        return self.give_up(NoReply.NOT_SEEN, self._certainty.certain) if matched else None

    def fill_gap(self, size: int) -> int:
        """Go on inside a value of which bytes are missing; how many of them are behind it. All else must be read."""
        stream = self.stream
        if isinstance(self._reader, TextReplies):
            return stream.fill(size, CRLF, stream.need > 0)
        return stream.fill(size, b"", is_in_value(stream))

    def lose_bytes(self, size: int) -> None:
        """Go on behind a gap of this size. Where a reply begins, the gap has that to the oldest request at least."""
        stream = self.stream
        is_between = stream.lost is None and not stream.mid_message and not (self._reader and self._reader.is_unmatched)
        is_exact = bool(self._waiting) and self._certainty.is_exact(self._oldest)
        broken = self._break_off()
        if is_between and self._waiting and not self._oldest.quiet:
            broken = self.give_up(NoReply.NOT_SEEN, is_exact)
        if broken is not None:
            self.events.append(broken)
        self.stream.lose_bytes(size)

    def end(self) -> ReplyEvent | None:
        """The next event that follows from the end of the stream."""
        if self._waiting:
            oldest, ended = self._oldest, self.stream.ended
            certain = not self._certainty.in_doubt(oldest)
            if not ended and oldest.quiet and not isinstance(oldest.request, Quit):
                certain = False
            # Of a server that was not seen at all it is not known that it said nothing.
            return self.give_up(NoReply.CLOSED if self.stream.end and ended else NoReply.NOT_SEEN, certain)
        return self.stream.cut_off()
