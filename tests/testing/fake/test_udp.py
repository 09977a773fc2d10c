"""A fake on UDP: replies, faults, outages."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

import memproto.testing.fake.udp
from memproto import Failure, Get, Item, LocalProtocolError, Set, Status, Values, Version
from memproto.testing import Close, Cut, Delay, Drop, Duplicate, FakeMemcached, Fault, Garbage, Reply
from tests.support.peers import DEADLINE

HEAD = b"\0\x07\0\0\0\x01\0\0"
VERSION = HEAD + b"VERSION 1.6.18\r\n"


@pytest.fixture
def fake() -> Iterator[FakeMemcached]:
    with FakeMemcached(udp=True) as fake:
        yield fake


@pytest.fixture
def link(fake: FakeMemcached) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.connect(fake.address)
        link.settimeout(DEADLINE)
        yield link


def test_datagrams_and_connections_share_the_items(fake: FakeMemcached, link: socket.socket) -> None:
    link.send(HEAD + b"set k 7 0 2\r\nab\r\n")
    assert link.recv(100) == HEAD + b"STORED\r\n"
    assert fake.items[b"k"].flags == 7
    fake.items[b"long"] = bytes(3000)
    link.send(HEAD + b"get k long\r\n")
    assert [link.recv(2000)[:8] for _ in range(4)] == [HEAD, *(b"\0\x07\0%c\0\x03\0\0" % number for number in range(3))]
    assert [(each.request, each.connection) for each in fake.requests] == [
        (Set(b"k", b"ab", 7), 1),
        (Get((b"k", b"long")), 2),
    ]


@pytest.mark.parametrize(
    ("how", "received"),
    [
        (Close(), []),
        (Drop(execute=False), []),
        (Cut(10), [VERSION[:10]]),
        (Duplicate(), [VERSION, VERSION]),
        (Garbage(b"??"), [b"??"]),
        (Reply(Failure(Status.OUT_OF_MEMORY, b"no")), [HEAD + b"SERVER_ERROR no\r\n"]),
        (Delay(0.01), [VERSION]),
    ],
    ids=repr,
)
def test_faults_change_the_datagrams(
    fake: FakeMemcached, link: socket.socket, how: Fault, received: list[bytes]
) -> None:
    fake.fail(Version, how=how)
    link.send(HEAD + b"version\r\n")
    assert [link.recv(100) for _ in received] == received
    link.send(HEAD + b"mn\r\n")
    assert link.recv(100) == HEAD + b"MN\r\n"


def test_a_reply_that_does_not_answer_is_the_tests_error_and_others_are_answered() -> None:
    fake = FakeMemcached(udp=True).start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.connect(fake.address)
        link.settimeout(DEADLINE)
        fake.fail(Get, how=Reply(Values((Item(b"other", b""),))))
        link.send(HEAD + b"get k\r\n")
        link.send(HEAD + b"mn\r\n")
        assert link.recv(100) == HEAD + b"MN\r\n"
    with pytest.raises(LocalProtocolError, match="which was not asked for"):
        fake.stop()


def test_a_delay_passes_when_time_is_advanced_and_ends_with_clear(fake: FakeMemcached, link: socket.socket) -> None:
    fake.fail(Version, times=2, how=Delay(1000))
    link.send(HEAD + b"version\r\n")
    fake.advance(1000)
    assert link.recv(100) == VERSION
    link.send(HEAD + b"version\r\n")
    assert len(fake.requests) == 2
    fake.clear()
    fake.advance(2000)
    link.send(HEAD + b"mn\r\n")
    assert link.recv(100) == HEAD + b"MN\r\n"


def test_a_fake_that_is_down_answers_no_datagram(fake: FakeMemcached, link: socket.socket) -> None:
    with fake.down():
        link.send(HEAD + b"mn\r\n")
        with pytest.raises(ConnectionRefusedError):
            link.recv(100)
    link.send(HEAD + b"mn\r\n")
    assert link.recv(100) == HEAD + b"MN\r\n"


def test_a_datagram_that_is_no_request_is_dropped(fake: FakeMemcached, link: socket.socket) -> None:
    link.send(b"short")
    link.send(HEAD + b"mn\r\n")
    assert link.recv(100) == HEAD + b"MN\r\n"


def test_many_datagrams_are_answered_and_one_that_is_too_long_is_lost(fake: FakeMemcached, link: socket.socket) -> None:
    with fake.paused():
        for _ in range(100):
            link.send(HEAD + b"mn\r\n")
    assert [link.recv(100) for _ in range(100)] == [HEAD + b"MN\r\n"] * 100
    fake.fail(Version, how=Garbage(bytes(70_000)))
    link.send(HEAD + b"version\r\n")
    link.send(HEAD + b"mn\r\n")
    assert link.recv(100) == HEAD + b"MN\r\n"


def test_an_error_of_up_is_raised_there(fake: FakeMemcached) -> None:
    fake.down()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(fake.address)
        with pytest.raises(OSError, match="in use"):
            fake.up()
    fake.up()


def test_a_port_that_is_in_use_for_udp_is_left_for_another() -> None:
    with FakeMemcached(udp=True) as fake:
        with pytest.raises(OSError, match="in use"):
            FakeMemcached(udp=True, port=fake.port).start()
        with FakeMemcached() as other, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(other.address)
            port = other.port
            other.stop()
            with pytest.raises(OSError, match="in use"):
                FakeMemcached(udp=True, port=port).start()


def test_another_port_is_tried_if_any_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = memproto.testing.fake.udp.UdpSocket
    failures = iter((OSError("in use"), OSError("in use")))

    def make(*arguments: object) -> object:
        for failure in failures:
            raise failure
        return usual(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(memproto.testing.fake.udp, "UdpSocket", make)
    with FakeMemcached(udp=True) as fake, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.sendto(HEAD + b"mn\r\n", fake.address)
        link.settimeout(DEADLINE)
        assert link.recv(100) == HEAD + b"MN\r\n"
    failures = iter([OSError("in use")] * 100)
    with pytest.raises(OSError, match="no port that is free for both TCP and UDP"):
        FakeMemcached(udp=True).start()


def test_udp_goes_with_neither_users_nor_a_path() -> None:
    with pytest.raises(LocalProtocolError, match="udp is True, which goes neither with users nor with path"):
        FakeMemcached(udp=True, users={})
    with pytest.raises(LocalProtocolError, match="udp is True, which goes neither with users nor with path"):
        FakeMemcached(udp=True, path="/x")
