"""Set, Add, Replace, Append, Prepend: what is stored, what is refused, and what a refusal leaves behind."""

from __future__ import annotations

import pytest

from memproto import (
    Add,
    AnyReply,
    AnyRequest,
    Append,
    Delete,
    Deleted,
    Failure,
    Get,
    Item,
    Prepend,
    Replace,
    Set,
    Status,
    Stored,
    Touch,
    Touched,
    Values,
)
from memproto.engine import ITEM_OVERHEAD, Engine, stored_size

NOW = 1_700_000_000.0
NOT_FOUND = Failure(Status.KEY_NOT_FOUND)
EXISTS = Failure(Status.KEY_EXISTS)
NOT_STORED = Failure(Status.NOT_STORED)
TOO_LARGE = Failure(Status.VALUE_TOO_LARGE)
NO_MEMORY = Failure(Status.OUT_OF_MEMORY, b"Out of memory allocating item")
MISS = Values()

Store = type[Set | Add | Replace]
each_store = pytest.mark.parametrize("kind", [Set, Add, Replace])
each_concatenation = pytest.mark.parametrize("kind", [Append, Prepend])


def replies(engine: Engine, *requests: AnyRequest, now: float = NOW) -> list[AnyReply]:
    return [engine.execute(request, now) for request in requests]


def held(engine: Engine, key: bytes = b"k", now: float = NOW) -> AnyReply:
    return engine.execute(Get((key,)), now)


def hit(value: bytes, flags: int = 0, cas: int = 0, key: bytes = b"k") -> Values:
    return Values((Item(key, value, flags, cas),))


# --- without a CAS


@pytest.mark.parametrize(
    ("request_", "if_missing", "if_there"),
    [
        (Set(b"k", b"new", 5), Stored(1), Stored(2)),
        (Add(b"k", b"new", 5), Stored(1), EXISTS),
        (Replace(b"k", b"new", 5), NOT_FOUND, Stored(2)),
        (Append(b"k", b"new"), NOT_STORED, Stored(2)),
        (Prepend(b"k", b"new"), NOT_STORED, Stored(2)),
    ],
)
def test_each_store_checks_whether_the_item_exists(
    request_: AnyRequest, if_missing: AnyReply, if_there: AnyReply
) -> None:
    engine = Engine()
    assert replies(engine, request_) == [if_missing]
    assert held(engine) == (hit(b"new", 5, 1) if if_missing == Stored(1) else MISS)
    engine = Engine()
    assert replies(engine, Set(b"k", b"old", 7), request_) == [Stored(1), if_there]


def test_a_new_value_brings_its_own_flags_and_expiry() -> None:
    engine = Engine()
    replies(engine, Set(b"k", b"old", 7, 10), Set(b"k", b"new", 5))
    assert held(engine, now=NOW + 10) == hit(b"new", 5, 2)
    replies(engine, Replace(b"k", b"newer", 0, 10))
    assert held(engine, now=NOW + 9) == hit(b"newer", 0, 3)
    assert held(engine, now=NOW + 10) == MISS


@pytest.mark.parametrize(
    ("request_", "value"),
    [
        (Append(b"k", b"!"), b"value!"),
        (Prepend(b"k", b">"), b">value"),
        (Append(b"k", b""), b"value"),
        (Prepend(b"k", b""), b"value"),
    ],
)
def test_append_and_prepend_keep_flags_and_expiry(request_: AnyRequest, value: bytes) -> None:
    engine = Engine()
    replies(engine, Set(b"k", b"value", 7, 10))
    assert replies(engine, request_, now=NOW + 5) == [Stored(2)]
    assert held(engine, now=NOW + 9.9) == hit(value, 7, 2)
    assert held(engine, now=NOW + 10) == MISS


# --- with a CAS


