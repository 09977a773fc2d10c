"""Frames for tests, built by their published layouts."""

from __future__ import annotations

from ipaddress import ip_address
from struct import pack

CLIENT, SERVER = ("10.0.0.1", 40000), ("10.0.0.2", 11211)
CLIENT6, SERVER6 = ("fd00::1", 40000), ("fd00::2", 11211)
SYN, ACK, FIN, RST = 2, 16, 1, 4

End = tuple[str, int]


def tcp(source: End, target: End, data: bytes = b"", seq: int = 1000, ack: int = 2000, flags: int = ACK) -> bytes:
    """A TCP segment in an IP packet; IPv6 if the addresses are."""
    options = b"\x01\x01\x08\x0a" + bytes(8)
    head = pack(">HHIIBBHHH", source[1], target[1], seq, ack, 0x80, flags, 512, 0, 0) + options
    return ip(source[0], target[0], 6, head + data)


def udp(source: End, target: End, data: bytes) -> bytes:
    """A UDP datagram in an IP packet."""
    return ip(source[0], target[0], 17, pack(">HHHH", source[1], target[1], 8 + len(data), 0) + data)


def ip(source: str, target: str, protocol: int, body: bytes, fragment: int = 0x4000) -> bytes:
    """An IP packet without options; ``fragment`` are the fragment flags and offset of IPv4."""
    ends = ip_address(source).packed + ip_address(target).packed
    if len(ends) == 32:
        return pack(">IHBB", 6 << 28, len(body), protocol, 64) + ends + body
    return pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 7, fragment, 64, protocol, 0) + ends + body


def ethernet(packet: bytes, *tags: int) -> bytes:
    """An Ethernet frame, with VLAN tags of these types."""
    vlan = b"".join(pack(">HH", tag, 42) for tag in tags)
    return bytes(12) + vlan + (b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00") + packet


def pcap(link: int, *frames: tuple[float, bytes], order: str = "<", magic: int = 0xA1B2C3D4) -> bytes:
    """A capture file of the classic form; its times have microseconds."""
    head = pack(order + "IHHIIII", magic, 2, 4, 0, 0, 262144, link)
    return head + b"".join(
        pack(order + "IIII", int(time), round(time % 1 * 1_000_000), len(frame), len(frame)) + frame
        for time, frame in frames
    )


def block(order: str, kind: int, body: bytes) -> bytes:
    """One block of a pcapng file."""
    body += bytes(-len(body) % 4)
    length = pack(order + "I", 12 + len(body))
    return pack(order + "I", kind) + length + body + length


def section(order: str = "<") -> bytes:
    """The block that begins a section of a pcapng file."""
    return block(order, 0x0A0D0D0A, pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface(link: int, order: str = "<", options: bytes = b"") -> bytes:
    """The block of an interface of a pcapng file."""
    return block(order, 1, pack(order + "HHI", link, 0, 262144) + options)


def packet(number: int, ticks: int, frame: bytes, order: str = "<") -> bytes:
    """The block of a packet of an interface of a pcapng file."""
    head = pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame))
    return block(order, 6, head + frame)
