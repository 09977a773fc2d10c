"""Without hypothesis the pipe and the fake can be used, and a strategy names the extra that it needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import memproto.testing

_WITHOUT = """
import sys
sys.modules["hypothesis"] = None
import memproto.testing
from memproto import Noop
from memproto.testing import FakeMemcached, Pipe
with FakeMemcached() as fake:
    fake.items[b"k"] = b"v"
pipe = Pipe()
pipe.write_to_server(pipe.client.send(Noop()).data)
pipe.deliver_to_server()
assert pipe.server.next_event().request == Noop()
for name in memproto.testing.__all__:
    try:
        getattr(memproto.testing, name)
    except ImportError as error:
        assert str(error) == f"memproto.testing.{name} needs hypothesis: pip install 'memproto[testing]'", error
    else:
        assert not name.islower() and not name.endswith("Machine"), name
try:
    from memproto.testing import requests
except ImportError as error:
    print(error)
"""


def test_without_hypothesis_the_pipe_and_the_fake_work_and_a_strategy_names_the_extra() -> None:
    done = subprocess.run([sys.executable, "-c", _WITHOUT], capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    assert done.stdout == "memproto.testing.requests needs hypothesis: pip install 'memproto[testing]'\n"


def _strategies() -> list[str]:
    return [name for name in sys.modules if name.startswith("memproto.testing.strategies")]


def test_without_hypothesis_in_this_process_a_strategy_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("requests", "strategies"):
        monkeypatch.delitem(vars(memproto.testing), name, raising=False)
    for module in _strategies():
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(ImportError, match="needs hypothesis: pip install 'memproto"):
        _ = memproto.testing.requests


def test_another_import_that_fails_is_not_taken_for_a_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(vars(memproto.testing), "requests", raising=False)
    for module in _strategies():
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.delattr(memproto.testing, "strategies", raising=False)
    monkeypatch.setitem(sys.modules, "memproto.binary", None)
    with pytest.raises(ModuleNotFoundError, match=r"memproto\.binary"):
        _ = memproto.testing.requests


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'request'"):
        _ = memproto.testing.request
