"""The clients over several servers: routing, and nodes that die, hang and come back."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest

from memproto import Dialect, Limits, LocalProtocolError
from memproto.clients.async_cluster import AsyncCluster
from memproto.clients.client import Client
from memproto.clients.cluster import Cluster
from memproto.clients.ring import Node, Ring
from memproto.clients.routing import UNKNOWN, DeadNodes, KeyList, NodeResults, Router
from memproto.commands import RAW, Command, Commands, ReplyTooLargeError, Serde, ServerError
from tests.support.peers import DEADLINE, Running, _memcached, example_server, memcached, require
from tests.support.scripted_servers import server

KEYS = [b"key:%d" % number for number in range(60)]
VALUES = {key: b"value of " + key for key in KEYS}


class Blocking:
    """An asyncio cluster as if it were the blocking one."""

    def __init__(self, *arguments: Any, kind: Any = AsyncCluster, **options: Any) -> None:
        self.runner = asyncio.Runner()
        self.cluster = kind(*arguments, **options)
        self.router = self.cluster.router

    def __enter__(self) -> Any:
        self.runner.run(self.cluster.__aenter__())
        return self

    def __exit__(self, *error: object) -> None:
        self.runner.run(self.cluster.__aexit__())
        self.runner.close()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *arguments, **options: self.runner.run(getattr(self.cluster, name)(*arguments, **options))


class Server:
    """A memcached that may be killed, and started again where it was."""

    def __init__(self) -> None:
        require("memcached")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.node = Node("127.0.0.1", free.getsockname()[1])
        self.start()

    def start(self) -> None:
        user = ("-u", "nobody") if os.geteuid() == 0 else ()
        self.running = Running("memcached", "-l", "127.0.0.1", "-p", str(self.node.port), "-U", "0", *user)
        deadline = time.monotonic() + DEADLINE
        while True:
            with suppress(ConnectionError), socket.create_connection(("127.0.0.1", self.node.port), DEADLINE):
                return
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def kill(self) -> None:
        self.running.stop(signal.SIGKILL)


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    with ExitStack() as stack:
        started = []
        for _ in range(3):
            server = Server()
            stack.callback(server.kill)
            started.append(server)
        yield started


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[Node]]:
    with ExitStack() as stack:
        yield [Node("127.0.0.1", stack.enter_context(memcached()), weight) for weight in (1, 1, 2)]


both = pytest.mark.parametrize("kind", [Cluster, Blocking])
real = pytest.mark.peer("memcached")


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# --- all alive


@real
@both
@pytest.mark.parametrize("dialect", [Dialect.BINARY, Dialect.META])
def test_call_on_one_key_goes_to_its_node(kind: Any, nodes: list[Node], dialect: Dialect) -> None:
    with kind(nodes, dialect=dialect, timeout=DEADLINE) as cluster:
        assert cluster.flush() is True
        for node in nodes:
            key = next(key for key in KEYS if cluster.router.ring.node(key) == node)
            assert cluster.set(key, b"1", flags=7) is True
            with Client(node.host, node.port, timeout=DEADLINE) as client:
                assert client.get(key) == b"1"
            item = cluster.gets(key)
            assert (item.value, item.flags) == (b"1", 7)
            assert cluster.add(key, b"2") is False
            assert cluster.cas(key, b"3", item.cas) is True
            assert cluster.replace(key, b"4") is True
            assert cluster.append(key, b"5") is True
            assert cluster.prepend(key, b"1") is True
            assert cluster.incr(key, 2) == 147
            assert cluster.decr(key) == 146
            assert cluster.touch(key, 100) is True
            assert cluster.gat(key, 100) == b"146"
            assert cluster.delete(key) is True
            assert cluster.get(key) is None


@real
@both
def test_call_on_many_keys_is_split_by_node(kind: Any, nodes: list[Node]) -> None:
    with kind(nodes, timeout=DEADLINE) as cluster:
        cluster.flush()
        assert cluster.set_multi(VALUES) == []
        stored = {node: int(stats[b"curr_items"]) for node, stats in cluster.stats().items()}
        owners = [cluster.router.ring.node(key) for key in KEYS]
        assert stored == {node: owners.count(node) for node in nodes}
        assert cluster.get_multi([*KEYS, b"absent", KEYS[0]]) == VALUES
        assert sorted(cluster.delete_multi([*KEYS[:50], b"absent"])) == sorted(KEYS[:50])
        assert cluster.get_multi(iter(KEYS)) == {key: VALUES[key] for key in KEYS[50:]}
        assert cluster.get_multi([]) == {}
        assert cluster.set_multi({}) == []


@real
@both
@pytest.mark.parametrize("dialect", Dialect, ids=lambda dialect: dialect.name.lower())
@pytest.mark.parametrize("wrong", [b"k" * 251, b""])
def test_call_on_many_nodes_with_wrong_key_sends_nothing(
    kind: Any, wrong: bytes, dialect: Dialect, nodes: list[Node]
) -> None:
    with kind(nodes, timeout=DEADLINE, dialect=dialect) as cluster:
        cluster.flush()
        for key in KEYS:
            # Whichever node it is that comes first.
            with pytest.raises(LocalProtocolError, match="key"):
                cluster.set_multi({key: b"", **VALUES, wrong: b""})
        assert cluster.get_multi(KEYS) == {}
        assert cluster.set_multi(VALUES) == []
        with pytest.raises(LocalProtocolError, match="key"):
            cluster.delete_multi([*KEYS, wrong])
        assert cluster.get_multi(KEYS) == VALUES


@real
@both
def test_refusals_and_local_errors_make_no_node_dead(kind: Any, nodes: list[Node]) -> None:
    with kind(nodes, timeout=DEADLINE) as cluster:
        cluster.set(b"text", b"x")
        with pytest.raises(ServerError):
            cluster.incr(b"text")
        with pytest.raises(LocalProtocolError):
            cluster.get_multi([*KEYS, b"k" * 251])
        with pytest.raises(LocalProtocolError):
            cluster.get(b"")
        assert cluster.router.dead_nodes() == frozenset()
        assert cluster.get(b"text") == b"x"


@real
def test_cluster_with_own_serde_has_its_values(nodes: list[Node]) -> None:
    serde = Serde[int](lambda value: (b"%d" % value, 2), lambda data, _: int(data))
    with Cluster(nodes, values=serde, timeout=DEADLINE) as cluster:
        cluster.set(b"number", 42)
        assert cluster.get(b"number") == 42
    with Blocking(nodes, values=serde, timeout=DEADLINE) as other:
        assert other.get(b"number") == 42


# --- nodes that die


@real
@both
def test_keys_of_killed_node_in_miss_are_missing_until_it_is_back(kind: Any, servers: list[Server]) -> None:
    nodes = [server.node for server in servers]
    with kind(nodes, timeout=DEADLINE, retry_after=0.1) as cluster:
        assert cluster.set_multi(VALUES) == []
        gone = nodes[1]
        lost = [key for key in KEYS if cluster.router.ring.node(key) == gone]
        servers[1].kill()
        assert cluster.get_multi(KEYS) == {key: VALUES[key] for key in KEYS if key not in lost}
        key = lost[0]
        assert cluster.get(key) is None
        assert cluster.gat(key, 1) is None
        assert cluster.gets(key) is None
        for call in (cluster.set, cluster.add, cluster.replace, cluster.append, cluster.prepend):
            assert call(key, b"x") is False
        assert cluster.cas(key, b"x", 1) is None
        assert cluster.incr(key, initial=1) is None
        assert cluster.delete(key) is False
        assert cluster.touch(key) is False
        assert sorted(cluster.set_multi(VALUES)) == sorted(lost)
        assert set(cluster.delete_multi(KEYS)) == set(KEYS) - set(lost)
        assert cluster.flush() is False
        assert set(cluster.stats()) == set(nodes) - {gone}
        servers[1].start()
        until(lambda: cluster.set(key, b"back") is True)
        assert cluster.router.dead_nodes() == frozenset()
        assert cluster.get(key) == b"back"


@real
@both
def test_keys_of_killed_node_in_move_are_on_next_node_until_it_is_back(kind: Any, servers: list[Server]) -> None:
    nodes = [server.node for server in servers]
    with kind(nodes, timeout=DEADLINE, dead="move", retry_after=1.0) as cluster:
        assert cluster.set_multi(VALUES) == []
        lost = {key for key in KEYS if cluster.router.ring.node(key) == nodes[1]}
        servers[1].kill()
        # The calls that find the node dead move too.
        assert cluster.set(min(lost), b"moved") is True
        assert cluster.set_multi(VALUES) == []
        assert cluster.get_multi(KEYS) == VALUES
        rest = cluster.router.ring.without(nodes[1])
        for key in lost:
            with Client("127.0.0.1", rest.node(key).port, timeout=DEADLINE) as client:
                assert client.get(key) == VALUES[key]
        servers[1].start()
        until(lambda: cluster.get(min(lost)) is None)
        assert cluster.router.dead_nodes() == frozenset()
        assert cluster.get_multi(KEYS) == {key: value for key, value in VALUES.items() if key not in lost}


@real
@both
@pytest.mark.parametrize("dead", ["miss", "move"])
def test_node_that_hangs_is_dead_and_then_returns_right_values(
    kind: Any, dead: DeadNodes, servers: list[Server]
) -> None:
    nodes = [server.node for server in servers]
    with kind(nodes, timeout=0.5, dead=dead, retry_after=1.0) as cluster:
        assert cluster.set_multi(VALUES) == []
        lost = {key for key in KEYS if cluster.router.ring.node(key) == nodes[2]}
        process = servers[2].running.process
        process.send_signal(signal.SIGSTOP)
        try:
            os.waitpid(process.pid, os.WUNTRACED)  # it has not stopped at once
            assert cluster.get_multi(KEYS) == {key: value for key, value in VALUES.items() if key not in lost}
            assert cluster.get(min(lost)) is None
            assert cluster.set(min(lost), b"new") is (dead == "move")
        finally:
            process.send_signal(signal.SIGCONT)
        # It has the old values still.
        until(lambda: cluster.get_multi(KEYS) == VALUES)


@real
def test_tasks_while_node_dies_get_right_values(servers: list[Server]) -> None:
    nodes = [server.node for server in servers]

    async def scenario() -> None:
        async with AsyncCluster(nodes, timeout=DEADLINE, retry_after=DEADLINE) as cluster:
            assert await cluster.set_multi(VALUES) == []

            async def reads(key: bytes) -> None:
                alive = cluster.router.ring.node(key) != nodes[0]
                for _ in range(20):
                    found = await cluster.get(key)
                    assert found == VALUES[key] or (found is None and not alive)
                    await asyncio.sleep(0)

            tasks = [asyncio.create_task(reads(key)) for key in KEYS]
            cancelled = [asyncio.create_task(reads(key)) for key in KEYS]
            await asyncio.sleep(0.005)
            for task in cancelled:
                task.cancel()
            servers[0].running.process.send_signal(signal.SIGKILL)
            await asyncio.gather(*tasks)
            await asyncio.wait(cancelled)
            assert all(task.cancelled() or task.exception() is None for task in cancelled)
            alive = {key for key in KEYS if cluster.router.ring.node(key) != nodes[0]}
            assert await cluster.get_multi(KEYS) == {key: VALUES[key] for key in alive}
            assert cluster.router.dead_nodes() == {nodes[0]}

    asyncio.run(scenario())


@both
@pytest.mark.parametrize("dead", ["miss", "move"])
def test_keys_with_all_nodes_dead_are_missing(kind: Any, dead: DeadNodes) -> None:
    with socket.socket() as nobody, socket.socket() as neither:
        ports = []
        for bound in (nobody, neither):
            bound.bind(("127.0.0.1", 0))  # and does not listen
            ports.append(bound.getsockname()[1])
        # However short the time is, no call asks a node twice.
        with kind([("127.0.0.1", port) for port in ports], timeout=DEADLINE, dead=dead, retry_after=0.0) as cluster:
            assert cluster.get(b"key") is None
            assert cluster.get_multi(KEYS) == {}
            assert sorted(cluster.set_multi(VALUES)) == sorted(KEYS)
            assert cluster.delete_multi(KEYS) == []
            assert cluster.stats() == {}
            assert cluster.flush() is False


# --- writes of which nobody knows


@contextmanager
def mute() -> Iterator[Node]:
    """Takes what is sent, and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield Node("127.0.0.1", listener.getsockname()[1])


