"""UDP with real memcached and with the reference server: the same datagrams."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from memproto import AnyRequest, BinaryEnvelope, Get, Increment, Noop, Quit, Set
from memproto.binary import encode_request, opcode_for
from memproto.udp import Datagram, Reassembler, decode_datagram, encode_datagram
from tests.support.peers import DEADLINE, memcached_with_udp, require, running_example

VECTORS = json.loads((Path(__file__).parent.parent / "data" / "udp_vectors.json").read_text(encoding="utf-8"))
#: A request that is always answered, by one datagram: what comes before its answer answers what was sent before it.
FENCE = 0xFE0C
END = Datagram(FENCE, payload=b"MN\r\n")


def packet(request: AnyRequest, quiet: bool = False) -> bytes:
    return encode_request(BinaryEnvelope(request, opcode_for(request, quiet)))


class Link:
    """A socket to one server."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self._socket.settimeout(DEADLINE)
        self._socket.connect(("127.0.0.1", port))

    def close(self) -> None:
        self._socket.close()

    def send(self, datagram: bytes) -> None:
        self._socket.send(datagram)

    def read(self) -> bytes:
        return self._socket.recv(65536)

    def answers(self, *datagrams: bytes) -> list[Datagram]:
        """What answers these."""
        for datagram in datagrams:
            self.send(datagram)
        self.send(encode_datagram(Datagram(FENCE, payload=b"mn\r\n")))
        found = []
        while (answer := decode_datagram(self.read())) != END:
            found.append(answer)
        return found

    def ask(self, payload: bytes, request_id: int = 7) -> list[tuple[int, int, bytes]]:
        """Sequence, total and payload of what answers this one."""
        found = self.answers(encode_datagram(Datagram(request_id, payload=payload)))
        assert {(each.request_id, each.reserved) for each in found} <= {(request_id, 0)}
        return [(each.sequence, each.total, each.payload) for each in found]


@pytest.fixture(scope="module", params=["memcached", "memproto", "memproto on uvloop"])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    if request.param == "memcached":
        with memcached_with_udp() as (_, port):
            yield port
    else:
        loop = "uvloop" if request.param.endswith("uvloop") else "asyncio"
        if loop == "uvloop":
            require("uvloop")
        with running_example("-U", "-1", "--loop", loop) as server:
            yield server.udp


@pytest.fixture
def link(port: int) -> Iterator[Link]:
    link = Link(port)
    link.ask(b"flush_all\r\n")
    yield link
    link.close()


def recorded(name: str) -> list[bytes]:
    return [bytes.fromhex(each["hex"]) for each in VECTORS if each["name"].startswith(f"udp.{name}.") and each["hex"]]


@pytest.mark.parametrize("name", sorted({each["name"].split(".")[1] for each in VECTORS}))
def test_what_was_recorded(link: Link, name: str) -> None:
    # What was there then; the item of the binary get had another CAS.
    link.ask(b"set k 0 0 5\r\nhello\r\nset big 0 0 3000\r\n" + b"0123456789" * 300 + b"\r\n")
    if name == "get_two":
        link.ask(b"set u 0 0 1\r\nx\r\n")
    request, *replies = recorded(name)
    found = [encode_datagram(each) for each in link.answers(request)]
    if name == "binary_get":
        found = [each[:24] + bytes(8) + each[32:] for each in found]
        replies = [each[:24] + bytes(8) + each[32:] for each in replies]
    assert found == replies


def test_each_command_is_a_message(link: Link) -> None:
    assert link.ask(b"set k 0 0 1\r\nx\r\nget k\r\nmg k v\r\nnonsense\r\n\r\nversion\r\n") == [
        (0, 1, b"STORED\r\n"),
        (0, 1, b"VALUE k 0 1\r\nx\r\nEND\r\n"),
        (0, 1, b"VA 1\r\nx\r\n"),
        (0, 1, b"ERROR\r\n"),
        (0, 1, b"ERROR\r\n"),
        (0, 1, b"VERSION 1.6.18\r\n"),
    ]
    assert link.ask(b"get k k\r\n") == [
        (0, 1, b"VALUE k 0 1\r\nx\r\n"),
        (0, 1, b"VALUE k 0 1\r\nx\r\nEND\r\n"),
    ]
    assert link.ask(b"get absent\r\n") == [(0, 1, b"END\r\n")]


def test_what_is_suppressed_in_text_is_no_datagram(link: Link) -> None:
    assert link.ask(b"set k 0 0 1 noreply\r\nx\r\nmg absent v q\r\nms k 1 q\r\ny\r\ndelete nothing noreply\r\n") == []
    assert link.ask(b"mg k v q\r\n") == [(0, 1, b"VA 1\r\ny\r\n")]


