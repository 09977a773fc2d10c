"""A gateway: clients of any dialect in front, one server that speaks one dialect behind.

    python -m examples.gateway --port 11211 --server-port 11212 --dialect meta

All requests of a client that have arrived are sent on together. The replies go back in the order of the requests, each
when the client has taken those before it. A quiet request is sent on as an ordinary one: ``front.send`` knows which
replies stay unsaid. What the server's dialect cannot say is refused here, in its place in that order.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import deque
from contextlib import suppress

import memproto as mp

BLOCK, IDLE = 65536, 600.0  # bytes to read at once; seconds to wait for either side
LIMITS = mp.Limits(answer=8 * 1024 * 1024)  # bounds what is held for one client: the longest reply of the server
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Sent = mp.AnyReply | mp.Exchange[mp.AnyReply]


async def receive(reader: asyncio.StreamReader, connection: mp.ServerConnection | mp.ClientConnection) -> None:
    """Read once, and give the bytes to the connection."""
    async with asyncio.timeout(IDLE):
        data = await reader.read(BLOCK)
    connection.receive_data(data) if data else connection.receive_eof()


def forward(envelope: mp.Envelope, back: mp.ClientConnection, dialect: mp.Dialect) -> Sent:
    """Prepare a request for the server: the exchange to be sent, or the reply where there is nothing to send."""
    request = envelope.request
    if isinstance(request, mp.InvalidRequest):
        return request.reply
    if isinstance(request, mp.Quit):
        return mp.Ok()  # the client leaves the gateway; the connection to the server closes with it
    if isinstance(request, mp.Unknown | mp.UnknownLine):
        return mp.Failure(mp.Status.UNKNOWN_COMMAND)  # nobody here knows what its reply looks like
    try:
        # An envelope has several keys in classic text only; a connection can ask for them in any dialect.
        if not isinstance(request, mp.Get) or len(request.keys) == 1:
            request = mp.translate(envelope, dialect).request
        return back.send(request)
    except mp.ProtocolError as error:
        return mp.Failure(mp.Status.INVALID_ARGUMENTS, str(error).encode())


async def carry(client: Streams, server: Streams, dialect: mp.Dialect) -> None:
    """Carry requests and replies until the client has left. Raises OSError, and ProtocolError for a server's fault."""
    front, back, waiting = mp.ServerConnection(LIMITS), mp.ClientConnection(LIMITS, dialect=dialect), deque[Sent]()
    envelopes, reply_hint = deque[mp.Envelope](), b""
    while front.state is mp.ServerState.OPEN:
        try:
            while isinstance(event := front.next_event(), mp.Envelope):
                envelopes.append(event)
                waiting.append(sent := forward(event, back, dialect))
                if isinstance(sent, mp.Exchange):
                    # No drain(): the server may first wait for us to read. It is no more than one read has brought.
                    server[1].write(sent.data)
        except mp.RemoteProtocolError as error:
            reply_hint = error.reply_hint
        while waiting:
            envelope, sent = envelopes.popleft(), waiting.popleft()
            while isinstance(sent, mp.Exchange) and sent.reply is None:
                if back.next_event() is mp.Signal.NEED_DATA:
                    await receive(server[0], back)
            reply = sent.reply or mp.Ok() if isinstance(sent, mp.Exchange) else sent
            client[1].write(front.send(mp.translate_reply(reply, envelope), to=envelope))
            async with asyncio.timeout(IDLE):
                await client[1].drain()
        if event is mp.Signal.NEED_DATA: ...
