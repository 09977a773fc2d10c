"""Real clients that authenticate and that speak TLS, with the reference server and, where it can, with memcached.

memcached itself keeps SASL's passwords in a database of Cyrus's, so that only its text authentication is compared.
"""

from __future__ import annotations

import glob
import importlib
import os
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.support.peers import DEADLINE, ROOT, example_server, memcached, require, running_example

DATA = Path(__file__).parent.parent / "data" / "tls"
CERTIFICATE = str(DATA / "cert.pem")
TLS = ("-Z", "-o", f"ssl_chain_cert={CERTIFICATE},ssl_key={DATA / 'key.pem'}")
SERVERS = [pytest.param("memcached", marks=pytest.mark.peer("memcached")), "memproto"]
LOOPS = ["asyncio", pytest.param("uvloop", marks=pytest.mark.peer("uvloop"))]


def server(name: str, *arguments: str) -> AbstractContextManager[int]:
    start: Callable[..., AbstractContextManager[int]] = memcached if name == "memcached" else example_server
    return start(*arguments)


@pytest.fixture(scope="module")
def users() -> Iterator[str]:
    # Not in pytest's folder, where memcached, which gives up the rights of root before it reads the file, cannot look.
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = Path(folder, "users")
        path.write_text("bob:secret\nann:pass:word\n")
        yield str(path)


# --- SASL


@pytest.fixture(scope="module")
def sasl(users: str) -> Iterator[int]:
    with example_server("-S", "-Y", users) as port:
        yield port


def bmemcached_client(port: int, *credentials: str, **options: object) -> Any:
    require("bmemcached")
    bmemcached: Any = importlib.import_module("bmemcached")
    return bmemcached.Client((f"127.0.0.1:{port}",), *credentials, socket_timeout=DEADLINE, **options)


@pytest.mark.peer("bmemcached")
@pytest.mark.parametrize("credentials", [("bob", "secret"), ("bob@example.org", "secret"), ("ann", "pass:word")])
def test_bmemcached_with_a_password(sasl: int, credentials: tuple[str, str]) -> None:
    client = bmemcached_client(sasl, *credentials)
    assert client.set("key", "value") is True
    assert client.get("key") == "value"
    client.disconnect_all()


@pytest.mark.peer("bmemcached")
@pytest.mark.parametrize("credentials", [("bob", "wrong"), ("nobody", "secret"), ("bob", ""), ()])
def test_bmemcached_without_the_right_one(sasl: int, credentials: tuple[str, ...]) -> None:
    client = bmemcached_client(sasl, *credentials)
    with pytest.raises(Exception, match="Auth failure"):
        client.set("key", "value")
    client.disconnect_all()


#: In a process of its own: libsasl's plug-ins bring the system's libcrypto, which cannot be had beside Python's.
_PYLIBMC = """
import sys, pylibmc
port, *credentials = sys.argv[1:]
names = dict(zip(("username", "password"), credentials))
client = pylibmc.Client([f"127.0.0.1:{port}"], binary=True, **names)
try:
    print(client.set("key", "value"), client.get("key"), client.get_multi(["key", "none"]))
except pylibmc.Error as error:
    print("refused:", error)
"""


def pylibmc_says(port: int, *credentials: str) -> str:
    require("pylibmc")
    folders = [os.environ.get("SASL_PATH", ""), *glob.glob("/usr/lib/*/sasl2"), "/usr/lib64/sasl2", "/usr/lib/sasl2"]
    found = next((name for name in folders if name and glob.glob(f"{name}/libplain.so*")), None)
    if found is None:
        pytest.skip("libsasl2-modules is not installed, without which pylibmc has no SASL PLAIN")
    command = [sys.executable, "-c", _PYLIBMC, str(port), *credentials]
    environment = {**os.environ, "SASL_PATH": found}
    told = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=DEADLINE, cwd=ROOT, check=True
    )
    return told.stdout.strip()


@pytest.mark.once
@pytest.mark.peer("pylibmc")
def test_pylibmc_with_a_password(sasl: int) -> None:
    assert pylibmc_says(sasl, "bob", "secret") == "True value {'key': 'value'}"


@pytest.mark.once
@pytest.mark.peer("pylibmc")
@pytest.mark.parametrize("credentials", [("bob", "wrong"), ("nobody", "secret"), ()])
def test_pylibmc_without_the_right_one(sasl: int, credentials: tuple[str, ...]) -> None:
    assert pylibmc_says(sasl, *credentials).startswith("refused: ")


# --- text authentication


@pytest.fixture(scope="module", params=SERVERS)
def text(request: pytest.FixtureRequest, users: str) -> Iterator[int]:
    with server(request.param, "-Y", users) as port:
        yield port


