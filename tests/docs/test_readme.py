"""The README's server says when to close: after a QUIT, at the end of the stream, and when the framing is lost."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

from memproto import ServerConnection
from memproto.engine import Engine
from tests.support.pages import ROOT, blocks

Serve = Callable[[ServerConnection, Engine, bytes, float], tuple[bytes, bool]]

NOOP = bytes.fromhex("800a0000 00000000 00000000 00000001 0000000000000000")
NOOP_REPLY = bytes.fromhex("810a0000 00000000 00000000 00000001 0000000000000000")
QUIT = bytes.fromhex("80070000 00000000 00000000 00000002 0000000000000000")
QUITQ = bytes.fromhex("80170000 00000000 00000000 00000002 0000000000000000")
QUIT_REPLY = bytes.fromhex("81070000 00000000 00000000 00000002 0000000000000000")
# A GET without its key.
KEYLESS = bytes.fromhex("80000000 00000000 00000003 00000000 0000000000000000")
LONG_LINE = b"x" * 3000 + b"\r\n"


@pytest.fixture(scope="module")
def serve() -> Serve:
    module = ModuleType("readme")
    (_, code), *_ = blocks(ROOT / "README.md")
    exec(compile(code, "README.md", "exec"), module.__dict__)
    found: Serve = module.__dict__["serve"]
    return found


def _served(serve: Serve, pieces: list[bytes]) -> tuple[bytes, bool]:
    """All bytes that were written, and whether the server would still go on after the last piece."""
    connection, engine, out = ServerConnection(), Engine(), b""
    for piece in pieces:
        data, go_on = serve(connection, engine, piece, 0.0)
        out += data
        if not go_on:
            return out, False
    return out, True


def _cuts(data: bytes) -> list[list[bytes]]:
    return [[data], [bytes([byte]) for byte in data], [data[:-1], data[-1:]]]


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (NOOP + QUIT, NOOP_REPLY + QUIT_REPLY),
        (NOOP + QUITQ, NOOP_REPLY),
        (b"get k\r\nquit\r\n", b"END\r\n"),
        (b"mn\r\nquit\r\n", b"MN\r\n"),
    ],
    ids=["binary", "binary quiet", "classic", "meta"],
)
def test_it_closes_after_a_quit_and_does_not_before(serve: Serve, data: bytes, answer: bytes) -> None:
    for pieces in _cuts(data):
        assert _served(serve, pieces) == (answer, False)
        assert _served(serve, [*pieces[:-1], pieces[-1][:-1]] if len(pieces[-1]) > 1 else pieces[:-1])[1]


@pytest.mark.parametrize(
    ("data", "answer"),
    [(b"", b""), (NOOP, NOOP_REPLY), (b"get k\r\n", b"END\r\n"), (b"mn\r\n", b"MN\r\n")],
    ids=["nothing", "binary", "classic", "meta"],
)
def test_it_closes_at_the_end_of_the_stream(serve: Serve, data: bytes, answer: bytes) -> None:
    pieces = [data] if data else []
    assert _served(serve, pieces) == (answer, True)
    assert _served(serve, [*pieces, b""]) == (answer, False)


@pytest.mark.parametrize("data", [NOOP[:10], b"get k", b"mg k", b"set k 0 0 5\r\nval", b"ms k 5\r\nval"])
def test_it_closes_when_the_stream_ends_inside_a_request(serve: Serve, data: bytes) -> None:
    assert _served(serve, [data, b""]) == (b"", False)


@pytest.mark.parametrize(
    ("data", "reply_hint"),
    [
        (NOOP + KEYLESS, NOOP_REPLY),
        (NOOP + b"get k\r\n" * 4, NOOP_REPLY),
        (b"get k\r\n" + LONG_LINE, b"END\r\n"),
        (b"mn\r\n" + b"mg " + LONG_LINE, b"MN\r\n"),
    ],
    ids=["shape", "magic", "classic", "meta"],
)
def test_it_closes_when_the_framing_is_lost_and_writes_the_answers_before(
    serve: Serve, data: bytes, reply_hint: bytes
) -> None:
    out, go_on = _served(serve, [data])
    assert out.startswith(reply_hint)
    assert not go_on
