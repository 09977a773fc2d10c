from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from construct import Struct
from hypothesis import given
from hypothesis import strategies as st

from memproto import LocalProtocolError, RemoteProtocolError
from memproto.udp import (
    DATAGRAM_OVERHEAD,
    HEADER,
    MAX_DATAGRAMS,
    PAYLOAD_SIZE,
    Datagram,
    Message,
    Reassembler,
    ReassemblyLimits,
    accept_request,
    decode_datagram,
    encode_datagram,
    split,
)
from tests.support.reached import reached, reaches
from tests.support.wire import wire

DATA = Path(__file__).parent / "data" / "udp_vectors.json"
DOCS = Path(__file__).parent.parent / "docs" / "udp.md"

numbers = st.integers(0, 0xFFFF)
datagrams = st.builds(Datagram, numbers, numbers, numbers, numbers, st.binary(max_size=40))


# --- one datagram

EXAMPLES = [
    ("1234 0000 0001 0000 'get k' 0d0a", Datagram(0x1234, payload=b"get k\r\n")),
    ("0007 0002 0003 0000 'x'", Datagram(7, 2, 3, 0, b"x")),
    ("1234 0000 0001 abcd 'mn' 0d0a", Datagram(0x1234, 0, 1, 0xABCD, b"mn\r\n")),
    ("1234 0000 0000 0000", Datagram(0x1234, 0, 0, 0, b"")),
    ("ffff ffff ffff ffff 00", Datagram(0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, b"\0")),
]


@pytest.mark.parametrize(("text", "datagram"), EXAMPLES)
def test_datagram_is_decoded_and_encoded_to_the_same_bytes(text: str, datagram: Datagram) -> None:
    assert decode_datagram(wire(text)) == datagram
    assert encode_datagram(datagram) == wire(text)


@given(datagrams)
def test_any_datagram_is_decoded_as_it_was_encoded(datagram: Datagram) -> None:
    assert decode_datagram(encode_datagram(datagram)) == datagram


@pytest.mark.parametrize("least", [0, 8])
@reaches(short={0: 0.2}, datagram={8: 1.0})
@given(draw=st.data())
def test_any_bytes_are_a_datagram_or_too_short(least: int, draw: st.DataObject) -> None:
    data = draw.draw(st.binary(min_size=least, max_size=40))
    reached("short" if len(data) < 8 else "datagram")
    if len(data) < 8:
        with pytest.raises(RemoteProtocolError, match=f"^datagram is {len(data)} bytes, its header alone has 8$"):
            decode_datagram(data)
        assert accept_request(data) is None
    else:
        datagram = decode_datagram(data)
        assert encode_datagram(datagram) == data
        assert isinstance(HEADER.declaration, Struct)
        assert HEADER.declaration.parse(data).items() >= HEADER.unpack(data[:8]).items()
        assert accept_request(data) == (datagram if data[4:6] == b"\0\1" and len(data) > 8 else None)


@pytest.mark.parametrize("number", [-1, 0x10000])
@pytest.mark.parametrize("name", ["request_id", "sequence", "total", "reserved"])
def test_numbers_out_of_range_are_refused(name: str, number: int) -> None:
    fields = {"request_id": 0, name: number}
    datagram = Datagram(**fields)  # type: ignore[arg-type]
    with pytest.raises(LocalProtocolError, match=f"^{name} is {number}, must be 0 to 65535$"):
        encode_datagram(datagram)


def test_the_header_is_eight_bytes_of_named_fields_and_the_page_has_them() -> None:
    assert (HEADER.size, PAYLOAD_SIZE, MAX_DATAGRAMS) == (8, 1392, 65535)
    page = DOCS.read_text(encoding="utf-8")
    at = 0
    for field in HEADER.fields:
        assert f"| {at} | {field.size} | `{field.name}` | {field.meaning} |" in page
        at += field.size


# --- requests


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1234 0000 0001 00",
        "1234 0000 0001 0000",
        "1234 0000 0000 0000 'get k' 0d0a",
        "1234 0000 0002 0000 'get k' 0d0a",
        "1234 0001 0002 0000 'get k' 0d0a",
        "1234 0000 0100 0000 'get k' 0d0a",
    ],
)
def test_what_memcached_drops_is_no_request(text: str) -> None:
    assert accept_request(wire(text)) is None


@pytest.mark.parametrize(
    ("text", "request_id"),
    [("1234 0000 0001 0000 0d", 0x1234), ("0000 0009 0001 abcd 'x'", 0), ("ffff00000001000080", 65535)],
)
def test_what_memcached_takes_is_a_request(text: str, request_id: int) -> None:
    request = accept_request(wire(text))
    assert request is not None
    assert (request.request_id, request.total, len(request.payload)) == (request_id, 1, 1)


