"""The asyncio client under faults: each answer is its own, never more sockets than ``pool``, an end to close()."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.async_client import AsyncClient
from examples.async_link import Link
from examples.full import is_full
from memproto import (
    ConnectionClosed,
    Dialect,
    Limits,
    LocalProtocolError,
    RemoteProtocolError,
    ServerConnection,
    Signal,
)
from memproto.calls import ReplyTooLargeError
from memproto.engine import Engine
from tests.peers import DEADLINE
from tests.test_example_async_client import each_loop, opaques_of_tasks_begin_at_0, run, until_closed
from tests.test_example_async_pool import Loop, tiny_server
from tests.test_example_client import NOOP_REPLY, answer_version, numbered, read, server

__all__ = ["opaques_of_tasks_begin_at_0"]

DIALECTS = [pytest.param(dialect, id=dialect.name.lower()) for dialect in Dialect]
FULL = b"ERROR Too many open connections\r\n"


class Counted(socket.socket):
    """Counts the open sockets of its kind."""

    open = most = 0

    def __init__(self, *arguments: int) -> None:
        super().__init__(*arguments)
        Counted.open += 1
        Counted.most = max(Counted.most, Counted.open)

    def close(self) -> None:
        Counted.open -= self.fileno() >= 0
        super().close()


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The sockets of the client are counted; at the end all are closed."""
    module = ModuleType("socket")
    vars(module).update(vars(socket), socket=Counted)
    monkeypatch.setattr("examples.async_link.socket", module)
    Counted.open = Counted.most = 0
    yield
    assert Counted.open == 0


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
def test_answers_belong_to_their_questions_with_refused_batches_in_between(
    calls: list[tuple[str, int, int]], dialect: Dialect
) -> None:
    asyncio.run(ask_all(calls, dialect))


async def ask_all(calls: list[tuple[str, int, int]], dialect: Dialect) -> None:
    """All at once on one connection, which carries them out in this order; a batch with a number but 0 is refused."""
    served = await asyncio.get_running_loop().create_server(lambda: Moody(Moods(["well"])), "127.0.0.1", 0)
    async with served, AsyncClient(port=served.sockets[0].getsockname()[1], dialect=dialect) as client:
        model: dict[bytes, bytes] = {}
        expected: list[object] = []
        tasks: list[asyncio.Task[object]] = []
        await client.noop()
        link = client._links[0]
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
        assert client._links == [link]
        assert link.connection.outstanding == 0


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
def test_under_faults_and_cancellations_answers_are_right_and_sockets_bounded(
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


# --- its end


def test_close_ends_though_cancelled_calls_fill_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(port: int) -> None:
        client = AsyncClient(port=port, limits=Limits(outstanding=3))
        tasks = [asyncio.create_task(client.version()) for _ in range(3)]
        while not client._links or client._links[0].connection.outstanding < 3:
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await asyncio.gather(client.close(), client.close())
        assert Counted.open == 0

    with counted(monkeypatch), server(until_closed) as port:
        run(main(port))


@pytest.mark.parametrize("steps", range(6))
def test_a_cancelled_close_leaves_no_socket_open(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
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


# --- a server that is silent


def test_a_dead_connection_is_found_though_the_callers_timeouts_are_shorter(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_calls_that_are_cancelled_at_once_do_not_cost_a_connection() -> None:
    async def main(port: int) -> None:
        async with AsyncClient(port=port, timeout=DEADLINE) as client:
            await client.version()
            (link,) = client._links
            link._round_trip = 0.5
            for _ in range(20):
                task = asyncio.create_task(client.version())
                await asyncio.sleep(0)
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            assert client._links == [link]
            assert await client.version()

    with tiny_server() as port:
        run(main(port))


def test_the_calls_that_wait_for_a_retired_connection_give_way_to_new_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(port: int) -> None:
        async with AsyncClient(port=port) as client:
            patient = asyncio.create_task(client.delete(b"key"))
            while not client._links or not client._links[0].connection.outstanding:
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
def test_one_deadline_holds_over_all_addresses(silent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Link.connect

    async def connect(link: Link, family: int, address: tuple[object, ...]) -> None:
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
        monkeypatch.setattr("examples.async_link.Link.connect", connect)
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
    with tiny_server() as port:
        run(main(port))
    assert len(tried) == 3


@each_loop
def test_a_server_that_does_not_answer_the_login(loop: Loop) -> None:
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
def test_a_full_server_is_a_fault_of_the_connection(dialect: Dialect, cut: int) -> None:
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
            with pytest.raises(ConnectionError):
                await client.get(b"key")
        await asyncio.sleep(0.01)

    run(main())


def test_what_only_begins_as_the_line_of_a_full_server_is_a_reply() -> None:
    assert [is_full(FULL[:5]), is_full(FULL), is_full(b"ERROR\r\n")] == [None, True, False]

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
def test_a_reply_over_a_limit_fails_its_own_call_only(dialect: Dialect) -> None:
    async def main(port: int) -> None:
        async with AsyncClient(port=port, timeout=DEADLINE, dialect=dialect) as writer:
            await writer.set(b"large", bytes(500_000))
            await writer.set_multi({b"small%d" % number: b"%d" % number for number in range(8)})
        async with AsyncClient(port=port, timeout=DEADLINE, dialect=dialect, limits=Limits(value=1000)) as client:
            await client.noop()
            links = list(client._links)
            small = [client.get(b"small%d" % number) for number in range(8)]
            results = await asyncio.gather(*small[:4], client.get(b"large"), *small[4:], return_exceptions=True)
            assert isinstance(results.pop(4), ReplyTooLargeError)
            assert results == [b"%d" % number for number in range(8)]
            assert client._links == links
            assert await client.get(b"small1") == b"1"

    with tiny_server() as port:
        run(main(port))


def test_the_first_opaque_is_drawn_for_each_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    opaques = iter([0xFFFFFFFF, 7])
    monkeypatch.setattr("examples.async_link._CHANCE.getrandbits", lambda bits: next(opaques))

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


# --- processes and event loops


@each_loop
def test_a_client_is_used_in_one_event_loop_after_the_other(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    with counted(monkeypatch), tiny_server() as port:
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


def test_a_client_cannot_be_used_in_the_loops_of_two_threads() -> None:
    with tiny_server() as port:
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
def test_a_forked_child_has_connections_of_its_own(dialect: Dialect, loop: Loop) -> None:
    async def work(client: AsyncClient, name: bytes) -> None:
        for number in range(100):
            value = b"%b %d" % (name, number)
            assert await client.set(name, value) is True
            assert await client.get(name) == value

    def child() -> None:
        with asyncio.Runner(loop_factory=loop) as own:
            own.run(work(client, b"child%d" % os.getpid()))
            own.run(client.close())

    with tiny_server() as port, asyncio.Runner(loop_factory=loop) as runner:
        client = AsyncClient(port=port, timeout=DEADLINE, dialect=dialect, pool=2)
        runner.run(work(client, b"parent"))
        links = list(client._links)
        children = [in_child(child) for _ in range(3)]
        runner.run(work(client, b"parent"))
        assert [os.waitpid(each, 0)[1] for each in children] == [0, 0, 0]
        runner.run(work(client, b"parent"))
        assert client._links == links
        runner.run(client.close())
