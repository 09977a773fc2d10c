"""A connection of the asyncio client that is lost, or given up, before a call gets its turn."""

from __future__ import annotations

import asyncio
import socket

import pytest

from memproto import Dialect, Limits
from memproto.clients.async_client import AsyncClient
from memproto.clients.async_connection import AsyncConnection, NotSentError
from memproto.commands import RAW, Commands
from tests.support.event_loops import run
from tests.support.opaques import opaques_of_tasks_begin_at_0
from tests.support.peers import DEADLINE
from tests.support.scripted_servers import VERSION_REPLY, answer_version, numbered, read, server, until_closed

__all__ = ["opaques_of_tasks_begin_at_0"]


def test_connection_that_has_failed_opens_no_socket_and_takes_no_calls() -> None:
    async def main() -> None:
        ended: list[AsyncConnection] = []
        connection = AsyncConnection(Dialect.BINARY, Limits(), ended.append)
        connection.fail(ConnectionError, "the first reason")
        connection.fail(ConnectionError, "another reason")
        with pytest.raises(ConnectionError, match="the first reason"):
            await connection.connect(socket.AF_UNIX, "/nowhere")
        with pytest.raises(ConnectionError, match="the first reason"):
            connection.take_calls()
        with pytest.raises(NotSentError, match="the first reason"):
            await connection.run(Commands(RAW).get(b"key"))
        assert not connection.usable
        assert ended == [connection] * 2

    run(main())


def test_call_after_interrupted_transfer_is_sent_on_another_connection() -> None:
    async def main(port: int) -> None:
        async with AsyncClient(port=port, timeout=DEADLINE) as client:
            assert await client.version() == b"1.2.3"
            (interrupted,) = client._pool.connections
            interrupted.stream.in_transfer = True
            assert await client.version() == b"1.2.3"
            assert interrupted.failure == "a call was interrupted"
            assert client._pool.connections != [interrupted]

    with server(answer_version, answer_version) as port:
        run(main(port))


def test_call_waiting_for_connection_that_others_gave_up_gets_the_next() -> None:
    async def main(port: int) -> None:
        async with AsyncClient(port=port, timeout=DEADLINE, username="user", password="secret") as client:
            waiting = asyncio.create_task(client.version())
            while not client._pool.connections:
                await asyncio.sleep(0)
            client.timeout = 0.05
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    await client.version()
            assert await waiting == b"1.2.3"

    def log_in(link: socket.socket) -> None:
        read(link, 41)
        link.sendall(b"\x81\x21" + bytes(9) + b"\x0d" + bytes(12) + b"Authenticated")
        read(link, 24)
        link.sendall(numbered(VERSION_REPLY, 1))
        until_closed(link)

    with server(until_closed, log_in) as port:
        run(main(port))


def test_patient_call_after_failure_to_connect_waits_for_next_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    lefts = iter([0.001, 0.001])

    async def main(port: int) -> None:
        async with AsyncClient(port=port, timeout=DEADLINE, patient=True) as client:
            monkeypatch.setattr(client._pool, "_backoff_left", lambda: next(lefts, 0.0))
            assert await client.version() == b"1.2.3"

    with server(answer_version) as port:
        run(main(port))
    assert next(lefts, None) is None
