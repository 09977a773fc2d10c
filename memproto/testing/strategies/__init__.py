"""Hypothesis strategies for everything that crosses a connection.

Sizes, ranges, words and opcodes are read from the tables that the codec itself is derived from.
"""

from memproto.testing.strategies.binary import binary_envelopes, multi_gets, packets, requests, unknown_requests
from memproto.testing.strategies.binary_replies import failures, replies, replies_to
from memproto.testing.strategies.classic import classic_envelopes
from memproto.testing.strategies.cuts import cuts, pieces
from memproto.testing.strategies.items import keys, text_keys, values
from memproto.testing.strategies.meta import meta_envelopes, meta_lines
from memproto.testing.strategies.text_replies import text_replies_to

__all__ = [
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
