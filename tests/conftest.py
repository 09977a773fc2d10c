"""Hypothesis profiles; nothing here is timed, so that a slow machine changes no result."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]

settings.register_profile("default", deadline=None, max_examples=30, suppress_health_check=_SLOW)
settings.register_profile("ci", deadline=None, max_examples=60, suppress_health_check=_SLOW)
# For the coverage gate: the same examples every time, so that it does not depend on luck.
settings.register_profile(
    "steady", deadline=None, max_examples=60, derandomize=True, database=None, suppress_health_check=_SLOW
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
