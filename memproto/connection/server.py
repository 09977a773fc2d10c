"""The server's side of a connection: bytes in, requests out; replies in, bytes out. No I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from typing import Final

from memproto import model
from memproto._fields import wrong_type
from memproto._wire.arguments import bytes_of, check_bool, check_dialect, dialects_of, limits_of, misuse
from memproto._wire.buffer import ReceiveBuffer
from memproto._wire.dialects import ServerDialect
from memproto.binary._layout import OpcodeSpec, opcodes_of
from memproto.binary._packet import COUCHBASE, wrong_magic
from memproto.binary._server import BinaryServer
from memproto.connection._state import SERVER, ServerInput, ServerState
from memproto.connection.events import ConnectionClosed, ServerEvent
from memproto.errors import LocalProtocolError, RemoteProtocolError
from memproto.limits import Limits
from memproto.model import AnyReply, AnyRequest, Dialect, Envelope, Failure, InvalidRequest, Signal, Status, Values
from memproto.model._checks import check_reply
from memproto.text._server import TextServer

# Every other request is ServerInput.REQUEST, which leaves each state that allows it as it is; before authentication
# the dialect refuses it.
_INPUTS: dict[type[AnyRequest], ServerInput] = {
    model.Version: ServerInput.REQUEST_BEFORE_AUTH,
    model.SaslList: ServerInput.REQUEST_BEFORE_AUTH,
    model.SaslAuth: ServerInput.AUTH,
    model.SaslStep: ServerInput.STEP,
    model.Quit: ServerInput.QUIT,
}
_VERDICTS: dict[type[AnyReply], ServerInput] = {
    model.Authenticated: ServerInput.ACCEPTED,
    model.Challenge: ServerInput.CONTINUED,
    Failure: ServerInput.REJECTED,
}
_AWAITING_AUTH = frozenset({ServerState.UNAUTHENTICATED, ServerState.CHALLENGED})
_READING = frozenset({ServerState.OPEN, ServerState.AUTHENTICATED}) | _AWAITING_AUTH

# What ``repr`` calls the dialects; a codec of the embedder's own has the name of its class.
_DIALECT_NAMES: dict[type, str] = {BinaryServer: "binary", TextServer: "text"}

# Naming a member through its enum costs more than any other step of the common path.
_DECIDING: Final = ServerState.DECIDING
_NEED_DATA: Final = Signal.NEED_DATA
_PAUSED: Final = Signal.PAUSED


def _refused(envelope: Envelope, reason: str, understood: model.SaslStep | None = None) -> Envelope:
    return envelope.replace(request=InvalidRequest(Failure(Status.AUTH_ERROR), reason, understood))


def _allowed_dialects(dialect: object, dialects: object, codec: object) -> frozenset[Dialect]:
    """The dialects that a connection may speak. Raises LocalProtocolError."""
    given = {"dialect": dialect, "dialects": dialects, "codec": codec}
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise LocalProtocolError(f"{' and '.join(names)} are given, at most one of them is expected")
    if codec is not None and (isinstance(codec, type) or not isinstance(codec, ServerDialect)):
        raise misuse("codec", codec, "an object with the methods of ServerDialect")
    if dialect is not None:
        check_dialect("dialect", dialect, "; a codec of your own is given as codec=")
        dialects = (dialect,)
    return frozenset(Dialect) if dialects is None else dialects_of(dialects)


class ServerConnection:
    """One client's connection, seen from the server.

    Feed what was received to :meth:`receive_data`, pull :meth:`next_event` until it answers a
    :class:`~memproto.Signal`, and answer each request, in the order of the events, with :meth:`send`, whose bytes go to
    the client. Quiet rules, opaque, opcode and key echo are decided here.

    The first byte chooses binary or text, as far as ``dialects`` allows, which is any collection of
    :class:`~memproto.Dialect` members and allows all if it is not given; classic and meta may be mixed. ``dialect``
    allows one dialect only. A ``codec`` of your own, one object per connection, replaces all of these.
    ``limits`` bounds what the client can make this object hold. With ``auth_required`` only VERSION and the SASL
    requests get through before an :class:`~memproto.Authenticated` reply. ``opcodes`` are the embedder's
    own opcodes: their shape is checked and they arrive as :class:`~memproto.Unknown` requests; opcodes that
    nobody declared arrive the same way, unchecked.

    Raises :class:`~memproto.LocalProtocolError` for an argument of a wrong type, for no dialects at all, and for more
    than one of ``dialect``, ``dialects`` and ``codec``.
    """

    __slots__ = (
        "_buffer",
        "_dialect",
        "_dialects",
        "_eof",
        "_fault",
        "_is_own_codec",
        "_limits",
        "_opcodes",
        "_pending",
        "_reading",
        "_state",
    )

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        auth_required: bool = False,
        dialect: Dialect | None = None,
        dialects: Collection[Dialect] | None = None,
        opcodes: Iterable[OpcodeSpec] = (),
        codec: ServerDialect | None = None,
    ) -> None:
        check_bool("auth_required", auth_required)
        self._limits = limits_of(limits)
        self._opcodes = opcodes_of(opcodes)
        self._dialects = _allowed_dialects(dialect, dialects, codec)
        self._buffer = ReceiveBuffer()
        # Pyright takes the property of ours for no attribute of a ServerDialect.
        self._dialect: ServerDialect | BinaryServer | TextServer | None = codec
        # The built-in dialects refuse requests before authentication; a codec of the embedder's own may not.
        self._is_own_codec = codec is not None
        self._pending: deque[Envelope] = deque()
        self._eof = False
        self._fault: str | None = None
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

    def __repr__(self) -> str:
        kind = type(self._dialect)
        name = "unknown" if self._dialect is None else _DIALECT_NAMES.get(kind, kind.__name__)
        return (
            f"<ServerConnection {self._state.name} dialect={name} "
            f"outstanding={self.outstanding} buffered={self.buffered}>"
        )

    @property
    def mid_request(self) -> bool:
        """Whether a part of a request has been received, and the rest has not."""
        buffer = self._buffer
        mid_request = self._dialect is not None and self._dialect.mid_request
        return mid_request or len(buffer) > 0 or buffer.discarding

    def _enter(self, state: ServerState) -> None:
        self._state = state
        self._reading = state in _READING
        if self._dialect is not None:
            self._dialect.awaiting_auth = state in _AWAITING_AUTH
        if not self._reading and state is not ServerState.DECIDING:
            self._buffer.clear()

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        """Add bytes that were received from the client. Bytes behind a QUIT or after a fault are dropped."""
        if self._eof:
            raise LocalProtocolError("receive_data() after receive_eof()")
        if self._reading or self._state is _DECIDING:
            self._buffer.feed(data if isinstance(data, bytes) else bytes_of("data", data))

    def receive_eof(self) -> None:
        """The client will send nothing more. Requests received before are still delivered."""
        self._eof = True

    def next_event(self) -> ServerEvent | Signal:
        """The next request, ``ConnectionClosed``, or a signal that there is no event now.

        ``Signal.PAUSED`` means that requests handed out must be answered first: because there are
        ``limits.outstanding`` of them, because a verdict on credentials is expected, or because the client has
        sent a QUIT.

        Raises :class:`~memproto.RemoteProtocolError` when the framing is lost, and again, without ``reply_hint``,
        each time it is called after that.
        """
        if not self._reading:
            return self._not_reading()
        if len(self._pending) >= self._limits.outstanding:
            return _PAUSED
        try:
            dialect = self._dialect or self._choose_dialect()
            envelope: Envelope | None = None if dialect is None else dialect.read(self._buffer)
        except RemoteProtocolError as fault:
            raise self._fail(fault) from None
        if envelope is None:
            return self._at_end() if self._eof else _NEED_DATA
        if type(envelope.request) in _INPUTS:
            envelope = self._change_state(_INPUTS[type(envelope.request)], envelope)
        elif self._is_own_codec and self._state in _AWAITING_AUTH and type(envelope.request) is not InvalidRequest:
            envelope = _refused(envelope, "request before authentication")
        self._pending.append(envelope)
        return envelope

    def _choose_dialect(self) -> TextServer | BinaryServer | None:
        """Choose the dialect by the first byte, once it has been received."""
        buffer = self._buffer
        if not len(buffer):
            return None
        buffer.gather(1)
        if buffer.data[buffer.at] in COUCHBASE and Dialect.BINARY in self._dialects:
            # To memcached any other byte begins a line of text, and the line ends in this answer.
            raise RemoteProtocolError(wrong_magic(buffer.data[buffer.at], model.Magic.REQUEST), b"ERROR\r\n")
        text = self._dialects != {Dialect.BINARY} and (
            buffer.data[buffer.at] != model.Magic.REQUEST or Dialect.BINARY not in self._dialects
        )
        dialect = TextServer(self._limits, self._dialects) if text else BinaryServer(self._limits, self._opcodes)
        dialect.awaiting_auth = self._state in _AWAITING_AUTH
        self._dialect = dialect
        return dialect

    def _change_state(self, input_: ServerInput, envelope: Envelope) -> Envelope:
        state = SERVER[self._state].get(input_)
        if state is not None:
            self._enter(state)
            return envelope
        # Other requests are refused by the built-in dialects; a codec of the embedder's own may have read a QUIT.
        if isinstance(envelope.request, model.SaslStep):
            understood = model.SaslStep(envelope.request.mechanism, b"")
            return _refused(envelope, "SASL step without a challenge", understood)
        return _refused(envelope, "request before authentication")

    def _not_reading(self) -> ServerEvent | Signal:
        if self._fault is not None:
            raise RemoteProtocolError(f"the connection has failed already: {self._fault}")
        if self._pending:
            return Signal.PAUSED
        if self._state is ServerState.ENDING:
            self._enter(SERVER[self._state][ServerInput.ANSWERED])
        return ConnectionClosed()

    def _at_end(self) -> ServerEvent | Signal:
        if self.mid_request:
            fault = RemoteProtocolError(f"stream ended inside a request, of which {len(self._buffer)} bytes are here")
            raise self._fail(fault)
        self._enter(SERVER[self._state][ServerInput.END])
        return self._not_reading()

    def _fail(self, fault: RemoteProtocolError) -> RemoteProtocolError:
        # Not the error itself: its traceback refers to the frames, and these to objects of the embedder.
        self._fault = str(fault)
        self._enter(SERVER[self._state][ServerInput.FAULT])
        return fault

    def send(self, reply: AnyReply, to: Envelope) -> bytes:
        """The bytes that answer the request ``to``; empty where the protocol has no reply.

        Raises :class:`~memproto.LocalProtocolError`, with nothing changed, if ``to`` is not the oldest
        unanswered event of this connection, if ``reply`` does not answer that kind of request, or if a field
        is of a wrong type or does not fit the wire. After a ``RemoteProtocolError`` the requests handed out before can
        still be answered.
        """
        return b"".join(self.send_parts(reply, to))

    def send_parts(self, reply: AnyReply, to: Envelope) -> tuple[bytes, ...]:
        """Like :meth:`send`, in pieces and without copying the value, for ``writelines`` and ``sendmsg``."""
        pending = self._pending
        if not pending or pending[0] is not to:
            raise self._out_of_turn(to)
        if type(reply) is not Values or type(reply.items) is not tuple:
            check_reply(reply)
        assert self._dialect is not None
        try:
            parts = self._dialect.write(reply, to)
        except Exception:
            # Of the items, which may be many, the writers look at what they write; this names the field at fault.
            check_reply(reply)
            raise
        if self._state is _DECIDING and len(pending) == 1:
            if type(reply) not in _VERDICTS:
                raise LocalProtocolError(f"{type(reply).__name__} is no verdict on credentials")
            self._enter(SERVER[self._state][_VERDICTS[type(reply)]])
        pending.popleft()
        return parts

    def _out_of_turn(self, to: object) -> LocalProtocolError:
        if not isinstance(to, Envelope):
            return LocalProtocolError(wrong_type("to", to, "the envelope that next_event() gave, not its request"))
        if any(envelope is to for envelope in self._pending):
            first = self._pending[0].request
            return LocalProtocolError(f"replies go in the order of requests: {first!r:.80} is to be answered first")
        return LocalProtocolError(f"{to.request!r:.80} was not received here, or is answered already")
