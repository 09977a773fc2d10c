"""What many test modules need: literal bytes, stub replies, and readers that run every example three ways."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from memproto import (
    Add,
    AnyReply,
    AnyRequest,
    Append,
    Authenticated,
    BinaryEnvelope,
    ClientConnection,
    ConnectionClosed,
    Counter,
    Decrement,
    Delete,
    Deleted,
    Dialect,
    Flush,
    Get,
    Increment,
    InvalidRequest,
    Limits,
    Mechanisms,
    Noop,
    Ok,
    OpcodeSpec,
    Prepend,
    Quit,
    RawReply,
    RemoteProtocolError,
    Replace,
    ReplyReceived,
    SaslAuth,
    SaslList,
    SaslStep,
    ServerConnection,
    Set,
    Signal,
    Silence,
    Stats,
    StatsReply,
    Stored,
    Touch,
    Touched,
    Unknown,
    Values,
    Verbosity,
    Version,
    VersionReply,
)
from memproto.binary import decode_reply
from tests.support.serving import Served, feed

DATA = Path(__file__).parent.parent / "data"

NOOP_REQUEST = bytes.fromhex("800a0000 00000000 00000000 0000feed 0000000000000000")
NOOP_REPLY = bytes.fromhex("810a0000 00000000 00000000 0000feed 0000000000000000")


def wire(text: str) -> bytes:
    """Bytes from hex, in which ``'...'`` stands for ASCII text."""
    parts = text.split("'")
    return b"".join(part.encode() if index % 2 else bytes.fromhex(part) for index, part in enumerate(parts))


def each_byte(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


_STUBS: dict[type[AnyRequest], AnyReply] = {
    Get: Values(),
    Set: Stored(1),
    Add: Stored(1),
    Replace: Stored(1),
    Append: Stored(1),
    Prepend: Stored(1),
    Delete: Deleted(),
    Increment: Counter(1),
    Decrement: Counter(1),
    Touch: Touched(0),
    Flush: Ok(),
    Stats: StatsReply(),
    Version: VersionReply(b"1.6.18"),
    Verbosity: Ok(),
    Noop: Ok(),
    Quit: Ok(),
    SaslList: Mechanisms((b"PLAIN",)),
    SaslAuth: Authenticated(),
    SaslStep: Authenticated(),
    Unknown: RawReply(0x81, value=b"Unknown command"),
}


def stub(request: AnyRequest) -> AnyReply:
    """A reply that says the least: a miss for gets, success for the rest, a refusal of what is unknown."""
    return request.reply if isinstance(request, InvalidRequest) else _STUBS[type(request)]


def serve(
    pieces: Iterable[bytes],
    answer: Callable[[BinaryEnvelope], AnyReply] = lambda envelope: stub(envelope.request),
    *,
    limits: Limits | None = None,
    auth_required: bool = False,
    opcodes: Iterable[OpcodeSpec] = (),
    eof: bool = False,
) -> Served[BinaryEnvelope]:
    """Feed the pieces to a server of binary alone, answer each request at once, and collect all there is to see."""
    server = ServerConnection(limits, auth_required=auth_required, dialects={Dialect.BINARY}, opcodes=opcodes)
    return feed(server, pieces, answer, BinaryEnvelope, eof=eof)


def serve_three_ways(
    data: bytes,
    answer: Callable[[BinaryEnvelope], AnyReply] = lambda envelope: stub(envelope.request),
    *,
    limits: Limits | None = None,
    auth_required: bool = False,
    opcodes: Iterable[OpcodeSpec] = (),
) -> Served[BinaryEnvelope]:
    """Serve the bytes whole, byte by byte, and with a NOOP behind them; the outcome of the first, if all agree."""
    own = tuple(opcodes)

    def run(pieces: Iterable[bytes]) -> Served[BinaryEnvelope]:
        return serve(pieces, answer, limits=limits, auth_required=auth_required, opcodes=own)

    whole = run([data])
    assert run(each_byte(data)) == whole
    trailed = run([data + NOOP_REQUEST])
    if whole.closed:
        assert trailed == whole
    elif not auth_required:
        assert trailed.requests == [*whole.requests, Noop()]
        assert trailed.output == whole.output + NOOP_REPLY
    return whole


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


def tell_three_ways(ask: Callable[[ClientConnection], object], data: bytes, limits: Limits | None = None) -> Told:
    """Tell a client the bytes whole, byte by byte, and with the answer to a last NOOP behind them."""

    def fresh() -> ClientConnection:
        client = ClientConnection(limits)
        ask(client)
        return client

    whole = tell(fresh(), [data])
    assert tell(fresh(), each_byte(data)) == whole
    client = fresh()
    if whole.fault is None:
        noop = client.send(Noop()).data
        assert tell(client, [data + b"\x81" + noop[1:]]) == Told([*whole.replies, Ok()])
    else:
        assert tell(client, [data + NOOP_REPLY]) == whole
    return whole


@dataclass(frozen=True)
class Vector:
    """One recorded exchange."""

    name: str
    request: bytes
    reply: bytes
    closes: bool
    volatile: bool
    arguments: tuple[str, ...]


def vectors() -> list[Vector]:
    rows = json.loads((DATA / "vectors.json").read_text())
    return [
        Vector(
            asked["name"].removesuffix(".req"),
            bytes.fromhex(asked["hex"]),
            bytes.fromhex(told["hex"]),
            bool(told.get("closes")),
            bool(told.get("volatile")),
            tuple(asked.get("server_args") or ()),
        )
        for asked, told in zip(rows[::2], rows[1::2], strict=True)
    ]


Chunk = tuple[int, str, bytes]


def sessions() -> dict[str, list[Chunk]]:
    """Every recorded session: its chunks as (connection, direction, bytes), in the order seen."""
    return {
        path.stem: [
            (row["conn"], row["dir"], bytes.fromhex(row["hex"]))
            for row in map(json.loads, path.read_text().splitlines())
        ]
        for path in sorted((DATA / "sessions").glob("*.jsonl"))
    }


def frames(data: bytes) -> list[bytes]:
    """Cut a stream of packets at the lengths in their headers, without the code under test."""
    found = []
    while data:
        size = 24 + int.from_bytes(data[8:12], "big")
        assert len(data) >= size
        found.append(data[:size])
        data = data[size:]
    return found


_ECHO_KEY = (0x0C, 0x0D, 0x23, 0x24)


def recorded_reply(waiting: list[bytes], to: BinaryEnvelope) -> bytes:
    """Take what answers this request off the front of the recorded reply packets; empty if it got silence."""
    taken = b""
    while waiting and _is_for(waiting[0], to):
        packet = waiting.pop(0)
        taken += packet
        # Only STAT has several packets, up to one without a key or one that is no success.
        if to.opcode != 0x10 or packet[2:4] == b"\0\0" or packet[6:8] != b"\0\0":
            break
    return taken


def _is_for(packet: bytes, to: BinaryEnvelope) -> bool:
    if packet[1] != to.opcode or packet[12:16] != to.opaque.to_bytes(4, "big"):
        return False
    # Some clients give all requests the same opaque, so that only the key tells quiet gets apart.
    if to.opcode not in _ECHO_KEY or packet[2:4] == b"\0\0":
        return True
    assert isinstance(to.request, Get)
    return packet[24 + packet[4] :].startswith(to.request.keys)


def answer_from(waiting: list[bytes]) -> Callable[[BinaryEnvelope], AnyReply]:
    """An answerer that says what was recorded, and has nothing to tell where nothing was."""

    def answer(to: BinaryEnvelope) -> AnyReply:
        recorded = recorded_reply(waiting, to)
        if isinstance(to.request, InvalidRequest) or not recorded:
            return stub(to.request)
        return decode_reply(recorded, to)

    return answer
