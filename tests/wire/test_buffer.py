from __future__ import annotations

import re
import tracemalloc
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memproto import Envelope, RemoteProtocolError, ServerConnection, Signal, Stored
from memproto._wire.buffer import A_LINE, ReceiveBuffer
from memproto.testing import pieces
from tests.support.reached import reached, reaches


def test_what_is_fed_lies_in_one_block() -> None:
    buffer = ReceiveBuffer()
    data = b"whole"
    buffer.feed(data)
    assert buffer.data is data
    assert (buffer.at, len(buffer)) == (0, 5)


def test_more_waits_aside_until_it_is_needed() -> None:
    buffer = ReceiveBuffer()
    for piece in (b"ab", b"cd", b"e" * 2000, b"f", b"g"):
        buffer.feed(piece)
    assert (buffer.data, len(buffer)) == (b"ab", 2006)
    buffer.at = 1
    assert buffer.gather(3)
    assert (buffer.data, buffer.at, len(buffer)) == (b"bcd" + b"e" * 2000 + b"fg", 0, 2005)


def test_the_need_is_noted_and_fulfilled() -> None:
    buffer = ReceiveBuffer()
    buffer.feed(b"abc")
    assert not buffer.gather(5)
    assert buffer.need == 5
    buffer.feed(b"d")
    assert buffer.need == 5
    buffer.feed(b"e")
    assert buffer.need == 0
    assert buffer.gather(5)
    assert buffer.data == b"abcde"


def test_what_is_used_up_is_let_go() -> None:
    buffer = ReceiveBuffer()
    buffer.feed(b"abc")
    buffer.at = 3
    buffer.feed(b"de")
    assert (buffer.data, buffer.at, len(buffer)) == (b"de", 0, 2)


def test_discard_what_is_here() -> None:
    buffer = ReceiveBuffer()
    buffer.feed(b"abc")
    buffer.feed(b"def")
    buffer.discard(4)
    assert not buffer.discarding
    assert buffer.data[buffer.at :] == b"ef"


def test_discard_what_is_to_come() -> None:
    buffer = ReceiveBuffer()
    buffer.feed(b"abc")
    buffer.discard(7)
    assert (buffer.discarding, len(buffer)) == (True, 0)
    buffer.feed(b"def")
    assert (buffer.discarding, len(buffer)) == (True, 0)
    buffer.feed(b"ghi")
    assert not buffer.discarding
    assert buffer.data[buffer.at :] == b"hi"


def test_clear_forgets_everything() -> None:
    buffer = ReceiveBuffer()
    buffer.feed(b"abc")
    buffer.feed(b"d")
    buffer.gather(9)
    buffer.discard(8)
    buffer.clear()
    assert (len(buffer), buffer.data, buffer.need, buffer.discarding) == (0, b"", 0, False)
    buffer.feed(b"new")
    assert (buffer.data, len(buffer)) == (b"new", 3)


@reaches(gathered=0.2)
@given(data=st.binary(max_size=5000), draw=st.data())
def test_bytes_come_out_as_they_went_in(data: bytes, draw: st.DataObject) -> None:
    buffer = ReceiveBuffer()
    out = b""
    for piece in draw.draw(pieces(data)):
        buffer.feed(piece)
        size = draw.draw(st.integers(0, len(buffer) + 2))
        if buffer.gather(size):
            reached("gathered")
            out += buffer.data[buffer.at : buffer.at + size]
            buffer.at += size
    left = len(buffer)
    assert len(out) + left == len(data)
    assert buffer.gather(left)
    assert out + buffer.data[buffer.at :] == data


# --- take


def test_take_gives_all_or_nothing() -> None:
    buffer = ReceiveBuffer()
    buffer.feed(b"abc")
    assert buffer.take(2) == b"ab"
    assert buffer.take(2) is None
    assert (buffer.need, len(buffer)) == (2, 1)
    buffer.feed(b"d")
    assert buffer.take(2) == b"cd"
    assert (buffer.take(0), len(buffer)) == (b"", 0)


def test_take_does_not_look_again_before_enough_has_come() -> None:
    buffer = ReceiveBuffer()
    buffer.feed(b"ab")
    assert buffer.take(5) is None
    assert buffer.take(1) is None
    buffer.feed(b"cde")
    assert buffer.take(5) == b"abcde"


# --- take_line


