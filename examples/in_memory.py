"""A memcached in one process, for tests: a client whose socket is a server connection with an engine behind it.

There are no sockets, threads or files, and the time is what the test says. The bytes are those that would
be on a wire, so that what cannot be said in a dialect cannot be said here either::

    fake = InMemory()
    fake.ask(Set(b"session", b"data", exptime=60))
    fake.cache.now += 61
    assert fake.ask(Get((b"session",))) == Values()
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from memproto import (
    AnyReply,
    AnyRequest,
    ClientConnection,
    Dialect,
    Envelope,
    Exchange,
    Failure,
    RemoteProtocolError,
    Request,
    ServerConnection,
    Signal,
    Silence,
)
from memproto.engine import Engine

R = TypeVar("R")


@dataclass
class Cache:
    """What several clients can share: the items, and the clock that the test moves, in Unix seconds."""

    engine: Engine = field(default_factory=Engine)
    now: float = 1_000_000_000.0


class InMemory:
    """A client and its server. Give another one the same ``cache`` and it is another client of that server."""

    def __init__(self, dialect: Dialect = Dialect.BINARY, cache: Cache | None = None) -> None:
        self.cache = cache or Cache()
        self._client = ClientConnection(dialect=dialect)
        self._server = ServerConnection()

    def ask(self, request: Request[R]) -> R | Failure:
        """The reply to a request.

        Raises :class:`~memproto.LocalProtocolError` for one that the dialect cannot say or after ``Quit``, and
        :class:`~memproto.RemoteProtocolError` if the server hangs up.
        """
        exchange = self._client.send(request)
        return self._settle(exchange, exchange.data)

    def ask_quietly(self, request: Request[R]) -> R | Silence | Failure:
        """The reply to a request in its quiet form: ``Silence`` for a miss of a get and the success of all else."""
        exchange = self._client.send_quiet(request)
        return self._settle(exchange, exchange.data + self._client.fence())

    def execute(self, request: AnyRequest) -> AnyReply:
        """What the server answers. Override it for one that is full, forgets, or is down."""
        return self.cache.engine.execute(request, self.cache.now)

    def _settle(self, exchange: Exchange[R], data: bytes) -> R | Failure:
        self._serve(data)
        while exchange.reply is None:
            # All that will ever come is there: the answer, or the end of the stream, which raises.
            self._client.next_event()
        return exchange.reply

    def _serve(self, data: bytes) -> None:
        """Carry bytes to the server and all its answers back."""
        client, server = self._client, self._server
        server.receive_data(data)
        try:
            while isinstance(event := server.next_event(), Envelope):
                client.receive_data(server.send(self.execute(event.request), to=event))
        except RemoteProtocolError as error:
            client.receive_data(error.reply_hint)
            client.receive_eof()
        else:
            if not isinstance(event, Signal):
                client.receive_eof()
