"""What is measured: the same packets decoded and encoded by memproto, and by its rivals."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmarks import _wire as wire
from benchmarks._rivals import (
    bmemcached_call,
    bmemcached_decodes,
    construct_decodes,
    construct_encodes,
    floor_decodes,
    floor_encodes,
)
from benchmarks._timing import BATCH, Match, Timer, batched, repeated
from memproto import AnyReply, ClientConnection, Envelope, Get, Limits, ServerConnection, Set
from memproto._wire.buffer import ReceiveBuffer
from memproto.binary import decode_request
from memproto.binary._client import BinaryClient
from memproto.binary._layout import FLAGS, OPCODES, STORE
from memproto.binary._server import BinaryServer
from memproto.binary._server_replies import reply_parts

CONNECTION, CODEC, CONSTRUCT, COMPILED, BMEMCACHED, FLOOR = CONTESTANTS = (
    "memproto connection",
    "memproto codec",
    "construct",
    "construct compiled",
    "python-binary-memcached",
    "struct",
)


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


def _server_encodes(request: bytes, reply: AnyReply) -> Timer:
    def prepare(size: int) -> Callable[[], None]:
        connection = ServerConnection()
        connection.receive_data(request * size)
        events = [connection.next_event() for _ in range(size)]
        envelopes = [event for event in events if isinstance(event, Envelope)]

        def run() -> None:
            send = connection.send
            for envelope in envelopes:
                send(reply, envelope)

        return run

    return batched(prepare)


def _client_decodes(request: Get | Set, reply: bytes) -> Timer:
    replies = [wire.with_opaque(reply, opaque) for opaque in range(BATCH)]

    def prepare(size: int) -> Callable[[], None]:
        connection = ClientConnection()
        for _ in range(size):
            connection.send(request)

        def run() -> None:
            receive_data, next_event = connection.receive_data, connection.next_event
            for data in replies[:size]:
                receive_data(data)
                next_event()

        return run

    return batched(prepare)


def _client_encodes(request: Get | Set) -> Timer:
    def prepare(size: int) -> Callable[[], None]:
        send = ClientConnection().send

        def run() -> None:
            for _ in range(size):
                send(request).data  # noqa: B018

        return run

    return batched(prepare)


def _client_exchanges(request: Get | Set, reply: bytes) -> Timer:
    replies = [wire.with_opaque(reply, opaque) for opaque in range(BATCH)]

    def prepare(size: int) -> Callable[[], None]:
        connection = ClientConnection()

        def run() -> None:
            for data in replies[:size]:
                connection.send(request).data  # noqa: B018
                connection.receive_data(data)
                connection.next_event()

        return run

    return batched(prepare)


def _codec_reads(data: bytes) -> Timer:
    buffer, server = ReceiveBuffer(), BinaryServer(Limits())

    def run() -> object:
        buffer.feed(data)
        return server.read(buffer)

    return repeated(run)


def _codec_reads_reply(request: bytes, reply: bytes) -> Timer:
    limits, buffer = Limits(), ReceiveBuffer()
    exchange = BinaryClient(limits).encode(decode_request(request).request)
    read = exchange._reader.read

    def run() -> object:
        buffer.feed(reply)
        return read(buffer, exchange, limits)

    return repeated(run)


def _codec_writes(request: bytes) -> Timer:
    message = decode_request(request).request
    encode = BinaryClient(Limits()).encode
    return repeated(lambda: b"".join(encode(message).parts))


def _codec_writes_reply(request: bytes, reply: AnyReply) -> Timer:
    envelope = decode_request(request)
    spec = OPCODES[envelope.opcode]
    return repeated(lambda: b"".join(reply_parts(reply, envelope, spec)))


# --- the matches


def matches() -> Iterator[Match]:
    """All that is measured."""
    for name, request, request_data, reply, reply_data, in_request, in_reply in (
        ("SET", wire.SET, wire.SET_REQUEST, wire.STORED, wire.SET_REPLY, STORE, None),
        ("GET", wire.GET, wire.GET_REQUEST, wire.HIT, wire.GET_REPLY, None, FLAGS),
    ):
        yield Match(
            f"decode {name} request, {len(request_data)} bytes",
            {
                CONNECTION: _server_decodes(request_data),
                CODEC: _codec_reads(request_data),
                CONSTRUCT: construct_decodes(request_data, in_request, False),
                COMPILED: construct_decodes(request_data, in_request, True),
                FLOOR: floor_decodes(request_data, ">II" if in_request else ""),
            },
        )
        yield Match(
            f"encode {name} request, {len(request_data)} bytes",
            {
                CONNECTION: _client_encodes(request),
                CODEC: _codec_writes(request_data),
                CONSTRUCT: construct_encodes(request_data, in_request, False),
                COMPILED: construct_encodes(request_data, in_request, True),
                BMEMCACHED: bmemcached_call(request, reply_data, True),
                FLOOR: floor_encodes(request_data, ">II" if in_request else ""),
            },
        )
        yield Match(
            f"decode {name} reply, {len(reply_data)} bytes",
            {
                CONNECTION: _client_decodes(request, reply_data),
                CODEC: _codec_reads_reply(request_data, reply_data),
                CONSTRUCT: construct_decodes(reply_data, in_reply, False),
                COMPILED: construct_decodes(reply_data, in_reply, True),
                BMEMCACHED: bmemcached_decodes(reply_data, in_reply is not None),
                FLOOR: floor_decodes(reply_data, ">I" if in_reply else ""),
            },
        )
        yield Match(
            f"encode {name} reply, {len(reply_data)} bytes",
            {
                CONNECTION: _server_encodes(request_data, reply),
                CODEC: _codec_writes_reply(request_data, reply),
                CONSTRUCT: construct_encodes(reply_data, in_reply, False),
                COMPILED: construct_encodes(reply_data, in_reply, True),
                FLOOR: floor_encodes(reply_data, ">I" if in_reply else ""),
            },
        )
        yield Match(
            f"{name} exchange of a client",
            {
                CONNECTION: _client_exchanges(request, reply_data),
                BMEMCACHED: bmemcached_call(request, reply_data, False),
            },
        )
