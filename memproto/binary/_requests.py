"""Binary requests on the wire: the writer, and the reader with memcached's rules for malformed packets.

The reader's common path is a table lookup and a few slices; everything unusual (malformed, unknown, too
large, not yet authenticated) leaves it at one comparison and is decided in ``_irregular``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple, NoReturn

from memproto._wire.buffer import ReceiveBuffer
from memproto._wire.checks import check_bytes
from memproto.binary._layout import HEADER, MUST, MUST_NOT, OPCODES, OpcodeSpec, Presence
from memproto.binary._operations import FAMILIES, Make
from memproto.binary._packet import (
    HEADER_SIZE,
    encode_packet,
    error_packet,
    lengths_fault,
    pack_header,
    take_packet,
    unpack_header,
    wrong_magic,
)
from memproto.errors import LocalProtocolError, RemoteProtocolError
from memproto.limits import MAX_KEY, MAX_MECHANISM, Limits
from memproto.model import BinaryEnvelope, Failure, InvalidRequest, Magic, Opcode, Request, Status, Unknown

_REQUEST = int(Magic.REQUEST)
_SASL_WITH_MECHANISM = frozenset({Opcode.SASL_AUTH, Opcode.SASL_STEP})


class _Shape(NamedTuple):
    """What the common path must compare and call for one opcode, derived from its row of the opcode table."""

    extras: frozenset[int]
    key_least: int
    key_most: int
    value_most: int
    make: Make
    opcode: int
    ignores_cas: bool


def _shape(spec: OpcodeSpec, limits: Limits) -> _Shape:
    family = FAMILIES[spec.opcode]
    body = spec.request
    value_most = limits.sasl if spec.opcode in _SASL_WITH_MECHANISM else limits.value
    key_most = 0 if body.key is Presence.MUST_NOT else MAX_KEY
    return _Shape(
        extras=frozenset(layout.size for layout in body.extras or ()),
        key_least=1 if body.key is Presence.MUST else 0,
        key_most=MAX_MECHANISM if spec.opcode in _SASL_WITH_MECHANISM else key_most,
        value_most=value_most if body.value is Presence.MAY else 0,
        make=family.make,
        opcode=spec.opcode,
        ignores_cas=not family.uses_cas,
    )


def _no_shape(opcode: int) -> _Shape:
    """No request fits this one: there is no length of extras that is right."""
    return _Shape(frozenset(), 0, 0, 0, FAMILIES[Opcode.NOOP].make, opcode, True)


class _Tables(NamedTuple):
    """The shape of every opcode number, once for all and once for what may be said before authentication."""

    specs: Mapping[int, OpcodeSpec]
    all_shapes: tuple[_Shape, ...]
    free_shapes: tuple[_Shape, ...]


@lru_cache(maxsize=16)
def _tables(limits: Limits, opcodes: tuple[OpcodeSpec, ...], all_named: bool) -> _Tables:
    own = {spec.opcode: spec for spec in opcodes}
    # What memcached does not serve has no wrong shape: it is raw, like an opcode without a name.
    specs = {number: spec for number, spec in OPCODES.items() if spec.served} | own
    named = (number for number in FAMILIES if number not in own and (all_named or number in specs))
    shapes = {number: _shape(OPCODES[number], limits) for number in named}
    return _Tables(
        specs,
        tuple(shapes.get(number) or _no_shape(number) for number in range(256)),
        tuple(
            shapes[number] if number in shapes and OPCODES[number].free else _no_shape(number) for number in range(256)
        ),
    )


class RequestReader:
    """Reads requests out of a buffer, within ``limits``. ``opcodes`` are the embedder's own, beside the table's.

    ``all_named`` is whether opcodes that memcached does not serve are read as messages too, where they have one.
    ``locked`` is whether the peer has yet to authenticate: only what the opcode table marks ``free`` gets through.
    """

    __slots__ = ("_limits", "_locked", "_shapes", "_swallowing", "_tables")

    def __init__(self, limits: Limits, opcodes: Iterable[OpcodeSpec] = (), all_named: bool = False) -> None:
        self._tables = _tables(limits, tuple(opcodes), all_named)
        self._limits = limits
        self._locked = False
        self._shapes = self._tables.all_shapes
        self._swallowing: BinaryEnvelope | None = None

    @property
    def locked(self) -> bool:
        return self._locked

    @locked.setter
    def locked(self, locked: bool) -> None:
        self._locked = locked
        self._shapes = self._tables.free_shapes if locked else self._tables.all_shapes

    def read(self, buffer: ReceiveBuffer) -> BinaryEnvelope | None:
        """The next request, or ``None`` for "more bytes are needed". Raises RemoteProtocolError."""
        if buffer.need:
            return None
        if self._swallowing is not None:
            return self._swallowed(buffer)
        if len(buffer.data) - buffer.at < HEADER_SIZE and not self._has_header(buffer):
            return None
        data = buffer.data
        at = buffer.at
        magic, opcode, key_length, extras_length, data_type, vbucket, body_length, opaque, cas = unpack_header(data, at)
        extras, key_least, key_most, value_most, make, opcode, ignores_cas = self._shapes[opcode]
        if (
            magic != _REQUEST
            or extras_length not in extras
            or not key_least <= key_length <= key_most
            or not 0 <= body_length - key_length - extras_length <= value_most
        ):
            return self._irregular(buffer)
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
        request = make(
            data, at, extras_length, data[key_at:value_at], data[value_at:end] if value_at < end else b"", cas
        )
        return BinaryEnvelope(request, opcode, opaque, vbucket, data_type, cas if ignores_cas else 0)

    def _has_header(self, buffer: ReceiveBuffer) -> bool:
        # A wrong first byte is reported as soon as it is there.
        if not buffer.gather(1):
            return False
        if buffer.data[buffer.at] != _REQUEST:
            raise RemoteProtocolError(wrong_magic(buffer.data[buffer.at], Magic.REQUEST))
        return buffer.gather(HEADER_SIZE)

    def _swallowed(self, buffer: ReceiveBuffer) -> BinaryEnvelope | None:
        if buffer.discarding:
            return None
        envelope, self._swallowing = self._swallowing, None
        return envelope

    def _irregular(self, buffer: ReceiveBuffer) -> BinaryEnvelope | None:
        """Everything but a well-shaped request of a known opcode. The order of the checks is memcached's."""
        header = unpack_header(buffer.data, buffer.at)
        magic, opcode, key_length, extras_length, _, _, body_length, opaque, _ = header
        if magic != _REQUEST:
            raise RemoteProtocolError(wrong_magic(magic, Magic.REQUEST))
        head = HEADER_SIZE + extras_length + key_length
        if head > self._limits.head:
            raise RemoteProtocolError(f"header, extras and key are {head} bytes, limit is {self._limits.head}")
        # Like memcached, say nothing before extras and key are there.
        if not buffer.gather(head):
            return None
        value_length = body_length - extras_length - key_length
        if value_length < 0:
            _refuse(
                lengths_fault(body_length, extras_length, key_length),
                error_packet(opcode, opaque, Status.UNKNOWN_COMMAND),
            )
        spec = self._tables.specs.get(opcode)
        if self._locked and (spec is None or not spec.free):
            _refuse(f"opcode {opcode:#04x} before authentication", error_packet(opcode, opaque, Status.AUTH_ERROR))
        invalid = error_packet(opcode, opaque, Status.INVALID_ARGUMENTS)
        if key_length > MAX_KEY:
            _refuse(f"key is {key_length} bytes, limit is {MAX_KEY}", invalid)
        if spec is not None:
            fault = shape_fault(spec, extras_length, key_length, value_length)
            if fault is not None:
                _refuse(fault, invalid)
        if spec is None or not self._tables.all_shapes[opcode].extras:
            return self._raw(buffer, head, value_length)
        return self._known(buffer, spec, head, value_length)

    def _raw(self, buffer: ReceiveBuffer, head: int, value_length: int) -> BinaryEnvelope | None:
        """An opcode without a message of its own, its body swallowed whole (memcached miscounts here)."""
        if value_length > self._limits.value:
            known = unpack_header(buffer.data, buffer.at)[1] in self._tables.specs
            reply = Failure(Status.VALUE_TOO_LARGE if known else Status.UNKNOWN_COMMAND)
            reason = f"value is {value_length} bytes, limit is {self._limits.value}"
            return self._swallow(buffer, head, value_length, InvalidRequest(reply, reason))
        if not buffer.gather(head + value_length):
            return None
        packet, end = take_packet(buffer.data, buffer.at)
        buffer.at = end
        return BinaryEnvelope(
            Unknown(packet), packet.opcode, packet.opaque, packet.vbucket_or_status, packet.data_type, 0
        )

    def _known(self, buffer: ReceiveBuffer, spec: OpcodeSpec, head: int, value_length: int) -> BinaryEnvelope | None:
        """A known opcode whose shape is right, but whose value is too large, unchecked, or mechanism name too long."""
        limit = self._limits.value
        key_length = unpack_header(buffer.data, buffer.at)[2]
        if spec.opcode in _SASL_WITH_MECHANISM:
            reply = Failure(Status.OUT_OF_MEMORY)
            reason = f"SASL data are {value_length} bytes, limit is {self._limits.sasl}"
            if key_length > MAX_MECHANISM:
                reply = Failure(Status.INVALID_ARGUMENTS)
                reason = f"mechanism is {key_length} bytes, limit is {MAX_MECHANISM}"
            return self._swallow(buffer, head, value_length, InvalidRequest(reply, reason))
        without_value = self._envelope(buffer, spec, head)
        if spec.request.value is Presence.UNCHECKED:
            # memcached does not look at a value here: its bytes are read as the next packet.
            buffer.at += head
            return without_value
        reason = f"value is {value_length} bytes, limit is {limit}"
        refused = InvalidRequest(Failure(Status.VALUE_TOO_LARGE), reason, without_value.request)
        return self._swallow(buffer, head, value_length, refused)

    def _envelope(self, buffer: ReceiveBuffer, spec: OpcodeSpec, head: int) -> BinaryEnvelope:
        """The request in the first ``head`` bytes, without its value; nothing is consumed."""
        at = buffer.at
        _, _, _, extras_length, data_type, vbucket, _, opaque, cas = unpack_header(buffer.data, at)
        shape = self._tables.all_shapes[spec.opcode]
        key = buffer.data[at + HEADER_SIZE + extras_length : at + head]
        request = shape.make(buffer.data, at + HEADER_SIZE, extras_length, key, b"", cas)
        return BinaryEnvelope(request, shape.opcode, opaque, vbucket, data_type, cas if shape.ignores_cas else 0)

    def _swallow(
        self, buffer: ReceiveBuffer, head: int, value_length: int, refused: InvalidRequest
    ) -> BinaryEnvelope | None:
        """Refuse a request once its value has gone by, without holding the value."""
        _, opcode, _, _, data_type, vbucket, _, opaque, _ = unpack_header(buffer.data, buffer.at)
        buffer.at += head
        buffer.discard(value_length)
        self._swallowing = BinaryEnvelope(refused, opcode, opaque, vbucket, data_type)
        return self._swallowed(buffer)


