"""A backend of dogpile.cache on :class:`memproto.clients.Cluster`. Only a program that uses it needs dogpile.cache.

    from dogpile.cache import make_region

    region = make_region().configure(
        "memproto",
        expiration_time=300,
        arguments={"url": ["10.0.0.1", "10.0.0.2"], "timeout": 0.5, "distributed_lock": True},
    )

``arguments`` are the options of a cluster and: ``url``, its nodes; ``memcached_expire_time``, in seconds, after which
the server removes a value; ``distributed_lock``, with which one process of all creates a value, and ``lock_timeout``,
the seconds after which another process takes the lock of one that has died. dogpile.cache serializes the values.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, final

from memproto.clients.cluster import Cluster
from memproto.clients.ring import NodeLike
from memproto.clients.routing import ClusterOptions

if TYPE_CHECKING:
    NO_VALUE: Final = object()

    class BytesBackend:
        """The base class of dogpile.cache's backends for bytes."""

else:
    try:
        from dogpile.cache.api import NO_VALUE, BytesBackend
    except ModuleNotFoundError:
        raise ModuleNotFoundError("this backend needs dogpile.cache: pip install dogpile.cache") from None

__all__ = ["MemcachedBackend"]

# How often a process that waits for a lock tries to take it, in seconds.
_TRY_AGAIN: Final = 0.05


class Arguments(ClusterOptions, total=False):
    """The options of a cluster, and those of the backend."""

    url: str | list[NodeLike]
    memcached_expire_time: int
    distributed_lock: bool
    lock_timeout: int


@final
class Mutex:
    """A lock of all processes that use the cluster: an item that the one which has added it removes."""

    def __init__(self, cluster: Cluster[bytes], key: str, timeout: int) -> None:
        self._cluster, self._key, self._timeout = cluster, f"{key}-lock", timeout
        self._mine = secrets.token_bytes(16)

    def acquire(self, wait: bool = True) -> bool:
        """Take the lock; without ``wait`` only if it is free. The result says whether it was taken.

        While its node is dead everybody has it, so that a process does not wait endlessly.
        """
        while not self._cluster.add(self._key, self._mine, self._timeout):
            if self._cluster.router.node(self._key) is None:
                return True
            if not wait:
                return False
            time.sleep(_TRY_AGAIN)
        return True

    def release(self) -> None:
        """Give the lock back.

        If it has expired, or its node was dead, another process may have it by now, and keeps it.
        """
        if self._cluster.get(self._key) == self._mine:
            self._cluster.delete(self._key)

    def locked(self) -> bool:
        """Whether the lock is taken."""
        return self._cluster.get(self._key) is not None


class MemcachedBackend(BytesBackend):
    """The backend. A node that is down has no values, unless the arguments have ``dead="raise"``."""

    def __init__(self, arguments: Arguments) -> None:
        options = arguments.copy()
        url = options.pop("url", "127.0.0.1")
        self._exptime = options.pop("memcached_expire_time", 0)
        self._locks = options.pop("distributed_lock", False)
        self._lock_timeout = options.pop("lock_timeout", 0)
        options.setdefault("encoding", "utf-8")
        nodes = [url] if isinstance(url, str) else url
        self._cluster: Cluster[bytes] = Cluster(nodes, **options)  # type: ignore[call-overload]  # they are taken out

    def get_mutex(self, key: str) -> Mutex | None:
        """Return the lock for creating a value; ``None`` for one that only the threads of this process share."""
        return Mutex(self._cluster, key, self._lock_timeout) if self._locks else None

    def get_serialized(self, key: str) -> object:
        """Return the bytes, NO_VALUE if there are none."""
        return self._cluster.get(key, NO_VALUE)

    def get_serialized_multi(self, keys: Sequence[str]) -> list[object]:
        """Return the bytes of all keys, in their order."""
        found = self._cluster.get_multi(keys)
        return [found.get(key, NO_VALUE) for key in keys]

    def set_serialized(self, key: str, value: bytes) -> None:
        """Store."""
        self._cluster.set(key, value, self._exptime)

    def set_serialized_multi(self, mapping: Mapping[str, bytes]) -> None:
        """Store all."""
        self._cluster.set_multi(mapping, self._exptime)

    def delete(self, key: str) -> None:
        """Remove."""
        self._cluster.delete(key)

    def delete_multi(self, keys: Sequence[str]) -> None:
        """Remove all."""
        self._cluster.delete_multi(keys)
