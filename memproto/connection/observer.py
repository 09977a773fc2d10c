"""Follows both directions of a conversation between a client and a server that belong to others. No I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from memproto._wire.arguments import bytes_of, check_bool, limits_of
from memproto._wire.checks import I64, check_number
from memproto.binary._layout import OpcodeSpec, opcodes_of
from memproto.connection.events import ConnectionClosed
from memproto.connection.observer_certainty import Certainty
from memproto.connection.observer_events import ObserverEvent, SkippedBytes, SkipReason
from memproto.connection.observer_replies import ObservedReplies, ReplyEvent
from memproto.connection.observer_requests import ObservedRequests
from memproto.limits import Limits
from memproto.model import Signal


class Observer:
    """Follows one conversation for a third party that has the bytes of both sides, or of one.

    Add what the client sent with :meth:`client_sent`, and what the server sent with :meth:`server_sent`: in any pieces,
    but in the order in which they took effect, no byte of the server before the requests that the server had received.
    Pull :meth:`next_event` until it returns ``Signal.NEED_DATA``; the exchanges are in the order of the requests.

    - ``limits`` bounds what is held. A request gets ``NoReply.NOT_SEEN`` when ``limits.outstanding`` others wait for
      their replies, or when they have more than ``limits.answer`` bytes together.
    - ``mid_stream``: the first bytes need not be the first of the connection. Then the observer skips what is not the
      beginning of a known message, and reports how many bytes that is. It does the same behind bytes that break the
      protocol, and behind gaps (:meth:`client_gap`, :meth:`server_gap`).
    - ``auth_required``: a text client logs in first; the data of its first ``set`` are user and password. If the
      beginning was not seen, it has done so.
    - ``opcodes`` are opcodes of your own, as for :class:`~memproto.ServerConnection`.

    Raises :class:`~memproto.LocalProtocolError` for an argument of a wrong type. No bytes of the two sides raise an
    exception.
    """

    __slots__ = ("_limits", "_ready", "_replies", "_requests")

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
        # Events that are older than the bytes that were fed last.
        self._ready: deque[ReplyEvent] = deque()
        specs = opcodes_of(opcodes)
        certainty = Certainty(self._limits.outstanding)
        self._requests = ObservedRequests(self._limits, specs, auth_required, certainty)
        self._replies = ObservedReplies(self._limits, specs, self._requests, certainty)
        if mid_stream:
            certainty.lose_requests(0, 0)
            self._requests.stream.lose(SkipReason.NO_MESSAGE, may_begin=True)
            self._replies.stream.lose(SkipReason.NO_MESSAGE, may_begin=True)

    @property
    def outstanding(self) -> int:
        """How many requests were seen whose replies were not."""
        return len(self._replies)

    def client_sent(self, data: bytes | bytearray | memoryview) -> None:
        """Add bytes that the client sent."""
        if len(self._replies.stream):
            # What the server sent before answers none of the requests in these bytes.
            self._read_on()
        self._requests.stream.append(bytes_of("data", data))

    def server_sent(self, data: bytes | bytearray | memoryview) -> None:
        """Add bytes that the server sent."""
        self._replies.stream.append(bytes_of("data", data))

    def client_gap(self, size: int) -> None:
        """Note that the next ``size`` bytes of the client are missing.

        A gap of up to 1 MiB inside a value costs only these bytes: NULs stand for them, and the event says how many
        they are, 16 MiB at most. Any other gap costs the messages that it touches. Behind it an exchange is not
        ``certain`` until a reply names its request by opaque, key or form.

        Raises :class:`~memproto.LocalProtocolError` if ``size`` is negative or no int.
        """
        if self._is_gap(size) and self._requests.stream.lost is None:
            size = self._requests.fill_gap(size)
        if self._is_gap(size):
            self._requests.lose_bytes(size)

    def server_gap(self, size: int) -> None:
        """Note that the next ``size`` bytes of the server are missing; for the rest as :meth:`client_gap`."""
        if self._is_gap(size) and self._replies.stream.lost is None:
            size = self._replies.fill_gap(size)
        if self._is_gap(size):
            self._replies.lose_bytes(size)

    def _is_gap(self, size: int) -> bool:
        """Whether there is a gap; if so, all that was fed before it is read first."""
        check_number("size", size, 0, I64)
        if size:
            self._read_on()
        return size > 0

    def _read_on(self) -> None:
        """Read all that was fed up to now."""
        while (event := self._next_exchange()) is not None:
            self._ready.append(event)

    def client_eof(self) -> None:
        """Note that the client sends nothing more."""
        self._requests.stream.ended = True

    def server_eof(self) -> None:
        """Note that the server sends nothing more: requests that have no reply get none."""
        self._replies.stream.ended = True

    def stop(self) -> None:
        """Note that nothing more is fed, although the connection may go on: a capture ends.

        Requests that have no reply get ``NoReply.NOT_SEEN``. That a quiet one got none is not ``certain``.
        """
        self._requests.stream.stopped = self._replies.stream.stopped = True

    def next_event(self) -> ObserverEvent | Signal:
        """Return the next exchange or other event; ``Signal.NEED_DATA`` if more bytes are needed. Never raises.

        ``ConnectionClosed`` follows the last event when both sides have ended, and is returned again then.
        """
        event = self._ready.popleft() if self._ready else self._next_exchange()
        if event is not None:
            return event
        client, server = self._requests.stream, self._replies.stream
        if server.ended or server.stopped:
            event = self._replies.end()
        if event is None and (client.ended or client.stopped):
            event = client.cut_off()
        if event is not None:
            return event
        return ConnectionClosed() if client.ended and server.ended else Signal.NEED_DATA

    def _next_exchange(self) -> ReplyEvent | None:
        """The next event that follows from the bytes."""
        limits, requests, replies = self._limits, self._requests, self._replies
        while not replies.events:
            too_many = len(replies) > limits.outstanding or replies.held > limits.answer
            if not too_many:
                request = requests.read()
                if isinstance(request, SkippedBytes):
                    return request
                if request is not None:
                    replies.expect(request)
                    continue
            event = replies.read()
            if event is not None or not too_many:
                return event
            return replies.give_up_one_of_many()
        return replies.events.popleft()
