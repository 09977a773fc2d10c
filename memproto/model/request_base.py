"""The base of all request classes."""

from __future__ import annotations

from memproto.model._message import Message
from memproto.model.replies import AnyReply


class _Request(Message):
    """The base of all request classes."""

    __slots__ = ()

    @classmethod
    def reply_types(cls) -> tuple[type[AnyReply], ...]:
        """The types of the replies that answer the request; besides them, a :class:`Failure` answers any request."""
        raise NotImplementedError