@each_store
def test_a_cas_makes_a_compare_and_swap_of_every_store(kind: Store) -> None:
    engine = Engine()
    assert replies(engine, kind(b"k", b"new", cas=1)) == [NOT_FOUND]
    replies(engine, Set(b"k", b"old", 7))
    assert replies(engine, kind(b"k", b"new", cas=2), kind(b"k", b"new", cas=2**64 - 1)) == [EXISTS, EXISTS]
    assert held(engine) == hit(b"old", 7, 1)
    # An Add overwrites.
    assert replies(engine, kind(b"k", b"new", 5, cas=1)) == [Stored(2)]
    assert held(engine) == hit(b"new", 5, 2)
    # What a store tells may be used for the next one without a get.
    assert replies(engine, kind(b"k", b"newer", cas=1), kind(b"k", b"newer", cas=2)) == [EXISTS, Stored(3)]


@each_concatenation
def test_append_and_prepend_with_another_cas_are_refused(kind: type[Append | Prepend]) -> None:
    engine = Engine()
    assert replies(engine, kind(b"k", b"+", cas=1)) == [NOT_STORED]
    replies(engine, Set(b"k", b""))
    assert replies(engine, kind(b"k", b"+", cas=2), kind(b"k", b"+", cas=1), kind(b"k", b"+", cas=1)) == [
        EXISTS,
        Stored(2),
        EXISTS,
    ]
    assert held(engine) == hit(b"+", 0, 2)


def test_the_cas_is_one_counter_for_all_keys() -> None:
    engine = Engine()
    requests = (Set(b"a", b""), Set(b"b", b""), Add(b"a", b""), Append(b"a", b""), Set(b"c", b"", exptime=-1))
    assert replies(engine, *requests, Set(b"d", b"")) == [Stored(1), Stored(2), EXISTS, Stored(3), Stored(4), Stored(5)]


def test_store_ignores_the_cas_in_an_engine_without_cas() -> None:
    engine = Engine(cas=False)
    # A CAS in a store is not looked at, so that an Add is an Add.
    assert replies(engine, Set(b"k", b"v", cas=9), Add(b"k", b"v", cas=9), Replace(b"x", b"v", cas=9)) == [
        Stored(0),
        EXISTS,
        NOT_FOUND,
    ]
    assert replies(engine, Replace(b"k", b"w", cas=9), Append(b"k", b"+", cas=9), Touch(b"k")) == [
        Stored(0),
        Stored(0),
        Touched(0, 0),
    ]
    assert held(engine) == hit(b"w+")
    # But in a Delete it is.
    assert replies(engine, Delete(b"k", cas=9), Delete(b"k")) == [EXISTS, Deleted()]


# --- too large


@pytest.mark.parametrize(
    ("key", "length", "flags", "cas", "size"),
    [
        (b"", 0, 0, True, 59),
        (b"key", 1_048_576 - 62, 0, True, 1_048_576),
        (b"key", 100, 1, True, 166),
        (b"key", 100, 0, False, 154),
        (b"k" * 250, 0, 0xFFFF_FFFF, False, 305),
    ],
)
def test_stored_size_is_what_memcached_counts(key: bytes, length: int, flags: int, cas: bool, size: int) -> None:
    assert stored_size(key, length, flags, cas) == size


@pytest.mark.parametrize(
    ("length", "flags", "cas", "fits"),
    [
        (1_048_576 - 64, 0, True, True),
        (1_048_576 - 62, 0, True, True),
        (1_048_576 - 61, 0, True, False),
        (1_048_576 - 56, 0, True, False),
        (1_048_576, 0, True, False),
        (1_048_576 - 66, 1, True, True),
        (1_048_576 - 65, 1, True, False),
        (1_048_576 - 54, 0, False, True),
        (1_048_576 - 53, 0, False, False),
        (1_048_576 - 58, 1, False, True),
        (1_048_576 - 57, 1, False, False),
    ],
)
def test_item_over_item_size_max_is_refused_to_the_byte(length: int, flags: int, cas: bool, fits: bool) -> None:
    engine = Engine(cas=cas)
    stored = Stored(1 if cas else 0)
    assert replies(engine, Set(b"key", bytes(length), flags)) == [stored if fits else TOO_LARGE]
    assert len(engine) == fits


