"""How connections are accepted when the system has no room, and when a connection is already gone."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from memproto.server import acceptor
from memproto.server.acceptor import Acceptor

DEADLINE = 10.0


class Socket:
    """A socket that listens; accepting fails with the errors in ``faults`` first."""

    def __init__(self, *faults: int) -> None:
        self.link = socket.create_server(("127.0.0.1", 0))
        self.link.setblocking(False)
        self.faults = list(faults)

    def fileno(self) -> int:
        return self.link.fileno()

    def accept(self) -> tuple[socket.socket, object]:
        if self.faults:
            raise OSError(self.faults.pop(0), "fault")
        return self.link.accept()

    def close(self) -> None:
        self.link.close()


class Greeter(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"hello")
        transport.close()


@contextmanager
def accepting(link: Socket) -> Iterator[None]:
    made = Acceptor(link, Greeter)
    try:
        yield
    finally:
        made.close()


def clients(link: Socket, count: int) -> Callable[[], asyncio.Future[list[bytes]]]:
    async def greeting() -> bytes:
        reader, writer = await asyncio.open_connection(*link.link.getsockname())
        said = await reader.read()
        writer.close()
        await writer.wait_closed()
        return said

    return lambda: asyncio.gather(*(greeting() for _ in range(count)))


def greetings(link: Socket, count: int) -> list[bytes]:
    async def run() -> list[bytes]:
        with accepting(link):
            async with asyncio.timeout(DEADLINE):
                return await clients(link, count)()

    return asyncio.run(run())


@pytest.mark.parametrize("fault", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_connections_without_room_are_accepted_later_and_one_line_is_logged(
    fault: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(acceptor, "RETRY", 0.001)
    assert greetings(Socket(fault, fault, fault), 2) == [b"hello"] * 2
    assert caplog.messages == ["cannot accept connections for now: fault"]


def test_connection_that_is_already_gone_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    assert greetings(Socket(errno.ECONNABORTED), 2) == [b"hello"] * 2
    assert caplog.messages == []


def test_many_connections_are_accepted_in_several_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor, "ACCEPTS_PER_TURN", 2)
    assert greetings(Socket(), 5) == [b"hello"] * 5


def test_close_while_there_is_no_room_ends_the_retries() -> None:
    async def run() -> None:
        link = Socket(*[errno.EMFILE] * 100)
        with accepting(link), socket.create_connection(link.link.getsockname()):
            async with asyncio.timeout(DEADLINE):
                while len(link.faults) == 100:
                    await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(link.faults) == 99

    asyncio.run(run())