def test_what_is_suppressed_in_binary_is_a_header(link: Link) -> None:
    silent = [
        packet(Set(b"k", b"x"), quiet=True),
        packet(Get((b"absent",)), quiet=True),
        packet(Increment(b"n", 1, 5, 0), quiet=True),
    ]
    noop = packet(Noop())
    reply = b"\x81" + noop[1:]
    for request in silent:
        assert link.ask(request) == [(0, 0, b"")]
    # Several in a row are told once.
    assert link.ask(b"".join(silent)) == [(0, 0, b"")]
    assert link.ask(noop + b"".join(silent) + noop + silent[0]) == [(0, 1, reply), (0, 0, b"")] * 2
    assert link.ask(packet(Quit())) == [(0, 1, b"\x81\x07" + bytes(22))]


def test_what_is_dropped(link: Link) -> None:
    for request in (b"", b"\0" * 7, b"\0\7\0\0\0\1\0\0", b"\0\7\0\0\0\2\0\0mn\r\n", b"\0\7\0\0\0\0\0\0mn\r\n"):
        assert link.answers(request) == []
    # Nothing is carried over from one to the next.
    for request in (b"get k", b"\x80", packet(Noop())[:23]):
        assert link.ask(request) == []
    # There is nothing to close, but the rest is not looked at.
    assert link.ask(b"quit\r\nversion\r\n") == [(0, 0, b"")]
    assert link.ask(b"ue\r\n") == [(0, 1, b"ERROR\r\n")]
    assert link.ask(b"get k\r\n") == [(0, 1, b"END\r\n")]


@pytest.mark.parametrize("size", [1371, 1372, 1373, 3000, 50_000])
def test_a_large_reply_is_cut_the_same_way(link: Link, size: int) -> None:
    # More than one datagram carries cannot be stored over UDP, but appended to.
    link.ask(b"set k 0 0 0\r\n\r\n")
    value = bytes(65 + number % 26 for number in range(size))
    for at in range(0, size, 30_000):
        part = value[at : at + 30_000]
        link.ask(b"append k 0 0 %d noreply\r\n%b\r\n" % (len(part), part))
    found = link.ask(b"get k\r\n")
    whole = b"VALUE k 0 %d\r\n%b\r\nEND\r\n" % (size, value)
    total = -(-len(whole) // 1392)
    assert [each[:2] for each in found] == [(number, total) for number in range(total)]
    assert {len(each[2]) for each in found[:-1]} <= {1392}
    reassembler = Reassembler()
    messages = [
        reassembler.feed(encode_datagram(Datagram(7, sequence, total, 0, payload)), 0.0)
        for sequence, total, payload in reversed(found)
    ]
    assert [message.payload for message in messages if message is not None] == [whole]


def test_half_a_store_is_dropped() -> None:
    # memcached takes the next datagram, of whomever, for the rest of it.
    with running_example("-U", "-1") as server:
        link = Link(server.udp)
        for request in (b"set k 0 0 5\r\n", b"set k 0 0 5\r\nval"):
            assert link.ask(request) == []
        assert link.ask(b"ue\r\n") == [(0, 1, b"ERROR\r\n")]
        assert link.ask(b"get k\r\n") == [(0, 1, b"END\r\n")]
        link.close()


def test_a_reply_of_too_many_datagrams_is_not_sent() -> None:
    with running_example("-U", "-1", "--datagrams", "2", "-v") as server:
        link = Link(server.udp)
        link.ask(b"set k 0 0 3000\r\n" + bytes(3000) + b"\r\n")
        assert link.ask(b"version\r\nget k\r\nversion\r\n") == [(0, 1, b"VERSION 1.6.18\r\n")] * 2
        link.close()
    assert server.said.count("replies of more than 2 datagrams are not sent") == 1


def test_only_what_is_spoken() -> None:
    noop = packet(Noop())
    with running_example("-U", "-1", "-B", "ascii") as server:
        link = Link(server.udp)
        # A line of text that ends in the opcode, and another that has no end.
        assert link.ask(noop) == [(0, 1, b"ERROR\r\n")]
        link.close()


def test_one_cache_for_all() -> None:
    with running_example("-U", "-1") as server, socket.create_connection(("127.0.0.1", server.port), DEADLINE) as tcp:
        tcp.sendall(b"set k 0 0 1\r\nx\r\n")
        assert tcp.recv(100) == b"STORED\r\n"
        link = Link(server.udp)
        assert link.ask(b"get k\r\n") == [(0, 1, b"VALUE k 0 1\r\nx\r\nEND\r\n")]
        link.close()
