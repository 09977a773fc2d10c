"""The client's side of the meta dialect: for each kind of request what encodes it, and what reads its reply.

A client asks each reply to repeat the opaque of its request, and that to a get the key too; a reply of the regular form
has them at the end of its line. All other forms are left to :class:`IrregularReply`.
"""

from __future__ import annotations

import re
import struct
from typing import Final

from memproto import model
from memproto._wire.buffer import ReceiveBuffer
from memproto._wire.checks import U32, U64
from memproto._wire.exchange import Exchange
from memproto.limits import MAX_KEY, Limits
from memproto.model import AnyReply, Failure, Item, Request, Status
from memproto.model._checks import check_request
from memproto.text._client_readers import TextReader
from memproto.text._lines import COUNTS, CRLF, HUGE, STORES, WITH_FLAGS, Parts
from memproto.text.meta._client_irregular import IrregularReply
from memproto.text.meta._client_multi_get import MultiGetReply
from memproto.text.meta._keys import is_word, key_word, needs_base64
from memproto.text.meta._operations import WITH_OPTIONS, flags_of, key_of, store_flags

# Packs flags, exptime and CAS of a store, to check their types and ranges.
_check_store: Final = struct.Struct(">IiQ").pack

# The lines of requests; what they ask for is what the readers expect. Their parts are the key, for ms the length of the
# value, the flags for the fields, the opaque, and b.
_MG: Final = b"mg %b%b v f c k O%d%b\r\n"
_MS: Final = b"ms %b %d%b c O%d%b\r\n"
_MD: Final = b"md %b%b O%d%b\r\n"
_MA: Final = b"ma %b%b v c O%d%b\r\n"
# Touch.
_MG_T: Final = b"mg %b%b f c k O%d%b\r\n"

# The lines of regular replies. The last group is the opaque, that before it the key.
_OPAQUE: Final = rb"O(0|[1-9]\d{0,9})\r\n"
_KEY_OPAQUE: Final = rb" k([!-~]{1,250}) " + _OPAQUE
_ITEM: Final = re.compile(rb"VA (\d{1,10}) f(\d{1,10}) c(\d{1,20})" + _KEY_OPAQUE).match
_TOUCHED: Final = re.compile(rb"(?:EN|HD f(\d{1,10}) c(\d{1,20}))" + _KEY_OPAQUE).match
_STORED: Final = re.compile(rb"HD c(\d{1,20}) " + _OPAQUE).match
_COUNTED: Final = re.compile(rb"VA (\d{1,2}) c(\d{1,20}) " + _OPAQUE).match
_MN: Final = b"MN\r\n"
_MISS: Final = b"EN k"


class MetaCommand(TextReader):
    """Encodes the requests of one kind in a line of this form, and reads their replies."""

    __slots__ = ("_line",)

    def __init__(self, line: bytes) -> None:
        self._line = line

    def encode(self, request: Request[object], opaque: int) -> Parts | None:
        """The bytes of a request, in pieces; ``None`` for a get of many keys. Raises LocalProtocolError."""
        check_request(request)
        fields = flags_of(request)
        key, base64 = _word_and_flag(key_of(request), request.meta if isinstance(request, WITH_OPTIONS) else None)
        if isinstance(request, STORES):
            return self._line % (key, len(request.value), fields, opaque, base64), request.value, CRLF
        return (self._line % (key, fields, opaque, base64),)

    def begin(self, exchange: Exchange[object], limits: Limits) -> TextReader:
        return IrregularReply(exchange.request, _flags_in(exchange.parts[0]), limits, strict=True)


def _flags_in(line: bytes) -> tuple[bytes, ...]:
    """The flags of a request that was sent."""
    words = line.split()
    return tuple(words[3 if words[0] == b"ms" else 2 :])


def _word_and_flag(key: bytes, options: model.MetaOptions | None) -> tuple[bytes, bytes]:
    """The key as a word, and the flag that says so where only base64 can carry it. Raises LocalProtocolError."""
    if options is not None and options.base64:
        # The flag is among those for the options.
        return key_word(key, True), b""
    return (key_word(key, True), b" b") if needs_base64(key) else (key_word(key, False), b"")


