"""Replies of several packets as the client reads them: to a multi-key get, and to STAT."""

from __future__ import annotations

from typing import Final

from memproto._wire.buffer import ReceiveBuffer
from memproto._wire.exchange import OPAQUES, Exchange
from memproto._wire.growing import GrowingItems, GrowingStatistics
from memproto.binary._client_readers import READERS, PacketReader
from memproto.binary._layout import FLAGS, OpcodeSpec
from memproto.binary._packet import HEADER_SIZE, KEY_BYTE, SHORT, shape_fault, unpack_short, with_extras
from memproto.errors import RemoteProtocolError
from memproto.limits import Limits
from memproto.model import AnyReply, Failure, Get, Item, Opcode, RawReply, Request

#: A header in four numbers, and flags.
_unpack_hit = with_extras(SHORT, FLAGS).unpack_from
#: Header and flags.
HIT_SIZE: Final = HEADER_SIZE + FLAGS.size
_END: Final = READERS[Opcode.NOOP]


class StatisticsReply(PacketReader):
    """STAT: a packet for each statistic until one without a name."""

    __slots__ = ("growing",)

    def __init__(self, spec: OpcodeSpec, limits: Limits) -> None:
        super().__init__(spec)
        self.growing = GrowingStatistics(limits)

    def read_packet(self, data: bytes, at: int, request: Request[object], index: int) -> AnyReply | None:
        reply = super().read_packet(data, at, request, index)
        if not isinstance(reply, RawReply):
            return reply
        name, value = reply.key, reply.value
        fault = shape_fault(self.spec.reply, "a reply to STAT", len(reply.extras), len(name), len(value))
        if fault is not None:
            raise RemoteProtocolError(fault)
        if name:
            self.growing.add(name, value, len(name) + len(value))
            return None
        if value:
            raise RemoteProtocolError(f"statistic without a name has a value of {len(value)} bytes")
        return self.growing.reply()

    def skip_packet(self, opcode: int, status: int, failure: Failure, index: int) -> AnyReply | None:
        self.check_opcode(opcode)
        if status:
            return failure
        self.growing.fail(failure)
        return None


class MultiGetReply(PacketReader):
    """A multi-key get: one quiet get for each key, each with its own opaque, then a NOOP that ends them."""

    __slots__ = ("firsts", "growing", "item", "keys", "more", "next")

    def __init__(self, keys: tuple[bytes, ...], spec: OpcodeSpec, limits: Limits) -> None:
        super().__init__(spec)
        self.keys = keys
        self.more = len(keys)
        self.item = READERS[spec.opcode]
        #: How a hit begins, by the length of its key.
        self.firsts = {length: self.item.first + length * KEY_BYTE for length in set(map(len, keys))}
        self.growing = GrowingItems(limits)
        self.next = 0

    def read(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        # For speed the loop repeats the form of a hit that GetReply states too.
        data, at, keys, serial, ahead = buffer.data, buffer.at, self.keys, exchange._opaque, self.next
        growing, count, here, most = self.growing, self.more, len(data), limits.value
        if growing.size + here - at > limits.answer:
            # Near the limit the sum is looked at value by value.
            return None
        keep, firsts, expected, total = growing.items.append, self.firsts, serial + ahead, growing.size
        while here - at >= HIT_SIZE:
            first, body_length, opaque, cas, flags = _unpack_hit(data, at)
            if opaque != expected:
                # Misses are left out.
                index = (opaque - serial) % OPAQUES
                if not ahead <= index < count:
                    break
                ahead, expected = index, opaque
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
            expected += 1
        buffer.at, self.next, growing.size = at, ahead, total
        if here - at < HEADER_SIZE:
            return None
        first, body_length, opaque, _ = unpack_short(data, at)
        if first != _END.first or body_length or opaque != (serial + count) % OPAQUES:
            return None
        buffer.at = at + HEADER_SIZE
        return growing.reply()

    def read_packet(self, data: bytes, at: int, request: Request[object], index: int) -> AnyReply | None:
        if index == len(self.keys):
            reply = _END.read_packet(data, at, request, 0)
            return reply if isinstance(reply, Failure) else self.growing.reply()
        self._advance_to(index)
        reply = self.item.read_packet(data, at, Get((self.keys[index],)), 0)
        assert reply is not None
        self.growing.add(reply)
        return None

    def skip_packet(self, opcode: int, status: int, failure: Failure, index: int) -> AnyReply | None:
        if index == len(self.keys):
            _END.check_opcode(opcode)
            return failure
        self.check_opcode(opcode)
        self._advance_to(index)
        self.growing.fail(failure)
        return None

    def _advance_to(self, index: int) -> None:
        """Note that this key is answered. Raises RemoteProtocolError if it is not behind the one before."""
        if index < self.next:
            raise RemoteProtocolError(f"key {self.keys[index]!r} is answered twice or out of order")
        self.next = index + 1
