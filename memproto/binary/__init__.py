"""Whole binary messages and packets, encoded and decoded without a connection.

For tools that hold complete bytes: analysers, fuzzers, tests. Connections do the same incrementally.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from memproto._wire.arguments import bytes_of, check_envelope
from memproto._wire.buffer import ReceiveBuffer
from memproto.binary import _operations
from memproto.binary._client import reader_for
from memproto.binary._layout import COUNTER, HEADER, NO_CREATE, OPCODES, OpcodeSpec, opcodes_of
from memproto.binary._operations import OPERATIONS, opcode_for
from memproto.binary._packet import HEADER_SIZE, decode_packet, encode_packet, unpack_header
from memproto.binary._server import BinaryServer
from memproto.binary._server_replies import reply_parts
from memproto.errors import RemoteProtocolError
from memproto.limits import Limits
from memproto.model import AnyReply, AnyRequest, BinaryEnvelope, InvalidRequest, Magic, Unknown
from memproto.model._checks import check_reply

__all__ = [
    "COUNTER",
    "HEADER",
    "NO_CREATE",
    "REQUESTS",
    "decode_packet",
    "decode_reply",
    "decode_request",
    "encode_packet",
    "encode_reply",
    "encode_request",
    "opcode_for",
]


#: The requests of the opcodes: opcode -> class. An opcode that is not here is read as :class:`~memproto.Unknown`.
REQUESTS: Final[Mapping[int, type[AnyRequest]]] = MappingProxyType(
    {opcode: operation.request for opcode, operation in OPERATIONS.items()}
)


def _buffer_of(data: bytes) -> ReceiveBuffer:
    buffer = ReceiveBuffer()
    buffer.feed(data)
    return buffer


# A message that is here whole may be as large as the header can say.
_ANY_SIZE = Limits(value=1 << 32, head=1 << 17, stats=1 << 32, answer=1 << 64)


def encode_request(envelope: BinaryEnvelope) -> bytes:
    """The bytes of one request. Raises :class:`~memproto.LocalProtocolError` if a field does not fit the wire.

    A get has one key here; a :class:`~memproto.ClientConnection` makes many packets of many keys. ``Unknown`` is sent
    with the envelope's opaque. Meta options are not encoded.
    """
    check_envelope("envelope", envelope, BinaryEnvelope)
    request, opcode = envelope.request, envelope.opcode
    if isinstance(request, Unknown):
        return encode_packet(request.packet.replace(magic=Magic.REQUEST, opaque=envelope.opaque))
    numbers = envelope.opaque, envelope.vbucket, envelope.data_type, envelope.ignored_cas
    return b"".join(_operations.encode_request(request, opcode, *numbers))


def decode_request(data: bytes, opcodes: Iterable[OpcodeSpec] = ()) -> BinaryEnvelope:
    """The one request that ``data`` holds, whole.

    Raises :class:`~memproto.RemoteProtocolError` if it is malformed, incomplete or followed by more bytes.
    """
    data = bytes_of("data", data)
    buffer = _buffer_of(data)
    envelope = BinaryServer(_ANY_SIZE, opcodes_of(opcodes), all_named=True).read(buffer)
    if envelope is None:
        raise RemoteProtocolError(f"{len(data)} bytes are less than one request")
    if isinstance(envelope.request, InvalidRequest):
        raise RemoteProtocolError(envelope.request.reason)
    if len(buffer):
        raise RemoteProtocolError(f"{len(buffer)} bytes follow the request")
    size = HEADER_SIZE + unpack_header(data, 0)[6]
    if len(data) != size:
        # A connection reads on behind a STAT without its value, as memcached does; but this is no whole request.
        raise RemoteProtocolError(f"{len(data)} bytes are less than the request, which is {size}")
    return envelope


def encode_reply(reply: AnyReply, to: BinaryEnvelope, opcodes: Iterable[OpcodeSpec] = ()) -> bytes:
    """The bytes that answer the request in ``to``; empty where a quiet opcode gets no reply.

    Raises :class:`~memproto.LocalProtocolError` if the reply does not answer that request or does not fit the wire.
    """
    check_envelope("to", to, BinaryEnvelope)
    check_reply(reply)
    return b"".join(reply_parts(reply, to, _spec(to, opcodes)))


def decode_reply(data: bytes, to: BinaryEnvelope, opcodes: Iterable[OpcodeSpec] = ()) -> AnyReply:
    """Decode ``data``, the whole reply to the request in ``to``.

    Raises :class:`~memproto.RemoteProtocolError` if it does not answer that request, is incomplete or is followed
    by more bytes.
    """
    check_envelope("to", to, BinaryEnvelope)
    data = bytes_of("data", data)
    reader = reader_for(to.request, _spec(to, opcodes), _ANY_SIZE)
    reply: AnyReply | None = None
    at = 0
    while reply is None:
        taken = decode_packet(data, at)
        if taken is None:
            raise RemoteProtocolError(f"{len(data)} bytes are less than one reply")
        packet, end = taken
        if packet.is_request:
            raise RemoteProtocolError("magic is that of a request")
        if packet.opaque != to.opaque:
            raise RemoteProtocolError(f"opaque is {packet.opaque:#010x}, of the request {to.opaque:#010x}")
        reply = reader.read_packet(data, at, to.request, 0)
        at = end
    if at != len(data):
        raise RemoteProtocolError(f"{len(data) - at} bytes follow the reply")
    return reply


def _spec(envelope: BinaryEnvelope, opcodes: Iterable[OpcodeSpec]) -> OpcodeSpec:
    own = {spec.opcode: spec for spec in opcodes_of(opcodes)}
    opcode = envelope.opcode
    return own.get(opcode) or OPCODES.get(opcode) or OpcodeSpec(opcode, "UNKNOWN")
