"""What enters an engine: a wrong type is refused before anything changes; a request names the type of its reply."""

from __future__ import annotations

from typing import NamedTuple, assert_type

import pytest

from memproto import (
    Add,
    AdminCommand,
    AdminReply,
    AnyReply,
    Append,
    Authenticated,
    BinaryEnvelope,
    Challenge,
    Counter,
    Decrement,
    Delete,
    Deleted,
    Envelope,
    Failure,
    Flush,
    Get,
    Increment,
    InvalidRequest,
    Item,
    LocalProtocolError,
    Mechanisms,
    MetaDebug,
    MetaDebugReply,
    MetaOptions,
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
    Stats,
    StatsReply,
    Status,
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
from memproto.engine import Engine
from tests.support.wrong_types import REQUESTS, wrong_requests


def _filled() -> Engine:
    engine = Engine()
    engine.execute(Set(b"k", b"1"), now=1.0)
    engine.execute(Set(b"other", b"2"), now=2.0)
    return engine


def _state(engine: Engine) -> tuple[object, ...]:
    entries = engine._cache.items.entries
    items = [(key, entry.item, entry.expires, entry.accessed, entry.fetched) for key, entry in entries.items()]
    return items, engine.size, engine.journal_state, dict(engine._cache.counters)


def test_every_wrong_field_of_every_request_is_refused_and_nothing_changes() -> None:
    engine = _filled()
    before = _state(engine)
    checked = 0
    for wrong in wrong_requests():
        with pytest.raises(LocalProtocolError) as caught:
            engine.execute(wrong.message, now=3.0)  # type: ignore[arg-type]
        assert str(caught.value).startswith(wrong.field), wrong
        assert _state(engine) == before, wrong
        checked += 1
    assert checked > 1500


@pytest.mark.parametrize(
    "request_",
    [Get((b"k", "other")), Get(("k", b"other")), Get([b"k"]), Get((["k"],)), Get((b"k", ["k"]))],  # type: ignore[arg-type]
    ids=repr,
)
def test_a_get_one_of_whose_keys_is_wrong_uses_no_item(request_: Get) -> None:
    engine = _filled()
    before = _state(engine)
    with pytest.raises(LocalProtocolError, match="keys"):
        engine.execute(request_, now=3.0)
    assert _state(engine) == before


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
def test_a_request_whose_fields_are_right_is_answered(request_: Get) -> None:
    assert _filled().execute(request_, now=3.0) is not None


def test_keys_in_a_tuple_of_a_class_derived_from_tuple_are_taken() -> None:
    class Keys(NamedTuple):
        first: bytes
        second: bytes

    found = _filled().execute(Get(Keys(b"k", b"other")), now=3.0)
    assert found == Values((Item(b"k", b"1", cas=1), Item(b"other", b"2", cas=2)))


def test_a_key_and_a_value_of_classes_derived_from_bytes_are_taken() -> None:
    class Text(bytes):
        pass

    engine = Engine()
    assert engine.execute(Set(Text(b"k"), Text(b"v"), True), now=0.0) == Stored(1)
    assert engine.execute(Get((b"k",)), now=0.0) == Values((Item(b"k", b"v", 1, 1),))


@pytest.mark.parametrize("event", [BinaryEnvelope(Get((b"k",)), 0), Envelope(Noop()), "get", None, Values(), Get])
def test_what_is_no_request_is_refused_by_an_error_that_says_what_to_give(event: object) -> None:
    engine = _filled()
    before = _state(engine)
    with pytest.raises(LocalProtocolError, match=r"must be a request, such as Get; an event has it as event\.request"):
        engine.execute(event, now=3.0)  # type: ignore[arg-type]
    assert _state(engine) == before


@pytest.mark.parametrize("now", ["3", b"3", None, [], (), {}])
@pytest.mark.parametrize("request_", [Get((b"k",)), Set(b"k", b"v"), Noop()], ids=repr)
def test_a_time_that_is_no_number_is_refused_and_nothing_changes(request_: Get | Set | Noop, now: object) -> None:
    engine = _filled()
    engine.execute(Flush(10), now=3.0)
    before = _state(engine)
    with pytest.raises(LocalProtocolError, match=f"^now is {type(now).__name__}, must be Unix seconds"):
        engine.execute(request_, now)  # type: ignore[arg-type]
    assert _state(engine) == before


def test_type_of_a_reply_follows_from_its_request() -> None:
    engine = Engine()
    assert_type(engine.execute(Get((b"k",)), 0.0), Values | Failure)
    assert_type(engine.execute(Set(b"k", b"v"), 0.0), Stored | Failure)
    assert_type(engine.execute(Add(b"k", b"v"), 0.0), Stored | Failure)
    assert_type(engine.execute(Replace(b"k", b"v"), 0.0), Stored | Failure)
    assert_type(engine.execute(Append(b"k", b"v"), 0.0), Stored | Failure)
    assert_type(engine.execute(Prepend(b"k", b"v"), 0.0), Stored | Failure)
    assert_type(engine.execute(Delete(b"k"), 0.0), Deleted | Failure)
    assert_type(engine.execute(Increment(b"k"), 0.0), Counter | Failure)
    assert_type(engine.execute(Decrement(b"k"), 0.0), Counter | Failure)
    assert_type(engine.execute(Touch(b"k"), 0.0), Touched | Failure)
    assert_type(engine.execute(Flush(), 0.0), Ok | Failure)
    assert_type(engine.execute(Stats(), 0.0), StatsReply | Failure)
    assert_type(engine.execute(Version(), 0.0), VersionReply | Failure)
    assert_type(engine.execute(Verbosity(1), 0.0), Ok | Failure)
    assert_type(engine.execute(Noop(), 0.0), Ok | Failure)
    assert_type(engine.execute(Quit(), 0.0), Ok | Failure)
    assert_type(engine.execute(SaslList(), 0.0), Mechanisms | Failure)
    assert_type(engine.execute(SaslAuth(b"PLAIN"), 0.0), Authenticated | Challenge | Failure)
    assert_type(engine.execute(SaslStep(b"PLAIN"), 0.0), Authenticated | Challenge | Failure)
    assert_type(engine.execute(Unknown(Packet(0x80, 0x50)), 0.0), RawReply | Failure)
    assert_type(engine.execute(UnknownLine(b"what"), 0.0), RawReply | Failure)
    assert_type(engine.execute(AdminCommand((b"slabs", b"reassign")), 0.0), AdminReply | Failure)
    assert_type(engine.execute(MetaDebug(b"k"), 0.0), MetaDebugReply | Failure)
    assert_type(engine.execute(InvalidRequest(Failure(Status.UNKNOWN_COMMAND), ""), 0.0), Ok | Failure)


def test_the_reply_to_any_request_can_be_sent() -> None:
    reply: AnyReply = Engine().execute(BinaryEnvelope(Noop(), 0x0A).request, now=0.0)
    assert reply == Ok()


def test_a_get_with_meta_options_is_checked_and_answered() -> None:
    engine = _filled()
    assert engine.execute(Get((b"nothing",), meta=MetaOptions()), now=3.0) == Values()
