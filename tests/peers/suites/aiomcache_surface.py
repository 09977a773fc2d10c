"""The surface of aiomcache 0.8 on the asyncio client of memproto, to run aiomcache's own tests of its client on it.

    git clone https://github.com/aio-libs/aiomcache && pip install pytest-asyncio
    python -m tests.peers.suites.aiomcache_surface aiomcache

As a plugin of pytest (``-p aiomcache_surface``) it takes the place of aiomcache's clients. The sdist of aiomcache has
no tests. The exit code is 1 if other tests fail than those of :data:`DIFFERENCES`. The tests of aiomcache's own pool
and of its streams are not run: memproto has others.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiomcache
from aiomcache.exceptions import ClientException, ValidationException

from memproto import ClientConnection, Dialect, Limits, LocalProtocolError
from memproto.clients import AsyncClient, ServerError
from memproto.commands import Command

#: The tests that fail, by the beginnings of their names, and why.
DIFFERENCES = {
    "test_invalid_key[": "memproto takes each key that memcached takes: control characters but NUL, CR and LF, too",
    "test_multi_get_doubling_keys": "a key may be in a get twice",
    "test_set_errors": "a negative exptime is memcached's own way to say: at once",
}


@contextmanager
def _errors(wrong_argument: type[ClientException] = ValidationException) -> Iterator[None]:
    """Raise the errors of aiomcache for those of memproto."""
    try:
        yield
    except LocalProtocolError as error:
        raise wrong_argument(str(error)) from error
    except ServerError as error:
        raise ClientException(str(error)) from error


class _Pool:
    """What the tests look at of aiomcache's pool."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    def size(self) -> int:
        return len(self._client._pool.connections)


class Surface:
    """aiomcache's ``Client`` and ``FlagClient``."""

    #: A test may replace it by a function whose result is the line that the server sends.
    _execute_simple_command: Callable[..., Awaitable[bytes]] | None = None

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 11211,
        *,
        path: str | None = None,
        pool_size: int = 2,
        get_flag_handler: Callable[[bytes, int], Awaitable[object]] | None = None,
        set_flag_handler: Callable[[object], Awaitable[tuple[bytes, int]]] | None = None,
        **options: object,
    ) -> None:
        host, port = (f"unix:{path}", 0) if path is not None else (host, port)
        self.client = AsyncClient(host, port, pool=pool_size, dialect=Dialect.CLASSIC, timeout=None)
        self._pool = _Pool(self.client)
        self._load, self._dump = get_flag_handler, set_flag_handler

    def __class_getitem__(cls, values: object) -> type[Surface]:
        return cls

    async def close(self) -> None:
        await self.client.close()

    def _validate_key(self, key: bytes) -> bytes:
        try:
            self.client.commands.get(key).check(Limits(), Dialect.CLASSIC)
        except LocalProtocolError as error:
            raise ValidationException("invalid key", key) from error
        return key

    async def _run(self, command: Command[Any]) -> Any:
        with _errors():
            if self._execute_simple_command is None:
                return await self.client.run(command)
            connection = ClientConnection(Limits(), dialect=Dialect.CLASSIC)
            (exchange,) = command.send(connection)
            connection.receive_data(await self._execute_simple_command())
            connection.next_event()
            return command.result([exchange.reply])

    async def _dumped(self, value: object) -> tuple[bytes, int]:
        if isinstance(value, bytes):
            return value, 0
        if self._dump is None:
            raise ValidationException("flag handler must be set for values that are not bytes")
        return await self._dump(value)

    async def _loaded(self, value: bytes, flags: int) -> object:
        if not flags:
            return value
        if self._load is None:
            raise ClientException("received flags without handler")
        return await self._load(value, flags)

    async def get(self, key: bytes, default: object = None) -> object:
        return (await self.gets(key, default))[0]

    async def gets(self, key: bytes, default: object = None) -> tuple[object, int | None]:
        item = await self._run(self.client.commands.gets(key))
        return (default, None) if item is None else (await self._loaded(item.value, item.flags), item.cas)

    async def multi_get(self, *keys: bytes) -> tuple[object, ...]:
        found = await self._run(self.client.commands.gets_multi(keys))
        return tuple([await self._loaded(found[key].value, found[key].flags) if key in found else None for key in keys])

    async def set(self, key: bytes, value: object, exptime: int = 0) -> bool:
        data, flags = await self._dumped(value)
        return await self._run(self.client.commands.set(key, data, exptime, flags)) is True

    async def cas(self, key: bytes, value: object, cas_token: int, exptime: int = 0) -> bool:
        data, flags = await self._dumped(value)
        return await self._run(self.client.commands.cas(key, data, cas_token, exptime, flags)) is True

    async def add(self, key: bytes, value: object, exptime: int = 0) -> bool:
        data, flags = await self._dumped(value)
        return await self._run(self.client.commands.add(key, data, exptime, flags)) is True

    async def replace(self, key: bytes, value: object, exptime: int = 0) -> bool:
        data, flags = await self._dumped(value)
        return await self._run(self.client.commands.replace(key, data, exptime, flags)) is True

    async def append(self, key: bytes, value: bytes, exptime: int = 0) -> bool:
        return await self._run(self.client.commands.append(key, value)) is True

    async def prepend(self, key: bytes, value: bytes, exptime: int = 0) -> bool:
        return await self._run(self.client.commands.prepend(key, value)) is True

    async def delete(self, key: bytes) -> bool:
        return await self._run(self.client.commands.delete(key)) is True

    async def incr(self, key: bytes, increment: int = 1) -> int | None:
        number: int | None = await self._run(self.client.commands.incr(key, increment))
        return number

    async def decr(self, key: bytes, decrement: int = 1) -> int | None:
        number: int | None = await self._run(self.client.commands.decr(key, decrement))
        return number

    async def touch(self, key: bytes, exptime: int) -> bool:
        return await self._run(self.client.commands.touch(key, exptime)) is True

    async def stats(self, args: bytes = b"") -> Any:
        return await self._run(self.client.commands.stats(args))

    async def version(self) -> Any:
        return await self._run(self.client.commands.version())

    async def flush_all(self) -> None:
        await self._run(self.client.commands.flush())


def main(checkout: str) -> int:
    """Run the tests in a checkout of aiomcache with memcached; the exit code."""
    from tests.peers.suites.runner import run
    from tests.peers.suites.table import PYTEST, Server, Suite

    options = ("-p", "aiomcache_surface", "-o", "asyncio_mode=auto", "-o", "filterwarnings=", "tests/commands_test.py")
    suite = Suite("aiomcache", (*PYTEST, *options), servers=(Server("11211"), Server("/tmp/memcached.sock")))
    found = run(suite, Path(checkout).resolve(), "memcached")
    failed = sorted(name for name, outcome in found.items() if outcome != "passed")
    print(f"{len(found) - len(failed)} of {len(found)} tests pass on the asyncio client of memproto")
    unexplained = 0
    for name in failed:
        test = name.rpartition("commands_test.")[2]
        why = next((why for start, why in DIFFERENCES.items() if test.startswith(start)), "NOT EXPLAINED")
        unexplained += why == "NOT EXPLAINED"
        print(f"  {test}: {why}")
    return min(unexplained, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
else:
    for module in (aiomcache, aiomcache.client):
        for kind in ("Client", "FlagClient"):
            setattr(module, kind, Surface)
    # The tests import it for a fixture that none of them uses.
    docker = types.ModuleType("docker")
    docker.__dict__["Client"] = docker.__dict__["from_env"] = object
    sys.modules.setdefault("docker", docker)
