"""A client on trio: one connection that many tasks share, and that a timeout does not spoil.

    python -m examples.trio_client --port 11211

A task that is cancelled while it waits leaves its reply on the way. The connection still reads that reply, and drops
it, so that the next task gets its own. Only a request of which a part was written costs the connection.
"""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import trio

from memproto import ClientConnection, ConnectionClosed, Dialect, Failure, Get, Increment, Request, Set, Signal, Version

R = TypeVar("R")


class TrioClient:
    """Send requests of any type; each is answered by the reply of its type, or by a Failure."""

    def __init__(self, stream: trio.abc.Stream, dialect: Dialect = Dialect.BINARY) -> None:
        self._stream, self._lock = stream, trio.Lock()
        self._connection = ClientConnection(dialect=dialect)

    async def ask(self, request: Request[R]) -> R | Failure:
        """Send one request and wait for its reply.

        Raises :class:`~memproto.LocalProtocolError` for a request that cannot be sent, also after the connection is
        lost; :class:`~memproto.RemoteProtocolError` or ``trio.BrokenResourceError`` when it is lost now.
        """
        async with self._lock:
            exchange = self._connection.send(request)
            try:
                await self._stream.send_all(exchange.data)
            except BaseException:
                # Nobody knows how much was written, so nothing can be written behind it.
                self._connection.close()
                raise
            try:
                while exchange.reply is None:
                    await self._receive()
            except BaseException:
                # Most often a timeout: the reply still comes, and is for nobody.
                self._connection.abandon(exchange)
                raise
            return exchange.reply

    async def _receive(self) -> None:
        """Take the next event; wait for bytes if there is none."""
        event = self._connection.next_event()
        if isinstance(event, ConnectionClosed):
            raise trio.BrokenResourceError("the server closed the connection")
        if event is Signal.NEED_DATA:
            data = await self._stream.receive_some(65536)
            self._connection.receive_data(data) if data else self._connection.receive_eof()


@asynccontextmanager
async def connect(host: str, port: int, dialect: Dialect = Dialect.BINARY) -> AsyncIterator[TrioClient]:
    """A client with a connection of its own, which is closed at the end. Raises ``OSError``."""
    async with await trio.open_tcp_stream(host, port) as stream:
        yield TrioClient(stream, dialect)


async def main(host: str, port: int) -> None:
    """Talk to a server."""
    with trio.fail_after(5):
        async with connect(host, port) as client:
            print(await client.ask(Version()))
            print(await client.ask(Set(b"greeting", b"hello", flags=7)))
            print(await client.ask(Get((b"greeting", b"nothing"))))
            print(await client.ask(Increment(b"visits", 1, initial=1, exptime=0)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="examples.trio_client")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", default=11211, type=int)
    trio.run(partial(main, **vars(parser.parse_args())))
