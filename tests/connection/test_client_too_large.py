"""A reply over a size limit fails only its own request: its bytes are skipped, and the connection stays in step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memproto import (
    AdminCommand,
    AnyReply,
    AnyRequest,
    ClientConnection,
    Delete,
    Deleted,
    Dialect,
    Envelope,
    Failure,
    Get,
    Increment,
    Item,
    Limits,
    LocalProtocolError,
    MetaOptions,
    Noop,
    Ok,
    OpcodeSpec,
    Packet,
    Quiet,
    Quit,
    RawReply,
    Request,
    ServerConnection,
    Set,
    Signal,
    Silence,
    Stats,
    StatsReply,
    Status,
    Unknown,
    Values,
    Version,
)
from memproto.commands import RAW, Commands, ReplyTooLargeError, ServerError
from memproto.testing import pieces
from memproto.translate import translate_reply
from tests.support.telling import Told, tell
from tests.support.wire import each_byte, wire

BINARY, CLASSIC, META = Dialect.BINARY, Dialect.CLASSIC, Dialect.META
SMALL = Limits(value=4, answer=6, stats=2)


def too_large(what: str) -> Failure:
    return Failure(Status.REPLY_TOO_LARGE, what.encode())


VALUE = too_large("value is 5 bytes, limit is 4")
ANSWER = too_large("values are 7 bytes and more, limit is 6")


def packet(opcode: int, opaque: int, value: bytes, *, key: bytes = b"", extras: bytes = b"", status: int = 0) -> bytes:
    sizes = len(extras) + len(key) + len(value)
    head = f"81{opcode:02x}{len(key):04x} {len(extras):02x}00{status:04x} {sizes:08x} {opaque:08x} 0000000000000009"
    return wire(head) + extras + key + value


def hit(opaque: int, key: bytes, value: bytes) -> bytes:
    """One item of a binary get of many keys."""
    return packet(0x0D, opaque, value, key=key, extras=bytes(4))


@dataclass
class Case:
    """A request, the bytes that answer it, and its reply; opaques begin with 0."""

    name: str
    dialect: Dialect
    request: Request[object]
    heard: bytes
    reply: AnyReply | Silence
    quiet: bool = False
    limits: Limits = SMALL


TWO = Get((b"a", b"b"))
THREE = Get((b"a", b"b", b"c"))
FENCE = packet(0x0A, 2, b"")
LONG_KEYS = Get((b"a" * 30, b"b" * 30, b"c" * 30))
TWO_LINES = Limits(value=4, answer=6, keys_line=90)
OWN = OpcodeSpec(0x90, "OWN")
OWNQ = OpcodeSpec(0x91, "OWNQ", quiet=Quiet.SUCCESS)

CASES = [
    Case("hit", BINARY, Get((b"k",)), packet(0, 0, b"vvvvv", extras=bytes(4)), VALUE),
    Case("quiet hit", BINARY, Get((b"k",)), packet(9, 0, b"vvvvv", extras=bytes(4)), VALUE, quiet=True),
    Case("text of a failure", BINARY, Set(b"k", b"v"), packet(1, 0, b"Wrong", status=4), VALUE),
    Case("text of a miss", BINARY, Get((b"k",)), packet(0, 0, b"Never", status=1), VALUE),
    Case("version", BINARY, Version(), packet(0x0B, 0, b"1.6.1"), VALUE),
    Case("own opcode", BINARY, Unknown(Packet(0x80, 0x90)), packet(0x90, 0, b"vvvvv", status=9), VALUE),
    Case("quiet own opcode", BINARY, Unknown(Packet(0x80, 0x91)), packet(0x91, 0, b"vvvvv", status=9), VALUE),
    Case("undeclared opcode", BINARY, Unknown(Packet(0x80, 0xE0)), packet(0xE0, 0, b"vvvvv"), VALUE),
    Case("head", BINARY, Unknown(Packet(0x80, 0x90)), packet(0x90, 0, b"v", key=b"k" * 76, extras=b"e"),
         too_large("header, extras and key are 101 bytes, limit is 100"), limits=Limits(head=100)),
    Case("head without a body", BINARY, Delete(b"k"), packet(4, 0, b""),
         too_large("header, extras and key are 24 bytes, limit is 23"), limits=Limits(head=23)),
    Case("first hit of two", BINARY, TWO, hit(0, b"a", b"vvvvv") + hit(1, b"b", b"v") + FENCE, VALUE),
    Case("last hit of two", BINARY, TWO, hit(0, b"a", b"v") + hit(1, b"b", b"vvvvv") + FENCE, VALUE),
    Case("both hits", BINARY, TWO, hit(0, b"a", b"vvvvv") + hit(1, b"b", b"v" * 9) + FENCE, VALUE),
    Case("all hits together", BINARY, TWO, hit(0, b"a", b"vvvv") + hit(1, b"b", b"vvv") + FENCE, ANSWER),
    Case("behind the limit of all", BINARY, THREE, hit(0, b"a", b"vvvv") + hit(1, b"b", b"vvv") + hit(2, b"c", b"v")
         + packet(0x0A, 3, b""), ANSWER),
    Case("fence", BINARY, TWO, packet(0x0A, 2, b"Wrong", status=4), VALUE),
    Case("a statistic", BINARY, Stats(), packet(0x10, 0, b"vvvvv", key=b"n") + packet(0x10, 0, b"v", key=b"m")
         + packet(0x10, 0, b""), VALUE),
    Case("bytes of statistics", BINARY, Stats(), packet(0x10, 0, b"vvv", key=b"n") + packet(0x10, 0, b"vv", key=b"m")
         + packet(0x10, 0, b"vv", key=b"o") + packet(0x10, 0, b""),
         too_large("statistics are 7 bytes and more, limit is 6")),
    Case("many statistics", BINARY, Stats(), packet(0x10, 0, b"", key=b"n") * 4 + packet(0x10, 0, b""),
         too_large("statistics are 3 and more, limit is 2")),
    Case("refused statistics", BINARY, Stats(b"x"), packet(0x10, 0, b"Wrong", status=1), VALUE),
    Case("hit", CLASSIC, Get((b"k",)), b"VALUE k 7 5 9\r\nvvvvv\r\nEND\r\n", VALUE),
    Case("hit that ends in line ends", CLASSIC, Get((b"k",)), b"VALUE k 7 5 9\r\n\r\n\r\n\r\r\nEND\r\n", VALUE),
    Case("quiet hit", CLASSIC, Get((b"k",)), b"VALUE k 7 5 9\r\nvvvvv\r\nEND\r\n", VALUE, quiet=True),
    Case("first hit of two", CLASSIC, TWO, b"VALUE a 7 5 9\r\nvvvvv\r\nVALUE b 7 1 9\r\nv\r\nEND\r\n", VALUE),
    Case("last hit of two", CLASSIC, TWO, b"VALUE a 7 1 9\r\nv\r\nVALUE b 7 5 9\r\nvvvvv\r\nEND\r\n", VALUE),
    Case("all hits together", CLASSIC, THREE,
         b"VALUE a 7 4 9\r\nvvvv\r\nVALUE b 7 3 9\r\nvvv\r\nVALUE c 7 1 9\r\nv\r\nEND\r\n", ANSWER),
    Case("a refusal behind it", CLASSIC, TWO, b"VALUE a 7 5 9\r\nvvvvv\r\nSERVER_ERROR out of memory\r\n", VALUE),
    Case("hit of the first line", CLASSIC, LONG_KEYS,
         b"VALUE %b 7 5 9\r\nvvvvv\r\nEND\r\nVALUE %b 7 1 9\r\nv\r\nEND\r\n" % (b"a" * 30, b"c" * 30), VALUE,
         limits=TWO_LINES),
    Case("hit of the last line", CLASSIC, LONG_KEYS, b"END\r\nVALUE %b 7 5 9\r\nvvvvv\r\nEND\r\n" % (b"c" * 30), VALUE,
         limits=TWO_LINES),
    Case("hits of all lines", CLASSIC, LONG_KEYS, b"VALUE %b 7 4 9\r\nvvvv\r\nEND\r\nVALUE %b 7 3 9\r\nvvv\r\nEND\r\n"
         % (b"a" * 30, b"c" * 30), ANSWER, limits=TWO_LINES),
    Case("many statistics", CLASSIC, Stats(), b"STAT a 1\r\nSTAT b 1\r\nSTAT c 1\r\nSTAT d 1\r\nEND\r\n",
         too_large("statistics are 3 and more, limit is 2"), limits=Limits(stats=2)),
    Case("bytes of statistics", CLASSIC, Stats(), b"STAT a 1\r\nSTAT b 1\r\nSTAT c 1\r\nEND\r\n",
         too_large("statistics are 8 bytes and more, limit is 6")),
    Case("detail dump", CLASSIC, Stats(b"detail dump"), b"PREFIX a\r\nPREFIX b\r\nEND\r\n",
         too_large("lines are 10 bytes and more, limit is 6")),
    Case("cachedump", CLASSIC, AdminCommand((b"stats", b"cachedump", b"1", b"0")), b"ITEM a\r\nITEM b\r\nEND\r\n",
         too_large("lines are 8 bytes and more, limit is 6")),
    Case("refused dump", CLASSIC, AdminCommand((b"lru_crawler", b"metadump", b"all")), b"BUSY now\r\n",
         too_large("lines are 10 bytes and more, limit is 6")),
    Case("a dump that contains BUSY lines", CLASSIC, AdminCommand((b"lru_crawler", b"metadump", b"all")),
         b"key=a\r\nBUSY now\r\nEND\r\n", too_large("lines are 7 bytes and more, limit is 6")),
    Case("hit", META, Get((b"k",)), b"VA 5 f7 c9 kk O0\r\nvvvvv\r\n", VALUE),
    Case("hit of a base64 key", META, Get((b"\xff",)), b"VA 5 f7 c9 k/w== O0 b\r\nvvvvv\r\n", VALUE),
    Case("hit with options", META, Get((b"k",), meta=MetaOptions(details=True)),
         b"VA 5 h0 l1 t-1 f7 c9 kk O0\r\nvvvvv\r\n", VALUE),
    Case("quiet hit", META, Get((b"k",)), b"VA 5 f7 c9 kk O0\r\nvvvvv\r\n", VALUE, quiet=True),
    Case("counter", META, Increment(b"k"), b"VA 5 c9 O0\r\n12345\r\n", VALUE),
    Case("first hit of two", META, TWO, b"VA 5 f7 c9 ka O0\r\nvvvvv\r\nVA 1 f7 c9 kb O0\r\nv\r\n", VALUE),
    Case("last hit of two", META, TWO, b"VA 1 f7 c9 ka O0\r\nv\r\nVA 5 f7 c9 kb O0\r\nvvvvv\r\n", VALUE),
    Case("all hits together", META, THREE,
         b"VA 4 f7 c9 ka O0\r\nvvvv\r\nVA 3 f7 c9 kb O0\r\nvvv\r\nVA 1 f7 c9 kc O0\r\nv\r\n", ANSWER),
    Case("hit of several commands", META, Get((b"a", b"\xff")),
         b"VA 5 f7 c9 ka O0\r\nvvvvv\r\nVA 1 f7 c9 k/w== O0 b\r\nv\r\n", VALUE),
]  # fmt: skip


def behind(dialect: Dialect, case: Case, client: ClientConnection) -> tuple[bytes, list[AnyReply]]:
    """What is sent behind a request, and the bytes that answer it."""
    noop = client.send(Noop())
    got = client.send(Get((b"behind",)))
    if dialect is BINARY:
        data = b"".join(
            packet(opcode, int.from_bytes(exchange.data[12:16], "big"), value, extras=extras)
            for opcode, exchange, value, extras in ((0x0A, noop, b"", b""), (0, got, b"ok", bytes(4)))
        )
    elif dialect is CLASSIC:
        data = b"VERSION 1.6.18\r\nVALUE behind 0 2 9\r\nok\r\nEND\r\n"
    else:
        opaque = got.data.split(b" O")[1].strip()
        data = b"MN\r\nVA 2 f0 c9 kbehind O%b\r\nok\r\n" % opaque
    return data, [Ok(), Values((Item(b"behind", b"ok", 0, 9),))]


def ask(case: Case) -> ClientConnection:
    client = ClientConnection(case.limits, dialect=case.dialect, opcodes=[OWN, OWNQ])
    (client.send_quiet if case.quiet else client.send)(case.request)
    return client


each_case = pytest.mark.parametrize("case", CASES, ids=[f"{case.dialect.value}: {case.name}" for case in CASES])


@each_case
def test_the_reply_fails_its_own_request_and_those_behind_get_theirs_under_each_cut(case: Case) -> None:
    client = ask(case)
    if case.limits.head == 23:
        # No reply at all is within this limit.
        assert tell(client, [case.heard]) == Told([case.reply])
        return
    data, replies = behind(case.dialect, case, client)
    told = Told([case.reply, *replies])
    assert tell(client, [case.heard + data]) == told
    assert (client.outstanding, client.buffered, client.reusable) == (0, 0, True)
    for pieces_ in ([case.heard, data], each_byte(case.heard + data)):
        client = ask(case)
        behind(case.dialect, case, client)
        assert tell(client, pieces_) == told
    for cut in range(1, len(case.heard) + len(data)):
        client = ask(case)
        behind(case.dialect, case, client)
        assert tell(client, [(case.heard + data)[:cut], (case.heard + data)[cut:]]) == told


@each_case
def test_the_failure_is_told_with_the_last_byte(case: Case) -> None:
    client = ask(case)
    for byte in each_byte(case.heard[:-1]):
        client.receive_data(byte)
        assert client.next_event() is Signal.NEED_DATA
    assert tell(client, [case.heard[-1:]]) == Told([case.reply])


@each_case
def test_an_abandoned_one_is_skipped_and_dropped(case: Case) -> None:
    client = ask(case)
    client.abandon(client._outstanding[0])
    assert tell(client, [case.heard]) == Told()
    assert (client.outstanding, client.reusable) == (0, True)


@each_case
def test_a_stream_that_ends_before_the_last_byte_is_a_fault(case: Case) -> None:
    for size in {1, len(case.heard) // 2, len(case.heard) - 1}:
        client = ask(case)
        told = tell(client, [case.heard[:size]], eof=True)
        assert told.replies == []
        assert told.fault is not None
        assert told.fault.startswith("stream ended ")
        assert not client.reusable


def test_the_end_of_the_stream_inside_a_quiet_reply_is_not_silence() -> None:
    data = packet(9, 0, b"v" * 9, extras=bytes(4))
    for size in range(1, len(data)):
        client = ClientConnection(SMALL)
        client.send_quiet(Get((b"k",)))
        client.send_quiet(Quit())
        told = tell(client, [data[:size]], eof=True)
        assert (told.replies, told.closed) == ([], False)
        assert told.fault is not None
        assert told.fault.startswith("stream ended inside a packet")


def test_quiet_requests_before_it_get_their_silence_first() -> None:
    client = ClientConnection(SMALL)
    exchanges = [client.send_quiet(Set(b"a", b"")), client.send_quiet(Set(b"b", b"")), client.send(Get((b"k",)))]
    data = packet(0, 2, b"vvvvv", extras=bytes(4))
    assert tell(client, each_byte(data)) == Told([Silence(), Silence(), VALUE])
    assert [exchange.reply for exchange in exchanges] == [Silence(), Silence(), VALUE]


# --- what is skipped has to be an answer


@pytest.mark.parametrize(
    ("request_", "heard", "fault"),
    [
        (Get((b"k",)), packet(0, 1, b"vvvvv", extras=bytes(4)), "opaque of a reply is 0x00000001, expected 0x00000000"),
        (Get((b"k",)), packet(1, 0, b"vvvvv"), "opcode of the reply is 0x01, of the request 0x00"),
        (Stats(), packet(1, 0, b"vvvvv"), "opcode of the reply is 0x01, of the request 0x10"),
        (TWO, packet(1, 0, b"vvvvv"), "opcode of the reply is 0x01, of the request 0x0d"),
        (TWO, packet(0x0D, 2, b"vvvvv"), "opcode of the reply is 0x0d, of the request 0x0a"),
        (TWO, hit(1, b"b", b"v") + hit(0, b"a", b"vvvvv"), "key b'a' is answered twice or out of order"),
    ],
)
def test_a_packet_that_answers_nothing_is_a_fault_before_it_is_skipped(
    request_: Request[object], heard: bytes, fault: str
) -> None:
    client = ClientConnection(SMALL)
    client.send(request_)
    assert tell(client, [heard[:-1]]) == Told([], fault)


@pytest.mark.parametrize(
    ("dialect", "heard", "fault"),
    [
        (CLASSIC, b"VALUE j 7 5 9\r\n", "key of a VALUE is b'j', which was not asked for here"),
        (CLASSIC, b"VALUE k 7 5 9\r\nvvvvvv\r\n", "data of b'k' are not followed by CR LF after 5 bytes"),
        (META, b"VA 5 f7 c9 kj O0\r\n", "key of the reply is b'j', asked was b'k'"),
        (META, b"VA 5 f7 c9 kk O1\r\n", "opaque of the reply is b'1', which was not sent with this request"),
        (META, b"VA 5 f7 c9 kk O0\r\nvvvvvv\r\n", "value is not followed by CR LF after 5 bytes"),
    ],
)
def test_a_line_that_answers_nothing_is_a_fault_though_its_value_is_too_large(
    dialect: Dialect, heard: bytes, fault: str
) -> None:
    for each in ([heard], each_byte(heard)):
        client = ClientConnection(SMALL, dialect=dialect)
        client.send(Get((b"k",)))
        assert tell(client, each) == Told([], fault)


def test_a_line_over_its_limit_loses_the_framing() -> None:
    client = ClientConnection(Limits(line=20), dialect=CLASSIC)
    client.send(Version())
    assert tell(client, [b"VERSION " + b"1" * 30 + b"\r\n"]) == Told(
        [], "line has more than 20 bytes, which is the limit"
    )
    assert not client.reusable


# --- memory


def _huge(dialect: Dialect, size: int) -> bytes:
    """What precedes a value of this size."""
    if dialect is BINARY:
        return wire(f"81000000 04000000 {4 + size:08x} 00000000 0000000000000009 00000007")
    return b"VALUE k 7 %d 9\r\n" % size if dialect is CLASSIC else b"VA %d f7 c9 kk O0\r\n" % size


@pytest.mark.parametrize("dialect", list(Dialect))
def test_bytes_of_a_skipped_reply_are_not_held(dialect: Dialect) -> None:
    client = ClientConnection(dialect=dialect)
    client.send(Get((b"k",)))
    client.receive_data(_huge(dialect, (1 << 32) - 5))
    piece = bytes(1 << 20)
    for _ in range(64):
        assert client.next_event() is Signal.NEED_DATA
        assert client.buffered == 0
        client.receive_data(piece)
    # Without an event pulled in between, too.
    assert client.buffered == 0


@pytest.mark.parametrize("dialect", [CLASSIC, META])
def test_a_length_from_4_gib_on_is_a_fault_in_text(dialect: Dialect) -> None:
    client = ClientConnection(dialect=dialect)
    client.send(Get((b"k",)))
    assert tell(client, [_huge(dialect, (1 << 32) - 1)]) == Told()
    client = ClientConnection(dialect=dialect)
    client.send(Get((b"k",)))
    assert tell(client, [_huge(dialect, 1 << 32)]).fault is not None


@pytest.mark.parametrize("dialect", list(Dialect))
def test_of_a_large_answer_no_more_is_held_than_the_limits_say(dialect: Dialect) -> None:
    keys = tuple(b"%d" % number for number in range(100))
    client = ClientConnection(Limits(value=1000, answer=2000), dialect=dialect)
    client.send(Get(keys))
    for number, key in enumerate(keys):
        value = b"v" * (2000 if number % 3 == 0 else 900)
        head = {
            BINARY: lambda: hit(number, key, value),  # noqa: B023
            CLASSIC: lambda: b"VALUE %b 0 %d 9\r\n%b\r\n" % (key, len(value), value),  # noqa: B023
            META: lambda: b"VA %d f0 c9 k%b O0\r\n%b\r\n" % (len(value), key, value),  # noqa: B023
        }[dialect]()
        client.receive_data(head)
        event = client.next_event()
        assert client.buffered == 0
    if dialect is not META:
        client.receive_data(packet(0x0A, 100, b"") if dialect is BINARY else b"END\r\n")
        event = client.next_event()
    assert not isinstance(event, Signal)
    assert client.outstanding == 0


# --- the law: whatever is answered, with whatever limits, each request gets its own reply or its own failure

CONVERSATION = st.lists(
    st.one_of(
        st.builds(lambda size: (Get((b"k",)), (Item(b"k", b"v" * size, 1, 2),)), st.integers(0, 40)),
        st.builds(
            lambda sizes: (
                Get(tuple(b"k%d" % number for number in range(len(sizes)))),
                tuple(Item(b"k%d" % number, b"v" * size, 1, 2) for number, size in enumerate(sizes) if size >= 0),
            ),
            st.lists(st.integers(-1, 40), min_size=2, max_size=5),
        ),
        st.builds(lambda sizes: (Stats(), tuple(sizes)), st.lists(st.integers(0, 40), max_size=5)),
        st.just((Delete(b"k"), ())),
    ),
    min_size=1,
    max_size=6,
)


def _told_by(limits: Limits, request: AnyRequest, parts: tuple[object, ...], dialect: Dialect) -> AnyReply:
    """What a client with these limits has to tell of this answer."""
    if isinstance(request, Delete):
        return Deleted(0)
    if isinstance(request, Stats):
        total = 0
        for count, size in enumerate(parts, 1):
            assert isinstance(size, int)
            value = b"s" * size
            if dialect is BINARY and size > limits.value:
                return too_large(f"value is {size} bytes, limit is {limits.value}")
            total += len(b"n" + value) if dialect is BINARY else len(b"STAT n " + value)
            if count > limits.stats:
                return too_large(f"statistics are {count} and more, limit is {limits.stats}")
            if total > limits.answer:
                return too_large(f"statistics are {total} bytes and more, limit is {limits.answer}")
        return StatsReply(tuple((b"n", b"s" * size) for size in parts if isinstance(size, int)))
    total = 0
    items = tuple(part for part in parts if isinstance(part, Item))
    for item in items:
        total += len(item.value)
        if len(item.value) > limits.value:
            return too_large(f"value is {len(item.value)} bytes, limit is {limits.value}")
        if total > limits.answer:
            return too_large(f"values are {total} bytes and more, limit is {limits.answer}")
    return Values(items)


def _answers(request: AnyRequest, parts: tuple[object, ...], server: ServerConnection) -> Iterator[bytes]:
    while isinstance(event := server.next_event(), Envelope):
        seen = event.request
        if isinstance(seen, Get):
            found = tuple(part for part in parts if isinstance(part, Item) and part.key in seen.keys)
            yield server.send(Values(found), event)
        elif isinstance(seen, Stats):
            stats = tuple((b"n", b"s" * size) for size in parts if isinstance(size, int))
            yield server.send(StatsReply(stats), event)
        else:
            yield server.send(Ok() if isinstance(seen, Noop) else Deleted(0), event)


@given(
    data=st.data(),
    dialect=st.sampled_from(list(Dialect)),
    conversation=CONVERSATION,
    value=st.integers(1, 50),
    more=st.integers(0, 100),
    stats=st.integers(1, 5),
    keys_line=st.sampled_from([30, 4096]),
)
def test_each_request_gets_its_reply_or_its_failure(
    data: st.DataObject,
    dialect: Dialect,
    conversation: list[tuple[AnyRequest, tuple[object, ...]]],
    value: int,
    more: int,
    stats: int,
    keys_line: int,
) -> None:
    limits = Limits(value=value, answer=value + more, stats=stats, keys_line=keys_line)
    client, server = ClientConnection(limits, dialect=dialect), ServerConnection()
    heard = b""
    for request, parts in conversation:
        server.receive_data(client.send(request).data)
        heard += b"".join(_answers(request, parts, server))
    expected = [_told_by(limits, request, parts, dialect) for request, parts in conversation]
    got: list[object] = []
    longest = max((len(line) for line in heard.split(b"\r\n")), default=0)
    for piece in data.draw(pieces(heard)):
        client.receive_data(piece)
        while not isinstance(event := client.next_event(), Signal):
            got.append(event.reply)  # type: ignore[union-attr]
        assert client.buffered <= limits.value + limits.head + longest
    assert got == expected
    assert (client.outstanding, client.buffered, client.reusable) == (0, 0, True)


# --- the status


@pytest.mark.parametrize(
    "request_", [b"get k\r\n", b"mg k v\r\n", wire("80000001 00000000 00000001" + "00" * 12 + "'k'")]
)
def test_server_cannot_send_the_status_reply_too_large(request_: bytes) -> None:
    server = ServerConnection()
    server.receive_data(request_)
    event = server.next_event()
    assert isinstance(event, Envelope)
    for failure in (Failure(Status.REPLY_TOO_LARGE), Failure(0x10000, b"words")):
        with pytest.raises(
            LocalProtocolError, match=r"^status is REPLY_TOO_LARGE \(0x10000\), which is never on the wire$"
        ):
            server.send(failure, event)
    # A gateway passes it on as what memcached says when it has no memory for a reply.
    reply = translate_reply(VALUE, event)
    assert reply == Failure(Status.OUT_OF_MEMORY, b"value is 5 bytes, limit is 4")
    assert b"value is 5 bytes" in server.send(reply, event)


def test_raw_reply_with_a_status_over_16_bits_is_refused() -> None:
    server = ServerConnection()
    server.receive_data(wire("80e00000 00000000 00000000" + "00" * 12))
    event = server.next_event()
    assert isinstance(event, Envelope)
    with pytest.raises(LocalProtocolError, match=r"^vbucket_or_status is 65536, must be 0 to 65535$"):
        server.send(RawReply(Status.REPLY_TOO_LARGE), event)


def test_command_raises_reply_too_large_error() -> None:
    calls = Commands(RAW)
    with pytest.raises(ReplyTooLargeError, match=r"^value is 5 bytes, limit is 4 \(status 0x10000\)$") as caught:
        calls.get(b"k").result([VALUE])
    assert caught.value.failure == VALUE
    assert isinstance(caught.value, ServerError)
    for result in (calls.get_multi([b"k"]).result, calls.gets(b"k").result, calls.stats().result):
        with pytest.raises(ReplyTooLargeError):
            result([VALUE])
    with pytest.raises(ServerError) as other:
        calls.get(b"k").result([Failure(Status.OUT_OF_MEMORY)])
    assert type(other.value) is ServerError
