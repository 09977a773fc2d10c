"""Run a suite against servers, and give the outcome of each of its tests."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Literal, TypeAlias

from memproto.testing import FakeMemcached
from tests.peers.suites.table import Server, Suite
from tests.support.peers import DEADLINE, Running, memcached

#: What a test came to.
Outcome: TypeAlias = Literal["passed", "failed", "skipped"]
Outcomes: TypeAlias = dict[str, Outcome]
#: By the address that the tests have: the port or path of the server.
Servers: TypeAlias = Mapping[str, int | str]

_DEADLINE = 600.0
_UNITTEST = re.compile(r"^(test\w+) \(([\w.]+)\)(?:\n[^\n]*)? \.\.\. (?:[^\n]*?)(ok|FAIL|ERROR|skipped)", re.M)
_UNITTEST_OUTCOMES: dict[str, Outcome] = {"ok": "passed", "FAIL": "failed", "ERROR": "failed", "skipped": "skipped"}


def source_of(suite: Suite, folder: Path) -> Path:
    """Put the tests of a suite into ``folder``, from the installed package or from its sdist; the folder they are in.

    They do not run where the package is installed, because above that may be a project with settings of pytest.
    """
    if not suite.installed:
        return unpack(suite, folder)
    spec = importlib.util.find_spec(re.split("[=<>]", suite.requirement)[0])
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    shutil.copytree(package, folder / package.name)
    return folder


def unpack(suite: Suite, folder: Path) -> Path:
    """Download the sdist of a project and unpack it; the folder with its tests."""
    name = re.split(r"[=<>]", suite.requirement)[0]
    download = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", name, "-d", str(folder)]
    subprocess.run([*download, suite.requirement], check=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as sources:
        sources.extractall(folder, filter="data")
    (source,) = (path for path in folder.iterdir() if path.is_dir())
    return source


def outcomes(suite: Suite, source: Path, backend: str, servers: Servers, scratch: Path) -> Outcomes:
    """Run the tests of a suite against these servers. ``scratch`` is a folder for files that the tests need."""
    for name, text in suite.files.items():
        scratch.joinpath(name).write_text(_fill(text, servers))
    report = scratch / "report.xml"
    environment = {
        **os.environ,
        **{name: _fill(value, servers) for name, value in suite.environment.items()},
        "SUITE_ADDRESSES": json.dumps(dict(servers)),
        "SUITE_BACKEND": backend,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(scratch)]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [_fill(word, servers) for word in suite.command]
    pytest = "pytest" in command
    done = subprocess.run(
        [sys.executable, *command, *([f"--junitxml={report}"] if pytest else [])],
        cwd=source,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_DEADLINE,
        check=False,
    )
    found = dict(_from_xml(report)) if pytest and report.exists() else dict(_from_lines(done.stderr))
    if not found:
        raise RuntimeError(f"{' '.join(command)} ran no test:\n{done.stdout}{done.stderr}")
    return found


def _fill(text: str, servers: Servers) -> str:
    for address, meant in servers.items():
        text = text.replace(f"@{address}@", str(meant))
    return text


def _from_xml(report: Path) -> Iterator[tuple[str, Outcome]]:
    for case in ElementTree.parse(report).iter("testcase"):
        kinds = {child.tag for child in case}
        name = f"{case.get('classname')}.{case.get('name')}"
        yield name, "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"


def _from_lines(output: str) -> Iterator[tuple[str, Outcome]]:
    for match in _UNITTEST.finditer(output):
        yield match[2], _UNITTEST_OUTCOMES[match[3]]


@contextmanager
def real(suite: Suite, source: Path, folder: Path) -> Iterator[Servers]:
    """A memcached for each address of a suite. In ``folder`` everybody may write."""
    with ExitStack() as stack:
        servers: dict[str, int | str] = {}
        for server in suite.servers:
            start = _memcached(server, source, folder)
            servers[server.address] = stack.enter_context(start)
        yield servers


def _memcached(server: Server, source: Path, folder: Path) -> AbstractContextManager[int | str]:
    if server.address.startswith("/"):
        return _memcached_on(_socket_in(folder, server))
    if server.sasl:
        return _nobody()
    options: list[str] = []
    if server.user:
        users = folder / f"users.{server.address}"
        users.write_text(f"{server.user}\n")
        options += ["-Y", str(users)]
    if server.tls is not None:
        certificate, key = (shutil.copy(source / name, folder) for name in server.tls)
        Path(key).chmod(0o644)
        options += ["-Z", "-o", f"ssl_chain_cert={certificate},ssl_key={key}"]
    return memcached(*options, host=server.host)


@contextmanager
def fakes(suite: Suite, source: Path, folder: Path) -> Iterator[Servers]:
    """A fake in this process for each address of a suite."""
    with ExitStack() as stack:
        servers: dict[str, int | str] = {}
        for server in suite.servers:
            path = _socket_in(folder, server) if server.address.startswith("/") else None
            name, _, password = server.user.partition(":")
            tls = False if server.tls is None else (source / server.tls[0], source / server.tls[1])
            users = {name: password} if name else None
            fake = stack.enter_context(FakeMemcached(host=server.host, path=path, users=users, tls=tls))
            servers[server.address] = path or fake.port
        yield servers


def _socket_in(folder: Path, server: Server) -> str:
    return str(folder / server.address.rpartition("/")[2])


@contextmanager
def _nobody() -> Iterator[int]:
    """A port at which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        yield port


@contextmanager
def _memcached_on(path: str) -> Iterator[str]:
    user = ("-u", "nobody") if os.geteuid() == 0 else ()
    running = Running("memcached", "-s", path, "-a", "777", *user)
    try:
        deadline = time.monotonic() + DEADLINE
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
            while trial.connect_ex(path):
                assert time.monotonic() < deadline, f"memcached does not come up: {running.said}"
                assert running.process.poll() is None, running.said
                time.sleep(0.01)
        yield path
    finally:
        running.stop(signal.SIGKILL)


#: What the tests are run with.
BACKENDS: dict[str, Callable[[Suite, Path, Path], AbstractContextManager[Servers]]] = {"memcached": real, "fake": fakes}


def run(suite: Suite, source: Path, backend: str) -> Outcomes:
    """Run the tests of a suite, whose files are in ``source``, with servers of this kind."""
    # Not in a folder of pytest's, where memcached, which gives up the rights of root, cannot write.
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o777)
        with BACKENDS[backend](suite, source, Path(name)) as servers:
            return outcomes(suite, source, backend, servers, Path(name))