@pytest.mark.parametrize(
    ("data", "line", "rest"),
    [
        (b"get k\r\nget", b"get k", b"get"),
        (b"get k\nget", b"get k", b"get"),
        (b"\r\n", b"", b""),
        (b"\n\n", b"", b"\n"),
        (b"\r\r\n", b"\r", b""),
        (b"a\rb\n", b"a\rb", b""),
        (b"1234567\r\n", b"1234567", b""),
        (b"12345678\r\n", b"12345678", b""),
        (b"1234567\r\r\n", b"1234567\r", b""),
        (b"12345678\n", b"12345678", b""),
    ],
)
def test_a_line_is_what_stands_before_its_end(data: bytes, line: bytes, rest: bytes) -> None:
    for size in (1, 2, len(data)):
        buffer = ReceiveBuffer()
        taken = None
        for at in range(0, len(data), size):
            buffer.feed(data[at : at + size])
            taken = buffer.take_line(8) if taken is None else taken
        assert taken == line
        assert buffer.take(len(rest)) == rest
        assert len(buffer) == 0


def test_a_line_that_is_not_complete_is_searched_once() -> None:
    buffer = ReceiveBuffer()
    buffer.feed(b"get")
    assert buffer.take_line(8) is None
    assert buffer.need == A_LINE
    buffer.feed(b" k")
    assert buffer.need == A_LINE
    assert buffer.take_line(8) is None
    buffer.feed(b"\r\n")
    assert buffer.need == 0
    assert buffer.take_line(8) == b"get k"


@pytest.mark.parametrize(
    "data", [b"123456789", b"123456789\n", b"123456789\r\n", b"12345678\r9", b"12345678\r\r\n", b"123456789\nmore\n"]
)
def test_a_line_over_the_limit_is_lost_framing(data: bytes) -> None:
    for size in (1, 3, len(data)):
        buffer = ReceiveBuffer()
        cuts = range(0, len(data), size)
        with pytest.raises(RemoteProtocolError, match=r"^line has more than 8 bytes, which is the limit$"):
            _take_lines(buffer, (data[at : at + size] for at in cuts))


def _take_lines(buffer: ReceiveBuffer, parts: Iterable[bytes]) -> None:
    for part in parts:
        buffer.feed(part)
        assert buffer.take_line(8) is None


def test_a_bare_lf_may_be_forbidden() -> None:
    buffer = ReceiveBuffer()
    buffer.feed(b"a\r\nb\n")
    assert buffer.take_line(8, False) == b"a"
    with pytest.raises(RemoteProtocolError, match=r"^line b'b' ends in a bare LF, must end in CR LF$"):
        buffer.take_line(8, False)


def test_lines_of_a_kind_may_be_longer() -> None:
    kind = re.compile(b"get ")
    buffer = ReceiveBuffer()
    buffer.feed(b"get 456789\r\nget 4567\nget 456789\n")
    assert buffer.take_line(6, True, 10, kind) == b"get 456789"
    assert buffer.take_line(6, True, 10, kind) == b"get 4567"
    assert buffer.take_line(6, True, 10, kind) == b"get 456789"
    for line in (b"got 4567\n", b"get 4567890\n", b"got 4567\r\n", b"get 4567890\r\n"):
        buffer.clear()
        buffer.feed(line)
        with pytest.raises(RemoteProtocolError, match="line has more than"):
            buffer.take_line(6, True, 10, kind)


def test_only_the_first_bytes_of_a_line_up_to_its_limit_and_one_tell_its_kind() -> None:
    kind = re.compile(b"get ")
    for limit, longer in ((2, False), (3, True)):
        buffer = ReceiveBuffer()
        buffer.feed(b"get 456789\n")
        if longer:
            assert buffer.take_line(limit, True, 10, kind) == b"get 456789"
        else:
            with pytest.raises(RemoteProtocolError, match=r"^line has more than 2 bytes, which is the limit$"):
                buffer.take_line(limit, True, 10, kind)


@pytest.mark.parametrize("cut", range(1, 10))
def test_a_line_of_a_kind_is_known_as_one_wherever_it_is_cut_and_before_its_end_is_there(cut: int) -> None:
    kind, line = re.compile(b"get "), b"get 456789"
    buffer = ReceiveBuffer()
    for piece in (line[:cut], line[cut:]):
        buffer.feed(piece)
        assert buffer.take_line(3, True, 10, kind) is None
    buffer.feed(b"\n")
    assert buffer.take_line(3, True, 10, kind) == line


@pytest.mark.parametrize("pieces", [[b"long", b""], [b"lo", b"ng", b""], [b"long", b"", b""]], ids=repr)
def test_a_line_over_the_limit_is_refused_after_an_empty_piece(pieces: list[bytes]) -> None:
    buffer = ReceiveBuffer()
    for piece in pieces:
        buffer.feed(piece)
    with pytest.raises(RemoteProtocolError, match=r"^line has more than 3 bytes, which is the limit$"):
        buffer.take_line(3)


