"""Law 3: time is linear in everything that a peer can make long. Operations are counted, not seconds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import pytest

from benchmarks import _growth_scenarios
from tests.support.metering import Meter, Metered, compiled

pytestmark = pytest.mark.once

Scenario = Callable[[int], Callable[[], object]]

SIZES = (250, 1000)
#: The greatest slope of log operations over log size.
MOST = 1.1


@pytest.fixture(scope="module")
def copy() -> Metered:
    return Metered("benchmarks._growth_scenarios")


def _operations(scenario: Scenario, size: int, meter: Meter) -> int:
    run = scenario(size)
    before = meter.cost
    try:
        run()
    except Exception as error:
        # Of the copy's own class.
        if type(error).__name__ != "RemoteProtocolError":
            raise
    return meter.cost - before


def _exponent(scenario: Scenario, meter: Meter) -> float:
    small, large = (_operations(scenario, size, meter) for size in SIZES)
    assert small > 0
    return math.log(large / small) / math.log(SIZES[1] / SIZES[0])


@pytest.mark.parametrize("name", list(_growth_scenarios.SCENARIOS))
def test_operations_grow_no_faster_than_what_a_peer_sends(name: str, copy: Metered) -> None:
    with copy:
        scenarios: Mapping[str, Scenario] = vars(copy.module)["SCENARIOS"]
        assert _exponent(scenarios[name], copy.meter) <= MOST


# --- the count itself: it sees what C code does

LOOPS: dict[str, tuple[str, float]] = {
    "membership in a tuple": ("keys = tuple(range(n))\nreturn [k in keys for k in keys]", 2.0),
    "no membership in a tuple": ("keys = tuple(range(n))\nreturn [-1 not in keys for _ in keys]", 2.0),
    "membership in a set": ("keys = frozenset(range(n))\nreturn [k in keys for k in keys]", 1.0),
    "index": ("keys = list(range(n))\nreturn [keys.index(k) for k in keys]", 2.0),
    "index behind the last": ("keys = list(range(n))\nreturn [keys.index(k, k) for k in keys]", 1.0),
    "slices of a rest": ("data = bytes(n)\nwhile data:\n    data = data[1:]", 2.0),
    "slices of one byte": ("data = bytes(n)\nreturn [data[at:at + 1] for at in range(n)]", 1.0),
    "concatenation": ("data = b''\nfor _ in range(n):\n    data += b'x'\nreturn data", 2.0),
    "concatenation by an operator": ("data = b''\nfor _ in range(n):\n    data = data + b'x'\nreturn data", 2.0),
    "a bytearray that grows": ("data = bytearray()\nfor _ in range(n):\n    data += b'x'\nreturn data", 1.0),
    "a search from the beginning": ("data = bytes(n)\nreturn [data.find(b'x') for _ in data]", 2.0),
    "a search from where the last ended": ("data = bytes(n)\nreturn [data.find(b'\\0', at) for at in range(n)]", 1.0),
    "removal from the front": ("keys = list(range(n))\nwhile keys:\n    keys.pop(0)", 2.0),
    "removal from the end": ("keys = list(range(n))\nwhile keys:\n    keys.pop()", 1.0),
    "deletion": ("keys = list(range(n))\nwhile keys:\n    del keys[0]", 2.0),
    "the first of a dict": ("keys = dict.fromkeys(range(n))\nwhile keys:\n    keys.pop(next(iter(keys)))", 2.0),
    "a sum": ("keys = list(range(n))\nreturn [sum(keys) for _ in keys]", 2.0),
    "a sum by a generator": ("keys = list(range(n))\nreturn [sum(k for k in keys) for _ in keys]", 2.0),
    "a copy by a star": ("keys = ()\nfor at in range(n):\n    keys = (*keys, at)\nreturn keys", 2.0),
    "a loop in a loop": ("keys = list(range(n))\nfor _ in keys:\n    for _ in keys:\n        pass", 2.0),
    "a split each time": ("line = b' '.join([b'x'] * n)\nreturn [line.split() for _ in range(n)]", 2.0),
    "comparisons of what is equal": ("one, two = bytes(n), bytes(bytearray(n))\nreturn [one == two for _ in one]", 2.0),
    "a map": ("keys = list(range(n))\nreturn [set(map(str, keys)) for _ in keys]", 2.0),
    "texts": ("key = 'x' * n\nreturn [f'{key}' for _ in key]", 2.0),
}


@pytest.mark.parametrize("name", LOOPS)
def test_loops_of_c_code_are_counted(name: str) -> None:
    source, slope = LOOPS[name]
    body = "".join(f"    {line}\n" for line in source.splitlines())
    meter = Meter()
    names = compiled(f"def loop(n):\n{body}", meter)

    def loop(size: int) -> Callable[[], object]:
        return lambda: names["loop"](size)

    assert _exponent(loop, meter) == pytest.approx(slope, abs=0.1)
