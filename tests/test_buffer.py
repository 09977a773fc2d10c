from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from memproto._buffer import ReceiveBuffer
from memproto.testing import pieces


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


@given(data=st.binary(max_size=5000), draw=st.data())
def test_bytes_come_out_as_they_went_in(data: bytes, draw: st.DataObject) -> None:
    buffer = ReceiveBuffer()
    out = b""
    for piece in draw.draw(pieces(data)):
        buffer.feed(piece)
        size = draw.draw(st.integers(0, len(buffer) + 2))
        if buffer.gather(size):
            out += buffer.data[buffer.at : buffer.at + size]
            buffer.at += size
    left = len(buffer)
    assert len(out) + left == len(data)
    assert buffer.gather(left)
    assert out + buffer.data[buffer.at :] == data
