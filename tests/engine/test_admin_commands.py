"""The administrative commands, each with its effect and its answer."""

from __future__ import annotations

import pytest

from memproto import AdminCommand, AdminReply, AnyReply, Failure, Get, Set, Stats, StatsReply, Status, Values
from memproto.engine import Engine

NOW = 1_700_000_000.0


def told(engine: Engine, command: str) -> AnyReply:
    return engine.execute(AdminCommand(tuple(command.encode().split())), NOW)


ERROR = Failure(Status.UNKNOWN_COMMAND)
BAD = Failure(Status.INVALID_ARGUMENTS)
OK = AdminReply((b"OK",))


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("slabs automove 2", OK),
        ("slabs automove ratio 0.8", OK),
        ("slabs automove ratio x", ERROR),
        ("slabs automove 3", ERROR),
        ("slabs automove x", BAD),
        ("slabs reassign 1 1", AdminReply((b"SAME src and dst class are identical",))),
        ("slabs reassign 1 2", AdminReply((b"BADCLASS invalid src or dst class id",))),
        ("slabs reassign x 2", BAD),
        ("slabs reassign 1", ERROR),
        ("lru mode flat", OK),
        ("lru mode round", ERROR),
        ("lru tune 10 25 0.1 2.0", OK),
        ("lru temp_ttl -1", OK),
        ("lru_crawler enable", OK),
        ("lru_crawler sleep 1000000", OK),
        ("lru_crawler sleep 1000001", Failure(Status.INVALID_ARGUMENTS, b"sleep must be one second or less")),
        ("lru_crawler tocrawl x", BAD),
        ("lru_crawler crawl 1,22", OK),
        ("lru_crawler crawl all", OK),
        ("lru_crawler crawl 100", AdminReply((b"BADCLASS invalid class id",))),
        ("lru_crawler metadump", ERROR),
        ("lru_crawler metadump all extra", ERROR),
        ("lru_crawler metadump x", AdminReply((b"BADCLASS invalid class id",))),
        ("lru_crawler metadump 2", AdminReply((b"END",))),
        ("shutdown", Failure(Status.UNKNOWN_COMMAND, b": shutdown not enabled")),
        ("shutdown graceful", Failure(Status.UNKNOWN_COMMAND, b": shutdown not enabled")),
        ("shutdowns", ERROR),
        ("", ERROR),
    ],
)
def test_tuning_command_is_answered_and_changes_nothing(command: str, reply: AnyReply) -> None:
    engine = Engine()
    engine.execute(Set(b"key", b"value"), NOW)
    before = engine.execute(Stats(), NOW)
    assert told(engine, command) == reply
    assert engine.execute(Stats(), NOW) == before


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("cache_memlimit", ERROR),
        ("cache_memlimit x", ERROR),
        ("cache_memlimit -1", ERROR),
        ("cache_memlimit 10000000000000", ERROR),
        ("cache_memlimit 64 x y", ERROR),
        ("cache_memlimit 7", AdminReply((b"MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m",))),
        ("cache_memlimit 64 x", OK),
        ("cache_memlimit 1000000001", AdminReply((b"MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes",))),
    ],
)
def test_refused_cache_memlimit_changes_nothing(command: str, reply: AnyReply) -> None:
    engine = Engine()
    assert told(engine, command) == reply
    assert limit(engine) == b"67108864"


def limit(engine: Engine) -> bytes:
    reply = engine.execute(Stats(), NOW)
    assert isinstance(reply, StatsReply)
    return dict(reply.stats)[b"limit_maxbytes"]


def test_a_smaller_memory_evicts_the_least_recently_used() -> None:
    engine = Engine()
    for number in range(20):
        engine.execute(Set(b"%02d" % number, bytes(1_000_000)), NOW)
    assert told(engine, "cache_memlimit 1000000000") == OK
    assert told(engine, "cache_memlimit 8") == OK
    assert limit(engine) == b"8388608"
    assert (len(engine), engine.size <= 8 * 2**20) == (8, True)
    assert engine.execute(Get((b"11",)), NOW) == Values()
    assert engine.execute(Get((b"12",)), NOW) != Values()


