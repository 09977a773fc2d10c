from __future__ import annotations

import copy
import inspect
import pickle
import typing

import pytest
from hypothesis import find, given
from hypothesis import strategies as st

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
    ClusterConfigReply,
    ClusterNode,
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
    Message,
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
from memproto._fields import field_names
from memproto.engine import Engine
from memproto.model.request_base import _Request
from memproto.testing import keys, replies, replies_to, requests, values
from tests.support.wrong_types import REPLIES as REPLY_SAMPLES
from tests.support.wrong_types import REQUESTS as REQUEST_SAMPLES

REQUESTS = typing.get_args(AnyRequest)
REPLIES = typing.get_args(AnyReply)
ENVELOPES = (Envelope, BinaryEnvelope, ClassicEnvelope, MetaEnvelope)
MESSAGES: list[type[Message]] = [
    kind
    for kind in vars(messages).values()
    if isinstance(kind, type) and issubclass(kind, Message) and kind is not Message
]


def test_every_message_of_the_module_is_in_its_union() -> None:
    parts = {Packet, Silence, Item, ItemMeta, MetaOptions, ClusterNode}
    assert set(MESSAGES) == {*REQUESTS, *REPLIES, *parts, *ENVELOPES}


@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.__name__)
def test_a_request_names_the_replies_that_its_annotation_says(kind: type[Request[object]]) -> None:
    returned: object = typing.get_type_hints(kind.reply_types)["return"]
    replies = typing.get_args(typing.get_args(returned)[0])[0]
    assert kind.reply_types() == (typing.get_args(replies) or (replies,))  # type: ignore[call-arg]
    assert set(kind.reply_types()) <= set(REPLIES) - {Failure}  # type: ignore[call-arg]


def test_a_request_class_without_a_reply_is_an_error() -> None:
    class Own(_Request):
        pass

    with pytest.raises(NotImplementedError):
        Own().reply_types()


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
def test_the_fields_of_a_message_are_the_parameters_of_its_init_and_its_slots(kind: type[Message]) -> None:
    names = field_names(kind)
    parameters = tuple(inspect.signature(kind).parameters)
    slots = [slot for base in kind.__mro__ for slot in vars(base).get("__slots__", ())]
    assert names == parameters
    assert sorted(names) == sorted(slots)
    assert set(kind._not_shown) <= set(kind._not_compared) <= set(names)
    assert "__slots__" in vars(kind)
    assert not hasattr(object.__new__(kind), "__dict__")


@pytest.mark.parametrize("kind", [kind for kind in MESSAGES if kind is not Envelope], ids=lambda kind: kind.__name__)
def test_the_class_of_a_message_is_final(kind: type[Message]) -> None:
    assert kind.__final__  # type: ignore[attr-defined]


@pytest.mark.parametrize("message", [*REQUEST_SAMPLES, *REPLY_SAMPLES], ids=lambda message: type(message).__name__)
def test_a_message_that_is_copied_pickled_or_replaced_is_equal_and_another(message: Message) -> None:
    copies = (copy.copy(message), copy.deepcopy(message), pickle.loads(pickle.dumps(message)), message.replace())
    for each in copies:
        assert each is not message
        assert type(each) is type(message)
        assert each == message
        assert repr(each) == repr(message)
        assert hash(each) == hash(message)


def test_replace_changes_the_named_fields_and_keeps_the_others() -> None:
    kept = Set(b"k", b"v", 1, 2, 3, MetaOptions(bump=False), strict=True, unlink=False)
    changed = kept.replace(value=b"w", cas=0)
    assert changed == Set(b"k", b"w", 1, 2, 0, MetaOptions(bump=False))
    assert (changed.strict, changed.unlink) == (True, False)
    assert kept.value == b"v"
    assert kept.__replace__(cas=4) == kept.replace(cas=4)
    envelope = ClassicEnvelope(kept, b"set", line=b"set k")
    assert envelope.replace(request=Noop()).line == b"set k"


def test_replace_with_an_unknown_field_is_an_error_that_names_it() -> None:
    with pytest.raises(TypeError, match="'colour'"):
        Stored().replace(colour=1)


def test_the_repr_of_a_message_shows_its_fields() -> None:
    assert repr(Get((b"k",))) == "Get(keys=(b'k',), exptime=None, meta=None)"
    assert repr(Noop()) == "Noop()"
    assert repr(Append(b"k", b"v", flags=1)) == "Append(key=b'k', value=b'v', cas=0, meta=None)"
    assert repr(MetaEnvelope(Noop(), b"mn")) == "MetaEnvelope(request=Noop(), command=b'mn', flags=(), line=b'')"


def test_a_message_is_matched_by_position() -> None:
    match Counter(5, 7):
        case Counter(value, cas, meta):
            assert (value, cas, meta) == (5, 7, None)
        case _:
            pytest.fail("no match")


def test_a_message_is_equal_to_nothing_of_another_class() -> None:
    assert Stored() != 0
    assert Stored().__eq__(Deleted()) is NotImplemented


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


@given(st.data())
def test_every_reply_to_a_request_is_a_failure_or_of_the_types_that_the_request_names(data: st.DataObject) -> None:
    request = data.draw(requests())
    reply = data.draw(replies_to(request))
    assert type(reply) in (*request.reply_types(), Failure)
    answered = Engine().execute(request, 1.0)
    assert type(answered) in (*request.reply_types(), Failure)


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
    (ClusterConfigReply(1), ClusterConfigReply(1, ())),
]


@pytest.mark.parametrize(("short", "long"), DEFAULTS, ids=lambda message: type(message).__name__)
def test_what_a_message_leaves_out_has_this_value(short: object, long: object) -> None:
    assert short == long
