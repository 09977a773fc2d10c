"""``stats detail``: gets, hits, stores and deletes by the prefix of their keys."""

from __future__ import annotations

from memproto import Add, AnyReply, AnyRequest, Append, Delete, Get, Prepend, Replace, Set, Stats, StatsReply, Values

_END = b"END\r\n"
_STORES = (Set, Add, Replace, Append, Prepend)
#: How many prefixes are counted, because clients choose them. memcached has no limit.
MAX_PREFIXES = 10_000


class PrefixCounts:
    """Counts by prefix, which ends before the first ``delimiter`` of a key; keys without one are not counted."""

    def __init__(self, delimiter: bytes = b":") -> None:
        self._delimiter = delimiter
        #: Whether requests are counted.
        self.on: bool = False
        # Gets, hits, stores, deletes.
        self._counts: dict[bytes, list[int]] = {}

    def record(self, request: AnyRequest, reply: AnyReply) -> None:
        """Count a request and its reply."""
        if isinstance(request, Get):
            found = {item.key for item in reply.items} if isinstance(reply, Values) else set()
            for key in request.keys:
                counts = self._counts_of(key)
                counts[0] += 1
                counts[1] += key in found
        elif isinstance(request, _STORES):
            self._counts_of(request.key)[2] += 1
        elif isinstance(request, Delete):
            self._counts_of(request.key)[3] += 1

    def _counts_of(self, key: bytes) -> list[int]:
        prefix, delimiter, _ = key.partition(self._delimiter)
        counts = self._counts.get(prefix)
        if counts is None or not delimiter:
            counts = [0, 0, 0, 0]
            if delimiter and len(self._counts) < MAX_PREFIXES:
                self._counts[prefix] = counts
        return counts

    def answer(self, request: Stats) -> AnyReply | None:
        """The reply to a ``stats detail`` command; ``None`` for any other group."""
        match request.group:
            case b"detail on" | b"detail off":
                self.on = request.group == b"detail on"
                return StatsReply()
            case b"detail dump":
                lines = [
                    b"PREFIX %b get %d hit %d set %d del %d\r\n" % (prefix, gets, hits, stores, deletes)
                    for prefix, (gets, hits, stores, deletes) in self._counts.items()
                ]
                return StatsReply(((b"detailed", b"".join(lines) + _END),))
        return None

    def reset(self) -> None:
        """Set all counts to 0."""
        self._counts.clear()
