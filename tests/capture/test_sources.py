"""An input is recognised by its content, and read no further than its first packet needs."""

from __future__ import annotations

import os
from io import BytesIO

import pytest

from memproto.capture.errors import CaptureError
from memproto.capture.packets import Frame
from memproto.capture.sources import Bytes, Packets, recognise
from tests.capture.frames import CLIENT, SERVER, interface, packet, pcap, section, tcp
from tests.capture.test_hexdump import HEXDUMP, SET, XXD, _dumped

FRAME = tcp(CLIENT, SERVER, b"mn\r\n")


@pytest.mark.parametrize(
    ("data", "kind", "count"),
    [
        (pcap(101, (1.5, FRAME), (1.5, FRAME)), "pcap", 2),
        (section() + interface(101) + packet(0, 1_500_000, FRAME), "pcapng", 1),
        ("\n".join(["1.5 IP a > b", *_dumped(FRAME)]).encode(), "tcpdump -X", 1),
        (("\n".join(["1.5 IP a > b", *_dumped(FRAME), ""]) * 200).encode(), "tcpdump -X", 200),
        # A capture file that was itself dumped.
        (pcap(101, (1.5, FRAME)).hex(" ").encode(), "pcap", 1),
    ],
)
def test_packets_are_recognised(data: bytes, kind: str, count: int) -> None:
    source = recognise(BytesIO(data))
    assert isinstance(source, Packets)
    assert source.kind == kind
    assert list(source.frames) == [Frame(1.5, 101, FRAME)] * count


@pytest.mark.parametrize(
    ("data", "kind", "found"),
    [
        (XXD.encode(), "hex dump", SET),
        (HEXDUMP.encode(), "hex dump", SET),
        (SET.hex().encode(), "hex dump", SET),
        (b"80", "hex dump", b"\x80"),
        (SET, "bytes", SET),
        (b"get k\r\n", "bytes", b"get k\r\n"),
        (b"\r\n", "bytes", b"\r\n"),
        # It begins like digits, and is the reply to incr.
        (b"12\r\nSTORED\r\n", "bytes", b"12\r\nSTORED\r\n"),
        (b"set k 0 0 2\r\n\xff\xfe\r\n", "bytes", b"set k 0 0 2\r\n\xff\xfe\r\n"),
        (b"mn\r\n" * 50_000, "bytes", b"mn\r\n" * 50_000),
    ],
)
def test_bytes_are_recognised(data: bytes, kind: str, found: bytes) -> None:
    source = recognise(BytesIO(data))
    assert isinstance(source, Bytes)
    assert source.kind == kind
    assert b"".join(source.chunks) == found


def test_an_empty_input_is_told() -> None:
    with pytest.raises(CaptureError, match="the input is empty"):
        recognise(BytesIO())


def test_bytes_read_are_reported() -> None:
    for data in (pcap(101, (1.5, FRAME)), SET):
        read: list[int] = []
        source = recognise(BytesIO(data), read.append)
        list(source.frames if isinstance(source, Packets) else source.chunks)
        assert sum(read) == len(data)


@pytest.mark.parametrize(
    "data",
    [
        pcap(101, (1.5, FRAME)),
        section() + interface(101) + packet(0, 1_500_000, FRAME),
        # What follows says that the packet is whole.
        "\n".join(["1.5 IP a > b", *_dumped(FRAME), "1.6 IP b > a", ""]).encode(),
    ],
    ids=["pcap", "pcapng", "tcpdump -X"],
)
def test_a_packet_of_a_live_capture_is_there_before_the_next(data: bytes) -> None:
    reader, writer = os.pipe()
    with open(reader, "rb") as pipe, open(writer, "wb", buffering=0) as capture:
        capture.write(data)
        source = recognise(pipe)
        assert isinstance(source, Packets)
        # The pipe stays open, so that a read for more would never end.
        assert next(source.frames) == Frame(1.5, 101, FRAME)
