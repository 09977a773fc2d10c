"""Reads replies whose requests are not known, as far as they can be understood alone."""

from __future__ import annotations

from typing import Final

from memproto._wire.buffer import ReceiveBuffer
from memproto._wire.exchange import Exchange
from memproto.binary._client_readers import READERS, PacketReader
from memproto.binary._layout import OpcodeSpec
from memproto.binary._packet import take_packet
from memproto.errors import RemoteProtocolError
from memproto.limits import Limits
from memproto.model import (
    AnyReply,
    ClusterConfig,
    Delete,
    Failure,
    Flush,
    Get,
    Increment,
    Noop,
    Packet,
    RawReply,
    Request,
    Set,
    Stats,
    Touch,
    UnknownLine,
    Version,
)
from memproto.text._client_readers import TextReader
from memproto.text._failures import failure_in
from memproto.text._lines import words_of
from memproto.text.classic._client_items import ItemsReader
from memproto.text.classic._client_readers import RAW_LINE, reader_for
from memproto.text.classic._commands import COMMANDS, CONFIG, STAT, VALUE, VERSION
from memproto.text.meta._client_irregular import IrregularReply
from memproto.text.meta._flags import BASE64, KEY, OPAQUE
from memproto.text.meta._flags import VALUE as WITH_VALUE
from memproto.text.meta._keys import decoded_key

_NO_KEY: Final = b""
_STORE: Final = Set(_NO_KEY, b"")
_ANY_GET: Final = Get((_NO_KEY,))

# The first word of a classic reply, and a request that it may answer.
_CLASSIC: Final[dict[bytes, Request[object]]] = {
    **dict.fromkeys((COMMANDS[b"set"].success, *COMMANDS[b"set"].refusals), _STORE),
    COMMANDS[b"delete"].success: Delete(_NO_KEY),
    COMMANDS[b"touch"].success: Touch(_NO_KEY, 0),
    COMMANDS[b"flush_all"].success: Flush(),
    CONFIG: ClusterConfig(),
    STAT: Stats(),
    VERSION: Version(),
}
# The codes of meta replies that say nothing without the request.
_CODES: Final = (b"HD", b"NF", b"NS", b"EX", b"ME")


class _AnyItems(ItemsReader):
    """Reads the items of a get whose keys are not known."""

    __slots__ = ()

    def _read_items(self, buffer: ReceiveBuffer, limits: Limits) -> None:
        """No item is regular."""

    def _place_of(self, key: bytes) -> int:
        return 0


def reader_without_request(line: bytes, limits: Limits) -> tuple[TextReader, Exchange[object]]:
    """What reads the reply that begins with this line. Raises RemoteProtocolError if no reply does."""
    words = words_of(line)
    word = words[0] if words else b""
    request: Request[object] = _CLASSIC.get(word, UnknownLine(b""))
    reader: TextReader = RAW_LINE
    if word in (VALUE, b"END"):
        reader = _AnyItems((_NO_KEY,), limits)
    elif word in (b"VA", b"EN"):
        request, reader = _meta_get(words, limits)
    elif word == b"MN":
        request, reader = Noop(), IrregularReply(Noop(), (), limits)
    elif word.isdigit():
        request = Increment(_NO_KEY)
    elif word not in _CLASSIC and word not in _CODES and failure_in(line) is None:
        raise RemoteProtocolError(f"line {line[:80]!r} is no reply")
    if reader is RAW_LINE:
        reader = reader_for(request, limits)
    exchange: Exchange[object] = Exchange(request, (), False, reader)
    return reader, exchange


def _meta_get(words: list[bytes], limits: Limits) -> tuple[Get, IrregularReply]:
    """A request that a reply with or without a value may answer, and its reader."""
    key = next((word[1:] for word in words if word[:1] == KEY), _NO_KEY)
    if BASE64 in words:
        key = decoded_key(key) or _NO_KEY
    request = Get((key,))
    flags = (WITH_VALUE, *(word for word in words[1:] if word[:1] == OPAQUE))
    return request, IrregularReply(request, flags, limits)


def packet_without_request(data: bytes, at: int, spec: OpcodeSpec) -> tuple[AnyReply, Packet]:
    """The reply of a packet that is complete at ``at``, and the packet."""
    packet, _ = take_packet(data, at)
    reader = READERS.get(spec.opcode)
    if reader is not None:
        try:
            reply = reader.read_packet(data, at, Get((packet.key,)), 0)
        except RemoteProtocolError:
            reply = None
        if reply is not None:
            return reply, packet
    raw = PacketReader(spec).read_packet(data, at, _ANY_GET, 0)
    assert isinstance(raw, RawReply | Failure)
    return raw, packet
