"""The reference server in this process: the disk, the clock, statistics, and what stops it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from memproto import Set
from memproto.engine import JournalState
from memproto.server import maintenance
from memproto.server.command_line import parse_arguments
from memproto.server.server import Server
from tests.support.journals import loaded

DEADLINE = 10.0


@asynccontextmanager
async def serving(*arguments: str) -> AsyncIterator[tuple[Server, Callable[[], Awaitable[Talk]]]]:
    server = Server(parse_arguments(["-p", "-1", *arguments]))
    await server.start()
    address = server.address
    talks: list[Talk] = []

    async def connect() -> Talk:
        talk = Talk(*await asyncio.open_connection(*address, limit=1 << 22))
        talks.append(talk)
        return talk

    try:
        async with asyncio.timeout(DEADLINE):
            yield server, connect
    finally:
        for talk in talks:
            await talk.close()
        await server.stop()


class Talk:
    """A client that says bytes and expects bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, text: str, end: str = "\r\n") -> str:
        """What comes up to the ``end``."""
        self.writer.write(text.replace("\n", "\r\n").encode())
        return (await self.reader.readuntil(end.encode())).decode()

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


async def statistics(talk: Talk, group: str = "") -> dict[str, str]:
    told = await talk.ask(f"stats {group}".strip() + "\n", "END\r\n")
    return dict(line.split(" ", 2)[1:] for line in told.splitlines()[:-1])


# --- the disk


def count_commits(server: Server, monkeypatch: pytest.MonkeyPatch) -> list[JournalState]:
    journal = server.store.journal
    assert journal is not None
    commits: list[JournalState] = []
    commit = journal.commit

    def counted(marks: JournalState) -> None:
        commits.append(marks)
        commit(marks)

    monkeypatch.setattr(journal, "commit", counted)
    return commits


def test_the_stores_of_a_turn_share_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with serving("--persist", str(tmp_path / "items")) as (server, connect):
            talks = [await connect() for _ in range(5)]
            for talk in talks:
                await talk.ask("version\n")
            commits = count_commits(server, monkeypatch)
            for number, talk in enumerate(talks):
                talk.writer.write(b"set k%d 0 0 1\r\n1\r\n" % number * 10)
            # Nothing has run in between: the server finds all five in its next turn.
            assert [await talk.ask("version\n", "VERSION 1.6.18\r\n") for talk in talks] == [
                "STORED\r\n" * 10 + "VERSION 1.6.18\r\n"
            ] * 5
            assert len(commits) <= 2
            before = len(commits)
            assert await talks[0].ask("get k1\n", "END\r\n") == "VALUE k1 0 1\r\n1\r\nEND\r\n"
            assert len(commits) == before

    asyncio.run(run())


def test_a_full_disk_is_told_and_changes_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving("--persist", str(tmp_path / "items")) as (server, connect):
            talk, binary = await connect(), await connect()
            assert await talk.ask("set k 7 0 3\nold\n") == "STORED\r\n"
            assert server.store.journal is not None
            connection = server.store.journal._connection
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            ((pages,),) = connection.execute("PRAGMA page_count").fetchall()
            connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()
            big = "x" * 100_000
            refused = "SERVER_ERROR the journal cannot be written\r\n"
            assert await talk.ask(f"set k 0 0 100000\n{big}\nget k\n", "END\r\n") == (
                f"{refused}VALUE k 7 3\r\nold\r\nEND\r\n"
            )
            body = (8 + 1 + 100_000).to_bytes(4, "big")
            binary.writer.write(b"\x80\x01\0\x01\x08" + bytes(3) + body + bytes(12 + 8) + b"k" + big.encode())
            told = await binary.reader.readexactly(24 + 29)
            assert (told[:2], told[6:8], told[24:]) == (b"\x81\x01", b"\x00\x82", b"the journal cannot be written"[:29])
            connection.execute("PRAGMA max_page_count = 1000000").fetchall()
            assert await talk.ask(f"set k 0 0 100000\n{big}\n") == "STORED\r\n"

    asyncio.run(run())


def test_a_file_that_cannot_be_read_either_stops_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with serving("--persist", str(tmp_path / "items")) as (server, connect):
            talk = await connect()
            assert await talk.ask("version\n") == "VERSION 1.6.18\r\n"
            assert server.store.journal is not None
            server.store.journal._connection.close()
            talk.writer.write(b"set k 0 0 1\r\n1\r\n")
            with suppress(ConnectionResetError):
                assert await talk.reader.read() == b""
            assert server.stopping.is_set()

    asyncio.run(run())
    assert any("cannot even read the journal" in message for message in caplog.messages)


