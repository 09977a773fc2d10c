"""Turn the timeout of a framework, in seconds from now, into an expiry of the protocol."""

from __future__ import annotations

import time

from memproto.engine import MONTH

__all__ = ["exptime_in"]


def exptime_in(seconds: int) -> int:
    """Return the expiry of an item that lives for so many seconds; 0 is never.

    Memcached takes a number over 30 days for a point in time.
    """
    return seconds if seconds <= MONTH else int(time.time()) + seconds
