"""Schedules for blocking clients."""

from __future__ import annotations

import random
from collections.abc import Callable
from unittest import mock

from tests.desync.clients import Ask, Contestant
from tests.desync.faults import Fault, Plan
from tests.desync.oracle import VALUES, Call, Kind, Result, Tally, Verdict, calls
from tests.desync.service import Service
from tests.desync.sockets import Network

#: Carries out a call with an interruption in it; what it is worth has no meaning if it raises.
Interrupt = Callable[[Callable[[], Result]], Result]

#: The calls of a schedule.
CALLS = 16
#: How often another client writes between two calls, so that an old answer is a wrong one.
OTHERS = 0.25
#: How often a call is interrupted.
INTERRUPTS = 0.15
#: How often a client may fail when all is well again: it may have to find out that its connection is of no use.
PATIENCE = 5


class Trial:
    """One schedule: a client object, its server, and what came of its calls."""

    def __init__(self, seed: str, faults: tuple[Fault, ...], rate: float = 0.25) -> None:
        self.service = Service(Plan(f"{seed}/plan", faults, rate))
        self.network = Network(self.service, f"{seed}/network")
        self.tally = Tally(schedules=1)

    def carry_out(self, ask: Ask, call: Call, interrupt: Interrupt | None = None) -> Verdict | None:
        """Make a call and judge it; ``None`` if it raised."""
        oracle = self.service.oracle
        self.network.failed = False
        oracle.issue(call)
        began = oracle.tick
        # Without an item there is no CAS, and 0 would be none.
        cas = (oracle.cas(call.key) or 1) + (0 if call.fresh else 1_000)
        self.tally.calls += 1
        try:
            result = interrupt(lambda: ask(call, cas)) if interrupt else ask(call, cas)
        except BaseException:  # an exception is never a wrong answer
            self.tally.raised += 1
            return None
        finally:
            self.network.fuse = 0
        self.tally.answers += 1
        verdict = oracle.judge(call, result, began, self.network.failed)
        self.tally.wrong += verdict is Verdict.WRONG
        self.tally.lost += verdict is Verdict.LOST
        if verdict is Verdict.WRONG:
            self.tally.kinds[call.kind.value] += 1
        return verdict

    def recover(self, ask: Ask) -> None:
        """All is well from now on; a client that still has no right answer after some calls is stuck."""
        self.service.recover()
        self.network.short = self.network.jam = 0.0
        for _ in range(PATIENCE):
            if self.carry_out(ask, Call(Kind.GET, VALUES[:1])) is Verdict.RIGHT:
                break
        else:
            self.tally.stuck += 1
        self.tally.wrong += self.service.oracle.corrupt
        self.tally.kinds["stored"] += self.service.oracle.corrupt


def run(
    contestant: Contestant,
    seed: str,
    faults: tuple[Fault, ...],
    interrupts: float = INTERRUPTS,
    error: Callable[[], BaseException] = KeyboardInterrupt,
) -> Tally:
    """One schedule. A call is interrupted by ``error`` with the probability ``interrupts``."""
    trial = Trial(seed, faults)
    trial.network.error = error
    chance = random.Random(f"{seed}/interrupts")
    # Where a client's opaques begin follows from the seed too.
    with (
        mock.patch("memproto.clients.connection._RANDOM", random.Random(f"{seed}/opaques")),
        contestant.make(trial.network) as ask,
    ):
        for number, call in enumerate(calls(f"{seed}/calls", CALLS)):
            if chance.random() < OTHERS:
                trial.service.write(chance.choice(VALUES), number)
            trial.network.fuse = chance.randint(1, 24) if chance.random() < interrupts else 0
            trial.carry_out(ask, call)
        trial.recover(ask)
    trial.tally.interrupted = trial.network.interruptions
    return trial.tally


def run_many(
    contestant: Contestant,
    seed: int,
    count: int,
    faults: tuple[Fault, ...],
    interrupts: float = INTERRUPTS,
    error: Callable[[], BaseException] = KeyboardInterrupt,
) -> Tally:
    """Many schedules."""
    tally = Tally()
    for number in range(count):
        tally.add(run(contestant, f"{seed}/{number}", faults, interrupts, error))
    return tally