@pytest.mark.parametrize(
    ("arguments", "reply"),
    [
        ("", Failure(Status.INVALID_ARGUMENTS, b"bad command line")),
        ("1", Failure(Status.INVALID_ARGUMENTS, b"bad command line")),
        ("x 0", BAD),
        ("1 x", BAD),
        ("1 10000000000", BAD),
        ("64 0", Failure(Status.INVALID_ARGUMENTS, b"Illegal slab id")),
        ("63 0", AdminReply((b"END",))),
        ("2 0", AdminReply((b"END",))),
        ("1 0", AdminReply((b"ITEM a [3 b; 0 s]", b"ITEM c [0 b; 1700000100 s]", b"END"))),
        ("1 0 more", AdminReply((b"ITEM a [3 b; 0 s]", b"ITEM c [0 b; 1700000100 s]", b"END"))),
        ("1 2", AdminReply((b"ITEM a [3 b; 0 s]", b"ITEM c [0 b; 1700000100 s]", b"END"))),
        ("1 1", AdminReply((b"ITEM a [3 b; 0 s]", b"END"))),
    ],
)
def test_cachedump_lists_the_items_whose_keys_can_stand_in_a_line(arguments: str, reply: AnyReply) -> None:
    engine = Engine()
    engine.execute(Set(b"a", b"one"), NOW)
    engine.execute(Set(b"past", b"", exptime=5), NOW - 10)
    # Neither can stand in a line.
    engine.execute(Set(b"with blank", b""), NOW)
    engine.execute(Set(b"\x7f", b""), NOW)
    engine.execute(Set(b"c", b"", exptime=100), NOW)
    assert told(engine, f"stats cachedump {arguments}") == reply


@pytest.mark.parametrize("which", ["all", "hash", "1", "3,1"])
def test_metadump_lists_every_item(which: str) -> None:
    engine = Engine()
    engine.execute(Set(b"a%b", b"abc", 5, 100), NOW)
    engine.execute(Set(b"\0\xff", b"x"), NOW)
    engine.execute(Get((b"\0\xff",)), NOW)
    engine.execute(Set(b"gone", b"x", exptime=1), NOW - 1)
    assert told(engine, f"lru_crawler metadump {which}") == AdminReply(
        (
            b"key=a%25b exp=1700000100 la=1700000000 cas=1 fetch=no cls=1 size=69",
            b"key=%00%FF exp=-1 la=1700000000 cas=2 fetch=yes cls=1 size=62",
            b"END",
        )
    )
    assert told(Engine(), f"lru_crawler metadump {which}") == AdminReply((b"END",))


def test_a_key_in_a_metadump_is_quoted_but_for_letters_digits_and_four_signs() -> None:
    engine = Engine()
    engine.execute(Set(bytes(range(33, 127)), b"v"), 1.0)
    engine.execute(Set(b"\x00/\xff", b"v"), 1.0)
    reply = engine.execute(AdminCommand((b"lru_crawler", b"metadump", b"all")), 1.0)
    assert isinstance(reply, AdminReply)
    assert [line.split()[0] for line in reply.lines[:2]] == [
        b"key=%21%22%23%24%25%26%27%28%29%2A%2B%2C-.%2F0123456789%3A%3B%3C%3D%3E%3F%40"
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZ%5B%5C%5D%5E_%60abcdefghijklmnopqrstuvwxyz%7B%7C%7D~",
        b"key=%00%2F%FF",
    ]


@pytest.mark.parametrize(("word", "taken"), [(b"0000000008", True), (b"00000000008", False), (b"\xb2", False)])
def test_a_memory_limit_has_ten_digits_at_most(word: bytes, taken: bool) -> None:
    reply = Engine().execute(AdminCommand((b"cache_memlimit", word)), 1.0)
    assert reply == (AdminReply() if taken else Failure(Status.UNKNOWN_COMMAND))
