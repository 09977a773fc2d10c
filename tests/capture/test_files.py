"""pcap and pcapng files of every form give their frames; damaged ones say so in one line."""

from __future__ import annotations

import sys
from io import BytesIO
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memproto.capture.errors import CaptureError, MissingExtraError
from memproto.capture.files import read_pcap, read_pcapng
from memproto.capture.packets import Frame
from tests.capture.frames import block, interface, packet, pcap, section

TIME = 1700000000.25


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("magic", "ticks"), [(0xA1B2C3D4, 250_000), (0xA1B23C4D, 250_000_000)])
def test_pcap_of_each_order_and_resolution(order: str, magic: int, ticks: int) -> None:
    data = pcap(1, order=order, magic=magic) + pack(order + "IIII", 1700000000, ticks, 3, 3) + b"abc"
    assert list(read_pcap(BytesIO(data))) == [Frame(TIME, 1, b"abc")]


def test_pcap_with_longer_packet_headers() -> None:
    data = pcap(1, magic=0xA1B2CD34) + pack("<IIIIIHBB", 1700000000, 250_000, 3, 3, 1, 0, 0, 0) + b"abc"
    assert list(read_pcap(BytesIO(data))) == [Frame(TIME, 1, b"abc")]


@pytest.mark.parametrize("order", "<>")
def test_pcapng_of_each_order(order: str) -> None:
    ticks = 1_700_000_000_250_000
    old = pack(order + "HHIIII", 0, 0, ticks >> 32, ticks & 0xFFFFFFFF, 2, 2) + b"de"
    data = b"".join(
        (
            section(order),
            interface(101, order),
            block(order, 5, bytes(12)),  # statistics
            packet(0, ticks, b"abc", order),
            block(order, 2, old),
            block(order, 3, pack(order + "I", 3) + b"fgh"),
        )
    )
    assert list(read_pcapng(BytesIO(data))) == [
        Frame(TIME, 101, b"abc"),
        Frame(TIME, 101, b"de"),
        Frame(0.0, 101, b"fgh"),
    ]


def test_pcapng_with_interfaces_and_sections_of_their_own() -> None:
    nanoseconds = pack("<HHBxxx", 9, 1, 9)
    halves = pack("<HHBxxxHHq", 9, 1, 0x81, 14, 8, 1700000000)
    data = b"".join(
        (
            section(),
            interface(1),
            interface(113, options=nanoseconds),
            packet(1, 1_700_000_000_250_000_000, b"a"),
            packet(0, 1_700_000_000_250_000, b"b"),
            section(">"),
            interface(101, ">", pack(">HHBxxxHHq", 9, 1, 0x82, 14, 8, 1700000000)),
            packet(0, 1, b"c", ">"),
            section(),
            interface(101, options=halves),
            packet(0, 1, b"d"),
        )
    )
    assert list(read_pcapng(BytesIO(data))) == [
        Frame(TIME, 113, b"a"),
        Frame(TIME, 1, b"b"),
        Frame(TIME, 101, b"c"),
        Frame(TIME + 0.25, 101, b"d"),
    ]


WHOLE = section() + interface(1) + packet(0, 0, b"abc")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (pcap(1)[:20], "the capture ends in the middle of a packet"),
        (pcap(1, (0.0, b"abc"))[:-1], "the capture ends in the middle of a packet"),
        (pcap(1, (0.0, b"abc"))[:30], "the capture ends in the middle of a packet"),
        (pcap(1) + pack("<IIII", 0, 0, 1 << 31, 9), "the capture is damaged: it has a packet or block of 2147483648"),
        (pcap(105), "the capture has link type 105, which is not supported"),
        (WHOLE[:9], "the capture ends in the middle of a packet"),
        (WHOLE[:12], "the capture ends in the middle of a packet"),
        (WHOLE[:-1], "the capture ends in the middle of a packet"),
        (WHOLE[:30], "the capture ends in the middle of a packet"),
        (section() + pack("<II", 6, 4), "the capture is damaged: it has a packet or block of -4 bytes"),
        (section() + packet(0, 0, b"abc"), "the capture is damaged: it has a packet without an interface"),
        (section() + block("<", 3, pack("<I", 1)), "the capture is damaged: it has a packet without an interface"),
        (section() + interface(1) + block("<", 6, b""), "the capture is damaged: it has a packet without an interface"),
        (section() + block("<", 1, b""), "the capture is damaged: it has an interface that cannot be read"),
        (section() + interface(105) + packet(0, 0, b"abc"), "the capture has link type 105, which is not supported"),
    ],
)
def test_a_damaged_capture_is_told_in_one_line(data: bytes, words: str) -> None:
    with pytest.raises(CaptureError, match=words) as caught:
        list((read_pcapng if data[:1] == b"\n" else read_pcap)(BytesIO(data)))
    assert "\n" not in str(caught.value)


def _read_or_refused(data: bytes) -> list[Frame] | CaptureError:
    try:
        return list((read_pcapng if data[:1] == b"\n" else read_pcap)(BytesIO(data)))
    except CaptureError as error:
        return error


@given(st.integers(4, len(WHOLE) - 1), st.binary(min_size=1, max_size=4))
def test_any_changed_bytes_are_frames_or_a_damaged_capture(at: int, change: bytes) -> None:
    for whole in (WHOLE, pcap(1, (TIME, b"abc"), (TIME, b"def"))):
        found = _read_or_refused(whole[:at] + change + whole[at + len(change) :])
        assert isinstance(found, CaptureError) or all(isinstance(frame, Frame) for frame in found)


def test_without_dpkt_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dpkt", None)
    for read, data in ((read_pcap, pcap(1)), (read_pcapng, WHOLE)):
        with pytest.raises(MissingExtraError, match=r"pip install 'memproto\[pcap\]'"):
            list(read(BytesIO(data)))
