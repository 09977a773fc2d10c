"""Reading, touching, deleting, flushing, and what is no cache's business."""

from __future__ import annotations

import pytest

from memproto import (
    Add,
    AnyReply,
    AnyRequest,
    Append,
    Decrement,
    Delete,
    Deleted,
    Failure,
    Flush,
    Get,
    Increment,
    InvalidRequest,
    Item,
    LocalProtocolError,
    Noop,
    Ok,
    Packet,
    Prepend,
    Quit,
    Replace,
    SaslAuth,
    SaslList,
    SaslStep,
    Set,
    Stats,
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
from memproto.engine import Engine

NOW = 1_700_000_000.0
NOT_FOUND = Failure(Status.KEY_NOT_FOUND)
EXISTS = Failure(Status.KEY_EXISTS)
MISS = Values()


def replies(engine: Engine, *requests: AnyRequest, now: float = NOW) -> list[AnyReply]:
    return [engine.execute(request, now) for request in requests]


def hit(value: bytes, flags: int = 0, cas: int = 0, key: bytes = b"k") -> Values:
    return Values((Item(key, value, flags, cas),))


# --- get


def test_get_of_a_stored_key_hits_and_of_any_other_misses() -> None:
    assert replies(Engine(), Get((b"k",)), Set(b"k", b"value", 7), Get((b"k",)), Get((b"K",))) == [
        MISS,
        Stored(1),
        hit(b"value", 7, 1),
        MISS,
    ]


def test_get_of_many_keys_keeps_their_order() -> None:
    engine = Engine()
    replies(engine, Set(b"a", b"1"), Set(b"b", b"2", 5))
    a, b = Item(b"a", b"1", 0, 1), Item(b"b", b"2", 5, 2)
    assert replies(engine, Get((b"b", b"x", b"a", b"b")), Get(()), Get((b"x", b"y"))) == [
        Values((b, a, b)),
        MISS,
        MISS,
    ]
    assert replies(engine, Get((b"b", b"x", b"a"), 100), Get((b"x",), 100)) == [Values((b, a)), MISS]


def test_keys_and_values_may_be_any_bytes() -> None:
    engine = Engine()
    for key, value in ((b"", b""), (b"a b\r\n\x00\xff", b"\x00\r\n\xff"), (b"k" * 250, b"v" * 100_000)):
        replies(engine, Set(key, value))
        assert replies(engine, Get((key,))) == [Values((Item(key, value, 0, len(engine)),))]


# --- expiry


@pytest.mark.parametrize(
    ("exptime", "alive", "gone"),
    [
        (1, NOW + 0.999, NOW + 1),
        (60, NOW + 59.9, NOW + 60),
        (2_592_000, NOW + 2_591_999, NOW + 2_592_000),
        (1_700_000_001, NOW + 0.5, NOW + 1),
        (1_800_000_000, 1_799_999_999.9, 1_800_000_000),
        (0xFFFF_FFFF, 4_294_967_294.9, 4_294_967_295.0),
    ],
)
def test_an_item_lives_until_it_expires(exptime: int, alive: float, gone: float) -> None:
    engine = Engine()
    replies(engine, Set(b"k", b"v", exptime=exptime))
    assert replies(engine, Get((b"k",)), now=alive) == [hit(b"v", cas=1)]
    assert replies(engine, Get((b"k",)), Add(b"k", b"w"), now=gone) == [MISS, Stored(2)]


def test_exptime_0_is_never() -> None:
    engine = Engine()
    replies(engine, Set(b"k", b"v"))
    assert replies(engine, Get((b"k",)), now=1e18) == [hit(b"v", cas=1)]


@pytest.mark.parametrize("exptime", [2_592_001, 1_699_999_999, 1_700_000_000, -1, -(2**31)])
def test_an_item_may_have_expired_when_it_is_stored(exptime: int) -> None:
    engine = Engine()
    replies(engine, Set(b"k", b"old"))
    assert replies(engine, Set(b"k", b"v", exptime=exptime), Get((b"k",))) == [Stored(2), MISS]
    assert (len(engine), engine.size) == (0, 0)


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        (Get((b"k",)), MISS),
        (Get((b"k",), 100), MISS),
        (Set(b"k", b"w", cas=1), NOT_FOUND),
        (Add(b"k", b"w"), Stored(2)),
        (Replace(b"k", b"w"), NOT_FOUND),
        (Append(b"k", b"w"), Failure(Status.NOT_STORED)),
        (Prepend(b"k", b"w"), Failure(Status.NOT_STORED)),
        (Delete(b"k"), NOT_FOUND),
        (Increment(b"k"), NOT_FOUND),
        (Decrement(b"k"), NOT_FOUND),
        (Touch(b"k"), NOT_FOUND),
    ],
)
def test_request_for_an_expired_item_misses(request_: AnyRequest, reply: AnyReply) -> None:
    engine = Engine()
    replies(engine, Set(b"k", b"5", exptime=1))
    assert len(engine) == 1
    assert replies(engine, request_, now=NOW + 1) == [reply]
    assert len(engine) == isinstance(reply, Stored)


