"""Requests as flags: which flags say which fields of a request, both ways."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Final, TypeAlias

from memproto import model
from memproto._wire.checks import U32, U64, check_bytes, check_number
from memproto.errors import LocalProtocolError
from memproto.model import MetaEnvelope, Request
from memproto.text._lines import BREAK, CAS_ZERO, COUNTS, HUGE, OF_ONE_KEY, STORES, WITH_FLAGS, check_exptime
from memproto.text.meta import _flags
from memproto.text.meta._flags import COMMANDS, FLAGS_OF, FlagError, ParsedFlags, Token, flag_for, parse_flags
from memproto.text.meta._keys import key_word, needs_base64

_Store: TypeAlias = model.Set | model.Add | model.Replace | model.Append | model.Prepend
_Count: TypeAlias = model.Increment | model.Decrement
_ItemRequest: TypeAlias = model.Get | _Store | model.Delete | _Count
#: The requests that meta can say.
MetaRequest: TypeAlias = _ItemRequest | model.Noop | model.MetaDebug

WITH_OPTIONS: Final = (model.Get, *OF_ONE_KEY)
_WITH_KEY: Final = (*OF_ONE_KEY, model.Touch, model.MetaDebug)
_NO_OPTIONS: Final = model.MetaOptions()


def key_of(request: Request[object]) -> bytes:
    """The key of a request that is one meta command; empty if it has none."""
    if isinstance(request, model.Get):
        return request.keys[0] if request.keys else b""
    return request.key if isinstance(request, _WITH_KEY) else b""


# --- from flags to a request


def request_of(command: bytes, key: bytes, value: bytes, flags: ParsedFlags) -> _ItemRequest:
    """The request that a command with these flags is; only ms has a value."""
    if command == b"mg":
        # The reply to a plain mg, too, says whether the item is stale, so its options are never None.
        return model.Get((key,), flags.fields.get("exptime"), _options(flags) or _NO_OPTIONS)
    if command == b"ms":
        return _store_of(key, value, flags)
    return _delete_of(key, flags) if command == b"md" else _count_of(key, flags)


def _options(flags: ParsedFlags) -> model.MetaOptions | None:
    if not flags.options:
        return None
    options = model.MetaOptions(**flags.options)  # type: ignore[arg-type]  # the table has fields of the right types
    return None if options == _NO_OPTIONS else options


def _compared(flags: ParsedFlags) -> int:
    """The CAS to compare with, of a command for which C0 is a comparison too."""
    return (flags.fields["cas"] or CAS_ZERO) if "cas" in flags.fields else 0


def _store_of(key: bytes, value: bytes, flags: ParsedFlags) -> _Store:
    kind = _flags.STORE_MODES[flags.mode or b"S"]
    fields, options = flags.fields, _options(flags)
    client_flags, exptime = fields.get("flags", 0), fields.get("exptime", 0)
    if kind is model.Append or kind is model.Prepend:
        # These and arithmetic take C0 for no comparison.
        return kind(key, value, fields.get("cas", 0), options, client_flags, unlink=True)
    if kind is model.Add:
        # An add compares no CAS in meta, even if one is given.
        return model.Add(key, value, client_flags, exptime, 0, options, unlink=True)
    cas = _compared(flags)
    if kind is model.Replace:
        return model.Replace(key, value, client_flags, exptime, cas, options, strict=True, unlink=True)
    return model.Set(key, value, client_flags, exptime, cas, options, strict=True, unlink=True)


def _delete_of(key: bytes, flags: ParsedFlags) -> model.Delete:
    # How the key was spelt makes no difference, and only an item that stays has an expiry and a CAS.
    flags.options.pop("base64", None)
    stays = "invalidate" in flags.options or "drop_value" in flags.options
    return model.Delete(key, _compared(flags), _options(flags) if stays else None)


def _count_of(key: bytes, flags: ParsedFlags) -> _Count:
    fields = flags.fields
    delta, initial, exptime = fields.get("delta", 1), fields.get("initial", 0), fields.get("exptime")
    return _flags.COUNT_MODES[flags.mode or b"I"](key, delta, initial, exptime, fields.get("cas", 0), _options(flags))


# --- from a request to flags

# The options, in the order of the class: what gives the value of each, and the value that says nothing.
_OPTIONS: Final[dict[str, Callable[[model.MetaOptions], bool | int | None]]] = {
    name: attrgetter(name) for name in model.MetaOptions.__match_args__
}
_DEFAULTS: Final[dict[str, object]] = {name: of(_NO_OPTIONS) for name, of in _OPTIONS.items()}

# Command -> the letters of its flags in the order of the table, and those that ask for ``details``.
_ORDER: Final = {command: b"".join(table) for command, table in FLAGS_OF.items()}
_DETAILS: Final = {
    command: b"".join(letter for letter, flag in table.items() if flag.option == "details")
    for command, table in FLAGS_OF.items()
}

# Command -> the options that it has flags for; ``ttl_first`` is the order of these.
_OPTIONS_OF: Final = {
    command: {flag.option for flag in table.values()} | ({"ttl_first"} if _DETAILS[command] else set())
    for command, table in FLAGS_OF.items()
}

# The templates of the flags for fields, each with the space before it.
_GET_EXPTIME: Final = flag_for(b"mg", "exptime")
_FLAGS, _EXPTIME, _STORE_CAS = (flag_for(b"ms", field) for field in ("flags", "exptime", "cas"))
_DELETE_CAS: Final = flag_for(b"md", "cas")
_DELTA, _INITIAL, _CREATE, _COUNT_CAS = (flag_for(b"ma", field) for field in ("delta", "initial", "exptime", "cas"))
_MODE: Final[dict[type[Request[object]], bytes]] = {
    **{kind: b" M" + mode for mode, kind in reversed((*_flags.STORE_MODES.items(), *_flags.COUNT_MODES.items()))},
    # Set is meant where there is no mode.
    model.Set: b"",
}


def flags_of(request: Request[object]) -> bytes:
    """The flags that say the fields of a request, each with the space before it; those of a get are for each key.

    A touch is sent as a get. Raises LocalProtocolError.
    """
    if isinstance(request, model.Touch):
        return _get_flags(request.exptime)
    if not isinstance(request, WITH_OPTIONS):
        return b""
    options = request.meta
    if options is None or options == _NO_OPTIONS:
        return _flags_for_fields(request)
    _check_options(request, options)
    return _with_options(COMMANDS[type(request)], options, _flags_for_fields(request))


def _flags_for_fields(request: _ItemRequest) -> bytes:
    if isinstance(request, model.Get):
        return _get_flags(request.exptime)
    if isinstance(request, model.Delete):
        check_number("cas", request.cas, CAS_ZERO, U64)
        return _DELETE_CAS % max(request.cas, 0) if request.cas else b""
    if isinstance(request, COUNTS):
        return _count_flags(request)
    check_bytes("value", request.value, HUGE - 1)
    if isinstance(request, WITH_FLAGS):
        check_number("flags", request.flags, 0, U32)
        check_exptime(request.exptime)
    check_number("cas", request.cas, CAS_ZERO if isinstance(request, WITH_FLAGS) else 0, U64)
    return store_flags(request)


def _get_flags(exptime: int | None) -> bytes:
    if exptime is None:
        return b""
    check_exptime(exptime)
    return _GET_EXPTIME % exptime


def store_flags(request: _Store) -> bytes:
    """The flags for the fields of a store, which are in range."""
    flags, cas = _MODE[type(request)], request.cas
    if isinstance(request, WITH_FLAGS):
        if cas:
            # An add with a CAS is a compare-and-swap in binary; in meta that is a plain set with C.
            flags = b""
        client_flags, exptime = request.flags, request.exptime
        if client_flags:
            flags += _FLAGS % client_flags
        if exptime:
            flags += _EXPTIME % exptime
    return flags + _STORE_CAS % max(cas, 0) if cas else flags


def _count_flags(request: _Count) -> bytes:
    delta, initial, exptime, cas = request.delta, request.initial, request.exptime, request.cas
    check_number("delta", delta, 0, U64)
    check_number("initial", initial, 0, U64)
    if exptime is not None:
        check_exptime(exptime)
    check_number("cas", cas, 0, U64)
    flags = _MODE[type(request)] + _DELTA % delta
    if cas:
        flags += _COUNT_CAS % cas
    if exptime is not None:
        flags += _CREATE % exptime
    if exptime is not None or initial:
        flags += _INITIAL % initial
    return flags


def _with_options(command: bytes, options: model.MetaOptions, flags: bytes) -> bytes:
    """These flags and those that say the meta options, in the order of the table."""
    words = flags.split()
    for flag in FLAGS_OF[command].values():
        value = _OPTIONS[flag.option](options) if flag.option else None
        if value is None or value == _DEFAULTS[flag.option]:
            continue
        if flag.token is Token.NONE:
            words.append(flag.letter)
            continue
        if flag.token is Token.NUMBER32:
            check_exptime(value)
        else:
            check_number(flag.option, value, 0, U64)
        words.append(flag.letter + b"%d" % value)
    order = _ORDER[command]
    if options.ttl_first:
        details = _DETAILS[command]
        order = order.translate(None, details).replace(b"T", details + b"T")
    return b"".join([b" " + word for word in sorted(words, key=lambda word: order.index(word[0]))])


def _check_options(request: _ItemRequest, options: model.MetaOptions) -> None:
    """Raise LocalProtocolError if the command of this request has no flags for these options."""
    command = COMMANDS[type(request)]
    for name, of in _OPTIONS.items():
        value = of(options)
        if value != _DEFAULTS[name] and name not in _OPTIONS_OF[command]:
            raise LocalProtocolError(f"{name} is {value!r}, {type(request).__name__} has no flag for it")
    stays = options.invalidate or options.drop_value
    if isinstance(request, model.Delete) and not stays and (options.exptime is not None or options.new_cas):
        raise LocalProtocolError("exptime and new_cas of a Delete need invalidate or drop_value")
    if options.ttl_first and not options.details:
        raise LocalProtocolError("ttl_first is for details, which are not asked")


# --- whole requests without bytes


def envelope_of(request: Request[object], asked: tuple[bytes, ...] = ()) -> MetaEnvelope:
    """The envelope that a server makes of this request; ``asked`` are flags to be returned.

    Raises LocalProtocolError if meta cannot say the request, naming the reason.
    """
    if type(request) not in COMMANDS:
        raise LocalProtocolError(f"{type(request).__name__} cannot be said in meta")
    flags = (*flags_of(request).split(), *asked)
    if isinstance(request, model.Noop):
        return MetaEnvelope(request, COMMANDS[model.Noop])
    if isinstance(request, model.Get) and len(request.keys) != 1:
        raise LocalProtocolError(f"keys are {len(request.keys)}, one meta command carries 1")
    command, key = COMMANDS[type(request)], key_of(request)
    if _flags.BASE64 not in flags and needs_base64(key):
        flags = (*flags, _flags.BASE64)
    key_word(key, _flags.BASE64 in flags)
    if any(not word or BREAK(word) for word in flags):
        raise LocalProtocolError(f"flags are {flags!r}, not words of a line")
    if isinstance(request, model.MetaDebug):
        return MetaEnvelope(request, command, flags)
    try:
        parsed = parse_flags(command, list(flags))
    except FlagError as error:
        raise LocalProtocolError(error.reason) from None
    if parsed.words != flags:
        raise LocalProtocolError(f"flags are {flags!r}, not words of a line")
    value = request.value if isinstance(request, STORES) else b""
    return MetaEnvelope(request_of(command, key, value, parsed), command, flags)
