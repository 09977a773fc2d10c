"""How fast packets are decoded and encoded, beside construct, python-binary-memcached and bare ``struct``.

Without ``--fast`` pyperf measures, in processes of its own; its options are understood (``--help``).
"""

from __future__ import annotations

import sys

from benchmarks._contestants import (
    BMEMCACHED,
    CODEC,
    COMPILED,
    CONNECTION,
    CONSTRUCT,
    CONTESTANTS,
    FLOOR,
    matches,
)
from benchmarks._report import Table, ratio
from benchmarks._timing import Times, microseconds, run

_RATIOS = (
    ("construct / connection", CONSTRUCT, CONNECTION),
    ("construct / codec", CONSTRUCT, CODEC),
    ("compiled / connection", COMPILED, CONNECTION),
    ("python-binary-memcached / connection", BMEMCACHED, CONNECTION),
    ("connection / struct", CONNECTION, FLOOR),
    ("codec / struct", CODEC, FLOOR),
)


def tables(times: Times) -> list[Table]:
    """What was measured, in microseconds and as ratios."""
    micros = [(name, *microseconds(by, CONTESTANTS)) for name, by in times.items()]
    ratios = [(name, *(ratio(by.get(one), by.get(other)) for _, one, other in _RATIOS)) for name, by in times.items()]
    return [
        Table("Codec: ratios", ("", *(title for title, _, _ in _RATIOS)), tuple(ratios)),
        Table("Codec: microseconds", ("", *CONTESTANTS), tuple(micros)),
    ]


def main() -> int:
    """The command line; the exit code."""
    return run("codec", __doc__, matches, tables)


if __name__ == "__main__":
    sys.exit(main())
