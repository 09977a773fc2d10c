"""Memory of the server's process per idle connection."""

from __future__ import annotations

import contextlib
import resource
import socket
import sys
import time

from benchmarks import _wire as wire
from benchmarks._report import Table, parser, report
from benchmarks._servers import LOOPS, MEMCACHED, Server, available, running
from benchmarks.server_cpu import receive

#: Files that a process needs beside its connections.
_OTHER_FILES = 100
#: Connections opened first, so that what a server sets up once is not counted.
_FIRST = 50


def allowed(wanted: int) -> int:
    """How many connections the limit on open files allows, which is raised as far as it goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _FIRST + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else min(wanted, soft - _FIRST - _OTHER_FILES)


def _exchange(connections: list[socket.socket]) -> None:
    for connection in connections:
        connection.sendall(wire.set_request())
        receive(connection, len(wire.SET_REPLY))


def measure(server: Server, count: int) -> tuple[float, float]:
    """Bytes per connection: just opened, and after one SET each."""
    with contextlib.ExitStack() as stack:
        first = [stack.enter_context(server.connect()) for _ in range(_FIRST)]
        _exchange(first)
        before = server.resident()
        opened = [stack.enter_context(server.connect()) for _ in range(count)]
        _exchange(first)  # proves that the loop has come round since
        time.sleep(0.2)
        idle = server.resident() - before
        _exchange(opened)
        return idle / count, (server.resident() - before) / count


def main() -> int:
    """The command line; the exit code."""
    options = parser("connections", __doc__)
    options.add_argument("--connections", type=int, default=2_000, help="idle connections, 1 to 10,000")
    options.add_argument("--fast", action="store_true", help="1,000 connections")
    arguments = options.parse_args()
    wanted = 1_000 if arguments.fast else arguments.connections
    if not 1 <= wanted <= 10_000:
        options.error(f"--connections is {wanted}, must be 1 to 10000")
    count = allowed(wanted)
    if count < 1:
        options.error("the limit on open files leaves room for no connection")
    rows = []
    for name in available((*LOOPS, MEMCACHED)):
        with running(name, count + _FIRST + 10) as server:
            idle, used = measure(server, count)
        rows.append((name, idle / 1024, used / 1024))
    columns = ("server", "just opened", "after one SET")
    report("connections", [Table(f"KiB per connection, of {count:,} idle ones", columns, tuple(rows))], arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
