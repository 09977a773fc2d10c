"""A server under abuse: a child process whose last words are kept, watched from outside."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import _servers
from benchmarks._servers import MEMCACHED, command, free_port

MEGABYTE = 1024 * 1024
#: Seconds that a server may take for what it is told, however slow the machine.
_PATIENCE = 60.0


class Watched(_servers.Server):
    """A running server whose memory, files and words are looked at."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], port: int, words: Path) -> None:
        super().__init__(name, process, port)
        self._words = words

    @property
    def said(self) -> str:
        """What it has printed to standard error."""
        return self._words.read_text(errors="replace")

    @property
    def faults(self) -> int:
        """How many tracebacks and warnings that is."""
        said = self.said
        return said.count("Traceback") + said.count("Warning:") + said.count("exception was never retrieved")

    def files(self) -> int:
        """How many files and sockets it has open."""
        return len(os.listdir(f"/proc/{self._process.pid}/fd"))

    def peak(self) -> int:
        """The most bytes of memory it ever occupied, or did since :meth:`forget_peak`."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        """Count the peak anew, where the system allows it."""
        with contextlib.suppress(OSError):
            Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def _status(self, name: str) -> int:
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError(f"{name} of process {self._process.pid} is not told")


@contextlib.contextmanager
def watched(name: str, *arguments: str, connections: int = 1024) -> Iterator[Watched]:
    """A server for the duration of a ``with`` block; at the end it is told to stop and must do so."""
    if not Path("/proc/self/status").exists():
        raise RuntimeError("this benchmark needs /proc")
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        words = Path(folder, "words")
        with (
            words.open("wb") as sink,
            subprocess.Popen([*command(name, port, connections), *arguments], stderr=sink) as process,
        ):
            server = Watched(name, process, port, words)
            try:
                server._wait()
                yield server
            finally:
                process.terminate()
                try:
                    process.wait(_PATIENCE)
                except subprocess.TimeoutExpired:
                    process.kill()
        if name != MEMCACHED and (server.faults or process.returncode):
            raise RuntimeError(f"{name} ended with {process.returncode}: {server.said[-2000:]}")
