"""What all requests have in common: each names the replies that answer it."""

from __future__ import annotations

from typing import Protocol, TypeVar, runtime_checkable

from memproto.model._message import Message
from memproto.model.replies import AnyReply

R_co = TypeVar("R_co", covariant=True)


@runtime_checkable
class Request(Protocol[R_co]):
    """Any request; ``Request[X]`` is answered by an ``X`` or by a :class:`Failure`: ``Get`` is a ``Request[Values]``.

    It is for annotations. A request class does not derive from it, because compiled classes must have no generic base.
    """

    def reply_types(self) -> tuple[type[R_co], ...]:
        """The types of the replies that answer the request, :class:`Failure` not among them."""
        ...


class _Request(Message):
    """The base of all request classes."""

    __slots__ = ()

    @classmethod
    def reply_types(cls) -> tuple[type[AnyReply], ...]:
        """The types of the replies that answer the request; besides them, a :class:`Failure` answers any request."""
        raise NotImplementedError
