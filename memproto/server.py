"""The server's side of a connection: bytes in, requests out; replies in, bytes out. No I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from memproto._binary_replies import reply_parts
from memproto._binary_requests import RequestReader
from memproto._buffer import ReceiveBuffer
from memproto._layout import OPCODES, OpcodeSpec
from memproto._state import SERVER, ServerInput, ServerState
from memproto.enums import Signal, Status
from memproto.errors import LocalProtocolError, RemoteProtocolError
from memproto.events import BinaryEnvelope, ConnectionClosed, Envelope, ServerEvent
from memproto.limits import Limits
from memproto.messages import (
    AnyReply,
    AnyRequest,
    Authenticated,
    Challenge,
    Failure,
    Malformed,
    Quit,
    SaslAuth,
    SaslList,
    SaslStep,
    Version,
)

# Every other request is ServerInput.REQUEST, which leaves each state that allows it as it is; the reader
# lets none through before authentication.
_INPUTS: dict[type[AnyRequest], ServerInput] = {
    Version: ServerInput.FREE_REQUEST,
    SaslList: ServerInput.FREE_REQUEST,
    SaslAuth: ServerInput.AUTH,
    SaslStep: ServerInput.STEP,
    Quit: ServerInput.QUIT,
}
_VERDICTS: dict[type[AnyReply], ServerInput] = {
    Authenticated: ServerInput.ACCEPTED,
    Challenge: ServerInput.CONTINUED,
    Failure: ServerInput.REJECTED,
}
_LOCKED = frozenset({ServerState.UNAUTHENTICATED, ServerState.CHALLENGED})
_READING = frozenset({ServerState.OPEN, ServerState.AUTHENTICATED}) | _LOCKED

# Naming a member through its enum costs more than any other step of the common path.
_DECIDING: Final = ServerState.DECIDING
_NEED_DATA: Final = Signal.NEED_DATA
_PAUSED: Final = Signal.PAUSED


class ServerConnection:
    """One client's connection, seen from the server.

    Feed what was received to :meth:`receive_data`, pull :meth:`next_event` until it answers a
    :class:`~memproto.Signal`, and answer each request, in the order of the events, with :meth:`send`, whose bytes go to
    the client. Quiet rules, opaque, opcode and key echo are decided here.

    ``limits`` bounds what the client can make this object hold. With ``auth_required`` only VERSION and the SASL
    requests get through before an :class:`~memproto.Authenticated` reply. ``opcodes`` are the embedder's
    own opcodes: their shape is checked and they arrive as :class:`~memproto.Unknown` requests; opcodes that
    nobody declared arrive the same way, unchecked.
    """

    __slots__ = ("_buffer", "_eof", "_fault", "_limits", "_pending", "_reader", "_reading", "_specs", "_state")

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        auth_required: bool = False,
        opcodes: Iterable[OpcodeSpec] = (),
    ) -> None:
        own = tuple(opcodes)
        self._limits = limits or Limits()
        self._buffer = ReceiveBuffer()
        self._reader = RequestReader(self._limits, own)
        self._pending: deque[Envelope] = deque()
        self._specs: dict[int, OpcodeSpec] = {**OPCODES, **{spec.opcode: spec for spec in own}}
        self._eof = False
        self._fault: RemoteProtocolError | None = None
        self._enter(ServerState.UNAUTHENTICATED if auth_required else ServerState.OPEN)

    @property
    def state(self) -> ServerState:
        """Where the connection stands; the documentation has the tables."""
        return self._state

    @property
    def outstanding(self) -> int:
        """How many requests were handed out and not yet answered."""
        return len(self._pending)

    @property
    def buffered(self) -> int:
        """How many received bytes are not yet decoded. Stop receiving while you are not pulling events."""
        return len(self._buffer)

    def _enter(self, state: ServerState) -> None:
        self._state = state
        self._reading = state in _READING
        self._reader.locked = state in _LOCKED
        if not self._reading and state is not ServerState.DECIDING:
            self._buffer.clear()

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        """Add bytes that came from the client. What comes after the end of the conversation is dropped."""
        if self._eof:
            raise LocalProtocolError("receive_data() after receive_eof()")
        if self._reading or self._state is _DECIDING:
            self._buffer.feed(data if isinstance(data, bytes) else bytes(data))

    def receive_eof(self) -> None:
        """The client will send nothing more. What came before is still delivered."""
        self._eof = True

    def next_event(self) -> ServerEvent | Signal:
        """The next request, ``ConnectionClosed``, or a signal that there is nothing to tell now.

        ``Signal.PAUSED`` means that requests handed out must be answered first: because there are
        ``limits.outstanding`` of them, because a verdict on credentials is due, or because the client said goodbye.

        Raises :class:`~memproto.RemoteProtocolError` when the framing is lost, and again, without last words,
        each time it is called after that.
        """
        if not self._reading:
            return self._not_reading()
        if len(self._pending) >= self._limits.outstanding:
            return _PAUSED
        try:
            envelope = self._reader.read(self._buffer)
        except RemoteProtocolError as fault:
            raise self._fail(fault) from None
        if envelope is None:
            return self._at_end() if self._eof else _NEED_DATA
        if type(envelope.request) in _INPUTS:
            envelope = self._move(_INPUTS[type(envelope.request)], envelope)
        self._pending.append(envelope)
        return envelope

    def _move(self, input_: ServerInput, envelope: BinaryEnvelope) -> BinaryEnvelope:
        state = SERVER[self._state].get(input_)
        if state is not None:
            self._enter(state)
            return envelope
        # The reader keeps out all else, so this is a SASL step that answers no challenge.
        refused = Malformed(Failure(Status.AUTH_ERROR), "SASL step without a challenge", envelope.request)
        return BinaryEnvelope(refused, envelope.opcode, envelope.opaque)

    def _not_reading(self) -> ServerEvent | Signal:
        if self._fault is not None:
            raise RemoteProtocolError(f"the connection has failed already: {self._fault}")
        if self._pending:
            return Signal.PAUSED
        if self._state is ServerState.ENDING:
            self._enter(SERVER[self._state][ServerInput.ANSWERED])
        return ConnectionClosed()

    def _at_end(self) -> ServerEvent | Signal:
        if len(self._buffer) or self._buffer.discarding:
            fault = RemoteProtocolError(f"stream ended inside a packet, of which {len(self._buffer)} bytes are here")
            raise self._fail(fault)
        self._enter(SERVER[self._state][ServerInput.END])
        return self._not_reading()

    def _fail(self, fault: RemoteProtocolError) -> RemoteProtocolError:
        self._fault = fault
        self._enter(SERVER[self._state][ServerInput.FAULT])
        return fault

    def send(self, reply: AnyReply, to: Envelope) -> bytes:
        """The bytes that answer the request ``to``; empty where the protocol says nothing.

        Raises :class:`~memproto.LocalProtocolError`, with nothing changed, if ``to`` is not the oldest
        unanswered event of this connection, if ``reply`` does not answer that kind of request, or if a field
        does not fit the wire. After a ``RemoteProtocolError`` the requests handed out before can still be answered.
        """
        return b"".join(self.send_parts(reply, to))

    def send_parts(self, reply: AnyReply, to: Envelope) -> tuple[bytes, ...]:
        """Like :meth:`send`, in pieces and without copying the value, for ``writelines`` and ``sendmsg``."""
        pending = self._pending
        if not pending or pending[0] is not to:
            raise self._out_of_turn(to)
        parts = reply_parts(reply, to, self._specs.get(to.opcode) or OpcodeSpec(to.opcode, "UNKNOWN"))
        pending.popleft()
        if self._state is _DECIDING and not pending:
            self._enter(SERVER[self._state][_VERDICTS[type(reply)]])
        return parts

    def _out_of_turn(self, to: Envelope) -> LocalProtocolError:
        if any(envelope is to for envelope in self._pending):
            first = self._pending[0]
            return LocalProtocolError(f"replies go in the order of requests: {first.request!r} is to be answered first")
        return LocalProtocolError(f"{to.request!r} was not received here, or is answered already")
