"""Lines on a terminal with colours and a progress bar, by rich, the extra ``cli``; plain text anywhere else."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["Lines", "discard_output", "progress"]

_STYLES: Final = {
    "hit": "green",
    "miss": "yellow",
    "stored": "green",
    "deleted": "green",
    "touched": "green",
    "ok": "default",
    "silent": "default",
    "skipped": "magenta",
    "unmatched": "magenta",
    "not_seen": "magenta",
    "closed": "magenta",
}
_FAILURE: Final = "red"


def discard_output() -> None:
    """Let standard output go nowhere. Python would complain at its exit if it could not flush what nobody reads."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


class Lines:
    """Writes lines to standard output, coloured by status if that is a terminal and rich is installed."""

    def __init__(self) -> None:
        self._print: Callable[[str, str], None] = _print_plain
        if sys.stdout.isatty():
            try:
                from rich.console import Console
                from rich.text import Text
            except ImportError:
                return
            console = Console(soft_wrap=True)

            def print_styled(line: str, status: str) -> None:
                console.print(Text(line, _STYLES.get(status, _FAILURE)))

            self._print = print_styled

    def write(self, line: str, status: str = "ok") -> None:
        """Write one line, or several."""
        self._print(line, status)


def _print_plain(line: str, _status: str) -> None:
    sys.stdout.write(line + "\n")


@contextmanager
def progress(total: int | None) -> Iterator[Callable[[int], None] | None]:
    """Show how much of ``total`` bytes was read, on standard error; the function to call with the size of each read.

    There is no bar, and no function, without a total, where standard error is no terminal, where standard output is
    one, or without rich.
    """
    if total is None or sys.stdout.isatty() or not sys.stderr.isatty():
        yield None
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn
    except ImportError:
        yield None
        return
    with Progress(
        BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True
    ) as bar:
        task = bar.add_task("", total=total)
        yield lambda size: bar.advance(task, size)
