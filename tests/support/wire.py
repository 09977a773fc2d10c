"""Bytes as tests write them down, and pieces of them."""

from __future__ import annotations

NOOP_REQUEST = bytes.fromhex("800a0000 00000000 00000000 0000feed 0000000000000000")
NOOP_REPLY = bytes.fromhex("810a0000 00000000 00000000 0000feed 0000000000000000")


def wire(text: str) -> bytes:
    """Bytes from hex, in which ``'...'`` stands for ASCII text."""
    parts = text.split("'")
    return b"".join(part.encode() if index % 2 else bytes.fromhex(part) for index, part in enumerate(parts))


def each_byte(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]
