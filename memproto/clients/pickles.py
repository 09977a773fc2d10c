"""Values as Python's clients pickle them: what ``memproto.conventions.serde`` refuses to do.

    Client("127.0.0.1", 11211, values=pickling("pymemcache"))  # or "python-binary-memcached", or "pylibmc"

**Whoever can write to the cache can run any code in a program that reads it so.** A memcached without SASL or TLS does
not ask who its clients are. So no name in ``values`` means pickles, and a program must import this: use it to share a
cache with programs that pickle already, on a network that you trust, and prefer ``values="json"`` for all else.
"""

from __future__ import annotations

import pickle

from memproto.commands import Serde
from memproto.conventions import LIMIT, Objects, serde


def pickling(
    client: str, *, protocol: int | None = None, compress_over: int | None = None, limit: int = LIMIT
) -> Serde[object]:
    """Return the serde of a client that pickles: ``python-binary-memcached``, ``pymemcache`` or ``pylibmc``.

    It is that of :func:`memproto.conventions.serde`, with pickles for all values that have no other form. Whoever can
    write to the cache can run any code in a program that reads its values so.

    ``protocol`` is that of ``pickle``, its default without it. Values over ``compress_over`` bytes are compressed as
    the client does. ``limit`` is the most bytes that a value may have when it is decompressed. Raises ValueError for
    another ``client``. A value that cannot be pickled or read raises :class:`~memproto.conventions.ConventionError`.
    """

    def dump(value: object) -> bytes:
        try:
            return pickle.dumps(value, protocol)
        except Exception as error:  # whatever the value's own methods raise
            raise ValueError(f"it is not pickled: {error}") from error

    if client not in ("python-binary-memcached", "pymemcache", "pylibmc"):
        raise ValueError(f"client is {client!r}, must be python-binary-memcached, pymemcache or pylibmc")
    return serde(client, objects=Objects(dump, _load), compress_over=compress_over, limit=limit)


def _load(data: bytes) -> object:
    try:
        value: object = pickle.loads(data)  # noqa: S301 - what this module is there for
    except Exception as error:
        raise ValueError(f"it is no pickle: {error}") from error
    return value
