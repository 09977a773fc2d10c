"""The smallest client that speaks the whole protocol: one blocking socket, one request at a time.

python -m examples.tiny_client [PORT]
"""

from __future__ import annotations

import socket
import sys
from typing import TypeVar

from memproto import ClientConnection, ConnectionClosed, Failure, Get, Increment, Request, Set, Signal, Version

R = TypeVar("R")


class TinyClient:
    """Ask any request; get the reply of its type, or a Failure."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self._connection = ClientConnection()

    def ask(self, request: Request[R]) -> R | Failure:
        """Send one request and wait for its reply."""
        exchange = self._connection.send(request)
        self._socket.sendall(exchange.data)
        while exchange.reply is None:
            event = self._connection.next_event()
            if event is Signal.NEED_DATA:
                data = self._socket.recv(65536)
                if data:
                    self._connection.receive_data(data)
                else:
                    self._connection.receive_eof()
            elif isinstance(event, ConnectionClosed):
                raise ConnectionError("the server closed the connection")
        return exchange.reply

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


if __name__ == "__main__":
    client = TinyClient(int(sys.argv[1]) if len(sys.argv) > 1 else 11211)
    print(client.ask(Version()))
    print(client.ask(Set(b"greeting", b"hello", flags=7)))
    print(client.ask(Get((b"greeting", b"nothing"))))
    print(client.ask(Increment(b"visits", 1, initial=1, exptime=0)))
    client.close()
