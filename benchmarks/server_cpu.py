"""Processor time per request of the reference server, beside memcached with one thread under the same load.

Only the time of the server's process counts, so neither the load generator nor waiting is measured. The servers
take turns, round by round.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks._report import Table, parser, ratio, report
from benchmarks._servers import LOOPS, MEMCACHED, Server, available, pin_apart, running
from benchmarks._speech import SPEECHES, Speech
from memproto import Dialect

_KEYS = tuple(b"key:%05d" % number for number in range(100))


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked: ``depth`` requests per round trip, one SET in ``one_set_in`` (0: none)."""

    name: str
    depth: int
    one_set_in: int = 0

    def bursts(self, speech: Speech) -> list[tuple[bytes, int]]:
        """What to send in turn, and how many bytes come back for each."""
        gets = [(speech.get_request(key), len(speech.get_reply(key))) for key in _KEYS]
        sets = [(speech.set_request(key), len(speech.set_reply)) for key in _KEYS]
        every = self.one_set_in
        stream = [
            sets[at % len(_KEYS)] if every and at % every == 0 else gets[at % len(_KEYS)]
            for at in range(self.depth * len(_KEYS))
        ]
        cuts = [stream[at : at + self.depth] for at in range(0, len(stream), self.depth)]
        return [(b"".join(data for data, _ in cut), sum(size for _, size in cut)) for cut in cuts]


LOADS = (
    Load("GET hits, 1 at a time", 1),
    Load("90 % GET, 10 % SET, 1 at a time", 1, 10),
    Load("GET hits, 16 deep", 16),
    Load("90 % GET, 10 % SET, 16 deep", 16, 10),
)


def receive(connection: socket.socket, size: int) -> None:
    """Receive exactly so many bytes, and drop them."""
    while size:
        got = len(connection.recv(min(size, 1 << 16)))
        if not got:
            raise RuntimeError("the server closed the connection")
        size -= got


def fill(server: Server, speech: Speech) -> None:
    """Store every key, and see that each is there."""
    with server.connect() as connection:
        for key in _KEYS:
            connection.sendall(speech.set_request(key))
            receive(connection, len(speech.set_reply))
            connection.sendall(speech.get_request(key))
            reply, expected = bytearray(), bytearray(speech.get_reply(key))
            while len(reply) < len(expected):
                reply += connection.recv(4096)
            expected[speech.cas] = reply[speech.cas]
            if reply != expected:
                raise RuntimeError(f"{server.name} answers {bytes(reply)!r}")


def ask(connections: Sequence[socket.socket], load: Load, speech: Speech, requests: int) -> int:
    """Send about so many requests, a burst to each connection at a time; how many they were."""
    bursts = itertools.cycle(load.bursts(speech))
    turns = max(1, requests // (load.depth * len(connections)))
    for _ in range(turns):
        sizes = []
        for connection in connections:
            data, size = next(bursts)
            connection.sendall(data)
            sizes.append(size)
        for connection, size in zip(connections, sizes, strict=True):
            receive(connection, size)
    return turns * len(connections) * load.depth


def measure(server: Server, load: Load, speech: Speech, connections: int, requests: int) -> float:
    """Seconds of processor time per request, once."""
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(server.connect()) for _ in range(connections)]
        ask(opened, load, speech, connections * load.depth * 20)
        before = server.processor_time()
        asked = ask(opened, load, speech, requests)
        return (server.processor_time() - before) / asked


def table(servers: Sequence[Server], dialect: Dialect, connections: int, requests: int, rounds: int) -> Table:
    """The median over the rounds, for every load and server."""
    rows: list[tuple[str | float | None, ...]] = []
    for load in LOADS:
        times: dict[str, list[float]] = {server.name: [] for server in servers}
        for _ in range(rounds):
            for server in servers:
                times[server.name].append(measure(server, load, SPEECHES[dialect], connections, requests))
        medians = {name: statistics.median(each) * 1e6 for name, each in times.items()}
        base = medians.get(MEMCACHED)
        others = [name for name in medians if name != MEMCACHED]
        rows.append((load.name, base, *medians_and_ratios(medians, others, base)))
    columns = ("", MEMCACHED, *itertools.chain(*((name, f"{name} / {MEMCACHED}") for name in LOOPS)))
    many = "1 connection" if connections == 1 else f"{connections} connections"
    title = f"Server, {dialect.value}: microseconds of processor time per request, {many}"
    return Table(title, columns, tuple(rows))


def medians_and_ratios(medians: dict[str, float], names: Sequence[str], base: float | None) -> list[float | None]:
    """Each server's time, and how often memcached's goes into it."""
    return [cell for name in names for cell in (medians[name], ratio(medians[name], base))]


def main() -> int:
    """The command line; the exit code."""
    options = parser("server_cpu", __doc__)
    options.add_argument("--connections", default="1,8", help="connections at a time, one table for each number")
    options.add_argument(
        "--dialect", choices=[dialect.value for dialect in Dialect], default=Dialect.BINARY.value, help="what is spoken"
    )
    options.add_argument("--requests", type=int, default=20_000, help="requests per round")
    options.add_argument("--rounds", type=int, default=7, help="rounds, of which the median counts")
    options.add_argument("--fast", action="store_true", help="3 rounds of 4,000 requests")
    arguments = options.parse_args()
    rounds, requests = (3, 4_000) if arguments.fast else (arguments.rounds, arguments.requests)
    dialect = Dialect(arguments.dialect)
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(running(name)) for name in available((MEMCACHED, *LOOPS))]
        pinned = pin_apart(servers)
        for server in servers:
            fill(server, SPEECHES[dialect])
        numbers = [int(number) for number in arguments.connections.split(",")]
        tables = [table(servers, dialect, number, requests, rounds) for number in numbers]
    print(f"Load: {rounds} rounds of {requests:,} requests; {pinned}.\n")
    report("server_cpu", tables, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
