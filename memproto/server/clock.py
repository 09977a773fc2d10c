"""A clock for an engine: Unix time that does not step when the system's clock is set.

Like memcached it counts from the time at which it was made, by the monotonic clock. So an item that is to expire in ten
seconds does so after ten seconds, whatever happens to the wall clock. An absolute time of expiry is
compared with the wall clock as it was when this was made.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class Clock:
    """``wall`` and ``monotonic`` are what :mod:`time` has under these names, or a test's own."""

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._start = wall() - monotonic()

    def now(self) -> float:
        """Unix seconds."""
        return self._start + self._monotonic()

    def ahead(self) -> float:
        """By how many seconds the wall clock is ahead of this clock, because it was set meanwhile."""
        return self._wall() - self.now()
