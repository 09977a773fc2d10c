"""Opcodes of one's own: features, buckets and what GET_META tells, through the wire and with literal bytes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from examples.couchbase import FEATURE, GET_META, HELLO, META, OPCODES, SELECT_BUCKET, request
from memproto import (
    AnyReply,
    AnyRequest,
    ClientConnection,
    Failure,
    Get,
    Noop,
    Ok,
    OpcodeSpec,
    RawReply,
    Set,
    Silence,
    Status,
    Stored,
    Values,
)
from tests.support.example_programs import connect, example, talk

NOT_FOUND = Failure(Status.KEY_NOT_FOUND)


class Client:
    def __init__(self, port: int, opcodes: tuple[OpcodeSpec, ...] = OPCODES) -> None:
        self.link, self.connection = connect(port), ClientConnection(opcodes=opcodes)

    def ask(self, request: AnyRequest) -> AnyReply | Silence:
        exchange = self.connection.send(request)
        self.link.sendall(exchange.data)
        while exchange.reply is None:
            self.connection.receive_data(self.link.recv(65536))
            self.connection.next_event()
        return exchange.reply


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with example("couchbase") as port:
        yield port


@contextmanager
def client(port: int, opcodes: tuple[OpcodeSpec, ...] = OPCODES) -> Iterator[Client]:
    made = Client(port, opcodes)
    with made.link:
        yield made


def test_hello_grants_the_features_that_the_server_has(port: int) -> None:
    asked = b"".join(FEATURE.pack(feature=number) for number in (0x0003, 0x0007, 0x0008))
    with client(port) as ours:
        assert ours.ask(request(HELLO, b"agent/1.0", asked)) == RawReply(value=b"\0\3\0\x08")
        assert ours.ask(request(HELLO)) == RawReply()
        assert ours.ask(request(HELLO, value=b"\0")) == RawReply()


def test_select_bucket_chooses_the_items_of_one_connection(port: int) -> None:
    with client(port) as ours, client(port) as theirs:
        assert isinstance(ours.ask(Set(b"key", b"default")), Stored)
        assert ours.ask(request(SELECT_BUCKET, b"users")) == RawReply()
        assert ours.ask(Get((b"key",))) == Values()
        assert isinstance(ours.ask(Set(b"key", b"users")), Stored)
        found = theirs.ask(Get((b"key",)))
        assert isinstance(found, Values)
        assert found.items[0].value == b"default"
        assert ours.ask(request(SELECT_BUCKET, b"absent")) == NOT_FOUND
        found = ours.ask(Get((b"key",)))
        assert isinstance(found, Values)
        assert found.items[0].value == b"users"


def test_get_meta_tells_flags_expiration_and_cas(port: int) -> None:
    with client(port) as ours:
        stored = ours.ask(Set(b"item", b"value", flags=7))
        assert isinstance(stored, Stored)
        extras = META.pack(deleted=0, flags=7, expiration=0, sequence=stored.cas)
        assert ours.ask(request(GET_META, b"item")) == RawReply(extras=extras, cas=stored.cas)
        before = int(time.time())
        ours.ask(Set(b"item", b"value", exptime=1000))
        reply = ours.ask(request(GET_META, b"item"))
        assert isinstance(reply, RawReply)
        assert before + 990 <= META.unpack(reply.extras)["expiration"] <= int(time.time()) + 1010
        assert ours.ask(request(GET_META, b"absent")) == NOT_FOUND


def test_packet_of_a_wrong_shape_is_refused_and_ends_the_connection(port: int) -> None:
    # SELECT_BUCKET without a key.
    said = talk(port, bytes.fromhex("80890000 00000000 00000000 00000007 0000000000000000"))
    assert said == bytes.fromhex("81890000 00000004 00000011 00000007 0000000000000000") + b"Invalid arguments"


def test_opcode_that_nobody_declared_is_unknown(port: int) -> None:
    with client(port, ()) as ours:
        assert ours.ask(request(OpcodeSpec(0xE0, "OTHER"))) == Failure(Status.UNKNOWN_COMMAND)
        assert ours.ask(Noop()) == Ok()
