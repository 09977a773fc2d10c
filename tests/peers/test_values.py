"""Values both ways between a serde and the client that it is named for, over a real memcached."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any

import pytest

from memproto.clients.client import Client
from memproto.clients.pickles import pickling
from memproto.commands import Serde
from memproto.conventions import JSON_OBJECTS, serde
from tests.support.peers import DEADLINE, memcached, require

pytestmark = [pytest.mark.once, pytest.mark.peer("memcached")]

VALUES: list[object] = [
    "text",
    "",
    "häßlich \u2603 \U0001f600",
    b"",
    b"\x00\r\n\xff",
    b"bytes",
    0,
    -1,
    -(2**70),
    2**64,
    42,
]
OBJECTS: list[object] = [None, 1.5, {"a": [1, {"b": None}]}, [], ["x", -0.5]]
PICKLED: list[object] = [(1, "x"), {1, 2}, Decimal("1.10"), datetime(2020, 2, 29, tzinfo=UTC), OrderedDict(a=b"\xff")]
LONG: list[object] = ["é" * 5000, b"\x00" * 10_000, ["x" * 5000]]


class BinaryMemcached:
    """python-binary-memcached; with ``json``, in place of pickles."""

    def __init__(self, port: int, json: bool = False) -> None:
        import bmemcached

        other = {"pickler": JsonPickler, "unpickler": JsonUnpickler} if json else {}
        self.client = bmemcached.Client((f"127.0.0.1:{port}",), socket_timeout=DEADLINE, **other)
        self.get = self.client.get

    def set(self, key: str, value: object) -> None:
        # It compresses what has more than 128 bytes, but is able not to.
        assert self.client.set(key, value)

    def close(self) -> None:
        self.client.disconnect_all()


class JsonPickler:
    def __init__(self, file: BytesIO, protocol: int = 0) -> None:
        self.file = file

    def dump(self, value: object) -> None:
        self.file.write(json.dumps(value).encode())


class JsonUnpickler:
    def __init__(self, file: BytesIO) -> None:
        self.file = file

    def load(self) -> object:
        return json.loads(self.file.read())


class PyMemcache:
    """pymemcache with its serde that compresses what has more than 400 bytes."""

    def __init__(self, port: int, json: bool = False) -> None:
        from pymemcache.client.base import Client
        from pymemcache.serde import CompressedSerde

        self.client = Client(
            ("127.0.0.1", port), serde=CompressedSerde(serde=JsonSerde()) if json else CompressedSerde()
        )
        self.get, self.close = self.client.get, self.client.close

    def set(self, key: str, value: object) -> None:
        assert self.client.set(key, value, noreply=False)


class JsonSerde:
    """pymemcache's own serde, with JSON in place of pickles."""

    def serialize(self, key: bytes, value: object) -> tuple[Any, int]:
        from pymemcache.serde import pickle_serde

        if type(value) in (str, bytes, int):
            data, flags = pickle_serde.serialize(key, value)
            return data, flags
        return dump_json(value)

    def deserialize(self, key: bytes, value: bytes, flags: int) -> object:
        from pymemcache.serde import pickle_serde

        return json.loads(value) if flags & 1 else pickle_serde.deserialize(key, value, flags)


def dump_json(value: object) -> tuple[bytes, int]:
    return json.dumps(value).encode(), 1


def load_json(data: bytes) -> object:
    return json.loads(data)


class PyLibMc:
    """pylibmc that compresses what has more than 400 bytes."""

    def __init__(self, port: int, json: bool = False) -> None:
        import pylibmc

        class Json(pylibmc.Client):  # type: ignore[misc]
            def serialize(self, value: object) -> tuple[bytes, int]:
                return dump_json(value) if type(value) not in (str, bytes, int) else super().serialize(value)

            def deserialize(self, data: bytes, flags: int) -> object:
                return load_json(data) if flags & 1 else super().deserialize(data or b"", flags)

        self.client = (Json if json else pylibmc.Client)([f"127.0.0.1:{port}"], binary=True, behaviors={})
        self.get, self.close = self.client.get, self.client.disconnect_all

    def set(self, key: str, value: object) -> None:
        assert self.client.set(key, value, min_compress_len=400)


