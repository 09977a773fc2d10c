"""The backend of dogpile.cache, used as dogpile.cache uses it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from memproto.clients import Cluster
from memproto.testing import FakeMemcached
from tests.support.peers import DEADLINE
from tests.support.scripted_servers import threaded_tiny_server

pytest.importorskip("dogpile.cache")


@pytest.fixture
def port() -> Iterator[int]:
    with threaded_tiny_server() as port:
        yield port


def region(**arguments: object) -> Any:
    from dogpile.cache import make_region, register_backend

    register_backend("memproto.test", "memproto.clients.dogpile", "MemcachedBackend")
    return make_region().configure("memproto.test", arguments={"timeout": DEADLINE, **arguments})


def test_region_gets_what_it_has_set(port: int) -> None:
    from dogpile.cache.api import NO_VALUE

    made = region(url=f"127.0.0.1:{port}", memcached_expire_time=60)
    made.set("k", {"a": 1})
    assert made.get("k") == {"a": 1}
    assert made.get("nothing") is NO_VALUE
    made.set_multi({"a": 1, "b": 2})
    assert made.get_multi(["a", "nothing", "b"]) == [1, NO_VALUE, 2]
    made.delete("k")
    made.delete_multi(["a", "b"])
    assert made.get_multi(["a", "b", "k"]) == [NO_VALUE] * 3
    made.backend._cluster.close()


def test_value_is_created_by_one_of_several_threads_with_a_distributed_lock(port: int) -> None:
    made = region(url=[("127.0.0.1", port)], distributed_lock=True, lock_timeout=30, pool=4)
    created: list[int] = []

    def create() -> str:
        created.append(1)
        time.sleep(0.1)
        return "value"

    def get() -> None:
        assert made.get_or_create("k", create) == "value"

    threads = [threading.Thread(target=get) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert made.get("k") == "value"
    assert created == [1]
    made.backend._cluster.close()


def test_lock_on_a_dead_node_is_not_waited_for() -> None:
    assert region(url="127.0.0.1:1", distributed_lock=True).get_or_create("k", lambda: "value") == "value"


def test_lock_on_the_next_node_of_a_dead_one_holds(port: int) -> None:
    nodes = [f"127.0.0.1:{port}", "127.0.0.1:1"]
    ours, theirs = (region(url=nodes, distributed_lock=True, dead="move").backend for _ in range(2))
    router = ours._cluster.router
    key = next(f"k{number}" for number in range(100) if router.ring.node(f"k{number}-lock".encode()).port == 1)
    mine, other = ours.get_mutex(key), theirs.get_mutex(key)
    assert mine.acquire()
    assert not other.acquire(wait=False)
    mine.release()
    assert other.acquire(wait=False)
    ours._cluster.close()
    theirs._cluster.close()


def test_thread_that_waits_for_a_lock_gets_it_when_it_is_free(port: int) -> None:
    backend = region(url=f"127.0.0.1:{port}", distributed_lock=True, pool=2).backend
    held = backend.get_mutex("k")
    assert held.acquire()
    timer = threading.Timer(0.1, held.release)
    timer.start()
    assert backend.get_mutex("k").acquire()
    timer.join(DEADLINE)
    backend._cluster.close()


def test_lock_of_one_backend_holds_for_another(port: int) -> None:
    ours, theirs = (region(url=f"127.0.0.1:{port}", distributed_lock=True).backend for _ in range(2))
    mine, other = ours.get_mutex("k"), theirs.get_mutex("k")
    assert mine.acquire()
    assert other.locked()
    assert not other.acquire(wait=False)
    mine.release()
    assert not other.locked()
    assert other.acquire()
    other.release()
    assert region(url=f"127.0.0.1:{port}").backend.get_mutex("k") is None
    with Cluster([("127.0.0.1", port)], timeout=DEADLINE) as cluster:
        assert cluster.get(b"k-lock") is None
    ours._cluster.close()
    theirs._cluster.close()


def test_lock_that_was_taken_while_its_node_was_dead_is_not_given_back_for_another() -> None:
    with FakeMemcached() as fake:
        url = "{}:{}".format(*fake.address)
        ours, theirs = (region(url=url, distributed_lock=True, retry_after=0.001).backend for _ in range(2))
        mine, other = ours.get_mutex("k"), theirs.get_mutex("k")
        fake.down()
        assert mine.acquire()
        fake.up()
        time.sleep(0.002)
        assert other.acquire()
        mine.release()
        assert other.locked()
        assert not ours.get_mutex("k").acquire(wait=False)
        other.release()
        assert not other.locked()
        ours._cluster.close()
        theirs._cluster.close()
