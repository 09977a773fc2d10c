"""One connection of the blocking client: a stream of bytes, and which requests the server has not answered yet."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from random import SystemRandom
from typing import Final

from memproto import ClientConnection, Dialect, Exchange, Limits, LocalProtocolError, Quit, RemoteProtocolError, Signal
from memproto.clients.options import Trace
from memproto.clients.permits import Permit
from memproto.clients.refusal import is_refusal
from memproto.clients.stream import WRITABLE, Expired, Fault, Stream
from memproto.commands import Command

__all__ = ["Connection"]

_NEED_DATA: Final = Signal.NEED_DATA
# Empty buffers of a socket always take so many bytes at once, so that the client need not wait for room.
_SMALL: Final = 16384
_CHUNK: Final = 65536
# The client checks a connection that no call has used for so many seconds.
_IDLE: Final = 1.0
# After so many timeouts in a row the client gives the connection up. Bytes that arrive in between prove nothing: where
# a server has left out a reply, each later reply may come one call late.
_MAX_TIMEOUTS: Final = 3
# The state of an ordinary generator would be the same in parent and child after a fork.
_RANDOM: Final = SystemRandom()


class Connection:
    """A stream, and the state of the protocol on it."""

    def __init__(
        self, stream: Stream, dialect: Dialect, limits: Limits, trace: Trace | None, idle: float | None = None
    ) -> None:
        self.stream: Stream = stream
        # A random opaque, so that a late reply of another connection, which a proxy may send, fits no request here.
        first_opaque = _RANDOM.getrandbits(32)
        self.protocol: ClientConnection = ClientConnection(limits, dialect=dialect, first_opaque=first_opaque)
        self.trace: Trace | None = trace
        #: Whether another call may use the connection. False during a call.
        self.reusable: bool = False
        #: Whether the server may have received a part of the last call.
        self.sent: bool = False
        #: When the last call that succeeded began, by the monotonic clock.
        self.last_used: float = 0.0
        #: The permit of a client that limits its connections.
        self.permit: Permit | None = None
        self._idle = math.inf if idle is None else idle
        # The first bytes received, until they are known not to be a refusal of the connection.
        self._first: bytes | None = b""
        # How the server has broken the protocol after it had answered the last call.
        self._protocol_error: RemoteProtocolError | None = None
        self._limits, self._dialect = limits, dialect
        self._max_outstanding = limits.outstanding
        self._quiet = dialect is Dialect.BINARY
        self._fully_sent = False
        self._timeouts = 0

    def is_usable(self, now: float) -> bool:
        """Whether a call may use it: this process has opened it, and the server does not seem to have closed it."""
        unused = now - self.last_used
        if self.stream.process != os.getpid() or unused > self._idle:
            return False
        # If no request is outstanding and yet there is something to read, that is most likely the end of the stream.
        return unused <= _IDLE or self.protocol.outstanding > 0 or not self.stream.has_data()

    def run(self, command: Command[object], deadline: float | None) -> list[object]:
        """Send the requests of a command, as many at once as the limit allows, and return the replies.

        ``reusable`` says afterwards whether another call may use the connection. Raises :class:`Fault` if the
        connection has failed; any other exception has another cause.
        """
        replies: list[object] = []
        count = len(command.requests)
        if self.protocol.outstanding + count > self._max_outstanding:
            # They do not go out at once. Encode all of them first: if a later one does not fit, none may be sent.
            command.check(self._limits, self._dialect)
        self.reusable = self.sent = False
        while len(replies) < count:
            if self._protocol_error is not None:
                raise Fault(self._protocol_error)
            before = self.protocol.outstanding
            if before >= self._max_outstanding:
                raise Fault(TimeoutError(f"{before} calls that timed out are still unanswered"))
            try:
                exchanges = command.send(self.protocol, len(replies), self._max_outstanding - before, self._quiet)
            except LocalProtocolError:
                self.reusable = self.protocol.outstanding == before
                raise
            last = exchanges[-1]
            data = last.data if len(exchanges) == 1 else b"".join([exchange.data for exchange in exchanges])
            try:
                self._exchange(data, last, deadline, not before)
            except Expired:
                # Only the stream raises this. So no signal handler has interrupted, and no bytes are lost.
                self._timeouts += 1
                if self._fully_sent and self._timeouts < _MAX_TIMEOUTS:
                    for exchange in exchanges:
                        self.protocol.abandon(exchange)
                    self.reusable = True
                raise Fault(TimeoutError("the call took longer than its timeout")) from None
            self._timeouts = 0
            if count == 1:
                self.reusable = self._protocol_error is None
                return [last.reply]
            replies += [exchange.reply for exchange in exchanges]
        self.reusable = self._protocol_error is None
        return replies

    def _exchange(self, data: bytes, last: Exchange[object], deadline: float | None, empty: bool) -> None:
        """Send the bytes, and read until the last request is answered; ``empty`` says whether the buffers are empty.

        Large data goes out in chunks, and the client reads between them. If it wrote all before it read, client and
        server could wait for each other: a server stops reading when nobody reads its replies.
        """
        stream = self.stream
        encoded = stream.encode(data)
        self._fully_sent = False
        self.sent = True
        sent = stream.send(encoded) if empty and len(encoded) <= _SMALL else 0
        if self.trace is not None:
            self.trace(">", data)
        if sent < len(encoded):
            unsent = memoryview(encoded)[sent:]
            while unsent:
                ready = stream.wait(deadline, write=True)
                if ready & WRITABLE:
                    unsent = unsent[stream.send(unsent[:_CHUNK]) :]
                if ready != WRITABLE:
                    self._receive(stream.receive(), last)
        self._fully_sent = True
        while last.reply is None:
            stream.wait(deadline)
            self._receive(stream.receive(), last)

    def _receive(self, data: bytes, last: Exchange[object]) -> None:
        if self.trace is not None:
            self.trace("<", data)
        if self._first is not None:
            data = self._first = self._first + data
            refused = is_refusal(data)
            if refused is None:
                return
            if refused:
                self.sent = False
                raise Fault(ConnectionRefusedError("the server has too many open connections"))
            self._first = None
        self.protocol.receive_data(data)
        try:
            # Read all events now: a reply to no request must not stay for the next call.
            while self.protocol.next_event() is not _NEED_DATA:
                pass
        except RemoteProtocolError as error:
            if last.reply is None:
                raise Fault(error) from None
            self._protocol_error = error  # the reply came before it, so this call succeeds

    def close(self) -> None:
        """Close it. If it is reusable, send ``quit`` first; no error is raised if that fails."""
        if self.reusable and self.stream.process == os.getpid():
            self.reusable = False
            with suppress(Fault, LocalProtocolError):
                data = self.protocol.send(Quit()).data
                if self.trace is not None:
                    self.trace(">", data)
                self.stream.send(self.stream.encode(data))
        self.stream.close()
