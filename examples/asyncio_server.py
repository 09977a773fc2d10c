"""A server on asyncio streams that can be left running: its memory is bounded, whatever its clients do.

    python -m examples.asyncio_server --port 11211

Answers are made in blocks, and the next block is made when the client has taken the last one. So a client that does not
read its answers stops its own requests and nobody else's.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Iterator

from memproto import Envelope, RemoteProtocolError, ServerConnection, ServerState
from memproto.engine import Engine

STARTED = time.time() - time.monotonic()  # Unix time that does not jump when the system's clock is set
BLOCK, GRACE = 65536, 2.0  # bytes that go together; seconds that clients have to take their last answers


class CacheServer:
    """The engine, and the clients that share it: at most so many, and none is idle for longer than so many seconds."""

    def __init__(self, connections: int = 1024, idle: float = 600.0) -> None:
        self.engine, self.connections, self.idle = Engine(), connections, idle
        self.clients = dict[asyncio.Task[None], asyncio.StreamWriter]()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client in a task of its own, or refuse it."""
        if len(self.clients) >= self.connections:
            writer.write(b"ERROR Too many open connections\r\n")
            writer.close()
            return
        task = asyncio.create_task(self.serve(reader, writer))
        self.clients[task] = writer
        task.add_done_callback(self.clients.pop)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read, and answer what is complete, until the conversation is over, or nothing moves for too long."""
        connection, clock = ServerConnection(), asyncio.get_running_loop().time
        try:
            async with asyncio.timeout(self.idle) as deadline:
                while connection.state is ServerState.OPEN:
                    data = await reader.read(BLOCK)
                    connection.receive_data(data) if data else connection.receive_eof()
                    for block in self.answers(connection):
                        writer.write(block)
                        await writer.drain()
                        deadline.reschedule(clock() + self.idle)
                writer.close()
                await writer.wait_closed()  # until the client has taken the last answers
        except BaseException as error:
            writer.transport.abort()
            if not isinstance(error, OSError):  # the client has vanished, or was silent too long (TimeoutError)
                raise

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
    cache, stop = CacheServer(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = await asyncio.start_server(cache.accept, host, port)
    print("listening on {}:{}".format(*server.sockets[0].getsockname()), file=sys.stderr, flush=True)
    await stop.wait()
    await asyncio.sleep(0.1)  # so that a client that was just accepted is closed, too
    server.close()
    for writer in cache.clients.values():
        writer.close()
    if cache.clients:
        await asyncio.wait(cache.clients, timeout=GRACE)  # after that asyncio.run() cancels the tasks that are left


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="examples.asyncio_server")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", default=11211, type=int, help="0 is a free one")
    asyncio.run(main(**vars(parser.parse_args())))
