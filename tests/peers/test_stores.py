"""Stores at the edge of the item size, and stores with a CAS where there is none: the same bytes as memcached's.

Every command of the text dialects and every size around the limit: from what fits, over what is too large by less than
the header of an item, to what is far too large. What is left of the old item is compared after each.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator

import pytest

from memproto import Limits
from memproto.engine import Engine
from tests.peers.test_text import Peer
from tests.support.peers import memcached
from tests.support.replica import Replica

pytestmark = [pytest.mark.once, pytest.mark.peer("memcached")]

LIMIT = 1024
SIZES = (1, *range(LIMIT - 75, LIMIT + 62), 2 * LIMIT, 100 * LIMIT)
MODES = (b"E", b"A", b"P", b"R", b"S")
CLASSIC = (
    *(
        b"%b k %b 0 %d" % (verb, flags, 0)
        for verb in (b"set", b"add", b"replace", b"append", b"prepend")
        for flags in (b"0", b"9")
    ),
    b"cas k 0 0 0 9999999999",
    b"cas k 9 0 0 9999999999",
)
META = tuple(b"ms k 0 M" + mode + more for mode in MODES for more in (b"", b" F7", b" C9999999999", b" T30"))


def _of_size(command: bytes, size: int) -> bytes:
    """The command with this length and so many bytes of data."""
    words = command.split(b" ")
    words[2 if words[0] == b"ms" else 4] = b"%d" % size
    return b" ".join(words) + b"\r\n" + bytes(size).replace(b"\0", b"x") + b"\r\n"


@pytest.fixture(scope="module")
def small() -> Iterator[Peer]:
    with memcached("-o", "no_modern,slab_chunk_max=1024", "-I", str(LIMIT)) as port:
        peer = Peer(port)
        yield peer
        peer.close()


@pytest.fixture(scope="module")
def without_cas() -> Iterator[Peer]:
    with memcached("-o", "no_modern", "-C") as port:
        peer = Peer(port)
        yield peer
        peer.close()


def _compared(peer: Peer, replica: Replica) -> Callable[[bytes], None]:
    def ask(command: bytes) -> None:
        assert replica.exchange(command, time.time()) == peer.exchange(command), (command[:40], len(command))

    return ask


@pytest.mark.parametrize("command", [*CLASSIC, *META], ids=repr)
def test_a_store_of_any_size_around_the_limit_leaves_what_memcached_leaves(small: Peer, command: bytes) -> None:
    ask = _compared(small, Replica(Engine(item_size_max=LIMIT), Limits(value=LIMIT)))
    small.exchange(b"delete k\r\n")
    for size, present in itertools.product(SIZES, (True, False)):
        if present:
            ask(b"set k 0 0 3\r\nabc\r\n")
        ask(_of_size(command, size))
        ask(b"get k\r\n")
        ask(b"set k 0 0 0\r\n\r\ndelete k\r\n")


@pytest.mark.parametrize("cas", [b"0", b"1", b"18446744073709551615"])
@pytest.mark.parametrize("present", [True, False])
def test_a_compare_and_swap_where_there_are_no_cas_numbers_is_as_with_memcached(
    without_cas: Peer, cas: bytes, present: bool
) -> None:
    ask = _compared(without_cas, Replica(Engine(cas=False)))
    stores = (b"ms k 1 M" + mode + b" C" + cas + more + b"\r\nx\r\n" for mode in MODES for more in (b"", b" I"))
    others = (b"%b C%b\r\n" % (command, cas) for command in (b"md k", b"md k I", b"ma k", b"mg k"))
    for command in (b"cas k 0 0 1 " + cas + b"\r\nx\r\n", *stores, *others):
        ask(b"set k 0 0 3\r\nabc\r\n")
        if not present:
            ask(b"delete k\r\n")
        ask(command)
        ask(b"get k\r\n")
