"""What an item costs in the engine, and how far the memory of a full cache is from its budget."""

from __future__ import annotations

import argparse
import gc
import json
import random
import subprocess
import sys
import tracemalloc
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks._report import Table, parser, report
from memproto import BinaryEnvelope, Opcode, ServerConnection, Set
from memproto.binary import encode_request
from memproto.engine import ITEM_OVERHEAD, Engine

_KEY_LENGTH = 10
_MEGABYTE = 1024 * 1024
#: How often each item is replaced by another after the cache has become full.
_CHURN = 2


@dataclass(frozen=True, slots=True)
class Run:
    """What one process has found, in bytes, over where it stood before."""

    items: int
    payload: int
    filled: int
    churned: int
    peak: int
    traced: int


class Cache:
    """An engine that is filled through a connection, as a server's is: every key and value is cut out of a packet."""

    def __init__(self, limit: int, least: int, most: int) -> None:
        self.engine = Engine(memory_limit=limit)
        self._connection = ServerConnection()
        self._lengths = random.Random(1)
        self._least, self._most = least, most
        self._stored = 0

    def store(self) -> None:
        """Another item, which expires at a moment of its own: a moment that all share would cost nothing."""
        self._stored += 1
        value = b"v" * self._lengths.randint(self._least, self._most)
        request = Set(b"%0*d" % (_KEY_LENGTH, self._stored), value, exptime=1000)
        self._connection.receive_data(encode_request(BinaryEnvelope(request, Opcode.SET)))
        event = self._connection.next_event()
        if not isinstance(event, BinaryEnvelope):
            raise TypeError(f"{event!r} is not the request")
        self._connection.send(self.engine.execute(event.request, 1_000_000 + self._stored / 1000), event)

    def fill(self) -> None:
        """Until an item must go to make room."""
        before = -1
        while len(self.engine) > before:
            before = len(self.engine)
            self.store()

    def churn(self) -> None:
        """As many items as are there, half of them each time: the table of keys grows at its own moments."""
        for _ in range(len(self.engine) // 2):
            self.store()


def _status(name: str) -> int:
    """A line of ``/proc/self/status`` in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{name} is not told")


def measured(limit: int, least: int, most: int, traced: bool) -> Run:
    """Fill a cache in this process."""
    cache = Cache(limit, least, most)
    cache.store()
    gc.collect()
    if traced:
        # Once more, because what is there already is not traced.
        tracemalloc.start()
        cache = Cache(limit, least, most)
    before = _status("VmRSS")
    cache.fill()
    filled = _status("VmRSS") - before
    churned = filled
    for _ in range(0 if traced else 2 * _CHURN):
        cache.churn()
        churned = max(churned, _status("VmRSS") - before)
    gc.collect()
    items = len(cache.engine)
    allocated = tracemalloc.get_traced_memory()[0] if traced else 0
    payload = cache.engine.size - items * ITEM_OVERHEAD
    return Run(items, payload, filled, churned, _status("VmHWM") - before, allocated)


def _elsewhere(limit: int, least: int, most: int, traced: bool) -> Run:
    """The same in a process of its own: what one run leaves behind must not change the next."""
    command = [sys.executable, "-m", "benchmarks.memory", "--run", json.dumps([limit, least, most, traced])]
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    return Run(**json.loads(output))


def _table(limit: int, sizes: tuple[tuple[int, int], ...]) -> Table:
    rows = []
    for least, most in sizes:
        run = _elsewhere(limit, least, most, False)
        traced = _elsewhere(limit, least, most, True)
        rows.append(
            (
                str(least) if least == most else f"{least} to {most}",
                run.items,
                (traced.traced - traced.payload) / traced.items,
                (run.filled - run.payload) / run.items,
                (run.churned - run.payload) / run.items,
                (run.peak - run.payload) / run.items,
                run.churned / limit,
                run.peak / limit,
            )
        )
    return Table(
        f"Bytes per item beside key and value; budget {limit // _MEGABYTE} MiB, ITEM_OVERHEAD {ITEM_OVERHEAD}",
        ("value", "items", "allocated", "resident", "after churn", "peak", "resident / budget", "peak / budget"),
        tuple(rows),
    )


def main() -> int:
    """The command line; the exit code."""
    options = parser("memory", __doc__)
    options.add_argument("--budget", type=int, default=64, metavar="MIB", help="the engine's memory limit")
    options.add_argument("--fast", action="store_true", help="two sizes of values instead of six")
    options.add_argument("--run", type=json.loads, help=argparse.SUPPRESS)
    arguments = options.parse_args()
    if not Path("/proc/self/status").exists():
        options.error("this benchmark needs /proc")
    if arguments.run is not None:
        limit, least, most, traced = arguments.run
        print(json.dumps(asdict(measured(limit, least, most, traced))))
        return 0
    if not 1 <= arguments.budget <= 65_536:
        options.error(f"--budget is {arguments.budget}, must be 1 to 65536")
    kilobytes = 1024
    sizes: tuple[tuple[int, int], ...] = ((100, 100), (100 * kilobytes, 100 * kilobytes))
    if not arguments.fast:
        sizes = (
            (10, 10),
            sizes[0],
            (1000, 1000),
            (10 * kilobytes, 10 * kilobytes),
            sizes[1],
            (50 * kilobytes, 150 * kilobytes),
        )
    report("memory", [_table(arguments.budget * _MEGABYTE, sizes)], arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
