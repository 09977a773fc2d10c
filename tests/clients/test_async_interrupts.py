"""The asyncio client when a signal handler raises: inside of the client, of asyncio, of the socket's own methods."""

from __future__ import annotations

import asyncio
import errno
import gc
import socket
import ssl
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Final, TypeVar

import pytest

from memproto import ClientConnection, Dialect, RemoteProtocolError, Set
from memproto.clients.async_client import AsyncClient
from tests.support.certificates import TLS, client_context
from tests.support.event_loops import LOOPS, Loop
from tests.support.peers import DEADLINE, example_server
from tests.support.scripted_servers import threaded_tiny_server

if TYPE_CHECKING:
    from _typeshed import TraceFunction

# What an exception inside of asyncio leaves behind: coroutines that never ran, sockets that a loop has still to close.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

T = TypeVar("T")


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What is left behind is collected here, where nobody minds, and not in another test."""
    yield
    gc.collect()


DIALECTS = [pytest.param(dialect, id=dialect.name.lower()) for dialect in Dialect]
#: How long a call may wait after an interruption, which asyncio itself does not survive everywhere.
SHORT: Final = 0.2
#: When a loop is stopped that has not ended by then; more than the client's own timeout.
STUCK: Final = 3 * SHORT
#: In several pieces each, so that where one is lost the next reply may take its place.
VALUES: Final = {b"a": b"value of a, " * 10, b"b": b"value of b, " * 10}


class HandlerError(BaseException):
    """What a signal handler may raise."""


class Torn(socket.socket):
    """Takes and gives few bytes at a time; raises, when it is told to, after bytes have been received or sent."""

    received: BaseException | None = None
    sent: BaseException | None = None
    sends = 0
    full: socket.socket

    def recv(self, size: int, flags: int = 0) -> bytes:
        data = super().recv(min(size, 23), flags)
        error, Torn.received = Torn.received, None
        if error is not None:
            raise error
        return data

    @property
    def send(self) -> Callable[[bytes | memoryview], int]:  # type: ignore[override]  # what is used of it
        Torn.sends += 1
        # The system's own refusal, as from a method of a socket: no frame of Python is between.
        return Torn.full.send if Torn.sends % 3 == 0 else self.send_some

    def send_some(self, data: bytes | memoryview) -> int:
        size = super().send(data[:1_000])
        error, Torn.sent = Torn.sent, None
        if error is not None:
            raise error
        return size


@contextmanager
def torn(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    module = ModuleType("socket")
    vars(module).update(vars(socket), socket=Torn)
    monkeypatch.setattr("memproto.clients.async_stream.socket", module)
    Torn.received = Torn.sent = None
    Torn.full, other = socket.socketpair()
    with Torn.full, other:
        Torn.full.setblocking(False)
        with suppress(BlockingIOError):
            while Torn.full.send(bytes(65_536)):
                pass
        try:
            yield
        finally:
            monkeypatch.undo()


def raised() -> list[BaseException]:
    return [
        KeyboardInterrupt(),
        SystemExit(),
        HandlerError(),
        TimeoutError(),
        TimeoutError(errno.ETIMEDOUT, "as the system does"),
        ConnectionError(),
        ConnectionResetError(errno.ECONNRESET, "as the system does"),
        OSError(),
        BlockingIOError(),
        BlockingIOError(errno.EAGAIN, "as the system does"),
        InterruptedError(),
        InterruptedError(errno.EINTR, "as the system does"),
        ssl.SSLWantReadError(),
        ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "as the system does"),
        asyncio.CancelledError(),
        ValueError(),
    ]


def evil(dialect: Dialect) -> bytes:
    """A value that stores another item, should the server take a part of it for requests."""
    store = ClientConnection(dialect=Dialect.BINARY if dialect is Dialect.BINARY else Dialect.CLASSIC)
    return store.send(Set(b"evil", b"evil")).data * 2_000


class Program:
    """Makes calls one after the other, on the same loop as long as asyncio itself is in order."""

    def __init__(self, client: AsyncClient, loop: Loop) -> None:
        self.client = client
        self.new_loop = loop
        self.loop = loop()
        self.loops = 1
        self.loop.set_exception_handler(lambda *_: None)

    def run(self, call: Coroutine[object, None, T]) -> T:
        # An exception inside of asyncio may cost a task its next step, or the loop the word that it is to stop.
        stops = [self.loop.call_later(STUCK * number, self.loop.stop) for number in (1, 2)]
        try:
            return self.loop.run_until_complete(call)
        finally:
            for stop in stops:
                stop.cancel()

    def answer(self, call: Callable[[], Coroutine[object, None, object]], expected: object) -> bool:
        """Whether there is an answer; if there is it is the right one."""
        for _ in range(4):
            try:
                result = self.run(call())
            except (OSError, RuntimeError, asyncio.CancelledError):  # the loop stops once more in its time
                continue
            assert result == expected
            return True
        self.renew()
        return False

    def renew(self) -> None:
        """Go on with another loop. The client moves to it."""
        with suppress(BaseException):
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.run(asyncio.sleep(0))
        self.close()
        asyncio._set_running_loop(None)  # as run_forever() does at its end, if it comes so far
        self.loop = self.new_loop()
        self.loop.set_exception_handler(lambda *_: None)
        self.loops += 1

    def close(self) -> None:
        with suppress(RuntimeError):
            self.loop.close()


async def both(client: AsyncClient, value: bytes) -> None:
    results = await asyncio.gather(client.get(b"a"), client.set(b"c", value), return_exceptions=True)
    for result, expected in zip(results, (VALUES[b"a"], True), strict=True):
        # The server is an honest one: whoever thinks that it breaks the protocol has lost bytes.
        assert not isinstance(result, RemoteProtocolError)
        assert result == expected or isinstance(result, BaseException)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_exception_after_bytes_were_received_or_sent_never_leads_to_wrong_reply(
    dialect: Dialect, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = 0
    with threaded_tiny_server() as port, torn(monkeypatch):
        client = AsyncClient(port=port, timeout=DEADLINE, dialect=dialect)
        program = Program(client, loop)
        program.run(client.set_multi(VALUES))
        value = evil(dialect)
        for number in range(len(raised())):
            for receiving in (True, False):
                for warm in (True, False):
                    if not warm:
                        program.run(client.set(b"c", value))
                        for link in client._pool.connections:
                            link.give_up("cold")
                    client.timeout = SHORT
                    error = raised()[number]
                    Torn.received, Torn.sent = (error, None) if receiving else (None, error)
                    with suppress(OSError, RuntimeError, ValueError, KeyboardInterrupt, SystemExit, HandlerError):
                        program.run(both(client, value))
                    client.timeout = DEADLINE
                    answers += program.answer(lambda: client.get(b"b"), VALUES[b"b"])
                    answers += program.answer(lambda: client.get_multi([b"b", b"d", b"a"]), VALUES)
                    answers += program.answer(lambda: client.get(b"evil"), None)
        program.run(client.close())
        program.close()
    assert answers > 100


class Fuse:
    """Raises at the ``at``-th instruction of the client, of the library, of asyncio, ssl and so on."""

    def __init__(self, at: int) -> None:
        self.left = at

    def enter(self, frame: FrameType, event: str, argument: object) -> TraceFunction | None:
        return None if frame.f_code.co_filename == __file__ else self.step

    def step(self, frame: FrameType, event: str, argument: object) -> TraceFunction | None:
        if event == "line":
            frame.f_trace_opcodes = True
        elif event == "opcode":
            self.left -= 1
            if self.left == 0:
                raise HandlerError if self.is_an_error else KeyboardInterrupt
        return self.step

    is_an_error = False

    def burn(self, call: Callable[[], object]) -> None:
        before = sys.gettrace()
        sys.settrace(self.enter)
        try:
            call()
        finally:
            sys.settrace(before)


@pytest.fixture(autouse=True)
def collects_garbage_itself() -> Iterator[None]:
    """Let no other thread close the coroutines that were interrupted while traced, which makes CPython 3.12.1 crash."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def everywhere(client: AsyncClient, loop: Loop, value: bytes, stride: int) -> tuple[int, int]:
    """Interrupt a call at each ``stride``-th instruction; how often that was, and how many answers came after it."""
    program = Program(client, loop)
    program.run(client.set_multi(VALUES))
    interrupted = answers = 0
    calls = (lambda: client.get(b"a"), VALUES[b"a"]), (lambda: client.set(b"c", value), True)
    for call, expected in calls:
        at = 1
        while True:
            client.timeout = SHORT
            fuse = Fuse(at)
            fuse.is_an_error = at % 2 == 0

            def once(call: Callable[[], Coroutine[object, None, object]] = call, expected: object = expected) -> None:
                assert program.run(call()) == expected

            with suppress(KeyboardInterrupt, HandlerError, OSError, RuntimeError, asyncio.CancelledError):
                fuse.burn(once)
            if fuse.left > 0:
                break
            interrupted += 1
            at += stride
            if interrupted % 20 == 0:
                gc.collect()
            answers += program.answer(lambda: client.get(b"b"), VALUES[b"b"])
            answers += program.answer(lambda: client.get_multi([b"b", b"d", b"a"]), VALUES)
            answers += program.answer(lambda: client.get(b"evil"), None)
            assert interrupted < 5_000
    program.renew()
    program.run(client.close())
    program.close()
    assert program.loops < interrupted
    return interrupted, answers


@pytest.mark.untraced
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_exception_at_any_instruction_of_call_never_leads_to_wrong_reply(
    dialect: Dialect, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with threaded_tiny_server() as port, torn(monkeypatch):
        client = AsyncClient(port=port, timeout=DEADLINE, dialect=dialect)
        interrupted, answers = everywhere(client, loop, evil(dialect)[:4_000], 61)
    assert interrupted > 40
    assert answers > 2 * interrupted


@pytest.mark.untraced
@pytest.mark.parametrize("loop", LOOPS)
def test_exception_at_any_instruction_of_call_over_tls_never_leads_to_wrong_reply(loop: Loop) -> None:
    files = f"ssl_chain_cert={TLS / 'cert.pem'},ssl_key={TLS / 'key.pem'}"
    with example_server("-Z", "-o", files) as port:
        client = AsyncClient("localhost", port, timeout=DEADLINE, tls=client_context())
        interrupted, answers = everywhere(client, loop, evil(Dialect.BINARY), 61)
    assert interrupted > 40
    assert answers > 2 * interrupted
