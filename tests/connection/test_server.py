"""The server connection where the client behaves."""

from __future__ import annotations

import pytest

from memproto import (
    AnyReply,
    Authenticated,
    BinaryEnvelope,
    Challenge,
    ClassicEnvelope,
    ConnectionClosed,
    Counter,
    Deleted,
    Dialect,
    Envelope,
    Failure,
    Get,
    InvalidRequest,
    Item,
    LocalProtocolError,
    Mechanisms,
    Noop,
    Ok,
    Quit,
    RemoteProtocolError,
    SaslStep,
    ServerConnection,
    ServerState,
    Set,
    Signal,
    Silence,
    Status,
    Stored,
    UnknownLine,
    Values,
    Version,
    VersionReply,
)
from tests.support.serving import serve_binary, serve_binary_three_ways
from tests.support.wire import NOOP_REPLY, NOOP_REQUEST, wire

GET = wire("80000001 00000000 00000001 00000001 0000000000000000 'k'")
SETQ = wire("80110001 08000000 0000000a 00000002 0000000000000000 0000000000000000 'kv'")
QUIT = wire("80070000 00000000 00000000 00000003 0000000000000000")
QUITQ = wire("80170000 00000000 00000000 00000003 0000000000000000")
QUIT_REPLY = wire("81070000 00000000 00000000 00000003 0000000000000000")


def _next(server: ServerConnection) -> BinaryEnvelope:
    event = server.next_event()
    assert isinstance(event, BinaryEnvelope)
    return event


def test_server_reads_requests_and_sends_replies_in_a_conversation() -> None:
    server = ServerConnection()
    assert (server.state, server.next_event()) == (ServerState.OPEN, Signal.NEED_DATA)
    server.receive_data(SETQ + GET)
    setq, get = _next(server), _next(server)
    assert (setq.request, get.request) == (Set(b"k", b"v"), Get((b"k",)))
    assert (server.next_event(), server.outstanding, server.buffered) == (Signal.NEED_DATA, 2, 0)
    assert server.send(Stored(1), setq) == b""
    assert server.send(Values((Item(b"k", b"v", 3, 1),)), get) == wire(
        "81000000 04000000 00000005 00000001 0000000000000001 00000003 'v'"
    )
    assert server.outstanding == 0


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_received_data_may_be_bytes_a_bytearray_or_a_memoryview(
    kind: type[bytes] | type[bytearray] | type[memoryview],
) -> None:
    server = ServerConnection()
    server.receive_data(kind(NOOP_REQUEST))
    assert _next(server).request == Noop()


def test_buffer_that_the_caller_changes_after_receive_data_changes_nothing() -> None:
    server = ServerConnection()
    buffer = bytearray(SETQ)
    server.receive_data(memoryview(buffer))
    buffer[:] = bytes(len(buffer))
    request = _next(server).request
    assert request == Set(b"k", b"v")
    assert isinstance(request, Set)
    assert (type(request.key), type(request.value)) == (bytes, bytes)


def test_parts_are_the_bytes_and_the_value_is_not_copied() -> None:
    value = bytes(1000)
    server = ServerConnection()
    server.receive_data(GET + GET)
    head, body = server.send_parts(Values((Item(b"k", value),)), _next(server))
    assert body is value
    assert head + body == server.send(Values((Item(b"k", value),)), _next(server))


def test_replies_go_in_the_order_of_requests() -> None:
    server = ServerConnection()
    server.receive_data(GET + NOOP_REQUEST)
    get, noop = _next(server), _next(server)
    with pytest.raises(LocalProtocolError, match=r"^replies go in the order of requests: Get\(keys=\(b'k',\)"):
        server.send(Ok(), noop)
    server.send(Values(), get)
    assert server.send(Ok(), noop) == NOOP_REPLY


