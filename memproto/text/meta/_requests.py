"""Meta requests: command lines to messages, and messages to command lines."""

from __future__ import annotations

from collections.abc import Callable

from memproto._wire.checks import U32, U64, check_bytes, check_number
from memproto.errors import LocalProtocolError
from memproto.limits import MAX_KEY, Limits
from memproto.model import (
    Add,
    AnyRequest,
    Append,
    Decrement,
    Delete,
    Failure,
    Get,
    Increment,
    InvalidRequest,
    MetaDebug,
    MetaEnvelope,
    MetaOptions,
    Noop,
    Prepend,
    Replace,
    Request,
    Set,
    Status,
)
from memproto.text._lines import BAD_FORMAT, CRLF, HUGE, WITH_FLAGS, Block, exptime_word, length_of
from memproto.text.meta._flags import (
    COUNT_MODES,
    JOINT,
    STORE_MODES,
    FlagError,
    Numbers,
    compare_flag,
    compared,
    decoded_key,
    flags_of,
    key_word,
    needs_base64,
    numbers_of,
)

Parsed = MetaEnvelope | Block

_NO_OPTIONS = MetaOptions()


def _refused(text: bytes, reason: str, words: list[bytes], line: bytes) -> MetaEnvelope:
    refused = InvalidRequest(Failure(Status.INVALID_ARGUMENTS, None if text == BAD_FORMAT else text), reason)
    return MetaEnvelope(refused, words[0], (), line)


def _key(words: list[bytes], numbers: Numbers) -> bytes:
    """The key of a command. Raises FlagError."""
    word = words[1]
    if len(word) > MAX_KEY:
        raise FlagError(BAD_FORMAT, f"key is {len(word)} bytes, limit is {MAX_KEY}")
    if b"b" not in numbers:
        return word
    key = decoded_key(word)
    if key is None:
        text = JOINT.get(words[0], b"error decoding key")
        raise FlagError(text, f"key is {word!r}, not base64 with padding")
    return key


def _options(**given: bool | int | None) -> MetaOptions | None:
    options = MetaOptions(**given)  # type: ignore[arg-type]  # the names are fields of the right types
    return None if options == _NO_OPTIONS else options


def _simple(make: Callable[[bytes, Numbers], AnyRequest]) -> Callable[[list[bytes], bytes, Limits], Parsed]:
    """A parser for commands without data: ``make`` gives the request of a key and the flags."""

    def parse(words: list[bytes], line: bytes, limits: Limits) -> Parsed:
        if len(words) < 2:
            return _no_key(words, line)
        try:
            numbers = numbers_of(words[0], words[2:])
            request = make(_key(words, numbers), numbers)
        except FlagError as error:
            return _refused(error.text, error.reason, words, line)
        return MetaEnvelope(request, words[0], flags_of(words[2:]), line)

    return parse


def _no_key(words: list[bytes], line: bytes) -> MetaEnvelope:
    refused = InvalidRequest(Failure(Status.UNKNOWN_COMMAND), f"{words[0].decode()} without a key")
    return MetaEnvelope(refused, words[0], (), line)


_STORE_ASKS = frozenset((b"I", b"E", b"b", b"N"))
_COUNT_ASKS = frozenset((b"T", b"E", b"t", b"b"))
_GET_OPTIONS = frozenset((b"N", b"R", b"u", b"C", b"E", b"h", b"l", b"t", b"b"))


def _make_get(key: bytes, numbers: Numbers) -> AnyRequest:
    # Even a plain mg tells whether the item is stale, so that its options are never None.
    options = _NO_OPTIONS
    if not numbers.keys().isdisjoint(_GET_OPTIONS):
        options = MetaOptions(
            vivify=_vivify(numbers),
            recache=numbers.get(b"R"),
            bump=b"u" not in numbers,
            unless_cas=numbers.get(b"C", 0),
            new_cas=numbers.get(b"E", 0),
            details=not numbers.keys().isdisjoint((b"h", b"l", b"t")),
            base64=b"b" in numbers,
            ttl_first=_stand_so(numbers, b"t", b"T"),
        )
    return Get((key,), numbers.get(b"T"), options)


def _stand_so(numbers: Numbers, first: bytes, second: bytes) -> bool:
    """Whether both letters are there, in this order."""
    letters = list(numbers)
    return first in numbers and second in numbers and letters.index(first) < letters.index(second)


