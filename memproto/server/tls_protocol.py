"""TLS on a connection that the event loop takes for a plain one.

asyncio and uvloop can do this themselves, but they say nothing of a connection before its handshake is over, keep a
buffer of 256 KiB for each, and close a failed handshake without the alert that tells the client why.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress

from memproto.server.log import log
from memproto.server.tls import reason

#: How long a client may take for its handshake, in seconds. It counts as a connection meanwhile.
HANDSHAKE_TIMEOUT = 10.0
# OpenSSL's buffers in memory keep the size that they once had, for as long as the connection lasts.
_PIECE_IN, _PIECE_OUT = 4 * 1024, 16 * 1024
_RECORD = 16 * 1024


class TlsProtocol(asyncio.Protocol):
    """Decrypts for a session, from the accept on: the session is connected before the handshake begins.

    So a connection counts at once, and a session that refuses it does so in the clear, as memcached does.
    """

    def __init__(self, context: ssl.SSLContext, session: Callable[[], asyncio.Protocol]) -> None:
        self._session = session()
        self._received, self._unsent = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._received, self._unsent, server_side=True)
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._established = False
        self._ended = False  # the client has closed its side
        self._failed = False

    # --- called by the event loop

    # Streams come with a Transport; uvloop's is one in all but inheritance.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Connect the session, which may refuse the connection."""
        self._transport = transport
        self._timer = asyncio.get_running_loop().call_later(HANDSHAKE_TIMEOUT, self._time_out, transport)
        self._session.connection_made(TlsTransport(self, transport))

    def connection_lost(self, exc: Exception | None) -> None:
        """Disconnect the session."""
        self._stop_timer()
        self._transport = None
        self._session.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Decrypt the complete records, and hand them to the session in one piece."""
        transport = self._transport
        if transport is None or transport.is_closing() or self._ended:
            return
        plain: list[bytes] = []
        fault: ssl.SSLError | None = None
        ended = False
        try:
            for at in range(0, len(data), _PIECE_IN):
                self._received.write(data[at : at + _PIECE_IN])
                ended = self._advance(plain)
        except ssl.SSLError as error:
            # The requests before it are complete; but nothing can be sent any more, except for the alert.
            fault = error
            self._failed = True
        self._flush()
        if plain:
            self._session.data_received(b"".join(plain))
        if fault is not None:
            self._close_after(fault, transport)
        elif ended:
            self._ended = True
            self._session.eof_received()

    def eof_received(self) -> bool:
        """The end of the stream, with or without TLS's close_notify."""
        if not self._established:
            log.info("%s: closed during the TLS handshake", self._peer)
            return False
        return self._ended or bool(self._session.eof_received())

    def pause_writing(self) -> None:
        """Let the session wait: the client is slow."""
        self._session.pause_writing()

    def resume_writing(self) -> None:
        """Let the session go on."""
        self._session.resume_writing()

    # --- called by the session

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send; before the handshake is over, in the clear."""
        transport = self._transport
        if transport is None or self._failed:
            return
        if not self._established:
            transport.write(data)
            return
        encrypted: list[bytes] = []
        view = memoryview(data)
        try:
            for at in range(0, len(view), _PIECE_OUT):
                self._tls.write(view[at : at + _PIECE_OUT])
                encrypted.append(self._unsent.read())
        except ssl.SSLError as error:
            self._close_after(error, transport)
        else:
            transport.write(b"".join(encrypted))

    def close(self) -> None:
        """Send close_notify, and close once all is sent, without waiting for the client's close_notify."""
        if self._transport is None or self._transport.is_closing():
            return
        self._stop_timer()
        if self._established and not self._failed:
            with suppress(ssl.SSLError):  # it waits for the client's close_notify
                self._tls.unwrap()
            self._flush()
        self._transport.close()

    # --- TLS

    def _advance(self, plain: list[bytes]) -> bool:
        """Decrypt what has been received; whether the client sent close_notify. Raises SSLError."""
        try:
            if not self._established:
                self._tls.do_handshake()
                self._established = True
                self._stop_timer()
            while piece := self._tls.read(_RECORD):
                plain.append(piece)
        except ssl.SSLWantReadError:
            return False
        return True

    def _flush(self) -> None:
        data = self._unsent.read()
        if data and self._transport is not None:
            self._transport.write(data)

    def _close_after(self, error: ssl.SSLError, transport: asyncio.Transport) -> None:
        """Close after an error; the alert for the client is in the buffer already."""
        log.info("%s: TLS%s: %s", self._peer, "" if self._established else " handshake", reason(error))
        self._failed = True
        self._flush()
        self._stop_timer()
        transport.close()

    def _time_out(self, transport: asyncio.Transport) -> None:
        log.info("%s: no TLS handshake for %s s, closed", self._peer, HANDSHAKE_TIMEOUT)
        transport.abort()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def _peer(self) -> object:
        return None if self._transport is None else self._transport.get_extra_info("peername")


class TlsTransport(asyncio.Transport):
    """The transport of the session, which encrypts all that is written."""

    def __init__(self, encrypted: TlsProtocol, transport: asyncio.Transport) -> None:
        super().__init__()
        self._encrypted = encrypted
        self._transport = transport

    def get_extra_info(self, name: str, default: object = None) -> object:
        """As the transport of the socket."""
        return self._transport.get_extra_info(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send."""
        self._encrypted.write(data)

    def get_write_buffer_size(self) -> int:
        """How many encrypted bytes wait."""
        return self._transport.get_write_buffer_size()

    def pause_reading(self) -> None:
        """Stop reading for now."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on reading."""
        self._transport.resume_reading()

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Close when all is sent."""
        self._encrypted.close()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()
