"""``benchmarks.abuse`` and ``benchmarks.budget``, shortened: the server survives its clients, within its means."""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from benchmarks import _abuse_scenarios as scenarios
from benchmarks import budget
from benchmarks._abuse_bytes import garbage, traffic
from benchmarks._abuse_scenarios import Done
from benchmarks._abuse_server import MEGABYTE, Watched
from benchmarks.connections import allowed
from memproto import Get, Set, Values
from memproto.engine import ITEM_OVERHEAD, Engine
from memproto.server import process_memory
from memproto.server.command_line import parse_arguments
from memproto.server.process_memory import ProcessMemory
from memproto.server.server import Server
from memproto.server.session import Session
from tests.server.test_tls import TLS
from tests.support.peers import DEADLINE, require, running_example

pytestmark = [
    pytest.mark.untraced,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is looked at in /proc"),
]
LOOPS = ["asyncio", pytest.param("uvloop", marks=pytest.mark.peer("uvloop"))]


@contextmanager
def serving(loop: str, *arguments: str) -> Iterator[Watched]:
    """The server as a process to watch; no traceback, no warning, and all connections closed in the end."""
    if loop == "uvloop":
        require("uvloop")
    with running_example("--loop", loop, *arguments) as running:
        server = Watched(loop, cast("subprocess.Popen[bytes]", running.process), running.port, Path(os.devnull))
        scenarios.idle(server, 1)
        yield server
        with server.connect() as link:
            scenarios.fence(link)


def files_after(server: Watched, most: int) -> int:
    """How many files it has open, once they are no more than ``most`` or the patience is over."""
    deadline = time.monotonic() + DEADLINE
    while server.files() > most and time.monotonic() < deadline:
        time.sleep(0.02)
    return server.files()


SCENARIOS: list[tuple[Callable[..., Done], tuple[float, ...], int, float]] = [
    # What to do, how much of it, what is counted, and MiB that the server may grow by.
    (scenarios.idle, (200,), 200, 8),
    (scenarios.busy, (100, 2), 4000, 8),
    (scenarios.half_headers, (200,), 200, 8),
    (scenarios.storm, (200,), 200, 8),
    (scenarios.slow_reader, (4, 0.0), 4, 12),
    (scenarios.slow_writer, (20, 0.005), 20, 8),
    (scenarios.half_close, (3, 2000), 6000, 8),
    (scenarios.unread_gets, (3, 1000), 3, 16),
    (scenarios.unread_quiet_gets, (3, 1000), 3, 16),
    (scenarios.unread_multi_get, (3, 1000), 3, 16),
    (scenarios.unread_stores, (30,), 30, 12),
    (scenarios.appends, (8, 30), 240, 16),
]


@pytest.mark.parametrize("loop", LOOPS)
def test_nobody_costs_much_or_is_kept_waiting(loop: str) -> None:
    allowed(300)
    with serving(loop) as server:
        files = server.files()
        for abuse, sizes, count, growth in SCENARIOS:
            server.forget_peak()
            before = server.resident()
            assert abuse(server, *sizes).count == count
            assert server.peak() - before < growth * MEGABYTE, abuse.__name__
            assert files_after(server, files) <= files, abuse.__name__


@pytest.mark.parametrize("loop", LOOPS)
def test_random_and_faulty_bytes(loop: str) -> None:
    with serving(loop) as server:
        before = server.resident()
        assert scenarios.noise(server, 7, 200_000).count > 100
        assert server.resident() - before < 12 * MEGABYTE


def test_the_noise_is_what_it_says() -> None:
    said = traffic()
    assert any(each.startswith(b"\x80") for each in said)
    assert any(each.startswith(b"set ") for each in said)
    assert any(each.startswith(b"mg ") for each in said)
    noise = list(garbage(1, 50_000))
    assert noise == list(garbage(1, 50_000)) != list(garbage(2, 50_000))
    assert sum(map(len, noise)) >= 50_000


@pytest.mark.parametrize("loop", LOOPS)
def test_connections_beyond_the_limit(loop: str) -> None:
    with serving(loop, "-c", "20") as server:
        files, told = 0, b""
        deadline = time.monotonic() + DEADLINE
        # The connections that proved that the server is there may not be gone yet.
        while b"STAT curr_connections 1\r\n" not in told and time.monotonic() < deadline:
            with server.connect() as link:
                link.sendall(b"stats\r\n")
                told = link.recv(65536)
                files = server.files()
        files_after(server, files - 1)
        assert scenarios.limit(server, 20, 5).count == 5


def test_a_line_without_end() -> None:
    with serving("asyncio") as server:
        before = server.resident()
        # The first is over after 2048 bytes; what the sockets held is taken, too.
        assert scenarios.endless_line(server, 100_000_000).count < 50_000
        assert server.peak() - before < 24 * MEGABYTE


