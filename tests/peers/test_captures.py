"""Captures of real clients on the loopback interface: followed as tshark does it, and every exchange has a name."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from memproto import Dialect, ObservedExchange
from memproto.capture.decoder import Decoder
from memproto.capture.follower import Record
from memproto.capture.packets import Segment, decode_frame, format_address
from memproto.capture.sources import Packets, recognise
from memproto.capture.summary import summarise
from memproto.capture.tcp_connections import Tracker
from memproto.clients import Client
from memproto.model import Unknown, UnknownLine
from tests.support.peers import DEADLINE, ROOT, memcached, require

#: The interface of 127.0.0.1, and how a capture says that it has begun.
_LOOPBACK = "lo"
_CAPTURES = ROOT / "tests" / "data" / "captures"
#: The port of the server in the recorded captures.
_PORTS = {"pymemcache": 37549, "bmemcached": 42401, "meta": 41935}


@contextmanager
def _captured(path: Path, port: int) -> Iterator[None]:
    """Capture the packets of a port into a file; all that were sent inside are in it."""
    require("tcpdump")
    # The kernel has a place of the longest length for each packet, and drops packets when all are taken.
    room = ("--immediate-mode", "-s", "70000", "-B", "65536")
    command = ["tcpdump", "-i", _LOOPBACK, "-U", *room, "-Z", "root", "-w", str(path), f"tcp port {port}"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    line = ""
    try:
        while "listening on" not in line:
            line = process.stderr.readline()
            if not line or "permission" in line.lower():
                pytest.skip("this user may not capture packets")
        yield
        _wait_until_quiet(path)
    finally:
        process.terminate()
        process.communicate(timeout=DEADLINE)


def _wait_until_quiet(path: Path) -> None:
    """Until the file has not grown for a while: the kernel hands packets over with a delay."""
    deadline = time.monotonic() + DEADLINE
    size = -1
    while time.monotonic() < deadline and size != (size := path.stat().st_size):
        time.sleep(0.3)


def _pymemcache(port: int) -> None:
    pymemcache = pytest.importorskip("pymemcache")
    client = pymemcache.Client(("127.0.0.1", port))
    client.set("user:1", b"hello", expire=60, noreply=False)
    client.get("user:1")
    client.set_many({"a": b"1", "b": b"2"})
    client.get_many(["a", "b", "c"])
    client.incr("a", 5)
    client.gets("nothing")
    client.stats()
    client.close()


def _bmemcached(port: int) -> None:
    bmemcached = pytest.importorskip("bmemcached")
    client = bmemcached.Client((f"127.0.0.1:{port}",))
    client.set("user:1", "hello")
    client.get("user:1")
    client.set_multi({"a": 1, "b": 2})
    client.get_multi(["a", "b", "c"])
    client.incr("n", 5)
    client.stats()
    client.disconnect_all()


def _pylibmc(port: int) -> None:
    pylibmc = pytest.importorskip("pylibmc")
    for binary in (True, False):
        client = pylibmc.Client([f"127.0.0.1:{port}"], binary=binary)
        client.set("user:1", "hello")
        client.get_multi(["user:1", "nothing"])
        client.add("a", 1)
        client.delete("a")
        client.disconnect_all()


def _aiomcache(port: int) -> None:
    aiomcache = pytest.importorskip("aiomcache")

    async def talk() -> None:
        client = aiomcache.Client("127.0.0.1", port)
        await client.set(b"user:1", b"hello")
        await client.multi_get(b"nothing", b"user:1")
        await client.delete(b"user:1")
        await client.close()

    asyncio.run(talk())


def _ours(dialect: Dialect) -> Callable[[int], None]:
    def talk(port: int) -> None:
        with Client("127.0.0.1", port, dialect=dialect, timeout=DEADLINE) as client:
            client.set(b"user:1", b"x" * 100_000, flags=7, exptime=60)
            client.get_multi((b"user:1", b"nothing"))
            client.set_multi({b"a": b"1", b"b": b"2"})
            client.touch(b"a", 30)
            client.stats()

    return talk


def _memccapable(port: int) -> None:
    require("memccapable")
    for dialect in ("-b", "-a"):
        command = ["memccapable", "-h", "127.0.0.1", "-p", str(port), dialect]
        subprocess.run(command, stdout=subprocess.DEVNULL, timeout=DEADLINE, check=False)


LIBRARIES = (_pymemcache, _bmemcached, _pylibmc, _aiomcache, *map(_ours, Dialect))


def _records(path: Path, port: int) -> list[Record]:
    decoder = Decoder(frozenset({port}))
    with path.open("rb") as file:
        source = recognise(file)
        assert isinstance(source, Packets)
        found = [record for frame in source.frames for record in decoder.add(frame)]
    return found + list(decoder.end())


def _followed_by_us(path: Path) -> dict[tuple[str, str], bytes]:
    """The bytes from one end to the other, for each direction of each connection."""
    tracker = Tracker()
    said: dict[tuple[str, str], bytes] = defaultdict(bytes)
    with path.open("rb") as file:
        source = recognise(file)
        assert isinstance(source, Packets)
        deliveries = []
        for frame in source.frames:
            segment = decode_frame(frame.link, frame.data)
            assert isinstance(segment, Segment)
            deliveries += list(tracker.add(segment, frame.time))
        deliveries += list(tracker.end())
    for delivery in deliveries:
        ends = [format_address(end) for end in delivery.connection.ends]
        for piece in delivery.pieces:
            assert not piece.lost
            said[ends[piece.sender], ends[1 - piece.sender]] += piece.data
    return said


def _followed_by_tshark(path: Path, count: int) -> dict[tuple[str, str], bytes]:
    require("tshark")
    options = [word for number in range(count) for word in ("-z", f"follow,tcp,raw,{number}")]
    ran = subprocess.run(["tshark", "-n", "-q", "-r", str(path), *options], capture_output=True, text=True, check=True)
    said: dict[tuple[str, str], bytes] = defaultdict(bytes)
    ends = ["", ""]
    for line in ran.stdout.splitlines():
        if line.startswith("Node "):
            ends[int(line[5])] = line.partition(": ")[2]
        elif line and not line.startswith(("=", "Follow", "Filter")):
            sender = int(line.startswith("\t"))
            said[ends[sender], ends[1 - sender]] += bytes.fromhex(line.strip())
    return said


@pytest.mark.once
@pytest.mark.parametrize(
    ("talks", "dialects"),
    [(LIBRARIES, {"binary", "classic", "meta"}), ((_memccapable,), {"binary", "classic"})],
    ids=["libraries", "memccapable"],
)
def test_captures_of_real_clients_are_followed_as_by_tshark_and_all_exchanges_are_named(
    talks: tuple[Callable[[int], None], ...], dialects: set[str], tmp_path: Path
) -> None:
    path = tmp_path / "capture"
    with memcached() as port, _captured(path, port):
        for talk in talks:
            talk(port)
    ours = _followed_by_us(path)
    connections = {frozenset(ends) for ends in ours}
    assert len(connections) >= len(talks)
    assert ours == _followed_by_tshark(path, len(connections))
    records = _records(path, port)
    assert {summarise(record).dialect for record in records} == dialects
    for record in records:
        assert isinstance(record.event, ObservedExchange)
        assert not isinstance(record.event.envelope.request, Unknown | UnknownLine)
        assert summarise(record).command
    for way, total in (
        ("sent", sum(len(data) for (_, target), data in ours.items() if target.endswith(f":{port}"))),
        ("received", sum(len(data) for (source, _), data in ours.items() if source.endswith(f":{port}"))),
    ):
        assert sum(record.sent if way == "sent" else record.received for record in records) == total


def _exchanges(path: Path, port: int) -> list[tuple[str, tuple[bytes, ...], str]]:
    return [summarise(record)[1:4] for record in _records(path, port)]


def _edit(*command: str) -> None:
    require(command[0])
    subprocess.run(command, check=True, capture_output=True, timeout=DEADLINE)


@pytest.mark.once
@pytest.mark.parametrize("name", ["pymemcache", "bmemcached", "meta"])
def test_reordered_and_repeated_packets_give_the_same_exchanges(name: str, tmp_path: Path) -> None:
    original = _CAPTURES / f"{name}.pcap"
    expected = _exchanges(original, _PORTS[name])
    late, early, mixed = (str(tmp_path / word) for word in ("late", "early", "mixed"))
    # Every third packet but the first ones, half a second too late.
    chosen = [str(number) for number in range(6, 200, 3)]
    _edit("editcap", "-r", "-t", "0.5", str(original), late, *chosen)
    _edit("editcap", str(original), early, *chosen)
    _edit("mergecap", "-w", mixed, late, early, str(original))
    assert _exchanges(Path(mixed), _PORTS[name]) == expected


@pytest.mark.once
@pytest.mark.parametrize("name", _PORTS)
@pytest.mark.parametrize("dropped", ["4", "8", "9", "10-12", "15"])
def test_dropped_packets_are_a_stated_gap_and_the_other_exchanges_stay(name: str, dropped: str, tmp_path: Path) -> None:
    original, path = _CAPTURES / f"{name}.pcap", tmp_path / "dropped"
    _edit("editcap", str(original), str(path), dropped)
    expected = _exchanges(original, _PORTS[name])
    found = _exchanges(path, _PORTS[name])
    said = {status for _, _, status in found}
    # A packet that was only an acknowledgement is no loss.
    assert found == expected or said & {"skipped", "not_seen"}
    # What was neither lost nor stands next to the gap is as it was.
    assert found[-4:] == expected[-4:]
    assert len(set(expected) - set(found)) <= 4
