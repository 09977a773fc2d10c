"""The client's side of the meta dialect: for each kind of request what encodes it, and what reads its reply.

A client asks each reply to repeat the opaque of its request, and that to a get the key too; a reply of the regular form
has them at the end of its line. All other forms are left to :class:`IrregularReply`.
"""

from __future__ import annotations

import re
import struct
from typing import Final

from memproto._wire.buffer import ReceiveBuffer
from memproto._wire.checks import U32, U64
from memproto._wire.exchange import Exchange, Gathered
from memproto.limits import MAX_KEY, Limits
from memproto.model import (
    Add,
    AnyReply,
    Append,
    Counter,
    Decrement,
    Delete,
    Deleted,
    Failure,
    Get,
    Increment,
    Item,
    MetaDebug,
    MetaOptions,
    Noop,
    Ok,
    Prepend,
    Replace,
    Request,
    Set,
    Status,
    Stored,
    Touch,
    Touched,
    Values,
)
from memproto.model._checks import check_request
from memproto.text._lines import COUNTS, CRLF, HUGE, WITH_FLAGS
from memproto.text._readers import Parts, TextReader
from memproto.text.meta._irregular import IrregularReply
from memproto.text.meta._keys import key_word, needs_base64
from memproto.text.meta._operations import flags_of, store_flags

# Packs flags, exptime and CAS of a store, to check their types and ranges.
_check_store: Final = struct.Struct(">IiQ").pack

# A key with an LF, which comes back as it is from some servers, is no part of a line.
_LF: Final = b"\n"

_MN: Final = b"MN\r\n"
_HIT: Final = re.compile(rb"VA (\d{1,10}) f(\d{1,10}) c(\d{1,20})").match
_STORED: Final = re.compile(rb"HD c(\d{1,20})").match
_COUNTED: Final = re.compile(rb"VA (\d{1,2}) c(\d{1,20})").match
_TOUCHED: Final = re.compile(rb"HD f(\d{1,10}) c(\d{1,20})").match


class MetaExchanger(TextReader):
    """Encodes the requests of one kind, and reads their replies."""

    __slots__ = ()

    def encode(self, request: Request[object], opaque: int) -> Parts | None:
        """The bytes of a request, in pieces; ``None`` for a get of many keys. Raises LocalProtocolError."""
        raise NotImplementedError

    def begin(self, exchange: Exchange[object], limits: Limits) -> TextReader:
        return IrregularReply(exchange.request, _flags_in(exchange.parts[0]), limits, strict=True)


def _flags_in(line: bytes) -> tuple[bytes, ...]:
    """The flags of a request that was sent."""
    words = line.split()
    return tuple(words[3 if words[0] == b"ms" else 2 :])


def _is_word(key: bytes) -> bool:
    """Whether this is a key that can stand in a line as it is."""
    return type(key) is bytes and 0 < len(key) <= MAX_KEY and not needs_base64(key)


def _key_and_flags(key: bytes, options: MetaOptions | None, flags: bytes) -> tuple[bytes, bytes]:
    """The key as a word, and the flags, with ``b`` where only base64 can carry it. Raises LocalProtocolError."""
    if options is not None and options.base64:
        return key_word(key, True), flags
    if needs_base64(key):
        return key_word(key, True), flags + b" b"
    return key_word(key, False), flags


