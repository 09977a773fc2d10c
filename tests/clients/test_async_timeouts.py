"""The asyncio client when calls end before their answers come, and when too many do."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress

import pytest

from memproto import Dialect
from memproto.clients.async_client import AsyncClient
from memproto.clients.async_connection import AsyncConnection
from memproto.clients.async_pool import AsyncPool
from tests.support.event_loops import run
from tests.support.opaques import opaques_of_tasks_begin_at_0
from tests.support.peers import DEADLINE
from tests.support.scripted_servers import (
    NOOP_REPLY,
    VERSION_REPLY,
    Handler,
    answer_noop,
    answer_version,
    answer_version_in_text,
    late_by_a_call,
    numbered,
    read,
    server,
    until_closed,
    when_let,
)

__all__ = ["opaques_of_tasks_begin_at_0"]


def two_late_then_noop(go: threading.Event) -> Handler:
    def handler(link: socket.socket) -> None:
        assert read(link, 24)[1] == 0x0B
        assert go.wait(DEADLINE)
        assert read(link, 24)[1] == 0x0B
        link.sendall(VERSION_REPLY + numbered(VERSION_REPLY, 1).replace(b"1.2.3", b"4.5.6"))
        assert read(link, 24)[1] == 0x0A
        link.sendall(numbered(NOOP_REPLY, 2))

    return handler


@pytest.mark.parametrize("way", ["timeout", "cancel"])
def test_late_reply_never_reaches_another_call(way: str) -> None:
    async def main(port: int, go: threading.Event) -> None:
        async with AsyncClient(port=port, timeout=0.1 if way == "timeout" else None) as client:
            if way == "timeout":
                with pytest.raises(TimeoutError):
                    await client.version()
            else:
                task = asyncio.create_task(client.version())
                while not client._pool.connections or not client._pool.connections[0].protocol.outstanding:
                    await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            client.timeout = DEADLINE
            go.set()
            assert await client.version() == b"4.5.6"
            assert await client.noop() is True

    go = threading.Event()
    with server(two_late_then_noop(go)) as port:
        run(main(port, go))


def test_silent_connection_is_closed_after_three_timeouts() -> None:
    async def main(port: int) -> None:
        async with AsyncClient(port=port, timeout=0.05) as client:
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    await client.version()
            client.timeout = DEADLINE
            assert await client.version() == b"1.2.3"

    with server(until_closed, answer_version) as port:
        run(main(port))


def test_classic_connection_with_lost_reply_is_closed_after_three_timeouts() -> None:
    async def main(port: int) -> None:
        async with AsyncClient(port=port, timeout=0.05, dialect=Dialect.CLASSIC) as client:
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    await client.version()
            client.timeout = DEADLINE
            assert await client.version() == b"1.2.3"

    with server(late_by_a_call, answer_version_in_text) as port:
        run(main(port))


def test_timeouts_with_success_in_between_do_not_add_up() -> None:
    go = threading.Semaphore(0)

    async def main(port: int) -> None:
        async with AsyncClient(port=port) as client:
            for attempt in range(6):
                if attempt % 3 == 2:
                    go.release(3)
                    client.timeout = DEADLINE
                    assert await client.version() == b"1.2.3"
                else:
                    client.timeout = 0.05
                    with pytest.raises(TimeoutError):
                        await client.version()

    with server(when_let(go)) as port:
        run(main(port))


def test_calls_that_time_out_together_count_as_one_timeout() -> None:
    timed_out = threading.Event()

    def slow(link: socket.socket) -> None:
        read(link, 6 * 24)
        assert timed_out.wait(DEADLINE)
        link.sendall(b"".join(numbered(VERSION_REPLY, number) for number in range(7)))
        read(link, 24)
        until_closed(link)

    async def main(port: int) -> None:
        async with AsyncClient(port=port, timeout=0.05) as client:
            for _ in range(2):
                results = await asyncio.gather(*[client.version() for _ in range(3)], return_exceptions=True)
                assert [type(result) for result in results] == [TimeoutError] * 3
            client.timeout = DEADLINE
            timed_out.set()
            assert await client.version() == b"1.2.3"

    with server(slow) as port:
        run(main(port))


def answer_noop_and_wait(link: socket.socket) -> None:
    answer_noop(link)
    until_closed(link)


def test_connection_that_never_takes_bytes_again_is_closed() -> None:
    async def main(port: int) -> None:
        async with AsyncClient(port=port, timeout=DEADLINE) as client:
            assert await client.noop()
            # As a KeyboardInterrupt leaves it between the socket's word that there is room and the use of it.
            client._pool.connections[0].stream.unsent = b"x"
            client.timeout = 0.05
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    await client.version()
            client.timeout = DEADLINE
            assert await client.version() == b"1.2.3"

    with server(answer_noop_and_wait, answer_version) as port:
        run(main(port))


def test_close_with_task_of_opening_that_never_ends_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    # As a KeyboardInterrupt leaves a task that was about to run.
    async def stuck(pool: AsyncPool, link: AsyncConnection) -> None:
        while not end.is_set():
            with suppress(asyncio.CancelledError):
                await end.wait()

    monkeypatch.setattr("memproto.clients.async_pool.AsyncPool._establish", stuck)
    monkeypatch.setattr("memproto.clients.async_pool._CLOSE_TIMEOUT", 0.01)
    end = asyncio.Event()

    async def main() -> None:
        async with AsyncClient(timeout=0.01) as client:
            with pytest.raises(TimeoutError):
                await client.noop()
        end.set()
        await asyncio.sleep(0.01)

    run(main())
