"""The observer where bytes are missing or wrong: gaps, a start in the middle, one direction only, faults, limits."""

from __future__ import annotations

import pytest

from memproto import (
    ConnectionClosed,
    Counter,
    Failure,
    Get,
    Increment,
    Item,
    Limits,
    LocalProtocolError,
    NoReply,
    ObservedExchange,
    Observer,
    ObserverEvent,
    Ok,
    RawReply,
    SaslAuth,
    Set,
    Side,
    Silence,
    SkippedBytes,
    SkipReason,
    Status,
    Stored,
    UnmatchedReply,
    Values,
    VersionReply,
)
from tests.connection.test_observer import events_of, exchanges_of

NOOP = bytes.fromhex("800a00000000000000000000 00000007 0000000000000000")
NOOP_REPLY = bytes.fromhex("810a00000000000000000000 00000007 0000000000000000")
SET = bytes.fromhex("80010001080000000000000f 00000001 0000000000000000 00000000 00000000") + b"kabcdef"
SET_REPLY = bytes.fromhex("810100000000000000000000 00000001 0000000000000005")


def test_gap_inside_a_text_value_costs_only_its_bytes() -> None:
    observer = Observer()
    observer.client_sent(b"set k 0 0 10\r\nab")
    observer.client_gap(9)
    observer.client_sent(b"\nget k\r\n")
    observer.server_sent(b"STORED\r\nVALUE k 0 10\r\nabc")
    observer.server_gap(3)
    observer.server_sent(b"ghij\r\nEND\r\n")
    stored, got = exchanges_of(observer)
    assert stored.envelope.request == Set(b"k", b"ab" + bytes(8))
    assert (stored.missing, stored.request_range, stored.reply) == (9, range(26), Stored())
    assert got.reply == Values((Item(b"k", b"abc\0\0\0ghij"),))
    assert (got.missing, got.reply_range) == (3, range(8, 39))


def test_gap_inside_a_binary_value_costs_only_its_bytes() -> None:
    observer = Observer()
    observer.client_sent(SET[:34])
    observer.client_gap(5)
    observer.client_sent(NOOP)
    observer.server_sent(SET_REPLY + NOOP_REPLY)
    stored, noop = exchanges_of(observer)
    assert stored.envelope.request == Set(b"k", b"a" + bytes(5))
    assert (stored.missing, stored.reply, noop.reply) == (5, Stored(5), Ok())


def test_gap_over_the_end_of_a_message_costs_the_next_one_and_the_rest_is_found() -> None:
    observer = Observer()
    observer.client_sent(b"set k 0 0 4\r\nab")
    observer.client_gap(10)
    observer.client_sent(b"t x\r\nget a\r\n")
    observer.server_sent(b"STORED\r\nVALUE x 0 1\r\nv\r\nEND\r\nEND\r\n")
    skipped, stored, unmatched, got = events_of(observer)
    assert isinstance(stored, ObservedExchange)
    assert isinstance(got, ObservedExchange)
    assert stored.envelope.request == Set(b"k", b"ab\0\0")
    assert skipped == SkippedBytes(Side.CLIENT, range(19, 30), SkipReason.GAP)
    assert isinstance(unmatched, UnmatchedReply)
    assert (unmatched.reply, unmatched.reply_range) == (Values((Item(b"x", b"v"),)), range(8, 29))
    assert got.reply == Values()


def test_gap_in_the_replies_costs_the_request_that_is_being_answered() -> None:
    observer = Observer()
    observer.client_sent(b"get a b\r\nget c\r\n")
    observer.server_sent(b"VALUE a 0 1\r\nx\r\nVAL")
    observer.server_gap(20)
    observer.server_sent(b"D\r\nVALUE c 0 1\r\nz\r\nEND\r\n")
    lost, skipped, got = events_of(observer)
    assert isinstance(lost, ObservedExchange)
    assert isinstance(got, ObservedExchange)
    assert (lost.envelope.request, lost.reply, lost.reply_range) == (Get((b"a", b"b")), NoReply.NOT_SEEN, range(0))
    assert skipped == SkippedBytes(Side.SERVER, range(42), SkipReason.GAP)
    assert got.reply == Values((Item(b"c", b"z"),))


