"""Schedules for asyncio clients: several calls at a time, any of which may time out or be cancelled where it waits."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TypeAlias
from unittest import mock

from memproto import Dialect
from tests.desync.faults import Fault, Plan
from tests.desync.loop import TIMEOUT, VirtualLoop, streams
from tests.desync.oracle import VALUES, Call, Kind, Result, Tally, Verdict, calls
from tests.desync.service import Service
from tests.desync.trial import CALLS, INTERRUPTS, OTHERS, PATIENCE

#: Carries out a call; the number is the CAS of a CAS call.
Ask: TypeAlias = Callable[[Call, int], Awaitable[Result]]

POOL = 2


class EndlessError(Exception):
    """A call that would never end, and let nothing else run."""


@dataclass(frozen=True, slots=True)
class AsyncContestant:
    """A client: its name, the package it comes from, and how it is made, until the context ends."""

    name: str
    package: str
    make: Callable[[], AbstractAsyncContextManager[Ask]]

    @property
    def installed(self) -> bool:
        """Whether it is here."""
        return importlib.util.find_spec(self.package) is not None


def _ours(dialect: Dialect) -> AsyncContestant:
    @asynccontextmanager
    async def make() -> AsyncIterator[Ask]:
        # By its name, so that the blocking trial does not need it.
        made = importlib.import_module("memproto.clients.async_client")
        own = made.AsyncClient("127.0.0.1", 11211, pool=POOL, timeout=TIMEOUT, dialect=dialect)
        with streams(importlib.import_module("memproto.clients.async_stream")):
            async with own as client:

                async def ask(call: Call, cas: int) -> Result:
                    result: Result
                    match call.kind:
                        case Kind.GET:
                            result = await client.get(call.key)
                        case Kind.GETS:
                            item = await client.gets(call.key)
                            result = None if item is None else (item.value, item.cas)
                        case Kind.MANY:
                            result = await client.get_multi(call.keys)
                        case Kind.SET:
                            result = await client.set(call.key, call.value)
                        case Kind.ADD:
                            result = await client.add(call.key, call.value)
                        case Kind.CAS:
                            result = bool(await client.cas(call.key, call.value, cas))
                        case Kind.DELETE:
                            result = await client.delete(call.key)
                        case Kind.INCREMENT:
                            result = await client.incr(call.key, call.delta)
                    return result

                yield ask

    return AsyncContestant(f"memproto {dialect.name.lower()}, asyncio", "memproto.clients.async_client", make)


def _ours_by_many(dialect: Dialect) -> AsyncContestant:
    """The same client, with commands on many keys for everything."""

    @asynccontextmanager
    async def make() -> AsyncIterator[Ask]:
        made = importlib.import_module("memproto.clients.async_client")
        own = made.AsyncClient("127.0.0.1", 11211, pool=POOL, timeout=TIMEOUT, dialect=dialect)
        with streams(importlib.import_module("memproto.clients.async_stream")):
            async with own as client:

                async def ask(call: Call, cas: int) -> Result:
                    result: Result
                    match call.kind:
                        case Kind.GET:
                            result = (await client.get_multi([b"never-stored", call.key])).get(call.key)
                        case Kind.GETS:
                            item = (await client.gets_multi([b"never-stored", call.key])).get(call.key)
                            result = None if item is None else (item.value, item.cas)
                        case Kind.MANY:
                            result = await client.gat_multi(call.keys, 0)
                        case Kind.SET:
                            result = await client.set_multi({call.key: call.value}) == []
                        case Kind.ADD:
                            result = call.key not in await client.add_multi({call.key: call.value})
                        case Kind.CAS:
                            result = bool(await client.cas(call.key, call.value, cas))
                        case Kind.DELETE:
                            result = call.key in await client.delete_multi([call.key, call.key])
                        case Kind.INCREMENT:
                            result = (await client.incr_multi([call.key], call.delta)).get(call.key)
                    return result

                yield ask

    return AsyncContestant(f"memproto {dialect.name.lower()}, asyncio, many", "memproto.clients.async_client", make)


class _Reader(asyncio.StreamReader):
    """Notices when somebody reads on and on behind the end of the stream."""

    _behind = 0

    async def readline(self) -> bytes:
        line = await super().readline()
        self._behind = 0 if line else self._behind + 1
        if self._behind > 100:
            raise EndlessError("reads for ever behind the end of the stream")
        return line


async def _open(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = _Reader(loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.create_connection(lambda: protocol, host, port)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


@asynccontextmanager
async def _make_aiomcache() -> AsyncIterator[Ask]:
    pool = importlib.import_module("aiomcache.pool")
    fake = ModuleType("fake")
    fake.__dict__.update(asyncio.__dict__, open_connection=_open)
    real = vars(pool)["asyncio"]
    vars(pool)["asyncio"] = fake
    try:
        client = importlib.import_module("aiomcache").Client("127.0.0.1", 11211, pool_size=POOL)

        async def ask(call: Call, cas: int) -> Result:
            result: Result
            async with asyncio.timeout(TIMEOUT):
                match call.kind:
                    case Kind.GET:
                        result = await client.get(call.key)
                    case Kind.GETS:
                        value, number = await client.gets(call.key)
                        result = None if value is None else (value, number)
                    case Kind.MANY:
                        values = await client.multi_get(*call.keys)
                        result = {key: value for key, value in zip(call.keys, values, strict=True) if value is not None}
                    case Kind.SET:
                        result = await client.set(call.key, call.value)
                    case Kind.ADD:
                        result = await client.add(call.key, call.value)
                    case Kind.CAS:
                        result = await client.cas(call.key, call.value, cas)
                    case Kind.DELETE:
                        result = await client.delete(call.key)
                    case Kind.INCREMENT:
                        result = await client.incr(call.key, call.delta)
            return result

        yield ask
        await client.close()
    finally:
        vars(pool)["asyncio"] = real


OURS = tuple(_ours(dialect) for dialect in (Dialect.BINARY, Dialect.CLASSIC, Dialect.META))
MANY = tuple(_ours_by_many(dialect) for dialect in (Dialect.BINARY, Dialect.CLASSIC, Dialect.META))
AIOMCACHE = AsyncContestant("aiomcache", "aiomcache", _make_aiomcache)


class _CancelledAt:
    """A coroutine whose task is cancelled where it waits for the ``at``-th time."""

    def __init__(self, coroutine: Coroutine[object, None, Result], at: int) -> None:
        self._coroutine = coroutine
        self._left = at

    def __await__(self) -> Generator[object, None, Result]:
        inner = self._coroutine.__await__()
        step = inner.send
        argument: BaseException | None = None
        try:
            while True:
                awaited = step(None) if argument is None else inner.throw(argument)
                self._left -= 1
                task = asyncio.current_task()
                if self._left == 0 and task is not None:
                    task.cancel()
                argument = None
                try:
                    yield awaited
                except BaseException as error:  # whatever it is, it is the coroutine's
                    argument = error
        except StopIteration as end:
            result: Result = end.value
            return result


class AsyncTrial:
    """One schedule: a client object, its server, its loop, and what came of its calls."""

    def __init__(self, seed: str, faults: tuple[Fault, ...], cancels: float) -> None:
        self.service = Service(Plan(f"{seed}/plan", faults))
        self.loop = VirtualLoop(self.service, f"{seed}/loop")
        self.tally = Tally(schedules=1)
        self._seed = seed
        self._chance = random.Random(f"{seed}/cancels")
        self._cancels = cancels

    async def run(self, contestant: AsyncContestant) -> None:
        async with contestant.make() as ask:
            ahead = calls(f"{self._seed}/calls", CALLS)
            while ahead:
                count = self._chance.randint(1, 3)
                tasks = [self._start(ask, call) for call in ahead[:count]]
                del ahead[:count]
                await asyncio.wait(tasks)
                if self._chance.random() < OTHERS:
                    self.service.write(self._chance.choice(VALUES), len(ahead))
            await self.recover(ask)
        self.loop.hang_up()
        await asyncio.sleep(0)

    def _start(self, ask: Ask, call: Call) -> asyncio.Task[Verdict | None]:
        awaits = ticks = 0
        if self._chance.random() < self._cancels:
            awaits, ticks = self._chance.choice(((self._chance.randint(1, 6), 0), (0, self._chance.randint(1, 30))))
        task = self.loop.create_task(self.carry_out(ask, call, awaits))
        if ticks:
            self._cancel_in(task, ticks)
        return task

    def _cancel_in(self, task: asyncio.Task[Verdict | None], ticks: int) -> None:
        if ticks:
            self.loop.call_soon(self._cancel_in, task, ticks - 1)
        else:
            task.cancel()

    async def carry_out(self, ask: Ask, call: Call, awaits: int = 0) -> Verdict | None:
        """Make a call, cancelled where it waits for that time, and judge it; ``None`` if it raised."""
        oracle = self.service.oracle
        oracle.issue(call)
        began, failures = oracle.tick, self.loop.failures
        # Without an item there is no CAS, and 0 would be none.
        cas = (oracle.cas(call.key) or 1) + (0 if call.fresh else 1_000)
        self.tally.calls += 1

        async def asked() -> Result:
            return await ask(call, cas)

        try:
            result = await _CancelledAt(asked(), awaits)
        except (asyncio.CancelledError, Exception) as error:  # an exception is never a wrong answer
            self.tally.raised += 1
            self.tally.stuck += isinstance(error, EndlessError)
            return None
        self.tally.answers += 1
        verdict = oracle.judge(call, result, began, self.loop.failures != failures)
        self.tally.wrong += verdict is Verdict.WRONG
        self.tally.lost += verdict is Verdict.LOST
        if verdict is Verdict.WRONG:
            self.tally.kinds[call.kind.value] += 1
        return verdict

    async def recover(self, ask: Ask) -> None:
        """All is well from now on; a client that still has no right answer after some calls is stuck."""
        self.service.recover()
        self.loop.jam = 0.0
        for _ in range(PATIENCE):
            if await self.carry_out(ask, Call(Kind.GET, VALUES[:1])) is Verdict.RIGHT:
                break
            await asyncio.sleep(TIMEOUT)
        else:
            self.tally.stuck += 1
        self.tally.wrong += self.service.oracle.corrupt
        self.tally.kinds["stored"] += self.service.oracle.corrupt


def run(contestant: AsyncContestant, seed: str, faults: tuple[Fault, ...], cancels: float = INTERRUPTS) -> Tally:
    """One schedule. A call is cancelled with the probability ``cancels``."""
    trial = AsyncTrial(seed, faults, cancels)
    # What a client draws for itself, such as how long it waits before it connects again, follows from the seed too.
    random.seed(seed)
    opaques = mock.patch("memproto.clients.async_connection._RANDOM", random.Random(f"{seed}/opaques"))
    with opaques, asyncio.Runner(loop_factory=lambda: trial.loop) as runner:
        runner.run(trial.run(contestant))
    return trial.tally


def run_many(
    contestant: AsyncContestant, seed: int, count: int, faults: tuple[Fault, ...], cancels: float = INTERRUPTS
) -> Tally:
    """Many schedules."""
    tally = Tally()
    for number in range(count):
        tally.add(run(contestant, f"{seed}/{number}", faults, cancels))
    return tally
