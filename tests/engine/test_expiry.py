"""What an expiry and the delay of a flush mean, without a cache."""

from __future__ import annotations

from math import inf

import pytest

from memproto.engine import MONTH, expires_at
from memproto.engine._expiry import flushes_at

NOW = 1_700_000_000.5


@pytest.mark.parametrize(
    ("exptime", "end"),
    [
        (0, inf),
        (1, 1_700_000_001.5),
        (60, 1_700_000_060.5),
        (2_591_999, 1_702_591_999.5),
        (2_592_000, 1_702_592_000.5),
        (2_592_001, 2_592_001),
        (1_699_999_999, 1_699_999_999),
        (1_700_000_001, 1_700_000_001),
        (1_800_000_000, 1_800_000_000),
        (0xFFFF_FFFF, 4_294_967_295),
        (-1, NOW),
        (-(2**63), NOW),
    ],
)
def test_expires_at_follows_the_30_day_rule(exptime: int, end: float) -> None:
    assert expires_at(exptime, NOW) == end


def test_month_is_30_days_in_seconds() -> None:
    assert MONTH == 2_592_000


@pytest.mark.parametrize(
    ("exptime", "moment"),
    [
        (None, NOW),
        (0, NOW),
        (-1, NOW),
        (1, NOW),
        (2, 1_700_000_001.5),
        (2_592_000, 1_702_591_999.5),
        # A moment that has been flushes nothing, but this very second has not been yet.
        (2_592_001, inf),
        (1_699_999_998, inf),
        (1_699_999_999, inf),
        (1_700_000_000, 1_699_999_999),
        (1_700_000_001, 1_700_000_000),
        (1_700_000_002, 1_700_000_001),
        (0xFFFF_FFFF, 4_294_967_294),
    ],
)
def test_flushes_at_is_one_second_early_as_with_memcached(exptime: int | None, moment: float) -> None:
    assert flushes_at(exptime, NOW) == moment
