"""The receive buffer against a model: one bytearray. Whatever is done to both, they hold the same bytes and no more."""

from __future__ import annotations

import re
import sys
from itertools import pairwise

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from memproto import RemoteProtocolError
from memproto._wire.buffer import A_LINE, ReceiveBuffer

LONG_LINES = re.compile(b"get ")
#: Pieces of less than this are put together.
SMALL = 1024
#: What the buffer may cost beside its bytes: itself, and a list of pieces of a kilobyte or more.
OVERHEAD = 1024

PIECES = st.one_of(
    st.sampled_from([b"", b"\n", b"\r", b"\r\n", b"get ", b"get k\r\n", b"a", b"\r\r\n", b"x" * SMALL, b"y" * 3000]),
    st.lists(st.sampled_from([b"g", b"get ", b"\r", b"\n", b"\r\n", b"x", b" "]), max_size=12).map(b"".join),
    st.binary(max_size=30),
)


class BufferMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.buffer = ReceiveBuffer()
        self.model = bytearray()
        self.discarding = 0
        # Whether a reader waits, for how many bytes or for a line of up to so many.
        self.waits = 0
        self.line = -1

    def _settle(self) -> None:
        """What the reader waits for may be there now."""
        if self.waits and len(self.model) >= self.waits:
            self.waits = 0
        if self.line >= 0 and (b"\n" in self.model or len(self.model) > self.line):
            self.line = -1

    @property
    def ready(self) -> bool:
        return not self.waits and self.line < 0

    @rule(piece=PIECES)
    def feed(self, piece: bytes) -> None:
        self.buffer.feed(piece)
        skipped = min(self.discarding, len(piece))
        self.discarding -= skipped
        self.model += piece[skipped:]
        self._settle()

    @rule(size=st.integers(0, 40) | st.sampled_from([SMALL, 5000]))
    def take(self, size: int) -> None:
        taken = self.buffer.take(size)
        if self.ready and len(self.model) >= size:
            assert taken == bytes(self.model[:size])
            del self.model[:size]
        else:
            assert taken is None
            if self.ready:
                self.waits = size

    @rule(size=st.integers(1, 40) | st.just(SMALL))
    def gather(self, size: int) -> None:
        # Readers ask only when they wait for nothing.
        if not self.ready:
            return
        gathered = self.buffer.gather(size)
        assert gathered is (len(self.model) >= size)
        if gathered:
            assert self.buffer.data[self.buffer.at : self.buffer.at + size] == self.model[:size]
        else:
            self.waits = size

    @rule(limit=st.integers(1, 12) | st.just(5000), bare_lf=st.booleans(), long=st.sampled_from([0, 20, 6000]))
    def take_line(self, limit: int, bare_lf: bool, long: int) -> None:
        try:
            line = self.buffer.take_line(limit, bare_lf, long, LONG_LINES)
        except RemoteProtocolError as error:
            assert self.ready
            self._check_refusal(str(error), limit, bare_lf, long)
            # The stream is lost, and nobody reads on.
            self.clear()
            return
        if not self.ready:
            assert line is None
            return
        most = self._most(limit, long)
        assert self._line_length() <= most
        end = self.model.find(b"\n")
        if end < 0:
            assert line is None
            self.line = max(most, len(self.model))
            return
        assert line is not None
        ended = bytes(self.model[: end + 1])
        assert line == ended.removesuffix(b"\n").removesuffix(b"\r")
        assert bare_lf or ended.endswith(b"\r\n")
        del self.model[: end + 1]

    def _line_length(self) -> int:
        """How many bytes of the first line are here; a CR at its end is not counted, an LF may follow it."""
        return len(bytes(self.model).partition(b"\n")[0].removesuffix(b"\r"))

    def _most(self, limit: int, long: int) -> int:
        """How long the line may be."""
        # No more than this is looked at.
        beginning = self.model[: limit + 1]
        is_long = self._line_length() > limit < long and beginning.startswith(b"get ")
        return long if is_long else limit

    def _check_refusal(self, reason: str, limit: int, bare_lf: bool, long: int) -> None:
        most = self._most(limit, long)
        if reason.startswith("line has more than"):
            assert self._line_length() > most
            assert reason == f"line has more than {most} bytes, which is the limit"
        else:
            assert not bare_lf
            end = self.model.index(b"\n")
            assert self.model[max(end - 1, 0) : end] != b"\r"

    @rule()
    def skip_line(self) -> None:
        if not self.ready:
            return
        end = self.model.find(b"\n")
        assert self.buffer.skip_line() is (end >= 0)
        if end < 0:
            self.model.clear()
        else:
            del self.model[: end + 1]

    @rule(size=st.integers(0, 40) | st.sampled_from([SMALL, 5000]))
    def discard(self, size: int) -> None:
        if not self.ready or self.discarding:
            return
        self.buffer.discard(size)
        here = min(size, len(self.model))
        del self.model[:here]
        self.discarding = size - here

    @rule()
    def clear(self) -> None:
        self.buffer.clear()
        self.model.clear()
        self.discarding = self.waits = 0
        self.line = -1

    @invariant()
    def it_holds_the_same_bytes(self) -> None:
        assert len(self.buffer) == len(self.model)
        assert self.buffer.discarding is (self.discarding > 0)
        held = self.buffer.data[self.buffer.at :] + b"".join(self.buffer._aside)
        assert held == self.model

    @invariant()
    def the_reader_is_woken_when_it_should_be(self) -> None:
        if self.waits:
            assert self.buffer.need == self.waits
        elif self.line >= 0:
            assert self.buffer.need == A_LINE
        else:
            assert self.buffer.need == 0

    @invariant()
    def it_holds_no_more_memory_than_its_bytes(self) -> None:
        aside = sum(map(sys.getsizeof, self.buffer._aside))
        assert all(len(piece) >= SMALL for piece in self.buffer._aside if isinstance(piece, bytes))
        # Two small pieces never lie side by side.
        kinds = [isinstance(piece, bytearray) for piece in self.buffer._aside]
        assert not any(one and other for one, other in pairwise(kinds))
        # A bytearray grows by an eighth at a time.
        assert aside <= (len(self.buffer) * 9) // 8 + 64 * (len(kinds) + 1) + OVERHEAD


TestBuffer = BufferMachine.TestCase


@pytest.mark.parametrize("consumed", [b"\r", b"value\r", b"\r\n\r"])
def test_a_cr_that_was_taken_does_not_end_the_next_line(consumed: bytes) -> None:
    buffer = ReceiveBuffer()
    buffer.feed(consumed + b"\nnext\r\n")
    assert buffer.take(len(consumed)) == consumed
    with pytest.raises(RemoteProtocolError, match=r"^line b'' ends in a bare LF, must end in CR LF$"):
        buffer.take_line(8, False)


def test_an_empty_line_that_may_end_in_a_bare_lf_keeps_what_stood_before_it() -> None:
    buffer = ReceiveBuffer()
    buffer.feed(b"v\r\nnext\r\n")
    assert buffer.take(2) == b"v\r"
    assert buffer.take_line(8) == b""
    assert buffer.take_line(8) == b"next"


def test_what_was_put_aside_is_dropped_with_a_line_that_is_skipped() -> None:
    buffer = ReceiveBuffer()
    buffer.feed(b"begin")
    buffer.feed(b"x" * 2000)
    buffer.feed(b"aside")
    assert not buffer.skip_line()
    assert len(buffer) == 0
    buffer.feed(b"more\nnext\n")
    assert buffer.skip_line()
    assert buffer.take_line(8) == b"next"
    assert len(buffer) == 0
