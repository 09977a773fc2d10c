"""The asyncio client in each dialect, with real memcached and with the reference server: as the blocking one."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from memproto import Dialect
from memproto.clients.async_client import AsyncClient, AuthenticationError, ServerError
from memproto.clients.client import Client
from tests.peers.test_client import go_through_the_surface
from tests.support.peers import DEADLINE, Running, example_server, memcached, require, running_example, server_of

NAMES = [pytest.param("memcached", marks=pytest.mark.peer("memcached")), "memproto"]
TLS = Path(__file__).parent.parent / "data" / "tls"


@pytest.fixture(scope="module", params=NAMES)
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    with server_of(request.param) as port:
        yield port


@pytest.fixture(params=Dialect, ids=lambda dialect: dialect.name.lower())
def dialect(request: pytest.FixtureRequest) -> Dialect:
    dialect: Dialect = request.param
    return dialect


@pytest.mark.parametrize("pool", [1, 3])
def test_the_whole_surface(port: int, dialect: Dialect, pool: int) -> None:
    with asyncio.Runner() as runner:
        client = AsyncClient(port=port, pool=pool, timeout=DEADLINE, dialect=dialect)
        go_through_the_surface(lambda name, *arguments: runner.run(getattr(client, name)(*arguments)))
        runner.run(client.close())


def test_a_hundred_tasks_on_four_connections(port: int, dialect: Dialect) -> None:
    async def work(client: AsyncClient, task: int) -> None:
        key, other = b"task%d" % task, b"other%d" % task
        for turn in range(10):
            value = b"%d of task %d" % (turn, task)
            assert await client.set(key, value) is True
            found = asyncio.gather(client.get(key), client.get_multi([other, key]), client.delete(other))
            assert list(await found) == [value, {key: value}, False]

    async def main() -> None:
        async with AsyncClient(port=port, pool=4, timeout=DEADLINE, dialect=dialect) as client:
            await client.flush()
            await asyncio.gather(*[work(client, task) for task in range(100)])
            assert len(client._pool.connections) == 4
            assert len(await client.get_multi([b"task%d" % task for task in range(100)])) == 100

    asyncio.run(main())


def test_cancelled_at_random(port: int, dialect: Dialect) -> None:
    async def main() -> None:
        chance = random.Random(3)
        async with AsyncClient(port=port, pool=2, timeout=DEADLINE, dialect=dialect) as client:
            values = {b"key%d" % number: b"value %d" % number * 500 for number in range(50)}
            assert await client.set_multi(values) == []
            cancelled = 0
            for _ in range(40):
                tasks = {key: asyncio.create_task(client.get(key)) for key in chance.sample(list(values), 10)}
                for _ in range(chance.randrange(12)):
                    await asyncio.sleep(0)
                for key in list(tasks)[::2]:
                    tasks[key].cancel()
                await asyncio.gather(*tasks.values(), return_exceptions=True)
                cancelled += sum(task.cancelled() for task in tasks.values())
                assert {key: task.result() for key, task in tasks.items() if not task.cancelled()} == {
                    key: values[key] for key, task in tasks.items() if not task.cancelled()
                }
            assert cancelled > 20
            assert await client.get_multi(values) == values

    asyncio.run(main())


@contextmanager
def memcached_at(port: int) -> Iterator[Running]:
    """The real memcached at a port that is free."""
    user = ("-u", "nobody") if os.geteuid() == 0 else ()
    running = Running("memcached", "-l", "127.0.0.1", "-p", str(port), "-U", "0", *user)
    try:
        deadline = time.monotonic() + DEADLINE
        while running.process.poll() is None and time.monotonic() < deadline:
            with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), DEADLINE):
                break
            time.sleep(0.01)
        yield running
    finally:
        running.stop(signal.SIGKILL)


@pytest.mark.peer("memcached")
@pytest.mark.parametrize("patient", [False, True], ids=["errors", "patience"])
def test_a_server_restarted_in_the_middle(dialect: Dialect, patient: bool) -> None:
    require("memcached")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    async def work(client: AsyncClient, task: int, phase: list[int], done: list[int]) -> int:
        """Until it has got what it stored after the restart; how many calls failed."""
        key, failures = b"task%d" % task, 0
        for turn in range(1_000_000):
            value = b"%d of task %d" % (turn, task)
            try:
                when = phase[0]
                assert await client.set(key, value) is True
                found = await client.get(key)
                # Lost by the restart, but never another's, nor an older one.
                assert found == value or (found is None and phase[0] != when)
                done[when] += 1
                if when == 2:
                    return failures
            except ConnectionError:
                failures += 1
                await asyncio.sleep(0.01)
        raise AssertionError("the server did not come back")

    async def main() -> None:
        phase, done = [0], [0, 0, 0]
        loop = asyncio.get_running_loop()
        client = AsyncClient(port=port, pool=4, timeout=DEADLINE, dialect=dialect, patient=patient, backoff=(0.01, 0.1))
        async with client:
            with memcached_at(port) as first:
                tasks = [asyncio.create_task(work(client, task, phase, done)) for task in range(100)]
                while done[0] < 200:
                    await asyncio.sleep(0)
                first.process.kill()
                await loop.run_in_executor(None, first.process.wait)
            phase[0] = 1
            while not client._pool._failed_attempts:
                await asyncio.sleep(0)
            restarted = memcached_at(port)
            await loop.run_in_executor(None, restarted.__enter__)
            try:
                phase[0] = 2
                failures = await asyncio.gather(*tasks)
            finally:
                await loop.run_in_executor(None, restarted.__exit__, None, None, None)
            # With patience those alone fail that wait for an answer when the server dies.
            assert patient or sum(failures) > 0
            assert done[2] == 100

    asyncio.run(main())


@contextmanager
def saslauthd(path: Path) -> Iterator[None]:
    """What memcached's SASL library asks for the password, which is ``secret``."""

    def field(link: socket.socket) -> bytes:
        size = int.from_bytes(link.recv(2, socket.MSG_WAITALL), "big")
        return link.recv(size, socket.MSG_WAITALL) if size else b""

    def serve() -> None:
        # Until it is asked for a user without a name.
        asked = [b"?"]
        while asked[0]:
            link, _ = listener.accept()
            with link:
                asked = [field(link) for _ in range(4)]
                link.sendall(b"\0\2" + (b"OK" if asked[:2] == [b"user", b"secret"] else b"NO"))

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o777)
        listener.listen()
        listener.settimeout(DEADLINE)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            with socket.socket(socket.AF_UNIX) as end:
                end.connect(str(path))
                end.sendall(bytes(8))
                end.recv(4, socket.MSG_WAITALL)
            thread.join(DEADLINE)


