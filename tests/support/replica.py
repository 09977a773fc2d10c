"""An engine behind a server connection, in memory: bytes in, bytes out, at a time that the test chooses."""

from __future__ import annotations

from memproto import AnyRequest, BinaryEnvelope, ConnectionClosed, Limits, RemoteProtocolError, ServerConnection, Signal
from memproto.binary import encode_request, opcode_for
from memproto.engine import Engine


def packet(request: AnyRequest, opaque: int = 0, *, opcode: int | None = None, quiet: bool = False) -> bytes:
    """One request as a client would send it."""
    return encode_request(BinaryEnvelope(request, opcode_for(request, quiet) if opcode is None else opcode, opaque))


class Replica:
    """A whole memcached without a socket. ``closed`` is whether the connection has ended; ``connect`` opens another."""

    def __init__(self, engine: Engine, limits: Limits | None = None) -> None:
        self.engine = engine
        self.limits = limits
        self.connect()

    def connect(self) -> None:
        self.connection = ServerConnection(self.limits)
        self.closed = False

    def exchange(self, data: bytes, now: float) -> bytes:
        """What the server says to these bytes."""
        self.connection.receive_data(data)
        output = b""
        while not self.closed:
            try:
                event = self.connection.next_event()
            except RemoteProtocolError as fault:
                self.closed = True
                return output + fault.reply_hint
            if isinstance(event, Signal):
                break
            if isinstance(event, ConnectionClosed):
                self.closed = True
            else:
                output += self.connection.send(self.engine.execute(event.request, now), event)
        return output
