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
from memproto.model import AnyReply, AnyRequest, ClassicEnvelope, Failure, InvalidRequest, Item, Request, Status
from memproto.text._lines import (
    CAS_ZERO,
    CRLF,
    HUGE,
    Block,
    check_item,
    check_text,
    check_word,
    exptime_of,
    length_of,
    unsigned_of,
)
from memproto.text.classic._commands import (
    ANY_KEYS,
    BY_REQUEST,
    CACHEDUMP,
    CAS,
    COMMANDS,
    DETAIL_DUMP,
    DUMPS,
    END,
    NOREPLY,
    SHUTDOWN,
    STAT,
    STATS_WITHOUT_LINES,
    VALUE,
    VERSION,
    WITH_CAS,
    Command,
    failure_line,
    stats_group,
)

Parts: TypeAlias = tuple[bytes, ...]
Parsed: TypeAlias = ClassicEnvelope | Block
_Parser: TypeAlias = Callable[[Command, list[bytes], bytes, Limits], Parsed]
_Reader: TypeAlias = Callable[[list[bytes], bytes, Limits], Parsed]


# --- requests: the message of a line


def client_error(text: bytes | None, reason: str, request: AnyRequest | None = None) -> InvalidRequest:
    """A request refused with CLIENT_ERROR; ``None`` is "bad command line format"."""
    return InvalidRequest(Failure(Status.INVALID_ARGUMENTS, text), reason, request)


def unknown(words: list[bytes], line: bytes) -> ClassicEnvelope:
    """A line whose command no dialect knows."""
    return ClassicEnvelope(model.UnknownLine(line), words[0] if words else b"", False, line)


def _reader(command: Command, parser: _Parser) -> _Reader:
    fewest, most = command.fewest, command.most

    def read(words: list[bytes], line: bytes, limits: Limits) -> Parsed:
        if fewest <= len(words) <= most:
            return parser(command, words, line, limits)
        reason = f"{command.verb.decode()} with {len(words) - 1} words behind it"
        return ClassicEnvelope(InvalidRequest(Failure(Status.UNKNOWN_COMMAND), reason), command.verb, line=line)

    return read


def _long_key(key: bytes) -> InvalidRequest:
    return client_error(None, f"key is {len(key)} bytes, limit is {MAX_KEY}")


def _parse_store(command: Command, words: list[bytes], line: bytes, limits: Limits) -> Parsed:
    flags, exptime, length = unsigned_of(words[2], U32), exptime_of(words[3]), length_of(words[4])
    cas: int | None = 0
    if command.arguments[-1] is CAS:
        cas = unsigned_of(words[5], U64)
        cas = CAS_ZERO if cas == 0 else cas
    if flags is None or exptime is None or length is None or cas is None:
        return _refuse_store(command, words, line, limits)
    if len(words[1]) > MAX_KEY or length > limits.value:
        return _refuse_store(command, words, line, limits)
    noreply = words[-1] == NOREPLY

    def finish(data: bytes) -> ClassicEnvelope:
        return ClassicEnvelope(_stored(command, words[1], data, flags, exptime, cas), command.verb, noreply, line)

    return Block(length, finish)


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


def _refuse_store(command: Command, words: list[bytes], line: bytes, limits: Limits) -> Parsed:
    """The first fault of the line of a storage command; its data are swallowed if their length is known."""

    def envelope(refused: InvalidRequest) -> ClassicEnvelope:
        return ClassicEnvelope(refused, command.verb, words[-1] == NOREPLY, line)

    def swallow(length: int, refused: InvalidRequest) -> Block:
        def finish(_data: bytes) -> ClassicEnvelope:
            return envelope(refused)

        return Block(length, finish, finish(b""))

    flags, exptime, length = unsigned_of(words[2], U32), exptime_of(words[3]), length_of(words[4])
    cas = unsigned_of(words[5], U64) if command.arguments[-1] is CAS else 0
    if length is None:
        return envelope(client_error(None, f"length is {words[4]!r}, must be a number below {HUGE}"))
    if len(words[1]) > MAX_KEY:
        return swallow(length, _long_key(words[1]))
    if cas is None:
        # The one fault for which no release swallows the data.
        return envelope(client_error(None, f"cas is {words[5]!r}, must be 0 to 2**64 - 1"))
    if flags is None or exptime is None:
        name, word = ("flags", words[2]) if flags is None else ("exptime", words[3])
        return swallow(length, client_error(None, f"{name} is {word!r}, not a number that fits"))
    understood = _stored(command, words[1], b"", flags, exptime, cas or CAS_ZERO if CAS in command.arguments else 0)
    reason = f"value is {length} bytes, limit is {limits.value}"
    return swallow(length, InvalidRequest(Failure(Status.VALUE_TOO_LARGE), reason, understood))