def _vivify(numbers: Numbers) -> int | None:
    """The expiry of an item that this creates: the later one of N and T."""
    return numbers[b"T"] if _stand_so(numbers, b"N", b"T") else numbers.get(b"N")


def _make_delete(key: bytes, numbers: Numbers) -> AnyRequest:
    options = None
    if b"I" in numbers or b"x" in numbers:
        options = _options(
            invalidate=b"I" in numbers,
            drop_value=b"x" in numbers,
            exptime=numbers.get(b"T"),
            new_cas=numbers.get(b"E", 0),
        )
    return Delete(key, compared(numbers), options)


def _make_count(key: bytes, numbers: Numbers) -> AnyRequest:
    mode = bytes([numbers.get(b"M", ord("I"))])
    kind = Increment if COUNT_MODES[mode] == "Increment" else Decrement
    options = None
    if not numbers.keys().isdisjoint(_COUNT_ASKS):
        options = _options(
            exptime=numbers.get(b"T"),
            new_cas=numbers.get(b"E", 0),
            details=b"t" in numbers,
            base64=b"b" in numbers,
            ttl_first=_stand_so(numbers, b"t", b"T"),
        )
    return kind(key, numbers.get(b"D", 1), numbers.get(b"J", 0), _vivify(numbers), numbers.get(b"C", 0), options)


def _make_store(key: bytes, data: bytes, numbers: Numbers) -> AnyRequest:
    mode = STORE_MODES[bytes([numbers.get(b"M", ord("S"))])]
    cas = compared(numbers)
    options = None
    if not numbers.keys().isdisjoint(_STORE_ASKS):
        options = _options(
            invalidate=b"I" in numbers, new_cas=numbers.get(b"E", 0), base64=b"b" in numbers, vivify=numbers.get(b"N")
        )
    flags, exptime = numbers.get(b"F", 0), numbers.get(b"T", 0)
    if mode == "Add":
        # An add compares no CAS in meta, even if one is given.
        return Add(key, data, flags, exptime, 0, options, unlink=True)
    if mode == "Append":
        # These and arithmetic take C0 for none.
        return Append(key, data, max(cas, 0), options, flags, unlink=True)
    if mode == "Prepend":
        return Prepend(key, data, max(cas, 0), options, flags, unlink=True)
    return (Replace if mode == "Replace" else Set)(key, data, flags, exptime, cas, options, strict=True, unlink=True)


def _store(words: list[bytes], line: bytes, limits: Limits) -> Parsed:
    if len(words) < 2:
        return _no_key(words, line)
    size = length_of(words[2]) if len(words) > 2 else None
    if size is None:
        return _refused(BAD_FORMAT, f"length is missing or not a number below {HUGE}", words, line)

    def finish(data: bytes) -> MetaEnvelope:
        return MetaEnvelope(_make_store(key, data, numbers), words[0], flags_of(words[3:]), line)

    try:
        numbers = numbers_of(words[0], words[3:])
        key = _key(words, numbers)
    except FlagError as error:
        return Block(size, finish, _refused(error.text, error.reason, words, line))
    if size > limits.value:
        reason = f"value is {size} bytes, limit is {limits.value}"
        # memcached drops the old item in every mode of ms, so this is told as a Set.
        refused = InvalidRequest(Failure(Status.VALUE_TOO_LARGE), reason, Set(key, b""))
        return Block(size, finish, MetaEnvelope(refused, words[0], flags_of(words[3:]), line))
    return Block(size, finish)


def _noop(words: list[bytes], line: bytes, limits: Limits) -> Parsed:
    return MetaEnvelope(Noop(), words[0], (), line)


def _debug(words: list[bytes], line: bytes, limits: Limits) -> Parsed:
    if len(words) < 2:
        return _refused(BAD_FORMAT, "me without a key", words, line)
    try:
        key = _key(words, dict.fromkeys(words[2:], 0))
    except FlagError as error:
        return _refused(BAD_FORMAT, error.reason, words, line)
    return MetaEnvelope(MetaDebug(key), words[0], tuple(words[2:]), line)


#: Command word -> what reads the rest of its line.
PARSERS: dict[bytes, Callable[[list[bytes], bytes, Limits], Parsed]] = {
    b"mg": _simple(_make_get),
    b"ms": _store,
    b"md": _simple(_make_delete),
    b"ma": _simple(_make_count),
    b"mn": _noop,
    b"me": _debug,
}


# --- writing