def test_values_of_4_gb_are_not_waited_for_in_memory() -> None:
    with serving("asyncio") as server:
        before = server.resident()
        scenarios.huge_values(server, 3_000_000)
        assert server.peak() - before < 8 * MEGABYTE


def test_one_who_asks_for_ever_and_never_reads_is_not_listened_to() -> None:
    with serving("asyncio") as server:
        before = server.resident()
        most = 100_000_000
        assert scenarios.unread_small(server, most).count < most // 1000
        assert server.peak() - before < 8 * MEGABYTE


@pytest.mark.parametrize("loop", LOOPS)
def test_half_received_values_do_not_exceed_the_memory(loop: str) -> None:
    with serving(loop, "-m", "16") as server:
        before = server.resident()
        done = scenarios.half_values(server, 60, 1_000_000)
        # 16 MiB and what comes before the server looks again; without it there would be 60 MB.
        assert server.resident() - before < 32 * MEGABYTE
        assert int(done.note.split()[0]) >= 30


@pytest.mark.parametrize("loop", LOOPS)
def test_many_who_do_not_read_do_not_exceed_the_memory(loop: str) -> None:
    with serving(loop, "-m", "16") as server:
        before = server.resident()
        # Each would have nearly a megabyte in the server.
        scenarios.unread_gets(server, 80, 1000)
        assert server.peak() - before < 40 * MEGABYTE


def test_values_that_are_replaced_before_they_are_taken_do_not_exceed_the_memory() -> None:
    with serving("asyncio", "-m", "16") as server:
        before = server.resident()
        scenarios.unread_and_replaced(server, 4, 14)
        assert server.peak() - before < 32 * MEGABYTE


@pytest.mark.parametrize("load", budget.LOADS, ids=lambda load: load.name)
def test_the_process_keeps_to_its_memory(load: budget.Load) -> None:
    memory = 32 * MEGABYTE
    with serving("asyncio", "-m", "32") as server:
        shorter = budget.Load(load.name, load.stores, min(load.budgets, 4))
        assert budget.measure(server, shorter, memory, ITEM_OVERHEAD)[1] < 1.5


def test_out_of_memory_instead_of_evicting() -> None:
    with serving("asyncio", "-m", "16", "-M") as server, server.connect() as link:
        link.settimeout(DEADLINE)
        for number in range(170):
            link.sendall(b"set k%d 0 0 100000\r\n%b\r\n" % (number, bytes(100_000)))
            # 16 MiB hold 166 of them with what each costs besides.
            scenarios.expect(link, b"STORED\r\n" if number < 166 else b"SERVER_ERROR out of memory storing object\r\n")
        link.sendall(b"mg k0 s\r\n")
        scenarios.expect(link, b"HD s100000\r\n")


@pytest.mark.parametrize("loop", LOOPS)
def test_idle_clients_with_tls_cost_little_and_no_items(loop: str) -> None:
    if loop == "uvloop":
        require("uvloop")
    count, items, size = 150, 10, 1_000_000
    with running_example("--loop", loop, "-m", "16", *TLS, "-l", "notls:127.0.0.1,127.0.0.1") as running:
        ports = [int(each.rpartition(":")[2]) for each in running.said.removeprefix("listening on ").split(", ")]
        process = cast("subprocess.Popen[bytes]", running.process)
        server, secure = (Watched(loop, process, port, Path(os.devnull)) for port in ports)
        for number in range(items):
            scenarios.store(server, b"item%d" % number, size)
        before = server.resident()
        assert scenarios.encrypted(secure, count, 20_000).count == count
        # asyncio's own TLS took 300 KiB for each, and the items went instead.
        assert server.peak() - before < count * 100 * 1024 + 4 * MEGABYTE
        with server.connect() as link:
            link.sendall(b"stats\r\nquit\r\n")
            assert b"STAT evictions 0\r\n" in scenarios.to_the_end(link)


@pytest.mark.parametrize("loop", LOOPS)
def test_datagrams_that_ask_for_much(loop: str) -> None:
    if loop == "uvloop":
        require("uvloop")
    with running_example("--loop", loop, "-U", "-1") as running:
        server = Watched(loop, cast("subprocess.Popen[bytes]", running.process), running.port, Path(os.devnull))
        before = server.resident()
        assert scenarios.datagrams(server, running.udp, 200).count == 200
        assert server.peak() - before < 16 * MEGABYTE


# --- what it is made of


