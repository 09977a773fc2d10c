"""pymemcache over classic text, all of it, with real memcached and with the reference server: the same results.

It reads any many keys by one long ``get`` line, sends ``flush_all 0``, and by default wants no reply to what it stores.
"""

from __future__ import annotations

import importlib.util
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.peers import DEADLINE, require, server_of

pytestmark = [pytest.mark.once, pytest.mark.peer("pymemcache")]

_FOUND = importlib.util.find_spec("pymemcache") is not None
pymemcache: Any = importlib.import_module("pymemcache") if _FOUND else None
exceptions: Any = importlib.import_module("pymemcache.exceptions") if _FOUND else None

NOISE = random.Random(7).randbytes(1_048_000)


@pytest.fixture(scope="module", params=[pytest.param("memcached", marks=pytest.mark.peer("memcached")), "memproto"])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    require("pymemcache")
    with server_of(request.param) as port:
        yield port


@pytest.fixture(params=[False, True], ids=["reply", "noreply"])
def client(port: int, request: pytest.FixtureRequest) -> Iterator[Any]:
    client = connect(port, default_noreply=request.param)
    client.flush_all(noreply=False)
    yield client
    client.close()


@pytest.fixture
def waiting_client(port: int) -> Iterator[Any]:
    client = connect(port, default_noreply=False)
    client.flush_all()
    yield client
    client.close()


def connect(port: int, **options: object) -> Any:
    return pymemcache.Client(("127.0.0.1", port), connect_timeout=DEADLINE, timeout=DEADLINE, **options)


@pytest.mark.parametrize("value", [b"value", b"", b"\x00\r\n\xff", b"END\r\n", NOISE], ids=len)
def test_a_value_comes_back(client: Any, value: bytes) -> None:
    assert client.set("key", value, flags=7) is True
    assert client.get("key") == value
    got, cas = client.gets("key")
    assert got == value
    assert cas.isdigit()


def test_what_is_not_there(waiting_client: Any) -> None:
    assert waiting_client.get("absent") is None
    assert waiting_client.get("absent", "default") == "default"
    assert waiting_client.gets("absent") == (None, None)
    assert waiting_client.get_many(["absent", "absent too"[:6]]) == {}
    assert waiting_client.replace("absent", b"no") is False
    assert waiting_client.append("absent", b"no") is False
    assert waiting_client.prepend("absent", b"no") is False
    assert waiting_client.cas("absent", b"no", b"77") is None
    assert waiting_client.delete("absent") is False
    assert waiting_client.incr("absent", 1) is None
    assert waiting_client.decr("absent", 1) is None
    assert waiting_client.touch("absent", 100) is False


def test_storing_on_conditions(client: Any) -> None:
    silent = client.default_noreply
    assert client.add("key", b"b") is True
    assert client.add("key", b"no") is silent
    assert client.append("key", b"c") is True
    assert client.prepend("key", b"a") is True
    assert client.get("key") == b"abc"
    assert client.replace("key", b"new") is True
    assert client.replace("absent", b"no") is silent
    assert client.get_many(["key", "absent"]) == {"key": b"new"}


def test_cas(client: Any) -> None:
    client.set("key", b"one")
    _, cas = client.gets("key")
    assert client.cas("key", b"two", cas) is True
    assert client.cas("key", b"no", cas) is False
    assert client.get("key") == b"two"
    assert client.gets_many(["key", "absent"]) == {"key": (b"two", client.gets("key")[1])}
    assert client.cas("key", b"no", cas, noreply=True) is True
    client.delete("key", noreply=False)
    assert client.cas("key", b"no", cas) is None


@pytest.mark.parametrize("count", [100, 1000])
def test_many_at_once(client: Any, count: int) -> None:
    many = {f"{'k' * 200}{number}": b"%d" % number for number in range(count)}
    assert client.set_many(many) == []
    assert client.get_many(list(many)) == many
    assert client.get_many([*many, "absent"]) == many
    assert {key: value for key, (value, _) in client.gets_many(list(many)).items()} == many
    assert client.delete_many(list(many)) is True
    assert client.get_many(list(many)) == {}


def test_counting(client: Any) -> None:
    client.set("key", b"10")
    assert client.incr("key", 5) == 15
    assert client.decr("key", 6) == 9
    assert client.decr("key", 100) == 0
    assert client.incr("key", 2**64 - 1) == 2**64 - 1
    assert client.incr("key", 1) == 0
    assert client.incr("key", 4, noreply=True) is None
    assert client.decr("key", 1, noreply=True) is None
    assert client.get("key").rstrip() == b"3"


def test_counting_what_is_no_number(client: Any) -> None:
    client.set("key", b"word")
    for count in (client.incr, client.decr):
        with pytest.raises(
            exceptions.MemcacheClientError, match=r"^b'cannot increment or decrement non-numeric value'$"
        ):
            count("key", 1)
    with pytest.raises(exceptions.MemcacheIllegalInputError):
        client.incr("key", "x")