# --- cutting a reply


def test_a_reply_is_cut_anywhere() -> None:
    assert split(b"VALUE k 0 5\r\nhello\r\nEND\r\n", 0x1234, 10) == [
        wire("1234 0000 0003 0000 'VALUE k 0 '"),
        wire("1234 0001 0003 0000 '5' 0d0a 'hello' 0d0a"),
        wire("1234 0002 0003 0000 'END' 0d0a"),
    ]


@pytest.mark.parametrize(("size", "total"), [(1, 1), (1391, 1), (1392, 1), (1393, 2), (2784, 2), (2785, 3)])
def test_the_default_size_is_that_of_memcached(size: int, total: int) -> None:
    cut = split(bytes(size), 1)
    assert len(cut) == total
    assert {len(datagram) for datagram in cut[:-1]} <= {1400}
    assert 8 < len(cut[-1]) <= 1400


def test_empty_payload_is_no_datagram_or_a_bare_header() -> None:
    assert split(b"", 0x1234) == []
    assert split(b"", 0x1234, header_if_empty=True) == [wire("1234 0000 0000 0000")]
    assert split(b"x", 0x1234, header_if_empty=True) == [wire("1234 0000 0001 0000 'x'")]


def test_the_total_has_16_bits() -> None:
    cut = split(bytes(65535), 1, 1)
    assert (len(cut), cut[0], cut[-1]) == (65535, wire("0001 0000 ffff 0000 00"), wire("0001 fffe ffff 0000 00"))
    assert len(split(bytes(65534), 1, 1)) == 65534
    with pytest.raises(LocalProtocolError, match=r"^reply of 65536 bytes needs 65536 datagrams, limit is 65535$"):
        split(bytes(65536), 1, 1)


def test_the_maximum_bounds_what_is_sent() -> None:
    assert len(split(bytes(19), 1, 10, maximum=3)) == 2
    assert len(split(bytes(30), 1, 10, maximum=3)) == 3
    with pytest.raises(LocalProtocolError, match=r"^reply of 31 bytes needs 4 datagrams, limit is 3$"):
        split(bytes(31), 1, 10, maximum=3)


@pytest.mark.parametrize(
    ("request_id", "payload_size", "maximum", "message"),
    [
        (1, 0, 1, "payload_size is 0, the least is 1"),
        (1, -1, 1, "payload_size is -1, the least is 1"),
        (1, 1, 0, "maximum is 0, must be 1 to 65535"),
        (1, 1, 65536, "maximum is 65536, must be 1 to 65535"),
        (-1, 1, 1, "request_id is -1, must be 0 to 65535"),
        (65536, 1, 1, "request_id is 65536, must be 0 to 65535"),
    ],
)
def test_wrong_argument_of_split_is_refused_by_name(
    request_id: int, payload_size: int, maximum: int, message: str
) -> None:
    with pytest.raises(LocalProtocolError, match=f"^{message}$"):
        split(b"x", request_id, payload_size, maximum=maximum)


# --- putting together


@given(st.binary(min_size=1, max_size=300), numbers, st.integers(1, 310), st.data())
def test_any_order_and_any_duplicates_give_the_payload_once(
    payload: bytes, request_id: int, size: int, draw: st.DataObject
) -> None:
    cut = split(payload, request_id, size)
    # The last one to come is the one that was missing; before it the others come at will.
    *others, last = draw.draw(st.permutations(range(len(cut))))
    again = draw.draw(st.lists(st.sampled_from(others), max_size=20)) if others else []
    arriving = draw.draw(st.permutations([*others, *again]))
    reassembler = Reassembler()
    assert [reassembler.feed(cut[index], 0.0) for index in arriving] == [None] * len(arriving)
    assert reassembler.feed(cut[last], 0.0) == Message(request_id, payload)
    assert (len(reassembler), reassembler.held, reassembler.dropped) == (0, 0, 0)


@given(st.binary(min_size=2, max_size=300), st.integers(1, 20), st.data())
def test_a_lost_datagram_gives_nothing_and_is_given_up(payload: bytes, size: int, draw: st.DataObject) -> None:
    cut = split(payload, 1, min(size, len(payload) - 1))
    lost = draw.draw(st.integers(0, len(cut) - 1))
    arriving = draw.draw(st.lists(st.sampled_from([data for data in cut if data is not cut[lost]]), min_size=1))
    reassembler = Reassembler()
    assert not any(reassembler.feed(data, 5.0) for data in arriving)
    assert len(reassembler) == 1
    reassembler.expire(6.99)
    assert len(reassembler) == 1
    reassembler.expire(7.0)
    assert (len(reassembler), reassembler.held, reassembler.dropped) == (0, 0, 1)


