"""What type checkers know of a client connection: each request names the type of its reply."""

from __future__ import annotations

from typing import assert_type

from memproto import (
    Add,
    AdminCommand,
    AdminReply,
    Append,
    Authenticated,
    Challenge,
    ClientConnection,
    Counter,
    Decrement,
    Delete,
    Deleted,
    Dialect,
    Exchange,
    Failure,
    Flush,
    Get,
    Increment,
    Item,
    Mechanisms,
    MetaDebug,
    MetaDebugReply,
    Noop,
    Ok,
    Packet,
    Prepend,
    Quit,
    RawReply,
    Replace,
    SaslAuth,
    SaslList,
    SaslStep,
    Set,
    Silence,
    Stats,
    StatsReply,
    Stored,
    Touch,
    Touched,
    Unknown,
    UnknownLine,
    Values,
    Verbosity,
    Version,
    VersionReply,
)


def test_type_of_an_exchange_follows_from_its_request() -> None:
    send = ClientConnection().send
    assert_type(send(Get((b"k",))), Exchange[Values])
    assert_type(send(Set(b"k", b"v")), Exchange[Stored])
    assert_type(send(Add(b"k", b"v")), Exchange[Stored])
    assert_type(send(Replace(b"k", b"v")), Exchange[Stored])
    assert_type(send(Append(b"k", b"v")), Exchange[Stored])
    assert_type(send(Prepend(b"k", b"v")), Exchange[Stored])
    assert_type(send(Delete(b"k")), Exchange[Deleted])
    assert_type(send(Increment(b"k")), Exchange[Counter])
    assert_type(send(Decrement(b"k")), Exchange[Counter])
    assert_type(send(Touch(b"k")), Exchange[Touched])
    assert_type(send(Flush()), Exchange[Ok])
    assert_type(send(Stats()), Exchange[StatsReply])
    assert_type(send(Version()), Exchange[VersionReply])
    assert_type(send(Verbosity(1)), Exchange[Ok])
    assert_type(send(Noop()), Exchange[Ok])
    assert_type(send(SaslList()), Exchange[Mechanisms])
    assert_type(send(SaslAuth(b"PLAIN")), Exchange[Authenticated | Challenge])
    assert_type(send(SaslStep(b"PLAIN")), Exchange[Authenticated | Challenge])
    assert_type(send(Unknown(Packet(0x80, 0x50))), Exchange[RawReply])
    assert_type(send(Quit()), Exchange[Ok])
    text = ClientConnection(dialect=Dialect.CLASSIC).send
    assert_type(text(AdminCommand((b"slabs", b"automove", b"0"))), Exchange[AdminReply])
    assert_type(text(UnknownLine(b"what")), Exchange[RawReply])
    assert_type(ClientConnection(dialect=Dialect.META).send(MetaDebug(b"k")), Exchange[MetaDebugReply])


def test_a_reply_is_of_that_type_a_failure_or_not_there_yet() -> None:
    client = ClientConnection(dialect=Dialect.CLASSIC)
    exchange = client.send(Get((b"k",)))
    assert_type(exchange.reply, Values | Failure | None)
    client.receive_data(b"VALUE k 0 1 9\r\nv\r\nEND\r\n")
    client.next_event()
    reply = exchange.reply
    assert isinstance(reply, Values)
    assert_type(reply.items, tuple[Item, ...])
    assert [item.value for item in reply.items] == [b"v"]


def test_type_of_a_quiet_exchange_includes_silence() -> None:
    exchange = ClientConnection().send_quiet(Set(b"k", b"v"))
    assert_type(exchange, Exchange[Stored | Silence])
    assert_type(exchange.reply, Stored | Silence | Failure | None)
    assert exchange.quiet
