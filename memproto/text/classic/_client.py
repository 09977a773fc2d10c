"""The client's side of classic text: encodes requests, and chooses what reads their replies."""

from __future__ import annotations

import re
import struct
from itertools import pairwise
from typing import Final

from memproto import model
from memproto._wire.checks import I32, U64
from memproto.limits import MAX_KEY, Limits
from memproto.model import Request
from memproto.model._checks import check_request
from memproto.model._meta_options import without_meta_options
from memproto.text._client_readers import TextReader
from memproto.text._lines import CONCATENATIONS, COUNTS, CRLF, HUGE, STORES, WITH_FLAGS, Parts
from memproto.text.classic._arguments import arguments_of, verb_for
from memproto.text.classic._client_items import ONE_ITEM, ItemsReader
from memproto.text.classic._client_readers import READERS, reader_for
from memproto.text.classic._commands import BY_REQUEST, NOREPLY

# Packs flags, exptime and CAS of a store, to check their types and ranges.
_STORE_NUMBERS: Final = struct.Struct(">IiQ").pack
_IS_WORD: Final = re.compile(b"[^\r\n\0 ]{1,%d}" % MAX_KEY).fullmatch

# To type checkers every field has its declared type.
_BYTES: Final[type] = bytes


class CommandEncoder:
    """Encodes the requests of one kind under one command word; ``reader`` reads the replies."""

    __slots__ = ("reader", "verb")

    def __init__(self, verb: bytes, reader: TextReader) -> None:
        self.verb = verb
        self.reader = reader

    def encode(self, request: Request[object], opaque: int) -> Parts | None:
        """The bytes of a request, in pieces; ``None`` if it is not regular. Raises LocalProtocolError."""
        check_request(request)
        return encode(without_meta_options(request), self.verb)


class _GetEncoder(CommandEncoder):
    """A get of one key."""

    __slots__ = ()

    def encode(self, request: Request[object], opaque: int) -> Parts | None:
        assert isinstance(request, model.Get)
        keys = request.keys
        if type(keys) is not tuple or len(keys) != 1 or request.exptime is not None or request.meta is not None:
            return None
        key = keys[0]
        if not isinstance(key, _BYTES) or not _IS_WORD(key):
            return None
        return (b"gets %b\r\n" % key,)


class _DeleteEncoder(CommandEncoder):
    """A delete without a CAS."""

    __slots__ = ()

    def encode(self, request: Request[object], opaque: int) -> Parts | None:
        assert isinstance(request, model.Delete)
        key, cas = request.key, request.cas
        if not isinstance(key, _BYTES) or not _IS_WORD(key) or cas or type(cas) is not int or request.meta is not None:
            return None
        return (b"delete %b\r\n" % key,) if key != NOREPLY else None


class _StoreEncoder(CommandEncoder):
    """``set``, ``add`` and ``replace``; a request with a CAS is sent as ``cas``, which is not regular."""

    __slots__ = ()

    def encode(self, request: Request[object], opaque: int) -> Parts | None:
        assert isinstance(request, WITH_FLAGS)
        key, value, flags, exptime, cas = request.key, request.value, request.flags, request.exptime, request.cas
        try:
            _STORE_NUMBERS(flags, exptime, cas)
        except struct.error:
            return None
        if not isinstance(key, _BYTES) or not isinstance(value, _BYTES) or cas or request.meta is not None:
            return None
        size = len(value)
        if size >= HUGE or not _IS_WORD(key):
            return None
        return b"%b %b %d %d %d\r\n" % (self.verb, key, flags, exptime, size), value, CRLF


class _ConcatenationEncoder(CommandEncoder):
    """``append`` and ``prepend``, whose flags and expiry memcached ignores."""

    __slots__ = ()

    def encode(self, request: Request[object], opaque: int) -> Parts | None:
        assert isinstance(request, CONCATENATIONS)
        key, value, cas, flags = request.key, request.value, request.cas, request.flags
        if type(cas) is not int or cas or type(flags) is not int or flags or request.unlink is not False:
            return None
        if not isinstance(key, _BYTES) or not isinstance(value, _BYTES) or request.meta is not None:
            return None
        size = len(value)
        if size >= HUGE or not _IS_WORD(key):
            return None
        return b"%b %b 0 0 %d\r\n" % (self.verb, key, size), value, CRLF


