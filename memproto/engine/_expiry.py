"""What an expiry and the delay of a flush mean."""

from __future__ import annotations

import math

from memproto.limits import MONTH

#: The moment of an item that never expires.
NEVER = math.inf


def expires_at(exptime: int, now: float) -> float:
    """When an item stored at ``now`` with this ``exptime`` is gone; ``math.inf`` for never.

    0 is never; 1 to 2592000 are seconds from ``now``; more is Unix time, which may lie in the past; a negative
    one, which only the text dialects can say, is at once.
    """
    if exptime == 0:
        return NEVER
    if exptime < 0:
        return now
    return now + exptime if exptime <= MONTH else exptime


def flushes_at(exptime: int | None, now: float) -> float:
    """When a flush with this delay takes effect; ``math.inf`` for never.

    As with memcached a delay of n seconds is over one second early, so that 1 is at once. A Unix time of this very
    second is at once too, and one before it flushes nothing.
    """
    if exptime is None or exptime <= 0:
        return now
    if exptime <= MONTH:
        return now + exptime - 1
    return exptime - 1 if exptime > now - 1 else NEVER
