"""The mixin for unittest: one server for a class, clean for each test."""

from __future__ import annotations

import unittest

import memproto.testing
from memproto.clients import Client
from memproto.testing import FakeMemcached, MemcachedMixin


def _outcome(case: type[unittest.TestCase]) -> unittest.TestResult:
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    return result


def test_a_class_has_one_server_which_is_clean_for_each_test_and_stops() -> None:
    seen: list[FakeMemcached] = []

    class Case(MemcachedMixin, unittest.TestCase):
        def check(self) -> None:
            seen.append(self.memcached)
            assert dict(self.memcached.items) == {}
            with Client(*self.memcached.address) as client:
                assert client.set(b"key", b"value")

        test_one = check
        test_two = check

    result = _outcome(Case)
    assert (result.testsRun, result.errors, result.failures) == (2, [], [])
    assert seen[0] is seen[1]
    assert dict(seen[0].items) == {}
    try:
        Client(*seen[0].address).get(b"key")
    except OSError:
        return
    raise AssertionError("the server of the class still listens")


def test_a_server_that_a_test_has_stopped_is_started_for_the_next_one() -> None:
    class Case(MemcachedMixin, unittest.TestCase):
        def check(self) -> None:
            with Client(*self.memcached.address) as client:
                assert client.get(b"key") is None
            self.memcached.stop()

        test_one = check
        test_two = check

    assert _outcome(Case).wasSuccessful()


def test_the_options_of_a_class_are_those_of_the_fake() -> None:
    class Case(MemcachedMixin, unittest.IsolatedAsyncioTestCase):
        memcached_options = {"version": "1.4.0"}  # noqa: RUF012

        async def test_version(self) -> None:
            with Client(*self.memcached.address) as client:
                assert client.version() == b"1.4.0"

    assert _outcome(Case).wasSuccessful()


def test_the_mixin_is_imported_when_it_is_named() -> None:
    assert memproto.testing.MemcachedMixin is MemcachedMixin
