"""How an observer finds the request that a reply answers: by opaque, key and form, among all that may be meant."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Final, Protocol

from memproto._wire.buffer import ReceiveBuffer
from memproto._wire.exchange import Exchange
from memproto.binary._client import BinaryClient, reader_for
from memproto.binary._client_readers import READERS, PacketReader
from memproto.binary._layout import OpcodeSpec, Quiet
from memproto.binary._packet import HEADER_SIZE, unpack_header
from memproto.connection.observer_streams import ObservedRequest
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
    MetaEnvelope,
    Noop,
    Quit,
    Silence,
    Stats,
    Status,
    Unknown,
    UnknownLine,
    Version,
)
from memproto.text._client_readers import TextReader
from memproto.text._failures import failure_in
from memproto.text._lines import STORES, read_line
from memproto.text.classic._client_readers import RAW_LINE
from memproto.text.classic._client_readers import reader_for as classic_reader_for
from memproto.text.meta._client_irregular import IrregularReply
from memproto.text.meta._flags import QUIET


class ObservedReplies(Protocol):
    """Reads replies to requests that were observed. One object per connection."""

    @property
    def regular(self) -> bool:
        """Whether the reader of the oldest request may read."""
        ...

    def expect(self, envelope: Envelope, where: range, missing: int) -> ObservedRequest:
        """The request, with the reader of its reply."""
        ...

    def read_irregular(self, buffer: ReceiveBuffer, waiting: deque[Exchange[object]]) -> AnyReply | Silence | None:
        """The reply to the oldest request, ``Silence`` if the reply that is next answers a later one.

        ``None`` if more bytes are needed. Raises RemoteProtocolError if what is next answers none.
        """
        ...


class BinaryReplies(BinaryClient):
    """Binary replies. Many clients send the same opaque in all requests, so opcode and key are compared, too."""

    __slots__ = ()

    def expect(self, envelope: Envelope, where: range, missing: int) -> ObservedRequest:
        """The request, with the reader of its reply."""
        assert isinstance(envelope, BinaryEnvelope)
        request, opcode = envelope.request, envelope.opcode
        spec = self._specs.get(opcode) or OpcodeSpec(opcode, "UNKNOWN")
        reader: PacketReader
        if isinstance(request, Unknown | InvalidRequest):
            reader = PacketReader(spec)
        else:
            reader = reader_for(request, spec, self._limits) if isinstance(request, Stats) else READERS[opcode]
        return ObservedRequest(envelope, where, missing, spec.quiet is not Quiet.NOTHING, reader, envelope.opaque)

    def passed_over(self, buffer: ReceiveBuffer, opaque: int, waiting: Iterable[Exchange[object]]) -> int:
        """How many of the requests come before the one that the next packet answers."""
        data, at = buffer.data, buffer.at
        _, opcode, key_length, extras_length, _, _, _, _, _ = unpack_header(data, at)
        key = data[at + HEADER_SIZE + extras_length :][:key_length] if key_length else b""
        for index, exchange in enumerate(waiting):
            reader, request = exchange._reader, exchange.request
            assert isinstance(reader, PacketReader)
            if exchange._opaque != opaque or reader.spec.opcode != opcode:
                continue
            if not key or not isinstance(request, Get) or request.keys[0] == key:
                return index
        raise RemoteProtocolError(f"no request with opcode {opcode:#04x} and opaque {opaque:#010x} waits for a reply")


class TextReplies:
    """Replies in classic and meta text, read by their place."""

    __slots__ = ("_limits", "_passed", "_started", "_wide")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._wide = limits.line >= 320
        # The reader that has begun a reply to the oldest request.
        self._started: TextReader | None = None
        # How many more of the requests come before the one that the next line answers.
        self._passed = 0

    @property
    def regular(self) -> bool:
        """Whether the reader of the oldest request may read."""
        return self._wide and self._started is None

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
        return classic_reader_for(request, self._limits)

    def read_irregular(self, buffer: ReceiveBuffer, waiting: deque[Exchange[object]]) -> AnyReply | Silence | None:
        """The reply to the oldest request, ``Silence`` if the next line answers a later one."""
        if self._passed:
            self._passed -= 1
            return Silence()
        exchange = waiting[0]
        if self._started is None:
            if buffer.find_newline(self._limits.line) < 0 and len(buffer) <= self._limits.line:
                return None
            passed = self._passed_over(buffer, waiting)
            if passed:
                self._passed = passed - 1
                return Silence()
            assert isinstance(exchange, ObservedRequest)
            self._started = self._reader_for(exchange.envelope).begin(exchange, self._limits)
        reply = self._started.read_irregular(buffer, exchange, self._limits)
        if reply is not None:
            self._started = None
        return reply

    def _passed_over(self, buffer: ReceiveBuffer, waiting: deque[Exchange[object]]) -> int:
        if not waiting[0].quiet:
            return 0
        probe = ReceiveBuffer()
        probe.feed(buffer.data[buffer.at : buffer.data.find(b"\n", buffer.at) + 1])
        line = read_line(probe, self._limits)
        assert line is not None
        failure = failure_in(line)
        if failure is not None:
            return self._owner_of(failure, waiting)
        for index, exchange in enumerate(waiting):
            assert isinstance(exchange, ObservedRequest)
            if self._fits(line, exchange):
                return index
        raise RemoteProtocolError(f"line {line[:80]!r} answers no request that waits for a reply")

    def _owner_of(self, failure: Failure, waiting: deque[Exchange[object]]) -> int:
        """The request that a failure most likely answers, as its line says so of none."""
        quiet = next((index for index, exchange in enumerate(waiting) if not exchange.quiet), len(waiting))
        for index, exchange in enumerate(islice(waiting, quiet + 1)):
            if isinstance(exchange.request, InvalidRequest | UnknownLine):
                return index
        for index, exchange in enumerate(islice(waiting, quiet)):
            if isinstance(exchange.request, STORES) and failure.status in _STORE_FAILURES:
                return index
        if quiet == len(waiting) or isinstance(waiting[quiet].request, Noop | Version):
            return 0
        return quiet

    def _fits(self, line: bytes, exchange: ObservedRequest) -> bool:
        """Whether a line that is no failure may be the first of the reply to this request."""
        probe = ReceiveBuffer()
        probe.feed(line + b"\n")
        try:
            reply = (
                self._reader_for(exchange.envelope)
                .begin(exchange, self._limits)
                .read_irregular(probe, exchange, self._limits)
            )
        except RemoteProtocolError:
            return False
        if not exchange.quiet:
            return True
        # Of a quiet request only a get says its success.
        return isinstance(exchange.envelope, MetaEnvelope) and (
            isinstance(exchange.request, Get) or isinstance(reply, Failure)
        )


_STORE_FAILURES: Final = (Status.VALUE_TOO_LARGE, Status.OUT_OF_MEMORY)


def _is_quiet(envelope: Envelope) -> bool:
    if isinstance(envelope, MetaEnvelope):
        return QUIET in envelope.flags
    assert isinstance(envelope, ClassicEnvelope)
    return envelope.noreply or isinstance(envelope.request, Quit)
