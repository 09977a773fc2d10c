"""TLS as ``-Z`` and the ``ssl_`` words of ``-o`` ask for it."""

from __future__ import annotations

import ssl
import warnings

from memproto.server.errors import TlsError
from memproto.server.options import TlsOptions

_VERIFY = (ssl.CERT_NONE, ssl.CERT_OPTIONAL, ssl.CERT_REQUIRED, ssl.CERT_REQUIRED)
_VERSIONS = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


def server_context(options: TlsOptions) -> ssl.SSLContext:
    """The context of a listening socket. Raises :class:`~memproto.server.errors.TlsError`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with warnings.catch_warnings():
        # TLS 1.0 and 1.1 are deprecated; they are used only if the options say so.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = _VERSIONS[options.min_version]
    if options.ciphers is not None:
        try:
            context.set_ciphers(options.ciphers)
        except ssl.SSLError as error:
            raise TlsError(f"Error setting the provided cipher(s): {options.ciphers}") from error
    # Mode 1 asks for a certificate and does without; the others could let nobody in.
    if options.verify > 1 and options.ca is None:
        raise TlsError("ssl_verify_mode is on, but there is no ssl_ca_cert to verify a client's certificate with")
    refresh(context, options)
    context.verify_mode = _VERIFY[options.verify]
    return context


def refresh(context: ssl.SSLContext, options: TlsOptions) -> None:
    """Read the files again, for later connections. Raises ``TlsError``, and then the old ones remain."""
    # Tried on another one first: half of the new certificates would be worse than all of the old ones.
    for each in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), context):
        _load(each, options)


def _load(context: ssl.SSLContext, options: TlsOptions) -> None:
    names = options.chain if options.key is None else f"{options.chain}, {options.key}"
    try:
        # A key with a passphrase is an error: nobody could type it.
        context.load_cert_chain(options.chain, options.key, password="")
    except (OSError, ValueError) as error:
        raise TlsError(f"Error loading the certificate chain or its key: {names}: {reason(error)}") from error
    if options.ca is not None:
        try:
            context.load_verify_locations(options.ca)
        except OSError as error:
            raise TlsError(f"Error loading the client CA certificate: {options.ca}: {reason(error)}") from error


def reason(error: Exception) -> str:
    """Why it failed, in words, without OpenSSL's numbers."""
    if isinstance(error, ssl.SSLError):
        # There are as many forms of this error as there are places that raise it.
        reason = getattr(error, "reason", None)
        return reason.replace("_", " ").lower() if reason else "not PEM, or not what it should be"
    return getattr(error, "strerror", None) or str(error)
