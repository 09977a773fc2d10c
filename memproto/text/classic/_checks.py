"""Which requests classic text can say: the command word of each, and the checks that name a field that does not fit."""

from __future__ import annotations

from typing import Final

from memproto import model
from memproto._wire.checks import U32, U64, check_bytes, check_number
from memproto.errors import LocalProtocolError
from memproto.limits import MAX_KEY
from memproto.model import Request
from memproto.text._lines import (
    CAS_ZERO,
    HUGE,
    WITH_FLAGS,
    check_exptime,
    check_keys,
    check_text,
    check_word,
    words_of,
)
from memproto.text.classic._commands import (
    ADMIN_VERBS,
    BY_REQUEST,
    CACHEDUMP,
    CAS_VERB,
    COMMANDS,
    NOREPLY,
    STATS,
    stats_group,
)

_MAX_PASSWORD: Final = 1024


def verb_for(request: Request[object]) -> bytes:
    """The command word of this request. Raises LocalProtocolError where classic text has none."""
    if isinstance(request, model.Get):
        return b"gets" if request.exptime is None else b"gats"
    if isinstance(request, model.Set) and request.cas:
        return CAS_VERB
    if isinstance(request, model.AdminCommand):
        verb = request.words[0] if request.words else b""
    else:
        command = BY_REQUEST.get(type(request))
        verb = b"" if command is None else command.verb
    if not verb:
        raise LocalProtocolError(f"{type(request).__name__} cannot be said in classic text")
    return verb


def check_request(request: Request[object]) -> None:
    """Raise LocalProtocolError, which names what does not fit, unless classic text can say this request."""
    if isinstance(request, model.Get) and not request.keys and request.exptime is None:
        raise LocalProtocolError("keys are 0, the least is 1")
    check_arguments(request, verb_for(request))


def check_arguments(request: Request[object], verb: bytes) -> None:
    """Raise LocalProtocolError, which names the field, unless each field fits its place in the line of this command."""
    match request:
        case model.Get(keys, exptime):
            check_keys(keys)
            if exptime is not None:
                check_exptime(exptime)
        case model.Set() | model.Add() | model.Replace() | model.Append() | model.Prepend():
            _check_store(request, verb)
        case model.Delete(key, cas):
            check_word("key", key)
            if cas:
                raise LocalProtocolError(f"cas is {cas}, delete cannot compare one in classic text")
        case model.Increment() | model.Decrement():
            check_word("key", request.key)
            check_number("delta", request.delta, 0, U64)
            if request.exptime is not None or request.cas:
                raise LocalProtocolError("classic text can neither create a counter (exptime) nor compare a cas")
        case model.Touch(key, exptime):
            check_word("key", key)
            check_exptime(exptime)
        case model.Flush(exptime) if exptime is not None:
            check_exptime(exptime)
        case model.Verbosity(level):
            check_number("level", level, 0, U32)
        case model.Stats(group):
            _check_group(group)
        case model.AdminCommand(words):
            _check_admin(words)
        case model.SaslAuth(mechanism=mechanism, data=data):
            _check_credentials(mechanism, data)


def _check_store(request: model.Set | model.Add | model.Replace | model.Append | model.Prepend, verb: bytes) -> None:
    check_word("key", request.key)
    check_bytes("value", request.value, HUGE - 1)
    if isinstance(request, WITH_FLAGS):
        check_number("flags", request.flags, 0, U32)
        check_exptime(request.exptime)
    check_number("cas", request.cas, CAS_ZERO, U64)
    if request.cas and verb != CAS_VERB:
        raise LocalProtocolError(f"cas is {request.cas}, {verb.decode()} cannot compare one in classic text")


def _check_credentials(mechanism: bytes, data: bytes) -> None:
    pieces = data.split(b"\0")
    if mechanism != b"PLAIN" or len(pieces) != 3 or pieces[0]:
        raise LocalProtocolError("classic text authenticates with PLAIN only: NUL, user, NUL, password")
    check_word("user", pieces[1])
    # memcached takes no more than a line's length of both.
    check_text("password", pieces[2], _MAX_PASSWORD)


def _check_group(group: bytes) -> None:
    check_text("group", group, MAX_KEY)
    words = words_of(group)
    if group != b" ".join(words):
        raise LocalProtocolError(f"group is {group!r}, its words must be separated by one space")
    if stats_group(words) != group:
        raise LocalProtocolError(f"group is {group!r}, which a text server reads as {stats_group(words)!r}")
    if words[:1] == [CACHEDUMP]:
        raise LocalProtocolError(f"group is {group!r}, in text this is an AdminCommand request")


def _check_admin(words: tuple[bytes, ...]) -> None:
    for word in words:
        check_word("word", word)
    if words[:2] != (STATS, CACHEDUMP) and (not words or words[0] not in ADMIN_VERBS):
        raise LocalProtocolError(f"command is {b' '.join(words[:1])!r}, not an administrative one")
    if COMMANDS[words[0]].noreply and words[-1] == NOREPLY:
        raise LocalProtocolError("noreply is not a word of the request, its answer would be waited for")
