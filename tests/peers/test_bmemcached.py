"""python-binary-memcached, all of it, with real memcached and with the reference server: the same results.

The client sends GET, GETKQ ... GETK without a NOOP, SETQ and ADDQ with one, and reads the opaque of refusals.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.peers import DEADLINE, require, server_of

pytestmark = [pytest.mark.once, pytest.mark.peer("bmemcached")]

#: Nothing compresses this.
NOISE = random.Random(7).randbytes(1_048_000)


@pytest.fixture(scope="module", params=[pytest.param("memcached", marks=pytest.mark.peer("memcached")), "memproto"])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    require("bmemcached")
    with server_of(request.param) as port:
        yield port


@pytest.fixture
def client(port: int) -> Iterator[Any]:
    import bmemcached

    client = bmemcached.Client((f"127.0.0.1:{port}",), socket_timeout=DEADLINE)
    client.flush_all()
    yield client
    client.disconnect_all()


@pytest.mark.parametrize(
    "value",
    [
        "text",
        "",
        "häßlich ☃",
        b"bytes",
        b"",
        b"\x00\r\n\xff",
        0,
        -5,
        2**70,
        True,
        1.5,
        ["a", {"list": (1, 2)}],
        "compressible " * 1000,
        b"compressible " * 1000,
        list(range(2000)),
    ],
    ids=lambda value: f"{type(value).__name__}-{str(value)[:12]}",
)
def test_values_of_all_types_come_back(client: Any, value: object) -> None:
    assert client.set("key", value) is True
    got = client.get("key")
    assert got == value
    assert type(got) is type(value)


def test_keys_may_be_anything_of_1_to_250_bytes(client: Any) -> None:
    for key in ("k", "with blank and\nline", "schlüssel", "k" * 250):
        assert client.set(key, key)
        assert client.get(key) == key


def test_a_miss_is_the_default(client: Any) -> None:
    assert client.get("absent") is None
    assert client.get("absent", "default") == "default"
    assert client.get("absent", get_cas=True) == (None, None)
    assert client.gets("absent") == (None, None)


def test_add_and_replace(client: Any) -> None:
    assert client.replace("key", "no") is False
    assert client.add("key", "one") is True
    assert client.add("key", "no") is False
    assert client.replace("key", "two") is True
    assert client.get("key") == "two"


def test_cas(client: Any) -> None:
    assert client.cas("key", "no", 12345) is False
    stored, first = client.set("key", "one", get_cas=True)
    assert stored is True
    assert client.gets("key") == client.get("key", get_cas=True) == ("one", first)
    stored, second = client.cas("key", "two", first, get_cas=True)
    assert stored is True
    assert second > first
    assert client.cas("key", "no", first) is False
    assert client.get("key") == "two"
    with pytest.raises(ValueError, match="0 is an invalid CAS value"):
        client.cas("key", "no", 0)
    assert client.add("key", "no", get_cas=True) == (False, None)
    stored, third = client.replace("key", "three", get_cas=True)
    assert (stored, third > second) == (True, True)
    assert client.gets("key") == ("three", third)


def test_many_at_once(client: Any) -> None:
    many = {f"key{number}": number for number in range(1000)}
    assert client.set_multi(many) == []
    assert client.get_multi(list(many)) == many
    assert client.get_multi(["absent", "key1", "absent too", "key2", "absent"]) == {"key1": 1, "key2": 2}
    assert client.get_multi(["absent", "key1"], get_cas=True) == {"key1": client.gets("key1")}
    assert client.get_multi(["absent"]) == {}
    assert client.delete_multi(["key1", "key2"]) is True
    assert client.delete_multi(["key1", "key3"]) is False
    assert client.get_multi(["key1", "key2", "key3", "key4"]) == {"key4": 4}


def test_set_multi_names_the_keys_that_were_refused(client: Any) -> None:
    client.set_multi({"one": 1, "two": 2})
    wrong = client.gets("one")[1] + 1000
    # With a CAS of 0 it sends ADD. What it names with a refused key is the CAS of the reply, not the one asked for.
    refused = client.set_multi({("one", wrong): "no", ("two", 0): "no", ("new", 0): "yes", "plain": "yes"})
    assert sorted(refused) == [("one", 0), ("two", 0)]
    found = client.get_multi(["one", "two", "new", "plain"])
    assert found == {"one": 1, "two": 2, "new": "yes", "plain": "yes"}
    told = client.set_multi_cas({"one": "1", ("two", 0): "no", "three": "3"})
    assert told == {"one": client.gets("one")[1], "two": None, "three": client.gets("three")[1]}


def test_counting(client: Any) -> None:
    assert client.incr("up", 5, default=10) == 10
    assert client.incr("up", 5) == 15
    assert client.incr("up", 2**64 - 1) == 14
    assert client.decr("up", 4) == 10
    assert client.decr("up", 1) == 9
    assert client.decr("up", 100) == 0
    assert client.decr("down", 1, default=3) == 3
    assert client.decr("down", 1) == 2


def test_counting_what_is_no_number(client: Any) -> None:
    from bmemcached.exceptions import MemcachedException

    client.set("word", "word")
    with pytest.raises(MemcachedException, match="Non-numeric server-side value") as caught:
        client.incr("word", 1)
    assert caught.value.code == 6
    # "Do not create" is the expiry 0xffffffff, which this client never sends: -1 is 0xfffffffe to it.
    assert client.incr("absent", 1, time=-1) == 0
    assert client.incr("absent", 1) == 1


def test_delete(client: Any) -> None:
    assert client.delete("absent") is True
    client.set("key", "value")
    cas = client.gets("key")[1]
    assert client.delete("key", cas=cas + 1) is False
    assert client.get("key") == "value"
    assert client.delete("key", cas=cas) is True
    assert client.get("key") is None


def test_an_item_expires(client: Any) -> None:
    client.set("short", "value", time=1)
    client.set("long", "value", time=1000)
    client.set("past", "value", time=int(time.time()) - 10)
    assert client.get("past") is None
    deadline = time.monotonic() + DEADLINE
    while client.get("short") is not None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert client.get("short") is None
    assert client.get("long") == "value"


def test_flush_all(client: Any) -> None:
    client.set("key", "value")
    assert client.flush_all() is True
    assert client.get("key") is None
    client.set("key", "value")
    assert client.flush_all(1000) is True
    assert client.get("key") == "value"


def test_stats(client: Any) -> None:
    ((_server, before),) = client.stats().items()
    client.set("key", "value")
    client.get("key")
    client.get("absent")
    ((_server, after),) = client.stats().items()
    assert {b"1.6.18"} == {after["version"]}
    grown = {name: int(after[name]) - int(before[name]) for name in ("cmd_get", "get_hits", "get_misses", "cmd_set")}
    assert grown == {"cmd_get": 2, "get_hits": 1, "get_misses": 1, "cmd_set": 1}
    ((_server, told),) = client.stats("settings").items()
    assert told["item_size_max"] == b"1048576"


def test_near_a_megabyte_and_over(client: Any) -> None:
    from bmemcached.exceptions import MemcachedException

    assert client.set("key", NOISE, compress_level=0)
    assert client.get("key") == NOISE
    with pytest.raises(MemcachedException, match="Too large") as caught:
        client.set("key", NOISE + bytes(600), compress_level=0)
    assert caught.value.code == 3
    # The old value is gone, as memcached has it, and the connection is in step.
    assert client.get("key") is None
    assert client.set("key", "value")
    assert client.get_multi(["key", "absent"]) == {"key": "value"}


def test_raw_bytes_with_flags_of_others(port: int, client: Any) -> None:
    import bmemcached

    client.set("number", 7)
    raw = bmemcached.Client((f"127.0.0.1:{port}",), socket_timeout=DEADLINE, raw_data=True)
    assert raw.get("number") == b"7"
    assert raw.set("bytes", b"raw")
    assert raw.get("bytes") == b"raw"
    raw.disconnect_all()


def test_credentials_for_a_server_that_wants_none(port: int, client: Any) -> None:
    import bmemcached

    # Its list of mechanisms is answered "unknown command", which means to it that it may go on.
    named = bmemcached.Client((f"127.0.0.1:{port}",), "user", "secret", socket_timeout=DEADLINE)
    assert named.set("key", "value")
    assert named.get("key") == "value"
    named.disconnect_all()
