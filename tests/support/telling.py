"""A client connection fed with bytes, and all that it makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from memproto import (
    AnyReply,
    ClientConnection,
    ConnectionClosed,
    Dialect,
    Limits,
    Noop,
    Ok,
    RemoteProtocolError,
    ReplyReceived,
    Signal,
    Silence,
    Version,
    VersionReply,
)
from tests.support.wire import NOOP_REPLY, each_byte


@dataclass
class Told:
    """What a client connection made of its input: replies in order, and how it ended."""

    replies: list[AnyReply | Silence] = field(default_factory=list)
    fault: str | None = None
    closed: bool = False


def tell(client: ClientConnection, pieces: Iterable[bytes], *, eof: bool = False) -> Told:
    """Feed the pieces to a client and pull what it tells after each."""
    told = Told()
    for piece in pieces:
        client.receive_data(piece)
        _pull_client(client, told)
    if eof:
        client.receive_eof()
        _pull_client(client, told)
    return told


def _pull_client(client: ClientConnection, told: Told) -> None:
    while told.fault is None and not told.closed:
        try:
            event = client.next_event()
        except RemoteProtocolError as fault:
            told.fault = str(fault)
            return
        if event is Signal.NEED_DATA:
            return
        if isinstance(event, ReplyReceived):
            assert event.exchange.reply == event.reply
            told.replies.append(event.reply)
        else:
            assert event == ConnectionClosed()
            told.closed = True


def tell_three_ways(
    ask: Callable[[ClientConnection], object],
    data: bytes,
    limits: Limits | None = None,
    *,
    dialect: Dialect = Dialect.BINARY,
) -> Told:
    """Tell a client the bytes whole, byte by byte, and with the reply to a last NOOP or ``version`` behind them."""

    def fresh() -> ClientConnection:
        client = ClientConnection(limits, dialect=dialect)
        ask(client)
        return client

    whole = tell(fresh(), [data])
    assert tell(fresh(), each_byte(data)) == whole
    client, binary = fresh(), dialect is Dialect.BINARY
    if whole.fault is not None:
        assert tell(client, [data + (NOOP_REPLY if binary else b"VERSION 1\r\n")]) == whole
    elif binary:
        noop = client.send(Noop()).data
        assert tell(client, [data + b"\x81" + noop[1:]]) == Told([*whole.replies, Ok()])
    else:
        assert client.send(Version()).data == b"version\r\n"
        assert tell(client, [data + b"VERSION 1\r\n"]) == Told([*whole.replies, VersionReply(b"1")])
    return whole
