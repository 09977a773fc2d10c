"""Classic text replies, written in the light of their requests."""

from __future__ import annotations

from collections.abc import Callable, Collection

from memproto._wire.checks import U64, check_failure, check_number
from memproto.errors import LocalProtocolError
from memproto.model import (
    Add,
    AdminCommand,
    AdminReply,
    AnyReply,
    Append,
    Authenticated,
    ClassicEnvelope,
    Counter,
    Decrement,
    Delete,
    Deleted,
    Failure,
    Flush,
    Get,
    Increment,
    Item,
    Ok,
    Prepend,
    Quit,
    RawReply,
    Replace,
    Request,
    SaslAuth,
    Set,
    Stats,
    StatsReply,
    Status,
    Stored,
    Touch,
    Touched,
    UnknownLine,
    Values,
    Verbosity,
    Version,
    VersionReply,
)
from memproto.text._failures import error_line
from memproto.text._lines import CRLF, check_item, check_text, check_word

Parts = tuple[bytes, ...]

END = b"END"
_OF_CAS = (b"gets", b"gats")


# --- failures that have a word of their own


#: The requests to which NOT_STORED, EXISTS and NOT_FOUND are answers.
WORDED = (Set, Add, Replace, Append, Prepend, Delete, Increment, Decrement, Touch)


def _word_of(failure: Failure, request: Request[object]) -> bytes | None:
    """The word for a failure of this request, ``None`` if it takes an error line."""
    status = failure.status
    if isinstance(request, Stats) and status == Status.KEY_NOT_FOUND:
        return b"ERROR"
    if not isinstance(request, WORDED):
        return None
    if isinstance(request, Add | Replace) and not request.cas:
        # Both say only that they did not store; which it was follows from the command.
        expected = Status.KEY_EXISTS if isinstance(request, Add) else Status.KEY_NOT_FOUND
        if status == expected:
            return b"NOT_STORED"
    if status == Status.NOT_STORED:
        return b"NOT_STORED"
    if status == Status.KEY_EXISTS:
        return b"EXISTS"
    if status == Status.KEY_NOT_FOUND:
        return b"NOT_FOUND"
    return None


# The words that these use for AUTH_ERROR; to any other request they are a text like any.
OWN_AUTH_TEXTS = {
    Flush: Failure(Status.INVALID_ARGUMENTS, b"flush_all not allowed"),
    SaslAuth: Failure(Status.INVALID_ARGUMENTS, b"authentication failure"),
}


# --- writing


def _line(*words: bytes) -> Parts:
    return (b" ".join(words) + CRLF,)


def _write_values(reply: Values, envelope: ClassicEnvelope) -> Parts:
    with_cas = envelope.verb in _OF_CAS
    keys: Collection[bytes] = envelope.request.keys if isinstance(envelope.request, Get) else ()
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
        return _item_line(item, with_cas), item.value, b"\r\nEND\r\n"
    parts: list[bytes] = []
    for item in reply.items:
        parts += (_item_line(item, with_cas), item.value, CRLF)
    parts.append(END + CRLF)
    return tuple(parts)


def _item_line(item: Item, with_cas: bool) -> bytes:
    if with_cas:
        return b"VALUE %b %d %d %d\r\n" % (item.key, item.flags, len(item.value), item.cas)
    return b"VALUE %b %d %d\r\n" % (item.key, item.flags, len(item.value))


def _write_stored(reply: Stored, envelope: ClassicEnvelope) -> Parts:
    return (b"STORED\r\n",)


def _write_deleted(reply: Deleted, envelope: ClassicEnvelope) -> Parts:
    return (b"DELETED\r\n",)


def _write_counter(reply: Counter, envelope: ClassicEnvelope) -> Parts:
    check_number("counter", reply.value, 0, U64)
    return (b"%d\r\n" % reply.value,)


def _write_touched(reply: Touched, envelope: ClassicEnvelope) -> Parts:
    return (b"TOUCHED\r\n",)


def _write_ok(reply: Ok, envelope: ClassicEnvelope) -> Parts:
    return () if isinstance(envelope.request, Quit) else (b"OK\r\n",)


def _write_version(reply: VersionReply, envelope: ClassicEnvelope) -> Parts:
    check_text("version", reply.version)
    return _line(b"VERSION", reply.version)


def _write_stats(reply: StatsReply, envelope: ClassicEnvelope) -> Parts:
    request = envelope.request
    group = request.group if isinstance(request, Stats) else b""
    if not reply.stats and group in BARE_STATS:
        return _line(BARE_STATS[group])
    if group == b"detail dump":
        dump = b"".join(value for _, value in reply.stats) or END + CRLF
        if dump != END + CRLF and not dump.endswith(b"\r\nEND\r\n"):
            raise LocalProtocolError("the one value of this answer must be lines, of which END is the last")
        return (dump,)
    lines: list[bytes] = []
    for name, value in reply.stats:
        check_word("name of a statistic", name)
        check_text("value of a statistic", value)
        lines.append(b"STAT %b %b\r\n" % (name, value))
    return *lines, END + CRLF


