"""A fake memcached for the tests of unittest, and of frameworks such as Django whose tests stand on it."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import ClassVar

from memproto.testing.fake.memcached import FakeMemcached

__all__ = ["MemcachedMixin"]


# FakeMemcached itself checks the options.
def _make(kind: Callable[..., FakeMemcached], options: Mapping[str, object]) -> FakeMemcached:
    return kind(**options)


class MemcachedMixin(unittest.TestCase):
    """Gives the tests of a class :attr:`memcached`, a fake that listens as long as the class is tested.

    Stands before other base classes: ``class LoginTest(MemcachedMixin, django.test.TestCase)``. Each test begins with
    no items, rules or requests, and at the system's time; connections stay open from one test to the next. A
    ``setUp`` or ``setUpClass`` of your own has to call that of ``super()``.
    """

    #: The options of the fake, as :class:`~memproto.testing.FakeMemcached` takes them.
    memcached_options: ClassVar[Mapping[str, object]] = {}
    #: The fake.
    memcached: ClassVar[FakeMemcached]

    @classmethod
    def setUpClass(cls) -> None:
        """Start the fake."""
        cls.memcached = cls.enterClassContext(_make(FakeMemcached, cls.memcached_options))
        super().setUpClass()

    def setUp(self) -> None:
        """Clear the fake, now and after the test."""
        with suppress(RuntimeError):  # It runs, unless a test has stopped it.
            self.memcached.start()
        self.memcached.clear()
        self.addCleanup(self.memcached.clear)
        super().setUp()
