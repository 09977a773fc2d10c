"""How a server refuses a connection when it has too many: the same line in every dialect, binary too, and the end.

For the clients of this folder it is a fault of the connection, as if nobody listened: no request of it is carried out.
"""

from __future__ import annotations

from typing import Final

_FULL: Final = b"ERROR Too many open connections\r\n"


def is_full(first: bytes) -> bool | None:
    """Whether the first bytes of a connection are that line; ``None`` if more of them are needed to tell."""
    return True if first.startswith(_FULL) else None if _FULL.startswith(first) else False
