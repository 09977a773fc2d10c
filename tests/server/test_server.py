"""The reference server on real sockets, on both event loops; each server must end without having shown a traceback."""

from __future__ import annotations

import importlib
import select
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from memproto import RemoteProtocolError
from memproto.clients.client import Client
from tests.support.peers import DEADLINE, Running, require, running_example

NOOP = b"\x80\x0a" + bytes(22)
NOOP_REPLY = b"\x81\x0a" + bytes(22)
QUIT = b"\x80\x07" + bytes(22)
QUIT_REPLY = b"\x81\x07" + bytes(22)
SET = b"\x80\x01\0\x03\x08\0\0\0\0\0\0\x10" + bytes(12) + bytes(8) + b"key" + b"value"
GET = b"\x80\x00\0\x03\0\0\0\0\0\0\0\x03" + bytes(12) + b"key"


@pytest.fixture(scope="module", params=["asyncio", pytest.param("uvloop", marks=pytest.mark.peer("uvloop"))])
def loop(request: pytest.FixtureRequest) -> str:
    if request.param == "uvloop":
        require("uvloop")
    return str(request.param)


@pytest.fixture(scope="module")
def server(loop: str) -> Iterator[Running]:
    with running_example("--loop", loop) as server:
        yield server


@contextmanager
def connected(server: Running) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), DEADLINE) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield link


def read(link: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = link.recv(size - len(data))
        assert piece, f"the server closed after {len(data)} of {size} bytes: {bytes(data[-100:])!r}"
        data += piece
    return bytes(data)


def read_to_the_end(link: socket.socket) -> bytes:
    data = b""
    while piece := link.recv(65536):
        data += piece
    return data


def without_cas(packet: bytes) -> bytes:
    return packet[:16] + packet[24:]


STORED = b"\x81\x01" + bytes(14)
FOUND = b"\x81\0\0\0\x04\0\0\0\0\0\0\x09" + bytes(4) + bytes(4) + b"value"


def check_conversation(link: socket.socket) -> None:
    assert read(link, 24) == NOOP_REPLY
    assert without_cas(read(link, 24)) == STORED
    assert without_cas(read(link, 33)) == FOUND
    assert read(link, 24) == QUIT_REPLY
    assert link.recv(1) == b""


def test_pipeline_in_one_piece_is_answered_in_order(server: Running) -> None:
    with connected(server) as link:
        link.sendall(NOOP + SET + GET + QUIT)
        check_conversation(link)


def test_pipeline_byte_by_byte_is_answered_in_order(server: Running) -> None:
    with connected(server) as link:
        for byte in NOOP + SET + GET + QUIT:
            link.sendall(bytes([byte]))
        check_conversation(link)


def test_a_client_that_has_said_all_still_gets_its_answers(server: Running) -> None:
    with connected(server) as link:
        link.sendall(NOOP * 1000)
        link.shutdown(socket.SHUT_WR)
        assert read_to_the_end(link) == NOOP_REPLY * 1000


def test_half_a_request_at_the_end_has_no_answer(server: Running) -> None:
    with connected(server) as link:
        link.sendall(NOOP + NOOP[:23])
        link.shutdown(socket.SHUT_WR)
        assert read_to_the_end(link) == NOOP_REPLY


def test_connection_that_says_nothing_is_closed_at_its_end(server: Running) -> None:
    with connected(server) as link:
        link.shutdown(socket.SHUT_WR)
        assert read_to_the_end(link) == b""


def test_quiet_quit_closes_without_a_reply(server: Running) -> None:
    with connected(server) as link:
        link.sendall(NOOP + b"\x80\x17" + bytes(22))
        assert read_to_the_end(link) == NOOP_REPLY


def refusal(opcode: int, status: int, text: bytes) -> bytes:
    return struct.pack(">BBHBBHLLQ", 0x81, opcode, 0, 0, 0, status, len(text), 0, 0) + text


def request(opcode: int, key: int = 0, extras: int = 0, value: int = 0, body: int | None = None) -> bytes:
    size = key + extras + value if body is None else body
    return struct.pack(">BBHBBHLLQ", 0x80, opcode, key, extras, 0, 0, size, 0, 0) + b"x" * (key + extras + value)


INVALID = b"Invalid arguments"
LOST = {
    "text": (b"version\r\n", b""),
    "response": (NOOP_REPLY, b""),
    "get without key": (request(0x00), refusal(0x00, 4, INVALID)),
    "get with value": (request(0x00, key=1, value=1), refusal(0x00, 4, INVALID)),
    "set without extras": (request(0x01, key=1), refusal(0x01, 4, INVALID)),
    "noop with key": (request(0x0A, key=1), refusal(0x0A, 4, INVALID)),
    "long key": (request(0x00, key=251), refusal(0x00, 4, INVALID)),
    "long key, unknown": (request(0xFE, key=251), refusal(0xFE, 4, INVALID)),
    "flush with 3 bytes": (request(0x08, extras=3), refusal(0x08, 4, INVALID)),
    "key over body": (request(0x00, key=5, body=3), refusal(0x00, 0x81, b"Unknown command")),
    "head over the buffer": (request(0x00, key=16384)[:24], b""),
}


@pytest.mark.parametrize("case", LOST)
def test_lost_framing_ends_this_connection_only(server: Running, case: str) -> None:
    wrong, words = LOST[case]
    with connected(server) as other, connected(server) as link:
        link.sendall(NOOP + wrong)
        assert read_to_the_end(link) == NOOP_REPLY + words
        other.sendall(NOOP)
        assert read(other, 24) == NOOP_REPLY


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (request(0xFE), refusal(0xFE, 0x81, b"Unknown command")),
        (request(0xFE, key=3, extras=5, value=7), refusal(0xFE, 0x81, b"Unknown command")),
        (request(0x1B, extras=4), refusal(0x1B, 0x81, b"Unknown command")),
        (request(0x21, key=5, value=4), refusal(0x21, 0x81, b"Unknown command")),
        (request(0x01, key=3, extras=8, value=2**20 + 1), refusal(0x01, 3, b"Too large.")),
    ],
    ids=["unknown", "unknown with a body", "verbosity", "sasl", "too large"],
)
def test_a_refusal_on_an_intact_stream_ends_nothing(server: Running, wrong: bytes, words: bytes) -> None:
    with connected(server) as link:
        link.sendall(wrong + NOOP)
        assert read(link, len(words) + 24) == words + NOOP_REPLY


