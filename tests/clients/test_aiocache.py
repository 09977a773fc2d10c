"""The cache of aiocache, used as aiocache uses it."""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from memproto import Dialect
from memproto.testing import FakeMemcached
from tests.support.peers import DEADLINE

pytest.importorskip("aiocache")


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeMemcached]:
    with FakeMemcached() as fake:
        yield fake


@pytest.fixture
def scenario(fake: FakeMemcached) -> Callable[..., None]:
    """Run a coroutine function with an empty cache that has these options."""

    def run(play: Callable[[Any], Coroutine[Any, Any, None]], **options: Any) -> None:
        from memproto.clients.aiocache import MemcachedCache

        async def main() -> None:
            host, port = fake.address
            async with MemcachedCache(host, port, **{"timeout": DEADLINE, **options}) as cache:
                assert await cache.clear() is True
                await play(cache)

        asyncio.run(main())

    return run


def test_cache_gets_what_it_has_set(scenario: Callable[..., None], fake: FakeMemcached) -> None:
    async def play(cache: Any) -> None:
        assert await cache.set("k", {"a": [1, None]}) is True
        assert await cache.get("k") == {"a": [1, None]}
        assert await cache.get("nothing", "default") == "default"
        assert await cache.exists("k") is True
        assert await cache.exists("nothing") is False
        with pytest.raises(ValueError, match="key 'app:k' exists already"):
            await cache.add("k", 1)
        assert await cache.add("new key", 1) is True
        assert bytes(fake.items[b"app:new key"].value) == b"1"
        assert await cache.delete("k") == 1
        assert await cache.delete("k") == 0
        assert await cache.get("new key", namespace="other:") is None
        with pytest.raises(ValueError, match="namespace is 'app:', but memcached"):
            await cache.clear(namespace="app:")

    scenario(play, namespace="app:")


def test_cache_handles_many_keys_at_once(scenario: Callable[..., None]) -> None:
    async def play(cache: Any) -> None:
        assert await cache.multi_set([("a", 1), ("b", 2)]) is True
        assert await cache.multi_get(["a", "nothing", "b"]) == [1, None, 2]
        with pytest.raises(ValueError, match=r"refused the values of \['a'\]"):
            await cache.multi_set([("a", "x" * 2_000_000), ("b", 3)])
        assert await cache.get("b") == 3

    scenario(play)


def test_ttl_is_seconds_from_now_and_zero_is_never(scenario: Callable[..., None], fake: FakeMemcached) -> None:
    async def play(cache: Any) -> None:
        for key, options in (("default", {}), ("short", {"ttl": 9.5}), ("never", {"ttl": 0})):
            await cache.set(key, 1, **options)
        await cache.multi_set([("month", 1)], ttl=40 * 86400)
        exptime = {key: item.exptime for key, item in fake.items.items()}
        assert exptime[b"never"] == 0
        assert 50 <= exptime[b"default"] <= 60
        assert 1 <= exptime[b"short"] <= 10
        assert abs(exptime[b"month"] - time.time() - 40 * 86400) < 10
        assert await cache.expire("never", 10) is True
        assert await cache.expire("nothing", 10) is False
        fake.advance(11)
        assert await cache.get("never") is None

    scenario(play, ttl=60)


@pytest.mark.parametrize("dialect", Dialect)
def test_numbers_are_counted_up_and_down(scenario: Callable[..., None], dialect: Dialect) -> None:
    async def play(cache: Any) -> None:
        assert await cache.increment("n") == 1
        assert await cache.increment("n", 41) == 42
        assert await cache.increment("n", -2) == 40
        assert await cache.increment("new", -5) == 0
        assert await cache.get("n") == 40
        await cache.set("text", "abc")
        with pytest.raises(TypeError, match="key 'text' has no number: "):
            await cache.increment("text")

    scenario(play, dialect=dialect)


def test_serializers_keys_and_plugins_of_aiocache(scenario: Callable[..., None], fake: FakeMemcached) -> None:
    from aiocache.plugins import HitMissRatioPlugin
    from aiocache.serializers import PickleSerializer

    class Key(enum.Enum):
        FIRST = "first"

    async def play(cache: Any) -> None:
        await cache.set(Key.FIRST, {1, 2})
        assert await cache.get(Key.FIRST) == {1, 2}
        assert b"app/first" in fake.items
        assert await cache.get("nothing") is None
        assert cache.hit_miss_ratio["hits"] == 1

    def build(key: Any, namespace: str | None = None) -> str:
        return f"{namespace}{key.value if isinstance(key, Key) else key}"

    options = {"serializer": PickleSerializer(), "plugins": [HitMissRatioPlugin()], "key_builder": build}
    scenario(play, namespace="app/", **options)


def test_locks_of_aiocache(scenario: Callable[..., None]) -> None:
    from aiocache.lock import OptimisticLock, OptimisticLockError, RedLock

    async def play(cache: Any) -> None:
        await cache.set("k", 1)
        async with OptimisticLock(cache, "k") as lock:
            assert await lock.cas(2) is True
            with pytest.raises(OptimisticLockError):
                await lock.cas(3)
        async with OptimisticLock(cache, "nothing") as lock:
            assert await lock.cas(3) is True

        made: list[int] = []

        async def compute() -> None:
            async with RedLock(cache, "job", 2):
                if await cache.get("job") is None:
                    made.append(1)
                    await asyncio.sleep(0.02)
                    await cache.set("job", "done")

        await asyncio.gather(*[compute() for _ in range(4)])
        assert made == [1]
        assert await cache.exists("job-lock") is False
        # What another task has locked meanwhile stays locked.
        await cache._add("job-lock", "theirs", 10)
        assert await cache._redlock_release("job-lock", "ours") == 0
        assert await cache.client.get("job-lock") == b"theirs"

    scenario(play)


def test_function_is_cached_by_name_of_the_class(fake: FakeMemcached) -> None:
    from aiocache import cached, caches

    host, port = fake.address
    name = "memproto.clients.aiocache.MemcachedCache"
    caches.set_config({"default": {"cache": name, "endpoint": host, "port": port, "timeout": DEADLINE}})
    made: list[int] = []

    async def compute(number: int) -> int:
        made.append(number)
        return 2 * number

    double = cached(alias="default", ttl=60)(compute)

    async def main() -> None:
        assert [await double(4), await double(4)] == [8, 8]
        assert made == [4]
        fake.advance(61)
        assert await double(4) == 8
        assert made == [4, 4]
        await caches.get("default").close()
        assert await double(4) == 8
        assert made == [4, 4]
        await caches.get("default").close()

    asyncio.run(main())


def test_cache_of_a_dead_node_is_empty_and_locks_nobody_out() -> None:
    from aiocache.lock import RedLock

    from memproto.clients.aiocache import MemcachedCache

    async def main() -> None:
        async with MemcachedCache(nodes=["127.0.0.1:1"]) as cache:
            assert await cache.get("k") is None
            assert await cache.set("k", 1) is False
            assert await cache.multi_set([("k", 1)]) is True
            assert await cache.increment("k") == -1
            async with RedLock(cache, "k", 60):
                pass

    asyncio.run(asyncio.wait_for(main(), DEADLINE))
