"""The client connection: how it ends, and what it refuses to send."""

from __future__ import annotations

import pytest

from memproto import (
    ClientConnection,
    ClientState,
    ConnectionClosed,
    Delete,
    Failure,
    Get,
    Increment,
    InvalidRequest,
    Limits,
    LocalProtocolError,
    Noop,
    Ok,
    Packet,
    Quit,
    RemoteProtocolError,
    Request,
    SaslAuth,
    Set,
    Signal,
    Silence,
    Unknown,
)
from tests.support.telling import Told, tell
from tests.support.wire import wire

GET_HIT = wire("81000000 04000000 00000005 00000000 0000000000000002 00000001 'v'")


def _noop(opaque: int) -> bytes:
    return wire(f"810a0000 00000000 00000000 {opaque:08x} 0000000000000000")


# --- the end


def test_replies_are_delivered_before_the_end_of_the_stream() -> None:
    client = ClientConnection()
    client.send(Get((b"k",)))
    client.receive_data(GET_HIT)
    client.receive_eof()
    assert not client.reusable
    assert tell(client, []) == Told()
    assert client.next_event() != ConnectionClosed()
    assert [client.next_event(), client.next_event()] == [ConnectionClosed()] * 2
    assert (client.state, client.reusable) == (ClientState.CLOSED, False)
    with pytest.raises(LocalProtocolError, match=r"^receive_data\(\) after receive_eof\(\)$"):
        client.receive_data(b"")
    with pytest.raises(LocalProtocolError, match=r"^nothing can be sent any more: "):
        client.send(Noop())


def test_nothing_is_sent_to_a_server_that_has_closed() -> None:
    client = ClientConnection()
    client.receive_eof()
    with pytest.raises(LocalProtocolError, match=r"^nothing can be sent any more: "):
        client.send(Noop())


def test_nothing_is_sent_after_quit() -> None:
    client = ClientConnection()
    client.send_quiet(Set(b"k", b"v"))
    assert client.send(Quit()).data == wire("80070000 00000000 00000000 00000001 0000000000000000")
    assert (client.state, client.reusable) == (ClientState.QUITTING, False)
    for request in (Noop(), Quit()):
        with pytest.raises(LocalProtocolError, match=r"^nothing can be sent any more: QUIT was sent"):
            client.send(request)
    told = tell(client, [wire("81070000 00000000 00000000 00000001 0000000000000000")], eof=True)
    assert told == Told([Silence(), Ok()], None, True)


def test_quiet_quit_is_answered_by_the_end_of_the_stream() -> None:
    client = ClientConnection()
    client.send_quiet(Get((b"k",)))
    assert client.send_quiet(Quit()).data[1] == 0x17
    assert client.next_event() is Signal.NEED_DATA
    # The server read QUITQ and closed: that is its answer.
    assert tell(client, [], eof=True) == Told([Silence(), Ok()], None, True)


def test_quiet_quit_behind_another_request_is_answered_by_the_end_of_the_stream() -> None:
    client = ClientConnection()
    client.send(Noop())
    client.send_quiet(Quit())
    assert tell(client, [_noop(0)], eof=True) == Told([Ok(), Ok()], None, True)


def test_closed_client_reads_nothing_more() -> None:
    client = ClientConnection()
    client.send(Get((b"k",)))
    client.receive_data(GET_HIT[:30])
    client.close()
    assert (client.state, client.reusable, client.outstanding) == (ClientState.CLOSED, False, 0)
    client.receive_data(GET_HIT[30:])
    assert client.next_event() == ConnectionClosed()
    client.close()
    assert client.state is ClientState.CLOSED


# --- nothing is emitted that does not fit the wire

REFUSED: list[tuple[Request[object], str]] = [
    (Get((b"",)), "key of GET is missing"),
    (Get((b"k" * 251,)), "key is 251 bytes, limit is 250"),
    (Get((b"k", b"")), "key is 0 bytes, the least is 1"),
    (Get((b"k", b"k" * 251)), "key is 251 bytes, limit is 250"),
    (Get((b"k", "k")), "keys[1] is str, must be bytes"),  # type: ignore[arg-type]
    (Get((b"k", b"l"), -1), "expiration is -1, must be 0 to 4294967295"),
    (Get((b"k",), 1 << 32), "expiration is 4294967296, must be 0 to 4294967295"),
    (Get(()), "keys are 0, must be 1 to 100000"),
    (Set(b"k", b"v", -1), "flags is -1, must be 0 to 4294967295"),
    (Set(b"k", b"v", 0, 0, 1 << 64), "cas is 18446744073709551616, must be 0 to 18446744073709551615"),
    (Increment(b"k", 1 << 64), "delta is 18446744073709551616, must be 0 to 18446744073709551615"),
    (SaslAuth(b""), "key of SASL_AUTH is missing"),
    (InvalidRequest(Failure(4), ""), "InvalidRequest has no opcode of its own in binary"),
    (Unknown(Packet(0x80, 0x50, bytes(256))), "extras_length is 256, must be 0 to 255"),
]


@pytest.mark.parametrize(("request_", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_request_with_a_field_out_of_range_is_refused_and_changes_nothing(
    request_: Request[object], message: str
) -> None:
    client = ClientConnection()
    with pytest.raises(LocalProtocolError) as caught:
        client.send(request_)
    assert str(caught.value) == message
    assert (client.outstanding, client.state, client.reusable) == (0, ClientState.OPEN, True)
    # Not even an opaque was used up.
    assert client.send(Noop()).data == wire("800a0000 00000000 00000000 00000000 0000000000000000")


def test_any_byte_is_legal_in_a_key_and_injects_nothing() -> None:
    key = b"a b\r\nquit\r\n\0"
    assert (
        ClientConnection().send(Get((key,))).data == wire("8000000c 00000000 0000000c 00000000 0000000000000000") + key
    )


def test_client_after_a_fault_reads_nothing_more() -> None:
    client = ClientConnection()
    client.send(Noop())
    client.receive_data(_noop(9))
    with pytest.raises(RemoteProtocolError, match=r"0x00000009, expected 0x00000000$"):
        client.next_event()
    client.receive_data(_noop(0))
    with pytest.raises(RemoteProtocolError, match=r"^the connection has failed already: opaque of a reply"):
        client.next_event()


def test_fence_at_the_limit_of_outstanding_requests_is_sent() -> None:
    client = ClientConnection(Limits(outstanding=1))
    quiet = client.send_quiet(Delete(b"k"))
    assert client.fence() == wire("800a0000 00000000 00000000 00000001 0000000000000000")
    assert client.fence() == b""
    assert tell(client, [_noop(1)]).replies == [Silence()]
    assert quiet.reply == Silence()


def test_fence_after_the_end_of_the_stream_is_empty() -> None:
    client = ClientConnection()
    client.send_quiet(Delete(b"k"))
    client.receive_eof()
    assert client.fence() == b""


def test_a_reply_is_there_when_it_is_delivered_and_not_before() -> None:
    client = ClientConnection()
    client.send_quiet(Delete(b"k"))
    noop = client.send(Noop())
    client.receive_data(_noop(1))
    client.next_event()
    assert noop.reply is None
    client.abandon(noop)
    assert client.next_event() is Signal.NEED_DATA
    assert noop.reply is None


def test_closed_client_gives_no_reply() -> None:
    client = ClientConnection()
    client.send_quiet(Delete(b"k"))
    client.send(Noop())
    client.receive_data(_noop(1))
    client.next_event()
    client.close()
    assert client.next_event() == ConnectionClosed()
