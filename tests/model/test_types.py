"""What mypy and pyright know of messages: both check this file."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import assert_never, assert_type

from memproto import (
    AnyReply,
    Authenticated,
    Challenge,
    ClassicEnvelope,
    ClientConnection,
    Exchange,
    Failure,
    Get,
    Increment,
    Item,
    MetaOptions,
    Noop,
    Request,
    SaslAuth,
    SaslStep,
    Set,
    Stored,
    Values,
)


def test_the_types_of_the_fields_are_known() -> None:
    request = Set(b"k", b"v")
    assert_type(request.key, bytes)
    assert_type(request.meta, MetaOptions | None)
    assert_type(Values().items, tuple[Item, ...])


def test_an_assignment_to_a_field_is_an_error() -> None:
    request = Noop()
    envelope = ClassicEnvelope(request, b"version")
    envelope.request = request  # type: ignore[misc]
    envelope.verb = b"other"  # type: ignore[misc]
    # At run time nothing guards it.
    assert envelope.verb == b"other"


def test_replace_keeps_the_class() -> None:
    assert_type(Set(b"k", b"v").replace(cas=1), Set)
    assert_type(ClassicEnvelope(Noop(), b"version").replace(noreply=True), ClassicEnvelope)


def test_a_class_pattern_knows_the_fields_and_the_rest() -> None:
    request: Get | Increment = Get((b"k",)) if len(b"k") else Increment(b"k")
    match request:
        case Get(keys, exptime):
            assert_type(keys, tuple[bytes, ...])
            assert_type(exptime, int | None)
        case Increment(key, delta):
            assert_type(key, bytes)
            assert_type(delta, int)
        case _:
            assert_never(request)


def test_a_request_is_a_request_of_its_reply() -> None:
    asked: Request[Values] = Get((b"k",))
    either: Request[Authenticated | Challenge] = SaslStep(b"PLAIN")
    anything: Request[object] = asked
    wrong: Request[Values] = Set(b"k", b"v")  # type: ignore[assignment]
    assert all(isinstance(each, Request) for each in (asked, either, anything, wrong))


def test_the_reply_types_are_known_of_the_class() -> None:
    assert_type(Get.reply_types(), tuple[type[Values], ...])
    assert_type(SaslAuth.reply_types(), tuple[type[Authenticated | Challenge], ...])


def test_a_batch_of_several_kinds_has_any_reply() -> None:
    exchanges = ClientConnection().send_all([Set(b"k", b"v"), Noop()])
    reply: AnyReply | None = exchanges[0].reply
    assert reply is None
    same = ClientConnection().send_all([Set(b"k", b"v"), Set(b"j", b"v")])
    assert_type(same, list[Exchange[Stored]])
    assert_type(same[0].reply, Stored | Failure | None)
