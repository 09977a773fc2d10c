from __future__ import annotations

from memproto import (
    BinaryEnvelope,
    ClientConnection,
    ConnectionClosed,
    Dialect,
    Noop,
    Ok,
    ReplyReceived,
    ServerConnection,
)


def test_envelopes_are_equal_by_their_fields() -> None:
    assert BinaryEnvelope(Noop(), 10) == BinaryEnvelope(Noop(), 10, 0, 0, 0, 0)
    assert BinaryEnvelope(Noop(), 10) != BinaryEnvelope(Noop(), 10, 1)
    assert BinaryEnvelope(Noop(), 10).dialect is Dialect.BINARY


def test_a_reply_event_names_its_exchange() -> None:
    exchange = ClientConnection().send(Noop())
    event = ReplyReceived(exchange, Ok())
    assert (event.exchange, event.reply) == (exchange, Ok())
    assert event == ReplyReceived(exchange, Ok())
    assert event != ReplyReceived(ClientConnection().send(Noop()), Ok())


def test_connection_closed_is_the_event_at_the_end_of_a_stream_and_again() -> None:
    server = ServerConnection()
    server.receive_eof()
    client = ClientConnection()
    client.receive_eof()
    for connection in (server, client):
        first, again = connection.next_event(), connection.next_event()
        assert type(first) is type(again) is ConnectionClosed
        assert first == again == ConnectionClosed()
        assert hash(first) == hash(again)
