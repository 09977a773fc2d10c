"""The blocking client with a pool: threads share it, at most so many connections are open, and none is lost."""

from __future__ import annotations

import gc
import os
import socket
import threading
from typing import Any

import pytest

from memproto import Dialect
from memproto.clients import Client, Cluster, Node
from memproto.clients.stream import Stream
from tests.clients.test_client import Own, interrupted_at
from tests.support.opaques import opaques_begin_at_0
from tests.support.peers import DEADLINE
from tests.support.scripted_servers import answer_noop, answer_version, server, threaded_tiny_server

__all__ = ["opaques_begin_at_0"]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Stream]:
    streams: list[Stream] = []
    init = Stream.__init__

    def remember(stream: Stream, *arguments: Any) -> None:
        init(stream, *arguments)
        streams.append(stream)

    monkeypatch.setattr(Stream, "__init__", remember)
    return streams


@pytest.mark.parametrize("dialect", Dialect, ids=lambda dialect: dialect.name.lower())
def test_twelve_threads_on_three_connections_get_their_own_values(dialect: Dialect, opened: list[Stream]) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            mine = {b"%d:%d" % (number, each): b"value of %d:%d" % (number, each) for each in range(4)}
            for _ in range(5):
                assert client.set_multi(mine) == []
                assert client.get_multi(list(mine)) == mine
                for key, value in mine.items():
                    assert client.get(key) == value
        except BaseException as error:
            failures.append(error)

    with threaded_tiny_server() as port, Client(port=port, timeout=DEADLINE, pool=3, dialect=dialect) as client:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
        assert failures == []
        assert len(opened) <= 3
        assert len(client._connections) == len(opened)


def test_call_on_exhausted_pool_raises_timeout_error_and_harms_nothing() -> None:
    with server(answer_noop) as port, Client(port=port, timeout=0.06, pool=1) as client:
        taken = client._permits_here().take()
        assert taken is not None
        with pytest.raises(TimeoutError, match="all 1 connections of the pool are in use"):
            client.noop()
        client._permits_here().give_back(taken)
        client.timeout = DEADLINE
        assert client.noop()


# Where nothing refers to a socket yet, the garbage collector closes it, and warns.
@pytest.mark.untraced
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("error", [KeyboardInterrupt, Own])
def test_interruption_at_any_line_loses_no_place_of_the_pool(error: type[BaseException]) -> None:
    with threaded_tiny_server() as port, Client(port=port, timeout=DEADLINE, pool=1, dialect=Dialect.META) as client:
        assert client.set_multi({b"a": b"value of a", b"b": b"value of b"}) == []
        lines = 0
        while interrupted_at(lines, client, error):
            assert len(client._connections) <= 1
            assert client.get(b"b") == b"value of b"
            if lines % 2:
                client.close()
            lines += 1
            assert lines < 2000
    gc.collect()  # while the warnings are ignored
    assert lines > 40


def test_connection_that_another_thread_puts_back_is_used_by_one_that_waits() -> None:
    with server(answer_noop, answer_version) as port, Client(port=port, timeout=DEADLINE, pool=1) as client:
        assert client.noop()
        (connection,) = client._connections
        client._connections.clear()
        versions: list[bytes] = []
        thread = threading.Thread(target=lambda: versions.append(client.version()))
        thread.start()
        while not client._permits_here()._waiting:
            assert thread.is_alive()
        # The server closes it when it has answered once. So the call finds it unusable, and opens another.
        connection.stream.wait(None)
        connection.last_used -= 100
        client._put_back(connection)
        thread.join(DEADLINE)
        assert versions == [b"1.2.3"]


def test_connection_that_is_put_back_belongs_to_the_thread_that_waits_and_not_to_the_next_call() -> None:
    with threaded_tiny_server() as port, Client(port=port, timeout=DEADLINE, pool=1) as client:
        assert client.noop()
        (connection,) = client._connections
        client._connections.clear()
        thread = threading.Thread(target=client.noop)
        thread.start()
        while not client._permits_here()._waiting:
            assert thread.is_alive()
        client._put_back(connection)
        assert not client._permits_here()._waiting
        assert client.noop()
        thread.join(DEADLINE)
        assert client._connections == [connection]


