"""The example server's command line."""

from __future__ import annotations

import argparse
import importlib
import sys

import pytest

from examples.server.__main__ import loop_factory
from examples.server.options import Options, parse, size
from memproto import Dialect
from tests.peers import require

DEFAULTS = Options(
    host="127.0.0.1",
    port=11211,
    memory=64 * 2**20,
    item_size_max=2**20,
    connections=1024,
    requests_per_turn=100,
    verbose=0,
    loop="auto",
)


def test_the_defaults_are_memcacheds_on_this_machine_only() -> None:
    assert parse([]) == DEFAULTS


def test_every_option() -> None:
    line = "-p -1 -l ::1 -m 8 -I 2m -c 5 -R 7 -vv --loop asyncio -s /run/x -U 5 --datagrams 9 -B ascii"
    assert parse(line.split()) == Options("::1", -1, 8 * 2**20, 2 * 2**20, 5, 7, 2, "asyncio", "/run/x", 5, 9, "ascii")


def test_the_command_line_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["examples.server", "-p", "1"])
    assert parse().port == 1


def test_a_unix_socket_is_instead_of_tcp_unless_both_are_asked_for() -> None:
    assert (parse(["-s", "x"]).port, parse(["-s", "x", "-p", "0"]).port, parse(["-s", "x", "-p", "9"]).port) == (
        0,
        0,
        9,
    )


def test_what_is_spoken() -> None:
    assert parse([]).dialects == set(Dialect)
    assert parse(["-B", "ascii"]).dialects == {Dialect.CLASSIC, Dialect.META}
    assert parse(["-B", "binary"]).dialects == {Dialect.BINARY}


@pytest.mark.parametrize(
    ("text", "number"), [("0", 0), ("1024", 1024), ("512k", 2**19), ("1M", 2**20), ("3g", 3 * 2**30)]
)
def test_sizes(text: str, number: int) -> None:
    assert size(text) == number


@pytest.mark.parametrize("text", ["", "k", "-1", "1.5m", "1mb", " 1", "1 k", "1t"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a size"):
        size(text)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("-p 0", "port is 0, which is none, and there is no Unix socket either"),
        ("-U 65536", "UDP port is 65536, must be 1 to 65535, 0 for none, or -1 for a free one"),
        ("-U -2", "UDP port is -2, must be"),
        ("--datagrams 0", "--datagrams is 0, must be 1 to 65535"),
        ("--datagrams 65536", "--datagrams is 65536, must be 1 to 65535"),
        ("-B meta", "invalid choice"),
        ("-p -2", "port is -2, must be"),
        ("-p 65536", "port is 65536, must be"),
        ("-p x", "invalid int value"),
        ("-m 0", "-m is 0, the least is 1"),
        ("-c 0", "-c is 0, the least is 1"),
        ("-R 0", "-R is 0, the least is 1"),
        ("-I 0", "-I is 0, the least is 1"),
        ("-I 1x", "'1x' is not a size"),
        ("-m 1 -I 1025k", "-I is 1049600 bytes, more than the memory for all items (1048576)"),
        ("--loop none", "invalid choice"),
        ("--nonsense", "unrecognized arguments"),
        ("extra", "unrecognized arguments"),
    ],
)
def test_mistakes(line: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(line.split())
    assert caught.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("port", [-1, 1, 65535])
def test_values_at_the_limits(port: int) -> None:
    options = parse(["-p", str(port), *["-m", "1", "-I", "1024k", "-c", "1", "-R", "1"]])
    assert (options.port, options.connections, options.requests_per_turn) == (port, 1, 1)
    assert options.item_size_max == options.memory == 2**20
    assert parse(["-I", "1"]).item_size_max == 1


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(["--help"])
    assert caught.value.code == 0
    told = capsys.readouterr().out
    for option in (
        "-p PORT",
        "-l HOST",
        "-m MEGABYTES",
        "-I SIZE",
        "-c N",
        "-R N",
        "-v",
        "--loop",
        "-U PORT",
        "-s PATH",
        "-B",
        "--datagrams N",
    ):
        assert option in told


def test_the_loop_without_uvloop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert loop_factory("asyncio") is None
    assert loop_factory("auto") is None
    with pytest.raises(SystemExit, match="uvloop is not installed"):
        loop_factory("uvloop")


@pytest.mark.peer("uvloop")
def test_the_loop_with_uvloop() -> None:
    require("uvloop")
    uvloop = importlib.import_module("uvloop")
    assert loop_factory("asyncio") is None
    assert loop_factory("auto") is loop_factory("uvloop") is uvloop.new_event_loop