def test_gap_while_a_value_over_the_limit_goes_by_is_no_loss() -> None:
    observer = Observer(Limits(value=8))
    observer.client_sent(b"set k 0 0 100\r\nabc")
    observer.client_gap(97)
    observer.client_sent(b"\r\nversion\r\n")
    observer.server_sent(b"SERVER_ERROR object too large for cache\r\nVERSION 1.6.18\r\n")
    refused, version = exchanges_of(observer)
    assert (refused.reply, refused.request_range) == (Failure(Status.VALUE_TOO_LARGE), range(117))
    assert version.reply == VersionReply(b"1.6.18")


def test_size_of_a_gap_must_be_a_number_of_bytes_and_zero_is_none() -> None:
    observer = Observer()
    with pytest.raises(LocalProtocolError, match="size is -1, must be 0 to"):
        observer.client_gap(-1)
    observer.client_gap(0)
    observer.server_gap(0)
    observer.client_sent(b"version\r\n")
    observer.server_sent(b"VERSION 1\r\n")
    assert len(exchanges_of(observer)) == 1


@pytest.mark.parametrize("tail", [b"alue\r\n", b"\xff\x00\x80\x81 bytes of a value \r\nget\x00\r\n", b""])
def test_text_conversation_from_the_middle_skips_to_the_first_command(tail: bytes) -> None:
    observer = Observer(mid_stream=True)
    observer.client_sent(tail)
    observer.client_sent(b"get a\r\n")
    observer.server_sent(b"TORED\r\nVALUE a 0 1\r\nx\r\nEND\r\n")
    events = events_of(observer)
    skipped = [SkippedBytes(Side.CLIENT, range(len(tail)), SkipReason.NO_MESSAGE)] if tail else []
    assert events[:-1] == [*skipped, SkippedBytes(Side.SERVER, range(7), SkipReason.NO_MESSAGE)]
    assert isinstance(events[-1], ObservedExchange)
    assert events[-1].reply == Values((Item(b"a", b"x"),))


def test_binary_conversation_from_the_middle_skips_to_the_first_packet() -> None:
    observer = Observer(mid_stream=True)
    events: list[ObserverEvent] = []
    for byte in SET[20:] + b"\x80\x80\x0a" + NOOP:
        observer.client_sent(bytes([byte]))
        events += events_of(observer)
    for byte in b"\x81" + SET_REPLY[5:] + NOOP_REPLY:
        observer.server_sent(bytes([byte]))
        events += events_of(observer)
    client, server, noop = events
    assert client == SkippedBytes(Side.CLIENT, range(22), SkipReason.NO_MESSAGE)
    assert server == SkippedBytes(Side.SERVER, range(20), SkipReason.NO_MESSAGE)
    assert isinstance(noop, ObservedExchange)
    assert (noop.reply, noop.request_range) == (Ok(), range(22, 46))


def test_requests_alone_are_reported_as_not_seen_at_the_end_and_over_the_limit() -> None:
    observer = Observer(Limits(outstanding=2))
    observer.client_sent(b"get a\r\nget b\r\nget c\r\n")
    (first,) = exchanges_of(observer)
    assert (first.envelope.request, first.reply) == (Get((b"a",)), NoReply.NOT_SEEN)
    assert observer.outstanding == 2
    observer.client_eof()
    observer.server_eof()
    assert [exchange.reply for exchange in exchanges_of(observer)] == [NoReply.NOT_SEEN] * 2


def test_requests_of_a_peer_that_never_answers_are_held_up_to_the_limit_in_bytes() -> None:
    observer = Observer(Limits(value=1000, answer=2500))
    held = 0
    for number in range(100):
        observer.client_sent(b"set k 0 0 1000\r\n" + b"x" * 1000 + b"\r\n")
        held += 1 - len(exchanges_of(observer))
        assert held == observer.outstanding == min(number + 1, 2)


def test_replies_alone_are_reported_without_requests() -> None:
    observer = Observer()
    lines = b"STORED\r\n5\r\nNOT_FOUND\r\nVA 1 Oabc\r\nx\r\nHD O1\r\nEN\r\nMN\r\nSTAT a b\r\nEND\r\nVERSION 1\r\nOK\r\n"
    lines += b"ERROR\r\n"
    for byte in lines:
        observer.server_sent(bytes([byte]))
    replies = [event.reply for event in events_of(observer) if isinstance(event, UnmatchedReply)]
    assert replies[:3] == [Stored(), Counter(5), Failure(Status.KEY_NOT_FOUND)]
    assert replies[3] == Values((Item(b"", b"x"),))
    assert len(replies) == 11
    assert replies[-1] == Failure(Status.UNKNOWN_COMMAND)


