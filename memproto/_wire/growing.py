"""Replies that arrive in several parts, and stay within the limits of the client."""

from __future__ import annotations

from memproto.limits import Limits
from memproto.model import AnyReply, Failure, Item, Silence, StatsReply, Status, Values


def too_large(what: str) -> Failure:
    """The failure of a request whose reply was skipped; ``what`` names the part, its size and the limit."""
    return Failure(Status.REPLY_TOO_LARGE, what.encode())


class GrowingReply:
    """What all replies in parts have: their size in bytes, and the first failure, which is then the whole reply.

    After a failure nothing more is kept, and ``size`` is over the limit.
    """

    __slots__ = ("failure", "limits", "size")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.size = 0
        self.failure: Failure | None = None

    def fail(self, failure: Failure) -> None:
        """Let the whole reply be this failure, unless there is one already."""
        if self.failure is None:
            self.failure = failure
            self.size = self.limits.answer + 1
            self.clear()

    def clear(self) -> None:
        """Drop the parts."""


class GrowingItems(GrowingReply):
    """The items of a get, up to ``limits.answer`` bytes of values."""

    __slots__ = ("items",)

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.items: list[Item] = []

    def clear(self) -> None:
        self.items.clear()

    def has_room(self, size: int) -> bool:
        """Whether a value of ``size`` bytes is within the limits; if it is not, the whole reply fails."""
        if self.failure is not None:
            return False
        total, limits = self.size + size, self.limits
        if size > limits.value:
            self.fail(too_large(f"value is {size} bytes, limit is {limits.value}"))
        elif total > limits.answer:
            self.fail(too_large(f"values are {total} bytes and more, limit is {limits.answer}"))
        return self.failure is None

    def add(self, reply: AnyReply | Silence) -> None:
        """Add the reply to a part of the keys."""
        if isinstance(reply, Failure):
            self.fail(reply)
        else:
            assert isinstance(reply, Values)
            for item in reply.items:
                if self.has_room(len(item.value)):
                    self.items.append(item)
                    self.size += len(item.value)

    def reply(self) -> Values | Failure:
        """The whole reply."""
        return self.failure or Values(tuple(self.items))


class GrowingStatistics(GrowingReply):
    """Statistics, up to ``limits.stats`` of them and ``limits.answer`` bytes."""

    __slots__ = ("stats",)

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.stats: list[tuple[bytes, bytes]] = []

    def clear(self) -> None:
        self.stats.clear()

    def add(self, name: bytes, value: bytes, size: int) -> None:
        """Add a statistic of ``size`` bytes."""
        if self.failure is not None:
            return
        self.stats.append((name, value))
        self.size += size
        if len(self.stats) > self.limits.stats:
            self.fail(too_large(f"statistics are {len(self.stats)} and more, limit is {self.limits.stats}"))
        elif self.size > self.limits.answer:
            self.fail(too_large(f"statistics are {self.size} bytes and more, limit is {self.limits.answer}"))

    def reply(self) -> StatsReply | Failure:
        """The whole reply."""
        return self.failure or StatsReply(tuple(self.stats))
