"""The checks of what a user hands in: the error names the argument, what was seen and what is expected."""

from __future__ import annotations

import math

from memproto import LocalProtocolError

#: The highest port of TCP and UDP.
MAX_PORT = 65535


def misuse(name: str, value: object, expected: str) -> LocalProtocolError:
    """The error of an argument that must be what ``expected`` says."""
    seen = type(value).__name__
    if value is None or isinstance(value, str | bytes | int | float):
        seen = f"{value!r:.60}"
    elif isinstance(value, type):
        seen = f"the class {value.__name__}"
    return LocalProtocolError(f"{name} is {seen}, must be {expected}")


def check_type(name: str, value: object, kinds: tuple[type, ...], expected: str) -> None:
    """Raise LocalProtocolError unless the value is of one of these kinds."""
    if not isinstance(value, kinds):
        raise misuse(name, value, expected)


def check_count(name: str, value: object, least: int = 0) -> None:
    """Raise LocalProtocolError unless this is an int and not less than ``least``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise misuse(name, value, f"an int, {least} or more")


def check_port(name: str, value: object) -> None:
    """Raise LocalProtocolError unless this is a port, or 0."""
    check_count(name, value)
    if isinstance(value, int) and value > MAX_PORT:
        raise misuse(name, value, f"an int, 0 to {MAX_PORT}")


def check_seconds(name: str, value: object, least: float = 0) -> None:
    """Raise LocalProtocolError unless this is a finite number and not less than ``least``."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not isinstance(value, int | float) or not math.isfinite(value) or value < least:
        raise misuse(name, value, "a finite number of seconds" + (", 0 or more" if least == 0 else ""))


def check_data(data: object) -> None:
    """Raise LocalProtocolError unless these are bytes."""
    check_type("data", data, (bytes, bytearray, memoryview), "bytes or a bytearray or a memoryview")
