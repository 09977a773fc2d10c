"""How time grows with everything that a peer can make long: the exponent is 1 where it is linear, 2 where quadratic."""

from __future__ import annotations

import gc
import sys
from contextlib import suppress
from time import process_time

from benchmarks._growth_scenarios import SCENARIOS, Scenario
from benchmarks._report import Cell, Table, exponent, parser, report
from memproto import RemoteProtocolError

#: The greatest exponent that passes.
MOST = 1.1
#: The size is doubled until a run takes this long. The exponent is that of the last runs.
_SECONDS = 0.05
_FIRST = 500
_POINTS = 6


def _seconds(scenario: Scenario, size: int, rounds: int) -> float:
    best = float("inf")
    for _ in range(rounds):
        run = scenario(size)
        gc.collect()
        gc.disable()
        try:
            start = process_time()
            # A peer that says too much is refused; what counts is how long that takes.
            with suppress(RemoteProtocolError):
                run()
            best = min(best, process_time() - start)
        finally:
            gc.enable()
    return best


def _measured(scenario: Scenario, seconds: float, most: int, rounds: int) -> list[tuple[int, float]]:
    """Sizes, each twice the one before, and their seconds; the last took ``seconds``, or is the largest allowed."""
    size = _FIRST
    times = [(size, _seconds(scenario, size, rounds))]
    while len(times) < _POINTS or (times[-1][1] < seconds and size * 2 <= most):
        size *= 2
        times.append((size, _seconds(scenario, size, rounds)))
    return times[-_POINTS:]


def growth(words: str, seconds: float, most: int, rounds: int) -> tuple[Table, list[str]]:
    """The table, and the names of those that grow too fast."""
    rows: list[tuple[Cell, ...]] = []
    fast = []
    for name, scenario in SCENARIOS.items():
        if words not in name:
            continue
        slope = 9.0
        # A machine that does something else makes a run longer, so that one good measurement is enough.
        for _ in range(3):
            times = _measured(scenario, seconds, most, rounds)
            slope = min(slope, exponent(times))
            if slope <= MOST:
                break
        rows.append((name, times[-1][0], times[-1][1] * 1e3, slope))
        if slope > MOST:
            fast.append(name)
    columns = ("what is made long", "members", "milliseconds", "exponent")
    return Table("Growth of time with what a peer can make long", columns, tuple(rows)), fast


def main() -> int:
    """The command line; the exit code."""
    options = parser("growth", __doc__)
    options.add_argument("--only", default="", metavar="WORDS", help="those with these words in their names")
    options.add_argument("--seconds", type=float, default=_SECONDS, help="how long the largest run takes")
    options.add_argument("--members", type=int, default=128_000, help="most members of a list, from 16,000 on")
    options.add_argument("--rounds", type=int, default=3, help="rounds, of which the best counts")
    options.add_argument("--fast", action="store_true", help="runs of 10 ms")
    arguments = options.parse_args()
    seconds = 0.01 if arguments.fast else arguments.seconds
    table, fast = growth(arguments.only, seconds, arguments.members, arguments.rounds)
    report("growth", [table], arguments.json)
    for name in fast:
        print(f"grows faster than the power {MOST}: {name}", file=sys.stderr)
    return 1 if fast else 0


if __name__ == "__main__":
    sys.exit(main())
