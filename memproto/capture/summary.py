"""What a record says in a few words: command, keys, status, result. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

from memproto import (
    OPCODES,
    AdminReply,
    AnyReply,
    Authenticated,
    BinaryEnvelope,
    Challenge,
    ClassicEnvelope,
    Counter,
    Deleted,
    Dialect,
    Envelope,
    Failure,
    Get,
    Item,
    Mechanisms,
    MetaEnvelope,
    NoReply,
    ObservedExchange,
    Side,
    Silence,
    SkippedBytes,
    StatsReply,
    Status,
    Stored,
    Touched,
    UnmatchedReply,
    Values,
    VersionReply,
)
from memproto.capture.follower import Record
from memproto.model import Add, Append, Decrement, Delete, Increment, MetaDebug, Prepend, Replace, Set, Touch

__all__ = ["Summary", "opcode_name", "shown", "summarise"]

#: How many bytes of a key or text are shown in a line.
_SHOWN: Final = 60
_STATUSES: Final[dict[type[object], str]] = {
    Stored: "stored",
    Deleted: "deleted",
    Touched: "touched",
    Authenticated: "authenticated",
    Challenge: "challenge",
    Silence: "silent",
}


class Summary(NamedTuple):
    """One record in a few words.

    ``dialect`` is ``binary``, ``classic`` or ``meta``, empty if that is not known; ``command`` the name of the opcode,
    or the first word of the line. ``status`` is one word: ``hit``, ``miss``, ``stored``, ``deleted``, ``touched``,
    ``ok``, ``authenticated``, ``challenge``, ``silent`` (no reply was asked for, and there is none), ``not_seen``,
    ``closed``, ``unmatched`` (a reply without its request), ``skipped``, or the name of a failure such as
    ``key_exists``. ``result`` says more, for people.
    """

    dialect: str
    command: str
    keys: tuple[bytes, ...]
    status: str
    result: str


def shown(data: bytes) -> str:
    """Return bytes as text of one line: characters that cannot be shown are escaped, and a long text is cut."""
    text = data[:_SHOWN].decode("utf-8", "backslashreplace")
    text = "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
    return text if len(data) <= _SHOWN else f"{text}..."


def opcode_name(opcode: int) -> str:
    """Return the name of a binary opcode, its number if it has none."""
    spec = OPCODES.get(opcode)
    return f"0x{opcode:02x}" if spec is None else spec.name


def summarise(record: Record) -> Summary:
    """Return the record in a few words."""
    event = record.event
    if isinstance(event, ObservedExchange):
        envelope = event.envelope
        dialect = "" if envelope.dialect is None else envelope.dialect.value
        keys = _keys_of(envelope)
        status, result = _result_of(envelope, event.reply)
        if event.missing:
            result += f", {event.missing} bytes of values not captured"
        if not event.certain:
            result += ", not certain"
        return Summary(dialect, _command_of(envelope), keys, status, result)
    if isinstance(event, UnmatchedReply):
        dialect, command = "", ""
        if event.packet is not None:
            dialect, command = Dialect.BINARY.value, opcode_name(event.packet.opcode)
        _, result = _result_of(None, event.reply)
        return Summary(dialect, command, (), "unmatched", f"a reply without its request: {result}")
    return Summary("", "", (), "skipped", _skipped(event))


def _skipped(event: SkippedBytes) -> str:
    who = "client" if event.side is Side.CLIENT else "server"
    detail = f" ({event.detail})" if event.detail else ""
    return f"{len(event.skipped)} bytes of the {who} skipped: {event.reason.value}{detail}"


def _command_of(envelope: Envelope) -> str:
    if isinstance(envelope, BinaryEnvelope):
        return opcode_name(envelope.opcode)
    if isinstance(envelope, MetaEnvelope):
        return shown(envelope.command)
    verb = envelope.verb or envelope.line.split(b" ", 1)[0] if isinstance(envelope, ClassicEnvelope) else b""
    return shown(verb)


def _keys_of(envelope: Envelope) -> tuple[bytes, ...]:
    match envelope.request:
        case Get(keys=keys):
            return keys
        case (
            Set(key=key)
            | Add(key=key)
            | Replace(key=key)
            | Append(key=key)
            | Prepend(key=key)
            | Delete(key=key)
            | Increment(key=key)
            | Decrement(key=key)
            | Touch(key=key)
            | MetaDebug(key=key)
        ):
            return (key,)
        case _:
            return ()


def _result_of(envelope: Envelope | None, reply: AnyReply | Silence | NoReply) -> tuple[str, str]:
    """Return the status and the result of a reply; ``None`` is a request that was not seen."""
    if isinstance(reply, NoReply):
        return reply.name.lower(), reply.value
    if isinstance(reply, Values):
        return _values(envelope, reply.items)
    if isinstance(reply, Failure):
        return _failure(envelope, reply)
    if isinstance(reply, Silence) and envelope is not None and isinstance(envelope.request, Get):
        return "miss", "miss, not answered"
    status = _STATUSES.get(type(reply), "ok")
    return status, _words(reply, status)


def _values(envelope: Envelope | None, items: tuple[Item, ...]) -> tuple[str, str]:
    if not items:
        return "miss", "miss"
    size = sum(len(item.value) for item in items)
    asked = len(_keys_of(envelope)) if envelope is not None else len(items)
    counted = f" {len(items)} of {asked}" if asked > 1 else ""
    flags = f", flags {items[0].flags}" if len(items) == 1 and items[0].flags else ""
    return "hit", f"hit{counted}, {size} {'byte' if size == 1 else 'bytes'}{flags}"


def _failure(envelope: Envelope | None, failure: Failure) -> tuple[str, str]:
    status = failure.status
    if status == Status.KEY_NOT_FOUND and envelope is not None and _keys_of(envelope):
        return "miss", "miss"
    name = status.name.lower() if isinstance(status, Status) else f"status_{status}"
    return name, f"{name}: {shown(failure.reason)}" if failure.reason else name


def _words(reply: AnyReply | Silence, status: str) -> str:
    match reply:
        case Counter(value=value):
            return f"{value}"
        case VersionReply(version=version):
            return shown(version)
        case StatsReply(stats=stats):
            return f"{len(stats)} statistics"
        case AdminReply(lines=lines):
            return f"{len(lines)} lines" if len(lines) > 1 else shown(b"".join(lines))
        case Mechanisms(names=names):
            return shown(b" ".join(names))
        case Silence():
            return "no reply asked for"
        case _:
            return status
