"""Use an installed memproto as its users do: ``use_wheel.py CERTIFICATE KEY``, in an empty folder.

The command ``memproto`` serves with a journal, TLS and authentication; clients of both kinds talk to it, before and
after a restart. The Python that runs it has no extras of memproto, but it has pytest, which finds the plugin. The
certificate is one for localhost that its own key has signed.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

import memproto
from memproto import Dialect
from memproto.clients import AsyncClient, AuthenticationError, Client

DEADLINE = 30.0
#: The exit code of ``memproto decode`` without a package that it needs, EX_UNAVAILABLE of sysexits.h.
MISSING_EXTRA = 69
#: A capture file without packets.
CAPTURE = bytes.fromhex("d4c3b2a1 0200 0400 00000000 00000000 00000400 01000000")
#: The console script beside this Python; without one, the module.
COMMAND = (
    [script]
    if (script := shutil.which("memproto", path=Path(sys.executable).parent))
    else [sys.executable, "-m", "memproto"]
)


class Access(TypedDict):
    """How clients connect."""

    timeout: float
    tls: ssl.SSLContext
    server_hostname: str
    username: str
    password: str


@contextmanager
def serving(*options: str) -> Iterator[int]:
    """``memproto serve`` on a free port, that port; it has to end well."""
    command = [*COMMAND, "serve", "-p", "-1", *options]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        line = server.stderr.readline().strip()
        assert line.startswith("listening on 127.0.0.1:"), line
        yield int(line.rpartition(":")[2])
    finally:
        server.send_signal(signal.SIGTERM)
        _, said = server.communicate(timeout=DEADLINE)
    assert (server.returncode, said) == (0, "")


async def get(port: int, key: bytes, access: Access, dialect: Dialect) -> bytes | None:
    """The value of a key, by the client for asyncio."""
    async with AsyncClient("127.0.0.1", port, dialect=dialect, **access) as client:
        return await client.get(key)


_TESTS = """
import socket

def test_the_fixture(memcached):
    with socket.create_connection(memcached.address) as client:
        client.sendall(b"get key\\r\\n")
        assert client.recv(100) == b"END\\r\\n"
    assert memcached.requests[0].request.keys == (b"key",)
"""


def check_decode() -> None:
    """Hex dumps need no extra. A capture file needs one; where it is missing, the message names it in one line."""
    decoded = subprocess.run([*COMMAND, "decode"], input=b"6765 7420 6b0d 0a", stdout=subprocess.PIPE, check=True)
    assert b"classic get        k " in decoded.stdout, decoded.stdout
    if importlib.util.find_spec("dpkt"):
        return
    refused = subprocess.run([*COMMAND, "decode"], input=CAPTURE, capture_output=True)
    said = b"memproto decode: pcap and pcapng files need dpkt: pip install 'memproto[pcap]'\n"
    assert (refused.returncode, refused.stdout, refused.stderr) == (MISSING_EXTRA, b"", said), refused


def check_plugin() -> None:
    """pytest finds the plugin, and its fixture works."""
    Path("test_plugin.py").write_text(_TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "--strict-markers", "-p", "no:cacheprovider", "test_plugin.py"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stdout


def main(certificate: str, key: str) -> None:
    """Run the check; an AssertionError says what is wrong."""
    version = subprocess.run([*COMMAND, "--version"], stdout=subprocess.PIPE, text=True, check=True)
    assert version.stdout == f"memproto {memproto.__version__}\n", version.stdout
    Path("users").write_text("user:password\n")
    options = ["--persist", "items", "-Y", "users", "-Z", "-o", f"ssl_chain_cert={certificate},ssl_key={key}"]
    trusted = ssl.create_default_context(cafile=certificate)
    access = Access(timeout=DEADLINE, tls=trusted, server_hostname="localhost", username="user", password="password")
    with serving(*options) as port, Client("127.0.0.1", port, dialect=Dialect.META, **access) as client:
        assert client.set(b"greeting", b"hello", flags=7)
        assert asyncio.run(get(port, b"greeting", access, Dialect.CLASSIC)) == b"hello"
        access["password"] = "wrong"
        try:
            asyncio.run(get(port, b"greeting", access, Dialect.CLASSIC))
        except AuthenticationError:
            access["password"] = "password"
        else:
            raise AssertionError("a wrong password was accepted")
        environment = {**os.environ, "MEMPROTO_PASSWORD": "password"}
        access_options = ["--server", f"127.0.0.1:{port}", "--username", "user", "--cafile", certificate]
        call = [*COMMAND, "get", "greeting", *access_options, "--server-hostname", "localhost"]
        assert subprocess.run(call, stdout=subprocess.PIPE, check=True, env=environment).stdout == b"hello"
    check_decode()
    # The same items in binary, with SASL.
    with serving(*options, "-S") as port, Client("127.0.0.1", port, dialect=Dialect.BINARY, **access) as client:
        item = client.gets(b"greeting")
        assert item is not None
        assert (item.value, item.flags) == (b"hello", 7)
        assert asyncio.run(get(port, b"greeting", access, Dialect.BINARY)) == b"hello"
    check_plugin()
    print(
        f"{' '.join(COMMAND)}, {os.path.dirname(memproto.__file__)}: journal, TLS, authentication, both clients, pytest"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
