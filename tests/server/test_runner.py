"""Signals that come while the reference server reads its items."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from memproto.server import runner
from memproto.server.command_line import parse_arguments
from memproto.server.options import Options
from memproto.server.startup_signals import noting_signals
from memproto.server.store import Store
from tests.support.journals import filled, journal, loaded, saved


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_to_stop_ends_the_loading_and_leaves_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    path = tmp_path / "items"
    filled(path)

    def interrupted(options: Options, stop: Callable[[], bool]) -> Store:
        assert not stop()
        os.kill(os.getpid(), signal.SIGHUP)
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()
        return Store(options, stop)

    monkeypatch.setattr(runner, "Store", interrupted)
    assert asyncio.run(runner.serve(parse_arguments(["-p", "-1", "--persist", str(path)]))) == 0
    assert "not read to the end, because the server is to stop" in capsys.readouterr().err
    with journal(path) as opened:
        assert len(loaded(opened)) == 300


def test_a_signal_to_stop_that_comes_after_the_last_item_stops_the_server(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def late(options: Options, stop: Callable[[], bool]) -> Store:
        store = Store(options, stop)
        os.kill(os.getpid(), signal.SIGTERM)
        return store

    monkeypatch.setattr(runner, "Store", late)
    assert asyncio.run(runner.serve(parse_arguments(["-p", "-1"]))) == 0
    assert "listening on" in capsys.readouterr().err


def test_the_handlers_from_before_are_back_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)
    with noting_signals([signal.SIGTERM]) as noted:
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert not noted()
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)) == before


def test_lost_commits_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, copy = tmp_path / "items", tmp_path / "copy"
    with journal(path) as opened:
        for at in range(10):
            opened.put(saved(b"key%d" % at, bytes(5000), at))
            opened.commit(opened.engine_state())
        copy.write_bytes(path.read_bytes())
        log = Path(f"{path}-wal").read_bytes()
    Path(f"{copy}-wal").write_bytes(log[:9000] + b"?" + log[9001:])
    Store(parse_arguments(["--persist", str(copy)])).close()
    assert any("the write-ahead log is damaged: a page in it has changed" in message for message in caplog.messages)
