"""How many wrong answers clients hand out when answers come late, in pieces, twice or never, and calls are interrupted.

Nothing here is timed; every number follows from the seed. The schedules are those of ``tests/desync``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial

from benchmarks._report import Cell, Table, parser, report
from memproto import Dialect
from tests.desync import asynchronous, clients, lines, pure, trial
from tests.desync.faults import BROKEN, SLOW, Fault
from tests.desync.oracle import Tally
from tests.desync.trial import INTERRUPTS

#: Runs so many schedules with these faults, and interrupts calls with this probability.
Runner = Callable[[int, int, tuple[Fault, ...], float], Tally]

_BROKEN = "A broken server"
_BROKEN_ENDS = tuple(f", {fault.value}" for fault in BROKEN)
_COLUMNS = ("", "schedules", "calls", "answers", "wrong", "lost", "raised", "stuck", "wrong were")


def _runners() -> Iterator[tuple[str, Runner]]:
    for blocking in (*clients.OURS, *clients.RIVALS):
        if blocking.installed:
            yield blocking.name, partial(trial.run_many, blocking)
    for task in (*asynchronous.OURS, asynchronous.AIOMCACHE):
        if task.installed:
            yield task.name, partial(asynchronous.run_many, task)


def _row(name: str, tally: Tally) -> tuple[Cell, ...]:
    kinds = ", ".join(f"{kind} {count}" for kind, count in tally.kinds.most_common() if count)
    return name, tally.schedules, tally.calls, tally.answers, tally.wrong, tally.lost, tally.raised, tally.stuck, kinds


def _scheduled(title: str, seed: int, count: int, faults: tuple[Fault, ...], often: float) -> Table:
    return Table(title, _COLUMNS, tuple(_row(name, run(seed, count, faults, often)) for name, run in _runners()))


def _pure(seed: int, count: int) -> Table:
    cases = [("slow", SLOW), *((fault.value, (fault,)) for fault in BROKEN)]
    return Table(
        "ClientConnection alone",
        _COLUMNS,
        tuple(
            _row(f"{dialect.name.lower()}, {name}", pure.run_many(dialect, seed, count, faults))
            for name, faults in cases
            for dialect in Dialect
        ),
    )


def _places(title: str, instructions: bool, stride: int, tasks: bool = False) -> Table:
    blocking = (*clients.OURS, *clients.RIVALS)
    return Table(
        title,
        _COLUMNS,
        tuple(
            _row(client.name, lines.everywhere(client, instructions, stride))
            for client in ((*asynchronous.OURS, asynchronous.AIOMCACHE) if tasks else blocking)
            if client.installed
        ),
    )


def _tables(seed: int, count: int, stride: int) -> Iterator[Table]:
    yield _pure(seed, count)
    yield _scheduled("A slow network: late, in pieces, cut, closed", seed, count, SLOW, 0.0)
    yield _scheduled("The same with interrupts and cancellations", seed, count, SLOW, INTERRUPTS)
    for fault in BROKEN:
        yield _scheduled(f"{_BROKEN}: an answer comes {fault.value}", seed, count, (fault,), 0.0)
    yield _places(f"KeyboardInterrupt at every {stride}. line of a call", False, stride)
    yield _places(f"KeyboardInterrupt at every {7 * stride}. instruction of a call", True, 7 * stride)
    yield _places(f"KeyboardInterrupt at every {5 * stride}. line of a call, asyncio", False, 5 * stride, tasks=True)


def _disgraced(tables: list[Table]) -> list[str]:
    """Where a client of ours got stuck, or handed out a wrong answer that it could have told."""
    wrong, stuck = _COLUMNS.index("wrong"), _COLUMNS.index("stuck")
    return [
        f"{table.title}: {name}"
        for table in tables
        for row in table.rows
        if _is_ours(name := str(row[0]))
        # A connection alone has no timeout that would get it out of waiting.
        and ((row[stuck] and name.startswith("memproto")) or (row[wrong] and not _is_excused(table.title, name)))
    ]


def _is_ours(name: str) -> bool:
    return name.startswith("memproto") or name.split(",")[0] in [dialect.name.lower() for dialect in Dialect]


def _is_excused(title: str, name: str) -> bool:
    # Classic text has nothing to tell a broken server's answers by.
    return "classic" in name and (title.startswith(_BROKEN) or name.endswith(_BROKEN_ENDS))


def main() -> int:
    """The command line; the exit code: 1 if a client of ours got stuck, or gave a wrong answer that it could tell."""
    options = parser("desync", __doc__)
    options.add_argument("--schedules", type=int, default=2000, metavar="N", help="schedules per client and table")
    options.add_argument("--seed", type=int, default=1, metavar="N", help="what they follow from")
    options.add_argument("--fast", action="store_true", help="a tenth of the schedules, and of the places")
    arguments = options.parse_args()
    if arguments.schedules < 10:
        options.error(f"--schedules is {arguments.schedules}, must be 10 at least")
    share = 10 if arguments.fast else 1
    tables = list(_tables(arguments.seed, arguments.schedules // share, share))
    report("desync", tables, arguments.json)
    disgraced = _disgraced(tables)
    for place in disgraced:
        print(f"wrong answers of ours, or stuck: {place}", file=sys.stderr)
    return 1 if disgraced else 0


if __name__ == "__main__":
    sys.exit(main())
