from __future__ import annotations

import typing

import pytest
from hypothesis import find, given

from memproto import (
    Add,
    AdminReply,
    AnyReply,
    AnyRequest,
    Append,
    Authenticated,
    BinaryEnvelope,
    Challenge,
    ClassicEnvelope,
    Counter,
    Decrement,
    Delete,
    Deleted,
    Dialect,
    Envelope,
    Failure,
    Flush,
    Get,
    Increment,
    Item,
    ItemMeta,
    Mechanisms,
    MetaDebugReply,
    MetaEnvelope,
    MetaOptions,
    Noop,
    Ok,
    Packet,
    Prepend,
    Quit,
    RawReply,
    Replace,
    Request,
    SaslAuth,
    SaslStep,
    Set,
    Silence,
    Stats,
    StatsReply,
    Status,
    Stored,
    Touch,
    Touched,
    Values,
)
from memproto import model as messages
from memproto.testing import keys, replies, requests, values

REQUESTS = typing.get_args(AnyRequest)
REPLIES = typing.get_args(AnyReply)


def test_every_message_of_the_module_is_in_its_union() -> None:
    shapes = {kind for kind in vars(messages).values() if hasattr(kind, "__dataclass_fields__")}
    parts = {Packet, Silence, messages.Item, messages.ItemMeta, messages.MetaOptions}
    assert shapes == {*REQUESTS, *REPLIES, *parts}


@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.__name__)
def test_a_request_names_the_reply_that_answers_it(kind: type[Request[object]]) -> None:
    (base,) = kind.__orig_bases__  # type: ignore[attr-defined]
    assert typing.get_origin(base) is Request
    (answer,) = typing.get_args(base)
    assert set(typing.get_args(answer) or (answer,)) <= set(REPLIES)


@pytest.mark.parametrize("kind", [*REQUESTS, *REPLIES], ids=lambda kind: kind.__name__)
def test_messages_have_slots(kind: type[object]) -> None:
    assert "__slots__" in vars(kind)
    assert not hasattr(object.__new__(kind), "__dict__")


def test_messages_are_equal_by_type_and_value() -> None:
    assert Set(b"k", b"v") == Set(b"k", b"v", 0, 0, 0)
    assert hash(Set(b"k", b"v")) == hash(Set(b"k", b"v"))
    assert len({Set(b"k", b"v"), Add(b"k", b"v"), Replace(b"k", b"v")}) == 3
    assert len({Stored(), Deleted()}) == len({Noop(), Quit()}) == 2
    assert Ok() == Ok()
    assert Get((b"k",)) != Get((b"k",), 0)


def test_failure_reasons() -> None:
    assert Failure(Status.KEY_NOT_FOUND).reason == b"Not found"
    assert Failure(0x01).reason == b"Not found"
    assert Failure(0x01, b"").reason == b""
    assert Failure(0x86).reason == b""
    assert Failure(0x86, b"busy").reason == b"busy"


def test_packet_status() -> None:
    assert Packet(0x81, 0, vbucket_or_status=0x81).status is Status.UNKNOWN_COMMAND
    assert type(Packet(0x81, 0, vbucket_or_status=0x86).status) is int


def test_an_envelope_knows_its_dialect() -> None:
    assert BinaryEnvelope(Noop(), 0x0A).dialect is Dialect.BINARY
    assert ClassicEnvelope(Noop(), b"version").dialect is Dialect.CLASSIC
    assert MetaEnvelope(Noop(), b"mn").dialect is Dialect.META
    assert Envelope(Noop()).dialect is None


def test_the_line_of_an_envelope_is_not_compared() -> None:
    assert ClassicEnvelope(Noop(), b"version", False, b"version ") == ClassicEnvelope(Noop(), b"version")
    assert MetaEnvelope(Noop(), b"mn", (), b"mn ") == MetaEnvelope(Noop(), b"mn")
    assert MetaEnvelope(Noop(), b"mn", (b"O1",)) != MetaEnvelope(Noop(), b"mn")


@given(requests())
def test_requests_can_be_keys_of_a_dict(request: AnyRequest) -> None:
    assert {request: 1}[request] == 1
    assert isinstance(request, Request)


@given(replies())
def test_replies_can_be_keys_of_a_dict(reply: AnyReply) -> None:
    assert {reply: 1}[reply] == 1
    assert type(reply) in REPLIES


def test_the_smallest_example_is_the_simplest() -> None:
    assert find(requests(), lambda _: True) == Noop()
    assert find(keys(), lambda _: True) == b"\0"
    assert find(values(), lambda _: True) == b""
    assert find(replies(), lambda reply: isinstance(reply, Values)) == Values()


#: What a message means that leaves out all it may.
DEFAULTS: list[tuple[object, object]] = [
    (Get((b"k",)), Get((b"k",), None, None)),
    (Set(b"k", b"v"), Set(b"k", b"v", 0, 0, 0, None)),
    (Add(b"k", b"v"), Add(b"k", b"v", 0, 0, 0, None)),
    (Replace(b"k", b"v"), Replace(b"k", b"v", 0, 0, 0, None)),
    (Append(b"k", b"v"), Append(b"k", b"v", 0, None)),
    (Prepend(b"k", b"v"), Prepend(b"k", b"v", 0, None)),
    (Delete(b"k"), Delete(b"k", 0, None)),
    (Increment(b"k"), Increment(b"k", 1, 0, None, 0, None)),
    (Decrement(b"k"), Decrement(b"k", 1, 0, None, 0, None)),
    (Touch(b"k"), Touch(b"k", 0)),
    (Flush(), Flush(None)),
    (Stats(), Stats(b"")),
    (SaslAuth(b"PLAIN"), SaslAuth(b"PLAIN", b"")),
    (SaslStep(b"PLAIN"), SaslStep(b"PLAIN", b"")),
    (
        MetaOptions(),
        MetaOptions(
            vivify=None,
            recache=None,
            bump=True,
            unless_cas=0,
            new_cas=0,
            invalidate=False,
            exptime=None,
            drop_value=False,
            base64=False,
            details=False,
            ttl_first=False,
        ),
    ),
    (Failure(1), Failure(1, None)),
    (Item(b"k", b"v"), Item(b"k", b"v", 0, 0, False, None)),
    (ItemMeta(), ItemMeta(-1, False, 0, False, False, False, False, None)),
    (Values(), Values(())),
    (Stored(), Stored(0)),
    (Deleted(), Deleted(0)),
    (Counter(1), Counter(1, 0, None)),
    (Touched(), Touched(None, 0)),
    (StatsReply(), StatsReply(())),
    (Mechanisms(), Mechanisms(())),
    (Authenticated(), Authenticated(b"Authenticated")),
    (Challenge(), Challenge(b"")),
    (RawReply(), RawReply(0, b"", b"", b"", 0, 0)),
    (AdminReply(), AdminReply((b"OK",))),
    (MetaDebugReply(), MetaDebugReply(())),
]


@pytest.mark.parametrize(("short", "long"), DEFAULTS, ids=lambda message: type(message).__name__)
def test_what_a_message_leaves_out_has_this_value(short: object, long: object) -> None:
    assert short == long