@contextmanager
def closing() -> Iterator[Node]:
    """Closes each connection as soon as something of a request has arrived; ends with one that sends nothing."""

    def serve() -> None:
        received = b"a request"
        while received:
            link, _ = listener.accept()
            with link:
                received = link.recv(1)

    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield Node("127.0.0.1", listener.getsockname()[1])
        finally:
            socket.create_connection(listener.getsockname(), DEADLINE).close()
            thread.join(DEADLINE)


WRITES: dict[str, Callable[[Any], Any]] = {
    "set": lambda cluster: cluster.set(b"key", b"1"),
    "add": lambda cluster: cluster.add(b"key", b"1"),
    "replace": lambda cluster: cluster.replace(b"key", b"1"),
    "append": lambda cluster: cluster.append(b"key", b"1"),
    "prepend": lambda cluster: cluster.prepend(b"key", b"1"),
    "cas": lambda cluster: cluster.cas(b"key", b"1", 7),
    "delete": lambda cluster: cluster.delete(b"key"),
    "incr": lambda cluster: cluster.incr(b"key"),
    "decr": lambda cluster: cluster.decr(b"key"),
    "touch": lambda cluster: cluster.touch(b"key", 10),
}
each_write = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)


@both
@each_write
@pytest.mark.parametrize("dead", ["miss", "move"])
def test_write_without_reply_is_unknown(kind: Any, write: Callable[[Any], Any], dead: DeadNodes) -> None:
    with mute() as node, kind([node], timeout=0.05, dead=dead) as cluster:
        result = write(cluster)
        assert result is UNKNOWN
        assert not result
        # Now the node is known to be dead, and is not asked.
        assert write(cluster) in (False, None)


