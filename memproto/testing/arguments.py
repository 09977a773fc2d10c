"""The checks of what a user hands in: the error names the argument, what was seen and what is expected."""

from __future__ import annotations

from memproto import LocalProtocolError

#: The highest port of TCP and UDP.
MAX_PORT = 65535
#: The most seconds that a time may have: more than anybody needs, and sums of them are finite.
MAX_SECONDS = 10**12


def misuse(name: str, value: object, expected: str) -> LocalProtocolError:
    """The error of an argument that must be what ``expected`` says."""
    seen = type(value).__name__
    if isinstance(value, int) and value.bit_length() > 256:
        # Python refuses to write numbers of some thousand digits.
        seen = f"an int of {value.bit_length()} bits"
    elif value is None or isinstance(value, str | bytes | int | float):
        seen = f"{value!r:.60}"
    elif isinstance(value, type):
        seen = f"the class {value.__name__}"
    return LocalProtocolError(f"{name} is {seen}, must be {expected}")


def check_type(name: str, value: object, kinds: tuple[type, ...], expected: str) -> None:
    """Raise LocalProtocolError unless the value is of one of these kinds."""
    if not isinstance(value, kinds):
        raise misuse(name, value, expected)


def check_count(name: str, value: object, least: int = 0, most: int | None = None) -> None:
    """Raise LocalProtocolError unless this is an int from ``least`` to ``most``, or not less than ``least``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least or (most is not None and value > most):
        raise misuse(name, value, f"an int, {least} or more" if most is None else f"an int, {least} to {most}")


def check_port(name: str, value: object) -> None:
    """Raise LocalProtocolError unless this is a port, or 0."""
    check_count(name, value, 0, MAX_PORT)


def check_seconds(name: str, value: object, least: int = 0) -> None:
    """Raise LocalProtocolError unless this is a number from ``least`` to :data:`MAX_SECONDS`."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not isinstance(value, int | float) or not least <= value <= MAX_SECONDS:
        raise misuse(name, value, f"a finite number of seconds, {least} to {MAX_SECONDS}")


def check_data(data: object) -> None:
    """Raise LocalProtocolError unless these are bytes."""
    check_type("data", data, (bytes, bytearray, memoryview), "bytes or a bytearray or a memoryview")
