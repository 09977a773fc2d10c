"""How much memory the process really takes, which cannot be computed from its items.

An allocator cannot give back a page on which a single item is left, so that the process is larger than its items after
values of other sizes have been stored. Incomplete requests, and replies that clients do not take, are not items either.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

#: From which growth on, as a factor of the budget, the allocator is to give back free pages, and items have to go.
TRIM, FULL = 1.04, 1.08
#: By how many bytes a process grows in any case; it matters with the smallest budgets only.
SLACK = 6 * 1024 * 1024


class ProcessMemory:
    """The growth of this process since this was made. Without ``/proc`` it is 0, and there is never an excess."""

    def __init__(self) -> None:
        try:
            # Kept open, because a server that has no file left must still know this.
            self._file: int | None = os.open(_STATM, os.O_RDONLY)
        except OSError:
            self._file = None
        self._start = self.resident()

    def excess(self, budget: int, in_use: int = 0) -> int:
        """By how many bytes the growth is above this budget, after the allocator has given back what it can.

        ``in_use`` are bytes that are not to count.
        """
        grown = self.resident() - self._start - in_use
        if grown > max(int(budget * TRIM), budget + SLACK // 2):
            trim()
            grown = self.resident() - self._start - in_use
        return max(grown - max(int(budget * FULL), budget + SLACK), 0)

    def resident(self) -> int:
        """Bytes of memory that this process occupies; 0 without ``/proc``."""
        if self._file is None:
            return 0
        return int(os.pread(self._file, 200, 0).split()[1]) * _PAGE

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def check_interval(budget: int) -> int:
    """After how many bytes received and sent the memory is to be checked again."""
    return max(budget // 64, 512 * 1024)


def trim() -> None:
    """Have the C library give back its free pages, if it can."""
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
