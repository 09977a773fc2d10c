"""A server on trio: a task per client, and bounded memory, whatever the clients do.

    python -m examples.trio_server --port 11211

Answers are made in blocks, and the next block is made when the client has taken the last one. So a client that does not
read its answers stops its own requests and nobody else's.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import trio

from memproto import Envelope, RemoteProtocolError, ServerConnection, ServerState
from memproto.engine import Engine

STARTED = time.time() - time.monotonic()  # Unix time that does not jump when the system's clock is set
BLOCK, GRACE = 65536, 2.0  # bytes that go together; seconds that clients have to take their last answers


class CacheServer:
    """The engine, and the clients that share it: at most so many, and none is idle for longer than so many seconds."""

    def __init__(self, connections: int = 1024, idle: float = 600.0) -> None:
        self.engine, self.connections, self.idle = Engine(), connections, idle
        self.clients = set[trio.SocketStream]()

    async def handle(self, stream: trio.SocketStream) -> None:
        """Serve one client, or refuse it. No exception of one client reaches the others."""
        self.clients.add(stream)
        try:
            async with stream:
                if len(self.clients) > self.connections:
                    await stream.send_all(b"ERROR Too many open connections\r\n")
                else:
                    await self.serve(stream)
        except (trio.BrokenResourceError, trio.TooSlowError):
            pass  # the client has vanished, or was silent for too long
        finally:
            self.clients.remove(stream)

    async def serve(self, stream: trio.SocketStream) -> None:
        """Read, and answer what is complete, until the conversation is over. Raises what trio raises."""
        connection = ServerConnection()
        while connection.state is ServerState.OPEN:
            with trio.fail_after(self.idle):
                data = await stream.receive_some(BLOCK)
            connection.receive_data(data) if data else connection.receive_eof()
            for block in self.answers(connection):
                with trio.fail_after(self.idle):
                    await stream.send_all(block)

    def answers(self, connection: ServerConnection) -> Iterator[bytes]:
        """Execute the requests that are complete; yield the answers in blocks, each made when it is asked for."""
        parts, size = list[bytes](), 0
        try:
            while isinstance(event := connection.next_event(), Envelope):
                reply = self.engine.execute(event.request, STARTED + time.monotonic())
                # In parts, because one get may ask for thousands of large values.
                for part in connection.send_parts(reply, to=event):
                    parts.append(part)
                    size += len(part)
                    if size >= BLOCK:
                        yield b"".join(parts)
                        parts, size = [], 0
        except RemoteProtocolError as error:
            parts.append(error.reply_hint)
        yield b"".join(parts)


async def main(host: str, port: int) -> None:
    """Serve until a signal stops the process."""
    cache = CacheServer()
    accept = partial(trio.serve_tcp, cache.handle, port, host=host)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as clients:
            async with trio.open_nursery() as listening:
                (listener, *_) = await listening.start(partial(accept, handler_nursery=clients))
                print("listening on {}:{}".format(*listener.socket.getsockname()), file=sys.stderr, flush=True)
                await anext(signals)
                listening.cancel_scope.cancel()
            for stream in cache.clients:
                with suppress(OSError):
                    stream.socket.shutdown(trio.socket.SHUT_RD)  # the answers still leave
            clients.cancel_scope.deadline = trio.current_time() + GRACE


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="examples.trio_server")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", default=11211, type=int, help="0 is a free one")
    trio.run(partial(main, **vars(parser.parse_args())))
