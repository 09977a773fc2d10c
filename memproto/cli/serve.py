"""``memproto serve``: the reference server, with memcached's options."""

from __future__ import annotations

from collections.abc import Sequence

from memproto.server import parse_arguments, run


def main(arguments: Sequence[str]) -> int:
    """Run the server; the exit code."""
    return run(parse_arguments(arguments))
