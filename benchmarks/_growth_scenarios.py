"""Everything that a peer can make long, each as a run of any size.

``SCENARIOS`` has a name for each list, and what prepares a run over a list of so many members. Only the run is looked
at: the benchmark ``growth`` measures its seconds, and the tests count its operations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from memproto import (
    AdminCommand,
    AdminReply,
    AnyReply,
    AnyRequest,
    BinaryEnvelope,
    ClientConnection,
    Delete,
    Dialect,
    Get,
    Increment,
    Limits,
    Mechanisms,
    MetaDebug,
    MetaDebugReply,
    Noop,
    Quit,
    ReplyReceived,
    Request,
    SaslList,
    ServerConnection,
    Set,
    Stats,
    StatsReply,
    Version,
)
from memproto.binary import encode_reply, encode_request
from memproto.engine import Engine
from memproto.model import Envelope
from memproto.server.udp import Conversation
from memproto.udp import Datagram, Reassembler, ReassemblyLimits, encode_datagram, split

Run = Callable[[], object]
#: Prepares a run of this size.
Scenario = Callable[[int], Run]

_LARGE = 1 << 30
#: Nothing is refused for its size: the work must grow no faster than the input, whatever the limits.
LIMITS = Limits(
    value=_LARGE,
    head=_LARGE,
    line=_LARGE,
    keys_line=_LARGE,
    outstanding=_LARGE,
    keys=_LARGE,
    answer=_LARGE,
    stats=_LARGE,
)
_TIGHT = Limits(value=1, keys=1)

SCENARIOS: dict[str, Scenario] = {}


def _scenario(name: str) -> Callable[[Scenario], Scenario]:
    def add(scenario: Scenario) -> Scenario:
        SCENARIOS[name] = scenario
        return scenario

    return add


def _keys(count: int) -> tuple[bytes, ...]:
    return tuple(b"key%07d" % number for number in range(count))


def _filled(keys: Iterable[bytes]) -> Engine:
    engine = Engine(memory_limit=_LARGE)
    for key in keys:
        engine.execute(Set(key, b"17"), 1.0)
    return engine


def _pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


# --- the server


def _serve(pieces: Sequence[bytes], engine: Engine, limits: Limits = LIMITS) -> Run:
    server = ServerConnection(limits)

    def run() -> int:
        written = 0
        for piece in pieces:
            server.receive_data(piece)
            while isinstance(event := server.next_event(), Envelope):
                written += len(server.send(engine.execute(event.request, 1.0), event))
        return written

    return run


def _serve_late(data: bytes, engine: Engine) -> Run:
    """All requests are pulled before the first is answered."""
    server = ServerConnection(LIMITS)

    def run() -> int:
        server.receive_data(data)
        waiting = []
        while isinstance(event := server.next_event(), Envelope):
            waiting.append(event)
        return sum(len(server.send(engine.execute(event.request, 1.0), event)) for event in waiting)

    return run


def _say(data: bytes, reply: AnyReply) -> Run:
    """One reply of an embedder."""
    server = ServerConnection(LIMITS)
    server.receive_data(data)
    event = server.next_event()
    assert isinstance(event, Envelope)
    return lambda: server.send(reply, event)


#: A line of so many members for each, all of whose members are equal or count up.
_LINES: dict[str, Callable[[int], bytes]] = {
    "keys of a get, none is there": lambda count: b"get " + b" ".join(_keys(count)),
    "keys of a gat, none is there": lambda count: b"gat 9 " + b" ".join(_keys(count)),
    "words of a line that nobody knows": lambda count: b"word " * count,
    "spaces": lambda count: b"get" + b" " * count + b"key",
    "bytes of a word": lambda count: b"x" * count,
    "bytes of a key that is too long": lambda count: b"get " + b"k" * count,
    "words of a group of statistics": lambda count: b"stats" + b" word" * count,
    "words of set": lambda count: b"set" + b" 0" * count,
    "words of delete": lambda count: b"delete" + b" 0" * count,
    "words of incr": lambda count: b"incr" + b" 0" * count,
    "words of flush_all": lambda count: b"flush_all" + b" 0" * count,
    "words of slabs": lambda count: b"slabs" + b" word" * count,
    "classes of lru_crawler crawl": lambda count: b"lru_crawler crawl 1" + b",1" * count,
    "classes of lru_crawler metadump": lambda count: b"lru_crawler metadump 1" + b",1" * count,
    "numbers of slabs reassign": lambda count: b"slabs reassign " + b"1" * count + b" " + b"1" * count + b"2",
    "flags of mg": lambda count: b"mg key" + b" k" * count,
    "flags of ms": lambda count: b"ms key 0" + b" k" * count,
    "flags of md": lambda count: b"md key" + b" k" * count,
    "flags of ma": lambda count: b"ma key" + b" k" * count,
    "flags of me": lambda count: b"me key" + b" k" * count,
    "bytes of an opaque": lambda count: b"mg key O" + b"x" * count,
    "bytes of a token for proxies": lambda count: b"mg key P" + b"x" * count,
    "bytes of a base64 key": lambda count: b"mg " + b"AAAA" * count + b" b",
    "digits of a delta": lambda count: b"incr key " + b"9" * count,
    "digits of an expiry": lambda count: b"touch key " + b"9" * count,
    "digits of a length": lambda count: b"set key 0 0 " + b"9" * count,
    "digits of a meta number": lambda count: b"ma key D" + b"9" * count,
}


def _serve_line(line: Callable[[int], bytes], piece: int, count: int) -> Run:
    return _serve(_pieces(line(count) + b"\r\n", piece), _filled(()))


for _name, _line in _LINES.items():
    SCENARIOS[f"server, {_name}"] = partial(_serve_line, _line, _LARGE)
    SCENARIOS[f"server, {_name}, byte by byte"] = partial(_serve_line, _line, 1)


@_scenario("server, keys of a get, all are there")
def _hits(count: int) -> Run:
    return _serve([b"get " + b" ".join(_keys(count)) + b"\r\n"], _filled(_keys(count)))


@_scenario("server, keys of a gats, all are there, in reverse order")
def _touched(count: int) -> Run:
    return _serve([b"gats 9 " + b" ".join(reversed(_keys(count))) + b"\r\n"], _filled(_keys(count)))


@_scenario("server, one key many times in a get")
def _same_key(count: int) -> Run:
    return _serve([b"get" + b" key" * count + b"\r\n"], _filled([b"key"]))


@_scenario("server, keys over the limit")
def _over_the_limit(count: int) -> Run:
    return _serve([b"get " + b" ".join(_keys(count)) + b"\r\n"], _filled(()), _TIGHT)


@_scenario("server, empty lines")
def _empty_lines(count: int) -> Run:
    return _serve([b"\r\n" * count], _filled(()))


@_scenario("server, pipelined gets")
def _pipelined(count: int) -> Run:
    return _serve([b"".join(b"get %b\r\n" % key for key in _keys(count))], _filled(_keys(count)))


@_scenario("server, pipelined gets, byte by byte")
def _pipelined_bytes(count: int) -> Run:
    return _serve(_pieces(b"mg key v\r\n" * count, 1), _filled([b"key"]))


@_scenario("server, requests that wait for their replies")
def _late(count: int) -> Run:
    return _serve_late(b"mg key v\r\n" * count, _filled([b"key"]))


@_scenario("server, bytes of a value")
def _value(count: int) -> Run:
    return _serve([b"set key 0 0 %d\r\n" % count + bytes(count) + b"\r\n"], _filled(()))


@_scenario("server, pieces of a value")
def _value_in_pieces(count: int) -> Run:
    return _serve([b"set key 0 0 %d\r\n" % (3 * count), *[b"vvv"] * count, b"\r\n"], _filled(()))


@_scenario("server, large pieces of a value")
def _value_in_large_pieces(count: int) -> Run:
    return _serve([b"ms key %d\r\n" % (1024 * count), *[bytes(1024)] * count, b"\r\n"], _filled(()))


@_scenario("server, pieces of a value that is too large")
def _refused_in_pieces(count: int) -> Run:
    return _serve([b"set key 0 0 %d\r\n" % (3 * count), *[b"vvv"] * count, b"\r\n"], _filled(()), _TIGHT)


@_scenario("server, values that are too large")
def _many_refused(count: int) -> Run:
    return _serve([b"set key 0 0 9\r\nvvvvvvvvv\r\n" * count], _filled(()), _TIGHT)


@_scenario("server, statistics")
def _statistics(count: int) -> Run:
    return _say(b"stats\r\n", StatsReply(tuple((key, b"1") for key in _keys(count))))


@_scenario("server, binary statistics")
def _binary_statistics(count: int) -> Run:
    data = encode_request(BinaryEnvelope(Stats(), 0x10))
    return _say(data, StatsReply(tuple((key, b"1") for key in _keys(count))))


@_scenario("server, lines of a dump")
def _dump(count: int) -> Run:
    return _say(b"lru_crawler metadump all\r\n", AdminReply((*_keys(count), b"END")))


@_scenario("server, fields of an item")
def _fields(count: int) -> Run:
    return _say(b"me key\r\n", MetaDebugReply(tuple((key, b"1") for key in _keys(count))))


@_scenario("server, names of mechanisms")
def _mechanisms(count: int) -> Run:
    return _say(encode_request(BinaryEnvelope(SaslList(), 0x20)), Mechanisms(_keys(count)))


def _binary_gets(count: int) -> bytes:
    quiet = b"".join(encode_request(BinaryEnvelope(Get((key,)), 0x0D, 7)) for key in _keys(count))
    return quiet + encode_request(BinaryEnvelope(Noop(), 0x0A))


@_scenario("server, quiet binary gets")
def _quiet_gets(count: int) -> Run:
    return _serve([_binary_gets(count)], _filled(_keys(count)))


@_scenario("server, quiet binary gets, byte by byte")
def _quiet_gets_in_bytes(count: int) -> Run:
    return _serve(_pieces(_binary_gets(count), 1), _filled(()))


@_scenario("server, binary requests that wait for their replies")
def _late_gets(count: int) -> Run:
    return _serve_late(_binary_gets(count), _filled(_keys(count)))


@_scenario("server, pieces of an unknown binary request")
def _unknown_in_pieces(count: int) -> Run:
    head = b"\x80\xf0\0\0\0\0\0\0" + (3 * count).to_bytes(4, "big") + bytes(12)
    return _serve([head, *[b"vvv"] * count], _filled(()))


@_scenario("server, pieces of a binary value that is too large")
def _swallowed_in_pieces(count: int) -> Run:
    head = b"\x80\x01\0\x01\x08\0\0\0" + (9 + 3 * count).to_bytes(4, "big") + bytes(12) + bytes(8) + b"k"
    return _serve([head, *[b"vvv"] * count], _filled(()), _TIGHT)


# --- the client


def _answered(data: bytes, engine: Engine) -> bytes:
    """What our server says to all this."""
    server = ServerConnection(LIMITS)
    server.receive_data(data)
    said = []
    while isinstance(event := server.next_event(), Envelope):
        said.append(server.send(engine.execute(event.request, 1.0), event))
    return b"".join(said)


def _client(dialect: Dialect) -> ClientConnection:
    return ClientConnection(LIMITS, dialect=dialect)


def _tell(client: ClientConnection, pieces: Iterable[bytes]) -> int:
    replies = 0
    for piece in pieces:
        client.receive_data(piece)
        while isinstance(client.next_event(), ReplyReceived):
            replies += 1
    return replies


def _asks(dialect: Dialect, request: AnyRequest, engine: Engine, piece: int = _LARGE) -> Run:
    """A request is sent and its reply is read."""
    data = _answered(_client(dialect).send(request).data, engine)
    client = _client(dialect)
    parts = _pieces(data, piece)

    def run() -> int:
        client.send(request)
        return _tell(client, parts)

    return run


def _is_told(dialect: Dialect, request: AnyRequest, data: bytes, piece: int = _LARGE) -> Run:
    """A reply is read that our server does not give."""
    client = _client(dialect)
    client.send(request)
    parts = _pieces(data, piece)
    return lambda: _tell(client, parts)


def _outstanding(dialect: Dialect, requests: Sequence[Request[object]], engine: Engine, piece: int = _LARGE) -> Run:
    """Many requests are sent; then all replies are read."""

    def send(client: ClientConnection) -> bytes:
        return b"".join([client.send(request).data for request in requests])

    client = _client(dialect)
    parts = _pieces(_answered(send(_client(dialect)), engine), piece)

    def run() -> int:
        send(client)
        return _tell(client, parts)

    return run


def _quiet(dialect: Dialect, count: int) -> Run:
    def send(client: ClientConnection) -> bytes:
        data = b"".join([client.send_quiet(Set(key, b"v")).data for key in _keys(count)])
        return data + client.send(Noop()).data

    client = _client(dialect)
    data = _answered(send(_client(dialect)), _filled(()))

    def run() -> int:
        send(client)
        return _tell(client, [data])

    return run


def _abandoned(dialect: Dialect, count: int) -> Run:
    client = _client(dialect)
    data = b""
    for key in _keys(count):
        exchange = client.send(Get((key,)))
        client.abandon(exchange)
        data += exchange.data
    said = _answered(data, _filled(()))
    return lambda: _tell(client, [said])


@_scenario("binary client, quiet requests before a quit")
def _quit(count: int) -> Run:
    client = _client(Dialect.BINARY)
    for key in _keys(count):
        client.send_quiet(Set(key, b"v"))
    client.send(Quit())

    def run() -> int:
        client.receive_eof()
        replies = 0
        while isinstance(client.next_event(), ReplyReceived):
            replies += 1
        return replies

    return run


def _of_each_dialect(dialect: Dialect) -> dict[str, Scenario]:
    def ends(count: int) -> Engine:
        return _filled([_keys(count)[-1]])

    return {
        "keys of a get, all are there": lambda count: _asks(dialect, Get(_keys(count)), _filled(_keys(count))),
        "keys of a get, none is there": lambda count: _asks(dialect, Get(_keys(count)), _filled(())),
        "keys of a get, the last is there": lambda count: _asks(dialect, Get(_keys(count)), ends(count)),
        "keys of a get and touch": lambda count: _asks(dialect, Get(_keys(count), 9), _filled(_keys(count))),
        "one key many times in a get": lambda count: _asks(dialect, Get((b"key",) * count), _filled([b"key"])),
        "keys of a get, in pieces": lambda count: _asks(dialect, Get(_keys(count)), _filled(_keys(count)), 7),
        "keys of a get, none is there, in pieces": lambda count: _asks(dialect, Get(_keys(count)), _filled(()), 7),
        "requests outstanding": lambda count: _outstanding(
            dialect, [Get((key,)) for key in _keys(count)], _filled(_keys(count))
        ),
        "requests of all kinds outstanding, in pieces": lambda count: _outstanding(
            dialect,
            [kind for key in _keys(count) for kind in (Delete(key), Increment(key), Version())],
            _filled(_keys(count)),
            7,
        ),
        "quiet requests": lambda count: _quiet(dialect, count),
        "abandoned requests": lambda count: _abandoned(dialect, count),
        "pieces of a value": lambda count: _asks(dialect, Get((b"key",)), _with_value(count), 3),
    }


def _with_value(count: int) -> Engine:
    engine = _filled(())
    engine.execute(Set(b"key", b"v" * count), 1.0)
    return engine


for _dialect in Dialect:
    for _name, _each in _of_each_dialect(_dialect).items():
        SCENARIOS[f"{_dialect.name.lower()} client, {_name}"] = _each


def _lines_of(line: bytes, count: int, end: bytes = b"END\r\n") -> bytes:
    return line * count + end


def _line_told(dialect: Dialect, request: AnyRequest, said: Callable[[int], bytes], piece: int, count: int) -> Run:
    return _is_told(dialect, request, said(count), piece)


_SAID: tuple[tuple[str, Dialect, AnyRequest, Callable[[int], bytes]], ...] = (
    ("statistics", Dialect.CLASSIC, Stats(), lambda count: _lines_of(b"STAT name value\r\n", count)),
    ("lines of a dump", Dialect.CLASSIC, AdminCommand((b"lru_crawler", b"metadump", b"all")),
     lambda count: _lines_of(b"key=k exp=-1\r\n", count)),
    ("lines of detailed statistics", Dialect.CLASSIC, Stats(b"detail dump"),
     lambda count: _lines_of(b"PREFIX p get 1\r\n", count)),
    ("words of a VALUE line", Dialect.CLASSIC, Get((b"key",)),
     lambda count: b"VALUE key 0 0" + b" 1" * count + b"\r\n"),
    ("spaces of a VALUE line", Dialect.CLASSIC, Get((b"key",)),
     lambda count: b"VALUE key" + b" " * count + b"0 0 1\r\n\r\nEND\r\n"),
    ("bytes of a line that fits nothing", Dialect.CLASSIC, Get((b"key",)), lambda count: b"x" * count + b"\r\n"),
    ("bytes of a text of an error", Dialect.CLASSIC, Get((b"key",)),
     lambda count: b"SERVER_ERROR " + b"x" * count + b"\r\n"),
    ("flags of a reply", Dialect.META, Get((b"k",)), lambda count: b"HD" + b" kk" * count + b"\r\n"),
    ("flags of a reply to a store", Dialect.META, Set(b"k", b"v"), lambda count: b"HD" + b" c1" * count + b" O0\r\n"),
    ("flags of a miss", Dialect.META, Get((b"k",)), lambda count: b"EN" + b" kk" * count + b" O0\r\n"),
    ("opaques of a reply", Dialect.META, Get((b"k",)), lambda count: b"EN" + b" O0" * count + b" kk\r\n"),
)  # fmt: skip

for _name, _dialect, _request, _said in _SAID:
    _side = f"{_dialect.name.lower()} client, {_name}"
    SCENARIOS[_side] = partial(_line_told, _dialect, _request, _said, _LARGE)
    SCENARIOS[f"{_side}, byte by byte"] = partial(_line_told, _dialect, _request, _said, 1)


@_scenario("meta client, fields of an item")
def _read_fields(count: int) -> Run:
    return _is_told(Dialect.META, MetaDebug(b"k"), b"ME k" + b" name=value" * count + b"\r\n")


@_scenario("binary client, statistics")
def _told_statistics(count: int) -> Run:
    reply = encode_reply(StatsReply(tuple((key, b"1") for key in _keys(count))), BinaryEnvelope(Stats(), 0x10))
    return _is_told(Dialect.BINARY, Stats(), reply)


@_scenario("binary client, statistics, in pieces")
def _told_statistics_in_pieces(count: int) -> Run:
    reply = encode_reply(StatsReply(tuple((key, b"1") for key in _keys(count))), BinaryEnvelope(Stats(), 0x10))
    return _is_told(Dialect.BINARY, Stats(), reply, 7)


@_scenario("binary client, names of mechanisms")
def _told_mechanisms(count: int) -> Run:
    reply = encode_reply(Mechanisms(_keys(count)), BinaryEnvelope(SaslList(), 0x20))
    return _is_told(Dialect.BINARY, SaslList(), reply)


@_scenario("client, requests outstanding when it is closed")
def _closed(count: int) -> Run:
    client = _client(Dialect.BINARY)
    for key in _keys(count):
        client.send(Get((key,)))
    return client.close


# --- datagrams

_OPEN = ReassemblyLimits(messages=_LARGE, held=1 << 40, timeout=10.0)


def _part(request_id: int, sequence: int = 0, total: int = 2, payload: bytes = b"x") -> bytes:
    return encode_datagram(Datagram(request_id, sequence, total, payload=payload))


def _reassembler(count: int, limits: ReassemblyLimits = _OPEN) -> Reassembler:
    """One that has so many unfinished messages."""
    reassembler = Reassembler(limits)
    for number in range(count):
        reassembler.feed(_part(number & 0xFFFF), 0.0, number >> 16)
    return reassembler


@_scenario("datagrams, unfinished messages that are forgotten")
def _forgotten(count: int) -> Run:
    reassembler = _reassembler(count)

    def run() -> None:
        for number in range(count):
            reassembler.forget(number & 0xFFFF, number >> 16)

    return run


@_scenario("datagrams, messages of one request that are forgotten")
def _totals(count: int) -> Run:
    reassembler = Reassembler(_OPEN)
    for total in range(2, count + 2):
        reassembler.feed(_part(1, 0, total), 0.0)
    return lambda: reassembler.forget(1)


@_scenario("datagrams, unfinished messages whose time is over")
def _expired(count: int) -> Run:
    reassembler = _reassembler(count)
    return lambda: reassembler.expire(20.0)


@_scenario("datagrams, messages that are finished in order")
def _finished(count: int) -> Run:
    reassembler = _reassembler(count)
    parts = [(_part(number & 0xFFFF, 1), number >> 16) for number in range(count)]
    return lambda: sum(reassembler.feed(part, 0.0, peer) is not None for part, peer in parts)


@_scenario("datagrams, messages of one datagram behind those that are finished")
def _behind(count: int) -> Run:
    reassembler = _reassembler(2 * count)
    for number in range(count):
        reassembler.feed(_part(number & 0xFFFF, 1), 0.0, number >> 16)
    single = _part(0, 0, 1)
    return lambda: sum(reassembler.feed(single, 0.0) is not None for _ in range(count))


@_scenario("datagrams, messages over the limit")
def _dropped(count: int) -> Run:
    reassembler = _reassembler(count, ReassemblyLimits(messages=count))
    parts = [_part(number & 0xFFFF) for number in range(count)]
    return lambda: sum(reassembler.feed(part, 0.0, b"another") is not None for part in parts)


@_scenario("datagrams, those of one message in reverse order")
def _reversed(count: int) -> Run:
    reassembler = Reassembler(_OPEN)
    parts = [_part(1, sequence, count) for sequence in reversed(range(count))]
    return lambda: sum(reassembler.feed(part, 0.0) is not None for part in parts)


@_scenario("datagrams, one reply that is split")
def _split(count: int) -> Run:
    payload = bytes(10 * count)
    return lambda: split(payload, 1, 10)


class _Host:
    """What the reference server has of a host, as far as a datagram needs one."""

    requests_per_turn = 1
    datagrams_per_reply = _LARGE
    bytes_read = bytes_written = 0

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def connection(self) -> ServerConnection:
        return ServerConnection(LIMITS)

    def commit(self) -> bool:
        return True

    def now(self) -> float:
        return 0.0

    def execute(self, request: AnyRequest, now: float) -> AnyReply:
        return self.engine.execute(request, now)


@_scenario("datagrams of the reference server, hits of a get")
def _hits_by_datagram(count: int) -> Run:
    data = encode_datagram(Datagram(1, payload=b"get " + b" ".join(_keys(count)) + b"\r\n"))
    return Conversation(_Host(_filled(_keys(count))), data, ("127.0.0.1", 1)).turn
