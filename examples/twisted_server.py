"""A server on Twisted: ``python -m examples.twisted_server --port 11211``.

A client that does not read its answers stops its own requests only, and what it makes the server hold is bounded.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import react
from twisted.internet.tcp import Server
from twisted.python.failure import Failure
from zope.interface import implementer

from memproto import Envelope, RemoteProtocolError, ServerConnection, ServerState
from memproto.engine import Engine

STARTED = time.time() - time.monotonic()  # Unix time that does not jump when the system's clock is set


@implementer(IPushProducer, IHalfCloseableProtocol)
class CacheProtocol(Protocol):
    """One client. It produces answers as long as the transport has room for them."""

    factory: CacheFactory
    transport: Server  # type: ignore[assignment]  # type checkers cannot read the interface ITCPTransport

    def connectionMade(self) -> None:
        self.factory.clients += 1
        self.connection, self.pieces = ServerConnection(), self.answers()
        self.timer = self.transport.reactor.callLater(self.factory.idle, self.transport.abortConnection)
        self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, True)  # pyright: ignore[reportArgumentType]  # it knows no implementer
        if self.factory.clients > self.factory.connections:
            self.stopProducing()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.clients -= 1
        if self.timer.active():
            self.timer.cancel()

    def dataReceived(self, data: bytes) -> None:
        self.connection.receive_data(data) if data else self.connection.receive_eof()
        self.resumeProducing()

    def readConnectionLost(self) -> None:
        self.dataReceived(b"")  # the client sends nothing more, and may still wait for answers

    def pauseProducing(self) -> None:
        self.transport.pauseProducing()  # read no requests whose answers nobody takes

    def resumeProducing(self) -> None:
        self.timer.reset(self.factory.idle)
        self.transport.resumeProducing()
        while not self.transport.producerPaused and (piece := next(self.pieces)) is not None:
            self.transport.write(piece)
        if not self.transport.producerPaused and self.connection.state is not ServerState.OPEN:
            self.stopProducing()

    def stopProducing(self) -> None:
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def answers(self) -> Iterator[bytes | None]:
        """Execute the requests that are complete; yield the answers in pieces, and ``None`` when there are no more."""
        while True:
            try:
                while isinstance(event := self.connection.next_event(), Envelope):
                    reply = self.factory.engine.execute(event.request, STARTED + time.monotonic())
                    yield from self.connection.send_parts(reply, to=event)
            except RemoteProtocolError as error:
                yield error.reply_hint
            yield None


class CacheFactory(Factory):
    """The engine, how many clients share it, how many may, and for how many seconds one may neither send nor read."""

    protocol, engine, clients, connections, idle = CacheProtocol, Engine(), 0, 1024, 600  # type: ignore[assignment]


def main(reactor: PosixReactorBase, port: int) -> Deferred[None]:
    """Serve until a signal stops the process."""
    listener = reactor.listenTCP(port, CacheFactory(), interface="127.0.0.1").getHost()
    print(f"listening on {listener.host}:{listener.port}", file=sys.stderr, flush=True)
    return Deferred()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="examples.twisted_server")
    parser.add_argument("--port", default=11211, type=int, help="0 is a free one")
    react(main, [parser.parse_args().port])
