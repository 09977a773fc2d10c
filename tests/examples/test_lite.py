"""The Memcached Lite dialect: literal lines in, literal lines out, through the public interface for dialects."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.lite import LiteDialect
from memproto import (
    AnyReply,
    AnyRequest,
    ConnectionClosed,
    Counter,
    Envelope,
    Failure,
    Get,
    InvalidRequest,
    Item,
    Limits,
    LocalProtocolError,
    Ok,
    Quit,
    RemoteProtocolError,
    ServerConnection,
    Set,
    Signal,
    Status,
    Stored,
    Values,
)
from memproto.engine import Engine
from memproto.testing import pieces
from tests.support.peers import DEADLINE, ROOT, Running
from tests.support.wire import each_byte

SMALL = Limits(value=40, line=60)
LONG_KEY = b"k" * 251


@dataclass
class Served:
    requests: list[AnyRequest] = field(default_factory=list)
    output: bytes = b""
    fault: str | None = None
    closed: bool = False
    most: int = field(default=0, compare=False)


def serve(parts: Iterable[bytes], limits: Limits | None = None, *, eof: bool = False) -> Served:
    """Feed the parts to a connection that speaks the dialect, with an engine behind it."""
    connection = ServerConnection(limits, codec=LiteDialect(limits))
    engine, served = Engine(), Served()
    for part in [*parts, None] if eof else parts:
        connection.receive_eof() if part is None else connection.receive_data(part)
        while served.fault is None:
            try:
                event = connection.next_event()
            except RemoteProtocolError as fault:
                served.fault, served.closed = str(fault), True
                served.output += fault.reply_hint
                break
            if not isinstance(event, Envelope):
                served.closed = isinstance(event, ConnectionClosed)
                break
            served.requests.append(event.request)
            served.output += connection.send(engine.execute(event.request, 0.0), event)
        served.most = max(served.most, connection.buffered)
    return served


def three_ways(data: bytes, limits: Limits | None = None) -> Served:
    """Whole, byte by byte, and with a command behind it; the outcome of the first, if all agree."""
    whole = serve([data], limits)
    assert serve(each_byte(data), limits) == whole
    trailed = serve([data + b"get trailer\n"], limits)
    if whole.closed:
        assert trailed == whole
    else:
        assert trailed.requests == [*whole.requests, Get((b"trailer",))]
        assert trailed.output == whole.output + b"NOT FOUND\r\n"
    return whole


STORED, MISSED, REFUSED, INVALID = b"STORED\r\n", b"NOT FOUND\r\n", b"NOT STORED\r\n", b"INVALID COMMAND\r\n"
LONGEST = b"STORED\r\nVALUE " + b"k" * 250 + b" v\r\nEND\r\n"


@pytest.mark.parametrize(
    ("data", "output"),
    [
        (b"set key 5 \r\nvalue\r\nget key \r\n", b"STORED\r\nVALUE key value\r\nEND\r\n"),
        (b"set key 5\r\nvalue\r\nget key\r\n", b"STORED\r\nVALUE key value\r\nEND\r\n"),
        (b"set key 5\nvalue\nget key\n", b"STORED\r\nVALUE key value\r\nEND\r\n"),
        (b"SET key 5\r\nvalue\r\nGET key\r\n", b"STORED\r\nVALUE key value\r\nEND\r\n"),
        (b"Set key 5\r\nvalue\r\ngEt key\r\n", b"STORED\r\nVALUE key value\r\nEND\r\n"),
        (b"  set   key   5   \nvalue\n get  key  \n", b"STORED\r\nVALUE key value\r\nEND\r\n"),
        (b"set KEY 1\r\nx\r\nget key\r\n", STORED + MISSED),
        (b"get key\r\n", MISSED),
        # shorter, empty, and the last that fits
        (b"set k 99\r\nv\r\nget k\r\n", b"STORED\r\nVALUE k v\r\nEND\r\n"),
        (b"set k 3\r\n\r\nget k\r\n", b"STORED\r\nVALUE k \r\nEND\r\n"),
        (b"set k 0\n\nget k\n", b"STORED\r\nVALUE k \r\nEND\r\n"),
        (b"set k 005\r\nvalue\r\n", STORED),
        # longer: the old value stays, and no part of it is a command
        (b"set k 1\nx\nset k 4\r\nvalue\r\nget k\r\n", b"STORED\r\nNOT STORED\r\nVALUE k x\r\nEND\r\n"),
        (b"set k 4\nvalue\nget k\n", REFUSED + MISSED),
        (b"set k 4\r\nvalue and then\r\nget k\r\n", REFUSED + MISSED),
        (b"set k 0\r\nexit\r\nget k\r\n", REFUSED + MISSED),
        (b"set k 99999999999999999999\r\nv\r\nget k\r\n", b"STORED\r\nVALUE k v\r\nEND\r\n"),
        # values are any bytes but an LF
        (b"set k 9\r\n a  b c  \r\nget k\r\n", b"STORED\r\nVALUE k  a  b c  \r\nEND\r\n"),
        (b"set k 9\r\nexit\r\nget k\r\n", b"STORED\r\nVALUE k exit\r\nEND\r\n"),
        (b"set k 4\r\n\0\xff\r\x80\r\nget k\r\n", b"STORED\r\nVALUE k \0\xff\r\x80\r\nEND\r\n"),
        (b"set k 2\r\nv\r\r\nget k\r\n", b"STORED\r\nVALUE k v\r\r\nEND\r\n"),
        (b"set \0\xc3\xa9\t 1\r\nv\r\nget \0\xc3\xa9\t\r\n", b"STORED\r\nVALUE \0\xc3\xa9\t v\r\nEND\r\n"),
        # no commands
        (b"\r\n", INVALID),
        (b"  \n", INVALID),
        (b"get\r\n", INVALID),
        (b"get \r\n", INVALID),
        (b"get a b\r\n", INVALID),
        (b"set\r\n", INVALID),
        (b"set key\r\nget key\r\n", INVALID + MISSED),
        (b"delete key\r\n", INVALID),
        (b"getkey\r\n", INVALID),
        (b"exit now\r\n", INVALID),
        (b"\x80\x0b\0\0\r\n", INVALID),
        # a set that is refused has its value line nevertheless
        (b"set k x\r\nexit\r\nget k\r\n", INVALID + MISSED),
        (b"set k -1\r\nexit\r\nget k\r\n", INVALID + MISSED),
        (b"set k +1\r\nexit\r\nget k\r\n", INVALID + MISSED),
        (b"set k 1.5\nexit\nget k\n", INVALID + MISSED),
        (b"set k 0 0 5\r\nvalue\r\nget k\r\n", INVALID + MISSED),
        (b"set k 100000000000000000000\r\nexit\r\nget k\r\n", INVALID + MISSED),
        # keys of memcached's length
        (b"set " + LONG_KEY[1:] + b" 1\r\nv\r\nget " + LONG_KEY[1:] + b"\n", LONGEST),
        (b"get " + LONG_KEY + b"\r\n", INVALID),
        (b"set " + LONG_KEY + b" 4\r\nexit\r\nget k\n", INVALID + MISSED),
    ],
)
def test_what_is_said_and_answered(data: bytes, output: bytes) -> None:
    served = three_ways(data)
    assert served.output == output
    assert not served.closed


def test_the_requests_are_the_ordinary_ones() -> None:
    assert three_ways(b"set k 5\r\nvalue\r\nget k\r\nset k 2\r\nvalue\r\nwhat ever\r\n").requests == [
        Set(b"k", b"value"),
        Get((b"k",)),
        InvalidRequest(Failure(Status.NOT_STORED), "value is longer than 2 bytes", request=Set(b"k", b"")),
        InvalidRequest(Failure(Status.INVALID_ARGUMENTS), "line b'what ever' is no command of this dialect"),
    ]


@pytest.mark.parametrize("line", [b"exit\r\n", b"exit\n", b"EXIT \r\n", b" Exit\r\n"])
def test_exit_ends_it_without_a_word(line: bytes) -> None:
    served = three_ways(b"get k\n" + line + b"get k\r\n")
    assert served == Served([Get((b"k",)), Quit()], MISSED, None, True)


# --- limits


@pytest.mark.parametrize(
    ("size", "value", "output"),
    [
        (b"40", b"v" * 40, STORED),
        (b"41", b"v" * 40, STORED),
        (b"41", b"v" * 41, REFUSED),
        (b"9" * 20, b"v" * 41, REFUSED),
        (b"9" * 20, b"get k " * 1000, REFUSED),
        (b"5", b"v" * 6, REFUSED),
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_value_is_bounded_whatever_its_size_says(size: bytes, value: bytes, output: bytes, end: bytes) -> None:
    assert three_ways(b"set k " + size + end + value + end, SMALL).output == output


def test_of_a_value_that_is_too_long_nothing_is_held() -> None:
    # Each part ends in a command, and all are one line.
    parts = [b"set k 30\r\n", b"v" * 30, b"v", *[b"get k \r" * 3] * 1000, b"\n", b"get k\r\n"]
    served = serve(parts, SMALL)
    assert served.output == REFUSED + MISSED
    assert served.most <= 32


def test_a_refusal_does_not_wait_for_the_end_of_the_line() -> None:
    assert serve([b"set k 3\r\nvalue"]).output == REFUSED
    assert serve([b"set k x\r\n"]).output == INVALID


def test_command_over_the_limit_of_a_line_loses_the_framing() -> None:
    fits = b"get k".ljust(59)
    assert three_ways(fits + b"\r\n", SMALL).output == MISSED
    assert three_ways(fits + b"  \n", SMALL) == Served(
        [], INVALID, "line has more than 60 bytes, which is the limit", True
    )
    held = serve([b"get k\n", b"x" * 60, b"x"], SMALL)
    assert (held.output, held.closed) == (MISSED + INVALID, True)


# --- the end of the stream


@pytest.mark.parametrize(
    "cut", [b"g", b"get k", b"set k 5\r\n", b"set k 5\r\nval", b"set k 5\r\nvalue", b"set k x\n", b"set k 1\nvalue"]
)
def test_an_end_inside_a_request_is_told(cut: bytes) -> None:
    served = serve([b"get k\n" + cut], eof=True)
    assert (served.fault or "").startswith("stream ended inside a request")
    assert Set(b"k", b"value") not in served.requests


@pytest.mark.parametrize("data", [b"", b"get k\r\n", b"set k 5\r\nvalue\r\n", b"set k 1\r\nvalue\r\n", b"set k x\n\n"])
def test_an_end_between_two_requests_is_the_end(data: bytes) -> None:
    served = serve([data], eof=True)
    assert (served.fault, served.closed) == (None, True)


# --- replies


@pytest.mark.parametrize(
    ("asked", "reply", "output"),
    [
        (b"get k\n", Values((Item(b"k", b"v", 7, 9),)), b"VALUE k v\r\nEND\r\n"),
        (b"get k\n", Failure(Status.KEY_NOT_FOUND), MISSED),
        # stored by a client of another dialect, from a file that both servers kept
        (b"get k\n", Values((Item(b"k", b"two\nlines"),)), MISSED),
        (b"set k 1\nv\n", Stored(5), STORED),
        (b"set k 1\nv\n", Failure(Status.OUT_OF_MEMORY), REFUSED),
        (b"set k 1\nv\n", Failure(Status.VALUE_TOO_LARGE), REFUSED),
        (b"what\n", Failure(Status.UNKNOWN_COMMAND), INVALID),
        (b"exit\n", Ok(), b""),
    ],
)
def test_every_reply_of_an_engine_has_its_line(asked: bytes, reply: AnyReply, output: bytes) -> None:
    connection = ServerConnection(codec=LiteDialect())
    connection.receive_data(asked)
    event = connection.next_event()
    assert isinstance(event, Envelope)
    assert event.dialect is None
    assert connection.send(reply, event) == output


@pytest.mark.parametrize(("asked", "reply"), [(b"get k\n", Stored(1)), (b"set k 1\nv\n", Counter(1)), (b"w\n", Ok())])
def test_other_replies_are_the_embedders_error(asked: bytes, reply: AnyReply) -> None:
    connection = ServerConnection(codec=LiteDialect())
    connection.receive_data(asked)
    event = connection.next_event()
    assert isinstance(event, Envelope)
    with pytest.raises(
        LocalProtocolError, match=f"^{type(reply).__name__} does not answer {type(event.request).__name__}$"
    ):
        connection.send(reply, event)
    assert connection.outstanding == 1


def test_a_value_is_not_copied() -> None:
    connection, value = ServerConnection(codec=LiteDialect()), bytes(10_000)
    connection.receive_data(b"get k\n")
    event = connection.next_event()
    assert isinstance(event, Envelope)
    assert connection.send_parts(Values((Item(b"k", value),)), event)[1] is value


def test_one_who_has_to_authenticate_is_refused_everything() -> None:
    connection = ServerConnection(auth_required=True, codec=LiteDialect())
    connection.receive_data(b"set k 4\nexit\nget k\nexit\n")
    output = b""
    while isinstance(event := connection.next_event(), Envelope):
        assert isinstance(event.request, InvalidRequest)
        output += connection.send(event.request.reply, event)
    assert output == INVALID * 3
    assert event is Signal.NEED_DATA


# --- laws

LINES = st.sampled_from(
    [b"get k", b"GET  k ", b"set k 3", b"set k 50", b"set k x", b"set k", b"exit", b"abc", b"", b"v" * 45, b"w" * 70]
)
ENDS = st.sampled_from([b"\n", b"\r\n", b" \r\n"])
SCRIPTS = st.lists(st.tuples(LINES | st.binary(max_size=12), ENDS).map(b"".join), max_size=12).map(b"".join)


@given(SCRIPTS | st.binary(max_size=300), st.data())
def test_cuts_change_nothing_and_any_bytes_end_in_events_or_the_one_error(data: bytes, draw: st.DataObject) -> None:
    whole = serve([data], SMALL, eof=True)
    assert serve(draw.draw(pieces(data)), SMALL, eof=True) == whole
    by_byte = serve(each_byte(data), SMALL, eof=True)
    assert by_byte == whole
    assert by_byte.most <= SMALL.line
    assert whole.output.count(b"\n") <= 2 * data.count(b"\n") + 2


KEYS = st.binary(min_size=1, max_size=250).map(lambda key: key.translate(None, b" \r\n")).filter(bool)
VALUES = st.binary(max_size=2000).map(lambda value: value.translate(None, b"\n").rstrip(b"\r"))


@given(KEYS, VALUES, st.integers(0, 3), ENDS, st.sampled_from([b"\n", b"\r\n"]))
def test_what_is_set_is_got(key: bytes, value: bytes, more: int, end: bytes, value_end: bytes) -> None:
    script = b"set %b %d%b%b%bget %b%b" % (key, len(value) + more, end, value, value_end, key, end)
    assert three_ways(script).output == STORED + b"VALUE %b %b\r\nEND\r\n" % (key, value)


# --- the file, and the server


def _talk(port: int, lines: bytes) -> bytes:
    """What the server says until it closes."""
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as link:
        link.sendall(lines)
        with link.makefile("rb") as stream:
            return stream.read()


@contextmanager
def _lite_server(path: Path, end: int = signal.SIGTERM) -> Iterator[int]:
    """The server with this file, until the signal; its port."""
    arguments = ("--port", "-1", "--persist", str(path))
    running = Running(sys.executable, "-W", "default", "-m", "examples.lite", *arguments)
    try:
        running.wait_for_port()
        yield running.port
    finally:
        running.stop(end)
    assert "Traceback" not in running.said, running.said


def test_many_clients_of_one_server_and_what_survives_its_death(tmp_path: Path) -> None:
    with _lite_server(tmp_path / "items", signal.SIGKILL) as port:
        scripts = [b"".join(b"set k%d.%d 9\r\n%d.%d\r\n" % (n, m, n, m) for m in range(50)) for n in range(8)]
        with ThreadPoolExecutor(8) as pool:
            told = list(pool.map(lambda script: _talk(port, script + b"EXIT\r\n"), scripts))
        assert told == [STORED * 50] * 8
        assert _talk(port, b"set k0.0 1\nlong\nset new 1\nx\nexit\n") == REFUSED + STORED
    with _lite_server(tmp_path / "items") as port:
        asked = b"get k0.0\nget k7.49\nget new\nget k8.0\nwhat\nexit\n"
        assert _talk(port, asked) == (
            b"VALUE k0.0 0.0\r\nEND\r\nVALUE k7.49 7.49\r\nEND\r\nVALUE new x\r\nEND\r\n" + MISSED + INVALID
        )


def test_options_that_do_not_go_with_the_dialect_are_refused() -> None:
    command = [sys.executable, "-m", "examples.lite", "-Y", "users"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False, cwd=ROOT)
    reason = "examples.lite: error: a dialect of your own has no words to authenticate with\n"
    assert (result.returncode, result.stderr) == (1, reason)
