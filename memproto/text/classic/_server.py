"""The server's side of classic text: reads command lines, writes replies.

The rules for wrong lines are those of memcached 1.6. Where its releases differ, the newest is followed if it is the
safer one: the data of a storage command with a readable length are swallowed, whatever else is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final, TypeAlias

from memproto import model
from memproto._wire.checks import U32, U64, check_failure, check_number
from memproto.errors import LocalProtocolError
from memproto.limits import MAX_KEY, Limits
from memproto.model import AnyReply, AnyRequest, ClassicEnvelope, Failure, InvalidRequest, Request, Status
from memproto.text._lines import (
    CAS_ZERO,
    COUNTS,
    CRLF,
    HUGE,
    LF,
    Block,
    Parts,
    check_item,
    check_text,
    check_word,
    exptime_of,
    length_of,
    unsigned_of,
)
from memproto.text.classic import _commands
from memproto.text.classic._cluster import cluster_config_parts
from memproto.text.classic._commands import NOREPLY, Command

Parsed: TypeAlias = ClassicEnvelope | Block
_Parser: TypeAlias = Callable[[Command, list[bytes], Limits], AnyRequest]
_Reader: TypeAlias = Callable[[list[bytes], bytes, Limits], Parsed]


# --- requests: the message of a line


def _invalid(text: bytes | None, reason: str) -> InvalidRequest:
    """A request refused with CLIENT_ERROR; ``None`` is "bad command line format"."""
    return InvalidRequest(Failure(Status.INVALID_ARGUMENTS, text), reason)


def _long_key(key: bytes) -> InvalidRequest:
    return _invalid(None, f"key is {len(key)} bytes, limit is {MAX_KEY}")


def _bad_exptime(name: str, word: bytes) -> InvalidRequest:
    return _invalid(b"invalid exptime argument", f"{name} is {word!r}, must be a number")


def unknown(words: list[bytes], line: bytes) -> ClassicEnvelope:
    """A line whose command no dialect knows."""
    return ClassicEnvelope(model.UnknownLine(line), words[0] if words else b"", False, line)


def _reader(command: Command) -> _Reader:
    """What reads the words of a line that begins with this command."""
    verb, fewest, most = command.verb, command.fewest, command.most
    parser = _PARSERS.get(command.request)
    # The second word of a delete is the key, whatever it is.
    fewest_quiet = (3 if command.request is model.Delete else 2) if command.noreply else most + 1

    def read(words: list[bytes], line: bytes, limits: Limits) -> Parsed:
        if not fewest <= len(words) <= most:
            reason = f"{verb.decode()} with {len(words) - 1} words behind it"
            return ClassicEnvelope(InvalidRequest(Failure(Status.UNKNOWN_COMMAND), reason), verb, False, line)
        noreply = len(words) >= fewest_quiet and words[-1] == NOREPLY
        if parser is None:
            return _parse_store(command, words, noreply, line, limits)
        return ClassicEnvelope(parser(command, words, limits), verb, noreply, line)

    return read


def _parse_store(command: Command, words: list[bytes], noreply: bool, line: bytes, limits: Limits) -> Parsed:
    key, flags, exptime, length = words[1], unsigned_of(words[2], U32), exptime_of(words[3]), length_of(words[4])
    cas = _compared(command, words)
    if flags is None or exptime is None or length is None or cas is None:
        return _refuse_store(command, words, noreply, line, limits)
    if len(key) > MAX_KEY or length > limits.value:
        return _refuse_store(command, words, noreply, line, limits)

    def finish(data: bytes) -> ClassicEnvelope:
        return ClassicEnvelope(_stored(command, key, data, flags, exptime, cas), command.verb, noreply, line)

    return Block(length, finish)


def _compared(command: Command, words: list[bytes]) -> int | None:
    """The CAS of the line of a storage command, 0 if it has none; ``None`` if it is no number that fits."""
    if command.arguments[-1] is not _commands.CAS:
        return 0
    cas = unsigned_of(words[5], U64)
    return CAS_ZERO if cas == 0 else cas


def _stored(command: Command, key: bytes, data: bytes, flags: int, exptime: int, cas: int) -> AnyRequest:
    kind = command.request
    if kind is model.Set:
        # Unlike a binary SET with a CAS.
        if cas:
            return model.Set(key, data, flags, exptime, cas, strict=True, unlink=False)
        return model.Set(key, data, flags, exptime)
    if kind is model.Add:
        return model.Add(key, data, flags, exptime)
    if kind is model.Replace:
        return model.Replace(key, data, flags, exptime)
    return (model.Append if kind is model.Append else model.Prepend)(key, data, flags=flags)


def _refuse_store(command: Command, words: list[bytes], noreply: bool, line: bytes, limits: Limits) -> Parsed:
    """The first fault of the line of a storage command; its data are swallowed if their length is known."""
    key, flags, exptime, length = words[1], unsigned_of(words[2], U32), exptime_of(words[3]), length_of(words[4])
    cas = _compared(command, words)
    if length is None:
        refused = _invalid(None, f"length is {words[4]!r}, must be a number below {HUGE}")
    elif len(key) > MAX_KEY:
        refused = _long_key(key)
    elif cas is None:
        refused = _invalid(None, f"cas is {words[5]!r}, must be 0 to 2**64 - 1")
    elif flags is None or exptime is None:
        name, word = ("flags", words[2]) if flags is None else ("exptime", words[3])
        refused = _invalid(None, f"{name} is {word!r}, not a number that fits")
    else:
        understood = _stored(command, key, b"", flags, exptime, cas)
        reason = f"value is {length} bytes, limit is {limits.value}"
        refused = InvalidRequest(Failure(Status.VALUE_TOO_LARGE), reason, understood)

    def finish(_data: bytes) -> ClassicEnvelope:
        return ClassicEnvelope(refused, command.verb, noreply, line)

    # A wrong CAS is the one fault for which no release swallows the data.
    if length is None or (cas is None and len(key) <= MAX_KEY):
        return finish(b"")
    return Block(length, finish, finish(b""))


def _parse_get(command: Command, words: list[bytes], limits: Limits) -> AnyRequest:
    exptime, keys = None, words[1:]
    if command.arguments[-1] is _commands.ANY_KEYS:
        exptime, keys = exptime_of(words[1]), words[2:]
        if exptime is None:
            return _bad_exptime("exptime", words[1])
    for key in keys:
        if len(key) > MAX_KEY:
            return _long_key(key)
    if len(keys) > limits.keys:
        return _invalid(None, f"keys are {len(keys)}, limit is {limits.keys}")
    return model.Get(tuple(keys), exptime)


def _parse_delete(command: Command, words: list[bytes], limits: Limits) -> AnyRequest:
    key, behind = words[1], words[2:]
    if behind and behind not in ([b"0"], [NOREPLY], [b"0", NOREPLY]):
        usage = b"bad command line format.  Usage: delete <key> [noreply]"
        return _invalid(usage, f"words behind the key are {behind!r}, only 0 and noreply may stand there")
    return _long_key(key) if len(key) > MAX_KEY else model.Delete(key)


def _parse_count(command: Command, words: list[bytes], limits: Limits) -> AnyRequest:
    key, delta = words[1], unsigned_of(words[2], U64)
    if len(key) > MAX_KEY:
        return _long_key(key)
    if delta is None:
        return _invalid(b"invalid numeric delta argument", f"delta is {words[2]!r}, must be 0 to 2**64 - 1")
    return model.Increment(key, delta) if command.request is model.Increment else model.Decrement(key, delta)


def _parse_touch(command: Command, words: list[bytes], limits: Limits) -> AnyRequest:
    key, exptime = words[1], exptime_of(words[2])
    if len(key) > MAX_KEY:
        return _long_key(key)
    return _bad_exptime("exptime", words[2]) if exptime is None else model.Touch(key, exptime)


def _parse_flush(command: Command, words: list[bytes], limits: Limits) -> AnyRequest:
    if words[1:] in ([], [NOREPLY]):
        return model.Flush()
    exptime = exptime_of(words[1])
    return _bad_exptime("delay", words[1]) if exptime is None else model.Flush(exptime)


def _parse_verbosity(command: Command, words: list[bytes], limits: Limits) -> AnyRequest:
    # memcached 1.6.18 takes it without a level.
    level = 0 if words[1:] == [NOREPLY] else unsigned_of(words[1], U32)
    return _invalid(None, f"level is {words[1]!r}, must be a number") if level is None else model.Verbosity(level)


def _parse_stats(command: Command, words: list[bytes], limits: Limits) -> AnyRequest:
    if words[1:2] == [_commands.CACHEDUMP]:
        return _parse_admin(command, words, limits)
    return model.Stats(_commands.stats_group(words[1:]))


def _parse_bare(command: Command, words: list[bytes], limits: Limits) -> AnyRequest:
    return model.Quit() if command.request is model.Quit else model.Version()


def _parse_admin(command: Command, words: list[bytes], limits: Limits) -> AnyRequest:
    return model.AdminCommand(tuple(words[:-1] if command.noreply and words[-1] == NOREPLY else words))


def _parse_config(command: Command, words: list[bytes], limits: Limits) -> AnyRequest:
    is_known = tuple(words[1:]) == _commands.GET_CLUSTER
    return model.ClusterConfig() if is_known else model.UnknownLine(b" ".join(words))


# The storage commands are not here: data follow their lines.
_PARSERS: Final[dict[type[Request[object]], _Parser]] = {
    model.Get: _parse_get,
    model.Delete: _parse_delete,
    **dict.fromkeys(COUNTS, _parse_count),
    model.Touch: _parse_touch,
    model.Flush: _parse_flush,
    model.Verbosity: _parse_verbosity,
    model.Stats: _parse_stats,
    **dict.fromkeys((model.Version, model.Quit), _parse_bare),
    model.AdminCommand: _parse_admin,
    model.ClusterConfig: _parse_config,
}

#: Command word -> what reads the words of its line.
PARSERS: Final[dict[bytes, _Reader]] = {verb: _reader(command) for verb, command in _commands.COMMANDS.items()}


# --- replies: the lines of a message

_END: Final = _commands.END + CRLF
_DATA_END: Final = CRLF + _commands.END + CRLF
_ITEM: Final = _commands.VALUE + b" %b %d %d\r\n"
_ITEM_WITH_CAS: Final = _commands.VALUE + b" %b %d %d %d\r\n"
_STATISTIC: Final = _commands.STAT + b" %b %b\r\n"


# The success of each request: its type, and its line if that is always the same.
_SUCCESSES: Final[dict[type[Request[object]], tuple[type[AnyReply], Parts]]] = {
    kind: (command.request.reply_types()[0], (command.success + CRLF,) if command.success else ())
    for kind, command in _commands.BY_REQUEST.items()
    if kind is not model.Noop
}


def reply_parts(reply: AnyReply, envelope: ClassicEnvelope) -> Parts:
    """The bytes that answer this request, in pieces; none for ``noreply`` and for Quit.

    Raises LocalProtocolError if the reply does not answer this kind of request or does not fit a line.
    """
    request = envelope.request
    kind, parts = _SUCCESSES.get(type(request), (Failure, ()))
    if type(reply) is Failure:
        check_failure(reply)
        parts = (_commands.failure_line(reply, request),)
    elif type(reply) is not kind:
        raise LocalProtocolError(f"{type(reply).__name__} does not answer {type(request).__name__}")
    elif type(reply) is model.Values:
        parts = _values(reply, envelope)
    elif not parts:
        parts = _content(reply, envelope)
    return () if envelope.noreply else parts


def part_of_reply(reply: AnyReply, envelope: ClassicEnvelope) -> Parts:
    """Some of the items of a get, or some of the lines of a dump, without the end. Raises LocalProtocolError."""
    if isinstance(reply, model.Values) and isinstance(envelope.request, model.Get):
        parts = _values(reply, envelope)
        return (*parts[:2], CRLF) if len(reply.items) == 1 else parts[:-1]
    if isinstance(reply, model.AdminReply) and isinstance(envelope.request, model.AdminCommand):
        return _lines(reply, envelope.request.words)
    raise LocalProtocolError(f"{type(reply).__name__} for {type(envelope.request).__name__} has no parts")


def _content(reply: AnyReply, envelope: ClassicEnvelope) -> Parts:
    """The lines of a success that has content."""
    match reply:
        case model.Counter():
            check_number("counter", reply.value, 0, U64)
            return (b"%d\r\n" % reply.value,)
        case model.VersionReply():
            check_text("version", reply.version)
            return (_commands.VERSION + b" " + reply.version + CRLF,)
        case model.StatsReply():
            return _statistics(reply, envelope.request)
        case model.AdminReply():
            return _admin(reply, envelope.request)
        case model.RawReply():
            return (reply.value,)
        case model.ClusterConfigReply():
            return cluster_config_parts(reply)
    # The Ok of Quit: the server closes the connection.
    return ()


def _values(reply: model.Values, envelope: ClassicEnvelope) -> Parts:
    with_cas = envelope.verb in _commands.WITH_CAS
    keys: Collection[bytes] = envelope.request.keys if isinstance(envelope.request, model.Get) else ()
    if len(reply.items) > 1:
        # Of a tuple each answer would take as long as there are keys, and the client chooses how many.
        keys = frozenset(keys)
    parts: list[bytes] = []
    for item in reply.items:
        key, value, flags, cas = item.key, item.value, item.flags, item.cas
        if type(value) is not bytes or flags >> 32 or cas >> 64:
            check_item(item)
        if key not in keys:
            raise LocalProtocolError(f"key of an item is {key!r}, which was not asked for")
        size = len(value)
        line = _ITEM_WITH_CAS % (key, flags, size, cas) if with_cas else _ITEM % (key, flags, size)
        if len(reply.items) == 1:
            return line, value, _DATA_END
        parts += (line, value, CRLF)
    return *parts, _END


def _statistics(reply: model.StatsReply, request: Request[object]) -> Parts:
    group = request.group if isinstance(request, model.Stats) else b""
    if not reply.stats and group in _commands.STATS_WITHOUT_LINES:
        return (_commands.STATS_WITHOUT_LINES[group] + CRLF,)
    if group == _commands.DETAIL_DUMP:
        dump = b"".join(value for _, value in reply.stats) or _END
        if dump != _END and not dump.endswith(_DATA_END):
            raise LocalProtocolError("the one value of this answer must be lines, of which END is the last")
        return (dump,)
    lines: list[bytes] = []
    for name, value in reply.stats:
        check_word("name of a statistic", name)
        check_text("value of a statistic", value)
        lines.append(_STATISTIC % (name, value))
    return *lines, _END


def _admin(reply: model.AdminReply, request: Request[object]) -> Parts:
    words = request.words if isinstance(request, model.AdminCommand) else ()
    lines = _lines(reply, words)
    if words[:1] == (_commands.SHUTDOWN,) and not lines:
        # A server that obeys says nothing and closes.
        return ()
    end = _commands.DUMPS.get(words[1:2])
    if len(lines) != 1 and (end is None or reply.lines[-1:] != (end,)):
        expected = "1 line" if end is None else f"1 line, or lines of which {end!r} is the last"
        raise LocalProtocolError(f"lines are {len(lines)}, expected {expected}")
    return lines


def _lines(reply: model.AdminReply, words: tuple[bytes, ...]) -> Parts:
    for line in reply.lines:
        check_text("line", line)
    with_lf = _commands.LF_LINES.get(words[1:2])
    if with_lf is None:
        return tuple(line + CRLF for line in reply.lines)
    return tuple(line + (LF if line.startswith(with_lf) else CRLF) for line in reply.lines)
