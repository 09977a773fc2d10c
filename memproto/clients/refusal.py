"""How a server refuses a connection when it has too many: it sends one line, the same in every dialect, and closes.

Binary servers send that line as text, too. The clients take it for a failure of the connection, as if no server
listened: the server carries out no request of such a connection.
"""

from __future__ import annotations

from typing import Final

__all__ = ["is_refusal"]

_REFUSAL: Final = b"ERROR Too many open connections\r\n"


def is_refusal(first: bytes) -> bool | None:
    """Whether the first bytes of a connection are that line; ``None`` if more bytes are needed to tell."""
    return True if first.startswith(_REFUSAL) else None if _REFUSAL.startswith(first) else False
