"""What is fuzzed: servers, clients with unanswered requests, and the functions that read whole messages.

Every input must end in events, or in the one documented exception, within the limits, and in the same way however it
is cut. A target raises anything else for a fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from memproto import (
    Add,
    AnyReply,
    AnyRequest,
    Append,
    Authenticated,
    BinaryEnvelope,
    ClientConnection,
    ConnectionClosed,
    Decrement,
    Delete,
    Dialect,
    Envelope,
    Failure,
    Get,
    Increment,
    Limits,
    Noop,
    RemoteProtocolError,
    SaslAuth,
    SaslStep,
    ServerConnection,
    Set,
    Signal,
    Stats,
    Status,
    Touch,
    Version,
    binary,
    decode_packet,
    text,
)
from memproto.engine import Engine
from memproto.udp import Reassembler, ReassemblyLimits, accept_request, decode_datagram

NOW = 1000.0
LIMITS = Limits(value=256, head=512, sasl=128, line=300, keys_line=600, outstanding=8, keys=6, answer=2000, stats=12)
#: The most bytes that a connection may hold of an incomplete message under these limits.
MOST_HELD = 24 + LIMITS.head + LIMITS.value + LIMITS.keys_line
DATAGRAMS = ReassemblyLimits(held=2000)

#: A target takes the data, and the same data in pieces.
Target = Callable[[bytes, Sequence[bytes]], None]
Outcome = list[object]


def filled_engine() -> Engine:
    """A cache in which the recorded requests find something."""
    engine = Engine()
    for key, value in ((b"k", b"value"), (b"n", b"41"), (b"one", b"5"), (b"hello", b"world")):
        engine.execute(Set(key, value, flags=7), NOW)
    return engine


# --- servers


def answer(engine: Engine, envelope: Envelope) -> AnyReply:
    """The reply of a cache that accepts one password."""
    request = envelope.request
    if isinstance(request, SaslAuth | SaslStep):
        return Authenticated() if request.data.endswith(b"secret") else Failure(Status.AUTH_ERROR)
    return engine.execute(request, NOW)


def outcome_of_server(server: ServerConnection, pieces: Iterable[bytes]) -> Outcome:
    """All that a server makes of these pieces: requests, the bytes of the replies, and how it ended."""
    engine = filled_engine()
    outcome: Outcome = []
    for piece in (*pieces, None):
        if piece is None:
            server.receive_eof()
        else:
            server.receive_data(piece)
        try:
            while isinstance(event := server.next_event(), Envelope):
                outcome += (event, server.send(answer(engine, event), event))
        except RemoteProtocolError as error:
            return [*outcome, str(error)]
        if isinstance(event, ConnectionClosed):
            return [*outcome, event]
        assert event is Signal.NEED_DATA, f"{event} though every request is answered"
        assert server.buffered <= MOST_HELD, f"{server.buffered} bytes are held, limit is {MOST_HELD}"
    raise AssertionError("no event for the end of the stream")


def serve(new: Callable[[], ServerConnection], data: bytes, pieces: Sequence[bytes]) -> None:
    """Fail unless a server makes the same of the whole data and of the pieces."""
    whole = outcome_of_server(new(), [data])
    assert len(whole) <= 2 * len(data) + 1, f"{len(whole)} events and replies from {len(data)} bytes"
    assert outcome_of_server(new(), pieces) == whole


# --- clients


@dataclass(frozen=True)
class Conversation:
    """Requests that a client has sent and that are unanswered; all but the last may be quiet."""

    dialect: Dialect
    requests: tuple[AnyRequest, ...]
    quiet: bool

    def client(self) -> ClientConnection:
        client = ClientConnection(LIMITS, dialect=self.dialect)
        client.send_all(self.requests, quiet=self.quiet)
        return client

    def replies(self) -> bytes:
        """What a server answers."""
        engine, server = filled_engine(), ServerConnection()
        client = ClientConnection(dialect=self.dialect)
        for exchange in client.send_all(self.requests, quiet=self.quiet):
            server.receive_data(exchange.data)
        replies = b""
        while isinstance(event := server.next_event(), Envelope):
            replies += server.send(answer(engine, event), event)
        return replies


_STORES = (Set(b"k", b"value", flags=7), Add(b"k", b"v"), Append(b"none", b"v"), Delete(b"none"), Delete(b"n"))
_NUMBERS = (Increment(b"n", 2), Decrement(b"none", 1), Increment(b"hello", 1), Touch(b"k", 60), Version(), Noop())
_SEVERAL = Get((b"k", b"none", b"n"))
_LISTS: tuple[tuple[tuple[AnyRequest, ...], bool], ...] = (
    ((Get((b"k",)),), False),
    ((_SEVERAL,), False),
    ((Stats(),), False),
    (_STORES, False),
    (_NUMBERS, False),
    ((_SEVERAL, Stats(), Get((b"hello",)), Get((b"none",)), Delete(b"k")), False),
    ((*_STORES, Noop()), True),
    ((Get((b"k",)), Get((b"none",)), Set(b"k", b"v"), Noop()), True),
)
CONVERSATIONS = [Conversation(dialect, *each) for dialect in Dialect for each in _LISTS]


def outcome_of_client(client: ClientConnection, pieces: Iterable[bytes]) -> Outcome:
    """All that a client makes of these pieces: the replies in order, and how it ended."""
    outcome: Outcome = []
    for piece in (*pieces, None):
        if piece is None:
            client.receive_eof()
        else:
            client.receive_data(piece)
        try:
            while not isinstance(event := client.next_event(), Signal | ConnectionClosed):
                assert event.exchange.reply == event.reply
                outcome.append((event.exchange.request, event.reply))
        except RemoteProtocolError as error:
            assert not client.reusable
            return [*outcome, str(error)]
        if isinstance(event, ConnectionClosed):
            return [*outcome, event]
        assert client.buffered <= MOST_HELD, f"{client.buffered} bytes are held, limit is {MOST_HELD}"
    raise AssertionError("no event for the end of the stream")


def converse(conversation: Conversation, data: bytes, pieces: Sequence[bytes]) -> None:
    """Fail unless a client makes the same of the whole data and of the pieces; no request gets two replies."""
    whole = outcome_of_client(conversation.client(), [data])
    asked = [id(request) for request in conversation.requests]
    answered = [id(each[0]) for each in whole if isinstance(each, tuple)]
    assert answered == asked[: len(answered)], "replies in another order than their requests"
    assert outcome_of_client(conversation.client(), pieces) == whole


# --- whole messages

_TEXT_REQUESTS = (b"get k\r\n", b"gets k n\r\n", b"incr n 1\r\n", b"stats\r\n", b"mg k v f c k O1\r\n", b"ma n v\r\n")
_BINARY_REQUESTS = (Get((b"k",)), Stats(), Increment(b"n", 1), Set(b"k", b"v"), Version())


def decode(data: bytes, pieces: Sequence[bytes]) -> None:
    """Read the data as a message of each kind, which the documented exception may refuse."""
    readers: list[Callable[[bytes], object]] = [decode_packet, binary.decode_request, text.decode_request]
    readers += [partial(_read_binary_reply, request) for request in _BINARY_REQUESTS]
    readers += [partial(_read_text_reply, request) for request in _TEXT_REQUESTS]
    readers += [decode_datagram, accept_request]
    for reader in readers:
        try:
            reader(data)
        except RemoteProtocolError:
            continue


def _read_binary_reply(request: AnyRequest, data: bytes) -> object:
    return binary.decode_reply(data, BinaryEnvelope(request, binary.opcode_for(request)))


def _read_text_reply(request: bytes, data: bytes) -> object:
    return text.decode_reply(data, text.decode_request(request))


def reassemble(data: bytes, pieces: Sequence[bytes]) -> None:
    """Give the pieces to a reassembler as datagrams, within its limits."""
    reassembler = Reassembler(DATAGRAMS)
    for number, piece in enumerate((data, *pieces)):
        try:
            reassembler.feed(piece, NOW + number)
        except RemoteProtocolError:
            assert len(piece) < 8
        assert reassembler.held <= DATAGRAMS.held


SERVERS: dict[str, Callable[[], ServerConnection]] = {
    "server": partial(ServerConnection, LIMITS),
    "server with authentication": partial(ServerConnection, LIMITS, auth_required=True),
    "server of binary": partial(ServerConnection, LIMITS, dialects={Dialect.BINARY}),
    "server of text": partial(ServerConnection, LIMITS, dialects={Dialect.CLASSIC, Dialect.META}),
}
TARGETS: dict[str, Target] = {
    **{name: partial(serve, new) for name, new in SERVERS.items()},
    "whole messages": decode,
    "datagrams": reassemble,
    **{f"{each.dialect.value} client {CONVERSATIONS.index(each)}": partial(converse, each) for each in CONVERSATIONS},
}
