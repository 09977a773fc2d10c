"""The two tiny embeddings, with each other and as programs."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from examples.tiny_client import TinyClient
from examples.tiny_server import TinyServer
from memproto import (
    Counter,
    Decrement,
    Delete,
    Deleted,
    Failure,
    Get,
    Increment,
    Item,
    Ok,
    Quit,
    RemoteProtocolError,
    Set,
    Stats,
    StatsReply,
    Status,
    Stored,
    Values,
    Version,
    VersionReply,
)
from tests.support.peers import DEADLINE, ROOT, tiny_server

NOOP = b"\x80\x0a" + bytes(22)


@pytest.fixture
def port() -> Iterator[int]:
    with TinyServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join(DEADLINE)


@pytest.mark.parametrize("name", ["tiny_server", "tiny_client"])
def test_tiny_server_and_client_have_less_than_60_lines(name: str) -> None:
    assert len((ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8").splitlines()) < 60


def test_tiny_client_gets_the_replies_of_the_tiny_server(port: int) -> None:
    client = TinyClient(port)
    assert client.ask(Version()) == VersionReply(b"1.6.18")
    assert client.ask(Set(b"key", b"value", flags=7)) == Stored(1)
    assert client.ask(Get((b"key", b"absent"))) == Values((Item(b"key", b"value", 7, 1),))
    assert client.ask(Get((b"absent",))) == Values()
    assert client.ask(Increment(b"count", 1, initial=5, exptime=0)) == Counter(5, 2)
    assert client.ask(Decrement(b"absent")) == Failure(Status.KEY_NOT_FOUND)
    assert client.ask(Delete(b"key")) == Deleted()
    assert client.ask(Set(b"big", bytes(2**20))) == Failure(Status.VALUE_TOO_LARGE)
    assert isinstance(client.ask(Stats()), StatsReply)
    assert client.ask(Quit()) == Ok()
    client.close()


def test_clients_share_one_cache(port: int) -> None:
    one, other = TinyClient(port), TinyClient(port)
    one.ask(Set(b"key", b"value"))
    assert other.ask(Get((b"key",))) == Values((Item(b"key", b"value", 0, 1),))
    one.close()
    other.close()


def test_a_server_that_goes_away(port: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = TinyClient(listener.getsockname()[1])
        listener.accept()[0].close()
        with pytest.raises((RemoteProtocolError, ConnectionError)):
            client.ask(Version())
        client.close()


def test_malformed_input_ends_one_connection_only(port: int) -> None:
    other = TinyClient(port)
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as link:
        link.sendall(NOOP + b"rubbish")
        assert link.recv(1000) == b"\x81" + NOOP[1:]
        assert link.recv(1000) == b""
    assert other.ask(Version()) == VersionReply(b"1.6.18")
    other.close()


def test_clients_that_vanish_are_no_error() -> None:
    with tiny_server() as port:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", port), DEADLINE) as link:
                # A close that throws unread answers away reaches the server as a reset.
                link.sendall(NOOP * 1000)
                link.recv(1)
        client = TinyClient(port)
        assert client.ask(Version()) == VersionReply(b"1.6.18")
        client.close()


def test_the_client_as_a_program(port: int) -> None:
    command = [sys.executable, "-m", "examples.tiny_client", str(port)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=True, cwd=ROOT)
    assert told.stderr == ""
    assert told.stdout.splitlines() == [
        "VersionReply(version=b'1.6.18')",
        "Stored(cas=1)",
        "Values(items=(Item(key=b'greeting', value=b'hello', flags=7, cas=1, base64=False, meta=None),))",
        "Counter(value=1, cas=2, meta=None)",
    ]
