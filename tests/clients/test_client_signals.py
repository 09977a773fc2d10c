"""The blocking client among signals, forks and threads: real ones, and a real server."""

from __future__ import annotations

import errno
import gc
import os
import random
import signal
import socket
import ssl
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType, ModuleType

import pytest

from memproto import Dialect, Version
from memproto.clients import Node, Settings
from memproto.clients.client import Client
from memproto.clients.cluster import Cluster
from memproto.clients.connection import Connection
from memproto.commands import Command, ServerError
from tests.support.certificates import client_context
from tests.support.opaques import opaques_begin_at_0
from tests.support.peers import DEADLINE, memcached
from tests.support.scripted_servers import answer_version, over_tls, read, server

__all__ = ["opaques_begin_at_0"]

VALUES = {b"a": b"a" * 200_000, b"b": b"b" * 150_000, b"c": b"c"}
KEYS = tuple(VALUES)

real = pytest.mark.peer("memcached")
each_dialect = pytest.mark.parametrize("dialect", Dialect, ids=lambda dialect: dialect.name.lower())
# From 3.12 on Python warns of what these tests are about.
forking = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with memcached() as port, Client(port=port, timeout=DEADLINE) as client:
        assert client.set_multi(VALUES) == []
        yield port


class OwnError(BaseException):
    pass


@contextmanager
def handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    # What a handler raises inside a callback of the garbage collector, such as hypothesis installs, reaches nobody; and
    # inside a trace function, such as that of coverage, it may leave a lock behind.
    gc.disable()
    tracing = sys.gettrace()
    sys.settrace(None)
    before = signal.signal(signal.SIGALRM, handler)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        sys.settrace(tracing)
        gc.enable()


# --- signals


ERRORS = (
    KeyboardInterrupt(),
    OwnError(),
    TimeoutError(),
    BlockingIOError(),
    ConnectionResetError(),
    # What tells these from the system's is not the number.
    TimeoutError(errno.ETIMEDOUT, "raised by a handler"),
    BlockingIOError(errno.EAGAIN, "raised by a handler"),
    ConnectionResetError(errno.ECONNRESET, "raised by a handler"),
    ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "raised by a handler"),
)


# An interruption inside of the constructor of a socket leaves it to the garbage collector, which warns.
@pytest.mark.untraced
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@real
@pytest.mark.parametrize("error", ERRORS, ids=repr)
@each_dialect
def test_signal_handler_that_raises_anywhere_in_call_never_leads_to_wrong_reply(
    port: int, dialect: Dialect, error: BaseException
) -> None:
    interrupted = 0
    chance = random.Random(1)

    def handler(*_: object) -> None:
        nonlocal interrupted
        interrupted += 1
        raise error.with_traceback(None)

    with handling(handler), Client(port=port, timeout=DEADLINE, dialect=dialect) as client:
        for _ in range(20_000):
            key = chance.choice(KEYS)
            try:
                signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-6, 1e-3))
                found = client.get(key)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except type(error):
                # What is kept has nothing outstanding, so that no answer can be taken for another.
                assert [link.protocol.outstanding for link in client._connections] in ([], [0])
            else:
                assert found == VALUES[key]
            if interrupted == 200:
                break
        assert interrupted == 200
        assert client.get(b"b") == VALUES[b"b"]
    gc.collect()  # while the warnings are ignored


class Interrupted(socket.socket):
    """Raises, when it is told to, after bytes have been received or sent, or instead; as a signal handler would."""

    received: OSError | None = None
    sent: OSError | None = None

    def recv(self, size: int, flags: int = 0) -> bytes:
        data = super().recv(size, flags)
        error, Interrupted.received = Interrupted.received, None
        if error is not None:
            raise error
        return data

    def send(self, data: bytes | memoryview, flags: int = 0) -> int:  # type: ignore[override]  # what is used of it
        size = super().send(data, flags)
        error, Interrupted.sent = Interrupted.sent, None
        if error is not None:
            raise error
        return size