def test_time_that_stands_still_or_goes_back_brings_nothing_back() -> None:
    engine = Engine()
    replies(engine, Set(b"k", b"v", exptime=10), Set(b"t", b"v"), Flush(100))
    assert replies(engine, Get((b"k",)), Get((b"k",)), now=NOW + 10) == [MISS, MISS]
    assert replies(engine, Get((b"k",)), Get((b"t",)), now=NOW - 1000) == [MISS, hit(b"v", cas=2, key=b"t")]
    assert replies(engine, Get((b"t",)), now=NOW + 99) == [MISS]
    assert replies(engine, Get((b"t",)), Set(b"t", b"w"), now=NOW) == [MISS, Stored(3)]
    assert replies(engine, Get((b"t",)), now=NOW + 99) == [hit(b"w", cas=3, key=b"t")]


# --- touch


def test_touch_changes_the_expiry_and_nothing_else() -> None:
    engine = Engine()
    replies(engine, Set(b"k", b"v", 7, 10))
    assert replies(engine, Touch(b"x", 5), Touch(b"k", 100)) == [NOT_FOUND, Touched(7, 1)]
    assert replies(engine, Get((b"k",)), now=NOW + 99) == [hit(b"v", 7, 1)]
    assert replies(engine, Get((b"k",), 0), now=NOW + 99) == [hit(b"v", 7, 1)]
    assert replies(engine, Get((b"k",), 1), now=1e12) == [hit(b"v", 7, 1)]
    assert replies(engine, Get((b"k",)), now=1e12 + 1) == [MISS]


@pytest.mark.parametrize("exptime", [2_592_001, 1_699_999_999, 1_700_000_000, -1])
def test_touch_with_a_time_in_the_past_removes_the_item(exptime: int) -> None:
    for request, reply in ((Touch(b"k", exptime), Touched(7, 1)), (Get((b"k",), exptime), hit(b"v", 7, 1))):
        engine = Engine()
        replies(engine, Set(b"k", b"v", 7))
        assert replies(engine, request, Get((b"k",))) == [reply, MISS]
        assert (len(engine), engine.size) == (0, 0)


def test_a_key_that_is_named_twice_and_ended_is_found_once() -> None:
    engine = Engine()
    replies(engine, Set(b"k", b"v"))
    assert replies(engine, Get((b"k", b"k"), -1)) == [hit(b"v", cas=1)]


# --- delete


def test_delete_removes_the_item_unless_the_cas_differs() -> None:
    engine = Engine()
    replies(engine, Set(b"k", b"v"))
    assert replies(engine, Delete(b"x"), Delete(b"x", cas=1), Delete(b"k", cas=2), Get((b"k",))) == [
        NOT_FOUND,
        NOT_FOUND,
        EXISTS,
        hit(b"v", cas=1),
    ]
    assert replies(engine, Delete(b"k", cas=1), Delete(b"k"), Set(b"k", b"v"), Delete(b"k")) == [
        Deleted(),
        NOT_FOUND,
        Stored(2),
        Deleted(),
    ]
    assert engine.size == 0


# --- flush


@pytest.mark.parametrize("flush", [Flush(), Flush(0), Flush(1), Flush(-1), Flush(1_700_000_000)])
def test_flush_without_delay_removes_all_at_once(flush: Flush) -> None:
    engine = Engine()
    # It takes a number among the CAS, which go on.
    assert replies(engine, Set(b"k", b"v"), flush, Get((b"k",)), Set(b"k", b"w"), Get((b"k",))) == [
        Stored(1),
        Ok(),
        MISS,
        Stored(3),
        hit(b"w", cas=3),
    ]
    assert replies(engine, Get((b"k",)), now=NOW + 10**9) == [hit(b"w", cas=3)]


@pytest.mark.parametrize(
    ("delay", "moment"),
    [(2, NOW + 1), (10, NOW + 9), (2_592_000, NOW + 2_591_999), (1_700_000_100, NOW + 99)],
)
def test_flush_after_a_delay(delay: int, moment: float) -> None:
    engine = Engine()
    replies(engine, Set(b"k", b"v"), Flush(delay))
    assert replies(engine, Set(b"later", b"v"), Get((b"k",)), now=moment - 0.1) == [Stored(2), hit(b"v", cas=1)]
    assert replies(engine, Get((b"k",)), Get((b"later",)), Add(b"k", b"w"), now=moment) == [MISS, MISS, Stored(3)]
    assert replies(engine, Get((b"k",)), now=moment + 10**9) == [hit(b"w", cas=3)]


