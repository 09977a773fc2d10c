"""What ``-l`` says: addresses separated by commas, each with or without a port of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PLAIN = "notls:"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address to listen on; no ``host`` is every interface, no ``port`` the one of ``-p`` or ``-U``."""

    host: str | None
    port: int | None = None
    tls: bool = True


def endpoints(text: str) -> tuple[Endpoint, ...]:
    """Read the list. Raises ValueError with the reason."""
    found = tuple(_endpoint(part.strip()) for part in re.split("[,;]", text) if part.strip())
    if not found:
        raise ValueError("no address to listen on")
    return found


def _endpoint(text: str) -> Endpoint:
    rest = text.removeprefix(_PLAIN)
    host, port = rest, ""
    if bracketed := re.fullmatch(r"\[([^\]]*)\](?::(.*))?", rest):
        host, port = bracketed[1], bracketed[2] or ""
    elif rest.count(":") == 1:
        # More than one colon is an IPv6 address without a port.
        host, _, port = rest.partition(":")
        if not port:
            raise ValueError(f'Invalid port number: "{port}" in {text!r}')
    if not host:
        raise ValueError(f"no address in {text!r}")
    number = None
    if port:
        if not re.fullmatch("-?[0-9]{1,5}", port) or not -1 <= int(port) <= 65535 or int(port) == 0:
            raise ValueError(f'Invalid port number: "{port}" in {text!r}')
        number = int(port)
    return Endpoint(None if host == "*" else host, number, rest == text)
