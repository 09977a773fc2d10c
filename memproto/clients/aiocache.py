"""A cache of aiocache on :class:`memproto.clients.AsyncCluster`. Only a program that uses it needs aiocache.

    cache = MemcachedCache(nodes=["10.0.0.1:11211", "10.0.0.2:11211"], namespace="shop:", ttl=60, timeout=0.5)

    caches.set_config({"default": {"cache": "memproto.clients.aiocache.MemcachedCache", "endpoint": "10.0.0.1"}})

The options are those of a cluster and aiocache's own: ``serializer``, which is aiocache's ``JsonSerializer`` unless you
say otherwise, ``plugins``, ``namespace``, ``key_builder`` and ``ttl``. ``timeout`` is the cluster's: the seconds that a
command of one node may take. In place of ``raw`` there is ``client``, the cluster itself.

aiocache's own ``MemcachedCache`` replaces blanks in keys by underlines, so that two keys may be one. This one does not,
and classic text takes no blanks: use binary or meta, or a ``key_builder``.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol, Self, Unpack

from memproto.clients.async_cluster import AsyncCluster
from memproto.clients.expiry import exptime_in
from memproto.clients.ring import NodeLike
from memproto.clients.routing import ClusterOptions
from memproto.commands import ServerError

if TYPE_CHECKING:

    class JsonSerializer:
        """What is used of aiocache's serializers."""

        encoding: str | None

    class BaseCache:
        """What is used of the base class of aiocache's caches."""

        def __init__(
            self,
            serializer: Serializer | None = None,
            plugins: Sequence[object] | None = None,
            namespace: str | None = None,
            key_builder: Callable[[str, str | None], str] | None = None,
            timeout: float | None = 5,
            ttl: float | None = None,
        ) -> None: ...

        async def __aenter__(self) -> Self: ...

        async def __aexit__(self, *error: object) -> None: ...

        async def add(self, key: object, value: object, ttl: float | None = ..., **options: object) -> bool: ...

        async def get(self, key: object, default: object = None, **options: object) -> object: ...

        async def multi_get(self, keys: Iterable[object], **options: object) -> list[object]: ...

        async def set(self, key: object, value: object, ttl: float | None = ..., **options: object) -> bool: ...

        async def multi_set(
            self, pairs: Iterable[tuple[object, object]], ttl: float | None = ..., **options: object
        ) -> bool: ...

        async def delete(self, key: object, **options: object) -> int: ...

        async def exists(self, key: object, **options: object) -> bool: ...

        async def increment(self, key: object, delta: int = 1, **options: object) -> int: ...

        async def expire(self, key: object, ttl: float, **options: object) -> bool: ...

        async def clear(self, namespace: str | None = None, **options: object) -> bool: ...

        async def close(self) -> None: ...

else:
    try:
        from aiocache.base import BaseCache
        from aiocache.serializers import JsonSerializer
    except ModuleNotFoundError:
        raise ModuleNotFoundError("this cache needs aiocache: pip install aiocache") from None

__all__ = ["MemcachedCache"]


class Serializer(Protocol):
    """Turns values into text or bytes and back; one for bytes has no encoding."""

    encoding: str | None


class MemcachedCache(BaseCache):
    """The cache. A node that is down has no items, unless the options have ``dead="raise"``."""

    NAME = "memproto"

    def __init__(
        self,
        endpoint: str = "127.0.0.1",
        port: int = 11211,
        *,
        nodes: Iterable[NodeLike] | None = None,
        serializer: Serializer | None = None,
        plugins: Sequence[object] | None = None,
        namespace: str | None = None,
        key_builder: Callable[[str, str | None], str] | None = None,
        ttl: float | None = None,
        **options: Unpack[ClusterOptions],
    ) -> None:
        super().__init__(serializer or JsonSerializer(), plugins, namespace, key_builder, None, ttl)
        options.setdefault("encoding", "utf-8")
        self._nodes: list[NodeLike] = [(endpoint, port)] if nodes is None else list(nodes)
        self._options = options
        #: The cluster.
        self.client: AsyncCluster[bytes] = AsyncCluster(self._nodes, **options)

    # aiocache's public methods call these with keys and values as they are stored.

    async def _get(self, key: str, encoding: str | None = "utf-8", _conn: object = None) -> str | bytes | None:
        return _text(await self.client.get(key), encoding)

    async def _multi_get(
        self, keys: Sequence[str], encoding: str | None = "utf-8", _conn: object = None
    ) -> list[str | bytes | None]:
        found = await self.client.get_multi(keys)
        return [_text(found.get(key), encoding) for key in keys]

    async def _gets(self, key: str, encoding: str | None = "utf-8", _conn: object = None) -> int | None:
        item = await self.client.gets(key)
        return None if item is None else item.cas

    async def _set(
        self,
        key: str,
        value: str | bytes,
        ttl: float | None = None,
        _cas_token: int | None = None,
        _conn: object = None,
    ) -> bool:
        if _cas_token is None:
            return await self.client.set(key, _data(value), _exptime(ttl)) is True
        return await self.client.cas(key, _data(value), _cas_token, _exptime(ttl)) is True

    async def _multi_set(
        self, pairs: Iterable[tuple[str, str | bytes]], ttl: float | None = None, _conn: object = None
    ) -> bool:
        items = {key: _data(value) for key, value in pairs}
        refused = [key for key in await self.client.set_multi(items, _exptime(ttl)) if self._is_alive(key)]
        if refused:
            raise ValueError(f"the server has refused the values of {refused}")
        return True

    async def _add(self, key: str, value: str | bytes, ttl: float | None = None, _conn: object = None) -> bool:
        # Nobody waits for a lock on a node that is dead.
        if not await self.client.add(key, _data(value), _exptime(ttl)) and self._is_alive(key):
            raise ValueError(f"key {key!r} exists already, use set to replace its value")
        return True

    async def _exists(self, key: str, _conn: object = None) -> bool:
        return await self.client.gets(key) is not None

    async def _increment(self, key: str, delta: int, _conn: object = None) -> int:
        change: Callable[[str, int], Awaitable[object]] = self.client.incr if delta >= 0 else self.client.decr
        try:
            for _ in range(2):
                number = await change(key, abs(delta))
                if isinstance(number, int):
                    return number
                if await self.client.add(key, b"%d" % max(delta, 0)):
                    return max(delta, 0)
        except ServerError as error:
            raise TypeError(f"key {key!r} has no number: {error}") from None
        return -1

    async def _expire(self, key: str, ttl: float, _conn: object = None) -> bool:
        return await self.client.touch(key, _exptime(ttl)) is True

    async def _delete(self, key: str, _conn: object = None) -> int:
        return int(await self.client.delete(key) is True)

    async def _clear(self, namespace: str | None = None, _conn: object = None) -> bool:
        if namespace:
            raise ValueError(f"namespace is {namespace!r}, but memcached can only remove the items of all namespaces")
        return await self.client.flush()

    async def _redlock_release(self, key: str, value: str) -> int:
        # A lock that has expired may belong to another task by now.
        return await self._delete(key) if await self.client.get(key) == value.encode() else 0

    async def _close(self, *args: object, _conn: object = None, **kwargs: object) -> None:
        closed, self.client = self.client, AsyncCluster(self._nodes, **self._options)
        await closed.close()

    def _is_alive(self, key: str) -> bool:
        return self.client.router.node(key) is not None


def _data(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _text(data: bytes | None, encoding: str | None) -> str | bytes | None:
    return data if data is None or encoding is None else data.decode(encoding)


def _exptime(ttl: float | None) -> int:
    return exptime_in(math.ceil(ttl or 0))
