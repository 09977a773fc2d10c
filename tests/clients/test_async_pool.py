"""The pool of the asyncio client: many tasks on few connections, cancelled and interrupted at any place."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memproto import ConnectionClosed, Dialect, Get, ServerConnection, Signal
from memproto.clients.async_client import AsyncClient
from memproto.engine import Engine
from memproto.testing import Delay, FakeMemcached
from tests.support.event_loops import LOOPS, Loop, run
from tests.support.peers import DEADLINE
from tests.support.scripted_servers import threaded_tiny_server


@pytest.mark.untraced
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("dialect", Dialect, ids=lambda dialect: dialect.name.lower())
def test_hundred_tasks_on_four_connections_get_their_own_values(dialect: Dialect, loop: Loop) -> None:
    async def work(client: AsyncClient, task: int) -> None:
        chance = random.Random(task)
        key = b"task%d" % task
        for turn in range(10):
            value = b"value %d of task %d" % (turn, task) * chance.choice((1, 1, 1000))
            # To another key, because it may be carried out after what is asked later on another connection.
            call = asyncio.create_task(client.set(b"aside%d" % task, value))
            if chance.random() < 0.2:
                await asyncio.sleep(0)
                call.cancel()
            with suppress(asyncio.CancelledError):
                await call
            assert await client.set(key, value) is True
            found, others = await asyncio.gather(client.get(key), client.get_multi([key, b"nothing"]))
            assert found == value
            assert others == {key: value}

    async def main(port: int) -> None:
        async with AsyncClient(port=port, pool=4, timeout=DEADLINE, dialect=dialect) as client:
            await asyncio.gather(*[work(client, task) for task in range(100)])
            assert len(client._pool.connections) == 4
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with threaded_tiny_server() as port, asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main(port))


class Reluctant(asyncio.Protocol):
    """A server that works at once, but hands out no more bytes than it is told to."""

    def __init__(self, engine: Engine, made: list[Reluctant]) -> None:
        self.engine = engine
        self.connection = ServerConnection()
        self.due = b""
        self.made = made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.made.append(self)

    def data_received(self, data: bytes) -> None:
        self.connection.receive_data(data)
        while not isinstance(event := self.connection.next_event(), Signal | ConnectionClosed):
            self.due += self.connection.send(self.engine.execute(event.request, 1000.0), to=event)

    def hand_out(self, number: int) -> None:
        self.transport.write(self.due[:number])
        self.due = self.due[number:]


async def turns(number: int = 8) -> None:
    """Let everybody run who can, the transports too."""
    for _ in range(number):
        await asyncio.sleep(0)


KEYS = [b"a", b"b", b"c"]
steps = st.lists(
    st.one_of(
        st.tuples(st.just("get"), st.integers(0, 2)),
        st.tuples(st.just("get_multi"), st.integers(0, 2)),
        st.tuples(st.just("set"), st.integers(0, 2)),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("hand out"), st.integers(1, 60)),
        st.tuples(st.just("turn"), st.integers(0, 3)),
        st.tuples(st.just("cut"), st.integers(0, 3)),
    ),
    max_size=30,
)


@given(steps=steps, pool=st.integers(1, 3), dialect=st.sampled_from(Dialect))
def test_any_schedule_of_replies_and_cancellations_leads_to_right_replies(
    steps: list[tuple[str, int]], pool: int, dialect: Dialect
) -> None:
    asyncio.run(play(steps, pool, dialect))


async def play(steps: list[tuple[str, int]], pool: int, dialect: Dialect) -> None:
    made: list[Reluctant] = []
    engine = Engine()
    served = await asyncio.get_running_loop().create_server(lambda: Reluctant(engine, made), "127.0.0.1", 0)
    async with served:
        port = served.sockets[0].getsockname()[1]
        async with AsyncClient(port=port, pool=pool, dialect=dialect, backoff=(0.0, 0.0)) as client:
            tasks: list[tuple[bytes, asyncio.Task[object]]] = []
            for serial, (what, number) in enumerate(steps):
                if what in ("get", "get_multi", "set"):
                    key = KEYS[number]
                    tasks.append((key, asyncio.create_task(call(client, what, key, serial))))
                elif what == "cancel" and tasks:
                    tasks[number % len(tasks)][1].cancel()
                elif what == "hand out":
                    for server in made:
                        server.hand_out(number)
                elif what == "cut" and made:
                    made[number % len(made)].transport.abort()
                await turns(number if what == "turn" else 1)
            while not all(task.done() for _, task in tasks):
                for server in made:
                    server.hand_out(len(server.due))
                await turns(1)
            for key, task in tasks:
                check(key, task)
        await turns()
        for server in made:
            server.transport.abort()
        await turns()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def call(client: AsyncClient, what: str, key: bytes, serial: int) -> object:
    if what == "get":
        return await client.get(key)
    if what == "get_multi":
        return await client.get_multi([key, b"nothing", key])
    return await client.set(key, b"%b %d" % (key, serial))


def check(key: bytes, task: asyncio.Task[object]) -> None:
    """It ended with a value of its own key, a miss, or an exception that says that nothing is known."""
    if task.cancelled():
        return
    error = task.exception()
    if error is not None:
        assert isinstance(error, ConnectionError)
        return
    result = task.result()
    if isinstance(result, dict):
        assert set(result) <= {key}
        result = result.get(key)
    assert result is None or result is True or (isinstance(result, bytes) and result.startswith(key + b" "))


def test_connection_with_a_call_that_waits_is_not_idle() -> None:
    async def main(fake: FakeMemcached) -> None:
        async with AsyncClient(*fake.address, timeout=DEADLINE, pool=2, idle=0.01) as client:
            with fake.fail(Get, times=1, how=Delay(0.1)):
                slow = asyncio.create_task(client.get(b"slow"))
                await asyncio.sleep(0.05)
                assert await client.noop()
                assert len(client._pool.connections) == 2
                assert await slow is None
            await asyncio.sleep(0.02)
            assert await client.noop()
            assert len(client._pool.connections) == 1

    with FakeMemcached() as fake:
        run(main(fake))
