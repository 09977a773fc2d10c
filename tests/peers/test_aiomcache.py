"""aiomcache over classic text, all of it, with real memcached and with the reference server: the same results.

It reads by ``gets`` but for a single ``get``, and sends ``stats `` with a blank at the end.
"""

from __future__ import annotations

import asyncio
import importlib.util
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from tests.support.peers import DEADLINE, require, server_of

pytestmark = [pytest.mark.once, pytest.mark.peer("aiomcache")]

_FOUND = importlib.util.find_spec("aiomcache") is not None
aiomcache: Any = importlib.import_module("aiomcache") if _FOUND else None

Ask = Callable[[Callable[[Any], Awaitable[None]]], None]

NOISE = random.Random(7).randbytes(1_048_000)


@pytest.fixture(scope="module", params=[pytest.param("memcached", marks=pytest.mark.peer("memcached")), "memproto"])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    require("aiomcache")
    with server_of(request.param) as port:
        yield port


@pytest.fixture
def ask(port: int) -> Ask:
    """Runs what a test does with a client on a loop of its own, within the deadline."""

    def run(conversation: Callable[[Any], Awaitable[None]]) -> None:
        async def within() -> None:
            client = aiomcache.Client("127.0.0.1", port, pool_size=1)
            async with asyncio.timeout(DEADLINE):
                await client.flush_all()
                await conversation(client)
                await client.close()

        asyncio.run(within())

    return run


def test_values(ask: Ask) -> None:
    async def conversation(client: Any) -> None:
        for value in (b"value", b"", b"\x00\r\n\xff", b"END\r\n", NOISE):
            assert await client.set(b"key", value) is True
            assert await client.get(b"key") == value
            got, cas = await client.gets(b"key")
            assert (got, cas > 0) == (value, True)
        assert await client.get(b"absent") is None
        assert await client.get(b"absent", b"default") == b"default"
        assert await client.gets(b"absent") == (None, None)

    ask(conversation)


def test_storing_on_conditions(ask: Ask) -> None:
    async def conversation(client: Any) -> None:
        assert await client.replace(b"key", b"no") is False
        assert await client.append(b"key", b"no") is False
        assert await client.prepend(b"key", b"no") is False
        assert await client.add(b"key", b"b") is True
        assert await client.add(b"key", b"no") is False
        assert await client.append(b"key", b"c") is True
        assert await client.prepend(b"key", b"a") is True
        assert await client.get(b"key") == b"abc"
        assert await client.replace(b"key", b"new") is True
        assert await client.get(b"key") == b"new"

    ask(conversation)


def test_cas(ask: Ask) -> None:
    async def conversation(client: Any) -> None:
        await client.set(b"key", b"one")
        _, cas = await client.gets(b"key")
        assert await client.cas(b"key", b"two", cas) is True
        assert await client.cas(b"key", b"no", cas) is False
        assert await client.cas(b"absent", b"no", cas) is False
        assert await client.get(b"key") == b"two"

    ask(conversation)


@pytest.mark.parametrize("count", [100, 1000])
def test_many_at_once(ask: Ask, count: int) -> None:
    async def conversation(client: Any) -> None:
        keys = [b"k" * 200 + b"%d" % number for number in range(count)]
        for key in keys:
            await client.set(key, key[200:])
        assert await client.multi_get(*keys) == tuple(key[200:] for key in keys)
        assert await client.multi_get(b"absent", keys[1], b"none") == (None, b"1", None)
        assert await client.multi_get() == ()

    ask(conversation)


def test_counting(ask: Ask) -> None:
    async def conversation(client: Any) -> None:
        await client.set(b"key", b"10")
        assert await client.incr(b"key", 5) == 15
        assert await client.decr(b"key", 6) == 9
        assert await client.decr(b"key", 100) == 0
        assert await client.incr(b"key") == 1
        await client.set(b"key", b"word")
        for count in (client.incr, client.decr):
            with pytest.raises(aiomcache.ClientException, match="cannot increment or decrement non-numeric value"):
                await count(b"key")

    ask(conversation)


def test_delete_and_touch(ask: Ask) -> None:
    async def conversation(client: Any) -> None:
        assert await client.delete(b"key") is False
        assert await client.touch(b"key", 100) is False
        await client.set(b"key", b"value", exptime=1000)
        assert await client.touch(b"key", 2000) is True
        assert await client.touch(b"key", int(time.time()) - 10) is True
        assert await client.get(b"key") is None
        await client.set(b"key", b"value")
        assert await client.delete(b"key") is True
        assert await client.get(b"key") is None
        await client.set(b"key", b"value", exptime=1)
        deadline = time.monotonic() + DEADLINE
        while await client.get(b"key") is not None and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        assert await client.get(b"key") is None

    ask(conversation)


def test_statistics_and_version(ask: Ask) -> None:
    async def conversation(client: Any) -> None:
        before = await client.stats()
        await client.set(b"key", b"value")
        await client.multi_get(b"key", b"absent")
        after = await client.stats()
        names = (b"cmd_get", b"get_hits", b"get_misses", b"cmd_set")
        assert [int(after[name]) - int(before[name]) for name in names] == [2, 1, 1, 1]
        assert (await client.stats(b"settings"))[b"item_size_max"] == b"1048576"
        assert await client.version() == b"1.6.18"
        await client.flush_all()
        assert await client.get(b"key") is None

    ask(conversation)


def test_over_the_limit(ask: Ask) -> None:
    async def conversation(client: Any) -> None:
        await client.set(b"key", b"old")
        with pytest.raises(aiomcache.ClientException, match="object too large for cache"):
            await client.set(b"key", bytes(2**20))
        assert await client.get(b"key") is None

    ask(conversation)


def test_keys(ask: Ask) -> None:
    async def conversation(client: Any) -> None:
        for key in (b"k", b"k" * 250, "schlüssel".encode()):
            assert await client.set(key, b"value") is True
            assert await client.get(key) == b"value"
        for key in (b"", b"k" * 251, b"with blank", b"line\n"):
            with pytest.raises(aiomcache.ValidationException):
                await client.set(key, b"value")

    ask(conversation)


def test_flags(port: int) -> None:
    async def serialize(value: object) -> tuple[bytes, int]:
        return str(value).encode(), 5

    async def deserialize(value: bytes, flags: int) -> tuple[bytes, int]:
        return value, flags

    async def conversation() -> None:
        client = aiomcache.FlagClient(
            "127.0.0.1", port, get_flag_handler=deserialize, set_flag_handler=serialize, pool_size=1
        )
        async with asyncio.timeout(DEADLINE):
            assert await client.set(b"key", 42) is True
            assert await client.get(b"key") == (b"42", 5)
            await client.close()

    asyncio.run(conversation())