@both
@each_write
@pytest.mark.parametrize("dead", ["miss", "move"])
def test_write_that_no_node_received_is_false(kind: Any, write: Callable[[Any], Any], dead: DeadNodes) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        with kind([nobody.getsockname()], timeout=DEADLINE, dead=dead) as cluster:
            assert write(cluster) in (False, None)


@both
@pytest.mark.parametrize("dead", ["miss", "move"])
def test_write_of_many_keys_says_which_are_unknown(kind: Any, dead: DeadNodes) -> None:
    with closing() as node, socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with kind([node, nobody.getsockname()], timeout=DEADLINE, dead=dead, retry_after=0.0) as cluster:
            seen = frozenset(key for key in KEYS if cluster.router.ring.node(key) == node)
            stored = cluster.set_multi(VALUES)
            assert isinstance(stored, KeyList)
            assert (set(stored), stored.unknown) == (set(KEYS), seen)
            removed = cluster.delete_multi(KEYS)
            assert (removed, removed.unknown) == ([], seen)
            # What only reads is never unknown.
            key = min(seen)
            assert cluster.get_multi(KEYS) == {}
            assert cluster.get(key) is None
            assert cluster.gets(key) is None
            assert cluster.gat(key, 1) is None
            assert cluster.flush() is False


@real
@both
def test_write_in_move_with_reply_of_next_node_is_known(kind: Any, nodes: list[Node]) -> None:
    with mute() as hung, kind([hung, nodes[0]], timeout=0.5, dead="move", retry_after=DEADLINE) as cluster:
        assert cluster.flush() is False
        cluster.router._dead_until.clear()
        key = next(key for key in KEYS if cluster.router.ring.node(key) == hung)
        assert cluster.set(key, b"value") is True
        cluster.router._dead_until.clear()
        stored = cluster.set_multi(VALUES)
        assert (stored, stored.unknown) == ([], frozenset())
        assert cluster.get_multi(KEYS) == VALUES


