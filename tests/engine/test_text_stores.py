"""What is left of an item after a store that is refused, where text commands and binary ones of one meaning differ."""

from __future__ import annotations

import pytest

from memproto import Add, Append, Prepend, Replace, Request, Set, Stored
from memproto.engine import Engine
from tests.support.replica import Replica

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("command", "stays"),
    [
        (b"set k 0 0 190\r\n", False),
        (b"cas k 0 0 190 7\r\n", True),
        *((verb + b" k 0 0 190\r\n", True) for verb in (b"add", b"replace", b"append", b"prepend")),
        *((b"ms k 190 M%c%b\r\n" % (mode, cas), False) for mode in b"EAPRS" for cas in (b"", b" C7")),
        *((b"append k 9 0 %d\r\n" % length, True) for length in (137, 138)),
    ],
    ids=repr,
)
def test_a_refused_store_of_a_text_dialect_leaves_what_memcached_leaves(command: bytes, stays: bool) -> None:
    # An item of 200 bytes has room for 141 with its key, and 4 fewer with flags.
    replica = Replica(Engine(item_size_max=200, memory_limit=10_000))
    assert replica.exchange(b"set k 0 0 3\r\nold\r\n", NOW) == b"STORED\r\n"
    length = int(command.split()[4 if command[:2] != b"ms" else 2])
    refused = b"SERVER_ERROR object too large for cache\r\n"
    assert replica.exchange(command + bytes(length) + b"\r\n", NOW) == refused
    assert replica.exchange(b"get k\r\n", NOW) == (b"VALUE k 0 3\r\nold\r\n" if stays else b"") + b"END\r\n"


@pytest.mark.parametrize("line", [b"cas k 0 0 1 1\r\nx\r\n", b"ms k 1 C1\r\nx\r\n", b"ms k 1 MR C1\r\nx\r\n"], ids=repr)
def test_a_text_store_with_a_cas_stores_nothing_in_a_cache_without_cas(line: bytes) -> None:
    replica = Replica(Engine(cas=False))
    missing, exists = (b"NF\r\n", b"EX\r\n") if line[:2] == b"ms" else (b"NOT_FOUND\r\n", b"EXISTS\r\n")
    assert replica.exchange(line, NOW) == missing
    assert replica.exchange(b"set k 0 0 3\r\nold\r\n" + line + b"get k\r\n", NOW) == (
        b"STORED\r\n" + exists + b"VALUE k 0 3\r\nold\r\nEND\r\n"
    )


@pytest.mark.parametrize(
    ("told", "plain", "shown"),
    [
        (
            Set(b"k", b"v", cas=7, strict=True, unlink=False),
            Set(b"k", b"v", cas=7),
            "Set(key=b'k', value=b'v', flags=0, exptime=0, cas=7, meta=None)",
        ),
        (
            Add(b"k", b"v", unlink=True),
            Add(b"k", b"v"),
            "Add(key=b'k', value=b'v', flags=0, exptime=0, cas=0, meta=None)",
        ),
        (
            Replace(b"k", b"v", strict=True, unlink=True),
            Replace(b"k", b"v"),
            "Replace(key=b'k', value=b'v', flags=0, exptime=0, cas=0, meta=None)",
        ),
        (
            Append(b"k", b"v", flags=5, unlink=True),
            Append(b"k", b"v"),
            "Append(key=b'k', value=b'v', cas=0, meta=None)",
        ),
        (
            Prepend(b"k", b"v", flags=5, unlink=True),
            Prepend(b"k", b"v"),
            "Prepend(key=b'k', value=b'v', cas=0, meta=None)",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_the_readers_tell_of_a_store_is_no_part_of_its_value(
    told: Request[Stored], plain: Request[Stored], shown: str
) -> None:
    assert told == plain
    assert hash(told) == hash(plain)
    assert repr(told) == repr(plain) == shown
