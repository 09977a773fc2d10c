"""The permits of a pool: at most so many at a time, and none is ever lost."""

from __future__ import annotations

import gc
import threading
import time

import pytest

from memproto.clients.permits import Permit, Permits
from tests.support.peers import DEADLINE


def nothing() -> Permit | None:
    return None


def test_permits_are_as_many_as_the_limit_and_come_back() -> None:
    permits = Permits(2)
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
    permits = Permits(1)
    for _ in range(3):
        assert permits.take() is not None
        gc.collect()
    kept = permits.take()
    assert kept is not None
    assert permits.take() is None


def test_wait_ends_with_timeout_error_at_the_deadline() -> None:
    permits = Permits(1)
    kept = permits.take()
    assert kept is not None
    with pytest.raises(TimeoutError, match="all 1 connections of the pool are in use"):
        permits.take_or(nothing, time.monotonic() + 0.06)
    permits.give_back(kept)
    assert permits.take_or(nothing, None) is not None


def test_permit_that_comes_back_goes_to_one_that_waits() -> None:
    permits = Permits(1)
    kept = permits.take()
    assert kept is not None
    taken: list[Permit | None] = []
    thread = threading.Thread(target=lambda: taken.append(permits.take_or(nothing, time.monotonic() + DEADLINE)))
    thread.start()
    deadline = time.monotonic() + DEADLINE
    while not permits._waiting:
        assert time.monotonic() < deadline
    permits.give_back(kept)
    thread.join(DEADLINE)
    assert len(taken) == 1
    assert taken[0] is not None
    assert not permits._waiting


def test_what_is_found_while_a_thread_begins_to_wait_is_taken() -> None:
    permits = Permits(1)
    kept = permits.take()
    looked: list[int] = []

    def second_time() -> str | None:
        looked.append(1)
        return "found" if len(looked) == 2 else None

    assert permits.take_or(second_time, None) == "found"
    assert not permits._waiting
    assert kept is not None