def _parse_get(command: Command, words: list[bytes], line: bytes, limits: Limits) -> Parsed:
    exptime, keys = None, words[1:]
    if command.arguments[-1] is ANY_KEYS:
        exptime, keys = exptime_of(words[1]), words[2:]
        if exptime is None:
            return ClassicEnvelope(_not_exptime("exptime", words[1]), command.verb, line=line)
    for key in keys:
        if len(key) > MAX_KEY:
            return ClassicEnvelope(_long_key(key), command.verb, line=line)
    if len(keys) > limits.keys:
        refused = client_error(None, f"keys are {len(keys)}, limit is {limits.keys}")
        return ClassicEnvelope(refused, command.verb, line=line)
    return ClassicEnvelope(model.Get(tuple(keys), exptime), command.verb, False, line)


def _not_exptime(name: str, word: bytes) -> InvalidRequest:
    return client_error(b"invalid exptime argument", f"{name} is {word!r}, must be a number")


def _parse_delete(command: Command, words: list[bytes], line: bytes, limits: Limits) -> Parsed:
    key, behind = words[1], words[2:]
    request: AnyRequest = model.Delete(key)
    if behind and behind not in ([b"0"], [NOREPLY], [b"0", NOREPLY]):
        usage = b"bad command line format.  Usage: delete <key> [noreply]"
        request = client_error(usage, f"words behind the key are {behind!r}, only 0 and noreply may stand there")
    elif len(key) > MAX_KEY:
        request = _long_key(key)
    return ClassicEnvelope(request, command.verb, behind[-1:] == [NOREPLY], line)


def _parse_count(command: Command, words: list[bytes], line: bytes, limits: Limits) -> Parsed:
    delta = unsigned_of(words[2], U64)
    request: AnyRequest
    if len(words[1]) > MAX_KEY:
        request = _long_key(words[1])
    elif delta is None:
        request = client_error(b"invalid numeric delta argument", f"delta is {words[2]!r}, must be 0 to 2**64 - 1")
    else:
        request = (model.Increment if command.request is model.Increment else model.Decrement)(words[1], delta)
    return ClassicEnvelope(request, command.verb, words[-1] == NOREPLY, line)


def _parse_touch(command: Command, words: list[bytes], line: bytes, limits: Limits) -> Parsed:
    exptime = exptime_of(words[2])
    request: AnyRequest
    if len(words[1]) > MAX_KEY:
        request = _long_key(words[1])
    elif exptime is None:
        request = _not_exptime("exptime", words[2])
    else:
        request = model.Touch(words[1], exptime)
    return ClassicEnvelope(request, command.verb, words[-1] == NOREPLY, line)


def _parse_flush(command: Command, words: list[bytes], line: bytes, limits: Limits) -> Parsed:
    noreply = words[-1] == NOREPLY
    request: AnyRequest = model.Flush()
    if len(words) > 1 + noreply:
        exptime = exptime_of(words[1])
        request = model.Flush(exptime) if exptime is not None else _not_exptime("delay", words[1])
    return ClassicEnvelope(request, command.verb, noreply, line)


def _parse_verbosity(command: Command, words: list[bytes], line: bytes, limits: Limits) -> Parsed:
    level = unsigned_of(words[1], U32)
    request: AnyRequest = client_error(None, f"level is {words[1]!r}, must be a number")
    if level is not None:
        request = model.Verbosity(level)
    elif words[1:] == [NOREPLY]:
        # Without a level; 1.6.18 takes it, and says nothing.
        request = model.Verbosity(0)
    return ClassicEnvelope(request, command.verb, words[-1] == NOREPLY, line)


def _parse_stats(command: Command, words: list[bytes], line: bytes, limits: Limits) -> Parsed:
    if words[1:2] == [CACHEDUMP]:
        return _parse_admin(command, words, line, limits)
    return ClassicEnvelope(model.Stats(stats_group(words[1:])), command.verb, False, line)


def _parse_bare(command: Command, words: list[bytes], line: bytes, limits: Limits) -> Parsed:
    request = model.Quit() if command.request is model.Quit else model.Version()
    return ClassicEnvelope(request, command.verb, False, line)


def _parse_admin(command: Command, words: list[bytes], line: bytes, limits: Limits) -> Parsed:
    noreply = command.noreply and words[-1] == NOREPLY
    return ClassicEnvelope(model.AdminCommand(tuple(words[:-1] if noreply else words)), command.verb, noreply, line)


