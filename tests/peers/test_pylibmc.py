"""pylibmc over the binary and the classic text protocol, with real memcached and our server: the same results.

libmemcached sends GETK, and GETKQ with a NOOP for many; quiet sets and deletes with nothing after them when it wants
no reply; VERSION before STAT; QUIT at the end. It does not look at the opaque. In text it sends ``stats `` and
``flush_all `` with a blank at the end.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.support.peers import DEADLINE, require, server_of

pytestmark = [pytest.mark.once, pytest.mark.peer("pylibmc")]

#: Nothing compresses this.
NOISE = random.Random(7).randbytes(1_048_000)


@pytest.fixture(scope="module", params=[pytest.param("memcached", marks=pytest.mark.peer("memcached")), "memproto"])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    require("pylibmc")
    with server_of(request.param) as port:
        yield port


class Link(NamedTuple):
    """Where a server is, and how to speak with it."""

    port: int
    binary: bool


@pytest.fixture(params=[True, False], ids=["binary", "classic"])
def link(port: int, request: pytest.FixtureRequest) -> Link:
    return Link(port, request.param)


def connect(link: Link, **behaviors: object) -> Any:
    import pylibmc

    return pylibmc.Client([f"127.0.0.1:{link.port}"], binary=link.binary, behaviors=behaviors)


@pytest.fixture
def client(link: Link) -> Iterator[Any]:
    client = connect(link, cas=True)
    client.flush_all()
    yield client
    client.disconnect_all()


@pytest.mark.parametrize(
    "value",
    ["text", "", "häßlich ☃", b"bytes", b"", b"\x00\r\n\xff", 0, -5, 2**70, None, 1.5, ["a", {"list": (1, 2)}]],
    ids=lambda value: f"{type(value).__name__}-{str(value)[:12]}",
)
def test_values_of_all_types_come_back(client: Any, value: object) -> None:
    assert client.set("key", value) is True
    got = client.get("key", "default")
    assert got == value
    assert type(got) is type(value)


def test_a_truth_comes_back_as_a_number(client: Any) -> None:
    client.set("key", True)
    assert (client.get("key"), type(client.get("key"))) == (1, int)


def test_compressed_values_come_back(link: Link, client: Any) -> None:
    text = "compressible " * 1000
    assert client.set("key", text, min_compress_len=100, compress_level=9)
    assert client.get("key") == text
    assert client.set_multi({"a": text, "b": "short"}, min_compress_len=100) == []
    assert client.get_multi(["a", "b"]) == {"a": text, "b": "short"}


def test_keys(link: Link, client: Any) -> None:
    for key in ("k", *(["with blank and\nline"] if link.binary else []), "k" * 250):
        assert client.set(key, key)
        assert client.get(key) == key
    assert "k" in client
    assert client["k"] == "k"
    del client["k"]
    assert "k" not in client
    with pytest.raises(KeyError):
        client["k"]
    # These do not reach a server.
    with pytest.raises(ValueError, match="max is 250"):
        client.set("k" * 251, "value")
    assert client.set("", "value") is False
    assert client.get("") is None


def test_a_miss_is_the_default(client: Any) -> None:
    assert client.get("absent") is None
    assert client.get("absent", "default") == "default"
    assert client.gets("absent") == (None, None)


def test_storing_on_conditions(link: Link, client: Any) -> None:
    import pylibmc

    if link.binary:
        with pytest.raises(pylibmc.NotFound):
            client.replace("key", "no")
    else:
        # NOT_STORED does not say why.
        assert client.replace("key", "no") is False
    assert client.append("key", "no") is False
    assert client.prepend("key", "no") is False
    assert client.add("key", "b") is True
    assert client.add("key", "no") is False
    assert client.append("key", "c") is True
    assert client.prepend("key", "a") is True
    assert client.get("key") == "abc"
    assert client.replace("key", "new") is True
    assert client.get("key") == "new"


def test_cas(client: Any) -> None:
    import pylibmc

    client.set("key", "one")
    value, cas = client.gets("key")
    assert value == "one"
    assert client.cas("key", "two", cas) is True
    assert client.cas("key", "no", cas) is False
    assert client.get("key") == "two"
    with pytest.raises(pylibmc.NotFound):
        client.cas("absent", "no", cas)


def test_many_at_once(client: Any) -> None:
    import pylibmc

    many = {f"key{number}": number for number in range(1000)}
    assert client.set_multi(many) == []
    assert client.get_multi(list(many)) == many
    assert client.get_multi(["absent", "key1", "absent too", "key2", "absent"]) == {"key1": 1, "key2": 2}
    assert client.get_multi(["1", "2", "x"], key_prefix="key") == {"1": 1, "2": 2}
    assert client.get_multi(["absent"]) == {}
    assert client.add_multi({"key1": 7, "new": 8}) == ["key1"]
    assert client.incr_multi(["key1", "key2"], delta=4) is None
    assert client.get_multi(["key1", "key2", "new"]) == {"key1": 5, "key2": 6, "new": 8}
    with pytest.raises(pylibmc.NotFound):
        client.incr_multi(["key1", "absent"])
    assert client.delete_multi(["key1", "key2"]) is True
    assert client.delete_multi(["key1", "key3"]) is False
    assert client.get_multi(["key1", "key2", "key3", "key4"]) == {"key4": 4}


def test_counting(client: Any) -> None:
    import pylibmc

    # What it wants not to be created has the expiry 0xffffffff.
    for count in (client.incr, client.decr):
        with pytest.raises(pylibmc.NotFound):
            count("absent")
    client.set("key", 10)
    assert client.incr("key") == 11
    assert client.incr("key", 4) == 15
    assert client.decr("key", 6) == 9
    assert client.get("key") == 9
    assert client.decr("key", 100) == 0


def test_counting_what_is_no_number(link: Link, client: Any) -> None:
    import pylibmc

    client.set("word", "word")
    if not link.binary:
        with pytest.raises(pylibmc.ClientError):
            client.incr("word")
        assert client.get("word") == "word"
        return
    with pytest.raises(pylibmc.UnknownReadFailure):
        client.incr("word")
    if pylibmc.libmemcached_version == "1.0.16":
        # Status 0x06 is a broken connection to this release, with real memcached too.
        with pytest.raises(pylibmc.ServerDown):
            client.get("word")
    else:
        assert client.get("word") == "word"
    another = connect(link)
    assert another.get("word") == "word"
    another.disconnect_all()


def test_delete(client: Any) -> None:
    assert client.delete("key") is False
    client.set("key", "value")
    assert client.delete("key") is True
    assert client.get("key") is None


def test_touch(link: Link, client: Any) -> None:
    client.set("key", "value", time=1000)
    # After the answer it waits until its timeout for poll() is over, with real memcached too.
    hasty = connect(link, _poll_timeout=300)
    assert hasty.touch("absent", 100) is False
    assert hasty.touch("key", int(time.time()) - 10) is True
    assert hasty.get("key") is None
    hasty.disconnect_all()


def test_an_item_expires(client: Any) -> None:
    client.set("short", "value", time=1)
    client.set("long", "value", time=1000)
    deadline = time.monotonic() + DEADLINE
    while client.get("short") is not None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert client.get_multi(["short", "long"]) == {"long": "value"}


def test_flush_all(client: Any) -> None:
    client.set("key", "value")
    assert client.flush_all() is True
    assert client.get("key") is None
    client.set("key", "value")
    assert client.flush_all(time=1000) is True
    assert client.get("key") == "value"


def test_stats(client: Any) -> None:
    ((_server, before),) = client.get_stats()
    client.set("key", "value")
    client.get_multi(["key", "absent"])
    ((_server, after),) = client.get_stats()
    assert after["version"] == b"1.6.18"
    names = ("cmd_get", "get_hits", "get_misses", "cmd_set")
    assert [int(after[name]) - int(before[name]) for name in names] == [2, 1, 1, 1]
    # libmemcached looks for the general names among the settings and finds none.
    ((_server, told),) = client.get_stats("settings")
    assert told["pid"] == b"-1"


def test_near_a_megabyte_and_over(client: Any) -> None:
    import pylibmc

    assert client.set("key", NOISE)
    assert client.get("key") == NOISE
    with pytest.raises(pylibmc.TooBig):
        client.set("key", NOISE + bytes(600))
    # The old value is gone, as memcached has it, and the connection is in step.
    assert client.get("key") is None
    assert client.set("key", "value")
    assert client.get("key") == "value"


@pytest.mark.parametrize("behavior", ["no_block", "tcp_nodelay", "tcp_keepalive"])
def test_other_ways_to_use_the_socket(link: Link, client: Any, behavior: str) -> None:
    other = connect(link, **{behavior: True})
    assert other.set_multi({f"key{number}": "value" * number for number in range(300)}) == []
    assert len(other.get_multi([f"key{number}" for number in range(400)])) == 300
    assert other.delete("key1") is True
    assert other.get("key1") is None
    other.disconnect_all()


def test_without_replies(link: Link, client: Any) -> None:
    silent = connect(link, _noreply=True)
    silent.set("key", "b")
    silent.append("key", "c")
    silent.prepend("key", "a")
    silent.set("gone", "value")
    silent.delete("gone")
    # A connection's requests are carried out in order, so this answer comes after all of them.
    assert silent.get("key") == "abc"
    assert silent.get("gone") is None
    silent.disconnect_all()
