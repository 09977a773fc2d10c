"""Segments of many connections: each reaches its own, and each connection ends once."""

from __future__ import annotations

from memproto.capture.packets import Segment
from memproto.capture.tcp_connections import Delivery, Tracker
from memproto.capture.tcp_reassembly import Piece

CLIENT, OTHER, SERVER = (b"\0\0\0\1", 40000), (b"\0\0\0\1", 40001), (b"\0\0\0\2", 11211)


def _segment(
    source: tuple[bytes, int],
    target: tuple[bytes, int],
    seq: int,
    data: bytes = b"",
    ack: int | None = None,
    **flags: bool,
) -> Segment:
    return Segment(source, target, seq, ack, **{"syn": False, "fin": False, "rst": False, **flags}, data=data)


def _all(tracker: Tracker, *segments: Segment, time: float = 0.0) -> list[Delivery]:
    return [delivery for segment in segments for delivery in tracker.add(segment, time)]


def test_segments_of_two_connections_are_told_apart() -> None:
    tracker = Tracker()
    first, second, third = _all(
        tracker,
        _segment(CLIENT, SERVER, 10, b"a"),
        _segment(OTHER, SERVER, 90, b"b"),
        _segment(SERVER, CLIENT, 50, b"c", 11),
    )
    assert first.connection is third.connection is not second.connection
    assert first.connection.ends == (CLIENT, SERVER)
    assert [first.pieces, second.pieces, third.pieces] == [
        [Piece(0, 0.0, b"a")],
        [Piece(0, 0.0, b"b")],
        [Piece(1, 0.0, b"c")],
    ]
    assert [delivery.ended for delivery in tracker.end()] == [True, True]


def test_the_end_that_opened_the_connection_is_the_client() -> None:
    (delivery,) = _all(Tracker(), _segment(CLIENT, SERVER, 9, syn=True), _segment(CLIENT, SERVER, 10, b"a", 50))
    assert delivery.connection.client == 0
    # The first segment of the client is not in the capture.
    answer = _segment(SERVER, CLIENT, 49, ack=10, syn=True)
    (delivery,) = _all(Tracker(), answer, _segment(CLIENT, SERVER, 10, b"a", 50))
    assert delivery.connection.ends == (SERVER, CLIENT)
    assert delivery.connection.client == 1
    (delivery,) = _all(Tracker(), _segment(CLIENT, SERVER, 10, b"a", 50))
    assert delivery.connection.client is None


def test_a_segment_without_bytes_begins_no_connection() -> None:
    tracker = Tracker()
    assert _all(tracker, _segment(CLIENT, SERVER, 10, ack=50)) == []
    assert list(tracker.end()) == []


def test_a_connection_that_both_ends_have_closed_ends_once() -> None:
    tracker = Tracker()
    deliveries = _all(
        tracker,
        _segment(CLIENT, SERVER, 10, b"quit\r\n", 50, fin=True),
        _segment(SERVER, CLIENT, 50, ack=17, fin=True),
        _segment(CLIENT, SERVER, 17, ack=51),
    )
    assert [(delivery.pieces, delivery.ended) for delivery in deliveries] == [
        ([Piece(0, 0.0, b"quit\r\n")], False),
        ([], True),
    ]
    assert list(tracker.end()) == []


def test_another_connection_between_the_same_ends_ends_the_first() -> None:
    tracker = Tracker()
    _all(tracker, _segment(CLIENT, SERVER, 9, syn=True), _segment(CLIENT, SERVER, 12, b"c"))
    first, second = _all(tracker, _segment(CLIENT, SERVER, 5009, syn=True), _segment(CLIENT, SERVER, 5010, b"d"))
    assert first.ended
    assert [(piece.data, piece.lost) for piece in first.pieces] == [(b"", 2), (b"c", 0)]
    assert second.connection is not first.connection
    assert second.pieces == [Piece(0, 0.0, b"d")]
    # The same number again is the same segment again.
    assert _all(tracker, _segment(CLIENT, SERVER, 5009, syn=True)) == []


def test_a_gap_is_given_up_while_other_connections_speak() -> None:
    tracker = Tracker()
    assert len(_all(tracker, _segment(CLIENT, SERVER, 10, b"a", 50))) == 1
    assert _all(tracker, _segment(SERVER, CLIENT, 50, b"END\r\n", 18)) == []
    assert len(_all(tracker, _segment(OTHER, SERVER, 10, b"b", 70), time=0.9)) == 1
    gap, other = _all(tracker, _segment(OTHER, SERVER, 11, b"c", 70), time=1.5)
    assert [(piece.sender, piece.data, piece.lost) for piece in gap.pieces] == [(0, b"", 7), (1, b"END\r\n", 0)]
    assert other.pieces == [Piece(0, 1.5, b"c")]


def test_bytes_that_nobody_acknowledged_are_waited_for() -> None:
    tracker = Tracker()
    assert _all(tracker, _segment(CLIENT, SERVER, 9, syn=True), _segment(CLIENT, SERVER, 12, b"c")) == []
    assert _all(tracker, _segment(OTHER, SERVER, 9, syn=True), _segment(OTHER, SERVER, 11, b"y"), time=5.0) == []
    (delivery,) = _all(tracker, _segment(CLIENT, SERVER, 10, b"ab"), time=6.0)
    assert [piece.data for piece in delivery.pieces] == [b"ab", b"c"]
    (delivery,) = _all(tracker, _segment(OTHER, SERVER, 10, b"x", 70), time=9.0)
    assert [piece.data for piece in delivery.pieces] == [b"x", b"y"]


def test_an_ignored_connection_delivers_nothing() -> None:
    tracker = Tracker()
    (delivery,) = _all(tracker, _segment(CLIENT, SERVER, 10, b"a"))
    delivery.connection.ignored = True
    assert _all(tracker, _segment(CLIENT, SERVER, 11, b"b"), _segment(SERVER, CLIENT, 50, rst=True)) == []
    assert list(tracker.end()) == []


def test_the_connection_that_was_idle_longest_makes_room() -> None:
    tracker = Tracker(limit=2)
    third = (b"\0\0\0\1", 40002)
    _all(
        tracker, _segment(CLIENT, SERVER, 1, b"a"), _segment(OTHER, SERVER, 1, b"a"), _segment(CLIENT, SERVER, 2, b"a")
    )
    ended, begun = _all(tracker, _segment(third, SERVER, 1, b"a"))
    assert ended.ended
    assert ended.connection.ends == (OTHER, SERVER)
    assert begun.connection.ends == (third, SERVER)
