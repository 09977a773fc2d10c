"""The public names of ``memproto.server``, as a program uses them that runs a server in its own event loop."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import memproto.server
from examples.lite import LiteDialect
from memproto import Dialect, Set
from memproto.clients.async_client import AsyncClient
from memproto.server import Options, Server, StartError
from tests.server.test_tls import CERTIFICATE, KEY


def test_every_public_name_is_there() -> None:
    assert memproto.server.__all__ == sorted(memproto.server.__all__)
    assert all(hasattr(memproto.server, name) for name in memproto.server.__all__)


def test_server_in_a_program_keeps_its_items_in_the_journal(tmp_path: Path) -> None:
    options = Options(port=-1, persist=str(tmp_path / "items"))

    async def run() -> None:
        async with Server(options) as server:
            host, port = server.address
            assert server.addresses == (f"{host}:{port}",)
            server.engine.execute(Set(b"own", b"of the program"), server.now())
            async with AsyncClient(host, port) as client:
                await client.set(b"greeting", b"hello")
                assert await client.get(b"own") == b"of the program"
        async with Server(options) as server, AsyncClient(*server.address) as client:
            assert await client.get_multi([b"greeting", b"own"]) == {b"greeting": b"hello", b"own": b"of the program"}

    asyncio.run(run())


def test_server_without_tcp_has_no_address(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")

    async def run() -> None:
        server = Server(Options(port=0, path=path))
        with pytest.raises(RuntimeError, match="does not listen on TCP"):
            _ = server.address
        async with server:
            assert server.addresses == (f"unix:{path}",)
            with pytest.raises(RuntimeError, match="does not listen on TCP"):
                _ = server.address
        assert not Path(path).exists()

    asyncio.run(run())


def test_server_whose_port_is_taken_leaves_the_journal_to_others(tmp_path: Path) -> None:
    items = str(tmp_path / "items")

    async def run() -> None:
        async with Server(Options(port=-1)) as other:
            server = Server(Options(port=other.address[1], persist=items))
            with pytest.raises(StartError, match=r"cannot listen on 127\.0\.0\.1"):
                await server.start()
            async with Server(Options(port=-1, persist=items)):
                pass

    asyncio.run(run())


def test_shutdown_command_sets_stopping() -> None:
    async def run() -> None:
        async with Server(Options(port=-1, shutdown=True)) as server:
            reader, writer = await asyncio.open_connection(*server.address)
            writer.write(b"shutdown\r\n")
            await asyncio.wait_for(server.stopping.wait(), 10)
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

    asyncio.run(run())


def test_dialect_of_ones_own_is_made_for_each_connection() -> None:
    async def run() -> None:
        async with Server(Options(port=-1, dialect=LiteDialect)) as server:
            for expected in (b"NOT FOUND\r\n", b"VALUE key value\r\nEND\r\n"):
                reader, writer = await asyncio.open_connection(*server.address)
                writer.write(b"get key\nset key 5\nvalue\nexit\n")
                assert await reader.read() == expected + b"STORED\r\n"
                writer.close()
                await writer.wait_closed()

    asyncio.run(run())


def test_reload_reads_users_and_certificates_again(tmp_path: Path) -> None:
    users, chain, key = tmp_path / "users", tmp_path / "chain", tmp_path / "key"
    users.write_text("user:old\n")
    chain.write_bytes(Path(CERTIFICATE).read_bytes())
    key.write_bytes(Path(KEY).read_bytes())
    tls = memproto.server.TlsOptions(str(chain), str(key))

    async def run() -> None:
        async with Server(Options(port=-1, auth_file=str(users), tls=tls)) as server:
            assert server.users is not None
            users.write_text("user:new\n")
            server.reload()
            assert server.users.knows(b"user", b"new")
            key.write_text("no key")
            with pytest.raises(StartError, match="Error loading the certificate chain"):
                server.reload()
        async with Server(Options(port=-1)) as plain:
            plain.reload()

    asyncio.run(run())


def test_options_choose_the_dialects() -> None:
    async def run() -> None:
        async with (
            Server(Options(port=-1, protocol="binary")) as server,
            AsyncClient(*server.address, dialect=Dialect.BINARY) as client,
        ):
            assert await client.version() == b"1.6.18"
            reader, writer = await asyncio.open_connection(*server.address)
            writer.write(b"version\r\n")
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

    asyncio.run(run())
