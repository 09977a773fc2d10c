"""A server connection fed with bytes, and all that there is to see of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from memproto import AnyReply, AnyRequest, ConnectionClosed, Envelope, RemoteProtocolError, ServerConnection, Signal

E = TypeVar("E", bound=Envelope)


@dataclass
class Served(Generic[E]):
    """What a server connection made of its input."""

    events: list[E] = field(default_factory=list)
    output: bytes = b""
    fault: str | None = None
    closed: bool = False

    @property
    def requests(self) -> list[AnyRequest]:
        return [event.request for event in self.events]


def feed(
    server: ServerConnection, pieces: Iterable[bytes], answer: Callable[[E], AnyReply], kind: type[E], *, eof: bool
) -> Served[E]:
    """Feed the pieces, answer each request at once, and collect all there is to see."""
    served: Served[E] = Served()
    for piece in pieces:
        server.receive_data(piece)
        _pull(server, served, answer, kind)
    if eof:
        server.receive_eof()
        _pull(server, served, answer, kind)
    return served


def _pull(server: ServerConnection, served: Served[E], answer: Callable[[E], AnyReply], kind: type[E]) -> None:
    while served.fault is None:
        try:
            event = server.next_event()
        except RemoteProtocolError as fault:
            served.fault = str(fault)
            served.closed = True
            served.output += fault.reply_hint
            return
        if isinstance(event, Signal):
            return
        if isinstance(event, ConnectionClosed):
            served.closed = True
            return
        assert isinstance(event, kind)
        served.events.append(event)
        served.output += server.send(answer(event), event)