_PARSERS: Final[dict[type[Request[object]], _Parser]] = {
    model.Get: _parse_get,
    **dict.fromkeys((model.Set, model.Add, model.Replace, model.Append, model.Prepend), _parse_store),
    model.Delete: _parse_delete,
    **dict.fromkeys((model.Increment, model.Decrement), _parse_count),
    model.Touch: _parse_touch,
    model.Flush: _parse_flush,
    model.Verbosity: _parse_verbosity,
    model.Stats: _parse_stats,
    **dict.fromkeys((model.Version, model.Quit), _parse_bare),
    model.AdminCommand: _parse_admin,
}

#: Command word -> what reads the words of its line.
PARSERS: Final[dict[bytes, _Reader]] = {
    verb: _reader(command, _PARSERS[command.request]) for verb, command in COMMANDS.items()
}


# --- replies: the lines of a message

_END: Final = END + CRLF
_DATA_END: Final = CRLF + END + CRLF
_ITEM: Final = VALUE + b" %b %d %d\r\n"
_ITEM_WITH_CAS: Final = VALUE + b" %b %d %d %d\r\n"
_STATISTIC: Final = STAT + b" %b %b\r\n"


# The success of each request: its type, and its line if that is always the same.
_SUCCESSES: Final[dict[type[Request[object]], tuple[type[AnyReply], Parts]]] = {
    kind: (command.request.reply_types()[0], (command.success + CRLF,) if command.success else ())
    for kind, command in BY_REQUEST.items()
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
        parts = (failure_line(reply, request),)
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
        written = _values(reply, envelope)
        return (*written[:2], CRLF) if len(reply.items) == 1 else written[:-1]
    if isinstance(reply, model.AdminReply) and isinstance(envelope.request, model.AdminCommand):
        return _lines(reply)
    raise LocalProtocolError(f"{type(reply).__name__} for {type(envelope.request).__name__} has no parts")


def _content(reply: AnyReply, envelope: ClassicEnvelope) -> Parts:
    """The lines of a success that has content."""
    match reply:
        case model.Counter():
            check_number("counter", reply.value, 0, U64)
            return (b"%d\r\n" % reply.value,)
        case model.VersionReply():
            check_text("version", reply.version)
            return (VERSION + b" " + reply.version + CRLF,)
        case model.StatsReply():
            return _statistics(reply, envelope.request)
        case model.AdminReply():
            return _admin(reply, envelope.request)
        case model.RawReply():
            return (reply.value,)
    # The Ok of Quit: the server closes the connection.
    return ()


def _values(reply: model.Values, envelope: ClassicEnvelope) -> Parts:
    with_cas = envelope.verb in WITH_CAS
    keys: Collection[bytes] = envelope.request.keys if isinstance(envelope.request, model.Get) else ()
    if len(reply.items) > 1:
        # Of a tuple each answer would take as long as there are keys, and the client chooses how many.
        keys = frozenset(keys)
    for item in reply.items:
        if type(item.value) is not bytes or item.flags >> 32 or item.cas >> 64:
            check_item(item)
        if item.key not in keys:
            raise LocalProtocolError(f"key of an item is {item.key!r}, which was not asked for")
    if len(reply.items) == 1:
        item = reply.items[0]
        return _item_line(item, with_cas), item.value, _DATA_END
    parts: list[bytes] = []
    for item in reply.items:
        parts += (_item_line(item, with_cas), item.value, CRLF)
    parts.append(_END)
    return tuple(parts)


def _item_line(item: Item, with_cas: bool) -> bytes:
    if with_cas:
        return _ITEM_WITH_CAS % (item.key, item.flags, len(item.value), item.cas)
    return _ITEM % (item.key, item.flags, len(item.value))


def _statistics(reply: model.StatsReply, request: Request[object]) -> Parts:
    group = request.group if isinstance(request, model.Stats) else b""
    if not reply.stats and group in STATS_WITHOUT_LINES:
        return (STATS_WITHOUT_LINES[group] + CRLF,)
    if group == DETAIL_DUMP:
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
    lines = _lines(reply)
    words = request.words if isinstance(request, model.AdminCommand) else ()
    if words[:1] == (SHUTDOWN,) and not lines:
        # A server that obeys says nothing and closes.
        return ()
    end = DUMPS.get(words[1:2])
    if len(lines) != 1 and (end is None or reply.lines[-1:] != (end,)):
        expected = "1 line is" if end is None else f"1 line, or lines of which {end!r} is the last, are"
        raise LocalProtocolError(f"lines are {len(lines)}, {expected} due")
    return lines


def _lines(reply: model.AdminReply) -> Parts:
    for line in reply.lines:
        check_text("line", line)
    return tuple(line + CRLF for line in reply.lines)
