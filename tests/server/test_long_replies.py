"""Replies in parts: dumps and gets of many keys, while others are served; flushes freed and deleted in turns."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from memproto import AdminCommand, Failure, Set, Status
from memproto.engine import Engine
from memproto.server import long_replies, maintenance
from memproto.server.long_replies import LongReply, Part
from memproto.server.session import Session
from tests.server.test_server_in_process import Talk, serving
from tests.server.test_session import Host, Transport
from tests.support.replica import Replica

BUSY = "BUSY currently processing crawler request\r\n"
NOW = time.time()


def few(monkeypatch: pytest.MonkeyPatch, most: int) -> list[Part]:
    """Make parts of so many items, and list those that were made."""
    made: list[Part] = []
    following = LongReply.next

    def noted(self: LongReply, now: float) -> Part:
        made.append(following(self, now))
        return made[-1]

    monkeypatch.setattr(long_replies, "ITEMS_PER_PART", most)
    monkeypatch.setattr(LongReply, "next", noted)
    return made


def fill(engine: Engine, count: int) -> list[str]:
    """Store so many items; their lines in a dump begin with these."""
    for number in range(count):
        engine.execute(Set(b"key%d" % number, b"value"), NOW)
    return [f"key=key{number} " for number in range(count)]


def keys_of(dump: str) -> list[str]:
    return [line.partition(" ")[0] + " " for line in dump.splitlines()[:-1]]


@pytest.mark.parametrize("more", [(), ("--persist", "items")])
def test_others_are_served_during_a_dump_and_another_dump_is_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]
) -> None:
    made = few(monkeypatch, 1)
    count = 3000

    async def run() -> None:
        async with serving(*(str(tmp_path / each) if each == "items" else each for each in more)) as (server, connect):
            lines = fill(server.engine, count)
            dumping, other = await connect(), await connect()
            first = await dumping.ask("lru_crawler metadump all\nversion\n", "\n")
            for _ in range(5):
                assert await other.ask("version\n") == "VERSION 1.6.18\r\n"
                assert await other.ask("lru_crawler metadump all\n") == BUSY
                assert await other.ask("stats cachedump 1 0\n") == BUSY
                assert await other.ask("set other 0 0 1\n1\n") == "STORED\r\n"
            seen = sum(1 for part in made if not part.last)
            assert 0 < seen < count
            rest = await dumping.ask("", "END\r\n")
            assert [each for each in keys_of(first + rest) if each != "key=other "] == lines
            assert await dumping.ask("", "\r\n") == "VERSION 1.6.18\r\n"
            assert (await other.ask("stats cachedump 1 2\n", "END\r\n")).count("ITEM") == 2

    asyncio.run(run())


def test_a_client_that_goes_during_a_dump_leaves_room_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch, 1)

    async def run() -> None:
        async with serving() as (server, connect):
            fill(server.engine, 3000)
            dumping, other = await connect(), await connect()
            await dumping.ask("lru_crawler metadump all\n", "\n")
            assert await other.ask("lru_crawler metadump all\n") == BUSY
            dumping.writer.transport.abort()
            while (told := await other.ask("lru_crawler metadump all\n", "\n")) == BUSY:
                await asyncio.sleep(0.001)
            assert told.startswith("key=")

    asyncio.run(run())


def test_a_client_that_reads_nothing_costs_no_more_than_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    made = few(monkeypatch, 10)

    async def run() -> None:
        server = Host()
        lines = fill(server.engine, 100)
        session = Session(server)
        transport = Transport(session)
        transport.full = True
        session.data_received(b"lru_crawler metadump all\r\n")
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(made) == 1
        transport.full = False
        session.resume_writing()
        for _ in range(100):
            await asyncio.sleep(0)
        assert keys_of(b"".join(transport.written).decode()) == lines
        assert len(made) == 11

    asyncio.run(run())


COMMANDS = ["get", "gets", "gat 100", "gats 100"]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("more", [(), ("--persist", "items")])
def test_a_get_of_many_keys_is_answered_in_parts_as_if_it_were_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, more: tuple[str, ...]
) -> None:
    made = few(monkeypatch, 7)
    names = [f"key{number % 40}" for number in range(100)]
    line = f"{command} {' '.join(names)}\n"
    sent = f"set key1 5 0 3\nnew\n{line}get key1\n{line}version\n"

    async def run() -> None:
        async with serving(*(str(tmp_path / each) if each == "items" else each for each in more)) as (server, connect):
            replica = Replica(Engine())
            for engine in (server.engine, replica.engine):
                fill(engine, 30)
            expected = replica.exchange(sent.replace("\n", "\r\n").encode(), NOW).decode()
            talk = await connect()
            assert await talk.ask(sent, "VERSION 1.6.18\r\n") == expected
            assert len(made) == 2 * 16

    asyncio.run(run())


def test_others_are_served_during_a_get_of_many_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    made = few(monkeypatch, 1)

    async def run() -> None:
        async with serving() as (server, connect):
            fill(server.engine, 1000)
            asking, other = await connect(), await connect()
            names = " ".join(f"key{number}" for number in range(1000))
            await asking.ask(f"get {names}\n")
            for _ in range(5):
                assert await other.ask("version\n") == "VERSION 1.6.18\r\n"
            assert len(made) < 1000
            assert (await asking.ask("", "END\r\n")).count("VALUE") == 999

    asyncio.run(run())


def test_a_get_and_touch_of_many_keys_that_cannot_be_written_ends_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few(monkeypatch, 7)

    async def run() -> None:
        async with serving("--persist", str(tmp_path / "items")) as (server, connect):
            talk: Talk = await connect()
            assert await talk.ask("set key1 0 0 1\n1\n") == "STORED\r\n"
            assert server.store.journal is not None
            server.store.journal._connection.execute("PRAGMA query_only = ON")
            talk.writer.write(b"gat 100" + b" key1" * 50 + b"\r\n")
            assert await talk.reader.read() == b""
            server.store.journal._connection.execute("PRAGMA query_only = OFF")
            other = await connect()
            assert await other.ask("get key1\n", "END\r\n") == "VALUE key1 0 1\r\n1\r\nEND\r\n"

    asyncio.run(run())


def test_a_flush_is_freed_and_deleted_in_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "ITEMS_PER_TURN", 3)

    async def run() -> None:
        async with serving("--persist", str(tmp_path / "items")) as (server, connect):
            fill(server.engine, 300)
            server.commit()
            talk = await connect()
            assert await talk.ask("flush_all\n") == "OK\r\n"
            assert (len(server.engine), server.store.pending) == (0, True)
            assert await talk.ask("set new 0 0 1\n1\n") == "STORED\r\n"
            while server.store.pending:
                await asyncio.sleep(0)
            journal = server.store.journal
            assert journal is not None
            assert journal._connection.execute("SELECT key FROM items").fetchall() == [(b"new",)]

    asyncio.run(run())


def test_a_smaller_limit_is_reached_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "ITEMS_PER_TURN", 3)

    async def run() -> None:
        async with serving("-m", "64") as (server, connect):
            for number in range(40):
                server.engine.execute(Set(b"%d" % number, bytes(1 << 19)), NOW)
            talk = await connect()
            assert await talk.ask("cache_memlimit 8\n") == "OK\r\n"
            assert server.engine.size > 9 << 20
            while server.store.pending:
                await asyncio.sleep(0)
            assert server.engine.size <= 8 << 20

    asyncio.run(run())


def test_a_dump_is_not_to_be_had_over_udp() -> None:
    async def run() -> None:
        async with serving() as (server, connect):
            fill(server.engine, 3)
            talk = await connect()
            for words in ((b"lru_crawler", b"metadump", b"all"), (b"stats", b"cachedump", b"1", b"0")):
                assert server.execute(AdminCommand(words), NOW) == Failure(Status.UNKNOWN_COMMAND)
            assert (await talk.ask("lru_crawler metadump all\n", "END\r\n")).count("key=") == 3

    asyncio.run(run())
