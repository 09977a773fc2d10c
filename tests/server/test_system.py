"""What the reference server is to the system: its user, its place in the background, the files that tell of it."""

from __future__ import annotations

import errno
import os
import pwd
import resource
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from memproto.clients.client import Client
from memproto.server.errors import UserError
from memproto.server.process import FilesError, allow_connections, drop_privileges
from tests.server.test_process import run_server, wait_until_refused
from tests.support.peers import DEADLINE, ROOT, Running, require, running_example

LOOPS = ["asyncio", pytest.param("uvloop", marks=pytest.mark.peer("uvloop"))]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run as somebody else")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where anybody may write, which is not so for those of pytest."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o777)
        yield Path(name)


def wait_until_gone(path: Path) -> None:
    deadline = time.monotonic() + DEADLINE
    while path.exists():
        assert time.monotonic() < deadline, f"{path} is still there"
        time.sleep(0.01)


# --- the file of ports


def test_the_ports_are_told_in_a_file_as_memcached_does(tmp_path: Path) -> None:
    told = tmp_path / "ports"
    command = (sys.executable, "-m", "memproto", "serve", "-l", "127.0.0.1,127.0.0.1:-1", "-p", "-1", "-U", "-1")
    server = Running(*command, environment={"MEMCACHED_PORT_FILENAME": str(told)})
    try:
        server.wait_for_port()
        lines = [line.partition(": ") for line in told.read_text().splitlines()]
        assert sorted(name for name, _, _ in lines) == ["TCP INET", "TCP INET", "UDP INET", "UDP INET"]
        ports = [int(port) for name, _, port in lines if name == "TCP INET"]
        assert len({*ports}) == 2
        assert server.port in ports
        for port in ports:
            with Client(port=port, timeout=DEADLINE) as client:
                assert client.noop()
        assert list(tmp_path.iterdir()) == [told]
    finally:
        assert server.stop() == 0


def test_a_file_of_ports_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    told = tmp_path / "none" / "ports"
    command = (sys.executable, "-m", "memproto", "serve", "-p", "-1")
    server = Running(*command, environment={"MEMCACHED_PORT_FILENAME": str(told)})
    try:
        server.wait_for_port()
        assert server.lines[0] == f"cannot write {told}: {os.strerror(errno.ENOENT)}\n"
    finally:
        assert server.stop() == 0


# --- the file of the process number


def test_the_process_number_is_in_a_file_as_long_as_it_runs(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with running_example("-P", str(path)) as server:
        assert path.read_text() == f"{server.process.pid}\n"
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_the_process_number_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    path = tmp_path / "none" / "pid"
    with running_example("--pidfile", str(path)) as server:
        assert server.lines[0] == f"cannot write {path}: {os.strerror(errno.ENOENT)}\n"


def test_the_file_of_the_process_number_of_a_successor_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with running_example("-P", str(path)) as first:
        with running_example("-P", str(path)) as second:
            assert first.stop() == 0
            assert path.read_text() == f"{second.process.pid}\n"
        assert list(tmp_path.iterdir()) == []
    for foreign in (b"", b"\xff\xfe", b"no number"):
        with running_example("-P", str(path)):
            path.write_bytes(foreign)
        assert path.read_bytes() == foreign


def test_the_socket_of_a_successor_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with running_example("-s", str(path)) as first:
        # As with memcached the second takes it over.
        with running_example("-s", str(path)):
            assert first.stop() == 0
            with Client(f"unix:{path}", timeout=DEADLINE) as client:
                assert client.noop()
        assert list(tmp_path.iterdir()) == []


# --- signals


def test_the_end_of_a_terminal_does_not_end_it() -> None:
    with running_example() as server, Client(port=server.port, timeout=DEADLINE) as client:
        assert client.set(b"key", b"value")
        server.process.send_signal(signal.SIGHUP)
        assert client.get(b"key") == b"value"


# --- the background


def test_it_goes_to_the_background_once_it_listens(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    told = run_server("-d", "-p", "-1", "-P", str(path))
    process = int(path.read_text())
    try:
        assert (told.returncode, told.stdout) == (0, "")
        address, _, port = told.stderr.removeprefix("listening on ").strip().rpartition(":")
        assert address == "127.0.0.1"
        with Client(port=int(port), timeout=DEADLINE) as client:
            assert client.stats()[b"pid"] == str(process).encode()
        assert os.getsid(process) == process
    finally:
        os.kill(process, signal.SIGTERM)
    wait_until_refused(int(port))
    wait_until_gone(path)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1), (0, 1, 2)], ids=str)
