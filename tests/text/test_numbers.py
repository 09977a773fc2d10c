"""Every number of a text request, spelt in every way: as memcached 1.6.18 reads it, and side by side with it.

memcached reads with C's strtol and strtoull: blanks and a sign before the digits, a blank behind them and then
anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from memproto import (
    Add,
    AnyRequest,
    Append,
    Decrement,
    Delete,
    Flush,
    Get,
    Increment,
    InvalidRequest,
    Limits,
    MetaOptions,
    Prepend,
    Replace,
    ServerConnection,
    Set,
    Signal,
    Status,
    Touch,
    UnknownLine,
    Verbosity,
    Version,
)
from memproto.model import Envelope
from tests.peers.test_text import Pair, Peer, timeless
from tests.support.peers import memcached
from tests.support.serving import serve_three_ways


@dataclass(frozen=True)
class Spelling:
    """What a word is as an unsigned number of 64 bits, as an expiry, and as a length; ``None`` if it is refused."""

    word: bytes
    unsigned: int | None
    expiry: int | None
    length: int | None


def _plain(word: bytes, number: int) -> Spelling:
    return Spelling(word, number, number, number)


def _refused(word: bytes) -> Spelling:
    return Spelling(word, None, None, None)


U64 = (1 << 64) - 1
I32, I63 = 1 << 31, 1 << 63

SPELLINGS = [
    _plain(b"0", 0),
    _plain(b"5", 5),
    _plain(b"007", 7),
    _plain(b"+0", 0),
    _plain(b"+5", 5),
    _plain(b"-0", 0),
    _plain(b"0" * 24 + b"5", 5),
    _plain(b"-" + b"0" * 30, 0),
    # Blanks.
    *(_plain(blank + b"5", 5) for blank in (b"\t", b"\r", b"\v", b"\f", b"\t\r", b"\t+")),
    *(_plain(b"5" + blank, 5) for blank in (b"\t", b"\r", b"\v", b"\f", b"\r\r")),
    *(_plain(b"5" + tail, 5) for tail in (b"\t0", b"\rx", b"\t-", b"\v5")),
    # No numbers.
    *map(_refused, (b"x", b"x5", b"5x", b"-", b"+", b"++5", b"+-5", b"-+5", b"--5", b"0x5", b"5.0", b"1e1", b"5,")),
    *map(
        _refused, (b"\t", b"\r", b"\tx", b"\t-", b"\rx5", b"\xa05", b"5\xa0", b"\xb2", b"\xd9\xa5", b"\x1c5", b"5\x1c")
    ),
    # Signs.
    Spelling(b"-1", None, -1, None),
    Spelling(b"-5", None, -5, None),
    Spelling(b"\t-5", None, -5, None),
    # Ranges: an expiry has 64 bits, of which 32 count; an unsigned number counts from 2**64 down.
    Spelling(b"%d" % (I32 - 3), I32 - 3, I32 - 3, I32 - 3),
    Spelling(b"%d" % (I32 - 2), I32 - 2, I32 - 2, None),
    Spelling(b"%d" % (I32 - 1), I32 - 1, I32 - 1, None),
    Spelling(b"%d" % I32, I32, -I32, None),
    Spelling(b"4294967295", 4294967295, -1, None),
    Spelling(b"4294967296", 4294967296, 0, None),
    Spelling(b"4294967301", 4294967301, 5, None),
    Spelling(b"-%d" % I32, None, -I32, None),
    Spelling(b"-%d" % (I32 + 1), None, I32 - 1, None),
    Spelling(b"-4294967295", None, 1, None),
    Spelling(b"%d" % (I63 - 1), I63 - 1, -1, None),
    Spelling(b"%d" % I63, I63, None, None),
    Spelling(b"-%d" % I63, None, 0, None),
    Spelling(b"-%d" % (I63 + 1), I63 - 1, None, None),
    Spelling(b"%d" % U64, U64, None, None),
    Spelling(b"%d" % (U64 + 1), None, None, None),
    Spelling(b"-%d" % U64, 1, None, None),
    Spelling(b"-%d" % (U64 + 1), None, None, None),
    _refused(b"9" * 20),
    _refused(b"9" * 24),
    _refused(b"1" + b"0" * 2000),
    _refused(b"-1" + b"0" * 2000),
]


@dataclass(frozen=True)
class Field:
    """A command with a place for a number: which reading counts, up to what, the line that refuses it, the message."""

    command: bytes
    kind: str
    most: int
    refusal: bytes
    message: Callable[[int], AnyRequest]

    def __str__(self) -> str:
        return repr(self.command)[2:-1]


BAD_FORMAT = b"CLIENT_ERROR bad command line format\r\n"
BAD_EXPTIME = b"CLIENT_ERROR invalid exptime argument\r\n"
BAD_DELTA = b"CLIENT_ERROR invalid numeric delta argument\r\n"
BAD_TOKEN = b"CLIENT_ERROR bad token in command line format\r\n"
BAD_FLAG = b"CLIENT_ERROR invalid or duplicate flag\r\n"
U32 = (1 << 32) - 1
KEY = b"one"


def _unsigned(command: bytes, refusal: bytes, message: Callable[[int], AnyRequest], most: int = U64) -> Field:
    return Field(command, "unsigned", most, refusal, message)


def _expiry(command: bytes, refusal: bytes, message: Callable[[int], AnyRequest]) -> Field:
    return Field(command, "expiry", U64, refusal, message)


def _mg(exptime: int | None = None, **options: int) -> Get:
    return Get((KEY,), exptime, MetaOptions(**options))  # type: ignore[arg-type]


def _ma(delta: int = 1, initial: int = 0, exptime: int | None = None, cas: int = 0) -> Increment:
    return Increment(KEY, delta, initial, exptime, cas)


FIELDS = [
    _unsigned(b"set one %s 0 1\r\nv\r\n", BAD_FORMAT, lambda n: Set(KEY, b"v", n), U32),
    _expiry(b"set one 0 %s 1\r\nv\r\n", BAD_FORMAT, lambda n: Set(KEY, b"v", 0, n)),
    _unsigned(b"add one %s 0 1\r\nv\r\n", BAD_FORMAT, lambda n: Add(KEY, b"v", n), U32),
    _expiry(b"add one 0 %s 1\r\nv\r\n", BAD_FORMAT, lambda n: Add(KEY, b"v", 0, n)),
    _unsigned(b"replace one %s 0 1\r\nv\r\n", BAD_FORMAT, lambda n: Replace(KEY, b"v", n), U32),
    _expiry(b"replace one 0 %s 1\r\nv\r\n", BAD_FORMAT, lambda n: Replace(KEY, b"v", 0, n)),
    # They keep what the item has, but what is said here must be a number.
    _unsigned(b"append one %s 0 1\r\nv\r\n", BAD_FORMAT, lambda _: Append(KEY, b"v"), U32),
    _expiry(b"append one 0 %s 1\r\nv\r\n", BAD_FORMAT, lambda _: Append(KEY, b"v")),
    _unsigned(b"prepend one %s 0 1\r\nv\r\n", BAD_FORMAT, lambda _: Prepend(KEY, b"v"), U32),
    _expiry(b"prepend one 0 %s 1\r\nv\r\n", BAD_FORMAT, lambda _: Prepend(KEY, b"v")),
    _unsigned(b"cas one %s 0 1 9\r\nv\r\n", BAD_FORMAT, lambda n: Set(KEY, b"v", n, 0, 9), U32),
    _expiry(b"cas one 0 %s 1 9\r\nv\r\n", BAD_FORMAT, lambda n: Set(KEY, b"v", 0, n, 9)),
    _unsigned(b"cas one 0 0 1 %s\r\nv\r\n", BAD_FORMAT, lambda n: Set(KEY, b"v", 0, 0, n or -1)),
    _expiry(b"gat %s one\r\n", BAD_EXPTIME, lambda n: Get((KEY,), n)),
    _expiry(b"gats %s one\r\n", BAD_EXPTIME, lambda n: Get((KEY,), n)),
    _expiry(b"touch one %s\r\n", BAD_EXPTIME, lambda n: Touch(KEY, n)),
    _expiry(b"flush_all %s\r\n", BAD_EXPTIME, lambda n: Flush(n)),
    _unsigned(b"incr one %s\r\n", BAD_DELTA, lambda n: Increment(KEY, n)),
    _unsigned(b"decr one %s\r\n", BAD_DELTA, lambda n: Decrement(KEY, n)),
    _unsigned(b"verbosity %s\r\n", BAD_FORMAT, lambda n: Verbosity(n), U32),
    _expiry(b"mg one T%s\r\n", BAD_TOKEN, lambda n: _mg(n)),
    _expiry(b"mg one N%s\r\n", BAD_TOKEN, lambda n: _mg(vivify=n)),
    _expiry(b"mg one R%s\r\n", BAD_TOKEN, lambda n: _mg(recache=n)),
    _unsigned(b"mg one C%s\r\n", BAD_TOKEN, lambda n: _mg(unless_cas=n)),
    _unsigned(b"mg one E%s\r\n", BAD_TOKEN, lambda n: _mg(new_cas=n)),
    _expiry(b"ms one 1 T%s\r\nv\r\n", BAD_TOKEN, lambda n: Set(KEY, b"v", 0, n)),
    _expiry(b"ms one 1 MA N%s\r\nv\r\n", BAD_TOKEN, lambda n: Append(KEY, b"v", 0, MetaOptions(vivify=n))),
    _unsigned(b"ms one 1 F%s\r\nv\r\n", BAD_FORMAT, lambda n: Set(KEY, b"v", n), U32),
    _unsigned(b"ms one 1 C%s\r\nv\r\n", BAD_TOKEN, lambda n: Set(KEY, b"v", 0, 0, n or -1)),
    _expiry(b"md one I T%s\r\n", BAD_FLAG, lambda n: Delete(KEY, 0, MetaOptions(invalidate=True, exptime=n))),
    _unsigned(b"md one C%s\r\n", BAD_FLAG, lambda n: Delete(KEY, n or -1)),
    _expiry(b"ma one T%s\r\n", BAD_FLAG, lambda n: Increment(KEY, meta=MetaOptions(exptime=n))),
    _expiry(b"ma one N%s\r\n", BAD_FLAG, lambda n: _ma(exptime=n)),
    _unsigned(b"ma one C%s\r\n", BAD_FLAG, lambda n: _ma(cas=n)),
    _unsigned(b"ma one D%s\r\n", BAD_FLAG, lambda n: _ma(n)),
    _unsigned(b"ma one J%s\r\n", BAD_FLAG, lambda n: _ma(initial=n)),
    # Of other commands, ignored, but numbers all the same.
    _unsigned(b"mg one D%s\r\n", b"CLIENT_ERROR invalid numeric delta value\r\n", lambda _: _mg()),
    _unsigned(b"mg one J%s\r\n", b"CLIENT_ERROR invalid numeric initial value\r\n", lambda _: _mg()),
    _unsigned(b"mg one F%s\r\n", BAD_FORMAT, lambda _: _mg(), U32),
]

LENGTHS = [
    b"set one 0 0 %s\r\n",
    b"set one 0 0 %s noreply\r\n",
    b"add one 0 0 %s\r\n",
    b"append one 0 0 %s\r\n",
    b"cas one 0 0 %s 9\r\n",
    b"ms one %s\r\n",
    b"ms one %s MA\r\n",
]


def _reading(spelling: Spelling, field: Field) -> int | None:
    number = spelling.unsigned if field.kind == "unsigned" else spelling.expiry
    return number if number is None or number <= field.most else None


def _next(server: ServerConnection) -> Envelope:
    event = server.next_event()
    assert isinstance(event, Envelope), event
    return event


@pytest.mark.parametrize("field", FIELDS, ids=str)
def test_a_number_is_read_as_memcached_reads_it(field: Field) -> None:
    for spelling in SPELLINGS:
        server = ServerConnection()
        server.receive_data(field.command.replace(b"%s", spelling.word))
        event = _next(server)
        number = _reading(spelling, field)
        if number is not None:
            assert event.request == field.message(number), spelling
        else:
            assert isinstance(event.request, InvalidRequest), spelling
            assert server.send(event.request.reply, event) == field.refusal, spelling
        if number is None and field.command.startswith(b"cas one 0 0 1 "):
            # As to memcached, which swallows no data here.
            assert _next(server).request == UnknownLine(b"v")
        # Whatever was wrong with it, what comes behind is the next command and no data.
        server.receive_data(b"version\r\n")
        assert _next(server).request == Version()


@pytest.mark.parametrize("command", LENGTHS, ids=repr)
def test_a_length_is_read_as_memcached_reads_it(command: bytes) -> None:
    for spelling in SPELLINGS:
        server = ServerConnection(Limits(value=100))
        server.receive_data(command.replace(b"%s", spelling.word))
        length = spelling.length
        if length is not None and length <= 100:
            assert server.next_event() is Signal.NEED_DATA
            server.receive_data(b"v" * length + b"\r\nversion\r\n")
            request = _next(server).request
            assert isinstance(request, Set | Add | Append), spelling
            assert request.value == b"v" * length
            assert _next(server).request == Version()
            continue
        refused = _next(server).request
        assert isinstance(refused, InvalidRequest), spelling
        assert refused.reply.status == (Status.INVALID_ARGUMENTS if length is None else Status.VALUE_TOO_LARGE)
        if length is None:
            word = spelling.word
            expected = (
                "length is missing or not a number" if command[:2] == b"ms" else f"length is {word!r}, must be a number"
            )
            assert refused.reason.startswith(expected)
            # Nobody knows how many bytes are data, so that they are commands, as to memcached.
            server.receive_data(b"version\r\n")
            assert _next(server).request == Version()


def test_the_data_behind_a_doubled_cr_are_data() -> None:
    for command in (b"set one 0 0 9\r\r\n", b"ms one 9\r\r\n", b"cas one 0 0 9 5\r\r\n", b"ms one 9 T5\r\r\n"):
        served = serve_three_ways(command + b"flush_all\r\n")
        (request,) = served.requests
        assert isinstance(request, Set)
        assert request.value == b"flush_all"


# --- side by side

BEFORE = b"set one 7 100 2\r\n55\r\n"
#: Where memcached cuts what it keeps in 32 bits, and we refuse; and where it takes the data of a refused store for a
#: command. Both are among the declared differences.
SWALLOWED = b"CLIENT_ERROR bad command line format\r\nERROR\r\n"


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    with memcached("-o", "no_modern") as port:
        peer = Peer(port)
        yield peer
        peer.close()


def _is_cut(spelling: Spelling, field: Field) -> bool:
    return field.most == U32 and spelling.unsigned is not None and spelling.unsigned > U32


@pytest.mark.parametrize("field", FIELDS, ids=str)
def test_memcached_reads_a_number_so(peer: Peer, field: Field) -> None:
    compared = 0
    for spelling in SPELLINGS:
        # Known to later releases only; and no command but ``flush_all`` is undone by the next pair.
        if b" E%s" in field.command or b" MA N" in field.command or _is_cut(spelling, field):
            continue
        pair = Pair(peer)
        pair.ask(BEFORE)
        theirs, ours = pair.differ(field.command.replace(b"%s", spelling.word) + b"mg one f s\r\n")
        if not field.command.startswith(b"cas one 0 0 1 "):
            theirs = theirs.replace(SWALLOWED, SWALLOWED[:-7])
        assert timeless(theirs) == timeless(ours), spelling
        compared += 1
    assert compared > 40 or b" E%s" in field.command or b" MA N" in field.command


@pytest.mark.parametrize("command", LENGTHS, ids=repr)
def test_memcached_reads_a_length_so(peer: Peer, command: bytes) -> None:
    compared = 0
    for spelling in SPELLINGS:
        cut = spelling.expiry is not None and not 0 <= spelling.expiry == (spelling.length or spelling.expiry)
        cut = cut or any(number is not None and abs(number) > U32 for number in (spelling.unsigned, spelling.expiry))
        if cut or (spelling.length or 0) > 100 or (spelling.length is None and spelling.expiry is not None):
            continue
        pair = Pair(peer)
        pair.ask(BEFORE)
        line = command.replace(b"%s", spelling.word)
        theirs, ours = pair.differ(line + b"v" * (spelling.length or 0) + b"\r\nmg one f s\r\n")
        assert timeless(theirs) == timeless(ours), spelling
        compared += 1
    assert compared > 20
