"""How many sockets the asyncio client has open."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import pytest


class Counted(socket.socket):
    """Counts the open sockets of its kind."""

    open = most = 0

    def __init__(self, *arguments: int) -> None:
        super().__init__(*arguments)
        Counted.open += 1
        Counted.most = max(Counted.most, Counted.open)

    def close(self) -> None:
        Counted.open -= self.fileno() >= 0
        super().close()


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The sockets of the client are counted; at the end all are closed."""
    module = ModuleType("socket")
    vars(module).update(vars(socket), socket=Counted)
    monkeypatch.setattr("memproto.clients.async_stream.socket", module)
    Counted.open = Counted.most = 0
    yield
    assert Counted.open == 0
