"""Law 7 with a real memcached: the same requests to both, and the same bytes back.

memcached runs with its background threads off (``no_modern``): they hold on to items at moments of their own
choosing, and a counter that is held is not padded.
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memproto import (
    OPCODES,
    Add,
    AnyRequest,
    Append,
    Decrement,
    Delete,
    Flush,
    Get,
    Increment,
    Limits,
    Noop,
    Opcode,
    Prepend,
    Replace,
    Set,
    Stats,
    Touch,
)
from memproto.binary import opcode_for
from memproto.engine import Engine
from tests.support.binary_streams import frames
from tests.support.cache_requests import KEYS, cache_requests, exptimes, texts
from tests.support.peers import DEADLINE, memcached
from tests.support.replica import Replica, packet

pytestmark = [pytest.mark.once, pytest.mark.peer("memcached")]

FENCE = 0xFE0CE
#: What both count in the same way. memcached finds expired items later than we do, and counts their memory otherwise.
COUNTERS = (
    *("cmd_get", "cmd_set", "cmd_flush", "cmd_touch", "get_hits", "get_misses", "delete_misses", "delete_hits"),
    *("incr_misses", "incr_hits", "decr_misses", "decr_hits", "cas_misses", "cas_hits", "cas_badval"),
    *("touch_hits", "touch_misses", "total_items"),
)
#: CAS numbers that a request may name: none, the last that was seen of its key, or one that nobody has.
NO_CAS, SEEN, NOBODYS = range(3)
Conditional = Set | Add | Replace | Append | Prepend | Delete | Increment | Decrement


class Peer:
    """A real memcached on a socket."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), DEADLINE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        self._socket.close()

    def exchange(self, data: bytes) -> list[bytes]:
        """The packets that answer these bytes; a NOOP behind them tells where the answer ends."""
        self._socket.sendall(data + packet(Noop(), FENCE))
        end = bytes.fromhex("810a0000 00000000 00000000") + FENCE.to_bytes(4, "big") + bytes(8)
        got = b""
        while not got.endswith(end):
            more = self._socket.recv(1 << 20)
            assert more, f"memcached closed the connection after {got!r}"
            got += more
        return frames(got)[:-1]


@dataclass
class Server:
    """How a memcached was started, and what that is called here."""

    arguments: tuple[str, ...]
    options: dict[str, int | bool]
    limits: Limits
    peer: Peer

    def replica(self) -> Replica:
        return Replica(Engine(**self.options), self.limits)  # type: ignore[arg-type]


VARIANTS: dict[str, tuple[tuple[str, ...], dict[str, int | bool]]] = {
    "plain": ((), {}),
    "small items": (("-I", "1024", "-o", "slab_chunk_max=1024"), {"item_size_max": 1024}),
    "no CAS": (("-C",), {"cas": False}),
    "no CAS, small items": (("-C", "-I", "1024", "-o", "slab_chunk_max=1024"), {"cas": False, "item_size_max": 1024}),
    "no flush": (("-F",), {"flush": False}),
}


@contextmanager
def started(name: str) -> Iterator[Server]:
    arguments, options = VARIANTS[name]
    with memcached("-o", "no_modern", *arguments) as port:
        peer = Peer(port)
        yield Server(arguments, options, Limits(value=int(options.get("item_size_max", 1 << 20))), peer)
        peer.close()