CLIENTS = [
    pytest.param("python-binary-memcached", BinaryMemcached, "bmemcached", marks=pytest.mark.peer("bmemcached")),
    pytest.param("pymemcache", PyMemcache, "pymemcache", marks=pytest.mark.peer("pymemcache")),
    pytest.param("pylibmc", PyLibMc, "pylibmc", marks=pytest.mark.peer("pylibmc")),
]
clients = pytest.mark.parametrize(("name", "peer", "module"), CLIENTS)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with memcached() as port:
        yield port


def both_ways(port: int, peer: Any, ours: Serde[object], values: list[object]) -> list[tuple[int, int]]:
    """Each value there and back, with its type; the flags that we have given them, and the peer."""
    flags = []
    with Client(values=ours, port=port, timeout=DEADLINE) as client:
        try:
            for value in values:
                client.set(b"ours", value)
                assert (peer.get("ours"), type(peer.get("ours"))) == (value, type(value))
                peer.set("theirs", value)
                assert (client.get(b"theirs"), type(client.get(b"theirs"))) == (value, type(value))
                written, again = client.gets(b"theirs"), client.gets(b"ours")
                assert written is not None
                assert again is not None
                # Who compresses from which length on is not agreed.
                assert again.flags | 8 == written.flags | 8
                flags.append((again.flags, written.flags))
        finally:
            peer.close()
    return flags


@clients
def test_text_numbers_and_bytes(name: str, peer: Callable[..., Any], module: str, port: int) -> None:
    require(module)
    both_ways(port, peer(port), serde(name), VALUES)


@clients
def test_json(name: str, peer: Callable[..., Any], module: str, port: int) -> None:
    require(module)
    ours = serde(name, objects=JSON_OBJECTS, compress_over=1000)
    flags = both_ways(port, peer(port, json=True), ours, [*VALUES, *OBJECTS])
    assert flags[-len(OBJECTS) :] == [(1, 1)] * len(OBJECTS)


@clients
def test_pickles(name: str, peer: Callable[..., Any], module: str, port: int) -> None:
    require(module)
    flags = both_ways(port, peer(port), pickling(name), [*VALUES, *OBJECTS, *PICKLED])
    assert {ours for ours, _ in flags[-len(PICKLED) :]} == {1}


@clients
def test_compressed(name: str, peer: Callable[..., Any], module: str, port: int) -> None:
    require(module)
    for ours, theirs in both_ways(port, peer(port), pickling(name, compress_over=400), LONG):
        assert ours & theirs & 8


@clients
def test_truths(name: str, peer: Callable[..., Any], module: str, port: int) -> None:
    require(module)
    their = peer(port)
    with Client(values=pickling(name), port=port, timeout=DEADLINE) as client:
        for value in (True, False):
            client.set(b"ours", value)
            their.set("theirs", value)
            # pylibmc makes numbers of them.
            for got in (their.get("ours"), client.get(b"theirs")):
                assert got == value
                assert type(got) is (int if name == "pylibmc" else bool)
    their.close()


@pytest.mark.peer("pymemcache")
def test_raw_is_pymemcache_without_a_serde(port: int) -> None:
    require("pymemcache")
    from pymemcache.client.base import Client

    peer = Client(("127.0.0.1", port))
    assert both_ways(port, Raw(peer), serde("raw"), [b"", b"\x00\r\n\xff", b"text"]) == [(0, 0)] * 3


class Raw:
    def __init__(self, client: Any) -> None:
        self.get, self.close, self.client = client.get, client.close, client

    def set(self, key: str, value: object) -> None:
        assert self.client.set(key, value, noreply=False)