def test_binary_replies_alone_have_their_packets() -> None:
    observer = Observer()
    observer.server_sent(SET_REPLY + bytes.fromhex("811000030000000000000004 00000005 0000000000000000") + b"pid1")
    stored, statistic = events_of(observer)
    assert isinstance(stored, UnmatchedReply)
    assert isinstance(statistic, UnmatchedReply)
    assert (stored.reply, stored.reply_range) == (Stored(5), range(24))
    assert stored.packet is not None
    assert stored.packet.opaque == 1
    assert statistic.packet is not None
    assert (statistic.packet.key, statistic.packet.value) == (b"pid", b"1")


def test_request_that_breaks_the_framing_is_skipped_and_says_why() -> None:
    observer = Observer()
    observer.client_sent(NOOP + bytes.fromhex("800000fb00000000000000fb") + bytes(12) + b"k" * 251 + NOOP)
    observer.server_sent(NOOP_REPLY * 2)
    skipped, first, second = events_of(observer)
    assert isinstance(first, ObservedExchange)
    assert isinstance(second, ObservedExchange)
    assert skipped == SkippedBytes(Side.CLIENT, range(24, 299), SkipReason.FAULT, "key is 251 bytes, limit is 250")
    assert (first.reply, second.reply) == (Ok(), Ok())


def test_reply_that_breaks_the_protocol_is_skipped_and_costs_its_request() -> None:
    observer = Observer()
    observer.client_sent(b"get a\r\nget b\r\n")
    observer.server_sent(b"VALUE a 0 1\r\nxyz\r\nEND\r\n")
    broken, skipped, got = events_of(observer)
    assert isinstance(broken, ObservedExchange)
    assert isinstance(got, ObservedExchange)
    assert (broken.envelope.request, broken.reply) == (Get((b"a",)), NoReply.NOT_SEEN)
    assert isinstance(skipped, SkippedBytes)
    assert skipped.reason is SkipReason.FAULT
    assert skipped.detail == "data of b'a' are not followed by CR LF after 1 bytes"
    assert got.reply == Values()


def test_line_over_the_limit_is_skipped_without_being_held() -> None:
    observer = Observer(Limits(line=300))
    for _ in range(100):
        observer.client_sent(b"x" * 100)
        assert events_of(observer) == []
    observer.client_sent(b"\r\nversion\r\n")
    observer.server_sent(b"VERSION 1\r\n")
    skipped, version = events_of(observer)
    assert skipped == SkippedBytes(
        Side.CLIENT, range(10002), SkipReason.FAULT, "line has more than 300 bytes, which is the limit"
    )
    assert isinstance(version, ObservedExchange)


def test_end_inside_a_message_is_reported_and_an_unanswered_request_is_closed() -> None:
    observer = Observer()
    observer.client_sent(b"get a\r\nget b\r\nse")
    observer.server_sent(b"END\r\nVALUE b 0 5\r\nab")
    observer.client_eof()
    observer.server_eof()
    first, second, server, client, closed = events_of(observer)
    assert isinstance(first, ObservedExchange)
    assert isinstance(second, ObservedExchange)
    assert (first.reply, second.reply) == (Values(), NoReply.CLOSED)
    assert server == SkippedBytes(Side.SERVER, range(5, 20), SkipReason.CUT_OFF)
    assert client == SkippedBytes(Side.CLIENT, range(14, 16), SkipReason.CUT_OFF)
    assert closed == ConnectionClosed()


def test_text_credentials_are_read_as_such_until_they_are_accepted() -> None:
    observer = Observer(auth_required=True)
    observer.client_sent(b"set auth 0 0 3\r\nu x\r\n")
    observer.server_sent(b"CLIENT_ERROR authentication failure\r\n")
    (refused,) = exchanges_of(observer)
    observer.client_sent(b"set auth 0 0 3\r\nu p\r\nset k 0 0 1\r\nv\r\n")
    observer.server_sent(b"STORED\r\nSTORED\r\n")
    accepted, stored = exchanges_of(observer)
    assert refused.reply == Failure(Status.AUTH_ERROR)
    assert accepted.envelope.request == SaslAuth(b"PLAIN", b"\0u\0p")
    assert stored.envelope.request == Set(b"k", b"v")


