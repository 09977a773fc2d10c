"""The fake without a network: sockets in memory, and the pipe, where time passes when the test says so."""

from __future__ import annotations

import errno
import socket
import time

import pytest

from memproto import (
    ClientConnection,
    ConnectionClosed,
    Dialect,
    Failure,
    Get,
    Item,
    Limits,
    LocalProtocolError,
    Noop,
    Ok,
    RemoteProtocolError,
    ReplyReceived,
    Set,
    Status,
    Stored,
    Values,
    Version,
    VersionReply,
)
from memproto.testing import (
    Close,
    Cut,
    Delay,
    Drop,
    Duplicate,
    FakeMemcached,
    FakePipe,
    FakeSocketModule,
    Garbage,
    Reply,
)


@pytest.fixture
def fake() -> FakeMemcached:
    return FakeMemcached()


# --- the pipe


@pytest.mark.parametrize("dialect", Dialect)
def test_a_pipe_answers_what_is_delivered(fake: FakeMemcached, dialect: Dialect) -> None:
    pipe = fake.pipe(ClientConnection(dialect=dialect))
    stored, got = pipe.send(Set(b"k", b"v")), pipe.send(Get((b"k",)))
    assert isinstance(pipe, FakePipe)
    events = pipe.run()
    assert [type(event) for event in events] == [ReplyReceived, ReplyReceived]
    assert isinstance(stored.reply, Stored)
    assert isinstance(got.reply, Values)
    assert got.reply.items[0].value == b"v"
    assert [type(each.request) for each in fake.requests] == [Set, Get]


def test_a_pipe_delivers_the_bytes_that_are_asked_for(fake: FakeMemcached) -> None:
    pipe = fake.pipe()
    exchange = pipe.send(Noop())
    assert pipe.deliver_to_server(10) == 10
    assert (pipe.to_server, pipe.to_client) == (14, 0)
    assert pipe.deliver_to_server() == 14
    assert pipe.to_client == 24
    assert pipe.deliver_to_client(20) == 20
    assert pipe.run() == [ReplyReceived(exchange, Ok())]
    with pytest.raises(LocalProtocolError, match="size is -1, the least is 0"):
        pipe.deliver_to_server(-1)


def test_a_delay_passes_when_time_is_advanced(fake: FakeMemcached) -> None:
    pipe, other = fake.pipe(), fake.pipe()
    with fake.fail(Version, how=Delay(3)):
        late = pipe.send(Version())
        behind = pipe.send(Noop())
        pipe.run()
    prompt = other.send(Version())
    other.run()
    assert prompt.reply == VersionReply(b"1.6.18")
    fake.advance(2.9)
    assert pipe.run() == []
    fake.advance(0.1)
    pipe.run()
    assert (late.reply, behind.reply) == (VersionReply(b"1.6.18"), Ok())


def test_a_pipe_is_closed_by_a_fault_and_by_an_outage(fake: FakeMemcached) -> None:
    for how in (Close(), Cut(10)):
        pipe = fake.pipe()
        with fake.fail(Noop, how=how):
            pipe.send(Noop())
            pipe.deliver_to_server(5)
            before = pipe.closed
            pipe.deliver_to_server()
        assert (before, pipe.closed) == (False, True)
        with pytest.raises(RemoteProtocolError, match="stream ended"):
            pipe.run()
    pipe = fake.pipe()
    pipe.send(Noop())
    pipe.deliver_to_server()
    with fake.down():
        assert pipe.closed
        assert pipe.to_client == 0
        with pytest.raises(ConnectionRefusedError):
            fake.pipe()
    with fake.refuse(), pytest.raises(ConnectionRefusedError):
        fake.pipe()
    fake.pipe()


def test_clear_closes_pipes_with_delayed_replies_only(fake: FakeMemcached) -> None:
    pipe, other = fake.pipe(), fake.pipe()
    fake.fail(Version, how=Delay(3))
    pipe.send(Version())
    pipe.run()
    fake.clear()
    assert (pipe.closed, other.closed) == (True, False)


def test_the_other_faults_reach_the_client(fake: FakeMemcached) -> None:
    pipe = fake.pipe()
    with fake.fail(Get, times=1, how=Reply(Failure(Status.OUT_OF_MEMORY))), fake.fail(Version, times=1, how=Drop()):
        dropped, refused, got = pipe.send(Version()), pipe.send(Get((b"k",))), pipe.send(Get((b"k",)))
        with pytest.raises(RemoteProtocolError):
            pipe.run()
    assert (dropped.reply, refused.reply, got.reply) == (None, None, None)
    for how in (Duplicate(), Garbage(b"?")):
        pipe = fake.pipe()
        pipe.send(Get((b"k",)))
        with fake.fail(Get, how=how), pytest.raises(RemoteProtocolError):
            pipe.run()


