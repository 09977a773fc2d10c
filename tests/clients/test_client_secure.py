"""The clients with credentials and over TLS, with servers that are wrong in one thing or another."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress

import pytest

from memproto import Dialect, Limits, RemoteProtocolError
from memproto.clients.async_client import AsyncClient, AuthenticationError
from memproto.clients.client import Client
from tests.support.certificates import client_context, server_context
from tests.support.event_loops import Loop, each_loop, run
from tests.support.opaques import opaques_begin_at_0, opaques_of_tasks_begin_at_0
from tests.support.peers import DEADLINE
from tests.support.scripted_servers import NOOP_REPLY, Handler, numbered, over_tls, read, server, until_closed

__all__ = ["opaques_begin_at_0", "opaques_of_tasks_begin_at_0"]


def test_blocking_client_sends_credentials_first_on_every_connection() -> None:
    auth = b"\x80\x21\0\x05" + bytes(7) + b"\x11" + bytes(12) + b"PLAIN\0user\0secret"

    def accept(link: socket.socket) -> None:
        assert read(link, 41) == auth
        link.sendall(b"\x81\x21" + bytes(9) + b"\x0d" + bytes(12) + b"Authenticated")
        read(link, 24)
        link.sendall(numbered(NOOP_REPLY, 1))

    def refuse(link: socket.socket) -> None:
        assert read(link, 41) == auth
        link.sendall(b"\x81\x21" + bytes(5) + b"\x20\0\0\0\x0d" + bytes(12) + b"Auth failure.")
        assert link.recv(1) == b""

    with (
        server(accept, refuse, accept) as port,
        Client(port=port, timeout=DEADLINE, username="user", password="secret") as client,
    ):
        assert client.noop()
        client.close()
        with pytest.raises(AuthenticationError, match=r"^Auth failure. \(status 0x0020\)$"):
            client.noop()
        assert client.noop()


def test_timeout_of_call_includes_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    def accept(link: socket.socket) -> None:
        read(link, 41)
        link.sendall(b"\x81\x21" + bytes(9) + b"\x0d" + bytes(12) + b"Authenticated")
        with suppress(OSError):
            if link.recv(24):
                link.sendall(numbered(NOOP_REPLY, 1))

    clock = [0.0]

    def trace(direction: str, data: bytes) -> None:
        clock[0] += DEADLINE * (direction == "<")

    monkeypatch.setattr("memproto.clients.stream.time.monotonic", lambda: clock[0])
    with (
        server(accept) as port,
        Client(port=port, timeout=DEADLINE, username="user", password="secret", trace=trace) as client,
        pytest.raises(TimeoutError),
    ):
        client.noop()


def test_second_reply_to_login_raises_remote_protocol_error() -> None:
    def twice(link: socket.socket) -> None:
        read(link, 41)
        link.sendall(2 * (b"\x81\x21" + bytes(9) + b"\x0d" + bytes(12) + b"Authenticated"))
        assert link.recv(1) == b""

    with (
        server(twice) as port,
        Client(port=port, timeout=DEADLINE, username="user", password="secret") as client,
        pytest.raises(RemoteProtocolError),
    ):
        client.noop()


def test_refused_certificate_sends_alert_to_server() -> None:
    def handler(link: socket.socket) -> None:
        with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
            over_tls(until_closed)(link)

    with (
        server(handler) as port,
        Client("127.0.0.1", port, timeout=DEADLINE, tls=ssl.create_default_context()) as client,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        client.noop()


def test_asyncio_client_sends_credentials_first() -> None:
    def judge(answer: bytes) -> Handler:
        def handler(link: socket.socket) -> None:
            assert read(link, 20) == b"set auth 0 0 11\r\nuser"[:20]
            assert read(link, 10) == b"r secret\r\n"
            link.sendall(answer)
            while asked := link.recv(100):
                if asked == b"version\r\n":
                    link.sendall(b"VERSION 1.2.3\r\n")

        return handler

    async def main(port: int) -> None:
        client = AsyncClient(port=port, timeout=DEADLINE, dialect=Dialect.CLASSIC, username="user", password="secret")
        async with client:
            with pytest.raises(AuthenticationError, match="Auth failure"):
                await client.version()
            assert await client.version() == b"1.2.3"

    with server(judge(b"CLIENT_ERROR authentication failure\r\n"), judge(b"STORED\r\n")) as port:
        run(main(port))


def answer_much(link: socket.socket) -> None:
    """A set of 4 MiB in binary, and a get that gives them back."""
    read(link, 32 + 3 + 4 * 2**20)
    link.sendall(b"\x81\x01" + bytes(22))
    read(link, 27)
    size = 4 + 4 * 2**20
    link.sendall(numbered(b"\x81\0\0\0\x04\0\0\0" + size.to_bytes(4, "big") + bytes(12), 1) + bytes(size))
    until_closed(link)


@each_loop
def test_asyncio_client_over_tls_stores_and_gets_4_mib(loop: Loop) -> None:
    async def main(port: int) -> None:
        client = AsyncClient(
            port=port,
            timeout=DEADLINE,
            tls=client_context(),
            limits=Limits(value=4 * 2**20),
            server_hostname="localhost",
        )
        async with client:
            assert await client.set(b"key", bytes(4 * 2**20)) is True
            assert await client.get(b"key") == bytes(4 * 2**20)

    with server(over_tls(answer_much)) as port:
        run(main(port), loop)


@each_loop
def test_server_silent_in_tls_handshake_raises_timeout(loop: Loop) -> None:
    async def main(port: int) -> None:
        async with AsyncClient(port=port, timeout=0.05, tls=client_context(), server_hostname="localhost") as client:
            for _ in range(2):
                with pytest.raises(TimeoutError):
                    await client.version()

    # The second call waits for the connection that the first one has begun to open.
    with server(until_closed, until_closed) as port:
        run(main(port), loop)
        with Client("localhost", port, timeout=0.05, tls=client_context()) as client, pytest.raises(TimeoutError):
            client.version()


def test_certificate_of_another_name_is_refused() -> None:
    async def main(port: int) -> None:
        async with AsyncClient(port=port, tls=client_context(), server_hostname="example.org", patient=True) as client:
            with pytest.raises(ssl.SSLCertVerificationError, match=r"example\.org"):
                await client.version()

    def handler(link: socket.socket) -> None:
        with suppress(ssl.SSLError, ConnectionError):
            over_tls(until_closed)(link)

    with server(handler, handler) as port:
        run(main(port))
        with (
            Client(port=port, tls=client_context(), server_hostname="example.org") as client,
            pytest.raises(ssl.SSLCertVerificationError, match=r"example\.org"),
        ):
            client.version()


def test_blocking_client_over_tls_stores_and_gets_4_mib() -> None:
    with (
        server(over_tls(answer_much)) as port,
        Client("localhost", port, timeout=DEADLINE, tls=client_context(), limits=Limits(value=4 * 2**20)) as client,
    ):
        assert client.set(b"key", bytes(4 * 2**20)) is True
        assert client.get(b"key") == bytes(4 * 2**20)
        assert client.timeout == DEADLINE


def full_with_the_end_of_the_handshake(link: socket.socket) -> None:
    """A server that sends its refusal together with the last bytes of the handshake, as TLS 1.2 lets it."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = server_context().wrap_bio(incoming, outgoing, server_side=True)
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            link.sendall(outgoing.read())
            incoming.write(link.recv(65536))
    tls.write(b"ERROR Too many open connections\r\n")
    link.sendall(outgoing.read())
    link.shutdown(socket.SHUT_WR)
    until_closed(link)


def older_context() -> ssl.SSLContext:
    context = client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def test_refusal_with_end_of_handshake_is_read_by_blocking_client() -> None:
    with (
        server(full_with_the_end_of_the_handshake) as port,
        Client("localhost", port, timeout=DEADLINE, tls=older_context()) as client,
        pytest.raises(ConnectionRefusedError, match="too many open connections"),
    ):
        client.get(b"key")


def test_refusal_with_end_of_handshake_is_read_by_asyncio_client() -> None:
    async def ask(port: int) -> None:
        async with AsyncClient("localhost", port, timeout=DEADLINE, tls=older_context()) as client:
            with pytest.raises(ConnectionError, match="too many open connections"):
                await client.get(b"key")

    with server(full_with_the_end_of_the_handshake) as port:
        run(ask(port))
