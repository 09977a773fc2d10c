"""The client's half of the binary dialect: requests laid out, and the replies to each collected.

A *collector* knows the opaques of one request and turns the packets that carry them into its reply.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from memproto._binary_messages import opcode_for
from memproto._binary_replies import read_reply
from memproto._binary_requests import request_parts
from memproto._buffer import ReceiveBuffer
from memproto._collecting import Advance, Asked, Gathered, PacketCollector, Waiting
from memproto._layout import EXPIRATION, OPCODES, OpcodeSpec, Quiet
from memproto._packet import (
    HEADER_SIZE,
    check_bytes,
    lengths_fault,
    unpack_header,
    write_header,
    wrong_magic,
)
from memproto._plain import plain
from memproto.enums import Magic, Opcode
from memproto.errors import LocalProtocolError, RemoteProtocolError
from memproto.limits import MAX_KEY, Limits
from memproto.messages import (
    AnyReply,
    Failure,
    Get,
    Noop,
    Packet,
    Request,
    Stats,
    StatsReply,
    Unknown,
)

_OPAQUES = 1 << 32
_RESPONSE = int(Magic.RESPONSE)


class _One(PacketCollector):
    """One packet is the whole reply."""

    __slots__ = ("request", "spec")

    def __init__(self, request: Request[object], spec: OpcodeSpec, opaque: int) -> None:
        self.request = request
        self.spec = spec
        self.opaque = opaque

    def covers(self, opaque: int) -> bool:
        return opaque == self.opaque

    def take(self, packet: Packet) -> AnyReply | None:
        return read_reply(packet, self.request, self.spec)


class _Statistics(_One):
    """STAT: a packet per statistic until one without a name."""

    __slots__ = ("limits", "size", "stats")

    def __init__(self, request: Stats, spec: OpcodeSpec, opaque: int, limits: Limits) -> None:
        super().__init__(request, spec, opaque)
        self.limits = limits
        self.stats: list[tuple[bytes, bytes]] = []
        self.size = 0

    def take(self, packet: Packet) -> AnyReply | None:
        reply = read_reply(packet, self.request, self.spec)
        if not isinstance(reply, StatsReply):
            return reply
        if not reply.stats:
            return StatsReply(tuple(self.stats))
        self.stats += reply.stats
        self.size += len(packet.key) + len(packet.value)
        if len(self.stats) > self.limits.stats:
            raise RemoteProtocolError(f"statistics are {len(self.stats)} and more, limit is {self.limits.stats}")
        if self.size > self.limits.answer:
            raise RemoteProtocolError(f"statistics are {self.size} bytes and more, limit is {self.limits.answer}")
        return None


class _Many(PacketCollector):
    """A multi-key get: one quiet get per key, each with its own opaque, then a NOOP that ends them."""

    __slots__ = ("gathered", "keys", "next", "spec")

    def __init__(self, keys: tuple[bytes, ...], spec: OpcodeSpec, opaque: int, limits: Limits) -> None:
        self.keys = keys
        self.spec = spec
        self.opaque = opaque
        self.gathered = Gathered(limits)
        self.next = 0

    def covers(self, opaque: int) -> bool:
        return (opaque - self.opaque) % _OPAQUES <= len(self.keys)

    def take(self, packet: Packet) -> AnyReply | None:
        index = (packet.opaque - self.opaque) % _OPAQUES
        if index == len(self.keys):
            reply = read_reply(packet, Noop(), OPCODES[Opcode.NOOP])
            if isinstance(reply, Failure):
                return reply
            return self.gathered.reply()
        if index < self.next:
            raise RemoteProtocolError(f"key {self.keys[index]!r} is answered twice or out of order")
        self.next = index + 1
        self.gathered.add(read_reply(packet, Get((self.keys[index],)), self.spec))
        return None


class BinaryClient:
    """Lays out requests with opaques of their own, and reads reply packets."""

    __slots__ = ("_limits", "_opaque", "_specs")

    def __init__(self, limits: Limits, opcodes: Iterable[OpcodeSpec] = ()) -> None:
        self._limits = limits
        self._specs: Mapping[int, OpcodeSpec] = {**OPCODES, **{spec.opcode: spec for spec in opcodes}}
        self._opaque = 0

    def ask(self, request: Request[object], quiet: bool = False) -> Asked:
        """Lay out a request. Raises LocalProtocolError."""
        request = plain(request)
        if isinstance(request, Get) and len(request.keys) != 1:
            return self._ask_many(request)
        opaque = self._opaque
        if isinstance(request, Unknown):
            opcode = request.packet.opcode
            spec = self._specs.get(opcode) or OpcodeSpec(opcode, "UNKNOWN")
            quiet = spec.quiet is not Quiet.NOTHING
        else:
            opcode = opcode_for(request, quiet)
            spec = OPCODES[opcode]
        parts = request_parts(request, opcode, opaque)
        self._opaque = (opaque + 1) % _OPAQUES
        if isinstance(request, Stats):
            return Asked(parts, quiet, _Statistics(request, spec, opaque, self._limits))
        return Asked(parts, quiet, _One(request, spec, opaque))

    def _ask_many(self, request: Get) -> Asked:
        keys = request.keys
        if not 1 <= len(keys) <= self._limits.keys:
            raise LocalProtocolError(f"keys are {len(keys)}, must be 1 to {self._limits.keys}")
        opcode, extras = Opcode.GETKQ, b""
        if request.exptime is not None:
            opcode, extras = Opcode.GATKQ, EXPIRATION.pack_checked(request.exptime)
        first = opaque = self._opaque
        size = len(extras)
        pieces: list[bytes] = []
        for key in keys:
            check_bytes("key", key, MAX_KEY, 1)
            length = len(key)
            pieces += (write_header(Magic.REQUEST, opcode, length, size, 0, 0, size + length, opaque, 0), extras, key)
            opaque = (opaque + 1) % _OPAQUES
        pieces.append(write_header(Magic.REQUEST, Opcode.NOOP, 0, 0, 0, 0, 0, opaque, 0))
        self._opaque = (opaque + 1) % _OPAQUES
        return Asked((b"".join(pieces),), False, _Many(keys, OPCODES[opcode], first, self._limits))

    def advance(self, buffer: ReceiveBuffer, waiting: Iterable[Waiting]) -> Advance | None:
        """Read on, up to the end of a reply; ``None`` for "more bytes are needed". Raises RemoteProtocolError."""
        packet = self._read(buffer)
        if packet is None:
            return None
        for silent, exchange in enumerate(waiting):
            collector = exchange.collector
            assert isinstance(collector, PacketCollector)
            if collector.covers(packet.opaque):
                return Advance(silent, collector.take(packet))
            if not exchange.quiet:
                due = collector.opaque
                raise RemoteProtocolError(f"opaque of a reply is {packet.opaque:#010x}, due is {due:#010x}")
        raise RemoteProtocolError(f"opaque of a reply is {packet.opaque:#010x}, which was not asked for")

    def _read(self, buffer: ReceiveBuffer) -> Packet | None:
        """The next reply packet, or ``None`` for "more bytes are needed". Raises RemoteProtocolError."""
        if buffer.need:
            return None
        if len(buffer.data) - buffer.at < HEADER_SIZE and not self._has_header(buffer):
            return None
        data, at = buffer.data, buffer.at
        magic, opcode, key_length, extras_length, data_type, status, body_length, opaque, cas = unpack_header(data, at)
        if magic != _RESPONSE:
            raise RemoteProtocolError(wrong_magic(magic, Magic.RESPONSE))
        limits = self._limits
        if (
            not 0 <= body_length - key_length - extras_length <= limits.value
            or HEADER_SIZE + extras_length + key_length > limits.head
        ):
            raise self._length_fault(body_length, extras_length, key_length)
        end = at + HEADER_SIZE + body_length
        if len(data) < end:
            if not buffer.gather(HEADER_SIZE + body_length):
                return None
            data, at = buffer.data, buffer.at
            end = at + HEADER_SIZE + body_length
        buffer.at = end
        at += HEADER_SIZE
        key_at = at + extras_length
        value_at = key_at + key_length
        return Packet(
            magic, opcode, data[at:key_at], data[key_at:value_at], data[value_at:end], status, data_type, opaque, cas
        )

    def _has_header(self, buffer: ReceiveBuffer) -> bool:
        # A wrong first byte is reported as soon as it is there.
        if not buffer.gather(1):
            return False
        if buffer.data[buffer.at] != _RESPONSE:
            raise RemoteProtocolError(wrong_magic(buffer.data[buffer.at], Magic.RESPONSE))
        return buffer.gather(HEADER_SIZE)

    def _length_fault(self, body_length: int, extras_length: int, key_length: int) -> RemoteProtocolError:
        value_length = body_length - extras_length - key_length
        if value_length < 0:
            return RemoteProtocolError(lengths_fault(body_length, extras_length, key_length))
        if value_length > self._limits.value:
            return RemoteProtocolError(f"value is {value_length} bytes, limit is {self._limits.value}")
        head = HEADER_SIZE + extras_length + key_length
        return RemoteProtocolError(f"header, extras and key are {head} bytes, limit is {self._limits.head}")