_STORE_LETTERS: dict[type[Request[object]], bytes] = {Add: b"ME", Append: b"MA", Prepend: b"MP", Replace: b"MR"}


def encode(request: Request[object], ask: tuple[bytes, ...] = ()) -> tuple[bytes, tuple[bytes, ...], tuple[bytes, ...]]:
    """The command, the flags and the bytes, in pieces, that say a request; ``ask`` are flags to be returned.

    Raises LocalProtocolError.
    """
    _check_options(request)
    match request:
        case Noop():
            return b"mn", (), (b"mn\r\n",)
        case MetaDebug(key):
            word, flags = _key_and_flags(key, ask)
            return b"me", flags, (b" ".join((b"me", word, *flags)) + CRLF,)
        case Get(keys, exptime, options):
            if len(keys) != 1:
                raise LocalProtocolError(f"keys are {len(keys)}, one meta command carries 1")
            encoded = (b"b",) if options is not None and options.base64 else ()
            return _line(b"mg", keys[0], (*_get_flags(exptime, options), *encoded, *ask))
        case Delete(key, cas, options):
            return _line(b"md", key, (*compare_flag(cas, zero=True), *_delete_flags(options), *ask))
        case Increment() | Decrement():
            return _line(b"ma", request.key, (*_count_flags(request), *ask))
        case Set() | Add() | Replace() | Append() | Prepend():
            return _store_line(request, ask)
    raise LocalProtocolError(f"{type(request).__name__} cannot be said in meta")


def envelope_of(request: Request[object], ask: tuple[bytes, ...] = ()) -> MetaEnvelope:
    """The envelope that a server makes of this request as :func:`encode` says it. Raises LocalProtocolError."""
    command, flags, parts = encode(request, ask)
    line = parts[0].removesuffix(CRLF)
    parsed = PARSERS[command](line.split(b" "), b"", Limits(value=HUGE))
    envelope = (parsed.refused or parsed.finish(parts[1])) if isinstance(parsed, Block) else parsed
    assert isinstance(envelope, MetaEnvelope)
    if isinstance(envelope.request, InvalidRequest):
        raise LocalProtocolError(envelope.request.reason)
    if not {10, 13, 0}.isdisjoint(line) or envelope.flags != flags:
        raise LocalProtocolError(f"flags are {flags!r}, not words of a line")
    return envelope


def many_tail(request: Get, ask: tuple[bytes, ...]) -> bytes | None:
    """What stands behind the key of each command of a get of many keys, ``None`` if they differ in that."""
    keys = request.keys
    if request.meta is not None or set(map(type, keys)) != {bytes} or needs_base64(b"".join(keys)):
        return None
    lengths = set(map(len, keys))
    if min(lengths) < 1 or max(lengths) > MAX_KEY:
        return None
    return b" ".join((b"", *_get_flags(request.exptime, None), *ask)) + CRLF


# Which meta options each request can say.
_STORE_OPTIONS = frozenset({"invalidate", "new_cas", "base64", "vivify"})
_COUNT_OPTIONS = frozenset({"exptime", "new_cas", "details", "base64", "ttl_first"})
_OPTIONS: dict[type[Request[object]], frozenset[str]] = {
    Get: frozenset({"vivify", "recache", "bump", "unless_cas", "new_cas", "base64", "details", "ttl_first"}),
    **dict.fromkeys((Set, Add, Replace, Append, Prepend), _STORE_OPTIONS),
    **dict.fromkeys((Increment, Decrement), _COUNT_OPTIONS),
    Delete: frozenset({"invalidate", "drop_value", "exptime", "new_cas", "base64"}),
}


def _check_options(request: Request[object]) -> None:
    """Raise LocalProtocolError if the request has meta options that its command cannot say."""
    options = getattr(request, "meta", None)
    if options is None or options == _NO_OPTIONS:
        return
    for name in MetaOptions.__match_args__:
        value = getattr(options, name)
        if value != getattr(_NO_OPTIONS, name) and name not in _OPTIONS[type(request)]:
            raise LocalProtocolError(f"{name} is {value!r}, {type(request).__name__} has no flag for it")
    stays = options.invalidate or options.drop_value
    if isinstance(request, Delete) and not stays and (options.exptime is not None or options.new_cas):
        raise LocalProtocolError("exptime and new_cas of a Delete need invalidate or drop_value")
    if options.ttl_first and not options.details:
        raise LocalProtocolError("ttl_first is for details, which are not asked")


