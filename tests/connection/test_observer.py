"""The observer of a whole conversation, in every dialect."""

from __future__ import annotations

from memproto import (
    ConnectionClosed,
    Failure,
    Get,
    Item,
    ObservedExchange,
    Observer,
    ObserverEvent,
    Ok,
    Quit,
    Set,
    Signal,
    Silence,
    StatsReply,
    Status,
    Values,
)


def events_of(observer: Observer) -> list[ObserverEvent]:
    """All events that there are now."""
    events: list[ObserverEvent] = []
    while not isinstance(event := observer.next_event(), Signal):
        events.append(event)
        if isinstance(event, ConnectionClosed):
            break
    return events


def exchanges_of(observer: Observer) -> list[ObservedExchange]:
    """The events, which are exchanges."""
    events = events_of(observer)
    exchanges = [event for event in events if isinstance(event, ObservedExchange)]
    assert exchanges == [event for event in events if not isinstance(event, ConnectionClosed)]
    return exchanges


def test_classic_get_and_its_reply_are_one_exchange_with_both_ranges() -> None:
    observer = Observer()
    observer.client_sent(b"get a b\r\n")
    observer.server_sent(b"VALUE b 0 2\r\nxx\r\nEND\r\n")
    (exchange,) = exchanges_of(observer)
    assert exchange.envelope.request == Get((b"a", b"b"))
    assert exchange.reply == Values((Item(b"b", b"xx"),))
    assert (exchange.request_range, exchange.reply_range) == (range(9), range(22))
    assert observer.next_event() is Signal.NEED_DATA


def test_noreply_set_without_a_reply_is_silent_and_with_an_error_line_has_it() -> None:
    observer = Observer()
    observer.client_sent(b"set k 0 0 1 noreply\r\na\r\nset big 0 0 1 noreply\r\nb\r\nget k\r\n")
    observer.server_sent(b"SERVER_ERROR object too large for cache\r\nEND\r\n")
    first, second, third = exchanges_of(observer)
    assert first.envelope.request == Set(b"k", b"a")
    assert first.reply == Failure(Status.VALUE_TOO_LARGE)
    assert second.reply == Silence()
    assert (third.envelope.request, third.reply) == (Get((b"k",)), Values())


def test_quiet_meta_gets_are_matched_by_opaque_and_misses_are_silent() -> None:
    observer = Observer()
    observer.client_sent(b"mg a v q O1\r\nmg b v q O2\r\nmn\r\n")
    observer.server_sent(b"VA 1 O2\r\nx\r\nMN\r\n")
    first, second, third = exchanges_of(observer)
    assert first.reply == Silence()
    assert second.reply == Values((Item(b"b", b"x"),))
    assert third.reply == Ok()


def test_binary_quiet_gets_that_share_an_opaque_are_matched_by_key() -> None:
    def quiet_get(key: bytes) -> bytes:
        return bytes.fromhex("800d00010000000000000001 00000000 0000000000000000") + key

    observer = Observer()
    observer.client_sent(quiet_get(b"a") + quiet_get(b"b"))
    observer.client_sent(bytes.fromhex("800a00000000000000000000 00000000 0000000000000000"))
    observer.server_sent(bytes.fromhex("810d00010400000000000006 00000000 0000000000000007 00000000") + b"bx")
    observer.server_sent(bytes.fromhex("810a00000000000000000000 00000000 0000000000000000"))
    first, second, third = exchanges_of(observer)
    assert first.reply == Silence()
    assert second.reply == Values((Item(b"b", b"x", 0, 7),))
    assert (third.reply, third.reply_range) == (Ok(), range(30, 54))


def test_binary_stat_of_several_packets_is_one_reply() -> None:
    observer = Observer()
    observer.client_sent(bytes.fromhex("801000000000000000000000 00000005 0000000000000000"))
    observer.server_sent(bytes.fromhex("811000030000000000000004 00000005 0000000000000000") + b"pid1")
    assert events_of(observer) == []
    observer.server_sent(bytes.fromhex("811000000000000000000000 00000005 0000000000000000"))
    (exchange,) = exchanges_of(observer)
    assert exchange.reply == StatsReply(((b"pid", b"1"),))
    assert exchange.reply_range == range(52)


def test_quit_is_silent_and_the_end_of_both_sides_closes() -> None:
    observer = Observer()
    observer.client_sent(b"quit\r\n")
    observer.client_eof()
    observer.server_eof()
    quit_, closed = events_of(observer)
    assert isinstance(quit_, ObservedExchange)
    assert (quit_.envelope.request, quit_.reply) == (Quit(), Silence())
    assert closed == ConnectionClosed()


def test_items_of_a_get_in_many_pieces_are_all_in_the_reply() -> None:
    observer = Observer()
    observer.client_sent(b"gets a b\r\n")
    for byte in b"VALUE a 0 1 7\r\nx\r\nVALUE b 0 1 8\r\ny\r\nEND\r\n":
        assert events_of(observer) == []
        observer.server_sent(bytes([byte]))
    (exchange,) = exchanges_of(observer)
    assert exchange.reply == Values((Item(b"a", b"x", 0, 7), Item(b"b", b"y", 0, 8)))
