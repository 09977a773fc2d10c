"""The client's side of classic text: encodes requests, and chooses what reads their replies."""

from __future__ import annotations

import re
import struct
from itertools import pairwise
from typing import Final

from memproto import model
from memproto.limits import MAX_KEY, Limits
from memproto.model import AnyRequest, Request
from memproto.model._meta_options import without_meta_options
from memproto.text._client_readers import Parts, TextReader
from memproto.text._lines import CONCATENATIONS, COUNTS, CRLF, HUGE, WITH_FLAGS
from memproto.text.classic._checks import check_arguments, verb_for
from memproto.text.classic._client_items import ONE_ITEM, ItemsReader
from memproto.text.classic._client_readers import READERS, reader_for
from memproto.text.classic._commands import BY_REQUEST, CAS_VERB, NOREPLY

# These pack what a line says as text, to check the types and ranges of numbers: flags, exptime and CAS; delta.
_STORE_NUMBERS: Final = struct.Struct(">IiQ").pack
_EXPTIME: Final = struct.Struct(">i").pack
_DELTA: Final = struct.Struct(">Q").pack
_IS_WORD: Final = re.compile(b"[^\r\n\0 ]{1,%d}" % MAX_KEY).fullmatch

# To type checkers every field has its declared type.
_BYTES: Final[type] = bytes
_INT: Final[type] = int


class CommandEncoder:
    """Encodes the regular requests of one kind under their command word; ``reader`` reads the replies."""

    __slots__ = ("line", "reader", "verb")

    #: What stands behind the command word, as a template.
    layout = b""

    def __init__(self, verb: bytes, reader: TextReader) -> None:
        self.verb = verb
        self.reader = reader
        self.line = verb + self.layout + CRLF

    def encode(self, request: Request[object], opaque: int) -> Parts | None:
        """The bytes of a request, in pieces; ``None`` if it is not regular, or if a field does not fit."""
        raise NotImplementedError


class _Get(CommandEncoder):
    __slots__ = ()
    layout = b" %b"

    def encode(self, request: Request[object], opaque: int) -> Parts | None:
        assert isinstance(request, model.Get)
        keys = request.keys
        if type(keys) is not tuple or len(keys) != 1 or request.exptime is not None or request.meta is not None:
            return None
        key = keys[0]
        if not isinstance(key, _BYTES) or not _IS_WORD(key):
            return None
        return (self.line % key,)


class _Store(CommandEncoder):
    """``set``, ``add`` and ``replace``."""

    __slots__ = ()
    layout = b" %b %d %d %d"

    def encode(self, request: Request[object], opaque: int) -> Parts | None:
        assert isinstance(request, WITH_FLAGS)
        key, value, flags, exptime, cas = request.key, request.value, request.flags, request.exptime, request.cas
        if (
            not isinstance(key, _BYTES)
            or not _IS_WORD(key)
            or not isinstance(value, _BYTES)
            or request.meta is not None
        ):
            return None
        size = len(value)
        try:
            _STORE_NUMBERS(flags, exptime, cas)
        except struct.error:
            return None
        if size >= HUGE or cas:
            return None
        return self.line % (key, flags, exptime, size), value, CRLF


class _Delete(CommandEncoder):
    __slots__ = ()
    layout = b" %b"

    def encode(self, request: Request[object], opaque: int) -> Parts | None:
        assert isinstance(request, model.Delete)
        key, cas = request.key, request.cas
        if not isinstance(key, _BYTES) or not _IS_WORD(key) or request.meta is not None:
            return None
        if cas or not isinstance(cas, _INT):
            return None
        # As the last word this key could be taken for the option; the historic 0 is not.
        return (self.line % (NOREPLY + b" 0" if key == NOREPLY else key),)


class _Count(CommandEncoder):
    """``incr`` and ``decr``."""

    __slots__ = ()
    layout = b" %b %d"

    def encode(self, request: Request[object], opaque: int) -> Parts | None:
        assert isinstance(request, COUNTS)
        key, delta, initial, cas = request.key, request.delta, request.initial, request.cas
        if not isinstance(key, _BYTES) or not _IS_WORD(key) or request.meta is not None or request.exptime is not None:
            return None
        if cas or not isinstance(cas, _INT) or not isinstance(initial, _INT):
            return None
        try:
            _DELTA(delta)
        except struct.error:
            return None
        return (self.line % (key, delta),)


class _Touch(CommandEncoder):
    __slots__ = ()
    layout = b" %b %d"

    def encode(self, request: Request[object], opaque: int) -> Parts | None:
        assert isinstance(request, model.Touch)
        key, exptime = request.key, request.exptime
        if not isinstance(key, _BYTES) or not _IS_WORD(key):
            return None
        try:
            _EXPTIME(exptime)
        except struct.error:
            return None
        return (self.line % (key, exptime),)


