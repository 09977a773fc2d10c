"""Hypothesis profiles, and skips that are failures where all peers must be there.

Nothing here is timed, so that a slow machine changes no result.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

from tests.support.peers import fail_if_skipped

# A shell that runs the tests in the background lets them, and all programs that they start, ignore SIGINT.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _register(name: str, max_examples: int, *, derandomize: bool = False) -> None:
    # What is left out here comes from the profile that is active now, and hypothesis activates a derandomised
    # one if it finds a variable such as CI in the environment. So nothing is left out that changes the examples.
    settings.register_profile(
        name,
        max_examples=max_examples,
        derandomize=derandomize,
        print_blob=True,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


_register("default", 30)
# For the other Pythons: each run draws examples of its own, so that they need not be many.
_register("ci", 20)
# For the coverage gate: the same examples every time, so that it does not depend on luck.
_register("steady", 60, derandomize=True)
_register("nightly", 2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return fail_if_skipped((yield))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return fail_if_skipped((yield))
