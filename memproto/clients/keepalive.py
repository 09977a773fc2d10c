"""TCP keepalive: the system asks a silent server whether it is still there."""

from __future__ import annotations

import socket
from typing import Final

__all__ = ["keep_alive"]

# Not every system has both.
_SECONDS: Final = ("TCP_KEEPIDLE", "TCP_KEEPINTVL")


def keep_alive(connected: socket.socket, seconds: int) -> None:
    """Ask after so many seconds of silence, and each such time again. Raises OSError."""
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name in _SECONDS:
        if hasattr(socket, name):
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), seconds)
