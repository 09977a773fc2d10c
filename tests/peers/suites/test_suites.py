"""The tests of pymemcache, which are in its package, pass with the fake as they do with memcached."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers.suites.__main__ import worse
from tests.peers.suites.runner import BACKENDS, run, source_of
from tests.peers.suites.table import SUITES
from tests.support.peers import require


@pytest.mark.once
@pytest.mark.peer("memcached")
def test_pymemcaches_own_tests_pass_with_the_fake_as_with_memcached(tmp_path: Path) -> None:
    require("pymemcache")
    suite = SUITES["pymemcache"]
    # The tests that talk to a server; ``nox -s suites`` runs all.
    suite = suite._replace(
        command=tuple(word.replace("pymemcache/test", "pymemcache/test/test_integration.py") for word in suite.command)
    )
    source = source_of(suite, tmp_path)
    results = {backend: run(suite, source, backend) for backend in BACKENDS}
    assert worse(results["memcached"], results["fake"]) == []
    assert list(results["memcached"].values()).count("passed") > 100
