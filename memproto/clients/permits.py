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
from typing import Final, Generic, TypeVar
from weakref import ref

from memproto.clients.stream import Expired

__all__ = ["Permit", "Permits"]

T = TypeVar("T")

# A thread that waits looks again after so many seconds, if an interruption has kept another from waking it.
_LOOK_AGAIN: Final = 0.05


class Permit:
    """The right to have one connection."""

    __slots__ = ("__weakref__", "place")

    def __init__(self) -> None:
        self.place: tuple[int, int] = (0, 0)


class Permits(Generic[T]):
    """At most so many permits at a time, and the threads that wait for one, or for a thing that has one."""

    def __init__(self, most: int) -> None:
        self._most = most
        # By place and generation. A permit that was lost stays as a dead reference, and the place goes on with the next
        # generation: so ``setdefault``, which no other thread can interrupt, decides who gets a place.
        self._taken: dict[tuple[int, int], ref[Permit]] = {}
        # The threads that wait, in the order of their calls. One that is taken out gets exactly one thing.
        self._waiting: deque[SimpleQueue[T | None]] = deque()

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
            self.hand_over(None)

    def hand_over(self, thing: T | None) -> bool:
        """Give it to the thread that has waited longest; with ``None`` that one looks again. False if nobody waits."""
        if not self._waiting:  # an interruption in the handler below would keep the thing alive
            return False
        try:
            waiting = self._waiting.popleft()
        except IndexError:  # another thread was faster
            return False
        waiting.put(thing)
        return True

    def take_or(self, find: Callable[[], T | None], keep: Callable[[T], None], deadline: float | None) -> Permit | T:
        """Return what ``find`` finds, what a thread hands over, or a permit, as soon as there is one of these.

        The threads get them in the order of their calls: otherwise one that makes a call after the other would leave
        nothing to the others. ``keep`` gets a thing that is handed over too late. Raises :class:`Expired`.
        """
        if not self._waiting and (found := find() or self.take()) is not None:
            return found
        mine: SimpleQueue[T | None] = SimpleQueue()
        self._waiting.append(mine)
        received = False
        try:
            while (found := find() or self.take()) is None:
                left = _LOOK_AGAIN if deadline is None else min(_LOOK_AGAIN, deadline - time.monotonic())
                if left <= 0:
                    raise Expired
                with suppress(Empty):
                    found = mine.get(timeout=left)
                    if found is not None:
                        received = True
                        return found
                    self._waiting.appendleft(mine)
            return found
        finally:
            if not received:
                self._leave(mine, keep)

    def _leave(self, mine: SimpleQueue[T | None], keep: Callable[[T], None]) -> None:
        try:
            self._waiting.remove(mine)
        except ValueError:
            # Another thread has taken it out and puts something in, now or soon.
            with suppress(Empty):
                late = mine.get(timeout=_LOOK_AGAIN)
                if late is None:
                    self.hand_over(None)
                else:
                    keep(late)