class _GetExchanger(MetaExchanger):
    """Get: a hit with value, flags, CAS and key, or a miss."""

    __slots__ = ()

    def encode(self, request: Request[object], opaque: int) -> Parts | None:
        assert isinstance(request, Get)
        keys, flags = request.keys, b" v f c k O%d" % opaque
        single = type(keys) is tuple and len(keys) == 1
        if single and request.meta is None and request.exptime is None and _is_word(keys[0]):
            key = keys[0]
        else:
            check_request(request)
            if not single:
                return None
            key, flags = _key_and_flags(keys[0], request.meta, flags_of(request) + flags)
        return (b"mg %b%b\r\n" % (key, flags),)

    def read(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        request = exchange.request
        assert isinstance(request, Get)
        data, at, key = buffer.data, buffer.at, request.keys[0]
        expected = b" k%b O%d\r\n" % (key, exchange._opaque)
        hit = _HIT(data, at)
        # With options the reply may say more of the item.
        if request.meta is not None or _LF in key:
            return None
        if hit is None:
            end = at + 2 + len(expected)
            if data[at:end] != b"EN" + expected:
                return None
            buffer.at = end
            return Values()
        size_word, flags_word, cas_word = hit.groups()
        size, flags, cas, start = int(size_word), int(flags_word), int(cas_word), hit.end() + len(expected)
        end = start + size
        if size > limits.value or flags > U32 or cas > U64:
            return None
        if data[hit.end() : start] != expected or data[end : end + 2] != CRLF:
            return None
        buffer.at = end + 2
        return Values((Item(key, data[start:end], flags, cas),))


class _StoreExchanger(MetaExchanger):
    """Set, Add, Replace: done, with the new CAS."""

    __slots__ = ()

    def encode(self, request: Request[object], opaque: int) -> Parts | None:
        assert isinstance(request, WITH_FLAGS)
        key, value, flags = request.key, request.value, b" c O%d" % opaque
        try:
            _check_store(request.flags, request.exptime, request.cas)
            regular = request.meta is None and type(value) is bytes and len(value) < HUGE and _is_word(key)
        except struct.error:
            regular = False
        if regular:
            flags = store_flags(request) + flags
        else:
            check_request(request)
            key, flags = _key_and_flags(key, request.meta, flags_of(request) + flags)
        return b"ms %b %d%b\r\n" % (key, len(value), flags), value, CRLF

    def read(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        expected = b" O%d\r\n" % exchange._opaque
        done = _STORED(buffer.data, buffer.at)
        if done is None or not buffer.data.startswith(expected, done.end()):
            return None
        cas = int(done[1])
        if cas > U64:
            return None
        buffer.at = done.end() + len(expected)
        return Stored(cas)


class _ConcatExchanger(_StoreExchanger):
    """Append, Prepend: the same reply."""

    __slots__ = ()

    def encode(self, request: Request[object], opaque: int) -> Parts | None:
        check_request(request)
        assert isinstance(request, Append | Prepend)
        value = request.value
        key, flags = _key_and_flags(request.key, request.meta, flags_of(request) + b" c O%d" % opaque)
        return b"ms %b %d%b\r\n" % (key, len(value), flags), value, CRLF


class _DeleteExchanger(MetaExchanger):
    """Delete: done, and nothing else."""

    __slots__ = ()

    def encode(self, request: Request[object], opaque: int) -> Parts | None:
        assert isinstance(request, Delete)
        key, cas, flags = request.key, request.cas, b" O%d" % opaque
        if request.meta is not None or cas or type(cas) is not int or not _is_word(key):
            check_request(request)
            key, flags = _key_and_flags(key, request.meta, flags_of(request) + flags)
        return (b"md %b%b\r\n" % (key, flags),)

    def read(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        expected = b"HD O%d\r\n" % exchange._opaque
        if not buffer.data.startswith(expected, buffer.at):
            return None
        buffer.at += len(expected)
        return Deleted()


class _CountExchanger(MetaExchanger):
    """Increment, Decrement: the new number, with the new CAS."""

    __slots__ = ()

    def encode(self, request: Request[object], opaque: int) -> Parts | None:
        check_request(request)
        assert isinstance(request, COUNTS)
        key, flags = _key_and_flags(request.key, request.meta, b"%b v c O%d" % (flags_of(request), opaque))
        return (b"ma %b%b\r\n" % (key, flags),)

    def read(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        data, at, expected = buffer.data, buffer.at, b" O%d\r\n" % exchange._opaque
        counted = _COUNTED(data, at)
        if counted is None or not data.startswith(expected, counted.end()):
            return None
        size, cas, start = int(counted[1]), int(counted[2]), counted.end() + len(expected)
        end = start + size
        digits = data[start:end]
        if not digits.isdigit() or data[end : end + 2] != CRLF or size > limits.value:
            return None
        number = int(digits)
        if number > U64 or cas > U64:
            return None
        buffer.at = end + 2
        return Counter(number, cas)


class _TouchExchanger(MetaExchanger):
    """Touch, which is an mg without v: done, with flags, CAS and key, or a miss."""

    __slots__ = ()

    def encode(self, request: Request[object], opaque: int) -> Parts | None:
        check_request(request)
        assert isinstance(request, Touch)
        flags = flags_of(Get((request.key,), request.exptime)) + b" f c k O%d" % opaque
        key, flags = _key_and_flags(request.key, None, flags)
        return (b"mg %b%b\r\n" % (key, flags),)

    def read(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        request = exchange.request
        assert isinstance(request, Touch)
        data, at, expected = buffer.data, buffer.at, b" k%b O%d\r\n" % (request.key, exchange._opaque)
        touched = _TOUCHED(data, at)
        if _LF in request.key:
            return None
        start = at + 2 if touched is None else touched.end()
        end = start + len(expected)
        if data[start:end] != expected:
            return None
        if touched is None:
            if not data.startswith(b"EN", at):
                return None
            buffer.at = end
            return Failure(Status.KEY_NOT_FOUND)
        flags, cas = int(touched[1]), int(touched[2])
        if flags > U32 or cas > U64:
            return None
        buffer.at = end
        return Touched(flags, cas)


class _NoopExchanger(MetaExchanger):
    """Noop. Its reply has no opaque."""

    __slots__ = ()

    def encode(self, request: Request[object], opaque: int) -> Parts | None:
        return (b"mn\r\n",)

    def read(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        if not buffer.data.startswith(_MN, buffer.at):
            return None
        buffer.at += len(_MN)
        return Ok()


class _DebugExchanger(MetaExchanger):
    """MetaDebug. Its reply has no opaque, and no regular form."""

    __slots__ = ()

    def encode(self, request: Request[object], opaque: int) -> Parts | None:
        check_request(request)
        assert isinstance(request, MetaDebug)
        key, flags = _key_and_flags(request.key, None, b"")
        return (b"me %b%b\r\n" % (key, flags),)


# --- a get of many keys: a command for each


class MultiGetReply(TextReader):
    """Reads the replies to one get of many keys; keeps the items so far between calls."""

    __slots__ = ("_irregular", "any_regular", "at", "flags", "gathered", "keys", "limits")

    def __init__(
        self, keys: tuple[bytes, ...], flags: tuple[bytes, ...], limits: Limits, any_regular: bool = True
    ) -> None:
        self.keys = keys
        self.any_regular = any_regular
        self.flags = flags
        self.limits = limits
        self.gathered = Gathered(limits)
        #: The index of the key whose reply comes next.
        self.at = 0
        self._irregular: IrregularReply | None = None

    def read(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        self._read_items(buffer)
        return self.gathered.reply() if self.at == len(self.keys) else None

    def read_irregular(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        while True:
            if self._irregular is None:
                self._read_items(buffer)
                if self.at == len(self.keys):
                    return self.gathered.reply()
                self._irregular = IrregularReply(Get((self.keys[self.at],)), self.flags, self.limits, strict=True)
            reply = self._irregular.read_irregular(buffer, exchange, limits)
            if reply is None:
                return None
            self._irregular = None
            self.at += 1
            self.gathered.add(reply)

    def _read_items(self, buffer: ReceiveBuffer) -> None:
        """Read complete hits and misses of the regular form, which is that of a single get."""
        gathered = self.gathered
        data, at, number, keys, total = buffer.data, buffer.at, self.at, self.keys, gathered.size
        match, keep, tail = _HIT, gathered.items.append, b" " + self.flags[-1] + CRLF
        if not self.any_regular or total + len(data) - at > self.limits.answer:
            # Near the limit the sum is checked item by item.
            return
        value_limit, line_limit, end_of_keys = self.limits.value, self.limits.line, len(keys)
        # Sizes and flags are often those of the item before.
        last_size, size, last_flags, flags = b"0", 0, b"0", 0
        while number < end_of_keys:
            key = keys[number]
            expected = b" k" + key + tail
            hit = match(data, at)
            if hit is None:
                if not data.startswith(b"EN" + expected, at) or 2 + len(expected) > line_limit:
                    break
                at += 2 + len(expected)
            else:
                size_word, flags_word, cas_word = hit.groups()
                if size_word != last_size:
                    last_size, size = size_word, int(size_word)
                if flags_word != last_flags:
                    last_flags, flags = flags_word, int(flags_word)
                cas, end_of_flags = int(cas_word), hit.end()
                start = end_of_flags + len(expected)
                end = start + size
                if size > value_limit or flags > U32 or cas > U64 or start - at > line_limit:
                    break
                if data[end_of_flags:start] != expected or data[end : end + 2] != CRLF:
                    break
                total += size
                keep(Item(key, data[start:end], flags, cas))
                at = end + 2
            number += 1
        buffer.at, self.at, gathered.size = at, number, total


def _encode_many(request: Get, opaque: int, limits: Limits) -> tuple[Parts, MultiGetReply]:
    keys, options = request.keys, request.meta
    # One opaque for all: within a get the key says which reply it is.
    flags = flags_of(request) + b" v f c k O%d" % opaque
    words = tuple(flags.split())
    if options is None and not needs_base64(b"".join(keys)):
        lengths = set(map(len, keys))
        if min(lengths) > 0 and max(lengths) <= MAX_KEY:
            tail = flags + CRLF
            return (b"mg " + (tail + b"mg ").join(keys) + tail,), MultiGetReply(keys, words, limits)
    # With options the replies may say more of the items; and keys in base64 may come back as they are.
    lines = [b"mg %b%b\r\n" % _key_and_flags(key, options, flags) for key in keys]
    return (b"".join(lines),), MultiGetReply(keys, words, limits, any_regular=False)


#: What encodes each kind of request, and reads its reply. Other requests are sent in classic text.
EXCHANGERS: Final[dict[type[Request[object]], MetaExchanger]] = {
    Get: _GetExchanger(),
    **dict.fromkeys((Set, Add, Replace), _StoreExchanger()),
    **dict.fromkeys((Append, Prepend), _ConcatExchanger()),
    Delete: _DeleteExchanger(),
    **dict.fromkeys((Increment, Decrement), _CountExchanger()),
    Touch: _TouchExchanger(),
    Noop: _NoopExchanger(),
    MetaDebug: _DebugExchanger(),
}


def encode(request: Request[object], opaque: int, limits: Limits) -> tuple[Parts, TextReader]:
    """The bytes of any of these requests, in pieces, and what reads its reply. Raises LocalProtocolError."""
    check_request(request)
    if isinstance(request, Get) and len(request.keys) != 1:
        return _encode_many(request, opaque, limits)
    exchanger = EXCHANGERS[type(request)]
    parts = exchanger.encode(request, opaque)
    assert parts is not None
    return parts, exchanger
