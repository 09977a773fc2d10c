"""``memproto explain``: what captured bytes mean, field by field, in the words of the library's declarations.

    memproto explain 80 0a 0000 00 00 0000 00000000 00000001 0000000000000000

It takes any number of packets of either direction, or lines of text. What cannot be decoded is an error on standard
error, with exit code 1.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence

from memproto import (
    OPCODES,
    Decrement,
    Increment,
    Layout,
    Magic,
    OpcodeSpec,
    Packet,
    ProtocolError,
    Quiet,
    Status,
)
from memproto.binary import COUNTER, HEADER, decode_packet, decode_request, encode_packet, opcode_for
from memproto.cli.explain_text import explain_text

# How many bytes of a field are shown; a longer one is cut, and its length shown.
_SHOWN = 16

# The success of these carries a number of this layout as its value.
_COUNTING = frozenset(
    opcode_for(request, quiet) for request in (Increment(b"key"), Decrement(b"key")) for quiet in (False, True)
)

_MAGICS = {bytes([magic]) for magic in Magic}

#: One line of an explanation: the bytes in hex, the field's name, its value, what it means.
Line = tuple[str, str, str, str]


def explain(data: bytes) -> str:
    """All packets in ``data``, or all lines, in order. Raises ``ProtocolError`` if something is left over."""
    if data[:1] not in _MAGICS:
        return explain_text(data)
    texts = []
    at = 0
    while at < len(data):
        taken = decode_packet(data, at)
        if taken is None:
            raise ProtocolError(f"{len(data) - at} bytes at the end are less than one packet")
        packet, at = taken
        texts.append(explain_packet(packet))
    return "\n\n".join(texts)


def explain_packet(packet: Packet) -> str:
    """One packet: a headline, a line per field, and for a request what it asks."""
    spec = OPCODES.get(packet.opcode) or OpcodeSpec(packet.opcode, "unknown opcode")
    data = encode_packet(packet)
    lines = [*_header(packet, spec, data), *_body(packet, spec)]
    headline = f"{'request' if packet.is_request else 'response'} {spec.name}, {len(data)} bytes"
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    rows = [
        f"  {hexed:{widths[0]}}  {name:{widths[1]}}  {value:{widths[2]}}  {meaning}".rstrip()
        for hexed, name, value, meaning in lines
    ]
    return "\n".join([headline, *rows, *_message(packet, data)])


def _header(packet: Packet, spec: OpcodeSpec, data: bytes) -> Iterator[Line]:
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


def _body(packet: Packet, spec: OpcodeSpec) -> Iterator[Line]:
    body = spec.request if packet.is_request else spec.reply
    failed = not packet.is_request and packet.status != Status.SUCCESS
    if packet.extras:
        layout = None if failed else body.extras_of(len(packet.extras))
        if layout is None:
            yield _bytes("extras", packet.extras, "of no declared layout")
        else:
            yield from _fields(layout, packet.extras)
    if packet.key:
        yield _bytes("key", packet.key)
    if packet.value:
        if failed:
            yield _bytes("value", packet.value, "the server's message")
        elif not packet.is_request and packet.opcode in _COUNTING and len(packet.value) == COUNTER.size:
            yield from _fields(COUNTER, packet.value)
        else:
            yield _bytes("value", packet.value)


def _fields(layout: Layout, data: bytes) -> Iterator[Line]:
    at = 0
    for field, value in zip(layout.fields, layout.unpack(data).values(), strict=True):
        yield data[at : at + field.size].hex(" "), field.name, str(value), field.meaning
        at += field.size


def _bytes(name: str, data: bytes, meaning: str = "") -> Line:
    if len(data) <= _SHOWN:
        return data.hex(" "), name, repr(data), meaning
    return data[:_SHOWN].hex(" ") + " ...", name, f"{data[:_SHOWN]!r}... ({len(data)} bytes)", meaning


def _message(packet: Packet, data: bytes) -> Iterator[str]:
    if packet.is_request:
        try:
            request = decode_request(data).request
        except ProtocolError as error:
            yield f"  malformed: {error}"
        else:
            if len(packet.value) <= _SHOWN:
                yield f"  = {request!r}"


def main(arguments: Sequence[str]) -> int:
    """Explain the hex digits on the command line, or on standard input; the exit code."""
    parser = ArgumentParser(prog="memproto explain", description="Explain packets or lines of either direction.")
    parser.add_argument("digits", nargs="*", help="their bytes in hex; without any, standard input")
    text = " ".join(parser.parse_args(arguments).digits) or sys.stdin.read()
    try:
        print(explain(bytes.fromhex(text.replace(":", " "))))
    except (ValueError, ProtocolError) as error:
        print(f"cannot explain this: {error}", file=sys.stderr)
        return 1
    return 0
