"""TLS for a fake: a certificate made for it, and the encryption between a socket and a conversation."""

from __future__ import annotations

import ssl
from contextlib import suppress
from dataclasses import dataclass

_RECORD = 16 * 1024


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that is thrown away with the fake, and the authority that has signed it."""

    server_context: ssl.SSLContext
    client_context: ssl.SSLContext
    #: The certificate of the authority, in PEM.
    ca_pem: bytes


def make_certificate(*names: str) -> Certificate:
    """A certificate for these host names and addresses. Raises ImportError without trustme."""
    try:
        import trustme
    except ModuleNotFoundError as error:
        raise ImportError("tls=True needs trustme: pip install 'memproto[testing]'") from error
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return Certificate(server, client, authority.cert_pem.bytes())


class TlsLayer:
    """Decrypts what one client sends, and encrypts what is sent to it. No I/O."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._established = False
        #: Whether the client has closed its side, or has sent what is no TLS.
        self.ended: bool = False

    def decrypt(self, data: bytes) -> bytes:
        """The plain bytes that are complete now; empty data is the end of the stream."""
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
        plain: list[bytes] = []
        try:
            if not self._established:
                self._tls.do_handshake()
                self._established = True
            while True:
                plain.append(self._tls.read(_RECORD))
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self.ended = True
        return b"".join(plain)

    def encrypt(self, data: bytes) -> bytes:
        """What is to be sent for this data, together with what the handshake has to say."""
        if data:
            self._tls.write(data)
        return self._outgoing.read()

    def close(self) -> bytes:
        """What is to be sent so that the client knows that this is the end."""
        with suppress(ssl.SSLError):
            self._tls.unwrap()
        return self._outgoing.read()
