"""The tests on the page of recipes pass, as a user would run them."""

from __future__ import annotations

import pytest

from tests.support.pages import DOCS, program
from tests.testing.test_pytest_plugin import LOADED

pytest_plugins = ["pytester"]


def test_the_tests_on_the_page_pass(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_page=program(DOCS / "recipes.md"))
    result = pytester.runpytest_inprocess(*LOADED, "--strict-markers", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=4)
