"""Another client, in a process of its own, who asks small questions while a server is abused."""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks._servers import HOST

#: Seconds between two questions.
_PAUSE = 0.002
#: Seconds after which it gives up, and with it the scenario.
_PATIENCE = 60.0


@dataclass(slots=True)
class Waits:
    """How long the answers took, in milliseconds."""

    asked: int = 0
    median: float = 0.0
    worst: float = 0.0


@contextlib.contextmanager
def bystander(port: int) -> Iterator[Waits]:
    """Ask for the duration of a ``with`` block; what came of it is filled in at its end."""
    waits = Waits()
    command = [sys.executable, "-m", "benchmarks._abuse_bystander", str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            # Its first answer has come.
            process.stdout.readline()
            yield waits
        finally:
            process.stdin.close()
            told = process.stdout.readline()
        waits.asked, waits.median, waits.worst = json.loads(told)


def main() -> None:
    """Ask until standard input ends."""
    times: list[float] = []
    with (
        socket.create_connection((HOST, int(sys.argv[1])), timeout=_PATIENCE) as link,
        selectors.DefaultSelector() as selector,
    ):
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(sys.stdin, selectors.EVENT_READ)
        while not times or not selector.select(_PAUSE):
            begun = time.perf_counter()
            link.sendall(b"mg bystander v\r\n")
            if link.recv(64) != b"EN\r\n":
                raise RuntimeError("the bystander got another's answer")
            times.append((time.perf_counter() - begun) * 1000)
            if len(times) == 1:
                print("asking", flush=True)
    times.sort()
    print(json.dumps([len(times), times[len(times) // 2], times[-1]]), flush=True)


if __name__ == "__main__":
    main()
