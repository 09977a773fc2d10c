"""Binary replies on the wire, both ways. A reply is written, and read, in the light of its request.

The quiet rules live here: what a quiet opcode leaves unsaid is decided when its reply is written.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from memproto._fields import check_fields
from memproto._wire.checks import check_bytes, check_failure
from memproto._wire.packing import joined
from memproto.binary._layout import COUNTER, FLAGS, HEADER, MUST, MUST_NOT, Body, OpcodeSpec, Quiet
from memproto.binary._packet import pack_header, write_header
from memproto.errors import LocalProtocolError, RemoteProtocolError
from memproto.limits import MAX_MECHANISM
from memproto.model import (
    STATUSES,
    Add,
    AnyReply,
    AnyRequest,
    Append,
    Authenticated,
    BinaryEnvelope,
    Challenge,
    Counter,
    Decrement,
    Delete,
    Deleted,
    Failure,
    Flush,
    Get,
    Increment,
    InvalidRequest,
    Item,
    Magic,
    Mechanisms,
    Noop,
    Ok,
    Packet,
    Prepend,
    Quit,
    RawReply,
    Replace,
    Request,
    SaslAuth,
    SaslList,
    SaslStep,
    Set,
    Stats,
    StatsReply,
    Status,
    Stored,
    Touch,
    Touched,
    Unknown,
    Values,
    Verbosity,
    Version,
    VersionReply,
)

_RESPONSE = int(Magic.RESPONSE)
_SUCCESS: Final = Quiet.SUCCESS
_FLAGS_SIZE = FLAGS.size
_COUNTER_SIZE = COUNTER.size
_HIT = joined(HEADER, FLAGS)
_pack_hit = _HIT.packer.pack
_unpack_flags = FLAGS.packer.unpack
_unpack_counter = COUNTER.packer.unpack

#: The bytes of a reply in order, none if the reply is not sent.
Parts = tuple[bytes, ...]


# --- writing


def _header(
    envelope: BinaryEnvelope, body: int = 0, key: int = 0, extras: int = 0, status: int = 0, cas: int = 0
) -> bytes:
    try:
        return pack_header(_RESPONSE, envelope.opcode, key, extras, 0, status, body, envelope.opaque, cas)
    except struct.error:
        raise HEADER.misfit(_RESPONSE, envelope.opcode, key, extras, 0, status, body, envelope.opaque, cas) from None


def _write_values(reply: Values, envelope: BinaryEnvelope, spec: OpcodeSpec) -> Parts:
    if len(reply.items) != 1:
        if reply.items:
            raise LocalProtocolError(f"items are {len(reply.items)}, one binary reply carries 1")
        return _write_failure(Failure(Status.KEY_NOT_FOUND), envelope, spec)
    (item,) = reply.items
    value = item.value
    if type(value) is not bytes:
        check_fields(item)
    key = b""
    if spec.reply.key is MUST:
        key = _asked_key(envelope.request)
        if item.key != key:
            raise LocalProtocolError(f"key of the item is {item.key!r}, asked was {key!r}")
    body = _FLAGS_SIZE + len(key) + len(value)
    try:
        head = _pack_hit(
            _RESPONSE, envelope.opcode, len(key), _FLAGS_SIZE, 0, 0, body, envelope.opaque, item.cas, item.flags
        )
    except struct.error:
        raise _HIT.misfit(
            _RESPONSE, envelope.opcode, len(key), _FLAGS_SIZE, 0, 0, body, envelope.opaque, item.cas, item.flags
        ) from None
    return (head + key, value) if key else (head, value)


def _write_stored(reply: Stored | Deleted, envelope: BinaryEnvelope, spec: OpcodeSpec) -> Parts:
    if spec.quiet is _SUCCESS:
        return ()
    return (_header(envelope, cas=reply.cas),)


def _write_counter(reply: Counter, envelope: BinaryEnvelope, spec: OpcodeSpec) -> Parts:
    if spec.quiet is _SUCCESS:
        return ()
    return _header(envelope, _COUNTER_SIZE, cas=reply.cas), COUNTER.pack_checked(reply.value)


def _write_touched(reply: Touched, envelope: BinaryEnvelope, spec: OpcodeSpec) -> Parts:
    extras = b"" if reply.flags is None else FLAGS.pack_checked(reply.flags)
    return _header(envelope, len(extras), extras=len(extras), cas=reply.cas), extras


def _write_ok(reply: Ok, envelope: BinaryEnvelope, spec: OpcodeSpec) -> Parts:
    if spec.quiet is _SUCCESS:
        return ()
    return (_header(envelope),)


def _write_text(text: bytes, envelope: BinaryEnvelope, status: int = 0) -> Parts:
    return _header(envelope, len(text), status=status), text


def _write_version(reply: VersionReply, envelope: BinaryEnvelope, spec: OpcodeSpec) -> Parts:
    return _write_text(reply.version, envelope)


def _write_mechanisms(reply: Mechanisms, envelope: BinaryEnvelope, spec: OpcodeSpec) -> Parts:
    for name in reply.names:
        check_bytes("mechanism", name, MAX_MECHANISM, 1)
    return _write_text(b" ".join(reply.names), envelope)


def _write_authenticated(reply: Authenticated, envelope: BinaryEnvelope, spec: OpcodeSpec) -> Parts:
    return _write_text(reply.text, envelope)


def _write_challenge(reply: Challenge, envelope: BinaryEnvelope, spec: OpcodeSpec) -> Parts:
    return _write_text(reply.data, envelope, Status.AUTH_CONTINUE)


def _write_stats(reply: StatsReply, envelope: BinaryEnvelope, spec: OpcodeSpec) -> Parts:
    parts = []
    for name, value in reply.stats:
        check_bytes("name of a statistic", name, 0xFFFF, 1)
        parts += [_header(envelope, len(name) + len(value), len(name)), name, value]
    return *parts, _header(envelope)


def _write_raw(reply: RawReply, envelope: BinaryEnvelope, spec: OpcodeSpec) -> Parts:
    if spec.quiet is _SUCCESS and reply.status == Status.SUCCESS:
        return ()
    if spec.quiet is Quiet.MISS and reply.status == Status.KEY_NOT_FOUND:
        return ()
    extras, key, value = reply.extras, reply.key, reply.value
    check_bytes("extras", extras, 0xFF)
    check_bytes("key", key, 0xFFFF)
    header = write_header(
        _RESPONSE,
        envelope.opcode,
        len(key),
        len(extras),
        reply.data_type,
        reply.status,
        len(extras) + len(key) + len(value),
        envelope.opaque,
        reply.cas,
    )
    return header, extras, key, value


def _write_failure(reply: Failure, envelope: BinaryEnvelope, spec: OpcodeSpec) -> Parts:
    status = reply.status
    check_failure(reply)
    request = envelope.request
    if status == Status.KEY_NOT_FOUND:
        if spec.quiet is Quiet.MISS:
            return ()
        if spec.reply.key is MUST and isinstance(request, Get):
            # The one failure whose body is not a text: the missing key.
            key = _asked_key(request)
            return _header(envelope, len(key), len(key), status=status), key
    return _write_text(reply.reason, envelope, status)


_Writer = Callable[..., Parts]

# Which reply answers which request, and how it is written.
_ANSWERS: dict[type[AnyRequest], tuple[tuple[type[AnyReply], _Writer], ...]] = {
    Get: ((Values, _write_values),),
    Set: ((Stored, _write_stored),),
    Add: ((Stored, _write_stored),),
    Replace: ((Stored, _write_stored),),
    Append: ((Stored, _write_stored),),
    Prepend: ((Stored, _write_stored),),
    Delete: ((Deleted, _write_stored),),
    Increment: ((Counter, _write_counter),),
    Decrement: ((Counter, _write_counter),),
    Touch: ((Touched, _write_touched),),
    Flush: ((Ok, _write_ok),),
    Stats: ((StatsReply, _write_stats),),
    Version: ((VersionReply, _write_version),),
    Verbosity: ((Ok, _write_ok),),
    Noop: ((Ok, _write_ok),),
    Quit: ((Ok, _write_ok),),
    SaslList: ((Mechanisms, _write_mechanisms),),
    SaslAuth: ((Authenticated, _write_authenticated), (Challenge, _write_challenge)),
    SaslStep: ((Authenticated, _write_authenticated), (Challenge, _write_challenge)),
    Unknown: ((RawReply, _write_raw),),
    InvalidRequest: (),
}
_WRITERS: dict[type[AnyRequest], dict[type[AnyReply], _Writer]] = {
    request: {**dict(answers), Failure: _write_failure} for request, answers in _ANSWERS.items()
}


def reply_parts(reply: AnyReply, envelope: BinaryEnvelope, spec: OpcodeSpec) -> Parts:
    """The bytes that answer this request, in pieces; none where the quiet rules forbid an answer.

    Raises LocalProtocolError if the reply does not answer this kind of request or does not fit the wire.
    """
    write = _WRITERS[type(envelope.request)].get(type(reply))
    if write is None:
        raise LocalProtocolError(f"{type(reply).__name__} does not answer {type(envelope.request).__name__}")
    return write(reply, envelope, spec)


# --- reading


def _read_item(request: Get, extras: bytes, key: bytes, value: bytes, cas: int) -> Values:
    return Values((Item(request.keys[0], value, _unpack_flags(extras)[0], cas),))


def _read_stored(request: AnyRequest, extras: bytes, key: bytes, value: bytes, cas: int) -> Stored:
    return Stored(cas)


def _read_deleted(request: Delete, extras: bytes, key: bytes, value: bytes, cas: int) -> Deleted:
    return Deleted(cas)


def _read_counter(request: AnyRequest, extras: bytes, key: bytes, value: bytes, cas: int) -> Counter:
    if len(value) != _COUNTER_SIZE:
        raise RemoteProtocolError(f"counter is {len(value)} bytes, must be {_COUNTER_SIZE}")
    return Counter(_unpack_counter(value)[0], cas)


def _read_touched(request: Touch, extras: bytes, key: bytes, value: bytes, cas: int) -> Touched:
    return Touched(_unpack_flags(extras)[0] if extras else None, cas)


def _read_ok(request: AnyRequest, extras: bytes, key: bytes, value: bytes, cas: int) -> Ok:
    return Ok()


def _read_version(request: Version, extras: bytes, key: bytes, value: bytes, cas: int) -> VersionReply:
    return VersionReply(value)


def _read_statistic(request: Stats, extras: bytes, key: bytes, value: bytes, cas: int) -> StatsReply:
    if not key and value:
        raise RemoteProtocolError(f"statistic without a name has a value of {len(value)} bytes")
    return StatsReply(((key, value),) if key else ())


def _read_mechanisms(request: SaslList, extras: bytes, key: bytes, value: bytes, cas: int) -> Mechanisms:
    return Mechanisms(tuple(value.split()))


def _read_authenticated(request: AnyRequest, extras: bytes, key: bytes, value: bytes, cas: int) -> Authenticated:
    return Authenticated(value)


_READERS: dict[type[Request[object]], Callable[..., AnyReply]] = {
    Get: _read_item,
    Set: _read_stored,
    Add: _read_stored,
    Replace: _read_stored,
    Append: _read_stored,
    Prepend: _read_stored,
    Delete: _read_deleted,
    Increment: _read_counter,
    Decrement: _read_counter,
    Touch: _read_touched,
    Flush: _read_ok,
    Stats: _read_statistic,
    Version: _read_version,
    Verbosity: _read_ok,
    Noop: _read_ok,
    Quit: _read_ok,
    SaslList: _read_mechanisms,
    SaslAuth: _read_authenticated,
    SaslStep: _read_authenticated,
}


def _reply_fault(spec: OpcodeSpec, packet: Packet) -> str | None:
    """What is wrong with the form of a successful reply, ``None`` if nothing."""
    body: Body = spec.reply
    if body.sizes is not None and len(packet.extras) not in body.sizes:
        allowed = " or ".join(str(layout.size) for layout in body.extras or ())
        return f"extras of a reply to {spec.name} are {len(packet.extras)} bytes, must be {allowed}"
    if body.key is MUST_NOT and packet.key:
        return f"key in a reply to {spec.name} is {len(packet.key)} bytes, must not be there"
    if body.value is MUST_NOT and packet.value:
        return f"value in a reply to {spec.name} is {len(packet.value)} bytes, must not be there"
    return None


def check_opcode(opcode: int, spec: OpcodeSpec) -> None:
    """Raise RemoteProtocolError unless the opcode of a reply is that of its request."""
    if opcode != spec.opcode:
        raise RemoteProtocolError(f"opcode of the reply is {opcode:#04x}, of the request {spec.opcode:#04x}")


def read_reply(packet: Packet, request: Request[object], spec: OpcodeSpec) -> AnyReply:
    """What one response packet says to this request; a STAT answer is one statistic, or none for the end.

    Raises RemoteProtocolError if the packet cannot be an answer to it. The opaque is the caller's to compare.
    """
    check_opcode(packet.opcode, spec)
    status = packet.vbucket_or_status
    if status:
        return _read_failure(status, packet, request, spec)
    if isinstance(request, Unknown):
        return RawReply(status, packet.extras, packet.key, packet.value, packet.cas, packet.data_type)
    fault = _reply_fault(spec, packet)
    if fault is not None:
        raise RemoteProtocolError(fault)
    if isinstance(request, Get) and spec.reply.key is MUST:
        _compare_key(packet.key, request)
    return _READERS[type(request)](request, packet.extras, packet.key, packet.value, packet.cas)


def _read_failure(status: int, packet: Packet, request: Request[object], spec: OpcodeSpec) -> AnyReply:
    if isinstance(request, Get) and status == Status.KEY_NOT_FOUND:
        if spec.reply.key is MUST and packet.key:
            _compare_key(packet.key, request)
        return Values()
    if isinstance(request, (SaslAuth, SaslStep)) and status == Status.AUTH_CONTINUE:
        return Challenge(packet.value)
    known = STATUSES.get(status)
    if known is None:
        return Failure(status, packet.value)
    return Failure(known, None if packet.value == known.text else packet.value)


def _asked_key(request: Request[object]) -> bytes:
    return request.keys[0] if isinstance(request, Get) else b""


def _compare_key(key: bytes, request: Get) -> None:
    if key != request.keys[0]:
        raise RemoteProtocolError(f"key of the reply is {key!r}, asked was {request.keys[0]!r}")
