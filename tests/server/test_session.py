"""One session of the reference server on a transport in memory: what is written when, and when it reads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from memproto import AdminCommand, AnyReply, AnyRequest, Failure, ServerConnection, Set, Status, Values, Verbosity
from memproto.engine import Dump, Engine
from memproto.server.session import TURN_BYTES, Hangup, Session

NOOP = b"\x80\x0a" + bytes(22)
NOOP_REPLY = b"\x81\x0a" + bytes(22)
GET = b"\x80\x00\x00\x01" + bytes(7) + b"\x01" + bytes(12) + b"k"
QUIT = b"\x80\x07" + bytes(22)
QUIT_REPLY = b"\x81\x07" + bytes(22)


@dataclass
class Host:
    """What a server is to its sessions."""

    requests_per_turn: int = 100
    bytes_read: int = 0
    bytes_written: int = 0
    yields: int = 0
    durable: bool = False
    room: bool = True
    engine: Engine = field(default_factory=Engine)
    sessions: set[Session] = field(default_factory=set)
    changed: bool = False
    waiting: list[Session] = field(default_factory=list)

    def connection(self) -> ServerConnection:
        return ServerConnection()

    def session_opened(self, session: Session) -> bool:
        self.sessions.add(session)
        return self.room

    def session_closed(self, session: Session) -> None:
        self.sessions.discard(session)

    @property
    def bytes_copied(self) -> int:
        return self.engine.copied

    def count_received(self, size: int) -> None:
        self.bytes_read += size

    def now(self) -> float:
        return time.time()

    def execute(self, request: AnyRequest, now: float) -> AnyReply:
        if isinstance(request, Verbosity):
            raise Hangup
        self.changed = self.changed or isinstance(request, Set)
        return self.engine.execute(request, now)

    def begin(self, request: AnyRequest, now: float) -> AnyReply | Dump:
        return self.engine.begin(request, now) if isinstance(request, AdminCommand) else self.execute(request, now)

    def uncommitted(self) -> bool:
        return self.changed

    def commit_later(self, session: Session) -> None:
        self.waiting.append(session)

    def commit(self) -> bool:
        self.changed = False
        waiting, self.waiting = self.waiting, []
        for session in waiting:
            session.committed()
        return True


class Transport(asyncio.Transport):
    """Keeps what is written; ``full`` makes it ask for a pause at the next write, as a slow client does."""

    def __init__(self, session: Session, note: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.full = False
        self.reading = True
        self.closed = False
        self.aborted = False
        self.session = session
        self.note = note
        session.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert data, "nothing to write is no reason to call write()"
        assert not self.closed
        self.written.append(bytes(data))
        self.note()
        if self.full:
            self.session.pause_writing()

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("192.0.2.1", 7) if name == "peername" else default

    def get_write_buffer_size(self) -> int:
        return 3

    def is_reading(self) -> bool:
        return self.reading

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        assert not self.closed
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    async def drain(self) -> None:
        """The client has read."""
        before = self.written[:], self.closed
        self.session.resume_writing()
        # CPython's own transports do not bear to be closed in there.
        assert (self.written, self.closed) == before
        await asyncio.sleep(0)


def hit(size: int) -> bytes:
    return b"\x81\0\0\0\x04" + bytes(3) + (4 + size).to_bytes(4, "big") + bytes(11) + b"\x01" + bytes(4 + size)


def store(host: Host, size: int) -> None:
    body = 9 + size
    request = b"\x80\x11\0\x01\x08" + bytes(3) + body.to_bytes(4, "big") + bytes(12 + 8) + b"k" + bytes(size)
    transport = Transport(Session(host))
    transport.session.data_received(request)
    assert transport.written == []


def test_replies_to_one_read_are_one_write() -> None:
    host = Host()
    transport = Transport(Session(host))
    transport.session.data_received(NOOP)
    transport.session.data_received(NOOP * 50 + NOOP[:5])
    transport.session.data_received(NOOP[5:-1])
    transport.session.data_received(NOOP[-1:] + NOOP)
    assert transport.written == [NOOP_REPLY, NOOP_REPLY * 50, NOOP_REPLY * 2]
    assert host.bytes_read == host.bytes_written == 53 * 24
    assert transport.reading


def test_a_long_pipeline_takes_turns() -> None:
    order: list[str] = []

    async def run() -> None:
        host = Host(requests_per_turn=10)
        long = Transport(Session(host), lambda: order.append("long"))
        short = Transport(Session(host), lambda: order.append("short"))
        long.session.data_received(NOOP * 25 + NOOP[:1])
        assert not long.reading
        # What arrives in spite of that is kept for later.
        long.session.data_received(NOOP[1:])
        short.session.data_received(NOOP)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert long.written == [NOOP_REPLY * 10, NOOP_REPLY * 10, NOOP_REPLY * 6]
        assert host.yields == 2
        assert long.reading

    asyncio.run(run())
    assert order == ["long", "short", "long", "long"]


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize(
    "asked", [GET * 10, b"get k k k k k k k k k k\r\n", b"mg k v\r\n" * 10], ids=["binary", "classic", "meta"]
)
def test_a_turn_ends_after_many_bytes_too(asked: bytes, durable: bool) -> None:
    async def run() -> None:
        host = Host(durable=durable)
        store(host, TURN_BYTES // 2)
        transports = [Transport(Session(host)) for _ in range(3)]

        def sizes() -> list[int]:
            return [sum(map(len, transport.written)) for transport in transports]

        for transport in transports:
            transport.session.data_received(asked)
        for _ in range(30):
            assert max(sizes()) - min(sizes()) < 2 * TURN_BYTES
            before = sizes()
            host.commit()
            await asyncio.sleep(0)
            assert all(after - size < 3 * TURN_BYTES for after, size in zip(sizes(), before, strict=True))
        assert min(sizes()) > 10 * TURN_BYTES // 2
        assert all(transport.reading for transport in transports)

    asyncio.run(run())


def test_a_turn_ends_after_many_bytes_copied() -> None:
    async def run() -> None:
        for command in (b"append", b"prepend"):
            host = Host(requests_per_turn=1000)
            store(host, TURN_BYTES // 4)
            transport = Transport(Session(host))
            transport.session.data_received(b"%b k 0 0 1\r\nx\r\n" % command * 20)
            assert host.engine.copied < 2 * TURN_BYTES
            for turn in range(2, 6):
                await asyncio.sleep(0)
                assert host.yields == turn
                assert host.engine.copied < (turn + 1) * TURN_BYTES
            await asyncio.sleep(0)
            assert b"".join(transport.written) == b"STORED\r\n" * 20
            # A small item does not end it.
            transport.session.data_received(b"set s 0 0 1\r\nx\r\n" + b"%b s 0 0 1\r\nx\r\n" % command * 900)
            assert host.yields == 5

    asyncio.run(run())


def test_a_turn_comes_to_nothing_when_the_connection_is_lost() -> None:
    async def run() -> None:
        host = Host(requests_per_turn=1)
        transport = Transport(Session(host))
        transport.session.data_received(NOOP * 3)
        transport.session.connection_lost(ConnectionResetError())
        await asyncio.sleep(0)
        assert transport.written == [NOOP_REPLY]
        assert host.sessions == set()
        transport.session.abort()
        transport.session.finish()
        assert not transport.aborted

    asyncio.run(run())


def test_a_slow_client_is_neither_read_nor_answered() -> None:
    async def run() -> None:
        host = Host()
        store(host, 100_000)
        transport = Transport(Session(host))
        transport.full = True
        transport.session.data_received(GET * 3)
        # Large answers are written one by one, and no more of them are made than the client takes.
        assert transport.written == [hit(100_000)]
        assert not transport.reading
        transport.session.data_received(NOOP)
        assert len(transport.written) == 1
        await transport.drain()
        assert transport.written == [hit(100_000)] * 2
        transport.full = False
        await transport.drain()
        assert transport.written == [hit(100_000)] * 3 + [NOOP_REPLY]
        assert transport.reading

    asyncio.run(run())


def test_slow_client_with_a_long_pipeline_is_answered_in_turns() -> None:
    async def run() -> None:
        transport = Transport(Session(Host(requests_per_turn=2)))
        transport.full = True
        transport.session.data_received(NOOP * 5)
        await asyncio.sleep(0)
        assert transport.written == [NOOP_REPLY * 2]
        transport.full = False
        await transport.drain()
        assert transport.written == [NOOP_REPLY * 2] * 2
        assert not transport.reading
        await asyncio.sleep(0)
        assert transport.written == [NOOP_REPLY * 2] * 2 + [NOOP_REPLY]
        assert transport.reading

    asyncio.run(run())


def test_request_that_arrives_before_the_turn_of_a_client_that_has_caught_up_is_answered_in_it() -> None:
    async def run() -> None:
        transport = Transport(Session(Host()))
        transport.full = True
        transport.session.data_received(NOOP)
        transport.full = False
        transport.session.resume_writing()
        transport.session.data_received(NOOP)
        transport.session.resume_writing()
        assert transport.written == [NOOP_REPLY]
        await asyncio.sleep(0)
        assert transport.written == [NOOP_REPLY] * 2

    asyncio.run(run())


def test_quit_ends_it_and_the_rest_is_dropped() -> None:
    transport = Transport(Session(Host()))
    transport.session.data_received(NOOP + QUIT + NOOP)
    assert transport.written == [NOOP_REPLY + QUIT_REPLY]
    assert transport.closed
    # Some loops deliver what was already read.
    transport.session.data_received(NOOP)
    assert transport.session.eof_received()
    assert len(transport.written) == 1


def test_end_of_the_stream_closes_the_connection() -> None:
    transport = Transport(Session(Host()))
    assert transport.session.eof_received(), "the transport must stay open for the answers"
    assert (transport.written, transport.closed) == ([], True)


def test_end_of_the_stream_of_a_slow_client_closes_after_its_replies() -> None:
    async def run() -> None:
        host = Host()
        store(host, 100_000)
        transport = Transport(Session(host))
        transport.full = True
        transport.session.data_received(GET * 2)
        assert transport.session.eof_received()
        transport.session.finish()
        assert not transport.closed
        await transport.drain()
        assert not transport.closed
        transport.full = False
        await transport.drain()
        assert (transport.written, transport.closed) == ([hit(100_000)] * 2, True)

    asyncio.run(run())


def test_lost_framing_ends_it_after_the_answers() -> None:
    transport = Transport(Session(Host()))
    transport.session.data_received(NOOP + b"\x80\x0a\0\x01" + bytes(7) + b"\x01" + bytes(12) + b"k" + NOOP)
    told = b"".join(transport.written)
    assert told[:24] == NOOP_REPLY
    assert told[24:32] == b"\x81\x0a\0\0\0\0\0\x04"
    assert told[48:] == b"Invalid arguments"
    assert transport.closed


def test_connection_beyond_the_limit_is_refused_and_not_read() -> None:
    transport = Transport(Session(Host(room=False)))
    assert transport.written == [b"ERROR Too many open connections\r\n"]
    assert transport.closed
    transport.session.data_received(NOOP)
    transport.session.finish()
    assert len(transport.written) == 1


def test_finish_answers_what_has_arrived() -> None:
    async def run() -> None:
        transport = Transport(Session(Host(requests_per_turn=2)))
        transport.session.data_received(NOOP * 3)
        transport.session.finish()
        await asyncio.sleep(0)
        assert (transport.written, transport.closed) == ([NOOP_REPLY * 2, NOOP_REPLY], True)

    asyncio.run(run())


def test_finish_in_the_middle_of_a_request_answers_those_before_it() -> None:
    transport = Transport(Session(Host()))
    transport.session.data_received(NOOP + NOOP[:10])
    transport.session.finish()
    assert (transport.written, transport.closed) == ([NOOP_REPLY], True)


def test_abort_closes_the_connection_at_once() -> None:
    transport = Transport(Session(Host()))
    transport.session.abort()
    assert transport.aborted


# --- answers that wait for the disk

SET = b"\x80\x01\0\x01\x08" + bytes(6) + b"\x0a" + bytes(12 + 8) + b"kv"
STORED = b"\x81\x01" + bytes(21) + b"\x01"
HIT = b"\x81\0\0\0\x04" + bytes(6) + b"\x05" + bytes(11) + b"\x01" + bytes(4) + b"v"


def test_answers_wait_until_what_they_tell_is_on_the_disk() -> None:
    host = Host(durable=True)
    transport, other = Transport(Session(host)), Transport(Session(host))
    transport.session.data_received(NOOP + SET + GET + NOOP)
    # It would tell of a value that is not on the disk.
    other.session.data_received(GET)
    assert (transport.written, other.written, len(host.waiting)) == ([NOOP_REPLY], [], 2)
    transport.session.data_received(NOOP)
    host.commit()
    assert transport.written == [NOOP_REPLY, STORED + HIT + NOOP_REPLY, NOOP_REPLY]
    assert other.written == [HIT]
    other.session.data_received(GET)
    assert other.written == [HIT, HIT]


def test_a_turn_of_stores_is_one_commit() -> None:
    host = Host(durable=True, requests_per_turn=3)
    transport = Transport(Session(host))
    transport.session.data_received(SET * 5)
    assert (transport.written, host.waiting) == ([], [transport.session])
    host.commit()
    assert (len(transport.written), host.waiting) == (1, [transport.session])
    host.commit()
    assert [len(data) for data in transport.written] == [72, 48]


def test_replies_that_wait_for_the_disk_hold_no_more_values_than_a_turn_may_have() -> None:
    async def run() -> None:
        host = Host(durable=True)
        store(host, TURN_BYTES // 4)
        transport = Transport(Session(host))
        # Each reply has a value that no other has, and that the next request replaces.
        transport.session.data_received(b"set j 0 0 1\r\nx\r\nappend k 0 0 1\r\nx\r\nget k\r\n" * 40)
        turns = 0
        while host.waiting:
            turns += 1
            size = sum(map(len, transport.written))
            host.commit()
            for _ in range(3):
                await asyncio.sleep(0)
            assert sum(map(len, transport.written)) - size < 2 * TURN_BYTES
        assert turns >= 10

    asyncio.run(run())


def test_what_the_disk_did_not_take_is_answered_anew() -> None:
    host = Host(durable=True)
    transport = Transport(Session(host))
    transport.session.data_received(SET + GET)
    transport.session.replace_replies(
        lambda request: Failure(Status.OUT_OF_MEMORY) if isinstance(request, Set) else Values()
    )
    host.commit()
    (told,) = transport.written
    refused, missed = b"Out of memory", b"Not found"
    assert (told[:2], told[6:8], told[24:37]) == (b"\x81\x01", b"\0\x82", refused)
    assert (told[37:39], told[43:45], told[61:]) == (b"\x81\0", b"\0\x01", missed)


def test_quit_and_lost_framing_wait_for_the_disk() -> None:
    for end, last in ((QUIT, QUIT_REPLY), (b"\x80\x0a\0\x01" + bytes(7) + b"\x01" + bytes(12) + b"k", b"\x81\x0a")):
        host = Host(durable=True)
        transport = Transport(Session(host))
        transport.session.data_received(SET + end)
        assert (transport.written, transport.closed) == ([], False)
        host.commit()
        told = b"".join(transport.written)
        assert (told[:24], told[24 : 24 + len(last)], transport.closed) == (STORED, last, True)


def test_client_that_is_gone_when_the_disk_is_done_gets_nothing() -> None:
    host = Host(durable=True)
    transport = Transport(Session(host))
    transport.session.data_received(SET)
    transport.session.connection_lost(None)
    host.commit()
    assert transport.written == []


def test_reply_waits_for_a_slow_disk_and_then_for_a_slow_client() -> None:
    async def run() -> None:
        host = Host(durable=True)
        transport = Transport(Session(host))
        transport.full = True
        transport.session.data_received(NOOP + SET)
        assert transport.written == [NOOP_REPLY]
        transport.session.resume_writing()
        transport.session.pause_writing()
        host.commit()
        assert transport.written == [NOOP_REPLY]
        transport.full = False
        await transport.drain()
        assert transport.written == [NOOP_REPLY, STORED]

    asyncio.run(run())


# --- answers of many values


def test_many_values_are_written_as_the_client_takes_them() -> None:
    async def run() -> None:
        host = Host()
        store(host, 100_000)
        transport = Transport(Session(host))
        transport.full = True
        transport.session.data_received(b"version\r\nget k k k\r\nversion\r\n")
        assert transport.written == [b"VERSION 1.6.18\r\n"]
        seen = 1
        for _ in range(3):
            await transport.drain()
            assert len(transport.written) == seen + 1
            seen += 1
        transport.full = False
        await transport.drain()
        value = b"VALUE k 0 100000\r\n" + bytes(100_000) + b"\r\n"
        version = b"VERSION 1.6.18\r\n"
        assert b"".join(transport.written) == version + value * 3 + b"END\r\n" + version
        assert max(map(len, transport.written)) < 110_000

    asyncio.run(run())


def test_a_hangup_comes_after_the_answers_before_it() -> None:
    for host in (Host(), Host(durable=True)):
        transport = Transport(Session(host))
        transport.session.data_received(b"version\r\nset k 0 0 1\r\nv\r\nverbosity 1\r\nversion\r\n")
        host.commit()
        assert (b"".join(transport.written), transport.closed) == (b"VERSION 1.6.18\r\nSTORED\r\n", True)


def test_values_for_a_client_that_stops_reading_wait_for_it() -> None:
    async def run() -> None:
        host = Host()
        store(host, 10)
        transport = Transport(Session(host))
        transport.full = True
        transport.session.data_received(b"get k k\r\nversion\r\n")
        transport.full = False
        assert transport.session.busy
        await transport.drain()
        value = b"VALUE k 0 10\r\n" + bytes(10) + b"\r\n"
        assert b"".join(transport.written) == value * 2 + b"END\r\nVERSION 1.6.18\r\n"

    asyncio.run(run())


# --- what the server looks at


def test_state_is_that_of_the_connection() -> None:
    async def run() -> None:
        host = Host(requests_per_turn=1)
        session = Session(host)
        states: list[str] = []
        transport = Transport(session, lambda: states.append(session.state))
        states.append(session.state)
        session.data_received(NOOP[:5])
        states.append(session.state)
        session.data_received(NOOP[5:] + NOOP)
        states.append(session.state)
        await asyncio.sleep(0)
        assert states == ["conn_read", "conn_nread", "conn_parse_cmd", "conn_mwrite", "conn_parse_cmd"]
        assert not transport.closed

    asyncio.run(run())


def test_bytes_held_are_those_of_requests_and_replies() -> None:
    session = Session(Host())
    assert session.bytes_held == 0
    transport = Transport(session)
    session.data_received(NOOP[:5])
    assert session.bytes_held == 5 + transport.get_write_buffer_size()


def test_requests_are_logged_at_the_level_for_them(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", "memproto.server"):
        Transport(Session(Host())).session.data_received(b"set k 0 0 300\r\n" + bytes(300) + b"\r\n")
    (message,) = caplog.messages
    assert message.startswith("tcp:192.0.2.1:7: Set(key=b'k', value=b'")
    assert message.endswith("... -> Stored(cas=1)")


def test_many_small_values_are_sent_at_once() -> None:
    host = Host()
    store(host, 10)
    transport = Transport(Session(host))
    transport.session.data_received(b"get k k\r\nversion\r\n")
    value = b"VALUE k 0 10\r\n" + bytes(10) + b"\r\n"
    assert b"".join(transport.written) == value * 2 + b"END\r\nVERSION 1.6.18\r\n"
    assert transport.reading