# --- skip_line


def test_a_line_is_skipped_with_its_end() -> None:
    buffer = ReceiveBuffer()
    buffer.feed(b"skipped\r\nnext\n")
    assert buffer.skip_line()
    assert buffer.take_line(8) == b"next"


def test_of_a_line_that_is_skipped_nothing_is_held() -> None:
    buffer = ReceiveBuffer()
    for piece in (b"begin", b"", b"x" * 5000, b"\r"):
        buffer.feed(piece)
        assert not buffer.skip_line()
        assert (len(buffer), buffer.need) == (0, 0)
    buffer.feed(b"\nnext")
    buffer.feed(b"\n")
    assert buffer.skip_line()
    assert buffer.take_line(8) == b"next"


def test_a_line_found_to_be_too_long_can_be_skipped() -> None:
    buffer = ReceiveBuffer()
    buffer.feed(b"1234")
    assert buffer.take_line(8) is None
    buffer.feed(b"56789")
    with pytest.raises(RemoteProtocolError):
        buffer.take_line(8)
    assert not buffer.skip_line()
    buffer.feed(b"0\nnext\n")
    assert buffer.skip_line()
    assert buffer.take_line(8) == b"next"


def test_what_is_discarded_holds_no_line() -> None:
    buffer = ReceiveBuffer()
    buffer.discard(3)
    assert not buffer.skip_line()
    assert buffer.discarding
    buffer.feed(b"a\nbc\nd")
    assert buffer.skip_line()
    assert buffer.take(1) == b"d"


@reaches(line=0.1, skipped=0.1)
@given(st.lists(st.binary(max_size=40).map(lambda line: line.translate(None, b"\n")), max_size=8), st.data())
def test_lines_come_out_or_are_skipped_however_they_are_cut(lines: list[bytes], draw: st.DataObject) -> None:
    buffer = ReceiveBuffer()
    wanted = iter([(line, draw.draw(st.booleans())) for line in lines])
    waits = next(wanted, None)
    for piece in draw.draw(pieces(b"".join(line + b"\r\n" for line in lines))):
        buffer.feed(piece)
        while waits is not None:
            if waits[1]:
                if not buffer.skip_line():
                    break
                reached("skipped")
            else:
                line = buffer.take_line(50)
                if line is None:
                    break
                reached("line")
                assert line == waits[0]
            waits = next(wanted, None)
    assert (waits, len(buffer)) == (None, 0)


@reaches(waiting=0.1)
@given(st.lists(st.integers(1, 6000), min_size=1, max_size=8), st.data())
def test_what_has_been_read_is_not_kept_while_a_reader_waits(sizes: list[int], draw: st.DataObject) -> None:
    buffer = ReceiveBuffer()
    wanted = iter(sizes)
    size = next(wanted, None)
    for piece in draw.draw(pieces(bytes(sum(sizes)))):
        buffer.feed(piece)
        while size is not None and buffer.take(size) is not None:
            size = next(wanted, None)
        if size is not None:
            reached("waiting")
            assert len(buffer.data) - buffer.at <= len(buffer.data) <= 2 * len(buffer) + 1024
    assert size is None
    assert buffer.take(1) is None
    assert len(buffer.data) < 1024


@pytest.mark.parametrize(
    "request_",
    [
        b"set k 0 0 200000\r\n%b\r\n" % bytes(200_000),
        b"ms k 200000\r\n%b\r\n" % bytes(200_000),
        b"\x80\x01\0\x01\x08\0\0\0" + (200_009).to_bytes(4, "big") + bytes(12 + 8) + b"k" + bytes(200_000),
    ],
    ids=["classic", "meta", "binary"],
)
@pytest.mark.parametrize("rest", [0, 1, 10])
def test_a_connection_whose_large_request_is_answered_keeps_none_of_it(request_: bytes, rest: int) -> None:
    def conversation() -> ServerConnection:
        server = ServerConnection()
        server.receive_data(request_ + request_[:rest])
        event = server.next_event()
        assert isinstance(event, Envelope)
        server.send(Stored(1), event)
        assert server.next_event() is Signal.NEED_DATA
        assert server.buffered == rest
        return server

    conversation()  # the first one imports and caches
    tracemalloc.start()
    try:
        kept = conversation()
        assert tracemalloc.get_traced_memory()[0] < 20_000
        assert kept.outstanding == 0
    finally:
        tracemalloc.stop()
