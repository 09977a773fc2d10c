"""The interface for dialects of the embedder's own: what a connection does for them, and what they must do."""

from __future__ import annotations

import gc
import weakref
from contextlib import suppress
from typing import Final

import pytest

from memproto import (
    AnyReply,
    AnyRequest,
    Authenticated,
    Challenge,
    ConnectionClosed,
    Envelope,
    Failure,
    Get,
    InvalidRequest,
    Item,
    Limits,
    LocalProtocolError,
    Noop,
    Ok,
    Quit,
    ReceiveBuffer,
    RemoteProtocolError,
    SaslAuth,
    SaslStep,
    ServerConnection,
    ServerDialect,
    ServerState,
    Signal,
    Status,
    Stored,
    Values,
    Version,
    VersionReply,
)
from tests.support.wire import each_byte


class Numbered(Envelope):
    """A request with the number that its sender gave it."""

    __match_args__ = ("request", "number")
    __slots__ = ("number",)

    def __init__(self, request: AnyRequest, number: int) -> None:
        super().__init__(request)
        self.number: Final = number


class Frames(ServerDialect):
    """One byte of number, one of length, and a key; replies begin with the number. 0xff in front is no frame."""

    def __init__(self) -> None:
        self._head: bytes | None = None
        self.read_awaiting_auth: list[bool] = []

    @property
    def mid_request(self) -> bool:
        return self._head is not None

    def read(self, buffer: ReceiveBuffer) -> Envelope | None:
        if self._head is None:
            self._head = buffer.take(2)
            if self._head is None:
                return None
            if self._head[0] == 0xFF:
                raise RemoteProtocolError("number is 255", b"\xff")
        key = buffer.take(self._head[1])
        if key is None:
            return None
        number, self._head = self._head[0], None
        self.read_awaiting_auth.append(self.awaiting_auth)
        return Numbered(_REQUESTS.get(key) or Get((key,)), number)

    def write(self, reply: AnyReply, to: Envelope) -> tuple[bytes, ...]:
        assert isinstance(to, Numbered)
        match reply:
            case Values((item,)):
                return bytes([to.number, len(item.value)]), item.value
            case Values() | Ok() | Authenticated() | Challenge() | Stored():
                return (bytes([to.number, 0]),)
            case Failure(status):
                return (bytes([to.number, status]),)
        raise LocalProtocolError(f"{type(reply).__name__} has no form here")


_REQUESTS: dict[bytes, AnyRequest] = {
    b"": InvalidRequest(Failure(Status.INVALID_ARGUMENTS), "key is missing"),
    b"!noop": Noop(),
    b"!quit": Quit(),
    b"!auth": SaslAuth(b"PLAIN"),
    b"!step": SaslStep(b"PLAIN"),
    b"!version": Version(),
}


def frame(number: int, key: bytes) -> bytes:
    return bytes([number, len(key)]) + key


def envelope(connection: ServerConnection) -> Numbered:
    event = connection.next_event()
    assert isinstance(event, Numbered)
    return event


def opened(data: bytes, *, auth_required: bool = False, limits: Limits | None = None) -> ServerConnection:
    connection = ServerConnection(limits, auth_required=auth_required, codec=Frames())
    connection.receive_data(data)
    return connection


# --- reading and writing


def test_requests_and_replies_in_envelopes_of_its_own() -> None:
    # The numbers are the first bytes of binary, of Couchbase's framings and of text: nothing is detected.
    data = frame(0x80, b"a") + frame(0x08, b"b") + frame(0x67, b"c")
    for pieces in ([data], each_byte(data)):
        connection = ServerConnection(codec=Frames())
        events = []
        for piece in pieces:
            connection.receive_data(piece)
            while isinstance(event := connection.next_event(), Envelope):
                events.append(event)
            assert event is Signal.NEED_DATA
        assert events == [Numbered(Get((b"a",)), 0x80), Numbered(Get((b"b",)), 0x08), Numbered(Get((b"c",)), 0x67)]
        assert [event.dialect for event in events] == [None] * 3
        value = bytes(200)
        parts = connection.send_parts(Values((Item(b"a", value),)), events[0])
        assert parts == (b"\x80\xc8", value)
        assert parts[1] is value
        assert connection.send(Values(), events[1]) == b"\x08\0"


def test_it_may_be_like_the_interface_without_being_of_it() -> None:
    class Bare:
        awaiting_auth = True
        mid_request = False

        def read(self, buffer: ReceiveBuffer) -> Envelope | None:
            line = buffer.take_line(5)
            return None if line is None else Envelope(Get((line,)))

        def write(self, reply: AnyReply, to: Envelope) -> tuple[bytes, ...]:
            return ()

    dialect: ServerDialect = Bare()
    connection = ServerConnection(codec=dialect)
    connection.receive_data(b"k\n")
    event = connection.next_event()
    assert isinstance(event, Envelope)
    assert event == Envelope(Get((b"k",)))
    assert connection.send(Values(), event) == b""
    connection.receive_data(b"k")
    connection.receive_eof()
    with pytest.raises(RemoteProtocolError, match=r"stream ended inside a request, of which 1 bytes are here"):
        connection.next_event()


def test_dialect_without_state_keeps_the_defaults_of_the_interface() -> None:
    class Least(ServerDialect):
        def read(self, buffer: ReceiveBuffer) -> Envelope | None:
            return None

        def write(self, reply: AnyReply, to: Envelope) -> tuple[bytes, ...]:
            return ()

    assert Least().mid_request is False
    assert Least().awaiting_auth is False
    connection = ServerConnection(codec=Least())
    connection.receive_eof()
    assert connection.next_event() == ConnectionClosed()


