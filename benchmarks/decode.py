"""Processor time and memory of ``memproto decode`` for a capture of many connections, by format."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from struct import pack
from typing import BinaryIO

from benchmarks._report import Table, parser, report

_MEGABYTE = 1024 * 1024
_CONNECTIONS = 64


class _Connection:
    """One connection and the packets of its exchanges."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._at = [1, 1]

    def packet(self, sender: int, data: bytes) -> bytes:
        """An Ethernet frame with the next bytes of one end, 0 the client."""
        ports = (20000 + self._number, 11211)
        tcp = pack(
            ">HHIIBBHHH", ports[sender], ports[1 - sender], self._at[sender], self._at[1 - sender], 0x50, 0x18, 9, 0, 0
        )
        ends = (b"\x0a\0\0\1", b"\x0a\0\0\2")
        length = 40 + len(data)
        head = pack(">BBHHHBBH", 0x45, 0, length, 0, 0x4000, 64, 6, 0) + ends[sender] + ends[1 - sender]
        self._at[sender] += len(data)
        return bytes(12) + b"\x08\x00" + head + tcp + data

    def exchange(self, values: random.Random) -> Iterator[bytes]:
        """The packets of one exchange: nine gets of ten, in one of three dialects; values of up to 2 KiB."""
        key = b"user:%d" % values.randrange(10_000)
        value = b"x" * min(int(values.expovariate(1 / 400)), 2000)
        dialect = self._number % 3
        is_get = values.random() < 0.9
        if dialect == 0:
            if is_get:
                request, reply = b"get %s\r\n" % key, b"VALUE %s 0 %d\r\n%s\r\nEND\r\n" % (key, len(value), value)
            else:
                request, reply = b"set %s 0 60 %d\r\n%s\r\n" % (key, len(value), value), b"STORED\r\n"
        elif dialect == 1:
            if is_get:
                request, reply = b"mg %s v O1\r\n" % key, b"VA %d O1\r\n%s\r\n" % (len(value), value)
            else:
                request, reply = b"ms %s %d T60\r\n%s\r\n" % (key, len(value), value), b"HD\r\n"
        elif is_get:
            request = _packet(0x80, 0, b"", key, b"")
            reply = _packet(0x81, 0, bytes(4), b"", value)
        else:
            request, reply = _packet(0x80, 1, bytes(8), key, value), _packet(0x81, 1, b"", b"", b"")
        yield self.packet(0, request)
        for at in range(0, len(reply), 1448):
            yield self.packet(1, reply[at : at + 1448])


def _packet(magic: int, opcode: int, extras: bytes, key: bytes, value: bytes) -> bytes:
    body = extras + key + value
    return pack(">BBHBBHIIQ", magic, opcode, len(key), len(extras), 0, 0, len(body), 7, 0) + body


def write_capture(file: BinaryIO, size: int) -> int:
    """Write a capture of about ``size`` bytes; the number of its exchanges."""
    values = random.Random(1)
    connections = [_Connection(number) for number in range(_CONNECTIONS)]
    file.write(pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
    written, exchanges, time = 24, 0, 1_700_000_000_000_000
    while written < size:
        exchanges += 1
        for frame in connections[values.randrange(_CONNECTIONS)].exchange(values):
            time += 20
            file.write(pack("<IIII", time // 1_000_000, time % 1_000_000, len(frame), len(frame)) + frame)
            written += 16 + len(frame)
    return exchanges


def measure(path: str, *options: str) -> tuple[float, float]:
    """The seconds of processor time and the MiB of memory of one run."""
    command = [sys.executable, "-m", "memproto", "decode", path, *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"memproto decode ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def _table(size: int) -> Table:
    rows: list[tuple[str, int, float, float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "capture")
        with path.open("wb") as file:
            exchanges = write_capture(file, size)
        for options in (("--format", "lines"), ("--format", "json"), ("--format", "fields"), ("--stats",)):
            seconds, memory = measure(str(path), *options)
            rows.append((" ".join(options), exchanges, seconds, seconds / exchanges * 1e6, memory))
    columns = ("options", "exchanges", "seconds of processor time", "microseconds an exchange", "MiB of memory")
    return Table(f"a capture of {size // _MEGABYTE} MiB in {_CONNECTIONS} connections", columns, tuple(rows))


def main() -> int:
    """The command line; the exit code."""
    options = parser("decode", __doc__)
    options.add_argument("--megabytes", type=int, default=100, help="size of the capture in MiB")
    options.add_argument("--fast", action="store_true", help="10 MiB")
    arguments = options.parse_args()
    if arguments.megabytes < 1:
        options.error(f"--megabytes is {arguments.megabytes}, must be at least 1")
    report("decode", [_table((10 if arguments.fast else arguments.megabytes) * _MEGABYTE)], arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
