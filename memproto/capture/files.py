"""Capture files, pcap and pcapng, as frames. They are read with dpkt, the extra ``pcap``."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import Final, NamedTuple, Protocol

from memproto.capture.errors import CaptureError, MissingExtraError
from memproto.capture.packets import LINK_TYPES, Frame

__all__ = ["PCAPNG_MAGIC", "PCAP_MAGICS", "Readable", "read_pcap", "read_pcapng"]

#: The first bytes of a pcap file: microseconds, nanoseconds, longer packet headers; in both orders of bytes.
PCAP_MAGICS: Final = tuple(
    number.to_bytes(4, order) for number in (0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34) for order in ("big", "little")
)
PCAPNG_MAGIC: Final = b"\n\r\r\n"

# More than any packet or block has: tools write at most 256 KiB of a packet.
_MAX_BLOCK: Final = 64 * 1024 * 1024
# The second word of a pcapng section, if its order of bytes is little-endian.
_LITTLE: Final = b"\x4d\x3c\x2b\x1a"
_INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _PACKET = 1, 2, 3, 6
_TSRESOL, _TSOFFSET = 9, 14
# Two numbers: the type of a block and its length.
_WORDS: Final = {order: Struct(order + "II") for order in "<>"}
# Interface, both halves of the time, captured length. The old form has an interface of 16 bits.
_PACKETS: Final = {
    _PACKET: {order: Struct(order + "8xIIII4x") for order in "<>"},
    _OLD_PACKET: {order: Struct(order + "8xHxxIII4x") for order in "<>"},
}
_LINK: Final = {order: Struct(order + "8xH") for order in "<>"}
_LENGTH: Final = {order: Struct(order + "8xI") for order in "<>"}


class Readable(Protocol):
    """A binary file: ``read(n)`` returns n bytes, fewer only at its end."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes."""
        ...


class _Checked:
    """A file that is read in whole structures, none of an impossible size."""

    def __init__(self, file: Readable) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        """Return ``size`` bytes, or none at the end of the file. Raises CaptureError."""
        if not 0 <= size <= _MAX_BLOCK:
            raise CaptureError(f"the capture is damaged: it has a packet or block of {size} bytes")
        data = self._file.read(size)
        if 0 < len(data) < size:
            raise CaptureError("the capture ends in the middle of a packet")
        return data

    def rest(self, size: int) -> bytes:
        """Return the rest of a structure, of ``size`` bytes. Raises CaptureError."""
        data = self.read(size)
        if len(data) < size:
            raise CaptureError("the capture ends in the middle of a packet")
        return data


def read_pcap(file: Readable) -> Iterator[Frame]:
    """Yield the frames of a pcap file. Raises :class:`CaptureError`, :class:`MissingExtraError`."""
    try:
        from dpkt import pcap
    except ImportError:
        raise MissingExtraError(_MISSING) from None
    reader = pcap.Reader(_Checked(file))
    link = _known_link(int(reader.datalink()))
    for time, data in reader:
        yield Frame(float(time), link, data)


_MISSING: Final = "pcap and pcapng files need dpkt: pip install 'memproto[pcap]'"


class _Interface(NamedTuple):
    """An interface of a pcapng file: its link type, and how it counts time."""

    link: int
    ticks: int
    offset: int


def read_pcapng(file: Readable) -> Iterator[Frame]:
    """Yield the frames of a pcapng file, of all its sections and interfaces.

    Raises :class:`CaptureError`, :class:`MissingExtraError`.
    """
    checked = _Checked(file)
    order = "<"
    interfaces: list[_Interface] = []
    while head := checked.read(8):
        if head[:4] == PCAPNG_MAGIC:
            magic = checked.rest(4)
            order = "<" if magic == _LITTLE else ">"
            head += magic
            interfaces.clear()
        kind, length = _WORDS[order].unpack_from(head)
        block = head + checked.rest(length - len(head))
        if kind == _INTERFACE:
            interfaces.append(_interface(block, order))
        elif kind in (_PACKET, _OLD_PACKET, _SIMPLE_PACKET):
            try:
                yield _frame(kind, block, order, interfaces)
            except (IndexError, StructError):
                raise CaptureError("the capture is damaged: it has a packet without an interface or a length") from None


def _interface(block: bytes, order: str) -> _Interface:
    # dpkt's own reader of pcapng files takes all packets for those of the first interface.
    try:
        from dpkt import pcapng
    except ImportError:
        raise MissingExtraError(_MISSING) from None
    kind = pcapng.InterfaceDescriptionBlockLE if order == "<" else pcapng.InterfaceDescriptionBlock
    try:
        options: dict[int, bytes] = {option.code: option.data for option in kind(block).opts}
        resolution = options.get(_TSRESOL, b"\x06")[0]
    except (pcapng.dpkt.Error, ValueError, IndexError, StructError):
        raise CaptureError("the capture is damaged: it has an interface that cannot be read") from None
    ticks = (2 if resolution & 0x80 else 10) ** (resolution & 0x7F)
    offset = int.from_bytes(options.get(_TSOFFSET, b""), "little" if order == "<" else "big", signed=True)
    (link,) = _LINK[order].unpack_from(block)
    return _Interface(link, ticks, offset)


def _frame(kind: int, block: bytes, order: str, interfaces: list[_Interface]) -> Frame:
    if kind == _SIMPLE_PACKET:
        # It has no time, and its length may be more than was captured.
        (length,) = _LENGTH[order].unpack_from(block)
        return Frame(0.0, _known_link(interfaces[0].link), block[12 : min(12 + length, len(block) - 4)])
    head = _PACKETS[kind][order]
    number, high, low, length = head.unpack_from(block)
    interface = interfaces[number]
    time = interface.offset + ((high << 32) | low) / interface.ticks
    return Frame(time, _known_link(interface.link), block[head.size : head.size + length])


def _known_link(link: int) -> int:
    if link not in LINK_TYPES:
        raise CaptureError(f"the capture has link type {link}, which is not supported")
    return link
