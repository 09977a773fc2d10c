"""How long a piece of work takes: by pyperf in processes of its own, or by a few short rounds in this one.

A contestant is a function of a count that does its work so many times and tells the seconds it took.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import pyperf

from benchmarks._report import Table, parser, report

Timer = Callable[[int], float]

#: Seconds by what is done and by who does it.
Times = dict[str, dict[str, float]]

#: So many messages are prepared, untimed, before they are worked on; a connection takes 1,024.
BATCH = 500


@dataclass(frozen=True, slots=True)
class Match:
    """One thing to do, and who does it."""

    name: str
    timers: Mapping[str, Timer]


def repeated(function: Callable[[], object]) -> Timer:
    """Call the function so many times."""

    def timer(count: int) -> float:
        start = perf_counter()
        for _ in range(count):
            function()
        return perf_counter() - start

    return timer


def batched(prepare: Callable[[int], Callable[[], None]], batch: int = BATCH) -> Timer:
    """Time what ``prepare(size)`` returns, and not the preparation."""

    def timer(count: int) -> float:
        seconds = 0.0
        while count > 0:
            run = prepare(min(count, batch))
            start = perf_counter()
            run()
            seconds += perf_counter() - start
            count -= batch
        return seconds

    return timer


def _calibrated(timer: Timer, least: float) -> int:
    count = 10
    while timer(count) < least:
        count *= 2
    return count


def measured_fast(matches: Iterable[Match], rounds: int = 9, least: float = 0.004) -> Times:
    """The least of a few short rounds, in this process, in which the contestants take turns."""
    times: Times = {}
    for match in matches:
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


def _with_pyperf(module: str, matches: Iterable[Match]) -> tuple[Times, argparse.Namespace]:
    runner = pyperf.Runner(processes=5, values=3, warmups=1, min_time=0.05, program_args=("-m", f"benchmarks.{module}"))
    runner.argparser.add_argument("--json", metavar="FILE", type=Path, help="write the tables to this file")
    arguments: argparse.Namespace = runner.parse_args()
    times = {match.name: _benchmarked(runner, match) for match in matches}
    return ({}, arguments) if arguments.worker else (times, arguments)


def run(
    module: str, doc: str | None, matches: Callable[[], Iterable[Match]], tables: Callable[[Times], Sequence[Table]]
) -> int:
    """The command line of a benchmark of this name; the exit code."""
    if "--fast" in sys.argv:
        options = parser(module, doc)
        options.add_argument("--fast", action="store_true", help="seconds instead of minutes, without pyperf")
        options.add_argument("--rounds", type=int, default=9, help="rounds, of which the best counts")
        arguments = options.parse_args()
        times = measured_fast(matches(), arguments.rounds)
    else:
        times, arguments = _with_pyperf(module, matches())
    if times:
        report(module, tables(times), arguments.json)
    return 0


def microseconds(times: Mapping[str, float], contestants: Iterable[str]) -> list[float | None]:
    """The times of these contestants, where they took part."""
    return [times[name] * 1e6 if name in times else None for name in contestants]