# --- what is no fault of a node


@pytest.mark.parametrize("error", [TimeoutError, BlockingIOError, ConnectionResetError])
def test_exception_of_signal_handler_makes_no_node_dead(error: type[OSError], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise error

    with mute() as node, Cluster([node], timeout=DEADLINE) as cluster:
        monkeypatch.setattr("memproto.clients.stream.Stream.wait", interrupted)
        for call in (lambda: cluster.get(b"key"), lambda: cluster.set(b"key", b"value")):
            with pytest.raises(error):
                call()
        assert cluster.router.dead_nodes() == frozenset()


@real
@both
def test_dead_node_that_refuses_when_tried_again_is_alive(kind: Any, nodes: list[Node]) -> None:
    with kind(nodes[:1], timeout=DEADLINE) as cluster:
        cluster.set(b"text", b"x")
        cluster.router._dead_until[nodes[0]] = 0.0  # dead until long ago
        with pytest.raises(ServerError):
            cluster.incr(b"text")
        assert cluster.router.dead_nodes() == frozenset()
        assert cluster.get(b"text") == b"x"


@real
@both
@pytest.mark.parametrize("dialect", Dialect, ids=lambda dialect: dialect.name.lower())
def test_reply_over_limit_fails_its_own_call_only(kind: Any, nodes: list[Node], dialect: Dialect) -> None:
    limits = Limits(value=10_000, answer=50_000)
    large, many = b"large", [b"many:%d" % number for number in range(6)]
    with kind(nodes[:1], timeout=DEADLINE, dialect=dialect, limits=limits) as cluster:
        cluster.set(large, bytes(10_001))
        assert cluster.set_multi(dict.fromkeys(many, bytes(9_999))) == []
        for _ in range(3):
            with pytest.raises(ReplyTooLargeError):
                cluster.get(large)
            with pytest.raises(ReplyTooLargeError):
                cluster.get_multi(many)
            assert cluster.get_multi(many[:5]) == dict.fromkeys(many[:5], bytes(9_999))
            assert cluster.router.dead_nodes() == frozenset()
        assert cluster.stats()[nodes[0]][b"cmd_flush"].isdigit()
    with Client(nodes[0].host, nodes[0].port, timeout=DEADLINE, dialect=dialect, limits=limits) as client:
        assert client.get(many[0]) == bytes(9_999)
        (link,) = client._connections
        for _ in range(3):
            with pytest.raises(ReplyTooLargeError):
                client.get(large)
            with pytest.raises(ReplyTooLargeError):
                client.get_multi(many)
            assert client.get(many[0]) == bytes(9_999)
        assert client._connections == [link]


# --- nodes that have too many connections


@contextmanager
def full(name: str) -> Iterator[int]:
    """A server whose connections are all taken."""
    arguments = ("-c", "64")  # with far fewer, memcached has not enough file descriptors to start
    with ExitStack() as stack:
        if name == "memcached":
            port = stack.enter_context(_memcached(*arguments))["TCP"]
        else:
            port = stack.enter_context(example_server(*arguments))
        for _ in range(100):
            link = stack.enter_context(socket.create_connection(("127.0.0.1", port), DEADLINE))
            link.sendall(b"version\r\n")
            if not link.recv(100).startswith(b"VERSION"):
                break
        else:
            pytest.fail("it is never full")
        yield port


@real
@both
@pytest.mark.parametrize("dialect", Dialect, ids=lambda dialect: dialect.name.lower())
@pytest.mark.parametrize("name", ["memcached", "memproto"])
def test_full_node_is_dead(kind: Any, name: str, dialect: Dialect) -> None:
    with full(name) as port:
        with Client("127.0.0.1", port, timeout=DEADLINE, dialect=dialect) as client:
            for _ in range(3):
                # If the request comes when the server has closed already, its refusal may be lost to a reset.
                with pytest.raises(ConnectionError, match=r"(?i)too many open connections|reset|pipe"):
                    client.version()
        with kind([("127.0.0.1", port)], timeout=DEADLINE, dialect=dialect) as cluster:
            assert cluster.get(b"key") is None
            assert len(cluster.router.dead_nodes()) == 1
            cluster.router._dead_until.clear()
            assert not cluster.set(b"key", b"value")
            assert len(cluster.router.dead_nodes()) == 1


@pytest.mark.parametrize("cut", [1, 5, 20])
@pytest.mark.parametrize("dialect", Dialect, ids=lambda dialect: dialect.name.lower())
def test_refusal_of_full_server_in_pieces_raises_connection_refused(dialect: Dialect, cut: int) -> None:
    words = b"ERROR Too many open connections\r\n"

    def refuse(link: socket.socket) -> None:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.recv(1000)
        link.sendall(words[:cut])
        time.sleep(0.01)
        link.sendall(words[cut:])
        link.shutdown(socket.SHUT_WR)
        assert link.recv(1) == b""

    with (
        server(refuse) as port,
        Client(port=port, timeout=DEADLINE, dialect=dialect) as client,
        pytest.raises(ConnectionRefusedError, match="too many open connections"),
    ):
        client.version()


# --- the router alone


def test_dead_node_after_retry_time_is_tried_by_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("memproto.clients.routing.time.monotonic", lambda: now)
    plan = Router(Commands(RAW), Ring(["a"]), "miss", retry_after=10.0, timeout=2.0)
    a = Node("a")

    def ended(step: Callable[[], object]) -> object:
        with pytest.raises(StopIteration) as end:
            step()
        return end.value.value

    call: Command[bytes | None] = plan.commands.get(b"key")
    first = plan.read(b"key", call, None)
    assert next(first) == {a: call}
    assert ended(lambda: first.send(NodeResults())) is None
    now = 109.9
    assert plan.dead_nodes() == {a}
    assert ended(lambda: next(plan.read(b"key", call, None))) is None
    now = 110.0
    assert plan.dead_nodes() == frozenset()
    trial = plan.read(b"key", call, None)
    assert next(trial) == {a: call}
    # The others wait for what it finds out, but not for ever: it may have been cancelled.
    assert plan.dead_nodes() == {a}
    now = 112.0
    assert plan.dead_nodes() == frozenset()
    assert ended(lambda: trial.send(NodeResults({a: b"value"}))) == b"value"
    assert plan.dead_nodes() == frozenset()
    now = 100.0
    assert plan.dead_nodes() == frozenset()


def test_unknown_value_of_dead_is_refused() -> None:
    with pytest.raises(ValueError, match="dead is 'wait', must be miss, move or raise"):
        Cluster(["a"], dead="wait")  # type: ignore[call-overload]
