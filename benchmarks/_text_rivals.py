"""What the text dialects are measured against: the clients pymemcache and aiomcache, fed from memory.

Both speak classic text only. Where one is not installed it is left out.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
from collections.abc import Callable, Coroutine, Sequence

from benchmarks._timing import Timer, repeated


def installed(name: str) -> bool:
    """Whether this rival is here."""
    return importlib.util.find_spec(name) is not None


class _Socket:
    """Gives the same bytes again and again, and takes all."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def recv(self, size: int) -> bytes:
        data, at = self._data, self._at
        self._at = (at + size) if at + size < len(data) else 0
        return data[at : at + size]

    def sendall(self, data: bytes) -> None:
        pass


def pymemcache_sets(key: bytes, value: bytes, exptime: int, flags: int, reply: bytes | None) -> Timer:
    """A whole ``set``; without a reply it is sent with ``noreply``, so that what remains is encoding."""
    client = importlib.import_module("pymemcache.client.base").Client("127.0.0.1")
    client.sock = _Socket(reply or b"")
    noreply = reply is None
    return repeated(lambda: client.set(key, value, exptime, noreply, flags))


def pymemcache_gets(keys: Sequence[bytes], reply: bytes) -> Timer:
    """A whole ``gets`` of one key, or ``gets_many`` of several."""
    client = importlib.import_module("pymemcache.client.base").Client("127.0.0.1")
    client.sock = _Socket(reply)
    if len(keys) == 1:
        return repeated(lambda: client.gets(keys[0]))
    return repeated(lambda: client.gets_many(keys))


class _Writer:
    def write(self, data: bytes) -> None:
        pass

    async def drain(self) -> None:
        pass


def _aiomcache(reply: bytes) -> tuple[object, Callable[[], None]]:
    """A client whose one connection is in memory, and what feeds it the reply once more."""
    client = importlib.import_module("aiomcache").Client("127.0.0.1", pool_size=1)
    reader = asyncio.StreamReader(loop=asyncio.new_event_loop())
    client._pool._pool.put_nowait(importlib.import_module("aiomcache.pool").Connection(reader, _Writer()))
    return client, lambda: reader.feed_data(reply)


def _finish(call: Coroutine[object, None, object]) -> object:
    """Run a call that never has to wait, without a loop."""
    try:
        call.send(None)
    except StopIteration as done:
        return done.value
    raise RuntimeError("the reply was not enough")


def aiomcache_call(method: str, arguments: Sequence[object], reply: bytes) -> Timer:
    """A whole call of this method."""
    client, feed = _aiomcache(reply)
    function = getattr(client, method)

    def run() -> object:
        feed()
        return _finish(function(*arguments))

    return repeated(run)