@reaches(message=0.5)
@given(
    st.dictionaries(st.tuples(st.integers(0, 2), st.integers(0, 2)), st.binary(min_size=1, max_size=60), min_size=1),
    st.data(),
)
def test_requests_and_peers_are_not_mixed_up(payloads: dict[tuple[int, int], bytes], draw: st.DataObject) -> None:
    arriving = [(peer, data) for (peer, number), payload in payloads.items() for data in split(payload, number, 7)]
    reassembler = Reassembler()
    got: dict[tuple[int, int], bytes] = {}
    for peer, data in draw.draw(st.permutations(arriving)):
        message = reassembler.feed(data, 0.0, peer)
        if message is not None:
            reached("message")
            assert (peer, message.request_id) not in got
            got[peer, message.request_id] = message.payload
    assert got == payloads
    assert len(reassembler) == 0


def test_messages_of_one_request_come_out_one_by_one() -> None:
    reassembler = Reassembler()
    first, second = split(b"VALUE k 0 5\r\nhello\r\n", 9, 12)
    assert reassembler.feed(first, 0.0) is None
    # The reply to the next command is shorter and overtakes.
    assert reassembler.feed(wire("0009 0000 0001 0000 'STORED' 0d0a"), 0.0) == Message(9, b"STORED\r\n")
    assert reassembler.feed(second, 0.0) == Message(9, b"VALUE k 0 5\r\nhello\r\n")
    # Two equal replies look like one duplicate, so both come out.
    assert reassembler.feed(wire("0009 0000 0001 0000 'STORED' 0d0a"), 0.0) == Message(9, b"STORED\r\n")


def test_another_total_is_another_message() -> None:
    reassembler = Reassembler()
    assert reassembler.feed(wire("0001 0000 0002 0000 'a'"), 0.0) is None
    assert reassembler.feed(wire("0001 0001 0003 0000 'y'"), 0.0) is None
    assert reassembler.feed(wire("0001 0001 0002 0000 'b'"), 0.0) == Message(1, b"ab")
    assert reassembler.feed(wire("0001 0000 0003 0000 'x'"), 0.0) is None
    assert reassembler.feed(wire("0001 0002 0003 0000 'z'"), 0.0) == Message(1, b"xyz")


def test_other_bytes_under_the_same_number_begin_anew() -> None:
    reassembler = Reassembler()
    assert reassembler.feed(wire("0001 0000 0002 0000 'a'"), 0.0) is None
    assert reassembler.feed(wire("0001 0000 0002 0000 'c'"), 1.0) is None
    assert (len(reassembler), reassembler.held, reassembler.dropped) == (1, DATAGRAM_OVERHEAD + 1, 1)
    reassembler.expire(2.5)
    assert reassembler.feed(wire("0001 0001 0002 0000 'd'"), 2.5) == Message(1, b"cd")


@pytest.mark.parametrize(
    "text",
    ["0001 0000 0000 0000", "0001 0005 0000 0000 'x'", "0001 0001 0001 0000 'x'", "0001 0002 0002 0000 'x'"],
)
def test_a_total_of_0_and_impossible_numbers_are_ignored(text: str) -> None:
    reassembler = Reassembler()
    assert reassembler.feed(wire(text), 0.0) is None
    assert (len(reassembler), reassembler.held, reassembler.dropped) == (0, 0, 0)


def test_reserved_bits_are_ignored() -> None:
    reassembler = Reassembler()
    assert reassembler.feed(wire("0001 0000 0002 abcd 'a'"), 0.0) is None
    assert reassembler.feed(wire("0001 0001 0002 0000 'b'"), 0.0) == Message(1, b"ab")


def test_a_short_datagram_is_the_peers_fault_and_changes_nothing() -> None:
    reassembler = Reassembler()
    reassembler.feed(wire("0001 0000 0002 0000 'a'"), 0.0)
    with pytest.raises(RemoteProtocolError, match=r"^datagram is 7 bytes, its header alone has 8$"):
        reassembler.feed(bytes(7), 0.0)
    assert reassembler.feed(wire("0001 0001 0002 0000 'b'"), 0.0) == Message(1, b"ab")


