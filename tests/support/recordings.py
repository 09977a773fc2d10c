"""What was recorded from memcached: single exchanges, and sessions of many connections."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

DATA = Path(__file__).parent.parent / "data"


@dataclass(frozen=True)
class Vector:
    """One recorded exchange."""

    name: str
    request: bytes
    reply: bytes
    closes: bool
    volatile: bool
    arguments: tuple[str, ...]


def vectors() -> list[Vector]:
    rows = json.loads((DATA / "vectors.json").read_text())
    return [
        Vector(
            asked["name"].removesuffix(".req"),
            bytes.fromhex(asked["hex"]),
            bytes.fromhex(told["hex"]),
            bool(told.get("closes")),
            bool(told.get("volatile")),
            tuple(asked.get("server_args") or ()),
        )
        for asked, told in zip(rows[::2], rows[1::2], strict=True)
    ]


Chunk = tuple[int, str, bytes]


def sessions() -> dict[str, list[Chunk]]:
    """Every recorded session: its chunks as (connection, direction, bytes), in the order seen."""
    return {
        path.stem: [
            (row["conn"], row["dir"], bytes.fromhex(row["hex"]))
            for row in map(json.loads, path.read_text().splitlines())
        ]
        for path in sorted((DATA / "sessions").glob("*.jsonl"))
    }
