"""Frames of a capture as TCP segments and UDP datagrams: link layers, VLAN tags, IPv4 and IPv6. Pure.

The checksums are not looked at, because network cards compute them after the capture.
"""

from __future__ import annotations

import enum
from ipaddress import ip_address
from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import Final, NamedTuple, TypeAlias

__all__ = [
    "ETHERTYPES",
    "LINK_TYPES",
    "TYPED_LINKS",
    "Address",
    "Fragment",
    "Frame",
    "LinkType",
    "Segment",
    "Skipped",
    "UdpPacket",
    "decode_frame",
    "decode_transport",
    "format_address",
]

#: The bytes of an IP address, 4 or 16, and a port.
Address: TypeAlias = tuple[bytes, int]


class LinkType(enum.IntEnum):
    """The link types that can be decoded, by the numbers of the registry of libpcap."""

    NULL = 0
    ETHERNET = 1
    # What the BSDs write for RAW.
    RAW_BSD = 12
    RAW_OPENBSD = 14
    RAW = 101
    LOOP = 108
    LINUX_SLL = 113
    IPV4 = 228
    IPV6 = 229
    LINUX_SLL2 = 276


LINK_TYPES: Final = frozenset(int(link) for link in LinkType)


class Frame(NamedTuple):
    """One frame of a capture: when it was captured, in seconds, its link type, and its bytes."""

    time: float
    link: int
    data: bytes


class Segment(NamedTuple):
    """A TCP segment. ``missing`` bytes follow ``data`` that were sent and not captured."""

    source: Address
    target: Address
    seq: int
    #: ``None`` without the flag ACK.
    ack: int | None
    syn: bool
    fin: bool
    rst: bool
    data: bytes
    missing: int = 0


class UdpPacket(NamedTuple):
    """A UDP datagram."""

    source: Address
    target: Address
    data: bytes


class Fragment(NamedTuple):
    """A part of an IP packet. ``source`` and ``target`` are addresses without ports, ``offset`` is in bytes.

    ``more`` is whether another one follows.
    """

    source: bytes
    target: bytes
    protocol: int
    identification: int
    offset: int
    more: bool
    data: bytes


class Skipped(enum.Enum):
    """Why a frame has no segment and no datagram."""

    NOT_IP = "frames that are not IP"
    OTHER_PROTOCOL = "packets that are neither TCP nor UDP"
    FRAGMENT = "IP fragments of packets that are not whole"
    TRUNCATED = "packets whose headers are damaged or were not captured whole"


ETHERTYPES: Final = frozenset({0x0800, 0x86DD})
_VLAN: Final = frozenset({0x8100, 0x88A8, 0x9100})
_TCP: Final = 6
_UDP: Final = 17
# Hop-by-hop options, routing, destination options.
_IPV6_OPTIONS: Final = frozenset({0, 43, 60})
_IPV6_FRAGMENT: Final = 44
_FIN, _SYN, _RST, _ACK = 1, 2, 4, 16

_U16: Final = Struct(">H")
# Version and header length, total length, identification, flags and fragment offset, protocol, source, target.
_IPV4_HEADER: Final = Struct(">BxHHHxBxx4s4s")
# Payload length, next header, source, target.
_IPV6_HEADER: Final = Struct(">xxxxHBx16s16s")
# Next header, fragment offset and flags, identification.
_IPV6_FRAGMENT_HEADER: Final = Struct(">BxHI")
# More than any packet has.
_MAX_PACKET: Final = 1 << 16
# Source and target port, sequence and acknowledgement number, header length, flags.
_TCP_HEADER: Final = Struct(">HHIIBBxxxxxx")
_UDP_HEADER: Final = Struct(">HHHxx")
# Where the protocol stands in the header of a link layer, and how long that is.
TYPED_LINKS: Final[dict[int, tuple[int, int]]] = {
    LinkType.ETHERNET: (12, 14),
    LinkType.LINUX_SLL: (14, 16),
    LinkType.LINUX_SLL2: (0, 20),
}
# Link layers of whose header only the length matters, because the IP version says the rest.
_UNTYPED: Final[dict[int, int]] = {LinkType.NULL: 4, LinkType.LOOP: 4}


