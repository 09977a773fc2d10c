"""The gateway: each dialect in front of each dialect, requests that cannot be translated, and servers that are lost."""

from __future__ import annotations

import importlib
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import pytest

from examples.tiny_client import TinyClient
from memproto import (
    BinaryEnvelope,
    Delete,
    Deleted,
    Get,
    Increment,
    Item,
    Noop,
    Opcode,
    Quit,
    Set,
    Stored,
    Touch,
    Touched,
    Values,
    Version,
    VersionReply,
)
from memproto.binary import encode_request
from tests.peers.test_memccapable import check
from tests.support.example_programs import connect, example, read_to_end, talk
from tests.support.peers import DEADLINE, require

DIALECTS = ["binary", "classic", "meta"]
LARGE = bytes(1_000_000)


@contextmanager
def gateway(server_port: int, dialect: str) -> Iterator[int]:
    arguments = ("--server-port", str(server_port), "--dialect", dialect)
    with example("gateway", *arguments, end=signal.SIGINT) as port:
        yield port


@pytest.fixture(scope="module")
def server_port() -> Iterator[int]:
    with example("asyncio_server") as port:
        yield port


@pytest.fixture(scope="module", params=DIALECTS)
def port(server_port: int, request: pytest.FixtureRequest) -> Iterator[int]:
    with gateway(server_port, request.param) as port:
        yield port


@pytest.fixture(scope="module")
def binary_port(server_port: int) -> Iterator[int]:
    with gateway(server_port, "binary") as port:
        yield port


# --- any front, any server


def test_text_client_is_served(port: int) -> None:
    assert talk(
        port,
        b"set a 1 0 5\r\nvalue\r\nadd a 0 0 1\r\nx\r\nget a absent a\r\nset n 0 0 1\r\n5\r\nincr n 2\r\n"
        b"touch a 100\r\ntouch absent 1\r\ngat 100 a\r\ndelete a\r\ndelete a\r\nget a\r\nmg n v\r\nmn\r\n"
        b"version\r\nverbosity 1\r\nquit\r\nget n\r\n",
    ) == (
        b"STORED\r\nNOT_STORED\r\nVALUE a 1 5\r\nvalue\r\nVALUE a 1 5\r\nvalue\r\nEND\r\nSTORED\r\n7\r\n"
        b"TOUCHED\r\nNOT_FOUND\r\nVALUE a 1 5\r\nvalue\r\nEND\r\nDELETED\r\nNOT_FOUND\r\nEND\r\nVA 1\r\n7\r\nMN\r\n"
        b"VERSION 1.6.18\r\nOK\r\n"
    )


def test_binary_client_is_served(port: int) -> None:
    with closing(TinyClient(port)) as client:
        assert isinstance(client.ask(Set(b"key", b"value", 7)), Stored)
        reply = client.ask(Get((b"key", b"absent")))
        assert isinstance(reply, Values)
        assert [(item.key, item.value, item.flags) for item in reply.items] == [(b"key", b"value", 7)]
        assert isinstance(client.ask(Touch(b"key", 100)), Touched)
        assert client.ask(Delete(b"key")) == Deleted()
        assert client.ask(Get((b"key",))) == Values()
        assert client.ask(Version()) == VersionReply(b"1.6.18")
        client.ask(Quit())


def test_quiet_requests_are_answered_as_the_client_expects(port: int) -> None:
    requests = [
        BinaryEnvelope(Set(b"quiet", b"value"), Opcode.SETQ, opaque=1),
        BinaryEnvelope(Get((b"absent",)), Opcode.GETQ, opaque=2),
        BinaryEnvelope(Get((b"quiet",)), Opcode.GETKQ, opaque=3),
        BinaryEnvelope(Delete(b"absent"), Opcode.DELETEQ, opaque=4),
        BinaryEnvelope(Noop(), Opcode.NOOP, opaque=5),
        BinaryEnvelope(Quit(), Opcode.QUITQ, opaque=6),
    ]
    said = talk(port, b"".join(map(encode_request, requests)))
    opaques = []
    while said:
        opaques.append(int.from_bytes(said[12:16], "big"))
        said = said[24 + int.from_bytes(said[8:12], "big") :]
    assert opaques == [3, 4, 5]
    assert talk(port, b"set quiet 0 0 1 noreply\r\nx\r\nmg absent v q\r\nmg quiet v q\r\nmd quiet q\r\nmn\r\n") == (
        b"VA 1\r\nx\r\nMN\r\n"
    )


def test_requests_that_arrive_byte_by_byte_are_answered_in_order(port: int) -> None:
    with connect(port) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"set k 5 0 5\r\nvalue\r\nget k absent\r\nbogus\r\nget k\r\n":
            link.sendall(bytes([byte]))
        link.shutdown(socket.SHUT_WR)
        answer = b"VALUE k 5 5\r\nvalue\r\nEND\r\n"
        assert read_to_end(link) == b"STORED\r\n" + answer + b"ERROR\r\n" + answer


def test_pipeline_longer_than_the_limit_of_outstanding_requests_is_answered_in_order(port: int) -> None:
    pipeline = b"".join(b"set k%d 0 0 1\r\n%d\r\nget k%d\r\n" % (n, n % 10, n) for n in range(3000))
    answers = b"".join(b"STORED\r\nVALUE k%d 0 1\r\n%d\r\nEND\r\n" % (n, n % 10) for n in range(3000))
    assert talk(port, pipeline) == answers


