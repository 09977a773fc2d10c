"""pymemcache's own tests of its clients with a server, unchanged, on the clients of memproto with the same surface."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.pages import ROOT
from tests.support.peers import memcached, require


@pytest.mark.once
@pytest.mark.peer("pymemcache")
@pytest.mark.peer("memcached")
def test_tests_of_pymemcache_pass_on_the_clients_of_memproto() -> None:
    require("pymemcache")
    require("memcached")
    spec = find_spec("pymemcache")
    assert spec is not None
    assert spec.origin is not None
    tests = Path(spec.origin).parent / "test" / "test_integration.py"
    if not tests.exists():
        pytest.skip("this package of pymemcache has no tests")
    plugin = (
        "-p",
        "tests.peers.pymemcache_surface",
        "-p",
        "no:cacheprovider",
        "-o",
        "addopts=",
        "-o",
        "filterwarnings=",
    )
    with memcached() as port:
        server = ("--server", "127.0.0.1", "--port", str(port))
        ended = subprocess.run(
            # test_misc needs cache_memlimit, which is a difference: see the plugin.
            [sys.executable, "-m", "pytest", "-q", *plugin, "-k", "not test_misc", *server, str(tests)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert ended.returncode == 0, ended.stdout[-3000:]
    passed = re.search(r"(\d+) passed", ended.stdout)
    assert passed is not None
    assert int(passed[1]) >= 90