@real
@pytest.mark.parametrize("error", [error for error in ERRORS if isinstance(error, OSError)], ids=repr)
@each_dialect
def test_exception_of_signal_handler_within_socket_operation_reaches_caller(
    port: int, dialect: Dialect, error: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("socket")
    vars(module).update(vars(socket), socket=Interrupted)
    monkeypatch.setattr("memproto.clients.stream.socket", module)
    with Client(port=port, timeout=DEADLINE, dialect=dialect) as client, Cluster([("127.0.0.1", port)]) as cluster:
        for get in (client.get, cluster.get):
            for way in ("received", "sent"):
                assert get(b"c") == VALUES[b"c"]
                setattr(Interrupted, way, error)
                with pytest.raises(type(error)) as raised:
                    get(b"a")
                assert raised.value is error
                assert get(b"c") == VALUES[b"c"]
        assert cluster.router.dead_nodes() == frozenset()


def test_signal_handler_that_returns_does_not_prolong_call() -> None:
    signals = 0

    def handler(*_: object) -> None:
        nonlocal signals
        signals += 1
        if signals == 200:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def mute(link: socket.socket) -> None:
        while link.recv(1000):
            pass

    # Each signal comes before the call's time is over, again and again.
    with server(mute) as port, Client(port=port, timeout=0.3) as client, handling(handler):
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        with pytest.raises(TimeoutError, match="longer than its timeout"):
            client.version()
        assert 0 < signals < 100


def test_call_in_signal_handler_during_call_uses_connection_of_its_own() -> None:
    inner: list[bytes] = []
    ready = threading.Event()

    def slow(link: socket.socket) -> None:
        read(link, 24)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)
        assert ready.wait(DEADLINE)
        link.sendall(b"\x81\x0b" + bytes(9) + b"\x05" + bytes(12) + b"4.5.6")
        assert link.recv(100)[1:2] in (b"", b"\x07")

    # The second connection is taken only when the first is done with, by a server of its own.
    with server(slow) as port, server(answer_version) as other:
        client = Client(port=port, timeout=DEADLINE)

        def handler(*_: object) -> None:
            client._node = Node("127.0.0.1", other)
            inner.append(client.version())
            ready.set()

        with client, handling(handler):
            assert client.version() == b"4.5.6"
            assert inner == [b"1.2.3"]


# --- forks


