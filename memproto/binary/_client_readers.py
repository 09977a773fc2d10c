"""Replies as the client reads them: one reader for each form of reply.

``read`` takes the regular form: the first eight bytes of the header are compared as one number. ``read_packet`` takes
any packet of the reply, and is strict. Both make the reply of a success with ``make``.
"""

from __future__ import annotations

from typing import Final

from memproto import model
from memproto._wire.buffer import ReceiveBuffer
from memproto._wire.exchange import Exchange, ReplyReader
from memproto.binary._layout import COUNTER, FLAGS, MAY, MUST, OPCODES, OpcodeSpec
from memproto.binary._operations import OPERATIONS
from memproto.binary._packet import HEADER_SIZE, first_of, shape_fault, take_packet, unpack_header, unpack_short
from memproto.errors import RemoteProtocolError
from memproto.limits import Limits
from memproto.model import STATUSES, AnyReply, Failure, Get, Magic, Request, Status

_RESPONSE = int(Magic.RESPONSE)
_NOT_FOUND: Final = Status.KEY_NOT_FOUND
_FLAGS_SIZE: Final = FLAGS.size
_COUNTER_SIZE: Final = COUNTER.size
_unpack_flags = FLAGS.packer.unpack_from
_unpack_counter = COUNTER.packer.unpack_from
#: More than any body.
_UNLIMITED: Final = 1 << 32


class PacketReader(ReplyReader):
    """Reads the packet that answers an ``Unknown``: all of it, whatever its form. The base of the other readers."""

    __slots__ = ("spec",)

    #: How many opaques behind the request's first belong to it too.
    more = 0

    def __init__(self, spec: OpcodeSpec) -> None:
        self.spec = spec

    def check_opcode(self, opcode: int) -> None:
        """Raise RemoteProtocolError unless the opcode of a reply is that of its request."""
        if opcode != self.spec.opcode:
            raise RemoteProtocolError(f"opcode of the reply is {opcode:#04x}, of the request {self.spec.opcode:#04x}")

    def read_packet(self, data: bytes, at: int, request: Request[object], index: int) -> AnyReply | None:
        """Read the packet that is complete at ``at``; the reply if that is complete now.

        ``index`` is the number of its opaque among those of the request. Raises RemoteProtocolError if the packet
        cannot be an answer to the request.
        """
        packet, _ = take_packet(data, at)
        self.check_opcode(packet.opcode)
        status = packet.vbucket_or_status
        if status:
            return self.failure(status, request, packet.key, packet.value)
        return model.RawReply(status, packet.extras, packet.key, packet.value, packet.cas, packet.data_type)

    def skip_packet(self, opcode: int, status: int, failure: Failure, index: int) -> AnyReply | None:
        """Do without a packet that is over a limit; the reply if it is complete when the packet has gone by.

        Raises RemoteProtocolError.
        """
        self.check_opcode(opcode)
        return failure

    def failure(self, status: int, request: Request[object], key: bytes, value: bytes) -> AnyReply:
        """The reply that a packet with a status gives, which is not always a failure."""
        known = STATUSES.get(status)
        if known is None:
            return Failure(status, value)
        return Failure(known, None if value == known.text else value)


