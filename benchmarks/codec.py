"""How fast packets are decoded and encoded, beside construct, python-binary-memcached and bare ``struct``.

Without ``--fast`` pyperf measures, in processes of its own; its options are understood (``--help``).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pyperf

from benchmarks._contestants import (
    BMEMCACHED,
    CODEC,
    COMPILED,
    CONNECTION,
    CONSTRUCT,
    CONTESTANTS,
    FLOOR,
    Match,
    matches,
)
from benchmarks._report import Table, parser, ratio, report
from benchmarks._rivals import Timer

#: Seconds by what is done and by who does it.
Times = dict[str, dict[str, float]]

_RATIOS = (
    ("construct / connection", CONSTRUCT, CONNECTION),
    ("construct / codec", CONSTRUCT, CODEC),
    ("compiled / connection", COMPILED, CONNECTION),
    ("python-binary-memcached / connection", BMEMCACHED, CONNECTION),
    ("connection / struct", CONNECTION, FLOOR),
    ("codec / struct", CODEC, FLOOR),
)


def tables(times: Times) -> list[Table]:
    """What was measured, in microseconds and as ratios."""
    microseconds = [(name, *(_micro(by.get(contestant)) for contestant in CONTESTANTS)) for name, by in times.items()]
    ratios = [(name, *(ratio(by.get(one), by.get(other)) for _, one, other in _RATIOS)) for name, by in times.items()]
    return [
        Table("Codec: ratios", ("", *(title for title, _, _ in _RATIOS)), tuple(ratios)),
        Table("Codec: microseconds", ("", *CONTESTANTS), tuple(microseconds)),
    ]


def _micro(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e6


def _calibrated(timer: Timer, least: float) -> int:
    count = 10
    while timer(count) < least:
        count *= 2
    return count


def measured_fast(rounds: int = 9, least: float = 0.004) -> Times:
    """The least of a few short rounds, in this process, in which the contestants take turns."""
    times: Times = {}
    for match in matches():
        counts = {name: _calibrated(timer, least) for name, timer in match.timers.items()}
        best = dict.fromkeys(match.timers, float("inf"))
        for _ in range(rounds):
            for name, timer in match.timers.items():
                best[name] = min(best[name], timer(counts[name]) / counts[name])
        times[match.name] = best
    return times


def _benchmarked(runner: pyperf.Runner, match: Match) -> dict[str, float]:
    medians = {}
    for name, timer in match.timers.items():
        benchmark = runner.bench_time_func(f"{match.name}: {name}", timer)
        if benchmark is not None and not runner.args.worker:
            medians[name] = float(benchmark.median())
    return medians


def _with_pyperf() -> tuple[Times, argparse.Namespace]:
    runner = pyperf.Runner(processes=5, values=3, warmups=1, min_time=0.05, program_args=("-m", "benchmarks.codec"))
    runner.argparser.add_argument("--json", metavar="FILE", type=Path, help="write the tables to this file")
    arguments: argparse.Namespace = runner.parse_args()
    times = {match.name: _benchmarked(runner, match) for match in matches()}
    return ({}, arguments) if arguments.worker else (times, arguments)


def main() -> int:
    """The command line; the exit code."""
    if "--fast" in sys.argv:
        options = parser("codec", __doc__)
        options.add_argument("--fast", action="store_true", help="seconds instead of minutes, without pyperf")
        options.add_argument("--rounds", type=int, default=9, help="rounds, of which the best counts")
        arguments = options.parse_args()
        times = measured_fast(arguments.rounds)
    else:
        times, arguments = _with_pyperf()
    if times:
        report("codec", tables(times), arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