def _key_and_flags(key: bytes, flags: tuple[bytes, ...]) -> tuple[bytes, tuple[bytes, ...]]:
    if b"b" not in flags and needs_base64(key):
        flags = (*flags, b"b")
    return key_word(key, b"b" in flags), flags


def _line(command: bytes, key: bytes, flags: tuple[bytes, ...]) -> tuple[bytes, tuple[bytes, ...], tuple[bytes, ...]]:
    word, flags = _key_and_flags(key, flags)
    return command, flags, (b" ".join((command, word, *flags)) + CRLF,)


def _store_line(
    request: Set | Add | Replace | Append | Prepend, ask: tuple[bytes, ...]
) -> tuple[bytes, tuple[bytes, ...], tuple[bytes, ...]]:
    value = request.value
    check_bytes("value", value, HUGE - 1)
    flags: tuple[bytes, ...] = ()
    mode = _STORE_LETTERS.get(type(request))
    if isinstance(request, Add | Replace) and request.cas:
        # In binary these are a compare-and-swap; in meta that is a plain set with C.
        mode = None
    if mode is not None:
        flags += (mode,)
    if isinstance(request, WITH_FLAGS):
        check_number("flags", request.flags, 0, U32)
        if request.flags:
            flags += (b"F%d" % request.flags,)
        if request.exptime:
            flags += (b"T" + exptime_word(request.exptime),)
    flags += compare_flag(request.cas, zero=not isinstance(request, Append | Prepend))
    options = request.meta
    if options is not None:
        flags += (*_new_cas(options), *((b"I",) if options.invalidate else ()))
        flags += (b"b",) if options.base64 else ()
        flags += () if options.vivify is None else (b"N" + exptime_word(options.vivify),)
    word, flags = _key_and_flags(request.key, (*flags, *ask))
    head = b" ".join((b"ms", word, b"%d" % len(value), *flags)) + CRLF
    return b"ms", flags, (head, value, CRLF)


def _new_cas(options: MetaOptions) -> tuple[bytes, ...]:
    check_number("new_cas", options.new_cas, 0, U64)
    return (b"E%d" % options.new_cas,) if options.new_cas else ()


def _get_flags(exptime: int | None, options: MetaOptions | None) -> tuple[bytes, ...]:
    touch = () if exptime is None else (b"T" + exptime_word(exptime),)
    if options is None:
        return touch
    flags: tuple[bytes, ...] = ()
    if options.recache is not None:
        flags += (b"R" + exptime_word(options.recache),)
    check_number("unless_cas", options.unless_cas, 0, U64)
    if options.unless_cas:
        flags += (b"C%d" % options.unless_cas,)
    flags += _new_cas(options)
    if not options.bump:
        flags += (b"u",)
    # The vivified item's own expiry comes behind the one for items that are there.
    made = () if options.vivify is None else (b"N" + exptime_word(options.vivify),)
    if options.details:
        told = (b"h", b"l", b"t")
        return (*flags, *told, *touch, *made) if options.ttl_first else (*flags, *touch, *made, *told)
    return (*flags, *touch, *made)


def _delete_flags(options: MetaOptions | None) -> tuple[bytes, ...]:
    if options is None:
        return ()
    flags = ((b"I",) if options.invalidate else ()) + ((b"x",) if options.drop_value else ())
    if options.exptime is not None:
        flags += (b"T" + exptime_word(options.exptime),)
    return flags + _new_cas(options) + ((b"b",) if options.base64 else ())


def _count_flags(request: Increment | Decrement) -> tuple[bytes, ...]:
    for name, number in (("delta", request.delta), ("initial", request.initial)):
        check_number(name, number, 0, U64)
    flags: tuple[bytes, ...] = (b"MI" if isinstance(request, Increment) else b"MD", b"D%d" % request.delta)
    made: tuple[bytes, ...] = ()
    if request.exptime is not None:
        made = (b"N" + exptime_word(request.exptime), b"J%d" % request.initial)
    elif request.initial:
        made = (b"J%d" % request.initial,)
    flags += compare_flag(request.cas)
    options = request.meta
    if options is not None:
        touch = () if options.exptime is None else (b"T" + exptime_word(options.exptime),)
        told = (b"t",) if options.details else ()
        # The expiry of a created item comes behind the one for items that are there.
        flags += (*told, *touch, *made) if options.ttl_first else (*touch, *made, *told)
        return flags + _new_cas(options) + ((b"b",) if options.base64 else ())
    return flags + made
