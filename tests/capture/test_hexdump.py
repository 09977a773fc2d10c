"""Hex dumps of the usual programs give their bytes; other text is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memproto.capture.hexdump import decode_hex, frames_of_dump, is_packet_row
from memproto.capture.packets import Frame, LinkType
from tests.capture.frames import CLIENT, CLIENT6, SERVER, SERVER6, ethernet, tcp

SET = bytes.fromhex("80010003080000000000000d0000002a0000000000000000000000070000000a6b65796869")


def test_bare_digits_are_bytes_however_they_are_grouped() -> None:
    for text in ("800a0000", "80 0a 00 00", "80:0a:00:00", "800A\n0000\n", " 80,0a\t0000 "):
        assert decode_hex(text) == b"\x80\x0a\0\0"


@pytest.mark.parametrize(
    "text", ["", "\n", "get k\r\n", "add fade 0 0 2\r\nab\r\n", "80 0", "80 zz", "00000000: zz", "00000000: 8 0", "*\n"]
)
def test_other_text_is_no_dump(text: str) -> None:
    assert decode_hex(text) is None


def test_rows_whose_offsets_do_not_fit_are_bare_digits() -> None:
    assert decode_hex("80010003 08000000\n0000000d 0000002a\n") == SET[:16]


XXD = """\
00000000: 8001 0003 0800 0000 0000 000d 0000 002a  ...............*
00000010: 0000 0000 0000 0000 0000 0007 0000 000a  ................
00000020: 6b65 7968 69                             keyhi
"""
HEXDUMP = """\
00000000  80 01 00 03 08 00 00 00  00 00 00 0d 00 00 00 2a  |...............*|
00000010  00 00 00 00 00 00 00 00  00 00 00 07 00 00 00 0a  |................|
00000020  6b 65 79 68 69                                    |keyhi|
00000025
"""
WIRESHARK = """\
0000   80 01 00 03 08 00 00 00 00 00 00 0d 00 00 00 2a   ...............*
0010   00 00 00 00 00 00 00 00 00 00 00 07 00 00 00 0a   ................
0020   6b 65 79 68 69                                    keyhi
"""


@pytest.mark.parametrize("dump", [XXD, HEXDUMP, WIRESHARK], ids=["xxd", "hexdump -C", "Wireshark"])
def test_rows_of_a_dump_are_bytes(dump: str) -> None:
    assert decode_hex(dump) == SET
    assert decode_hex(dump + "\n" + dump) == SET + SET


def test_rows_that_hexdump_leaves_out_are_those_of_the_row_before() -> None:
    dump = "00000000  61 61 61 61 61 61 61 61  61 61 61 61 61 61 61 61  |a|\n*\n00000040  62  |b|\n00000041\n"
    assert decode_hex(dump) == b"a" * 64 + b"b"


def test_characters_that_look_like_digits_are_no_bytes() -> None:
    assert decode_hex("00000000: 3132 3334 3536 3738  12345678\n00000008: 61                   a\n") == b"12345678a"
    dump = "00000000: 31 32 33 34 35 36 37 38  12 34 56 78\n00000008: 61                       a\n"
    assert decode_hex(dump) == b"12345678a"


@given(st.binary(min_size=1, max_size=90))
def test_dumps_of_any_bytes_are_read_back(data: bytes) -> None:
    rows = [(at, data[at : at + 16]) for at in range(0, len(data), 16)]
    shown = [(at, row, "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)) for at, row in rows]
    xxd = "\n".join(f"{at:08x}: {row.hex(' ', -2):39}  {text}" for at, row, text in shown)
    assert decode_hex(xxd) == data
    hexdump = "\n".join(f"{at:08x}  {row[:8].hex(' '):23}  {row[8:].hex(' '):23}  |{text}|" for at, row, text in shown)
    assert decode_hex(hexdump) == data


PACKET = tcp(CLIENT, SERVER, b"12 34 56 get key\r\n")


def _dumped(frame: bytes) -> list[str]:
    """The lines of tcpdump -X for a frame."""
    return [
        f"\t0x{at:04x}:  {frame[at : at + 16].hex(' ', -2):39}  "
        + "".join(chr(byte) if 32 < byte < 127 else "." for byte in frame[at : at + 16])
        for at in range(0, len(frame), 16)
    ]


@pytest.mark.parametrize(
    ("headline", "time"),
    [
        ("00:26:43.488712 IP 10.0.0.1.40000 > 10.0.0.2.11211: Flags [P.], length 9", 1603.488712),
        ("2026-11-22 00:00:01.500000 IP 10.0.0.1.40000 > 10.0.0.2.11211: Flags [P.], length 9", 1795305601.5),
        ("1795305601.500000 IP 10.0.0.1.40000 > 10.0.0.2.11211: Flags [P.], length 9", 1795305601.5),
    ],
)
def test_packets_of_tcpdump_have_time_and_bytes(headline: str, time: float) -> None:
    lines = [headline, *_dumped(PACKET), headline, *_dumped(PACKET), "2 packets captured"]
    assert [is_packet_row(line) for line in lines[:2]] == [False, True]
    assert list(frames_of_dump(lines)) == [Frame(time, LinkType.RAW, PACKET)] * 2


SLL = bytes.fromhex("0000 0304 0006 000000000000 0000 0800")
SLL2 = bytes.fromhex("0800 0000 00000001 0304 00 06 0000000000000000")


@pytest.mark.parametrize(
    ("frame", "link"),
    [
        (PACKET, LinkType.RAW),
        (tcp(CLIENT6, SERVER6, b"mn\r\n"), LinkType.RAW),
        (ethernet(PACKET), LinkType.ETHERNET),
        (ethernet(tcp(CLIENT6, SERVER6, b"mn\r\n")), LinkType.ETHERNET),
        (SLL + PACKET, LinkType.LINUX_SLL),
        (SLL2 + PACKET, LinkType.LINUX_SLL2),
        (PACKET[:2] + b"\0\0" + PACKET[4:], LinkType.RAW),
    ],
)
def test_link_layer_of_a_dumped_packet_is_recognised(frame: bytes, link: int) -> None:
    # The offset 0 begins a packet, where headlines were left out.
    assert list(frames_of_dump([*_dumped(frame), *_dumped(frame)])) == [Frame(0.0, link, frame)] * 2


def test_rows_without_bytes_are_no_packet() -> None:
    assert list(frames_of_dump(["\t0x0000:", "12:00:00.5 IP a > b: x", "\t0x0000:  zz", ""])) == []
