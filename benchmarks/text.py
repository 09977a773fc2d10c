"""How fast text messages are decoded and encoded, beside the clients pymemcache and aiomcache fed from memory.

Without ``--fast`` pyperf measures, in processes of its own; its options are understood (``--help``).
"""

from __future__ import annotations

import sys

from benchmarks._report import Table, ratio
from benchmarks._text_contestants import AIOMCACHE, CODEC, CONNECTION, CONTESTANTS, PYMEMCACHE, matches
from benchmarks._timing import Times, microseconds, run

_RATIOS = (
    ("pymemcache / connection", PYMEMCACHE, CONNECTION),
    ("aiomcache / connection", AIOMCACHE, CONNECTION),
    ("connection / codec", CONNECTION, CODEC),
)


def tables(times: Times) -> list[Table]:
    """What was measured, in microseconds and as ratios."""
    micros = [(name, *microseconds(by, CONTESTANTS)) for name, by in times.items()]
    ratios = [(name, *(ratio(by.get(one), by.get(other)) for _, one, other in _RATIOS)) for name, by in times.items()]
    return [
        Table("Text: ratios", ("", *(title for title, _, _ in _RATIOS)), tuple(ratios)),
        Table("Text: microseconds", ("", *CONTESTANTS), tuple(micros)),
    ]


def main() -> int:
    """The command line; the exit code."""
    return run("text", __doc__, matches, tables)


if __name__ == "__main__":
    sys.exit(main())
