"""The server's side of one connection with its faults: bytes in; bytes out, each piece at its time. No I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from memproto import ConnectionClosed, Envelope, Failure, RemoteProtocolError, ServerConnection, Signal, Status
from memproto.testing.fake.faults import Reply
from memproto.testing.fake.state import FakeState

#: How many bytes of replies wait for the client, or for their time, before no further request is answered.
MOST_BYTES = 256 * 1024
#: How many bytes are handed out in one piece, unless a single part is longer.
_BLOCK_BYTES = 64 * 1024
_REFUSED = Failure(Status.OUT_OF_MEMORY)


class Conversation:
    """Answers the requests of one connection in their order. ``elapsed`` gives the time for which replies are delayed.

    Errors that are the test's own, such as a reply that does not answer the request, end the conversation and are
    kept in ``state.errors``.
    """

    def __init__(self, state: FakeState, elapsed: Callable[[], float]) -> None:
        self._state = state
        self._elapsed = elapsed
        with state.lock:
            #: The number of the connection.
            self.number: int = state.number_connection()
        self.connection: ServerConnection = state.new_connection()
        # Parts of replies, each with the time before which it is not sent.
        self._out: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self._not_before = 0.0
        #: Whether no further request is answered.
        self.ended: bool = False

    def receive(self, data: bytes) -> None:
        """Take what the client has sent, and answer what is complete; empty data is the end of the stream."""
        if self.ended:
            return
        if data:
            self.connection.receive_data(data)
        else:
            self.connection.receive_eof()
        self.run()

    def run(self) -> None:
        """Answer complete requests until :attr:`full`."""
        try:
            while not self.ended and not self.full:
                event = self.connection.next_event()
                if isinstance(event, Signal):
                    return
                if isinstance(event, ConnectionClosed):
                    self.ended = True
                else:
                    with self._state.lock:
                        self._answer(event)
        except RemoteProtocolError as error:
            self._put(error.reply_hint)
            self.ended = True
        except Exception as error:
            self._state.errors.append(error)
            self.ended = True

    def _answer(self, envelope: Envelope) -> None:
        state = self._state
        fault = state.record(envelope, self.number)
        if fault is None:
            for part in self.connection.send_parts(state.execute(envelope.request), envelope):
                self._put(part)
            return
        if isinstance(fault, Reply):
            reply = fault.reply
        else:
            reply = state.execute(envelope.request) if fault.execute else _REFUSED
        for seconds, piece in fault.pieces(self.connection.send(reply, envelope)):
            self._put(piece, seconds)
        self.ended = self.ended or fault.closes

    def _put(self, part: bytes, seconds: float = 0) -> None:
        """Send this after so many seconds, and after all that is to be sent already."""
        self._not_before = max(self._not_before, self._elapsed() + seconds if seconds else 0)
        if part:
            self._out.append((self._not_before, part))
            self._size += len(part)

    def hang_up(self) -> None:
        """Close the connection at once; what is not sent yet is lost."""
        self.ended = True
        self._out.clear()
        self._size = 0

    # --- what is sent

    @property
    def full(self) -> bool:
        """Whether so many replies wait that no further request is answered."""
        return self._size >= MOST_BYTES

    @property
    def finished(self) -> bool:
        """Whether nothing more will be sent, so that the connection is to be closed."""
        return self.ended and not self._out

    @property
    def due_at(self) -> float | None:
        """The time from which on there is something to send, ``None`` if nothing waits."""
        return self._out[0][0] if self._out else None

    @property
    def delayed(self) -> bool:
        """Whether something waits whose time has not come."""
        return bool(self._out) and self._out[-1][0] > self._elapsed()

    def take(self) -> bytes:
        """What is to be sent now, at most a block of it; empty if there is nothing."""
        out = self._out
        if not out:
            return b""
        now = self._elapsed()
        parts: list[bytes] = []
        size = 0
        while out and size < _BLOCK_BYTES and out[0][0] <= now:
            parts.append(out.popleft()[1])
            size += len(parts[-1])
        self._size -= size
        return parts[0] if len(parts) == 1 else b"".join(parts)
