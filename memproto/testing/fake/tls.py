"""TLS for a fake: its certificate, and the encryption between a socket and a conversation."""

from __future__ import annotations

import os
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

from memproto import LocalProtocolError
from memproto.testing.arguments import misuse

#: What a test says about TLS: whether there is any, the files of certificate and key, or a context for servers.
Tls: TypeAlias = bool | tuple[str | os.PathLike[str], str | os.PathLike[str]] | ssl.SSLContext

_RECORD = 16 * 1024


@dataclass(frozen=True, slots=True)
class Trust:
    """What a client needs to trust a certificate that was made for the fake."""

    client_context: ssl.SSLContext
    #: The certificate of the authority, in PEM.
    ca_pem: bytes


def tls_of(tls: object, *names: str) -> tuple[ssl.SSLContext | None, Trust | None]:
    """The context of a server, and what trusts a certificate that is made for these host names and addresses.

    Raises ImportError if one is to be made and trustme is missing, LocalProtocolError for what is no :data:`Tls`, or
    cannot be used.
    """
    match tls:
        case False:
            return None, None
        case True:
            return _made(names)
        case ssl.SSLContext():
            return _checked(tls), None
        case (str() | os.PathLike() as certificate, str() | os.PathLike() as key) if isinstance(tls, tuple):
            return _loaded(certificate, key), None
    raise misuse(
        "tls", tls, 'True, False, the paths of certificate and key such as ("a.pem", "a.key"), or an SSLContext'
    )


def _made(names: tuple[str, ...]) -> tuple[ssl.SSLContext, Trust]:
    try:
        import trustme
    except ModuleNotFoundError as error:
        raise ImportError("tls=True needs trustme: pip install 'memproto[testing]'") from error
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, Trust(client, authority.cert_pem.bytes())


def _loaded(certificate: str | os.PathLike[str], key: str | os.PathLike[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # With a passphrase of its own OpenSSL does not ask for one on the terminal.
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:
        # The server package takes long to import, and few tests need it.
        from memproto.server.tls import reason

        names = f"{os.fspath(certificate)!r}, {os.fspath(key)!r}"
        raise LocalProtocolError(f"tls is ({names}), which cannot be loaded: {reason(error)}") from error
    return context


def _checked(context: ssl.SSLContext) -> ssl.SSLContext:
    try:
        TlsLayer(context)
    except ssl.SSLError as error:
        raise LocalProtocolError("tls is an SSLContext of a client, must be one of a server") from error
    return context


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
            while piece := self._tls.read(_RECORD):
                plain.append(piece)
            # The client has closed its side in good order.
            self.ended = True
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