def test_reply_that_fits_none_of_the_requests_is_unmatched_and_says_why() -> None:
    observer = Observer()
    observer.client_sent(b"incr n 1\r\n")
    observer.server_sent(b"VALUE a 0 1\r\nx\r\nEND\r\n7\r\n")
    unmatched, exchange = events_of(observer)
    assert isinstance(unmatched, UnmatchedReply)
    assert unmatched.detail == "line b'VALUE a 0 1' answers no request that waits for a reply"
    assert isinstance(exchange, ObservedExchange)
    assert (exchange.envelope.request, exchange.reply) == (Increment(b"n"), Counter(7))


def test_gap_inside_a_value_behind_skipped_bytes_costs_only_its_bytes() -> None:
    observer = Observer(mid_stream=True)
    observer.client_sent(b"lue\r\nset k 0 0 8\r\nab")
    observer.client_gap(4)
    observer.client_sent(b"gh\r\nget k\r\n")
    observer.server_sent(b"lue\r\nSTORED\r\nVALUE k 0 8\r\nab")
    observer.server_gap(4)
    observer.server_sent(b"gh\r\nEND\r\n")
    events = events_of(observer)
    assert [event.skipped for event in events if isinstance(event, SkippedBytes)] == [range(5), range(5)]
    assert [event.missing for event in events if isinstance(event, ObservedExchange)] == [4, 4]


def test_binary_reply_that_fits_no_request_is_unmatched_and_the_next_one_is_not() -> None:
    observer = Observer(Limits(value=4))
    observer.client_sent(NOOP)
    too_large = bytes.fromhex("810000000400000000000009 00000001 0000000000000000 00000000") + b"12345"
    misshapen = bytes.fromhex("810100000400000000000004 00000001 0000000000000000 00000000")
    events: list[ObserverEvent] = []
    for byte in too_large + misshapen + NOOP_REPLY:
        observer.server_sent(bytes([byte]))
        events += events_of(observer)
    first, second, noop = events
    assert isinstance(first, UnmatchedReply)
    assert isinstance(second, UnmatchedReply)
    assert isinstance(noop, ObservedExchange)
    assert first.detail == "no request with opcode 0x00 and opaque 0x00000001 waits for a reply"
    assert first.reply == Failure(Status.REPLY_TOO_LARGE, b"value is 5 bytes, limit is 4")
    assert second.reply == RawReply(extras=bytes(4))
    assert noop.reply == Ok()


def test_gap_in_a_binary_header_costs_the_packet_and_in_a_replied_value_only_its_bytes() -> None:
    observer = Observer()
    observer.client_sent(NOOP + NOOP[:10])
    observer.client_gap(14)
    observer.client_sent(bytes.fromhex("800000010000000000000001 00000003 0000000000000000") + b"k")
    observer.server_sent(NOOP_REPLY * 2)
    observer.server_sent(bytes.fromhex("810000000400000000000009 00000003 0000000000000000 00000000") + b"1")
    observer.server_gap(4)
    events = events_of(observer)
    exchanges = [event for event in events if isinstance(event, ObservedExchange)]
    assert [(each.reply, each.missing) for each in exchanges] == [
        (Ok(), 0),
        (Values((Item(b"k", b"1" + bytes(4)),)), 4),
    ]
    assert [event.skipped for event in events if isinstance(event, SkippedBytes)] == [range(24, 48)]
    assert sum(isinstance(event, UnmatchedReply) for event in events) == 1


def test_line_that_is_no_reply_is_skipped() -> None:
    observer = Observer()
    observer.server_sent(b"what is this\r\nVA 1 kYQ== b\r\nx\r\n")
    skipped, unmatched = events_of(observer)
    assert skipped == SkippedBytes(Side.SERVER, range(14), SkipReason.FAULT, "line b'what is this' is no reply")
    assert isinstance(unmatched, UnmatchedReply)
    assert unmatched.reply == Values((Item(b"a", b"x", base64=True),))


def test_lines_taken_for_requests_before_a_binary_one_have_no_replies() -> None:
    observer = Observer(Limits(line=300))
    observer.client_sent(b"junk\r\n" + b"x" * 400 + b"\r\n" + NOOP)
    observer.server_sent(NOOP_REPLY)
    events = events_of(observer)
    assert [event.reply for event in events if isinstance(event, ObservedExchange)] == [NoReply.NOT_SEEN, Ok()]
    assert [event.skipped for event in events if isinstance(event, SkippedBytes)] == [range(6, 408)]


