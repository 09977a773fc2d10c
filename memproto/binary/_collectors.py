"""Binary replies, read in the light of their requests: each collector turns packets into the reply.

The usual ones have a short way: the first eight bytes of a header, in which stands all that tells one form of packet
from another, are compared as one number. Whatever is unusual goes the long and stricter way.
"""

from __future__ import annotations

import struct
from typing import Final

from memproto._wire.buffer import ReceiveBuffer
from memproto._wire.exchange import OPAQUES, Exchange, Gathered, GatheredStatistics, PacketCollector, TooLarge
from memproto.binary._layout import FLAGS, HEADER, OPCODES, OpcodeSpec
from memproto.binary._packet import HEADER_SIZE, pack_header
from memproto.binary._replies import check_opcode, read_reply
from memproto.errors import RemoteProtocolError
from memproto.limits import Limits
from memproto.model import (
    AnyReply,
    Deleted,
    Failure,
    Get,
    Item,
    Magic,
    Noop,
    Opcode,
    Packet,
    StatsReply,
    Status,
    Stored,
    Values,
)

_RESPONSE = int(Magic.RESPONSE)

# --- headers in four numbers: the first eight bytes, then body length, opaque and CAS

_REST = "".join(field.code for field in HEADER.fields if field.name in ("body_length", "opaque", "cas"))
#: A header in four numbers.
SHORT = struct.Struct(">Q" + _REST)
unpack_short = SHORT.unpack_from
pack_short = SHORT.pack
_unpack_hit = struct.Struct(">Q" + _REST + FLAGS.fields[0].code).unpack_from
#: Header and flags.
HIT_SIZE: Final = HEADER_SIZE + FLAGS.size


def first_of(magic: int, opcode: int, key: int = 0, extras: int = 0, status: int = 0) -> int:
    """The first eight bytes of a header as one number."""
    first: int = unpack_short(pack_header(magic, opcode, key, extras, 0, status, 0, 0, 0))[0]
    return first


#: What one more byte of key adds to that number.
KEY_BYTE: Final = first_of(0, 0, 1)
_FENCED: Final = first_of(_RESPONSE, Opcode.NOOP)


# --- replies


class One(PacketCollector):
    """One packet is the whole reply."""

    __slots__ = ("spec",)

    def __init__(self, spec: OpcodeSpec) -> None:
        self.spec = spec

    def take(self, packet: Packet, exchange: Exchange[object]) -> AnyReply | None:
        return read_reply(packet, exchange.request, self.spec)

    def skip(self, packet: TooLarge, exchange: Exchange[object]) -> AnyReply | None:
        check_opcode(packet.opcode, self.spec)
        return packet.failure


