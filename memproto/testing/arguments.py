"""The checks of what a user hands in: the error names the argument, what was seen and what is expected."""

from __future__ import annotations

from memproto import LocalProtocolError


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


def check_data(data: object) -> None:
    """Raise LocalProtocolError unless these are bytes."""
    check_type("data", data, (bytes, bytearray, memoryview), "bytes or a bytearray or a memoryview")
