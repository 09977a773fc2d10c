"""Classic text requests: command lines to messages, and messages to command lines.

The rules for wrong lines are memcached 1.6's; where its releases differ the newest is followed if it is the
safer one: the data of a storage command whose length could be read are swallowed, whatever else is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable

from memproto._wire.checks import U32, U64, check_bytes, check_number
from memproto.errors import LocalProtocolError
from memproto.limits import MAX_KEY, Limits
from memproto.model import (
    Add,
    AdminCommand,
    AnyRequest,
    Append,
    ClassicEnvelope,
    Decrement,
    Delete,
    Failure,
    Flush,
    Get,
    Increment,
    InvalidRequest,
    Noop,
    Prepend,
    Quit,
    Replace,
    Request,
    SaslAuth,
    Set,
    Stats,
    Status,
    Touch,
    UnknownLine,
    Verbosity,
    Version,
)
from memproto.text._lines import (
    CAS_ZERO,
    CRLF,
    HUGE,
    STORES,
    WITH_FLAGS,
    Block,
    check_keys,
    check_text,
    check_word,
    exptime_of,
    exptime_word,
    length_of,
    stats_group,
    unsigned_of,
    words_of,
)

NOREPLY = b"noreply"
_MAX_PASSWORD = 1024


Parsed = ClassicEnvelope | Block


def client_error(text: bytes | None, reason: str, request: Request[object] | None = None) -> InvalidRequest:
    """A request refused with CLIENT_ERROR; ``None`` is "bad command line format"."""
    return InvalidRequest(Failure(Status.INVALID_ARGUMENTS, text), reason, request)


def _wrong_count(line: bytes, words: list[bytes]) -> ClassicEnvelope:
    reason = f"{words[0].decode('latin-1')} with {len(words) - 1} words behind it"
    return ClassicEnvelope(InvalidRequest(Failure(Status.UNKNOWN_COMMAND), reason), words[0], line=line)


def _too_long(key: bytes) -> InvalidRequest:
    return client_error(None, f"key is {len(key)} bytes, limit is {MAX_KEY}")


# --- storage

_STORES: dict[bytes, type[Set] | type[Add] | type[Replace]] = {b"set": Set, b"add": Add, b"replace": Replace}
_CONCATENATIONS: dict[bytes, type[Append] | type[Prepend]] = {b"append": Append, b"prepend": Prepend}


def _store(words: list[bytes], line: bytes, limits: Limits) -> Parsed:
    verb = words[0]
    least = 6 if verb == b"cas" else 5
    if not least <= len(words) <= least + 1:
        return _wrong_count(line, words)
    key = words[1]
    noreply = words[-1] == NOREPLY
    flags, exptime, size = unsigned_of(words[2], U32), exptime_of(words[3]), length_of(words[4])
    cas = unsigned_of(words[5], U64) if verb == b"cas" else 0
    if verb == b"cas" and cas == 0:
        cas = CAS_ZERO

    def envelope(request: AnyRequest) -> ClassicEnvelope:
        return ClassicEnvelope(request, verb, noreply, line)

    def finish(data: bytes) -> ClassicEnvelope:
        return envelope(_stored(verb, key, data, flags or 0, exptime or 0, cas or 0))

    if size is None:
        return envelope(client_error(None, f"length is {words[4]!r}, must be a number below {HUGE}"))
    if len(key) > MAX_KEY:
        return Block(size, finish, envelope(_too_long(key)))
    if cas is None:
        # The one fault for which no release swallows the data.
        return envelope(client_error(None, f"cas is {words[5]!r}, must be 0 to 2**64 - 1"))
    for name, word, number in (("flags", words[2], flags), ("exptime", words[3], exptime)):
        if number is None:
            return Block(size, finish, envelope(client_error(None, f"{name} is {word!r}, not a number that fits")))
    if size > limits.value:
        reason = f"value is {size} bytes, limit is {limits.value}"
        request = _stored(verb, key, b"", flags or 0, exptime or 0, cas or 0)
        return Block(size, finish, envelope(InvalidRequest(Failure(Status.VALUE_TOO_LARGE), reason, request)))
    return Block(size, finish)


def _stored(verb: bytes, key: bytes, data: bytes, flags: int, exptime: int, cas: int) -> AnyRequest:
    if verb in _CONCATENATIONS:
        return _CONCATENATIONS[verb](key, data, flags=flags)
    if verb == b"cas":
        # Unlike a binary SET with a CAS.
        return Set(key, data, flags, exptime, cas, strict=True, unlink=False)
    return _STORES[verb](key, data, flags, exptime)


# --- everything else


def _get(words: list[bytes], line: bytes, limits: Limits) -> Parsed:
    verb = words[0]
    keys = words[1:]
    exptime = None
    if verb in (b"gat", b"gats"):
        if len(words) < 2:
            return _wrong_count(line, words)
        exptime = exptime_of(words[1])
        if exptime is None:
            reason = f"exptime is {words[1]!r}, must be a number"
            return ClassicEnvelope(client_error(b"invalid exptime argument", reason), verb, line=line)
        keys = words[2:]
    elif not keys:
        return _wrong_count(line, words)
    for key in keys:
        if len(key) > MAX_KEY:
            return ClassicEnvelope(_too_long(key), verb, line=line)
    if len(keys) > limits.keys:
        refused = client_error(None, f"keys are {len(keys)}, limit is {limits.keys}")
        return ClassicEnvelope(refused, verb, line=line)
    return ClassicEnvelope(Get(tuple(keys), exptime), verb, False, line)


def _delete(words: list[bytes], line: bytes, limits: Limits) -> Parsed:
    if not 2 <= len(words) <= 4:
        return _wrong_count(line, words)
    noreply = len(words) > 2 and words[-1] == NOREPLY
    request: AnyRequest = Delete(words[1])
    if words[2:] not in ([], [b"0"], [NOREPLY], [b"0", NOREPLY]):
        usage = b"bad command line format.  Usage: delete <key> [noreply]"
        reason = f"words behind the key are {words[2:]!r}, only 0 and noreply may stand there"
        request = client_error(usage, reason)
    elif len(words[1]) > MAX_KEY:
        request = _too_long(words[1])
    return ClassicEnvelope(request, words[0], noreply, line)


def _count(words: list[bytes], line: bytes, limits: Limits) -> Parsed:
    if not 3 <= len(words) <= 4:
        return _wrong_count(line, words)
    kind = Increment if words[0] == b"incr" else Decrement
    delta = unsigned_of(words[2], U64)
    request: AnyRequest
    if len(words[1]) > MAX_KEY:
        request = _too_long(words[1])
    elif delta is None:
        request = client_error(b"invalid numeric delta argument", f"delta is {words[2]!r}, must be 0 to 2**64 - 1")
    else:
        request = kind(words[1], delta)
    return ClassicEnvelope(request, words[0], words[-1] == NOREPLY, line)


def _touch(words: list[bytes], line: bytes, limits: Limits) -> Parsed:
    if not 3 <= len(words) <= 4:
        return _wrong_count(line, words)
    exptime = exptime_of(words[2])
    request: AnyRequest
    if len(words[1]) > MAX_KEY:
        request = _too_long(words[1])
    elif exptime is None:
        request = client_error(b"invalid exptime argument", f"exptime is {words[2]!r}, must be a number")
    else:
        request = Touch(words[1], exptime)
    return ClassicEnvelope(request, words[0], words[-1] == NOREPLY, line)


def _flush(words: list[bytes], line: bytes, limits: Limits) -> Parsed:
    if len(words) > 3:
        return _wrong_count(line, words)
    noreply = words[-1] == NOREPLY
    request: AnyRequest = Flush()
    if len(words) > 1 + noreply:
        exptime = exptime_of(words[1])
        request = Flush(exptime)
        if exptime is None:
            request = client_error(b"invalid exptime argument", f"delay is {words[1]!r}, must be a number")
    return ClassicEnvelope(request, words[0], noreply, line)


def _verbosity(words: list[bytes], line: bytes, limits: Limits) -> Parsed:
    if not 2 <= len(words) <= 3:
        return _wrong_count(line, words)
    level = unsigned_of(words[1], U32)
    request: AnyRequest = client_error(None, f"level is {words[1]!r}, must be a number")
    if level is not None:
        request = Verbosity(level)
    elif words[1:] == [NOREPLY]:
        # Without a level; 1.6.18 takes it, and says nothing.
        request = Verbosity(0)
    return ClassicEnvelope(request, words[0], words[-1] == NOREPLY, line)


def _stats(words: list[bytes], line: bytes, limits: Limits) -> Parsed:
    if words[1:2] == [b"cachedump"]:
        # Its answer has lines of another kind than STAT.
        return _administer(words, line, limits)
    return ClassicEnvelope(Stats(stats_group(words[1:])), words[0], False, line)


def _version(words: list[bytes], line: bytes, limits: Limits) -> Parsed:
    return ClassicEnvelope(Version(), words[0], False, line)


def _quit(words: list[bytes], line: bytes, limits: Limits) -> Parsed:
    return ClassicEnvelope(Quit(), words[0], False, line)


def _administer(words: list[bytes], line: bytes, limits: Limits) -> Parsed:
    noreply = words[0] == b"cache_memlimit" and words[-1] == NOREPLY
    kept = words[:-1] if noreply else words
    return ClassicEnvelope(AdminCommand(tuple(kept)), words[0], noreply, line)


ADMINISTRATIVE = (b"shutdown", b"cache_memlimit", b"slabs", b"lru", b"lru_crawler")

#: Command word -> what reads the rest of its line.
PARSERS: dict[bytes, Callable[[list[bytes], bytes, Limits], Parsed]] = {
    **dict.fromkeys((b"get", b"gets", b"gat", b"gats"), _get),
    **dict.fromkeys((*_STORES, *_CONCATENATIONS, b"cas"), _store),
    b"delete": _delete,
    **dict.fromkeys((b"incr", b"decr"), _count),
    b"touch": _touch,
    b"flush_all": _flush,
    b"verbosity": _verbosity,
    b"stats": _stats,
    b"version": _version,
    b"quit": _quit,
    **dict.fromkeys(ADMINISTRATIVE, _administer),
}


def unknown(words: list[bytes], line: bytes) -> ClassicEnvelope:
    """A line that no dialect knows."""
    return ClassicEnvelope(UnknownLine(line), words[0] if words else b"", False, line)


# --- writing


def verb_for(request: Request[object]) -> bytes:
    """The command word that says this request. Raises LocalProtocolError where classic has none."""
    verb: bytes | None = _VERBS.get(type(request))
    if isinstance(request, Get):
        verb = b"gets" if request.exptime is None else b"gats"
    elif isinstance(request, Set) and request.cas:
        verb = b"cas"
    elif isinstance(request, AdminCommand):
        verb = request.words[0] if request.words else None
    if verb is None:
        raise LocalProtocolError(f"{type(request).__name__} cannot be said in classic text")
    return verb


_VERBS: dict[type[Request[object]], bytes] = {
    Set: b"set",
    Add: b"add",
    Replace: b"replace",
    Append: b"append",
    Prepend: b"prepend",
    Delete: b"delete",
    Increment: b"incr",
    Decrement: b"decr",
    Touch: b"touch",
    Flush: b"flush_all",
    Verbosity: b"verbosity",
    Stats: b"stats",
    Version: b"version",
    Quit: b"quit",
    # Classic has no command that does nothing; VERSION is what clients send instead.
    Noop: b"version",
    SaslAuth: b"set",
}


def request_parts(request: Request[object], verb: bytes, noreply: bool = False) -> tuple[bytes, ...]:
    """The bytes of a request: the command line and, for storage, the data. Raises LocalProtocolError."""
    tail = b" " + NOREPLY + CRLF if noreply else CRLF
    if isinstance(request, STORES):
        return _store_parts(request, verb, tail)
    if isinstance(request, SaslAuth):
        return _auth_parts(request, tail)
    return (b" ".join((verb, *_arguments(request))) + tail,)


def _store_parts(request: Set | Add | Replace | Append | Prepend, verb: bytes, tail: bytes) -> tuple[bytes, ...]:
    key, value = request.key, request.value
    check_word("key", key)
    check_bytes("value", value, HUGE - 1)
    flags = exptime = b"0"
    if isinstance(request, WITH_FLAGS):
        check_number("flags", request.flags, 0, U32)
        flags, exptime = b"%d" % request.flags, exptime_word(request.exptime)
    check_number("cas", request.cas, CAS_ZERO, U64)
    if request.cas and verb != b"cas":
        raise LocalProtocolError(f"cas is {request.cas}, {verb.decode()} cannot compare one in classic text")
    cas = b" %d" % max(request.cas, 0) if verb == b"cas" else b""
    head = b"%b %b %b %b %d%b%b" % (verb, key, flags, exptime, len(value), cas, tail)
    return head, value, CRLF


def _auth_parts(request: SaslAuth, tail: bytes) -> tuple[bytes, ...]:
    """The ``set`` that authenticates: its data are user and password, which PLAIN separates by NUL."""
    pieces = request.data.split(b"\0")
    if request.mechanism != b"PLAIN" or len(pieces) != 3 or pieces[0]:
        raise LocalProtocolError("classic text authenticates with PLAIN only: NUL, user, NUL, password")
    _, user, password = pieces
    check_word("user", user)
    # memcached takes no more than a line's length of both.
    check_text("password", password, _MAX_PASSWORD)
    data = user + b" " + password
    return b"set auth 0 0 %d%b" % (len(data), tail), data, CRLF


def _arguments(request: Request[object]) -> tuple[bytes, ...]:
    match request:
        case Get(keys, exptime):
            check_keys(keys)
            return keys if exptime is None else (exptime_word(exptime), *keys)
        case Delete(key, cas):
            check_word("key", key)
            if cas:
                raise LocalProtocolError(f"cas is {cas}, delete cannot compare one in classic text")
            # As the last word this key could be taken for the option; the historic 0 is not.
            return (key, b"0") if key == NOREPLY else (key,)
        case Increment() | Decrement():
            return _count_arguments(request)
        case Touch(key, exptime):
            check_word("key", key)
            return key, exptime_word(exptime)
        case Flush(exptime):
            return () if exptime is None else (exptime_word(exptime),)
        case Verbosity(level):
            check_number("level", level, 0, U32)
            return (b"%d" % level,)
        case Stats(group):
            return _stats_arguments(group)
        case AdminCommand(words):
            return _administer_arguments(words)
    return ()


def _stats_arguments(group: bytes) -> tuple[bytes, ...]:
    check_text("group", group, MAX_KEY)
    words = words_of(group)
    if group != b" ".join(words):
        raise LocalProtocolError(f"group is {group!r}, its words must be separated by one space")
    if stats_group(words) != group:
        raise LocalProtocolError(f"group is {group!r}, which a text server reads as {stats_group(words)!r}")
    if words[:1] == [b"cachedump"]:
        # Its answer has lines of another kind than STAT.
        raise LocalProtocolError(f"group is {group!r}, in text this is an AdminCommand request")
    return (group,) if group else ()


def _administer_arguments(words: tuple[bytes, ...]) -> tuple[bytes, ...]:
    for word in words:
        check_word("word", word)
    if words[0] not in ADMINISTRATIVE and words[:2] != (b"stats", b"cachedump"):
        raise LocalProtocolError(f"command is {words[0]!r}, not an administrative one")
    if words[0] == b"cache_memlimit" and words[-1] == NOREPLY:
        raise LocalProtocolError("noreply is not a word of the request, its answer would be waited for")
    return words[1:]


def _count_arguments(request: Increment | Decrement) -> tuple[bytes, ...]:
    check_word("key", request.key)
    check_number("delta", request.delta, 0, U64)
    if request.exptime is not None or request.cas:
        raise LocalProtocolError("classic text can neither create a counter (exptime) nor compare a cas")
    return request.key, b"%d" % request.delta
