"""Relative expiry follows a clock that does not step, in one process and over a restart of the server."""

from __future__ import annotations

from math import inf
from pathlib import Path

import pytest

from examples import threaded, tiny_server
from memproto import Flush, Get, Ok, Set, Stats, StatsReply, Stored, Values
from memproto.server.clock import Clock
from memproto.server.command_line import parse_arguments
from memproto.server.server import Server

DAY = 86_400.0
START = 1_700_000_000.0


class Machine:
    """Two clocks, of which one can be set."""

    def __init__(self) -> None:
        self.wall = START
        self.uptime = 5000.0

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.uptime += seconds

    def clock(self) -> Clock:
        return Clock(lambda: self.wall, lambda: self.uptime)


@pytest.mark.parametrize("step", [DAY, -DAY])
def test_a_clock_goes_on_when_the_wall_clock_is_set(step: float) -> None:
    machine = Machine()
    clock = machine.clock()
    machine.passes(10)
    assert (clock.now(), clock.ahead()) == (START + 10, 0)
    machine.wall += step
    machine.passes(10)
    assert (clock.now(), clock.ahead()) == (START + 20, step)


def found(server: Server, key: bytes) -> bool:
    return server.execute(Get((key,)), server.now()) != Values()


@pytest.mark.parametrize("step", [DAY, -DAY])
def test_no_step_of_the_wall_clock_loses_or_keeps_an_item(step: float) -> None:
    machine = Machine()
    server = Server(parse_arguments([]), clock=machine.clock())
    stored = server.execute(Set(b"brief", b"", exptime=100), server.now())
    assert isinstance(stored, Stored)
    server.execute(Set(b"absolute", b"", exptime=int(START) + 3_000_000), server.now())
    machine.passes(50)
    machine.wall += step
    machine.passes(49)
    assert found(server, b"brief")
    machine.passes(1)
    assert not found(server, b"brief")
    assert server.execute(Flush(100), server.now()) == Ok()
    machine.wall -= step
    machine.passes(98)
    assert found(server, b"absolute")
    machine.passes(2)
    assert not found(server, b"absolute")
    reply = server.execute(Stats(), server.now())
    assert isinstance(reply, StatsReply)
    told = dict(reply.stats)
    assert (told[b"uptime"], told[b"time"]) == (b"200", b"%d" % (START + 200))
    server.store.close()


@pytest.mark.parametrize("steps", [(DAY,), (-DAY,), (DAY, -DAY), (DAY, DAY), (0.0, -DAY, 3600.0)])
def test_no_step_of_the_wall_clock_loses_or_keeps_an_item_over_restarts(
    tmp_path: Path, steps: tuple[float, ...]
) -> None:
    machine = Machine()
    options = parse_arguments(["--persist", str(tmp_path / "items")])
    server = Server(options, clock=machine.clock())
    server.execute(Set(b"brief", b"", exptime=1000), server.now())
    server.execute(Set(b"forever", b""), server.now())
    server.execute(Flush(2000), server.now())
    for step in steps:
        machine.passes(10)
        machine.wall += step
        server.execute(Set(b"of %d" % step, b"", exptime=1000), server.now())
        server.store.wall_clock_ahead(server.clock.ahead())
        assert server.commit()
        server.store.close()
        machine.passes(5)
        server = Server(options, clock=machine.clock())
        assert server.clock.ahead() == 0
    machine.passes(1000 - 15 * len(steps) - 1)
    assert found(server, b"brief")
    machine.passes(1)
    assert not found(server, b"brief")
    assert found(server, b"of %d" % steps[-1])
    machine.passes(15 * len(steps) - 5)
    assert not found(server, b"of %d" % steps[-1])
    assert server.store.engine.journal_state.flush_at < inf
    machine.passes(999 - server.now() + server.started)
    machine.passes(1000)
    assert not found(server, b"forever")
    server.store.close()


@pytest.mark.parametrize("module", [threaded, tiny_server])
def test_the_small_servers_use_such_a_clock(module: object) -> None:
    source = Path(str(getattr(module, "__file__", ""))).read_text()
    assert "started + time.monotonic()" in source.lower()
    assert source.count("time.time()") == 1
