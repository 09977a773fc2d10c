"""Wrong arguments: the error names what is wrong, nothing is sent, and the connection is as good as before."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Iterator
from typing import Any, Final

import pytest

from memproto import Dialect, LocalProtocolError
from memproto.clients import AsyncClient, AsyncCluster, Client, Cluster
from memproto.commands import Commands
from memproto.testing import FakeMemcached
from tests.support.peers import DEADLINE

#: Right arguments, by the names of the parameters.
RIGHT: Final[dict[str, Any]] = {
    "key": b"k",
    "keys": [b"a", b"b"],
    "items": {b"a": b"1", b"b": b"2"},
    "value": b"1",
    "exptime": 1,
    "flags": 0,
    "cas": 1,
    "delta": 1,
    "initial": 1,
    "lease": 5,
    "recache": 1,
    "delay": 1,
    "group": b"",
}

#: What is wrong for each, and the words of the error.
WRONG: Final[dict[str, list[tuple[object, str]]]] = {
    "key": [
        (None, "key is None, must be bytes"),
        ("k", "key is 'k', must be bytes; with an encoding it may be a str"),
        (b"", "key is 0 bytes, the least is 1"),
        (b"k" * 251, "key is 251 bytes, limit is 250"),
    ],
    "keys": [
        (None, "keys is None, must be an iterable of keys"),
        (b"k", "keys is b'k', must be an iterable of keys"),
        (7, "keys is 7, must be an iterable of keys"),
        ([[b"k"]], "key is list, must be bytes"),
        ([b"k", b""], "is 0 bytes, the least is 1"),
    ],
    "items": [
        (None, "items is None, must be a mapping of keys to values"),
        ([b"k"], "items is list, must be a mapping"),
        ({b"k": 1}, "value is int, must be bytes"),
    ],
    "value": [(None, "value is None, must be bytes"), ("1", "value is str, must be bytes")],
    "exptime": [(1.5, "exptime is float, must be an int"), (2**70, f"is {2**70}, must be")],
    "flags": [("0", "flags is str, must be an int"), (2**32, f"flags is {2**32}, must be 0 to")],
    "cas": [("1", "cas is str, must be an int"), (2**64, f"cas is {2**64}, must be")],
    "delta": [(-1, "delta is -1, must be 0 to"), (1.5, "delta is float, must be an int")],
    "initial": [("1", "initial is str, must be an int")],
    "lease": [(None, "lease is None, must be an int"), (2**70, f"is {2**70}, must be")],
    "recache": [("1", "recache is str, must be an int or None")],
    "delay": [(1.5, "delay is float, must be an int or None"), (2**70, f"is {2**70}, must be")],
    "group": [("items", "is str, must be bytes")],
}

METHODS: Final = [
    (name, parameter)
    for name, method in vars(Commands).items()
    if not name.startswith("_") and name not in ("encode", "keys_of", "keys_of_items")
    for parameter in list(inspect.signature(method).parameters)[1:]
    if parameter != "default"
]


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeMemcached]:
    with FakeMemcached(max_requests=1) as fake:
        yield fake


@pytest.mark.parametrize("kind", [Client, AsyncClient, Cluster, AsyncCluster])
def test_wrong_argument_is_named_and_nothing_is_sent(kind: type[Any], fake: FakeMemcached) -> None:
    sent: list[bytes] = []
    options = {"timeout": DEADLINE, "trace": lambda way, data: sent.append(data) if way == ">" else None}
    cluster = kind in (Cluster, AsyncCluster)

    async def play(client: Any) -> None:
        async def call(name: str, *arguments: object) -> Any:
            result = getattr(client, name)(*arguments)
            return await result if inspect.isawaitable(result) else result

        await call("set", b"right", b"1")
        for name, parameter in METHODS:
            names = list(inspect.signature(getattr(Commands, name)).parameters)[1:]
            for wrong, words in WRONG[parameter]:
                arguments = [wrong if each == parameter else RIGHT.get(each) for each in names]
                sent.clear()
                with pytest.raises(LocalProtocolError, match=re.escape(words)):
                    await call(name, *arguments)
                assert sent == []
        assert await call("get", b"right") == b"1"
        assert len(sent) == 1
        await call("close")

    asyncio.run(
        play(
            kind([fake.address], dead="raise", dialect=Dialect.META, **options)
            if cluster
            else kind(*fake.address, dialect=Dialect.META, **options)
        )
    )


@pytest.mark.parametrize(
    ("address", "error", "words"),
    [
        ((None, 1), TypeError, "(None, 1) is no node, the host must be a str, port and weight ints"),
        (("a", "1"), TypeError, "('a', '1') is no node, the host must be a str, port and weight ints"),
        (("a", True), TypeError, "('a', True) is no node"),
        (("", 1), ValueError, "('', 1) is no node, the host must have one character or more, and no NUL"),
        (("a\0b", 1), ValueError, "the host must have one character or more, and no NUL"),
        (("a", 0), ValueError, "1 to 65535"),
        (("a", 65536), ValueError, "1 to 65535"),
    ],
)
def test_wrong_address_is_refused_by_each_client(address: Any, error: type[Exception], words: str) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(error, match=re.escape(words)):
            kind(*address)
    for cluster in (Cluster, AsyncCluster):
        with pytest.raises(error, match=re.escape(words)):
            cluster([address])


@pytest.mark.parametrize(
    ("nodes", "options", "error", "words"),
    [
        ("10.0.0.1", {}, TypeError, "nodes is '10.0.0.1', must be an iterable of nodes"),
        (None, {}, TypeError, "nodes is None, must be an iterable of nodes"),
        ([7], {}, TypeError, "7 is no node, must be a str or a tuple of host, port and perhaps weight"),
        ([("a",)], {}, TypeError, "('a',) is no node, must be a str or a tuple of host, port and perhaps weight"),
        ([("a", 1, 0)], {}, ValueError, "('a', 1, 0) is no host:port:weight, with a port of 1 to 65535 and a weight"),
        (["a"], {"retry_after": "1"}, TypeError, "retry_after is '1', must be a number of seconds"),
        (["a"], {"retry_after": float("nan")}, ValueError, "retry_after is nan, must be 0 seconds or more"),
        (["a"], {"dead": None}, ValueError, "dead is None, must be miss, move or raise"),
        (["a"], {"placement": 1}, ValueError, "placement is 1, must be ketama_weighted, ketama or ketama_md5"),
    ],
)
def test_wrong_option_of_a_cluster_is_refused(
    nodes: Any, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    for kind in (Cluster, AsyncCluster):
        with pytest.raises(error, match=f"^{re.escape(words)}"):
            kind(nodes, **options)


def test_key_without_a_hash_is_refused() -> None:
    class Unhashable(bytes):
        __hash__ = None  # type: ignore[assignment]

    with Cluster(["127.0.0.1:1"]) as cluster, pytest.raises(TypeError, match="unhashable"):
        cluster.get_multi([Unhashable(b"k")])
