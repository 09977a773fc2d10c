"""Increment and Decrement."""

from __future__ import annotations

import pytest

from memproto import (
    AnyReply,
    AnyRequest,
    Counter,
    Decrement,
    Failure,
    Get,
    Increment,
    Item,
    Set,
    Status,
    Values,
)
from memproto.engine import ITEM_OVERHEAD, Engine

NOW = 1_700_000_000.0
NOT_FOUND = Failure(Status.KEY_NOT_FOUND)
EXISTS = Failure(Status.KEY_EXISTS)
NOT_A_NUMBER = Failure(Status.DELTA_BAD_VALUE)


def replies(engine: Engine, *requests: AnyRequest, now: float = NOW) -> list[AnyReply]:
    return [engine.execute(request, now) for request in requests]


def held(engine: Engine, now: float = NOW) -> Item:
    reply = engine.execute(Get((b"n",)), now)
    assert isinstance(reply, Values)
    (item,) = reply.items
    return item


@pytest.mark.parametrize(
    ("text", "request_", "number", "stored"),
    [
        (b"10", Increment(b"n", 5), 15, b"15"),
        (b"10", Increment(b"n", 0), 10, b"10"),
        (b"9", Increment(b"n", 1), 10, b"10"),
        (b"10", Decrement(b"n", 1), 9, b"9 "),
        (b"105", Decrement(b"n", 6), 99, b"99 "),
        (b"100", Decrement(b"n", 99), 1, b"1  "),
        (b"9 ", Increment(b"n", 1), 10, b"10"),
        (b"1  ", Increment(b"n", 10), 11, b"11 "),
        (b"3", Decrement(b"n", 10), 0, b"0"),
        (b"3", Decrement(b"n", 3), 0, b"0"),
        (b"3", Decrement(b"n", 2**64 - 1), 0, b"0"),
        (b"18446744073709551615", Increment(b"n", 1), 0, b"0                   "),
        (b"7", Increment(b"n", 2**64 - 1), 6, b"6"),
        (b"0", Increment(b"n", 2**64 - 1), 2**64 - 1, b"18446744073709551615"),
        (b"18446744073709551615", Decrement(b"n", 2**64 - 1), 0, b"0                   "),
        (b" 5", Increment(b"n", 1), 6, b"6 "),
        (b"5 ", Increment(b"n", 1), 6, b"6 "),
        (b"+5", Increment(b"n", 1), 6, b"6 "),
        (b"5\n", Increment(b"n", 1), 6, b"6 "),
        (b"5\x00abc", Increment(b"n", 1), 6, b"6    "),
        (b"0" * 26 + b"1", Increment(b"n", 1), 2, b"2" + b" " * 26),
    ],
)
def test_incr_and_decr_change_the_number_and_keep_flags_and_expiry(
    text: bytes, request_: AnyRequest, number: int, stored: bytes
) -> None:
    engine = Engine()
    # The initial value and the expiry are not used; the item's own flags and expiry stay.
    replies(engine, Set(b"n", text, 7, 100))
    assert replies(engine, request_) == [Counter(number, 2)]
    assert held(engine, NOW + 99) == Item(b"n", stored, 7, 2)
    assert engine.execute(Get((b"n",)), NOW + 100) == Values()


@pytest.mark.parametrize(
    "text", [b"", b"-1", b"abc", b"12abc", b"0x10", b"1.5", b"18446744073709551616", b"9" * 30, b" ", b"+", b"\x00"]
)
def test_incr_of_a_value_that_is_no_number_is_refused(text: bytes) -> None:
    engine = Engine()
    replies(engine, Set(b"n", text, 7))
    assert replies(engine, Increment(b"n", initial=1, exptime=0), Decrement(b"n")) == [NOT_A_NUMBER, NOT_A_NUMBER]
    assert held(engine) == Item(b"n", text, 7, 1)


def test_a_missing_counter_is_not_created_without_an_exptime() -> None:
    engine = Engine()
    assert replies(engine, Increment(b"n", 1, 5), Decrement(b"n", 1, 5), Increment(b"n", cas=1)) == [NOT_FOUND] * 3
    assert len(engine) == 0


