"""The asyncio client with servers that are slow, gone or wrong, and with calls that are cancelled."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import assert_type

import pytest

from memproto import Dialect, Limits, LocalProtocolError, RemoteProtocolError
from memproto.clients.async_client import AsyncClient, ServerError
from memproto.commands import Serde
from tests.support.event_loops import Loop, each_loop, run
from tests.support.opaques import opaques_of_tasks_begin_at_0
from tests.support.peers import DEADLINE
from tests.support.scripted_servers import (
    NOOP_REPLY,
    VERSION_REPLY,
    answer_noop,
    answer_version,
    numbered,
    read,
    say,
    server,
    until_closed,
)

__all__ = ["opaques_of_tasks_begin_at_0"]


def test_cancelled_call_leaves_other_calls_their_replies() -> None:
    def handler(link: socket.socket) -> None:
        asked = read(link, 5 * 24)
        assert asked[1::24] == b"\x0b" * 5
        assert cancelled.wait(DEADLINE)
        for number in range(5):
            link.sendall(numbered(VERSION_REPLY, number).replace(b"1.2.3", b"%d.0.0" % number))
        until_closed(link)

    async def main(port: int) -> None:
        async with AsyncClient(port=port, timeout=DEADLINE) as client:
            tasks = [asyncio.create_task(client.version()) for _ in range(5)]
            while not client._pool.connections or client._pool.connections[0].protocol.outstanding < 5:
                await asyncio.sleep(0)
            tasks[1].cancel()
            tasks[4].cancel()
            cancelled.set()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert [result for result in results if isinstance(result, bytes)] == [b"0.0.0", b"2.0.0", b"3.0.0"]
            assert len([result for result in results if isinstance(result, asyncio.CancelledError)]) == 2

    cancelled = threading.Event()
    with server(handler) as port:
        run(main(port))


@pytest.mark.parametrize(
    ("words", "kind", "text"),
    [
        (b"", ConnectionError, "the server closed it"),
        (VERSION_REPLY[:28], ConnectionError, "the server closed it"),
        (NOOP_REPLY, RemoteProtocolError, "opcode"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", RemoteProtocolError, "magic"),
    ],
    ids=["closed", "cut", "opcode", "http"],
)
def test_lost_connection_raises_in_all_calls_that_wait(words: bytes, kind: type[Exception], text: str) -> None:
    async def main(port: int) -> None:
        async with AsyncClient(port=port, timeout=DEADLINE) as client:
            results = await asyncio.gather(client.version(), client.noop(), return_exceptions=True)
            # Whoever came second had not opened the connection, and may ask again.
            assert isinstance(results[0], kind)
            assert text in str(results[0])
            assert results[1] is True or isinstance(results[1], kind)
            assert await client.noop() is True

    def noops(link: socket.socket) -> None:
        number = 0
        while asked := link.recv(24):
            if asked[1] == 0x0A:
                link.sendall(numbered(NOOP_REPLY, number))
            number += 1

    with server(say(words), noops) as port:
        run(main(port))


def test_read_on_connection_closed_since_last_call_is_repeated() -> None:
    def brief(link: socket.socket) -> None:
        answer_noop(link)
        # It hangs up when the next request is there, and has not read it.
        assert link.recv(1, socket.MSG_PEEK)

    async def main(port: int) -> None:
        async with AsyncClient(port=port, timeout=DEADLINE) as client:
            assert await client.noop() is True
            assert await client.version() == b"1.2.3"

    with server(brief, answer_version) as port:
        run(main(port))


def test_write_on_connection_closed_since_last_call_is_never_repeated() -> None:
    def brief(link: socket.socket) -> None:
        answer_noop(link)
        assert link.recv(1, socket.MSG_PEEK)

    async def main(port: int) -> None:
        async with AsyncClient(port=port, timeout=DEADLINE) as client:
            assert await client.noop() is True
            with pytest.raises(ConnectionError, match="the connection was lost"):
                await client.delete(b"key")
            assert await client.version() == b"1.2.3"

    with server(brief, answer_version) as port:
        run(main(port))


def test_requests_over_outstanding_limit_wait_for_replies() -> None:
    asked: list[int] = []

    def one_by_one(link: socket.socket) -> None:
        for number in range(6):
            asked.append(len(link.recv(1000)))
            link.sendall(numbered(VERSION_REPLY, number))
        until_closed(link)

    async def main(port: int) -> None:
        async with AsyncClient(port=port, timeout=DEADLINE, limits=Limits(outstanding=1)) as client:
            assert await asyncio.gather(*[client.version() for _ in range(6)]) == [b"1.2.3"] * 6

    with server(one_by_one) as port:
        run(main(port))
    assert asked == [24] * 6


def test_calls_to_server_that_does_not_read_wait_unsent() -> None:
    # A value fills the buffers, so that what waits is tasks and not bytes.
    value = bytes(8 * 2**20)

    async def main(port: int) -> None:
        async with AsyncClient(port=port, timeout=None, limits=Limits(outstanding=1000)) as client:
            tasks = [asyncio.create_task(client.set(b"key", value)) for _ in range(20)]
            while not client._pool.connections or not client._pool.connections[0].stream.unsent:
                await asyncio.sleep(0)
            for _ in range(10):
                await asyncio.sleep(0)
            link = client._pool.connections[0]
            assert link.protocol.outstanding == 1
            done.set()
            assert await asyncio.gather(*tasks) == [True] * 20

    def deaf_at_first(link: socket.socket) -> None:
        assert done.wait(DEADLINE)
        for number in range(20):
            read(link, 32 + 3 + len(value))
            link.sendall(numbered(b"\x81\x01" + bytes(22), number))

    done = threading.Event()
    with server(deaf_at_first) as port:
        run(main(port))


def test_command_of_several_requests_with_wrong_one_sends_none() -> None:
    def handler(link: socket.socket) -> None:
        answer_noop(link)
        assert read(link, 24)[1] == 0x0B
        assert wrong.wait(DEADLINE)
        link.sendall(numbered(VERSION_REPLY, 1))
        assert read(link, 24)[1] == 0x0B
        link.sendall(numbered(VERSION_REPLY, 2))
        assert read(link, 24)[1] == 0x07

    async def main(port: int) -> None:
        async with AsyncClient(port=port, timeout=DEADLINE) as client:
            assert await client.noop() is True
            before = asyncio.create_task(client.version())
            await asyncio.sleep(0)
            with pytest.raises(LocalProtocolError, match="key of SET is missing"):
                await client.set_multi({b"a": b"1", b"": b"2"})
            with pytest.raises(LocalProtocolError, match="key"):
                await client.get(b"")
            # The connection is in step, and takes the next call.
            wrong.set()
            assert await before == b"1.2.3"
            assert await client.version() == b"1.2.3"

    wrong = threading.Event()
    with server(handler) as port:
        run(main(port))


@each_loop
def test_close_raises_in_calls_that_wait_and_in_later_calls(loop: Loop) -> None:
    async def main(port: int) -> None:
        client = AsyncClient(port=port, pool=2)
        await client.close()
        client = AsyncClient(port=port, pool=2)
        waiting = asyncio.create_task(client.version())
        while not client._pool.connections or not client._pool.connections[0].protocol.outstanding:
            await asyncio.sleep(0)
        await client.close()
        with pytest.raises(ConnectionError, match="the client was closed"):
            await waiting
        await client.close()
        with pytest.raises(ConnectionError, match="the client is closed"):
            await client.version()

    with server(until_closed) as port:
        run(main(port), loop)


def test_close_while_connection_is_opening_raises_in_its_call() -> None:
    async def main(port: int) -> None:
        client = AsyncClient(port=port)
        opening = asyncio.create_task(client.version())
        while not client._pool.connections or client._pool.connections[0].stream._socket is None:
            await asyncio.sleep(0)
        await client.close()
        with pytest.raises(ConnectionError, match="the client is closed"):
            await opening

    with server(until_closed) as port:
        run(main(port))


def test_call_to_port_without_listener_raises_os_error() -> None:
    async def main(port: int) -> None:
        async with AsyncClient(port=port, timeout=DEADLINE, backoff=(1000.0, 1000.0)) as client:
            # Nothing is asked, so that nobody need be there.
            assert await client.get_multi([]) == {}
            with pytest.raises(ConnectionRefusedError):
                await client.noop()
            with pytest.raises(ConnectionError, match=r"^next attempt to connect in \d+\.\d\d seconds: "):
                await client.noop()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    run(main(port))


def test_backoff_after_each_failure_is_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> list[float]:
        client = AsyncClient(backoff=(0.05, 1.0))
        waits = []
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: 1000.0)
        for share in (1.0, 1.0, 0.5, 1.0, 1.0, 1.0, 0.75):
            monkeypatch.setattr("random.uniform", lambda least, most, share=share: share)
            client._pool._delay_next_attempt(OSError("down"))
            waits.append(round(client._pool._retry_at - 1000.0, 6))
        monkeypatch.undo()
        return waits

    assert asyncio.run(main()) == [0.05, 0.1, 0.1, 0.4, 0.8, 1.0, 0.75]


def test_patient_call_without_server_waits_for_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    async def main() -> bytes:
        async with AsyncClient(port=port, timeout=DEADLINE, patient=True, backoff=(0.01, 0.02)) as client:
            calls = asyncio.gather(client.version(), client.version())
            while not client._pool._failed_attempts:
                await asyncio.sleep(0)
            with TinyVersion(port):
                one, other = await calls
                assert one == other
                await client.close()
            return one

    assert run(main()) == b"1.2.3"


class TinyVersion:
    """A server that is there only now: it answers two questions for the version."""

    def __init__(self, port: int) -> None:
        self.listener = socket.create_server(("127.0.0.1", port))
        self.listener.settimeout(DEADLINE)
        self.thread = threading.Thread(target=self.serve)

    def serve(self) -> None:
        link, _ = self.listener.accept()
        with link:
            link.settimeout(DEADLINE)
            for number in range(2):
                read(link, 24)
                link.sendall(numbered(VERSION_REPLY, number))
            until_closed(link)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *error: object) -> None:
        self.thread.join(DEADLINE)
        self.listener.close()


def test_client_with_own_serde_has_its_values() -> None:
    def answer(link: socket.socket) -> None:
        assert read(link, 17) == b"set k 3 0 2\r\n12\r\n"
        link.sendall(b"SERVER_ERROR out of memory storing object\r\n")
        assert read(link, 8) == b"gets k\r\n"
        link.sendall(b"VALUE k 3 2 1\r\n12\r\nEND\r\n")
        until_closed(link)

    async def main(port: int) -> None:
        serde = Serde[int](lambda number: (b"%d" % number, 3), lambda data, flags: int(data) * flags)
        async with AsyncClient(values=serde, port=port, timeout=DEADLINE, dialect=Dialect.CLASSIC) as client:
            assert_type(client, AsyncClient[int])
            with pytest.raises(ServerError, match=r"^Out of memory \(status 0x0082\)$"):
                await client.set(b"k", 12)
            assert assert_type(await client.get(b"k"), int | None) == 36
            assert assert_type(await client.get_multi(()), dict[bytes, int]) == {}

    with server(answer) as port:
        run(main(port))


def test_pool_of_0_is_refused() -> None:
    with pytest.raises(ValueError, match="pool is 0, must be at least 1"):
        AsyncClient(pool=0)