@contextmanager
def guarded(name: str, dialect: Dialect, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server that wants ``user`` and ``secret``."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        os.chmod(folder, 0o777)
        users = Path(folder, "users")
        users.write_text("user:secret\n")
        if name == "memproto":
            mode = ("-S",) if dialect is Dialect.BINARY else ()
            yield stack.enter_context(example_server(*mode, "-Y", str(users)))
        elif dialect is not Dialect.BINARY:
            yield stack.enter_context(memcached("-Y", str(users)))
        else:
            Path(folder, "memcached.conf").write_text(
                f"pwcheck_method: saslauthd\nsaslauthd_path: {folder}/mux\nmech_list: plain\n"
            )
            monkeypatch.setenv("SASL_CONF_PATH", folder)
            require("memcached")
            if "--enable-sasl" not in subprocess.run(["memcached", "-h"], capture_output=True, text=True).stdout:
                pytest.skip("this memcached is built without SASL")
            stack.enter_context(saslauthd(Path(folder, "mux")))
            port = stack.enter_context(memcached("-S"))
            with socket.create_connection(("127.0.0.1", port), DEADLINE) as link:
                link.sendall(b"\x80\x20" + bytes(22))
                if b"PLAIN" not in link.recv(1000):
                    pytest.skip("SASL has no mechanism PLAIN here")
            yield port


@pytest.mark.parametrize("name", NAMES)
def test_authentication(name: str, dialect: Dialect, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(port: int) -> None:
        async with AsyncClient(
            port=port, timeout=DEADLINE, dialect=dialect, username="user", password="secret"
        ) as good:
            assert await good.set(b"key", b"value") is True
            assert await good.get(b"key") == b"value"
        async with AsyncClient(port=port, dialect=dialect, username="user", password="wrong") as bad:
            for _ in range(2):
                with pytest.raises(AuthenticationError, match=r"^Auth failure. \(status 0x0020\)$"):
                    await bad.get(b"key")
        async with AsyncClient(port=port, timeout=DEADLINE, dialect=dialect) as none:
            with pytest.raises(ServerError, match=r"^Auth failure. \(status 0x0020\)$"):
                await none.get(b"key")

    with guarded(name, dialect, monkeypatch) as port:
        asyncio.run(main(port))
        with Client(port=port, timeout=DEADLINE, dialect=dialect, username="user", password="secret") as good:
            assert good.get(b"key") == b"value"
            good.close()
            assert good.get(b"key") == b"value"
        with Client(port=port, timeout=DEADLINE, dialect=dialect, username="user", password="wrong") as bad:
            for _ in range(2):
                with pytest.raises(AuthenticationError, match=r"^Auth failure. \(status 0x0020\)$"):
                    bad.set(b"key", b"no")
        with Client(port=port, timeout=DEADLINE, dialect=dialect) as none:
            for _ in range(2):
                with pytest.raises(ServerError, match=r"^Auth failure. \(status 0x0020\)$"):
                    none.get(b"key")


@pytest.mark.parametrize("name", NAMES)
def test_over_a_unix_socket(name: str, dialect: Dialect) -> None:
    async def main(path: str) -> None:
        async with AsyncClient(f"unix:{path}", timeout=DEADLINE, dialect=dialect) as client:
            assert await client.get(b"key") == b"value"

    with unix_server(name) as path, Client(f"unix:{path}", timeout=DEADLINE, dialect=dialect) as client:
        assert client.set(b"key", b"value") is True
        asyncio.run(main(path))


@contextmanager
def unix_server(name: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        path = str(Path(folder, "socket"))
        if name == "memproto":
            with running_example("-s", path):
                yield path
            return
        require("memcached")
        user = ("-u", "nobody") if os.geteuid() == 0 else ()
        running = Running("memcached", "-s", path, "-a", "777", *user)
        try:
            deadline = time.monotonic() + DEADLINE
            while not Path(path).exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            yield path
        finally:
            running.stop(signal.SIGKILL)


def test_the_whole_surface_over_tls(dialect: Dialect) -> None:
    # Debian's memcached is built without it.
    files = f"ssl_chain_cert={TLS / 'cert.pem'},ssl_key={TLS / 'key.pem'}"
    tls = ssl.create_default_context(cafile=TLS / "cert.pem")
    with example_server("-Z", "-o", files) as port, asyncio.Runner() as runner:
        with Client("localhost", port, timeout=DEADLINE, dialect=dialect, tls=tls) as blocking:
            go_through_the_surface(lambda name, *arguments: getattr(blocking, name)(*arguments))
        client = AsyncClient("localhost", port, pool=2, timeout=DEADLINE, dialect=dialect, tls=tls)
        go_through_the_surface(lambda name, *arguments: runner.run(getattr(client, name)(*arguments)))
        runner.run(client.close())