def test_expiry(client: Any) -> None:
    client.set("short", b"value", expire=1)
    client.set("past", b"value", expire=int(time.time()) - 10)
    client.set("negative", b"value", expire=-1)
    for key in ("touched", "long"):
        client.set(key, b"value", expire=1000)
    assert client.get_many(["past", "negative"]) == {}
    assert client.touch("touched", -1) is True
    assert client.get("touched") is None
    assert client.touch("long", 2000, noreply=False) is True
    deadline = time.monotonic() + DEADLINE
    while client.get("short") is not None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert client.get_many(["short", "long"]) == {"long": b"value"}


def test_get_and_touch(waiting_client: Any) -> None:
    # It has no method for this.
    waiting_client.set("key", b"value", flags=5)
    cas = waiting_client.gets("key")[1]
    assert waiting_client.raw_command("gat 100 key absent", "END\r\n") == b"VALUE key 5 5\r\nvalue\r\n"
    assert waiting_client.raw_command("gats 100 key", "END\r\n") == b"VALUE key 5 5 " + cas + b"\r\nvalue\r\n"
    assert waiting_client.raw_command("gat -1 key", "END\r\n") == b"VALUE key 5 5\r\nvalue\r\n"
    assert waiting_client.raw_command("gat 100 key", "END\r\n") == b""


def test_flush_all(client: Any) -> None:
    client.set("key", b"value")
    assert client.flush_all(1000) is True
    assert client.get("key") == b"value"
    assert client.flush_all() is True
    assert client.get("key") is None
    client.set("key", b"value")
    assert client.get("key") == b"value"


def test_stats(client: Any) -> None:
    before = client.stats()
    client.set("key", b"value")
    client.get_many(["key", "absent"])
    after = client.stats()
    names = (b"cmd_get", b"get_hits", b"get_misses", b"cmd_set")
    assert [after[name] - before[name] for name in names] == [2, 1, 1, 1]
    assert after[b"version"] == b"1.6.18"
    settings = client.stats("settings")
    assert (settings[b"item_size_max"], settings[b"binding_protocol"]) == (1048576, b"auto-negotiate")
    assert client.raw_command("stats reset") == b"RESET"
    assert client.stats()[b"cmd_set"] == 0
    with pytest.raises(exceptions.MemcacheUnknownCommandError):
        client.stats("nonsense")


def test_version_and_memory(client: Any) -> None:
    assert client.version() == b"1.6.18"
    assert client.cache_memlimit(100) is True
    assert client.stats()[b"limit_maxbytes"] == 100 * 2**20
    assert client.cache_memlimit(64) is True
    # The words of a refusal are no answer that it knows.
    assert client.raw_command("cache_memlimit 7") == b"MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m"
    assert client.raw_command("verbosity 0") == b"OK"
    with pytest.raises(exceptions.MemcacheUnknownCommandError):
        client.raw_command("shutdown")


def test_over_the_limit(waiting_client: Any) -> None:
    waiting_client.set("key", b"old")
    with pytest.raises(exceptions.MemcacheServerError, match=r"^b'object too large for cache'$"):
        waiting_client.set("key", bytes(2**20))
    # It closes then, and opens another connection for the next call.
    assert waiting_client.get("key") is None
    waiting_client.set("key", b"old", noreply=False)
    for store in (waiting_client.add, waiting_client.replace, waiting_client.append, waiting_client.prepend):
        with pytest.raises(exceptions.MemcacheServerError):
            store("key", bytes(2**20))
    assert waiting_client.get("key") == b"old"
    waiting_client.set("key", NOISE)
    assert waiting_client.append("key", NOISE) is False
    assert waiting_client.get("key") == NOISE


def test_over_the_limit_without_a_reply(port: int) -> None:
    silent = connect(port, default_noreply=True)
    silent.set("key", b"old")
    assert silent.set("key", bytes(2**20)) is True
    # On the same connection, so it is in step.
    assert silent.get("key") is None
    silent.close()


def test_keys(client: Any) -> None:
    for key in ("k", "k" * 250, "!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~"):
        assert client.set(key, b"value") is True
        assert client.get(key) == b"value"
    for key in ("k" * 251, "with blank", "line\n", "schlüssel"):
        with pytest.raises(exceptions.MemcacheIllegalInputError):
            client.set(key, b"value")
    assert "k" not in dir(client)
    client["key"] = b"item"
    assert client["key"] == b"item"
    del client["key"]
    with pytest.raises(KeyError):
        client["key"]


def test_keys_of_any_letters(port: int) -> None:
    client = connect(port, allow_unicode_keys=True)
    client.set("schlüssel", b"value", noreply=False)
    assert client.get_many(["schlüssel"]) == {"schlüssel": b"value"}
    client.close()


def test_quit_closes(waiting_client: Any) -> None:
    waiting_client.set("key", b"value")
    waiting_client.quit()
    assert waiting_client.get("key") == b"value"
