"""The pipe between a client and a server in memory."""

from __future__ import annotations

from memproto import (
    BinaryEnvelope,
    ClientConnection,
    ConnectionClosed,
    Limits,
    Noop,
    Ok,
    Quit,
    ReplyReceived,
    ServerConnection,
    Signal,
)
from memproto.testing import Pipe
from tests.support.wire import NOOP_REPLY, NOOP_REQUEST


def test_pipe_delivers_the_bytes_that_are_asked_for() -> None:
    pipe = Pipe()
    exchange = pipe.client.send(Noop())
    pipe.write_to_server(exchange.data)
    assert (pipe.to_server, pipe.to_client) == (24, 0)
    assert pipe.deliver_to_server(10) == 10
    assert (pipe.server.buffered, pipe.to_server) == (10, 14)
    assert pipe.server.next_event() is Signal.NEED_DATA
    assert pipe.deliver_to_server(100) == 14
    event = pipe.server.next_event()
    assert isinstance(event, BinaryEnvelope)
    pipe.write_to_client(pipe.server.send(Ok(), event))
    assert pipe.to_client == 24
    assert pipe.deliver_to_client(0) == 0
    assert pipe.client.next_event() is Signal.NEED_DATA
    assert pipe.deliver_to_client() == 24
    assert pipe.client.next_event() == ReplyReceived(exchange, Ok())


def test_pipe_takes_ends_that_are_given() -> None:
    client, server = ClientConnection(Limits(value=1)), ServerConnection(auth_required=True)
    pipe = Pipe(client, server)
    assert (pipe.client, pipe.server) == (client, server)


def test_closing_delivers_what_was_written_and_then_the_end() -> None:
    pipe = Pipe()
    pipe.write_to_server(NOOP_REQUEST)
    pipe.close_to_server()
    event = pipe.server.next_event()
    assert event == BinaryEnvelope(Noop(), 0x0A, 0xFEED)
    assert isinstance(event, BinaryEnvelope)
    assert pipe.server.send(Ok(), event) == NOOP_REPLY
    assert pipe.server.next_event() == ConnectionClosed()
    exchange = pipe.client.send_quiet(Quit())
    pipe.close_to_client()
    assert isinstance(pipe.client.next_event(), ReplyReceived)
    assert exchange.reply is not None
    assert pipe.client.next_event() == ConnectionClosed()
