"""Each option has an effect in each of the four clients, or the client refuses it by name."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from memproto import Dialect, Get, Limits, LocalProtocolError
from memproto.clients import AsyncClient, AsyncCluster, AsyncSettings, Client, Cluster, Settings
from memproto.commands import AuthenticationError, ReplyTooLargeError, ServerError
from memproto.testing import Delay, FakeMemcached
from tests.support.certificates import client_context, server_context
from tests.support.peers import DEADLINE

Address = tuple[str, int]


class Called:
    """A client of any of the four kinds, whose methods all block."""

    def __init__(self, kind: type[Any], address: Address, options: dict[str, Any]) -> None:
        self.kind = kind
        self._runner = asyncio.Runner() if kind in (AsyncClient, AsyncCluster) else None
        options = {"timeout": DEADLINE, **options}
        self.client = (
            kind([address], dead="raise", **options) if "Cluster" in kind.__name__ else kind(*address, **options)
        )

    def __enter__(self) -> Called:
        return self

    def __exit__(self, *error: object) -> None:
        self("close")
        if self._runner is not None:
            self._runner.close()

    def __call__(self, name: str, *arguments: object) -> Any:
        method = getattr(self.client, name)
        return method(*arguments) if self._runner is None else self._runner.run(method(*arguments))

    def at_once(self, count: int) -> None:
        """Get so many keys in calls at the same time."""
        if self._runner is None:
            with concurrent.futures.ThreadPoolExecutor(count) as threads:
                list(threads.map(self.client.get, [b"k"] * count))
        else:

            async def gather() -> None:
                await asyncio.gather(*[self.client.get(b"k") for _ in range(count)])

            self._runner.run(gather())

    def socket(self) -> socket.socket:
        client = next(iter(self.client._clients.values())) if "Cluster" in self.kind.__name__ else self.client
        connections = client._connections if self._runner is None else client._pool.connections
        opened: socket.socket = connections[0].stream._socket
        return opened


@dataclasses.dataclass
class Trial:
    """One option, one kind of client: ``open`` makes the client with or without it."""

    kind: type[Any]
    fake: FakeMemcached
    secured: FakeMemcached
    encrypted: FakeMemcached
    gone: Address

    def open(self, address: Address | None = None, **options: Any) -> Called:
        return Called(self.kind, address or self.fake.address, options)


def timeout(trial: Trial) -> None:
    with trial.fake.fail(how=Delay(0.3)), trial.open(timeout=0.05) as call, pytest.raises(TimeoutError):
        call("get", b"k")
    with trial.fake.fail(how=Delay(0.06)), trial.open() as call:
        assert call("get", b"k") is None


def _connections(trial: Trial, play: Callable[[Called], None], **options: Any) -> int:
    """Over how many connections a client gets."""
    before = len(trial.fake.requests)
    with trial.open(**options) as call:
        play(call)
        # A connection of an earlier client may still send its quit.
        return len({each.connection for each in trial.fake.requests[before:] if isinstance(each.request, Get)})


def pool(trial: Trial) -> None:
    def play(call: Called) -> None:
        with trial.fake.fail(how=Delay(0.1)):
            call.at_once(3)

    if trial.kind in (AsyncClient, AsyncCluster):
        assert _connections(trial, play, pool=2) == 2
        assert _connections(trial, play) == 1
    else:
        assert _connections(trial, play, pool=1) == 1
        # On a busy machine one call may end before the next thread has begun.
        assert any(_connections(trial, play) > 1 for _ in range(20))


def idle(trial: Trial) -> None:
    def play(call: Called) -> None:
        call("get", b"k")
        time.sleep(0.01)
        call("get", b"k")

    assert _connections(trial, play, idle=0.005) == 2
    assert _connections(trial, play, idle=DEADLINE) == 1


def dialect(trial: Trial) -> None:
    for each in Dialect:
        with trial.open(dialect=each) as call:
            call("get", b"k")
            assert trial.fake.requests[-1].envelope.dialect is each


def encoding(trial: Trial) -> None:
    with trial.open(encoding="latin-1") as call:
        assert call("set", "\xe4", b"1")
    assert b"\xe4" in trial.fake.items
    with trial.open() as call, pytest.raises(LocalProtocolError, match="key is '\xe4'"):
        call("get", "\xe4")


def prefix(trial: Trial) -> None:
    with trial.open(prefix=b"app:") as call:
        assert call("set", b"k", b"1")
        assert call("get", b"k") == b"1"
    assert b"app:k" in trial.fake.items


def username(trial: Trial) -> None:
    with trial.open(trial.secured.address, username="ann", password="right") as call:
        assert call("get", b"k") is None
    with trial.open(trial.secured.address) as call, pytest.raises(ServerError, match="Auth failure"):
        call("get", b"k")


def password(trial: Trial) -> None:
    with (
        trial.open(trial.secured.address, username="ann", password="wrong") as call,
        pytest.raises(AuthenticationError),
    ):
        call("get", b"k")
    with pytest.raises(ValueError, match="username is None, must be a str where there is a password"):
        trial.open(password="secret")


def tls(trial: Trial) -> None:
    host, port = "localhost", trial.encrypted.address[1]
    with trial.open((host, port), tls=client_context()) as call:
        assert call("get", b"k") is None
    with trial.open((host, port), timeout=0.2) as call, pytest.raises(OSError):  # noqa: PT011  # as the server closes
        call("get", b"k")


def server_hostname(trial: Trial) -> None:
    context = client_context()
    with trial.open(trial.encrypted.address, tls=context, server_hostname="localhost") as call:
        assert call("get", b"k") is None
    with (
        trial.open(trial.encrypted.address, tls=context, server_hostname="other.example") as call,
        pytest.raises(OSError, match=r"other\.example"),
    ):
        call("get", b"k")
    with pytest.raises(ValueError, match="server_hostname is 'a', must be None where tls is None"):
        trial.open(server_hostname="a")


def keepalive(trial: Trial) -> None:
    for seconds in (60, None):
        with trial.open(keepalive=seconds) as call:
            call("get", b"k")
            assert bool(call.socket().getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)) is bool(seconds)


def limits(trial: Trial) -> None:
    with trial.open(limits=Limits(value=3)) as call:
        call("set", b"k", b"1234")
        with pytest.raises(ReplyTooLargeError):
            call("get", b"k")


def on_call(trial: Trial) -> None:
    reports: list[object] = []
    with trial.open(on_call=reports.append) as call:
        call("get", b"k")
    assert len(reports) == 1


def trace(trial: Trial) -> None:
    told: list[tuple[str, bytes]] = []
    with trial.open(trace=lambda way, data: told.append((way, data))) as call:
        call("get", b"k")
    assert [way for way, _ in told] == [">", "<", ">"]
    assert told[0][1].endswith(b"k")
    assert told[2][1][:2] == b"\x80\x07"


def backoff(trial: Trial) -> None:
    with trial.open(trial.gone, backoff=(DEADLINE, DEADLINE)) as call:
        for words in ("Connection refused", "next attempt to connect in"):
            with pytest.raises(ConnectionError, match=words):
                call("get", b"k")


def patient(trial: Trial) -> None:
    with trial.open(trial.gone, backoff=(0.2, 0.2), patient=True, timeout=0.02) as call, pytest.raises(TimeoutError):
        call("get", b"k")


EFFECTS: Final[dict[str, Callable[[Trial], None]]] = {
    each.__name__: each
    for each in (
        timeout,
        pool,
        idle,
        dialect,
        encoding,
        prefix,
        username,
        password,
        tls,
        server_hostname,
        keepalive,
        limits,
        on_call,
        trace,
        backoff,
        patient,
    )
}


@pytest.fixture(scope="module")
def fakes() -> Iterator[tuple[FakeMemcached, FakeMemcached, FakeMemcached]]:
    with (
        FakeMemcached() as plain,
        FakeMemcached(users={"ann": "right"}) as secured,
        FakeMemcached(tls=server_context()) as encrypted,
    ):
        yield plain, secured, encrypted


@pytest.fixture
def trial(fakes: tuple[FakeMemcached, FakeMemcached, FakeMemcached]) -> Callable[[type[Any]], Trial]:
    fakes[0].items.clear()
    with socket.create_server(("127.0.0.1", 0)) as closed:
        gone = closed.getsockname()
    return lambda kind: Trial(kind, *fakes, gone)


def _options(settings: type[Settings]) -> list[str]:
    return [each.name for each in dataclasses.fields(settings)]


def test_each_option_has_a_test_of_its_effect() -> None:
    assert list(EFFECTS) == _options(AsyncSettings)


@pytest.mark.parametrize("kind", [Client, AsyncClient, Cluster, AsyncCluster])
@pytest.mark.parametrize("option", EFFECTS)
def test_option_has_an_effect_or_is_refused_by_name(
    trial: Callable[[type[Any]], Trial], option: str, kind: type[Any]
) -> None:
    made = trial(kind)
    if option in _options(AsyncSettings if kind is AsyncClient else Settings):
        EFFECTS[option](made)
    else:
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{option}'"):
            made.open(**{option: None})
