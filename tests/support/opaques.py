"""Fixtures for tests that write replies by hand: a module that imports one gets it for each of its tests."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def opaques_begin_at_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memproto.clients.connection._RANDOM.getrandbits", lambda bits: 0)


@pytest.fixture(autouse=True)
def opaques_of_tasks_begin_at_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memproto.clients.async_connection._RANDOM.getrandbits", lambda bits: 0)