def test_clients_that_vanish_disturb_no_other(server: Running) -> None:
    for sent in (b"", NOOP[:5], GET * 1000, SET[:-1]):
        with connected(server) as link:
            # A close without lingering is a reset.
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            link.sendall(sent)
    with connected(server) as link:
        link.sendall(NOOP)
        assert read(link, 24) == NOOP_REPLY


def test_statistics_tell_of_the_process_and_its_connections(server: Running) -> None:
    with Client(port=server.port, timeout=DEADLINE) as client, Client(port=server.port, timeout=DEADLINE) as other:
        other.noop()
        stats = client.stats()
        assert int(stats[b"pid"]) == server.process.pid
        assert stats[b"version"] == client.version()
        assert int(stats[b"curr_connections"]) >= 2
        assert int(stats[b"total_connections"]) >= 2
        assert (stats[b"rejected_connections"], stats[b"max_connections"]) == (b"0", b"1024")
        read_before = int(stats[b"bytes_read"])
        assert int(client.stats()[b"bytes_read"]) > read_before > 0
        settings = client.stats(b"settings")
        assert (settings[b"inter"], settings[b"maxconns"]) == (b"127.0.0.1", b"1024")
        assert client.stats(b"items") == {} or b"items:1:number" in client.stats(b"items")


@pytest.mark.peer("psutil")
def test_a_client_that_does_not_read_costs_little_and_stops_nobody(server: Running) -> None:
    require("psutil")
    psutil = importlib.import_module("psutil")
    count, size = 100, 900_000
    process = psutil.Process(server.process.pid)
    with Client(port=server.port, timeout=DEADLINE) as client, connected(server) as slow:
        client.set(b"large", bytes(size))
        assert client.get(b"large") == bytes(size)
        before = process.memory_info().rss
        # 90 MB of answers, and nobody reads them.
        slow.sendall(request_of(b"large") * count)
        most = 0
        for number in range(200):
            client.set(b"key", b"%d" % number)
            assert client.get(b"key") == b"%d" % number
            most = max(most, process.memory_info().rss)
        assert most - before < 8 * 2**20
        length = 24 + 4 + size
        for _ in range(count):
            answer = read(slow, length)
            assert answer[:2] == b"\x81\x00"
            assert answer[28:] == bytes(size)
        slow.sendall(NOOP)
        assert read(slow, 24) == NOOP_REPLY
        assert process.memory_info().rss - before < 8 * 2**20


def request_of(key: bytes) -> bytes:
    return b"\x80\x00" + struct.pack(">HBBHLLQ", len(key), 0, 0, 0, len(key), 0, 0) + key


def test_a_long_pipeline_does_not_keep_others_waiting(loop: str) -> None:
    pipeline = request_of(b"absent").replace(b"\x80\x00", b"\x80\x09", 1) * 20_000 + NOOP
    with running_example("--loop", loop, "-R", "1") as server:
        # The pipeline takes long, but this process may be kept from looking for longer; so it has some tries.
        for _ in range(10):
            with connected(server) as busy, connected(server) as link:
                busy.sendall(pipeline)
                link.sendall(NOOP)
                assert read(link, 24) == NOOP_REPLY
                waiting = not select.select([busy], [], [], 0)[0]
                assert read(busy, 24) == NOOP_REPLY
            if waiting:
                return
    pytest.fail("the answer never came before the end of the other's pipeline")


def test_connection_beyond_the_limit_is_refused_until_another_ends(loop: str) -> None:
    with running_example("--loop", loop, "-c", "2") as server, connected(server) as one, connected(server) as two:
        for link in (one, two):
            link.sendall(NOOP)
            assert read(link, 24) == NOOP_REPLY
        with connected(server) as refused:
            assert read_to_the_end(refused) == b"ERROR Too many open connections\r\n"
        one.sendall(NOOP)
        assert read(one, 24) == NOOP_REPLY
        two.sendall(QUIT)
        assert read_to_the_end(two) == QUIT_REPLY
        with accepted(server) as three:
            three.sendall(NOOP)
            assert read(three, 24) == NOOP_REPLY
            one.sendall(NOOP)
            assert read(one, 24) == NOOP_REPLY
        with accepted(server) as four, Client(port=server.port) as none:
            with pytest.raises((RemoteProtocolError, ConnectionError)):
                none.stats()
            four.sendall(NOOP)
            assert read(four, 24) == NOOP_REPLY


@contextmanager
def accepted(server: Running) -> Iterator[socket.socket]:
    """A connection, as soon as there is room: a server learns of a close a little later than the client."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        with connected(server) as link:
            if not select.select([link], [], [], 0.05)[0]:
                yield link
                return
    pytest.fail("there is never room")
