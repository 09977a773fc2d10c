"""The client's half of the binary dialect: it encodes requests, and finds the request that each packet answers."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

from memproto._wire.buffer import ReceiveBuffer
from memproto._wire.checks import check_bytes
from memproto._wire.exchange import OPAQUES, Exchange
from memproto._wire.growing import too_large
from memproto.binary._client_multi_packet import HIT_SIZE, MultiGetReply, StatisticsReply
from memproto.binary._client_readers import READERS, SINGLE, PacketReader, SingleReply
from memproto.binary._layout import EXPIRATION, OPCODES, OpcodeSpec, Quiet
from memproto.binary._operations import OPERATIONS, Encode, encode_request, opcode_for, operation_for
from memproto.binary._packet import (
    HEADER_SIZE,
    KEY_BYTE,
    encode_packet,
    first_of,
    has_header,
    lengths_fault,
    pack_short,
    unpack_header,
)
from memproto.errors import LocalProtocolError, RemoteProtocolError
from memproto.limits import MAX_KEY, Limits
from memproto.model import AnyReply, Failure, Get, Magic, Opcode, Request, Silence, Stats, Unknown
from memproto.model._checks import check_request
from memproto.model._meta_options import without_meta_options

R = TypeVar("R")

_REQUEST, _RESPONSE = int(Magic.REQUEST), int(Magic.RESPONSE)

_Plan = tuple[Encode, int, SingleReply]


def _plans(quiet: bool) -> dict[type[Request[object]], _Plan]:
    plans: dict[type[Request[object]], _Plan] = {}
    for opcode, operation in OPERATIONS.items():
        spec = OPCODES[opcode]
        if operation.encode is not None and (spec.quiet is not Quiet.NOTHING) is quiet:
            extras = spec.request.extras[0].size if spec.request.extras else 0
            first = first_of(_REQUEST, opcode, extras=extras)
            # Of the opcodes of Get, GET is the first.
            plans.setdefault(operation.request, (operation.encode, first, READERS[opcode]))
    return plans


# How to encode a request, the first eight bytes of its header but for the length of the key, and what reads its reply;
# by whether it is quiet.
_PLANS: Final = _plans(False)
_QUIET_PLANS: Final = _plans(True)


class BinaryClient:
    """Encodes requests, each with an opaque of its own, and reads reply packets of any form."""

    __slots__ = ("_limits", "_silent", "_skipped", "_skipping", "_specs", "_wide", "opaque", "regular")

    def __init__(self, limits: Limits, opcodes: Iterable[OpcodeSpec] = (), first_opaque: int = 0) -> None:
        self._limits = limits
        self._specs: Mapping[int, OpcodeSpec] = {**OPCODES, **{spec.opcode: spec for spec in opcodes}}
        self.opaque: int = first_opaque
        # How many more of those that wait have been passed over by the packet that is next in the buffer.
        self._silent = 0
        # Whether a packet over a limit is being skipped, and the reply that follows from it.
        self._skipping = False
        self._skipped: AnyReply | None = None
        # The readers do not check a limit that no regular reply can reach.
        self._wide: bool = limits.head >= HIT_SIZE + MAX_KEY
        self.regular: bool = self._wide

    def encode(self, request: Request[R], quiet: bool = False) -> Exchange[R]:
        """Encode a request. Raises LocalProtocolError."""
        plan = (_QUIET_PLANS if quiet else _PLANS).get(type(request))
        if plan is not None:
            encode, first, reader = plan
            opaque = self.opaque
            try:
                parts = encode(request, first, opaque)
            except struct.error:
                parts = ()
            if parts:
                self.opaque = (opaque + 1) % OPAQUES
                return Exchange(request, parts, quiet, reader, opaque)
        return self._encode_strictly(request, quiet)

    def _encode_strictly(self, request: Request[R], quiet: bool) -> Exchange[R]:
        """Encode a request that is not of the regular form, or raise the error that names what is wrong."""
        opaque = self.opaque
        check_request(request)
        bare: Request[object] = without_meta_options(request)
        if isinstance(bare, Get) and len(bare.keys) != 1:
            data, many = self._encode_multi_get(bare)
            return Exchange(request, (data,), False, many, opaque)
        if isinstance(bare, Unknown):
            opcode = bare.packet.opcode
            spec = self._specs.get(opcode) or OpcodeSpec(opcode, "UNKNOWN")
            quiet = spec.quiet is not Quiet.NOTHING
            parts: tuple[bytes, ...] = (encode_packet(bare.packet.replace(magic=_REQUEST, opaque=opaque)),)
        else:
            opcode = opcode_for(bare, quiet)
            spec = OPCODES[opcode]
            parts = encode_request(bare, opcode, opaque)
        self.opaque = (opaque + 1) % OPAQUES
        return Exchange(request, parts, quiet, reader_for(bare, spec, self._limits), opaque)

    def _encode_multi_get(self, request: Get) -> tuple[bytes, MultiGetReply]:
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
        return b"".join(pieces), MultiGetReply(keys, OPCODES[opcode], self._limits)

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
            if not has_header(buffer, _RESPONSE):
                return None
            header = unpack_header(buffer.data, buffer.at)
            _, opcode, key_length, extras_length, _, status, body_length, opaque, _ = header
            failure = self._over_limit(extras_length, key_length, body_length)
            if failure is None and not buffer.gather(HEADER_SIZE + body_length):
                return None
            passed = self.passed_over(buffer, opaque, waiting)
            if passed:
                # The packet is read again once those before it have got their silence.
                self._silent = passed - 1
                return Silence()
            exchange = waiting[0]
            reader = exchange._reader
            assert isinstance(reader, PacketReader)
            index = (opaque - exchange._opaque) % OPAQUES
            if failure is not None:
                self._skipped = reader.skip_packet(opcode, status, failure, index)
                self._skipping, self.regular = True, False
                buffer.discard(HEADER_SIZE + body_length)
                continue
            reply = reader.read_packet(buffer.data, buffer.at, exchange.request, index)
            buffer.at += HEADER_SIZE + body_length
            if reply is None and self._wide:
                # Behind an irregular packet, or one that came in pieces, there may be many regular ones.
                reply = reader.read(buffer, exchange, self._limits)
            if reply is not None:
                return reply

    def passed_over(self, buffer: ReceiveBuffer, opaque: int, waiting: deque[Exchange[object]]) -> int:
        """How many of the exchanges are silent because the next packet answers a later one.

        Raises RemoteProtocolError if it answers none.
        """
        for index, exchange in enumerate(waiting):
            assert isinstance(exchange._reader, PacketReader)
            if (opaque - exchange._opaque) % OPAQUES <= exchange._reader.more:
                return index
            if not exchange.quiet:
                raise RemoteProtocolError(f"opaque of a reply is {opaque:#010x}, expected {exchange._opaque:#010x}")
        raise RemoteProtocolError(f"opaque of a reply is {opaque:#010x}, which was not asked for")

    def _over_limit(self, extras_length: int, key_length: int, body_length: int) -> Failure | None:
        """The failure of a packet that is over a limit. Raises RemoteProtocolError if its lengths are contradictory."""
        limits, head = self._limits, HEADER_SIZE + extras_length + key_length
        value_length = body_length - extras_length - key_length
        if value_length < 0:
            raise RemoteProtocolError(lengths_fault(body_length, extras_length, key_length))
        if value_length > limits.value:
            return too_large(f"value is {value_length} bytes, limit is {limits.value}")
        if head > limits.head:
            return too_large(f"header, extras and key are {head} bytes, limit is {limits.head}")
        return None


def _check_keys(keys: tuple[bytes, ...]) -> None:
    """Raise LocalProtocolError unless all are keys. They are looked at together: they may be many."""
    if set(map(type, keys)) == {bytes}:
        lengths = set(map(len, keys))
        if min(lengths) >= 1 and max(lengths) <= MAX_KEY:
            return
    for key in keys:
        check_bytes("key", key, MAX_KEY, 1)


def reader_for(request: Request[object], spec: OpcodeSpec, limits: Limits) -> PacketReader:
    """What reads the reply to this request, sent with this opcode. Raises LocalProtocolError."""
    if isinstance(request, Unknown):
        return PacketReader(spec)
    if operation_for(request, spec.opcode).request is Stats:
        return StatisticsReply(spec, limits)
    return SINGLE[request.reply_types()[0]](spec)
