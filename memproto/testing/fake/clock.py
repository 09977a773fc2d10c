"""The time of a fake: that of the system, unless the test sets it."""

from __future__ import annotations

import time

from memproto.testing.arguments import MAX_SECONDS, check_seconds


class FakeClock:
    """The time of the items, and the time for which replies are delayed.

    The first is Unix time. It follows ``time.time()``, looked up at each call, so that programs which replace it are
    followed too. The second is counted from any origin. It follows a clock that these programs do not replace, so
    that a frozen ``time.time()`` never stops a reply.
    """

    # Not a name of the module: freezegun replaces those.
    _monotonic = staticmethod(time.monotonic)

    def __init__(self) -> None:
        #: By how many seconds the test has advanced the time.
        self.advanced: float = 0.0
        self._ahead = 0.0
        self._set: float | None = None

    @property
    def now(self) -> float:
        """Unix seconds. Setting it stops the clock at that time; :meth:`advance` still advances it."""
        return time.time() + self._ahead if self._set is None else self._set

    @now.setter
    def now(self, value: float) -> None:
        check_seconds("now", value, -MAX_SECONDS)
        self._set = float(value)

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass."""
        check_seconds("seconds", seconds)
        self.advanced += seconds
        if self._set is None:
            self._ahead += seconds
        else:
            self._set += seconds

    def follow(self) -> None:
        """Follow ``time.time()`` again, as at the beginning."""
        self._set = None
        self._ahead = 0.0

    def elapsed(self) -> float:
        """Seconds that have really passed or that were skipped by :meth:`advance`; it never goes back."""
        return self._monotonic() + self.advanced
