"""Schedules for a ``ClientConnection`` alone: sending, delivering, pulling and abandoning in any order.

What each exchange ought to be told is what a server of its own, which does nothing wrong, tells a client of its own.
A reply is right if it is equal to that, down to the CAS.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable

from memproto import (
    Add,
    Append,
    ClientConnection,
    ConnectionClosed,
    Delete,
    Dialect,
    Exchange,
    Failure,
    Get,
    Increment,
    Noop,
    RemoteProtocolError,
    ReplyReceived,
    Request,
    ServerConnection,
    Set,
    Signal,
    Silence,
    Status,
    Touch,
    Values,
    Version,
)
from memproto.engine import Engine
from tests.desync.faults import Fault, Mark, Plan
from tests.desync.oracle import COUNTERS, KEYS, VALUES, Tally

_STEPS = 60


def _request(chance: random.Random, number: int) -> tuple[Request[object], bool]:
    """A request, and whether it has a quiet form."""
    key = chance.choice(VALUES)
    value = b"%b/serial-%d" % (key, number)
    quiet: list[Callable[[], Request[object]]] = [
        lambda: Get((chance.choice(KEYS),)),
        lambda: Set(key, value),
        lambda: Set(key, value, cas=chance.randint(1, 12)),
        lambda: Add(key, value),
        lambda: Append(key, b"+%d" % number),
        lambda: Delete(key),
        lambda: Increment(chance.choice(COUNTERS), number + 1),
    ]
    answered: list[Callable[[], Request[object]]] = [
        lambda: Get(tuple(chance.sample(KEYS, chance.randint(2, len(KEYS))))),
        lambda: Touch(key, 0),
        Noop,
        Version,
    ]
    make = chance.choice(quiet * 2 + answered)
    return make(), make not in answered


class _Twin:
    """A server that answers one exchange at a time, at once and whole."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self.engine = _engine()

    def reply(self, request: Request[object], quiet: bool) -> object:
        """What the request is answered."""
        client, server = ClientConnection(dialect=self._dialect), ServerConnection()
        exchange = client.send_quiet(request) if quiet else client.send(request)
        server.receive_data(exchange.data + client.fence())
        _answer(server, self.engine, lambda data: client.receive_data(data))
        while client.next_event() is not Signal.NEED_DATA:
            pass
        return exchange.reply


def _engine() -> Engine:
    engine = Engine()
    for number, key in enumerate(KEYS[1:]):
        engine.execute(Set(key, b"%d" % (1_000_000 * (number + 1))), 0)
    return engine


def _answer(server: ServerConnection, engine: Engine, say: Callable[[bytes], None]) -> None:
    while not isinstance(event := server.next_event(), Signal | ConnectionClosed):
        # Nothing in a schedule expires.
        say(server.send(engine.execute(event.request, 0), to=event))