class _Concatenate(CommandEncoder):
    """``append`` and ``prepend``."""

    __slots__ = ()
    layout = b" %b 0 0 %d"

    def encode(self, request: Request[object], opaque: int) -> Parts | None:
        assert isinstance(request, CONCATENATIONS)
        key, value, cas = request.key, request.value, request.cas
        if (
            not isinstance(key, _BYTES)
            or not _IS_WORD(key)
            or not isinstance(value, _BYTES)
            or request.meta is not None
        ):
            return None
        if len(value) >= HUGE or cas or not isinstance(cas, _INT):
            return None
        return self.line % (key, len(value)), value, CRLF


class _Bare(CommandEncoder):
    """A command without arguments."""

    __slots__ = ()

    def encode(self, request: Request[object], opaque: int) -> Parts | None:
        return (self.line,)


def _encoders(kind: type[CommandEncoder], *requests: type[AnyRequest]) -> dict[type[Request[object]], CommandEncoder]:
    return {request: kind(BY_REQUEST[request].verb, READERS[request]) for request in requests}


#: The regular requests; ``encode_irregular`` encodes every request.
ENCODERS: Final[dict[type[Request[object]], CommandEncoder]] = {
    model.Get: _Get(b"gets", ONE_ITEM),
    **_encoders(_Store, model.Set, model.Add, model.Replace),
    **_encoders(_Concatenate, model.Append, model.Prepend),
    **_encoders(_Delete, model.Delete),
    **_encoders(_Count, model.Increment, model.Decrement),
    **_encoders(_Touch, model.Touch),
    **_encoders(_Bare, model.Version, model.Noop),
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
    check_arguments(request, verb)
    keys, exptime = request.keys, request.exptime
    # Room for the verb, the expiry and the line end.
    most = max((limits.keys_line if exptime is None else limits.line) - 24, 1)
    if sum(map(len, keys)) + len(keys) <= most:
        return (_get_line(verb, exptime, keys),), ItemsReader(keys, limits)
    ends: list[int] = []
    size = 0
    for index, key in enumerate(keys):
        if size and size + len(key) + 1 > most:
            ends.append(index)
            size = 0
        size += len(key) + 1
    ends.append(len(keys))
    lines = [_get_line(verb, exptime, keys[start:end]) for start, end in pairwise((0, *ends))]
    return (b"".join(lines),), ItemsReader(keys, limits, tuple(ends))


def _get_line(verb: bytes, exptime: int | None, keys: tuple[bytes, ...]) -> bytes:
    words = (verb,) if exptime is None else (verb, b"%d" % exptime)
    return b" ".join((*words, *keys)) + CRLF


def encode(request: Request[object], verb: bytes, noreply: bool = False) -> Parts:
    """The bytes of a request under a command word. Raises LocalProtocolError that names what does not fit a line."""
    check_arguments(request, verb)
    encoder = ENCODERS.get(type(request))
    parts = None if encoder is None else encoder.encode(request, 0)
    if verb == CAS_VERB and isinstance(request, WITH_FLAGS):
        line, *data = _encode_cas(request)
    elif encoder is None or parts is None:
        line, *data = _encode_checked(request, verb)
    else:
        line, *data = parts
        line = verb + line.removeprefix(encoder.verb)
    if noreply:
        line = line.removesuffix(CRLF) + b" " + NOREPLY + CRLF
    return line, *data


def _encode_checked(request: Request[object], verb: bytes) -> Parts:
    """The bytes of a request that is never regular, and whose fields are known to fit."""
    words: tuple[bytes, ...] = ()
    match request:
        case model.Get(keys, exptime):
            return (_get_line(verb, exptime, keys),)
        case model.SaslAuth(data=data):
            # The data are user and password.
            data = data[1:].replace(b"\0", b" ", 1)
            return b"set auth 0 0 %d\r\n" % len(data), data, CRLF
        case model.Flush(exptime) if exptime is not None:
            words = (b"%d" % exptime,)
        case model.Verbosity(level):
            words = (b"%d" % level,)
        case model.Stats(group) if group:
            words = (group,)
        case model.AdminCommand(words):
            words = words[1:]
    return (b" ".join((verb, *words)) + CRLF,)


def _encode_cas(request: model.Set | model.Add | model.Replace) -> Parts:
    key, value, cas = request.key, request.value, max(request.cas, 0)
    return b"cas %b %d %d %d %d\r\n" % (key, request.flags, request.exptime, len(value), cas), value, CRLF