class _GetCommand(MetaCommand):
    """Get: a hit with value, flags, CAS and key, or a miss."""

    __slots__ = ()

    def encode(self, request: Request[object], opaque: int) -> Parts | None:
        assert isinstance(request, model.Get)
        keys = request.keys
        if type(keys) is not tuple or len(keys) != 1:
            return None
        if request.meta is None and request.exptime is None and is_word(keys[0]):
            return (_MG % (keys[0], b"", opaque, b""),)
        return super().encode(request, opaque)

    def read(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        request = exchange.request
        assert isinstance(request, model.Get)
        data, at, key = buffer.data, buffer.at, request.keys[0]
        if data.startswith(_MISS, at):
            # Behind the key stands what ends the request; with b, for a key in base64, that is not regular.
            sent = exchange.parts[0]
            miss = _MISS + key + sent[sent.rfind(b" O") :]
            if not data.startswith(miss, at):
                return None
            buffer.at = at + len(miss)
            return model.Values()
        line = _ITEM(data, at)
        if line is None:
            return None
        size_word, flags_word, cas_word, returned_key, opaque = line.groups()
        # With options the reply may say more of the item.
        if returned_key != key or int(opaque) != exchange._opaque or request.meta is not None:
            return None
        start = line.end()
        size, flags, cas = int(size_word), int(flags_word), int(cas_word)
        end = start + size
        if size > limits.value or flags > U32 or cas > U64 or data[end : end + 2] != CRLF:
            return None
        buffer.at = end + 2
        return model.Values((Item(key, data[start:end], flags, cas),))


class _StoreCommand(MetaCommand):
    """Set, Add, Replace, Append, Prepend: done, with the new CAS."""

    __slots__ = ()

    def encode(self, request: Request[object], opaque: int) -> Parts | None:
        if isinstance(request, WITH_FLAGS) and request.meta is None:
            key, value = request.key, request.value
            try:
                _check_store(request.flags, request.exptime, request.cas)
            except struct.error:
                return super().encode(request, opaque)
            if type(value) is bytes and len(value) < HUGE and is_word(key):
                return _MS % (key, len(value), store_flags(request), opaque, b""), value, CRLF
        return super().encode(request, opaque)

    def read(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        line = _STORED(buffer.data, buffer.at)
        if line is None:
            return None
        cas, opaque = int(line[1]), int(line[2])
        if cas > U64 or opaque != exchange._opaque:
            return None
        buffer.at = line.end()
        return model.Stored(cas)


class _DeleteCommand(MetaCommand):
    """Delete: done, and nothing else."""

    __slots__ = ()

    def encode(self, request: Request[object], opaque: int) -> Parts | None:
        assert isinstance(request, model.Delete)
        key, cas = request.key, request.cas
        if request.meta is not None or cas or type(cas) is not int or not is_word(key):
            return super().encode(request, opaque)
        return (_MD % (key, b"", opaque, b""),)

    def read(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        expected = b"HD O%d\r\n" % exchange._opaque
        if not buffer.data.startswith(expected, buffer.at):
            return None
        buffer.at += len(expected)
        return model.Deleted()


class _CountCommand(MetaCommand):
    """Increment, Decrement: the new number, with the new CAS."""

    __slots__ = ()

    def read(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        data = buffer.data
        line = _COUNTED(data, buffer.at)
        if line is None:
            return None
        size, cas, start = int(line[1]), int(line[2]), line.end()
        end = start + size
        digits = data[start:end]
        if int(line[3]) != exchange._opaque or size > limits.value or cas > U64:
            return None
        if not digits.isdigit() or int(digits) > U64 or data[end : end + 2] != CRLF:
            return None
        buffer.at = end + 2
        return model.Counter(int(digits), cas)


class _TouchCommand(MetaCommand):
    """Touch, which is an mg without v: done, with flags, CAS and key, or a miss."""

    __slots__ = ()

    def read(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        request = exchange.request
        assert isinstance(request, model.Touch)
        line = _TOUCHED(buffer.data, buffer.at)
        if line is None or line[3] != request.key or int(line[4]) != exchange._opaque:
            return None
        if line[1] is None:
            buffer.at = line.end()
            return Failure(Status.KEY_NOT_FOUND)
        flags, cas = int(line[1]), int(line[2])
        if flags > U32 or cas > U64:
            return None
        buffer.at = line.end()
        return model.Touched(flags, cas)


class _NoopCommand(MetaCommand):
    """Noop. Its reply has no opaque."""

    __slots__ = ()

    def encode(self, request: Request[object], opaque: int) -> Parts | None:
        return (self._line,)

    def read(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        if not buffer.data.startswith(_MN, buffer.at):
            return None
        buffer.at += len(_MN)
        return model.Ok()


class _DebugCommand(MetaCommand):
    """MetaDebug. Its reply has no opaque, and no regular form."""

    __slots__ = ()

    def encode(self, request: Request[object], opaque: int) -> Parts | None:
        check_request(request)
        return (self._line % _word_and_flag(key_of(request), None),)


# --- a get of many keys: a command for each


def _encode_many(request: model.Get, opaque: int, limits: Limits) -> tuple[Parts, MultiGetReply]:
    keys, options, fields = request.keys, request.meta, flags_of(request)
    # One opaque for all: within a get the key says which reply it is.
    tail = (_MG % (b"", fields, opaque, b"")).removeprefix(b"mg ")
    flags = tuple(tail.split())
    if options is None and not needs_base64(b"".join(keys)):
        lengths = set(map(len, keys))
        if min(lengths) > 0 and max(lengths) <= MAX_KEY:
            return (b"mg " + (tail + b"mg ").join(keys) + tail,), MultiGetReply(keys, flags, limits)
    # With options the replies may say more of the items; and keys in base64 may come back as they are.
    words = [_word_and_flag(key, options) for key in keys]
    lines = [_MG % (key, fields, opaque, base64) for key, base64 in words]
    return (b"".join(lines),), MultiGetReply(keys, flags, limits, any_regular=False)


#: What encodes each kind of request, and reads its reply. Other requests are sent in classic text.
BY_REQUEST: Final[dict[type[Request[object]], MetaCommand]] = {
    model.Get: _GetCommand(_MG),
    **dict.fromkeys(STORES, _StoreCommand(_MS)),
    model.Delete: _DeleteCommand(_MD),
    **dict.fromkeys(COUNTS, _CountCommand(_MA)),
    model.Touch: _TouchCommand(_MG_T),
    model.Noop: _NoopCommand(b"mn\r\n"),
    model.MetaDebug: _DebugCommand(b"me %b%b\r\n"),
}


def encode(request: Request[object], opaque: int, limits: Limits) -> tuple[Parts, TextReader]:
    """The bytes of any of these requests, in pieces, and what reads its reply. Raises LocalProtocolError."""
    if isinstance(request, model.Get) and len(request.keys) != 1:
        return _encode_many(request, opaque, limits)
    command = BY_REQUEST[type(request)]
    parts = command.encode(request, opaque)
    assert parts is not None
    return parts, command
