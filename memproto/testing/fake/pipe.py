"""A client and a fake joined in memory: every byte is delivered when the test says so, and time passes likewise."""

from __future__ import annotations

from typing import TypeVar

from memproto import ClientConnection, ClientEvent, ConnectionClosed, Exchange, Request, Signal
from memproto.testing.fake.conversation import Conversation
from memproto.testing.pipe import Pipe, take

R = TypeVar("R")


class FakePipe(Pipe):
    """A :class:`Pipe` whose server is a fake: it answers what is delivered to it, with the faults of its rules.

    Made by :meth:`FakeMemcached.pipe`. No thread and no real time is involved: a delayed reply is on its way to the
    client once :meth:`FakeMemcached.advance` has let its time pass.
    """

    def __init__(self, conversation: Conversation, client: ClientConnection | None = None) -> None:
        super().__init__(client, conversation.connection)
        self._conversation = conversation

    @property
    def to_client(self) -> int:
        """How many bytes are on their way to the client, those that are delayed not among them."""
        self._collect()
        return super().to_client

    @property
    def closed(self) -> bool:
        """Whether the fake has closed the connection; bytes may still be on their way to the client."""
        self._collect()
        return self._conversation.finished

    def deliver_to_server(self, size: int | None = None) -> int:
        """Hand the fake the next ``size`` bytes, or all that are there; how many it was. It answers them."""
        data = take(self._to_server, size)
        if data:
            self._conversation.receive(data)
        return len(data)

    def deliver_to_client(self, size: int | None = None) -> int:
        """Hand the client the next ``size`` bytes, or all that are there; how many it was."""
        self._collect()
        return super().deliver_to_client(size)

    def close_to_server(self) -> None:
        """The client closes its end: what is on its way arrives, then the end of the stream."""
        self.deliver_to_server()
        self._conversation.receive(b"")

    def send(self, request: Request[R]) -> Exchange[R]:
        """Let the client send a request; nothing is delivered yet. Raises what ``client.send`` raises."""
        exchange = self.client.send(request)
        self.write_to_server(exchange.data)
        return exchange

    def run(self) -> list[ClientEvent]:
        """Deliver everything that is on its way, in both directions; the events of the client.

        Raises :class:`~memproto.RemoteProtocolError` when the client does.
        """
        self.deliver_to_server()
        while self.deliver_to_client():
            pass
        if self.closed:
            self.client.receive_eof()
        events: list[ClientEvent] = []
        while not isinstance(event := self.client.next_event(), Signal):
            events.append(event)
            if isinstance(event, ConnectionClosed):
                break
        return events

    def _collect(self) -> None:
        self._conversation.run()
        while data := self._conversation.take():
            self._to_client += data
            self._conversation.run()
