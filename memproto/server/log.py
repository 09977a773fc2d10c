"""The log of the server: its logger, its levels, and how a message is written to it."""

from __future__ import annotations

import logging

log: logging.Logger = logging.getLogger("memproto.server")

#: How many characters of a message are logged.
_LOGGED = 200


def log_level(verbose: int) -> int:
    """The level for so many ``-v``."""
    return (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]


def shorten(message: object) -> str:
    """A message as it is logged."""
    text = repr(message)
    return text if len(text) <= _LOGGED else f"{text[:_LOGGED]}..."


def format_address(address: object) -> str:
    """The address of a socket as memcached writes it."""
    return f"tcp:{address[0]}:{address[1]}" if isinstance(address, tuple) else f"unix:{address or ''}"