# Groups that do something and tell nothing.
BARE_STATS = {b"reset": b"RESET", b"detail on": b"OK", b"detail off": b"OK"}


def _write_lines(reply: AdminReply, envelope: ClassicEnvelope) -> Parts:
    for line in reply.lines:
        check_text("line", line)
    words = envelope.request.words if isinstance(envelope.request, AdminCommand) else ()
    if words[:1] == (b"shutdown",) and not reply.lines:
        # A server that obeys says nothing and closes.
        return ()
    end = DUMPS.get(words[1:2])
    if len(reply.lines) != 1 and (end is None or reply.lines[-1:] != (end,)):
        due = "1 line is" if end is None else f"1 line, or lines of which {end!r} is the last, are"
        raise LocalProtocolError(f"lines are {len(reply.lines)}, {due} due")
    return tuple(line + CRLF for line in reply.lines)


# Commands that list items, by their second word, and the line that ends their answer.
DUMPS: dict[tuple[bytes, ...], bytes] = {
    (b"cachedump",): END,
    (b"metadump",): END,
    (b"mgdump",): b"EN",
}


def _write_authenticated(reply: Authenticated, envelope: ClassicEnvelope) -> Parts:
    return (b"STORED\r\n",)


def _write_raw(reply: RawReply, envelope: ClassicEnvelope) -> Parts:
    return (reply.value,)


_Writer = Callable[..., Parts]
_WRITERS: dict[type[Request[object]], tuple[type[AnyReply], _Writer]] = {
    Get: (Values, _write_values),
    Set: (Stored, _write_stored),
    Add: (Stored, _write_stored),
    Replace: (Stored, _write_stored),
    Append: (Stored, _write_stored),
    Prepend: (Stored, _write_stored),
    Delete: (Deleted, _write_deleted),
    Increment: (Counter, _write_counter),
    Decrement: (Counter, _write_counter),
    Touch: (Touched, _write_touched),
    Flush: (Ok, _write_ok),
    Verbosity: (Ok, _write_ok),
    Quit: (Ok, _write_ok),
    Version: (VersionReply, _write_version),
    Stats: (StatsReply, _write_stats),
    AdminCommand: (AdminReply, _write_lines),
    SaslAuth: (Authenticated, _write_authenticated),
    UnknownLine: (RawReply, _write_raw),
}


#: What an unknown group of statistics gets, and what stands for it in the line if it begins with "detail".
NO_STATISTICS = Failure(Status.KEY_NOT_FOUND)
DETAIL_USAGE = Failure(Status.INVALID_ARGUMENTS, b"usage: stats detail on|off|dump")


def reply_parts(reply: AnyReply, envelope: ClassicEnvelope) -> Parts:
    """The bytes that answer this request, in pieces; none for ``noreply`` and for Quit.

    Raises LocalProtocolError if the reply does not answer this kind of request or does not fit a line.
    """
    request = envelope.request
    if type(reply) is Failure:
        parts = _failure_parts(reply, request)
    else:
        kind, write = _WRITERS.get(type(request), (None, None))
        if kind is not type(reply) or write is None:
            raise LocalProtocolError(f"{type(reply).__name__} does not answer {type(request).__name__}")
        parts = write(reply, envelope)
    return () if envelope.noreply else parts


def part_of_reply(reply: AnyReply, envelope: ClassicEnvelope) -> Parts:
    """Some of the items of a get, or some of the lines of a dump, without the end. Raises LocalProtocolError."""
    if isinstance(reply, Values) and isinstance(envelope.request, Get):
        written = _write_values(reply, envelope)
        return (*written[:2], CRLF) if len(reply.items) == 1 else written[:-1]
    if isinstance(reply, AdminReply) and isinstance(envelope.request, AdminCommand):
        for line in reply.lines:
            check_text("line", line)
        return tuple(line + CRLF for line in reply.lines)
    raise LocalProtocolError(f"{type(reply).__name__} for {type(envelope.request).__name__} has no parts")


def _failure_parts(failure: Failure, request: Request[object]) -> Parts:
    check_failure(failure)
    if isinstance(request, Get) and failure.status == Status.KEY_NOT_FOUND:
        return (b"END\r\n",)
    if failure.text is None and failure.status == Status.AUTH_ERROR and isinstance(request, Flush | SaslAuth):
        return (error_line(OWN_AUTH_TEXTS[type(request)]),)
    if failure == NO_STATISTICS and isinstance(request, Stats) and request.group.startswith(b"detail"):
        # An unknown group like any other in binary; here memcached tells what there is.
        return (error_line(DETAIL_USAGE),)
    word = _word_of(failure, request)
    return (error_line(failure),) if word is None else _line(word)
