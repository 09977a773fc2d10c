"""One client of a fake: a socket that never blocks, and the conversation with its client."""

from __future__ import annotations

import selectors
import socket
import ssl
import struct
from contextlib import suppress

from memproto.testing.fake.conversation import Conversation
from memproto.testing.fake.tls import TlsLayer

# An option of Linux; elsewhere this sets a known option once more.
_QUICKACK: int = getattr(socket, "TCP_QUICKACK", socket.TCP_NODELAY)
_READ_BYTES = 64 * 1024
#: How many pieces one client is sent before the other clients have their turn.
_PIECES = 16
#: How long the client has to take the last bytes and to close its side, in seconds.
LINGER = 1.0
#: For SO_LINGER: closing the socket resets the connection.
_RESET = struct.pack("ii", 1, 0)


class Link:
    """Moves bytes between a socket and a conversation."""

    def __init__(self, sock: socket.socket, conversation: Conversation, tls: ssl.SSLContext | None) -> None:
        sock.setblocking(False)
        with suppress(OSError):  # a Unix socket has no such option
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket: socket.socket = sock
        self.conversation: Conversation = conversation
        self._tls = None if tls is None else TlsLayer(tls)
        self._unsent = memoryview(b"")
        self._eof = False
        # Whether the client has sent something behind the end of the conversation.
        self._ignored = False
        #: Whether the socket is of no more use.
        self.broken: bool = False
        #: When the socket is closed although its client has not closed it, if all is sent.
        self.closes_at: float | None = None

    @property
    def events(self) -> int:
        """What the selector is to wait for."""
        reads = not self._eof and (
            self.closes_at is not None or not (self.conversation.ended or self.conversation.full)
        )
        return (selectors.EVENT_READ if reads else 0) | (selectors.EVENT_WRITE if self._unsent else 0)

    def read(self) -> None:
        """Take what has arrived, and answer it."""
        try:
            data = self.socket.recv(_READ_BYTES)
        except OSError as error:
            self.broken = not isinstance(error, BlockingIOError)
            return
        self._acknowledge()
        if self.closes_at is not None:
            # The end of what the client had still to say.
            self.broken = not data
            self._ignored = self._ignored or bool(data)
            return
        self._eof = not data
        if self._tls is None:
            self.conversation.receive(data)
            return
        plain = self._tls.decrypt(data)
        if plain:
            self.conversation.receive(plain)
        if self._tls.ended:
            self._eof = True
            self.conversation.receive(b"")

    def _acknowledge(self) -> None:
        """Let TCP acknowledge at once what was received.

        While it does not, for 40 ms, the client's system may keep back what the client sends next. A request without a
        reply would not be here when the test looks at the items.
        """
        with suppress(OSError):  # a Unix socket has no such option
            self.socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)

    def write(self, now: float) -> None:
        """Send what is due, as much as the client takes."""
        for _ in range(_PIECES):
            if not self._unsent:
                self._unsent = memoryview(self._next_piece())
            if not self._unsent:
                break
            try:
                sent = self.socket.send(self._unsent)
            except OSError as error:
                self.broken = not isinstance(error, BlockingIOError)
                return
            self._unsent = self._unsent[sent:]
        else:
            # What is left over is sent when the selector says so.
            self._unsent = self._unsent or memoryview(self._next_piece())
        if self.conversation.finished and not self._unsent and self.closes_at is None:
            self._finish(now)

    def _next_piece(self) -> bytes:
        self.conversation.run()
        data = self.conversation.take()
        return data if self._tls is None else self._tls.encrypt(data)

    def _finish(self, now: float) -> None:
        """Close our side. Closing the socket at once could destroy what the client has not read yet."""
        with suppress(OSError):
            if self._tls is not None:
                self.socket.send(self._tls.close())
            self.socket.shutdown(socket.SHUT_WR)
        if self._eof:
            self.broken = True
        else:
            self.closes_at = now + LINGER

    def wakes_at(self) -> float | None:
        """When there is something to do although the client does nothing."""
        if self._unsent:
            return None
        return self.conversation.due_at if self.closes_at is None else self.closes_at

    def wake(self, now: float) -> None:
        """Do it."""
        if self.closes_at is None:
            self.write(now)
            return
        if self._ignored:
            # The client may not know that these requests have no replies; memcached resets the connection, too.
            with suppress(OSError):
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.broken = True

    def close(self) -> None:
        """Close the socket, also for processes that have inherited it."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
