"""Fragments of IP packets: whatever their order, repetition, overlap and loss, a packet is whole or not there."""

from __future__ import annotations

from itertools import pairwise
from struct import pack
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memproto.capture.decoder import Decoder
from memproto.capture.fragments import Fragments
from memproto.capture.packets import Fragment, Frame, LinkType, Skipped, UdpPacket
from memproto.capture.summary import summarise
from tests.capture.frames import ACK, CLIENT, SERVER, SYN, ip, tcp
from tests.support.reached import reached, reaches

SOURCE, TARGET = b"\x0a\0\0\1", b"\x0a\0\0\2"
SOURCE6, TARGET6 = bytes(15) + b"\1", bytes(15) + b"\2"
UDP = 17


def _datagram(size: int) -> bytes:
    return pack(">HHHH", 40000, 11211, 8 + size, 0) + bytes(number % 251 for number in range(size))


def _cut(data: bytes, begin: int, end: int, identification: int = 7, protocol: int = UDP) -> Fragment:
    """The fragment of these bytes, which are counted in eights."""
    part = data[begin * 8 : end * 8]
    more = begin * 8 + len(part) < len(data)
    return Fragment(SOURCE, TARGET, protocol, identification, begin * 8, more, part)


class Case(NamedTuple):
    """A datagram, its fragments in any order, and whether they have all of its bytes."""

    data: bytes
    fragments: list[Fragment]
    whole: bool


@st.composite
def cases(draw: st.DrawFn) -> Case:
    data = _datagram(draw(st.integers(1, 60)))
    eights = -(-len(data) // 8)
    cuts = sorted({0, eights, *draw(st.lists(st.integers(1, eights), max_size=5))})
    ranges = list(pairwise(cuts))
    again = draw(st.lists(st.tuples(st.integers(0, eights - 1), st.integers(1, eights)), max_size=4))
    ranges += [(begin, min(begin + size, eights)) for begin, size in again]
    kept = draw(st.permutations([each for each in ranges if draw(st.integers(0, 5))]))
    seen = {number for begin, end in kept for number in range(begin, end)}
    return Case(data, [_cut(data, *each) for each in kept], len(seen) == eights)


@reaches(whole=0.2, lost=0.1)
@given(cases())
def test_packet_is_whole_once_all_its_bytes_have_come_in_any_order(case: Case) -> None:
    fragments = Fragments()
    packets = [packet for each in case.fragments if (packet := fragments.add(each, 0.0)) is not None]
    # Copies that come behind a whole packet begin another one.
    if case.whole:
        reached("whole")
        assert packets[0] == UdpPacket((SOURCE, 40000), (TARGET, 11211), case.data[8:])
    else:
        reached("lost")
        assert packets == []
    fragments.end()
    assert fragments.held == 0
    assert packets or fragments.lost == len(case.fragments)


def test_of_bytes_that_come_twice_the_first_ones_count() -> None:
    data, other = _datagram(24), bytes(32)
    fragments = Fragments()
    for part in (_cut(data, 1, 2), _cut(data, 3, 4), _cut(other, 1, 4), _cut(data, 0, 1)):
        packet = fragments.add(part, 0.0)
    assert isinstance(packet, UdpPacket)
    assert packet.data == data[8:16] + bytes(8) + data[24:]


def test_fragments_of_different_packets_are_kept_apart() -> None:
    first, second = _datagram(20), _datagram(28)
    fragments = Fragments()
    parts = [_cut(first, 0, 2), _cut(second, 0, 2, 8), _cut(second, 2, 9, 8), _cut(first, 2, 9)]
    packets = [fragments.add(part, 0.0) for part in parts]
    assert [packet.data for packet in packets if isinstance(packet, UdpPacket)] == [second[8:], first[8:]]


def test_fragments_of_ipv6_have_the_protocol_of_the_first() -> None:
    data = _datagram(20)
    fragments = Fragments()
    for part in (_cut(data, 2, 9, protocol=6), _cut(data, 0, 2)):
        packet = fragments.add(part._replace(source=SOURCE6, target=TARGET6), 0.0)
    assert isinstance(packet, UdpPacket)


def test_packet_that_is_too_short_for_its_protocol_is_truncated() -> None:
    fragments = Fragments()
    assert fragments.add(Fragment(SOURCE, TARGET, 6, 7, 8, False, b"x"), 0.0) is None
    assert fragments.add(Fragment(SOURCE, TARGET, 6, 7, 0, True, bytes(8)), 0.0) is Skipped.TRUNCATED


@pytest.mark.parametrize("later", [60.0, -1.0])
def test_fragment_of_another_time_begins_another_packet(later: float) -> None:
    data = _datagram(20)
    fragments = Fragments()
    assert fragments.add(_cut(data, 0, 2), 0.0) is None
    assert fragments.add(_cut(data, 2, 9), later) is None
    assert fragments.lost == 1
    assert isinstance(fragments.add(_cut(data, 0, 2), later), UdpPacket)


def test_memory_is_bounded_and_the_oldest_packet_is_given_up() -> None:
    fragments = Fragments(2000)
    data = _datagram(600)
    for number in range(100):
        assert fragments.add(_cut(data, 0, 75, number), 0.0) is None
        assert fragments.held <= 2000
    assert fragments.lost == 98
    assert isinstance(fragments.add(_cut(data, 75, 80, 99), 0.0), UdpPacket)
    for number in range(100):
        # Copies of one fragment cost, too.
        fragments.add(_cut(data, 1, 2, 7)._replace(offset=8 * number), 0.0)
        assert fragments.held <= 2000


def test_exchange_in_fragments_is_decoded_and_lost_fragments_are_counted() -> None:
    request = tcp(CLIENT, SERVER, b"get " + b"k" * 40 + b"\r\n", 100, 500)[20:]
    frames = [
        tcp(CLIENT, SERVER, seq=99, flags=SYN),
        tcp(SERVER, CLIENT, seq=499, ack=100, flags=SYN | ACK),
        ip(CLIENT[0], SERVER[0], 6, request[48:], 6),
        ip(CLIENT[0], SERVER[0], 6, request[:48], 0x2000),
        tcp(SERVER, CLIENT, b"END\r\n", 500, 146),
        ip(CLIENT[0], SERVER[0], 6, request[:8], 0x2000),
    ]
    decoder = Decoder()
    records = [record for frame in frames for record in decoder.add(Frame(1.0, LinkType.RAW, frame))]
    records += decoder.end()
    assert [summarise(record).result for record in records] == ["miss"]
    assert decoder.skipped[Skipped.FRAGMENT] == 1
