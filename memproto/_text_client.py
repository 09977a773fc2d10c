"""The client's half of the text dialects.

Text replies carry nothing that says whose they are, so each is read by its place. For that no request is sent
with ``noreply`` or, alone, with ``q``: an error to a silent request could be taken for the answer to the next one.
A quiet request is asked loudly here, and its success is turned into silence.
"""

from __future__ import annotations

from collections.abc import Iterable

from memproto import _classic_requests, _meta_requests
from memproto._buffer import ReceiveBuffer
from memproto._classic_collectors import ItemCollector, collector_for
from memproto._collecting import Advance, Asked, Gathered, LineCollector, Waiting
from memproto._meta_hits import HitsCollector
from memproto._meta_replies import MetaCollector
from memproto._plain import plain
from memproto._text import CRLF, check_text, words_of
from memproto.enums import Dialect, Status
from memproto.errors import LocalProtocolError, RemoteProtocolError
from memproto.limits import Limits
from memproto.messages import (
    Add,
    AnyReply,
    Append,
    Debug,
    Decrement,
    Delete,
    Failure,
    Get,
    Increment,
    Noop,
    Prepend,
    Quit,
    Replace,
    Request,
    Set,
    Silence,
    UnknownLine,
    Values,
)

# What a meta request asks to be told, so that its reply says as much as in binary.
_TELL: dict[type[Request[object]], tuple[bytes, ...]] = {
    Get: (b"v", b"f", b"c", b"k"),
    **dict.fromkeys((Set, Add, Replace, Append, Prepend), (b"c",)),
    **dict.fromkeys((Increment, Decrement), (b"v", b"c")),
    Delete: (),
    Noop: (),
    Debug: (),
}


_STORES = (Set, Add, Replace, Append, Prepend)

# Refusals of a command line after which many servers take its data for commands, whose answers nobody asked for.
_UNREAD = (Status.INVALID_ARGUMENTS, Status.UNKNOWN_COMMAND, Status.AUTH_ERROR)

_KNOWN = _classic_requests.PARSERS.keys() | _meta_requests.PARSERS.keys()


class _Hushed(LineCollector):
    """The reply of a quiet request: failures, and what a get found; otherwise silence."""

    __slots__ = ("collector",)

    def __init__(self, collector: LineCollector) -> None:
        self.collector = collector

    def take(self, buffer: ReceiveBuffer) -> AnyReply | Silence | None:
        reply = self.collector.take(buffer)
        if reply is None or isinstance(reply, Failure) or (isinstance(reply, Values) and reply.items):
            return reply
        return Silence()


class _Several(LineCollector):
    """Several commands that are one get."""

    __slots__ = ("collectors", "gathered", "next")

    def __init__(self, collectors: list[LineCollector], limits: Limits) -> None:
        self.collectors = collectors
        self.gathered = Gathered(limits)
        self.next = 0

    def take(self, buffer: ReceiveBuffer) -> AnyReply | None:
        while self.next < len(self.collectors):
            reply = self.collectors[self.next].take(buffer)
            if reply is None:
                return None
            self.next += 1
            self.gathered.add(reply)
        return self.gathered.reply()


