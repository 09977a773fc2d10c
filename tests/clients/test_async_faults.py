"""The asyncio client with servers that are silent, full, or send more than the client takes."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress

import pytest

from memproto import Dialect, Limits
from memproto.clients.async_client import AsyncClient
from memproto.clients.async_connection import AsyncConnection
from memproto.clients.refusal import is_refusal
from memproto.commands import ReplyTooLargeError
from tests.clients.test_async_bounds import DIALECTS, FULL
from tests.support.counted_sockets import Counted, counted
from tests.support.event_loops import Loop, each_loop, run
from tests.support.opaques import opaques_of_tasks_begin_at_0
from tests.support.peers import DEADLINE
from tests.support.scripted_servers import (
    NOOP_REPLY,
    answer_version,
    numbered,
    read,
    server,
    threaded_tiny_server,
    until_closed,
)

__all__ = ["opaques_of_tasks_begin_at_0"]


# --- a server that is silent


def test_dead_connection_with_short_timeouts_of_callers_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(port: int) -> None:
        async with AsyncClient(port=port, timeout=DEADLINE) as client:
            assert await client.version() == b"1.2.3"
            failures = 0
            for _ in range(60):
                try:
                    async with asyncio.timeout(0.05):
                        assert await client.version() == b"1.2.3"
                        break
                except TimeoutError:
                    failures += 1
            assert failures == 3

    def silent(link: socket.socket) -> None:
        answer_version(link)
        until_closed(link)

    with counted(monkeypatch), server(silent, answer_version) as port:
        run(main(port))


def test_calls_cancelled_at_once_leave_connection_usable() -> None:
    async def main(port: int) -> None:
        async with AsyncClient(port=port, timeout=DEADLINE) as client:
            await client.version()
            (link,) = client._pool.connections
            link._round_trip = 0.5
            for _ in range(20):
                task = asyncio.create_task(client.version())
                await asyncio.sleep(0)
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            assert client._pool.connections == [link]
            assert await client.version()

    with threaded_tiny_server() as port:
        run(main(port))


def test_retired_connection_is_closed_when_call_needs_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(port: int) -> None:
        async with AsyncClient(port=port) as client:
            patient = asyncio.create_task(client.delete(b"key"))
            while not client._pool.connections or not client._pool.connections[0].protocol.outstanding:
                await asyncio.sleep(0)
            client.timeout = 0.05
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    await client.version()
            assert not patient.done()
            client.timeout = DEADLINE
            assert await client.version() == b"1.2.3"
            with pytest.raises(ConnectionError, match="does not answer in time"):
                await patient
        assert Counted.most == 1

    with counted(monkeypatch), server(until_closed, answer_version) as port:
        run(main(port))


@pytest.mark.parametrize("silent", [2, 3])
def test_timeout_of_call_includes_all_addresses(silent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real = AsyncConnection.connect

    async def connect(link: AsyncConnection, family: int, address: tuple[object, ...], _: int | None = None) -> None:
        tried.append(address)
        if address[1] == 1:
            await asyncio.sleep(1000)
        await real(link, family, address)

    async def main(port: int) -> None:
        ports = [1, 1, 1 if silent == 3 else port]
        addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", number)) for number in ports]

        async def getaddrinfo(*_: object, **__: object) -> object:
            return addresses

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
        monkeypatch.setattr("memproto.clients.async_connection.AsyncConnection.connect", connect)
        async with AsyncClient("several.example", port, timeout=1.0) as client:
            began = time.monotonic()
            if silent == 3:
                with pytest.raises(TimeoutError):
                    await client.version()
            else:
                assert await client.version()
            assert time.monotonic() - began < DEADLINE
        monkeypatch.undo()

    tried: list[tuple[object, ...]] = []
    with threaded_tiny_server() as port:
        run(main(port))
    assert len(tried) == 3


@each_loop
def test_server_silent_at_login_raises_timeout(loop: Loop) -> None:
    async def main(port: int) -> None:
        async with AsyncClient(port=port, username="user", password="secret") as client:
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(client.version(), 0.05)
            client.timeout = 0.05
            with pytest.raises(TimeoutError):
                await client.version()

    # After three timeouts the login is begun again.
    with server(until_closed, until_closed) as port:
        run(main(port), loop)


# --- a server that is full


@pytest.mark.parametrize("cut", range(0, len(FULL), 3))
@pytest.mark.parametrize("dialect", DIALECTS)
def test_refusal_of_full_server_raises_connection_refused(dialect: Dialect, cut: int) -> None:
    async def main() -> None:
        def full() -> asyncio.Protocol:
            class Full(asyncio.Protocol):
                def connection_made(self, transport: asyncio.BaseTransport) -> None:
                    assert isinstance(transport, asyncio.Transport)
                    transport.write(FULL[:cut])
                    loop.call_later(0.001, transport.write, FULL[cut:])
                    loop.call_later(0.002, transport.close)

            return Full()

        loop = asyncio.get_running_loop()
        served = await loop.create_server(full, "127.0.0.1", 0)
        async with served, AsyncClient(port=served.sockets[0].getsockname()[1], dialect=dialect) as client:
            # As if it did not listen: nothing of the call was carried out.
            with pytest.raises(ConnectionRefusedError, match="too many open connections"):
                await client.delete(b"key")
        await asyncio.sleep(0.01)

    run(main())


def test_reply_with_same_first_bytes_as_refusal_is_read() -> None:
    assert [is_refusal(FULL[:5]), is_refusal(FULL), is_refusal(b"ERROR\r\n")] == [None, True, False]

    def refuse(link: socket.socket) -> None:
        assert read(link, 9) == b"version\r\n"
        link.sendall(b"E")
        time.sleep(0.001)
        link.sendall(b"RROR\r\n")
        until_closed(link)

    async def main(port: int) -> None:
        async with AsyncClient(port=port, timeout=DEADLINE, dialect=Dialect.CLASSIC) as client:
            with pytest.raises(Exception, match=r"status 0x0081") as caught:
                await client.version()
            assert not isinstance(caught.value, OSError)

    with server(refuse) as port:
        run(main(port))


# --- a reply that is too large


@pytest.mark.parametrize("dialect", DIALECTS)
def test_reply_over_limit_fails_its_own_call_only(dialect: Dialect) -> None:
    async def main(port: int) -> None:
        async with AsyncClient(port=port, timeout=DEADLINE, dialect=dialect) as writer:
            await writer.set(b"large", bytes(500_000))
            await writer.set_multi({b"small%d" % number: b"%d" % number for number in range(8)})
        async with AsyncClient(port=port, timeout=DEADLINE, dialect=dialect, limits=Limits(value=1000)) as client:
            await client.noop()
            links = list(client._pool.connections)
            small = [client.get(b"small%d" % number) for number in range(8)]
            results = await asyncio.gather(*small[:4], client.get(b"large"), *small[4:], return_exceptions=True)
            assert isinstance(results.pop(4), ReplyTooLargeError)
            assert results == [b"%d" % number for number in range(8)]
            assert client._pool.connections == links
            assert await client.get(b"small1") == b"1"

    with threaded_tiny_server() as port:
        run(main(port))


def test_first_opaque_of_each_connection_is_random(monkeypatch: pytest.MonkeyPatch) -> None:
    opaques = iter([0xFFFFFFFF, 7])
    monkeypatch.setattr("memproto.clients.async_connection._RANDOM.getrandbits", lambda bits: next(opaques))

    def first(link: socket.socket) -> None:
        assert read(link, 24)[12:16] == b"\xff\xff\xff\xff"
        link.sendall(numbered(NOOP_REPLY, 0xFFFFFFFF))
        assert read(link, 24)[12:16] == bytes(4)
        link.sendall(numbered(NOOP_REPLY, 0))

    def second(link: socket.socket) -> None:
        assert read(link, 24)[12:16] == b"\0\0\0\x07"
        link.sendall(numbered(NOOP_REPLY, 7))

    async def main(port: int) -> None:
        async with AsyncClient(port=port, timeout=DEADLINE) as client:
            for _ in range(3):
                assert await client.noop()

    with server(first, second) as port:
        run(main(port))
