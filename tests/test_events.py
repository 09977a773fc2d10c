from __future__ import annotations

from memproto import BinaryEnvelope, ClientConnection, ConnectionClosed, Dialect, Noop, Ok, ReplyReceived


def test_envelopes_are_plain_data() -> None:
    assert BinaryEnvelope(Noop(), 10) == BinaryEnvelope(Noop(), 10, 0, 0, 0, 0)
    assert BinaryEnvelope(Noop(), 10) != BinaryEnvelope(Noop(), 10, 1)
    assert BinaryEnvelope(Noop(), 10).dialect is Dialect.BINARY


def test_a_reply_event_names_its_exchange() -> None:
    exchange = ClientConnection().send(Noop())
    event = ReplyReceived(exchange, Ok())
    assert (event.exchange, event.reply) == (exchange, Ok())
    assert event == ReplyReceived(exchange, Ok())
    assert event != ReplyReceived(ClientConnection().send(Noop()), Ok())


def test_closed_is_closed() -> None:
    assert ConnectionClosed() == ConnectionClosed()
