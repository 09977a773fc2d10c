"""The administrative commands, as far as a cache without slabs can carry them out."""

from __future__ import annotations

import re

from memproto.engine._cache import Cache
from memproto.engine._dump import Dump, cachedump, metadump
from memproto.engine._items import Items
from memproto.model import AdminCommand, AdminReply, AnyReply, Failure, Status

_OK = AdminReply()
_NOTHING = AdminReply((b"END",))
_ERROR = Failure(Status.UNKNOWN_COMMAND)
_BAD_FORMAT = Failure(Status.INVALID_ARGUMENTS)
_MEGABYTE = 1024 * 1024

#: memcached refuses to shrink below this many megabytes.
_LEAST_MEGABYTES = 8
#: And takes more than this for a number of bytes.
_MOST_MEGABYTES = 1_000_000_000

# What tunes or moves memory that is not divided here: agreed to, and without effect; and how memcached refuses wrong
# words. The first that fits the whole command counts; what fits none is an error.
_ANSWERS: tuple[tuple[re.Pattern[bytes], AnyReply], ...] = tuple(
    (re.compile(pattern, re.DOTALL), reply)
    for pattern, reply in (
        (rb"slabs automove (?:[0-2]|ratio [0-9.]+)", _OK),
        (rb"slabs automove (?:ratio(?: .*)?|[0-9]+)", _ERROR),
        (rb"slabs automove [^ ]+", _BAD_FORMAT),
        (rb"slabs reassign ([0-9]+) \1", AdminReply((b"SAME src and dst class are identical",))),
        # There is one class, so no two different ones.
        (rb"slabs reassign [0-9]+ [0-9]+", AdminReply((b"BADCLASS invalid src or dst class id",))),
        (rb"slabs reassign [^ ]+ [^ ]+", _BAD_FORMAT),
        (rb"lru mode (?:flat|segmented)", _OK),
        (rb"lru tune(?: [0-9.]+){4}", _OK),
        (rb"lru temp_ttl -?[0-9]+", _OK),
        (rb"lru_crawler (?:enable|disable|tocrawl [0-9]+|sleep (?:[0-9]{1,6}|1000000))", _OK),
        (rb"lru_crawler sleep [0-9]+", Failure(Status.INVALID_ARGUMENTS, b"sleep must be one second or less")),
        (rb"lru_crawler (?:tocrawl|sleep) [^ ]+", _BAD_FORMAT),
        (rb"lru_crawler crawl (?:all|[0-9]{1,2}(?:,[0-9]{1,2})*)", _OK),
        (rb"lru_crawler crawl [^ ]+", AdminReply((b"BADCLASS invalid class id",))),
        # Stopping the process is the embedder's to offer.
        (rb"shutdown(?: .*)?", Failure(Status.UNKNOWN_COMMAND, b": shutdown not enabled")),
    )
)

_METADUMP = re.compile(rb"lru_crawler metadump ([^ ]+)")
_CLASS_IDS = re.compile(rb"all|hash|[0-9]{1,2}(?:,[0-9]{1,2})*")

# memcached's classes are numbered below this.
_CLASSES = 64


def administer(cache: Cache, request: AdminCommand, now: float) -> AnyReply | Dump:
    """The reply to an administrative command, after its effect if it has one here."""
    words, items = request.words, cache.items
    if words[:1] == (b"cache_memlimit",):
        return _limit_memory(words, items)
    if words[:2] == (b"stats", b"cachedump"):
        return _cachedump(words, items)
    command = b" ".join(words)
    dump = _METADUMP.fullmatch(command)
    if dump is not None:
        return _metadump(dump[1], items)
    return next((reply for pattern, reply in _ANSWERS if pattern.fullmatch(command)), _ERROR)


def _limit_memory(words: tuple[bytes, ...], items: Items) -> AnyReply:
    # As with memcached a third word is not looked at.
    if not 2 <= len(words) <= 3 or not words[1].isdigit() or len(words[1]) > 10:
        return _ERROR
    megabytes = int(words[1])
    if megabytes < _LEAST_MEGABYTES:
        return AdminReply((b"MEMLIMIT_TOO_SMALL cannot set maxbytes to less than %dm" % _LEAST_MEGABYTES,))
    if megabytes > _MOST_MEGABYTES:
        return AdminReply((b"MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes",))
    items.resize(megabytes * _MEGABYTE)
    return _OK


def _cachedump(words: tuple[bytes, ...], items: Items) -> AnyReply | Dump:
    """``stats cachedump CLASS LIMIT``: all items are of class 1; a limit of 0 is none."""
    if len(words) < 4:
        return Failure(Status.INVALID_ARGUMENTS, b"bad command line")
    if not all(word.isdigit() and len(word) <= 10 for word in words[2:4]):
        return _BAD_FORMAT
    number, limit = int(words[2]), int(words[3])
    if number >= _CLASSES:
        return Failure(Status.INVALID_ARGUMENTS, b"Illegal slab id")
    return cachedump(items, limit) if number == 1 else _NOTHING


def _metadump(which: bytes, items: Items) -> AnyReply | Dump:
    """``lru_crawler metadump CLASSES``."""
    if not _CLASS_IDS.fullmatch(which):
        return AdminReply((b"BADCLASS invalid class id",))
    return metadump(items) if which in (b"all", b"hash") or b"1" in which.split(b",") else _NOTHING
