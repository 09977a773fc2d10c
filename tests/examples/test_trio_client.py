"""The trio client: what it asks, and what a cancelled wait leaves behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from memproto import (
    Dialect,
    Failure,
    Get,
    Item,
    LocalProtocolError,
    RemoteProtocolError,
    Set,
    Stored,
    Values,
    Version,
    VersionReply,
)
from tests.support.example_programs import example
from tests.support.peers import DEADLINE, ROOT

pytest.importorskip("trio")
import trio
import trio.testing

from examples.trio_client import TrioClient, connect

VERSION = b"VERSION 1.6.18\r\n"


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        with trio.fail_after(DEADLINE):
            await test()

    trio.run(limited)


@pytest.mark.parametrize("dialect", Dialect)
def test_tasks_that_share_a_client_get_their_own_replies(dialect: Dialect) -> None:
    async def ask(client: TrioClient, n: int) -> None:
        key, value = b"k%d" % n, b"value %d" % n
        assert isinstance(await client.ask(Set(key, value, n)), Stored)
        reply = await client.ask(Get((key, b"absent")))
        assert isinstance(reply, Values)
        assert [(item.key, item.value, item.flags) for item in reply.items] == [(key, value, n)]

    async def test() -> None:
        async with connect("127.0.0.1", port, dialect) as client, trio.open_nursery() as nursery:
            for n in range(50):
                nursery.start_soon(ask, client, n)

    with example("asyncio_server") as port:
        run(test)


def test_reply_to_a_cancelled_request_reaches_nobody() -> None:
    async def test() -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        client = TrioClient(ours, Dialect.CLASSIC)
        with trio.move_on_after(0.01) as scope:
            await client.ask(Get((b"slow",)))
        assert scope.cancelled_caught
        assert await theirs.receive_some() == b"gets slow\r\n"
        await theirs.send_all(b"VALUE slow 0 5 1\r\nvalue\r\nEND\r\n" + b"VALUE next 0 1 2\r\nx\r\nEND\r\n")
        assert await client.ask(Get((b"next",))) == Values((Item(b"next", b"x", 0, 2),))

    run(test)


def test_request_that_is_cancelled_before_it_is_sent_costs_nothing() -> None:
    async def test() -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        client = TrioClient(ours, Dialect.CLASSIC)
        with trio.move_on_after(0):
            await client.ask(Get((b"key",)))
        await theirs.send_all(VERSION)
        assert await client.ask(Version()) == VersionReply(b"1.6.18")
        assert await theirs.receive_some() == b"version\r\n"

    run(test)


def test_request_of_which_a_part_was_written_costs_the_connection() -> None:
    async def test() -> None:
        ours, _ = trio.testing.lockstep_stream_pair()
        client = TrioClient(ours, Dialect.CLASSIC)
        with trio.move_on_after(0.01):
            await client.ask(Set(b"key", b"value"))
        with pytest.raises(LocalProtocolError, match="nothing can be sent any more"):
            await client.ask(Version())

    run(test)


def test_request_that_is_refused_leaves_the_connection_usable() -> None:
    async def test() -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        client = TrioClient(ours, Dialect.CLASSIC)
        with pytest.raises(LocalProtocolError, match="key"):
            await client.ask(Get((b"two words",)))
        await theirs.send_all(VERSION)
        assert await client.ask(Version()) == VersionReply(b"1.6.18")

    run(test)


@pytest.mark.parametrize("data", [b"", b"VERS", b"VALUE other 0 1 1\r\nx\r\nEND\r\n"])
def test_server_that_breaks_off_or_answers_something_else_is_an_error(data: bytes) -> None:
    async def test() -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        client = TrioClient(ours, Dialect.CLASSIC)
        await theirs.send_all(data)
        await theirs.send_eof()
        with pytest.raises(RemoteProtocolError):
            await client.ask(Get((b"key",)))
        with pytest.raises(LocalProtocolError):
            await client.ask(Version())

    run(test)


def test_failure_is_a_reply() -> None:
    async def test() -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        client = TrioClient(ours, Dialect.CLASSIC)
        await theirs.send_all(b"SERVER_ERROR out of memory storing object\r\n")
        assert isinstance(await client.ask(Set(b"key", b"value")), Failure)

    run(test)


def test_client_runs_as_a_program() -> None:
    with example("trio_server") as port:
        command = [sys.executable, "-m", "examples.trio_client", "--port", str(port)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=True, cwd=Path(ROOT))
    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        "VersionReply(version=b'1.6.18')",
        "Stored(cas=1)",
        "Values(items=(Item(key=b'greeting', value=b'hello', flags=7, cas=1, base64=False, meta=None),))",
        "Counter(value=1, cas=2, meta=None)",
    ]
