"""The permits of a pool: at most so many at a time, and none is ever lost."""

from __future__ import annotations

import gc
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue

import pytest

from memproto.clients.permits import Permit, Permits
from memproto.clients.stream import Expired
from tests.support.peers import DEADLINE


def nothing() -> str | None:
    return None


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline


def test_permits_are_as_many_as_the_limit_and_come_back() -> None:
    permits: Permits[str] = Permits(2)
    first, second = permits.take(), permits.take()
    assert first is not None
    assert second is not None
    assert permits.take() is None
    permits.give_back(first)
    permits.give_back(first)  # a second time changes nothing
    third = permits.take()
    assert third is not None
    permits.give_back(first)
    assert permits.take() is None
    assert {second.place, third.place} == {(0, 0), (1, 0)}


def test_permit_that_nobody_refers_to_is_free_again() -> None:
    permits: Permits[str] = Permits(1)
    for _ in range(3):
        assert permits.take() is not None
        gc.collect()
    kept = permits.take()
    assert kept is not None
    assert permits.take() is None


def test_wait_ends_at_the_deadline() -> None:
    unwanted: list[str] = []
    permits: Permits[str] = Permits(1)
    kept = permits.take()
    assert kept is not None
    with pytest.raises(Expired):
        permits.take_or(nothing, unwanted.append, time.monotonic() + 0.06)
    permits.give_back(kept)
    assert permits.take_or(nothing, unwanted.append, None) is not None
    assert unwanted == []


def test_permit_that_comes_back_goes_to_one_that_waits() -> None:
    permits: Permits[str] = Permits(1)
    kept = permits.take()
    assert kept is not None
    taken: list[Permit | str] = []
    thread = threading.Thread(target=lambda: taken.append(permits.take_or(nothing, taken.append, None)))
    thread.start()
    wait_until(lambda: permits._waiting)
    permits.give_back(kept)
    thread.join(DEADLINE)
    assert len(taken) == 1
    assert isinstance(taken[0], Permit)
    assert not permits._waiting


def test_what_is_handed_over_goes_to_the_thread_that_has_waited_longest() -> None:
    permits: Permits[str] = Permits(1)
    kept = permits.take()
    taken: list[tuple[str, Permit | str]] = []

    def wait(name: str) -> None:
        taken.append((name, permits.take_or(nothing, lambda _: None, None)))

    threads = [threading.Thread(target=wait, args=(name,), daemon=True) for name in ("first", "second")]
    threads[0].start()
    wait_until(lambda: len(permits._waiting) == 1)
    threads[1].start()
    wait_until(lambda: len(permits._waiting) == 2)
    assert permits.hand_over(None)
    wait_until(lambda: len(permits._waiting) == 2)  # the first has looked again, and keeps its place
    for thing, thread in zip(("one", "two"), threads, strict=True):
        assert permits.hand_over(thing)
        thread.join(DEADLINE)
    assert taken == [("first", "one"), ("second", "two")]
    assert not permits.hand_over("three")
    assert kept is not None


def test_call_stands_in_line_before_it_looks_for_something_if_another_waits() -> None:
    permits: Permits[str] = Permits(1)
    kept = permits.take()
    permits._waiting.append(SimpleQueue())
    waiting: list[int] = []
    with pytest.raises(Expired):
        permits.take_or(lambda: waiting.append(len(permits._waiting)), lambda _: None, time.monotonic() - 1)
    assert waiting == [2]
    assert kept is not None


@pytest.mark.parametrize("late", ["late", None])
def test_what_is_handed_over_after_the_deadline_goes_to_another(late: str | None) -> None:
    permits: Permits[str] = Permits(1)
    kept, unwanted = permits.take(), list[str]()
    other: SimpleQueue[str | None] = SimpleQueue()

    def hand_over_now() -> str | None:
        permits.hand_over(late)
        permits._waiting.append(other)
        return "found"

    looked: list[int] = []

    def find() -> str | None:
        looked.append(1)
        return hand_over_now() if len(looked) == 2 else None

    assert permits.take_or(find, unwanted.append, None) == "found"
    assert unwanted == [late][: late is not None]
    assert bool(permits._waiting) is (late is not None)
    assert kept is not None


def test_what_is_found_while_a_thread_begins_to_wait_is_taken() -> None:
    permits: Permits[str] = Permits(1)
    kept = permits.take()
    looked: list[int] = []

    def second_time() -> str | None:
        looked.append(1)
        return "found" if len(looked) == 2 else None

    assert permits.take_or(second_time, lambda _: None, None) == "found"
    assert not permits._waiting
    assert kept is not None


def test_thread_that_another_hands_something_to_just_before_is_not_there_any_more() -> None:
    class Taken(deque[SimpleQueue[str | None]]):
        def __bool__(self) -> bool:
            return True

    permits: Permits[str] = Permits(1)
    permits._waiting = Taken()
    assert not permits.hand_over("thing")
