"""The backend of Flask-Caching, used as Flask-Caching uses it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from memproto.clients import Client
from memproto.clients.pickles import pickling
from memproto.testing import FakeMemcached
from tests.support.peers import DEADLINE

pytest.importorskip("flask_caching")


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeMemcached]:
    with FakeMemcached() as fake:
        yield fake


def caching(servers: object, **config: object) -> tuple[Any, Any]:
    """An application and its cache."""
    from flask import Flask
    from flask_caching import Cache

    app = Flask("app")
    options: Any = config.pop("CACHE_OPTIONS", {})
    config |= {
        "CACHE_TYPE": "memproto.clients.flask_caching.MemcachedCache",
        "CACHE_MEMCACHED_SERVERS": servers,
        "CACHE_OPTIONS": {"timeout": DEADLINE, **options},
    }
    return app, Cache(app, config=config)


@pytest.fixture
def cache(fake: FakeMemcached) -> Iterator[Any]:
    _, made = caching([fake.address], CACHE_KEY_PREFIX="app:")
    made.clear()
    yield made
    made.cache._cluster.close()


def test_cache_gets_what_it_has_set(cache: Any, fake: FakeMemcached) -> None:
    assert cache.set("k", {"a": [1, None]}) is True
    assert cache.get("k") == {"a": [1, None]}
    assert cache.get("nothing") is None
    assert cache.has("k") is True
    assert cache.has("nothing") is False
    assert cache.add("k", 1) is False
    assert cache.add("new", 1) is True
    with Client(*fake.address, timeout=DEADLINE) as raw:
        assert raw.get(b"app:k") == b'{"a": [1, null]}'
    assert cache.delete("k") is True
    assert cache.delete("k") is False
    assert cache.clear() is True
    assert cache.get("new") is None


def test_cache_handles_many_keys_at_once(cache: Any) -> None:
    assert cache.set_many({"a": 1, "b": 2}) == ["a", "b"]
    assert cache.get_many("a", "nothing", "b") == [1, None, 2]
    assert cache.get_dict("a", "nothing") == {"a": 1, "nothing": None}
    assert cache.set_many({"a": "x" * 2_000_000, "b": 3}) == ["b"]
    assert cache.delete_many("b", "nothing") == ["b", "nothing"]
    assert cache.get("b") is None


def test_timeouts_are_seconds_from_now_and_zero_is_never(cache: Any, fake: FakeMemcached) -> None:
    for key, timeout in (("default", None), ("short", 10), ("month", 40 * 86400), ("never", 0)):
        cache.set(key, 1, timeout=timeout)
    exptime = {key: item.exptime for key, item in fake.items.items()}
    assert exptime[b"app:never"] == 0
    assert 290 <= exptime[b"app:default"] <= 300
    assert 1 <= exptime[b"app:short"] <= 10
    assert abs(exptime[b"app:month"] - time.time() - 40 * 86400) < 10


def test_numbers_are_counted_up_and_down(cache: Any) -> None:
    backend = cache.cache
    assert backend.inc("n") == 1
    assert backend.inc("n", 41) == 42
    assert backend.dec("n", 2) == 40
    assert backend.inc("n", -50) == 0
    assert backend.dec("new") == 0
    assert cache.get("n") == 0
    cache.set("text", "abc")
    assert backend.inc("text") is None


def test_key_that_does_not_fit_the_protocol_is_never_there(cache: Any) -> None:
    path = "view/" + "x" * 250
    assert cache.set(path, 1) is False
    assert cache.add(path, 1) is False
    assert cache.get(path) is None
    assert cache.has(path) is False
    assert cache.delete(path) is False
    assert cache.set_many({"a": 1, path: 2}) == ["a"]
    assert cache.get_many(path, "a") == [None, 1]
    assert cache.cache.inc(path) is None


def test_value_that_the_server_refuses_leaves_no_old_one(cache: Any) -> None:
    cache.set("k", "old")
    assert cache.set("k", "x" * 2_000_000) is False
    assert cache.get("k") is None
    assert cache.add("k", "x" * 2_000_000) is False


def test_page_is_cached_until_its_timeout(fake: FakeMemcached) -> None:
    app, cache = caching([fake.address], CACHE_OPTIONS={"values": pickling("pymemcache")})
    made: list[int] = []

    def page() -> tuple[str, int]:
        made.append(1)
        return f"page {len(made)}", 203

    def compute(number: int) -> int:
        made.append(number)
        return 2 * number

    app.add_url_rule("/", view_func=cache.cached(timeout=60)(page))
    double = cache.memoize()(compute)
    client = app.test_client()
    pages = [client.get("/") for _ in range(2)]
    assert [(each.text, each.status_code) for each in pages] == [("page 1", 203)] * 2
    fake.advance(61)
    assert client.get("/").text == "page 2"
    assert [double(4), double(4)] == [8, 8]
    assert made == [1, 1, 4]
    cache.delete_memoized(double, 4)
    assert double(4) == 8
    assert made == [1, 1, 4, 4]
    cache.cache._cluster.close()


def test_cache_of_a_dead_node_is_empty() -> None:
    _, cache = caching(["127.0.0.1:1"])
    assert cache.get("k") is None
    assert cache.set("k", 1) is False
    assert cache.set_many({"k": 1}) == []
    assert cache.cache.inc("k") is None
    assert cache.clear() is False
