"""When the example client takes another connection: closed meanwhile, mute for too long, too much unanswered."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from memproto import Dialect, Limits
from memproto.clients.client import Client
from tests.support.opaques import opaques_begin_at_0
from tests.support.peers import DEADLINE
from tests.support.scripted_servers import (
    NOOP_REPLY,
    VERSION_REPLY,
    Handler,
    answer_noop,
    answer_version,
    answer_version_in_text,
    late_by_a_call,
    numbered,
    read,
    say,
    server,
    when_let,
)

__all__ = ["opaques_begin_at_0"]


@contextmanager
def closed_meanwhile(*handlers: Handler) -> Iterator[Client]:
    """A client whose first connection was in use and then closed by the server."""
    closed = threading.Event()

    def brief(link: socket.socket) -> None:
        answer_noop(link)
        link.close()
        closed.set()

    with server(brief, *handlers) as port, Client(port=port, timeout=DEADLINE) as client:
        assert client.noop()
        assert closed.wait(DEADLINE)
        yield client


def test_read_on_connection_closed_since_last_call_is_repeated() -> None:
    with closed_meanwhile(answer_version) as client:
        assert client.version() == b"1.2.3"


def test_read_that_fails_twice_is_not_repeated_again() -> None:
    with closed_meanwhile(say(b""), answer_version) as client:
        with pytest.raises(ConnectionError):
            client.version()
        assert client.version() == b"1.2.3"


def test_write_on_connection_closed_since_last_call_is_never_repeated() -> None:
    with closed_meanwhile(answer_version) as client:
        # Whether the request got through before that cannot be known.
        with pytest.raises(ConnectionError):
            client.delete(b"key")
        assert client.version() == b"1.2.3"


def test_idle_connection_that_server_closed_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer_delete(link: socket.socket) -> None:
        assert read(link, 27) == b"\x80\x04\0\x03" + bytes(7) + b"\x03" + bytes(12) + b"key"
        link.sendall(b"\x81\x04" + bytes(22))
        assert read(link, 24)[1] == 0x0A
        link.sendall(numbered(NOOP_REPLY, 1))

    monkeypatch.setattr("memproto.clients.connection._IDLE", 0.0)
    with closed_meanwhile(answer_delete) as client:
        assert client.delete(b"key") is True
        # One that is open is used again.
        assert client.noop() is True


@pytest.mark.parametrize("calls", [1, 2], ids=["one call", "two calls"])
def test_connection_after_one_or_two_timeouts_is_used_again(calls: int) -> None:
    timed_out = threading.Event()

    def slow(link: socket.socket) -> None:
        read(link, calls * 24)
        assert timed_out.wait(DEADLINE)
        for number in range(calls):
            link.sendall(numbered(VERSION_REPLY, number))
        read(link, 24)
        link.sendall(numbered(NOOP_REPLY, calls))

    with server(slow) as port, Client(port=port, timeout=0.05) as client:
        for _ in range(calls):
            with pytest.raises(TimeoutError):
                client.version()
        timed_out.set()
        client.timeout = DEADLINE
        assert client.noop()


def test_silent_connection_is_closed_after_three_timeouts() -> None:
    def mute(link: socket.socket) -> None:
        assert read(link, 3 * 24)[48:50] == b"\x80\x0b"
        assert link.recv(1) == b""

    with server(mute, answer_version) as port, Client(port=port, timeout=0.05) as client:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                client.version()
        client.timeout = DEADLINE
        assert client.version() == b"1.2.3"


def test_classic_connection_with_lost_reply_is_closed_after_three_timeouts() -> None:
    with (
        server(late_by_a_call, answer_version_in_text) as port,
        Client(port=port, timeout=0.05, dialect=Dialect.CLASSIC) as client,
    ):
        for _ in range(3):
            with pytest.raises(TimeoutError):
                client.version()
        client.timeout = DEADLINE
        assert client.version() == b"1.2.3"


def test_timeouts_with_success_in_between_do_not_add_up() -> None:
    go = threading.Semaphore(0)
    with server(when_let(go)) as port, Client(port=port) as client:
        for attempt in range(6):
            if attempt % 3 == 2:
                go.release(3)
                client.timeout = DEADLINE
                assert client.version() == b"1.2.3"
            else:
                client.timeout = 0.05
                with pytest.raises(TimeoutError):
                    client.version()


def test_call_over_limit_of_unanswered_calls_raises_timeout() -> None:
    def mute(link: socket.socket) -> None:
        read(link, 24)
        assert link.recv(1) == b""

    with server(mute, answer_version) as port, Client(port=port, timeout=0.05, limits=Limits(outstanding=1)) as client:
        with pytest.raises(TimeoutError, match="longer than its timeout"):
            client.version()
        with pytest.raises(TimeoutError, match="1 calls that timed out are still unanswered"):
            client.version()
        client.timeout = DEADLINE
        assert client.version() == b"1.2.3"