def format_address(address: Address) -> str:
    """Return ``host:port``, with brackets around an IPv6 address."""
    host = ip_address(address[0])
    return f"[{host}]:{address[1]}" if host.version == 6 else f"{host}:{address[1]}"


def decode_frame(link: int, frame: bytes) -> Segment | UdpPacket | Fragment | Skipped:
    """Decode one frame of a link type of :data:`LINK_TYPES`.

    A frame that was cut behind its TCP header gives a segment with missing bytes; a cut UDP datagram or fragment is
    skipped.
    """
    at = _UNTYPED.get(link, 0)
    typed = TYPED_LINKS.get(link)
    try:
        if typed is not None:
            where, at = typed
            (protocol,) = _U16.unpack_from(frame, where)
            while protocol in _VLAN:
                (protocol,) = _U16.unpack_from(frame, at + 2)
                at += 4
            if protocol not in ETHERTYPES:
                return Skipped.NOT_IP
        version = frame[at] >> 4
        if version == 4:
            return _decode_ipv4(frame, at)
        return _decode_ipv6(frame, at) if version == 6 else Skipped.NOT_IP
    except (IndexError, StructError):
        return Skipped.TRUNCATED


def _decode_ipv4(frame: bytes, at: int) -> Segment | UdpPacket | Fragment | Skipped:
    first, length, identification, fragment, protocol, source, target = _IPV4_HEADER.unpack_from(frame, at)
    begin = at + (first & 0x0F) * 4
    # Offloading to the network card leaves a length of 0.
    end = at + length if length else len(frame)
    # The flag for more fragments, and the offset.
    if fragment & 0x3FFF:
        more, offset = fragment & 0x2000 != 0, (fragment & 0x1FFF) * 8
        return _whole(Fragment(source, target, protocol, identification, offset, more, frame[begin:end]), end - begin)
    return decode_transport(protocol, source, target, frame, begin, end)


def _whole(fragment: Fragment, size: int) -> Fragment | Skipped:
    """Return a fragment if it was captured whole, and can be part of a packet."""
    is_whole = size == len(fragment.data) > 0 and fragment.offset + size < _MAX_PACKET
    return fragment if is_whole and not (fragment.more and size % 8) else Skipped.TRUNCATED


def _decode_ipv6(frame: bytes, at: int) -> Segment | UdpPacket | Fragment | Skipped:
    length, protocol, source, target = _IPV6_HEADER.unpack_from(frame, at)
    at += _IPV6_HEADER.size
    end = at + length if length else len(frame)
    while protocol in _IPV6_OPTIONS:
        protocol, at = frame[at], at + 8 + frame[at + 1] * 8
    if protocol == _IPV6_FRAGMENT:
        protocol, fragment, identification = _IPV6_FRAGMENT_HEADER.unpack_from(frame, at)
        at += _IPV6_FRAGMENT_HEADER.size
        # All but the two reserved bits; a fragment that is the whole packet has 0 here.
        if fragment & 0xFFF9:
            more, offset = fragment & 1 != 0, fragment & 0xFFF8
            return _whole(Fragment(source, target, protocol, identification, offset, more, frame[at:end]), end - at)
    return decode_transport(protocol, source, target, frame, at, end)


def decode_transport(
    protocol: int, source: bytes, target: bytes, frame: bytes, at: int, end: int
) -> Segment | UdpPacket | Skipped:
    """Decode the packet at ``at``. By its IP header it reaches to ``end``; there may be padding, or less."""
    if protocol == _TCP:
        from_port, to_port, seq, ack, header, flags = _TCP_HEADER.unpack_from(frame, at)
        begin = at + (header >> 4) * 4
        if begin > end or header < 0x50:
            return Skipped.TRUNCATED
        data = frame[begin:end]
        return Segment(
            (source, from_port),
            (target, to_port),
            seq,
            ack if flags & _ACK else None,
            flags & _SYN != 0,
            flags & _FIN != 0,
            flags & _RST != 0,
            data,
            end - begin - len(data),
        )
    if protocol == _UDP:
        from_port, to_port, length = _UDP_HEADER.unpack_from(frame, at)
        data = frame[at + _UDP_HEADER.size : at + length]
        if len(data) != length - _UDP_HEADER.size:
            return Skipped.TRUNCATED
        return UdpPacket((source, from_port), (target, to_port), data)
    return Skipped.OTHER_PROTOCOL
