"""How a client of several threads keeps to its most connections, without a lock.

A signal handler may interrupt a thread anywhere, make a call of its own, and raise. A thread that held a lock would
then wait for itself, and a counter would lose count. So a connection has a :class:`Permit`, which counts as long as
somebody refers to it: one that an interruption has lost is free again.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final, TypeVar
from weakref import ref

__all__ = ["Permit", "Permits"]

T = TypeVar("T")

# A thread that waits looks again after so many seconds, if an interruption has kept another from waking it.
_LOOK_AGAIN: Final = 0.05


class Permit:
    """The right to have one connection."""

    __slots__ = ("__weakref__", "place")

    def __init__(self) -> None:
        self.place: tuple[int, int] = (0, 0)


class Permits:
    """At most so many permits at a time."""

    def __init__(self, most: int) -> None:
        self._most = most
        # By place and generation. A permit that was lost stays as a dead reference, and the place goes on with the next
        # generation: so ``setdefault``, which no other thread can interrupt, decides who gets a place.
        self._taken: dict[tuple[int, int], ref[Permit]] = {}
        self._waiting: deque[SimpleQueue[None]] = deque()

    def take(self) -> Permit | None:
        """Return a permit, ``None`` if all are taken."""
        permit = Permit()
        mine = ref(permit)
        for number in range(self._most):
            generation = 0
            while True:
                permit.place = number, generation
                taken = self._taken.setdefault(permit.place, mine)
                if taken is mine:
                    return permit
                if taken() is not None:
                    break
                generation += 1
        return None

    def give_back(self, permit: Permit) -> None:
        """Make the permit free, if it is not."""
        taken = self._taken.get(permit.place)
        if taken is not None and taken() is permit:
            del self._taken[permit.place]
            self.wake()

    def wake(self) -> None:
        """Wake one of the threads that wait."""
        with suppress(IndexError):  # nobody waits
            self._waiting.popleft().put(None)

    def take_or(self, find: Callable[[], T | None], deadline: float | None) -> Permit | T:
        """Return what ``find`` finds, or a permit, as soon as there is either. Raises TimeoutError at the deadline."""
        while (found := find() or self.take()) is None:
            left = _LOOK_AGAIN if deadline is None else min(_LOOK_AGAIN, deadline - time.monotonic())
            if left <= 0:
                raise TimeoutError(f"all {self._most} connections of the pool are in use")
            mine: SimpleQueue[None] = SimpleQueue()
            self._waiting.append(mine)
            try:
                # Again, because a thread may have looked for one that waits just before.
                found = find() or self.take()
                if found is not None:
                    return found
                mine.get(timeout=left)
            except Empty:
                continue
            finally:
                with suppress(ValueError):  # it has been taken out to be woken
                    self._waiting.remove(mine)
        return found
