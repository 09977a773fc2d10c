"""The asyncio client under faults: each answer is its own, never more sockets than ``pool``, an end to close()."""

from __future__ import annotations

import asyncio
import os
import random
import select
import socket
import ssl
import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memproto import (
    ConnectionClosed,
    Dialect,
    Limits,
    LocalProtocolError,
    RemoteProtocolError,
    ServerConnection,
    Signal,
)
from memproto.clients.async_client import AsyncClient
from memproto.clients.async_stream import AsyncStream
from memproto.engine import Engine
from tests.support.certificates import TLS, client_context
from tests.support.counted_sockets import Counted, counted
from tests.support.event_loops import Loop, each_loop, run
from tests.support.opaques import opaques_of_tasks_begin_at_0
from tests.support.peers import DEADLINE, example_server
from tests.support.scripted_servers import server, until_closed

__all__ = ["opaques_of_tasks_begin_at_0"]

DIALECTS = [pytest.param(dialect, id=dialect.name.lower()) for dialect in Dialect]
FULL = b"ERROR Too many open connections\r\n"


# --- each answer belongs to its question


KEYS = [b"a", b"b", b"c"]
calls = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["get", "add", "set", "delete"]), st.integers(0, 2), st.just(0)),
        st.tuples(st.sampled_from(["set_multi", "delete_multi"]), st.integers(0, 3), st.integers(0, 3)),
    ),
    min_size=1,
    max_size=25,
)


@given(calls=calls, dialect=st.sampled_from(Dialect))
def test_replies_with_refused_batches_in_between_reach_their_calls(
    calls: list[tuple[str, int, int]], dialect: Dialect
) -> None:
    asyncio.run(ask_all(calls, dialect))


@given(
    items=st.integers(1, 7), wrong=st.integers(0, 7), outstanding=st.integers(1, 4), dialect=st.sampled_from(Dialect)
)
def test_batch_of_several_rounds_with_wrong_key_sends_nothing(
    items: int, wrong: int, outstanding: int, dialect: Dialect
) -> None:
    keys = [b"%d" % number for number in range(items)]

    async def ask() -> None:
        served = await asyncio.get_running_loop().create_server(lambda: Moody(Moods(["well"])), "127.0.0.1", 0)
        port, limits = served.sockets[0].getsockname()[1], Limits(outstanding=outstanding)
        async with served, AsyncClient(port=port, dialect=dialect, limits=limits) as client:
            batch = [*keys[:wrong], b"k" * 251, *keys[wrong:]]
            stored: dict[bytes, bytes] = {}
            for call in (client.set_multi(dict.fromkeys(batch, b"value")), client.delete_multi(batch)):
                with pytest.raises(LocalProtocolError, match="key"):
                    await call
                assert await client.get_multi(keys) == stored
                stored = dict.fromkeys(keys, b"value")
                assert await client.set_multi(stored) == []
            assert await client.get_multi(keys) == dict.fromkeys(keys, b"value")

    asyncio.run(ask())


async def ask_all(calls: list[tuple[str, int, int]], dialect: Dialect) -> None:
    """All at once on one connection, which carries them out in this order; a batch with a number but 0 is refused."""
    served = await asyncio.get_running_loop().create_server(lambda: Moody(Moods(["well"])), "127.0.0.1", 0)
    async with served, AsyncClient(port=served.sockets[0].getsockname()[1], dialect=dialect) as client:
        model: dict[bytes, bytes] = {}
        expected: list[object] = []
        tasks: list[asyncio.Task[object]] = []
        await client.noop()
        link = client._pool.connections[0]
        for serial, (what, number, refused) in enumerate(calls):
            value = b"%d" % serial
            if what in ("set_multi", "delete_multi"):
                keys = [*KEYS[:number], b"k" * 300, *KEYS[number:]] if refused else KEYS
                batch = (
                    client.set_multi(dict.fromkeys(keys, value)) if what == "set_multi" else client.delete_multi(keys)
                )
                tasks.append(asyncio.create_task(batch))
                expected.append(
                    LocalProtocolError if refused else [] if what == "set_multi" else [*filter(model.get, KEYS)]
                )
                if not refused:
                    model = dict.fromkeys(KEYS, value) if what == "set_multi" else {}
            else:
                key = KEYS[number]
                method = getattr(client, what)
                tasks.append(asyncio.create_task(method(key) if what in ("get", "delete") else method(key, value)))
                expected.append(
                    {"get": model.get(key), "set": True, "add": key not in model, "delete": key in model}[what]
                )
                if what == "set" or (what == "add" and key not in model):
                    model[key] = value
                elif what == "delete":
                    model.pop(key, None)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(each) if isinstance(each, Exception) else each for each in results] == expected
        assert client._pool.connections == [link]
        assert link.protocol.outstanding == 0


