"""How long a call of a client takes against a real memcached over loopback, beside other clients in the same run.

The contestants take turns within rounds. The median of the rounds counts; the least, which other load on the machine
disturbs less, stands beside it. Values are 100 bytes.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from benchmarks import _wire as wire
from benchmarks._client_contestants import RIVALS, Contestant, connected
from benchmarks._report import Cell, Table, parser, ratio, report
from benchmarks._servers import MEMCACHED, available, pin_apart, running
from benchmarks._timing import Match, Times

MANY = (100, 1_000)


def _keys(number: int) -> list[bytes]:
    """A contestant's own keys, all of one length: what one stored another could take for a type of its own."""
    return [b"key:%02d:%05d" % (number, each) for each in range(max(MANY))]


def _prepare(contestant: Contestant, keys: Sequence[bytes]) -> None:
    for key in keys:
        contestant.store(key, wire.VALUE)(1)
    found = contestant.found(keys)
    # Some give the keys back as text.
    if len(found) != len(keys) or set(found.values()) != {wire.VALUE}:
        raise RuntimeError(f"{contestant.name} did not find what it stored")


def _matches(contestants: Sequence[Contestant]) -> Iterator[Match]:
    keys = {contestant.name: _keys(number) for number, contestant in enumerate(contestants)}
    for contestant in contestants:
        _prepare(contestant, keys[contestant.name])
    yield Match("get", {each.name: each.fetch(keys[each.name][0]) for each in contestants})
    yield Match("set", {each.name: each.store(keys[each.name][0], wire.VALUE) for each in contestants})
    for count in MANY:
        timers = {each.name: each.fetch_many(keys[each.name][:count]) for each in contestants}
        yield Match(f"get of {count:,} keys", timers)


def _measured(match: Match, rounds: int, seconds: float) -> dict[str, list[float]]:
    """The times of each contestant, in rounds of which each takes about so many seconds."""
    counts = {}
    for name, timer in match.timers.items():
        timer(3)
        counts[name] = max(1, round(seconds / (timer(20) / 20)))
    taken: dict[str, list[float]] = {name: [] for name in match.timers}
    for _ in range(rounds):
        for name, timer in match.timers.items():
            taken[name].append(timer(counts[name]) / counts[name])
    return taken


def _each(choose: Callable[[Iterable[float]], float], taken: Mapping[str, Mapping[str, list[float]]]) -> Times:
    return {match: {name: choose(times) for name, times in by.items()} for match, by in taken.items()}


def tables(what: str, times: Times) -> list[Table]:
    """What was measured, as ratios and in microseconds."""
    names = list(next(iter(times.values())))
    compared = [(rival, ours) for rival, ours in RIVALS if rival in names and ours in names]
    ratios = [(f"{rival} / {ours}", *(ratio(by[rival], by[ours]) for by in times.values())) for rival, ours in compared]
    micros: list[tuple[Cell, ...]] = [(name, *(by[name] * 1e6 for by in times.values())) for name in names]
    return [
        Table(f"Clients: ratios, {what}", ("", *times), tuple(ratios)),
        Table(f"Clients: microseconds a call, {what}", ("", *times), tuple(micros)),
    ]


def main() -> int:
    """The command line; the exit code."""
    options = parser("clients", __doc__)
    options.add_argument("--rounds", type=int, default=31, help="rounds in which each takes its turn")
    options.add_argument("--seconds", type=float, default=0.05, help="how long a turn lasts, about")
    options.add_argument("--fast", action="store_true", help="9 rounds of 0.02 seconds")
    arguments = options.parse_args()
    rounds, seconds = (9, 0.02) if arguments.fast else (arguments.rounds, arguments.seconds)
    if not available([MEMCACHED]):
        options.error("memcached is not installed")
    with running(MEMCACHED) as server:
        print(pin_apart([server]))
        with connected(server.port) as contestants:
            taken = {match.name: _measured(match, rounds, seconds) for match in _matches(contestants)}
    report(
        "clients",
        [*tables("median", _each(statistics.median, taken)), *tables("least", _each(min, taken))],
        arguments.json,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
