"""Records without the passwords of logins. Pure."""

from __future__ import annotations

from typing import Final

from memproto import BinaryEnvelope, InvalidRequest, ObservedExchange
from memproto.capture.follower import Record
from memproto.model import SaslAuth, SaslStep

__all__ = ["without_password"]

_PLAIN: Final = b"PLAIN"
_STAR: Final = b"*"


def without_password(record: Record, *, auth_required: bool) -> Record:
    """Return a record with stars in place of a password, or of other secrets of a login.

    ``auth_required`` is whether data of a request that is invalid may be a login that went wrong.
    """
    event = record.event
    if not isinstance(event, ObservedExchange):
        return record
    envelope, request = event.envelope, record.request
    asked = envelope.request
    if isinstance(asked, SaslAuth | SaslStep):
        # The stars are as many as the bytes, so that the message stays whole.
        begin = asked.data.rfind(b"\0") + 1 if asked.mechanism == _PLAIN else 0
        size = len(asked.data) - begin
        hidden = asked.replace(data=asked.data[:begin] + _STAR * size)
        end = (
            len(request)
            if isinstance(envelope, BinaryEnvelope)
            else len(request.removesuffix(b"\n").removesuffix(b"\r"))
        )
        request = request[: end - size] + _STAR * size + request[end:] if request else b""
        return record._replace(event=event.replace(envelope=envelope.replace(request=hidden)), request=request)
    if auth_required and isinstance(asked, InvalidRequest):
        line, newline, data = request.partition(b"\n")
        return record._replace(request=line + newline + _STAR * len(data))
    return record
