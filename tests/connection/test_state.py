"""Every state with every input: what the tables say, and that the connections do what they say."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from memproto import (
    AnyReply,
    Authenticated,
    BinaryEnvelope,
    Challenge,
    ClientConnection,
    ClientState,
    ConnectionClosed,
    Dialect,
    Failure,
    InvalidRequest,
    LocalProtocolError,
    Mechanisms,
    Noop,
    Ok,
    Quit,
    RemoteProtocolError,
    SaslAuth,
    ServerConnection,
    ServerState,
    Signal,
    Status,
)
from memproto.connection._state import CLIENT, SERVER, ClientInput, ServerInput
from tests.support.wire import NOOP_REQUEST, wire

AUTH = wire("80210001 00000000 00000001 00000000 0000000000000000 'M'")
STEP = wire("80220001 00000000 00000001 00000000 0000000000000000 'M'")
LIST = wire("80200000 00000000 00000000 00000000 0000000000000000")
QUIT = wire("80070000 00000000 00000000 00000000 0000000000000000")
BAD = b"\x81"

_ENDED = (ServerState.ENDING, ServerState.CLOSED, ServerState.FAULTED)


def test_the_tables_have_every_state_and_lead_to_known_ones() -> None:
    assert set(SERVER) == set(ServerState)
    assert set(CLIENT) == set(ClientState)
    assert {state for row in SERVER.values() for state in row.values()} <= set(ServerState)
    assert {state for row in CLIENT.values() for state in row.values()} <= set(ClientState)


def test_every_state_but_the_first_is_led_to() -> None:
    led_to = {state for row in SERVER.values() for state in row.values()}
    assert set(ServerState) - led_to <= {ServerState.OPEN, ServerState.UNAUTHENTICATED}
    assert {state for row in CLIENT.values() for state in row.values()} == set(ClientState)


def test_every_state_and_input_has_a_meaning() -> None:
    assert len({state.value for state in ServerState}) == 8
    assert len({state.value for state in ClientState}) == 4
    assert len({input_.value for input_ in ServerInput}) == 11
    assert len({input_.value for input_ in ClientInput}) == 6


# --- the server, put into each state by literal bytes


def _event(server: ServerConnection, data: bytes) -> BinaryEnvelope:
    server.receive_data(data)
    event = server.next_event()
    assert isinstance(event, BinaryEnvelope)
    return event


def _verdict(server: ServerConnection, reply: AnyReply) -> None:
    server.send(reply, _event(server, AUTH))


def _server(state: ServerState) -> tuple[ServerConnection, BinaryEnvelope | None]:
    """A connection in this state, and the request that waits there for its answer."""
    server = ServerConnection(dialects={Dialect.BINARY}, auth_required=state not in (ServerState.OPEN, *_ENDED))
    waiting = None
    if state is ServerState.DECIDING:
        waiting = _event(server, AUTH)
    elif state is ServerState.CHALLENGED:
        _verdict(server, Challenge())
    elif state is ServerState.AUTHENTICATED:
        _verdict(server, Authenticated())
    elif state is ServerState.ENDING:
        waiting = _event(server, QUIT)
    elif state is ServerState.CLOSED:
        server.send(Ok(), _event(server, QUIT))
        assert server.next_event() == ConnectionClosed()
    elif state is ServerState.FAULTED:
        server.receive_data(BAD)
        with pytest.raises(RemoteProtocolError):
            server.next_event()
    assert server.state is state
    return server, waiting


def _feed(data: bytes) -> Callable[[ServerConnection, BinaryEnvelope | None], object]:
    def act(server: ServerConnection, waiting: BinaryEnvelope | None) -> object:
        server.receive_data(data)
        return server.next_event()

    return act


def _say(reply: AnyReply) -> Callable[[ServerConnection, BinaryEnvelope | None], object]:
    def act(server: ServerConnection, waiting: BinaryEnvelope | None) -> object:
        # Where no credentials wait for a verdict they come first; where they are not taken, they are made up.
        event: object = waiting
        if waiting is None:
            server.receive_data(AUTH)
            event = server.next_event()
        to = event if isinstance(event, BinaryEnvelope) and isinstance(event.request, SaslAuth) else None
        return server.send(reply, to or BinaryEnvelope(SaslAuth(b"M"), 0x21))

    return act


def _end(server: ServerConnection, waiting: BinaryEnvelope | None) -> object:
    server.receive_eof()
    return server.next_event()


def _answer(server: ServerConnection, waiting: BinaryEnvelope | None) -> object:
    server.send(Ok(), waiting or BinaryEnvelope(Quit(), 0x07))
    return server.next_event()


ACTS: dict[ServerInput, Callable[[ServerConnection, BinaryEnvelope | None], object]] = {
    ServerInput.REQUEST: _feed(NOOP_REQUEST),
    ServerInput.REQUEST_BEFORE_AUTH: _feed(LIST),
    ServerInput.AUTH: _feed(AUTH),
    ServerInput.STEP: _feed(STEP),
    ServerInput.QUIT: _feed(QUIT),
    ServerInput.ACCEPTED: _say(Authenticated()),
    ServerInput.CONTINUED: _say(Challenge()),
    ServerInput.REJECTED: _say(Failure(Status.AUTH_ERROR)),
    ServerInput.END: _end,
    ServerInput.ANSWERED: _answer,
    ServerInput.FAULT: _feed(BAD),
}

_VERDICTS = {
    ServerInput.ACCEPTED: ServerState.AUTHENTICATED,
    ServerInput.CONTINUED: ServerState.CHALLENGED,
    ServerInput.REJECTED: ServerState.UNAUTHENTICATED,
}


@pytest.mark.parametrize("state", ServerState, ids=lambda state: state.name)
@pytest.mark.parametrize("input_", ServerInput, ids=lambda input_: input_.name)
def test_the_server_does_what_the_table_says(state: ServerState, input_: ServerInput) -> None:
    server, waiting = _server(state)
    act = ACTS[input_]
    expected = SERVER[state].get(input_)
    if input_ in _VERDICTS and state not in (*_ENDED, ServerState.OPEN):
        # A verdict is always on credentials: they lead to DECIDING, and that state's row decides.
        act(server, waiting)
        assert server.state is SERVER[ServerState.DECIDING][input_] is _VERDICTS[input_]
    elif expected is ServerState.ENDING and input_ is ServerInput.END:
        # Nothing is due, so that the end is told, and reached, at once.
        assert act(server, waiting) == ConnectionClosed()
        assert server.state is ServerState.CLOSED
    elif expected is ServerState.FAULTED:
        with pytest.raises(RemoteProtocolError):
            act(server, waiting)
        assert server.state is ServerState.FAULTED
    elif expected is not None:
        act(server, waiting)
        assert server.state is expected
    else:
        _is_refused(server, waiting, state, input_, act)


def _is_refused(
    server: ServerConnection,
    waiting: BinaryEnvelope | None,
    state: ServerState,
    input_: ServerInput,
    act: Callable[[ServerConnection, BinaryEnvelope | None], object],
) -> None:
    if state is ServerState.FAULTED and input_ not in (*_VERDICTS, ServerInput.ANSWERED):
        with pytest.raises(RemoteProtocolError, match=r"^the connection has failed already: magic is 0x81"):
            act(server, waiting)
    elif input_ in (*_VERDICTS, ServerInput.ANSWERED):
        with pytest.raises((LocalProtocolError, RemoteProtocolError)):
            act(server, waiting)
    elif state is ServerState.CLOSED:
        assert act(server, waiting) == ConnectionClosed()
    elif state in (ServerState.DECIDING, ServerState.ENDING):
        assert act(server, waiting) is Signal.PAUSED
    elif input_ is ServerInput.STEP:
        event = act(server, waiting)
        assert isinstance(event, BinaryEnvelope)
        assert isinstance(event.request, InvalidRequest)
        assert event.request.reply == Failure(Status.AUTH_ERROR)
    else:
        with pytest.raises(RemoteProtocolError, match=r" before authentication$") as caught:
            act(server, waiting)
        assert caught.value.reply_hint[24:] == b"Auth failure."
        assert server.state is ServerState.FAULTED
        return
    assert server.state is state


def test_a_free_request_is_answered_before_authentication() -> None:
    server, _ = _server(ServerState.UNAUTHENTICATED)
    event = _event(server, LIST)
    assert server.send(Mechanisms((b"M",)), event) == wire("8120000000000000 00000001 000000000000000000000000 'M'")
    assert server.state is ServerState.UNAUTHENTICATED


# --- the client


def _client(state: ClientState) -> ClientConnection:
    client = ClientConnection()
    if state is ClientState.QUITTING:
        client.send(Quit())
    elif state is ClientState.CLOSED:
        client.close()
    elif state is ClientState.FAULTED:
        client.receive_data(b"\x80")
        with pytest.raises(RemoteProtocolError):
            client.next_event()
    assert client.state is state
    return client


def _reply(client: ClientConnection) -> object:
    if client.state is ClientState.OPEN:
        client.send(Noop())
        client.receive_data(wire("810a0000 00000000 00000000 00000000 0000000000000000"))
    else:
        client.receive_data(wire("81070000 00000000 00000000 00000000 0000000000000000"))
    return client.next_event()


def _end_of_stream(client: ClientConnection) -> object:
    if client.state is ClientState.QUITTING:
        _reply(client)
    client.receive_eof()
    return client.next_event()


def _fault(client: ClientConnection) -> object:
    client.receive_data(b"\x80")
    return client.next_event()


CLIENT_ACTS: dict[ClientInput, Callable[[ClientConnection], object]] = {
    ClientInput.SEND: lambda client: client.send(Noop()),
    ClientInput.SEND_QUIT: lambda client: client.send(Quit()),
    ClientInput.REPLY: _reply,
    ClientInput.END: _end_of_stream,
    ClientInput.GIVE_UP: lambda client: client.close(),
    ClientInput.FAULT: _fault,
}


@pytest.mark.parametrize("state", ClientState, ids=lambda state: state.name)
@pytest.mark.parametrize("input_", ClientInput, ids=lambda input_: input_.name)
def test_the_client_does_what_the_table_says(state: ClientState, input_: ClientInput) -> None:
    client = _client(state)
    act = CLIENT_ACTS[input_]
    expected = CLIENT[state].get(input_)
    if expected is ClientState.FAULTED and input_ is ClientInput.FAULT:
        with pytest.raises(RemoteProtocolError):
            act(client)
    elif expected is not None:
        act(client)
    elif input_ in (ClientInput.SEND, ClientInput.SEND_QUIT):
        with pytest.raises(LocalProtocolError, match=r"^nothing can be sent any more: "):
            act(client)
    elif state is ClientState.FAULTED:
        with pytest.raises(RemoteProtocolError, match=r"^the connection has failed already: magic is 0x80"):
            act(client)
    else:
        assert act(client) == ConnectionClosed()
    assert client.state is (expected or state)
    assert client.reusable is (client.state is ClientState.OPEN)
