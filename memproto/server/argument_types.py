"""What the values of options look like; each raises ArgumentTypeError for anything else."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from collections.abc import Callable

_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


def size(text: str) -> int:
    """A number of bytes such as ``1024``, ``512k`` or ``1m``."""
    match = re.fullmatch(r"([0-9]{1,18})([kmg]?)", text.lower())
    if match is None:
        raise ArgumentTypeError(f"{text!r} is not a size: a number, with k, m or g behind it if you like")
    return int(match[1]) * _UNITS[match[2]]


def number(least: int, rule: str, most: int | None = None) -> Callable[[str], int]:
    """A decimal number from ``least`` to ``most``; ``rule`` says so in words."""

    def convert(text: str) -> int:
        if not re.fullmatch(r"\s*-?[0-9]{1,18}\s*", text):
            raise ArgumentTypeError(f"{text!r} is not a number")
        if int(text) < least or (most is not None and int(text) > most):
            raise ArgumentTypeError(f"{rule}, not {text.strip()}")
        return int(text)

    return convert


def octal(text: str) -> int:
    """The mode of a file such as ``700``."""
    if not re.fullmatch("[0-7]{1,4}", text):
        raise ArgumentTypeError(f"{text!r} is not a mode in octal, such as 700")
    return int(text, 8) & 0o777


def factor(text: str) -> float:
    """A number above 1."""
    if not re.fullmatch(r"[0-9]{1,18}(\.[0-9]*)?", text) or float(text) <= 1:
        raise ArgumentTypeError(f"Factor must be greater than 1, not {text}")
    return float(text)


def character(text: str) -> str:
    """The first character."""
    if not text:
        raise ArgumentTypeError("No delimiter specified")
    return text[0]
