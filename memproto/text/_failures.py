"""Failures as lines of text, and lines as failures; the same in classic and in meta."""

from __future__ import annotations

from typing import TypeAlias

from memproto.errors import RemoteProtocolError
from memproto.model import Failure, Status
from memproto.text._lines import BAD_FORMAT, CRLF, check_text

#: The words of refusals, with the status that each stands for.
Refusals: TypeAlias = dict[bytes, Status]

_ERROR = b"ERROR"
_CLIENT_ERROR = b"CLIENT_ERROR "
_SERVER_ERROR = b"SERVER_ERROR "

TOO_LARGE = b"object too large for cache"
NOT_A_NUMBER = b"cannot increment or decrement non-numeric value"
UNAUTHENTICATED = b"unauthenticated"

# The lines with a status of their own; any other CLIENT_ERROR is INVALID_ARGUMENTS, any other SERVER_ERROR
# OUT_OF_MEMORY, the nearest that the protocol has, and keeps its text.
_WORDS: dict[int, tuple[bytes, bytes]] = {
    Status.UNKNOWN_COMMAND: (_ERROR, b""),
    Status.INVALID_ARGUMENTS: (_CLIENT_ERROR, BAD_FORMAT),
    Status.DELTA_BAD_VALUE: (_CLIENT_ERROR, NOT_A_NUMBER),
    Status.AUTH_ERROR: (_CLIENT_ERROR, UNAUTHENTICATED),
    Status.VALUE_TOO_LARGE: (_SERVER_ERROR, TOO_LARGE),
    Status.OUT_OF_MEMORY: (_SERVER_ERROR, b"out of memory storing object"),
}
# What memcached says in other words than in binary.
_IN_TEXT = {
    b"Out of memory allocating item": _WORDS[Status.OUT_OF_MEMORY][1],
    b"Out of memory incrementing value": b"out of memory",
}
_OWN_STATUS = {
    _CLIENT_ERROR + NOT_A_NUMBER: Status.DELTA_BAD_VALUE,
    _CLIENT_ERROR + UNAUTHENTICATED: Status.AUTH_ERROR,
    _SERVER_ERROR + TOO_LARGE: Status.VALUE_TOO_LARGE,
}


def lines_of(refusals: Refusals, not_stored: bytes) -> dict[int, bytes]:
    """The word for each status: the first that stands for it, but always ``not_stored`` for NOT_STORED."""
    lines: dict[int, bytes] = {status: line for line, status in reversed(refusals.items())}
    if not_stored in refusals:
        lines[Status.NOT_STORED] = not_stored
    return lines


def error_line(failure: Failure) -> bytes:
    """The line, with its end, that says a failure which has no word of its own in the dialect."""
    prefix, words = _WORDS.get(failure.status, (_SERVER_ERROR, failure.reason))
    text = words if failure.text is None else failure.text
    if failure.status == Status.OUT_OF_MEMORY:
        text = _IN_TEXT.get(text, text)
    check_text("text", text)
    if prefix is _ERROR:
        # ``ERROR: shutdown not enabled`` is such a line; the colon belongs to the text, as a blank would.
        return _ERROR + (text if text[:1] in (b"", b":", b" ") else b" " + text) + CRLF
    return prefix + text + CRLF


def failure_in(line: bytes) -> Failure | None:
    """The failure that a line says, ``None`` if it is not an error line."""
    if line == _ERROR or line.startswith((b"ERROR ", b"ERROR:")):
        text = line[len(_ERROR) :]
        return Failure(Status.UNKNOWN_COMMAND, text or None)
    for prefix, status in ((_CLIENT_ERROR, Status.INVALID_ARGUMENTS), (_SERVER_ERROR, Status.OUT_OF_MEMORY)):
        if line.startswith(prefix):
            status = _OWN_STATUS.get(line, status)
            text = line[len(prefix) :]
            return Failure(status, None if text == _WORDS[status][1] else text)
    return None


def unexpected(line: bytes, asked: str) -> RemoteProtocolError:
    """The error of a line that answers nothing asked."""
    return RemoteProtocolError(f"line {line[:80]!r} does not answer {asked}")
