"""Tell an error of the operating system from one that a signal handler has raised in the middle of an operation.

A signal handler may raise any exception: ``BlockingIOError`` with ``EAGAIN``, too, if it writes to a full pipe. Then
the operation may be complete, and the caller does not know of the bytes that it has sent or received.
"""

from __future__ import annotations

import socket
import ssl
from types import FrameType
from typing import Final

__all__ = ["is_system_error"]

#: The modules whose functions may be between the caller and the system. Gevent's monkey patching puts its own there.
_MODULES: Final = (socket.__name__, ssl.__name__, "gevent")


def is_system_error(error: OSError) -> bool:
    """Whether an operation itself has raised this error. Only the function that called the operation may ask.

    The last frame of the traceback tells: a signal handler has a frame of its own, an operation of the system has none.
    """
    frames: list[FrameType] = []
    trace = error.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame)
        trace = trace.tb_next
    return len(frames) < 2 or str(frames[-1].f_globals.get("__name__")).partition(".")[0] in _MODULES
