"""Bytes that no client would send: random ones, and recorded traffic with faults."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

_DATA = Path(__file__).resolve().parent.parent / "tests" / "data"
#: The most of one conversation.
_LONGEST = 20_000


def traffic() -> list[bytes]:
    """What clients said in the three dialects: each recorded conversation, and each message of the test vectors."""
    said: list[bytes] = []
    for file in sorted(_DATA.glob("*sessions/*.jsonl")):
        conversations: dict[int, bytearray] = {}
        for line in file.read_text().splitlines():
            piece = json.loads(line)
            if piece["dir"] == "c2s":
                conversations.setdefault(piece["conn"], bytearray()).extend(bytes.fromhex(piece["hex"]))
        said += [bytes(each[:_LONGEST]) for each in conversations.values()]
    for name in ("vectors.json", "text_vectors.json"):
        vectors = json.loads((_DATA / name).read_text())
        said += [bytes.fromhex(each["hex"]) for each in vectors if each["direction"] == "c2s"]
    return said


def _flip(rng: random.Random, data: bytearray, _corpus: list[bytes]) -> None:
    for _ in range(rng.randint(1, 8)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _cut(rng: random.Random, data: bytearray, _corpus: list[bytes]) -> None:
    at = rng.randrange(len(data))
    del data[at : at + rng.randint(1, 30)]


def _double(rng: random.Random, data: bytearray, _corpus: list[bytes]) -> None:
    at = rng.randrange(len(data))
    data[at:at] = data[at : at + rng.randint(1, 60)] * rng.randint(1, 20)


def _splice(rng: random.Random, data: bytearray, corpus: list[bytes]) -> None:
    other = rng.choice(corpus)
    at = rng.randrange(len(other) + 1)
    data[rng.randrange(len(data)) :] = other[at : at + 2000]


def _extreme(rng: random.Random, data: bytearray, _corpus: list[bytes]) -> None:
    """A number as large, or as small, as it gets: the fields that sizes stand in."""
    at = rng.randrange(len(data))
    data[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff", b" -1 ", b"4294967295"))


_FAULTS = (_flip, _cut, _double, _splice, _extreme)


def garbage(seed: int, total: int) -> Iterator[bytes]:
    """Conversations of ``total`` bytes together: one in four random, the rest traffic with one to four faults."""
    rng = random.Random(seed)
    corpus = traffic()
    while total > 0:
        if rng.random() < 0.25:
            data = bytearray(rng.choice((b"\x80", b"\x80\x01", b"", b"")) + rng.randbytes(rng.randint(1, 4000)))
        else:
            data = bytearray(b"".join(rng.choices(corpus, k=rng.randint(1, 20))))
            for _ in range(rng.randint(1, 4)):
                if data:
                    rng.choice(_FAULTS)(rng, data, corpus)
        total -= len(data)
        yield bytes(data)
