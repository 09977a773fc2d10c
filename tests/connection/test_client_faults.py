"""The client connection where the server does not behave: in step, or an exception, and never reusable again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from memproto import (
    ClientConnection,
    ClientState,
    Delete,
    Get,
    Increment,
    LocalProtocolError,
    Noop,
    Ok,
    Quit,
    RemoteProtocolError,
    Set,
    Stats,
    Touch,
    Version,
)
from tests.support.telling import Told, tell, tell_three_ways
from tests.support.wire import wire

NOOP = wire("810a0000 00000000 00000000 00000000 0000000000000000")
Ask = Callable[[ClientConnection], object]

FAULTS: list[tuple[str, Ask, str, str]] = [
    (
        "wrong opaque",
        lambda client: client.send(Noop()),
        "810a0000 00000000 00000000 00000001 0000000000000000",
        "opaque of a reply is 0x00000001, expected 0x00000000",
    ),
    (
        "the answer to a later request",
        lambda client: [client.send(Noop()), client.send(Noop())],
        "810a0000 00000000 00000000 00000001 0000000000000000",
        "opaque of a reply is 0x00000001, expected 0x00000000",
    ),
    (
        "an answer that leaves out the request behind a quiet one",
        lambda client: [client.send_quiet(Set(b"k", b"")), client.send(Noop()), client.send(Noop())],
        "810a0000 00000000 00000000 00000002 0000000000000000",
        "opaque of a reply is 0x00000002, expected 0x00000001",
    ),
    (
        "wrong opcode",
        lambda client: client.send(Noop()),
        "810b0000 00000000 00000000 00000000 0000000000000000",
        "opcode of the reply is 0x0b, of the request 0x0a",
    ),
    (
        "the opcode without Q to a quiet request",
        lambda client: client.send_quiet(Get((b"k",))),
        "81000000 04000000 00000004 00000000 0000000000000000 00000000",
        "opcode of the reply is 0x00, of the request 0x09",
    ),
    (
        "an answer that nobody asked for",
        lambda client: None,
        "810a0000 00000000 00000000 00000000 0000000000000000",
        "opaque of a reply is 0x00000000, which was not asked for",
    ),
    (
        "another key",
        lambda client: client.send(Get((b"a", b"b"))),
        "810d0001 04000000 00000005 00000001 0000000000000000 00000000 'a'",
        "key of the reply is b'a', asked was b'b'",
    ),
    (
        "a key answered twice",
        lambda client: client.send(Get((b"a", b"b"))),
        "810d0001 04000000 00000005 00000000 0000000000000000 00000000 'a'"
        "810d0001 04000000 00000005 00000000 0000000000000000 00000000 'a'",
        "key b'a' is answered twice or out of order",
    ),
    (
        "keys out of order",
        lambda client: client.send(Get((b"a", b"b"))),
        "810d0001 04000000 00000005 00000001 0000000000000000 00000000 'b'"
        "810d0001 04000000 00000005 00000000 0000000000000000 00000000 'a'",
        "key b'a' is answered twice or out of order",
    ),
    (
        "a multi-get ended by something else",
        lambda client: client.send(Get((b"a", b"b"))),
        "810d0001 04000000 00000005 00000002 0000000000000000 00000000 'b'",
        "opcode of the reply is 0x0d, of the request 0x0a",
    ),
    (
        "a short counter",
        lambda client: client.send(Increment(b"k")),
        "81050000 00000000 00000004 00000000 0000000000000000 00000001",
        "counter is 4 bytes, must be 8",
    ),
    (
        "no counter",
        lambda client: client.send(Increment(b"k")),
        "81050000 00000000 00000000 00000000 0000000000000000",
        "value of a reply to INCREMENT is missing",
    ),
    (
        "a get without flags",
        lambda client: client.send(Get((b"k",))),
        "81000000 00000000 00000001 00000000 0000000000000000 'v'",
        "extras of a reply to GET are 0 bytes, must be 4",
    ),
    (
        "extras where none may be",
        lambda client: client.send(Delete(b"k")),
        "81040000 04000000 00000004 00000000 0000000000000000 00000000",
        "extras of a reply to DELETE are 4 bytes, must be 0",
    ),
    (
        "a value where none may be",
        lambda client: client.send(Touch(b"k")),
        "811c0000 04000000 00000005 00000000 0000000000000000 00000000 'v'",
        "value of a reply to TOUCH is 1 bytes, must not be there",
    ),
    (
        "a key where none may be",
        lambda client: client.send(Version()),
        "810b0001 00000000 00000001 00000000 0000000000000000 'k'",
        "key of a reply to VERSION is 1 bytes, must not be there",
    ),
    (
        "a statistic without a name",
        lambda client: client.send(Stats()),
        "81100000 00000000 00000001 00000000 0000000000000000 'v'",
        "statistic without a name has a value of 1 bytes",
    ),
    (
        "lengths that contradict each other",
        lambda client: client.send(Get((b"k",))),
        "81000001 04000000 00000004 00000000 0000000000000000",
        "body length is 4, less than extras (4) + key (1)",
    ),
    ("a request", lambda client: client.send(Noop()), "80", "magic is 0x80, expected 0x81 (response)"),
    ("text", lambda client: client.send(Noop()), "'ERROR'", "magic is 0x45, expected 0x81 (response)"),
    (
        "Couchbase's alternative response",
        lambda client: client.send(Noop()),
        "18",
        "magic is 0x18, expected 0x81 (response): a response with Couchbase's framing extras"
        " is another framing, which memcached does not speak",
    ),
    (
        "Couchbase's alternative request",
        lambda client: client.send(Noop()),
        "08",
        "magic is 0x08, expected 0x81 (response): a request with Couchbase's framing extras"
        " is another framing, which memcached does not speak",
    ),
    (
        "Couchbase's server request",
        lambda client: client.send(Noop()),
        "82",
        "magic is 0x82, expected 0x81 (response): Couchbase's server-to-client request"
        " is another framing, which memcached does not speak",
    ),
    (
        "Couchbase's client response",
        lambda client: client.send(Noop()),
        "83",
        "magic is 0x83, expected 0x81 (response): Couchbase's client-to-server response"
        " is another framing, which memcached does not speak",
    ),
]


@pytest.mark.parametrize(("ask", "text", "message"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_malformed_reply_is_a_fault(ask: Ask, text: str, message: str) -> None:
    assert tell_three_ways(ask, wire(text)) == Told([], message)
    client = ClientConnection()
    ask(client)
    client.receive_data(wire(text))
    with pytest.raises(RemoteProtocolError) as caught:
        client.next_event()
    assert caught.value.reply_hint == b""
    _is_faulted_for_good(client, message)


def _is_faulted_for_good(client: ClientConnection, message: str) -> None:
    for _ in range(2):
        assert (client.state, client.reusable) == (ClientState.FAULTED, False)
        client.receive_data(NOOP)
        with pytest.raises(RemoteProtocolError) as caught:
            client.next_event()
        assert str(caught.value) == f"the connection has failed already: {message}"
        with pytest.raises(LocalProtocolError, match=r"^nothing can be sent any more: the server broke the protocol$"):
            client.send(Noop())
        assert client.fence() == b""
        client.close()
    client.receive_eof()
    assert not client.reusable


def test_second_reply_to_one_request_is_a_fault() -> None:
    told = tell_three_ways(lambda client: client.send(Noop()), NOOP)
    assert told.replies == [Ok()]
    client = ClientConnection()
    client.send(Noop())
    message = "opaque of a reply is 0x00000000, which was not asked for"
    assert tell(client, [NOOP + NOOP]) == Told([Ok()], message)
    assert not client.reusable


def test_what_came_before_a_fault_is_delivered_first() -> None:
    client = ClientConnection()
    exchanges = [client.send_quiet(Set(b"k", b"")), client.send_quiet(Set(b"k", b"")), client.send(Noop())]
    noop = wire("810a0000 00000000 00000000 00000002 0000000000000000")
    told = tell(client, [noop + b"\x80"])
    assert [type(reply).__name__ for reply in told.replies] == ["Silence", "Silence", "Ok"]
    assert told.fault == "magic is 0x80, expected 0x81 (response)"
    assert exchanges[-1].reply == Ok()


def test_an_abandoned_request_still_awaits_its_own_answer() -> None:
    client = ClientConnection()
    client.abandon(client.send(Get((b"k",))))
    other = client.send(Get((b"k",)))
    # A server that lost the first answer is out of step: the second is not passed off as anything.
    late = wire("81000000 04000000 00000005 00000001 0000000000000000 00000000 'v'")
    assert tell(client, [late]).fault == "opaque of a reply is 0x00000001, expected 0x00000000"
    assert other.reply is None


@pytest.mark.parametrize("size", [1, 23, 24, 28])
def test_stream_that_ends_inside_a_packet_is_a_fault(size: int) -> None:
    hit = wire("81000000 04000000 00000005 00000000 0000000000000000 00000000 'v'")
    client = ClientConnection()
    client.send(Get((b"k",)))
    message = f"stream ended inside a packet, of which {size} bytes are here"
    assert tell(client, [hit[:size]], eof=True) == Told([], message)
    assert (client.state, client.reusable) == (ClientState.FAULTED, False)


def test_stream_that_ends_with_requests_unanswered_is_a_fault() -> None:
    def fault(*asks: Ask) -> str | None:
        client = ClientConnection()
        for ask in asks:
            ask(client)
        told = tell(client, [], eof=True)
        assert (told.replies, client.reusable) == ([], False)
        return told.fault

    def quiet(client: ClientConnection) -> object:
        return client.send_quiet(Set(b"k", b"v"))

    assert fault(lambda client: client.send(Noop())) == "stream ended before 1 of the requests were answered"
    assert fault(quiet, quiet) == "stream ended before 2 of the requests were answered"
    assert fault(lambda client: client.send(Quit())) == "stream ended before 1 of the requests were answered"
    assert fault(quiet, lambda client: client.send(Quit())) == "stream ended before 2 of the requests were answered"
    quit_last = fault(lambda client: client.send(Noop()), lambda client: client.send_quiet(Quit()))
    assert quit_last == "stream ended before 2 of the requests were answered"
    abandoned = fault(lambda client: client.abandon(client.send(Noop())))
    assert abandoned == "stream ended before 1 of the requests were answered"


def test_end_of_stream_in_the_middle_of_a_multi_get_is_a_fault() -> None:
    client = ClientConnection()
    exchange = client.send(Get((b"a", b"b")))
    hit = wire("810d0001 04000000 00000005 00000000 0000000000000000 00000000 'a'")
    assert tell(client, [hit], eof=True) == Told([], "stream ended before 1 of the requests were answered")
    assert exchange.reply is None
