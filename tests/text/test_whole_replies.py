"""Replies to a get that are here whole are taken by a shorter way; what is not plain gets its own error."""

from __future__ import annotations

import pytest
from hypothesis import find

from memproto import (
    AdminReply,
    ClassicEnvelope,
    ClientConnection,
    Dialect,
    Failure,
    Get,
    Item,
    Limits,
    LocalProtocolError,
    Status,
    Values,
)
from memproto._wire.buffer import ReceiveBuffer
from memproto._wire.exchange import Exchange
from memproto.testing import meta_lines
from memproto.text import decode_reply, decode_request, encode_reply, encode_reply_part
from memproto.text.classic._client_items import ItemsReader
from memproto.text.meta._client_multi_get import MultiGetReply
from tests.support.telling import Told, tell
from tests.support.wire import each_byte


def _told(dialect: Dialect, keys: tuple[bytes, ...], data: bytes, limits: Limits | None = None) -> Told:
    """What a client is told of the answer to a get, the same whole and byte by byte."""

    def fresh() -> ClientConnection:
        client = ClientConnection(limits, dialect=dialect)
        client.send(Get(keys))
        return client

    whole = tell(fresh(), [data])
    assert tell(fresh(), each_byte(data)) == whole
    return whole


def test_malformed_number_in_a_value_line_behind_hits_is_a_fault() -> None:
    data = b"VALUE a 1 1 7\r\nx\r\nVALUE b y 1 7\r\nx\r\nEND\r\n"
    told = _told(Dialect.CLASSIC, (b"a", b"b"), data)
    assert told == Told([], "numbers in b'VALUE b y 1 7' are not flags, length and cas")


@pytest.mark.parametrize("digits", [21, 5000])
@pytest.mark.parametrize(
    ("dialect", "reply"),
    [
        (Dialect.CLASSIC, b"VALUE k %b 1 7\r\nx\r\nEND\r\n"),
        (Dialect.CLASSIC, b"VALUE k 0 %b 7\r\nx\r\nEND\r\n"),
        (Dialect.CLASSIC, b"VALUE k 0 1 %b\r\nx\r\nEND\r\n"),
        (Dialect.META, b"VA %b f0 c7 kk O0\r\nx\r\n"),
        (Dialect.META, b"VA 1 f%b c7 kk O0\r\nx\r\n"),
        (Dialect.META, b"VA 1 f0 c%b kk O0\r\nx\r\n"),
    ],
    ids=repr,
)
def test_a_number_of_more_digits_than_64_bits_have_is_no_number(dialect: Dialect, reply: bytes, digits: int) -> None:
    client = ClientConnection(Limits(line=6000), dialect=dialect)
    client.send(Get((b"k",)))
    told = tell(client, [reply % b"1".zfill(digits)])
    assert told.replies == []
    assert told.fault is not None


@pytest.mark.parametrize("pieces", [1, 2, 3])
def test_nothing_is_kept_of_a_get_that_has_failed(pieces: int) -> None:
    keys, limits = (b"a", b"b", b"c"), Limits(value=2)
    size = 60 // pieces
    readers: tuple[tuple[MultiGetReply | ItemsReader, bytes], ...] = (
        (
            MultiGetReply(keys, (b"v", b"f", b"c", b"k", b"O0"), limits),
            b"VA 3 f0 c7 ka O0\r\nxxx\r\nVA 2 f0 c7 kb O0\r\nxx\r\n",
        ),
        (ItemsReader(keys, limits), b"VALUE a 0 3 7\r\nxxx\r\nVALUE b 0 2 7\r\nxx\r\n"),
    )
    for reader, data in readers:
        exchange = Exchange(Get(keys), (), False, reader)
        buffer = ReceiveBuffer()
        for at in range(0, len(data), size):
            buffer.feed(data[at : at + size])
            assert reader.read_irregular(buffer, exchange, limits) is None
        assert len(buffer) == 0
        assert reader.growing.items == []


def test_value_over_the_limit_behind_hits_fails_the_get() -> None:
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


@pytest.mark.parametrize(
    ("reply", "line", "encoded"),
    [
        (Values((Item(b"a", b"1"),)), b"get a b\r\n", (b"VALUE a 0 1\r\n", b"1", b"\r\n")),
        (
            Values((Item(b"a", b"1"), Item(b"b", b"2", 3, 4))),
            b"gets a b\r\n",
            (b"VALUE a 0 1 0\r\n", b"1", b"\r\n", b"VALUE b 3 1 4\r\n", b"2", b"\r\n"),
        ),
        (Values(), b"get a b\r\n", ()),
        (AdminReply((b"key=a", b"key=b")), b"lru_crawler metadump all\r\n", (b"key=a\n", b"key=b\n")),
        (AdminReply(()), b"stats cachedump 1 0\r\n", ()),
    ],
)
def test_a_part_of_a_reply_has_no_end(reply: Values | AdminReply, line: bytes, encoded: tuple[bytes, ...]) -> None:
    to = decode_request(line)
    assert isinstance(to, ClassicEnvelope)
    assert encode_reply_part(reply, to) == encoded


@pytest.mark.parametrize(
    ("lines", "command", "encoded"),
    [
        ((b"key=a exp=-1", b"END"), b"lru_crawler metadump all", b"key=a exp=-1\nEND\r\n"),
        ((b"BUSY currently",), b"lru_crawler metadump all", b"BUSY currently\r\n"),
        ((b"OK", b"mg key=a", b"EN"), b"lru_crawler mgdump all", b"OK\r\nmg key=a\r\nEN\r\n"),
        ((b"ITEM a [1 b; 0 s]", b"END"), b"stats cachedump 1 0", b"ITEM a [1 b; 0 s]\r\nEND\r\n"),
    ],
)
def test_only_the_items_of_a_metadump_end_with_lf_alone(
    lines: tuple[bytes, ...], command: bytes, encoded: bytes
) -> None:
    to = decode_request(command + b"\r\n")
    assert encode_reply(AdminReply(lines), to) == encoded
    assert decode_reply(encoded, to) == AdminReply(lines)


@pytest.mark.parametrize(
    ("reply", "line", "why"),
    [
        (Values((Item(b"x", b"1"),)), b"get a b\r\n", "key of an item is b'x', which was not asked for"),
        (AdminReply((b"a\nb",)), b"lru_crawler metadump all\r\n", "line"),
        (AdminReply((b"OK",)), b"get a\r\n", "AdminReply for Get has no parts"),
        (Values(), b"version\r\n", "Values for Version has no parts"),
    ],
)
def test_a_part_that_does_not_answer_is_refused(reply: Values | AdminReply, line: bytes, why: str) -> None:
    to = decode_request(line)
    assert isinstance(to, ClassicEnvelope)
    with pytest.raises(LocalProtocolError, match=why):
        encode_reply_part(reply, to)
