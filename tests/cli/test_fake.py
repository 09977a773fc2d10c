"""``memproto fake``: how it is started, told what to do, and ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TypeAlias

import pytest

from memproto.cli import main
from memproto.clients import Client
from tests.support.certificates import TLS, client_context
from tests.support.peers import DEADLINE

Answer: TypeAlias = "dict[str, object]"


class User:
    """Writes commands to the program, and reads its answers."""

    def __init__(self, commands: IO[str], answers: IO[str]) -> None:
        self._commands = commands
        self._answers = answers
        self.listening = self.read()

    def read(self) -> Answer:
        answer: Answer = json.loads(self._answers.readline())
        return answer

    def tell(self, command: str) -> Answer:
        self._commands.write(command + "\n")
        self._commands.flush()
        return self.read()

    def end_commands(self) -> None:
        self._commands.close()

    def stop_reading(self) -> None:
        self._answers.close()

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = str(self.listening["url"]).removeprefix("memcached://").rpartition(":")
        return host, int(port)


def run(
    monkeypatch: pytest.MonkeyPatch, options: list[str], act: Callable[[User], None], stdin_path: str | None = None
) -> int:
    """Run the command in this thread, and its user in another one; the exit code."""
    (commands, to_program), (from_program, answers) = os.pipe(), os.pipe()
    failures: list[BaseException] = []

    def use() -> None:
        try:
            with open(to_program, "w") as written, open(from_program) as read:
                act(User(written, read))
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    with ExitStack() as stack, open(commands) as stdin, open(answers, "w") as stdout:
        nowhere = None if stdin_path is None else stack.enter_context(open(stdin_path))
        monkeypatch.setattr(sys, "stdin", nowhere or stdin)
        monkeypatch.setattr(sys, "stdout", stdout)
        code = main(["fake", *options])
        thread.join(DEADLINE)
        monkeypatch.undo()
        # The program has to see the end of its input, before the pipe that it reads is closed.
        for each in threading.enumerate():
            if each.name == "commands":
                each.join(DEADLINE)
    if failures:
        raise failures[0]
    return code


def exchange(user: User, data: bytes) -> bytes:
    with socket.create_connection(user.address, DEADLINE) as client:
        client.sendall(data)
        return client.recv(1000)


def test_commands_on_standard_input_control_the_server_until_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def act(user: User) -> None:
        assert user.listening["ok"] is True
        assert user.listening["control"] is None
        assert exchange(user, b"set k 0 60 1\r\nv\r\n") == b"STORED\r\n"
        assert user.tell("advance 61")["ok"] is True
        assert exchange(user, b"get k\r\n") == b"END\r\n"
        assert user.tell("nonsense")["ok"] is False

    assert run(monkeypatch, [], act) == 0


def test_quit_ends_the_program_after_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Answer] = []
    assert run(monkeypatch, [], lambda user: answers.append(user.tell("quit"))) == 0
    assert answers == [{"ok": True}]


def test_a_last_command_without_the_end_of_its_line_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def act(user: User) -> None:
        user._commands.write("now 5")
        user.end_commands()
        assert user.read() == {"ok": True, "now": 5.0}

    assert run(monkeypatch, [], act) == 0


def test_a_user_who_reads_no_answers_ends_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    def act(user: User) -> None:
        user.stop_reading()
        user._commands.write("now\n")
        user._commands.flush()

    assert run(monkeypatch, [], act) == 0


def test_a_line_that_is_too_long_is_refused_and_the_next_one_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def act(user: User) -> None:
        answer = user.tell("x" * 1_000_000)
        assert answer == {"ok": False, "error": "the line has more than 65536 characters"}
        assert user.tell("now 5") == {"ok": True, "now": 5.0}

    assert run(monkeypatch, [], act) == 0


def test_a_control_port_takes_commands_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    def act(user: User) -> None:
        port = user.listening["control"]
        assert isinstance(port, int)
        links = [socket.create_connection(("127.0.0.1", port), DEADLINE) for _ in range(2)]
        for link in links:
            with link, link.makefile("rw") as lines:
                lines.write("advance 5\nnow 7\n")
                lines.flush()
                assert json.loads(lines.readline())["ok"] is True
                assert json.loads(lines.readline()) == {"ok": True, "now": 7.0}
        with socket.create_connection(("127.0.0.1", port), DEADLINE) as link:
            link.sendall(b"quit\n")
            assert link.recv(100) == b'{"ok": true}\n'

    assert run(monkeypatch, ["--control", "0"], act) == 0


def test_an_input_that_is_empty_from_the_start_does_not_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def act(user: User) -> None:
        port = user.listening["control"]
        assert isinstance(port, int)
        with socket.create_connection(("127.0.0.1", port), DEADLINE) as link:
            link.sendall(b"quit\n")
            assert link.recv(100) == b'{"ok": true}\n'

    assert run(monkeypatch, ["--control", "0"], act, os.devnull) == 0


def test_a_signal_ends_it_in_this_process_and_the_handlers_are_those_from_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert run(monkeypatch, [], lambda user: os.kill(os.getpid(), signal.SIGTERM)) == 0
    assert signal.getsignal(signal.SIGTERM) is before


def test_options_are_those_of_the_fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path, certificate = str(tmp_path / "socket"), tmp_path / "ca.pem"

    def act(user: User) -> None:
        assert user.listening["url"] == f"memcached://{path}"
        context = ssl.create_default_context(cafile=str(certificate))
        with socket.socket(socket.AF_UNIX) as plain:
            plain.settimeout(DEADLINE)
            plain.connect(path)
            with context.wrap_socket(plain, server_hostname="localhost") as client:
                client.sendall(b"get k\r\n")
                assert client.recv(100) == b"CLIENT_ERROR unauthenticated\r\n"
                client.sendall(b"set k 0 0 10\r\nann secret\r\nversion\r\n")
                said = b""
                while not said.endswith(b"1.4.0\r\n"):
                    said += client.recv(100)
                assert said == b"STORED\r\nVERSION 1.4.0\r\n"

    options = ["--path", path, "--tls", str(certificate), "--user", "ann:secret", "--version", "1.4.0"]
    assert run(monkeypatch, [*options, "--dialect", "classic", "--dialect", "meta", "--no-evict"], act) == 0


def test_a_certificate_of_the_users_own_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def act(user: User) -> None:
        with Client("localhost", user.address[1], tls=client_context()) as client:
            assert client.version() == b"1.6.18"

    options = ["--host", "localhost", "--cert", str(TLS / "cert.pem"), "--key", str(TLS / "key.pem")]
    assert run(monkeypatch, options, act) == 0


@pytest.mark.parametrize(
    ("options", "code", "error"),
    [
        (["--memory-limit", "0"], 2, "memory_limit is 0, must be an int, 1 or more"),
        (["--item-size-max", "-1"], 2, "item_size_max is -1, must be an int, 1 or more"),
        (["--path", "/absent/folder/socket"], 71, "/absent/folder/socket: No such file or directory"),
        (["--host", "192.0.2.1", "--port", "1"], 71, "192.0.2.1:1: Cannot assign requested address"),
        (["--tls", "/absent/folder/ca.pem"], 71, "/absent/folder/ca.pem: No such file or directory"),
        (["--key", "key.pem"], 2, "--cert and --key go together, and without --tls"),
        (
            ["--cert", "absent.pem", "--key", "key.pem"],
            2,
            "tls is ('absent.pem', 'key.pem'), which cannot be loaded: No such file or directory",
        ),
    ],
)
def test_what_cannot_be_served_is_one_line(
    options: list[str], code: int, error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fake", *options]) == code
    assert capsys.readouterr() == ("", f"memproto fake: error: {error}\n")


def test_a_port_in_use_for_control_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["fake", "--control", str(port)]) == 71
    assert capsys.readouterr() == ("", f"memproto fake: error: 127.0.0.1:{port}: Address already in use\n")


def test_an_output_that_nobody_reads_ends_it_in_silence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as unread:
        monkeypatch.setattr(sys, "stdout", unread)
        assert main(["fake"]) == 0
    assert capsys.readouterr().err == ""


def test_tls_without_trustme_is_one_line_and_69(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    assert main(["fake", "--tls", "ca.pem"]) == 69
    said = capsys.readouterr()
    assert "pip install 'memproto[testing]'" in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("option", ["--port", "--control"])
@pytest.mark.parametrize("port", ["99999", "-1", "any"])
def test_a_port_that_is_none_is_refused(option: str, port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["fake", option, port])
    assert caught.value.code == 2
    words = f"argument {option}: port is {port}, must be 1 to 65535, or 0 for a free one"
    assert capsys.readouterr().err == f"memproto fake: error: {words}; see memproto fake --help\n"


@pytest.mark.parametrize("user", ["ann", ":secret"])
def test_a_user_without_a_name_or_a_password_is_refused(user: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fake", "--user", user])
    assert "must be NAME:PASSWORD" in capsys.readouterr().err


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_without_an_input_it_serves_until_a_signal(how: signal.Signals) -> None:
    command = [sys.executable, "-m", "memproto", "fake"]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        url = json.loads(program.stdout.readline())["url"]
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), DEADLINE) as client:
            client.sendall(b"version\r\n")
            assert client.recv(100) == b"VERSION 1.6.18\r\n"
        program.send_signal(how)
        assert program.communicate(timeout=DEADLINE) == ("", "")
    assert program.returncode == 0