def test_expired_items_leave_memory_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "TICK", 0.01)

    async def run() -> None:
        async with serving("--persist", str(tmp_path / "items")) as (server, connect):
            talk = await connect()
            for number in range(20):
                assert await talk.ask(f"set k{number} 0 {number % 2} 1\n1\n") == "STORED\r\n"
            while len(server.engine) > 10:
                await asyncio.sleep(0.05)
            server.commit()
            assert server.store.journal is not None
            assert sorted(saved.item.key for saved in loaded(server.store.journal)) == sorted(
                b"k%d" % number for number in range(0, 20, 2)
            )
            assert (await statistics(talk))["crawler_reclaimed"] == "10"

    asyncio.run(run())


def test_the_server_that_follows_has_what_was_stored(tmp_path: Path) -> None:
    async def run() -> None:
        for turn in range(2):
            async with serving("--persist", str(tmp_path / "items")) as (_, connect):
                talk = await connect()
                if turn == 0:
                    assert await talk.ask("set k 5 0 3\nold\n") == "STORED\r\n"
                else:
                    assert await talk.ask("gets k\n", "END\r\n") == "VALUE k 5 3 1\r\nold\r\nEND\r\n"

    asyncio.run(run())


# --- the clock


def test_idle_connection_is_closed_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "TICK", 0.05)

    async def run() -> None:
        async with serving("-o", "idle_timeout=1") as (server, connect):
            idle, talking = await connect(), await connect()
            await idle.ask("version\n")
            while idle.reader.at_eof() is False:
                await talking.ask("version\n")
                await asyncio.sleep(0.05)
            told = await statistics(talking)
            assert (told["curr_connections"], told["idle_kicks"]) == ("1", "1")
            assert server.total == 2

    asyncio.run(run())


# --- administration


def test_shutdown_command_stops_the_server_if_it_is_enabled() -> None:
    async def run() -> None:
        async with serving() as (server, connect):
            talk = await connect()
            assert await talk.ask("shutdown\n") == "ERROR: shutdown not enabled\r\n"
            assert not server.stopping.is_set()
        for command in ("shutdown\n", "shutdown graceful\n"):
            async with serving("-A") as (server, connect):
                talk = await connect()
                assert await talk.ask("shutdown now\n") == "CLIENT_ERROR invalid shutdown mode\r\n"
                assert await talk.ask("slabs automove 0\n") == "OK\r\n"
                assert not server.stopping.is_set()
                talk.writer.write(command.replace("\n", "\r\n").encode())
                assert await talk.reader.read() == b""
                assert server.stopping.is_set()

    asyncio.run(run())


def test_statistics_of_settings_are_the_options() -> None:
    async def run() -> None:
        async with serving("-c", "7", "-C", "-F", "-M", "-A", "-R", "5", "-o", "idle_timeout=9") as (_, connect):
            told = await statistics(await connect(), "settings")
            expected = {
                "maxconns": "7",
                "cas_enabled": "no",
                "flush_enabled": "no",
                "evictions": "off",
                "shutdown_command": "yes",
                "reqs_per_event": "5",
                "idle_timeout": "9",
                "maxbytes": "67108864",
                "item_size_max": "1048576",
                "binding_protocol": "auto-negotiate",
                "verbosity": "0",
                "ssl_enabled": "no",
            }
            assert {name: told[name] for name in expected} == expected

    asyncio.run(run())


def test_statistics_of_connections_are_shown_and_counters_reset() -> None:
    async def run() -> None:
        async with serving() as (_, connect):
            talk = await connect()
            told = await statistics(talk, "conns")
            assert told["0:state"] == "conn_listening"
            assert told["1:addr"].startswith("tcp:127.0.0.1:")
            assert told["1:state"] == "conn_parse_cmd"
            assert told["1:listen_addr"] == told["0:addr"]
            await talk.ask("get k\n")
            before = await statistics(talk)
            assert before["get_misses"] == "1"
            assert "idle_kicks" not in before
            assert await talk.ask("stats reset\n") == "RESET\r\n"
            after = await statistics(talk)
            assert (after["get_misses"], after["total_connections"], after["curr_connections"]) == ("0", "0", "1")

    asyncio.run(run())


def test_the_options_reach_the_cache() -> None:
    async def run() -> None:
        async with serving("-C", "-F", "-M", "-m", "8", "-I", "4m") as (server, connect):
            talk = await connect()
            assert await talk.ask("flush_all\n") == "CLIENT_ERROR flush_all not allowed\r\n"
            assert await talk.ask("set k 0 0 1\n1\n") == "STORED\r\n"
            assert await talk.ask("gets k\n", "END\r\n") == "VALUE k 0 1 0\r\n1\r\nEND\r\n"
            value = "x" * 3_000_000
            assert [await talk.ask(f"set k{number} 0 0 3000000\n{value}\n") for number in range(3)] == [
                "STORED\r\n",
                "STORED\r\n",
                "SERVER_ERROR out of memory storing object\r\n",
            ]
            assert await talk.ask("verbosity 1\n") == "OK\r\n"
            assert server.verbose == 1
            assert server.engine.execute(Set(b"k", b""), 0.0) is not None

    asyncio.run(run())
