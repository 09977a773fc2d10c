"""What a test says that needs a program which is not there."""

from __future__ import annotations

import pytest

from tests.peers import require


@pytest.mark.parametrize("name", ["sh", "asyncio"])
def test_a_program_or_a_module_will_do(name: str) -> None:
    require(name)


def test_a_missing_peer_skips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEMPROTO_REQUIRE_PEERS", raising=False)
    with pytest.raises(
        pytest.skip.Exception, match="no_such_peer is not installed, neither as a program nor as a module"
    ):
        require("no_such_peer")


def test_a_missing_peer_fails_where_all_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMPROTO_REQUIRE_PEERS", "1")
    with pytest.raises(pytest.fail.Exception, match="no_such_peer is not installed"):
        require("no_such_peer")
