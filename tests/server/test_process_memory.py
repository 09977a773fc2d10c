"""How the memory of the process is known, and that the server keeps it within its limit."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import resource
import sys
from pathlib import Path

import pytest

from benchmarks._abuse_server import MEGABYTE
from memproto import Get, Set, Values
from memproto.engine import Engine
from memproto.server import process_memory
from memproto.server.command_line import parse_arguments
from memproto.server.process_memory import ProcessMemory
from memproto.server.server import Server
from memproto.server.session import Session
from tests.server.test_tls import TLS
from tests.support.peers import DEADLINE

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is looked at in /proc")


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
    # What other tests have left would be given back meanwhile.
    gc.collect()
    process_memory.trim()
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
