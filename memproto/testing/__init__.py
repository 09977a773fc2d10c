"""Help for the tests of those who use memproto: hypothesis strategies, and a pipe that joins both ends in memory.

Needs the extra ``memproto[testing]``. Every strategy shrinks to the smallest message of its kind.
"""

from memproto.testing.pipe import Pipe
from memproto.testing.strategies import (
    binary_envelopes,
    cuts,
    failures,
    keys,
    multi_gets,
    packets,
    pieces,
    replies,
    replies_to,
    requests,
    unknown_requests,
    values,
)

__all__ = [
    "Pipe",
    "binary_envelopes",
    "cuts",
    "failures",
    "keys",
    "multi_gets",
    "packets",
    "pieces",
    "replies",
    "replies_to",
    "requests",
    "unknown_requests",
    "values",
]