def test_a_request_is_answered_once_and_here() -> None:
    server, other = ServerConnection(), ServerConnection()
    server.receive_data(NOOP_REQUEST)
    other.receive_data(NOOP_REQUEST)
    event, elsewhere = _next(server), _next(other)
    assert event == elsewhere
    for stranger in (elsewhere, BinaryEnvelope(Noop(), 0x0A, 0xFEED)):
        with pytest.raises(LocalProtocolError, match=r"^Noop\(\) was not received here, or is answered already$"):
            server.send(Ok(), stranger)
    server.send(Ok(), event)
    with pytest.raises(LocalProtocolError, match=r"^Noop\(\) was not received here, or is answered already$"):
        server.send(Ok(), event)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Stored(), "Stored does not answer Get"),
        (Failure(0), "status of a failure is 0, which means success"),
        (Values((Item(b"k", b"", -1),)), "flags is -1, must be 0 to 4294967295"),
    ],
)
def test_a_reply_that_cannot_be_sent_changes_nothing(reply: AnyReply, message: str) -> None:
    server = ServerConnection()
    server.receive_data(GET)
    event = _next(server)
    with pytest.raises(LocalProtocolError) as caught:
        server.send(reply, event)
    assert str(caught.value) == message
    assert server.outstanding == 1
    assert server.send(Values(), event)[24:] == b"Not found"


def test_send_of_silence_is_refused() -> None:
    server = ServerConnection()
    server.receive_data(SETQ)
    with pytest.raises(LocalProtocolError, match=r"^reply is Silence, must be a reply, such as Values or Failure$"):
        server.send(Silence(), _next(server))  # type: ignore[arg-type]


# --- quiet rules, section 5.1: what success and what failure say

_FAILS = Failure(Status.OUT_OF_MEMORY)
QUIET: list[tuple[str, AnyReply, bytes]] = [
    ("80090001 00000000 00000001 00000000 0000000000000000 'k'", Values(), b""),
    ("800d0001 00000000 00000001 00000000 0000000000000000 'k'", Values(), b""),
    ("801e0001 04000000 00000005 00000000 0000000000000000 00000000 'k'", Values(), b""),
    ("80240001 04000000 00000005 00000000 0000000000000000 00000000 'k'", Values(), b""),
    ("80110001 08000000 00000009 00000000 0000000000000000 0000000000000000 'k'", Stored(1), b""),
    ("80120001 08000000 00000009 00000000 0000000000000000 0000000000000000 'k'", Stored(1), b""),
    ("80130001 08000000 00000009 00000000 0000000000000000 0000000000000000 'k'", Stored(1), b""),
    ("80190001 00000000 00000001 00000000 0000000000000000 'k'", Stored(1), b""),
    ("801a0001 00000000 00000001 00000000 0000000000000000 'k'", Stored(1), b""),
    ("80140001 00000000 00000001 00000000 0000000000000000 'k'", Deleted(), b""),
    ("80150001 14000000 00000015 00000000 0000000000000000" + "00" * 20 + "'k'", Counter(1), b""),
    ("80160001 14000000 00000015 00000000 0000000000000000" + "00" * 20 + "'k'", Counter(1), b""),
    ("80180000 00000000 00000000 00000000 0000000000000000", Ok(), b""),
    ("80180000 04000000 00000004 00000000 0000000000000000 00000001", Ok(), b""),
]


@pytest.mark.parametrize(("request_", "reply", "said"), QUIET, ids=[text[2:4] for text, _, _ in QUIET])
def test_quiet_request_hides_its_success_or_miss_but_no_failure(request_: str, reply: AnyReply, said: bytes) -> None:
    data = wire(request_)
    served = serve_binary_three_ways(data, lambda envelope: reply if envelope.opcode != 0x0A else Ok())
    assert served.output == said
    served = serve_binary_three_ways(data, lambda envelope: _FAILS if envelope.opcode != 0x0A else Ok())
    assert served.output == wire(f"81{request_[2:4]}0000 00000082 0000000d 00000000 0000000000000000 'Out of memory'")


