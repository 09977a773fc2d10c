"""Servers under measurement: started, asked for their processor time and memory, stopped by their own handles."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

HOST = "127.0.0.1"
MEMCACHED = "memcached"
LOOPS = ("asyncio", "uvloop")
_PROC = Path("/proc")


def free_port() -> int:
    """A port nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def available(names: Sequence[str]) -> list[str]:
    """Those of ``names`` that can be started here."""
    return [name for name in names if name != MEMCACHED or shutil.which(MEMCACHED)]


def command(name: str, port: int, connections: int) -> list[str]:
    """The command line: ``memcached``, or the reference server on the event loop of this name."""
    common = ["-p", str(port), "-l", HOST, "-c", str(connections)]
    if name == MEMCACHED:
        user = ["-u", "root"] if os.geteuid() == 0 else []
        return [MEMCACHED, "-t", "1", "-U", "0", *user, *common]
    return [sys.executable, "-m", "memproto", "serve", "--loop", name, *common]


class Server:
    """A running server. ``port`` is where it listens."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], port: int) -> None:
        self.name = name
        self.port = port
        self._process = process

    @property
    def _directory(self) -> Path:
        return _PROC / str(self._process.pid)

    def connect(self) -> socket.socket:
        """A connection without Nagle's delay."""
        connection = socket.create_connection((HOST, self.port), timeout=30)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def processor_time(self) -> float:
        """Seconds of processor time its threads have used: exact where the kernel tells, else in ticks of 10 ms."""
        try:
            used = [(task / "schedstat").read_text().split()[0] for task in (self._directory / "task").iterdir()]
        except FileNotFoundError:
            fields = (self._directory / "stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return sum(map(int, used)) / 1e9

    def resident(self) -> int:
        """Bytes of memory it occupies."""
        for line in (self._directory / "status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError(f"memory of process {self._process.pid} is not told")

    def pin(self, processor: int) -> None:
        """Let all its threads run on this processor only."""
        for task in (self._directory / "task").iterdir():
            os.sched_setaffinity(int(task.name), {processor})

    def _wait(self) -> None:
        for _ in range(200):
            if self._process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self._process.returncode}")
            with contextlib.suppress(ConnectionRefusedError):
                self.connect().close()
                return
            time.sleep(0.05)
        raise RuntimeError(f"{self.name} does not listen")


@contextlib.contextmanager
def running(name: str, connections: int = 1024) -> Iterator[Server]:
    """A server for the duration of a ``with`` block."""
    if not _PROC.joinpath("self", "status").exists():
        raise RuntimeError("this benchmark needs /proc")
    port = free_port()
    with subprocess.Popen(command(name, port, connections), stderr=subprocess.DEVNULL) as process:
        server = Server(name, process, port)
        try:
            server._wait()
            yield server
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def pin_apart(servers: Sequence[Server]) -> str:
    """Give the servers one processor and this process another; what was done, in words."""
    if not hasattr(os, "sched_setaffinity"):
        return "not pinned"
    processors = sorted(os.sched_getaffinity(0))
    if len(processors) < 2:
        return "not pinned: one processor"
    for server in servers:
        server.pin(processors[-1])
    os.sched_setaffinity(0, {processors[0]})
    return "servers on one processor, load on another"
