"""The clients that are measured against one memcached: ours in each dialect, and what a user would take instead.

What is not installed is left out. All ask the same: bytes in, bytes out, and a store waits for its answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol, TypeVar

from benchmarks._servers import HOST
from benchmarks._timing import Timer, repeated
from memproto import Dialect
from memproto.clients.client import Client

T = TypeVar("T")

OURS = {dialect: f"memproto {dialect.value}" for dialect in Dialect}
OURS_ASYNC, OURS_ASYNC_CLASSIC = "memproto async binary", "memproto async classic"
BMEMCACHED, PYMEMCACHE, AIOMCACHE = "python-binary-memcached", "pymemcache", "aiomcache"
PYLIBMC_BINARY, PYLIBMC_TEXT = "pylibmc binary", "pylibmc text"

#: Each as (its name, what is its like among ours).
RIVALS = (
    (BMEMCACHED, OURS[Dialect.BINARY]),
    (PYMEMCACHE, OURS[Dialect.CLASSIC]),
    (PYMEMCACHE, OURS[Dialect.META]),
    (AIOMCACHE, OURS_ASYNC_CLASSIC),
    (PYLIBMC_BINARY, OURS[Dialect.BINARY]),
    (PYLIBMC_TEXT, OURS[Dialect.CLASSIC]),
)


class Blocking(Protocol):
    """What is asked of a client: one call, one round trip."""

    def get(self, key: bytes) -> bytes | None: ...

    def set(self, key: bytes, value: bytes) -> object: ...

    def get_multi(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]: ...


@dataclass(frozen=True, slots=True)
class Contestant:
    """A connected client."""

    name: str
    fetch: Callable[[bytes], Timer]
    store: Callable[[bytes, bytes], Timer]
    fetch_many: Callable[[Sequence[bytes]], Timer]
    #: One get of many, for its result.
    found: Callable[[Sequence[bytes]], Mapping[bytes, bytes]]


def _blocking(name: str, client: Blocking) -> Contestant:
    return Contestant(
        name,
        lambda key: repeated(lambda: client.get(key)),
        lambda key, value: repeated(lambda: client.set(key, value)),
        lambda keys: repeated(lambda: client.get_multi(keys)),
        client.get_multi,
    )


class _Renamed:
    """A client whose methods have other names, or take other types."""

    def __init__(
        self,
        get: Callable[[bytes], bytes | None],
        store: Callable[[bytes, bytes], object],
        many: Callable[[Sequence[bytes]], Mapping[bytes, bytes]],
    ) -> None:
        self.get = get
        self.set = store
        self.get_multi = many


def _awaited(run: Callable[[Coroutine[object, object, float]], float], call: Callable[[], Awaitable[object]]) -> Timer:
    """Await the call so many times, one after the other, in a loop that runs for all of them."""

    async def repeat(count: int) -> float:
        start = perf_counter()
        for _ in range(count):
            await call()
        return perf_counter() - start

    return lambda count: run(repeat(count))


class _Asynchronous(Protocol):
    def close(self) -> Coroutine[object, object, object]: ...

    def get(self, key: bytes) -> Awaitable[bytes | None]: ...

    def set(self, key: bytes, value: bytes) -> Awaitable[object]: ...


def _asynchronous(
    name: str,
    runner: asyncio.Runner,
    client: _Asynchronous,
    many: Callable[[Sequence[bytes]], Coroutine[object, object, Mapping[bytes, bytes]]],
) -> Contestant:
    return Contestant(
        name,
        lambda key: _awaited(runner.run, lambda: client.get(key)),
        lambda key, value: _awaited(runner.run, lambda: client.set(key, value)),
        lambda keys: _awaited(runner.run, lambda: many(keys)),
        lambda keys: runner.run(many(keys)),
    )


def _close(runner: asyncio.Runner, client: _Asynchronous) -> None:
    runner.run(client.close())


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _rivals(port: int) -> Iterator[Contestant]:
    if _installed("bmemcached"):
        client = importlib.import_module("bmemcached").Client((f"{HOST}:{port}",))
        yield _blocking(BMEMCACHED, client)
    if _installed("pymemcache"):
        base = importlib.import_module("pymemcache.client.base")
        client = base.Client((HOST, port), no_delay=True, default_noreply=False)
        yield _blocking(PYMEMCACHE, _Renamed(client.get, client.set, client.get_many))
    if _installed("pylibmc"):
        pylibmc = importlib.import_module("pylibmc")
        for name, binary in ((PYLIBMC_BINARY, True), (PYLIBMC_TEXT, False)):
            yield _blocking(name, pylibmc.Client([f"{HOST}:{port}"], binary=binary, behaviors={"tcp_nodelay": True}))


def _asynchronous_ones(port: int, runner: asyncio.Runner, stack: contextlib.ExitStack) -> Iterator[Contestant]:
    try:
        ours = importlib.import_module("memproto.clients.async_client").AsyncClient
    except ImportError:
        ours = None
    if ours is not None:
        for name, dialect in ((OURS_ASYNC, Dialect.BINARY), (OURS_ASYNC_CLASSIC, Dialect.CLASSIC)):
            client = ours(HOST, port, dialect=dialect)
            stack.callback(_close, runner, client)
            yield _asynchronous(name, runner, client, client.get_multi)
    if _installed("aiomcache"):
        client = importlib.import_module("aiomcache").Client(HOST, port)
        stack.callback(_close, runner, client)

        async def many(keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
            # It gives the values in the order of the keys.
            return dict(zip(keys, await client.multi_get(*keys), strict=True))

        yield _asynchronous(AIOMCACHE, runner, client, many)


@contextlib.contextmanager
def connected(port: int) -> Iterator[list[Contestant]]:
    """All that are installed, for the duration of a ``with`` block."""
    with contextlib.ExitStack() as stack:
        contestants = [
            _blocking(OURS[dialect], stack.enter_context(Client(HOST, port, dialect=dialect))) for dialect in Dialect
        ]
        contestants += _rivals(port)
        runner = stack.enter_context(asyncio.Runner())
        contestants += _asynchronous_ones(port, runner, stack)
        yield contestants
