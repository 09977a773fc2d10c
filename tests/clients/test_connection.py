"""A connection of the blocking client, in another process and with a socket that takes nothing for a while."""

from __future__ import annotations

import os

import pytest

from memproto import Dialect, Limits
from memproto.clients.client import Client
from memproto.clients.connection import Connection
from memproto.clients.stream import READABLE, WRITABLE, Stream
from memproto.commands import RAW, Commands
from tests.support.opaques import opaques_begin_at_0
from tests.support.peers import DEADLINE
from tests.support.scripted_servers import answer_noop, server

__all__ = ["opaques_begin_at_0"]


def test_in_another_process_a_call_uses_no_connection_of_its_parent_and_close_sends_no_quit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[bytes] = []

    def trace(way: str, data: bytes) -> None:
        if way == ">":
            sent.append(data)

    with server(answer_noop, answer_noop) as port, Client(port=port, timeout=DEADLINE, trace=trace) as client:
        assert client.noop()
        (parents,) = client._connections
        for process in (-1, -2):
            monkeypatch.setattr(os, "getpid", lambda process=process: process)
            if process == -1:
                assert client.noop()
                (own,) = client._connections
                assert own is not parents
            else:
                client.close()
        assert own.stream._socket.fileno() == parents.stream._socket.fileno() == -1
        monkeypatch.undo()
    assert [data[1] for data in sent] == [0x0A, 0x0A]


class Scripted(Stream):
    """A stream without a socket. Each wait finds the next of these events, each receive the next of these pieces."""

    def __init__(self, events: list[int], pieces: list[bytes]) -> None:
        self.process = os.getpid()
        self.events, self.pieces = events, pieces
        self.sent: list[int] = []

    def wait(self, deadline: float | None, write: bool = False) -> int:
        return self.events.pop(0)

    def send(self, data: bytes | memoryview) -> int:
        self.sent.append(len(data))
        return len(data)

    def receive(self) -> bytes:
        return self.pieces.pop(0)


def test_bytes_that_arrive_while_the_socket_takes_none_are_read_before_the_rest_is_sent() -> None:
    stream = Scripted([WRITABLE, READABLE, READABLE | WRITABLE, READABLE], [b"\x81", b"\x01" + bytes(10), bytes(12)])
    connection = Connection(stream, Dialect.BINARY, Limits(), None)
    command = Commands(RAW).set(b"k", bytes(70_000))
    assert command.result(connection.run(command, None)) is True
    assert stream.sent == [65_536, 32 + 1 + 70_000 - 65_536]
    assert not stream.events
    assert not stream.pieces
    assert connection.reusable
