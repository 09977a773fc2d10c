"""The strategies make what they say, and shrink to the smallest of it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TypeVar

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from memproto import (
    AnyReply,
    AnyRequest,
    Authenticated,
    BinaryEnvelope,
    Counter,
    Delete,
    Deleted,
    Failure,
    Flush,
    Get,
    Increment,
    InvalidRequest,
    Mechanisms,
    Noop,
    Ok,
    Packet,
    Quit,
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
    Values,
    Verbosity,
    Version,
    VersionReply,
)
from memproto.testing import (
    binary_envelopes,
    cuts,
    failures,
    keys,
    multi_gets,
    packets,
    pieces,
    replies,
    replies_to,
    requests,
    unknown_requests,
    values,
)

T = TypeVar("T")


def _found(strategy: st.SearchStrategy[T], claim: Callable[[T], bool]) -> T:
    """The first that is made of which the claim is true. It is not made smaller, which takes much longer."""
    return find(strategy, claim, settings=settings(max_examples=2000, database=None, phases=[Phase.generate]))


@given(keys())
def test_keys_are_1_to_250_bytes(key: bytes) -> None:
    assert 1 <= len(key) <= 250


@given(values(3))
def test_values_are_no_longer_than_max_size(value: bytes) -> None:
    assert len(value) <= 3


@pytest.mark.parametrize(
    "name",
    [
        "Noop",
        "Version",
        "Quit",
        "SaslList",
        "Get",
        "Delete",
        "Touch",
        "Flush",
        "Stats",
        "Verbosity",
        "Append",
        "Prepend",
        "Set",
        "Add",
        "Replace",
        "Increment",
        "Decrement",
        "SaslAuth",
        "SaslStep",
        "Unknown",
    ],
)
def test_each_request_is_among_the_requests(name: str) -> None:
    request = _found(requests(), lambda each: type(each).__name__ == name)
    assert type(request).__name__ == name


@pytest.mark.parametrize(
    ("request_", "opcodes"),
    [
        (Get((b"k",)), {0x00, 0x09, 0x0C, 0x0D}),
        (Get((b"k",), 1), {0x1D, 0x1E, 0x23, 0x24}),
        (Set(b"k", b""), {0x01, 0x11}),
        (Quit(), {0x07, 0x17}),
        (Noop(), {0x0A}),
        (Unknown(Packet(0x80, 0x50)), {0x50}),
    ],
)
def test_each_opcode_of_a_request_is_among_its_envelopes(request_: AnyRequest, opcodes: set[int]) -> None:
    envelopes = binary_envelopes(st.just(request_))
    assert {_one_with(envelopes, opcode).opcode for opcode in opcodes} == opcodes


def _one_with(envelopes: st.SearchStrategy[BinaryEnvelope], opcode: int) -> BinaryEnvelope:
    return _found(envelopes, lambda envelope: envelope.opcode == opcode)


@given(binary_envelopes(st.just(Get((b"k",)))))
def test_envelopes_of_a_request_given_have_that_request(envelope: BinaryEnvelope) -> None:
    assert envelope.request == Get((b"k",))
    assert envelope.opcode in {0x00, 0x09, 0x0C, 0x0D}


@given(unknown_requests())
def test_unknown_requests_have_opcodes_without_a_message(request: Unknown) -> None:
    assert request.packet.is_request
    assert request.packet.opcode not in {*range(0x1F), *range(0x20, 0x25)}


@given(multi_gets(3))
def test_multi_gets_have_two_keys_to_the_most_asked(request: Get) -> None:
    assert 2 <= len(request.keys) <= 3


@given(requests(kinds={Get, Set}), replies(kinds={Noop}))
def test_kinds_that_are_given_are_the_only_ones(request: AnyRequest, reply: AnyReply) -> None:
    assert isinstance(request, Get | Set)
    assert isinstance(reply, Ok | Failure)


@given(failures())
def test_failures_have_a_status_and_no_standard_text(failure: Failure) -> None:
    assert 0 < failure.status <= 0xFFFF
    assert failure.text is None or failure.text != Failure(failure.status).reason or failure.status not in set(Status)


@given(failures(Get((b"k",))), failures(SaslAuth(b"M")))
def test_a_miss_and_a_challenge_are_no_failures(of_get: Failure, of_auth: Failure) -> None:
    assert of_get.status != 0x01
    assert of_auth.status != 0x21


@given(replies_to(InvalidRequest(Failure(0x04), "")))
def test_what_is_malformed_gets_its_own_reply(reply: AnyReply) -> None:
    assert reply == Failure(0x04)


@given(packets())
def test_packets_are_requests_or_responses(packet: Packet) -> None:
    assert packet.magic in (0x80, 0x81)


@given(data=st.binary(max_size=50), draw=st.data())
def test_pieces_are_the_data_cut_at_places_in_order(data: bytes, draw: st.DataObject) -> None:
    places = draw.draw(cuts(data))
    assert all(a <= b for a, b in pairwise(places))
    assert set(places) <= set(range(len(data) + 1))
    assert b"".join(draw.draw(pieces(data))) == data


def test_pieces_shrink_to_the_whole() -> None:
    assert find(pieces(b"abc"), lambda _: True) == [b"abc"]
    assert find(replies_to(Get((b"k",))), lambda _: True) == Values()


BARE: list[tuple[AnyRequest, type[AnyReply]]] = [
    (Noop(), Ok),
    (Quit(), Ok),
    (Version(), VersionReply),
    (SaslList(), Mechanisms),
    (Stats(), StatsReply),
    (Flush(), Ok),
    (Verbosity(1), Ok),
    (Touch(b"k"), Touched),
    (Delete(b"k"), Deleted),
    (Set(b"k", b""), Stored),
    (Increment(b"k"), Counter),
    (Get((b"k",)), Values),
    (SaslStep(b"PLAIN"), Authenticated),
]


@pytest.mark.parametrize(("request_", "kind"), BARE, ids=lambda value: type(value).__name__)
def test_every_request_has_a_success_among_its_replies(request_: AnyRequest, kind: type[AnyReply]) -> None:
    assert isinstance(_found(replies_to(request_), lambda reply: isinstance(reply, kind)), kind)
