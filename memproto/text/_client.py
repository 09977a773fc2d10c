"""The client's half of the text dialects.

Text replies carry nothing that says whose they are, so each is read by its place. For that no request is sent
with ``noreply`` or, alone, with ``q``: an error to a silent request could be taken for the answer to the next one.
A quiet request is asked loudly here, and its success is turned into silence.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, TypeVar

from memproto._wire.buffer import ReceiveBuffer
from memproto._wire.checks import U32
from memproto._wire.exchange import OPAQUES, Exchange, Gathered, LineCollector, ReplyReader, ShortCollector
from memproto.errors import LocalProtocolError, RemoteProtocolError
from memproto.limits import MAX_KEY, Limits
from memproto.model import (
    Add,
    AnyReply,
    Append,
    Delete,
    Deleted,
    Dialect,
    Failure,
    Get,
    Prepend,
    Quit,
    Replace,
    Request,
    Set,
    Silence,
    Status,
    Stored,
    UnknownLine,
    Values,
)
from memproto.model._checks import check_request
from memproto.model._meta_options import without_meta_options
from memproto.text._lines import BREAK, CRLF, HUGE, check_text, words_of
from memproto.text.classic import _requests as _classic_requests
from memproto.text.classic._collectors import ItemCollector, OneValue, OneWord, collector_for
from memproto.text.meta._client import EXCHANGERS, MetaExchanger
from memproto.text.meta._client import encode as encode_meta
from memproto.text.meta._server import PARSERS as META_PARSERS

R = TypeVar("R")

_I32 = 1 << 31

_STORES = (Set, Add, Replace, Append, Prepend)

# Refusals of a command line after which many servers take its data for commands, whose answers nobody asked for.
_UNREAD = (Status.INVALID_ARGUMENTS, Status.UNKNOWN_COMMAND, Status.AUTH_ERROR)

_KNOWN = _classic_requests.PARSERS.keys() | META_PARSERS.keys()


# --- the usual requests, by a short way; ``None`` for whatever the long one must look at

#: The bytes in pieces, and what their reply begins or ends with.
_Laid = tuple[tuple[bytes, ...], bytes]
_Lay = Callable[..., _Laid | None]

# Lines of the usual replies are never longer; under a smaller limit all is left to those who look at it.
_SHORT_LINES: Final = 320


def _is_word(key: bytes) -> bool:
    return type(key) is bytes and 0 < len(key) <= MAX_KEY and BREAK(key) is None


def _lay_get(request: Get, opaque: int) -> _Laid | None:
    keys = request.keys
    if type(keys) is not tuple or len(keys) != 1 or request.exptime is not None or request.meta is not None:
        return None
    key = keys[0]
    return ((b"gets %b\r\n" % key,), b"VALUE %b " % key) if _is_word(key) else None


def _lay_delete(request: Delete, opaque: int) -> _Laid | None:
    key, cas = request.key, request.cas
    if not _is_word(key) or key == _classic_requests.NOREPLY or request.meta is not None:
        return None
    if cas or type(cas) is not int:
        return None
    return (b"delete %b\r\n" % key,), b""


def _is_plain(request: Set | Add | Replace) -> bool:
    """Whether all but the key is of the usual kind, and in its range."""
    flags, exptime, cas = request.flags, request.exptime, request.cas
    return (
        request.meta is None
        and cas == 0
        and type(cas) is int
        and type(request.value) is bytes
        and len(request.value) < HUGE
        and type(flags) is int
        and 0 <= flags <= U32
        and type(exptime) is int
        and -_I32 <= exptime < _I32
    )


def _store_layer(verb: bytes) -> _Lay:
    line = verb + b" %b %d %d %d\r\n"

    def lay(request: Set | Add | Replace, opaque: int) -> _Laid | None:
        key, value = request.key, request.value
        if not _is_plain(request) or not _is_word(key):
            return None
        return (line % (key, request.flags, request.exptime, len(value)), value, CRLF), b""

    return lay


_Ways = dict[type[Request[object]], tuple[_Lay, ShortCollector]]

_STORED = OneWord(b"STORED\r\n", Stored)
_CLASSIC_WAYS: _Ways = {
    Get: (_lay_get, OneValue()),
    Delete: (_lay_delete, OneWord(b"DELETED\r\n", Deleted)),
    Set: (_store_layer(b"set"), _STORED),
    Add: (_store_layer(b"add"), _STORED),
    Replace: (_store_layer(b"replace"), _STORED),
}
_NO_WAYS: _Ways = {}
_NONE: dict[type[Request[object]], MetaExchanger] = {}


# --- everything


class _Quiet(ShortCollector):
    """Reads the reply to a quiet request: failures, and what a get found; otherwise silence."""

    __slots__ = ("reader",)

    def __init__(self, reader: ReplyReader) -> None:
        self.reader = reader

    def careful(self, exchange: Exchange[object], limits: Limits) -> LineCollector:
        return _Hushed(_started(self.reader, exchange, limits))


class _Hushed(LineCollector):
    __slots__ = ("collector",)

    def __init__(self, collector: LineCollector) -> None:
        self.collector = collector

    def take(self, buffer: ReceiveBuffer) -> AnyReply | Silence | None:
        reply = self.collector.take(buffer)
        if reply is None or isinstance(reply, Failure) or (isinstance(reply, Values) and reply.items):
            return reply
        return Silence()


def _started(reader: ReplyReader, exchange: Exchange[object], limits: Limits) -> LineCollector:
    """What reads a reply of any form."""
    if isinstance(reader, ShortCollector):
        return reader.careful(exchange, limits)
    assert isinstance(reader, LineCollector)
    return reader


class _SeveralLines(LineCollector):
    """Several lines of keys that are one get; their items are gathered together."""

    __slots__ = ("collectors", "next")

    def __init__(self, collectors: list[ItemCollector]) -> None:
        self.collectors = collectors
        self.next = 0

    def take(self, buffer: ReceiveBuffer) -> AnyReply | None:
        while True:
            reply = self.collectors[self.next].take(buffer)
            if reply is None:
                return None
            self.next += 1
            if self.next == len(self.collectors):
                return reply


class TextClient:
    """Lays out requests in classic or meta text, and reads their replies in order."""

    __slots__ = ("_exchangers", "_limits", "_started", "_ways", "opaque")

    def __init__(self, limits: Limits, dialect: Dialect, first_opaque: int = 0) -> None:
        self._limits = limits
        self._exchangers = EXCHANGERS if dialect is Dialect.META else _NONE
        # What has begun to read the reply to the oldest exchange.
        self._started: LineCollector | None = None
        self.opaque = first_opaque
        self._ways = _CLASSIC_WAYS if dialect is Dialect.CLASSIC and limits.line >= _SHORT_LINES else _NO_WAYS

    @property
    def regular(self) -> bool:
        """Whether the reader of the oldest exchange may read: not behind a part of the reply that was read already."""
        return self._started is None

    def encode(self, request: Request[R], quiet: bool = False) -> Exchange[R]:
        """Encode a request. Raises LocalProtocolError."""
        opaque = self.opaque
        exchanger = self._exchangers.get(type(request))
        if exchanger is not None and not quiet:
            encoded = exchanger.encode(request, opaque)
            if encoded is not None:
                self.opaque = (opaque + 1) % OPAQUES
                return Exchange(request, encoded, False, exchanger, opaque)
        way = None if quiet else self._ways.get(type(request))
        if way is not None:
            lay, one = way
            laid = lay(request, opaque)
            if laid is not None:
                self.opaque = (opaque + 1) % OPAQUES
                return Exchange(request, laid[0], False, one, opaque, laid[1])
        check_request(request)
        # By a name of its own: pyright would take the exchange for one of Get.
        asked: object = request
        if isinstance(asked, Get) and not 1 <= len(asked.keys) <= self._limits.keys:
            raise LocalProtocolError(f"keys are {len(asked.keys)}, must be 1 to {self._limits.keys}")
        reader: ReplyReader
        if exchanger is not None:
            parts, reader = encode_meta(request, opaque, self._limits)
        else:
            parts, reader = self._ask_classic(request)
        self.opaque = (opaque + 1) % OPAQUES
        # A text server says nothing to quit, it closes.
        silent = isinstance(request, Quit)
        return Exchange(request, parts, silent, _Quiet(reader) if quiet and not silent else reader, opaque)

    def _ask_classic(self, request: Request[object]) -> tuple[tuple[bytes, ...], LineCollector]:
        if isinstance(request, UnknownLine):
            self._check_unknown(request.line)
            return (request.line + CRLF,), collector_for(request, self._limits)
        request = without_meta_options(request)
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
        gathered = Gathered(self._limits)
        lines: list[bytes] = []
        collectors: list[ItemCollector] = []
        keys: list[bytes] = []
        size = 0
        for key in (*request.keys, None):
            if keys and (key is None or size + len(key) + 1 > most):
                part = Get(tuple(keys), request.exptime)
                lines += _classic_requests.request_parts(part, verb)
                collectors.append(ItemCollector(part, self._limits, gathered))
                keys, size = [], 0
            if key is not None:
                keys.append(key)
                size += len(key) + 1
        return (b"".join(lines),), _SeveralLines(collectors)

    def _check_unknown(self, line: bytes) -> None:
        """Raise LocalProtocolError if a line would be another request than the unknown one it is sent as."""
        check_text("line", line, self._limits.line)
        words = words_of(line)
        if words and (words[0] in _KNOWN or words[-1].startswith(b"HTTP/")):
            raise LocalProtocolError(f"line is {line!r}, whose command is known, or closes the connection")
        if line and not 0x20 <= line[0] < 0x7F:
            # As the first byte of a connection it would choose another protocol.
            raise LocalProtocolError(f"line begins with {line[0]:#04x}, must begin with printable ASCII")

    def fault_after(self, request: Request[object], failure: Failure) -> str:
        """Many servers that refuse a command line take its data for commands, whose replies answer nothing."""
        if failure.status in _UNREAD and isinstance(request, _STORES):
            return f"the server may have read the data of {request!r:.80} as commands"
        return ""

    def read_irregular(self, buffer: ReceiveBuffer, waiting: deque[Exchange[object]]) -> AnyReply | Silence | None:
        """The reply to the oldest exchange whatever its form; ``None`` if more bytes are needed.

        Raises RemoteProtocolError.
        """
        if not waiting:
            buffer.gather(1)
            raise RemoteProtocolError(f"byte {buffer.data[buffer.at]:#04x} came that nothing asked for")
        started = self._started
        if started is None:
            exchange = waiting[0]
            self._started = started = _started(exchange._reader, exchange, self._limits)
        reply = started.take(buffer)
        if reply is not None:
            self._started = None
        return reply