def _refuse(message: str, reply_hint: bytes) -> NoReturn:
    raise RemoteProtocolError(message, reply_hint)


def shape_fault(spec: OpcodeSpec, extras_length: int, key_length: int, value_length: int) -> str | None:
    """What is wrong with a request of this shape, ``None`` if nothing."""
    body = spec.request
    if body.sizes is not None and extras_length not in body.sizes:
        allowed = " or ".join(str(layout.size) for layout in body.extras or ())
        return f"extras of {spec.name} are {extras_length} bytes, must be {allowed}"
    if body.key is (MUST_NOT if key_length else MUST):
        return _presence_fault("key", spec, key_length)
    if body.value is (MUST_NOT if value_length else MUST):
        return _presence_fault("value", spec, value_length)
    return None


def _presence_fault(part: str, spec: OpcodeSpec, length: int) -> str:
    return (
        f"{part} of {spec.name} is {length} bytes, must not be there" if length else f"{part} of {spec.name} is missing"
    )


def request_parts(
    request: Request[object],
    opcode: int,
    opaque: int = 0,
    vbucket: int = 0,
    data_type: int = 0,
    ignored_cas: int = 0,
) -> tuple[bytes, bytes]:
    """The bytes of a request: everything up to the value, and the value. Raises LocalProtocolError."""
    if isinstance(request, Unknown):
        return encode_packet(request.packet.replace(magic=_REQUEST, opaque=opaque)), b""
    family = FAMILIES.get(opcode)
    if family is None or family.kind is not type(request):
        raise LocalProtocolError(f"opcode {opcode:#04x} does not say {type(request).__name__}")
    extras, key, value, cas = family.lay(request)
    check_bytes("key", key, MAX_KEY)
    key_length, extras_length, value_length = len(key), len(extras), len(value)
    fault = shape_fault(OPCODES[opcode], extras_length, key_length, value_length)
    if fault is not None:
        raise LocalProtocolError(fault)
    if not family.uses_cas:
        cas = ignored_cas
    body_length = extras_length + key_length + value_length
    try:
        header = pack_header(_REQUEST, opcode, key_length, extras_length, data_type, vbucket, body_length, opaque, cas)
    except struct.error:
        raise HEADER.misfit(
            _REQUEST, opcode, key_length, extras_length, data_type, vbucket, body_length, opaque, cas
        ) from None
    return header + extras + key, value
