"""Replies that take long, made in parts: a get of many keys, a dump of all items."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeGuard

from memproto import AdminCommand, AdminReply, AnyReply, AnyRequest, ClassicEnvelope, Envelope, Get, Values
from memproto.engine import Dump

#: How many keys are looked up, or items of a dump read, in one turn. It takes a millisecond.
ITEMS_PER_PART = 500

Execute = Callable[[AnyRequest, float], AnyReply | Dump]


class Part(NamedTuple):
    """A part of a reply, and the envelope that it answers: in the last part that of the request itself."""

    to: ClassicEnvelope
    reply: AnyReply
    last: bool


class LongReply:
    """The reply to one request, in parts."""

    def __init__(self, to: ClassicEnvelope, execute: Execute) -> None:
        self.to = to
        self._execute = execute
        self._at = 0
        self._dump: Dump | None = None

    def next(self, now: float) -> Part:
        """The next part. Raises what ``execute`` raises."""
        request = self.to.request
        if isinstance(request, Get):
            keys = request.keys[self._at : self._at + ITEMS_PER_PART]
            self._at += len(keys)
            if not keys:
                return Part(self.to, Values(), last=True)
            to = self.to.replace(request=Get(keys, request.exptime))
            return self._part(to, self._execute(to.request, now))
        if self._dump is None:
            reply = self._execute(request, now)
            if not isinstance(reply, Dump):
                return Part(self.to, reply, last=True)
            self._dump = reply
        lines = self._dump.read(now, ITEMS_PER_PART)
        return Part(self.to, lines, last=True) if self._dump.done else self._part(self.to.replace(), lines)

    def _part(self, to: ClassicEnvelope, reply: AnyReply | Dump) -> Part:
        assert isinstance(reply, Values | AdminReply)
        return Part(to, reply, last=False)

    def close(self) -> None:
        """Drop the other parts."""
        if self._dump is not None:
            self._dump.close()


#: The types of request whose replies may be long.
LONG = frozenset((Get, AdminCommand))


def is_long(event: Envelope) -> TypeGuard[ClassicEnvelope]:
    """Whether the reply to this request has to be made in parts."""
    request = event.request
    if isinstance(request, Get):
        return len(request.keys) > ITEMS_PER_PART and isinstance(event, ClassicEnvelope)
    return isinstance(request, AdminCommand) and isinstance(event, ClassicEnvelope)