class OneCas(One):
    """A success that tells a CAS and no more."""

    __slots__ = ("first", "kind")

    def __init__(self, spec: OpcodeSpec, kind: type[Stored] | type[Deleted]) -> None:
        super().__init__(spec)
        self.first = first_of(_RESPONSE, spec.opcode)
        self.kind = kind

    def read(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        data, at = buffer.data, buffer.at
        if len(data) - at < HEADER_SIZE:
            return None
        first, body_length, opaque, cas = unpack_short(data, at)
        if first != self.first or body_length or opaque != exchange._opaque:
            return None
        buffer.at = at + HEADER_SIZE
        return self.kind(cas)


class OneItem(One):
    """A hit or a miss, without the key."""

    __slots__ = ("hit", "miss")

    def __init__(self, spec: OpcodeSpec) -> None:
        super().__init__(spec)
        self.hit = first_of(_RESPONSE, spec.opcode, extras=FLAGS.size)
        self.miss = first_of(_RESPONSE, spec.opcode, status=Status.KEY_NOT_FOUND)

    def read(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        data, at = buffer.data, buffer.at
        if len(data) - at < HIT_SIZE:
            return None
        first, body_length, opaque, cas, flags = _unpack_hit(data, at)
        start, end = at + HIT_SIZE, at + HEADER_SIZE + body_length
        if opaque != exchange._opaque or body_length - FLAGS.size > limits.value or end > len(data):
            return None
        if first == self.hit and start <= end:
            request = exchange.request
            assert isinstance(request, Get)
            buffer.at = end
            return Values((Item(request.keys[0], data[start:end], flags, cas),))
        if first == self.miss and body_length <= limits.value:
            buffer.at = end
            return Values()
        return None


class Statistics(One):
    """STAT: a packet per statistic until one without a name."""

    __slots__ = ("gathered",)

    def __init__(self, spec: OpcodeSpec, limits: Limits) -> None:
        super().__init__(spec)
        self.gathered = GatheredStatistics(limits)

    def take(self, packet: Packet, exchange: Exchange[object]) -> AnyReply | None:
        reply = read_reply(packet, exchange.request, self.spec)
        if not isinstance(reply, StatsReply):
            return reply
        if not reply.stats:
            return self.gathered.reply()
        ((name, value),) = reply.stats
        self.gathered.add(name, value, len(name) + len(value))
        return None

    def skip(self, packet: TooLarge, exchange: Exchange[object]) -> AnyReply | None:
        check_opcode(packet.opcode, self.spec)
        if packet.status:
            return packet.failure
        self.gathered.refuse(packet.failure)
        return None


class Many(PacketCollector):
    """A multi-key get: one quiet get per key, each with its own opaque, then a NOOP that ends them."""

    __slots__ = ("firsts", "gathered", "keys", "more", "next", "spec")

    def __init__(self, keys: tuple[bytes, ...], spec: OpcodeSpec, limits: Limits) -> None:
        self.keys = keys
        self.more = len(keys)
        self.spec = spec
        hit = first_of(_RESPONSE, spec.opcode, extras=FLAGS.size)
        #: How a hit begins, by the length of its key.
        self.firsts = {length: hit + length * KEY_BYTE for length in set(map(len, keys))}
        self.gathered = Gathered(limits)
        self.next = 0

    def read(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        """Take the hits that are here whole; the reply if the end is here too."""
        data, at, keys, serial, ahead = buffer.data, buffer.at, self.keys, exchange._opaque, self.next
        gathered, count, here, most = self.gathered, self.more, len(data), limits.value
        if gathered.size + here - at > limits.answer:
            # Near the limit the sum is looked at value by value.
            return None
        keep, firsts, due, total = gathered.items.append, self.firsts, serial + ahead, gathered.size
        while here - at >= HIT_SIZE:
            first, body_length, opaque, cas, flags = _unpack_hit(data, at)
            if opaque != due:
                # Misses are left out.
                index = (opaque - serial) % OPAQUES
                if not ahead <= index < count:
                    break
                ahead, due = index, opaque
            elif ahead == count:
                break
            key = keys[ahead]
            length = len(key)
            key_at, end = at + HIT_SIZE, at + HEADER_SIZE + body_length
            start = key_at + length
            if first != firsts[length] or not start <= end <= here or end - start > most or data[key_at:start] != key:
                break
            keep(Item(key, data[start:end], flags, cas))
            total += end - start
            at = end
            ahead += 1
            due += 1
        buffer.at, self.next, gathered.size = at, ahead, total
        if here - at < HEADER_SIZE:
            return None
        first, body_length, opaque, _ = unpack_short(data, at)
        if first != _FENCED or body_length or opaque != (serial + count) % OPAQUES:
            return None
        buffer.at = at + HEADER_SIZE
        return gathered.reply()

    def take(self, packet: Packet, exchange: Exchange[object]) -> AnyReply | None:
        index = (packet.opaque - exchange._opaque) % OPAQUES
        if index == len(self.keys):
            reply = read_reply(packet, Noop(), OPCODES[Opcode.NOOP])
            if isinstance(reply, Failure):
                return reply
            return self.gathered.reply()
        self.advance_to(index)
        self.gathered.add(read_reply(packet, Get((self.keys[index],)), self.spec))
        return None

    def skip(self, packet: TooLarge, exchange: Exchange[object]) -> AnyReply | None:
        index = (packet.opaque - exchange._opaque) % OPAQUES
        if index == len(self.keys):
            check_opcode(packet.opcode, OPCODES[Opcode.NOOP])
            return packet.failure
        check_opcode(packet.opcode, self.spec)
        self.advance_to(index)
        self.gathered.refuse(packet.failure)
        return None

    def advance_to(self, index: int) -> None:
        """Note that this key is answered. Raises RemoteProtocolError if it is not behind the one before."""
        if index < self.next:
            raise RemoteProtocolError(f"key {self.keys[index]!r} is answered twice or out of order")
        self.next = index + 1
