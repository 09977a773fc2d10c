"""The client's half of the binary dialect: requests laid out, and the packets that come told whose they are."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, TypeVar

from memproto._wire.buffer import ReceiveBuffer
from memproto._wire.checks import check_bytes
from memproto._wire.exchange import OPAQUES, Exchange, PacketCollector, TooLarge, too_large
from memproto.binary._collectors import (
    HIT_SIZE,
    KEY_BYTE,
    SHORT,
    Many,
    One,
    OneCas,
    OneItem,
    Statistics,
    first_of,
    pack_short,
)
from memproto.binary._layout import EXPIRATION, OPCODES, STORE, OpcodeSpec, Quiet
from memproto.binary._operations import opcode_for
from memproto.binary._packet import HEADER_SIZE, lengths_fault, unpack_header, wrong_magic
from memproto.binary._requests import request_parts
from memproto.errors import LocalProtocolError, RemoteProtocolError
from memproto.limits import MAX_KEY, Limits
from memproto.model import (
    Add,
    AnyReply,
    Delete,
    Deleted,
    Failure,
    Get,
    Magic,
    Opcode,
    Packet,
    Replace,
    Request,
    Set,
    Silence,
    Stats,
    Stored,
    Unknown,
)
from memproto.model._checks import check_request
from memproto.model._meta_options import without_meta_options

R = TypeVar("R")

_REQUEST, _RESPONSE = int(Magic.REQUEST), int(Magic.RESPONSE)

# --- the usual requests, by a short way; ``None`` for whatever the long one must look at

_Lay = Callable[..., tuple[bytes, ...] | None]

_pack_store = struct.Struct(SHORT.format + STORE.packer.format[1:]).pack


def _lay_get(request: Get, first: int, opaque: int) -> tuple[bytes, ...] | None:
    keys = request.keys
    if type(keys) is not tuple or len(keys) != 1 or request.exptime is not None or request.meta is not None:
        return None
    key = keys[0]
    if type(key) is not bytes or not 0 < len(key) <= MAX_KEY:
        return None
    return (pack_short(first + len(key) * KEY_BYTE, len(key), opaque, 0) + key,)


def _lay_delete(request: Delete, first: int, opaque: int) -> tuple[bytes, ...] | None:
    key, cas = request.key, request.cas
    if type(key) is not bytes or not 0 < len(key) <= MAX_KEY or request.meta is not None:
        return None
    if cas or type(cas) is not int:
        return None
    return (pack_short(first + len(key) * KEY_BYTE, len(key), opaque, 0) + key,)


def _lay_store(request: Set | Add | Replace, first: int, opaque: int) -> tuple[bytes, ...] | None:
    key, value = request.key, request.value
    if type(key) is not bytes or not 0 < len(key) <= MAX_KEY or type(value) is not bytes or request.meta is not None:
        return None
    first, body_length = first + len(key) * KEY_BYTE, STORE.size + len(key) + len(value)
    try:
        return _pack_store(first, body_length, opaque, request.cas, request.flags, request.exptime) + key, value
    except struct.error:
        return None


def _short_ways() -> Iterator[tuple[bool, type[Request[object]], tuple[_Lay, int, PacketCollector]]]:
    for opcode, kind, lay, extras in (
        (Opcode.GET, Get, _lay_get, 0),
        (Opcode.DELETE, Delete, _lay_delete, 0),
        (Opcode.SET, Set, _lay_store, STORE.size),
        (Opcode.ADD, Add, _lay_store, STORE.size),
        (Opcode.REPLACE, Replace, _lay_store, STORE.size),
    ):
        for spec in (OPCODES[opcode], OPCODES[OPCODES[opcode].twin or opcode]):
            one = OneItem(spec) if kind is Get else OneCas(spec, Deleted if kind is Delete else Stored)
            yield spec.opcode != opcode, kind, (lay, first_of(_REQUEST, spec.opcode, extras=extras), one)


# By whether it is quiet: how to lay a kind of request out, the first eight bytes, and what reads its reply.
_SHORT_WAYS: Final = {
    wanted: {kind: way for quiet, kind, way in _short_ways() if quiet is wanted} for wanted in (False, True)
}


class BinaryClient:
    """Lays out requests with opaques of their own, and reads reply packets."""

    __slots__ = ("_limits", "_silent", "_skipped", "_skipping", "_specs", "_wide", "opaque", "regular")

    def __init__(self, limits: Limits, opcodes: Iterable[OpcodeSpec] = (), first_opaque: int = 0) -> None:
        self._limits = limits
        self._specs: Mapping[int, OpcodeSpec] = {**OPCODES, **{spec.opcode: spec for spec in opcodes}}
        self.opaque = first_opaque
        # How many more of those that wait have been passed over by the packet that is next in the buffer.
        self._silent = 0
        # Whether a packet over a limit is being skipped, and the reply that follows from it.
        self._skipping = False
        self._skipped: AnyReply | None = None
        # The readers do not check a limit that no regular reply can reach.
        self._wide = self.regular = limits.head >= HIT_SIZE + MAX_KEY

    def encode(self, request: Request[R], quiet: bool = False) -> Exchange[R]:
        """Encode a request. Raises LocalProtocolError."""
        opaque = self.opaque
        way = _SHORT_WAYS[quiet].get(type(request))
        if way is not None:
            lay, first, one = way
            laid = lay(request, first, opaque)
            if laid is not None:
                self.opaque = (opaque + 1) % OPAQUES
                return Exchange(request, laid, quiet, one, opaque)
        check_request(request)
        bare: Request[object] = without_meta_options(request)
        if isinstance(bare, Get) and len(bare.keys) != 1:
            data, many = self._lay_many(bare)
            return Exchange(request, (data,), False, many, opaque)
        if isinstance(bare, Unknown):
            opcode = bare.packet.opcode
            spec = self._specs.get(opcode) or OpcodeSpec(opcode, "UNKNOWN")
            quiet = spec.quiet is not Quiet.NOTHING
        else:
            opcode = opcode_for(bare, quiet)
            spec = OPCODES[opcode]
        parts = request_parts(bare, opcode, opaque)
        self.opaque = (opaque + 1) % OPAQUES
        one = Statistics(spec, self._limits) if isinstance(bare, Stats) else One(spec)
        return Exchange(request, parts, quiet, one, opaque)

    def _lay_many(self, request: Get) -> tuple[bytes, Many]:
        keys, count = request.keys, len(request.keys)
        if not 1 <= count <= self._limits.keys:
            raise LocalProtocolError(f"keys are {count}, must be 1 to {self._limits.keys}")
        opcode, extras = Opcode.GETKQ, b""
        if request.exptime is not None:
            opcode, extras = Opcode.GATKQ, EXPIRATION.pack_checked(request.exptime)
        _check_keys(keys)
        size, pack = len(extras), pack_short
        first = first_of(_REQUEST, opcode, extras=size)
        firsts = {length: first + length * KEY_BYTE for length in set(map(len, keys))}
        opaques: Iterable[int] = range(self.opaque, self.opaque + count)
        end = (self.opaque + count) % OPAQUES
        if end < count:
            opaques = (opaque % OPAQUES for opaque in opaques)
        rests = [extras + key for key in keys] if extras else keys
        pieces = [
            pack(firsts[length], size + length, opaque, 0) + rest
            for rest, length, opaque in zip(rests, map(len, keys), opaques, strict=True)
        ]
        pieces.append(pack(first_of(_REQUEST, Opcode.NOOP), 0, end, 0))
        self.opaque = (end + 1) % OPAQUES
        return b"".join(pieces), Many(keys, OPCODES[opcode], self._limits)

    def fault_after(self, request: Request[object], failure: Failure) -> str:
        """Never a fault: the opaque of each packet says which request it answers."""
        return ""

    def read_irregular(self, buffer: ReceiveBuffer, waiting: deque[Exchange[object]]) -> AnyReply | Silence | None:
        """The reply to the oldest exchange whatever its form; ``None`` if more bytes are needed.

        Raises RemoteProtocolError.
        """
        if self._silent:
            self._silent -= 1
            return Silence()
        while True:
            if self._skipping:
                if buffer.discarding:
                    return None
                self._skipping, self.regular = False, self._wide
                reply, self._skipped = self._skipped, None
                if reply is not None:
                    return reply
            packet = self._read(buffer)
            if packet is None:
                return None
            index = _answered(packet.opaque, waiting)
            if index:
                # It is read again once those before it have got their silence.
                if isinstance(packet, Packet):
                    buffer.at -= HEADER_SIZE + len(packet.extras) + len(packet.key) + len(packet.value)
                self._silent = index - 1
                return Silence()
            exchange = waiting[0]
            assert isinstance(exchange._reader, PacketCollector)
            if isinstance(packet, TooLarge):
                self._skipped = exchange._reader.skip(packet, exchange)
                self._skipping, self.regular = True, False
                buffer.discard(HEADER_SIZE + packet.body_length)
                continue
            reply = exchange._reader.take(packet, exchange)
            if reply is None and self._wide:
                # Behind an irregular packet, or one that came in pieces, there may be many regular ones.
                reply = exchange._reader.read(buffer, exchange, self._limits)
            if reply is not None:
                return reply

    def _read(self, buffer: ReceiveBuffer) -> Packet | TooLarge | None:
        """The next reply packet, or ``None`` for "more bytes are needed". Raises RemoteProtocolError.

        Of one over a limit nothing is consumed.
        """
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
            what = self._length_fault(body_length, extras_length, key_length)
            return TooLarge(opcode, status, opaque, body_length, too_large(what))
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

    def _length_fault(self, body_length: int, extras_length: int, key_length: int) -> str:
        """Which limit these lengths are over. Raises RemoteProtocolError if they contradict each other."""
        value_length = body_length - extras_length - key_length
        if value_length < 0:
            raise RemoteProtocolError(lengths_fault(body_length, extras_length, key_length))
        if value_length > self._limits.value:
            return f"value is {value_length} bytes, limit is {self._limits.value}"
        head = HEADER_SIZE + extras_length + key_length
        return f"header, extras and key are {head} bytes, limit is {self._limits.head}"


def _check_keys(keys: tuple[bytes, ...]) -> None:
    """Raise LocalProtocolError unless all are keys. They are looked at together: they may be many."""
    if set(map(type, keys)) == {bytes}:
        lengths = set(map(len, keys))
        if min(lengths) >= 1 and max(lengths) <= MAX_KEY:
            return
    for key in keys:
        check_bytes("key", key, MAX_KEY, 1)


def _answered(opaque: int, waiting: Iterable[Exchange[object]]) -> int:
    """Which of those that wait this opaque belongs to. Raises RemoteProtocolError."""
    for index, exchange in enumerate(waiting):
        assert isinstance(exchange._reader, PacketCollector)
        if (opaque - exchange._opaque) % OPAQUES <= exchange._reader.more:
            return index
        if not exchange.quiet:
            raise RemoteProtocolError(f"opaque of a reply is {opaque:#010x}, due is {exchange._opaque:#010x}")
    raise RemoteProtocolError(f"opaque of a reply is {opaque:#010x}, which was not asked for")
