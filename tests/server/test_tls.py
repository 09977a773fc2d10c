"""The reference server with TLS: what it starts with, and what clients can do to it."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import ssl
import struct
import time
import warnings
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from memproto.server import tls_protocol
from memproto.server.command_line import parse_arguments
from memproto.server.errors import TlsError
from memproto.server.options import TlsOptions
from memproto.server.server import Server
from memproto.server.tls import refresh, server_context
from tests.server.test_process import run_server
from tests.support.peers import DEADLINE, Running, require, running_example

DATA = Path(__file__).parent.parent / "data" / "tls"
CERTIFICATE, KEY, OTHER_KEY = (str(DATA / name) for name in ("cert.pem", "key.pem", "other-key.pem"))
TLS = ("-Z", "-o", f"ssl_chain_cert={CERTIFICATE},ssl_key={KEY}")
LOOPS = ["asyncio", pytest.param("uvloop", marks=pytest.mark.peer("uvloop"))]


def client_context(trusted: str | None = CERTIFICATE) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=trusted)


def connected(port: int) -> socket.socket:
    link = socket.create_connection(("127.0.0.1", port), DEADLINE)
    link.settimeout(DEADLINE)
    return link


def encrypted(port: int, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
    link = connected(port)
    try:
        return (context or client_context()).wrap_socket(link, server_hostname="localhost")
    except BaseException:
        link.close()
        raise


def read_to_the_end(link: socket.socket) -> bytes:
    """Also if the end is a reset, which it is when something is left unread at the other side, or an alert."""
    received = b""
    try:
        while piece := link.recv(1 << 16):
            received += piece
    except (ConnectionError, ssl.SSLError):
        pass
    return received


def assert_alive(port: int) -> None:
    with encrypted(port) as link:
        link.sendall(b"mn\r\n")
        assert link.recv(100) == b"MN\r\n"


def on(loop: str) -> tuple[str, str]:
    if loop == "uvloop":
        require("uvloop")
    return "--loop", loop


# --- what it starts with


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (TlsOptions("/none.pem"), "/none.pem: No such file or directory"),
        (TlsOptions(CERTIFICATE, "/none.pem"), f"{CERTIFICATE}, /none.pem: No such file or directory"),
        (TlsOptions(CERTIFICATE, OTHER_KEY), f"{CERTIFICATE}, {OTHER_KEY}: key values mismatch"),
        (TlsOptions(CERTIFICATE), f"{CERTIFICATE}: not PEM, or not what it should be"),
        (TlsOptions(KEY), f"{KEY}: not PEM, or not what it should be"),
        (TlsOptions(CERTIFICATE, KEY, ca="/none.pem"), "/none.pem: No such file or directory"),
        (TlsOptions(CERTIFICATE, KEY, ca=KEY), f"{KEY}: no certificate or crl found"),
        (TlsOptions(CERTIFICATE, KEY, ciphers="nonsense"), "Error setting the provided cipher(s): nonsense"),
        (TlsOptions(CERTIFICATE, KEY, verify=2), "ssl_verify_mode is on, but there is no ssl_ca_cert"),
    ],
)
def test_wrong_settings_are_refused_with_the_reason(options: TlsOptions, rule: str) -> None:
    with pytest.raises(TlsError) as caught:
        server_context(options)
    assert rule in str(caught.value)
    assert caught.value.code == 64


def test_settings_are_those_of_the_context() -> None:
    context = server_context(TlsOptions(CERTIFICATE, KEY))
    assert context.verify_mode is ssl.CERT_NONE
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    every = TlsOptions(CERTIFICATE, KEY, CERTIFICATE, "ECDHE-ECDSA-AES128-GCM-SHA256", 2, 3)
    context = server_context(every)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert "ECDHE-ECDSA-AES128-GCM-SHA256" in {cipher["name"] for cipher in context.get_ciphers()}
    # Two are deprecated, and no warning says so to who asks for them.
    for number in (0, 1):
        assert server_context(TlsOptions(CERTIFICATE, KEY, min_version=number)).minimum_version.name.startswith("TLSv1")
    modes = [server_context(TlsOptions(CERTIFICATE, KEY, CERTIFICATE, verify=mode)).verify_mode for mode in range(4)]
    assert modes == [ssl.CERT_NONE, ssl.CERT_OPTIONAL, ssl.CERT_REQUIRED, ssl.CERT_REQUIRED]
    # Who may come without a certificate may come, whoever is trusted.
    assert server_context(TlsOptions(CERTIFICATE, KEY, verify=1)).verify_mode is ssl.CERT_OPTIONAL


def test_a_bad_certificate_does_not_replace_a_good_one(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    shutil.copy(KEY, key)
    options = TlsOptions(CERTIFICATE, str(key))
    context = server_context(options)
    refresh(context, options)
    shutil.copy(OTHER_KEY, key)
    with pytest.raises(TlsError, match="mismatch"):
        refresh(context, options)
    into, out_of = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(into, out_of, server_side=True)
    client = client_context().wrap_bio(out_of, into, server_hostname="localhost")
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    assert client.version() == "TLSv1.3"


def test_server_without_a_readable_certificate_does_not_start() -> None:
    for words, rule in (
        ("ssl_chain_cert=/none.pem", "/none.pem: No such file or directory"),
        (f"ssl_chain_cert={CERTIFICATE},ssl_key={OTHER_KEY}", "key values mismatch"),
    ):
        told = run_server("-p", "-1", "-Z", "-o", words)
        assert told.returncode == 64
        assert told.stderr.startswith("Error loading the certificate chain or its key: ")
        assert told.stderr.endswith(f"{rule}\n")
        assert told.stderr.count("\n") == 1


# --- what clients do


@pytest.mark.parametrize("loop", LOOPS)
def test_large_values_and_many_replies_arrive_whole_over_tls(loop: str) -> None:
    size = 300_000
    with running_example(*on(loop), *TLS) as server, encrypted(server.port) as link:
        link.sendall(b"set key 0 0 %d\r\n%b\r\n" % (size, bytes(size)))
        assert link.recv(100) == b"STORED\r\n"
        link.sendall(b"get key\r\n" * 20)
        wanted = 20 * (len(b"VALUE key 0 300000\r\n") + size + len(b"\r\nEND\r\n"))
        received = 0
        while received < wanted:
            received += len(link.recv(1 << 16))
        assert received == wanted
        # A goodbye is answered, and no word about it is lost on the terminal.
        link.sendall(b"mn\r\n")
        assert link.recv(100) == b"MN\r\n"
        link.unwrap().close()
    assert server.said == f"listening on 127.0.0.1:{server.port}\n"


@pytest.mark.parametrize("loop", LOOPS)
def test_what_is_not_tls_is_refused_in_silence(loop: str) -> None:
    with running_example(*on(loop), *TLS) as server:
        for plain in (b"version\r\n" * 3, b"\x80\x0a" + bytes(22), b"\r\n", bytes(5), b"\x16\x03\x01\xff\xff" * 9):
            with connected(server.port) as link:
                link.sendall(plain)
                link.shutdown(socket.SHUT_WR)
                assert b"VERSION" not in read_to_the_end(link)
        assert_alive(server.port)
    assert server.said == f"listening on 127.0.0.1:{server.port}\n"


@pytest.mark.parametrize("loop", LOOPS)
def test_clients_that_vanish_disturb_no_other(loop: str) -> None:
    into, out_of = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        client_context().wrap_bio(into, out_of, server_hostname="localhost").do_handshake()
    hello = out_of.read()
    reset = struct.pack("ii", 1, 0)
    with running_example(*on(loop), *TLS) as server:
        # In the handshake: with an end, or with a reset.
        for cut in (0, 1, 5, len(hello) - 1, len(hello)):
            for linger in (None, reset):
                with connected(server.port) as link:
                    link.sendall(hello[:cut])
                    if linger:
                        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        # They trust it not.
        with pytest.raises(ssl.SSLCertVerificationError):
            encrypted(server.port, client_context(None))
        # In a request.
        for linger in (None, reset):
            with encrypted(server.port) as link:
                link.sendall(b"set key 0 0 1000\r\nhalf")
                if linger:
                    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        # With plain text in the middle of the encrypted.
        with encrypted(server.port) as link:
            link.sendall(b"mn\r\n")
            assert link.recv(100) == b"MN\r\n"
            with socket.socket(fileno=link.detach()) as plain:
                plain.settimeout(DEADLINE)
                plain.sendall(b"version\r\n" * 9)
                assert b"VERSION" not in read_to_the_end(plain)
        assert_alive(server.port)
    assert server.said == f"listening on 127.0.0.1:{server.port}\n"


def test_a_handshake_under_way_does_not_hold_it_up() -> None:
    with (
        running_example("--loop", "asyncio", *TLS) as server,
        connected(server.port) as silent,
        connected(server.port) as slow,
    ):
        slow.sendall(b"\x16\x03")
        assert_alive(server.port)
        assert server.stop() == 0
        assert read_to_the_end(silent) == read_to_the_end(slow) == b""


@pytest.mark.parametrize("loop", LOOPS)
def test_it_stops_with_clients_that_say_no_goodbye(loop: str) -> None:
    with running_example(*on(loop), *TLS) as server, encrypted(server.port) as link:
        link.sendall(b"mn\r\n")
        assert link.recv(100) == b"MN\r\n"
        assert server.stop() == 0
        assert link.recv(100) == b""


# --- the handshake


def wait_until_closed(link: socket.socket) -> bytes:
    link.settimeout(DEADLINE)
    return read_to_the_end(link)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_failed_handshake_is_told_to_the_client_and_logged(loop: str) -> None:
    with running_example(*on(loop), *TLS, "-v") as server:
        old = client_context()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            old.minimum_version = ssl.TLSVersion.TLSv1
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):
            encrypted(server.port, old)
        with connected(server.port) as link:
            link.sendall(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00")
            # A fatal alert, in the record that TLS has for it.
            assert wait_until_closed(link)[:1] == b"\x15"
        with pytest.raises(ssl.SSLCertVerificationError):
            encrypted(server.port, client_context(None))
        with connected(server.port) as link:
            link.sendall(b"get k\r\n")
            wait_until_closed(link)
        assert_alive(server.port)
        wait_for_line(server, "TLS handshake: wrong version number")
    told = [line.split(": TLS handshake: ")[1] for line in server.lines if ": TLS handshake: " in line]
    assert told[0] == "unsupported protocol\n"
    # Those of the client, which knows before or after the server has finished.
    assert "unknown ca" in server.said
    assert told[-1] == "wrong version number\n"
    assert len(server.lines) == 5


@pytest.mark.parametrize("loop", LOOPS)
def test_connections_count_before_their_handshake(loop: str) -> None:
    with running_example(*on(loop), *TLS, "-c", "5") as server:
        with ExitStack() as stack:
            stalled = [stack.enter_context(connected(server.port)) for _ in range(5)]
            for link in stalled[:2]:
                link.sendall(b"\x16\x03")
            for _ in range(20):
                with connected(server.port) as link:
                    # As memcached does, without TLS, which would take it longer.
                    assert wait_until_closed(link) == b"ERROR Too many open connections\r\n"
        deadline = time.monotonic() + DEADLINE
        while True:
            try:
                assert_alive(server.port)
                break
            except (ssl.SSLError, ConnectionError):
                assert time.monotonic() < deadline
        with encrypted(server.port) as link:
            link.sendall(b"stats\r\nquit\r\n")
            assert b"STAT rejected_connections 2" in read_to_the_end(link)


def test_handshake_that_is_not_finished_in_time_closes_its_connection_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_protocol, "HANDSHAKE_TIMEOUT", 0.05)

    async def run() -> None:
        server = Server(parse_arguments(["-p", "-1", *TLS]))
        await server.start()
        address = server.address
        reader, writer = await asyncio.open_connection(*address)
        other, other_writer = await asyncio.open_connection(*address, ssl=client_context(), server_hostname="localhost")
        async with asyncio.timeout(DEADLINE):
            with suppress(ConnectionError):
                assert await reader.read() == b""
        await asyncio.sleep(0.1)
        other_writer.write(b"mn\r\n")
        assert await other.readline() == b"MN\r\n"
        writer.close()
        other_writer.close()
        await server.stop()

    asyncio.run(run())


@pytest.mark.parametrize("loop", LOOPS)
def test_a_client_that_has_said_goodbye_still_gets_its_answers(loop: str) -> None:
    """TLS 1.3 closes each direction by itself, as TCP does."""
    with running_example(*on(loop), *TLS, "-R", "1") as server, connected(server.port) as link:
        into, out_of = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client_context().wrap_bio(into, out_of, server_hostname="localhost")
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                link.sendall(out_of.read())
                into.write(link.recv(65536))
        client.write(b"mn\r\n" * 50)
        with suppress(ssl.SSLError):
            client.unwrap()
        link.sendall(out_of.read())
        into.write(wait_until_closed(link))
        received = b""
        with suppress(ssl.SSLError):
            while piece := client.read(65536):
                received += piece
        assert received == b"MN\r\n" * 50


# --- where


def test_listener_without_tls_serves_in_the_clear_beside_one_with_tls(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    where = "127.0.0.1,notls:127.0.0.1:-1"
    with running_example("-p", "-1", *TLS, "-l", where, "-s", str(path)) as server:
        unix, first, second = server.said.removeprefix("listening on ").strip().split(", ")
        assert unix == f"unix:{path}"
        assert_alive(int(first.rpartition(":")[2]))
        with connected(int(second.rpartition(":")[2])) as link, socket.socket(socket.AF_UNIX) as local:
            local.settimeout(DEADLINE)
            local.connect(str(path))
            for plain in (link, local):
                plain.sendall(b"mn\r\n")
                assert plain.recv(100) == b"MN\r\n"


def test_clients_must_show_a_certificate_if_it_is_asked_for() -> None:
    words = f"{TLS[2]},ssl_ca_cert={CERTIFICATE},ssl_verify_mode=2,ssl_min_version=3"
    with running_example("-Z", "-o", words) as server:
        known = client_context()
        known.load_cert_chain(CERTIFICATE, KEY)
        with encrypted(server.port, known) as link:
            link.sendall(b"stats settings\r\nquit\r\n")
            told = read_to_the_end(link)
        assert (
            f"STAT ssl_enabled yes\r\nSTAT ssl_chain_cert {CERTIFICATE}\r\nSTAT ssl_key {KEY}\r\n"
            f"STAT ssl_verify_mode 2\r\nSTAT ssl_ciphers NULL\r\nSTAT ssl_ca_cert {CERTIFICATE}\r\n"
            "STAT ssl_min_version tlsv1.3\r\n"
        ).encode() in told
        with encrypted(server.port) as link:
            with suppress(OSError):
                link.sendall(b"mn\r\n")
            # In TLS 1.3 the client has finished before the server misses the certificate.
            with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
                link.recv(100)
        old = client_context()
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(ssl.SSLError):
            encrypted(server.port, old)


def test_certificates_are_read_again_after_sighup(tmp_path: Path) -> None:
    chain = tmp_path / "both.pem"
    chain.write_text(Path(CERTIFICATE).read_text() + Path(KEY).read_text())
    with running_example("-Z", "-o", f"ssl_chain_cert={chain}") as server:
        assert_alive(server.port)
        chain.write_text("nonsense")
        server.process.send_signal(signal.SIGHUP)
        wait_for_line(server, f" not read again: Error loading the certificate chain or its key: {chain}: ")
        assert_alive(server.port)


def wait_for_line(server: Running, words: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while words not in server.said:
        assert time.monotonic() < deadline, server.said
        time.sleep(0.01)
