"""Laws that hardly run are noticed."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.reached import reached, reaches


@pytest.fixture(autouse=True)
def few_examples_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.reached.ENOUGH", 20)


@reaches(even=0.05, odd=0.05)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 99))
def test_a_law_with_two_cases_passes_if_both_are_reached(number: int) -> None:
    reached("odd" if number % 2 else "even")


@pytest.mark.parametrize("argument", ["a", "b"])
@reaches(every=1.0)
@given(number=st.integers(0, 99))
def test_a_law_is_counted_for_each_of_its_parameters(argument: str, number: int) -> None:
    reached("every")
    reached("every")


@pytest.mark.parametrize("least", [0, 60])
@reaches(large={60: 1.0})
@given(data=st.data())
def test_a_share_can_depend_on_a_parameter(least: int, data: st.DataObject) -> None:
    if data.draw(st.integers(least, least + 39)) > 50:
        reached("large")


def test_decorators_above_are_heeded() -> None:
    seen: list[int] = []

    @settings(max_examples=77)
    @example(-1)
    @reaches(every=1.0)
    @given(st.integers(0, 10**9))
    def law(number: int) -> None:
        seen.append(number)
        reached("every")

    law()
    assert seen[0] == -1
    assert len(seen) == 78


def test_a_law_that_hardly_runs_for_one_parameter_fails() -> None:
    @reaches(large={0: 0.1, 60: 1.0})
    @given(data=st.data())
    def law(least: int, data: st.DataObject) -> None:
        if data.draw(st.integers(least, least + 39)) > 50:
            reached("large")

    law(least=60)
    law(least=1)
    with pytest.raises(AssertionError, match=r"^'large' was reached by 0 of \d+ examples"):
        law(least=0)


def test_few_random_examples_are_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    @reaches(never=1.0)
    @given(st.integers(0, 99))
    def law(number: int) -> None:
        pass

    monkeypatch.setattr("tests.support.reached.ENOUGH", 10**6)
    monkeypatch.setattr(settings.default, "_derandomize", False)
    law()
    monkeypatch.setattr("tests.support.reached.ENOUGH", 20)
    with pytest.raises(AssertionError, match=r"^'never' was reached by 0 of \d+ examples"):
        law()


def test_a_law_that_hardly_runs_fails() -> None:
    @reaches(small=0.01, large=0.9)
    @given(st.integers(0, 99))
    def law(number: int) -> None:
        reached("large" if number > 50 else "small")

    with pytest.raises(AssertionError, match=r"^'large' was reached by \d+ of \d+ examples"):
        law()


def test_an_example_that_is_refused_halfway_does_not_count() -> None:
    @reaches(all=1.0)
    @given(st.data())
    def law(data: st.DataObject) -> None:
        data.draw(st.integers(0, 99).filter(lambda number: number % 4 != 0))
        reached("all")

    law()


def test_a_law_that_says_what_it_does_not_count_fails() -> None:
    @reaches(one=0.0)
    @given(st.integers(0, 99))
    def law(number: int) -> None:
        reached("two")

    with pytest.raises(AssertionError, match=r"^@reaches has no share for \{'two'\}"):
        law()


def test_reached_needs_a_law() -> None:
    with pytest.raises(AssertionError, match="outside of a test with @reaches"):
        reached("here")
    with pytest.raises(AssertionError, match="must stand above @given"):
        reaches(one=1.0)(lambda: None)
