"""Event loops of asyncio and uvloop, and a run that leaves no task behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TypeVar

import pytest
import uvloop

from tests.support.peers import DEADLINE

T = TypeVar("T")


Loop = Callable[[], asyncio.AbstractEventLoop]


LOOPS = [pytest.param(asyncio.new_event_loop, id="asyncio"), pytest.param(uvloop.new_event_loop, id="uvloop")]


each_loop = pytest.mark.parametrize(
    "loop", [pytest.param(asyncio.new_event_loop, id="asyncio"), pytest.param(uvloop.new_event_loop, id="uvloop")]
)


def run(main: Coroutine[object, None, T], loop: Loop = asyncio.new_event_loop) -> T:
    """Run to the end, and see that nothing of the client is left behind."""

    async def bounded() -> T:
        result = await asyncio.wait_for(main, DEADLINE)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return result

    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(bounded())
