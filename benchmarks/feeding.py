"""The cost of a packet does not depend on how its bytes arrive, nor on how many came before it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from time import perf_counter

from benchmarks import _wire as wire
from benchmarks._report import Table, exponent, parser, report
from memproto import ClientConnection, Limits, ServerConnection, Signal

_SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)
_VALUES = (64 * 1024, 256 * 1024, 1024 * 1024, 4 * 1024 * 1024)
_PIECE = 64
#: Ways to feed, and the most packets that are fed so: byte by byte there are a hundred calls per packet.
_WAYS: tuple[tuple[str, int | None, int], ...] = (
    ("one block", None, 100_000),
    ("64 KiB blocks", 64 * 1024, 100_000),
    ("100 bytes at a time", 100, 100_000),
    ("byte by byte", 1, 10_000),
)

Connection = ServerConnection | ClientConnection
#: Makes a connection that expects so many packets, and the bytes of these packets.
Maker = Callable[[int], tuple[Connection, bytes]]


def _server(count: int) -> tuple[Connection, bytes]:
    return ServerConnection(Limits(outstanding=count + 1)), wire.SET_REQUEST * count


def _client(count: int) -> tuple[Connection, bytes]:
    connection = ClientConnection(Limits(outstanding=count + 1))
    for _ in range(count):
        connection.send(wire.GET)
    return connection, b"".join(wire.with_opaque(wire.GET_REPLY, opaque) for opaque in range(count))


_SIDES: tuple[tuple[str, Maker], ...] = (
    ("server, SET requests of 141 bytes", _server),
    ("client, GET replies of 128 bytes", _client),
)


def pieces(data: bytes, size: int | None) -> list[bytes]:
    """``data`` cut into pieces of this many bytes, or whole."""
    return [data] if size is None else [data[at : at + size] for at in range(0, len(data), size)]


def seconds(connection: Connection, parts: Sequence[bytes], expected: int) -> float:
    """How long the connection takes to turn these pieces into so many events, the collector of cycles off."""
    receive_data, next_event = connection.receive_data, connection.next_event
    need_data = Signal.NEED_DATA
    events = 0
    gc.collect()
    gc.disable()
    try:
        start = perf_counter()
        for part in parts:
            receive_data(part)
            while next_event() is not need_data:
                events += 1
        taken = perf_counter() - start
    finally:
        gc.enable()
    if events != expected:
        raise RuntimeError(f"events are {events}, expected {expected}")
    return taken


def _fed(make: Maker, count: int, size: int | None, rounds: int) -> float:
    best = float("inf")
    for _ in range(rounds):
        connection, data = make(count)
        best = min(best, seconds(connection, pieces(data, size), count))
    return best


def packets(most: int, rounds: int) -> Table:
    """Time per packet by the way of feeding, and how it grows with the number of packets."""
    sizes = [size for size in _SIZES if size <= most]
    rows: list[tuple[str | float | int | None, ...]] = []
    for side, make in _SIDES:
        block = 0.0
        for way, size, limit in _WAYS:
            times = [(count, _fed(make, count, size, rounds)) for count in sizes if count <= limit]
            at_10k = min(10_000, sizes[-1])
            each = dict(times)[at_10k] / at_10k * 1e6
            block = block or each
            calls = 1.0 if size is None else max(1.0, len(make(1)[1]) / size)
            per_byte = each / calls if calls > 1 else None
            shown = tuple(dict(times)[count] / count * 1e6 if count <= limit else None for count in sizes)
            rows.append((side, way, *shown, each / block, per_byte, exponent(times)))
    columns = ("", "fed", *(f"{size:,} packets" for size in sizes), "/ one block", "per piece", "exponent")
    return Table("Feeding: microseconds per packet, by the number of packets", columns, tuple(rows))


def _one_value(make: Maker, value: int) -> tuple[Connection, bytes]:
    limits = Limits(value=_VALUES[-1])
    if make is _server:
        return ServerConnection(limits), wire.set_request(value=bytes(value))
    connection = ClientConnection(limits)
    connection.send(wire.GET)
    return connection, wire.get_reply(bytes(value))


def values(rounds: int) -> Table:
    """One large value in small pieces: the time per piece, and how the whole grows with the value."""
    rows: list[tuple[str | float, ...]] = []
    for side, make in _SIDES:
        times: list[tuple[int, float]] = []
        for value in _VALUES:
            best = float("inf")
            for _ in range(rounds):
                connection, data = _one_value(make, value)
                best = min(best, seconds(connection, pieces(data, _PIECE), 1))
            times.append((value, best))
        each = (taken / (value / _PIECE) * 1e6 for value, taken in times)
        rows.append((side.partition(",")[0], *each, exponent(times)))
    columns = ("", *(f"{value // 1024:,} KiB" for value in _VALUES), "exponent")
    return Table(f"Feeding: one value in pieces of {_PIECE} bytes, microseconds per piece", columns, tuple(rows))


def _calls(function: Callable[[], object], count: int) -> float:
    start = perf_counter()
    for _ in range(count):
        function()
    return (perf_counter() - start) / count * 1e9


def need_data(count: int) -> Table:
    """What it costs to be told that there is nothing to tell."""
    rows: list[tuple[str | float, ...]] = []
    for side, make in _SIDES:
        empty, data = make(1)
        header, _ = make(1)
        header.receive_data(data[:20])
        body, _ = make(1)
        body.receive_data(data[:60])
        timings = (_calls(connection.next_event, count) for connection in (empty, header, body))
        rows.append((side.partition(",")[0], *timings, _calls(lambda: None, count)))
    columns = ("", "nothing there", "part of a header there", "part of a body there", "an empty Python function")
    return Table("Feeding: nanoseconds of a next_event() that says NEED_DATA", columns, tuple(rows))


def main() -> int:
    """The command line; the exit code."""
    options = parser("feeding", __doc__)
    options.add_argument("--packets", type=int, default=100_000, help="most packets fed in one run")
    options.add_argument("--rounds", type=int, default=3, help="rounds, of which the best counts")
    options.add_argument("--fast", action="store_true", help="one round of up to 10,000 packets")
    arguments = options.parse_args()
    if arguments.packets < _SIZES[1]:
        options.error(f"--packets is {arguments.packets}, must be {_SIZES[1]} or more")
    most, rounds = (10_000, 1) if arguments.fast else (arguments.packets, arguments.rounds)
    report("feeding", [packets(most, rounds), values(rounds), need_data(100_000)], arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
