"""Frameworks and libraries with the fake in place of memcached. docs/recipes.md shows these functions."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import os
from collections.abc import Iterator

import pytest

from memproto.testing import FakeMemcached

pytestmark = [
    pytest.mark.once,
    # These libraries leave it to the end of the process to close their connections.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def installed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Skip where the packages are missing that a test is for. ``nox -s recipes`` installs all, and forbids to skip."""
    needed = request.node.get_closest_marker("peer").args
    if os.environ.get("MEMPROTO_REQUIRE_RECIPES") != "1" and not all(map(importlib.util.find_spec, needed)):
        pytest.skip("a package of the dependency group recipes is not installed")
    yield
    # Here the warnings about the connections are ignored; in a later test they would be its errors.
    gc.collect()


@pytest.mark.peer("django", "pymemcache")
def test_django(memcached: FakeMemcached) -> None:
    import django.conf
    from django.core.cache import cache
    from django.test import override_settings
    from pymemcache import MemcacheError

    if not django.conf.settings.configured:  # your tests have settings
        django.conf.settings.configure()
    host, port = memcached.address
    backend = "django.core.cache.backends.memcached.PyMemcacheCache"
    with override_settings(CACHES={"default": {"BACKEND": backend, "LOCATION": f"{host}:{port}"}}):
        cache.set("greeting", "hello", timeout=60)
        assert cache.get("greeting") == "hello"
        memcached.advance(61)
        assert cache.get("greeting") is None
        with memcached.down(), pytest.raises(MemcacheError):
            cache.get("greeting")


@pytest.mark.peer("dogpile", "pymemcache")
def test_dogpile_cache(memcached: FakeMemcached) -> None:
    from dogpile.cache import make_region

    region = make_region().configure(
        "dogpile.cache.pymemcache",
        arguments={"url": "{}:{}".format(*memcached.address), "memcached_expire_time": 60},
    )
    made = []

    @region.cache_on_arguments()
    def double(number: int) -> int:
        made.append(number)
        return 2 * number

    assert [double(4), double(4)] == [8, 8]
    assert made == [4]
    memcached.advance(61)
    assert double(4) == 8
    assert made == [4, 4]


@pytest.mark.peer("flask_caching")
def test_flask_caching(memcached: FakeMemcached) -> None:
    from flask import Flask
    from flask_caching import Cache

    app = Flask("app")
    app.config["CACHE_TYPE"] = "MemcachedCache"
    app.config["CACHE_MEMCACHED_SERVERS"] = ["{}:{}".format(*memcached.address)]
    cache = Cache(app)
    made = []

    @app.route("/")
    @cache.cached(timeout=60)
    def page() -> str:
        made.append("page")
        return f"page {len(made)}"

    client = app.test_client()
    assert [client.get("/").text, client.get("/").text] == ["page 1", "page 1"]
    memcached.advance(61)
    assert client.get("/").text == "page 2"


@pytest.mark.peer("limits", "pymemcache")
def test_limits(memcached: FakeMemcached) -> None:
    from limits import parse
    from limits.storage import storage_from_string
    from limits.strategies import FixedWindowRateLimiter

    limiter = FixedWindowRateLimiter(storage_from_string(memcached.url))
    limit = parse("2 per minute")
    assert [limiter.hit(limit, "ann") for _ in range(3)] == [True, True, False]
    memcached.advance(60)
    assert limiter.hit(limit, "ann")


@pytest.mark.peer("celery")
def test_celery(memcached: FakeMemcached) -> None:
    from celery import Celery

    app = Celery("app", backend=f"cache+{memcached.url}/")
    app.conf.update(task_always_eager=True, task_store_eager_result=True, result_expires=3600)

    @app.task
    def add(one: int, two: int) -> int:
        return one + two

    task = add.delay(3, 4)
    assert app.AsyncResult(task.id).get(timeout=1) == 7
    memcached.advance(3601)
    assert app.AsyncResult(task.id).state == "PENDING"


@pytest.mark.peer("aiocache", "aiomcache")
def test_aiocache(memcached: FakeMemcached) -> None:
    from aiocache import Cache

    async def scenario() -> None:
        host, port = memcached.address
        async with Cache(Cache.MEMCACHED, endpoint=host, port=port) as cache:
            await cache.set("greeting", "hello", ttl=60)
            assert await cache.get("greeting") == "hello"
            memcached.advance(61)
            assert await cache.get("greeting") is None

    asyncio.run(scenario())
