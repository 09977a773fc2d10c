"""Packets: the 24-byte header and what follows it, read and written for any opcode."""

from __future__ import annotations

import struct

from memproto._fields import BYTES_LIKE, check_fields, check_least, check_value, wrong_type
from memproto._wire.buffer import ReceiveBuffer
from memproto._wire.packing import Layout
from memproto.binary._layout import HEADER, MUST, MUST_NOT, Body
from memproto.errors import LocalProtocolError, RemoteProtocolError
from memproto.model import Magic, Packet, Status

HEADER_SIZE = HEADER.size
unpack_header = HEADER.packer.unpack_from
pack_header = HEADER.packer.pack

#: A header in four numbers: the first eight bytes, which distinguish the forms of packets, then body length, opaque and
#: CAS.
SHORT = struct.Struct(
    ">Q" + "".join(field.code for field in HEADER.fields if field.name in ("body_length", "opaque", "cas"))
)
unpack_short = SHORT.unpack_from
pack_short = SHORT.pack


def with_extras(header: struct.Struct, extras: Layout) -> struct.Struct:
    """The packer of a header and these extras behind it."""
    return struct.Struct(header.format + extras.packer.format[1:])


def first_of(magic: int, opcode: int, key: int = 0, extras: int = 0, status: int = 0) -> int:
    """The first eight bytes of a header as one number."""
    first: int = unpack_short(pack_header(magic, opcode, key, extras, 0, status, 0, 0, 0))[0]
    return first


#: What one more byte of key adds to that number.
KEY_BYTE = first_of(0, 0, 1)


COUCHBASE: dict[int, str] = {
    Magic.FLEX_REQUEST: "a request with Couchbase's framing extras",
    Magic.FLEX_RESPONSE: "a response with Couchbase's framing extras",
    Magic.SERVER_REQUEST: "Couchbase's server-to-client request",
    Magic.CLIENT_RESPONSE: "Couchbase's client-to-server response",
}


_MAGICS = (Magic.REQUEST, Magic.RESPONSE)


def wrong_magic(magic: int, *expected: Magic) -> str:
    """The error message for a first byte that is not an expected one."""
    wanted = " or ".join(f"{int(each):#04x} ({each.name.lower()})" for each in expected)
    name = COUCHBASE.get(magic)
    what = f"magic is {magic:#04x}, expected {wanted}"
    return what if name is None else f"{what}: {name} is another framing, which memcached does not speak"


def error_packet(opcode: int, opaque: int, status: Status) -> bytes:
    """The bytes of memcached's answer to a packet it refuses."""
    text = status.text
    return pack_header(Magic.RESPONSE, opcode, 0, 0, 0, status, len(text), opaque, 0) + text


def decode_packet(data: bytes | bytearray | memoryview, at: int = 0) -> tuple[Packet, int] | None:
    """The packet that begins at index ``at`` and the index where it ends; ``None`` if more bytes are needed.

    Any opcode, status and body is taken; nothing is looked up. ``data`` may be a bytearray or a memoryview; what is in
    the packet is ``bytes``. Raises :class:`RemoteProtocolError` if the magic byte is neither 0x80 nor 0x81 (Couchbase's
    other framings are named in the message) or if the lengths in the header contradict each other, and
    :class:`LocalProtocolError` for arguments of a wrong type or a negative ``at``. It sets no limit: the caller holds
    the data already.
    """
    check_value("data", data, BYTES_LIKE)
    check_least("at", at, 0)
    if len(data) > at and data[at] not in _MAGICS:
        raise RemoteProtocolError(wrong_magic(data[at], *_MAGICS))
    if len(data) - at < HEADER_SIZE:
        return None
    _, _, key_length, extras_length, _, _, body_length, _, _ = unpack_header(data, at)
    if body_length < extras_length + key_length:
        raise RemoteProtocolError(lengths_fault(body_length, extras_length, key_length))
    end = at + HEADER_SIZE + body_length
    if len(data) < end:
        return None
    if not isinstance(data, bytes):
        # Its parts would be views of what the caller may change, or bytearrays.
        return take_packet(bytes(memoryview(data)[at:end]), 0)[0], end
    return take_packet(data, at)


def lengths_fault(body_length: int, extras_length: int, key_length: int) -> str:
    """The error message for a header whose lengths contradict each other."""
    return f"body length is {body_length}, less than extras ({extras_length}) + key ({key_length})"


def take_packet(data: bytes, at: int) -> tuple[Packet, int]:
    """The packet that lies whole at ``at``, and where it ends. The lengths must have been checked."""
    magic, opcode, key_length, extras_length, data_type, status, body_length, opaque, cas = unpack_header(data, at)
    key_at = at + HEADER_SIZE + extras_length
    value_at = key_at + key_length
    end = at + HEADER_SIZE + body_length
    packet = Packet(
        magic,
        opcode,
        data[at + HEADER_SIZE : key_at],
        data[key_at:value_at],
        data[value_at:end],
        status,
        data_type,
        opaque,
        cas,
    )
    return packet, end


def encode_packet(packet: Packet) -> bytes:
    """The bytes of a packet. Raises :class:`LocalProtocolError` that names the field that does not fit."""
    if not isinstance(packet, Packet):
        raise LocalProtocolError(wrong_type("packet", packet, "a Packet"))
    check_fields(packet)
    if packet.magic not in _MAGICS:
        raise LocalProtocolError(wrong_magic(packet.magic, *_MAGICS))
    extras, key, value = packet.extras, packet.key, packet.value
    header = HEADER.pack_checked(
        packet.magic,
        packet.opcode,
        len(key),
        len(extras),
        packet.data_type,
        packet.vbucket_or_status,
        len(extras) + len(key) + len(value),
        packet.opaque,
        packet.cas,
    )
    return b"".join((header, extras, key, value))


def shape_fault(body: Body, of: str, extras_length: int, key_length: int, value_length: int) -> str | None:
    """What is wrong with these lengths in a packet that must be of this form, ``None`` if nothing."""
    if body.sizes is not None and extras_length not in body.sizes:
        allowed = " or ".join(str(layout.size) for layout in body.extras or ())
        return f"extras of {of} are {extras_length} bytes, must be {allowed}"
    for part, presence, length in (("key", body.key, key_length), ("value", body.value, value_length)):
        if length and presence is MUST_NOT:
            return f"{part} of {of} is {length} bytes, must not be there"
        if not length and presence is MUST:
            return f"{part} of {of} is missing"
    return None


def has_header(buffer: ReceiveBuffer, magic: int) -> bool:
    """Whether a header is there. Raises RemoteProtocolError for a wrong magic as soon as its byte is there."""
    if not buffer.gather(1):
        return False
    if buffer.data[buffer.at] != magic:
        raise RemoteProtocolError(wrong_magic(buffer.data[buffer.at], Magic(magic)))
    return buffer.gather(HEADER_SIZE)
