"""Rules without state: what an expiry means, which texts are numbers, how counting changes them."""

from __future__ import annotations

import math
import re

from memproto.limits import MONTH

#: The moment of an item that never expires.
NEVER = math.inf

_NUMBERS = 1 << 64
# What strtoull takes: blanks, a sign, digits, and then the end, a NUL or a blank. The quantifiers are possessive
# (``*+``), or a megabyte of zeros would be tried over and over.
_NUMBER = re.compile(rb"[ \t\n\v\f\r]*+([+-]?)(0*+)([0-9]{0,20}+)(?:[\0 \t\n\v\f\r]|\Z)")


def expires_at(exptime: int, now: float) -> float:
    """When an item stored at ``now`` with this ``exptime`` is gone; ``math.inf`` for never.

    0 is never; 1 to 2592000 are seconds from ``now``; more is Unix time, which may lie in the past; a negative
    one, which only the text dialects can say, is at once.
    """
    if exptime == 0:
        return NEVER
    if exptime < 0:
        return now
    return now + exptime if exptime <= MONTH else exptime


def flushes_at(exptime: int | None, now: float) -> float:
    """When a flush with this delay takes effect; ``math.inf`` for never.

    As with memcached a delay of n seconds is over one second early, so that 1 is at once. A Unix time of this very
    second is at once too, and one before it flushes nothing.
    """
    if exptime is None or exptime <= 0:
        return now
    if exptime <= MONTH:
        return now + exptime - 1
    return exptime - 1 if exptime > now - 1 else NEVER


def parse_number(value: bytes) -> int | None:
    """The unsigned 64-bit number that a stored value spells in memcached's reading, ``None`` if it spells none."""
    match = _NUMBER.match(value)
    if match is None:
        return None
    sign, zeros, digits = match.groups()
    if not zeros and not digits:
        return None
    number = int(digits or b"0")
    if number >= _NUMBERS:
        return None
    if sign == b"-":
        # strtoull negates modulo 2**64.
        number = -number % _NUMBERS
    # memcached suspects numbers that look negative to signed arithmetic, and looks for a minus anywhere in the text.
    if number >= _NUMBERS // 2 and b"-" in value.partition(b"\0")[0]:
        return None
    return number


def add_delta(number: int, delta: int) -> int:
    """``number`` plus a signed ``delta``: wraps above 2**64 - 1, stops at 0."""
    return max(number + delta, 0) % _NUMBERS


def format_counter(old: bytes, number: int) -> bytes:
    """The text to store for a new number: a shorter one is padded, because memcached writes it in place."""
    return str(number).encode().ljust(len(old))
