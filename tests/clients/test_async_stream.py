"""The stream of the asyncio client: an interruption is found by the next transfer, and a socket that is not ready."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from contextlib import suppress

import pytest

from memproto.clients.async_client import AsyncClient
from memproto.clients.async_stream import INTERRUPTED, AsyncStream
from tests.support.event_loops import run
from tests.support.opaques import opaques_of_tasks_begin_at_0
from tests.support.peers import DEADLINE
from tests.support.scripted_servers import VERSION_REPLY

__all__ = ["opaques_of_tasks_begin_at_0"]


class Connected:
    """A stream on one end of a pair of sockets, and what it has reported."""

    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.sent: list[None] = []
        self.failures: list[str] = []
        loop = asyncio.get_running_loop()
        self.stream = AsyncStream(loop, self.data.append, lambda: self.sent.append(None), self.fail)
        own, self.other = socket.socketpair()
        own.setblocking(False)
        self.stream._socket, self.stream._fd = own, own.fileno()

    def fail(self, kind: type[Exception], reason: str) -> None:
        assert kind is ConnectionError
        self.failures.append(reason)
        self.stream.close()


@pytest.mark.parametrize("ready", [AsyncStream._on_readable, AsyncStream._on_writable], ids=["readable", "writable"])
def test_stream_after_interrupted_transfer_receives_and_sends_nothing(ready: Callable[[AsyncStream], None]) -> None:
    async def main() -> None:
        connected = Connected()
        with connected.other:
            connected.other.send(b"reply")
            connected.stream.unsent = b"request"
            connected.stream.in_transfer = True
            ready(connected.stream)
            assert connected.failures == [INTERRUPTED]
            assert connected.data == []
            with suppress(ConnectionError):  # a reset, because the reply was not read
                assert connected.other.recv(100) == b""

    run(main())


def test_socket_that_is_not_readable_after_all_changes_nothing() -> None:
    async def main() -> None:
        connected = Connected()
        with connected.other:
            connected.stream._on_readable()
            assert (connected.data, connected.failures, connected.stream.in_transfer) == ([], [], False)
            connected.other.send(b"reply")
            connected.stream._on_readable()
            assert connected.data == [b"reply"]
            connected.stream.close()

    run(main())


def test_stream_that_is_discarded_twice_has_no_socket() -> None:
    async def main() -> None:
        connected = Connected()
        with connected.other:
            for _ in range(2):
                connected.stream.discard()
            assert connected.other.recv(1) == b""

    run(main())


def test_socket_ready_after_its_wait_was_cancelled_wakes_no_task() -> None:
    async def main() -> None:
        connected = Connected()
        callbacks: list[Callable[[], None]] = []
        removed: list[int] = []
        with connected.other:
            waiting = asyncio.create_task(
                connected.stream._ready(lambda _, callback: callbacks.append(callback), removed.append)
            )
            while not callbacks:
                await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.sleep(0)  # the future is cancelled, and the task has still to run
            callbacks[0]()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert removed == [connected.stream._fd]
            connected.stream.close()

    run(main())


def test_unix_socket_with_full_queue_is_connected_when_it_has_room(tmp_path: object) -> None:
    path = f"{tmp_path}/socket"

    async def main(listener: socket.socket) -> None:
        async with AsyncClient(f"unix:{path}", timeout=DEADLINE) as client:
            call = asyncio.create_task(client.version())
            while not client._pool.connections or client._pool.connections[0].stream._socket is None:
                await asyncio.sleep(0)
            assert not call.done()
            listener.accept()[0].close()  # the one that was first
            loop = asyncio.get_running_loop()
            served, _ = await loop.sock_accept(listener)
            with served:
                served.setblocking(False)
                assert (await loop.sock_recv(served, 100))[1] == 0x0B
                await loop.sock_sendall(served, VERSION_REPLY)
                assert await call == b"1.2.3"

    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(path)
        listener.listen(0)
        first.connect(path)
        listener.setblocking(False)
        run(main(listener))


def test_address_that_cannot_be_reached_raises_error_of_system() -> None:
    async def main() -> None:
        async with AsyncClient("255.255.255.255", timeout=DEADLINE) as client:
            with pytest.raises(OSError, match=r"^\[Errno \d+\] connecting to \('255.255.255.255', 11211\): ") as raised:
                await client.version()
            assert raised.value.errno not in (None, errno.EINPROGRESS)
            assert client._pool.connections == []

    run(main())
