"""A count of how often a law is really tested: a hypothesis test whose assertions seldom run proves nothing.

``@reaches(hit=0.2, miss=0.1)`` stands above ``@given``, and the test calls ``reached("hit")`` at the assertion of that
name. Afterwards the test fails if fewer than 20 % of the examples got to "hit", or fewer than 10 % to "miss". That is
asked of examples that are the same in every run (a derandomised profile, as the coverage gate has it) or that are many
(the nightly profile): a few random ones come in clumps, so that a share of them says little. State shares well below
what is usual (a quarter of it). Where a case is rare, make it a parameter of the test, so that it is drawn in every
run, and state the share by its value: ``@reaches(hit={"mutated": 0.1, "valid": 0.8})``; other values of the parameter
need not get there. ``--hypothesis-show-statistics`` prints the shares.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias, TypeVar

from hypothesis import event, settings

from memproto import Dialect
from tests.support.kinds import Kind

T = TypeVar("T", bound=Callable[..., None])
Share: TypeAlias = (
    float
    | Mapping[str, float]
    | Mapping[Kind, float]
    | Mapping[Dialect, float]
    | Mapping[int, float]
    | Mapping[bool, float]
)

#: From so many examples on, a share means something: of examples that are the same in every run, and of random ones.
FEW, ENOUGH = 20, 500

_names: list[set[str]] = []


def reached(name: str) -> None:
    """Count the example that runs now for this name, once."""
    assert _names, f"reached({name!r}) was called outside of a test with @reaches"
    if name not in _names[-1]:
        _names[-1].add(name)
        event(name)


def _check(counts: Counter[str], examples: int, shares: Mapping[str, Share], parameters: Iterable[object]) -> None:
    repeatable = settings.default is not None and settings.default.derandomize
    if examples < (FEW if repeatable else ENOUGH):
        return
    for name, wanted in shares.items():
        given: dict[object, float] = dict(wanted.items()) if isinstance(wanted, Mapping) else {}
        share = (
            wanted if isinstance(wanted, float) else next((given[each] for each in parameters if each in given), 0.0)
        )
        assert counts[name] >= share * examples, f"{name!r} was reached by {counts[name]} of {examples} examples"


def reaches(**shares: Share) -> Callable[[T], T]:
    """Fail the hypothesis test below unless at least these shares of its examples call ``reached`` with these names."""

    def decorate(test: T) -> T:
        hypothesis = getattr(test, "hypothesis", None)
        assert hypothesis is not None, "@reaches must stand above @given"
        inner = hypothesis.inner_test
        counts: Counter[str] = Counter()
        examples = 0

        @functools.wraps(inner)
        def counted(*args: object, **kwargs: object) -> None:
            nonlocal examples
            _names.append(set())
            try:
                inner(*args, **kwargs)
                unknown = _names[-1] - shares.keys()
                assert not unknown, f"@reaches has no share for {unknown}"
                counts.update(_names[-1])
                examples += 1
            finally:
                _names.pop()

        @functools.wraps(test)
        def checked(*args: object, **kwargs: object) -> None:
            nonlocal examples
            # What other decorators above this one have added: settings, examples, a failure to repeat.
            vars(test).update({name: value for name, value in vars(checked).items() if name != "__wrapped__"})
            counts.clear()
            examples = 0
            test(*args, **kwargs)
            _check(counts, examples, shares, kwargs.values())

        hypothesis.inner_test = counted
        return checked  # type: ignore[return-value]

    return decorate
