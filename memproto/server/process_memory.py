"""How much memory the process really takes, which no count of items can tell.

An allocator cannot give back a page on which a single item is left, so that the process is larger than its items after
values of other sizes have come. Values that are half received, and answers that nobody takes, are no items either.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

#: The growth, in budgets, from which the allocator is asked for its free pages, and from which items have to go.
TRIM, FULL = 1.04, 1.08
#: Beside items a process grows by this much in any case, in bytes: it matters with the smallest budgets only.
SLACK = 6 * 1024 * 1024


class ProcessMemory:
    """The growth of this process since this was made. Where the system does not tell, there is never any excess."""

    def __init__(self) -> None:
        try:
            # Kept open, because a server that has no file left must still know this.
            self._file: int | None = os.open(_STATM, os.O_RDONLY)
        except OSError:
            self._file = None
        self._start = self.resident()

    def excess(self, budget: int, beside: int = 0) -> int:
        """How many bytes too many there are for this budget, once the allocator has given back what it can.

        ``beside`` are bytes that are in use for something else.
        """
        grown = self.resident() - self._start - beside
        if grown > max(int(budget * TRIM), budget + SLACK // 2):
            trim()
            grown = self.resident() - self._start - beside
        return max(grown - max(int(budget * FULL), budget + SLACK), 0)

    def resident(self) -> int:
        """Bytes of memory that this process occupies; 0 where the system does not tell."""
        if self._file is None:
            return 0
        return int(os.pread(self._file, 200, 0).split()[1]) * _PAGE

    def close(self) -> None:
        """Look no more."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def step(budget: int) -> int:
    """After so many bytes received it is worth looking again."""
    return max(budget // 64, 512 * 1024)


def trim() -> None:
    """Have the C library give back the pages that it holds free, if it is one that can."""
    if _TRIM is not None:
        _TRIM(0)


def _trimmer() -> ctypes._NamedFuncPointer | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None


_STATM = Path("/proc/self/statm")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TRIM = _trimmer()
