"""Law 2 under any limits: cuts in the input never change what a connection tells, however small its limits are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memproto import (
    AdminCommand,
    AnyReply,
    AnyRequest,
    ClientConnection,
    ConnectionClosed,
    Delete,
    Dialect,
    Envelope,
    Get,
    Increment,
    Item,
    Limits,
    LocalProtocolError,
    MetaDebug,
    MetaOptions,
    Noop,
    RemoteProtocolError,
    ServerConnection,
    Set,
    Signal,
    Stats,
    StatsReply,
    Touch,
    UnknownLine,
    Values,
    Version,
    binary,
    text,
)
from memproto.testing import binary_envelopes, classic_envelopes, meta_envelopes, pieces, replies_to, text_replies_to
from tests.support.stubs import stub, stub_for
from tests.support.telling import Told, tell
from tests.support.wire import each_byte

BINARY, CLASSIC, META = Dialect.BINARY, Dialect.CLASSIC, Dialect.META

SMALL = st.integers(1, 40) | st.integers(20, 30) | st.integers(1, 400)
LIMITS = st.builds(
    Limits,
    value=st.integers(1, 60),
    head=st.integers(1, 60) | st.integers(1, 400),
    line=SMALL,
    keys_line=SMALL,
    bare_lf=st.booleans(),
    outstanding=st.integers(3, 6),
    keys=st.integers(3, 6),
    answer=SMALL,
    stats=st.integers(1, 4),
)


def _near(data: st.DataObject, limits: Limits, stream: bytes) -> Limits:
    """These limits, or that of a line is about the length of a line of this stream."""
    lengths = sorted({len(line) + over for line in stream.split(b"\n") for over in (-2, -1, 0) if len(line) + over > 0})
    line = data.draw(st.sampled_from([limits.line, *lengths]))
    return replace(limits, line=line)


# --- the client

KEYS = st.sampled_from([b"a", b"b", b"other", b"k" * 10, b"k" * 20]) | st.sampled_from(
    [b"\xff", b"k" * 186, b"k" * 250]
)
REQUESTS: dict[str, st.SearchStrategy[AnyRequest]] = {
    "Get": st.builds(Get, st.tuples(KEYS)),
    "Get of several": st.builds(Get, st.lists(KEYS, min_size=2, max_size=4).map(tuple)),
    "Get with options": st.builds(lambda key: Get((key,), meta=MetaOptions(details=True)), KEYS),
    "Set": st.builds(Set, KEYS, st.binary(max_size=9)),
    "Delete": st.builds(Delete, KEYS),
    "Increment": st.builds(Increment, KEYS),
    "Touch": st.builds(Touch, KEYS),
    "Stats": st.sampled_from([Stats(), Stats(b"detail dump")]),
    "others": st.sampled_from(
        [Version(), Noop(), MetaDebug(b"k"), UnknownLine(b"what"), AdminCommand((b"lru_crawler", b"metadump", b"all"))]
    ),
}


def _reply(draw: st.DrawFn, event: Envelope) -> AnyReply:
    request = event.request
    if isinstance(request, Get):
        sizes = st.just(-1) | st.integers(0, 70)
        found = [(key, draw(sizes)) for key in request.keys]
        return Values(tuple(Item(key, b"v" * size, 1, 2) for key, size in found if size >= 0))
    if isinstance(request, Stats) and request.group != b"detail dump":
        return StatsReply(tuple((b"n", b"s" * size) for size in draw(st.lists(st.integers(0, 70), max_size=6))))
    return draw(replies_to(request) if event.dialect is BINARY else text_replies_to(event))  # type: ignore[arg-type]


@st.composite
def conversations(draw: st.DrawFn, dialect: Dialect, kind: str) -> tuple[list[AnyRequest], bytes]:
    """Requests, and the bytes that a server without limits answers."""
    client, server = ClientConnection(dialect=dialect), ServerConnection()
    requests: list[AnyRequest] = []
    heard = b""
    for request in draw(st.lists(REQUESTS[kind], min_size=1, max_size=3)):
        try:
            exchange = client.send(request)
        except LocalProtocolError:
            continue
        requests.append(request)
        server.receive_data(exchange.data)
        while isinstance(event := server.next_event(), Envelope):
            heard += server.send(_reply(draw, event), event)
    return requests, draw(st.sampled_from([heard, heard, heard.replace(b"\r\n", b"\n"), heard[:-1]]))


def _client(limits: Limits, dialect: Dialect, requests: list[AnyRequest]) -> ClientConnection:
    """A client with these limits that has asked as much of this as it may."""
    client = ClientConnection(limits, dialect=dialect)
    for request in requests:
        try:
            client.send(request)
        except LocalProtocolError:
            break
    return client


@pytest.mark.untraced
@pytest.mark.parametrize("dialect", list(Dialect))
@pytest.mark.parametrize("kind", REQUESTS)
@given(data=st.data(), limits=LIMITS)
def test_cuts_do_not_change_the_events_of_a_client_under_any_limits(
    dialect: Dialect, kind: str, data: st.DataObject, limits: Limits
) -> None:
    requests, heard = data.draw(conversations(dialect, kind))
    limits = _near(data, limits, heard)

    def told(cuts: Iterable[bytes]) -> Told:
        return tell(_client(limits, dialect, requests), cuts, eof=True)

    whole = told([heard])
    assert told(each_byte(heard)) == whole
    assert told(data.draw(pieces(heard))) == whole


# --- the server


def _served(limits: Limits, cuts: Iterable[bytes], answer: Callable[[Envelope], AnyReply]) -> list[object]:
    """Everything that a server with these limits tells and says, each request answered at once."""
    server = ServerConnection(limits)
    told: list[object] = []
    said = b""
    for piece in (*cuts, None):
        if piece is None:
            server.receive_eof()
        else:
            server.receive_data(piece)
        try:
            while isinstance(event := server.next_event(), Envelope):
                told.append(event)
                said += server.send(answer(event), event)
        except RemoteProtocolError as fault:
            told += [str(fault), fault.reply_hint]
            break
        if event == ConnectionClosed():
            told.append(event)
            break
        assert event is Signal.NEED_DATA
    return [*told, said]


_FORMS: dict[Dialect, st.SearchStrategy[bytes]] = {
    BINARY: binary_envelopes().map(binary.encode_request),
    CLASSIC: classic_envelopes().map(text.encode_request),
    META: meta_envelopes().map(text.encode_request),
}


@pytest.mark.parametrize("form", list(Dialect))
@given(data=st.data(), limits=LIMITS)
def test_cuts_do_not_change_the_events_of_a_server_under_any_limits(
    form: Dialect, data: st.DataObject, limits: Limits
) -> None:
    received = b"".join(data.draw(st.lists(_FORMS[form], min_size=1, max_size=4)))
    received = data.draw(st.sampled_from([received, received, received.replace(b"\r\n", b"\n"), received[:-1]]))
    limits = _near(data, limits, received)

    def answer(event: Envelope) -> AnyReply:
        return stub(event.request)

    whole = _served(limits, [received], answer)
    assert _served(limits, each_byte(received), answer) == whole
    assert _served(limits, data.draw(pieces(received)), answer) == whole


# --- the limit of a line, to the byte


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_the_limit_of_a_line_is_without_its_end_at_the_server(end: bytes) -> None:
    for limit in (20, 21, 22):
        for key in (b"k" * (limit - 4 + over) for over in (-1, 0, 1)):
            line = b"get " + key
            for form, limits in (
                (line, Limits(line=6, keys_line=limit)),
                (b"mg  " + key, Limits(line=limit)),
                (b"incr" + key[:-3] + b" 1 ", Limits(line=limit)),
            ):
                for cuts in ([form + end], each_byte(form + end), [form, end], [form + end[:1], end[1:]]):
                    told = _served(limits, cuts, stub_for)
                    too_long = f"line has more than {limit} bytes, which is the limit"
                    assert (told[0] == too_long) is (len(form) > limit)


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_the_limit_of_a_line_is_without_its_end_at_the_client(end: bytes) -> None:
    for limit in (20, 21, 22):
        for over in (-1, 0, 1):
            for dialect, request, line in (
                (CLASSIC, Version(), b"VERSION " + b"1" * (limit - 8 + over)),
                (META, MetaDebug(b"k"), b"ME k a=" + b"1" * (limit - 7 + over)),
                (META, Get((b"k", b"l")), b"EN kk O0".ljust(limit + over)),
            ):
                for cuts in ([line + end], each_byte(line + end), [line, end], [line + end[:1], end[1:]]):
                    client = ClientConnection(Limits(line=limit), dialect=dialect)
                    client.send(request)
                    too_long = f"line has more than {limit} bytes, which is the limit"
                    assert tell(client, cuts).fault == (too_long if over == 1 else None)


@pytest.mark.parametrize("length", [49, 50, 51])
def test_a_miss_of_a_get_of_many_is_within_the_limit_of_a_line_or_a_fault_under_each_cut(length: int) -> None:
    keys = (b"a" * (length - 7), b"b")
    heard = b"EN k%b O0\r\nEN kb O0\r\n" % keys[0]
    assert heard.index(b"\r") == length
    for cut in range(len(heard)):
        client = ClientConnection(Limits(line=50), dialect=META)
        client.send(Get(keys))
        told = tell(client, [heard[:cut], heard[cut:]])
        fault = "line has more than 50 bytes, which is the limit" if length > 50 else None
        assert told == Told([] if fault else [Values()], fault)
