"""The generator of the asyncio server, and what happens when a signal stops the server."""

from __future__ import annotations

import signal
import socket
import sys

from examples.asyncio_server import BLOCK, CacheServer
from memproto import ServerConnection, ServerState, Set
from tests.support.example_programs import connect, read_to_end
from tests.support.peers import Running

LARGE = bytes(BLOCK)
HIT = b"VALUE k 0 %d\r\n%b\r\nEND\r\n" % (BLOCK, LARGE)


def test_next_request_is_executed_when_the_last_block_was_taken() -> None:
    cache, connection = CacheServer(), ServerConnection()
    cache.engine.execute(Set(b"k", LARGE), 0.0)
    connection.receive_data(b"get k\r\nget k\r\nget k\r\nset k 0 0 1\r\nx\r\nget k\r\n")
    answers = cache.answers(connection)
    first = next(answers)
    assert BLOCK <= len(first) <= len(HIT)
    assert connection.buffered > 0
    rest = list(answers)
    assert first + b"".join(rest) == HIT * 3 + b"STORED\r\nVALUE k 0 1\r\nx\r\nEND\r\n"
    assert connection.buffered == 0
    assert max(map(len, rest)) < 2 * BLOCK


def test_get_of_many_keys_is_answered_in_blocks() -> None:
    cache, connection = CacheServer(), ServerConnection()
    cache.engine.execute(Set(b"k", LARGE), 0.0)
    connection.receive_data(b"get" + b" k" * 1000 + b"\r\n")
    sizes = [len(block) for block in cache.answers(connection)]
    assert len(sizes) > 900
    assert max(sizes) < 2 * BLOCK


def test_lost_framing_yields_the_hint_and_ends_the_conversation() -> None:
    connection = ServerConnection()
    connection.receive_data(b"version\r\n" + b"\x08" * 3000)
    assert b"".join(CacheServer().answers(connection)).startswith(b"VERSION")
    assert connection.state is ServerState.FAULTED


def test_server_that_stops_closes_idle_connections_at_once_and_the_others_after_a_while() -> None:
    program = "import asyncio, examples.asyncio_server as e; e.GRACE = 0.1; asyncio.run(e.main('127.0.0.1', 0))"
    running = Running(sys.executable, "-W", "default", "-c", program)
    try:
        running.wait_for_port()
        with connect(running.port) as idle, connect(running.port) as lazy:
            idle.sendall(b"set k 0 0 %d\r\n%b\r\n" % (10**6, bytes(10**6)))
            assert idle.recv(8, socket.MSG_WAITALL) == b"STORED\r\n"
            lazy.sendall(b"get k\r\n" * 50)
            assert lazy.recv(1) == b"V"
            assert running.stop(signal.SIGTERM) == 0
            assert read_to_end(idle) == b""
    finally:
        running.stop()
    assert running.said.count("\n") == 1, running.said
