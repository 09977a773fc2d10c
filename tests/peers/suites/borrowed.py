"""A plugin for the pytest of another project: its fixed addresses lead to our servers. It imports nothing of ours.

``SUITE_ADDRESSES`` is a JSON object: a port or the path of a Unix socket, as the tests have it, to the port or path of
the server that is meant. ``SUITE_BACKEND`` says what a memcached is that the tests start themselves.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

import pytest

Address: TypeAlias = "tuple[str, int] | tuple[str, int, int, int] | str"

_ADDRESSES: dict[str, int | str] = json.loads(os.environ.get("SUITE_ADDRESSES", "{}"))


def _meant(address: Address) -> Address:
    if isinstance(address, str):
        return str(_ADDRESSES.get(address, address))
    host, port, *rest = address
    return host, int(_ADDRESSES.get(str(port), port)), *rest  # type: ignore[return-value]


def _led(name: str) -> Callable[[socket.socket, Address], int | None]:
    original = getattr(socket.socket, name)

    def connect(self: socket.socket, address: Address) -> int | None:
        result: int | None = original(self, _meant(address))
        return result

    return connect


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port: int = trial.getsockname()[1]
    return port


def _command(words: Sequence[str], port: int) -> list[str]:
    """The command of our server for that of a memcached with TLS."""
    if os.environ["SUITE_BACKEND"] == "memcached":
        user = ["-u", "root"] if os.geteuid() == 0 else []
        return [*words, "-l", "127.0.0.1", "-p", str(port), *user]
    files = dict(re.findall(r"(ssl_key|ssl_chain_cert)=([^\s,]+)", " ".join(words)))
    options = ["--port", str(port), "--cert", files["ssl_chain_cert"], "--key", files["ssl_key"]]
    return [sys.executable, "-m", "memproto", "fake", *options]


class _Program(subprocess.Popen[bytes]):
    """A program that a test starts. A memcached is one of our servers, which listens when the test goes on."""

    def __init__(self, words: Sequence[str], **options: int) -> None:
        if words[0] != "memcached":
            super().__init__(words, **options)  # type: ignore[call-overload]
            return
        (meant,) = (word.removeprefix("-p") for word in words if word.startswith("-p"))
        _ADDRESSES[meant] = port = _free_port()
        super().__init__(_command(words, port), **options, stdin=subprocess.DEVNULL)  # type: ignore[call-overload]
        with socket.socket() as trial:
            while self.poll() is None and trial.connect_ex(("127.0.0.1", port)):
                time.sleep(0.01)


def pytest_configure() -> None:
    """From now on this process, and those it forks, connect to our servers."""
    for name in ("connect", "connect_ex"):
        setattr(socket.socket, name, _led(name))
    subprocess.Popen = _Program  # type: ignore[misc, assignment]


class Started:
    """What a fixture of pytest-docker gives: the services are there already."""

    def start(self, *services: str) -> None:
        """Nothing to do."""

    def wait_for_service(self, *arguments: object) -> None:
        """Nothing to do."""


@pytest.fixture(scope="session")
def docker_services() -> Started:
    """For the suite of limits, which starts memcached in Docker."""
    return Started()
