"""A plugin for the pytest of another project: its fixed addresses lead to our servers. It imports nothing of ours.

``SUITE_ADDRESSES`` is a JSON object: a port or the path of a Unix socket, as the tests have it, to the port or path of
the server that is meant.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
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


def pytest_configure() -> None:
    """From now on this process, and those it forks, connect to our servers."""
    for name in ("connect", "connect_ex"):
        setattr(socket.socket, name, _led(name))


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