def test_shrinking_evicts_the_least_recently_used_and_keeps_the_last() -> None:
    engine = Engine(memory_limit=MEGABYTE)
    for key in (b"a", b"b", b"c"):
        engine.execute(Set(key, b"1"), 1.0)
    engine.execute(Get((b"a",)), 2.0)
    assert engine.memory_limit == MEGABYTE
    assert engine.shrink(engine.size) == 0
    assert engine.shrink(engine.size - 1) == 1
    assert engine.execute(Get((b"b",)), 3.0) == Values(())
    assert engine.shrink(0) == 1
    assert len(engine) == 1


def test_growth_beyond_the_budget_is_excess(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = iter([1000, 1104, 1105, 1104, 1200, 1190, 1190])
    monkeypatch.setattr(ProcessMemory, "resident", lambda self: next(sizes) * MEGABYTE)
    trimmed: list[bool] = []
    monkeypatch.setattr(process_memory, "trim", lambda: trimmed.append(True))
    grown = ProcessMemory()
    assert grown.excess(100 * MEGABYTE) == 0
    assert trimmed == []
    assert grown.excess(100 * MEGABYTE) == 0
    assert trimmed == [True]
    # 108 % are allowed.
    assert grown.excess(100 * MEGABYTE) == 82 * MEGABYTE
    # And what is there beside the items, because to evict these would not free it.
    assert grown.excess(100 * MEGABYTE, 90 * MEGABYTE) == 0
    grown.close()


def test_where_the_system_does_not_tell_there_is_no_excess(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(process_memory, "_STATM", tmp_path / "none")
    assert ProcessMemory().resident() == 0
    assert ProcessMemory().excess(1) == 0


def test_without_a_file_to_open_the_growth_is_known_all_the_same() -> None:
    grown = ProcessMemory()
    before = grown.resident()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        held = bytes(range(256)) * (32 * MEGABYTE // 256)
        assert grown.resident() - before > 30 * MEGABYTE
        assert len(held) == 32 * MEGABYTE
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        grown.close()


def test_a_library_is_asked_to_trim_if_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(process_memory, "_TRIM", asked.append)
    process_memory.trim()
    assert asked == [0]
    monkeypatch.setattr(process_memory, "_TRIM", None)
    process_memory.trim()
    assert asked == [0]


def test_without_malloc_trim_nothing_is_trimmed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> object:
        raise OSError("no C library")

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    assert process_memory._trimmer() is None


def test_memory_is_0_after_close_as_without_proc() -> None:
    grown = ProcessMemory()
    for _ in range(2):
        grown.close()
        assert grown.resident() == 0


def test_without_eviction_items_stay_whatever_the_process_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProcessMemory, "excess", lambda *_: 100 * MEGABYTE)
    for arguments, left in (([], 1), (["-M"], 10)):
        server = Server(parse_arguments(["-m", "8", *arguments]))
        for number in range(10):
            server.execute(Set(b"k%d" % number, bytes(MEGABYTE // 2)), 1.0)
        server.limit_process_memory(ProcessMemory())
        server.execute(Get((b"k9",)), 2.0)
        assert len(server.engine) == left
        server.store.close()


def watch_the_looks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What the server asks about its memory: the budget, and what is used beside it. There is never any excess."""
    looks: list[tuple[int, int]] = []

    def look(self: ProcessMemory, budget: int, in_use: int = 0) -> int:
        looks.append((budget, in_use))
        return 0

    monkeypatch.setattr(ProcessMemory, "excess", look)
    return looks


def test_values_that_never_become_whole_are_weighed_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = watch_the_looks(monkeypatch)
    server = Server(parse_arguments(["-m", "8"]))
    grown = ProcessMemory()
    server.limit_process_memory(grown)
    session = Session(server)
    session.data_received(b"set k 0 0 1000000\r\n")
    looks.clear()
    for _ in range(14):
        session.data_received(bytes(65536))
    # A look for each step of half a megabyte, and no request is whole.
    assert looks == [(8 * MEGABYTE, 0)]
    for _ in range(100):
        Session(server).data_received(b"set k 0 0 1000000\r\n" + bytes(65536))
    assert len(looks) >= 100 * 65536 // (512 * 1024)
    server.store.close()
    grown.close()


@pytest.mark.parametrize(("arguments", "each"), [((), 4096), (TLS, 65536)], ids=["plain", "TLS"])
def test_memory_of_connections_is_not_taken_from_the_items(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], each: int
) -> None:
    looks = watch_the_looks(monkeypatch)

    async def run() -> None:
        server = Server(parse_arguments(["-p", "-1", *arguments]))
        await server.start()
        server.limit_process_memory(ProcessMemory())
        links = [await asyncio.open_connection(*server.address) for _ in range(5)]
        async with asyncio.timeout(DEADLINE):
            while (64 * MEGABYTE, 5 * each) not in looks:
                await asyncio.sleep(0.01)
        for _, writer in links:
            writer.close()
        await server.stop()

    asyncio.run(run())
