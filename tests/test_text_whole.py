"""Replies to a get that are here whole are taken by a shorter way; what is not plain gets its own error."""

from __future__ import annotations

import pytest
from hypothesis import find

from memproto import (
    ClientConnection,
    Dialect,
    Failure,
    Get,
    Item,
    Limits,
    Status,
    Values,
)
from memproto.testing import meta_lines
from tests.helpers import Told, each_byte, tell


def _told(dialect: Dialect, keys: tuple[bytes, ...], data: bytes, limits: Limits | None = None) -> Told:
    """What a client is told of the answer to a get, the same whole and byte by byte."""

    def fresh() -> ClientConnection:
        client = ClientConnection(limits, dialect=dialect)
        client.send(Get(keys))
        return client

    whole = tell(fresh(), [data])
    assert tell(fresh(), each_byte(data)) == whole
    return whole


def test_a_number_that_is_none_behind_plain_hits() -> None:
    data = b"VALUE a 1 1 7\r\nx\r\nVALUE b y 1 7\r\nx\r\nEND\r\n"
    told = _told(Dialect.CLASSIC, (b"a", b"b"), data)
    assert told == Told([], "numbers in b'VALUE b y 1 7' are not flags, length and cas")


def test_a_value_over_the_limit_behind_plain_hits() -> None:
    hits = b"VA 2 f1 c7 ka O0\r\nxx\r\n"
    told = _told(Dialect.META, (b"a", b"b"), hits + b"VA 2 f1 c8 kb O0\r\nyy\r\n", Limits(value=2))
    assert told == Told([Values((Item(b"a", b"xx", 1, 7), Item(b"b", b"yy", 1, 8)))])
    told = _told(Dialect.META, (b"a", b"b"), hits + b"VA 3 f1 c8 kb O0\r\nyyy\r\n", Limits(value=2))
    assert told == Told([Failure(Status.REPLY_TOO_LARGE, b"value is 3 bytes, limit is 2")])


def test_keys_of_several_lines_are_one_answer() -> None:
    keys = (b"a" * 40, b"b" * 40, b"c" * 40)
    limits = Limits(line=64, keys_line=110, answer=10)
    client = ClientConnection(limits, dialect=Dialect.CLASSIC)
    asked = client.send(Get(keys))
    assert asked.data == b"gets " + keys[0] + b" " + keys[1] + b"\r\ngets " + keys[2] + b"\r\n"

    def hit(key: bytes, value: bytes) -> bytes:
        return b"VALUE " + key + b" 0 %d 7\r\n" % len(value) + value + b"\r\nEND\r\n"

    told = _told(Dialect.CLASSIC, keys, hit(keys[1], b"v" * 6) + hit(keys[2], b"w" * 4), limits)
    assert told == Told([Values((Item(keys[1], b"v" * 6, 0, 7), Item(keys[2], b"w" * 4, 0, 7)))])
    told = _told(Dialect.CLASSIC, keys, hit(keys[1], b"v" * 6) + hit(keys[2], b"w" * 5), limits)
    assert told == Told([Failure(Status.REPLY_TOO_LARGE, b"values are 11 bytes and more, limit is 10")])


@pytest.mark.parametrize("command", [b"mg", b"ms", b"md", b"ma", b"mn", b"me"])
def test_every_command_is_among_the_generated_lines(command: bytes) -> None:
    assert find(meta_lines(), lambda line: line.startswith(command)).endswith(b"\r\n")
