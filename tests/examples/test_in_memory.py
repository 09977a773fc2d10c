"""The memcached without sockets: each dialect, the clock, several clients, and servers that fail."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from examples.in_memory import Cache, InMemory
from memproto import (
    AnyReply,
    AnyRequest,
    Counter,
    Delete,
    Deleted,
    Dialect,
    Failure,
    Flush,
    Get,
    Increment,
    Item,
    LocalProtocolError,
    Noop,
    Ok,
    Quit,
    RemoteProtocolError,
    Set,
    Silence,
    Stats,
    StatsReply,
    Status,
    Stored,
    Touch,
    Values,
    Version,
    VersionReply,
)
from memproto.engine import Engine
from tests.support.peers import ROOT

#: What a store tells of the CAS: classic text has no word for it.
TOLD = {Dialect.BINARY: 1, Dialect.CLASSIC: 0, Dialect.META: 1}


@pytest.mark.parametrize("dialect", Dialect)
def test_requests_in_memory_get_their_replies(dialect: Dialect) -> None:
    fake = InMemory(dialect)
    cas = TOLD[dialect]
    assert fake.ask(Set(b"key", b"value", flags=7)) == Stored(cas)
    assert fake.ask(Get((b"key",))) == Values((Item(b"key", b"value", 7, 1),))
    assert fake.ask(Get((b"absent", b"key"))) == Values((Item(b"key", b"value", 7, 1),))
    assert fake.ask(Get((b"absent",))) == Values()
    assert fake.ask(Set(b"count", b"41")) == Stored(2 * cas)
    assert fake.ask(Increment(b"count")) == Counter(42, 3 * cas)
    assert fake.ask(Delete(b"key")) == Deleted()
    assert fake.ask(Delete(b"key")) == Failure(Status.KEY_NOT_FOUND)
    assert fake.ask(Version()) == VersionReply(b"1.6.18")
    assert fake.ask(Flush()) == Ok()
    assert isinstance(fake.ask(Stats()), StatsReply)
    assert fake.ask(Get((b"count",))) == Values()


@pytest.mark.parametrize("dialect", Dialect)
def test_the_clock_is_the_tests(dialect: Dialect) -> None:
    fake = InMemory(dialect)
    fake.ask(Set(b"key", b"value", exptime=60))
    fake.cache.now += 59
    assert fake.ask(Get((b"key",))) == Values((Item(b"key", b"value", 0, 1),))
    fake.ask(Touch(b"key", 10))
    fake.cache.now += 9
    assert fake.ask(Get((b"key",))) == Values((Item(b"key", b"value", 0, 1),))
    fake.cache.now += 1
    assert fake.ask(Get((b"key",))) == Values()


@pytest.mark.parametrize("dialect", Dialect)
def test_value_over_the_limit_is_refused_and_removes_the_old_one(dialect: Dialect) -> None:
    fake = InMemory(dialect, Cache(Engine(memory_limit=2**22)))
    assert fake.ask(Set(b"key", bytes(2**20 - 200))) == Stored(TOLD[dialect])
    assert fake.ask(Get((b"key",))) == Values((Item(b"key", bytes(2**20 - 200), 0, 1),))
    assert fake.ask(Set(b"key", bytes(2**20 + 1))) == Failure(Status.VALUE_TOO_LARGE)
    assert fake.ask(Get((b"key",))) == Values()


def test_clients_of_three_dialects_share_one_cache() -> None:
    cache = Cache()
    fakes = [InMemory(dialect, cache) for dialect in Dialect]
    for number, fake in enumerate(fakes):
        fake.ask(Set(b"key", b"%d" % number))
        for other in fakes:
            assert other.ask(Get((b"key",))) == Values((Item(b"key", b"%d" % number, 0, number + 1),))
    assert InMemory().ask(Get((b"key",))) == Values()


@pytest.mark.parametrize("dialect", [Dialect.BINARY, Dialect.META])
def test_quiet_request_gets_silence_or_its_reply(dialect: Dialect) -> None:
    fake = InMemory(dialect)
    assert fake.ask_quietly(Set(b"key", b"value")) == Silence()
    assert fake.ask_quietly(Get((b"absent",))) == Silence()
    assert fake.ask_quietly(Get((b"key",))) == Values((Item(b"key", b"value", 0, 1),))
    assert fake.ask_quietly(Delete(b"absent")) == Failure(Status.KEY_NOT_FOUND)
    assert fake.ask_quietly(Delete(b"key")) == Silence()
    assert fake.ask(Noop()) == Ok()


@pytest.mark.parametrize("dialect", Dialect)
def test_after_goodbye_nothing_can_be_asked(dialect: Dialect) -> None:
    fake = InMemory(dialect)
    assert fake.ask(Quit()) == Ok()
    with pytest.raises(LocalProtocolError, match="nothing can be sent any more"):
        fake.ask(Get((b"key",)))


@pytest.mark.parametrize("dialect", [Dialect.CLASSIC, Dialect.META])
def test_what_cannot_be_said_cannot_be_asked(dialect: Dialect) -> None:
    fake = InMemory(dialect)
    with pytest.raises(LocalProtocolError, match=r"^key is "):
        fake.ask(Get((b"k" * 251,)))
    assert fake.ask(Get((b"k" * 250,))) == Values()


class Full(InMemory):
    def execute(self, request: AnyRequest) -> AnyReply:
        return Failure(Status.OUT_OF_MEMORY) if isinstance(request, Set) else super().execute(request)


class Down(InMemory):
    def execute(self, request: AnyRequest) -> AnyReply:
        raise RemoteProtocolError("hung up")


@pytest.mark.parametrize("dialect", Dialect)
def test_full_server_refuses_and_closed_one_raises(dialect: Dialect) -> None:
    assert Full(dialect).ask(Set(b"key", b"value")) == Failure(Status.OUT_OF_MEMORY)
    down = Down(dialect)
    with pytest.raises(RemoteProtocolError, match="stream ended before 1 of the requests"):
        down.ask(Get((b"key",)))
    with pytest.raises(LocalProtocolError):
        down.ask(Get((b"key",)))


def test_it_is_small_and_has_no_io() -> None:
    source = Path(ROOT, "examples", "in_memory.py").read_text(encoding="utf-8")
    assert len(source.splitlines()) < 100
    nodes = list(ast.walk(ast.parse(source)))
    assert not [node for node in nodes if isinstance(node, ast.Import)]
    modules = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    assert modules == {"__future__", "dataclasses", "typing", "memproto", "memproto.engine"}
