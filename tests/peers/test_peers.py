"""What happens to a test that needs a program which is not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.peers import ALLOWED_SKIPS, ROOT, require

pytestmark = pytest.mark.once


@pytest.mark.parametrize("name", ["sh", "asyncio"])
def test_a_program_or_a_module_will_do(name: str) -> None:
    require(name)
    with pytest.raises(pytest.skip.Exception):
        require(f"{name}_that_is_not_there")


def test_a_missing_peer_skips() -> None:
    with pytest.raises(
        pytest.skip.Exception, match="no_such_peer is not installed, neither as a program nor as a module"
    ):
        require("no_such_peer")


_SKIPS = f"""
import pytest, unittest
from tests.support.peers import require

@pytest.fixture
def peer():
    require("no_such_peer")

def test_peer_of_a_fixture(peer): pass
def test_peer(): require("no_such_peer")
def test_module(): pytest.importorskip("no_such_module")
def test_in_its_body(): pytest.skip("of its own will")
@pytest.mark.skip(reason="by a mark")
def test_mark(): pass
@pytest.mark.skipif(True, reason="by a condition")
def test_condition(): pass
class TestOld(unittest.TestCase):
    def test_old(self): self.skipTest("the old way")
@pytest.mark.skipif(True, reason={ALLOWED_SKIPS[0]!r})
def test_allowed(): pass
@pytest.mark.xfail(reason="known", strict=True)
def test_known_fault(): raise AssertionError
def test_good(): pass
"""


def _run(folder: Path, source: str, **environment: str) -> str:
    """The output of pytest for a module with this source, with the hooks of this project."""
    folder.joinpath("test_made.py").write_text(source)
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    clean = {name: value for name, value in os.environ.items() if name != "MEMPROTO_REQUIRE_PEERS"}
    path = {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*command, "-c", os.devnull, "--rootdir", str(folder), str(folder)],
        env={**clean, **path, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    ).stdout


def test_every_kind_of_skip_is_a_failure_where_all_peers_must_be_there(tmp_path: Path) -> None:
    assert "1 passed, 8 skipped, 1 xfailed" in _run(tmp_path, _SKIPS)
    required = _run(tmp_path, _SKIPS, MEMPROTO_REQUIRE_PEERS="1")
    assert "4 failed, 1 passed, 1 skipped, 1 xfailed, 3 errors" in required
    for reason in ("no_such_peer is not installed", "could not import 'no_such_module'", "of its own will"):
        assert f"was skipped, and MEMPROTO_REQUIRE_PEERS=1 forbids that: {reason}" in required
    for reason in ("by a mark", "by a condition", "the old way"):
        assert f"was skipped, and MEMPROTO_REQUIRE_PEERS=1 forbids that: {reason}" in required


def test_a_module_that_is_skipped_as_a_whole_is_a_failure_where_all_peers_must_be_there(tmp_path: Path) -> None:
    whole = "import pytest\npytest.skip('all of it', allow_module_level=True)\n"
    assert "1 skipped" in _run(tmp_path, whole)
    required = _run(tmp_path, whole, MEMPROTO_REQUIRE_PEERS="1")
    assert "MEMPROTO_REQUIRE_PEERS=1 forbids that: all of it" in required
    assert "1 error" in required


_SETTINGS = """
import sys
from hypothesis import settings
import tests.conftest
for name in ("default", "ci", "steady", "nightly"):
    it = settings.get_profile(name)
    print(name, it.max_examples, it.derandomize, it.print_blob, it.deadline)
print(settings().max_examples)
"""


@pytest.mark.parametrize("ci", [{}, {"CI": "true"}, {"GITLAB_CI": "1", "CI": "1"}])
@pytest.mark.parametrize(("profile", "active"), [({}, 30), ({"HYPOTHESIS_PROFILE": "nightly"}, 2000)])
def test_hypothesis_profiles_do_not_depend_on_ci_variables(
    ci: dict[str, str], profile: dict[str, str], active: int
) -> None:
    clean = {name: value for name, value in os.environ.items() if name not in ("CI", "HYPOTHESIS_PROFILE")}
    printed = subprocess.run(
        [sys.executable, "-c", _SETTINGS],
        env={**clean, **ci, **profile, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed.splitlines() == [
        "default 30 False True None",
        "ci 20 False True None",
        "steady 60 True True None",
        "nightly 2000 False True None",
        str(active),
    ]
