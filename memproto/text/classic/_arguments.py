"""Requests as words of a line: the command word of each, and its arguments, which must fit their places."""

from __future__ import annotations

from typing import Final, TypeAlias

from memproto import model
from memproto._wire.checks import U32, U64, check_bytes, check_number
from memproto.errors import LocalProtocolError
from memproto.limits import MAX_KEY
from memproto.model import Request
from memproto.text._lines import CAS_ZERO, HUGE, WITH_FLAGS, check_exptime, check_keys, check_text, check_word, words_of
from memproto.text.classic import _commands

_Store: TypeAlias = model.Set | model.Add | model.Replace | model.Append | model.Prepend

_MAX_PASSWORD: Final = 1024


def verb_for(request: Request[object]) -> bytes:
    """The command word of this request. Raises LocalProtocolError where classic text has none."""
    if isinstance(request, model.Get):
        return b"gets" if request.exptime is None else b"gats"
    if isinstance(request, model.Set) and request.cas:
        return _commands.CAS_VERB
    if isinstance(request, model.AdminCommand):
        verb = request.words[0] if request.words else b""
    else:
        command = _commands.BY_REQUEST.get(type(request))
        verb = b"" if command is None else command.verb
    if not verb:
        raise LocalProtocolError(f"{type(request).__name__} cannot be said in classic text")
    return verb


def check_request(request: Request[object]) -> None:
    """Raise LocalProtocolError, which names what does not fit, unless classic text can say this request."""
    arguments_of(request, verb_for(request))


def arguments_of(request: Request[object], verb: bytes) -> tuple[bytes, ...]:
    """What stands behind this command word. Raises LocalProtocolError, which names the field that does not fit."""
    match request:
        case model.Get(keys, exptime):
            check_keys(keys)
            if exptime is not None:
                return _exptime(exptime), *keys
            if not keys:
                raise LocalProtocolError("keys are 0, the least is 1")
            return keys
        case model.Set() | model.Add() | model.Replace() | model.Append() | model.Prepend():
            return _store_arguments(request, verb)
        case model.Delete(key, cas):
            check_word("key", key)
            if cas:
                raise LocalProtocolError(f"cas is {cas}, delete cannot compare one in classic text")
            # As the last word this key could be taken for the option; the historic 0 is not.
            return (key, b"0") if key == _commands.NOREPLY else (key,)
        case model.Increment() | model.Decrement():
            check_word("key", request.key)
            check_number("delta", request.delta, 0, U64)
            if request.exptime is not None or request.cas:
                raise LocalProtocolError("classic text can neither create a counter (exptime) nor compare a cas")
            return request.key, b"%d" % request.delta
        case model.Touch(key, exptime):
            check_word("key", key)
            return key, _exptime(exptime)
        case model.Flush(exptime) if exptime is not None:
            return (_exptime(exptime),)
        case model.Verbosity(level):
            check_number("level", level, 0, U32)
            return (b"%d" % level,)
        case model.Stats(group) if group:
            _check_group(group)
            return (group,)
        case model.AdminCommand(words):
            _check_admin(words)
            return words[1:]
        case model.ClusterConfig():
            return _commands.GET_CLUSTER
        case model.SaslAuth(mechanism=mechanism, data=data):
            _check_credentials(mechanism, data)
            # The key is not looked at. The data are user and password, without the NUL before them.
            return b"auth", b"0 0 %d" % (len(data) - 1)
    return ()


def _exptime(exptime: int) -> bytes:
    check_exptime(exptime)
    return b"%d" % exptime


def _store_arguments(request: _Store, verb: bytes) -> tuple[bytes, ...]:
    key, value, cas = request.key, request.value, request.cas
    check_word("key", key)
    check_bytes("value", value, HUGE - 1)
    flags = exptime = 0
    if isinstance(request, WITH_FLAGS):
        flags, exptime = request.flags, request.exptime
        check_number("flags", flags, 0, U32)
        check_exptime(exptime)
    check_number("cas", cas, CAS_ZERO, U64)
    words = key, b"%d %d %d" % (flags, exptime, len(value))
    if verb == _commands.CAS_VERB:
        return *words, b"%d" % max(cas, 0)
    if cas:
        raise LocalProtocolError(f"cas is {cas}, {verb.decode()} cannot compare one in classic text")
    return words


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
    if _commands.stats_group(words) != group:
        raise LocalProtocolError(f"group is {group!r}, which a text server reads as {_commands.stats_group(words)!r}")
    if words[:1] == [_commands.CACHEDUMP]:
        raise LocalProtocolError(f"group is {group!r}, in text this is an AdminCommand request")


def _check_admin(words: tuple[bytes, ...]) -> None:
    for word in words:
        check_word("word", word)
    if words[:2] != (_commands.STATS, _commands.CACHEDUMP) and (not words or words[0] not in _commands.ADMIN_VERBS):
        raise LocalProtocolError(f"command is {b' '.join(words[:1])!r}, not an administrative one")
    if _commands.COMMANDS[words[0]].noreply and words[-1] == _commands.NOREPLY:
        raise LocalProtocolError("noreply is not a word of the request, its answer would be waited for")
