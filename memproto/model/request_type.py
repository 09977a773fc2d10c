"""The type of a request in annotations, which names the replies that answer it.

The protocol has a module of its own, because mypyc cannot compile one that ``isinstance`` accepts.
"""

from __future__ import annotations

from typing import Protocol, TypeVar, runtime_checkable

R_co = TypeVar("R_co", covariant=True)


@runtime_checkable
class Request(Protocol[R_co]):
    """Any request; ``Request[X]`` is answered by an ``X`` or by a :class:`Failure`: ``Get`` is a ``Request[Values]``.

    It is for annotations. A request class does not derive from it: a compiled class must have no generic base.
    """

    def reply_types(self) -> tuple[type[R_co], ...]:
        """The types of the replies that answer the request, :class:`Failure` not among them."""
        ...