def test_a_flush_replaces_the_one_that_is_pending() -> None:
    engine = Engine()
    replies(engine, Set(b"k", b"v"), Flush(10), Flush(100))
    assert replies(engine, Get((b"k",)), now=NOW + 98) == [hit(b"v", cas=1)]
    assert replies(engine, Get((b"k",)), now=NOW + 99) == [MISS]
    replies(engine, Flush(10), Flush(), Set(b"k", b"w"))
    assert replies(engine, Get((b"k",)), now=NOW + 10**6) == [hit(b"w", cas=3)]


@pytest.mark.parametrize("past", [2_592_001, 1_699_999_999])
def test_a_flush_in_the_past_flushes_nothing_and_ends_the_pending_one(past: int) -> None:
    engine = Engine()
    replies(engine, Set(b"k", b"v"), Flush(10))
    assert replies(engine, Flush(past), Set(b"n", b"v")) == [Ok(), Stored(3)]
    assert replies(engine, Get((b"k",)), now=NOW + 10**6) == [hit(b"v", cas=1)]


def test_flush_may_be_forbidden() -> None:
    engine = Engine(flush=False)
    forbidden = Failure(Status.AUTH_ERROR)
    assert replies(engine, Set(b"k", b"v"), Flush(), Flush(10), Get((b"k",)), Set(b"n", b"v")) == [
        Stored(1),
        forbidden,
        forbidden,
        hit(b"v", cas=1),
        Stored(2),
    ]
    assert replies(engine, Get((b"k",)), now=NOW + 100) == [hit(b"v", cas=1)]


# --- the rest


def test_version_noop_and_quit() -> None:
    assert replies(Engine(), Version(), Noop(), Quit()) == [VersionReply(b"1.6.18"), Ok(), Ok()]
    assert replies(Engine(version=b"7.8.9"), Version()) == [VersionReply(b"7.8.9")]
    # How much is logged is the embedder's business; there is nothing against it.
    assert replies(Engine(), Verbosity(1)) == [Ok()]


@pytest.mark.parametrize(
    "request_",
    [SaslList(), SaslAuth(b"PLAIN"), SaslStep(b"PLAIN"), Unknown(Packet(0x80, 0x50))],
)
def test_what_is_no_cache_s_business(request_: AnyRequest) -> None:
    assert replies(Engine(), request_) == [Failure(Status.UNKNOWN_COMMAND)]


def test_malformed_requests_carry_their_reply() -> None:
    engine = Engine()
    invalid, too_large = Failure(Status.INVALID_ARGUMENTS), Failure(Status.VALUE_TOO_LARGE, b"no")
    replies(engine, Set(b"k", b"v"))
    assert replies(engine, InvalidRequest(invalid, "why", Set(b"k", b"")), InvalidRequest(too_large, "why")) == [
        invalid,
        too_large,
    ]
    assert replies(engine, Get((b"k",))) == [hit(b"v", cas=1)]


@pytest.mark.parametrize(
    ("request_", "left"),
    [(Set(b"k", b""), MISS), (Set(b"k", b"", cas=9), MISS)]
    + [
        (each, hit(b"v", cas=1)) for each in (Add(b"k", b""), Replace(b"k", b""), Append(b"k", b""), Prepend(b"k", b""))
    ],
)
def test_a_set_that_the_connection_refused_as_too_large_drops_the_old_value(request_: AnyRequest, left: Values) -> None:
    engine = Engine()
    too_large = Failure(Status.VALUE_TOO_LARGE)
    replies(engine, Set(b"k", b"v"))
    assert replies(engine, InvalidRequest(too_large, "why", request_), Get((b"k",))) == [too_large, left]
    assert dict(engine.execute(Stats(), NOW).stats)[b"store_too_large"] == b"1"  # type: ignore[union-attr]


def test_the_same_requests_at_the_same_times_have_the_same_replies() -> None:
    def run() -> list[AnyReply]:
        engine = Engine(memory_limit=5000, item_size_max=500)
        return [
            engine.execute(kind(b"%d" % (at % 13), b"%d" % at), NOW + at)
            for at in range(200)
            for kind in (Set, Add, Append, lambda key, _value: Get((key,), 7))
        ]

    assert run() == run()


@pytest.mark.parametrize(
    ("memory_limit", "item_size_max", "message"),
    [
        (1024, 0, r"item_size_max is 0, must be 1 to memory_limit \(1024\)"),
        (1024, -1, r"item_size_max is -1, must be 1 to memory_limit \(1024\)"),
        (1024, 1025, r"item_size_max is 1025, must be 1 to memory_limit \(1024\)"),
    ],
)
def test_sizes_that_make_no_sense(memory_limit: int, item_size_max: int, message: str) -> None:
    with pytest.raises(LocalProtocolError, match=f"^{message}$"):
        Engine(memory_limit=memory_limit, item_size_max=item_size_max)
    for size in (1024, 1):
        assert replies(Engine(memory_limit=size, item_size_max=size), Get((b"k",))) == [MISS]
