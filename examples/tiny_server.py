"""The smallest server that speaks the whole protocol: a thread per connection, blocking sockets.

    python -m examples.tiny_server [PORT]

The lock is held while the engine works, never while bytes are sent.
"""

from __future__ import annotations

import socketserver
import sys
import threading
import time

from memproto import ConnectionClosed, RemoteProtocolError, ServerConnection, Signal
from memproto.engine import Engine


class Handler(socketserver.BaseRequestHandler):
    """One connection."""

    server: TinyServer

    def handle(self) -> None:
        """Read, answer everything that is complete, write once; until the conversation is over."""
        connection, open_ = ServerConnection(), True
        while open_:
            data = self.request.recv(65536)
            if data:
                connection.receive_data(data)
            else:
                connection.receive_eof()
            out = []
            try:
                while not isinstance(event := connection.next_event(), Signal):
                    if isinstance(event, ConnectionClosed):
                        open_ = False
                        break
                    with self.server.lock:
                        reply = self.server.engine.execute(event.request, time.time())
                    out.append(connection.send(reply, to=event))
            except RemoteProtocolError as error:
                out.append(error.last_words)
                open_ = False
            self.request.sendall(b"".join(out))


class TinyServer(socketserver.ThreadingTCPServer):
    """The engine, and the lock that threads share it with."""

    allow_reuse_address = daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.engine, self.lock = Engine(), threading.Lock()


if __name__ == "__main__":
    with TinyServer(int(sys.argv[1]) if len(sys.argv) > 1 else 11211) as server:
        server.serve_forever()