class SingleReply(PacketReader):
    """One packet is the whole reply. Its regular form is a success without a key, with the first of the extras.

    This class makes the reply of a success that says no more; the others derive from it.
    """

    __slots__ = ("extras", "first", "least", "most")

    def __init__(self, spec: OpcodeSpec) -> None:
        super().__init__(spec)
        extras = spec.reply.extras
        self.extras = extras[0].size if extras else 0
        self.first = first_of(_RESPONSE, spec.opcode, extras=self.extras)
        self.least = self.extras
        self.most = _UNLIMITED if spec.reply.value is MAY else self.extras

    def make(self, request: Request[object], data: bytes, at: int, value_at: int, end: int, cas: int) -> AnyReply:
        """The reply of a success, whose extras and value are at these places."""
        return model.Ok()

    def read(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        data, at = buffer.data, buffer.at
        if len(data) - at < HEADER_SIZE:
            return None
        first, body_length, opaque, cas = unpack_short(data, at)
        if first != self.first or opaque != exchange._opaque or not self.least <= body_length <= self.most:
            return None
        at += HEADER_SIZE
        end, value_at = at + body_length, at + self.extras
        if end > len(data) or end - value_at > limits.value:
            return None
        buffer.at = end
        return self.make(exchange.request, data, at, value_at, end, cas)

    def read_packet(self, data: bytes, at: int, request: Request[object], index: int) -> AnyReply | None:
        _, opcode, key_length, extras_length, _, status, body_length, _, cas = unpack_header(data, at)
        self.check_opcode(opcode)
        extras_at = at + HEADER_SIZE
        key_at = extras_at + extras_length
        value_at, end = key_at + key_length, extras_at + body_length
        if status:
            return self.failure(status, request, data[key_at:value_at], data[value_at:end])
        fault = shape_fault(self.spec.reply, f"a reply to {self.spec.name}", extras_length, key_length, end - value_at)
        if fault is not None:
            raise RemoteProtocolError(fault)
        self.check(request, data[key_at:value_at], end - value_at)
        return self.make(request, data, extras_at, value_at, end, cas)

    def check(self, request: Request[object], key: bytes, value_length: int) -> None:
        """Raise RemoteProtocolError unless a success of the right shape answers this request."""


class GetReply(SingleReply):
    """A hit or a miss of one key."""

    __slots__ = ("miss",)

    def __init__(self, spec: OpcodeSpec) -> None:
        super().__init__(spec)
        self.miss = first_of(_RESPONSE, spec.opcode, status=_NOT_FOUND)

    def make(self, request: Request[object], data: bytes, at: int, value_at: int, end: int, cas: int) -> model.Values:
        assert isinstance(request, Get)
        return model.Values((model.Item(request.keys[0], data[value_at:end], _unpack_flags(data, at)[0], cas),))

    def read(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        data, at = buffer.data, buffer.at
        if len(data) - at < HEADER_SIZE:
            return None
        first, body_length, opaque, cas = unpack_short(data, at)
        at += HEADER_SIZE
        end = at + body_length
        if opaque != exchange._opaque or end > len(data):
            return None
        if first == self.first:
            value_at = at + _FLAGS_SIZE
            if not value_at <= end <= value_at + limits.value:
                return None
            buffer.at = end
            return self.make(exchange.request, data, at, value_at, end, cas)
        if first != self.miss or body_length > limits.value:
            return None
        buffer.at = end
        return model.Values()

    def check(self, request: Request[object], key: bytes, value_length: int) -> None:
        if self.spec.reply.key is MUST:
            _compare_key(key, request)

    def failure(self, status: int, request: Request[object], key: bytes, value: bytes) -> AnyReply:
        if status != _NOT_FOUND:
            return super().failure(status, request, key, value)
        if self.spec.reply.key is MUST and key:
            _compare_key(key, request)
        return model.Values()


def _compare_key(key: bytes, request: Request[object]) -> None:
    assert isinstance(request, Get)
    if key != request.keys[0]:
        raise RemoteProtocolError(f"key of the reply is {key!r}, asked was {request.keys[0]!r}")


class StoreReply(SingleReply):
    """A store that succeeded."""

    __slots__ = ()

    def make(self, request: Request[object], data: bytes, at: int, value_at: int, end: int, cas: int) -> model.Stored:
        return model.Stored(cas)


class DeleteReply(SingleReply):
    """A deletion that succeeded."""

    __slots__ = ()

    def make(self, request: Request[object], data: bytes, at: int, value_at: int, end: int, cas: int) -> model.Deleted:
        return model.Deleted(cas)


class CounterReply(SingleReply):
    """The new number of a counter."""

    __slots__ = ()

    def __init__(self, spec: OpcodeSpec) -> None:
        super().__init__(spec)
        self.least = self.most = _COUNTER_SIZE

    def make(self, request: Request[object], data: bytes, at: int, value_at: int, end: int, cas: int) -> model.Counter:
        return model.Counter(_unpack_counter(data, value_at)[0], cas)

    def check(self, request: Request[object], key: bytes, value_length: int) -> None:
        if value_length != _COUNTER_SIZE:
            raise RemoteProtocolError(f"counter is {value_length} bytes, must be {_COUNTER_SIZE}")


class TouchReply(SingleReply):
    """A touch that succeeded, with the flags of the item or without."""

    __slots__ = ()

    def make(self, request: Request[object], data: bytes, at: int, value_at: int, end: int, cas: int) -> model.Touched:
        return model.Touched(_unpack_flags(data, at)[0] if at < value_at else None, cas)


class VersionTextReply(SingleReply):
    """The version of the server."""

    __slots__ = ()

    def make(
        self, request: Request[object], data: bytes, at: int, value_at: int, end: int, cas: int
    ) -> model.VersionReply:
        return model.VersionReply(data[value_at:end])


class MechanismsReply(SingleReply):
    """The names of the mechanisms for authentication."""

    __slots__ = ()

    def make(
        self, request: Request[object], data: bytes, at: int, value_at: int, end: int, cas: int
    ) -> model.Mechanisms:
        return model.Mechanisms(tuple(data[value_at:end].split()))


class AuthenticationReply(SingleReply):
    """The verdict on credentials, or the server's challenge."""

    __slots__ = ()

    def make(
        self, request: Request[object], data: bytes, at: int, value_at: int, end: int, cas: int
    ) -> model.Authenticated:
        return model.Authenticated(data[value_at:end])

    def failure(self, status: int, request: Request[object], key: bytes, value: bytes) -> AnyReply:
        if status == Status.AUTH_CONTINUE:
            return model.Challenge(value)
        return super().failure(status, request, key, value)


#: What reads the replies of one packet, by the reply to a success.
SINGLE: Final[dict[type[object], type[SingleReply]]] = {
    model.Values: GetReply,
    model.Stored: StoreReply,
    model.Deleted: DeleteReply,
    model.Counter: CounterReply,
    model.Touched: TouchReply,
    model.Ok: SingleReply,
    model.VersionReply: VersionTextReply,
    model.Mechanisms: MechanismsReply,
    model.Authenticated: AuthenticationReply,
}

#: The readers of the replies of one packet, by opcode.
READERS: Final = {
    opcode: SINGLE[operation.request.reply_types()[0]](OPCODES[opcode])
    for opcode, operation in OPERATIONS.items()
    if operation.request is not model.Stats
}
