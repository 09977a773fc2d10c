"""The threaded server: clients side by side, what bounds it, and how it stops."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

import examples.threaded
from examples.threaded import ThreadedServer
from examples.tiny_client import TinyClient
from memproto import Get, Item, Set, Stats, StatsReply, Stored, Values
from tests.support.peers import DEADLINE, ROOT, running_example

NOOP = b"\x80\x0a" + bytes(22)
MEBIBYTE = bytes(2**20 - 200)


@contextmanager
def serving(connections: int = 100, idle: float = DEADLINE) -> Iterator[ThreadedServer]:
    with ThreadedServer(connections=connections, idle=idle) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join(DEADLINE)


@pytest.fixture
def server() -> Iterator[ThreadedServer]:
    with serving() as running:
        yield running


def connect(server: ThreadedServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.server_address[1]), DEADLINE)


def client(port: int) -> closing[TinyClient]:
    return closing(TinyClient(port))


def said(link: socket.socket) -> bytes:
    """What comes until the server closes."""
    with link.makefile("rb") as stream:
        return stream.read()


@contextmanager
def one_who_does_not_read(server: ThreadedServer) -> Iterator[socket.socket]:
    """Has asked for far more than all buffers on the way hold, and taken the first byte of it."""
    with connect(server) as link:
        link.sendall(b"set big 0 0 %d\r\n%b\r\n" % (len(MEBIBYTE), MEBIBYTE))
        assert link.recv(8, socket.MSG_WAITALL) == b"STORED\r\n"
        link.sendall(b"get big\r\n" * 50)
        assert link.recv(1) == b"V"
        yield link


def test_threaded_server_has_less_than_100_lines() -> None:
    assert len(Path(ROOT, "examples", "threaded.py").read_text(encoding="utf-8").splitlines()) < 100


def test_clients_share_one_cache(server: ThreadedServer) -> None:
    with client(server.server_address[1]) as one, client(server.server_address[1]) as other, connect(server) as text:
        assert one.ask(Set(b"key", b"value", 7)) == Stored(1)
        assert other.ask(Get((b"key",))) == Values((Item(b"key", b"value", 7, 1),))
        other.ask(Set(b"big", MEBIBYTE))
        assert one.ask(Get((b"big",))) == Values((Item(b"big", MEBIBYTE, 0, 2),))
        text.sendall(b"get key\r\nmg key v c\r\nquit\r\n")
        assert said(text) == b"VALUE key 7 5\r\nvalue\r\nEND\r\nVA 5 c1\r\nvalue\r\n"


def test_a_pipeline_is_answered_whole_and_in_order(server: ThreadedServer) -> None:
    with connect(server) as link:
        link.sendall(
            b"".join(b"set k%d 0 0 1\r\n%d\r\nget k%d\r\n" % (n, n % 10, n) for n in range(5000)) + b"quit\r\n"
        )
        answers = b"".join(b"STORED\r\nVALUE k%d 0 1\r\n%d\r\nEND\r\n" % (n, n % 10) for n in range(5000))
        assert said(link) == answers


def test_lost_framing_ends_one_connection_with_last_words(server: ThreadedServer) -> None:
    with connect(server) as other, connect(server) as link:
        link.sendall(NOOP + b"\x7frubbish")
        assert said(link) == b"\x81" + NOOP[1:]
        link.close()
        with connect(server) as strange:
            strange.sendall(b"\x08")
            assert said(strange) == b"ERROR\r\n"
        other.sendall(NOOP)
        assert other.recv(100) == b"\x81" + NOOP[1:]


def test_an_end_of_the_stream_is_answered_first(server: ThreadedServer) -> None:
    with connect(server) as link:
        link.sendall(b"set k 0 0 1\r\nv\r\nget k\r\n")
        link.shutdown(socket.SHUT_WR)
        assert said(link) == b"STORED\r\nVALUE k 0 1\r\nv\r\nEND\r\n"


# --- what bounds it


def test_one_who_does_not_read_holds_up_nobody(server: ThreadedServer) -> None:
    with one_who_does_not_read(server) as link:
        with client(server.server_address[1]) as other:
            assert other.ask(Set(b"key", b"value")) == Stored(2)
            assert other.ask(Get((b"key",))) == Values((Item(b"key", b"value", 0, 2),))
        assert not server.lock.locked()
        link.sendall(b"quit\r\n")
        whole = b"VALUE big 0 %d\r\n%b\r\nEND\r\n" % (len(MEBIBYTE), MEBIBYTE)
        right = said(link) == whole[1:] + whole * 49
        assert right


def test_for_one_who_does_not_read_nothing_more_is_executed(server: ThreadedServer) -> None:
    with one_who_does_not_read(server), client(server.server_address[1]) as other:
        # Of fifty answers of a mebibyte some fit the buffers of the system, and there it stops.
        stats = other.ask(Stats())
        assert isinstance(stats, StatsReply)
        assert int(dict(stats.stats)[b"get_hits"]) < 40


def test_silence_ends_a_connection() -> None:
    with serving(idle=0.05) as server, connect(server) as link:
        link.sendall(b"version\r\nget k")
        assert said(link) == b"VERSION 1.6.18\r\n"


def test_one_who_does_not_read_is_not_waited_for() -> None:
    with serving(idle=0.1) as server, one_who_does_not_read(server) as link:
        deadline = time.monotonic() + DEADLINE
        while server.links[0].fileno() >= 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        received = len(said(link))
        assert received < 50 * len(MEBIBYTE)


def test_too_many_are_told_so_and_others_come_when_one_has_left() -> None:
    with serving(connections=2) as server, connect(server) as one, connect(server) as two:
        for link in (one, two):
            link.sendall(NOOP)
            assert link.recv(100) == b"\x81" + NOOP[1:]
        with connect(server) as three:
            assert said(three) == b"ERROR Too many open connections\r\n"
        one.sendall(b"\x80\x07" + bytes(22))
        assert said(one) == b"\x81\x07" + bytes(22)
        for _ in range(1000):
            # One who speaks before it is refused may meet a reset.
            with suppress(ConnectionError), connect(server) as four:
                four.sendall(NOOP)
                if four.recv(100) == b"\x81" + NOOP[1:]:
                    break
        else:
            pytest.fail("nobody is let in any more")


# --- how it stops


def test_it_stops_with_connections_open_and_their_threads_end(monkeypatch: pytest.MonkeyPatch) -> None:
    before, directions = threading.active_count(), []
    hang_up = ThreadedServer._hang_up

    def noted(server: ThreadedServer, how: int) -> None:
        directions.append(how)
        hang_up(server, how)

    monkeypatch.setattr(ThreadedServer, "_hang_up", noted)
    monkeypatch.setattr(examples.threaded, "GRACE", DEADLINE)
    with serving() as server:
        idle, mid_request = connect(server), connect(server)
        mid_request.sendall(b"get k\r\nset k 0 0 5\r\nva")
        assert mid_request.recv(5, socket.MSG_WAITALL) == b"END\r\n"
        idle.sendall(b"get k\r\n")
        assert idle.recv(5, socket.MSG_WAITALL) == b"END\r\n"
    assert (said(idle), said(mid_request)) == (b"", b"")
    idle.close()
    mid_request.close()
    assert all(each.fileno() < 0 for each in server.links)
    # Nobody had to be cut off while it was answered.
    assert directions == [socket.SHUT_RD]
    # The timer that was called off ends on its own.
    assert threading.active_count() <= before + 1


def test_it_stops_in_spite_of_one_who_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples.threaded, "GRACE", 0.05)
    with serving() as server, one_who_does_not_read(server) as link:
        server.shutdown()
        server.server_close()
        assert all(each.fileno() < 0 for each in server.links)
        received = len(said(link))
        assert received < 50 * len(MEBIBYTE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_as_a_program_it_ends_well_on_a_signal(number: int) -> None:
    with running_example("-p", "0", "-t", "30", module="examples.threaded") as running, client(running.port) as one:
        assert one.ask(Set(b"key", b"value", 3)) == Stored(1)
        assert running.stop(number) == 0
