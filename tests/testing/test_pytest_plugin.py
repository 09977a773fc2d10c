"""The pytest plugin, in runs of pytest: fixtures, marker, and what it costs those who do not use it."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

pytest_plugins = ["pytester"]

#: Where memproto is not installed but only on the path, pytest does not find the plugin itself.
LOADED = () if "memproto" in entry_points(group="pytest11").names else ("-p", "_memproto_pytest")


def run(pytester: pytest.Pytester, tests: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(tests)
    return pytester.runpytest_inprocess(*LOADED, "--strict-markers", "-p", "no:cacheprovider", *options)


def test_each_test_has_a_clean_fake_and_all_have_the_same_server(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import time
        import pytest
        from memproto import Noop
        from memproto.clients import Client
        from memproto.testing import Close

        addresses = set()

        @pytest.fixture(scope="session")
        def client():
            made = []
            yield made
            made[0].close()

        @pytest.mark.parametrize("run", range(3))
        def test_clean(memcached, client, run):
            client[:] = client or [Client(*memcached.address)]
            addresses.add(memcached.address)
            assert (dict(memcached.items), memcached.requests) == ({}, [])
            assert abs(memcached.now - time.time()) < 60
            assert client[0].set(b"key", b"value")
            memcached.advance(1000)
            memcached.fail(how=Close()).remove()
            memcached.down()
            memcached.up()
            client[0].close()
            client[0] = Client(*memcached.address)

        def test_one_server():
            assert len(addresses) == 1
        """,
    )
    result.assert_outcomes(passed=4)


def test_a_server_that_a_test_has_stopped_is_started_for_the_next_one(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import pytest
        from memproto.clients import Client

        @pytest.mark.parametrize("run", range(2))
        def test_stopped(memcached, run):
            with Client(*memcached.address) as client:
                assert client.get(b"k") is None
            memcached.stop()
        """,
    )
    result.assert_outcomes(passed=2)


def test_markers_give_options_and_the_nearest_wins(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import pytest
        from memproto.clients import Client

        pytestmark = pytest.mark.memcached(version="1.4.0", item_size_max=1024 * 1024)

        def version(fake):
            with Client(*fake.address) as client:
                return client.version()

        def test_of_the_module(memcached):
            assert version(memcached) == b"1.4.0"

        @pytest.mark.memcached(version="1.6.45")
        def test_its_own(memcached):
            assert version(memcached) == b"1.6.45"

        @pytest.mark.memcached()
        def test_none_of_its_own(memcached):
            assert version(memcached) == b"1.4.0"
        """,
    )
    result.assert_outcomes(passed=3)


def test_a_marker_with_a_positional_argument_or_an_unknown_option_is_an_error(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import pytest

        @pytest.mark.memcached("1.4.0")
        def test_positional(memcached):
            pass

        @pytest.mark.memcached(versoin="1.4.0")
        def test_unknown(memcached):
            pass
        """,
    )
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["the marker memcached takes options of FakeMemcached by name only", "*'versoin'*"])


def test_the_factory_starts_several_and_stops_them_after_the_test(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import pytest
        from memproto.clients import Client

        made = []

        def test_two(memcached, memcached_factory):
            made.extend([memcached_factory(), memcached_factory(version="1.4.0")])
            assert len({fake.port for fake in (memcached, *made)}) == 3

        def test_they_are_stopped():
            for fake in made:
                with pytest.raises(OSError):
                    Client(*fake.address).get(b"key")
        """,
    )
    result.assert_outcomes(passed=2)


def test_a_reply_that_does_not_fit_is_an_error_of_its_own_test_only(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        from memproto import Counter, Increment
        from memproto.clients import Client
        from memproto.testing import Reply

        def test_wrong(memcached):
            memcached.fail(Increment, how=Reply(Counter(-1)))
            try:
                with Client(*memcached.address) as client:
                    client.incr(b"key")
            except Exception:
                pass

        def test_next(memcached):
            with Client(*memcached.address) as client:
                assert client.get(b"key") is None
        """,
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["ERROR *::test_wrong*"])


def test_a_fixture_of_the_same_name_in_a_project_wins(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import pytest

        @pytest.fixture
        def memcached():
            return "mine"

        @pytest.mark.memcached("anything")
        def test_mine(memcached):
            assert memcached == "mine"
        """,
    )
    result.assert_outcomes(passed=1)


def test_the_plugin_imports_nothing_but_pytest() -> None:
    code = "import sys, pytest; before = set(sys.modules); import _memproto_pytest; print(set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "{'_memproto_pytest'}"
