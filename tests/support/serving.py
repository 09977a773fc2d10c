"""A server connection fed with bytes, and all that there is to see of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from memproto import (
    AnyReply,
    AnyRequest,
    BinaryEnvelope,
    ConnectionClosed,
    Dialect,
    Envelope,
    Limits,
    Noop,
    OpcodeSpec,
    RemoteProtocolError,
    ServerConnection,
    Signal,
    Version,
)
from tests.support.stubs import stub_for
from tests.support.wire import NOOP_REPLY, NOOP_REQUEST, each_byte

E = TypeVar("E", bound=Envelope)

TEXT = (Dialect.CLASSIC, Dialect.META)


@dataclass
class Served(Generic[E]):
    """What a server connection made of its input."""

    events: list[E] = field(default_factory=list)
    output: bytes = b""
    fault: str | None = None
    closed: bool = False

    @property
    def requests(self) -> list[AnyRequest]:
        return [event.request for event in self.events]


def serve(
    pieces: Iterable[bytes],
    answer: Callable[[Envelope], AnyReply] = stub_for,
    *,
    limits: Limits | None = None,
    auth_required: bool = False,
    dialects: Collection[Dialect] = tuple(Dialect),
    eof: bool = False,
) -> Served[Envelope]:
    """Feed the pieces to a server, answer each request at once, and collect all there is to see."""
    server = ServerConnection(limits, auth_required=auth_required, dialects=dialects)
    return _feed(server, pieces, answer, Envelope, eof=eof)


def serve_binary(
    pieces: Iterable[bytes],
    answer: Callable[[BinaryEnvelope], AnyReply] = stub_for,
    *,
    limits: Limits | None = None,
    auth_required: bool = False,
    opcodes: Iterable[OpcodeSpec] = (),
    eof: bool = False,
) -> Served[BinaryEnvelope]:
    """The same with a server of binary alone."""
    server = ServerConnection(limits, auth_required=auth_required, dialects={Dialect.BINARY}, opcodes=opcodes)
    return _feed(server, pieces, answer, BinaryEnvelope, eof=eof)


def serve_three_ways(
    data: bytes,
    answer: Callable[[Envelope], AnyReply] = stub_for,
    *,
    limits: Limits | None = None,
    auth_required: bool = False,
    dialects: Collection[Dialect] = tuple(Dialect),
) -> Served[Envelope]:
    """Serve the bytes whole, byte by byte, and with ``version`` behind them; the outcome of the first, if all agree."""

    def run(pieces: Iterable[bytes]) -> Served[Envelope]:
        return serve(pieces, answer, limits=limits, auth_required=auth_required, dialects=dialects)

    whole, trailed = _two_ways(run, data), run([data + b"version\r\n"])
    if whole.closed:
        assert trailed == whole
    elif not auth_required and Dialect.CLASSIC in dialects:
        assert trailed.requests == [*whole.requests, Version()]
        assert trailed.output == whole.output + b"VERSION 1.6.18\r\n"
    return whole


def serve_binary_three_ways(
    data: bytes,
    answer: Callable[[BinaryEnvelope], AnyReply] = stub_for,
    *,
    limits: Limits | None = None,
    auth_required: bool = False,
    opcodes: Iterable[OpcodeSpec] = (),
) -> Served[BinaryEnvelope]:
    """The same with a server of binary alone, and with a NOOP behind them."""
    own = tuple(opcodes)

    def run(pieces: Iterable[bytes]) -> Served[BinaryEnvelope]:
        return serve_binary(pieces, answer, limits=limits, auth_required=auth_required, opcodes=own)

    whole, trailed = _two_ways(run, data), run([data + NOOP_REQUEST])
    if whole.closed:
        assert trailed == whole
    elif not auth_required:
        assert trailed.requests == [*whole.requests, Noop()]
        assert trailed.output == whole.output + NOOP_REPLY
    return whole


def _two_ways(run: Callable[[Iterable[bytes]], Served[E]], data: bytes) -> Served[E]:
    whole = run([data])
    assert run(each_byte(data)) == whole
    return whole


def _feed(
    server: ServerConnection, pieces: Iterable[bytes], answer: Callable[[E], AnyReply], kind: type[E], *, eof: bool
) -> Served[E]:
    served: Served[E] = Served()
    for piece in pieces:
        server.receive_data(piece)
        _pull(server, served, answer, kind)
    if eof:
        server.receive_eof()
        _pull(server, served, answer, kind)
    return served


def _pull(server: ServerConnection, served: Served[E], answer: Callable[[E], AnyReply], kind: type[E]) -> None:
    while served.fault is None:
        try:
            event = server.next_event()
        except RemoteProtocolError as fault:
            served.fault = str(fault)
            served.closed = True
            served.output += fault.reply_hint
            return
        if isinstance(event, Signal):
            return
        if isinstance(event, ConnectionClosed):
            served.closed = True
            return
        assert isinstance(event, kind)
        served.events.append(event)
        served.output += server.send(answer(event), event)
