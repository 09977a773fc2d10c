"""A record field by field, in the words of the library's declarations: request and reply, binary and text. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from memproto import (
    OPCODES,
    AnyReply,
    Decrement,
    Envelope,
    Increment,
    Layout,
    Magic,
    Message,
    NoReply,
    ObservedExchange,
    OpcodeSpec,
    Packet,
    ProtocolError,
    Quiet,
    Silence,
    SkippedBytes,
    Status,
)
from memproto.binary import COUNTER, HEADER, decode_packet, opcode_for
from memproto.capture.follower import Record
from memproto.capture.rows import Row, bytes_row, format_rows
from memproto.capture.text_fields import text_reply_rows, text_request_rows

__all__ = ["explain_packet", "format_fields", "format_short"]

_MAGICS: Final = {bytes([magic]) for magic in (Magic.REQUEST, Magic.RESPONSE)}
# A message whose text is longer is not shown again behind its fields.
_MESSAGE_SHOWN: Final = 400
# The success of these carries a number of this layout as its value.
_COUNTING: Final = frozenset(
    opcode_for(request, quiet) for request in (Increment(b"key"), Decrement(b"key")) for quiet in (False, True)
)


def format_fields(record: Record) -> str:
    """Return all fields of the messages of a record that keeps its bytes, as lines."""
    event = record.event
    if isinstance(event, SkippedBytes):
        skipped = record.request or record.reply
        return "\n".join(["skipped", *format_rows([bytes_row("bytes", skipped, event.reason.value)])])
    lines: list[str] = []
    envelope = None
    if isinstance(event, ObservedExchange):
        envelope = event.envelope
        lines += _block(f"request, {record.sent} bytes", record.request, envelope, None)
        lines += _said(envelope.request)
    if isinstance(event.reply, NoReply):
        lines.append(f"no reply: {event.reply.value}")
    elif isinstance(event.reply, Silence):
        lines.append("no reply: the request asked for none, or for failures only")
    else:
        lines += _block(f"reply, {record.received} bytes", record.reply, envelope, event.reply)
        lines += _said(event.reply)
    if isinstance(event, ObservedExchange) and not event.certain:
        lines.append("not certain: bytes are missing, so that the reply may belong to another request")
    return "\n".join(lines)


def format_short(record: Record) -> str:
    """Return the binary packets of a record that keeps its bytes, a line each: what is in them, without zeros."""
    lines: list[str] = []
    for sign, data in (">", record.request), ("<", record.reply):
        at = 0
        while (taken := decode_packet(data, at)) is not None:
            packet, at = taken
            lines.append(f"{sign} {_short(packet)}")
    return "\n".join(lines)


def _short(packet: Packet) -> str:
    spec = OPCODES.get(packet.opcode) or OpcodeSpec(packet.opcode, "unknown opcode")
    words = [f"{'request ' if packet.is_request else 'response'} {spec.name}"]
    if not packet.is_request and packet.status:
        status = packet.status
        words.append(status.name if isinstance(status, Status) else f"status {status}")
    words += [f"{name} {number}" for name, number in (("opaque", packet.opaque), ("cas", packet.cas)) if number]
    words += [f"{name} {value}" for _, name, value, _ in _body(packet, spec)]
    return ", ".join(words)


def _said(message: Message) -> list[str]:
    text = repr(message)
    return [f"  = {text if len(text) <= _MESSAGE_SHOWN else text[:_MESSAGE_SHOWN] + '...'}"]


def _block(title: str, data: bytes, envelope: Envelope | None, reply: AnyReply | None) -> list[str]:
    if data[:1] in _MAGICS:
        return _packets(data)
    if reply is None:
        return [title, *format_rows(text_request_rows(data))]
    return [title, *format_rows(text_reply_rows(data, envelope, reply))]


def _packets(data: bytes) -> list[str]:
    """Return the lines of all packets; of a packet that lost bytes have destroyed, its bytes."""
    lines: list[str] = []
    at = 0
    while at < len(data):
        try:
            taken = decode_packet(data, at)
        except ProtocolError:
            taken = None
        if taken is None:
            return [*lines, *format_rows([bytes_row("bytes", data[at:], "not a whole packet")])]
        packet, end = taken
        lines += explain_packet(packet, data[at:end])
        at = end
    return lines


def explain_packet(packet: Packet, data: bytes) -> list[str]:
    """Return the lines of one packet, whose bytes are ``data``: a headline, and a line per field."""
    spec = OPCODES.get(packet.opcode) or OpcodeSpec(packet.opcode, "unknown opcode")
    side = "request" if packet.is_request else "response"
    return [
        f"{side} {spec.name}, {len(data)} bytes",
        *format_rows([*_header(packet, spec, data), *_body(packet, spec)]),
    ]


def _header(packet: Packet, spec: OpcodeSpec, data: bytes) -> Iterator[Row]:
    known = {"magic": Magic(packet.magic).name, "opcode": spec.name}
    if spec.quiet is not Quiet.NOTHING:
        known["opcode"] += f": {spec.quiet.value}"
    if not packet.is_request:
        status = packet.status
        known["vbucket_or_status"] = (
            f"status {status.name}" if isinstance(status, Status) else "status of another server"
        )
    for hexed, name, value, meaning in _fields(HEADER, data[: HEADER.size]):
        yield hexed, name, value, known.get(name, meaning)


def _body(packet: Packet, spec: OpcodeSpec) -> Iterator[Row]:
    body = spec.request if packet.is_request else spec.reply
    failed = not packet.is_request and packet.status != Status.SUCCESS
    if packet.extras:
        layout = None if failed else body.extras_of(len(packet.extras))
        if layout is None:
            yield bytes_row("extras", packet.extras, "of no declared layout")
        else:
            yield from _fields(layout, packet.extras)
    if packet.key:
        yield bytes_row("key", packet.key)
    if packet.value:
        if failed:
            yield bytes_row("value", packet.value, "the server's message")
        elif not packet.is_request and packet.opcode in _COUNTING and len(packet.value) == COUNTER.size:
            yield from _fields(COUNTER, packet.value)
        else:
            yield bytes_row("value", packet.value)


def _fields(layout: Layout, data: bytes) -> Iterator[Row]:
    at = 0
    for field, value in zip(layout.fields, layout.unpack(data).values(), strict=True):
        yield data[at : at + field.size].hex(" "), field.name, str(value), field.meaning
        at += field.size