class TextClient:
    """Lays out requests in classic or meta text, and reads their replies in order."""

    __slots__ = ("_distrust", "_limits", "_meta")

    def __init__(self, limits: Limits, dialect: Dialect) -> None:
        self._limits = limits
        self._meta = dialect is Dialect.META
        self._distrust = ""

    def ask(self, request: Request[object], quiet: bool = False) -> Asked:
        """Lay out a request. Raises LocalProtocolError."""
        if isinstance(request, Get) and not 1 <= len(request.keys) <= self._limits.keys:
            raise LocalProtocolError(f"keys are {len(request.keys)}, must be 1 to {self._limits.keys}")
        parts: tuple[bytes, ...]
        collector: LineCollector
        if self._meta and type(request) in _TELL:
            parts, collector = self._ask_meta(request)
        else:
            parts, collector = self._ask_classic(request)
        if quiet and not isinstance(request, Quit):
            return Asked(parts, False, _Hushed(collector))
        # A text server says nothing to quit, it closes.
        return Asked(parts, isinstance(request, Quit), collector)

    def _ask_meta(self, request: Request[object]) -> tuple[tuple[bytes, ...], LineCollector]:
        tell = _TELL[type(request)]
        if isinstance(request, Get):
            tail = _meta_requests.many_tail(request, tell)
            if tail is not None:
                lines = [b"mg %b%b" % (key, tail) for key in request.keys]
                return (b"".join(lines),), HitsCollector(request.keys, tuple(tail.split()), self._limits)
        if isinstance(request, Get) and len(request.keys) > 1:
            asked = [_meta_requests.encode(Get((key,), request.exptime, request.meta), tell) for key in request.keys]
            collectors: list[LineCollector] = [
                MetaCollector(Get((key,)), flags, self._limits)
                for key, (_, flags, _) in zip(request.keys, asked, strict=True)
            ]
            return (b"".join(part for _, _, parts in asked for part in parts),), _Several(collectors, self._limits)
        _, flags, parts = _meta_requests.encode(request, tell)
        return parts, MetaCollector(request, flags, self._limits)

    def _ask_classic(self, request: Request[object]) -> tuple[tuple[bytes, ...], LineCollector]:
        if isinstance(request, UnknownLine):
            self._check_unknown(request.line)
            return (request.line + CRLF,), collector_for(request, self._limits)
        request = plain(request)
        if isinstance(request, Get):
            return self._ask_get(request)
        verb = _classic_requests.verb_for(request)
        return _classic_requests.request_parts(request, verb), collector_for(request, self._limits)

    def _ask_get(self, request: Get) -> tuple[tuple[bytes, ...], LineCollector]:
        """One line, or as many as are needed for the keys."""
        verb = _classic_requests.verb_for(request)
        # Room for the verb, the expiry and the line end.
        most = self._limits.keys_line if request.exptime is None else self._limits.line
        most = max(most - 24, 1)
        if sum(map(len, request.keys)) + len(request.keys) <= most:
            return _classic_requests.request_parts(request, verb), ItemCollector(request, self._limits)
        lines: list[bytes] = []
        collectors: list[LineCollector] = []
        keys: list[bytes] = []
        size = 0
        for key in (*request.keys, None):
            if keys and (key is None or size + len(key) + 1 > most):
                part = Get(tuple(keys), request.exptime)
                lines += _classic_requests.request_parts(part, verb)
                collectors.append(ItemCollector(part, self._limits))
                keys, size = [], 0
            if key is not None:
                keys.append(key)
                size += len(key) + 1
        return (b"".join(lines),), _Several(collectors, self._limits)

    def _check_unknown(self, line: bytes) -> None:
        """Raise LocalProtocolError if a line would be another request than the unknown one it is sent as."""
        check_text("line", line, self._limits.line - 1)
        words = words_of(line)
        if words and (words[0] in _KNOWN or words[-1].startswith(b"HTTP/")):
            raise LocalProtocolError(f"line is {line!r}, whose command is known, or closes the connection")
        if line and not 0x20 <= line[0] < 0x7F:
            # As the first byte of a connection it would choose another protocol.
            raise LocalProtocolError(f"line begins with {line[0]:#04x}, must begin with printable ASCII")

    def advance(self, buffer: ReceiveBuffer, waiting: Iterable[Waiting]) -> Advance | None:
        """Read on, up to the end of a reply; ``None`` for "more bytes are needed". Raises RemoteProtocolError."""
        if self._distrust:
            raise RemoteProtocolError(self._distrust)
        if buffer.need:
            return None
        for exchange in waiting:
            collector = exchange.collector
            assert isinstance(collector, LineCollector)
            reply = collector.take(buffer)
            if reply is None:
                return None
            if isinstance(reply, Failure) and reply.status in _UNREAD and isinstance(exchange.request, _STORES):
                self._distrust = f"the server may have read the data of {exchange.request!r:.80} as commands"
            return Advance(0, reply)
        if len(buffer):
            raise RemoteProtocolError(f"byte {buffer.data[buffer.at]:#04x} came that nothing asked for")
        return None
