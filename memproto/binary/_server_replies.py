"""Replies as the server writes them, in the light of their requests.

The quiet rules are applied here: a reply that a quiet opcode does not get is encoded as no bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final, get_args

from memproto import model
from memproto._fields import check_fields
from memproto._wire.checks import check_bytes, check_failure
from memproto.binary._layout import COUNTER, FLAGS, HEADER, MUST, OpcodeSpec, Quiet
from memproto.binary._packet import encode_packet, pack_header, with_extras
from memproto.errors import LocalProtocolError
from memproto.limits import MAX_MECHANISM
from memproto.model import AnyReply, AnyRequest, BinaryEnvelope, Failure, Get, Magic, Request, Status

_RESPONSE = int(Magic.RESPONSE)
_SUCCESS: Final = Quiet.SUCCESS
_FLAGS_SIZE: Final = FLAGS.size
_COUNTER_SIZE: Final = COUNTER.size
_pack_hit = with_extras(HEADER.packer, FLAGS).pack

#: The bytes of a reply in order, none if the reply is not sent.
Parts = tuple[bytes, ...]


def _header(
    envelope: BinaryEnvelope, body: int = 0, key: int = 0, extras: int = 0, status: int = 0, cas: int = 0
) -> bytes:
    try:
        return pack_header(_RESPONSE, envelope.opcode, key, extras, 0, status, body, envelope.opaque, cas)
    except struct.error:
        raise HEADER.misfit(_RESPONSE, envelope.opcode, key, extras, 0, status, body, envelope.opaque, cas) from None


def _write_values(reply: model.Values, envelope: BinaryEnvelope, spec: OpcodeSpec) -> Parts:
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
        key = _key_of(envelope.request)
        if item.key != key:
            raise LocalProtocolError(f"key of the item is {item.key!r}, asked was {key!r}")
    body = _FLAGS_SIZE + len(key) + len(value)
    try:
        head = _pack_hit(
            _RESPONSE, envelope.opcode, len(key), _FLAGS_SIZE, 0, 0, body, envelope.opaque, item.cas, item.flags
        )
    except struct.error:
        _header(envelope, body, len(key), _FLAGS_SIZE, cas=item.cas)
        raise FLAGS.misfit(item.flags) from None
    return (head + key, value) if key else (head, value)


def _write_stored(reply: model.Stored | model.Deleted, envelope: BinaryEnvelope, spec: OpcodeSpec) -> Parts:
    return (_header(envelope, cas=reply.cas),)


def _write_counter(reply: model.Counter, envelope: BinaryEnvelope, spec: OpcodeSpec) -> Parts:
    return _header(envelope, _COUNTER_SIZE, cas=reply.cas), COUNTER.pack_checked(reply.value)


def _write_touched(reply: model.Touched, envelope: BinaryEnvelope, spec: OpcodeSpec) -> Parts:
    extras = b"" if reply.flags is None else FLAGS.pack_checked(reply.flags)
    return _header(envelope, len(extras), extras=len(extras), cas=reply.cas), extras


def _write_ok(reply: model.Ok, envelope: BinaryEnvelope, spec: OpcodeSpec) -> Parts:
    return (_header(envelope),)


def _write_text(text: bytes, envelope: BinaryEnvelope, status: int = 0) -> Parts:
    return _header(envelope, len(text), status=status), text


def _write_mechanisms(reply: model.Mechanisms, envelope: BinaryEnvelope, spec: OpcodeSpec) -> Parts:
    for name in reply.names:
        check_bytes("mechanism", name, MAX_MECHANISM, 1)
    return _write_text(b" ".join(reply.names), envelope)


def _write_line(reply: model.VersionReply | model.Authenticated, envelope: BinaryEnvelope, spec: OpcodeSpec) -> Parts:
    return _write_text(reply.version if isinstance(reply, model.VersionReply) else reply.text, envelope)


def _write_challenge(reply: model.Challenge, envelope: BinaryEnvelope, spec: OpcodeSpec) -> Parts:
    return _write_text(reply.data, envelope, Status.AUTH_CONTINUE)


def _write_stats(reply: model.StatsReply, envelope: BinaryEnvelope, spec: OpcodeSpec) -> Parts:
    parts = []
    for name, value in reply.stats:
        check_bytes("name of a statistic", name, 0xFFFF, 1)
        parts += [_header(envelope, len(name) + len(value), len(name)), name, value]
    return *parts, _header(envelope)


def _write_raw(reply: model.RawReply, envelope: BinaryEnvelope, spec: OpcodeSpec) -> Parts:
    if spec.quiet is Quiet.MISS and reply.status == Status.KEY_NOT_FOUND:
        return ()
    check_bytes("extras", reply.extras, 0xFF)
    check_bytes("key", reply.key, 0xFFFF)
    parts = reply.extras, reply.key, reply.value
    packet = model.Packet(
        _RESPONSE, envelope.opcode, *parts, reply.status, reply.data_type, opaque=envelope.opaque, cas=reply.cas
    )
    return (encode_packet(packet),)


def _write_failure(reply: Failure, envelope: BinaryEnvelope, spec: OpcodeSpec) -> Parts:
    status = reply.status
    check_failure(reply)
    request = envelope.request
    if status == Status.KEY_NOT_FOUND:
        if spec.quiet is Quiet.MISS:
            return ()
        if spec.reply.key is MUST and isinstance(request, Get):
            # The one failure whose body is not a text: the missing key.
            key = _key_of(request)
            return _header(envelope, len(key), len(key), status=status), key
    return _write_text(reply.reason, envelope, status)


def _is_success(reply: AnyReply) -> bool:
    return reply.status == Status.SUCCESS if isinstance(reply, model.RawReply) else not isinstance(reply, Failure)


def _key_of(request: Request[object]) -> bytes:
    return request.keys[0] if isinstance(request, Get) else b""


_Writer = Callable[..., Parts]
_BY_REPLY: dict[type[AnyReply], _Writer] = {
    model.Values: _write_values,
    model.Stored: _write_stored,
    model.Deleted: _write_stored,
    model.Counter: _write_counter,
    model.Touched: _write_touched,
    model.Ok: _write_ok,
    model.VersionReply: _write_line,
    model.StatsReply: _write_stats,
    model.Mechanisms: _write_mechanisms,
    model.Authenticated: _write_line,
    model.Challenge: _write_challenge,
    model.RawReply: _write_raw,
    Failure: _write_failure,
}

_WRITERS: dict[type[AnyRequest], dict[type[AnyReply], _Writer]] = {
    request: {reply: _BY_REPLY[reply] for reply in (*request.reply_types(), Failure) if reply in _BY_REPLY}
    for request in get_args(AnyRequest)
}
# Its own reply is a failure.
_WRITERS[model.InvalidRequest] = {Failure: _write_failure}


def reply_parts(reply: AnyReply, envelope: BinaryEnvelope, spec: OpcodeSpec) -> Parts:
    """The bytes that answer this request, in pieces; none where the quiet rules forbid an answer.

    Raises LocalProtocolError if the reply does not answer this kind of request or does not fit the wire.
    """
    write = _WRITERS[type(envelope.request)].get(type(reply))
    if write is None:
        raise LocalProtocolError(f"{type(reply).__name__} does not answer {type(envelope.request).__name__}")
    if spec.quiet is _SUCCESS and _is_success(reply):
        return ()
    return write(reply, envelope, spec)
