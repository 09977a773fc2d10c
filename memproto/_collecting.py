"""What a client connection and the client's half of a dialect say to each other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from memproto._buffer import ReceiveBuffer
from memproto.errors import RemoteProtocolError
from memproto.limits import Limits
from memproto.messages import AnyReply, Failure, Item, Packet, Request, Silence, Values


class Asked(NamedTuple):
    """A request laid out: its bytes in pieces, whether silence may answer it, and what collects its reply."""

    parts: tuple[bytes, ...]
    quiet: bool
    collector: object


class Advance(NamedTuple):
    """A piece of a reply was read: so many quiet requests before got their silence, and the reply if it is complete."""

    silent: int
    reply: AnyReply | Silence | None


class LineCollector:
    """What reads the reply to one text request from the head of the stream; keeps what came so far between calls."""

    __slots__ = ()

    def take(self, buffer: ReceiveBuffer) -> AnyReply | Silence | None:
        """The reply, ``None`` for "more bytes are needed". Raises RemoteProtocolError."""
        raise NotImplementedError


class Gathered:
    """What several answers to one get come to: their items, up to ``limits.answer`` bytes, or the first failure."""

    __slots__ = ("items", "limits", "refusal", "size")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.items: list[Item] = []
        self.size = 0
        self.refusal: Failure | None = None

    def add(self, reply: AnyReply | Silence) -> None:
        """Take one of the answers. Raises RemoteProtocolError if the values are too many bytes."""
        if isinstance(reply, Values):
            self.items += reply.items
            self.size += sum(len(item.value) for item in reply.items)
            if self.size > self.limits.answer:
                raise RemoteProtocolError(f"values are {self.size} bytes and more, limit is {self.limits.answer}")
        elif isinstance(reply, Failure) and self.refusal is None:
            self.refusal = reply

    def reply(self) -> Values | Failure:
        """The answer to the whole."""
        return self.refusal or Values(tuple(self.items))


class PacketCollector:
    """What turns the packets for one binary request into its reply; ``opaque`` is that of the first."""

    __slots__ = ("opaque",)

    opaque: int

    def covers(self, opaque: int) -> bool:
        """Whether a packet with this opaque is for this request."""
        raise NotImplementedError

    def take(self, packet: Packet) -> AnyReply | None:
        """Use a packet; the reply if it is complete now. Raises RemoteProtocolError."""
        raise NotImplementedError


class Waiting(Protocol):
    """An exchange that waits for its reply."""

    @property
    def quiet(self) -> bool:
        """Whether silence may answer it."""

    @property
    def request(self) -> Request[object]:
        """What was asked."""

    @property
    def collector(self) -> object:
        """What the dialect made to collect its reply."""


class ClientDialect(Protocol):
    """The client's half of a dialect."""

    def ask(self, request: Request[object], quiet: bool = False) -> Asked:
        """Lay out a request. Raises LocalProtocolError."""

    def advance(self, buffer: ReceiveBuffer, waiting: Iterable[Waiting]) -> Advance | None:
        """Read on, up to the end of a reply; ``None`` for "more bytes are needed". Raises RemoteProtocolError."""