@pytest.fixture(scope="module", params=VARIANTS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with started(request.param) as server:
        yield server


@pytest.fixture(scope="module")
def plain() -> Iterator[Server]:
    with started("plain") as server:
        yield server


class Pair:
    """Both sides with the same empty cache. CAS numbers are compared by how far they are from where each side began."""

    def __init__(self, server: Server) -> None:
        self._peer = server.peer
        self._ours = server.replica()
        self._seen: dict[bytes, int] = {}
        # This ends a flush that is pending, and brings back what memcached has flushed but not yet removed.
        self._peer.exchange(packet(Flush(2_592_001)))
        for key in KEYS:
            self._peer.exchange(packet(Delete(key)))
        probe = packet(Set(KEYS[0], b""))
        (theirs,) = self._peer.exchange(probe)
        (ours,) = frames(self._ours.exchange(probe, time.time()))
        self._offset = _cas(theirs) - _cas(ours)
        self.ask(Delete(KEYS[0]), Opcode.DELETE)
        self._before = self._statistics()

    def ask(self, request: AnyRequest, opcode: int, which_cas: int = NO_CAS) -> None:
        """One request to both sides, and the same answer from both."""
        if isinstance(request, Flush):
            # memcached removes what it has flushed when it is looked for; what it has not is back after another flush.
            for key in KEYS:
                self.ask(Get((key,)), Opcode.GETQ)
        ours, theirs = request, request
        if which_cas and isinstance(request, Conditional):
            cas = self._seen.get(request.key, 1) if which_cas == SEEN else 1 << 63
            ours, theirs = request.replace(cas=cas), request.replace(cas=cas + self._offset)
        told = frames(self._ours.exchange(packet(ours, 0xABC, opcode=opcode), time.time()))
        got = self._peer.exchange(packet(theirs, 0xABC, opcode=opcode))
        assert [_moved(each, -self._offset).hex() for each in got] == [each.hex() for each in told], ours
        if told and _cas(told[0]):
            self._seen[_key(request)] = _cas(told[0])

    def check(self) -> None:
        """What is there at the end, and what both have counted."""
        for key in KEYS:
            self.ask(Get((key,)), Opcode.GETK)
        (our_start, their_start), (our_end, their_end) = self._before, self._statistics()
        our_end.subtract(our_start)
        their_end.subtract(their_start)
        assert their_end == our_end

    def _statistics(self) -> tuple[Counter[str], Counter[str]]:
        stat = packet(Stats())
        return _counters(frames(self._ours.exchange(stat, time.time()))), _counters(self._peer.exchange(stat))


def _key(request: AnyRequest) -> bytes:
    assert isinstance(request, Conditional | Get | Touch)
    return request.keys[0] if isinstance(request, Get) else request.key


def _cas(frame: bytes) -> int:
    return int.from_bytes(frame[16:24], "big")


def _moved(frame: bytes, offset: int) -> bytes:
    cas = _cas(frame)
    return frame[:16] + (cas + offset if cas else 0).to_bytes(8, "big") + frame[24:]


def _counters(stat: list[bytes]) -> Counter[str]:
    texts = {}
    for frame in stat[:-1]:
        end = 24 + int.from_bytes(frame[2:4], "big")
        texts[frame[24:end].decode()] = frame[end:]
    return Counter({name: int(texts[name]) for name in COUNTERS})


def opcodes(request: AnyRequest) -> list[int]:
    """Every opcode that says this request."""
    opcode = opcode_for(request)
    also = {Opcode.GET: (Opcode.GETK, Opcode.GETKQ), Opcode.GAT: (Opcode.GATK, Opcode.GATKQ)}
    twin = OPCODES[opcode].twin
    return [opcode, *([] if twin is None else [twin]), *also.get(Opcode(opcode), ())]


# Around the largest value of an item in a server for small ones: without flags and CAS, with one of them, with both;
# and around what a connection takes at all.
edges = st.sampled_from((500, 949, 950, 951, 953, 954, 955, 957, 958, 959, 961, 962, 963, 969, 970, 971, 1024, 1025))
# memcached reads on behind a value of blanks, and looks for a minus behind a large number, in what was stored there
# before; so neither is mixed with other values.
plain_texts = texts.filter(lambda text: b"-" not in text and text != b" ")
values = plain_texts | edges.map(lambda length: b"5" + bytes(length - 1))
#: A delay of one second takes the rest of that second with memcached.
delays = st.sampled_from((None, 0, 1000, 2_592_001))


@given(data=st.data())
def test_the_same_bytes(server: Server, data: st.DataObject) -> None:
    pair = Pair(server)
    # Without CAS memcached also flushes what is stored later in the same second.
    flushed = delays if server.options.get("cas", True) else st.just(1000)
    asked = cache_requests(values, exptimes, flushed, st.just(0))
    for request in data.draw(st.lists(asked, max_size=30)):
        opcode = data.draw(st.sampled_from(opcodes(request)))
        pair.ask(request, opcode, data.draw(st.sampled_from((NO_CAS, NO_CAS, SEEN, NOBODYS))))
    pair.check()


NUMBERS = (
    *(b" ", b"-", b"-0", b"-1", b"-5", b"--5", b"+", b"+ 5", b"+-5", b" +5", b"\t\n\v\f\r 5", b"5 6", b"5\x00-", b"5-"),
    *(b"-9223372036854775807", b"-9223372036854775808", b"-9223372036854775809", b"-18446744073709551615"),
    *(b"-18446744073709551616", b"9223372036854775808 -", b"9223372036854775807 -", b"9223372036854775808\x00-"),
    *(b"0" * 300, b"0" * 300 + b"7", b" " * 300 + b"7", b"7" + b" " * 300, b"0" * 300 + b"x", b"1" * 21, b"1" * 20),
    *(b"5_0", b"1e3", b"0b1", b"\xd9\xa3", b"5\x85", b"\xa05", b"\x005", b"5\x1c", b"\x1c5", b"18446744073709551615\n"),
)


def test_the_same_texts_are_numbers() -> None:
    # On a server of its own and all stored first, so that nothing old lies behind a value.
    with started("plain") as server:
        pair = Pair(server)
        for at, text in enumerate(NUMBERS):
            pair.ask(Set(b"%03d" % at, text, 7), Opcode.SET)
        for at in range(len(NUMBERS)):
            for request in (Increment(b"%03d" % at, 3), Decrement(b"%03d" % at, 1), Get((b"%03d" % at,))):
                pair.ask(request, opcode_for(request))


@pytest.mark.parametrize("room", [64, 63, 62, 61, 60, 56, 1, 0, -1])
def test_the_same_values_of_a_megabyte_are_stored(plain: Server, room: int) -> None:
    pair = Pair(plain)
    for kind in (Set, Add, Replace):
        pair.ask(Set(b"one", b"old"), Opcode.SET)
        pair.ask(Delete(b"two"), Opcode.DELETE)
        pair.ask(kind(b"one", bytes(1_048_576 - room)), opcode_for(kind(b"", b"")))
        pair.ask(kind(b"two", bytes(1_048_576 - room), 1), opcode_for(kind(b"", b"")))
        pair.check()


def test_the_same_is_gone_with_time(plain: Server) -> None:
    """All that waits for memcached's clock, which ticks in seconds: so nothing is asked near a tick that matters."""
    pair = Pair(plain)
    now = int(time.time())
    pair.ask(Set(b"one", b"", exptime=2), Opcode.SET)
    pair.ask(Set(b"two", b"", exptime=now + 100), Opcode.SET)
    pair.ask(Flush(3), Opcode.FLUSH)
    pair.ask(Set(b"six", b"after the flush"), Opcode.SET)
    for key in KEYS:
        pair.ask(Get((key,)), Opcode.GETK)
    time.sleep(3.2)
    pair.check()
    pair.ask(Set(b"six", b""), Opcode.SET)
    pair.ask(Get((b"six",)), Opcode.GETK)


@pytest.mark.parametrize(
    "group", [b"sizes", b"nosuch", b"conns", b"detail", b"detail on", b"detail off", b"items", b"reset"]
)
def test_the_same_statistics_of_an_empty_cache(group: bytes) -> None:
    with started("plain") as server:
        stat = packet(Stats(group), 5)
        assert frames(server.replica().exchange(stat, time.time())) == server.peer.exchange(stat)
