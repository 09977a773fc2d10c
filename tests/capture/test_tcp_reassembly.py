"""TCP reassembly: whatever the order, repetition, overlap and loss of the segments, the bytes are in their places."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memproto.capture.packets import Segment
from memproto.capture.tcp_reassembly import MAX_WAITING, Conversation, Piece
from tests.support.reached import reached, reaches

A, B = (b"\x7f\0\0\1", 40000), (b"\x7f\0\0\1", 11211)
SIZE = 1 << 32


def segment(
    seq: int,
    data: bytes = b"",
    ack: int | None = None,
    *,
    syn: bool = False,
    fin: bool = False,
    rst: bool = False,
    missing: int = 0,
) -> Segment:
    return Segment(A, B, seq % SIZE, None if ack is None else ack % SIZE, syn, fin, rst, data, missing)


class Captured(NamedTuple):
    sender: int
    segment: Segment


class Dialog(NamedTuple):
    """What both ends said, and all segments that carried it in the order in which they were sent."""

    said: tuple[bytes, bytes]
    # After how many bytes of the other end each byte of one end was sent.
    after: tuple[list[int], list[int]]
    opening: list[Captured]
    segments: list[Captured]


@st.composite
def dialogs(draw: st.DrawFn) -> Dialog:
    """A few messages in turn, cut anywhere; sequence numbers may wrap at any place."""
    begins = [draw(st.integers(SIZE - 12, SIZE - 1) | st.integers(0, SIZE - 1)) for _ in range(2)]
    said = [bytearray(), bytearray()]
    after: tuple[list[int], list[int]] = ([], [])
    opening = [
        Captured(0, segment(begins[0] - 1, syn=True)),
        Captured(1, segment(begins[1] - 1, ack=begins[0], syn=True)),
    ]
    segments = []
    for sender in draw(st.lists(st.integers(0, 1), min_size=1, max_size=8)):
        # Each byte differs from its neighbours, so that a byte in a wrong place shows.
        data = bytes((len(said[sender]) + place) % 251 for place in range(draw(st.integers(1, 6))))
        segments.append(
            Captured(
                sender,
                segment(begins[sender] + len(said[sender]), data, begins[1 - sender] + len(said[1 - sender])),
            )
        )
        after[sender].extend([len(said[1 - sender])] * len(data))
        said[sender] += data
    return Dialog((bytes(said[0]), bytes(said[1])), after, opening, segments)


def _again(draw: st.DrawFn, original: Captured) -> Captured:
    """A copy of a part of a segment, as a retransmission cuts it."""
    sender, whole = original
    begin = draw(st.integers(0, len(whole.data)))
    end = draw(st.integers(begin, len(whole.data)))
    return Captured(sender, whole._replace(seq=(whole.seq + begin) % SIZE, data=whole.data[begin:end]))


@st.composite
def disordered(draw: st.DrawFn) -> tuple[Dialog, list[Captured]]:
    """A dialog with its segments in any order, some of them twice or in parts."""
    dialog = draw(dialogs())
    originals = draw(st.lists(st.sampled_from(dialog.segments), max_size=4))
    segments = [*dialog.segments, *(_again(draw, original) for original in originals)]
    return dialog, draw(st.permutations(segments))


def _run(opening: list[Captured], segments: list[Captured]) -> list[Piece]:
    conversation = Conversation()
    pieces = []
    for order, (sender, each) in enumerate([*opening, *segments]):
        pieces += conversation.add(sender, each, order / 1000)
    return pieces + conversation.end()


def _check_places(dialog: Dialog, pieces: list[Piece]) -> list[int]:
    """Each piece has the bytes of its place, after those of the other end that it answers; how far both ends came."""
    done = [0, 0]
    for sender, _, data, lost in pieces:
        begin = done[sender]
        done[sender] += len(data) + lost
        assert dialog.said[sender][begin : begin + len(data)] == data
        assert (data == b"") is (lost > 0)
        if data:
            assert done[1 - sender] >= dialog.after[sender][begin]
    return done


@given(disordered())
def test_bytes_of_shuffled_repeated_and_overlapping_segments_are_whole_and_in_causal_order(
    case: tuple[Dialog, list[Captured]],
) -> None:
    dialog, segments = case
    pieces = _run(dialog.opening, segments)
    assert not any(piece.lost for piece in pieces)
    assert _check_places(dialog, pieces) == [len(each) for each in dialog.said]


@reaches(gap=0.2)
@given(disordered(), st.data())
def test_lost_segments_are_gaps_of_the_right_length_at_the_right_place(
    case: tuple[Dialog, list[Captured]], data: st.DataObject
) -> None:
    dialog, segments = case
    kept = [each for each in segments if data.draw(st.integers(0, 2))]
    pieces = _run(dialog.opening, kept)
    done = _check_places(dialog, pieces)
    if any(piece.lost for piece in pieces):
        reached("gap")
    # Only what nobody acknowledged and nothing followed can be missing without a gap.
    for sender in (0, 1):
        seen = [each.data for who, each in kept if who == sender]
        assert done[sender] <= len(dialog.said[sender])
        assert done[sender] >= max(map(len, seen), default=0)


@given(dialogs())
def test_segments_in_order_are_delivered_at_once_with_their_own_times(dialog: Dialog) -> None:
    conversation = Conversation()
    for sender, each in dialog.opening:
        assert conversation.add(sender, each, 1.0) == []
    for order, (sender, each) in enumerate(dialog.segments):
        assert conversation.add(sender, each, order) == [Piece(sender, order, each.data)]
        assert not conversation.waits
    assert conversation.end() == []


def _opened(begin: int = 100) -> Conversation:
    conversation = Conversation()
    conversation.add(0, segment(begin - 1, syn=True), 0.0)
    conversation.add(1, segment(499, ack=begin, syn=True), 0.0)
    return conversation


def test_a_gap_that_the_receiver_acknowledged_is_given_up_after_a_second() -> None:
    conversation = _opened()
    # The request is not in the capture; the reply acknowledges it.
    assert conversation.add(1, segment(500, b"END\r\n", 107), 1.0) == []
    assert conversation.waits
    assert conversation.deliver(1.9) == []
    assert conversation.deliver(2.0) == [Piece(0, 1.0, b"", 7), Piece(1, 1.0, b"END\r\n")]
    assert not conversation.waits


def test_a_gap_that_nobody_acknowledged_is_given_up_after_a_minute() -> None:
    conversation = _opened()
    assert conversation.add(0, segment(103, b"cd", 500), 1.0) == []
    assert conversation.deliver(60.9) == []
    assert conversation.deliver(61.0) == [Piece(0, 1.0, b"", 3), Piece(0, 1.0, b"cd")]


def test_the_retransmission_of_lost_bytes_fills_the_gap() -> None:
    conversation = _opened()
    assert conversation.add(0, segment(103, b"cd", 500), 1.0) == []
    assert conversation.add(0, segment(100, b"xyz", 500), 1.5) == [Piece(0, 1.5, b"xyz"), Piece(0, 1.0, b"cd")]


def test_a_gap_is_given_up_when_too_much_waits_behind_it() -> None:
    conversation = _opened()
    block = bytes(1 << 20)
    for number in range(3):
        assert conversation.add(0, segment(101 + number * len(block), block, 500), 1.0) == []
    pieces = conversation.add(0, segment(101 + 3 * len(block), block, 500), 1.0)
    assert pieces[0] == Piece(0, 1.0, b"", 1)
    assert sum(len(piece.data) for piece in pieces) == MAX_WAITING


def test_bytes_that_a_frame_was_cut_by_are_a_gap_at_once() -> None:
    conversation = _opened()
    pieces = conversation.add(0, segment(100, b"set", 500, missing=4), 1.0)
    assert pieces == [Piece(0, 1.0, b"set"), Piece(0, 1.0, b"", 4)]
    assert conversation.add(0, segment(107, b"k", 500), 2.0) == [Piece(0, 2.0, b"k")]


def test_a_capture_that_begins_in_the_middle_is_followed_from_its_first_segment() -> None:
    conversation = Conversation()
    assert conversation.add(1, segment(7000, b"END\r\n", 900), 0.0) == [Piece(1, 0.0, b"END\r\n")]
    assert conversation.add(0, segment(900, b"mn\r\n", 7005), 0.1) == [Piece(0, 0.1, b"mn\r\n")]
    # Older bytes are those of before the capture.
    assert conversation.add(0, segment(890, b"0123456789", 7005), 0.2) == []


def test_both_ends_finish_and_the_conversation_is_closed() -> None:
    conversation = _opened()
    assert conversation.add(0, segment(100, b"quit\r\n", 500, fin=True), 1.0) == [Piece(0, 1.0, b"quit\r\n")]
    closed = [conversation.closed]
    assert conversation.add(0, segment(100, b"quit\r\n", 500, fin=True), 1.1) == []
    closed.append(conversation.closed)
    assert conversation.add(1, segment(500, ack=107, fin=True), 1.2) == []
    assert [*closed, conversation.closed] == [False, False, True]
    assert conversation.add(0, segment(107, b"more", 501), 1.3) == []


def test_a_reset_delivers_what_waits_and_closes() -> None:
    conversation = _opened()
    assert conversation.add(0, segment(103, b"d", 500), 1.0) == []
    assert conversation.add(1, segment(500, rst=True), 1.0) == [Piece(0, 1.0, b"", 3), Piece(0, 1.0, b"d")]
    assert conversation.closed


def test_a_probe_of_an_old_byte_is_nothing_new() -> None:
    conversation = _opened()
    assert conversation.add(0, segment(99, b"\0", 500), 1.0) == []
    assert not conversation.waits


def test_an_acknowledgement_that_no_window_allows_is_not_believed() -> None:
    conversation = _opened()
    assert conversation.add(1, segment(500, b"x", 100 + (1 << 30) + 1), 1.0) == [Piece(1, 1.0, b"x")]


def test_two_segments_that_wait_for_each_other_are_both_delivered() -> None:
    conversation = _opened()
    # Copies of segments whose first ones were not captured: each acknowledges the other.
    assert conversation.add(0, segment(100, b"ab", 502), 1.0) == []
    assert conversation.add(1, segment(500, b"cd", 102), 1.1) == []
    assert conversation.deliver(2.1) == [Piece(0, 1.0, b"ab"), Piece(1, 1.1, b"cd")]


@pytest.mark.parametrize(("seq", "another"), [(99, False), (98, True), (5000, True)])
def test_a_syn_with_another_number_is_of_another_connection(seq: int, another: bool) -> None:
    assert _opened().is_of_another(0, seq) is another
    assert not Conversation().is_of_another(0, seq)