def test_forget_lets_go_of_one_request_of_one_peer() -> None:
    reassembler = Reassembler()
    for peer in ("a", "b"):
        for data in ("0001 0000 0002 0000 'x'", "0001 0000 0003 0000 'x'", "0002 0000 0002 0000 'x'"):
            assert reassembler.feed(wire(data), 0.0, peer) is None
    reassembler.forget(1, "a")
    assert (len(reassembler), reassembler.held, reassembler.dropped) == (4, 4 * (DATAGRAM_OVERHEAD + 1), 0)
    reassembler.forget(7, "a")
    assert len(reassembler) == 4
    assert reassembler.feed(wire("0001 0001 0002 0000 'y'"), 0.0, "a") is None
    assert reassembler.feed(wire("0001 0001 0002 0000 'y'"), 0.0, "b") == Message(1, b"xy")


# --- limits


def test_a_message_has_its_time() -> None:
    for now, message in ((11.4, Message(1, b"ab")), (11.5, None), (11.6, None)):
        reassembler = Reassembler(ReassemblyLimits(timeout=1.5))
        reassembler.feed(wire("0001 0000 0002 0000 'a'"), 10.0)
        assert reassembler.feed(wire("0001 0001 0002 0000 'b'"), now) == message
        assert reassembler.dropped == (message is None)


def test_more_unfinished_messages_drop_the_oldest() -> None:
    for count, dropped in ((1, 0), (2, 0), (3, 1)):
        reassembler = Reassembler(ReassemblyLimits(messages=2))
        for number in range(count):
            reassembler.feed(encode_datagram(Datagram(number, 0, 2, 0, b"a")), 0.0)
        assert (len(reassembler), reassembler.dropped) == (min(count, 2), dropped)
        # Another datagram of a message that is held needs no room for a message.
        newest = encode_datagram(Datagram(count - 1, 1, 2, 0, b"b"))
        assert reassembler.feed(newest, 0.0) == Message(count - 1, b"ab")
        oldest = encode_datagram(Datagram(0, 1, 2, 0, b"b"))
        assert reassembler.feed(oldest, 0.0) == (Message(0, b"ab") if count == 2 else None)


def test_more_bytes_drop_the_oldest() -> None:
    limit = 2 * DATAGRAM_OVERHEAD + 10
    for size, dropped in ((4, 0), (5, 0), (6, 1)):
        reassembler = Reassembler(ReassemblyLimits(held=limit))
        reassembler.feed(encode_datagram(Datagram(1, 0, 2, 0, b"12345")), 0.0)
        reassembler.feed(encode_datagram(Datagram(2, 0, 2, 0, bytes(size))), 0.0)
        assert reassembler.dropped == dropped
        assert reassembler.held == (1 if dropped else 2) * DATAGRAM_OVERHEAD + size + (0 if dropped else 5)


def test_the_message_that_is_the_oldest_goes_itself() -> None:
    reassembler = Reassembler(ReassemblyLimits(held=2 * DATAGRAM_OVERHEAD + 2))
    for data in ("0001 0000 0003 0000 'a'", "0002 0000 0002 0000 'x'", "0001 0001 0003 0000 'b'"):
        assert reassembler.feed(wire(data), 0.0) is None
    assert (len(reassembler), reassembler.dropped) == (1, 1)
    assert reassembler.feed(wire("0002 0001 0002 0000 'y'"), 0.0) == Message(2, b"xy")


def test_what_never_fits_drops_nothing_else() -> None:
    for size, count in ((9, 1), (10, 1), (11, 0)):
        reassembler = Reassembler(ReassemblyLimits(held=DATAGRAM_OVERHEAD + 10))
        assert reassembler.feed(encode_datagram(Datagram(1, 0, 2, 0, bytes(size))), 0.0) is None
        assert (len(reassembler), reassembler.dropped) == (count, 0)


@pytest.mark.parametrize(
    ("name", "number", "least"),
    [("messages", 0, 1), ("held", 0, 1), ("held", -1, 1), ("timeout", -0.5, 0), ("timeout", float("nan"), 0)],
)
def test_limits_that_make_no_sense(name: str, number: float, least: int) -> None:
    with pytest.raises(LocalProtocolError, match=f"^limit {name} is {number}, the least is {least}$"):
        ReassemblyLimits(**{name: number})  # type: ignore[arg-type]


def test_reassembler_under_the_least_limits_takes_whole_messages_only() -> None:
    reassembler = Reassembler(ReassemblyLimits(1, 1, 0))
    assert reassembler.feed(wire("0001 0000 0001 0000 'whole'"), 0.0) == Message(1, b"whole")
    assert reassembler.feed(wire("0001 0000 0002 0000 'half'"), 0.0) is None
    assert len(reassembler) == 0


