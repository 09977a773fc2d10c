"""How much memory the reference server's process really takes for its ``-m``, looked at from outside."""

from __future__ import annotations

import contextlib
import itertools
import math
import random
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks._abuse_server import MEGABYTE, Watched, watched
from benchmarks._report import Table, parser, report
from benchmarks._servers import LOOPS, MEMCACHED, available
from benchmarks.server_cpu import receive

#: The growth that is allowed, in budgets.
LIMIT = 1.25
_KIB = 1024
_PHASE = 80 * MEGABYTE
#: So many bytes of requests are sent before the answer to the last is waited for.
_BURST = 256 * _KIB
_FENCE, _FENCE_REPLY = b"mn\r\n", b"MN\r\n"
_STORED, _OUT_OF_MEMORY = b"STORED\r\n", b"SERVER_ERROR out of memory storing object\r\n"

Requests = Iterator[tuple[bytes, int]]


def _key(number: int) -> bytes:
    return b"key:%010d" % number


def _set(number: int, value: bytes, how: bytes = b" noreply") -> tuple[bytes, int]:
    """A store, and what it adds to a cache beside the charge for an item."""
    return b"set %b 0 0 %d%b\r\n%b\r\n" % (_key(number), len(value), how, value), len(value) + 14


def _alike(length: int) -> Callable[[random.Random], Requests]:
    """Ever new keys with values of one length."""

    def stores(rng: random.Random) -> Requests:
        for number in itertools.count():
            yield _set(number, rng.randbytes(8) + bytes(length - 8))

    return stores


def _mixed(rng: random.Random) -> Requests:
    """Keys that come again with values of other lengths, as many short ones as long ones in orders of magnitude."""
    for number in itertools.count():
        yield _set(number if rng.random() < 0.5 else rng.randrange(number + 1), rng.randbytes(_length(rng)))


def _length(rng: random.Random) -> int:
    return round(10 * math.exp(rng.random() * math.log(50_000)))


def _phases(rng: random.Random) -> Requests:
    """Lengths that change for good from time to time, while some old items stay in use: holes for any allocator."""
    number = 0
    for length in itertools.cycle((1_000, 30_000, 300, 200_000, 5_000)):
        written = 0
        kept: list[int] = []
        while written < _PHASE:
            number += 1
            yield _set(number, rng.randbytes(length))
            written += length + 574
            if rng.random() < 0.02 or not kept:
                kept.append(number)
            yield b"touch %b 0 noreply\r\n" % _key(rng.choice(kept)), 0


@dataclass(frozen=True, slots=True)
class Load:
    """Stores that go on until ``budgets`` times the budget has been sent."""

    name: str
    stores: Callable[[random.Random], Requests]
    budgets: int


LOADS = (
    Load("100 bytes", _alike(100), 3),
    Load("100 KB", _alike(100 * 1000), 3),
    Load("10 B to 500 KB, rewritten", _mixed, 8),
    Load("300 B to 200 KB in phases", _phases, 8),
)


def press(link: socket.socket, load: Load, memory: int, charge: int) -> None:
    """Store what ``load`` says. ``charge`` is what counts for an item beside its bytes."""
    sent = 0
    block = bytearray()
    for request, size in load.stores(random.Random(1)):
        block += request
        sent += size + charge if size else 0
        if len(block) >= _BURST:
            # All of them are quiet: nothing but the answer to the last comes back.
            link.sendall(block + _FENCE)
            receive(link, len(_FENCE_REPLY))
            block.clear()
        if sent > load.budgets * memory:
            return


def measure(server: Watched, load: Load, memory: int, charge: int) -> tuple[float, float]:
    """Growth of its memory in budgets: in the end, and the most there was."""
    with server.connect() as link:
        press(link, Load("", _alike(100), 0), memory, charge)
        before = server.resident()
        press(link, load, memory, charge)
        return (server.resident() - before) / memory, (server.peak() - before) / memory


def refused(loop: str, memory: int) -> tuple[int, float]:
    """With ``-M``: how many stores until one is refused, and the growth after three budgets of them."""
    with watched(loop, "-m", str(memory // MEGABYTE), "-M") as server, server.connect() as link:
        before = server.resident()
        replies = link.makefile("rb")
        stored = 0
        for number in range(3 * memory // 100_000):
            link.sendall(_set(number, bytes(100_000), b"")[0])
            reply = replies.readline()
            stored += reply == _STORED
            if reply not in (_STORED, _OUT_OF_MEMORY):
                raise RuntimeError(f"-M answers {reply!r}")
        return stored, (server.peak() - before) / memory


@contextlib.contextmanager
def _full(name: str, memory: int, persist: bool) -> Iterator[Watched]:
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["-m", str(memory // MEGABYTE)]
        if persist:
            arguments += ["--persist", str(Path(folder, "items"))]
        with watched(name, *arguments) as server:
            yield server


def main() -> int:
    """The command line; the exit code."""
    options = parser("budget", __doc__)
    options.add_argument(
        "--budgets",
        default="64,256",
        metavar="MIB",
        help="what to give to -m: the first to all and with --persist too, the others to asyncio alone",
    )
    options.add_argument("--fast", action="store_true", help="-m 64 without --persist")
    arguments = options.parse_args()
    budgets = [64] if arguments.fast else [int(each) for each in arguments.budgets.split(",")]
    if not all(4 <= each <= 65_536 for each in budgets):
        options.error(f"--budgets is {arguments.budgets}, each must be 4 to 65536")
    from memproto.engine import ITEM_OVERHEAD

    rows = []
    worst = 0.0
    for name in available((*LOOPS, MEMCACHED)):
        for budget in budgets:
            if budget != budgets[0] and name != LOOPS[0]:
                continue
            for persist in (False, True):
                if persist and (arguments.fast or budget != budgets[0] or name == MEMCACHED):
                    continue
                for load in LOADS:
                    with _full(name, budget * MEGABYTE, persist) as server:
                        charge = 60 if name == MEMCACHED else ITEM_OVERHEAD
                        end, peak = measure(server, load, budget * MEGABYTE, charge)
                    if name != MEMCACHED:
                        worst = max(worst, peak)
                    rows.append((f"{name}{', --persist' if persist else ''}", budget, load.name, end, peak))
                    print(rows[-1], file=sys.stderr)
    out = [(loop, *refused(loop, budgets[0] * MEGABYTE)) for loop in available(LOOPS)]
    report(
        "budget",
        [
            Table(
                f"Growth of the process in budgets; the limit is {LIMIT}",
                ("server", "-m, MiB", "values", "in the end", "peak"),
                tuple(rows),
            ),
            Table(
                f"-M, -m {budgets[0]}, three budgets of 100 KB values",
                ("loop", "stored", "growth / budget"),
                tuple(out),
            ),
        ],
        arguments.json,
    )
    worst = max(worst, *(growth for _, _, growth in out))
    return 0 if worst < LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