def test_quiet_hits_are_said_with_the_quiet_opcode() -> None:
    for opcode, key in (("09", ""), ("0d", "6b")):
        data = wire(f"80{opcode}0001 00000000 00000001 00000000 0000000000000000 'k'")
        served = serve_binary([data], lambda envelope: Values((Item(b"k", b"v"),)))
        size = 5 + len(key) // 2
        head = f"81{opcode}000{len(key) // 2} 04000000 0000000{size} 00000000 0000000000000000"
        assert served.output == wire(f"{head} 00000000 {key} 'v'")


# --- saying goodbye


def test_quit_is_answered_and_what_follows_is_dropped() -> None:
    served = serve_binary_three_ways(QUIT)
    assert (served.requests, served.output, served.closed) == ([Quit()], QUIT_REPLY, True)
    served = serve_binary_three_ways(QUITQ + NOOP_REQUEST)
    assert (served.requests, served.output, served.closed) == ([Quit()], b"", True)


def test_answers_that_are_due_come_before_the_end() -> None:
    server = ServerConnection()
    server.receive_data(GET + QUIT + b"rubbish")
    get, quit_ = _next(server), _next(server)
    assert (server.next_event(), server.state, server.buffered) == (Signal.PAUSED, ServerState.ENDING, 0)
    server.receive_data(b"more rubbish")
    server.send(Values(), get)
    assert (server.next_event(), server.buffered) == (Signal.PAUSED, 0)
    assert server.send(Ok(), quit_) == QUIT_REPLY
    assert [server.next_event(), server.next_event()] == [ConnectionClosed()] * 2
    assert server.state is ServerState.CLOSED


def test_requests_before_the_end_of_the_stream_can_be_answered() -> None:
    server = ServerConnection()
    server.receive_data(GET + GET)
    server.receive_eof()
    first, second = _next(server), _next(server)
    assert (server.next_event(), server.state) == (Signal.PAUSED, ServerState.ENDING)
    server.send(Values(), first)
    server.send(Values(), second)
    assert server.next_event() == ConnectionClosed()
    with pytest.raises(LocalProtocolError, match=r"^receive_data\(\) after receive_eof\(\)$"):
        server.receive_data(GET)


@pytest.mark.parametrize("size", [1, 23, 24])
def test_stream_that_ends_inside_a_packet_is_a_fault(size: int) -> None:
    served = serve_binary([NOOP_REQUEST + GET[:size]], eof=True)
    assert (served.requests, served.output) == ([Noop()], NOOP_REPLY)
    assert served.fault == f"stream ended inside a request, of which {size} bytes are here"


def test_the_end_of_the_stream_inside_a_value_that_is_swallowed() -> None:
    server = ServerConnection()
    server.receive_data(wire("80010001 08000000 00200000 00000000 0000000000000000 0000000000000000 'kvvv'"))
    assert server.next_event() is Signal.NEED_DATA
    server.receive_eof()
    with pytest.raises(RemoteProtocolError, match=r"^stream ended inside a request, of which 0 bytes are here$"):
        server.next_event()


def test_after_a_fault_what_was_asked_before_can_be_answered() -> None:
    server = ServerConnection()
    server.receive_data(GET + b"\x81")
    get = _next(server)
    with pytest.raises(RemoteProtocolError, match=r"^magic is 0x81, expected 0x80 \(request\)$"):
        server.next_event()
    assert (server.state, server.outstanding, server.buffered) == (ServerState.FAULTED, 1, 0)
    server.receive_data(GET)
    assert server.buffered == 0
    for _ in range(2):
        with pytest.raises(RemoteProtocolError, match=r"^the connection has failed already: magic is 0x81") as caught:
            server.next_event()
        assert caught.value.reply_hint == b""
    assert server.send(Values(), get)[24:] == b"Not found"


def test_a_wrong_first_byte_is_reported_as_soon_as_it_is_there() -> None:
    # Also where the embedder has looked for events before it came.
    server = ServerConnection(dialects={Dialect.BINARY})
    assert server.next_event() is Signal.NEED_DATA
    server.receive_data(b"\x00")
    with pytest.raises(RemoteProtocolError, match=r"^magic is 0x00, expected 0x80 \(request\)$"):
        server.next_event()