class _CountEncoder(CommandEncoder):
    """``incr`` and ``decr``."""

    __slots__ = ()

    def encode(self, request: Request[object], opaque: int) -> Parts | None:
        assert isinstance(request, COUNTS)
        key, delta, cas = request.key, request.delta, request.cas
        if type(delta) is not int or not 0 <= delta <= U64 or type(cas) is not int or cas:
            return None
        if type(request.initial) is not int or request.exptime is not None or request.meta is not None:
            return None
        return (b"%b %b %d\r\n" % (self.verb, key, delta),) if isinstance(key, _BYTES) and _IS_WORD(key) else None


class _TouchEncoder(CommandEncoder):
    """``touch``."""

    __slots__ = ()

    def encode(self, request: Request[object], opaque: int) -> Parts | None:
        assert isinstance(request, model.Touch)
        key, exptime = request.key, request.exptime
        if type(exptime) is not int or not -I32 - 1 <= exptime <= I32 or not isinstance(key, _BYTES):
            return None
        return (b"touch %b %d\r\n" % (key, exptime),) if _IS_WORD(key) else None


_OTHERS: Final = (model.Version, model.Noop)

#: What encodes each kind of request of which one command word says nearly all; ``encode_irregular`` encodes the others.
ENCODERS: Final[dict[type[Request[object]], CommandEncoder]] = {
    model.Get: _GetEncoder(b"gets", ONE_ITEM),
    model.Delete: _DeleteEncoder(b"delete", READERS[model.Delete]),
    **{kind: _StoreEncoder(BY_REQUEST[kind].verb, READERS[kind]) for kind in WITH_FLAGS},
    **{kind: _ConcatenationEncoder(BY_REQUEST[kind].verb, READERS[kind]) for kind in CONCATENATIONS},
    **{kind: _CountEncoder(BY_REQUEST[kind].verb, READERS[kind]) for kind in COUNTS},
    model.Touch: _TouchEncoder(b"touch", READERS[model.Touch]),
    **{kind: CommandEncoder(BY_REQUEST[kind].verb, READERS[kind]) for kind in _OTHERS},
}


def encode_irregular(request: Request[object], limits: Limits) -> tuple[Parts, TextReader]:
    """The bytes of any request and the reader of its reply. Raises LocalProtocolError that names what does not fit."""
    request = without_meta_options(request)
    verb = verb_for(request)
    if isinstance(request, model.Get) and len(request.keys) > 1:
        return _encode_keys(request, verb, limits)
    return encode(request, verb), reader_for(request, limits)


def _encode_keys(request: model.Get, verb: bytes, limits: Limits) -> tuple[Parts, TextReader]:
    """One line, or as many as are needed for the keys."""
    arguments_of(request, verb)
    keys, exptime = request.keys, request.exptime
    head = verb if exptime is None else b"%b %d" % (verb, exptime)
    # Room for the verb, the expiry and the line end.
    most = max((limits.keys_line if exptime is None else limits.line) - 24, 1)
    ends: list[int] = []
    size = 0
    for index, key in enumerate(keys if sum(map(len, keys)) + len(keys) > most else ()):
        if size and size + len(key) + 1 > most:
            ends.append(index)
            size = 0
        size += len(key) + 1
    ends.append(len(keys))
    lines = [b" ".join((head, *keys[start:end])) + CRLF for start, end in pairwise((0, *ends))]
    return (b"".join(lines),), ItemsReader(keys, limits, tuple(ends))


def encode(request: Request[object], verb: bytes, noreply: bool = False) -> Parts:
    """The bytes of a request under a command word. Raises LocalProtocolError that names what does not fit a line."""
    line, data = b" ".join((verb, *arguments_of(request, verb))), data_of(request)
    line += b" " + NOREPLY + CRLF if noreply else CRLF
    return (line,) if data is None else (line, data, CRLF)


def data_of(request: Request[object]) -> bytes | None:
    """The data that follow the line, without their end; ``None`` if none follow."""
    if isinstance(request, STORES):
        return request.value
    # User and password.
    return request.data[1:].replace(b"\0", b" ", 1) if isinstance(request, model.SaslAuth) else None