@pytest.mark.parametrize(
    ("request_", "left"),
    [
        (Set(b"k", bytes(200)), MISS),
        (Set(b"k", bytes(200), cas=99), MISS),
        (Add(b"k", bytes(200)), hit(b"old", 7, 1)),
        (Replace(b"k", bytes(200)), hit(b"old", 7, 1)),
        (Append(b"k", bytes(200)), hit(b"old", 7, 1)),
        (Prepend(b"k", bytes(200)), hit(b"old", 7, 1)),
    ],
)
def test_a_set_that_is_too_large_drops_the_old_value(request_: AnyRequest, left: Values) -> None:
    engine = Engine(item_size_max=200)
    replies(engine, Set(b"k", b"old", 7))
    assert replies(engine, request_) == [TOO_LARGE]
    assert held(engine) == left
    assert replies(engine, request_)[0] == TOO_LARGE


@each_concatenation
def test_what_would_become_too_large_is_not_stored(kind: type[Append | Prepend]) -> None:
    # With 60 bytes for header and key, and 4 for flags that are not 0.
    engine = Engine(item_size_max=200)
    replies(engine, Set(b"k", bytes(100)), Set(b"f", bytes(100), 7))
    assert replies(engine, kind(b"k", bytes(41)), kind(b"k", bytes(40))) == [NOT_STORED, Stored(3)]
    assert replies(engine, kind(b"f", bytes(37)), kind(b"f", bytes(36))) == [NOT_STORED, Stored(4)]
    assert replies(engine, kind(b"x", bytes(140)), kind(b"x", bytes(141))) == [NOT_STORED, TOO_LARGE]


# --- out of memory


def crowded() -> Engine:
    """No eviction; "a" and "k" of 100 bytes each, and room for 50 more."""
    room = 2 * (ITEM_OVERHEAD + 101) + 50
    engine = Engine(memory_limit=room, item_size_max=room, evict=False)
    assert replies(engine, Set(b"a", bytes(100)), Set(b"k", bytes(100), 7)) == [Stored(1), Stored(2)]
    return engine


def test_store_without_room_is_refused_without_eviction() -> None:
    engine = crowded()
    assert replies(engine, Set(b"x", b""), Add(b"x", b""), Set(b"x", b"")) == [NO_MEMORY] * 3
    assert len(engine) == 2
    assert replies(engine, Delete(b"a"), Set(b"x", b"")) == [Deleted(), Stored(3)]


@pytest.mark.parametrize(
    ("request_", "left"),
    [
        (Set(b"k", bytes(151)), MISS),
        (Replace(b"k", bytes(151)), hit(bytes(100), 7, 2)),
        (Append(b"k", bytes(51)), hit(bytes(100), 7, 2)),
        (Prepend(b"k", bytes(51)), hit(bytes(100), 7, 2)),
    ],
)
def test_a_set_that_does_not_fit_drops_the_old_value(request_: AnyRequest, left: Values) -> None:
    engine = crowded()
    assert replies(engine, request_) == [NO_MEMORY]
    assert held(engine) == left
    assert held(engine, b"a") == hit(bytes(100), 0, 1, b"a")


@pytest.mark.parametrize(
    "request_",
    [
        Set(b"k", bytes(150)),
        Replace(b"k", bytes(150)),
        Append(b"k", bytes(50)),
        Prepend(b"k", bytes(50)),
        Set(b"k", b""),
    ],
)
def test_store_that_fits_in_the_place_of_the_old_value_is_accepted(request_: AnyRequest) -> None:
    engine = crowded()
    # A refused store takes no CAS.
    assert replies(engine, Set(b"x", b""), request_) == [NO_MEMORY, Stored(3)]
    assert len(engine) == 2


def test_a_refusal_for_another_reason_comes_first() -> None:
    engine = crowded()
    assert replies(engine, Add(b"k", bytes(151)), Replace(b"x", bytes(151)), Set(b"k", bytes(151), cas=9)) == [
        EXISTS,
        NOT_FOUND,
        EXISTS,
    ]
    assert held(engine) == hit(bytes(100), 7, 2)
