"""The reference server's datagrams on a transport in memory: how many are sent, when, and what is held meanwhile."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memproto import AnyReply, AnyRequest, ServerConnection, Set, Verbosity
from memproto.engine import Engine
from memproto.server.session import Hangup
from memproto.server.udp import MAX_WAITING, Datagrams
from memproto.udp import PAYLOAD_SIZE, Datagram, decode_datagram, encode_datagram

ADDRESS = ("192.0.2.1", 4242)
VERSION = b"VERSION 1.6.18\r\n"
LARGE = 1_000_000


@dataclass
class Host:
    """What a server is to its datagrams; ``writable`` is whether its disk takes anything."""

    requests_per_turn: int = 100
    datagrams_per_reply: int = 1024
    bytes_read: int = 0
    bytes_written: int = 0
    writable: bool = True
    executed: int = 0
    engine: Engine = field(default_factory=Engine)

    def connection(self) -> ServerConnection:
        return ServerConnection()

    def commit(self) -> bool:
        return self.writable

    def now(self) -> float:
        return time.time()

    def execute(self, request: AnyRequest, now: float) -> AnyReply:
        self.executed += 1
        if isinstance(request, Verbosity):
            raise Hangup
        return self.engine.execute(request, now)

    def store(self, key: bytes, size: int) -> None:
        self.engine.execute(Set(key, bytes(size)), 1.0)


class Transport(asyncio.DatagramTransport):
    """Keeps what is sent; with ``room`` datagrams sent it asks for a pause, as a full socket does."""

    def __init__(self, protocol: Datagrams, room: int | None = None) -> None:
        super().__init__()
        self.sent: list[Datagram] = []
        self.room = room
        self.protocol = protocol
        protocol.connection_made(self)

    def sendto(self, data: bytes | bytearray | memoryview, addr: object = None) -> None:
        assert addr == ADDRESS
        assert self.room != 0, "sent although the network takes no more"
        self.sent.append(decode_datagram(bytes(data)))
        if self.room is not None:
            self.room -= 1
            if self.room == 0:
                self.protocol.pause_writing()

    def ask(self, payload: bytes, request_id: int = 1) -> None:
        self.protocol.datagram_received(encode_datagram(Datagram(request_id, payload=payload)), ADDRESS)

    def make_room(self, room: int | None) -> None:
        self.room = room
        self.protocol.resume_writing()


async def answers(host: Host, payload: bytes) -> list[Datagram]:
    """All that is sent in reply to one datagram."""
    transport = Transport(Datagrams(host))
    transport.ask(payload)
    await until_quiet(host, transport)
    return transport.sent


async def until_quiet(host: Host, transport: Transport) -> None:
    seen = None
    while seen != (seen := (host.executed, len(transport.sent))):
        await asyncio.sleep(0)


commands = st.sampled_from(
    [
        b"version\r\n",
        b"get large\r\n",
        b"get small\r\n",
        b"get small large small\r\n",
        b"mg small v\r\n",
        b"append small 0 0 1000\r\n" + bytes(1000) + b"\r\n",
        b"nonsense\r\n",
        b"delete none noreply\r\n",
        b"quit\r\n",
    ]
)
binary = st.sampled_from(
    [
        b"\x80\x0a" + bytes(22),
        b"\x80\x00\0\x05" + bytes(7) + b"\x05" + bytes(12) + b"large",
        b"\x80\x00\0\x05" + bytes(7) + b"\x05" + bytes(12) + b"small",
        b"\x80\x09\0\x04" + bytes(7) + b"\x04" + bytes(12) + b"none",
        b"\x80\xee" + bytes(22),
        b"\x80\x0a\0\x01" + bytes(7) + b"\x01" + bytes(12) + b"k",
    ]
)


@given(
    st.lists(commands, max_size=30) | st.lists(binary, max_size=30),
    st.integers(1, 12),
    st.integers(1, 7),
)
def test_all_replies_to_a_datagram_share_one_limit(asked: list[bytes], limit: int, turn: int) -> None:
    host = Host(datagrams_per_reply=limit, requests_per_turn=turn)
    host.store(b"large", 9 * PAYLOAD_SIZE)
    host.store(b"small", 10)
    sent = asyncio.run(answers(host, b"".join(asked)))
    assert len(sent) <= limit
    assert host.bytes_written == sum(8 + len(each.payload) for each in sent)
    # Messages are sent whole, or not at all.
    while sent:
        total = max(sent[0].total, 1)
        assert [(each.sequence, max(each.total, 1)) for each in sent[:total]] == [(n, total) for n in range(total)]
        del sent[:total]
    # With more room the same commands are answered by more.
    free = Host(datagrams_per_reply=65535, requests_per_turn=turn)
    free.store(b"large", 9 * PAYLOAD_SIZE)
    free.store(b"small", 10)
    asyncio.run(answers(free, b"".join(asked)))
    assert (host.executed, host.engine.size) == (free.executed, free.engine.size)


@pytest.mark.parametrize(
    "payload",
    [
        b"get k\r\n" * 190,
        b"get" + b" k" * 690 + b"\r\n",
        b"get k\r\nappend k 0 0 1\r\nx\r\n" * 50,
        (b"\x80\x00\0\x01" + bytes(7) + b"\x01" + bytes(12) + b"k") * 55,
        b"mg k v\r\n" * 170,
    ],
    ids=["gets", "one get", "gets between appends", "binary", "meta"],
)
@pytest.mark.parametrize("limit", [1, 1024])
def test_what_is_not_sent_is_not_copied(payload: bytes, limit: int) -> None:
    host = Host(datagrams_per_reply=limit, requests_per_turn=1000)
    host.store(b"k", LARGE)
    tracemalloc.start()
    try:
        sent = asyncio.run(answers(host, payload))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(len(each.payload) for each in sent) <= limit * PAYLOAD_SIZE
    assert bool(sent) == (limit > LARGE // PAYLOAD_SIZE or b"append" in payload)
    # One reply, as the transport keeps it here and as it is cut, and two values between which an append is made.
    assert peak < 6 * LARGE


def test_nothing_is_sent_or_carried_out_while_the_network_takes_no_more() -> None:
    async def run() -> None:
        host = Host(requests_per_turn=2)
        host.store(b"k", 5 * PAYLOAD_SIZE)
        transport = Transport(Datagrams(host), room=3)
        transport.ask(b"get k\r\nget k\r\nversion\r\n")
        await until_quiet(host, transport)
        assert (len(transport.sent), host.executed) == (3, 2)
        transport.ask(b"version\r\n", 2)
        transport.make_room(4)
        await until_quiet(host, transport)
        assert (len(transport.sent), host.executed) == (7, 2)
        transport.make_room(None)
        await until_quiet(host, transport)
        assert [(each.request_id, each.sequence) for each in transport.sent] == [
            *((1, number) for number in range(6)),
            *((1, number) for number in range(6)),
            (1, 0),
            (2, 0),
        ]

    asyncio.run(run())


def test_datagrams_that_come_meanwhile_wait_up_to_a_limit() -> None:
    async def run() -> None:
        host = Host()
        transport = Transport(Datagrams(host), room=1)
        for number in range(10 * MAX_WAITING):
            transport.ask(b"version\r\n", number)
        transport.make_room(None)
        await until_quiet(host, transport)
        assert [each.request_id for each in transport.sent] == list(range(MAX_WAITING + 1))
        assert host.bytes_read == (MAX_WAITING + 1) * (8 + len(b"version\r\n"))

    asyncio.run(run())


def test_a_long_datagram_takes_turns() -> None:
    async def run() -> None:
        host = Host(requests_per_turn=10)
        transport = Transport(Datagrams(host))
        transport.ask(b"a\r\n" * 20_000)
        transport.ask(b"version\r\n")
        for _ in range(3000):
            before = host.executed
            await asyncio.sleep(0)
            assert host.executed - before <= 10
        assert host.executed == 20_001
        assert len(transport.sent) == host.datagrams_per_reply + 1
        assert transport.sent[-1].payload == VERSION

    asyncio.run(run())


def test_what_the_disk_does_not_take_is_not_answered() -> None:
    host = Host(writable=False)
    assert asyncio.run(answers(host, b"set k 0 0 1\r\n1\r\nget k\r\n")) == []
    assert host.executed == 2


def test_what_ends_a_conversation_ends_no_other() -> None:
    async def run() -> None:
        host = Host()
        for end in (b"verbosity 1\r\n", b"\x81" + bytes(23), b"quit\r\n"):
            found = await answers(host, b"version\r\n" + end + b"version\r\n")
            assert found[0].payload == VERSION
            assert VERSION not in [each.payload for each in found[1:]]

    asyncio.run(run())


def test_socket_that_is_closed_meanwhile_gets_no_more_replies() -> None:
    async def run() -> None:
        host = Host(requests_per_turn=1)
        transport = Transport(Datagrams(host))
        transport.ask(b"version\r\n" * 3)
        transport.protocol.connection_lost(None)
        await until_quiet(host, transport)
        assert len(transport.sent) == 1
        transport.ask(b"version\r\n")
        transport.protocol.resume_writing()
        await until_quiet(host, transport)
        assert len(transport.sent) == 1

    asyncio.run(run())


def test_a_turn_of_no_requests_loses_nothing() -> None:
    """As the server orders it while memory is short."""

    async def run() -> None:
        host = Host(requests_per_turn=0)
        transport = Transport(Datagrams(host))
        transport.ask(b"version\r\n")
        await asyncio.sleep(0)
        host.requests_per_turn = 1
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [each.payload for each in transport.sent] == [VERSION]

    asyncio.run(run())


def test_error_of_the_network_is_logged_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        host = Host()
        transport = Transport(Datagrams(host))
        with caplog.at_level("INFO", "memproto.server"):
            transport.protocol.error_received(ConnectionRefusedError(111, "refused"))
        transport.ask(b"version\r\n")
        await until_quiet(host, transport)
        assert [each.payload for each in transport.sent] == [VERSION]
        transport.protocol.connection_lost(None)

    asyncio.run(run())
    assert caplog.messages == ["datagram: [Errno 111] refused"]


def test_network_that_has_room_while_nothing_waits_changes_nothing() -> None:
    async def run() -> None:
        host = Host()
        transport = Transport(Datagrams(host))
        transport.protocol.pause_writing()
        transport.protocol.resume_writing()
        await until_quiet(host, transport)
        assert transport.sent == []

    asyncio.run(run())


def test_reply_hint_beyond_the_limit_is_not_sent(caplog: pytest.LogCaptureFixture) -> None:
    host = Host(datagrams_per_reply=1)
    with caplog.at_level("INFO", "memproto.server"):
        noop = b"\x80\x0a" + bytes(22)
        broken = b"\x80\x01\0\3" + bytes(7) + b"\1" + bytes(12) + b"abc"  # the body is shorter than its key
        found = asyncio.run(answers(host, noop + broken))
    assert [each.payload for each in found] == [b"\x81\x0a" + bytes(22)]
    assert "replies of more than 1 datagrams are not sent" in caplog.text
