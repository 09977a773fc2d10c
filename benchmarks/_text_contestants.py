"""What is measured of the text dialects: the same messages decoded and encoded by memproto, and by its rivals."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from benchmarks import _text_rivals as rivals
from benchmarks import _wire as wire
from benchmarks._timing import BATCH, Match, Timer, batched, repeated
from memproto import AnyReply, ClientConnection, Dialect, Envelope, Get, Item, Limits, ServerConnection, Set, Values
from memproto._wire.buffer import ReceiveBuffer
from memproto._wire.exchange import Exchange
from memproto.text._client import TextClient
from memproto.text._server import TextServer

CONNECTION, CODEC, PYMEMCACHE, AIOMCACHE = CONTESTANTS = (
    "memproto connection",
    "memproto codec",
    "pymemcache",
    "aiomcache",
)

#: aiomcache refuses other flags where it has no handler for them.
FLAGS = 0
SET = Set(wire.KEY, wire.VALUE, FLAGS, wire.EXPTIME)
MANY = (100, 1_000)


def keys(count: int) -> tuple[bytes, ...]:
    """So many keys, as long as the one of the other messages."""
    return (wire.KEY,) if count == 1 else tuple(b"key:%05d" % number for number in range(count))


# --- memproto


def _server_decodes(data: bytes) -> Timer:
    def prepare(size: int) -> Callable[[], None]:
        connection = ServerConnection()

        def run() -> None:
            receive_data, next_event = connection.receive_data, connection.next_event
            for _ in range(size):
                receive_data(data)
                next_event()

        return run

    return batched(prepare)


def _server_reads(data: bytes) -> Timer:
    buffer, reader = ReceiveBuffer(), TextServer(Limits(), tuple(Dialect))

    def run() -> object:
        buffer.feed(data)
        return reader.read(buffer)

    return repeated(run)


def _received(request: bytes, size: int) -> tuple[ServerConnection, list[Envelope]]:
    connection = ServerConnection()
    connection.receive_data(request * size)
    events = [connection.next_event() for _ in range(size)]
    return connection, [event for event in events if isinstance(event, Envelope)]


def _server_encodes(request: bytes, reply: AnyReply) -> Timer:
    def prepare(size: int) -> Callable[[], None]:
        connection, envelopes = _received(request, size)

        def run() -> None:
            send = connection.send
            for envelope in envelopes:
                send(reply, envelope)

        return run

    return batched(prepare)


def _server_writes(request: bytes, reply: AnyReply) -> Timer:
    _, (envelope,) = _received(request, 1)
    write = TextServer(Limits(), tuple(Dialect)).write
    return repeated(lambda: b"".join(write(reply, envelope)))


def _client_encodes(dialect: Dialect, request: Get | Set) -> Timer:
    def prepare(size: int) -> Callable[[], None]:
        send = ClientConnection(dialect=dialect).send

        def run() -> None:
            for _ in range(size):
                send(request).data  # noqa: B018

        return run

    return batched(prepare)


def _client_writes(dialect: Dialect, request: Get | Set) -> Timer:
    encode = TextClient(Limits(), dialect).encode
    return repeated(lambda: b"".join(encode(request).parts))


def _answers(reply: bytes, size: int) -> list[bytes]:
    """The same reply to one request after another; in meta each repeats the opaque of its own."""
    return [reply.replace(b" O0\r\n", b" O%d\r\n" % number) for number in range(size)]


def _client_decodes(dialect: Dialect, request: Get | Set, reply: bytes, batch: int = BATCH) -> Timer:
    replies = _answers(reply, batch)

    def prepare(size: int) -> Callable[[], None]:
        connection = ClientConnection(dialect=dialect)
        for _ in range(size):
            connection.send(request)

        def run() -> None:
            receive_data, next_event = connection.receive_data, connection.next_event
            for data in replies[:size]:
                receive_data(data)
                next_event()

        return run

    return batched(prepare, batch)


def _client_reads(dialect: Dialect, request: Get | Set, reply: bytes, batch: int = BATCH) -> Timer:
    replies = _answers(reply, batch)

    def prepare(size: int) -> Callable[[], None]:
        limits, buffer = Limits(), ReceiveBuffer()
        client = TextClient(limits, dialect)
        waiting: deque[Exchange[object]] = deque(client.encode(request) for _ in range(size))

        def run() -> None:
            for data in replies[:size]:
                buffer.feed(data)
                exchange = waiting[0]
                if exchange._reader.read(buffer, exchange, limits) is None:
                    client.read_irregular(buffer, waiting)
                waiting.popleft()

        return run

    return batched(prepare, batch)


def _client_exchanges(dialect: Dialect, request: Get | Set, reply: bytes, batch: int = BATCH) -> Timer:
    replies = _answers(reply, batch)

    def prepare(size: int) -> Callable[[], None]:
        connection = ClientConnection(dialect=dialect)

        def run() -> None:
            for data in replies[:size]:
                exchange = connection.send(request)
                exchange.data  # noqa: B018
                connection.receive_data(data)
                connection.next_event()
                exchange.reply  # noqa: B018

        return run

    return batched(prepare, batch)


# --- the matches


def request_bytes(dialect: Dialect, request: Get | Set) -> bytes:
    """What a client of ours sends for this."""
    return ClientConnection(dialect=dialect).send(request).data


def reply_bytes(dialect: Dialect, request: Get | Set, reply: AnyReply) -> bytes:
    """What a server of ours answers to that."""
    server = ServerConnection()
    server.receive_data(request_bytes(dialect, request))
    out = []
    items = list(reply.items) if isinstance(reply, Values) else []
    while isinstance(event := server.next_event(), Envelope):
        # In meta a get of several keys is several commands.
        one = isinstance(event.request, Get) and len(event.request.keys) == 1 and items
        out.append(server.send(Values((items.pop(0),)) if one else reply, event))
    return b"".join(out)


def _hits(request: Get) -> Values:
    return Values(tuple(Item(key, wire.VALUE, FLAGS, 12_345) for key in request.keys))


def _rivals(request: Get | Set, reply: bytes) -> dict[str, Timer]:
    """The whole exchange by the rivals; in classic text, whatever the dialect beside it."""
    if isinstance(request, Set):
        arguments = (request.key, request.value, request.exptime)
        return _those_here(
            lambda: rivals.pymemcache_sets(*arguments, FLAGS, reply),
            lambda: rivals.aiomcache_call("set", arguments, reply),
        )
    method = "gets" if len(request.keys) == 1 else "multi_get"
    return _those_here(
        lambda: rivals.pymemcache_gets(request.keys, reply),
        lambda: rivals.aiomcache_call(method, request.keys, reply),
    )


def _noreply(request: Set) -> dict[str, Timer]:
    return _those_here(lambda: rivals.pymemcache_sets(request.key, request.value, request.exptime, FLAGS, None))


def _those_here(*makers: Callable[[], Timer]) -> dict[str, Timer]:
    return {name: make() for name, make in zip((PYMEMCACHE, AIOMCACHE), makers, strict=False) if rivals.installed(name)}


def matches() -> Iterator[Match]:
    """All that is measured."""
    for dialect in (Dialect.CLASSIC, Dialect.META):
        yield from _single(dialect)
        for count in MANY:
            request = Get(keys(count))
            reply = reply_bytes(dialect, request, _hits(request))
            plain = reply_bytes(Dialect.CLASSIC, request, _hits(request))
            yield Match(
                f"{dialect.value}: get of {count:,} keys, decode the reply",
                {
                    CONNECTION: _client_decodes(dialect, request, reply, 5),
                    CODEC: _client_reads(dialect, request, reply, 5),
                },
            )
            yield Match(
                f"{dialect.value}: get of {count:,} keys, exchange of a client",
                {CONNECTION: _client_exchanges(dialect, request, reply, 5), **_rivals(request, plain)},
            )


def _single(dialect: Dialect) -> Iterator[Match]:
    get = Get((wire.KEY,))
    stored, hits = wire.STORED, _hits(get)
    requests: tuple[tuple[str, Get | Set, AnyReply], ...] = (("set", SET, stored), ("get", get, hits))
    for name, request, reply in requests:
        asked = request_bytes(dialect, request)
        answer = reply_bytes(dialect, request, reply)
        plain = reply_bytes(Dialect.CLASSIC, request, reply)
        title = f"{dialect.value}: {name}"
        yield Match(f"{title}, decode the request", {CONNECTION: _server_decodes(asked), CODEC: _server_reads(asked)})
        encoders = {CONNECTION: _client_encodes(dialect, request), CODEC: _client_writes(dialect, request)}
        if isinstance(request, Set):
            encoders |= _noreply(request)
        yield Match(f"{title}, encode the request", encoders)
        yield Match(
            f"{title}, decode the reply",
            {CONNECTION: _client_decodes(dialect, request, answer), CODEC: _client_reads(dialect, request, answer)},
        )
        yield Match(
            f"{title}, encode the reply",
            {CONNECTION: _server_encodes(asked, reply), CODEC: _server_writes(asked, reply)},
        )
        yield Match(
            f"{title}, exchange of a client",
            {CONNECTION: _client_exchanges(dialect, request, answer), **_rivals(request, plain)},
        )
