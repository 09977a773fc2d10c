"""Authentication and TLS of a fake, and a missing extra."""

from __future__ import annotations

import socket
import ssl
import sys
from pathlib import Path

import pytest

from memproto import Dialect, Failure, Get, LocalProtocolError, Quit, SaslAuth, Status, Version
from memproto.clients import AuthenticationError, Client, ServerError
from memproto.testing import Cut, Delay, FakeMemcached, Reply
from memproto.testing.fake.tls import Tls
from tests.support.certificates import TLS, client_context, server_context
from tests.support.peers import DEADLINE, require


@pytest.mark.parametrize("dialect", Dialect)
def test_users_authenticate_in_each_dialect(dialect: Dialect) -> None:
    with FakeMemcached(users={"anna": "secret", "bob": "other"}) as fake:
        with Client(*fake.address, dialect=dialect, username="anna", password="secret") as client:
            assert client.set(b"k", b"v")
        wrong = Client(*fake.address, dialect=dialect, username="bob", password="secret")
        with wrong as client, pytest.raises(AuthenticationError):
            client.get(b"k")
        with Client(*fake.address, dialect=dialect) as client, pytest.raises((ServerError, ConnectionError)):
            client.get(b"k")


def test_authentication_can_be_made_to_fail() -> None:
    with FakeMemcached(users={"anna": "secret"}) as fake:
        fake.fail(SaslAuth, times=1, how=Reply(Failure(Status.AUTH_ERROR)))
        with Client(*fake.address, username="anna", password="secret") as client, pytest.raises(AuthenticationError):
            client.get(b"k")
        with Client(*fake.address, username="anna", password="secret") as client:
            assert client.get(b"k") is None


@pytest.fixture
def secured() -> FakeMemcached:
    require("trustme")
    return FakeMemcached(tls=True)


def test_a_client_that_trusts_the_certificate_is_served(secured: FakeMemcached, tmp_path: Path) -> None:
    with secured as fake:
        with Client(*fake.address, tls=fake.client_context) as client:
            client.set(b"k", bytes(500_000))
            assert client.get(b"k") == bytes(500_000)
            with fake.fail(Version, how=Delay(0.01)):
                assert client.version() == b"1.6.18"
        (tmp_path / "ca.pem").write_bytes(fake.ca_pem)
        context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
        with (
            socket.create_connection(("localhost", fake.port), DEADLINE) as link,
            context.wrap_socket(link, server_hostname="localhost") as secure,
        ):
            secure.sendall(b"mn\r\n")
            assert secure.recv(10) == b"MN\r\n"


def test_a_fault_closes_a_tls_connection_in_good_order(secured: FakeMemcached) -> None:
    with secured as fake, socket.create_connection(fake.address, DEADLINE) as link:
        fake.fail(Get, how=Cut(3))
        with fake.client_context.wrap_socket(link, server_hostname="127.0.0.1") as secure:
            secure.sendall(b"get k\r\n")
            assert secure.recv(10) == b"END"
            assert secure.recv(10) == b""


def test_a_client_that_does_not_trust_or_speaks_no_tls_is_refused_and_the_fake_goes_on(secured: FakeMemcached) -> None:
    with secured as fake:
        with socket.create_connection(fake.address, DEADLINE) as link:
            link.sendall(b"get k\r\nget k\r\n")
            while link.recv(100):
                pass
        stranger = ssl.create_default_context()
        with socket.create_connection(fake.address, DEADLINE) as link, pytest.raises(ssl.SSLError):
            stranger.wrap_socket(link, server_hostname="127.0.0.1")
        with socket.create_connection(fake.address, DEADLINE) as link:
            fake.client_context.wrap_socket(link, server_hostname="127.0.0.1").close()
        with Client(*fake.address, tls=fake.client_context) as client:
            assert client.version() == b"1.6.18"
        assert [each.request for each in fake.requests] == [Version(), Quit()]


def test_a_client_that_closes_tls_in_good_order_is_answered_and_hears_the_same(secured: FakeMemcached) -> None:
    with secured as fake, socket.create_connection(fake.address, DEADLINE) as link:
        with fake.client_context.wrap_socket(link, server_hostname="127.0.0.1") as secure:
            secure.sendall(b"mn\r\n")
            assert secure.recv(10) == b"MN\r\n"
            secure.unwrap().close()
        with Client(*fake.address, tls=fake.client_context) as client:
            assert client.version() == b"1.6.18"


@pytest.mark.parametrize(
    "tls", [(TLS / "cert.pem", str(TLS / "key.pem")), server_context()], ids=["paths", "SSLContext"]
)
def test_a_certificate_of_the_tests_own_is_shown(tls: Tls) -> None:
    with FakeMemcached(host="localhost", tls=tls) as fake, Client(*fake.address, tls=client_context()) as client:
        assert client.version() == b"1.6.18"
        with pytest.raises(RuntimeError, match="made without tls=True"):
            _ = fake.client_context


def test_a_client_without_the_certificate_that_is_asked_for_is_refused_and_one_with_it_is_served() -> None:
    context = server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(TLS / "cert.pem")
    known = client_context()
    known.load_cert_chain(TLS / "cert.pem", TLS / "key.pem")
    with FakeMemcached(host="localhost", tls=context) as fake:
        with (
            Client(*fake.address, tls=client_context()) as client,
            pytest.raises(ssl.SSLError, match=r"(?i)certificate.required"),
        ):
            client.version()
        with Client(*fake.address, tls=known) as client:
            assert client.version() == b"1.6.18"


@pytest.mark.parametrize(
    ("tls", "words"),
    [
        (1, "tls is 1, must be True, False, the paths of certificate and key"),
        ("cert.pem", "tls is 'cert.pem', must be True, False, the paths"),
        ((TLS / "cert.pem",), "tls is tuple, must be True, False, the paths"),
        (["cert.pem", "key.pem"], "tls is list, must be True, False, the paths"),
        (("no.pem", "no.key"), "tls is ('no.pem', 'no.key'), which cannot be loaded: No such file or directory"),
        ((__file__, __file__), f"tls is ({__file__!r}, {__file__!r}), which cannot be loaded: "),
        (client_context(), "tls is an SSLContext of a client, must be one of a server"),
    ],
    ids=["int", "str", "one path", "list", "missing", "not PEM", "client's"],
)
def test_a_tls_argument_that_cannot_be_used_is_refused_in_one_line(tls: Tls, words: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        FakeMemcached(tls=tls)
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


def test_a_fake_without_tls_has_no_certificate() -> None:
    with pytest.raises(RuntimeError, match="made without tls=True"):
        _ = FakeMemcached().ca_pem


def test_without_trustme_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(ImportError, match=r"^tls=True needs trustme: pip install 'memproto\[testing\]'$"):
        FakeMemcached(tls=True)
