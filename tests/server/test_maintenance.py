"""What the server does besides answering: memory, idle connections, work in turns. And what only it can answer."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from memproto import Set, Stats, StatsReply
from memproto.server import Options, Server, TlsOptions, maintenance
from memproto.server.process_memory import ProcessMemory
from tests.server.test_server_in_process import Talk, serving, statistics
from tests.server.test_tls import CERTIFICATE, KEY

MEGABYTE = 1 << 20


def excesses(monkeypatch: pytest.MonkeyPatch, *sizes: int) -> None:
    """The process is too large by these sizes, one after the other, and then by nothing."""
    left = list(sizes)
    monkeypatch.setattr(ProcessMemory, "excess", lambda *_: left.pop(0) if left else 0)


def test_connections_that_hold_most_are_closed_when_memory_is_short(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(maintenance, "TICK", 1000.0)
    caplog.set_level("INFO", "memproto.server")

    async def run() -> None:
        async with serving("-m", "2", "-I", "1m") as (server, connect):
            small, large = await connect(), await connect()
            assert await small.ask("version\n") == "VERSION 1.6.18\r\n"
            small.writer.write(b"set k 0 0 1000\r\nhalf")
            large.writer.write(b"set k 0 0 1000000\r\n" + bytes(600_000))
            while server.bytes_read < 600_000:
                await asyncio.sleep(0.01)
            excesses(monkeypatch, 100)
            server.limit_process_memory(ProcessMemory())
            server.execute(Set(b"key", b"value"), server.now())
            assert server.requests_per_turn == 0
            assert await large.reader.read() == b""
            small.writer.write(bytes(996) + b"\r\nversion\r\n")
            assert await small.reader.readuntil(b"18\r\n") == b"STORED\r\nVERSION 1.6.18\r\n"
            assert server.requests_per_turn == 100

    asyncio.run(run())
    assert "100 bytes too many are in use" in caplog.messages
    assert any(message.startswith("memory is short and connections hold 600") for message in caplog.messages)


def test_items_are_evicted_in_turns_when_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "ITEMS_PER_TURN", 2)

    async def run() -> None:
        async with Server(Options(port=-1, memory=8 * MEGABYTE)) as server:
            for number in range(10):
                server.execute(Set(b"k%d" % number, bytes(MEGABYTE // 2)), server.now())
            excesses(monkeypatch, 2 * MEGABYTE)
            server.limit_process_memory(ProcessMemory())
            server.execute(Set(b"small", b""), server.now())
            first = len(server.engine)
            async with asyncio.timeout(10):
                while server.engine.size > 2 * MEGABYTE:
                    await asyncio.sleep(0)
            assert first == 9
            assert len(server.engine) < 5

    asyncio.run(run())


def test_connections_beyond_the_limit_are_refused_and_counted() -> None:
    async def run() -> None:
        async with serving("-c", "1") as (server, connect):
            first = await connect()
            assert await first.ask("version\n") == "VERSION 1.6.18\r\n"
            second = await connect()
            assert await second.reader.read() == b"ERROR Too many open connections\r\n"
            assert (server.rejected, server.connections()) == (1, 1)

    asyncio.run(run())


def test_verbosity_is_set_for_all_clients() -> None:
    async def run() -> None:
        async with serving() as (_, connect):
            talk = await connect()
            assert await talk.ask("verbosity 1\n") == "OK\r\n"
            assert (await statistics(talk, "settings"))["verbosity"] == "1"
            assert await talk.ask("verbosity 0\n") == "OK\r\n"

    asyncio.run(run())


def test_each_group_of_statistics_is_answered() -> None:
    async def run() -> None:
        async with serving() as (_, connect):
            talk = await connect()
            assert await talk.ask("stats detail on\n") == "OK\r\n"
            assert await talk.ask("set a:1 0 0 1\nx\n") == "STORED\r\n"
            assert await talk.ask("lru_crawler metadump all\n", "END\r\n") != "END\r\n"
            assert await talk.ask("stats detail dump\n", "END\r\n") == "PREFIX a get 0 hit 0 set 1 del 0\r\nEND\r\n"
            connections = await statistics(talk, "conns")
            assert connections["0:state"] == "conn_listening"
            assert connections["1:state"] == "conn_parse_cmd"
            assert (await statistics(talk, "items"))["items:1:number"] == "1"
            assert await talk.ask("stats nonsense\n") != "END\r\n"

    asyncio.run(run())


def binary(opcode: int, key: bytes = b"", value: bytes = b"") -> bytes:
    sizes = len(key).to_bytes(2, "big") + bytes(4) + (len(key) + len(value)).to_bytes(4, "big")
    return bytes([0x80, opcode]) + sizes + bytes(12) + key + value


async def status(talk: Talk, request: bytes) -> int:
    talk.writer.write(request)
    header = await talk.reader.readexactly(24)
    await talk.reader.readexactly(int.from_bytes(header[8:12], "big"))
    return int.from_bytes(header[6:8], "big")


def test_attempts_to_authenticate_are_counted(tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text("user:password\n")

    async def run() -> None:
        async with serving("-S", "-Y", str(users)) as (server, connect):
            talk = await connect()
            assert await status(talk, binary(0x20)) == 0
            # A step without a challenge, a wrong password, a challenge and its step.
            assert await status(talk, binary(0x22, b"PLAIN", b"\0user\0password")) == 0x20
            assert await status(talk, binary(0x21, b"PLAIN", b"\0user\0wrong")) == 0x20
            assert await status(talk, binary(0x21, b"PLAIN")) == 0x21
            assert await status(talk, binary(0x22, b"PLAIN", b"\0user\0password")) == 0
            assert await status(talk, binary(0x0A)) == 0
            assert (server.auth_commands, server.auth_errors) == (3, 2)

    asyncio.run(run())


def test_request_that_is_refused_is_no_attempt_to_authenticate(tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text("user:password\n")

    async def run() -> None:
        async with serving("-Y", str(users)) as (server, connect):
            talk = await connect()
            assert await talk.ask("set auth 0 0 13\nuser password\n") == "STORED\r\n"
            assert await talk.ask("get\n") == "ERROR\r\n"
            assert (server.auth_commands, server.auth_errors) == (1, 0)

    asyncio.run(run())


def test_requests_for_the_process_are_executed_again_when_nothing_can_be_committed(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving("--persist", str(tmp_path / "items")) as (server, connect):
            talk = await connect()
            assert await talk.ask("version\n") == "VERSION 1.6.18\r\n"
            assert server.store.journal is not None
            connection = server.store.journal._connection
            connection.execute("PRAGMA query_only = ON").fetchall()
            refused = "SERVER_ERROR the journal cannot be written\r\n"
            asked = "set k 0 0 1\nx\nverbosity 0\nget k\nnonsense\n"
            assert await talk.ask(asked, "\r\nERROR\r\n") == f"{refused}OK\r\nEND\r\nERROR\r\n"
            connection.execute("PRAGMA query_only = OFF").fetchall()

    asyncio.run(run())


def test_flushed_items_are_deleted_from_the_file_once_a_commit_is_possible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "TICK", 0.001)
    swept: list[int] = []

    async def run() -> None:
        async with Server(Options(port=-1, persist=str(tmp_path / "items"))) as server:
            journal = server.store.journal
            assert journal is not None
            monkeypatch.setattr(server.store, "sweep", swept.append)
            connection = journal._connection
            connection.execute("PRAGMA query_only = ON").fetchall()
            async with asyncio.timeout(10):
                while not server.store._failing:
                    server.execute(Set(b"key", b""), server.now())
                    await asyncio.sleep(0.001)
                swept.clear()
                for _ in range(3):
                    server.execute(Set(b"key", b""), server.now())
                    server._maintenance._work()
                assert swept == []
                connection.execute("PRAGMA query_only = OFF").fetchall()
                while not swept:
                    await asyncio.sleep(0.001)

    asyncio.run(run())


def test_settings_of_tls_are_among_the_statistics() -> None:
    server = Server(Options(port=-1, tls=TlsOptions(CERTIFICATE, KEY, verify=1)))
    reply = server.execute(Stats(b"settings"), server.now())
    assert isinstance(reply, StatsReply)
    told = dict(reply.stats)
    assert told[b"ssl_enabled"] == b"yes"
    assert (told[b"ssl_chain_cert"], told[b"ssl_verify_mode"], told[b"ssl_ciphers"]) == (
        CERTIFICATE.encode(),
        b"1",
        b"NULL",
    )
    server.store.close()
