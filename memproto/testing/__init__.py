"""Help for the tests of those who use memcached or memproto: a fake memcached, hypothesis strategies, and a pipe.

The strategies and the state machines need hypothesis, which the extra ``memproto[testing]`` brings; without it the rest
can be imported and used. Every strategy shrinks to the smallest message of its kind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memproto.testing.fake.cluster import FakeCluster
from memproto.testing.fake.faults import Close, Cut, Delay, Drop, Duplicate, Fault, Garbage, Reply
from memproto.testing.fake.items import FakeItem, FakeItems
from memproto.testing.fake.memcached import FakeMemcached, Outage
from memproto.testing.fake.pipe import FakePipe
from memproto.testing.fake.rules import Rule, UnusedRuleWarning
from memproto.testing.fake.sockets import FakeSocketModule
from memproto.testing.fake.state import ReceivedRequest
from memproto.testing.pipe import Pipe

if TYPE_CHECKING:
    from memproto.testing.machines import ClientMachine, ServerMachine
    from memproto.testing.strategies import *
    from memproto.testing.unittest import MemcachedMixin

__all__ = [
    "ClientMachine",
    "Close",
    "Cut",
    "Delay",
    "Drop",
    "Duplicate",
    "FakeCluster",
    "FakeItem",
    "FakeItems",
    "FakeMemcached",
    "FakePipe",
    "FakeSocketModule",
    "Fault",
    "Garbage",
    "MemcachedMixin",
    "Outage",
    "Pipe",
    "ReceivedRequest",
    "Reply",
    "Rule",
    "ServerMachine",
    "UnusedRuleWarning",
    "binary_envelopes",
    "classic_envelopes",
    "cuts",
    "failures",
    "keys",
    "meta_envelopes",
    "meta_lines",
    "multi_gets",
    "packets",
    "pieces",
    "replies",
    "replies_to",
    "requests",
    "text_keys",
    "text_replies_to",
    "unknown_requests",
    "values",
]


def __getattr__(name: str) -> object:
    """The strategies, the state machines and the mixin, imported when the first of them is asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "MemcachedMixin":
        from memproto.testing.unittest import MemcachedMixin

        return MemcachedMixin
    try:
        from memproto.testing import machines, strategies
    except ModuleNotFoundError as error:
        if error.name != "hypothesis":
            raise
        raise ImportError(f"{__name__}.{name} needs hypothesis: pip install 'memproto[testing]'") from None
    globals()[name] = vars(machines if name in vars(machines) else strategies)[name]
    return globals()[name]
