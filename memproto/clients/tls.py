"""TLS between bytes and bytes, for a client. Its buffers are in memory: nothing here waits or touches a socket.

So no socket is lost in it, whatever is raised: ``SSLContext.wrap_socket`` takes the socket over before it can fail.
"""

from __future__ import annotations

import ssl
from typing import Final

from memproto.clients.interruptions import is_of_system

__all__ = ["Tls"]

_PIECE: Final = 65536


class Tls:
    """One side of a connection. Every method but :meth:`take` may raise ``ssl.SSLError``."""

    def __init__(self, context: ssl.SSLContext, name: str) -> None:
        self._incoming = ssl.MemoryBIO()
        #: What is to be sent after :meth:`handshake`, also if that has failed: an alert tells the server why.
        self.outgoing: ssl.MemoryBIO = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self.outgoing, server_hostname=name)

    def take(self, data: bytes) -> None:
        """Take bytes from the socket."""
        self._incoming.write(data)

    def handshake(self) -> bool:
        """Go on with the handshake; whether it is complete."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError as error:
            if is_of_system(error):
                return False
            raise
        return True

    def encrypt(self, data: bytes) -> bytes:
        """The bytes to send for these."""
        view = memoryview(data)
        while view:
            view = view[self._tls.write(view) :]
        return self.outgoing.read()

    def decrypt(self, data: bytes) -> bytes:
        """What these bytes from the socket, and those before, say; perhaps nothing yet."""
        self.take(data)
        pieces: list[bytes] = []
        try:
            while piece := self._tls.read(_PIECE):
                pieces.append(piece)
        except ssl.SSLWantReadError as error:
            if not is_of_system(error):
                raise
        return b"".join(pieces)