def test_exhausted_pool_of_a_node_is_a_failure_of_the_node() -> None:
    with server(answer_noop) as port, Cluster([("127.0.0.1", port)], timeout=0.06, pool=1) as cluster:
        client = cluster._client(cluster.nodes[0])
        taken = client._permits_here().take()
        assert taken is not None
        assert cluster.get(b"key") is None
        assert cluster.router.dead_nodes() == set(cluster.nodes)
        client._permits_here().give_back(taken)
        assert client.noop()


def test_usable_connection_that_another_call_puts_back_is_not_replaced(opened: list[Stream]) -> None:
    with threaded_tiny_server() as port, Client(port=port, timeout=DEADLINE, pool=1) as client:
        assert client.noop()
        (connection,) = client._connections
        pop = client._connections
        client._connections = []
        permits = client._permits_here()
        take = permits.take

        def put_back_first() -> None:
            client._connections = pop
            permits.take = take  # type: ignore[method-assign]

        permits.take = put_back_first  # type: ignore[method-assign]
        assert client.noop()
        assert client._connections == [connection]
        assert len(opened) == 1


def test_idle_connection_is_closed_when_another_is_put_back_or_when_a_call_finds_it() -> None:
    with threaded_tiny_server() as port, Client(port=port, timeout=DEADLINE, pool=3, idle=30.0) as client:
        assert client.noop()
        (first,) = client._connections
        client._connections.clear()
        assert client.noop()
        (second,) = client._connections
        assert second is not first
        first.last_used -= 100
        client._connections.insert(0, first)
        assert client.noop()
        assert client._connections == [second]
        assert first.stream._socket.fileno() == -1
        assert client._permits_here().take() is not None
        second.last_used -= 100
        assert client.noop()
        assert second.stream._socket.fileno() == -1


def test_last_idle_connection_taken_by_another_thread_meanwhile_does_no_harm() -> None:
    with Client(pool=1, idle=30.0) as client:
        client._close_idle(1000.0)
        assert client._connections == []


def test_connection_that_cannot_be_opened_costs_no_place_of_the_pool() -> None:
    with server(answer_noop) as port, Client(port=port, timeout=DEADLINE, pool=1) as client:
        there, client._node = client._node, Node("127.0.0.1", 1)
        for _ in range(3):
            with pytest.raises(ConnectionRefusedError):
                client.noop()
        client._node = there
        assert client.noop()


@pytest.mark.parametrize("during", ["connecting", "login"])
def test_interruption_while_a_failed_connection_is_closed_leaves_no_socket_beside_the_place_that_is_free(
    monkeypatch: pytest.MonkeyPatch, opened: list[Stream], during: str
) -> None:
    def interrupted(_: Stream) -> None:
        monkeypatch.undo()
        raise Own

    with socket.create_server(("127.0.0.1", 0), backlog=8) as mute:
        port = mute.getsockname()[1] if during == "login" else 1
        with Client(port=port, timeout=0.01, pool=1, username="me") as client:
            monkeypatch.setattr(Stream, "close", interrupted)
            with pytest.raises(Own) as kept:
                client.noop()
            assert opened[0]._socket.fileno() == -1
            assert client._permits_here().take() is not None
            assert kept.value.__traceback__ is not None  # which refers to the socket


def test_forked_child_has_all_places_of_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(answer_noop, answer_noop) as port, Client(port=port, timeout=DEADLINE, pool=1) as client:
        assert client.noop()
        (of_parent,) = client._connections
        # A thread of the parent has it, which does not exist in the child.
        client._connections.clear()
        of_parent.stream.close()
        monkeypatch.setattr(os, "getpid", lambda: -1)
        assert client.noop()
        client.close()
        monkeypatch.undo()
        assert of_parent.permit is not None
        assert client._permits_here().take() is None
