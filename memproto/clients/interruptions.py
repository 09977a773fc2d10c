"""Whether the system has raised an error, or a signal handler in the middle of an operation.

A handler may raise whatever it likes, ``BlockingIOError`` with ``EAGAIN`` too if it writes to a pipe that is full. Then
the operation may be complete: bytes have been sent or received of which the caller does not know.
"""

from __future__ import annotations

import socket
import ssl
from types import FrameType
from typing import Final

__all__ = ["is_of_system"]

#: Whose functions may be between the caller and the system; under gevent's monkey patching gevent's are.
_MODULES: Final = (socket.__name__, ssl.__name__, "gevent")


def is_of_system(error: OSError) -> bool:
    """Whether an operation itself has raised this. To be asked in the function that has called it and caught this.

    The last frame in the traceback tells: a handler has one of its own, the operations of the system have none.
    """
    frames: list[FrameType] = []
    trace = error.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame)
        trace = trace.tb_next
    return len(frames) < 2 or str(frames[-1].f_globals.get("__name__")).partition(".")[0] in _MODULES