@pytest.mark.parametrize(
    ("sent", "received"),
    [
        (b"get key\r\n", b"CLIENT_ERROR unauthenticated\r\n"),
        (b"version\r\n", b"CLIENT_ERROR unauthenticated\r\n"),
        (
            b"set x 0 0 10\r\nbob secret\r\nset key 0 0 1\r\nv\r\nget key\r\n",
            b"STORED\r\nSTORED\r\nVALUE key 0 1\r\nv\r\nEND\r\n",
        ),
        (b"set x 0 0 13\r\nann pass:word\r\nmn\r\n", b"STORED\r\nMN\r\n"),
        (b"set x 0 0 10\r\nbob Secret\r\n", b"CLIENT_ERROR authentication failure\r\n"),
        (b"set x 0 0 9\r\nbob secre\r\n", b"CLIENT_ERROR authentication failure\r\n"),
        (b"set x 0 0 12\r\nbob@x secret\r\n", b"CLIENT_ERROR authentication failure\r\n"),
        (b"set x 0 0 13\r\nnobody secret\r\n", b"CLIENT_ERROR authentication failure\r\n"),
        (b"set x 0 0 3\r\nbob\r\n", b"CLIENT_ERROR bad authentication token format\r\n"),
        (b"set x 0 0 10 noreply\r\nbob secret\r\nmn\r\n", b"STORED\r\nMN\r\n"),
    ],
)
def test_text_authentication_as_memcached_has_it(text: int, sent: bytes, received: bytes) -> None:
    with socket.create_connection(("127.0.0.1", text), DEADLINE) as link:
        link.sendall(sent)
        link.shutdown(socket.SHUT_WR)
        told = b""
        while piece := link.recv(1 << 16):
            told += piece
    assert told == received


@pytest.mark.peer("pymemcache")
def test_pymemcache_authenticates_with_its_first_set(text: int) -> None:
    require("pymemcache")
    pymemcache: Any = importlib.import_module("pymemcache")
    exceptions: Any = importlib.import_module("pymemcache.exceptions")
    client = pymemcache.Client(("127.0.0.1", text), timeout=DEADLINE, connect_timeout=DEADLINE, default_noreply=False)
    with pytest.raises(exceptions.MemcacheClientError, match="unauthenticated"):
        client.get("key")
    with pytest.raises(exceptions.MemcacheClientError, match="authentication failure"):
        client.set("any", "bob wrong")
    assert client.set("any", "bob secret") is True
    assert client.set("key", "value") is True
    assert client.get("key") == b"value"
    assert client.get("any") is None
    client.close()


# --- TLS


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=CERTIFICATE)


@pytest.fixture(scope="module", params=["memcached", *LOOPS])
def tls(request: pytest.FixtureRequest) -> Iterator[int]:
    if request.param == "memcached":
        with memcached(*TLS) as port:
            yield port
    else:
        if request.param == "uvloop":
            require("uvloop")
        with running_example(*TLS, "--loop", request.param) as running:
            yield running.port
        assert running.said == f"listening on 127.0.0.1:{running.port}\n"


@pytest.mark.peer("pymemcache")
def test_pymemcache_with_tls(tls: int) -> None:
    require("pymemcache")
    pymemcache: Any = importlib.import_module("pymemcache")
    client = pymemcache.Client(
        ("localhost", tls), timeout=DEADLINE, connect_timeout=DEADLINE, default_noreply=False, tls_context=trusting()
    )
    value = bytes(range(256)) * 2000
    assert client.set("key", value) is True
    assert client.get("key") == value
    assert client.set_many({f"key{number}": b"%d" % number for number in range(200)}) == []
    found = client.get_many([f"key{number}" for number in range(200)])
    assert found == {f"key{number}": b"%d" % number for number in range(200)}
    client.close()


@pytest.mark.peer("bmemcached")
def test_bmemcached_with_tls(tls: int) -> None:
    context = trusting()
    context.check_hostname = False  # it names the server to nobody
    client = bmemcached_client(tls, tls_context=context)
    value = bytes(range(256)) * 2000
    assert client.set("key", value) is True
    assert client.get("key") == value
    client.disconnect_all()


@pytest.mark.peer("bmemcached")
def test_bmemcached_with_tls_and_a_password(users: str) -> None:
    context = trusting()
    context.check_hostname = False
    with example_server(*TLS, "-S", "-Y", users) as port:
        client = bmemcached_client(port, "bob", "secret", tls_context=context)
        assert client.set("key", "value") is True
        client.disconnect_all()


@pytest.mark.peer("pymemcache")
def test_pymemcache_without_tls_is_refused(tls: int) -> None:
    """aiomcache would do as well, but it reads for ever where a stream has ended."""
    require("pymemcache")
    pymemcache: Any = importlib.import_module("pymemcache")
    exceptions: Any = importlib.import_module("pymemcache.exceptions")
    client = pymemcache.Client(("127.0.0.1", tls), timeout=DEADLINE, connect_timeout=DEADLINE, default_noreply=False)
    for _ in range(3):
        with pytest.raises((exceptions.MemcacheError, OSError)):
            client.set("key", "value")
    client.close()


@pytest.mark.peer("bmemcached")
def test_bmemcached_without_tls_is_refused(tls: int) -> None:
    client = bmemcached_client(tls)
    assert not client.set("key", "value")
    client.disconnect_all()
