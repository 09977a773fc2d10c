"""Batches: all requests of a batch are sent, or none of them and nothing has changed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TypeAlias, assert_type

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memproto import (
    Add,
    AnyRequest,
    ClientConnection,
    ClientState,
    Delete,
    Deleted,
    Dialect,
    Exchange,
    Failure,
    Flush,
    Get,
    Increment,
    Limits,
    LocalProtocolError,
    Noop,
    Ok,
    Quit,
    Request,
    Set,
    Silence,
    Status,
    Stored,
    Touch,
    Values,
)
from memproto.commands import RAW, Commands
from memproto.testing import text_keys
from memproto.text.meta._keys import MAX_BASE64_KEY
from tests.support.telling import Told, tell
from tests.support.wire import wire

DIALECTS = tuple(Dialect)
CALLS = Commands(RAW)

# No longer than base64 may be in meta.
KEYS = text_keys().map(lambda key: key[:MAX_BASE64_KEY])
GOOD: st.SearchStrategy[AnyRequest] = st.one_of(
    st.builds(Get, st.lists(KEYS, min_size=1, max_size=3).map(tuple)),
    st.builds(Set, KEYS, st.binary(max_size=9)),
    st.builds(Delete, KEYS),
    st.builds(Increment, KEYS),
    st.just(Flush()),
)

# Refused in every dialect, at several depths.
BAD: dict[str, Request[object]] = {
    "key of 251 bytes": Delete(b"k" * 251),
    "empty key": Set(b"", b"v"),
    "no keys": Get(()),
    "one bad key of many": Get((b"a", b"", b"c")),
    "too many keys": Get((b"k",) * 5),
    "flags out of range": Set(b"k", b"v", 1 << 32),
    "str value": Set(b"k", "v"),  # type: ignore[arg-type]
    "delta out of range": Increment(b"k", 1 << 64),
    "exptime out of range": Touch(b"k", -(1 << 40)),
}


def _connection(dialect: Dialect, first_opaque: int = 7) -> ClientConnection:
    return ClientConnection(Limits(outstanding=8, keys=4), dialect=dialect, first_opaque=first_opaque)


def _visible(client: ClientConnection) -> tuple[int, ClientState, bool, bytes]:
    """What a batch can change: the queue, the state, and the serial number in the bytes of the next request."""
    count, state, reusable = client.outstanding, client.state, client.reusable
    return count, state, reusable, client.send(Get((b"a", b"b"))).data if reusable and count < 8 else b""


# --- what is sent


def test_a_batch_is_sent_in_order_with_the_bytes_of_single_requests() -> None:
    requests = (Set(b"a", b"1"), Get((b"a", b"b")), Delete(b"a"))
    for dialect in DIALECTS:
        batch, single = _connection(dialect), _connection(dialect)
        exchanges = batch.send_all(requests)
        assert [exchange.request for exchange in exchanges] == list(requests)
        assert [exchange.data for exchange in exchanges] == [single.send(request).data for request in requests]
        assert batch.outstanding == 3
        assert _visible(batch) == _visible(single)


def test_in_a_quiet_batch_all_but_the_last_are_quiet() -> None:
    client = ClientConnection()
    exchanges = client.send_all([Set(b"a", b"1"), Add(b"a", b"2"), Set(b"b", b"3")], quiet=True)
    assert [exchange.quiet for exchange in exchanges] == [True, True, False]
    assert [exchange.data[1] for exchange in exchanges] == [0x11, 0x12, 0x01]
    refused = wire("81120000 00000002 00000000 00000001 0000000000000000")
    stored = wire("81010000 00000000 00000000 00000002 0000000000000009")
    told = tell(client, [refused + stored])
    assert told == Told([Silence(), Failure(Status.KEY_EXISTS, b""), Stored(9)])
    assert client.fence() == b""


def test_in_text_a_quiet_batch_turns_success_into_silence_but_for_the_last() -> None:
    client = ClientConnection(dialect=Dialect.CLASSIC)
    exchanges = client.send_all((Delete(b"a"), Delete(b"b")), quiet=True)
    assert b"".join(exchange.data for exchange in exchanges) == b"delete a\r\ndelete b\r\n"
    assert tell(client, [b"DELETED\r\nDELETED\r\n"]) == Told([Silence(), Deleted()])


def test_a_batch_of_nothing_is_nothing_on_any_connection() -> None:
    client = ClientConnection()
    assert client.send_all([]) == client.send_all(iter(()), quiet=True) == []
    client.close()
    assert client.send_all(()) == []


def test_quit_ends_a_batch() -> None:
    for dialect in DIALECTS:
        client = _connection(dialect)
        noop, _ = client.send_all([Noop(), Quit()])
        assert noop.quiet is False
        assert (client.state, client.outstanding) == (ClientState.QUITTING, 2)
        client.receive_eof()


def test_type_of_a_batch_follows_from_its_requests() -> None:
    client = ClientConnection()
    assert_type(client.send_all([Set(b"a", b"1"), Set(b"b", b"2")]), list[Exchange[Stored]])
    assert_type(client.send_all([Get((b"a",))], quiet=True), list[Exchange[Values | Silence]])


def test_opaques_of_a_batch_go_on_at_0_after_the_largest() -> None:
    client = ClientConnection(first_opaque=0xFFFFFFFE)
    exchanges = client.send_all([Noop(), Get((b"a", b"b")), Noop()])
    opaques = [exchanges[0].data[12:16], *(exchanges[1].data[at + 12 : at + 16] for at in (0, 25, 50))]
    assert [opaque.hex() for opaque in opaques] == ["fffffffe", "ffffffff", "00000000", "00000001"]
    assert exchanges[2].data[12:16].hex() == "00000002"
    meta = ClientConnection(first_opaque=0xFFFFFFFF, dialect=Dialect.META)
    data = [exchange.data for exchange in meta.send_all([Delete(b"a"), Delete(b"b")])]
    assert data == [b"md a O4294967295\r\n", b"md b O0\r\n"]


# --- the first opaque


def test_the_first_opaque_is_that_of_the_first_request() -> None:
    assert ClientConnection(first_opaque=0xDEADBEEF).send(Noop()).data[12:16].hex() == "deadbeef"
    assert ClientConnection(first_opaque=12, dialect=Dialect.META).send(Delete(b"k")).data == b"md k O12\r\n"
    late = wire("81040000 00000000 00000000 00000000 0000000000000000")
    client = ClientConnection(first_opaque=0xDEADBEEF)
    client.send(Delete(b"k"))
    assert tell(client, [late]).fault == "opaque of a reply is 0x00000000, expected 0xdeadbeef"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("value", "words"),
    [
        (-1, "first_opaque is -1, must be 0 to 4294967295"),
        (1 << 32, "first_opaque is 4294967296, must be 0 to 4294967295"),
        (1.0, "first_opaque is 1.0, must be an integer"),
        ("1", "first_opaque is '1', must be an integer"),
    ],
)
def test_a_first_opaque_out_of_range_is_refused(dialect: Dialect, value: int, words: str) -> None:
    with pytest.raises(LocalProtocolError, match=f"^{words}$"):
        ClientConnection(dialect=dialect, first_opaque=value)


# --- what is refused, and leaves nothing behind


def _raising(requests: list[AnyRequest]) -> Iterator[AnyRequest]:
    yield from requests
    raise ZeroDivisionError


@given(
    st.sampled_from(DIALECTS),
    st.lists(GOOD, max_size=3),
    st.lists(GOOD, max_size=4),
    st.lists(GOOD, max_size=3),
    st.sampled_from(sorted(BAD)),
    st.booleans(),
)
def test_a_batch_with_a_bad_member_changes_nothing(
    dialect: Dialect,
    earlier: list[AnyRequest],
    before: list[AnyRequest],
    behind: list[AnyRequest],
    bad: str,
    quiet: bool,
) -> None:
    client, untouched = _connection(dialect), _connection(dialect)
    for request in earlier:
        client.send(request)
        untouched.send(request)
    with pytest.raises(LocalProtocolError):
        client.send_all([*before, BAD[bad], *behind], quiet=quiet)
    with pytest.raises(ZeroDivisionError):
        client.send_all(_raising(before), quiet=quiet)
    assert _visible(client) == _visible(untouched)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("bad", BAD)
def test_a_bad_request_alone_changes_nothing(dialect: Dialect, bad: str) -> None:
    client = _connection(dialect)
    for send in (client.send, client.send_quiet):
        with pytest.raises(LocalProtocolError):
            send(BAD[bad])
    assert _visible(client) == _visible(_connection(dialect))


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("quiet", [False, True])
def test_a_batch_over_the_limit_is_refused_whole_and_names_count_and_limit(dialect: Dialect, quiet: bool) -> None:
    client, untouched = _connection(dialect), _connection(dialect)
    for each in (client, untouched):
        each.send_all([Delete(b"k")] * 3)
    with pytest.raises(
        LocalProtocolError, match=r"^requests of the batch are 6, 3 are outstanding, limit of both is 8$"
    ):
        client.send_all([Delete(b"k")] * 6, quiet=quiet)
    with pytest.raises(LocalProtocolError, match=r"^requests of the batch are 2000, .* limit of both is 8$"):
        client.send_all((Delete(b"k") for _ in range(2000)), quiet=quiet)
    assert _visible(client) == _visible(untouched)
    client.send_all([Delete(b"k")] * 4, quiet=quiet)
    assert client.outstanding == 8
    with pytest.raises(LocalProtocolError, match=r"^requests outstanding are 8, which is the limit$"):
        client.send_all([Delete(b"k")])


@pytest.mark.parametrize("dialect", DIALECTS)
def test_quit_before_the_end_of_a_batch_is_refused(dialect: Dialect) -> None:
    client = _connection(dialect)
    for batch in ([Quit(), Noop()], [Noop(), Quit(), Quit()]):
        with pytest.raises(LocalProtocolError, match=r"^Quit is not the last request of the batch"):
            client.send_all(batch)
    assert _visible(client) == _visible(_connection(dialect))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_connection_that_is_not_reusable_takes_no_batch(dialect: Dialect) -> None:
    client = _connection(dialect)
    client.receive_eof()
    with pytest.raises(LocalProtocolError, match=r"^nothing can be sent any more: "):
        client.send_all([Noop(), Noop()])
    assert client.outstanding == 0


def test_a_request_without_a_quiet_form_is_refused_in_a_quiet_batch_but_for_the_last() -> None:
    client = _connection(Dialect.BINARY)
    with pytest.raises(LocalProtocolError, match=r"^TOUCH has no quiet form$"):
        client.send_all([Set(b"k", b"v"), Touch(b"k"), Noop()], quiet=True)
    assert _visible(client) == _visible(_connection(Dialect.BINARY))
    touch = _connection(Dialect.BINARY).send_all([Set(b"k", b"v"), Touch(b"k")], quiet=True)[-1]
    assert touch.quiet is False


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_call_of_many_requests_leaves_nothing_behind(dialect: Dialect) -> None:
    client = ClientConnection(dialect=dialect)
    with pytest.raises(LocalProtocolError, match=r"^key is 300 bytes, limit is 250$"):
        CALLS.delete_multi([b"gone", b"k" * 300]).send(client)
    with pytest.raises(LocalProtocolError, match=r"^requests of the batch are 2000, 0 are outstanding"):
        CALLS.set_multi({b"%d" % number: b"v" for number in range(2000)}).send(client, quiet=True)
    assert client.outstanding == 0
    # The reply to the next request is its own.
    assert client.send(Noop()).data == ClientConnection(dialect=dialect).send(Noop()).data
    if dialect is Dialect.CLASSIC:
        assert tell(client, [b"VERSION 1.6.18\r\n"]) == Told([Ok()])


# --- interrupted


class _Interrupted(BaseException):
    """What a signal handler raises."""


_Trace: TypeAlias = Callable[[FrameType, str, object], "_Trace | None"]


def _interrupt_at(instruction: int, act: Callable[[], object]) -> bool:
    """Raise at one instruction of the library while it acts; whether it got so far."""
    left = instruction

    def trace(frame: FrameType, event: str, _: object) -> _Trace | None:
        nonlocal left
        if "/memproto/" not in frame.f_code.co_filename.replace("\\", "/"):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left == 0:
                raise _Interrupted
        return trace

    before = sys.gettrace()
    # Python 3.12 reports instructions only if a frame asks for them by now.
    sys._getframe().f_trace_opcodes = True
    sys.settrace(trace)
    try:
        act()
    except _Interrupted:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("goodbye", [False, True])
def test_a_batch_interrupted_at_any_instruction_is_in_the_queue_whole_or_not_at_all(
    dialect: Dialect, goodbye: bool
) -> None:
    batch: list[Request[object]] = [Set(b"a", b"1"), Get((b"a", b"b")), Quit() if goodbye else Delete(b"a")]
    queued = set()
    for instruction in range(1, 10_000):
        client = _connection(dialect)
        if not _interrupt_at(instruction, lambda client=client: client.send_all(batch)):  # type: ignore[misc]
            break
        queued.add(client.outstanding)
        # Nothing can follow a goodbye that may have been sent.
        assert not (goodbye and client.outstanding and client.reusable)
    assert instruction > 100
    assert queued == {0, 3}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_request_interrupted_at_any_instruction_takes_no_serial_number_of_another(dialect: Dialect) -> None:
    seen = 0
    for instruction in range(1, 10_000):
        client = _connection(dialect)
        if not _interrupt_at(instruction, lambda client=client: client.send(Get((b"a", b"b")))):  # type: ignore[misc]
            break
        first = client._outstanding[0] if client.outstanding else None
        later = client.send(Get((b"a", b"b")))
        seen += 1
        assert dialect is Dialect.CLASSIC or first is None or first.data != later.data
    assert seen > 20
