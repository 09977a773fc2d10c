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
from memproto.testing.text import classic_envelopes, meta_envelopes, meta_lines, text_keys, text_replies_to

__all__ = [
    "Pipe",
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
