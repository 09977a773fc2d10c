"""An interruption at every line, or at every instruction, of a call: one schedule for each."""

from __future__ import annotations

import asyncio
import dis
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, TypeAlias, TypeVar

from tests.desync.asynchronous import AsyncContestant, AsyncTrial
from tests.desync.clients import Contestant
from tests.desync.faults import Fault
from tests.desync.oracle import COUNTERS, VALUES, Call, Kind, Tally
from tests.desync.trial import Trial

T = TypeVar("T")
#: Makes what a signal handler raises.
Error: TypeAlias = Callable[[], BaseException]
_Tracer: TypeAlias = Callable[[FrameType, str, Any], "_Tracer | None"]

# What a bare "try:" is compiled to. No signal is ever handled at one, and those within a "with" are outside of what
# it protects, so that an exception there would leave a lock locked.
_NOP = dis.opmap["NOP"]

# More than any call has, so that a call without an end fails.
_MOST = 20_000

# No client may take so long to close, in seconds.
_LONG = 1_000.0

# What becomes of the answer to the call that is interrupted, and how likely a write falls short or finds no room.
_WEATHER = (
    (Fault.WHOLE, 0.0),
    (Fault.LATE, 0.0),
    (Fault.STALLED, 0.0),
    (Fault.CUT, 0.0),
    (Fault.WHOLE, 1.0),
)

_TARGETS = (
    Call(Kind.GET, VALUES[:1]),
    Call(Kind.MANY, (VALUES[1], VALUES[0], COUNTERS[0])),
    Call(Kind.SET, VALUES[1:2], VALUES[1] + b"/serial-target" + b"." * 100),
    Call(Kind.INCREMENT, COUNTERS[:1], delta=7),
)
_BEFORE = Call(Kind.SET, VALUES[3:4], VALUES[3] + b"/serial-before")
_BEHIND = (
    Call(Kind.INCREMENT, COUNTERS[1:], delta=11),
    Call(Kind.SET, VALUES[:1], VALUES[0] + b"/serial-behind"),
    Call(Kind.ADD, VALUES[2:3], VALUES[2] + b"/serial-behind"),
    Call(Kind.GET, VALUES[1:2]),
    Call(Kind.GET, VALUES[:1]),
    Call(Kind.MANY, VALUES),
)


class _Serving(Protocol):
    serving: bool


class Fuse:
    """Raises ``error`` at the ``at``-th line, or instruction, of the client's own code."""

    def __init__(
        self, network: _Serving, folders: tuple[str, ...], at: int, instructions: bool, error: Error = KeyboardInterrupt
    ) -> None:
        self._error = error
        self._network = network
        self._folders = folders
        self._left = at
        self._event = "opcode" if instructions else "line"

    @property
    def burnt(self) -> bool:
        """Whether the call came so far."""
        return self._left <= 0

    def __call__(self, call: Callable[[], T]) -> T:
        before = sys.gettrace()
        sys.settrace(self._enter)
        try:
            return call()
        finally:
            sys.settrace(before)

    def _enter(self, frame: FrameType, event: str, argument: object) -> _Tracer | None:
        if self._network.serving or not frame.f_code.co_filename.startswith(self._folders):
            return None
        return self._step

    def _step(self, frame: FrameType, event: str, argument: object) -> _Tracer | None:
        if event == "line":
            # Not at the call: CPython 3.13 takes it from a frame that is being traced only.
            frame.f_trace_opcodes = self._event == "opcode"
        if event == self._event:
            self._left -= 1
            if self._left == 0:
                if frame.f_code.co_code[frame.f_lasti] != _NOP:
                    raise self._error()
                self._left = 1
        return self._step


def _folders(contestant: Contestant | AsyncContestant) -> tuple[str, ...]:
    own = contestant.package in ("memproto", "memproto.clients.async_client")
    packages = ("memproto",) if own else (contestant.package,)
    specs = [importlib.util.find_spec(package) for package in packages]
    found = [(spec.origin, spec.submodule_search_locations) for spec in specs if spec is not None]
    return tuple(str(Path(origin).parent) if places else origin for origin, places in found if origin is not None)