def test_a_client_closes_its_side(fake: FakeMemcached) -> None:
    pipe = fake.pipe()
    pipe.send(Noop())
    pipe.close_to_server()
    assert pipe.closed
    assert [type(event) for event in pipe.run()] == [ReplyReceived, ConnectionClosed]
    with fake.fail(how=Close()):
        pipe = fake.pipe()
        pipe.send(Noop())
        pipe.deliver_to_server()
        pipe.close_to_server()


def test_a_long_pipeline_of_large_values_is_answered(fake: FakeMemcached) -> None:
    fake.items[b"k"] = bytes(100_000)
    pipe = fake.pipe(ClientConnection(Limits(outstanding=100)))
    exchanges = [pipe.send(Get((b"k",))) for _ in range(20)]
    pipe.run()
    assert all(each.reply == Values((Item(b"k", bytes(100_000), cas=1),)) for each in exchanges)


# --- sockets


def connected(fake: FakeMemcached, timeout: float | None = 1.0) -> tuple[FakeSocketModule, socket.socket]:
    module = fake.socket_module
    return module, module.create_connection(("any", 11211), timeout)  # type: ignore[return-value]


def test_a_socket_in_memory_is_answered_and_closed(fake: FakeMemcached) -> None:
    module = fake.socket_module
    ((family, kind, protocol, _, address),) = module.getaddrinfo("host", 1, socket.AF_UNSPEC, socket.SOCK_STREAM)
    with module.socket(family, kind, protocol) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.connect(address)
        assert link.send(b"mn\r\nversion\r\n") == 13
        assert link.recv(3) == b"MN\r"
        buffer = bytearray(10)
        assert link.recv_into(buffer) == 10
        assert link.recv_into(memoryview(buffer), 5) == 5
        assert buffer == b".6.18ION 1"
        link.sendall(b"")
        link.shutdown(socket.SHUT_RD)
        link.shutdown(socket.SHUT_WR)
        link.shutdown(socket.SHUT_WR)
        assert link.recv(100) == b"\r\n"
        assert link.recv(100) == b""
        with pytest.raises(BrokenPipeError):
            link.sendall(b"mn\r\n")
        assert link.fileno() == -1
    with pytest.raises(OSError, match="Bad file") as caught:
        link.recv(1)
    assert caught.value.errno == errno.EBADF


def test_waiting_takes_no_time_and_advances_that_of_the_fake(fake: FakeMemcached) -> None:
    fake.now = 1000
    _, link = connected(fake, timeout=5)
    assert link.gettimeout() == 5
    fake.fail(Version, times=1, how=Delay(12))
    began = time.monotonic()
    link.sendall(b"version\r\n")
    for now in (1005, 1010):
        with pytest.raises(TimeoutError):
            link.recv(100)
        assert fake.now == now
    assert link.recv(100) == b"VERSION 1.6.18\r\n"
    assert fake.now == 1012
    with pytest.raises(TimeoutError):
        link.recv(100)
    assert time.monotonic() - began < 10


def test_a_wait_that_would_never_end_is_an_error(fake: FakeMemcached) -> None:
    _, link = connected(fake, timeout=None)
    with pytest.raises(RuntimeError, match="wait for ever"):
        link.recv(1)
    link.setblocking(False)
    with pytest.raises(BlockingIOError):
        link.recv(1)
    link.setblocking(True)
    fake.fail(Version, how=Delay(12))
    link.sendall(b"version\r\n")
    assert link.recv(100) == b"VERSION 1.6.18\r\n"


def test_sockets_in_memory_meet_with_outages(fake: FakeMemcached) -> None:
    module, link = connected(fake)
    with fake.down():
        assert link.recv(1) == b""
        with pytest.raises(BrokenPipeError):
            link.sendall(b"mn\r\n")
        with pytest.raises(ConnectionRefusedError):
            module.create_connection(("any", 1))
    module.create_connection(("any", 1)).close()
    with pytest.raises(OSError, match="not connected"):
        module.socket().recv(1)
    module.socket().close()


def test_the_module_has_the_constants_of_the_real_one(fake: FakeMemcached) -> None:
    module = fake.socket_module
    assert (module.AF_INET, module.timeout, module.error) == (socket.AF_INET, TimeoutError, OSError)
    with pytest.raises(AttributeError):
        _ = module.absent
