"""The example servers as programs, each on a free port of 127.0.0.1."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.peers import DEADLINE, Running


@contextmanager
def example(name: str, *arguments: str, code: str = "", end: int = signal.SIGTERM) -> Iterator[int]:
    """``python -m examples.NAME --port 0``, or the code instead; its port. It has to end well on the signal."""
    command = ("-c", code) if code else ("-m", f"examples.{name}", "--port", "0", *arguments)
    running = Running(sys.executable, "-W", "default", *command)
    try:
        running.wait_for_port()
        yield running.port
    finally:
        exit_code = running.stop(end)
    assert running.said.count("\n") == 1, running.said
    assert exit_code == 0, f"exit code {exit_code}: {running.said}"


def connect(port: int) -> socket.socket:
    """A connection to a server that answers in time."""
    return socket.create_connection(("127.0.0.1", port), DEADLINE)


def read_to_end(link: socket.socket) -> bytes:
    """What arrives until the server closes."""
    with link.makefile("rb") as stream:
        return stream.read()


def talk(port: int, data: bytes) -> bytes:
    """What the server answers to these bytes, behind which the client says that there will be no more."""
    with connect(port) as link:
        link.sendall(data)
        link.shutdown(socket.SHUT_WR)
        return read_to_end(link)
