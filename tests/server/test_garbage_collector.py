"""The garbage collector of the reference server."""

from __future__ import annotations

import gc

import pytest

from memproto.server import garbage_collector
from memproto.server.garbage_collector import Freezer, freezing


def test_what_outlives_a_full_collection_is_left_out_until_too_many_connections_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(garbage_collector, "MAX_UNCOLLECTED", 10)
    freezer = Freezer(lambda: 4)
    gc.unfreeze()
    try:
        freezer("start", {"generation": 2})
        freezer("stop", {"generation": 1})
        assert gc.get_freeze_count() == 0
        for frozen in (True, True, False, True):
            freezer("stop", {"generation": 2})
            assert (gc.get_freeze_count() > 0) == frozen
    finally:
        gc.unfreeze()


def test_nothing_stays_left_out_when_the_server_has_ended() -> None:
    before = list(gc.callbacks)
    with freezing(lambda: 1):
        assert len(gc.callbacks) == len(before) + 1
        gc.collect()
        assert gc.get_freeze_count() > 0
    assert gc.callbacks == before
    assert gc.get_freeze_count() == 0
