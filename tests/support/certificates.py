"""TLS with the certificate in ``tests/data/tls``, which is one for ``localhost``."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

#: The folder of ``cert.pem`` and ``key.pem``.
TLS: Final = Path(__file__).parent.parent / "data" / "tls"


def client_context() -> ssl.SSLContext:
    """What a client needs to trust the certificate."""
    return ssl.create_default_context(cafile=TLS / "cert.pem")


def server_context() -> ssl.SSLContext:
    """What a server needs to show the certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "cert.pem", TLS / "key.pem")
    return context