class _Schedule:
    def __init__(self, dialect: Dialect, seed: str, faults: tuple[Fault, ...]) -> None:
        self.tally = Tally(schedules=1)
        self._chance = random.Random(seed)
        self._plan = Plan(f"{seed}/plan", faults, 0.1)
        self._twin = _Twin(dialect)
        self._client, self._server = ClientConnection(dialect=dialect), ServerConnection()
        self._engine = _engine()
        self._to_server = bytearray()
        self._to_client: deque[bytes | Mark] = deque()
        self._expected: dict[int, object] = {}
        self._waiting: list[Exchange[object]] = []
        self._abandoned: list[Exchange[object]] = []
        self._owed = b""
        self._over = False

    def run(self) -> Tally:
        steps = (self._ask, self._carry, self._deliver, self._pull, self._abandon, self._fence)
        for _ in range(_STEPS):
            (step,) = self._chance.choices(steps, (5, 4, 6, 4, 1, 1))
            if not self._over:
                step()
        self._finish()
        return self.tally

    def _ask(self) -> None:
        if not self._client.reusable:
            return
        request, can_be_quiet = _request(self._chance, self.tally.calls)
        quiet = can_be_quiet and self._chance.random() < 0.3
        exchange = self._client.send_quiet(request) if quiet else self._client.send(request)
        self._to_server += exchange.data
        self._expected[id(exchange)] = self._twin.reply(request, quiet)
        self._waiting.append(exchange)
        self.tally.calls += 1

    def _fence(self) -> None:
        self._to_server += self._client.fence()

    def _carry(self, everything: bool = False) -> None:
        """Let the server have some of what was said."""
        size = len(self._to_server) if everything else self._chance.randint(0, len(self._to_server))
        if Mark.END not in self._to_client:
            self._server.receive_data(self._to_server[:size])
            _answer(self._server, self._engine, self._say)
        del self._to_server[:size]

    def _say(self, answer: bytes) -> None:
        if answer and Mark.END not in self._to_client:
            fault = self._plan.draw()
            self._to_client += [*filter(None, [self._owed]), *self._plan.spoil(fault, answer)]
            self._owed = answer if fault is Fault.BEHIND else b""

    def _deliver(self, everything: bool = False) -> None:
        """Let the client have some of what was answered; a stall is a time at which somebody gives up."""
        while self._to_client and not self._over:
            head = self._to_client.popleft()
            if head is Mark.END:
                self._client.receive_eof()
                self._pull()
                self._over = True
            elif head is Mark.STALL:
                self._abandon()
            elif isinstance(head, bytes):
                size = len(head) if everything else self._chance.randint(0, len(head))
                self._client.receive_data(head[:size])
                if head[size:]:
                    self._to_client.appendleft(head[size:])
            if not everything:
                return

    def _abandon(self) -> None:
        if self._waiting:
            exchange = self._waiting.pop(self._chance.randrange(len(self._waiting)))
            self._client.abandon(exchange)
            self._abandoned.append(exchange)

    def _pull(self) -> None:
        try:
            while isinstance(event := self._client.next_event(), ReplyReceived):
                self._check(event)
        except RemoteProtocolError:
            self.tally.raised += 1
            self._over = True
            self.tally.stuck += self._client.reusable

    def _check(self, event: ReplyReceived) -> None:
        self.tally.answers += 1
        exchange = event.exchange
        if not any(exchange is one for one in self._waiting):
            self._wrong("abandoned or answered before")
            return
        self._waiting = [one for one in self._waiting if one is not exchange]
        expected = self._expected[id(exchange)]
        if event.reply == expected == exchange.reply:
            return
        if _is_less(event.reply, expected):
            self.tally.lost += 1
        else:
            self._wrong(type(exchange.request).__name__)

    def _wrong(self, kind: str) -> None:
        self.tally.wrong += 1
        self.tally.kinds[kind] += 1

    def _finish(self) -> None:
        """Deliver all that is on its way."""
        if not self._over:
            self._fence()
            self._carry(everything=True)
            self._deliver(everything=True)
        if not self._over:
            self._pull()
        if not self._over:
            self.tally.stuck += len(self._waiting)
        self.tally.wrong += sum(exchange.reply is not None for exchange in self._abandoned)


def _is_less(reply: object, expected: object) -> bool:
    """Whether a reply differs only by what silence leaves out: hits of a get, the refusal of a quiet request."""
    if isinstance(expected, Values):
        found = reply.items if isinstance(reply, Values) else ()
        return isinstance(reply, Values | Silence) and all(item in expected.items for item in found)
    return isinstance(reply, Silence) and isinstance(expected, Failure) and expected.status != Status.SUCCESS


def run(dialect: Dialect, seed: str, faults: tuple[Fault, ...]) -> Tally:
    """One schedule."""
    return _Schedule(dialect, f"pure/{seed}", faults).run()


def run_many(dialect: Dialect, seed: int, count: int, faults: tuple[Fault, ...]) -> Tally:
    """Many schedules."""
    tally = Tally()
    for number in range(count):
        tally.add(run(dialect, f"{seed}/{number}", faults))
    return tally
