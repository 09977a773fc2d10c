"""Which texts are numbers, and how counting changes them."""

from __future__ import annotations

import re

_NUMBERS = 1 << 64
# What strtoull takes: blanks, a sign, digits, and then the end, a NUL or a blank. The quantifiers are possessive
# (``*+``), or a megabyte of zeros would be tried over and over.
_NUMBER = re.compile(rb"[ \t\n\v\f\r]*+([+-]?)(0*+)([0-9]{0,20}+)(?:[\0 \t\n\v\f\r]|\Z)")


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
