"""Frames of each link layer give the segment or datagram that they carry, or the reason why there is none."""

from __future__ import annotations

from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memproto.capture.packets import (
    LINK_TYPES,
    Fragment,
    LinkType,
    Segment,
    Skipped,
    UdpPacket,
    decode_frame,
    format_address,
)
from tests.capture.frames import (
    ACK,
    CLIENT,
    CLIENT6,
    FIN,
    RST,
    SERVER,
    SERVER6,
    SYN,
    ethernet,
    ip,
    tcp,
    udp,
)

PACKET, PACKET6 = tcp(CLIENT, SERVER, b"mn\r\n"), tcp(CLIENT6, SERVER6, b"mn\r\n")
SOURCE, TARGET = (b"\x0a\0\0\1", 40000), (b"\x0a\0\0\2", 11211)
SEGMENT = Segment(SOURCE, TARGET, 1000, 2000, False, False, False, b"mn\r\n")


@pytest.mark.parametrize(
    ("link", "frame"),
    [
        (LinkType.ETHERNET, ethernet(PACKET)),
        (LinkType.ETHERNET, ethernet(PACKET) + bytes(6)),  # padded to the least length of Ethernet
        (LinkType.ETHERNET, ethernet(PACKET, 0x8100)),
        (LinkType.ETHERNET, ethernet(PACKET, 0x88A8, 0x8100)),
        (LinkType.NULL, b"\2\0\0\0" + PACKET),
        (LinkType.LOOP, b"\0\0\0\2" + PACKET),
        (LinkType.RAW, PACKET),
        (LinkType.RAW_BSD, PACKET),
        (LinkType.RAW_OPENBSD, PACKET),
        (LinkType.IPV4, PACKET),
        (LinkType.LINUX_SLL, bytes.fromhex("0000 0304 0006 000000000000 0000 0800") + PACKET),
        (LinkType.LINUX_SLL2, bytes.fromhex("0800 0000 00000001 0304 00 06 0000000000000000") + PACKET),
        (LinkType.LINUX_SLL, bytes.fromhex("0000 0304 0006 000000000000 0000 8100 002a 0800") + PACKET),
    ],
)
def test_segment_is_found_in_every_link_layer(link: int, frame: bytes) -> None:
    assert link in LINK_TYPES
    assert decode_frame(link, frame) == SEGMENT


@pytest.mark.parametrize(
    ("link", "frame"),
    [
        (LinkType.ETHERNET, ethernet(PACKET6)),
        (LinkType.RAW, PACKET6),
        (LinkType.IPV6, PACKET6),
        (LinkType.NULL, b"\x1e\0\0\0" + PACKET6),
        # Hop-by-hop options of 8 bytes, destination options of 16, a fragment that is the whole packet.
        (
            LinkType.RAW,
            ip("fd00::1", "fd00::2", 0, bytes([60, 0, *bytes(6), 44, 1, *bytes(14)]) + b"\6" + bytes(7) + PACKET6[40:]),
        ),
    ],
)
def test_segment_is_found_in_ipv6(link: int, frame: bytes) -> None:
    segment = decode_frame(link, frame)
    assert isinstance(segment, Segment)
    assert (format_address(segment.source), format_address(segment.target)) == ("[fd00::1]:40000", "[fd00::2]:11211")
    assert segment.data == b"mn\r\n"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (SYN, (None, True, False, False)),
        (SYN | ACK, (2000, True, False, False)),
        (FIN | ACK, (2000, False, True, False)),
        (RST, (None, False, False, True)),
    ],
)
def test_flags_of_a_segment_are_told(flags: int, said: tuple[int | None, bool, bool, bool]) -> None:
    segment = decode_frame(LinkType.RAW, tcp(CLIENT, SERVER, flags=flags))
    assert isinstance(segment, Segment)
    assert (segment.ack, segment.syn, segment.fin, segment.rst) == said


def test_a_datagram_is_found() -> None:
    frame = ethernet(udp(CLIENT, SERVER, b"\0\1\0\0\0\1\0\0mn\r\n"))
    assert decode_frame(LinkType.ETHERNET, frame) == UdpPacket(SOURCE, TARGET, b"\0\1\0\0\0\1\0\0mn\r\n")


