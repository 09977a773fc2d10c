"""Which exchanges the observer calls certain, where bytes are missing or one reply may answer several requests."""

from __future__ import annotations

import pytest

from memproto import (
    ConnectionClosed,
    Limits,
    NoReply,
    ObservedExchange,
    Observer,
    ObserverEvent,
    Side,
    Signal,
    SkippedBytes,
    UnmatchedReply,
)
from tests.connection.test_observer import events_of

NOTHING = range(0)


def _pairs(events: list[ObserverEvent]) -> list[tuple[int, range, bool]]:
    """Where each request begins, its reply, and whether that is certain."""
    return [
        (event.request_range.start, event.reply_range, event.certain)
        for event in events
        if isinstance(event, ObservedExchange)
    ]


def test_failure_behind_quiet_requests_is_not_certain_and_a_named_reply_ends_the_doubt() -> None:
    observer = Observer()
    observer.client_sent(b"set a 0 0 1 noreply\r\nx\r\nget k\r\nget m\r\n")
    observer.server_sent(b"SERVER_ERROR out of memory storing object\r\nVALUE m 0 1\r\nx\r\nEND\r\n")
    assert _pairs(events_of(observer)) == [
        (0, range(43), False),
        (24, NOTHING, False),
        (31, range(43, 64), True),
    ]


def test_hit_of_two_quiet_gets_of_a_key_is_not_certain_and_that_of_one_is() -> None:
    for second, certain in (b"k", False), (b"other", True):
        observer = Observer()
        observer.client_sent(b"mg k v q k\r\nmg %b v q k\r\nmn\r\n" % second)
        observer.server_sent(b"VA 1 kk\r\nx\r\nMN\r\n")
        assert [pair[2] for pair in _pairs(events_of(observer))] == [certain, certain, True]


def test_hit_without_a_name_is_certain_if_one_quiet_get_waits_and_not_if_two_do() -> None:
    for quiet, certain in (b"", [True, True]), (b" q", [False, False, True]):
        observer = Observer()
        observer.client_sent(b"mg k v q\r\nmn\r\n" if not quiet else b"mg k v q\r\nmg m v q\r\nmn\r\n")
        observer.server_sent(b"VA 1\r\nx\r\nMN\r\n")
        assert [pair[2] for pair in _pairs(events_of(observer))] == certain


def test_reply_behind_a_lost_one_is_certain_only_if_no_other_request_has_its_form() -> None:
    for request, certain in (b"delete c\r\n", False), (b"touch c 0\r\n", True):
        observer = Observer()
        observer.client_sent(b"delete a\r\n")
        observer.server_gap(9)
        observer.client_sent(b"get b\r\n")
        observer.server_sent(b"END\r\n")
        observer.client_sent(request)
        observer.server_sent(b"DELETED\r\n" if certain is False else b"TOUCHED\r\n")
        # The first reply behind the gap may be the end of another one.
        assert [pair[2] for pair in _pairs(events_of(observer))] == [True, False, certain]


@pytest.mark.parametrize(("opaques", "certain"), [((1, 2, 3, 4), True), ((7, 7, 7, 7), False), ((1, 0, 0, 0), False)])
def test_packet_behind_a_lost_request_is_certain_if_its_opaque_is_a_new_one(
    opaques: tuple[int, int, int, int], certain: bool
) -> None:
    first, lost, last, newest = (
        bytes.fromhex(f"800a00000000000000000000{each:08x}0000000000000000") for each in opaques
    )
    observer = Observer()
    observer.client_sent(first)
    observer.server_sent(b"\x81" + first[1:])
    observer.client_gap(len(lost))
    observer.server_sent(b"\x81" + lost[1:])
    observer.client_sent(last + last)
    observer.server_sent(b"\x81" + last[1:])
    events = events_of(observer)
    assert sum(isinstance(event, UnmatchedReply) for event in events) == 1
    # The request behind the gap may have lost its beginning.
    assert _pairs(events) == [(0, range(24), True), (48, range(48, 72), False)]
    observer.client_sent(newest)
    observer.server_sent(b"\x81" + newest[1:])
    assert _pairs(events_of(observer))[-1][2] is certain


def test_request_between_two_lost_ones_ends_no_doubt_about_those_behind() -> None:
    observer = Observer()
    observer.client_gap(7)
    observer.client_sent(b"version\r\nget a\r\n")
    observer.client_gap(7)
    observer.client_sent(b"version\r\nget b\r\nget c\r\n")
    observer.server_sent(b"VALUE a 0 1\r\nx\r\nEND\r\n")
    observer.server_sent(b"VERSION 1\r\n")
    observer.server_sent(b"VALUE b 0 1\r\nx\r\nEND\r\nEND\r\n")
    assert [pair[2] for pair in _pairs(events_of(observer))] == [False, True, False, True, True]


