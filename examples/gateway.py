"""A gateway: clients of any dialect in front, one server that speaks one dialect behind.

    python -m examples.gateway --port 11211 --server-port 11212 --dialect meta

Replies go back in the order of the requests, each when the client has taken those before it. A quiet request is sent on
as an ordinary one, and ``front.send`` leaves out its reply. What the server's dialect cannot say is refused here.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import deque
from contextlib import ExitStack, closing, suppress

import memproto as mp

BLOCK, IDLE, FREE = 65536, 600.0, asyncio.Semaphore(1024)  # bytes to read, seconds to wait, clients at a time
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Sent = mp.Exchange[mp.AnyReply] | mp.AnyReply


def forward(envelope: mp.Envelope, back: mp.ClientConnection, dialect: mp.Dialect) -> Sent:
    """Prepare a request for the server: the exchange to be sent, or the reply where there is nothing to send."""
    request = envelope.request
    if isinstance(request, mp.InvalidRequest):
        return request.reply
    if isinstance(request, mp.Quit | mp.Verbosity):
        return mp.Ok()  # the client leaves the gateway, not the server; what the server logs is not its business
    if isinstance(request, mp.Unknown | mp.UnknownLine):
        return mp.Failure(mp.Status.UNKNOWN_COMMAND)  # nobody here knows what its reply looks like
    try:
        if not isinstance(request, mp.Get) or len(request.keys) == 1:  # more keys only a connection can send
            request = mp.translate(envelope, dialect).request
        return back.send(request)
    except mp.ProtocolError as error:
        return mp.Failure(mp.Status.INVALID_ARGUMENTS, str(error).encode())


async def receive(reader: asyncio.StreamReader, connection: mp.ServerConnection | mp.ClientConnection) -> None:
    """Read once, and give the bytes to the connection."""
    data = await asyncio.wait_for(reader.read(BLOCK), IDLE)
    connection.receive_data(data) if data else connection.receive_eof()


async def carry(client: Streams, server: Streams, dialect: mp.Dialect) -> None:
    """Carry requests and replies until the client has left. Raises OSError, and ProtocolError for a server's fault."""
    front, back = mp.ServerConnection(), mp.ClientConnection(mp.Limits(answer=8_000_000), dialect=dialect)
    waiting, reply_hint = deque[tuple[mp.Envelope, Sent]](), b""
    event: mp.ServerEvent | mp.Signal = mp.Signal.NEED_DATA
    while isinstance(event, mp.Signal):
        if event is mp.Signal.NEED_DATA:
            await receive(client[0], front)
        try:
            while isinstance(event := front.next_event(), mp.Envelope):
                waiting.append((event, forward(event, back, dialect)))
        except mp.RemoteProtocolError as error:
            event, reply_hint = mp.ConnectionClosed(), error.reply_hint
        # No drain(): the server may first wait for us to read, and one read has brought no more than this.
        server[1].write(b"".join(sent.data for _, sent in waiting if isinstance(sent, mp.Exchange)))
        while waiting:
            envelope, sent = waiting.popleft()
            while isinstance(sent, mp.Exchange):
                if sent.reply is not None:
                    sent = sent.reply
                elif back.next_event() is mp.Signal.NEED_DATA:
                    await receive(server[0], back)
            client[1].write(front.send(mp.translate_reply(sent, envelope), to=envelope))
            await asyncio.wait_for(client[1].drain(), IDLE)
    client[1].write(reply_hint)


async def main(port: int, server_port: int, dialect: mp.Dialect) -> None:
    """Serve until the process is stopped."""

    async def serve(*client: *Streams) -> None:
        with ExitStack() as stack, suppress(OSError, mp.ProtocolError, asyncio.CancelledError):
            stack.callback(client[1].transport.abort)
            client[1].transport.set_write_buffer_limits(0)  # so that drain() waits until the system has all of it
            async with FREE:
                server = await asyncio.open_connection("127.0.0.1", server_port)
                stack.callback(server[1].transport.abort)
                await carry(client, server, dialect)

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    print("listening on {}:{}".format(*server.sockets[0].getsockname()), file=sys.stderr, flush=True)
    with closing(server):
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.sleep(0.1)  # so that a client that was just accepted is closed, too


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="examples.gateway")
    parser.add_argument("--port", default=11211, type=int, help="0 is a free one")
    parser.add_argument("--server-port", default=11212, type=int)
    parser.add_argument("--dialect", default=mp.Dialect.BINARY, type=mp.Dialect, help="binary, classic or meta")
    asyncio.run(main(**vars(parser.parse_args())))
