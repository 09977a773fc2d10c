"""The server's half of the binary dialect: it reads requests, with memcached's rules for malformed packets.

A request of the regular form is read by a table lookup, one comparison and a few slices; everything else (malformed,
unknown, too large, not yet authenticated) is decided in ``_read_irregular``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from memproto._wire.buffer import ReceiveBuffer
from memproto.binary._layout import OPCODES, OpcodeSpec, Presence
from memproto.binary._operations import OPERATIONS, Decode
from memproto.binary._packet import (
    HEADER_SIZE,
    error_packet,
    has_header,
    lengths_fault,
    shape_fault,
    take_packet,
    unpack_header,
    wrong_magic,
)
from memproto.binary._server_replies import reply_parts
from memproto.errors import RemoteProtocolError
from memproto.limits import MAX_KEY, MAX_MECHANISM, Limits
from memproto.model import AnyReply, BinaryEnvelope, Envelope, Failure, InvalidRequest, Magic, Opcode, Status, Unknown

_REQUEST = int(Magic.REQUEST)
# A copy, because a lookup in the read-only view takes longer.
_SPECS = dict(OPCODES)
_SASL_WITH_MECHANISM = frozenset({Opcode.SASL_AUTH, Opcode.SASL_STEP})


class _Shape(NamedTuple):
    """What the common path must compare and call for one opcode, derived from its row of the opcode table."""

    extras: frozenset[int]
    key_least: int
    key_most: int
    value_most: int
    decode: Decode
    opcode: int
    ignores_cas: bool


# No request fits this one: there is no length of extras that is right.
_NO_SHAPE = _Shape(frozenset(), 0, 0, 0, OPERATIONS[Opcode.NOOP].decode, Opcode.NOOP, True)


def _shape(spec: OpcodeSpec, limits: Limits) -> _Shape:
    operation = OPERATIONS[spec.opcode]
    body = spec.request
    value_most = limits.sasl if spec.opcode in _SASL_WITH_MECHANISM else limits.value
    key_most = 0 if body.key is Presence.MUST_NOT else MAX_KEY
    return _Shape(
        extras=frozenset(layout.size for layout in body.extras or ()),
        key_least=1 if body.key is Presence.MUST else 0,
        key_most=MAX_MECHANISM if spec.opcode in _SASL_WITH_MECHANISM else key_most,
        value_most=value_most if body.value is Presence.MAY else 0,
        decode=operation.decode,
        opcode=spec.opcode,
        ignores_cas=not operation.uses_cas,
    )


_Shapes = tuple[_Shape, ...]


@lru_cache(maxsize=16)
def _tables(
    limits: Limits, opcodes: tuple[OpcodeSpec, ...], all_named: bool
) -> tuple[Mapping[int, OpcodeSpec], tuple[_Shapes, _Shapes]]:
    """The rows of the opcodes that have a shape to be checked, and the shape of every number: of all, and before
    authentication.
    """
    own = {spec.opcode: spec for spec in opcodes}
    # What memcached does not support has no wrong shape: it is raw, like an opcode without a name.
    specs = {number: spec for number, spec in OPCODES.items() if spec.supported} | own
    named = (number for number in OPERATIONS if number not in own and (all_named or number in specs))
    shapes = {number: _shape(OPCODES[number], limits) for number in named}
    before_auth = {number: shape for number, shape in shapes.items() if OPCODES[number].allowed_before_auth}
    every = tuple(shapes.get(number, _NO_SHAPE) for number in range(256))
    return specs, (every, tuple(before_auth.get(number, _NO_SHAPE) for number in range(256)))


class BinaryServer:
    """Reads binary requests and writes their replies.

    ``opcodes`` are the embedder's own, beside the table's. ``all_named`` is whether opcodes that memcached does not
    support are read as messages too, where they have one.
    """

    __slots__ = ("_checked", "_limits", "_refused", "_shapes", "_specs", "awaiting_auth")

    def __init__(self, limits: Limits, opcodes: Iterable[OpcodeSpec] = (), all_named: bool = False) -> None:
        own = tuple(opcodes)
        self._checked, self._shapes = _tables(limits, own, all_named)
        self._specs = {**_SPECS, **{spec.opcode: spec for spec in own}} if own else _SPECS
        self._limits = limits
        #: Whether the peer has yet to authenticate: then only what is ``allowed_before_auth`` gets through.
        self.awaiting_auth = False
        # A request that is refused as soon as its value has been skipped.
        self._refused: BinaryEnvelope | None = None

    @property
    def mid_request(self) -> bool:
        """Whether a request has been read in part."""
        return self._refused is not None

    def read(self, buffer: ReceiveBuffer) -> BinaryEnvelope | None:
        """The next request, or ``None`` for "more bytes are needed". Raises RemoteProtocolError."""
        if buffer.need:
            return None
        if self._refused is not None:
            return self._after_skip(buffer)
        if len(buffer.data) - buffer.at < HEADER_SIZE and not has_header(buffer, _REQUEST):
            return None
        data = buffer.data
        at = buffer.at
        magic, opcode, key_length, extras_length, data_type, vbucket, body_length, opaque, cas = unpack_header(data, at)
        extras, key_least, key_most, value_most, decode, opcode, ignores_cas = self._shapes[self.awaiting_auth][opcode]
        if (
            magic != _REQUEST
            or extras_length not in extras
            or not key_least <= key_length <= key_most
            or not 0 <= body_length - key_length - extras_length <= value_most
        ):
            return self._read_irregular(buffer)
        at += HEADER_SIZE
        end = at + body_length
        if len(data) < end:
            if not buffer.gather(HEADER_SIZE + body_length):
                return None
            data = buffer.data
            at = buffer.at + HEADER_SIZE
            end = at + body_length
        buffer.at = end
        key_at = at + extras_length
        value_at = key_at + key_length
        request = decode(
            data, at, extras_length, data[key_at:value_at], data[value_at:end] if value_at < end else b"", cas
        )
        return BinaryEnvelope(request, opcode, opaque, vbucket, data_type, cas if ignores_cas else 0)

    def _after_skip(self, buffer: ReceiveBuffer) -> BinaryEnvelope | None:
        if buffer.discarding:
            return None
        envelope, self._refused = self._refused, None
        return envelope

    def _read_irregular(self, buffer: ReceiveBuffer) -> BinaryEnvelope | None:
        """Everything but a well-shaped request of a known opcode. The order of the checks is memcached's."""
        magic, opcode, key_length, extras_length, _, _, body_length, opaque, _ = unpack_header(buffer.data, buffer.at)
        if magic != _REQUEST:
            raise RemoteProtocolError(wrong_magic(magic, Magic.REQUEST))
        head = HEADER_SIZE + extras_length + key_length
        if head > self._limits.head:
            raise RemoteProtocolError(f"header, extras and key are {head} bytes, limit is {self._limits.head}")
        # Like memcached, refuse nothing before extras and key have been received.
        if not buffer.gather(head):
            return None
        value_length = body_length - extras_length - key_length
        if value_length < 0:
            fault = lengths_fault(body_length, extras_length, key_length)
            raise RemoteProtocolError(fault, error_packet(opcode, opaque, Status.UNKNOWN_COMMAND))
        spec = self._checked.get(opcode)
        if self.awaiting_auth and (spec is None or not spec.allowed_before_auth):
            fault = f"opcode {opcode:#04x} before authentication"
            raise RemoteProtocolError(fault, error_packet(opcode, opaque, Status.AUTH_ERROR))
        wrong = f"key is {key_length} bytes, limit is {MAX_KEY}" if key_length > MAX_KEY else None
        if spec is not None:
            wrong = wrong or shape_fault(spec.request, spec.name, extras_length, key_length, value_length)
        if wrong is not None:
            raise RemoteProtocolError(wrong, error_packet(opcode, opaque, Status.INVALID_ARGUMENTS))
        return self._read_checked(buffer, spec, head, value_length)

    def _read_checked(
        self, buffer: ReceiveBuffer, spec: OpcodeSpec | None, head: int, value_length: int
    ) -> BinaryEnvelope | None:
        """A request of an opcode without a message, or whose mechanism or value is too large or not looked at."""
        data, at, limits = buffer.data, buffer.at, self._limits
        _, opcode, key_length, extras_length, data_type, vbucket, _, opaque, cas = unpack_header(data, at)
        status, reason = Status.VALUE_TOO_LARGE, f"value is {value_length} bytes, limit is {limits.value}"
        request = None
        shape = self._shapes[False][opcode]
        if spec is None or shape is _NO_SHAPE:
            # The whole body is read or skipped (memcached miscounts here).
            if value_length <= limits.value:
                if not buffer.gather(head + value_length):
                    return None
                packet, buffer.at = take_packet(buffer.data, buffer.at)
                return BinaryEnvelope(Unknown(packet), opcode, opaque, vbucket, data_type)
            if spec is None:
                status = Status.UNKNOWN_COMMAND
        elif opcode in _SASL_WITH_MECHANISM:
            status, reason = Status.OUT_OF_MEMORY, f"SASL data are {value_length} bytes, limit is {limits.sasl}"
            if key_length > MAX_MECHANISM:
                status = Status.INVALID_ARGUMENTS
                reason = f"mechanism is {key_length} bytes, limit is {MAX_MECHANISM}"
        else:
            key = data[at + HEADER_SIZE + extras_length : at + head]
            request = shape.decode(data, at + HEADER_SIZE, extras_length, key, b"", cas)
            if spec.request.value is Presence.UNCHECKED:
                # memcached does not look at a value here: its bytes are read as the next packet.
                buffer.at += head
                return BinaryEnvelope(
                    request, shape.opcode, opaque, vbucket, data_type, cas if shape.ignores_cas else 0
                )
        buffer.at += head
        buffer.discard(value_length)
        refused = InvalidRequest(Failure(status), reason, request)
        self._refused = BinaryEnvelope(refused, opcode, opaque, vbucket, data_type)
        return self._after_skip(buffer)

    # --- writing

    def write(self, reply: AnyReply, to: Envelope) -> tuple[bytes, ...]:
        """The bytes that answer a request, in pieces. Raises LocalProtocolError."""
        assert isinstance(to, BinaryEnvelope)
        opcode = to.opcode
        return reply_parts(reply, to, self._specs.get(opcode) or OpcodeSpec(opcode, "UNKNOWN"))