def test_any_other_first_byte_begins_a_line_of_text() -> None:
    server = ServerConnection()
    for data in (b"\x00", b"\x0a"):
        assert server.next_event() is Signal.NEED_DATA
        server.receive_data(data)
    assert server.next_event() == ClassicEnvelope(UnknownLine(b"\0"), b"\0")


@pytest.mark.parametrize("first", [0x08, 0x18, 0x82, 0x83])
def test_the_first_byte_of_another_framing_is_no_text(first: int) -> None:
    server = ServerConnection()
    server.receive_data(bytes([first]))
    with pytest.raises(RemoteProtocolError, match=rf"^magic is {first:#04x}, expected 0x80") as caught:
        server.next_event()
    assert caught.value.reply_hint == b"ERROR\r\n"
    # A server that speaks text alone takes it for a line, as memcached does.
    server = ServerConnection(dialects={Dialect.CLASSIC, Dialect.META})
    server.receive_data(bytes([first]) + b"\r\n")
    assert server.next_event() == ClassicEnvelope(UnknownLine(bytes([first])), bytes([first]))


def test_connection_without_dialects_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match=r"^dialects are none, at least one must be allowed$"):
        ServerConnection(dialects=())


# --- authentication, section 5.4

AUTH = wire("80210005 00000000 00000009 00000004 0000000000000000 'PLAIN' 00 'u' 00 'p'")
STEP = wire("80220005 00000000 00000006 00000005 0000000000000000 'PLAIN' 'x'")
LIST = wire("80200000 00000000 00000000 00000000 0000000000000000")
VERSION = wire("800b0000 00000000 00000000 00000000 0000000000000000")
AUTH_FAILURE = "00000020 0000000d 00000000 0000000000000000 'Auth failure.'"


def _authenticate(server: ServerConnection, data: bytes, reply: AnyReply) -> bytes:
    server.receive_data(data)
    return server.send(reply, _next(server))


@pytest.mark.parametrize("opcode", sorted(set(range(256)) - {0x0B, 0x20, 0x21, 0x22}))
def test_everything_else_before_authentication_is_refused(opcode: int) -> None:
    served = serve_binary_three_ways(bytes([0x80, opcode]) + bytes(22), auth_required=True)
    assert (served.events, served.closed) == ([], True)
    assert served.output == wire(f"81{opcode:02x}0000 {AUTH_FAILURE}")
    assert served.fault == f"opcode {opcode:#04x} before authentication"


def test_what_is_allowed_before_authentication() -> None:
    replies: dict[int, AnyReply] = {0x20: Mechanisms((b"PLAIN",)), 0x0B: VersionReply(b"1.6.18")}
    served = serve_binary_three_ways(LIST + VERSION, lambda envelope: replies[envelope.opcode], auth_required=True)
    assert served.requests[1] == Version()
    assert not served.closed
    assert served.output.count(b"PLAIN") == served.output.count(b"1.6.18") == 1


def test_nothing_is_read_while_a_verdict_is_due() -> None:
    server = ServerConnection(auth_required=True)
    server.receive_data(AUTH + GET)
    auth = _next(server)
    assert (server.next_event(), server.state, server.buffered) == (Signal.PAUSED, ServerState.DECIDING, len(GET))
    server.receive_data(NOOP_REQUEST)
    assert server.next_event() is Signal.PAUSED
    assert server.send(Authenticated(), auth)[24:] == b"Authenticated"
    assert server.state.name == "AUTHENTICATED"
    assert [_next(server).request, _next(server).request] == [Get((b"k",)), Noop()]


def test_a_verdict_is_on_the_credentials_and_not_on_what_came_before() -> None:
    server = ServerConnection(auth_required=True)
    server.receive_data(VERSION + AUTH)
    version, auth = _next(server), _next(server)
    server.send(Failure(Status.OUT_OF_MEMORY), version)
    assert server.state.name == "DECIDING"
    server.send(Authenticated(), auth)
    assert server.state.name == "AUTHENTICATED"


