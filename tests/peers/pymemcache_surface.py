"""The surface of pymemcache 4 on the clients of memproto, to run pymemcache's own tests of its clients on them.

As a plugin of pytest (``-p tests.peers.pymemcache_surface``) it takes the place of pymemcache's clients. Differences,
and why they are:

- ``noreply`` is accepted, and the call waits for the reply even so: a client that leaves replies out cannot tell an
  error from the reply to the next request.
- There is no ``cache_memlimit``, ``shutdown`` or ``raw_command``: they are for operators, not for a cache client.
- A serde is called without the key, which a pair of functions for values does not need.
- ``socket_module`` is ignored. memproto's streams need no module of sockets that can be replaced.
- pymemcache's ``test_client.py`` is not run: it compares bytes on a socket of its own with the requests that
  pymemcache would send, and memproto sends others with the same meaning (``gets`` where that sends ``get``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pymemcache.client.base
import pymemcache.client.hash
from pymemcache.exceptions import (
    MemcacheClientError,
    MemcacheIllegalInputError,
    MemcacheServerError,
    MemcacheUnexpectedCloseError,
)
from pymemcache.serde import LegacyWrappingSerde

from memproto import Dialect, Limits, LocalProtocolError, RemoteProtocolError, Status
from memproto.clients import Client, Cluster, ServerError
from memproto.commands import Serde

_CLIENT_ERRORS = frozenset({Status.INVALID_ARGUMENTS, Status.DELTA_BAD_VALUE})
_LIMITS = Limits(value=2**26)


@contextmanager
def _errors() -> Iterator[None]:
    """Raise the errors of pymemcache for those of memproto."""
    try:
        yield
    except LocalProtocolError as error:
        raise MemcacheIllegalInputError(str(error)) from error
    except ServerError as error:
        kind = MemcacheClientError if error.failure.status in _CLIENT_ERRORS else MemcacheServerError
        raise kind(str(error)) from error
    except RemoteProtocolError as error:
        raise MemcacheUnexpectedCloseError(str(error)) from error


class Surface:
    """pymemcache's ``Client``."""

    def __init__(
        self,
        server: Any,
        serde: Any = None,
        timeout: float | None = None,
        key_prefix: bytes = b"",
        encoding: str = "ascii",
        allow_unicode_keys: bool = False,
        **options: object,
    ) -> None:
        self._serde, self._encoding = serde or LegacyWrappingSerde(None, None), encoding
        self.client: Any = self._make(
            server,
            values=Serde[object](self._dump, self._load),
            timeout=timeout,
            prefix=key_prefix,
            encoding="utf-8" if allow_unicode_keys else "ascii",
            dialect=Dialect.CLASSIC,
            limits=_LIMITS,
        )

    def _make(self, server: Any, **options: Any) -> Any:
        return Client(*server, **options)

    def _dump(self, value: object) -> tuple[bytes, int]:
        data, flags = self._serde.serialize(b"", value)
        if isinstance(data, bytes):
            return data, flags
        try:
            return str(data).encode(self._encoding), flags
        except UnicodeEncodeError as error:
            raise MemcacheIllegalInputError(str(error)) from error

    def _load(self, data: bytes, flags: int) -> object:
        value: object = self._serde.deserialize(b"", data, flags)
        return value

    def _call(self, method: Callable[..., Any], *arguments: object) -> Any:
        with _errors():
            return method(*arguments)

    def get(self, key: Any, default: object = None) -> Any:
        return self._call(self.client.get, key, default)

    def get_many(self, keys: Iterable[Any]) -> Any:
        return self._call(self.client.get_multi, keys)

    def gets(self, key: Any, default: object = None, cas_default: object = None) -> Any:
        item = self._call(self.client.gets, key)
        return (default, cas_default) if item is None else (self._load(item.value, item.flags), b"%d" % item.cas)

    def set(self, key: Any, value: object, expire: int = 0, noreply: object = None) -> Any:
        return self._call(self.client.set, key, value, expire)

    def set_many(self, values: Mapping[Any, object], expire: int = 0, noreply: object = None) -> Any:
        return self._call(self.client.set_multi, values, expire)

    def add(self, key: Any, value: object, expire: int = 0, noreply: object = None) -> Any:
        return self._call(self.client.add, key, value, expire)

    def replace(self, key: Any, value: object, expire: int = 0, noreply: object = None) -> Any:
        return self._call(self.client.replace, key, value, expire)

    def append(self, key: Any, value: bytes, expire: int = 0, noreply: object = None) -> Any:
        return self._call(self.client.append, key, value)

    def prepend(self, key: Any, value: bytes, expire: int = 0, noreply: object = None) -> Any:
        return self._call(self.client.prepend, key, value)

    def cas(self, key: Any, value: object, cas: Any, expire: int = 0, noreply: object = None) -> Any:
        return self._call(self.client.cas, key, value, int(cas), expire)

    def delete(self, key: Any, noreply: object = None) -> Any:
        return self._call(self.client.delete, key)

    def incr(self, key: Any, value: int, noreply: object = None) -> Any:
        return self._call(self.client.incr, key, value)

    def decr(self, key: Any, value: int, noreply: object = None) -> Any:
        return self._call(self.client.decr, key, value)

    def touch(self, key: Any, expire: int = 0, noreply: object = None) -> Any:
        return self._call(self.client.touch, key, expire)

    def stats(self, *arguments: str) -> Any:
        return self._call(self.client.stats, " ".join(arguments).encode())

    def flush_all(self, delay: int = 0, noreply: object = None) -> Any:
        return self._call(self.client.flush, delay or None)

    def __del__(self) -> None:
        self.client.close()


class PooledSurface(Surface):
    """pymemcache's ``PooledClient``."""

    def _make(self, server: Any, **options: Any) -> Any:
        return Client(*server, pool=4, **options)


class HashSurface(Surface):
    """pymemcache's ``HashClient``."""

    def _make(self, server: Any, **options: Any) -> Any:
        return Cluster(server, dead="raise", **options)


pymemcache.client.base.Client = Surface
pymemcache.client.base.PooledClient = PooledSurface
pymemcache.client.hash.HashClient = HashSurface