def _run(
    contestant: Contestant | AsyncContestant,
    target: Call,
    fault: Fault,
    jam: float,
    warm: bool,
    at: int,
    instructions: bool,
    error: Error,
) -> tuple[Tally, bool]:
    if isinstance(contestant, Contestant):
        return _run_blocking(contestant, target, fault, jam, warm, at, instructions, error)
    return _run_tasks(contestant, target, fault, jam, warm, at, instructions, error)


def _run_blocking(
    contestant: Contestant,
    target: Call,
    fault: Fault,
    jam: float,
    warm: bool,
    at: int,
    instructions: bool,
    error: Error,
) -> tuple[Tally, bool]:
    trial = Trial(f"lines/{at}", ())
    trial.network.short, trial.network.jam = 0.0, 0.0
    fuse = Fuse(trial.network, _folders(contestant), at, instructions, error)
    with contestant.make(trial.network) as ask:
        if warm:
            trial.carry_out(ask, _BEFORE)
        plan = trial.service.plan
        plan.faults, plan.rate = (fault,), 1.0
        trial.network.short = trial.network.jam = jam
        trial.carry_out(ask, target, fuse)
        plan.faults = ()
        trial.network.short = trial.network.jam = 0.0
        for call in _BEHIND:
            trial.carry_out(ask, call)
        trial.recover(ask)
    trial.tally.interrupted += fuse.burnt
    return trial.tally, fuse.burnt


def _run_tasks(
    contestant: AsyncContestant,
    target: Call,
    fault: Fault,
    jam: float,
    warm: bool,
    at: int,
    instructions: bool,
    error: Error,
) -> tuple[Tally, bool]:
    """The same for a program that goes on with the same loop after it was interrupted."""
    trial = AsyncTrial(f"lines/{at}", (), 0.0)
    loop, plan = trial.loop, trial.service.plan
    loop.jam = 0.0
    loop.set_exception_handler(lambda *_: None)
    fuse = Fuse(loop, _folders(contestant), at, instructions, error)
    with asyncio.Runner(loop_factory=lambda: loop):
        opening = contestant.make()
        ask = loop.run_until_complete(opening.__aenter__())
        if warm:
            loop.run_until_complete(trial.carry_out(ask, _BEFORE))
        plan.faults, plan.rate, loop.jam = (fault,), 1.0, jam
        try:
            fuse(lambda: loop.run_until_complete(trial.carry_out(ask, target)))
        except BaseException:  # whatever the signal handler raises
            trial.tally.raised += 1
        plan.faults, loop.jam = (), 0.0
        for task in asyncio.all_tasks(loop):
            task.cancel()
        with suppress(RuntimeError):  # the loop stops once more if the call had just ended when it was interrupted
            loop.run_until_complete(asyncio.sleep(0))
        for call in _BEHIND:
            loop.run_until_complete(trial.carry_out(ask, call))
        loop.run_until_complete(trial.recover(ask))
        try:
            loop.run_until_complete(asyncio.wait_for(opening.__aexit__(None, None, None), _LONG))
        except TimeoutError:
            trial.tally.stuck += 1
        loop.hang_up()
        loop.run_until_complete(asyncio.sleep(0))
    trial.tally.interrupted += fuse.burnt
    return trial.tally, fuse.burnt


def places(
    contestant: Contestant | AsyncContestant,
    instructions: bool = False,
    stride: int = 1,
    error: Error = KeyboardInterrupt,
) -> Iterator[tuple[str, Tally]]:
    """What came of an interruption at every place of every kind of call, each with the name of its schedule.

    Of the places only each ``stride``-th is tried.
    """
    for target in _TARGETS:
        for fault, jam in _WEATHER:
            for warm in (True, False):
                for at in count(1, stride):
                    if at > _MOST:
                        raise RuntimeError(f"{target.kind.value} has no end")
                    tally, burnt = _run(contestant, target, fault, jam, warm, at, instructions, error)
                    yield f"{target.kind.value}, {fault.value}, jam {jam}, warm {warm}, at {at}", tally
                    if not burnt:
                        break


def everywhere(
    contestant: Contestant | AsyncContestant,
    instructions: bool = False,
    stride: int = 1,
    error: Error = KeyboardInterrupt,
) -> Tally:
    """All of :func:`places`."""
    whole = Tally()
    for _, tally in places(contestant, instructions, stride, error):
        whole.add(tally)
    return whole
