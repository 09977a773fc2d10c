"""Real programs as peers: memcached and our own servers, each on a free port of 127.0.0.1.

A test whose peer is not installed is skipped; with MEMPROTO_REQUIRE_PEERS=1 every skip is a failure. Every server is
stopped by its own handle. The context managers of our own servers fail the test if the server printed a traceback, or
did not end well when it was told to.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
# Never reached unless something is broken, however slow the machine.
DEADLINE = 30.0


#: Skips that are allowed even with MEMPROTO_REQUIRE_PEERS=1: what no package can give to a machine.
ALLOWED_SKIPS = (
    "memory is looked at in /proc",  # another operating system
    "only root of Linux may mount",  # another operating system, or another user
    "cannot mount a small disk here",  # a container without that capability
    "a package of the dependency group recipes is not installed",  # nox -s recipes runs these tests and skips none
)

_Report = TypeVar("_Report", pytest.TestReport, pytest.CollectReport)


def require(name: str) -> None:
    """Skip the test if this program or module is not installed."""
    if shutil.which(name) is None and importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed, neither as a program nor as a module")


def fail_if_skipped(report: _Report) -> _Report:
    """The report; with MEMPROTO_REQUIRE_PEERS=1 a skip is a failure, unless the reason is one of ALLOWED_SKIPS."""
    if not report.skipped or hasattr(report, "wasxfail") or os.environ.get("MEMPROTO_REQUIRE_PEERS") != "1":
        return report
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    if reason not in ALLOWED_SKIPS:
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} was skipped, and MEMPROTO_REQUIRE_PEERS=1 forbids that: {reason}"
    return report


class Running:
    """A server process. ``port`` and ``udp`` are where it listens; what it says is kept in ``said``."""

    def __init__(self, *command: str, environment: dict[str, str] | None = None) -> None:
        self.port = self.udp = 0
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
        )
        assert self.process.stderr is not None
        self._listening = threading.Event()
        # A thread, because a server that nobody listens to would stop when the pipe is full.
        self._listener = threading.Thread(target=self._listen, args=(self.process.stderr,), daemon=True)
        self._listener.start()

    def _listen(self, stream: IO[str]) -> None:
        for line in stream:
            self.lines.append(line)
            if line.startswith("listening on "):
                self._take(line.removeprefix("listening on ").strip().split(", "))
                self._listening.set()
        self._listening.set()

    def _take(self, addresses: list[str]) -> None:
        for address in addresses:
            if address.startswith("udp:"):
                self.udp = int(address.rpartition(":")[2])
            elif not address.startswith("unix:"):
                self.port = int(address.rpartition(":")[2])

    def wait_for_port(self) -> None:
        """Until the server has told where it listens."""
        assert self._listening.wait(DEADLINE), f"{self.process.args!r} does not come up: {self.said}"
        assert "listening on " in self.said, f"{self.process.args!r} did not come up: {self.said}"

    @property
    def said(self) -> str:
        """What the server has printed to standard error."""
        return "".join(self.lines)

    def stop(self, how: int = signal.SIGTERM) -> int:
        """Send the signal and wait for the end; the exit code. A server that does not end is killed, and fails."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(DEADLINE)
            raise
        finally:
            self._listener.join(DEADLINE)
            if self.process.stderr is not None:
                self.process.stderr.close()


@contextmanager
def running_example(*arguments: str, module: str = "memproto serve") -> Iterator[Running]:
    """``python -m memproto serve`` as a process to look at and to send signals to; TCP unless there is a ``-s``."""
    port = () if "-s" in arguments else ("-p", "-1")
    running = Running(sys.executable, "-W", "default", "-m", *module.split(), *port, *arguments)
    try:
        running.wait_for_port()
        yield running
    finally:
        code = running.stop()
    assert "Traceback" not in running.said, running.said
    assert "Warning" not in running.said, running.said
    assert code == 0, f"exit code {code}: {running.said}"


@contextmanager
def example_server(*arguments: str) -> Iterator[int]:
    """``python -m memproto serve``; its port."""
    with running_example(*arguments) as running:
        yield running.port


@contextmanager
def tiny_server() -> Iterator[int]:
    """The tiny server, which has no way to end but a kill; its port."""
    code = (
        "import sys; from examples.tiny_server import TinyServer; server = TinyServer(); "
        "print('listening on 127.0.0.1:%d' % server.server_address[1], file=sys.stderr, flush=True); "
        "server.serve_forever()"
    )
    running = Running(sys.executable, "-W", "default", "-c", code)
    try:
        running.wait_for_port()
        yield running.port
    finally:
        running.stop()
    assert "Traceback" not in running.said, running.said


@contextmanager
def memcached(*arguments: str, host: str = "127.0.0.1") -> Iterator[int]:
    """The real memcached, without UDP, on a port that it chooses itself; that port."""
    with _memcached("-U", "0", *arguments, host=host) as ports:
        yield ports["TCP"]


@contextmanager
def memcached_with_udp() -> Iterator[tuple[int, int]]:
    """The real memcached with one thread, so that datagrams are answered in order; its TCP and its UDP port."""
    with _memcached("-U", "-1", "-t", "1") as ports:
        yield ports["TCP"], ports["UDP"]


@contextmanager
def _memcached(*arguments: str, host: str = "127.0.0.1") -> Iterator[dict[str, int]]:
    require("memcached")
    with tempfile.TemporaryDirectory() as folder:
        # memcached drops the rights of root before it writes the file.
        os.chmod(folder, 0o777)
        told = Path(folder, "port")
        user = ("-u", "nobody") if os.geteuid() == 0 else ()
        command = ("memcached", "-l", host, "-p", "-1", *user, *arguments)
        running = Running(*command, environment={"MEMCACHED_PORT_FILENAME": str(told)})
        try:
            yield _ports_in(told, running, host)
        finally:
            running.stop(signal.SIGKILL)  # it takes a second to end in good order, and there is nothing to lose


def _ports_in(told: Path, running: Running, host: str) -> dict[str, int]:
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline and running.process.poll() is None:
        if told.exists():
            lines = [line.partition(":") for line in told.read_text().splitlines()]
            ports = {name.partition(" ")[0]: int(port) for name, _, port in lines}
            with socket.create_connection((host, ports["TCP"]), DEADLINE):
                return ports
        time.sleep(0.01)
    pytest.fail(f"memcached does not come up: {running.said}")


@contextmanager
def server_of(name: str) -> Iterator[int]:
    """One of the two that must behave alike, for tests that run with both: "memcached" or "memproto"."""
    with memcached() if name == "memcached" else example_server() as port:
        yield port