small = st.builds(Datagram, st.integers(0, 3), st.integers(0, 3), st.integers(0, 4), st.just(0), st.binary(max_size=12))


@reaches(kept=0.03, message=0.0)
@given(
    st.lists(
        st.tuples(st.one_of(small.map(encode_datagram), st.binary(max_size=20)), st.floats(0, 0.5)),
        min_size=5,
        max_size=60,
    ),
    st.integers(1, 4),
    st.integers(1, 5 * DATAGRAM_OVERHEAD),
)
def test_hostile_datagrams_stay_within_the_limits(
    arriving: list[tuple[bytes, float]], messages: int, held: int
) -> None:
    limits = ReassemblyLimits(messages, held, 1.0)
    reassembler = Reassembler(limits)
    now, sent = 0.0, set()
    for data, pause in arriving:
        now += pause
        try:
            message = reassembler.feed(data, now)
        except RemoteProtocolError:
            assert len(data) < 8
            continue
        sent.add(data[8:])
        if len(reassembler):
            reached("kept")
        if message is not None:
            reached("message")
        assert len(reassembler) <= limits.messages
        assert reassembler.held <= limits.held
        assert message is None or len(message.payload) <= sum(map(len, sent)) * 4
    reassembler.expire(now + 1.01)
    assert (len(reassembler), reassembler.held) == (0, 0)


# --- recorded from memcached


@dataclass(frozen=True)
class Exchange:
    name: str
    request: bytes
    replies: tuple[bytes, ...]


def _exchanges() -> list[Exchange]:
    rows = {row["name"]: bytes.fromhex(row["hex"]) for row in json.loads(DATA.read_text(encoding="utf-8"))}
    names = [name.removesuffix(".req") for name in rows if name.endswith(".req")]
    return [
        Exchange(name, rows[f"{name}.req"], tuple(data for key, data in rows.items() if re.match(rf"{name}\.res", key)))
        for name in names
    ]


EXCHANGES = _exchanges()


def test_the_recorded_exchanges_are_all_there() -> None:
    assert len(EXCHANGES) == 13
    assert sum(len(exchange.replies) for exchange in EXCHANGES) == 16


@pytest.mark.parametrize("row", json.loads(DATA.read_text(encoding="utf-8")), ids=lambda row: str(row["name"]))
def test_recorded_datagrams_decode_and_encode_to_the_same_bytes(row: dict[str, dict[str, str | int]]) -> None:
    data = bytes.fromhex(str(row["hex"]))
    told = row["decoded"]
    if told["kind"] != "datagram":
        with pytest.raises(RemoteProtocolError):
            decode_datagram(data)
        return
    datagram = decode_datagram(data)
    assert datagram == Datagram(
        int(told["request_id"]),
        int(told["sequence"]),
        int(told["total"]),
        int(told["reserved"]),
        bytes.fromhex(str(told["payload_hex"])),
    )
    assert encode_datagram(datagram) == data


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange.name)
def test_recorded_exchanges_are_reassembled_and_cut_to_the_same_datagrams(exchange: Exchange) -> None:
    request = accept_request(exchange.request)
    if exchange.replies == (b"",):
        assert request is None
        return
    assert request is not None
    messages: list[Message] = []
    reassembler = Reassembler()
    for data in exchange.replies:
        message = reassembler.feed(data, 0.0)
        if message is not None:
            assert message.request_id == request.request_id
            messages.append(message)
    assert len(reassembler) == 0
    # Cut again, the messages are what memcached sent.
    again = [data for message in messages for data in split(message.payload, request.request_id)]
    if not messages:
        again = split(b"", request.request_id, header_if_empty=True)
    assert tuple(again) == exchange.replies


def test_a_recorded_reply_of_three_datagrams_and_one_of_two_messages() -> None:
    replies = {exchange.name: exchange.replies for exchange in EXCHANGES}
    reassembler = Reassembler()
    big = [reassembler.feed(data, 0.0) for data in reversed(replies["udp.get_big_multi_datagram"])]
    assert big == [None, None, Message(7, b"VALUE big 0 3000\r\n" + b"0123456789" * 300 + b"\r\nEND\r\n")]
    two = [reassembler.feed(data, 0.0) for data in replies["udp.get_two"]]
    assert two == [Message(65535, b"VALUE k 0 5\r\nhello\r\n"), Message(65535, b"VALUE u 0 1\r\nx\r\nEND\r\n")]


def test_the_limits_of_reassembly_are_these_unless_they_are_given() -> None:
    assert ReassemblyLimits() == ReassemblyLimits(messages=1024, held=4_194_304, timeout=2.0)
    assert Reassembler().limits == ReassemblyLimits()
