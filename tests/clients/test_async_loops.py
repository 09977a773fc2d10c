"""The asyncio client in one event loop after the other, in threads, and in forked children."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from contextlib import closing

import pytest

from memproto import Dialect
from memproto.clients.async_client import AsyncClient
from tests.clients.test_async_bounds import DIALECTS
from tests.support.counted_sockets import Counted, counted
from tests.support.event_loops import Loop, each_loop
from tests.support.opaques import opaques_of_tasks_begin_at_0
from tests.support.peers import DEADLINE
from tests.support.scripted_servers import answer_version, server, threaded_tiny_server

__all__ = ["opaques_of_tasks_begin_at_0"]


@each_loop
def test_client_in_one_event_loop_after_another_has_connections_of_each(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with counted(monkeypatch), threaded_tiny_server() as port:
        client = AsyncClient(port=port, timeout=DEADLINE, pool=2)
        for number in range(3):
            with asyncio.Runner(loop_factory=loop) as runner:
                assert runner.run(client.set(b"key", b"%d" % number))
                assert runner.run(client.get(b"key")) == b"%d" % number
        # Two loops that take turns: the calls that wait in the other one fail.
        one, other = loop(), loop()
        waiting = one.create_task(client.version())
        one.run_until_complete(asyncio.sleep(0))
        assert other.run_until_complete(client.get(b"key")) == b"2"
        with pytest.raises(ConnectionError):
            one.run_until_complete(waiting)
        other.run_until_complete(client.close())
        one.close()
        other.close()
        assert Counted.most == 1


def test_connection_that_another_thread_opens_while_those_of_its_loop_are_closed_is_closed_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with counted(monkeypatch), threaded_tiny_server() as port:
        client, late = (AsyncClient(port=port, timeout=DEADLINE) for _ in range(2))
        asyncio.run(client.version())
        asyncio.run(late.version())
        connections = client._pool.connections
        discard = connections[0].discard

        def discard_slowly() -> None:
            discard()
            connections.extend(late._pool.connections)

        monkeypatch.setattr(connections[0], "discard", discard_slowly)
        asyncio.run(client.version())
        assert Counted.open == 1
        asyncio.run(client.close())


def test_client_in_running_loops_of_two_threads_raises_runtime_error() -> None:
    with threaded_tiny_server() as port:
        client = AsyncClient(port=port, timeout=DEADLINE)
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            assert asyncio.run_coroutine_threadsafe(client.version(), loop).result(DEADLINE)
            with pytest.raises(RuntimeError, match="in the event loop of another thread"):
                asyncio.run(client.version())
            asyncio.run_coroutine_threadsafe(client.close(), loop).result(DEADLINE)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(DEADLINE)
            loop.close()


def in_child(work: Callable[[], None]) -> int:
    """The process that does this, and ends with 0 if it was done."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return child


@pytest.mark.filterwarnings("ignore:This process")  # of Python 3.12 on: it has threads, which the child does not use
@each_loop
@pytest.mark.parametrize("dialect", DIALECTS)
def test_client_in_forked_child_opens_own_connections(dialect: Dialect, loop: Loop) -> None:
    async def work(client: AsyncClient, name: bytes) -> None:
        for number in range(100):
            value = b"%b %d" % (name, number)
            assert await client.set(name, value) is True
            assert await client.get(name) == value

    def child() -> None:
        with asyncio.Runner(loop_factory=loop) as own:
            own.run(work(client, b"child%d" % os.getpid()))
            own.run(client.close())

    with threaded_tiny_server() as port, asyncio.Runner(loop_factory=loop) as runner:
        client = AsyncClient(port=port, timeout=DEADLINE, dialect=dialect, pool=2)
        runner.run(work(client, b"parent"))
        links = list(client._pool.connections)
        children = [in_child(child) for _ in range(3)]
        runner.run(work(client, b"parent"))
        assert [os.waitpid(each, 0)[1] for each in children] == [0, 0, 0]
        runner.run(work(client, b"parent"))
        assert client._pool.connections == links
        runner.run(client.close())


def test_client_after_interrupted_run_of_its_loop_opens_connection_in_another() -> None:
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()

    async def main(client: AsyncClient) -> None:
        assert await client.version() == b"1.2.3"
        (old,) = client._pool.connections
        # As an exception in the middle of asyncio leaves it: the loop still says that it runs.
        asyncio._set_running_loop(None)
        try:
            assert second.run_until_complete(client.version()) == b"1.2.3"
            assert client._pool.connections != [old]
            assert old.stream._socket is None
            second.run_until_complete(client.close())
        finally:
            asyncio._set_running_loop(first)

    with server(answer_version, answer_version) as port, closing(first), closing(second):
        first.run_until_complete(main(AsyncClient(port=port, timeout=DEADLINE)))
