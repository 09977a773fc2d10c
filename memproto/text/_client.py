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
from memproto._wire.exchange import OPAQUES, Exchange, Gathered, LineCollector, ShortCollector
from memproto.errors import LocalProtocolError, RemoteProtocolError
from memproto.limits import MAX_KEY, Limits
from memproto.model import (
    Add,
    AnyReply,
    Append,
    Decrement,
    Delete,
    Deleted,
    Dialect,
    Failure,
    Get,
    Increment,
    MetaDebug,
    Noop,
    Prepend,
    Quit,
    Replace,
    Request,
    Set,
    Silence,
    Status,
    Stored,
    Touch,
    Touched,
    UnknownLine,
    Values,
)
from memproto.model._checks import check_request
from memproto.model._meta_options import without_meta_options
from memproto.text._lines import BREAK, CRLF, HUGE, check_text, words_of
from memproto.text.classic import _requests as _classic_requests
from memproto.text.classic._collectors import ItemCollector, OneValue, OneWord, collector_for
from memproto.text.meta import _requests as _meta_requests
from memproto.text.meta._flags import needs_base64
from memproto.text.meta._hits import TELL_CAS, TELL_ITEM, HitsCollector, OneDeleted, OneHit, OneStored, opaque_flag
from memproto.text.meta._replies import MetaCollector

R = TypeVar("R")

_I32 = 1 << 31

# What a meta request asks to be told, so that its reply says as much as in binary.
_TELL: dict[type[Request[object]], tuple[bytes, ...]] = {
    Get: TELL_ITEM,
    **dict.fromkeys((Set, Add, Replace, Append, Prepend), TELL_CAS),
    **dict.fromkeys((Increment, Decrement), (b"v", b"c")),
    Delete: (),
    Touch: (b"f", b"c", b"k"),
    Noop: (),
    MetaDebug: (),
}

# The meta commands whose replies say no opaque.
_NAMELESS = (Noop, MetaDebug)

_STORES = (Set, Add, Replace, Append, Prepend)

# Refusals of a command line after which many servers take its data for commands, whose answers nobody asked for.
_UNREAD = (Status.INVALID_ARGUMENTS, Status.UNKNOWN_COMMAND, Status.AUTH_ERROR)

_KNOWN = _classic_requests.PARSERS.keys() | _meta_requests.PARSERS.keys()


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


def _lay_mg(request: Get, opaque: int) -> _Laid | None:
    keys = request.keys
    if type(keys) is not tuple or len(keys) != 1 or request.exptime is not None or request.meta is not None:
        return None
    key = keys[0]
    if type(key) is not bytes or not 0 < len(key) <= MAX_KEY or needs_base64(key):
        return None
    return (b"mg %b v f c k O%d\r\n" % (key, opaque),), b" k%b O%d\r\n" % (key, opaque)


def _lay_md(request: Delete, opaque: int) -> _Laid | None:
    key, cas = request.key, request.cas
    if cas or type(cas) is not int or request.meta is not None or type(key) is not bytes:
        return None
    if not 0 < len(key) <= MAX_KEY or needs_base64(key):
        return None
    return (b"md %b O%d\r\n" % (key, opaque),), b" O%d\r\n" % opaque


def _ms_layer(mode: bytes) -> _Lay:
    def lay(request: Set | Add | Replace, opaque: int) -> _Laid | None:
        key, value = request.key, request.value
        if not _is_plain(request) or type(key) is not bytes or not 0 < len(key) <= MAX_KEY or needs_base64(key):
            return None
        flags = b" F%d" % request.flags if request.flags else b""
        exptime = b" T%d" % request.exptime if request.exptime else b""
        due = b" O%d\r\n" % opaque
        return (b"ms %b %d%b%b%b c%b" % (key, len(value), mode, flags, exptime, due), value, CRLF), due

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
_META_WAYS: _Ways = {
    Get: (_lay_mg, OneHit()),
    Delete: (_lay_md, OneDeleted()),
    Set: (_ms_layer(b""), OneStored()),
    Add: (_ms_layer(b" ME"), OneStored()),
    Replace: (_ms_layer(b" MR"), OneStored()),
}
_NO_WAYS: _Ways = {}


# --- everything


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


class _Touched(LineCollector):
    """The reply to a touch that was asked as a get without the value: ``touch`` itself has no opaque."""

    __slots__ = ("collector",)

    def __init__(self, collector: LineCollector) -> None:
        self.collector = collector

    def take(self, buffer: ReceiveBuffer) -> AnyReply | Silence | None:
        reply = self.collector.take(buffer)
        if not isinstance(reply, Values):
            return reply
        if not reply.items:
            return Failure(Status.KEY_NOT_FOUND)
        (item,) = reply.items
        return Touched(item.flags, item.cas)


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

    __slots__ = ("_limits", "_meta", "_started", "_ways", "opaque")

    def __init__(self, limits: Limits, dialect: Dialect, first_opaque: int = 0) -> None:
        self._limits = limits
        self._meta = dialect is Dialect.META
        # What has begun to read the reply to the oldest exchange.
        self._started: LineCollector | None = None
        self.opaque = first_opaque
        ways = _META_WAYS if self._meta else _CLASSIC_WAYS
        self._ways = ways if limits.line >= _SHORT_LINES else _NO_WAYS

    @property
    def regular(self) -> bool:
        """Whether the reader of the oldest exchange may read: not behind a part of the reply that was read already."""
        return self._started is None

    def encode(self, request: Request[R], quiet: bool = False) -> Exchange[R]:
        """Encode a request. Raises LocalProtocolError."""
        opaque = self.opaque
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
        parts: tuple[bytes, ...]
        collector: LineCollector
        if self._meta and type(request) in _TELL:
            parts, collector = self._ask_meta(request)
        else:
            parts, collector = self._ask_classic(request)
        self.opaque = (opaque + 1) % OPAQUES
        # A text server says nothing to quit, it closes.
        silent = isinstance(request, Quit)
        return Exchange(request, parts, silent, _Hushed(collector) if quiet and not silent else collector)

    def _ask_meta(self, request: Request[object]) -> tuple[tuple[bytes, ...], LineCollector]:
        tell = _TELL[type(request)]
        if not isinstance(request, _NAMELESS):
            tell = (*tell, opaque_flag(self.opaque))
        if isinstance(request, Touch):
            get = Get((request.key,), request.exptime)
            _, flags, parts = _meta_requests.encode(get, tell)
            return parts, _Touched(MetaCollector(get, flags, self._limits, True))
        if isinstance(request, Get):
            tail = _meta_requests.many_tail(request, tell)
            if tail is not None:
                lines = b"mg " + (tail + b"mg ").join(request.keys) + tail
                return (lines,), HitsCollector(request.keys, tuple(tail.split()), self._limits)
        if isinstance(request, Get) and len(request.keys) > 1:
            asked = [_meta_requests.encode(Get((key,), request.exptime, request.meta), tell) for key in request.keys]
            collectors: list[LineCollector] = [
                MetaCollector(Get((key,)), flags, self._limits, True)
                for key, (_, flags, _) in zip(request.keys, asked, strict=True)
            ]
            return (b"".join(part for _, _, parts in asked for part in parts),), _Several(collectors, self._limits)
        _, flags, parts = _meta_requests.encode(request, tell)
        return parts, MetaCollector(request, flags, self._limits, True)

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
            reader = exchange._reader
            if isinstance(reader, ShortCollector):
                reader = reader.careful(exchange, self._limits)
            assert isinstance(reader, LineCollector)
            self._started = started = reader
        reply = started.take(buffer)
        if reply is not None:
            self._started = None
        return reply