def test_order_and_the_limit_of_the_unanswered_are_the_connections() -> None:
    connection = opened(b"".join(frame(number, b"k") for number in range(4)), limits=Limits(outstanding=2))
    first, second = envelope(connection), envelope(connection)
    assert connection.next_event() is Signal.PAUSED
    with pytest.raises(LocalProtocolError, match="replies go in the order of requests"):
        connection.send(Values(), second)
    assert connection.send(Values(), first) == b"\0\0"
    assert envelope(connection).number == 2
    assert connection.next_event() is Signal.PAUSED


def test_reply_that_the_dialect_cannot_write_leaves_the_request_open() -> None:
    connection = opened(frame(1, b"k"))
    event = envelope(connection)
    with pytest.raises(LocalProtocolError, match="VersionReply has no form here"):
        connection.send(VersionReply(b"1"), event)
    assert connection.outstanding == 1
    assert connection.send(Values(), event) == b"\1\0"


def test_a_bad_request_is_an_event_and_the_next_one_is_read() -> None:
    connection = opened(frame(1, b"") + frame(2, b"k"))
    event = envelope(connection)
    assert isinstance(event.request, InvalidRequest)
    assert connection.send(event.request.reply, event) == b"\1\4"
    assert envelope(connection) == Numbered(Get((b"k",)), 2)


# --- the ends


def test_connection_ends_once_a_quit_is_answered() -> None:
    connection = opened(frame(1, b"!quit") + frame(2, b"k"))
    event = envelope(connection)
    assert connection.next_event() is Signal.PAUSED
    assert connection.send(Ok(), event) == b"\1\0"
    assert connection.next_event() == ConnectionClosed()


@pytest.mark.parametrize("data", [b"\1", b"\1\5", b"\1\5key"])
def test_an_end_inside_a_request_is_lost_framing(data: bytes) -> None:
    # The second has nothing left in the buffer: only ``mid_request`` tells.
    connection = opened(frame(0, b"k") + data)
    connection.receive_eof()
    envelope(connection)
    with pytest.raises(RemoteProtocolError, match="stream ended inside a request"):
        connection.next_event()


def test_lost_framing_has_the_reply_hint_of_the_dialect_once() -> None:
    connection = opened(frame(1, b"k") + b"\xff\1" + frame(2, b"k"))
    event = envelope(connection)
    with pytest.raises(RemoteProtocolError, match=r"^number is 255$") as caught:
        connection.next_event()
    assert caught.value.reply_hint == b"\xff"
    with pytest.raises(RemoteProtocolError, match=r"^the connection has failed already: number is 255$") as caught:
        connection.next_event()
    assert caught.value.reply_hint == b""
    assert connection.send(Values(), event) == b"\1\0"
    assert connection.state is ServerState.FAULTED


def test_a_failed_connection_keeps_no_frames_alive() -> None:
    class Embedder:
        def __init__(self) -> None:
            self.connection = opened(b"\xff\1")

        def pull(self) -> None:
            with suppress(RemoteProtocolError):
                self.connection.next_event()

    gc.disable()
    try:
        embedder = Embedder()
        embedder.pull()
        assert embedder.connection.state is ServerState.FAULTED
        gone = weakref.ref(embedder)
        del embedder
        assert gone() is None
    finally:
        gc.enable()


# --- authentication


def test_dialect_knows_whether_authentication_is_awaited() -> None:
    dialect = Frames()
    connection = ServerConnection(auth_required=True, codec=dialect)
    assert dialect.awaiting_auth
    connection.receive_data(frame(1, b"!auth") + frame(2, b"!step") + frame(3, b"k"))
    event = envelope(connection)
    assert event.request == SaslAuth(b"PLAIN")
    assert connection.next_event() is Signal.PAUSED
    assert connection.send(Challenge(), event) == b"\1\0"
    event = envelope(connection)
    assert event.request == SaslStep(b"PLAIN")
    assert connection.send(Authenticated(), event) == b"\2\0"
    assert envelope(connection) == Numbered(Get((b"k",)), 3)
    assert dialect.read_awaiting_auth == [True, True, False]


def test_before_it_no_request_comes_through_even_if_the_dialect_does_not_look() -> None:
    connection = opened(
        frame(1, b"k") + frame(2, b"!noop") + frame(3, b"!quit") + frame(4, b"") + frame(5, b"!version"),
        auth_required=True,
    )
    refusal = InvalidRequest(Failure(Status.AUTH_ERROR), "request before authentication")
    assert [envelope(connection) for _ in range(5)] == [
        Numbered(refusal, 1),
        Numbered(refusal, 2),
        Numbered(refusal, 3),
        Numbered(InvalidRequest(Failure(Status.INVALID_ARGUMENTS), "key is missing"), 4),
        Numbered(Version(), 5),
    ]
    assert connection.state is ServerState.UNAUTHENTICATED
    assert connection.next_event() is Signal.NEED_DATA


def test_a_step_without_a_challenge_is_refused() -> None:
    connection = opened(frame(1, b"!step"), auth_required=True)
    assert envelope(connection).request == InvalidRequest(
        Failure(Status.AUTH_ERROR), "SASL step without a challenge", SaslStep(b"PLAIN", b"")
    )


def test_reply_to_credentials_that_is_no_verdict_is_refused() -> None:
    connection = opened(frame(1, b"!auth"), auth_required=True)
    event = envelope(connection)
    with pytest.raises(LocalProtocolError, match=r"^Stored is no verdict on credentials$"):
        connection.send(Stored(), event)
    assert (connection.state, connection.outstanding) == (ServerState.DECIDING, 1)
    assert connection.send(Failure(Status.AUTH_ERROR), event) == b"\1\x20"
    assert connection.state is ServerState.UNAUTHENTICATED
