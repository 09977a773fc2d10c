"""The reference server under abuse: its memory, its files, and how long another client waits, measured from outside."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks import _abuse_scenarios as scenarios
from benchmarks._abuse_bystander import bystander
from benchmarks._abuse_scenarios import Done
from benchmarks._abuse_server import MEGABYTE, Watched, watched
from benchmarks._report import Cell, Table, parser, report
from benchmarks._servers import LOOPS, MEMCACHED, available
from benchmarks.connections import allowed

#: Of ``limit``: so many are let in, beside the bystander.
_ALLOWED = 50


@dataclass(frozen=True, slots=True)
class Scenario:
    """What to do, and with how much of it in full and with ``--fast``."""

    name: str
    abuse: Callable[..., Done]
    full: Sequence[float]
    fast: Sequence[float]
    #: Whether memcached does it beside us; some of this it takes badly, or for long.
    beside: bool = True
    connections: int = 4096


SCENARIOS = (
    Scenario("idle connections", scenarios.idle, (2000,), (500,)),
    Scenario("busy connections, 20 deep", scenarios.busy, (200, 20), (200, 3)),
    Scenario("half a header and stay", scenarios.half_headers, (1000,), (300,)),
    Scenario("nearly 1 MB of a value and stay, -m 64", scenarios.half_values, (300, 1_000_000), (120, 1_000_000)),
    Scenario("connect and close", scenarios.storm, (5000,), (500,)),
    # memcached's -c counts other than ours: what it needs itself, too.
    Scenario(
        "connections beyond -c",
        scenarios.limit,
        (_ALLOWED, 500),
        (_ALLOWED, 50),
        beside=False,
        connections=_ALLOWED + 1,
    ),
    Scenario("slow reader of 900 KB values", scenarios.slow_reader, (50, 0.01), (10, 0.005)),
    Scenario("slow writers", scenarios.slow_writer, (50, 0.1), (50, 0.02)),
    Scenario("half-close after a pipeline", scenarios.half_close, (20, 10_000), (5, 2_000)),
    Scenario("1,000 gets of 900 KB, unread", scenarios.unread_gets, (10, 1000), (5, 1000)),
    Scenario("the same of 200 clients, -m 64", scenarios.unread_gets, (200, 1000), (150, 1000)),
    Scenario("1,000 quiet gets of 900 KB, unread", scenarios.unread_quiet_gets, (10, 1000), (5, 1000)),
    Scenario("multi-get of 1,000 x 900 KB, unread", scenarios.unread_multi_get, (10, 1000), (5, 1000)),
    # memcached refuses the next store: what is asked for and not taken fills its slabs.
    Scenario(
        "multi-gets of all there is, unread, replaced, -m 64",
        scenarios.unread_and_replaced,
        (10, 60),
        (4, 60),
        beside=False,
    ),
    Scenario("stores of 1 MB, answers unread", scenarios.unread_stores, (200,), (50,)),
    Scenario("appends of a byte to 900 KB", scenarios.appends, (50, 100), (30, 50)),
    Scenario("small requests without end, unread", scenarios.unread_small, (50_000_000,), (5_000_000,)),
    Scenario("a line without end", scenarios.endless_line, (100_000_000,), (10_000_000,)),
    Scenario("4 GB announced", scenarios.huge_values, (20_000_000,), (5_000_000,)),
    Scenario("random and faulty bytes", scenarios.noise, (1, 10_000_000), (1, 500_000), beside=False),
)


def undergo(name: str, scenario: Scenario, fast: bool) -> tuple[Cell, ...]:
    """One row: what was done, and what it cost the server and another client."""
    sizes = scenario.fast if fast else scenario.full
    with watched(name, connections=scenario.connections) as server:
        files = server.files()
        # What is set up at the first connection is not counted.
        scenarios.idle(server, min(10, scenario.connections))
        _left(server, files)
        server.forget_peak()
        before, used, files = server.resident(), server.processor_time(), server.files()
        begun = time.perf_counter()
        with bystander(server.port) as waits:
            done = scenario.abuse(server, *sizes)
        took, used = time.perf_counter() - begun, server.processor_time() - used
        peak = (server.peak() - before) / MEGABYTE
        left = _left(server, files)
    return scenario.name, name, done.count, done.note, peak, waits.median, waits.worst, used / took, left


def _left(server: Watched, files: int) -> int:
    """How many files the server still has open of those that were opened, after a moment."""
    for _ in range(100):
        if server.files() <= files:
            break
        time.sleep(0.05)
    return max(server.files() - files, 0)


def main() -> int:
    """The command line; the exit code."""
    options = parser("abuse", __doc__)
    options.add_argument("--fast", action="store_true", help="less of everything")
    options.add_argument("--only", default="", metavar="WORDS", help="scenarios with these words in their names")
    arguments = options.parse_args()
    allowed(2500)
    rows = []
    for scenario in SCENARIOS:
        if arguments.only not in scenario.name:
            continue
        for name in available((*LOOPS, MEMCACHED)):
            if name != MEMCACHED or scenario.beside:
                rows.append(undergo(name, scenario, arguments.fast))
                print(*rows[-1], sep=" | ", file=sys.stderr)
    columns = (
        "what",
        "server",
        "count",
        "",
        "growth at most, MiB",
        "another waits, median ms",
        "at most, ms",
        "processor, share",
        "files left",
    )
    report("abuse", [Table("Abuse, -m 64", columns, tuple(rows))], arguments.json)
    return 1 if any(row[-1] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
