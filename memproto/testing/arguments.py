"""The checks of what a user hands in: the error names the argument, what was seen and what is expected."""

from __future__ import annotations

from memproto import LocalProtocolError


def _described(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return "None" if value is None else type(value).__name__


def misuse(name: str, value: object, expected: str) -> LocalProtocolError:
    """The error of an argument that must be what ``expected`` says."""
    seen = f"{value!r:.60}" if isinstance(value, str | bytes | int | float) else _described(value)
    return LocalProtocolError(f"{name} is {seen}, must be {expected}")


def check_type(name: str, value: object, kinds: tuple[type, ...], expected: str) -> None:
    """Raise LocalProtocolError unless the value is of one of these kinds."""
    if not isinstance(value, kinds):
        raise LocalProtocolError(f"{name} is {_described(value)}, must be {expected}")


def check_data(data: object) -> None:
    """Raise LocalProtocolError unless these are bytes."""
    check_type("data", data, (bytes, bytearray, memoryview), "bytes or a bytearray or a memoryview")
