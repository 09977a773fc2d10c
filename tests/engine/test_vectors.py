"""Law 7 on recorded traffic: the engine behind a server connection says what memcached said, CAS numbers included."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import pytest

from memproto import AnyRequest, Get, Limits, Set
from memproto.engine import Engine
from tests.support.binary_streams import frames
from tests.support.recordings import vectors
from tests.support.replica import Replica, packet

#: 2023; what is recorded must not depend on it.
NOW = 1_700_000_000.0

ALL = vectors()

#: Where memcached was started anew, with what.
STARTS: dict[str, Callable[[], Engine]] = {
    "set.basic": Engine,
    "cas.set_initial": Engine,
    "incr.missing_create": Engine,
    "touch.hit": Engine,
    "stat.all": Engine,
    "bad.unknown_opcode": Engine,
    "toolarge.set": lambda: Engine(item_size_max=1024),
    "nocas.set": lambda: Engine(cas=False),
    "noflush.flush": lambda: Engine(flush=False),
}

#: What was sent before these exchanges and not recorded.
BEFORE: dict[str, tuple[AnyRequest, ...]] = {
    "incr.wrap": (Set(b"w", b"18446744073709551615"),),
    "incr.by_2_64_minus_1": (Set(b"z", b"7"),),
    "incr.non_numeric": (Set(b"s", b"abc", 0x55), Set(b"neg", b"-1"), Set(b"sp", b" 5"), Set(b"e", b"")),
    "incr.keeps_flags": (Set(b"fl", b"9", 0x01020304),),
    "touch.hit": (Set(b"t", b"val", 0x0A0B0C0D),),
    "stat.all": (Set(b"foo:a", b"x"),),
    "stat.detail_dump": (Get((b"foo:a",)),),
    "bad.unknown_opcode": (Set(b"k", b"v"),),
    "toolarge.set": (Set(b"k", b"x" * 600), Set(b"k2", b"x" * 10)),
}

#: Left to others: SASL is not the engine's, text is another dialect, and this request's bytes were not recorded.
ELSEWHERE = {"ascii.auth_binary_refused", "bad.first_byte_0x81_is_ascii", "bad.first_byte_0x82_is_ascii", "oom.set"}

#: Where we differ on purpose, why, and what we say instead.
DIFFERENCES = {
    "bad.unknown_opcode_with_key24": (
        "memcached swallows key and extras twice and loses the first NOOP; clients expect the body to be skipped once",
        "8150000000000081 0000000f 00000000 0000000000000000" + b"Unknown command".hex()
        + "810a000000000000 00000000 00000001 0000000000000000"
        + "810a000000000000 00000000 00000002 0000000000000000",
    ),
    "stat.detail_dump": (
        "there are no statistics by key prefix, so the dump is that of a server that has seen no prefix",
        "8110000800000000 0000000d 00000000 0000000000000000" + b"detailedEND\r\n".hex()
        + "8110000000000000 00000000 00000000 0000000000000000",
    ),
}  # fmt: skip


REPLAYED = {each.name: each for each in ALL if each.name not in ELSEWHERE and not each.name.startswith("sasl.")}
COMPARED = [name for name, vector in REPLAYED.items() if not vector.volatile and name not in DIFFERENCES]


class Seen(NamedTuple):
    """What came out of ours: the bytes, whether the connection ended, and what was raised, if anything was."""

    output: bytes = b""
    closed: bool = False
    fault: Exception | None = None


@cache
def _replay() -> dict[str, Seen]:
    """Every exchange in its order. A fault in one is that test's to tell; the others go on behind it."""
    seen = {}
    replica = Replica(Engine())
    for name, vector in REPLAYED.items():
        if name in STARTS:
            replica = Replica(STARTS[name](), Limits(value=1024) if "1024" in vector.arguments else None)
        # Each malformed packet was sent on a connection of its own.
        if replica.closed or name.startswith("bad."):
            replica.connect()
        try:
            for request in BEFORE.get(name, ()):
                replica.exchange(packet(request), NOW)
            seen[name] = Seen(replica.exchange(vector.request, NOW), replica.closed)
        except Exception as fault:
            seen[name] = Seen(fault=fault)
            replica.connect()
    return seen


def replayed(name: str) -> tuple[bytes, bool]:
    """What came out of this exchange, and whether it ended the connection."""
    output, closed, fault = _replay()[name]
    if fault is not None:
        raise AssertionError(f"{name} raises") from fault
    return output, closed


def test_nearly_all_vectors_are_compared() -> None:
    assert len(ALL) == 195
    assert len(REPLAYED) == 173
    assert len(COMPARED) == 167
    assert REPLAYED.keys() >= STARTS.keys() | BEFORE.keys() | DIFFERENCES.keys()


@pytest.mark.parametrize("name", COMPARED)
def test_reply_has_the_bytes_that_were_recorded(name: str) -> None:
    vector = REPLAYED[name]
    output, closed = replayed(name)
    assert output.hex() == vector.reply.hex()
    assert closed is vector.closes


@pytest.mark.parametrize("name", DIFFERENCES)
def test_reply_differs_where_the_documentation_says_so(name: str) -> None:
    vector = REPLAYED[name]
    output, closed = replayed(name)
    _reason, expected = DIFFERENCES[name]
    assert output == bytes.fromhex(expected)
    assert output != vector.reply
    assert closed is vector.closes


@pytest.mark.parametrize("name", [name for name, vector in REPLAYED.items() if vector.volatile])
def test_statistics_have_the_names_that_were_recorded(name: str) -> None:
    """The names of our statistics are memcached's, and the end of the list is the same."""
    vector = REPLAYED[name]
    output, _ = replayed(name)
    theirs = {_name_of(frame) for frame in frames(vector.reply)}
    ours = {_name_of(frame) for frame in frames(output)}
    assert ours <= theirs
    assert frames(output)[-1] == frames(vector.reply)[-1]


def _name_of(frame: bytes) -> bytes:
    return frame[24 : 24 + int.from_bytes(frame[2:4], "big")]
