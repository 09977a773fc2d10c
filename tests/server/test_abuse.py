"""``benchmarks.abuse`` and ``benchmarks.budget``, shortened: the server survives its clients, within its means."""

from __future__ import annotations

import os
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
from memproto.engine import ITEM_OVERHEAD
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
def test_random_and_faulty_bytes_cost_little_memory(loop: str) -> None:
    with serving(loop) as server:
        before = server.resident()
        assert scenarios.noise(server, 7, 200_000).count > 100
        assert server.resident() - before < 12 * MEGABYTE


def test_noise_is_of_all_dialects_and_follows_from_its_seed() -> None:
    said = traffic()
    assert any(each.startswith(b"\x80") for each in said)
    assert any(each.startswith(b"set ") for each in said)
    assert any(each.startswith(b"mg ") for each in said)
    noise = list(garbage(1, 50_000))
    assert noise == list(garbage(1, 50_000)) != list(garbage(2, 50_000))
    assert sum(map(len, noise)) >= 50_000


@pytest.mark.parametrize("loop", LOOPS)
def test_connections_beyond_the_limit_cost_no_files(loop: str) -> None:
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


def test_line_without_end_costs_little_memory() -> None:
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


def test_without_eviction_a_store_beyond_the_memory_is_refused() -> None:
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
def test_datagrams_that_ask_for_much_cost_little_memory(loop: str) -> None:
    if loop == "uvloop":
        require("uvloop")
    with running_example("--loop", loop, "-U", "-1") as running:
        server = Watched(loop, cast("subprocess.Popen[bytes]", running.process), running.port, Path(os.devnull))
        before = server.resident()
        assert scenarios.datagrams(server, running.udp, 200).count == 200
        assert server.peak() - before < 16 * MEGABYTE
