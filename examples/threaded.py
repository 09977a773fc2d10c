"""A server that can be left running, ``python -m examples.threaded``: a thread per connection, and all is bounded.

Answers are written as they are made: for one who does not read a block is held, and the values of one answer, which
are not copied. The lock is held while the engine works, never while bytes are sent.
"""

from __future__ import annotations

import argparse
import signal
import socket
import socketserver
import sys
import threading
import time
from contextlib import suppress
from typing import BinaryIO

from memproto import Envelope, RemoteProtocolError, ServerConnection, Signal
from memproto.engine import Engine

STARTED = time.time() - time.monotonic()  # Unix time that no step of the wall clock reaches
BLOCK, GRACE = 65536, 2.0  # bytes that are sent together; seconds that clients have to take their last answers


class Handler(socketserver.BaseRequestHandler):
    """One connection."""

    server: ThreadedServer

    def handle(self) -> None:
        """Serve until the conversation is over, or nothing comes or is taken in time."""
        connection, link = ServerConnection(), self.request
        link.settimeout(self.server.idle)
        with suppress(OSError), link.makefile("wb", BLOCK) as out:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if len(self.server.links) > self.server.connections:
                out.write(b"ERROR Too many open connections\r\n")
                return
            while self.answer(connection, out):
                data = link.recv(BLOCK)
                connection.receive_data(data) if data else connection.receive_eof()

    def answer(self, connection: ServerConnection, out: BinaryIO) -> bool:
        """Answer all that is complete; whether to go on."""
        try:
            while isinstance(event := connection.next_event(), Envelope):
                with self.server.lock:
                    reply = self.server.engine.execute(event.request, STARTED + time.monotonic())
                out.writelines(connection.send_parts(reply, to=event))
        except RemoteProtocolError as error:
            out.write(error.reply_hint)
            return False
        out.flush()
        return isinstance(event, Signal)


class ThreadedServer(socketserver.ThreadingTCPServer):
    """The engine, the lock that threads share it with, and the connections, which close with it."""

    allow_reuse_address, request_queue_size = True, 128

    def __init__(self, address: str = "127.0.0.1", port: int = 0, connections: int = 1024, idle: float = 600) -> None:
        self.engine, self.lock, self.connections, self.idle = Engine(), threading.Lock(), connections, idle
        self.links = list[socket.socket]()
        super().__init__((address, port), Handler)

    def get_request(self) -> tuple[socket.socket, object]:
        """Accept a connection; those that were closed are forgotten."""
        link, address = super().get_request()
        self.links = [*(each for each in self.links if each.fileno() >= 0), link]
        return link, address

    def _hang_up(self, how: int) -> None:
        for link in self.links:
            with suppress(OSError):
                link.shutdown(how)

    def server_close(self) -> None:
        """Accept no more, answer what has arrived, close all connections, and wait for their threads."""
        self.socket.close()
        self._hang_up(socket.SHUT_RD)
        timer = threading.Timer(GRACE, self._hang_up, (socket.SHUT_RDWR,))
        timer.start()
        super().server_close()
        timer.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="examples.threaded")
    parser.add_argument("-l", dest="address", default="127.0.0.1", help="where to listen")
    parser.add_argument("-p", "--port", default=11211, type=int, help="0 is a free one")
    parser.add_argument("-c", dest="connections", default=1024, type=int, help="how many at most")
    parser.add_argument("-t", dest="idle", default=600, type=float, help="seconds of silence that end a connection")
    with ThreadedServer(**vars(parser.parse_args())) as server:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
        print("listening on {}:{}".format(*server.server_address), file=sys.stderr, flush=True)
        server.serve_forever(0.1)
