"""Signals while the items are read, when the event loop does not run."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager


@contextmanager
def noting_signals(stopping: Iterable[signal.Signals]) -> Iterator[Callable[[], bool]]:
    """Note these signals and ignore SIGHUP, whose files are read anyway; yields a function: was one noted?"""
    noted = False

    def note(*_: object) -> None:
        nonlocal noted
        noted = True

    with ExitStack() as stack:
        for each in stopping:
            stack.callback(signal.signal, each, signal.signal(each, note))
        stack.callback(signal.signal, signal.SIGHUP, signal.signal(signal.SIGHUP, signal.SIG_IGN))
        yield lambda: noted
