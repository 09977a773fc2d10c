"""The backend of Django, used as Django uses it."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from memproto import Quit
from memproto.clients import Cluster
from memproto.clients.pickles import pickling
from memproto.testing import FakeMemcached
from tests.support.peers import DEADLINE
from tests.support.scripted_servers import threaded_tiny_server

pytest.importorskip("django")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with threaded_tiny_server() as port:
        yield port


def cache(location: object, **options: object) -> Any:
    from django.conf import settings
    from django.core.cache import CacheHandler

    if not settings.configured:
        settings.configure()
    backend = "memproto.clients.django.MemcachedCache"
    default = {
        "BACKEND": backend,
        "LOCATION": location,
        "KEY_PREFIX": "app",
        "OPTIONS": {"timeout": DEADLINE, **options},
    }
    return CacheHandler({"default": default})["default"]


@pytest.fixture
def django(port: int) -> Iterator[Any]:
    made = cache(f"127.0.0.1:{port}")
    made.clear()
    yield made
    made._cluster.close()


def test_django_gets_what_it_has_set(django: Any, port: int) -> None:
    django.set("k", {"a": [1, None]})
    assert django.get("k") == {"a": [1, None]}
    assert django.get("k", version=2) is None
    assert django.get("nothing", 5) == 5
    assert "k" in django
    with Cluster([("127.0.0.1", port)], timeout=DEADLINE) as raw:
        assert raw.get(b"app:1:k") == b'{"a": [1, null]}'
    assert django.add("k", 1) is False
    assert django.add("new", 1) is True
    assert django.get_or_set("made", lambda: "value") == "value"
    assert django.delete("k") is True
    assert django.delete("k") is False
    django.clear()
    assert django.get("new") is None


def test_django_handles_many_keys_at_once(django: Any) -> None:
    assert django.set_many({"a": 1, "b": 2}, 60) == []
    assert django.get_many(["a", "b", "c"]) == {"a": 1, "b": 2}
    assert django.set_many({"a": "x" * 2_000_000, "b": 3}) == ["a"]
    django.delete_many(["a", "b"])
    assert django.get_many(["a", "b"]) == {}
    django.set_many({"a": 1})
    assert django.set_many({"a": 1}, 0) == []
    assert django.get("a") is None


def test_django_counts(django: Any) -> None:
    django.set("n", 40)
    assert django.incr("n", 2) == 42
    assert django.decr("n", 40) == 2
    assert django.incr("n", -5) == 0
    assert django.get("n") == 0
    with pytest.raises(ValueError, match="Key 'nothing' not found"):
        django.incr("nothing")


def test_timeouts_of_django_are_those_of_memcached(django: Any, port: int) -> None:
    for timeout in (None, 60, 60.5, "60", 31 * 24 * 3600):
        django.set("k", 1, timeout)
        assert django.get("k") == 1
        assert django.touch("k", timeout) is True
    for over in (0, -1):
        django.set("k", 1)
        django.set("k", 2, over)
        assert django.get("k") is None
        assert django.add("k", 1, over) is True
        assert django.get("k") is None
        django.set("k", 1)
        assert django.add("k", 1, over) is False
        assert django.touch("k", over) is True
        assert django.touch("k", over) is False


def test_value_that_the_server_refuses_leaves_no_old_value(django: Any) -> None:
    django.set("k", 1)
    django.set("k", "x" * 2_000_000)
    assert django.get("k") is None


def test_key_that_memcached_does_not_take_is_refused(django: Any) -> None:
    with pytest.raises(ValueError, match="characters that will cause errors"):
        django.set("with blank", 1)


def test_backend_with_pickles_stores_any_object(port: int) -> None:
    made = cache([f"127.0.0.1:{port}"], values=pickling("pymemcache"))
    made.set("k", {1, 2})
    assert made.get("k") == {1, 2}
    made._cluster.close()


def test_backend_without_a_server_finds_nothing() -> None:
    made = cache("127.0.0.1:1;127.0.0.1:2")
    made.set("k", 1)
    assert made.get("k", 5) == 5
    assert made.set_many({"k": 1}) == ["k"]
    with pytest.raises(ValueError, match="not found"):
        made.incr("k")


def test_connection_is_closed_when_the_thread_that_made_it_is_gone() -> None:
    with FakeMemcached() as fake:
        thread = threading.Thread(target=lambda: cache("{}:{}".format(*fake.address)).set("k", 1))
        thread.start()
        thread.join(DEADLINE)
        gc.collect()
        end = time.monotonic() + DEADLINE
        while not isinstance(fake.requests[-1].request, Quit):
            assert time.monotonic() < end
            time.sleep(0.001)
