"""A backend of Flask-Caching on :class:`memproto.clients.Cluster`. Only a program that uses it needs Flask-Caching.

    app.config["CACHE_TYPE"] = "memproto.clients.flask_caching.MemcachedCache"
    app.config["CACHE_MEMCACHED_SERVERS"] = ["10.0.0.1:11211", "10.0.0.2:11211"]
    app.config["CACHE_KEY_PREFIX"] = "shop:"
    app.config["CACHE_OPTIONS"] = {"timeout": 0.5, "dead": "move"}

``CACHE_OPTIONS`` are the options of a cluster, and ``values``, which is ``"json"`` unless you say otherwise. A view
or function must then return JSON, such as text. Other objects, such as responses and tuples, need pickles:
``pickling("pymemcache")`` of ``memproto.clients.pickles``.

Visitors choose some keys, such as the path of a page. A key that does not fit the protocol is never there and is never
stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Self, TypedDict, Unpack

from memproto import LocalProtocolError
from memproto.clients.cluster import Cluster
from memproto.clients.expiry import exptime_in
from memproto.clients.options import serde_of
from memproto.clients.ring import NodeLike
from memproto.clients.routing import ClusterOptions
from memproto.commands import Serde, ServerError

if TYPE_CHECKING:

    class BaseCache:
        """What is used of the base class of Flask-Caching's backends."""

        def __init__(self, default_timeout: int = ..., ignore_delete_many_errors: bool = ...) -> None: ...

        def _normalize_timeout(self, timeout: int | None) -> int: ...

else:
    try:
        from flask_caching.backends.base import BaseCache
    except ModuleNotFoundError:
        raise ModuleNotFoundError("this backend needs Flask-Caching: pip install Flask-Caching") from None

__all__ = ["MemcachedCache"]


class Config(TypedDict):
    """What is used of the configuration of Flask-Caching."""

    CACHE_MEMCACHED_SERVERS: list[NodeLike] | None
    CACHE_KEY_PREFIX: str | None


class Options(ClusterOptions, total=False):
    """The options of a cluster, and those of the backend."""

    values: Serde[object] | str
    default_timeout: int
    ignore_delete_many_errors: bool


class MemcachedCache(BaseCache):
    """The backend. A node that is down has no items, unless ``CACHE_OPTIONS`` have ``dead="raise"``."""

    def __init__(
        self,
        servers: list[NodeLike] | None = None,
        default_timeout: int = 300,
        ignore_delete_many_errors: bool = False,
        values: Serde[object] | str = "json",
        **options: Unpack[ClusterOptions],
    ) -> None:
        super().__init__(default_timeout, ignore_delete_many_errors)
        options.setdefault("encoding", "utf-8")
        self._cluster: Cluster[object] = Cluster(servers or ["127.0.0.1"], values=serde_of(values), **options)

    @classmethod
    def factory(cls, app: object, config: Config, args: object, kwargs: Options) -> Self:  # noqa: ARG003  # as given
        """Make the backend of an application."""
        kwargs.setdefault("prefix", config["CACHE_KEY_PREFIX"] or "")
        return cls(config["CACHE_MEMCACHED_SERVERS"], **kwargs)

    def _exptime(self, timeout: int | None) -> int:
        return exptime_in(self._normalize_timeout(timeout))

    def get(self, key: str) -> object:
        """Return the value, ``None`` if there is none."""
        with suppress(LocalProtocolError):
            return self._cluster.get(key)
        return None

    def get_many(self, *keys: str) -> list[object]:
        """Return the values of all keys in their order, ``None`` for those without one."""
        try:
            found = self._cluster.get_multi(keys)
        except LocalProtocolError:
            return [self.get(key) for key in keys]
        return [found.get(key) for key in keys]

    def has(self, key: str) -> bool:
        """Whether there is a value."""
        with suppress(LocalProtocolError):
            return self._cluster.gets(key) is not None
        return False

    def set(self, key: str, value: object, timeout: int | None = None) -> bool:
        """Store; whether it was stored. A value that the server refuses leaves no old one behind."""
        with suppress(LocalProtocolError):
            try:
                return self._cluster.set(key, value, self._exptime(timeout)) is True
            except ServerError:
                self._cluster.delete(key)
        return False

    def add(self, key: str, value: object, timeout: int | None = None) -> bool:
        """Store if the key is absent; whether it was stored."""
        with suppress(LocalProtocolError, ServerError):
            return self._cluster.add(key, value, self._exptime(timeout)) is True
        return False

    def set_many(self, mapping: Mapping[str, object], timeout: int | None = None) -> list[str]:
        """Store all, and return the keys of those that are stored."""
        try:
            refused = set(self._cluster.set_multi(mapping, self._exptime(timeout)))
        except LocalProtocolError:
            return [key for key, value in mapping.items() if self.set(key, value, timeout)]
        return [key for key in mapping if key not in refused]

    def delete(self, key: str) -> bool:
        """Remove; whether there was something."""
        with suppress(LocalProtocolError):
            return self._cluster.delete(key) is True
        return False

    def clear(self) -> bool:
        """Remove all items of all nodes, whatever their prefix; whether every node has confirmed that."""
        return self._cluster.flush()

    def inc(self, key: str, delta: int = 1) -> int | None:
        """Add to a number, and return the new one, which is at least 0. One that is absent is 0.

        ``None`` if its node is dead, or if the value is no number.
        """
        change: Callable[[str, int], object] = self._cluster.incr if delta >= 0 else self._cluster.decr
        with suppress(LocalProtocolError, ServerError):
            for _ in range(2):
                number = change(key, abs(delta))
                if isinstance(number, int):
                    return number
                if self.add(key, max(delta, 0)):
                    return max(delta, 0)
        return None

    def dec(self, key: str, delta: int = 1) -> int | None:
        """Subtract from a number, down to 0 at most; otherwise as :meth:`inc`."""
        return self.inc(key, -delta)
