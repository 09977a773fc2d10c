"""The plugin of memproto for pytest: a fake memcached for a test that asks for one.

It stands outside the package, because pytest imports it at each start, also of those who do not use it, and to import
memproto takes about as long as to import pytest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from memproto.testing import FakeMemcached

__all__ = ["memcached", "memcached_factory", "pytest_configure"]


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers", "memcached(**options): options of memproto.testing.FakeMemcached for the fixture memcached"
    )


@pytest.fixture(scope="session")
def _shared_memcached() -> Iterator[FakeMemcached]:
    from memproto.testing import FakeMemcached

    with FakeMemcached() as fake:
        yield fake


@pytest.fixture
def memcached(request: pytest.FixtureRequest) -> Iterator[FakeMemcached]:
    """A fake memcached without items, rules or requests, at the system's time.

    All tests share one server, which is cleared before and after each; its connections stay open. A test, class or
    module with the marker ``@pytest.mark.memcached(...)`` gets a server of its own with these options.
    """
    options: dict[str, object] = {}
    # The marker that is nearest to the test is the first.
    for marker in request.node.iter_markers("memcached"):
        if marker.args:
            pytest.fail("the marker memcached takes options of FakeMemcached by name only", pytrace=False)
        options = {**marker.kwargs, **options}
    if options:
        make: Callable[..., FakeMemcached] = request.getfixturevalue("memcached_factory")
        yield make(**options)
        return
    fake: FakeMemcached = request.getfixturevalue("_shared_memcached")
    with suppress(RuntimeError):  # It runs, unless a test has stopped it.
        fake.start()
    fake.clear()
    yield fake
    fake.clear()


@pytest.fixture
def memcached_factory() -> Iterator[Callable[..., FakeMemcached]]:
    """A function that starts a further fake, with the options of ``FakeMemcached``; all stop at the end of the test."""
    from memproto.testing import FakeMemcached

    with ExitStack() as stack:
        yield _starter(FakeMemcached, stack)


# FakeMemcached itself checks the options.
def _starter(kind: Callable[..., FakeMemcached], stack: ExitStack) -> Callable[..., FakeMemcached]:
    def start(**options: object) -> FakeMemcached:
        return stack.enter_context(kind(**options))

    return start
