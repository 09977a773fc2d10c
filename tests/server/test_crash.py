"""``python -m benchmarks.crash``, shortened: what was answered outlives a kill, and the trial sees what does not."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from benchmarks.crash import Known, matches, trial
from memproto import Item
from memproto.model import ItemMeta

pytestmark = pytest.mark.untraced


@pytest.mark.parametrize("sync", ["normal", "full"])
def test_nothing_that_was_answered_is_lost(tmp_path: Path, sync: str) -> None:
    rounds = 4 if sync == "normal" else 1
    findings = trial(tmp_path / "journal", rounds, clients=4, seed=rounds, arguments=("--sync", sync))
    assert findings.losses == []
    assert findings.repeated == 0
    assert findings.rounds == rounds
    assert len(findings.restarts) == rounds + 1
    assert findings.acknowledged > len(findings.numbers) > 0


def test_the_trial_sees_a_loss_and_a_repeated_cas(tmp_path: Path) -> None:
    path = tmp_path / "journal"

    def remove() -> None:
        path.unlink()
        Path(f"{path}-wal").unlink()

    findings = trial(path, 2, clients=2, seed=3, between=remove)
    assert ": None must be Known(" in findings.losses[0]
    assert findings.repeated > 0


NOW = 1000.0
ITEM = Item(b"k", b"value", 7, 5, meta=ItemMeta(60))
KNOWN = Known((0, 1), b"value", 7, (NOW + 59.5, NOW + 60.5), 5)


@pytest.mark.parametrize(
    ("state", "item", "result"),
    [
        (None, None, True),
        (None, ITEM, False),
        (KNOWN, ITEM, True),
        (KNOWN, None, False),
        (Known((0, 1), b"value", 7, (NOW + 59.5, NOW + 60.5)), ITEM, True),
        (Known((0, 1), b"value", 7, (NOW + 59.5, NOW + 60.5), 6), ITEM, False),
        (Known((0, 1), b"value", 8, (NOW + 59.5, NOW + 60.5), 5), ITEM, False),
        (Known((0, 1), b"other", 7, (NOW + 59.5, NOW + 60.5), 5), ITEM, False),
        (Known((0, 1), b"value", 7, (NOW + 62, NOW + 62), 5), ITEM, False),
        (Known((0, 1), b"value", 7, (NOW + 58, NOW + 58), 5), ITEM, False),
        (Known((0, 1), b"value", 7, (math.inf, math.inf), 5), ITEM, False),
        (Known((0, 1), b"value", 7, (math.inf, math.inf), 5), Item(b"k", b"value", 7, 5, meta=ItemMeta(-1)), True),
        (Known((0, 1), b"value", 7, (NOW + 0.05, NOW + 1), 5), None, True),
        (Known((0, 1), b"value", 7, (NOW - 2, NOW - 1), 5), Item(b"k", b"value", 7, 5, meta=ItemMeta(0)), False),
    ],
)
def test_item_after_a_crash_matches_what_was_answered_or_not(
    state: Known | None, item: Item | None, result: bool
) -> None:
    assert matches(state, item, NOW, NOW + 0.1) is result
