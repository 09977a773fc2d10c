"""Finds the request that a reply answers: by opaque, key and form, among all that wait."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Final

from memproto._wire.buffer import ReceiveBuffer
from memproto._wire.exchange import Exchange
from memproto.binary._client import BinaryClient, reader_for
from memproto.binary._client_readers import READERS, PacketReader
from memproto.binary._layout import OpcodeSpec, Quiet
from memproto.binary._packet import HEADER_SIZE, has_header, unpack_header
from memproto.connection.observer_certainty import Certainty
from memproto.connection.observer_names import Name, has_name, line_name, packet_name
from memproto.connection.observer_streams import ObservedRequest, ObservedStream
from memproto.connection.observer_unmatched import packet_without_request, reader_without_request
from memproto.errors import RemoteProtocolError
from memproto.limits import Limits
from memproto.model import (
    AnyReply,
    BinaryEnvelope,
    ClassicEnvelope,
    Envelope,
    Failure,
    Get,
    InvalidRequest,
    Magic,
    MetaEnvelope,
    Packet,
    Quit,
    Silence,
    Stats,
    Status,
    Unknown,
    UnknownLine,
    Values,
)
from memproto.text._client import REGULAR_LINE
from memproto.text._client_readers import TextReader
from memproto.text._failures import failure_in
from memproto.text._lines import CRLF, STORES, read_line
from memproto.text.classic._client_readers import RAW_LINE
from memproto.text.classic._client_readers import reader_for as reader_for_classic
from memproto.text.meta._client_irregular import IrregularReply
from memproto.text.meta._flags import QUIET


class BinaryReplies(BinaryClient):
    """Binary replies. Many clients send the same opaque in all requests, so opcode and key are compared, too."""

    __slots__ = ("_certainty",)

    def __init__(self, limits: Limits, opcodes: tuple[OpcodeSpec, ...], certainty: Certainty) -> None:
        super().__init__(limits, opcodes)
        self._certainty = certainty

    def expect(self, envelope: Envelope, where: range, missing: int) -> ObservedRequest:
        """The request, with the reader of its reply."""
        assert isinstance(envelope, BinaryEnvelope)
        request, opcode = envelope.request, envelope.opcode
        spec = self._spec(opcode)
        reader: PacketReader
        if isinstance(request, Stats):
            reader = reader_for(request, spec, self._limits)
        else:
            known = not isinstance(request, Unknown | InvalidRequest)
            reader = READERS[opcode] if known else PacketReader(spec)
        return ObservedRequest(envelope, where, missing, spec.quiet is not Quiet.NOTHING, reader, envelope.opaque)

    def passed_over(self, buffer: ReceiveBuffer, opaque: int, waiting: deque[Exchange[object]]) -> int:
        """How many of the requests come before the one that the next packet answers."""
        data, at = buffer.data, buffer.at
        _, opcode, key_length, extras_length, _, _, _, _, _ = unpack_header(data, at)
        key_at = at + HEADER_SIZE + extras_length
        key = data[key_at : key_at + key_length]
        certainty = self._certainty
        for index, exchange in enumerate(certainty.candidates(waiting)):
            if not _has_sent(exchange, opcode, opaque, key):
                continue
            name: Name = packet_name(opcode, opaque)
            if key and isinstance(exchange.request, Get) and not certainty.is_only(name):
                name = (packet_name(opcode, opaque), key)
            certainty.match(waiting, index, name, not exchange.quiet or certainty.is_only(name), is_first=False)
            return index
        certainty.miss(waiting)
        raise RemoteProtocolError(f"no request with opcode {opcode:#04x} and opaque {opaque:#010x} waits for a reply")

    @property
    def is_passing(self) -> bool:
        """Whether requests are still to be passed over by the next packet."""
        return self._silent > 0

    @property
    def is_unmatched(self) -> bool:
        """Whether a part of a reply has been read that answers no request: never, as it is a packet."""
        return False

    def read_unmatched(self, buffer: ReceiveBuffer) -> tuple[AnyReply, Packet | None] | None:
        """A packet that answers no request that is known; ``None`` if more bytes are needed.

        Raises RemoteProtocolError.
        """
        if not has_header(buffer, Magic.RESPONSE):
            return None
        _, opcode, key_length, extras_length, _, _, body_length, _, _ = unpack_header(buffer.data, buffer.at)
        failure = self._over_limit(extras_length, key_length, body_length)
        if failure is not None:
            buffer.discard(HEADER_SIZE + body_length)
            return failure, None
        if not buffer.gather(HEADER_SIZE + body_length):
            return None
        read = packet_without_request(buffer.data, buffer.at, self._spec(opcode))
        buffer.at += HEADER_SIZE + body_length
        return read

    def _spec(self, opcode: int) -> OpcodeSpec:
        return self._specs.get(opcode) or OpcodeSpec(opcode, "UNKNOWN")


def _has_sent(exchange: Exchange[object], opcode: int, opaque: int, key: bytes) -> bool:
    """Whether a packet with these fields may answer a request."""
    reader, request = exchange._reader, exchange.request
    assert isinstance(reader, PacketReader)
    if exchange._opaque != opaque or reader.spec.opcode != opcode:
        return False
    return not key or not isinstance(request, Get) or request.keys[0] == key


class TextReplies:
    """Replies in classic and meta text, read by their place, as long as their form fits."""

    __slots__ = ("_certainty", "_limits", "_passed", "_started", "_unmatched", "_wide")

    def __init__(self, limits: Limits, certainty: Certainty) -> None:
        self._limits = limits
        self._certainty = certainty
        self._wide = limits.line >= REGULAR_LINE
        # The reader that has begun a reply to the oldest request, and one that has begun a reply to none.
        self._started: TextReader | None = None
        self._unmatched: tuple[TextReader, Exchange[object]] | None = None
        # How many more of the requests come before the one that the next line answers.
        self._passed = 0

    @property
    def regular(self) -> bool:
        """Whether the reader of the oldest request may read."""
        return self._wide and self._started is None

    @property
    def is_passing(self) -> bool:
        """Whether requests are still to be passed over by the next line."""
        return self._passed > 0

    @property
    def is_unmatched(self) -> bool:
        """Whether a part of a reply has been read that answers no request."""
        return self._unmatched is not None

    def expect(self, envelope: Envelope, where: range, missing: int) -> ObservedRequest:
        """The request, with the reader of its reply."""
        quiet = _is_quiet(envelope)
        # A reader with the regular form of a success is not for a request that does not get it.
        reader = TextReader() if quiet else self._reader_for(envelope)
        return ObservedRequest(envelope, where, missing, quiet, reader)

    def _reader_for(self, envelope: Envelope) -> TextReader:
        request = envelope.request
        if isinstance(request, InvalidRequest):
            return RAW_LINE
        if isinstance(envelope, MetaEnvelope):
            return IrregularReply(request, envelope.flags, self._limits)
        return reader_for_classic(request, self._limits)

    def read_irregular(self, buffer: ObservedStream, waiting: deque[Exchange[object]]) -> AnyReply | Silence | None:
        """The reply to the oldest request, ``Silence`` if the next line answers a later one.

        ``None`` if more bytes are needed. Raises RemoteProtocolError, with nothing consumed if the first line of a
        reply answers no request.
        """
        if self._passed:
            self._passed -= 1
            return Silence()
        exchange = waiting[0]
        assert isinstance(exchange, ObservedRequest)
        if self._started is not None:
            return self._read_on(self._started, buffer, exchange)
        line = self.next_line(buffer)
        if line is None:
            return None
        # What the reader of the oldest request has begun, it goes on with.
        passed = 0 if buffer.mid_message else self._passed_over(line, waiting, buffer.is_first)
        if passed:
            self._passed = passed - 1
            return Silence()
        reader = self._reader_for(exchange.envelope) if exchange.quiet else exchange._reader
        assert isinstance(reader, TextReader)
        return self._read_on(reader.begin(exchange, self._limits), buffer, exchange)

    def _read_on(
        self, reader: TextReader, buffer: ReceiveBuffer, exchange: Exchange[object]
    ) -> AnyReply | Silence | None:
        self._started = reader
        reply = reader.read_irregular(buffer, exchange, self._limits)
        if reply is not None:
            self._started = None
        return reply

    def next_line(self, buffer: ReceiveBuffer) -> bytes | None:
        """The next line, which is not consumed; ``None`` if it is not complete. Raises RemoteProtocolError."""
        data, at = buffer.data, buffer.at
        line = read_line(buffer, self._limits)
        if line is not None:
            buffer.at = at if buffer.data is data else 0
        return line

    def read_unmatched(self, buffer: ReceiveBuffer) -> tuple[AnyReply, Packet | None] | None:
        """A reply to a request that is not known; ``None`` if more bytes are needed. Raises RemoteProtocolError."""
        if self._unmatched is None:
            line = self.next_line(buffer)
            if line is None:
                return None
            self._unmatched = reader_without_request(line, self._limits)
        reader, exchange = self._unmatched
        reply = reader.read_irregular(buffer, exchange, self._limits)
        if reply is None:
            return None
        self._unmatched = None
        assert not isinstance(reply, Silence)
        return reply, None

    def _passed_over(self, line: bytes, waiting: deque[Exchange[object]], is_first: bool) -> int:
        """How many of the requests come before the one that a line answers. Raises RemoteProtocolError."""
        certainty, name = self._certainty, line_name(line)
        failure = failure_in(line)
        if failure is not None:
            index = self._owner_of(failure, waiting)
            certainty.match(waiting, index, name, not waiting[0].quiet or len(waiting) == 1, is_first)
            return index
        for index, exchange in enumerate(certainty.candidates(waiting)):
            assert isinstance(exchange, ObservedRequest)
            if certainty.in_doubt(exchange) and exchange._reader is RAW_LINE:
                # Any line fits it, so that the first one of an item would lose its data.
                continue
            if self._fits(line, name, exchange):
                only = (
                    not exchange.quiet or certainty.is_only(name) or not self._fits_behind(line, name, waiting, index)
                )
                certainty.match(waiting, index, name, only, is_first)
                return index
        certainty.miss(waiting)
        raise RemoteProtocolError(f"line {line[:80]!r} answers no request that waits for a reply")

    def _fits_behind(self, line: bytes, name: Name, waiting: deque[Exchange[object]], index: int) -> bool:
        """Whether a line fits another of the requests in a row that are quiet, or the one behind them."""
        for exchange in islice(waiting, index + 1, None):
            assert isinstance(exchange, ObservedRequest)
            if self._fits(line, name, exchange):
                return True
            if not exchange.quiet:
                break
        return False

    def _owner_of(self, failure: Failure, waiting: deque[Exchange[object]]) -> int:
        """The request that a failure most likely answers, as its line says so of none."""
        quiet = next((index for index, exchange in enumerate(waiting) if not exchange.quiet), len(waiting))
        for index, exchange in enumerate(islice(waiting, quiet + 1)):
            if isinstance(exchange.request, InvalidRequest | UnknownLine):
                return index
        for index, exchange in enumerate(islice(waiting, quiet)):
            if isinstance(exchange.request, STORES) and failure.status in _STORE_FAILURES:
                return index
        if quiet == len(waiting):
            return 0
        return quiet

    def _fits(self, line: bytes, name: Name, exchange: ObservedRequest) -> bool:
        """Whether a line that is no failure may be the first of the reply to this request."""
        if isinstance(exchange.envelope, MetaEnvelope) and not has_name(exchange.envelope, exchange.names, name):
            return False
        probe = ReceiveBuffer()
        probe.feed(line + CRLF)
        reader = self._reader_for(exchange.envelope).begin(exchange, self._limits)
        try:
            reply = reader.read_irregular(probe, exchange, self._limits)
        except RemoteProtocolError:
            return False
        if not exchange.quiet:
            return True
        if isinstance(exchange.envelope, ClassicEnvelope):
            return False
        # The refusal, the hit of a get, or a value: memcached 1.6.18 sends that of a quiet ma that creates a counter.
        is_hit = reply is None or (isinstance(exchange.request, Get) and reply != Values())
        return is_hit or isinstance(reply, Failure)


_STORE_FAILURES: Final = (Status.VALUE_TOO_LARGE, Status.OUT_OF_MEMORY)


def _is_quiet(envelope: Envelope) -> bool:
    if isinstance(envelope, MetaEnvelope):
        return QUIET in envelope.flags
    assert isinstance(envelope, ClassicEnvelope)
    return envelope.noreply or isinstance(envelope.request, Quit)
