"""Follows both directions of a conversation between a client and a server that belong to others. No I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from memproto._wire.arguments import bytes_of, check_bool, limits_of
from memproto._wire.dialects import ServerDialect
from memproto._wire.exchange import Exchange
from memproto.binary._layout import OpcodeSpec, opcodes_of
from memproto.binary._server import BinaryServer
from memproto.connection.events import ConnectionClosed
from memproto.connection.observer_events import (
    NoReply,
    ObservedExchange,
    ObserverEvent,
    Side,
    UnmatchedReply,
)
from memproto.connection.observer_replies import BinaryReplies, TextReplies
from memproto.connection.observer_streams import ObservedRequest, ObservedStream
from memproto.limits import Limits
from memproto.model import AnyReply, Dialect, Magic, Signal, Silence
from memproto.text._server import TextServer

_NOTHING: Final = range(0)


class Observer:
    """One conversation, seen by a third party that has the bytes of both sides, or of one.

    What the client sent goes to :meth:`client_sent`, what the server sent to :meth:`server_sent`. A reply should be
    given after its request, as it was on the wire; otherwise any order and any cuts will do. Pull :meth:`next_event`
    until it returns ``Signal.NEED_DATA``; the exchanges come in the order of the requests.

    ``mid_stream`` says that the first bytes need not be the first of the connection. Then the observer skips what is
    not the beginning of a known message, and reports how much that was. It does the same behind bytes that break the
    protocol, and behind gaps (:meth:`client_gap`, :meth:`server_gap`).
    ``limits`` bounds what is held. A request is given up, as ``NoReply.NOT_SEEN``, when ``limits.outstanding`` others
    wait for their replies, or when they have more than ``limits.answer`` bytes together.
    With ``auth_required`` a text client authenticates first: the data of its first ``set`` are user and password.
    ``opcodes`` are opcodes of your own, as for :class:`~memproto.ServerConnection`.

    Raises :class:`~memproto.LocalProtocolError` for an argument of a wrong type.
    """

    __slots__ = (
        "_auth_required",
        "_client",
        "_limits",
        "_opcodes",
        "_replies",
        "_requests",
        "_server",
        "_waiting",
    )

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        mid_stream: bool = False,
        auth_required: bool = False,
        opcodes: Iterable[OpcodeSpec] = (),
    ) -> None:
        check_bool("mid_stream", mid_stream)
        check_bool("auth_required", auth_required)
        self._limits = limits_of(limits)
        self._auth_required = auth_required
        self._opcodes = opcodes_of(opcodes)
        self._client = ObservedStream(Side.CLIENT)
        self._server = ObservedStream(Side.SERVER)
        self._requests: ServerDialect | None = None
        self._replies: BinaryReplies | TextReplies | None = None
        self._waiting: deque[Exchange[object]] = deque()

    @property
    def outstanding(self) -> int:
        """How many requests were seen whose replies were not."""
        return len(self._waiting)

    def client_sent(self, data: bytes | bytearray | memoryview) -> None:
        """Add bytes that the client sent."""
        self._client.append(bytes_of("data", data))

    def server_sent(self, data: bytes | bytearray | memoryview) -> None:
        """Add bytes that the server sent."""
        self._server.append(bytes_of("data", data))

    def client_gap(self, size: int) -> None:
        """Note that ``size`` bytes of the client are missing here.

        A gap inside a value costs only these bytes: NULs stand for them, and the event says how many they are. Any
        other gap costs the messages that it touches.
        """
        raise NotImplementedError

    def server_gap(self, size: int) -> None:
        """Note that ``size`` bytes of the server are missing here; see :meth:`client_gap`."""
        raise NotImplementedError

    def client_eof(self) -> None:
        """The client sends nothing more."""
        self._client.ended = True

    def server_eof(self) -> None:
        """The server sends nothing more: requests without a reply get none."""
        self._server.ended = True

    def next_event(self) -> ObserverEvent | Signal:
        """The next exchange or other event; ``Signal.NEED_DATA`` if more bytes are needed.

        ``ConnectionClosed`` follows the last event when both sides have ended. It never raises.
        """
        self._read_requests()
        event = self._read_reply()
        if event is not None:
            return event
        if not self._server.ended:
            return Signal.NEED_DATA
        if self._waiting:
            return self._settle(None)
        return ConnectionClosed() if self._client.ended else Signal.NEED_DATA

    def _read_requests(self) -> None:
        stream, waiting = self._client, self._waiting
        while len(waiting) < self._limits.outstanding:
            requests = self._requests or self._choose_dialect()
            envelope = None if requests is None else requests.read(stream)
            if envelope is None:
                return
            assert self._replies is not None
            where, missing = stream.take_message()
            waiting.append(self._replies.expect(envelope, where, missing))

    def _choose_dialect(self) -> ServerDialect | None:
        stream = self._client
        if not len(stream):
            return None
        stream.gather(1)
        if stream.data[stream.at] == Magic.REQUEST:
            self._requests = BinaryServer(self._limits, self._opcodes)
            self._replies = BinaryReplies(self._limits, self._opcodes)
        else:
            self._requests = TextServer(self._limits, tuple(Dialect))
            self._replies = TextReplies(self._limits)
        return self._requests

    def _read_reply(self) -> ObservedExchange | UnmatchedReply | None:
        stream, waiting, replies = self._server, self._waiting, self._replies
        if replies is None or not waiting:
            return None
        reply: AnyReply | Silence | None = None
        oldest = waiting[0]
        if replies.regular:
            reply = oldest._reader.read(stream, oldest, self._limits)
        if reply is None:
            if stream.need or (replies.regular and not len(stream)):
                return None
            reply = replies.read_irregular(stream, waiting)
        return None if reply is None else self._settle(reply)

    def _settle(self, reply: AnyReply | Silence | None) -> ObservedExchange:
        """The event of the oldest request."""
        oldest = self._waiting.popleft()
        assert isinstance(oldest, ObservedRequest)
        if reply is None or isinstance(reply, Silence):
            said = NoReply.CLOSED if reply is None and self._server.end else NoReply.NOT_SEEN
            return ObservedExchange(
                oldest.envelope, Silence() if oldest.quiet else said, oldest.where, _NOTHING, oldest.missing
            )
        where, missing = self._server.take_message()
        return ObservedExchange(oldest.envelope, reply, oldest.where, where, oldest.missing + missing)
