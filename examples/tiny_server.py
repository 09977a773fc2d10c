"""The smallest server that speaks the whole protocol: a thread per connection, blocking sockets.

``python -m examples.tiny_server [PORT]``, for clients you trust: nothing bounds the memory that the answers to one
read take. The lock is held while the engine works, never while bytes are sent.
"""

from __future__ import annotations

import socketserver
import sys
import threading
import time
from contextlib import suppress

from memproto import ConnectionClosed, RemoteProtocolError, ServerConnection, Signal
from memproto.engine import Engine


class Handler(socketserver.BaseRequestHandler):
    """One connection."""

    server: TinyServer

    def handle(self) -> None:
        """Serve until the conversation is over; a client that vanishes ends it too."""
        connection = ServerConnection()
        with suppress(ConnectionError):
            while self.answer(connection, self.request.recv(65536)):
                pass

    def answer(self, connection: ServerConnection, data: bytes) -> bool:
        """Answer everything that is complete, and write once; whether to go on."""
        connection.receive_data(data) if data else connection.receive_eof()
        out, go_on = [], False
        try:
            while not isinstance(event := connection.next_event(), Signal | ConnectionClosed):
                with self.server.lock:
                    reply = self.server.engine.execute(event.request, self.server.started + time.monotonic())
                out.append(connection.send(reply, to=event))
            go_on = isinstance(event, Signal)
        except RemoteProtocolError as error:
            out.append(error.reply_hint)
        self.request.sendall(b"".join(out))
        return go_on


class TinyServer(socketserver.ThreadingTCPServer):
    """The engine, and the lock that threads share it with."""

    allow_reuse_address = daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.engine, self.lock = Engine(), threading.Lock()
        self.started = time.time() - time.monotonic()  # Unix time that no step of the wall clock reaches


if __name__ == "__main__":
    TinyServer(int(sys.argv[1]) if len(sys.argv) > 1 else 11211).serve_forever()