def test_it_needs_no_standard_streams(tmp_path: Path, closed: tuple[int, ...], loop: str) -> None:
    if loop == "uvloop":
        require("uvloop")
    pid, ports = tmp_path / "pid", tmp_path / "ports"
    shut = " ".join(f"{number}>&-" for number in closed)
    command = [sys.executable, "-m", "memproto", "serve", "-d", "-p", "-1", "-P", str(pid), "--loop", loop]
    told = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {shut}', "sh", *command],
        env={**os.environ, "MEMCACHED_PORT_FILENAME": str(ports)},
        timeout=DEADLINE,
        capture_output=True,
        cwd=ROOT,
        check=False,
    )
    process = int(pid.read_text())
    try:
        assert told.returncode == 0
        port = int(ports.read_text().rpartition(": ")[2])
        with Client(port=port, timeout=DEADLINE) as client:
            assert client.stats()[b"pid"] == str(process).encode()
        for number in (0, 1, 2):
            assert os.path.samefile(f"/proc/{process}/fd/{number}", os.devnull)
    finally:
        os.kill(process, signal.SIGTERM)
    wait_until_gone(pid)


@pytest.mark.parametrize("closed", ["0<&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_a_server_without_standard_streams_that_cannot_start_ends_with_its_code(closed: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-m", "memproto", "serve", "-d", "-p", str(listener.getsockname()[1])]
        told = subprocess.run(["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *command], cwd=ROOT, check=False)
    assert told.returncode == 71


def test_a_server_that_cannot_go_to_the_background_says_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        told = run_server("-d", "-p", str(port), "-P", str(tmp_path / "pid"))
    assert told.returncode == 71
    assert told.stderr.startswith(f"cannot listen on 127.0.0.1:{port}: ")
    assert told.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


# --- the user


@as_root
def test_it_becomes_the_user_before_it_makes_anything(folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    socket_, pid = folder / "socket", folder / "pid"
    with running_example("-u", "nobody", "-s", str(socket_), "-P", str(pid)) as server:
        with Client(f"unix:{socket_}", timeout=DEADLINE) as client:
            assert client.noop()
        for path in (socket_, pid):
            assert (path.stat().st_uid, path.stat().st_gid) == (nobody.pw_uid, nobody.pw_gid)
        status = Path(f"/proc/{server.process.pid}/status")
        if status.exists():
            lines = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
            assert lines["Uid"].split() == [str(nobody.pw_uid)] * 4
            assert lines["Gid"].split() == [str(nobody.pw_gid)] * 4
            assert lines["Groups"].split() == []
    assert list(folder.iterdir()) == []


@as_root
def test_user_that_is_not_known_is_an_error_at_the_start() -> None:
    told = run_server("-p", "-1", "-u", "no such user")
    assert (told.returncode, told.stderr) == (67, "can't find the user no such user to switch to\n")


def test_a_user_who_may_not_change_ignores_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    changes: list[object] = []
    for name in ("setgroups", "setgid", "setuid"):
        monkeypatch.setattr(os, name, changes.append)
    drop_privileges("no such user")
    drop_privileges("root")
    assert changes == []


def test_change_of_user_that_the_system_refuses_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise PermissionError(errno.EPERM, "not you")

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for name in ("setgroups", "setgid", "setuid"):
        monkeypatch.setattr(os, name, refuse)
    drop_privileges(None)
    name = pwd.getpwuid(os.getuid()).pw_name
    with pytest.raises(UserError, match=f"^failed to assume identity of user {name}: not you$") as caught:
        drop_privileges(name)
    assert caught.value.code == 71


# --- files


def test_there_are_as_many_files_as_connections(tmp_path: Path) -> None:
    """A shell that allows few files does not make the server drop connections."""
    command = [sys.executable, "-m", "memproto", "serve", "-p", "-1", "-c", "200"]
    server = Running("sh", "-c", 'ulimit -S -n 64 && exec "$@"', "sh", *command)
    links: list[socket.socket] = []
    try:
        server.wait_for_port()
        for _ in range(150):
            links.append(socket.create_connection(("127.0.0.1", server.port), DEADLINE))
            links[-1].sendall(b"mn\r\n")
            assert links[-1].recv(100) == b"MN\r\n"
    finally:
        for link in links:
            link.close()
        assert server.stop() == 0


def test_more_connections_than_the_system_allows_is_an_error_at_the_start() -> None:
    told = run_server("-p", "-1", "-c", "999999999999")
    assert told.returncode == 71
    assert told.stderr.startswith("failed to set rlimit for open files. ")


def test_limit_of_files_is_raised_as_far_as_the_connections_need(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [64, 1024]

    def change(_: int, wanted: tuple[int, int]) -> None:
        if wanted[1] > limits[1]:
            raise ValueError("not allowed to raise maximum limit")
        if wanted[0] > wanted[1]:
            raise ValueError("current limit exceeds maximum limit")
        limits[:] = wanted

    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", change)
    allow_connections(0)
    assert limits == [64, 1024]
    allow_connections(100)
    assert limits == [164, 1024]
    # No room for the others, but for the connections: as with memcached's default and a limit of 1024.
    allow_connections(1024)
    assert limits == [1024, 1024]
    with pytest.raises(FilesError, match="failed to set rlimit"):
        allow_connections(1025)


# --- instead of memcached


def test_command_line_of_a_service_file_starts_the_server(folder: Path) -> None:
    """As Debian starts memcached, and others."""
    path = folder / "socket"
    line = f"-d -m 64 -p 11211 -u {pwd.getpwuid(os.getuid()).pw_name} -l 127.0.0.1 -c 1024 -t 4 -P {folder}/pid"
    others = "-o modern,no_lru_crawler,slab_automove=0 -R 20 -b 512 -f 1.1 -n 72 -L -k -vv -a 0755"
    arguments = [word for word in (*line.split(), *others.split()) if word not in ("-d", "-p", "11211")]
    with running_example("-s", str(path), *arguments), Client(f"unix:{path}", timeout=DEADLINE) as client:
        assert client.noop()
        assert stat.S_IMODE(path.stat().st_mode) == 0o755


@pytest.mark.parametrize("program", [pytest.param("memcached", marks=pytest.mark.peer("memcached")), "memproto"])
def test_what_starts_memcached_can_start_this(folder: Path, program: str) -> None:
    """A test set-up's way: any free port, told in a file, as it would be with the real one."""
    command = [sys.executable, "-m", "memproto", "serve"]
    if program == "memcached":
        require("memcached")
        command = ["memcached"]
    told = folder / "ports"
    arguments = ["-p-1", "-U0", "-l127.0.0.1", "-m64", "-c100", "-t1", "-v", "-I", "2m", "-B", "auto", "--disable-cas"]
    process = subprocess.Popen(
        [*command, *arguments, "-u", "root" if os.geteuid() == 0 else "nobody"],
        env={**os.environ, "MEMCACHED_PORT_FILENAME": str(told)},
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    )
    try:
        deadline = time.monotonic() + DEADLINE
        while not told.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        name, _, port = told.read_text().strip().partition(": ")
        assert name == "TCP INET"
        with Client(port=int(port), timeout=DEADLINE) as client:
            assert client.set(b"key", bytes(1500000))
            settings = client.stats(b"settings")
        assert (settings[b"item_size_max"], settings[b"maxconns"]) == (b"2097152", b"100")
    finally:
        process.send_signal(signal.SIGKILL if program == "memcached" else signal.SIGTERM)
        code = process.wait(DEADLINE)
    assert code == (-signal.SIGKILL if program == "memcached" else 0)
