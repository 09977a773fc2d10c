"""The demonstration runs to its end, and explains what client and server say."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from memproto.cli import demo
from memproto.clients.client import Client


def test_the_demonstration_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main([]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.endswith("51 exchanges, all as expected; the server has stopped\n")
    for seen in (
        "How to read this",
        "request VERSION, 24 bytes",
        "> request  GETKQ, opaque ",
        "< response INCREMENT, DELTA_BAD_VALUE, opaque ",
        "> request  QUIT",
        "the end of the items",
        "return the value",
        "  = Values(items=())",
    ):
        assert seen in said.out
    # Text first; of binary one exchange is in full.
    assert [said.out.index(f"##### in {dialect}") for dialect in ("classic", "meta", "binary")] == sorted(
        said.out.index(f"##### in {dialect}") for dialect in ("classic", "meta", "binary")
    )
    assert said.out.count("vbucket_or_status") == 2


def test_a_wrong_answer_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(Client, "version", lambda self: b"0.0.0")
    assert demo.main([]) == 1
    assert "version: expected b'1.6.18', got b'0.0.0'" in capsys.readouterr().err


@pytest.mark.parametrize(("said", "told"), [("no such thing", "no such thing"), ("", "it said nothing")])
def test_a_server_that_does_not_start_is_told(
    said: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    no_server = tmp_path / "python"
    no_server.write_text(f"#!/bin/sh\nprintf '{said}' >&2\n", encoding="ascii")
    no_server.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(no_server))
    assert demo.main([]) == 1
    assert f"the server did not start: {told}" in capsys.readouterr().err


def test_a_server_that_ends_badly_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    server = tmp_path / "python"
    server.write_text(
        "#!/bin/sh\ntrap 'kill $!; exit 3' TERM\nsleep 20 2>&- &\necho listening on 127.0.0.1:1 >&2\nwait\n",
        encoding="ascii",
    )
    server.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(server))
    monkeypatch.setattr(demo, "ORDER", ())
    assert demo.main([]) == 1
    assert "the server ended with exit code 3" in capsys.readouterr().err