def test_named_reply_before_a_lost_request_ends_the_doubt_of_a_lost_reply() -> None:
    observer = Observer()
    observer.client_sent(b"version\r\nget a\r\nversion\r\n")
    observer.client_gap(7)
    observer.client_sent(b"get b\r\n")
    observer.server_gap(11)
    observer.server_sent(b"VALUE a 0 1\r\nx\r\nEND\r\nVALUE z 0 0\r\n\r\nEND\r\n")
    observer.server_sent(b"VALUE a 0 1\r\nx\r\nEND\r\n")
    assert [pair[2] for pair in _pairs(events_of(observer))][:2] == [True, False]


def test_requests_that_were_given_up_are_remembered_up_to_the_limit() -> None:
    observer = Observer(Limits(outstanding=2))
    observer.client_sent(b"get a\r\nget b\r\nget a\r\nget c\r\nget d\r\n")
    assert _pairs(events_of(observer)) == [(0, NOTHING, False), (7, NOTHING, False), (14, NOTHING, False)]
    # The second get of a is the only one that may wait.
    observer.client_sent(b"get a\r\n")
    observer.server_sent(b"VALUE a 0 0\r\n\r\nEND\r\n")
    assert _pairs(events_of(observer))[-1] == (35, range(20), False)
    observer.client_sent(b"get e\r\n")
    observer.server_sent(b"VALUE e 0 0\r\n\r\nEND\r\n")
    assert _pairs(events_of(observer))[-1] == (42, range(20, 40), True)


def test_unknown_command_takes_no_line_but_a_failure_behind_a_gap() -> None:
    observer = Observer()
    observer.client_sent(b"version\r\nhello\r\nget k\r\n")
    observer.server_gap(11)
    observer.server_sent(b"VALUE k 0 1\r\nx\r\nEND\r\n")
    assert _pairs(events_of(observer)) == [(0, NOTHING, True), (9, NOTHING, False), (16, range(11, 32), False)]


def test_reply_with_an_opaque_that_was_not_sent_answers_no_request() -> None:
    observer = Observer()
    observer.client_sent(b"mg k O1\r\nmd k\r\n")
    observer.server_sent(b"HD O2\r\nHD O1\r\n")
    unmatched, got = events_of(observer)
    assert isinstance(unmatched, UnmatchedReply)
    assert isinstance(got, ObservedExchange)
    assert (got.reply_range, got.certain) == (range(7, 14), True)


def test_two_gaps_in_a_row_cost_one_request() -> None:
    observer = Observer()
    observer.client_sent(b"get a\r\nget b\r\n")
    observer.server_sent(b"VALUE a 0 1\r\n")
    observer.server_gap(3)
    observer.server_gap(5)
    observer.server_sent(b"VALUE b 0 0\r\n\r\nEND\r\n")
    assert _pairs(events_of(observer)) == [(0, NOTHING, True), (7, range(21, 41), False)]
    observer.client_sent(b"version\r\nget c\r\n")
    observer.server_sent(b"VERS")
    observer.server_gap(4)
    observer.server_gap(3)
    observer.server_sent(b"VALUE c 0 0\r\n\r\nEND\r\n")
    assert _pairs(events_of(observer)) == [(14, NOTHING, True), (23, range(52, 72), False)]


def test_end_of_a_capture_is_not_the_end_of_the_connection() -> None:
    for stop in (True, False):
        observer = Observer()
        observer.client_sent(b"set a 0 0 1 noreply\r\nx\r\nget b\r\nquit\r\nget")
        observer.server_sent(b"E")
        if stop:
            observer.stop()
        else:
            observer.client_eof()
            observer.server_eof()
        quiet, got, quit_, client, server = events_of(observer)[:5]
        assert [each.certain for each in (quiet, got, quit_) if isinstance(each, ObservedExchange)] == [
            not stop,
            True,
            True,
        ]
        assert isinstance(got, ObservedExchange)
        assert got.reply is (NoReply.NOT_SEEN if stop else NoReply.CLOSED)
        assert {each.side for each in (client, server) if isinstance(each, SkippedBytes)} == set(Side)
        assert observer.next_event() == (Signal.NEED_DATA if stop else ConnectionClosed())


@pytest.mark.parametrize("is_text", [True, False])
def test_behind_many_replies_that_answer_nothing_a_reply_is_compared_with_few_requests(is_text: bool) -> None:
    noop, version = b"\x80\x0a" + bytes(22), b"\x80\x0b" + bytes(22)
    get, last = (b"get a\r\n", b"incr n 1\r\n") if is_text else (noop, version)
    useless, reply = (b"STORED\r\n", b"5\r\n") if is_text else (b"\x81\x07" + bytes(22), b"\x81" + version[1:])
    observer = Observer()
    observer.client_sent(get * 100 + last)
    observer.server_sent(useless * 200 + reply)
    events = events_of(observer)
    assert len(events) == 201
    assert all(isinstance(event, UnmatchedReply) for event in events)
    # Another request allows another search.
    observer.client_sent(get)
    observer.server_sent(reply)
    begin = len(useless) * 200 + len(reply)
    assert _pairs(events_of(observer))[-1][1] == range(begin, begin + len(reply))
