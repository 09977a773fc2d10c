"""A cache backend of Django on :class:`memproto.clients.Cluster`. Only a program that uses it needs Django.

    CACHES = {
        "default": {
            "BACKEND": "memproto.clients.django.MemcachedCache",
            "LOCATION": ["10.0.0.1:11211", "10.0.0.2:11211"],
            "OPTIONS": {"timeout": 0.5},
        }
    }

``OPTIONS`` are those of a cluster, and ``values``, which is ``"json"`` unless you say otherwise. Django's own backends
store pickles: with ``pickling("pymemcache")`` of ``memproto.clients.pickles`` this one reads those of
``PyMemcacheCache``, and stores whatever can be pickled.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypedDict
from weakref import finalize

from memproto.clients.cluster import Cluster
from memproto.clients.expiry import exptime_in
from memproto.clients.options import serde_of
from memproto.clients.routing import ClusterOptions
from memproto.commands import Serde, ServerError

if TYPE_CHECKING:
    # What is used of django.core.cache.backends.base, which has no types.
    DEFAULT_TIMEOUT: Final = object()

    class InvalidCacheKey(ValueError):  # noqa: N818
        """The key is not one for memcached."""

    class BaseCache:
        """The base class of Django's backends."""

        default_timeout: float | None

        def __init__(self, params: Mapping[str, object]) -> None: ...

        def make_and_validate_key(self, key: str, version: int | None = None) -> str:
            """Return the key with the prefix and the version."""
            ...

    def memcache_key_warnings(key: str) -> Iterable[str]:
        """Say what is wrong with a key."""
        ...
else:
    try:
        from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache, InvalidCacheKey, memcache_key_warnings
    except ModuleNotFoundError:
        raise ModuleNotFoundError("this backend needs Django: pip install Django") from None

__all__ = ["MemcachedCache"]


class Options(ClusterOptions, total=False):
    """The options of a cluster, and what values are."""

    values: Serde[object] | str


class Params(TypedDict, total=False):
    """What Django gives to a backend; Django itself reads the other keys."""

    OPTIONS: Options


class MemcachedCache(BaseCache):
    """The backend. A node that is down has no items, unless ``OPTIONS`` have ``dead="raise"``."""

    def __init__(self, server: str | list[str], params: Params) -> None:
        super().__init__(params)
        nodes = re.split("[;,]", server) if isinstance(server, str) else server
        options = params.get("OPTIONS", Options()).copy()
        values = serde_of(options.pop("values", "json"))
        options.setdefault("encoding", "utf-8")
        self._cluster: Cluster[object] = Cluster(nodes, values=values, **options)  # type: ignore[call-overload]  # not in them
        # Django makes one for each thread, which may live no longer than a request, and drops it without a word.
        finalize(self, self._cluster.close)

    def validate_key(self, key: str) -> None:
        """Raise InvalidCacheKey for a key that memcached does not take."""
        for warning in memcache_key_warnings(key):
            raise InvalidCacheKey(warning)

    def _exptime(self, timeout: object) -> int | None:
        """Return the expiry of the protocol, ``None`` for one that is over."""
        seconds = self.default_timeout if timeout is DEFAULT_TIMEOUT else timeout
        if seconds is None:
            return 0
        whole = int(seconds) if isinstance(seconds, int | float) else int(str(seconds))
        return exptime_in(whole) if whole > 0 else None

    def add(self, key: str, value: object, timeout: object = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Store if the key is absent; whether it was stored."""
        made, exptime = self.make_and_validate_key(key, version), self._exptime(timeout)
        return self._cluster.gets(made) is None if exptime is None else self._cluster.add(made, value, exptime) is True

    def get(self, key: str, default: object = None, version: int | None = None) -> object:
        """Return the value, ``default`` if there is none."""
        return self._cluster.get(self.make_and_validate_key(key, version), default)

    def set(self, key: str, value: object, timeout: object = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        """Store. A value that the server refuses leaves no old one behind."""
        made, exptime = self.make_and_validate_key(key, version), self._exptime(timeout)
        stored: object = False
        if exptime is not None:
            with suppress(ServerError):
                stored = self._cluster.set(made, value, exptime)
        if not stored:
            self._cluster.delete(made)

    def touch(self, key: str, timeout: object = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Set a new expiry; whether there is such an item."""
        made, exptime = self.make_and_validate_key(key, version), self._exptime(timeout)
        return (self._cluster.delete(made) if exptime is None else self._cluster.touch(made, exptime)) is True

    def delete(self, key: str, version: int | None = None) -> bool:
        """Remove; whether there was something."""
        return self._cluster.delete(self.make_and_validate_key(key, version)) is True

    def get_many(self, keys: Iterable[str], version: int | None = None) -> dict[str, object]:
        """Return the values of those keys that have one."""
        given = {self.make_and_validate_key(key, version): key for key in keys}
        return {given[made]: value for made, value in self._cluster.get_multi(list(given)).items()}

    def set_many(
        self, data: Mapping[str, object], timeout: object = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[str]:
        """Store all, and return the keys of those that are not stored."""
        given = {self.make_and_validate_key(key, version): key for key in data}
        exptime = self._exptime(timeout)
        if exptime is None:
            self._cluster.delete_multi(list(given))
            return []
        refused = self._cluster.set_multi({made: data[key] for made, key in given.items()}, exptime)
        return [given[made] for made in refused]

    def delete_many(self, keys: Iterable[str], version: int | None = None) -> None:
        """Remove all."""
        self._cluster.delete_multi([self.make_and_validate_key(key, version) for key in keys])

    def incr(self, key: str, delta: int = 1, version: int | None = None) -> int:
        """Add, and return the new number, which is at least 0. Raises ValueError if there is none."""
        made = self.make_and_validate_key(key, version)
        number = self._cluster.decr(made, -delta) if delta < 0 else self._cluster.incr(made, delta)
        if not isinstance(number, int):
            raise ValueError(f"Key '{key}' not found")  # noqa: TRY004  # what Django's other backends raise
        return number

    def clear(self) -> None:
        """Remove all items of all nodes."""
        self._cluster.flush()
