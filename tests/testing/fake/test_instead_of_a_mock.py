"""What pymemcache's MockMemcacheClient gets wrong or lacks (pymemcache 643, 649, 650), with the client and a fake."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import pytest

from memproto.testing import FakeMemcached
from tests.support.peers import DEADLINE, require

pytestmark = pytest.mark.peer("pymemcache")

_FOUND = importlib.util.find_spec("pymemcache") is not None
pymemcache: Any = importlib.import_module("pymemcache") if _FOUND else None
exceptions: Any = importlib.import_module("pymemcache.exceptions") if _FOUND else None


@pytest.fixture(scope="module")
def shared() -> Iterator[FakeMemcached]:
    with FakeMemcached() as fake:
        yield fake


@pytest.fixture(params=["sockets", "in memory"])
def fake(shared: FakeMemcached, request: pytest.FixtureRequest) -> FakeMemcached:
    shared.clear()
    return shared if request.param == "sockets" else FakeMemcached()


@pytest.fixture
def client(fake: FakeMemcached, shared: FakeMemcached) -> Iterator[Any]:
    client = connect(fake, shared)
    yield client
    client.close()


def connect(fake: FakeMemcached, shared: FakeMemcached, **options: object) -> Any:
    require("pymemcache")
    if fake is not shared:
        options["socket_module"] = fake.socket_module
    return pymemcache.Client(shared.address, connect_timeout=DEADLINE, timeout=DEADLINE, **options)


def test_incr_and_decr_count_what_set_has_stored(client: Any) -> None:
    client.set("n", "5")
    assert client.incr("n", 3) == 8
    assert client.decr("n", 10) == 0
    assert client.incr("absent", 1) is None
    client.set("text", "five")
    with pytest.raises(exceptions.MemcacheClientError, match="non-numeric"):
        client.incr("text", 1)


def test_gets_and_cas_notice_another_change(client: Any) -> None:
    assert client.gets("k") == (None, None)
    client.set("k", "1")
    value, cas = client.gets("k")
    assert value == b"1"
    assert client.cas("k", "2", cas) is True
    assert client.cas("k", "3", cas) is False
    assert client.cas("absent", "3", cas) is None
    assert client.gets_many(["k", "absent"]) == {"k": (b"2", b"2")}


def test_gat_and_touch_change_the_expiry_that_advance_reaches(client: Any, fake: FakeMemcached) -> None:
    client.set("k", "v", expire=10)
    assert client.raw_command("gat 100 k", "END\r\n") == b"VALUE k 0 1\r\nv\r\n"
    assert client.raw_command("gats 100 k", "END\r\n") == b"VALUE k 0 1 1\r\nv\r\n"
    assert client.touch("absent", expire=1, noreply=False) is False
    fake.advance(99)
    assert client.get("k") == b"v"
    fake.advance(2)
    assert client.get("k") is None


def test_default_noreply_and_noreply_say_who_waits_for_a_reply(fake: FakeMemcached, shared: FakeMemcached) -> None:
    for default in (True, False):
        client = connect(fake, shared, default_noreply=default)
        client.set("k", "v", noreply=False)
        assert client.add("k", "other", noreply=False) is False
        assert client.add("k", "other") is default
        assert client.delete("absent") is default
        assert client.delete("absent", noreply=False) is False
        assert fake.items[b"k"].value == b"v"
        client.close()


def test_what_the_real_server_refuses_is_refused(client: Any) -> None:
    with pytest.raises(exceptions.MemcacheServerError, match="too large"):
        client.set("k", bytes(2_000_000), noreply=False)
    assert client.append("absent", "x", noreply=False) is False
    assert client.prepend("absent", "x", noreply=False) is False
    assert client.replace("absent", "x", noreply=False) is False
    assert client.version() == b"1.6.18"
    assert client.stats()[b"curr_items"] == 0
    assert client.flush_all(noreply=False) is True
    assert client.get_many(["k", "absent"]) == {}
