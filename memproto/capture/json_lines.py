"""A record as an object for JSON. ``docs/captured-traffic.md`` has the schema. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from inspect import signature
from typing import Final, TypeAlias

from memproto import Envelope, Message, NoReply, ObservedExchange, Silence, SkippedBytes
from memproto.capture.follower import Record
from memproto.capture.summary import Summary
from memproto.capture.values import ValueReader

__all__ = ["Json", "record_object", "to_json"]

#: What JSON can say.
Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


# Fields of requests that are not on the wire.
_NOT_SENT: Final = frozenset({"strict", "unlink"})
# The names of the fields of each class of messages.
_NAMES: Final[dict[type, tuple[str, ...]]] = {}


def to_json(value: object) -> Json:
    """Return a value for JSON: a message as an object with its ``kind``, bytes as text or as base64."""
    if isinstance(value, bytes):
        return _bytes(value)
    if isinstance(value, Message):
        return {"kind": type(value).__name__, **_fields(value)}
    if isinstance(value, tuple | list):
        return [to_json(each) for each in value]
    if isinstance(value, Mapping):
        return {str(key): to_json(each) for key, each in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


def _bytes(data: bytes) -> Json:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode("ascii")}


def _fields(message: Message) -> dict[str, Json]:
    kind = type(message)
    names = _NAMES.get(kind)
    if names is None:
        names = _NAMES[kind] = tuple(name for name in signature(kind).parameters if name not in _NOT_SENT)
    return {name: to_json(getattr(message, name)) for name in names}


def record_object(record: Record, summary: Summary, reader: ValueReader | None) -> dict[str, Json]:
    """Return the object of a record. ``reader`` is for ``values``, what the values mean by a convention."""
    event = record.event
    ends = record.ends
    found: dict[str, Json] = {
        "type": "exchange" if isinstance(event, ObservedExchange) else summary.status,
        "time": record.time,
        "latency": record.latency,
        "client": None if ends is None else ends.client,
        "server": None if ends is None else ends.server,
        "transport": None if ends is None else ends.transport,
        "dialect": summary.dialect or None,
        "command": summary.command or None,
        "keys": to_json(summary.keys),
        "status": summary.status,
        "result": summary.result,
        "sent": record.sent,
        "received": record.received,
    }
    if isinstance(event, SkippedBytes):
        found |= {"side": event.side.value, "reason": event.reason.name.lower()}
        return found
    if isinstance(event, ObservedExchange):
        found |= {
            "missing": event.missing,
            "certain": event.certain,
            "request": to_json(event.envelope.request),
            "envelope": _envelope(event.envelope),
        }
    found["reply"] = None if isinstance(event.reply, NoReply | Silence) else to_json(event.reply)
    if reader is not None:
        found["values"] = [to_json(value) for value in reader.values_of(event)]
    return found


def _envelope(envelope: Envelope) -> Json:
    fields = _fields(envelope)
    del fields["request"]
    return fields
