"""Several fakes for a client of several servers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self, overload

from memproto.testing.arguments import check_count, check_type, misuse
from memproto.testing.fake.memcached import FakeMemcached


class FakeCluster(Sequence[FakeMemcached]):
    """A sequence of ``count`` fakes, each at an address of its own: ``with FakeCluster(3) as fakes: fakes[0].down()``.

    ``make`` makes each of them, without arguments. Each has its own items, rules, requests and time.

    Raises :class:`~memproto.LocalProtocolError` for a ``count`` that is less than 1.
    """

    def __init__(self, count: int, make: Callable[[], FakeMemcached] = FakeMemcached) -> None:
        check_count("count", count, 1)
        if not callable(make):
            raise misuse("make", make, "a function that makes a FakeMemcached")
        self._fakes = tuple(make() for _ in range(count))
        for fake in self._fakes:
            check_type("what make() returns", fake, (FakeMemcached,), "a FakeMemcached")

    @overload
    def __getitem__(self, index: int) -> FakeMemcached: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[FakeMemcached]: ...
    def __getitem__(self, index: int | slice) -> FakeMemcached | Sequence[FakeMemcached]:
        return self._fakes[index]

    def __len__(self) -> int:
        return len(self._fakes)

    def start(self) -> Self:
        """Start all; if one cannot be started, none is. Raises what :meth:`FakeMemcached.start` raises."""
        with ExitStack() as started:
            for fake in self:
                started.enter_context(fake)
            started.pop_all()
        return self

    def stop(self) -> None:
        """Stop all. Raises the first error that :meth:`FakeMemcached.stop` of one of them raises."""
        with ExitStack() as started:
            for fake in self:
                started.callback(fake.stop)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with ExitStack() as started:
            for fake in self:
                started.push(fake)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of each."""
        return [fake.address for fake in self]

    def clear(self) -> None:
        """Bring each to the state after the start."""
        for fake in self:
            fake.clear()

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass for each."""
        for fake in self:
            fake.advance(seconds)
