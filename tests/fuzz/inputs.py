"""Inputs of the fuzzer: recorded messages, with faults.

The first byte of an input chooses the target, the second where the data are cut, and the rest are the data.
"""

from __future__ import annotations

import json
from random import Random

from tests.fuzz.targets import CONVERSATIONS, SERVERS, TARGETS
from tests.support.mutations import BITS, KINDS, PIECES, with_fault
from tests.support.recordings import DATA
from tests.support.text_lines import ADMINISTRATIVE, WRONG, WRONG_STORES, ended

#: Longer data are cut off, so that a run has many inputs.
LONGEST = 4096

_NAMES = list(TARGETS)


def input_of(target: str, data: bytes, cut: int = 1) -> bytes:
    """The input that gives this target these data."""
    return bytes([_NAMES.index(target), cut]) + data


def run(given: bytes) -> None:
    """Give an input to its target."""
    if len(given) >= 2:
        data = given[2 : 2 + LONGEST]
        TARGETS[_NAMES[given[0] % len(_NAMES)]](data, _cut(data, given[1]))


def _cut(data: bytes, choice: int) -> list[bytes]:
    """The data in pieces: of one byte each for 0, else of lengths that follow from the choice."""
    if choice == 0:
        return [data[at : at + 1] for at in range(len(data))]
    places = sorted(Random(choice).choices(range(len(data) + 1), k=choice % 6 + 1))
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


def recorded(name: str, direction: str) -> list[bytes]:
    """The recorded messages of a file in this direction, ``c2s`` or ``s2c``."""
    rows = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
    return [bytes.fromhex(row["hex"]) for row in rows if row["direction"] == direction]


def seeds() -> list[bytes]:
    """An input for each recorded message and each target that can read it, and for each reply of a conversation."""
    requests = recorded("vectors", "c2s") + recorded("text_vectors", "c2s")
    requests += [ended(line) for line in (*WRONG, *WRONG_STORES, *ADMINISTRATIVE)]
    replies = recorded("vectors", "s2c") + recorded("text_vectors", "s2c")
    datagrams = recorded("udp_vectors", "c2s") + recorded("udp_vectors", "s2c")
    found = [input_of(name, data[:LONGEST]) for name in SERVERS for data in requests]
    found += [input_of("whole messages", data[:LONGEST]) for data in (*requests, *replies, *datagrams)]
    found += [input_of("datagrams", data[:LONGEST]) for data in datagrams]
    names = [name for name in _NAMES if " client " in name]
    return found + [input_of(name, each.replies()) for name, each in zip(names, CONVERSATIONS, strict=True)]


def changed(seed: bytes, other: bytes, random: Random) -> bytes:
    """The seed with up to three faults, now and then followed by the data of another one; cut somewhere."""
    data = seed[2:]
    if random.random() < 0.3:
        data += other[2:]
    for _ in range(random.randrange(4)):
        at, size = random.randrange(max(len(data), 1)), random.randrange(1, 4)
        piece = random.choice([random.choice(PIECES), random.randbytes(size)])
        data = with_fault(data, random.choice(KINDS), at, size, piece, random.choice(BITS))
    return bytes([seed[0], random.randrange(256)]) + data