def in_child(run: Callable[[], None]) -> int:
    """The process in which this runs; its exit code is 0 if that raises nothing."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        run()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def ended_well(process: int) -> bool:
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        pid, status = os.waitpid(process, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.005)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return False


def check(client: Client, seed: int, count: int = 40) -> None:
    chance = random.Random(seed)
    for _ in range(count):
        key = chance.choice(KEYS)
        found = client.get(key)
        assert found == VALUES[key], f"{key!r} has {found!r:.40}"


@real
@forking
@each_dialect
def test_parent_and_child_after_fork_use_connections_of_their_own(port: int, dialect: Dialect) -> None:
    with Client(port=port, timeout=DEADLINE, dialect=dialect) as client:
        for number in range(10):
            check(client, 0, 1)
            children = [in_child(partial(check, client, number)) for _ in range(2)]
            check(client, number + 100)
            assert [ended_well(child) for child in children] == [True, True]


@real
@forking
@each_dialect
def test_fork_during_call_in_another_thread_leaves_replies_right(port: int, dialect: Dialect) -> None:
    done = threading.Event()
    failures: list[BaseException] = []

    def calls(client: Client) -> None:
        try:
            while not done.is_set():
                check(client, 1, 5)
        except BaseException as error:
            failures.append(error)

    with Client(port=port, timeout=DEADLINE, dialect=dialect) as client:
        thread = threading.Thread(target=calls, args=(client,))
        thread.start()
        try:
            for number in range(10):
                assert ended_well(in_child(partial(check, client, number)))
        finally:
            done.set()
            thread.join(DEADLINE)
    assert failures == []


@real
@forking
@each_dialect
def test_fork_in_signal_handler_during_call_leaves_replies_right(port: int, dialect: Dialect) -> None:
    """The child goes on with the call, on a connection that has been closed in it, or it had the whole answer."""
    parent = os.getpid()
    children: list[int] = []
    chance = random.Random(2)

    def handler(*_: object) -> None:
        child = os.fork()
        if child:
            children.append(child)

    with Client(port=port, timeout=DEADLINE, dialect=dialect) as client, handling(handler):
        for number in range(5_000):
            if len(children) == 15:
                break
            code = 1
            try:
                signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-6, 1e-3))
                for key in KEYS:
                    try:
                        found = client.get(key)
                    except OSError:
                        assert os.getpid() != parent
                    else:
                        assert found == VALUES[key]
                signal.setitimer(signal.ITIMER_REAL, 0)
                check(client, number, 3)
                code = 0
            finally:
                if os.getpid() != parent:
                    if code:
                        traceback.print_exc()
                    os._exit(code)
        assert len(children) == 15
        assert [child for child in children if not ended_well(child)] == []


@forking
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("way", ["closes", "calls", "ends"])
def test_child_sends_nothing_on_connection_of_its_parent(tls: bool, way: str) -> None:
    def twice(link: socket.socket) -> None:
        answer_version(link)
        assert read(link, 24) == b"\x80\x0b" + bytes(13) + b"\x01" + bytes(8)  # and nothing before it
        link.sendall(b"\x81\x0b" + bytes(9) + b"\x05" + bytes(3) + b"\x01" + bytes(8) + b"4.5.6")
        with suppress(ssl.SSLError):
            assert link.recv(100)[1:2] in (b"", b"\x07")

    context = client_context() if tls else None
    with server(over_tls(twice) if tls else twice) as port, server(answer_version) as other:
        client = Client("localhost", port, timeout=DEADLINE, tls=context)
        with client:
            assert client.version() == b"1.2.3"

            def child() -> None:
                if way == "closes":
                    client.close()
                elif way == "calls":
                    client._node, client._settings = Node("127.0.0.1", other), Settings(timeout=DEADLINE)
                    assert client.version() == b"1.2.3"
                    client.close()

            assert ended_well(in_child(child))
            assert client.version() == b"4.5.6"
            if way != "calls":
                with Client(port=other, timeout=DEADLINE) as another:
                    another.version()


# --- threads


@real
@each_dialect
def test_refusal_in_one_thread_leaves_connection_of_another(port: int, dialect: Dialect) -> None:
    failures: list[BaseException] = []

    def refused(client: Client) -> None:
        with pytest.raises(ServerError):
            client.incr(b"c")

    def found(client: Client) -> None:
        assert client.get(b"c") == VALUES[b"c"]

    def calls(call: Callable[[Client], None], client: Client) -> None:
        try:
            for _ in range(1_000):
                call(client)
        except BaseException as error:
            failures.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with Client(port=port, timeout=DEADLINE, dialect=dialect) as client:
            threads = [threading.Thread(target=calls, args=(call, client)) for call in (refused, found) * 2]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(DEADLINE)
    finally:
        sys.setswitchinterval(before)
    assert failures == []


def test_exception_after_connection_was_put_back_leaves_it_open() -> None:
    with server(answer_version) as port, Client(port=port, timeout=DEADLINE) as client:
        taken: list[object] = []

        def take(_: object) -> None:
            # As another thread, that comes just now.
            taken.extend(client._connections)
            client._connections.clear()
            raise OwnError

        with pytest.raises(OwnError):
            client.run(Command((Version(),), take))
        assert len(taken) == 1
        assert client._connections == []
        (link,) = taken
        assert isinstance(link, Connection)
        assert link.reusable
        assert link.stream._socket.fileno() != -1
        link.stream.close()


@real
@each_dialect
def test_threads_on_one_client_get_right_replies(port: int, dialect: Dialect) -> None:
    failures: list[BaseException] = []

    def calls(client: Client, seed: int) -> None:
        try:
            check(client, seed, 60)
        except BaseException as error:
            failures.append(error)

    with Client(port=port, timeout=DEADLINE, dialect=dialect) as client:
        threads = [threading.Thread(target=calls, args=(client, seed)) for seed in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
    assert failures == []
