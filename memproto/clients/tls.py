"""TLS as a conversion between bytes and bytes, for a client. It waits for nothing and uses no socket.

So no exception can lose a socket here. ``SSLContext.wrap_socket`` could: it takes the socket over before it can fail.
"""

from __future__ import annotations

import ssl
from typing import Final

from memproto.clients.system_errors import is_system_error

__all__ = ["Tls"]

_CHUNK: Final = 65536


class Tls:
    """The client's side of a TLS connection. Every method but :meth:`receive` may raise ``ssl.SSLError``."""

    def __init__(self, context: ssl.SSLContext, name: str) -> None:
        self._incoming = ssl.MemoryBIO()
        #: The bytes to send after :meth:`handshake`, also if that has failed: an alert tells the server why.
        self.outgoing: ssl.MemoryBIO = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self.outgoing, server_hostname=name)

    def receive(self, data: bytes) -> None:
        """Take bytes that the socket has received."""
        self._incoming.write(data)

    def handshake(self) -> bool:
        """Continue the handshake. The result says whether it is complete."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError as error:
            if is_system_error(error):
                return False
            raise
        return True

    def encrypt(self, data: bytes) -> bytes:
        """Return the bytes to send for these."""
        view = memoryview(data)
        while view:
            view = view[self._tls.write(view) :]
        return self.outgoing.read()

    def decrypt(self, data: bytes) -> bytes:
        """Return the contents of all bytes received so far and of these; empty if a record is incomplete."""
        self.receive(data)
        chunks: list[bytes] = []
        try:
            while chunk := self._tls.read(_CHUNK):
                chunks.append(chunk)
        except ssl.SSLWantReadError as error:
            if not is_system_error(error):
                raise
        return b"".join(chunks)
