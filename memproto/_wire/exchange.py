"""The interface between a client connection and the client's half of a dialect: exchanges and readers of replies."""

from __future__ import annotations

from typing import Final, Generic, TypeVar

from memproto._wire.buffer import ReceiveBuffer
from memproto.limits import Limits
from memproto.model import AnyReply, Failure, Request

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

    __slots__ = ("_abandoned", "_opaque", "_reader", "_reply", "parts", "quiet", "request")

    def __init__(
        self,
        request: Request[R_co],
        parts: tuple[bytes, ...],
        quiet: bool,
        reader: ReplyReader,
        opaque: int = 0,
    ) -> None:
        #: What was asked.
        self.request: Request[R_co] = request
        #: The bytes to write, in pieces; a large value is a piece of its own and not copied.
        self.parts: tuple[bytes, ...] = parts
        #: Whether silence is an answer.
        self.quiet: bool = quiet
        # For the dialect: what reads the reply, and the (first) opaque.
        self._reader: ReplyReader = reader
        self._opaque: int = opaque
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
