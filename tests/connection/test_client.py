"""The client connection where the server behaves."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from memproto import (
    Authenticated,
    Challenge,
    ClientConnection,
    ClientState,
    Counter,
    Delete,
    Deleted,
    Failure,
    Get,
    Increment,
    Item,
    LocalProtocolError,
    Noop,
    Ok,
    Quit,
    ReplyReceived,
    Request,
    SaslAuth,
    Set,
    Signal,
    Silence,
    Stats,
    StatsReply,
    Status,
    Stored,
    Touch,
    Touched,
    Values,
    Version,
    VersionReply,
)
from memproto.model import AnyReply
from tests.support.telling import Told, tell, tell_three_ways
from tests.support.wire import wire

GET_HIT = wire("81000000 04000000 00000005 00000000 0000000000000002 00000001 'v'")


def _noop(opaque: int) -> bytes:
    return wire(f"810a0000 00000000 00000000 {opaque:08x} 0000000000000000")


def test_client_encodes_requests_and_matches_replies_in_a_conversation() -> None:
    client = ClientConnection()
    assert (client.state, client.reusable, client.outstanding) == (ClientState.OPEN, True, 0)
    assert client.next_event() is Signal.NEED_DATA
    store = client.send(Set(b"k", b"v", 1))
    fetch = client.send(Get((b"k",)))
    assert store.data == wire("80010001 08000000 0000000a 00000000 0000000000000000 00000001 00000000 'kv'")
    assert fetch.data == wire("80000001 00000000 00000001 00000001 0000000000000000 'k'")
    assert (store.reply, fetch.reply, client.outstanding) == (None, None, 2)
    client.receive_data(wire("81010000 00000000 00000000 00000000 0000000000000002"))
    assert client.next_event() == ReplyReceived(store, Stored(2))
    client.receive_data(wire("81000000 04000000 00000005 00000001 0000000000000002 00000001 'v'"))
    assert client.next_event() == ReplyReceived(fetch, Values((Item(b"k", b"v", 1, 2),)))
    assert (store.reply, fetch.reply) == (Stored(2), Values((Item(b"k", b"v", 1, 2),)))
    assert (client.next_event(), client.outstanding) == (Signal.NEED_DATA, 0)


REPLIES: list[tuple[Request[object], str, AnyReply]] = [
    (Get((b"k",)), "81000000 00000001 00000009 00000000 0000000000000000 'Not found'", Values()),
    (Get((b"k",), 5), "811d0000 04000000 00000004 00000000 0000000000000000 00000000", Values((Item(b"k", b""),))),
    (Delete(b"k"), "81040000 00000000 00000000 00000000 0000000000000000", Deleted()),
    (
        Increment(b"k"),
        "81050000 00000000 00000008 00000000 0000000000000007 000000000000000a",
        Counter(10, 7),
    ),
    (Touch(b"k"), "811c0000 00000000 00000000 00000000 0000000000000000", Touched(None)),
    (Touch(b"k"), "811c0000 04000000 00000004 00000000 0000000000000001 00000005", Touched(5, 1)),
    (Version(), "810b0000 00000000 00000005 00000000 0000000000000000 '1.6.9'", VersionReply(b"1.6.9")),
    (
        Stats(),
        "81100001 00000000 00000002 00000000 0000000000000000 'ab'81100000 00000000 00000000 00000000 0000000000000000",
        StatsReply(((b"a", b"b"),)),
    ),
    (
        Stats(b"none"),
        "81100000 00000001 00000009 00000000 0000000000000000 'Not found'",
        Failure(Status.KEY_NOT_FOUND),
    ),
    (SaslAuth(b"M"), "81210000 00000000 0000000d 00000000 0000000000000000 'Authenticated'", Authenticated()),
    (SaslAuth(b"M"), "81210000 00000021 00000001 00000000 0000000000000000 'c'", Challenge(b"c")),
    (Set(b"k", b""), "81010000 00000086 00000004 00000000 0000000000000000 'busy'", Failure(0x86, b"busy")),
]


@pytest.mark.parametrize(("request_", "text", "reply"), REPLIES)
def test_reply_is_read_as_its_message(request_: Request[object], text: str, reply: AnyReply) -> None:
    assert tell_three_ways(lambda client: client.send(request_), wire(text)) == Told([reply])


def test_parts_of_a_large_set_hold_the_value_itself() -> None:
    value = bytes(100_000)
    exchange = ClientConnection().send(Set(b"k", value))
    assert exchange.parts[-1] is value
    assert exchange.data == b"".join(exchange.parts)
    assert len(exchange.parts[0]) == 24 + 8 + 1


def test_repr_of_an_exchange_shows_request_and_reply() -> None:
    assert repr(ClientConnection().send(Noop())) == "Exchange(Noop(), reply=None)"


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_received_data_may_be_bytes_a_bytearray_or_a_memoryview(kind: Callable[[bytes], bytes]) -> None:
    client = ClientConnection()
    client.send(Get((b"k",)))
    assert tell(client, [kind(GET_HIT)]).replies == [Values((Item(b"k", b"v", 1, 2),))]


# --- many keys


MULTI_GET = wire(
    "800d0001 00000000 00000001 00000000 0000000000000000 'a'"
    "800d0002 00000000 00000002 00000001 0000000000000000 'bb'"
    "800d0001 00000000 00000001 00000002 0000000000000000 'a'"
    "800a0000 00000000 00000000 00000003 0000000000000000"
)
HIT_A = wire("810d0001 04000000 00000006 00000000 0000000000000001 00000000 'a1'")
HIT_BB = wire("810d0002 04000000 00000007 00000001 0000000000000002 00000005 'bb2'")


def _ask_three(client: ClientConnection) -> None:
    assert client.send(Get((b"a", b"bb", b"a"))).data == MULTI_GET


def test_get_of_several_keys_has_one_reply() -> None:
    items = (Item(b"a", b"1", 0, 1), Item(b"bb", b"2", 5, 2))
    assert tell_three_ways(_ask_three, HIT_A + HIT_BB + _noop(3)) == Told([Values(items)])
    assert tell_three_ways(_ask_three, HIT_BB + _noop(3)) == Told([Values(items[1:])])
    assert tell_three_ways(_ask_three, _noop(3)) == Told([Values()])
    client = ClientConnection()
    exchange = client.send(Get((b"a", b"b")))
    assert (client.outstanding, exchange.quiet, len(exchange.parts)) == (1, False, 1)


def test_multi_get_with_an_expiry_is_sent_as_quiet_get_and_touch() -> None:
    assert ClientConnection().send(Get((b"a", b"b"), 60)).data == wire(
        "80240001 04000000 00000005 00000000 0000000000000000 0000003c 'a'"
        "80240001 04000000 00000005 00000001 0000000000000000 0000003c 'b'"
        "800a0000 00000000 00000000 00000002 0000000000000000"
    )


def test_miss_that_the_server_answers_is_left_out_of_a_multi_get() -> None:
    miss = wire("810d0001 00000001 00000001 00000000 0000000000000000 'a'")
    told = tell_three_ways(_ask_three, miss + HIT_BB + _noop(3))
    assert told == Told([Values((Item(b"bb", b"2", 5, 2),))])


def test_a_refused_key_fails_the_whole_get_with_the_first_refusal() -> None:
    refusals = wire(
        "810d0000 00000020 0000000d 00000000 0000000000000000 'Auth failure.'"
        "810d0000 00000082 0000000d 00000001 0000000000000000 'Out of memory'"
    )
    assert tell_three_ways(_ask_three, refusals + _noop(3)) == Told([Failure(Status.AUTH_ERROR)])


def test_refused_noop_behind_a_multi_get_fails_the_get() -> None:
    refused = wire("810a0000 00000020 0000000d 00000003 0000000000000000 'Auth failure.'")
    assert tell_three_ways(_ask_three, refused) == Told([Failure(Status.AUTH_ERROR)])


# --- quiet requests


def test_silence_is_known_when_a_later_request_is_answered() -> None:
    client = ClientConnection()
    quiet = [client.send_quiet(Set(b"k", b"v")), client.send_quiet(Get((b"k",))), client.send_quiet(Delete(b"k"))]
    assert [exchange.data[1] for exchange in quiet] == [0x11, 0x09, 0x14]
    assert all(exchange.quiet for exchange in quiet)
    client.send(Noop())
    # The second hits, which settles the first; the NOOP settles the third.
    hit = wire("81090000 04000000 00000005 00000001 0000000000000002 00000001 'v'")
    assert tell(client, [hit]).replies == [Silence(), Values((Item(b"k", b"v", 1, 2),))]
    assert tell(client, [_noop(3)]).replies == [Silence(), Ok()]
    assert [exchange.reply for exchange in quiet] == [Silence(), Values((Item(b"k", b"v", 1, 2),)), Silence()]


def test_a_quiet_request_that_fails_is_answered() -> None:
    client = ClientConnection()
    exchange = client.send_quiet(Set(b"k", b"v"))
    failure = wire("81110000 00000002 00000014 00000000 0000000000000000 'Data exists for key.'")
    assert tell(client, [failure]).replies == [Failure(Status.KEY_EXISTS)]
    assert exchange.reply == Failure(Status.KEY_EXISTS)


def test_quiet_requests_before_a_reply_of_many_packets() -> None:
    def ask(client: ClientConnection) -> None:
        client.send_quiet(Set(b"k", b"v"))
        client.send(Stats())
        client.send_quiet(Set(b"k", b"v"))
        client.send(Get((b"a", b"b")))

    data = wire(
        "81100001 00000000 00000002 00000001 0000000000000000 'ab'"
        "81100000 00000000 00000000 00000001 0000000000000000"
        "810d0001 04000000 00000006 00000003 0000000000000000 00000000 'a1'"
    ) + _noop(5)
    replies: list[AnyReply | Silence] = [Silence(), StatsReply(((b"a", b"b"),)), Silence(), Values((Item(b"a", b"1"),))]
    assert tell_three_ways(ask, data) == Told(replies)


def test_request_without_a_quiet_opcode_is_refused_by_send_quiet() -> None:
    client = ClientConnection()
    for request in (Noop(), Version(), Stats(), Touch(b"k"), SaslAuth(b"M")):
        with pytest.raises(LocalProtocolError, match=r" has no quiet form$"):
            client.send_quiet(request)
    assert client.outstanding == 0


# --- fences


def test_fence_settles_the_quiet_requests_before_it() -> None:
    client = ClientConnection()
    assert client.fence() == b""
    client.send_quiet(Set(b"k", b"v"))
    assert client.fence() == wire("800a0000 00000000 00000000 00000001 0000000000000000")
    assert client.outstanding == 2
    assert client.fence() == b""
    # Nobody is told of the fence's own answer.
    assert tell(client, [_noop(1)]) == Told([Silence()])
    assert client.outstanding == 0


def test_fence_behind_a_request_that_is_not_quiet_is_empty() -> None:
    client = ClientConnection()
    client.send_quiet(Set(b"k", b"v"))
    client.send(Noop())
    assert client.fence() == b""
    client.send_quiet(Quit())
    assert client.fence() == b""


# --- abandoning


def test_an_abandoned_reply_is_given_to_nobody() -> None:
    client = ClientConnection()
    first, second = client.send(Get((b"k",))), client.send(Get((b"k",)))
    client.abandon(first)
    assert (client.outstanding, client.reusable) == (2, True)
    hit = wire("81000000 04000000 00000005 00000001 0000000000000000 00000000 'w'")
    assert tell(client, [GET_HIT, hit]).replies == [Values((Item(b"k", b"w"),))]
    assert (first.reply, second.reply) == (None, Values((Item(b"k", b"w"),)))
    assert client.outstanding == 0


def test_abandoned_reply_that_has_arrived_is_not_delivered() -> None:
    client = ClientConnection()
    quiet, noop = client.send_quiet(Set(b"k", b"v")), client.send(Noop())
    client.receive_data(_noop(1))
    assert client.next_event() == ReplyReceived(quiet, Silence())
    client.abandon(noop)
    assert client.next_event() is Signal.NEED_DATA


def test_abandoning_what_is_answered_changes_nothing() -> None:
    client = ClientConnection()
    exchange = client.send(Noop())
    assert tell(client, [_noop(0)]).replies == [Ok()]
    client.abandon(exchange)
    assert (exchange.reply, client.next_event()) == (Ok(), Signal.NEED_DATA)