def test_bytes_that_a_frame_was_cut_by_are_counted() -> None:
    frame = ethernet(tcp(CLIENT, SERVER, b"get key\r\n"))
    assert decode_frame(LinkType.ETHERNET, frame[:-6]) == SEGMENT._replace(data=b"get", missing=6)


def test_an_ip_length_of_0_means_all_that_was_captured() -> None:
    assert decode_frame(LinkType.RAW, PACKET[:2] + b"\0\0" + PACKET[4:]) == SEGMENT
    segment = decode_frame(LinkType.RAW, PACKET6[:4] + b"\0\0" + PACKET6[6:])
    assert isinstance(segment, Segment)
    assert segment.data == b"mn\r\n"


FRAGMENT6 = pack(">BBHI", 6, 0, 1, 9) + PACKET6[40:]


@pytest.mark.parametrize(
    ("link", "frame", "reason"),
    [
        (LinkType.ETHERNET, bytes(12) + b"\x08\x06" + bytes(28), Skipped.NOT_IP),
        (LinkType.RAW, b"\x10" + bytes(30), Skipped.NOT_IP),
        (LinkType.RAW, ip("10.0.0.1", "10.0.0.2", 1, bytes(8)), Skipped.OTHER_PROTOCOL),
        # Fragments: not the last and 9 bytes long, two without bytes, one too far, one that was cut.
        (LinkType.RAW, ip("10.0.0.1", "10.0.0.2", 6, bytes(9), 0x2000), Skipped.TRUNCATED),
        (LinkType.RAW, ip("10.0.0.1", "10.0.0.2", 6, b"", 1), Skipped.TRUNCATED),
        (LinkType.RAW, ip("fd00::1", "fd00::2", 44, FRAGMENT6[:8]), Skipped.TRUNCATED),
        (LinkType.RAW, ip("10.0.0.1", "10.0.0.2", 6, bytes(8), 0x1FFF), Skipped.TRUNCATED),
        (LinkType.RAW, ip("10.0.0.1", "10.0.0.2", 6, bytes(8), 1)[:-1], Skipped.TRUNCATED),
        (LinkType.RAW, b"", Skipped.TRUNCATED),
        (LinkType.RAW, PACKET[:30], Skipped.TRUNCATED),
        (LinkType.RAW, ip("10.0.0.1", "10.0.0.2", 6, PACKET[20:32] + b"\x40" + PACKET[33:]), Skipped.TRUNCATED),
        (LinkType.RAW, ip("10.0.0.1", "10.0.0.2", 6, PACKET[20:32] + b"\xf0" + PACKET[33:]), Skipped.TRUNCATED),
        (LinkType.RAW, udp(CLIENT, SERVER, bytes(9))[:-1], Skipped.TRUNCATED),
        (LinkType.RAW, ip("10.0.0.1", "10.0.0.2", 17, bytes(8)), Skipped.TRUNCATED),
    ],
)
def test_a_frame_without_a_segment_says_why(link: int, frame: bytes, reason: Skipped) -> None:
    assert decode_frame(link, frame) is reason


def test_a_fragment_says_where_its_bytes_stand() -> None:
    source, target = SOURCE[0], TARGET[0]
    frame = ip("10.0.0.1", "10.0.0.2", 6, b"12345678", 0x2003)
    assert decode_frame(LinkType.RAW, frame) == Fragment(source, target, 6, 7, 24, True, b"12345678")
    frame = ip("fd00::1", "fd00::2", 44, pack(">BBHI", 6, 0, 16, 9) + b"abc")
    assert decode_frame(LinkType.RAW, frame) == Fragment(frame[8:24], frame[24:40], 6, 9, 16, False, b"abc")


@given(
    st.sampled_from(sorted(LINK_TYPES)),
    st.binary(max_size=80) | st.binary(max_size=80).map(lambda data: PACKET[:12] + data),
)
def test_any_bytes_are_decoded_or_skipped(link: int, frame: bytes) -> None:
    assert isinstance(decode_frame(link, frame), Segment | UdpPacket | Fragment | Skipped)


@given(st.integers(0, len(PACKET6)), st.integers(0, 255))
def test_a_changed_byte_is_decoded_or_skipped(at: int, byte: int) -> None:
    for packet in (PACKET, PACKET6):
        frame = packet[:at] + bytes([byte]) + packet[at + 1 :]
        assert isinstance(decode_frame(LinkType.RAW, frame), Segment | UdpPacket | Fragment | Skipped)
