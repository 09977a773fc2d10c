"""The process of a server, with a system that only notes what is asked of it: background, user, files, the runner."""

from __future__ import annotations

import asyncio
import os
import pwd
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from memproto.server import ProcessOptions, parse_arguments, runner
from memproto.server.errors import UserError
from memproto.server.process import (
    Background,
    FilesError,
    allow_connections,
    drop_privileges,
    open_standard_streams,
    pid_file,
    write_ports,
)
from tests.server.test_tls import CERTIFICATE, KEY


class Exited(Exception):  # noqa: N818 - in place of the end of the process
    """The process has ended with a code."""


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(code: int) -> None:
        raise Exited(code)

    monkeypatch.setattr(os, "_exit", leave)


# --- the background


@pytest.mark.usefixtures("exits")
@pytest.mark.parametrize(("started", "status", "code"), [(b"!", 0, 0), (b"", 71 << 8, 71), (b"", signal.SIGKILL, 247)])
def test_foreground_ends_as_the_server_has_started(
    started: bytes, status: int, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[int] = []
    pipe = os.pipe

    def connected() -> tuple[int, int]:
        ends.extend(pipe())
        os.write(ends[1], started)
        return ends[0], ends[1]

    monkeypatch.setattr(os, "pipe", connected)
    monkeypatch.setattr(os, "fork", lambda: 4242)
    monkeypatch.setattr(os, "waitpid", lambda child, _: (child, status))
    with pytest.raises(Exited) as caught:
        Background()
    os.close(ends[0])
    assert caught.value.args == (code,)


@pytest.mark.parametrize(("quiet", "streams"), [(True, [0, 1, 2]), (False, [0])])
def test_background_leaves_the_terminal_and_tells_the_foreground(
    quiet: bool, streams: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[int] = []
    calls: list[object] = []
    pipe = os.pipe

    def connected() -> tuple[int, int]:
        ends.extend(pipe())
        ends.append(os.dup(ends[0]))
        return ends[0], ends[1]

    monkeypatch.setattr(os, "pipe", connected)
    monkeypatch.setattr(os, "fork", lambda: 0)
    monkeypatch.setattr(os, "setsid", lambda: calls.append("setsid"))
    monkeypatch.setattr(os, "dup2", lambda _, stream: calls.append(stream))
    Background().finish(quiet)
    assert calls == ["setsid", *streams]
    assert os.read(ends[2], 2) == b"!"
    os.close(ends[2])


def test_background_goes_on_if_the_foreground_was_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    monkeypatch.setattr(os, "fork", lambda: 0)
    monkeypatch.setattr(os, "setsid", lambda: calls.append("setsid"))
    monkeypatch.setattr(os, "dup2", lambda _, stream: calls.append(stream))
    # Its end of the pipe was the only one for reading.
    Background().finish(quiet=True)
    assert calls == ["setsid", 0, 1, 2]


# --- standard streams


def test_missing_standard_streams_are_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []

    def stat(number: int) -> None:
        if number != 1:
            raise OSError("closed")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", stat)
        patch.setattr(os, "open", lambda path, _: opened.append(path))
        patch.setattr(os, "set_inheritable", lambda *given: opened.append(given))
        open_standard_streams()
    assert opened == [os.devnull, (0, True), os.devnull, (2, True)]


def test_missing_standard_error_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    open_standard_streams()
    assert sys.stderr is not None
    assert sys.stderr.fileno() == 2


# --- user and limits


def test_user_that_is_not_known_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(UserError, match=r"^can't find the user no such user to switch to$") as caught:
        drop_privileges("no such user")
    assert caught.value.code == 67


def test_user_gives_up_groups_first_and_its_own_number_last(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, object]] = []

    def noting(name: str) -> Callable[[object], None]:
        return lambda given: calls.append((name, given))

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for name in ("setgroups", "setgid", "setuid"):
        monkeypatch.setattr(os, name, noting(name))
    entry = pwd.getpwuid(os.getuid())
    drop_privileges(entry.pw_name)
    assert calls == [("setgroups", []), ("setgid", entry.pw_gid), ("setuid", entry.pw_uid)]


def test_limit_of_files_that_cannot_be_raised_is_an_error_only_below_the_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("not allowed")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 100))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    allow_connections(100)
    with pytest.raises(FilesError, match="failed to set rlimit"):
        allow_connections(101)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    allow_connections(10**9)


# --- files


def test_pid_file_is_there_while_it_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "pid"
    with pid_file(None):
        assert list(tmp_path.iterdir()) == []
    with pid_file(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"
    assert list(tmp_path.iterdir()) == []
    with pid_file(str(path)):
        path.write_text("that of another server\n")
    assert path.exists()
    with pid_file(str(path)):
        path.unlink()
    with pid_file(str(tmp_path / "no folder" / "pid")):
        pass
    assert capsys.readouterr().err == f"cannot write {tmp_path}/no folder/pid: No such file or directory\n"


def test_ports_are_written_if_they_are_asked_for(tmp_path: Path) -> None:
    write_ports(None, ["TCP INET: 1"])
    write_ports(str(tmp_path / "ports"), ["TCP INET: 1", "UDP INET: 2"])
    assert [path.name for path in tmp_path.iterdir()] == ["ports"]
    assert (tmp_path / "ports").read_text() == "TCP INET: 1\nUDP INET: 2\n"


# --- the runner


class Foreground:
    """A background that is this process."""

    def __init__(self) -> None:
        self.quiet: list[bool] = []

    def finish(self, quiet: bool) -> None:
        self.quiet.append(quiet)
        os.kill(os.getpid(), signal.SIGTERM)


def test_run_serves_until_a_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    background = Foreground()
    monkeypatch.setattr(runner, "Background", lambda: background)
    pid = tmp_path / "pid"
    options = parse_arguments(["-p", "-1", "-d", "--loop", "asyncio", "-P", str(pid), "-v"])
    assert runner.run(options) == 0
    assert background.quiet == [False]
    assert capsys.readouterr().err.startswith("listening on 127.0.0.1:")
    assert not pid.exists()


def test_run_of_a_server_that_cannot_start_ends_with_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.run(ProcessOptions(port=-1, auth_file="/no/users", loop="asyncio")) == 1
    assert capsys.readouterr().err == "/no/users: cannot be read: No such file or directory\n"


def test_hangup_reads_the_files_again_and_logs_what_is_wrong_with_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = tmp_path / "users"
    users.write_text("user:old\n")
    tls = ["-Z", "-o", f"ssl_chain_cert={CERTIFICATE},ssl_key={KEY}"]
    reloaded: list[bool] = []

    async def hang_up() -> None:
        task = asyncio.create_task(runner.serve(parse_arguments(["-p", "-1", "-Y", str(users), *tls])))
        while not reloaded:
            await asyncio.sleep(0.01)
            if listening:
                users.unlink(missing_ok=True)
                os.kill(os.getpid(), signal.SIGHUP)
                await asyncio.sleep(0.01)
                reloaded.append(True)
        os.kill(os.getpid(), signal.SIGTERM)
        assert await task == 0

    listening: list[object] = []
    monkeypatch.setattr(runner, "write_ports", lambda *given: listening.append(given))
    asyncio.run(hang_up())
    assert caplog.messages == [f"not read again: {users}: cannot be read: No such file or directory"]
