"""``memproto get`` and the other calls: in every dialect, over TLS, with credentials; results, misses and failures."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from memproto import Dialect, Get
from memproto.cli import CALLS, main
from memproto.cli import call as calls
from memproto.testing import Drop, FakeMemcached, Garbage
from tests.support.certificates import TLS

Capsys = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeMemcached]:
    with FakeMemcached() as running:
        yield running


@pytest.fixture(params=list(Dialect), ids=lambda dialect: dialect.value)
def options(request: pytest.FixtureRequest, fake: FakeMemcached) -> list[str]:
    """How each dialect reaches the server; it has nothing yet."""
    fake.items.clear()
    return ["--server", "{}:{}".format(*fake.address), "--dialect", request.param.value, "--timeout", "20"]


def test_each_call_of_the_help_is_there() -> None:
    assert list(calls.CALLS) == list(CALLS)


def test_calls_store_and_print_values(options: list[str], capsys: Capsys) -> None:
    for *arguments, code, said in (
        ("set", "greeting", "hello", "--exptime", "60", "--flags", "7", 0, ""),
        ("get", "greeting", 0, "hello"),
        ("add", "greeting", "no", 1, ""),
        ("replace", "greeting", "bye", 0, ""),
        ("append", "greeting", "!", 0, ""),
        ("prepend", "greeting", "-", 0, ""),
        ("get", "greeting", "nothing", 1, "-bye!\n"),
        ("touch", "greeting", "100", 0, ""),
        ("delete", "greeting", 0, ""),
        ("delete", "greeting", 1, ""),
        ("get", "greeting", 1, ""),
        ("get", "greeting", "nothing", 1, ""),
        ("set", "n", "10", 0, ""),
        ("incr", "n", "5", 0, "15\n"),
        ("decr", "n", 0, "14\n"),
        ("incr", "nothing", 1, ""),
        ("flush", 0, ""),
        ("get", "n", 1, ""),
        ("version", 0, "1.6."),
    ):
        assert main([*map(str, arguments), *options]) == code, arguments
        found = capsys.readouterr()
        assert found.err == ""
        assert found.out == said if said != "1.6." else found.out.startswith(said)


def test_json_has_the_whole_result(options: list[str], capsys: Capsys) -> None:
    assert main(["set", "k", "é", "--flags", "3", "--json", *options]) == 0
    assert main(["get", "k", "--json", *options]) == 0
    assert main(["get", "k", "nothing", "--json", *options]) == 1
    assert main(["incr", "nothing", "--json", *options]) == 1
    assert main(["version", "--json", *options]) == 0
    stored, found, several, missed, version = map(json.loads, capsys.readouterr().out.splitlines())
    assert stored == {"success": True}
    assert found == {"key": "k", "value": "é", "flags": 3, "cas": found["cas"]}
    assert several == [found, {"key": "nothing", "value": None}]
    assert missed == {"number": None}
    assert version["version"].startswith("1.6.")


def test_statistics_are_lines_or_one_object(options: list[str], capsys: Capsys) -> None:
    assert main(["stats", *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("curr_items ") for line in lines)
    assert main(["stats", "settings", "--json", *options]) == 0
    assert "item_size_max" in json.loads(capsys.readouterr().out)


def test_a_value_comes_from_standard_input(fake: FakeMemcached, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\0\xff\n")))
    assert main(["set", "raw", "--server", "{}:{}".format(*fake.address)]) == 0
    assert fake.items[b"raw"].value == b"\0\xff\n"


def test_a_value_on_a_terminal_ends_with_a_line(
    fake: FakeMemcached, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    fake.items[b"k"] = b"v"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["get", "k", "--server", "{}:{}".format(*fake.address)]) == 0
    assert capsysbinary.readouterr().out == b"v\n"


@pytest.mark.parametrize("dialect", list(Dialect))
def test_tls_and_credentials(dialect: Dialect, capsys: Capsys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with FakeMemcached(users={"me": "secret"}, tls=True) as fake:
        options = ["--server", "{}:{}".format(*fake.address), "--dialect", dialect.value, "--username", "me"]
        trusted = tmp_path / "ca.pem"
        trusted.write_bytes(fake.ca_pem)
        options += ["--cafile", str(trusted), "--server-hostname", "localhost"]
        monkeypatch.setenv(calls.PASSWORD_VARIABLE, "secret")
        assert main(["set", "k", "v", *options]) == 0
        assert main(["get", "k", *options, "--cert", str(TLS / "cert.pem")]) == 66  # without a key
        assert main(["get", "k", *options, "--password", "wrong"]) == 77
    said = capsys.readouterr()
    assert said.out == ""
    assert "Auth" in said.err or "auth" in said.err


def test_a_password_in_the_environment_is_for_a_username_only(
    fake: FakeMemcached, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(calls.PASSWORD_VARIABLE, "secret")
    assert main(["set", "k", "v", "--server", "{}:{}".format(*fake.address)]) == 0


def test_failures_are_one_line_each(fake: FakeMemcached, capsys: Capsys) -> None:
    server = ["--server", "{}:{}".format(*fake.address)]
    fake.items[b"text"] = b"x"
    assert main(["incr", "text", *server]) == 70
    assert main(["get", "a key", *server]) == 64
    with fake.down():
        assert main(["get", "k", *server]) == 69
    assert main(["get", "k", *server, "--cafile", "/nowhere"]) == 66
    assert main(["get", "k", *server, "--cert", "/nowhere"]) == 66
    said = capsys.readouterr()
    assert said.out == ""
    address = "{}:{}".format(*fake.address)
    assert said.err.splitlines() == [
        f"memproto incr: {address}: Non-numeric server-side value for incr or decr (status 0x0006)",
        "memproto get: key is b'a key', must hold no space, CR, LF or NUL",
        f"memproto get: {address}: Connection refused",
        "memproto get: /nowhere: No such file or directory",
        "memproto get: /nowhere: No such file or directory",
    ]


def test_a_server_that_does_not_answer_in_time_is_told(fake: FakeMemcached, capsys: Capsys) -> None:
    with fake.fail(Get, how=Drop()):
        assert main(["get", "k", "--server", "{}:{}".format(*fake.address), "--timeout", "0.01"]) == 69
    assert capsys.readouterr().err.endswith(": the call took longer than its timeout\n")


def test_a_server_that_breaks_the_protocol_is_told(capsys: Capsys) -> None:
    with FakeMemcached() as fake:
        fake.fail(Get, how=Garbage(b"hello\r\n"))
        assert main(["get", "k", "--server", "{}:{}".format(*fake.address)]) == 76
    assert "line b'hello' does not answer Get" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["get"], "the following arguments are required: key"),
        *(
            (["get", "k", "--server", server], f"argument --server: {server!r} is not HOST, HOST:PORT with a port of 1")
            for server in ("host:x", "host:0", "host:65536", "host:1:2", ":1", "", "unix:")
        ),
        *(
            (["get", "k", "--timeout", seconds], f"argument --timeout: {seconds!r} is not a number of seconds above 0")
            for seconds in ("0", "soon", "nan", "inf", "2147484")
        ),
        (["incr", "k", "many"], "argument delta: invalid int value: 'many'"),
        (["get", "k", "--password", "x"], "--password needs --username"),
        (["get", "k", "--server-hostname", "x"], "--server-hostname needs --tls, --cafile or --cert"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_2(arguments: list[str], words: str, capsys: Capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"memproto {arguments[0]}: error: {words}")
    assert said.endswith(f"; see memproto {arguments[0]} --help\n")
    assert said.count("\n") == 1


def test_the_help_of_a_call_says_what_it_does(capsys: Capsys) -> None:
    with pytest.raises(SystemExit):
        main(["incr", "--help"])
    said = capsys.readouterr().out
    assert "\nAdd to a number.\n" in said
    assert "``" not in said
