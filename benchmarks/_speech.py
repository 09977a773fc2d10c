"""The same loads in each dialect, as bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from benchmarks import _wire as wire
from memproto import Dialect

_SIZE = len(wire.VALUE)


class Speech(NamedTuple):
    """A SET with flags and expiry, a GET, and their answers; a hit carries flags, and in binary a CAS."""

    set_request: Callable[[bytes], bytes]
    set_reply: bytes
    get_request: Callable[[bytes], bytes]
    get_reply: Callable[[bytes], bytes]
    #: Where a hit has the CAS, which the server chooses.
    cas: slice = slice(0, 0)


def _set_request(key: bytes) -> bytes:
    return b"set %b %d %d %d\r\n%b\r\n" % (key, wire.FLAGS, wire.EXPTIME, _SIZE, wire.VALUE)


def _get_reply(key: bytes) -> bytes:
    return b"VALUE %b %d %d\r\n%b\r\nEND\r\n" % (key, wire.FLAGS, _SIZE, wire.VALUE)


def _ms_request(key: bytes) -> bytes:
    return b"ms %b %d F%d T%d\r\n%b\r\n" % (key, _SIZE, wire.FLAGS, wire.EXPTIME, wire.VALUE)


def _mg_reply(key: bytes) -> bytes:
    # Without a CAS, whose digits would grow with every store.
    return b"VA %d f%d k%b\r\n%b\r\n" % (_SIZE, wire.FLAGS, key, wire.VALUE)


SPEECHES = {
    Dialect.BINARY: Speech(
        wire.set_request, wire.SET_REPLY, wire.get_request, lambda _key: wire.GET_REPLY, slice(16, 24)
    ),
    Dialect.CLASSIC: Speech(_set_request, b"STORED\r\n", lambda key: b"get %b\r\n" % key, _get_reply),
    Dialect.META: Speech(_ms_request, b"HD\r\n", lambda key: b"mg %b v f k\r\n" % key, _mg_reply),
}