def test_error_line_goes_to_a_quiet_request_if_no_other_waits() -> None:
    observer = Observer()
    observer.client_sent(b"incr n 1 noreply\r\n")
    observer.server_sent(b"SERVER_ERROR out of memory\r\n")
    (exchange,) = exchanges_of(observer)
    assert exchange.reply == Failure(Status.OUT_OF_MEMORY, b"out of memory")


def test_replies_alone_are_read_in_any_pieces() -> None:
    text, binary = Observer(), Observer()
    events: list[ObserverEvent] = []
    for byte in b"VALUE a 0 1\r\nx\r\nEND\r\n":
        text.server_sent(bytes([byte]))
        events += events_of(text)
    for byte in bytes.fromhex("810000000400000000000005 00000001 0000000000000000 00000000") + b"x":
        binary.server_sent(bytes([byte]))
        events += events_of(binary)
    items = [event.reply for event in events if isinstance(event, UnmatchedReply)]
    assert items == [Values((Item(b"a", b"x"),)), Values((Item(b"", b"x"),))]


def test_success_behind_a_noreply_store_answers_the_next_store() -> None:
    observer = Observer()
    observer.client_sent(b"set a 0 0 1 noreply\r\nx\r\nset b 0 0 1\r\ny\r\n")
    observer.server_sent(b"STORED\r\n")
    silent, stored = exchanges_of(observer)
    assert (silent.reply, stored.reply) == (Silence(), Stored())


def test_start_in_the_middle_finds_a_failure_and_waits_behind_a_line_end() -> None:
    observer = Observer(mid_stream=True)
    observer.client_sent(b"junk\n")
    observer.server_sent(b"\x00" + bytes.fromhex("810000000000000100000009 00000001 0000000000000000") + b"Not found")
    events = events_of(observer)
    observer.client_sent(b"version\r\n")
    observer.client_eof()
    observer.server_eof()
    events += events_of(observer)
    assert [event.reply for event in events if isinstance(event, UnmatchedReply)] == [Values()]
    assert [event.skipped for event in events if isinstance(event, SkippedBytes)] == [range(1), range(5)]


def test_text_behind_a_gap_in_a_binary_conversation_is_skipped_to_the_next_packet() -> None:
    observer = Observer()
    observer.client_sent(NOOP)
    assert events_of(observer) == []
    observer.client_gap(5)
    observer.client_sent(b"get a\r\n" + NOOP)
    observer.server_sent(NOOP_REPLY * 2)
    events = events_of(observer)
    assert [event.skipped for event in events if isinstance(event, SkippedBytes)] == [range(24, 36)]
    assert sum(isinstance(event, ObservedExchange) for event in events) == 2


@pytest.mark.parametrize(("gaps", "missing"), [([1 << 20], 1 << 20), ([(1 << 20) + 1], None), ([1 << 20] * 17, None)])
def test_gap_in_a_value_is_filled_up_to_a_bound_on_memory(gaps: list[int], missing: int | None) -> None:
    observer = Observer(Limits(value=1 << 28))
    observer.client_sent(b"set k 0 0 %d\r\nab" % (2 + sum(gaps)))
    for gap in gaps:
        observer.client_gap(gap)
    observer.client_sent(b"\r\nversion\r\n")
    observer.server_sent(b"STORED\r\nVERSION 1\r\n")
    events = events_of(observer)
    lost = [each.skipped.stop for each in events if isinstance(each, SkippedBytes)]
    assert [each.missing for each in events if isinstance(each, ObservedExchange)] == ([missing, 0] if missing else [0])
    # The rest of the line behind the gap is skipped, too.
    assert lost == ([] if missing else [len(b"set k 0 0 1048579\r\nab\r\n") + sum(gaps) + (len(gaps) > 1)])


def test_bytes_without_a_message_are_reported_in_parts() -> None:
    for side in Side:
        observer = Observer(mid_stream=True)
        send = observer.client_sent if side is Side.CLIENT else observer.server_sent
        events: list[ObserverEvent] = []
        for _ in range(100):
            send(b"x" * 1000)
            events += events_of(observer)
        assert events == [SkippedBytes(side, range(66_000), SkipReason.NO_MESSAGE)]
        send(b"\r\nversion\r\n" if side is Side.CLIENT else b"\r\nVERSION 1\r\n")
        assert events_of(observer)[0] == SkippedBytes(side, range(66_000, 100_002), SkipReason.NO_MESSAGE)
