"""The fuzzer runs for a bounded number of rounds, and a fault that it finds can be repeated."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from random import Random

import pytest

from tests.fuzz import inputs
from tests.fuzz.__main__ import at_random, main
from tests.fuzz.targets import CONVERSATIONS, TARGETS, Conversation, outcome_of_client

SEEDS = inputs.seeds()


@pytest.mark.untraced
@pytest.mark.parametrize("target", TARGETS)
def test_every_target_with_each_of_its_seeds_finds_no_fault(target: str) -> None:
    mine = [seed for seed in SEEDS if seed[:1] == inputs.input_of(target, b"")[:1]]
    assert mine
    for seed in mine:
        inputs.run(seed)


def test_changed_inputs_find_no_fault_in_300_rounds() -> None:
    assert at_random(0.0, 300, seed=1) == 300


def test_rounds_end_with_their_time() -> None:
    assert at_random(0.0, None, seed=1) == 0


@pytest.mark.parametrize("conversation", CONVERSATIONS)
def test_the_seed_of_a_client_answers_all_its_requests(conversation: Conversation) -> None:
    *answered, end = outcome_of_client(conversation.client(), [conversation.replies()])
    assert len(answered) == len(conversation.requests)
    assert not isinstance(end, str)


def test_changed_inputs_follow_from_the_seed_and_reach_every_target() -> None:
    def some(seed: int) -> list[bytes]:
        random = Random(seed)
        return [inputs.changed(each, random.choice(SEEDS), random) for each in SEEDS]

    assert some(1) == some(1) != some(2)
    assert {given[0] for given in some(1)} == set(range(len(TARGETS)))


def test_a_fault_ends_the_run_with_a_command_that_repeats_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(data: bytes, pieces: Sequence[bytes]) -> None:
        assert len(data) < 20

    monkeypatch.setitem(TARGETS, "server", faulty)
    with pytest.raises(AssertionError):
        at_random(60.0, None, seed=1)
    command = capsys.readouterr().err.strip()
    assert command.startswith("repeat it: python -m tests.fuzz --input ")
    with pytest.raises(AssertionError):
        main(["--input", command.split()[-1]])


def test_the_command_runs_the_rounds_that_it_is_told() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--random", "--rounds", "20", "--seed", "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "20 inputs, no fault\n"
