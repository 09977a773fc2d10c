"""What each call asks, in which bytes, and what it makes of each reply; without any connection to a server."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TypeVar, assert_type

import pytest

from memproto import (
    Add,
    Append,
    Authenticated,
    Challenge,
    ClientConnection,
    Counter,
    Decrement,
    Delete,
    Deleted,
    Dialect,
    Exchange,
    Failure,
    Flush,
    Get,
    Increment,
    Item,
    ItemMeta,
    Limits,
    LocalProtocolError,
    MetaOptions,
    Noop,
    Ok,
    Prepend,
    Replace,
    ReplyReceived,
    Request,
    SaslAuth,
    ServerConnection,
    Set,
    Silence,
    Stats,
    StatsReply,
    Status,
    Stored,
    Touch,
    Touched,
    Values,
    Version,
    VersionReply,
)
from memproto.commands import RAW, AuthenticationError, Command, Commands, Lease, Serde, ServerError, authenticate

R = TypeVar("R")

CALLS = Commands(RAW)
FOUND = Values((Item(b"k", b"v", 7, 3),))
EXISTS, ABSENT = Failure(Status.KEY_EXISTS), Failure(Status.KEY_NOT_FOUND)
NOT_STORED, NO_NUMBER = Failure(Status.NOT_STORED), Failure(Status.DELTA_BAD_VALUE)


def leased(value: bytes, won: bool = False, lost: bool = False, stale: bool = False) -> Values:
    return Values((Item(b"k", value, 0, 3, meta=ItemMeta(won=won, lost=lost, stale=stale)),))


# The call, its requests, and a reply to each of them with what the call then comes to.
TABLE: list[tuple[Command[object], list[Request[object]], list[tuple[list[object], object]]]] = [
    (CALLS.get(b"k"), [Get((b"k",))], [([FOUND], b"v"), ([Values()], None)]),
    (CALLS.gat(b"k", 9), [Get((b"k",), 9)], [([FOUND], b"v"), ([Values()], None)]),
    (CALLS.gets(b"k"), [Get((b"k",))], [([FOUND], Item(b"k", b"v", 7, 3)), ([Values()], None)]),
    (CALLS.get_multi([b"k", b"l"]), [Get((b"k", b"l"))], [([FOUND], {b"k": b"v"}), ([Values()], {})]),
    (CALLS.get_multi([]), [], [([], {})]),
    (CALLS.get_multi([b"k", b"k"]), [Get((b"k", b"k"))], [([FOUND], {b"k": b"v"})]),
    (CALLS.gets_multi(iter([b"k", b"l"])), [Get((b"k", b"l"))], [([FOUND], {b"k": Item(b"k", b"v", 7, 3)})]),
    (CALLS.gets_multi([]), [], [([], {})]),
    (CALLS.set(b"k", b"v", 5, 7), [Set(b"k", b"v", 7, 5)], [([Stored(1)], True)]),
    (CALLS.add(b"k", b"v", 5, 7), [Add(b"k", b"v", 7, 5)], [([Stored(1)], True), ([EXISTS], False)]),
    (CALLS.replace(b"k", b"v", 5, 7), [Replace(b"k", b"v", 7, 5)], [([Stored(1)], True), ([ABSENT], False)]),
    (CALLS.append(b"k", b"v"), [Append(b"k", b"v")], [([Stored(1)], True), ([NOT_STORED], False)]),
    (CALLS.prepend(b"k", b"v"), [Prepend(b"k", b"v")], [([Stored(1)], True), ([NOT_STORED], False)]),
    (
        CALLS.cas(b"k", b"v", 3, 5, 7),
        [Set(b"k", b"v", 7, 5, 3)],
        [([Stored(4)], True), ([EXISTS], False), ([ABSENT], None)],
    ),
    (CALLS.cas(b"k", b"v", 0, 5, 7), [Add(b"k", b"v", 7, 5)], [([Stored(4)], True), ([EXISTS], False)]),
    (
        CALLS.set_multi({b"k": b"v", b"l": b"w"}, 5, 7),
        [Set(b"k", b"v", 7, 5), Set(b"l", b"w", 7, 5)],
        [
            ([Silence(), Stored(2)], []),
            ([Failure(Status.VALUE_TOO_LARGE), Stored(2)], [b"k"]),
            ([Stored(1), Failure(Status.OUT_OF_MEMORY)], [b"l"]),
        ],
    ),
    (CALLS.set_multi({}), [], [([], [])]),
    (
        CALLS.add_multi({b"k": b"v", b"l": b"w"}, 5, 7),
        [Add(b"k", b"v", 7, 5), Add(b"l", b"w", 7, 5)],
        [([Stored(1), Stored(2)], []), ([EXISTS, Silence()], [b"k"])],
    ),
    (CALLS.get(b"k", 0), [Get((b"k",))], [([FOUND], b"v"), ([Values()], 0)]),
    (CALLS.gat_multi([b"k", b"l"], 9), [Get((b"k", b"l"), 9)], [([FOUND], {b"k": b"v"})]),
    (
        CALLS.touch_multi([b"k", b"l"], 9),
        [Touch(b"k", 9), Touch(b"l", 9)],
        [([Touched(), ABSENT], [b"k"])],
    ),
    (
        CALLS.incr_multi([b"k", b"l"], 2),
        [Increment(b"k", 2, 0, None), Increment(b"l", 2, 0, None)],
        [([Counter(8), ABSENT], {b"k": 8})],
    ),
    (CALLS.get(b"k"), [Get((b"k",))], [([leased(b"", lost=True)], None), ([leased(b"", won=True)], None)]),
    (CALLS.get(b"k"), [Get((b"k",))], [([leased(b"")], b""), ([leased(b"v", lost=True)], b"v")]),
    (CALLS.get(b"k", 5), [Get((b"k",))], [([leased(b"", lost=True)], 5), ([leased(b"")], b"")]),
    (CALLS.gat(b"k", 9), [Get((b"k",), 9)], [([leased(b"", lost=True)], None), ([leased(b"")], b"")]),
    (CALLS.get_multi([b"k"]), [Get((b"k",))], [([leased(b"", lost=True)], {}), ([leased(b"")], {b"k": b""})]),
    (CALLS.incr_multi([b"k"], 2, 3, 4), [Increment(b"k", 2, 3, 4)], [([Counter(3)], {b"k": 3})]),
    (CALLS.delete(b"k"), [Delete(b"k")], [([Deleted()], True), ([ABSENT], False)]),
    (
        CALLS.delete_multi(iter([b"k", b"l", b"k"])),
        [Delete(b"k"), Delete(b"l"), Delete(b"k")],
        [([Silence(), Silence(), ABSENT], [b"k", b"l"]), ([ABSENT, ABSENT, ABSENT], [])],
    ),
    (CALLS.delete_multi([]), [], [([], [])]),
    (CALLS.incr(b"k"), [Increment(b"k", 1, 0, None)], [([Counter(8)], 8), ([Counter(0)], 0), ([ABSENT], None)]),
    (CALLS.incr(b"k", 2, 0), [Increment(b"k", 2, 0, 0)], [([Counter(0)], 0)]),
    (CALLS.decr(b"k", 2, 3, 4), [Decrement(b"k", 2, 3, 4)], [([Counter(3)], 3)]),
    (CALLS.decr(b"k"), [Decrement(b"k", 1, 0, None)], [([ABSENT], None)]),
    (CALLS.touch(b"k", 5), [Touch(b"k", 5)], [([Touched()], True), ([ABSENT], False)]),
    (CALLS.flush(), [Flush()], [([Ok()], True)]),
    (CALLS.flush(5), [Flush(5)], [([Ok()], True)]),
    (
        CALLS.stats(),
        [Stats()],
        [([StatsReply(((b"pid", b"1"), (b"pid", b"2")))], {b"pid": b"2"}), ([StatsReply()], {})],
    ),
    (CALLS.stats(b"items"), [Stats(b"items")], [([StatsReply(((b"a", b"1"),))], {b"a": b"1"})]),
    (CALLS.version(), [Version()], [([VersionReply(b"1.6.18")], b"1.6.18")]),
    (CALLS.noop(), [Noop()], [([Ok()], True)]),
    (authenticate("me", "p\xe4ss"), [SaslAuth(b"PLAIN", b"\0me\0p\xc3\xa4ss")], [([Authenticated()], None)]),
]
META_TABLE: list[tuple[Command[object], list[Request[object]], list[tuple[list[object], object]]]] = [
    (
        CALLS.get_or_lease(b"k", 30, 5),
        [Get((b"k",), meta=MetaOptions(vivify=30, recache=5))],
        [
            ([leased(b"v")], Lease(b"v", False, cas=3)),
            ([leased(b"v", won=True)], Lease(b"v", True, cas=3)),
            ([leased(b"v", lost=True, stale=True)], Lease(b"v", False, True, 3)),
            ([leased(b"", won=True)], Lease(None, True, cas=3)),
            ([leased(b"", lost=True)], Lease(None, False, cas=3)),
            ([leased(b"")], Lease(b"", False, cas=3)),
            ([FOUND], Lease(b"v", False, cas=3)),
            ([Values()], Lease(None, True)),
        ],
    ),
    (
        CALLS.invalidate(b"k", 30),
        [Delete(b"k", meta=MetaOptions(invalidate=True, exptime=30))],
        [([Deleted()], True), ([ABSENT], False)],
    ),
]
NAMES = [f"{number}-{type(row[1][0]).__name__ if row[1] else 'nothing'}" for number, row in enumerate(TABLE)]


@pytest.mark.parametrize(("call", "requests", "outcomes"), META_TABLE, ids=["get_or_lease", "invalidate"])
def test_a_command_of_meta_has_these_requests_and_results(
    call: Command[object], requests: list[Request[object]], outcomes: list[tuple[list[object], object]]
) -> None:
    test_each_command_has_these_requests_and_results(call, requests, outcomes)
    for dialect in (Dialect.BINARY, Dialect.CLASSIC):
        with pytest.raises(LocalProtocolError, match="has meta options that only meta can say"):
            call.check(Limits(), dialect)


@pytest.mark.parametrize(("call", "requests", "outcomes"), TABLE, ids=NAMES)
def test_each_command_has_these_requests_and_results(
    call: Command[object], requests: list[Request[object]], outcomes: list[tuple[list[object], object]]
) -> None:
    assert list(call.requests) == requests
    for replies, result in outcomes:
        assert call.result(replies) == result
        assert type(call.result(replies)) is type(result)


@pytest.mark.parametrize(("call", "requests", "outcomes"), [row for row in TABLE if len(row[1]) == 1])
def test_refusal_that_is_no_result_raises_server_error(
    call: Command[object], requests: object, outcomes: object
) -> None:
    refusal = Failure(Status.OUT_OF_MEMORY, b"n\xf6 memory")
    with pytest.raises(ServerError) as caught:
        call.result([refusal])
    assert str(caught.value) == "n\N{REPLACEMENT CHARACTER} memory (status 0x0082)"
    assert caught.value.failure is refusal
    assert isinstance(caught.value, AuthenticationError) == isinstance(call.requests[0], SaslAuth)


@pytest.mark.parametrize(("call", "requests", "outcomes"), TABLE, ids=NAMES)
def test_without_its_replies_there_is_no_result(
    call: Command[object], requests: list[object], outcomes: object
) -> None:
    if requests:
        with pytest.raises(LocalProtocolError, match="None is no reply to this command"):
            call.result([None] * len(requests))
        for count in (0, len(requests) + 1):
            with pytest.raises(
                LocalProtocolError, match=rf"^replies are {count}, must be {len(requests)}, one for each"
            ):
                call.result([Stored()] * count)
        for exchange in call.send(ClientConnection()):
            with pytest.raises(
                LocalProtocolError, match=r"is no reply to this command, an exchange has it as exchange\."
            ):
                call.result([exchange] * len(requests))


@pytest.mark.parametrize("replies", [None, 5, b"hello", "hello", Values(), Stored(), Failure(Status.KEY_NOT_FOUND)])
@pytest.mark.parametrize(("call", "requests", "outcomes"), TABLE, ids=NAMES)
def test_what_is_no_list_of_replies_is_refused(
    call: Command[object], requests: list[object], outcomes: object, replies: Sequence[object]
) -> None:
    if requests:
        with pytest.raises(
            LocalProtocolError, match=r"^replies is .*, must be a list of replies, one for each request$"
        ):
            call.result(replies)


def test_an_error_of_the_serde_comes_out_as_it_is() -> None:
    def load(data: bytes, flags: int) -> str:
        raise ValueError("no text")

    call = Commands(Serde(lambda value: (value.encode(), 0), load)).get(b"k")
    with pytest.raises(ValueError, match=r"^no text$"):
        call.result([Values((Item(b"k", b"v"),))])


@pytest.mark.parametrize("call", [CALLS.get(b"k"), CALLS.delete_multi([b"k", b"l"]), CALLS.set_multi({})])
@pytest.mark.parametrize("connection", [None, "client", ServerConnection(), ClientConnection, Noop()])
def test_what_is_no_client_connection_is_refused_by_send(call: Command[object], connection: ClientConnection) -> None:
    with pytest.raises(LocalProtocolError, match=r"^connection is .*, must be a ClientConnection$"):
        call.send(connection)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"start": "0"}, "start is str, must be an int"),
        ({"start": -1}, "start is -1, the least is 0"),
        ({"most": "1"}, "most is str, must be an int or None"),
        ({"most": 0}, "most is 0, the least is 1"),
        ({"most": 1.5}, "most is float, must be an int or None"),
    ],
)
def test_a_wrong_part_of_a_call_is_refused_by_send(part: dict[str, int], words: str) -> None:
    connection = ClientConnection()
    with pytest.raises(LocalProtocolError, match=f"^{words}$"):
        CALLS.delete_multi([b"k", b"l"]).send(connection, **part)  # type: ignore[arg-type]
    assert connection.outstanding == 0


def test_an_error_of_a_connection_comes_out_as_it_is() -> None:
    class Broken(ClientConnection):
        def send(self, request: Request[R]) -> Exchange[R]:
            raise TypeError("of another kind")

    with pytest.raises(TypeError, match=r"^of another kind$"):
        CALLS.get(b"k").send(Broken())


def test_refusal_of_one_of_several_requests_raises_server_error() -> None:
    with pytest.raises(ServerError, match="Out of memory"):
        CALLS.delete_multi([b"k", b"l"]).result([Silence(), Failure(Status.OUT_OF_MEMORY)])


def test_only_what_changes_nothing_may_be_repeated() -> None:
    repeatable = {type(row[1][0]).__name__ for row in TABLE if row[0].repeatable and row[1]}
    assert repeatable == {"Get", "Stats", "Version", "Noop"}
    assert not CALLS.gat(b"k", 5).repeatable
    assert CALLS.stats().repeatable
    assert not CALLS.stats(b"reset").repeatable


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Failure(Status.AUTH_ERROR), r"Auth failure. \(status 0x0020\)"),
        (Failure(Status.UNKNOWN_COMMAND), r"Unknown command \(status 0x0081\)"),
        (Challenge(b"who?"), r"another step, which PLAIN has not \(status 0x0021\)"),
    ],
)
def test_refused_credentials_raise_authentication_error(reply: object, words: str) -> None:
    with pytest.raises(AuthenticationError, match=words):
        authenticate("user", "secret").result([reply])


@pytest.mark.parametrize(("username", "password"), [("a\0b", "c"), ("a", "b\0c")])
def test_credentials_with_a_nul_are_refused(username: str, password: str) -> None:
    with pytest.raises(LocalProtocolError, match="has a NUL"):
        authenticate(username, password)


def test_serde_turns_objects_into_bytes_and_back() -> None:
    def dump(value: object) -> tuple[bytes, int]:
        return json.dumps(value).encode(), 16

    def load(data: bytes, flags: int) -> object:
        return json.loads(data) if flags & 16 else data

    calls = Commands(Serde(dump, load))
    assert calls.set(b"k", [1]).requests == (Set(b"k", b"[1]", 16),)
    assert calls.add(b"k", None, 5, 1).requests == (Add(b"k", b"null", 17, 5),)
    assert calls.replace(b"k", 1).requests == (Replace(b"k", b"1", 16),)
    assert calls.cas(b"k", "x", 3).requests == (Set(b"k", b'"x"', 16, 0, 3),)
    assert calls.set_multi({b"k": {"a": 1}}, 5).requests == (Set(b"k", b'{"a": 1}', 16, 5),)
    assert calls.append(b"k", b"raw").requests == (Append(b"k", b"raw"),)
    stored = Item(b"k", b"[1]", 16)
    assert calls.get(b"k").result([Values((stored,))]) == [1]
    assert calls.gat(b"k", 5).result([Values((Item(b"k", b"[1]"),))]) == b"[1]"
    assert calls.get_multi([b"k"]).result([Values((stored,))]) == {b"k": [1]}
    assert calls.gets(b"k").result([Values((stored,))]) == stored
    assert calls.gets_multi([b"k"]).result([Values((stored,))]) == {b"k": stored}


def test_keys_with_an_encoding_and_a_prefix_are_changed_on_the_wire_only() -> None:
    commands = Commands(RAW, encoding="utf-8", prefix="app:")
    wire = "app:\xe4".encode()
    assert commands.get("\xe4").requests == (Get((wire,)),)
    assert commands.get("\xe4".encode()).requests == (Get((wire,)),)
    assert commands.set("\xe4", b"v").requests == (Set(wire, b"v"),)
    assert commands.incr("\xe4").requests == (Increment(wire, 1, 0, None),)
    assert commands.encode("\xe4") == "\xe4".encode()
    found = Values((Item(wire, b"v"),))
    assert commands.get_multi(["\xe4", "k"]).result([found]) == {"\xe4": b"v"}
    assert commands.get_multi(["\xe4", "k"]).requests == (Get((wire, b"app:k")),)
    assert commands.gets_multi([b"\xc3\xa4"]).result([found]) == {b"\xc3\xa4": Item(wire, b"v")}
    assert commands.set_multi({"k": b"v"}).result([Failure(Status.VALUE_TOO_LARGE)]) == ["k"]
    assert commands.delete_multi(["k"]).requests == (Delete(b"app:k"),)
    assert commands.delete_multi(["k"]).result([Silence()]) == ["k"]
    assert Commands(RAW, prefix=b"app:").get_multi([b"k"]).requests == (Get((b"app:k",)),)


def test_a_key_that_has_no_bytes_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match=r"^key is 'k', must be bytes; with an encoding it may be a str$"):
        CALLS.get("k")
    with pytest.raises(LocalProtocolError, match=r"^key is '\xe4', encoding ascii has no bytes for it$"):
        Commands(RAW, encoding="ascii").get("\xe4")
    with pytest.raises(LocalProtocolError, match=r"^prefix is 'app:', must be bytes"):
        Commands(RAW, prefix="app:")
    with pytest.raises(LocalProtocolError, match=r"^encoding is 'utf-9', Python has no such codec$"):
        Commands(RAW, encoding="utf-9")
    wrong: list[bytes] = [bytearray(b"k")]  # type: ignore[list-item]
    with pytest.raises(LocalProtocolError, match=r"^key is bytearray, must be bytes"):
        CALLS.get_multi(wrong)


def test_a_source_of_keys_that_fails_fails_as_it_is() -> None:
    class Key(bytes):
        def __hash__(self) -> int:
            raise TypeError("no hash")

    with pytest.raises(TypeError, match="no hash"):
        CALLS.get_multi([Key(b"k")])


def test_type_of_a_result_follows_from_the_command() -> None:
    assert_type(CALLS.get(b"k", 0), Command[bytes | int])
    assert_type(Commands(RAW, encoding="ascii").get_multi(["k"]), Command[dict[str, bytes]])
    assert_type(CALLS.incr_multi([b"k"]), Command[dict[bytes, int]])
    assert_type(CALLS.get_or_lease(b"k", 30), Command[Lease[bytes]])
    numbers = Commands(Serde[int](lambda number: (b"%d" % number, 0), lambda data, _: int(data)))
    assert_type(numbers.get(b"k"), Command[int | None])
    assert_type(numbers.get_multi([b"k"]).result([Values()]), dict[bytes, int])
    assert_type(CALLS.get(b"k"), Command[bytes | None])
    assert_type(CALLS.gets(b"k"), Command[Item | None])
    assert_type(CALLS.incr(b"k"), Command[int | None])
    assert_type(CALLS.set_multi({b"k": b"v"}), Command[list[bytes]])
    assert numbers.get(b"k").result([Values((Item(b"k", b"12"),))]) == 12


# --- on a connection


def binary_stored(opaque: int) -> bytes:
    return b"\x81\x01" + bytes(10) + opaque.to_bytes(4, "big") + bytes(8)


def answers(connection: ClientConnection, data: bytes) -> int:
    connection.receive_data(data)
    count = 0
    while isinstance(connection.next_event(), ReplyReceived):
        count += 1
    return count


@pytest.mark.parametrize(
    ("dialect", "asked", "answered"),
    [
        # SETQ, SETQ, SET; only the last is answered, and settles the others.
        (
            Dialect.BINARY,
            b"".join(
                b"\x80%c\0\1\x08\0\0\0\0\0\0\x0a\0\0\0%c" % (opcode, opaque) + bytes(16) + b"%c1" % key
                for opcode, opaque, key in ((0x11, 0, b"a"[0]), (0x11, 1, b"b"[0]), (0x01, 2, b"c"[0]))
            ),
            binary_stored(2),
        ),
        (Dialect.CLASSIC, b"set a 0 0 1\r\n1\r\nset b 0 0 1\r\n1\r\nset c 0 0 1\r\n1\r\n", b"STORED\r\n" * 3),
    ],
    ids=["binary", "classic"],
)
def test_several_requests_are_one_round_trip(dialect: Dialect, asked: bytes, answered: bytes) -> None:
    connection = ClientConnection(dialect=dialect)
    call = CALLS.set_multi({b"a": b"1", b"b": b"1", b"c": b"1"})
    exchanges = call.send(connection, quiet=dialect is Dialect.BINARY)
    assert b"".join(exchange.data for exchange in exchanges) == asked
    assert answers(connection, answered) == 3
    assert call.result([exchange.reply for exchange in exchanges]) == []
    assert connection.outstanding == 0


def test_send_with_start_and_most_sends_a_part_of_the_requests() -> None:
    connection = ClientConnection(Limits(outstanding=2), dialect=Dialect.CLASSIC)
    call = CALLS.delete_multi([b"a", b"b", b"c"])
    first = call.send(connection, 0, 2)
    assert [exchange.data for exchange in first] == [b"delete a\r\n", b"delete b\r\n"]
    assert answers(connection, b"DELETED\r\nNOT_FOUND\r\n") == 2
    second = call.send(connection, 2, 2)
    assert [exchange.data for exchange in second] == [b"delete c\r\n"]
    assert answers(connection, b"DELETED\r\n") == 1
    assert call.result([exchange.reply for exchange in first + second]) == [b"a", b"c"]
    assert call.send(connection, 3) == []


def test_command_with_a_field_out_of_range_is_refused_by_send() -> None:
    connection = ClientConnection()
    bad: list[Callable[[], Command[object]]] = [lambda: CALLS.get(b""), lambda: CALLS.set(b"k", b"v", 1 << 32)]
    for build in bad:
        with pytest.raises(LocalProtocolError):
            build().send(connection)
    with pytest.raises(LocalProtocolError):
        CALLS.delete_multi([b"a", b"", b"c"]).send(connection)
    assert connection.outstanding == 0


@pytest.mark.parametrize("dialect", Dialect, ids=lambda dialect: dialect.name.lower())
def test_a_call_of_more_requests_than_the_limit_is_checked_as_a_whole(dialect: Dialect) -> None:
    limits = Limits(outstanding=2)
    right = CALLS.delete_multi([b"a", b"b", b"c"])
    right.check(limits, dialect)
    assert len(right.requests) == 3
    CALLS.get_multi([]).check(limits, dialect)
    with pytest.raises(LocalProtocolError, match="key"):
        CALLS.delete_multi([b"a", b"b", b"c", b"k" * 251]).check(limits, dialect)
