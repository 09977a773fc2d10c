"""What the values of a record mean to one client, by a convention. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from memproto import ObservedExchange, UnmatchedReply, Values
from memproto.capture.follower import Event
from memproto.conventions import Convention, ConventionError, read
from memproto.model import Add, Replace, Set

__all__ = ["ValueReader", "stored_values"]

# What one compressed value may expand to.
_LIMIT = 1 << 24


class ValueReader:
    """Reads values by one of the named conventions."""

    def __init__(self, convention: Convention) -> None:
        self._convention = convention

    def read(self, value: bytes, flags: int) -> object:
        """Return what a value means; a text in ``{"error": ...}`` if it cannot be read."""
        try:
            return read(value, flags, self._convention, limit=_LIMIT)
        except ConventionError as error:
            return {"error": str(error)}

    def values_of(self, event: Event) -> list[object]:
        """Return what the values of a request to store, or of the items of a reply, mean."""
        return [self.read(value, flags) for value, flags in stored_values(event)]


def stored_values(event: Event) -> Iterator[tuple[bytes, int]]:
    """Yield each value of an event with its flags."""
    if isinstance(event, ObservedExchange):
        request = event.envelope.request
        if isinstance(request, Set | Add | Replace):
            yield request.value, request.flags
    if isinstance(event, ObservedExchange | UnmatchedReply) and isinstance(event.reply, Values):
        for item in event.reply.items:
            yield item.value, item.flags