def test_a_verdict_that_cannot_be_sent_changes_nothing() -> None:
    server = ServerConnection(auth_required=True)
    server.receive_data(AUTH)
    auth = _next(server)
    with pytest.raises(LocalProtocolError, match=r"^Ok does not answer SaslAuth$"):
        server.send(Ok(), auth)
    assert (server.state, server.outstanding) == (ServerState.DECIDING, 1)


def test_failed_credentials_may_be_tried_again() -> None:
    server = ServerConnection(auth_required=True)
    assert _authenticate(server, AUTH, Failure(Status.AUTH_ERROR))[24:] == b"Auth failure."
    assert server.state.name == "UNAUTHENTICATED"
    _authenticate(server, AUTH, Authenticated())
    assert server.state.name == "AUTHENTICATED"


def test_challenge_is_followed_by_a_step() -> None:
    server = ServerConnection(auth_required=True)
    assert _authenticate(server, AUTH, Challenge(b"c")) == wire(
        "81210000 00000021 00000001 00000004 0000000000000000 'c'"
    )
    assert _authenticate(server, STEP, Challenge())[6:8] == b"\0\x21"
    assert server.state.name == "CHALLENGED"
    assert _authenticate(server, STEP, Authenticated())[6:8] == b"\0\0"
    server.receive_data(GET)
    assert _next(server).request == Get((b"k",))


@pytest.mark.parametrize("authenticated", [False, True])
def test_a_step_without_a_challenge_is_refused_and_stays_open(authenticated: bool) -> None:
    server = ServerConnection(auth_required=True)
    if authenticated:
        _authenticate(server, AUTH, Authenticated())
    state = server.state
    server.receive_data(STEP)
    event = _next(server)
    assert isinstance(event.request, InvalidRequest)
    assert event.request.reason == "SASL step without a challenge"
    assert isinstance(event.request.request, SaslStep)
    assert event.request.request.data == b""
    assert server.send(event.request.reply, event) == wire(
        "81220000 00000020 0000000d 00000005 0000000000000000 'Auth failure.'"
    )
    assert server.state is state


def test_failing_again_drops_the_old_authentication() -> None:
    server = ServerConnection(auth_required=True)
    _authenticate(server, AUTH, Authenticated())
    _authenticate(server, AUTH, Failure(Status.AUTH_ERROR))
    server.receive_data(GET)
    with pytest.raises(RemoteProtocolError, match=r"^opcode 0x00 before authentication$") as caught:
        server.next_event()
    assert caught.value.reply_hint[24:] == b"Auth failure."


def test_without_the_need_for_authentication_the_requests_come_through() -> None:
    refusal, done = Failure(Status.UNKNOWN_COMMAND), Ok()
    served = serve_binary_three_ways(AUTH + STEP + LIST, lambda envelope: done if envelope.opcode == 0x0A else refusal)
    assert [event.opcode for event in served.events] == [0x21, 0x22, 0x20]
    assert served.output.count(b"Unknown command") == 3
    server = ServerConnection()
    _authenticate(server, AUTH, Authenticated())
    assert server.state is ServerState.OPEN


@pytest.mark.parametrize(
    ("request_", "after"),
    [
        (b"\x80\x0a" + bytes(22), []),
        (b"\x80\x01\0\x01\x08\0\0\0\0\0\0\x0a" + bytes(12 + 8) + b"kv", []),
        (b"set k 0 0 3\r\nabc\r\n", []),
        (b"ms k 3\r\nabc\r\n", []),
        # The refusal comes first, and then the data are skipped.
        (b"set k 0 0 1048577\r\n", [1]),
    ],
)
def test_mid_request_is_true_behind_a_part_of_a_request_only(request_: bytes, after: list[int]) -> None:
    server = ServerConnection()
    assert not server.mid_request
    for at in range(len(request_)):
        server.receive_data(request_[at : at + 1])
        event = server.next_event()
        last = at == len(request_) - 1
        assert isinstance(event, Envelope) == last
        assert server.mid_request == (not last or bool(after))
