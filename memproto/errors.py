"""The exceptions of the library. Nothing of ``construct`` or ``struct`` ever leaves it.

What a connection raises while reading is the peer's fault, what it raises while writing is the embedder's;
so the direction of the data alone decides between the two classes.
"""

from __future__ import annotations


class ProtocolError(Exception):
    """A rule of the memcached protocol was broken. The message names the field, the value seen and the rule."""


class LocalProtocolError(ProtocolError):
    """The embedder broke a rule: a bad key, a number out of range, a reply without a request.

    Nothing was emitted and the connection's state is what it was before the call.
    """


class RemoteProtocolError(ProtocolError):
    """The peer broke a rule and the framing is lost: close the connection.

    ``reply_hint`` are bytes that a server should still send before closing, what memcached itself would
    answer; often empty. Requests handed out earlier may still be answered first, in order.
    """

    def __init__(self, message: str, reply_hint: bytes = b"") -> None:
        super().__init__(message)
        self.reply_hint = reply_hint
