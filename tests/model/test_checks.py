"""A message with a field of a wrong type is refused where it enters, by an error that names the field."""

from __future__ import annotations

from typing import Literal, get_args

import pytest

from memproto import (
    AnyReply,
    AnyRequest,
    Envelope,
    Get,
    Item,
    ItemMeta,
    LocalProtocolError,
    Message,
    MetaOptions,
    Noop,
    Request,
    Set,
    Values,
)
from memproto._fields import check_fields
from memproto.model._checks import EXACT_REPLIES, EXACT_REQUESTS, _is_meta, check_reply, check_request, is_item_meta
from tests.support.wrong_types import REPLIES, REQUESTS, Wrong, wrong_replies, wrong_requests

WRONG_REQUESTS = wrong_requests()
WRONG_REPLIES = wrong_replies()


def test_the_samples_are_all_messages_and_each_field_is_wrong_in_many_ways() -> None:
    assert {type(request) for request in REQUESTS} == set(get_args(AnyRequest))
    assert {type(reply) for reply in REPLIES} == set(get_args(AnyReply))
    assert len(WRONG_REQUESTS) > 1500
    assert len(WRONG_REPLIES) > 800


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
def test_a_request_whose_fields_are_right_is_taken(request_: AnyRequest) -> None:
    check_request(request_)


@pytest.mark.parametrize("reply", REPLIES, ids=lambda reply: type(reply).__name__)
def test_a_reply_whose_fields_are_right_is_taken(reply: AnyReply) -> None:
    check_reply(reply)


def _names(error: str, wrong: Wrong) -> bool:
    """Whether the error begins with the field, or with a place inside its value."""
    path = error.partition(" is ")[0]
    return path == wrong.field or path.startswith((f"{wrong.field}[", f"{wrong.field}."))


def test_every_wrong_field_of_a_request_is_named() -> None:
    for wrong in WRONG_REQUESTS:
        with pytest.raises(LocalProtocolError, match=", must be ") as caught:
            check_request(wrong.message)
        assert _names(str(caught.value), wrong), wrong


def test_every_wrong_field_of_a_reply_is_named() -> None:
    for wrong in WRONG_REPLIES:
        with pytest.raises(LocalProtocolError, match=", must be ") as caught:
            check_reply(wrong.message)
        assert _names(str(caught.value), wrong), wrong


def test_the_checks_of_exact_types_agree_with_the_rules_derived_from_the_annotations() -> None:
    for checks, right, wrong_ones in (
        (EXACT_REQUESTS, REQUESTS, WRONG_REQUESTS),
        (EXACT_REPLIES, REPLIES, WRONG_REPLIES),
    ):
        # A class in the table has a right message here, and many wrong ones, each field in its turn.
        assert {type(each) for each in right if type(each) in checks} == set(checks)
        for each in right:
            if type(each) in checks:
                assert checks[type(each)](each), each
        refused = 0
        for wrong in wrong_ones:
            if type(wrong.message) in checks:
                assert not checks[type(wrong.message)](wrong.message), wrong
                refused += 1
        assert refused > 100


def test_options_and_item_meta_of_the_exact_types_pass_the_check_of_exact_types() -> None:
    assert _is_meta(MetaOptions(1, 2, False, 3, 4, True, 5, True, True, True, True))
    assert is_item_meta(ItemMeta(1, True, 2, True, True, True, True, 3))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (Get(b"key"), "keys is bytes, must be a tuple of bytes"),  # type: ignore[arg-type]
        (Get((b"a", "b")), "keys[1] is str, must be bytes"),  # type: ignore[arg-type]
        (Get((b"k",), exptime=1.5), "exptime is float, must be an int or None"),  # type: ignore[arg-type]
        (Set("k", b"v"), "key is str, must be bytes"),  # type: ignore[arg-type]
        (Set(b"k", b"v", None), "flags is None, must be an int"),  # type: ignore[arg-type]
        (Item(b"k", b"v"), "request is Item, must be a request, such as Get; an event has it as event.request"),
        (None, "request is None, must be a request, such as Get; an event has it as event.request"),
    ],
)
def test_the_error_about_a_request_says_what_was_seen_and_what_must_be_there(wrong: object, words: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        check_request(wrong)
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (Values(Item(b"k", b"v")), "items is Item, must be a tuple of Item"),  # type: ignore[arg-type]
        (Values((Item("k", b"v"),)), "items[0].key is str, must be bytes"),  # type: ignore[arg-type]
        (Values((b"v",)), "items[0] is bytes, must be an Item"),  # type: ignore[arg-type]
        (Noop(), "reply is Noop, must be a reply, such as Values or Failure"),
    ],
)
def test_the_error_about_a_reply_says_what_was_seen_and_what_must_be_there(wrong: object, words: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        check_reply(wrong)
    assert str(caught.value) == words


def test_a_subclass_of_a_type_is_taken_in_its_place() -> None:
    class Text(bytes):
        pass

    check_request(Set(Text(b"k"), Text(b"v"), True))
    check_request(Get((Text(b"k"),)))


def test_a_request_inside_a_message_may_be_of_a_class_without_fields() -> None:
    class Own:
        def reply_types(self) -> tuple[type[Values], ...]:
            return (Values,)

    class Holder(Message):
        __match_args__ = ("request",)

        def __init__(self, request: Request[object]) -> None:
            self.request = request

    check_fields(Holder(Own()))
    check_fields(Holder(Set(b"k", b"v")))
    with pytest.raises(LocalProtocolError, match="request is str, must be a Request"):
        check_fields(Holder("get"))  # type: ignore[arg-type]


def test_a_field_without_an_annotation_is_checked_as_in_the_base_class_or_not_at_all() -> None:
    class Own(Envelope):
        __match_args__ = ("request", "number")

        def __init__(self, request, number) -> None:  # type: ignore[no-untyped-def]
            super().__init__(request)
            self.number = number

    check_fields(Own(Noop(), object()))
    with pytest.raises(LocalProtocolError, match="request is int, must be a Request"):
        check_fields(Own(1, 1))


def test_an_annotation_of_another_form_is_an_error_of_whoever_declares_it() -> None:
    class Holder(Message):
        __match_args__ = ("field",)

        def __init__(self, field: Literal[1]) -> None:
            self.field = field

    with pytest.raises(TypeError, match="no annotation of a field"):
        check_fields(Holder(1))
