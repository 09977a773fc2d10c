"""Stores per second with the journal, beside the same server without; and what it is that one commit does for many.

A client that waits for each answer has one commit per store. Many clients at a time, and a pipeline, share one.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import _wire as wire
from benchmarks._report import Table, parser, ratio, report
from benchmarks._servers import Server, command, free_port, pin_apart
from benchmarks.server_cpu import receive

_KEYS = 10_000
NONE, NORMAL, FULL = "no journal", "--persist", "--sync full"


@dataclass(frozen=True, slots=True)
class Load:
    """So many connections, and so many SETs of each before it waits for the answers."""

    connections: int
    depth: int

    @property
    def name(self) -> str:
        """The load in words."""
        many = "1 connection" if self.connections == 1 else f"{self.connections} connections"
        return f"{many}, {self.depth} at a time"


ONE = Load(1, 1)
LOADS = (ONE, Load(50, 1), Load(1, 50), Load(50, 20))


@contextlib.contextmanager
def running(name: str, *arguments: str) -> Iterator[Server]:
    """The reference server with these arguments for the duration of a ``with`` block."""
    port = free_port()
    with subprocess.Popen([*command("auto", port, 1024), *arguments], stderr=subprocess.DEVNULL) as process:
        server = Server(name, process, port)
        try:
            server._wait()
            yield server
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def bursts(load: Load) -> Iterator[bytes]:
    """SETs of 100 bytes, so many in a piece, of keys in no order."""
    chance = random.Random(1)
    requests = [wire.set_request(b"key:%06d" % number) for number in range(_KEYS)]
    chance.shuffle(requests)
    pieces = [b"".join(requests[at : at + load.depth]) for at in range(0, _KEYS, load.depth)]
    return itertools.cycle(pieces)


def measure(server: Server, load: Load, seconds: float) -> float:
    """Stores per second, once."""
    pieces = bursts(load)
    size = len(wire.SET_REPLY) * load.depth
    stored = 0
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(server.connect()) for _ in range(load.connections)]
        start = time.perf_counter()
        while (spent := time.perf_counter() - start) < seconds:
            for connection in opened:
                connection.sendall(next(pieces))
            for connection in opened:
                receive(connection, size)
            stored += load.connections * load.depth
    return stored / spent


def table(servers: Sequence[Server], seconds: float, rounds: int) -> Table:
    """The median over the rounds, for every load and server."""
    medians: dict[tuple[Load, str], float] = {}
    for load in LOADS:
        rates: dict[str, list[float]] = {server.name: [] for server in servers}
        for _ in range(rounds):
            for server in servers:
                rates[server.name].append(measure(server, load, seconds))
        medians.update(((load, name), statistics.median(each)) for name, each in rates.items())
    columns = ["", NONE]
    for name in (NORMAL, FULL):
        columns += [name, f"{name} / {NONE}", f"{name} / its first row"]
    rows: list[tuple[str | float | None, ...]] = []
    for load in LOADS:
        row: list[str | float | None] = [load.name, medians[load, NONE]]
        for name in (NORMAL, FULL):
            rate = medians[load, name]
            row += [rate, ratio(rate, medians[load, NONE]), ratio(rate, medians[ONE, name])]
        rows.append(tuple(row))
    return Table("Stores per second, binary, values of 100 bytes", tuple(columns), tuple(rows))


def main() -> int:
    """The command line; the exit code."""
    options = parser("persist", __doc__)
    options.add_argument("--seconds", type=float, default=1.0, help="how long each is measured in each round")
    options.add_argument("--rounds", type=int, default=5, help="rounds, of which the median counts")
    options.add_argument("--folder", help="where the journals are; the results are those of its disk")
    options.add_argument("--fast", action="store_true", help="3 rounds of 0.3 seconds")
    arguments = options.parse_args()
    rounds, seconds = (3, 0.3) if arguments.fast else (arguments.rounds, arguments.seconds)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder, contextlib.ExitStack() as stack:
        normal, full = str(Path(folder, "normal")), str(Path(folder, "full"))
        servers = [
            stack.enter_context(running(NONE)),
            stack.enter_context(running(NORMAL, "--persist", normal)),
            stack.enter_context(running(FULL, "--persist", full, "--sync", "full")),
        ]
        pinned = pin_apart(servers)
        result = table(servers, seconds, rounds)
    print(f"Load: {rounds} rounds of {seconds} s; {pinned}.\n")
    report("persist", [result], arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