# --- a server with moods


class Moods:
    """What becomes of connections and of answers, drawn from a list."""

    def __init__(self, moods: list[str], seed: int = 0) -> None:
        self.moods = moods
        self.chance = random.Random(seed)
        self.engine = Engine()
        self.connections = 0


class Moody(asyncio.Protocol):
    """A server connection that may answer late, in pieces, half or not at all, hang up or be full."""

    def __init__(self, moods: Moods) -> None:
        self.moods = moods
        self.connection = ServerConnection()
        self.mute = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.moods.connections += 1
        if self.moods.chance.choice(self.moods.moods) == "full":
            transport.write(FULL)
            transport.close()

    def data_received(self, data: bytes) -> None:
        if self.mute:
            return
        self.connection.receive_data(data)
        with suppress(RemoteProtocolError):
            while not isinstance(event := self.connection.next_event(), Signal | ConnectionClosed):
                self.say(self.connection.send(self.moods.engine.execute(event.request, 1000.0), to=event))

    def say(self, answer: bytes) -> None:
        mood = self.moods.chance.choice(self.moods.moods)
        loop = asyncio.get_running_loop()
        if mood == "mute" or self.mute:
            self.mute = True
        elif mood == "slow":
            # All that comes later is mute, so that the answers stay in order.
            loop.call_later(0.03, self.transport.write, answer)
            self.mute = True
        elif mood == "half":
            self.transport.write(answer[: len(answer) // 2])
            self.transport.close()
        elif mood == "abort":
            self.transport.abort()
        else:
            self.transport.write(answer)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("pool", [1, 2, 3])
def test_replies_under_faults_and_cancellations_are_right_and_sockets_bounded(
    pool: int, dialect: Dialect, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = 0
    moods = Moods(["well"] * 40 + ["mute", "slow", "half", "abort", "full"], pool)

    async def work(client: AsyncClient, task: int) -> None:
        nonlocal right
        chance = random.Random(task)
        key = b"key%d" % task
        written: set[bytes | None] = {None}
        for turn in range(20):
            value = b"%b serial %d" % (key, turn)
            try:
                async with asyncio.timeout(chance.choice((0.0, 0.002, 0.02, 0.1, None))):
                    if chance.random() < 0.5:
                        written.add(value)
                        assert await client.set(key, value) is True
                    elif chance.random() < 0.7:
                        assert await client.get(key) in written
                    else:
                        assert (await client.get_multi([b"nothing", key])).get(key) in written
                right += 1
            except (OSError, LocalProtocolError):
                await asyncio.sleep(0)

    async def main() -> None:
        served = await asyncio.get_running_loop().create_server(lambda: Moody(moods), "127.0.0.1", 0)
        port = served.sockets[0].getsockname()[1]
        async with served:
            client = AsyncClient(port=port, pool=pool, timeout=0.2, dialect=dialect, backoff=(0.001, 0.01))
            async with client:
                await asyncio.gather(*[work(client, task) for task in range(20)])
                moods.moods = ["well"]
                for _ in range(100):
                    with suppress(OSError):
                        if await client.set(b"key", b"well") and await client.get(b"key") == b"well":
                            break
                    await asyncio.sleep(0.01)
                else:
                    raise AssertionError("the client does not recover")
        await asyncio.sleep(0.05)

    with counted(monkeypatch):
        run(main())
        assert Counted.most == pool
    assert right > 40
    assert moods.connections > pool


@each_loop
def test_call_over_tls_cancelled_at_any_step_leaves_connection_usable(loop: Loop) -> None:
    async def main(port: int) -> None:
        cancelled = 0
        for steps in range(40):
            client = AsyncClient("localhost", port, timeout=DEADLINE, tls=client_context())
            async with client:
                task = asyncio.create_task(client.set(b"key", b"%d" % steps))
                for _ in range(steps):
                    await asyncio.sleep(0 if steps < 20 else 0.0005)
                cancelled += task.cancel()
                with suppress(asyncio.CancelledError):
                    assert await task is True
                assert await client.set(b"other", b"%d" % steps) is True
                assert await client.get(b"other") == b"%d" % steps
                assert len(client._pool.connections) == 1
        assert cancelled > 10

    files = f"ssl_chain_cert={TLS / 'cert.pem'},ssl_key={TLS / 'key.pem'}"
    with example_server("-Z", "-o", files) as port:
        run(main(port), loop)


# --- its end


@pytest.mark.parametrize("handshake", [True, False])
def test_connection_reset_before_handshake_leaves_no_socket_open(
    handshake: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []
    handshake_of_stream = AsyncStream.handshake

    async def late(stream: AsyncStream, context: ssl.SSLContext, name: str) -> bytes:
        assert stream._socket is not None
        opened.append(stream._socket.fileno())
        served, _ = listener.accept()
        if not handshake:
            served.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset at once
        served.close()
        reset = select.poll()
        reset.register(stream._socket, select.POLLIN)
        assert reset.poll(DEADLINE * 1000)
        return await handshake_of_stream(stream, context, name)

    async def ask() -> None:
        async with AsyncClient(
            port=listener.getsockname()[1], tls=client_context(), server_hostname="localhost"
        ) as client:
            with pytest.raises(OSError, match=r"reset|closed|Broken") as raised:
                await client.get(b"key")
            # While the exception is still there, and with it all that its frames hold.
            assert raised.value.__traceback__ is not None
            (number,) = opened
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(number)

    monkeypatch.setattr(AsyncStream, "handshake", late)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        asyncio.run(ask())


def test_close_with_queue_full_of_cancelled_calls_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(port: int) -> None:
        client = AsyncClient(port=port, limits=Limits(outstanding=3))
        tasks = [asyncio.create_task(client.version()) for _ in range(3)]
        while not client._pool.connections or client._pool.connections[0].protocol.outstanding < 3:
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await asyncio.gather(client.close(), client.close())
        assert Counted.open == 0

    with counted(monkeypatch), server(until_closed) as port:
        run(main(port))


@pytest.mark.parametrize("steps", range(6))
def test_close_that_is_cancelled_leaves_no_socket_open(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        moods = Moods(["well", "mute"])
        served = await asyncio.get_running_loop().create_server(lambda: Moody(moods), "127.0.0.1", 0)
        async with served:
            client = AsyncClient(port=served.sockets[0].getsockname()[1], pool=3)
            tasks = [asyncio.create_task(client.version()) for _ in range(9)]
            for _ in range(steps):
                await asyncio.sleep(0)
            closing = asyncio.create_task(client.close())
            await asyncio.sleep(0)
            closing.cancel()
            assert Counted.open == 0
            await asyncio.wait([closing, *tasks])
            for task in tasks:
                assert isinstance(task.exception(), ConnectionError)
        await asyncio.sleep(0)

    with counted(monkeypatch):
        run(main())
