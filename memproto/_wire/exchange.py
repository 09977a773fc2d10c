"""The interface between a client connection and the client's half of a dialect: exchanges and readers of replies."""

from __future__ import annotations

from typing import Final, Generic, TypeVar

from memproto._wire.buffer import ReceiveBuffer
from memproto.limits import Limits
from memproto.model import AnyReply, Failure, Item, Request, Silence, StatsReply, Status, Values

#: Serial numbers of requests come round after so many.
OPAQUES: Final = 1 << 32

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class ReplyReader:
    """Reads the replies to one kind of request, or to one request, in their regular form.

    Where one object serves all requests of a kind, whatever differs is in the exchange.
    """

    __slots__ = ()

    def read(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        """Read the reply if it is complete, in ``buffer.data``, and of the regular form; ``None`` otherwise.

        It never waits and never raises. Unless it returns the reply it consumes nothing, except that a reader of many
        items may consume items that are complete. ``None`` leads to :meth:`ClientDialect.read_irregular`.
        """
        return None


class Exchange(Generic[R_co]):
    """A request that was sent, and the place of its reply. Made by :meth:`ClientConnection.send`."""

    __slots__ = ("_abandoned", "_expected", "_opaque", "_reader", "_reply", "parts", "quiet", "request")

    def __init__(
        self,
        request: Request[R_co],
        parts: tuple[bytes, ...],
        quiet: bool,
        reader: ReplyReader,
        opaque: int = 0,
        expected: bytes = b"",
    ) -> None:
        #: What was asked.
        self.request: Request[R_co] = request
        #: The bytes to write, in pieces; a large value is a piece of its own and not copied.
        self.parts: tuple[bytes, ...] = parts
        #: Whether silence is an answer.
        self.quiet: bool = quiet
        # For the dialect: what reads the reply, the (first) opaque, and bytes that stand in a regular reply.
        self._reader: ReplyReader = reader
        self._opaque: int = opaque
        self._expected: bytes = expected
        self._reply: object = None
        self._abandoned = False

    @property
    def data(self) -> bytes:
        """The bytes to write."""
        return b"".join(self.parts)

    @property
    def reply(self) -> R_co | Failure | None:
        """The reply, ``None`` until ``next_event()`` has delivered it."""
        # What reads it was made for this request, so that the reply is of the request's type.
        return self._reply  # type: ignore[return-value]

    def __repr__(self) -> str:
        return f"Exchange({self.request!r}, reply={self._reply!r})"


def too_large(what: str) -> Failure:
    """The failure of a request whose reply was skipped; ``what`` names the part, its size and the limit."""
    return Failure(Status.REPLY_TOO_LARGE, what.encode())


class Gathered:
    """What several answers to one get come to: their items, up to ``limits.answer`` bytes, or the first failure.

    After a failure nothing more is kept, and ``size`` is over the limit.
    """

    __slots__ = ("items", "limits", "refusal", "size")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.items: list[Item] = []
        self.size = 0
        self.refusal: Failure | None = None

    def has_room(self, size: int) -> bool:
        """Whether a value of ``size`` bytes is still within the limits; if it is not, the whole has failed."""
        if self.refusal is not None:
            return False
        total, limits = self.size + size, self.limits
        if size > limits.value:
            self.refuse(too_large(f"value is {size} bytes, limit is {limits.value}"))
        elif total > limits.answer:
            self.refuse(too_large(f"values are {total} bytes and more, limit is {limits.answer}"))
        return self.refusal is None

    def refuse(self, failure: Failure) -> None:
        """The whole has failed; the first failure is its answer."""
        if self.refusal is None:
            self.refusal = failure
            self.items.clear()
            self.size = self.limits.answer + 1

    def add(self, reply: AnyReply | Silence) -> None:
        """Take one of the answers."""
        if isinstance(reply, Failure):
            self.refuse(reply)
        else:
            assert isinstance(reply, Values)
            for item in reply.items:
                if self.has_room(len(item.value)):
                    self.items.append(item)
                    self.size += len(item.value)

    def reply(self) -> Values | Failure:
        """The answer to the whole."""
        return self.refusal or Values(tuple(self.items))


class GatheredStatistics:
    """What several statistics come to: their names and values, or a failure if they are over the limits.

    After a failure nothing more is kept.
    """

    __slots__ = ("limits", "refusal", "size", "stats")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.stats: list[tuple[bytes, bytes]] = []
        self.size = 0
        self.refusal: Failure | None = None

    def add(self, name: bytes, value: bytes, size: int) -> None:
        """Take one of ``size`` bytes."""
        if self.refusal is not None:
            return
        self.stats.append((name, value))
        self.size += size
        if len(self.stats) > self.limits.stats:
            self.refuse(too_large(f"statistics are {len(self.stats)} and more, limit is {self.limits.stats}"))
        elif self.size > self.limits.answer:
            self.refuse(too_large(f"statistics are {self.size} bytes and more, limit is {self.limits.answer}"))

    def refuse(self, failure: Failure) -> None:
        """The whole has failed; the first failure is its answer."""
        if self.refusal is None:
            self.refusal = failure
            self.stats.clear()

    def reply(self) -> StatsReply | Failure:
        """The answer to the whole."""
        return self.refusal or StatsReply(tuple(self.stats))