@pytest.mark.parametrize("kind", [Increment, Decrement])
@pytest.mark.parametrize("initial", [0, 10, 2**64 - 1])
def test_a_missing_counter_is_created_with_the_initial_value(kind: type[Increment | Decrement], initial: int) -> None:
    engine = Engine()
    assert replies(engine, kind(b"n", 5, initial, 60)) == [Counter(initial, 1)]
    assert held(engine, NOW + 59) == Item(b"n", b"%d" % initial, 0, 1)
    assert engine.execute(Get((b"n",)), NOW + 60) == Values()


def test_a_counter_may_have_expired_when_it_is_created() -> None:
    engine = Engine()
    assert replies(engine, Increment(b"n", 1, 3, 2_592_001), Get((b"n",))) == [Counter(3, 1), Values()]
    assert replies(engine, Increment(b"n", 1, 4, -1), Increment(b"n", 1, 5, 0)) == [Counter(4, 2), Counter(5, 3)]


def test_a_counter_is_created_even_if_a_cas_was_named() -> None:
    assert replies(Engine(), Increment(b"n", 1, 10, 0, cas=99)) == [Counter(10, 1)]


def test_incr_and_decr_with_another_cas_are_refused() -> None:
    engine = Engine()
    replies(engine, Set(b"n", b"10"))
    assert replies(engine, Increment(b"n", 1, cas=2), Increment(b"n", 1, cas=1), Decrement(b"n", 1, cas=1)) == [
        EXISTS,
        Counter(11, 2),
        EXISTS,
    ]
    assert replies(engine, Decrement(b"n", 1, cas=2), Decrement(b"n", 1)) == [Counter(10, 3), Counter(9, 4)]


def test_an_empty_value_is_no_number_whatever_the_cas() -> None:
    engine = Engine()
    replies(engine, Set(b"n", b""), Set(b"t", b"text"))
    assert replies(engine, Increment(b"n", cas=99), Increment(b"t", cas=99)) == [NOT_A_NUMBER, EXISTS]


def test_incr_with_a_cas_is_refused_by_an_engine_without_cas() -> None:
    engine = Engine(cas=False)
    replies(engine, Set(b"n", b"10"))
    assert replies(engine, Increment(b"n", cas=1), Increment(b"n"), Increment(b"new", exptime=0, cas=1)) == [
        EXISTS,
        Counter(11, 0),
        Counter(0, 0),
    ]


# --- memory

NO_ROOM_TO_COUNT = Failure(Status.OUT_OF_MEMORY, b"Out of memory incrementing value")
NO_ROOM_TO_CREATE = Failure(Status.OUT_OF_MEMORY, b"Out of memory allocating new item")


TWO_BYTES = ITEM_OVERHEAD + 2


@pytest.mark.parametrize(
    "options",
    [
        # One byte too large as memcached counts, or one too many for the memory.
        {"item_size_max": 61},
        {"memory_limit": TWO_BYTES, "item_size_max": TWO_BYTES, "evict": False},
    ],
)
def test_incr_without_room_for_a_longer_number_is_refused(options: dict[str, int]) -> None:
    engine = Engine(**options)  # type: ignore[arg-type]
    assert replies(engine, Increment(b"n", initial=10, exptime=0)) == [NO_ROOM_TO_CREATE]
    assert replies(engine, Increment(b"n", initial=9, exptime=0), Increment(b"n"), Increment(b"n", 0)) == [
        Counter(9, 1),
        NO_ROOM_TO_COUNT,
        Counter(9, 2),
    ]
    assert held(engine) == Item(b"n", b"9", 0, 2)


def test_incr_to_a_longer_number_evicts_another_item() -> None:
    engine = Engine(memory_limit=2 * TWO_BYTES, item_size_max=500)
    replies(engine, Set(b"a", b"1"), Set(b"n", b"9"), Get((b"n",)), Get((b"a",)))
    assert replies(engine, Increment(b"n"), Get((b"a",))) == [Counter(10, 3), Values()]
    assert engine.size == TWO_BYTES + 1
