"""Checks that all dialects share: lengths, ranges of numbers, failures that a server can send."""

from __future__ import annotations

from memproto.errors import LocalProtocolError
from memproto.model import Failure, Status

#: The largest numbers of 32 and 64 bits, unsigned and signed; the least signed ones are ``-I32 - 1`` and ``-I64 - 1``.
U32 = (1 << 32) - 1
U64 = (1 << 64) - 1
I32 = (1 << 31) - 1
I64 = (1 << 63) - 1


def check_bytes(name: str, value: bytes, most: int | None = None, least: int = 0) -> None:
    """Raise LocalProtocolError unless the length of ``value`` is within bounds."""
    if most is not None and len(value) > most:
        raise LocalProtocolError(f"{name} is {len(value)} bytes, limit is {most}")
    if len(value) < least:
        raise LocalProtocolError(f"{name} is {len(value)} bytes, the least is {least}")


def check_number(name: str, number: int, low: int, high: int) -> None:
    """Raise LocalProtocolError unless ``number`` is an integer from ``low`` to ``high``."""
    if not isinstance(number, int):
        raise LocalProtocolError(f"{name} is {number!r}, must be an integer")
    if not low <= number <= high:
        raise LocalProtocolError(f"{name} is {number}, must be {low} to {high}")


def check_failure(failure: Failure) -> None:
    """Raise LocalProtocolError unless a server can send this failure."""
    if failure.status == Status.SUCCESS:
        raise LocalProtocolError("status of a failure is 0, which means success")
    if failure.status == Status.REPLY_TOO_LARGE:
        raise LocalProtocolError(f"status is REPLY_TOO_LARGE ({failure.status:#x}), which is never on the wire")
