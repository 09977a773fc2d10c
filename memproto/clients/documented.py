"""The name, parameters and documentation of a client's method, taken from the command that it runs."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import update_wrapper
from typing import Final, ParamSpec, TypeVar

__all__ = ["documented_by"]

P = ParamSpec("P")
Q = ParamSpec("Q")
T = TypeVar("T")

_COMMAND: Final = re.compile(r"Command\[(.+)\]")


def documented_by(build: Callable[P, object], also: str = "") -> Callable[[Callable[Q, T]], Callable[Q, T]]:
    """Return a decorator for a method that runs the command which ``build`` returns.

    ``help()`` and the documentation then show the parameters of ``build``, and the result of the command, to which
    ``also`` is added. Type checkers read the method itself.
    """

    def decorate(method: Callable[Q, T]) -> Callable[Q, T]:
        update_wrapper(method, build)
        try:
            signature = inspect.signature(build)
        except ValueError:
            # Functions that mypyc has compiled may have none.
            return method
        given: object = signature.return_annotation
        # Compiled functions have no annotations.
        result = _COMMAND.sub(r"\1", given) + also if isinstance(given, str) else given
        method.__dict__["__signature__"] = signature.replace(return_annotation=result)
        return method

    return decorate
