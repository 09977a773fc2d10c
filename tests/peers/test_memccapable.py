"""libmemcached's own conformance tests of the binary and the classic text protocol, with our servers."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.support.peers import DEADLINE, example_server, require, tiny_server

pytestmark = [pytest.mark.once, pytest.mark.peer("memccapable")]

TESTS = 27


def check(port: int, protocol: str) -> None:
    command = ["memccapable", "-h", "127.0.0.1", "-p", str(port), protocol]
    result = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
    outcomes = re.findall(r"^(\S.*?)\s+\[(\w+)\]$", result.stdout, re.MULTILINE)
    assert [name for name, outcome in outcomes if outcome != "pass"] == []
    assert (len(outcomes), result.returncode) == (TESTS, 0), result.stdout + result.stderr


@pytest.mark.parametrize("protocol", ["-a", "-b"])
@pytest.mark.parametrize("loop", ["asyncio", pytest.param("uvloop", marks=pytest.mark.peer("uvloop"))])
def test_the_example_server_is_capable(loop: str, protocol: str) -> None:
    require("memccapable")
    if loop == "uvloop":
        require("uvloop")
    with example_server("--loop", loop) as port:
        check(port, protocol)


@pytest.mark.parametrize("protocol", ["-a", "-b"])
def test_the_tiny_server_is_capable(protocol: str) -> None:
    require("memccapable")
    with tiny_server() as port:
        check(port, protocol)