def test_lost_framing_is_answered_with_the_hint_behind_the_replies(port: int) -> None:
    said = talk(port, encode_request(BinaryEnvelope(Noop(), Opcode.NOOP)) + b"\x80\x00" + bytes(22))
    assert said.startswith(b"\x81\x0a" + bytes(22))
    assert said.endswith(b"Invalid arguments")


@pytest.mark.once
@pytest.mark.peer("memccapable")
@pytest.mark.parametrize(
    ("dialect", "protocol"), [("binary", "-a"), ("binary", "-b"), ("meta", "-a"), ("meta", "-b"), ("classic", "-a")]
)
def test_gateway_passes_memccapable(server_port: int, dialect: str, protocol: str) -> None:
    # Not binary in front of classic text, whose replies to a store have no CAS.
    require("memccapable")
    with gateway(server_port, dialect) as port:
        check(port, protocol)


@pytest.mark.peer("pymemcache")
@pytest.mark.peer("bmemcached")
def test_real_clients_of_both_protocols_share_items(port: int) -> None:
    require("pymemcache")
    require("bmemcached")
    text: Any = importlib.import_module("pymemcache").Client(("127.0.0.1", port), default_noreply=False)
    binary: Any = importlib.import_module("bmemcached").Client((f"127.0.0.1:{port}",))
    assert text.set("text", b"1")
    assert binary.get("text") == "1"
    assert binary.set("binary", "2")
    assert text.get_many(["text", "binary", "absent"]) == {"text": b"1", "binary": b"2"}
    assert text.incr("text", 4) == 5
    assert binary.delete("text")
    assert text.get("text") is None
    text.close()
    binary.disconnect_all()


# --- what cannot be translated


def test_request_that_cannot_be_translated_is_refused_in_its_place(binary_port: int) -> None:
    data = b"set k 0 0 1\r\nv\r\nget k\r\nme k\r\nget k\r\nmg k v N30\r\nget k\r\nlru tune 1\r\nget k\r\n"
    hit = b"VALUE k 0 1\r\nv\r\nEND\r\n"
    stored, *parts = talk(binary_port, data).split(hit)
    assert stored == b"STORED\r\n"
    assert [part.partition(b" ")[0] for part in parts] == [b"CLIENT_ERROR"] * 3 + [b""]
    assert b"Debug" in parts[0] or b"debug" in parts[0]


def test_unknown_command_is_refused_and_not_sent_on(port: int) -> None:
    unknown = b"\x80\xe0" + bytes(22)
    said = talk(port, unknown + encode_request(BinaryEnvelope(Noop(), Opcode.NOOP)))
    assert said[:8] == b"\x81\xe0\0\0\0\0\0\x81"
    assert said.endswith(b"\x81\x0a" + bytes(22))
    assert talk(port, b"shut the door\r\nversion\r\n") == b"ERROR\r\nVERSION 1.6.18\r\n"


def test_counter_that_classic_text_cannot_create_is_refused(server_port: int) -> None:
    with gateway(server_port, "classic") as port, closing(TinyClient(port)) as client:
        reply = client.ask(Increment(b"absent", 1, initial=1, exptime=0))
        assert "create" in str(reply)
        assert client.ask(Get((b"absent",))) == Values()


# --- what bounds it, and what ends it


def test_client_that_does_not_read_holds_up_only_itself(binary_port: int) -> None:
    with closing(TinyClient(binary_port)) as other, connect(binary_port) as link:
        other.ask(Set(b"large", LARGE))
        link.setblocking(False)
        with suppress(BlockingIOError):
            for _ in range(100):
                link.send(b"get large\r\n" * 5000)
            pytest.fail("the gateway reads without end")
        reply = other.ask(Get((b"large",)))
        assert isinstance(reply, Values)
        assert reply.items[0].value == LARGE


def test_reply_over_the_limit_fails_alone(binary_port: int) -> None:
    with closing(TinyClient(binary_port)) as other:
        other.ask(Set(b"large", LARGE))
    said = talk(binary_port, b"get" + b" large" * 20 + b"\r\nversion\r\n")
    assert said.startswith(b"SERVER_ERROR")
    assert said.endswith(b"\r\nVERSION 1.6.18\r\n")
    assert len(said) < 200


@pytest.mark.parametrize("said", [None, b"", b"\x81\x00 and nonsense" * 3, b"\x81\x0a" + bytes(21)])
def test_client_is_disconnected_when_the_server_is_lost_or_breaks_the_protocol(said: bytes | None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE)

        def answer_once() -> None:
            link, _ = listener.accept()
            with link:
                link.recv(24, socket.MSG_WAITALL)
                link.sendall(said or b"")

        server_port = listener.getsockname()[1]
        server = threading.Thread(target=answer_once)
        if said is None:
            listener.close()
        else:
            server.start()
        with gateway(server_port, "binary") as port, connect(port) as link, suppress(ConnectionError):
            link.sendall(encode_request(BinaryEnvelope(Noop(), Opcode.NOOP)))
            assert link.recv(100) == b""
        if said is not None:
            server.join(DEADLINE)


def test_items_are_those_of_the_server(server_port: int, port: int) -> None:
    with closing(TinyClient(server_port)) as server, closing(TinyClient(port)) as client:
        stored = server.ask(Set(b"direct", b"value", 3))
        assert isinstance(stored, Stored)
        assert client.ask(Get((b"direct",))) == Values((Item(b"direct", b"value", 3, stored.cas),))
