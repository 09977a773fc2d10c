"""The state machines to inherit from: they pass what is right, and find what is wrong."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from memproto import (
    AnyReply,
    ClientConnection,
    Counter,
    Delete,
    Deleted,
    Dialect,
    Envelope,
    Failure,
    Get,
    Increment,
    RemoteProtocolError,
    ReplyReceived,
    Request,
    ServerConnection,
    Set,
    Values,
)
from memproto.engine import Engine
from memproto.testing import ClientMachine, Duplicate, FakePipe, ServerMachine
from tests.support.peers import require


class Server(ServerMachine):
    """A right server."""

    def start(self) -> None:
        self.connection = ServerConnection()
        self.engine = Engine()
        # CAS numbers are the server's own.
        self.engine.execute(Set(b"other", b""), 0)
        self.now = 0.0

    def receive(self, data: bytes) -> bytes:
        self.connection.receive_data(data)
        sent = b""
        while isinstance(event := self.connection.next_event(), Envelope):
            sent += self.connection.send(self.answer(event), event)
        return sent

    def answer(self, event: Envelope) -> AnyReply:
        return self.engine.execute(event.request, self.now)

    def advance(self, seconds: float) -> None:
        self.now += seconds


class ClassicServer(Server):
    dialect = Dialect.CLASSIC


class MetaServer(Server):
    dialect = Dialect.META


class TimelessServer(Server):
    advance = ServerMachine.advance


FEW = settings(max_examples=8, stateful_step_count=20)


@pytest.mark.parametrize("machine", [Server, ClassicServer, MetaServer, TimelessServer])
def test_a_right_server_passes(machine: type[ServerMachine]) -> None:
    run_state_machine_as_test(machine, settings=FEW)


class Forgetful(Server):
    def answer(self, event: Envelope) -> AnyReply:
        reply = super().answer(event)
        return Values() if isinstance(reply, Values) else reply


class Immortal(Server):
    def advance(self, seconds: float) -> None: ...


class CasBlind(Server):
    def answer(self, event: Envelope) -> AnyReply:
        request = event.request
        return self.engine.execute(request.replace(cas=0) if isinstance(request, Set) else request, self.now)


class Hasty(Server):
    """It takes each piece for a whole request."""

    def receive(self, data: bytes) -> bytes:
        self.connection = ServerConnection()
        return super().receive(data)


class Unequal(Server):
    def answer(self, event: Envelope) -> AnyReply:
        reply = super().answer(event)
        return Deleted() if isinstance(event.request, Delete) and isinstance(reply, Failure) else reply


def run(machine: type[RuleBasedStateMachine]) -> None:
    # Nothing is made smaller: it is enough that there is an error.
    many = settings(max_examples=1500, stateful_step_count=30, phases=[Phase.generate], database=None)
    run_state_machine_as_test(machine, settings=many)


@pytest.mark.once
@pytest.mark.parametrize("machine", [Forgetful, Immortal, CasBlind, Hasty, Unequal])
def test_a_wrong_server_is_found(machine: type[ServerMachine]) -> None:
    with pytest.raises((AssertionError, RemoteProtocolError, ExceptionGroup)):
        run(machine)


def test_a_server_that_cannot_be_given_bytes_is_told_what_is_missing() -> None:
    with pytest.raises(NotImplementedError, match=r"^ServerMachine.receive\(data\) gives the server bytes"):
        run(ServerMachine)


# --- clients


class PipeClient(ClientMachine):
    """A right client in memory: it gives up a connection after a timeout."""

    raises = (OSError, RemoteProtocolError)
    dialect = Dialect.META

    def open(self) -> None:
        self.pipe: FakePipe | None = None

    def ask(self, request: Request[Any]) -> Any:
        if self.pipe is None or not self.pipe.client.reusable:
            self.pipe = self.fake.pipe(ClientConnection(dialect=self.dialect))
        try:
            exchange = self.pipe.send(request)
            self.pipe.run()
        except RemoteProtocolError:
            self.pipe = None
            raise
        if exchange.reply is None:
            self.give_up(self.pipe, exchange)
            raise TimeoutError
        return exchange.reply

    def give_up(self, pipe: FakePipe, exchange: Any) -> None:
        self.pipe = None

    def get(self, key: bytes) -> bytes | None:
        reply = self.ask(Get((key,)))
        return reply.items[0].value if reply.items else None

    def set(self, key: bytes, value: bytes) -> None:
        self.ask(Set(key, value))

    def delete(self, key: bytes) -> bool:
        return isinstance(self.ask(Delete(key)), Deleted)

    def incr(self, key: bytes, delta: int) -> int | None:
        reply = self.ask(Increment(key, delta))
        return reply.value if isinstance(reply, Counter) else None


class Abandoning(PipeClient):
    """It keeps the connection, and lets it drop the late reply."""

    def give_up(self, pipe: FakePipe, exchange: Any) -> None:
        pipe.client.abandon(exchange)


class SmallClient(PipeClient):
    delete = ClientMachine.delete
    incr = ClientMachine.incr


@pytest.mark.parametrize("machine", [PipeClient, Abandoning, SmallClient])
def test_a_right_client_passes(machine: type[ClientMachine]) -> None:
    run_state_machine_as_test(machine, settings=FEW)


class Careless(PipeClient):
    """It takes the next reply for that to its request, whatever is on the way."""

    dialect = Dialect.CLASSIC

    def ask(self, request: Request[Any]) -> Any:
        if self.pipe is None or not self.pipe.client.reusable:
            self.pipe = self.fake.pipe(ClientConnection(dialect=self.dialect))
        try:
            self.pipe.send(request)
            events = self.pipe.run()
        except RemoteProtocolError:
            self.pipe = None
            raise
        if not events or not isinstance(events[0], ReplyReceived):
            raise TimeoutError
        return events[0].reply

    def get(self, key: bytes) -> bytes | None:
        reply = self.ask(Get((key,)))
        return reply.items[0].value if isinstance(reply, Values) and reply.items else None


class Nervous(PipeClient):
    """It raises an error although nothing has happened."""

    def get(self, key: bytes) -> bytes | None:
        raise OSError


class Lying(PipeClient):
    """It takes errors for misses."""

    def get(self, key: bytes) -> bytes | None:
        try:
            return super().get(key)
        except self.raises:
            return None


@pytest.mark.once
@pytest.mark.parametrize("machine", [Careless, Nervous, Lying])
def test_a_wrong_client_is_found(machine: type[ClientMachine]) -> None:
    with pytest.raises((AssertionError, ExceptionGroup)):
        run(machine)


def test_a_client_that_is_not_connected_is_told_what_is_missing() -> None:
    with pytest.raises(NotImplementedError, match=r"^ClientMachine.open\(\) connects a client to self.fake"):
        ClientMachine()


def test_a_client_that_cannot_be_asked_is_an_error() -> None:
    class Mute(ClientMachine):
        def open(self) -> None: ...

    machine = Mute()
    for ask in (
        lambda: machine.get(b"k"),
        lambda: machine.set(b"k", b"v"),
        lambda: machine.delete(b"k"),
        lambda: machine.incr(b"k", 1),
    ):
        with pytest.raises(NotImplementedError):
            ask()


class Pymemcache(ClientMachine):
    """pymemcache hangs up after each error."""

    def open(self) -> None:
        module: Any = importlib.import_module("pymemcache")
        self.client = module.Client("any:1", socket_module=self.fake.socket_module, timeout=1, default_noreply=False)
        type(self).raises = (OSError, module.exceptions.MemcacheError)

    def get(self, key: bytes) -> bytes | None:
        value: bytes | None = self.client.get(key)
        return value

    def set(self, key: bytes, value: bytes) -> None:
        self.client.set(key, value)

    def delete(self, key: bytes) -> bool:
        return bool(self.client.delete(key))

    def incr(self, key: bytes, delta: int) -> int | None:
        number: int | None = self.client.incr(key, delta)
        return number

    def close(self) -> None:
        self.client.close()


class PymemcacheWithDuplicates(Pymemcache):
    faults = st.builds(Duplicate, st.just(1))


@pytest.mark.peer("pymemcache")
def test_pymemcache_passes_with_a_slow_network_and_fails_with_replies_that_come_twice() -> None:
    require("pymemcache")
    run_state_machine_as_test(Pymemcache, settings=FEW)
    with pytest.raises((AssertionError, KeyError, ValueError, ExceptionGroup)):
        run(PymemcacheWithDuplicates)
