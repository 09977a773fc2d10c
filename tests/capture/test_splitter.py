"""Bytes of both directions are told apart, message by message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memproto import Side
from memproto.capture.errors import CaptureError
from memproto.capture.raw_bytes import decode_bytes, decode_sides
from memproto.capture.splitter import Splitter, is_request
from memproto.capture.summary import summarise

NOOP = bytes.fromhex("800a0000 00000000 00000000 00000001 0000000000000000")
DONE = b"\x81" + NOOP[1:]
#: Messages in turn, with the side that sends each.
DIALOG = [
    (Side.CLIENT, b"set k 0 0 6\r\nget x\n\r\n"),
    (Side.SERVER, b"STORED\r\n"),
    (Side.CLIENT, b"gets k\r\n"),
    (Side.SERVER, b"VALUE k 0 6 1\r\nget x\n\r\nEND\r\n"),
    (Side.CLIENT, NOOP),
    (Side.SERVER, DONE),
    (Side.CLIENT, b"ms k 2 T0\r\nhi\r\nmg k v\r\n"),
    (Side.SERVER, b"HD\r\nVA 2\r\nhi\r\n"),
    (Side.CLIENT, b"incr n 1\r\nmn\r\n"),
    (Side.SERVER, b"15\r\nMN\r\n\r\n"),
]
WHOLE = b"".join(data for _, data in DIALOG)


@given(st.lists(st.integers(0, len(WHOLE)), max_size=6).map(sorted))
def test_messages_are_told_apart_however_they_are_cut(cuts: list[int]) -> None:
    splitter = Splitter()
    said = [(Side.CLIENT, b"")]
    for begin, end in zip([0, *cuts], [*cuts, len(WHOLE)], strict=True):
        for side, is_binary, data in splitter.add(WHOLE[begin:end]):
            assert is_binary is (data in NOOP or data in DONE) or len(data) < 5
            if side is said[-1][0]:
                said[-1] = (side, said[-1][1] + data)
            else:
                said.append((side, data))
    assert splitter.end() == []
    assert said == DIALOG


@pytest.mark.parametrize(
    ("rest", "side"),
    [(b"get ke", Side.CLIENT), (b"VALUE k", Side.SERVER), (NOOP[:9], Side.CLIENT), (DONE[:9], Side.SERVER)],
)
def test_the_rest_of_a_cut_input_has_a_side(rest: bytes, side: Side) -> None:
    splitter = Splitter()
    assert splitter.add(rest) == []
    assert [(piece.side, piece.data) for piece in splitter.end()] == [(side, rest)]


def test_a_line_without_end_is_not_held_for_ever() -> None:
    (piece,) = Splitter().add(b"x" * (1 << 23))
    assert (piece.side, len(piece.data)) == (Side.SERVER, 1 << 23)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        *((data, True) for data in (NOOP, b"\x80", b"get k\r\n", b"mn\r\n", b"quit\r\n", b"me k\r\n")),
        *(
            (data, False)
            for data in (DONE, b"\x80\xf0", b"", b"GET / HTTP/1.1\r\n", b"getter k\r\n", b"STORED\r\n", b"\r\n")
        ),
    ],
)
def test_requests_are_known_by_their_first_bytes(data: bytes, expected: bool) -> None:
    assert is_request(data) is expected


def test_messages_of_both_sides_in_one_input_are_exchanges() -> None:
    records = list(decode_bytes([WHOLE[:50], WHOLE[50:]], keep=True))
    said = [(summarise(record).command, record.time, record.ends) for record in records]
    # Binary and text are conversations of their own. The empty line at the end belongs to no message.
    assert sorted(command for command, _, _ in said) == ["", "NOOP", "gets", "incr", "mg", "mn", "ms", "set"]
    assert {(time, ends) for _, time, ends in said} == {(None, None)}
    assert b"".join(record.request for record in records if summarise(record).dialect != "binary") == b"".join(
        data for side, data in DIALOG if side is Side.CLIENT and data != NOOP
    )


def test_a_cut_input_gives_what_is_whole() -> None:
    (record, *_) = decode_bytes([b"get k\r\nEND\r\nget l"], keep=False)
    assert summarise(record).command == "get"


@pytest.mark.parametrize("data", [b"\x00\x01", b"\xff\n", b"\r\n", b"\x01get k\r\n"])
def test_bytes_that_begin_with_no_message_are_refused(data: bytes) -> None:
    with pytest.raises(CaptureError, match="does not begin with a message"):
        list(decode_bytes([data], keep=False))


@pytest.mark.parametrize("data", [b"root:x:0:0:root:/root:/bin/sh\nnobody:x:1:1\n", b"get k", b"hello", NOOP[:20]])
def test_bytes_without_a_whole_message_are_refused(data: bytes) -> None:
    with pytest.raises(CaptureError, match="has no whole message of memcached"):
        list(decode_bytes([data], keep=False))


def test_bytes_before_the_first_message_are_told() -> None:
    records = list(decode_bytes([b"hello\r\n", b"mn\r\nMN\r\n"], keep=False))
    assert sorted(summarise(record).status for record in records) == ["ok", "skipped"]


def test_sides_in_files_of_their_own_are_matched() -> None:
    client = b"".join(b"get %d\r\n" % number for number in range(3000))
    server = b"".join(b"VALUE %d 0 1\r\nv\r\nEND\r\n" % number for number in range(3000))
    records = list(decode_sides([client], [server], keep=False))
    assert [summarise(record).keys[0] for record in records] == [b"%d" % number for number in range(3000)]
    assert {summarise(record).status for record in records} == {"hit"}


def test_one_side_alone_is_decoded() -> None:
    (record,) = decode_sides([b"mn\r\n"], [], keep=False)
    assert summarise(record).command == "mn"
    assert summarise(record).status == "not_seen"
