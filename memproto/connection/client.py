"""The client's side of a connection: requests in, bytes out; bytes in, replies out. No I/O.

It keeps the queue of the requests that were sent, and reads each reply as the reply to one of them, so that a reply
cannot reach a request that it does not answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final, Literal, TypeVar, overload

from memproto._wire.arguments import bytes_of, check_bool, check_dialect, limits_of, misuse
from memproto._wire.buffer import ReceiveBuffer
from memproto._wire.checks import check_number
from memproto._wire.dialects import ClientDialect
from memproto._wire.exchange import OPAQUES, Exchange
from memproto.binary._client import BinaryClient
from memproto.binary._layout import OpcodeSpec, opcodes_of
from memproto.connection._state import CLIENT, ClientInput, ClientState
from memproto.connection.events import ClientEvent, ConnectionClosed, ReplyReceived
from memproto.errors import LocalProtocolError, RemoteProtocolError
from memproto.limits import Limits
from memproto.model import AnyReply, Dialect, Failure, Noop, Ok, Quit, Request, Signal, Silence
from memproto.text._client import TextClient

__all__ = ["ClientConnection", "Exchange"]

# Naming a member through its enum, and a lookup by one, cost more than other steps of the common path.
_OPEN: Final = ClientState.OPEN  # the one state in whose row of the table SEND stands
_NEED_DATA: Final = Signal.NEED_DATA
# mypy takes a request of an unknown type for none that is a Quit.
_QUIT: Final[type] = Quit

R = TypeVar("R")


class ClientConnection:
    """One connection to a server, seen from the client.

    :meth:`send` gives an :class:`Exchange` whose bytes the embedder writes, whole and in order; :meth:`send_all`
    gives one for each request of a batch. What is received goes to :meth:`receive_data`; :meth:`next_event` then
    returns each exchange that is answered.

    ``dialect`` is the dialect of all requests; in META those without a meta form (Flush, Stats, Version ...) are
    sent as classic text.
    ``limits`` bounds what the server can make this object hold; raise ``limits.value`` for a server whose items
    may be larger than 1 MiB. ``opcodes`` are the embedder's own opcodes, sent as :class:`~memproto.Unknown`.
    ``first_opaque``, 0 to 2**32 - 1, is the serial number of the first request in binary and meta; a program that
    opens many connections chooses it at random, so that a reply of one connection does not fit a request of another.

    Raises :class:`~memproto.LocalProtocolError` if an argument is of another type than it should be, or if
    ``first_opaque`` is out of range.
    """

    __slots__ = (
        "_buffer",
        "_chosen",
        "_dialect",
        "_distrust",
        "_eof",
        "_fault",
        "_limits",
        "_outstanding",
        "_quit_was_read",
        "_receiving",
        "_regular",
        "_state",
    )

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        dialect: Dialect = Dialect.BINARY,
        opcodes: Iterable[OpcodeSpec] = (),
        first_opaque: int = 0,
    ) -> None:
        check_dialect("dialect", dialect)
        check_number("first_opaque", first_opaque, 0, OPAQUES - 1)
        self._limits = limits_of(limits)
        specs = opcodes_of(opcodes)
        self._chosen = dialect
        self._dialect: ClientDialect
        if dialect is Dialect.BINARY:
            self._dialect = BinaryClient(self._limits, specs, first_opaque)
        else:
            self._dialect = TextClient(self._limits, dialect, first_opaque)
        self._buffer = ReceiveBuffer()
        self._outstanding: deque[Exchange[object]] = deque()
        self._eof = self._quit_was_read = False
        self._fault: RemoteProtocolError | None = None
        # Why nothing that comes next can be read as replies; it becomes a fault when the next event is asked for.
        self._distrust = ""
        # Whether the reader of the oldest exchange may read.
        self._regular = self._dialect.regular
        self._enter(ClientState.OPEN)

    def _enter(self, state: ClientState) -> None:
        self._state = state
        self._receiving = ClientInput.REPLY in CLIENT[state]

    @property
    def state(self) -> ClientState:
        """Where the connection stands; the documentation has the tables."""
        return self._state

    @property
    def reusable(self) -> bool:
        """Whether another request may be sent. Once it is false it stays false."""
        return self._state is ClientState.OPEN and not self._eof

    @property
    def outstanding(self) -> int:
        """How many requests wait for their answer, abandoned ones included."""
        return len(self._outstanding)

    @property
    def buffered(self) -> int:
        """How many received bytes are held and not yet decoded; those that are skipped are not held."""
        return len(self._buffer)

    def __repr__(self) -> str:
        return (
            f"<ClientConnection {self._state.name} dialect={self._chosen.name} "
            f"outstanding={self.outstanding} buffered={self.buffered}>"
        )

    def send(self, request: Request[R]) -> Exchange[R]:
        """Encode a request, and expect its reply. A get of several keys is one request and one round trip.

        Raises :class:`~memproto.LocalProtocolError`, with nothing changed, if the connection is not reusable, if
        ``limits.outstanding`` requests are unanswered, or if the request does not fit the wire: keys are 1
        to 250 bytes, numbers must fit their fields.
        """
        return self._send(request, False)

    def send_quiet(self, request: Request[R]) -> Exchange[R | Silence]:
        """Encode a request that the server answers only if a get hits or anything else fails.

        That there is no answer is known when a later request, not a quiet one, is answered; :meth:`fence` sends one.
        Raises as :meth:`send` does, and for requests that have no quiet form. A get of several keys is the same
        either way, and an ``Unknown`` is quiet if its opcode is declared so.
        """
        return self._send(request, True)

    def _send(self, request: Request[R], quiet: bool) -> Exchange[R]:
        if self._state is not _OPEN or self._eof or len(self._outstanding) >= self._limits.outstanding:
            raise self._refusal(1)
        exchange = self._dialect.encode(request, quiet)
        if type(request) is _QUIT:
            # First, so that an interruption here leaves a connection on which nothing more is sent.
            self._enter(CLIENT[self._state][ClientInput.SEND_QUIT])
        self._outstanding.append(exchange)
        return exchange

    @overload
    def send_all(self, requests: Iterable[Request[R]], *, quiet: Literal[False] = False) -> list[Exchange[R]]: ...

    @overload
    def send_all(self, requests: Iterable[Request[R]], *, quiet: bool) -> list[Exchange[R | Silence]]: ...

    def send_all(
        self, requests: Iterable[Request[R]], *, quiet: bool = False
    ) -> list[Exchange[R]] | list[Exchange[R | Silence]]:
        """Send a batch of requests: all of them, or none if one of them is refused.

        Every request is checked and encoded before the first of them enters the queue. With ``quiet`` all but the
        last are sent as :meth:`send_quiet` does, and the reply to the last settles them. Write the bytes of the
        exchanges in this order.

        Raises :class:`~memproto.LocalProtocolError`, with nothing changed, as :meth:`send` does; also if the batch
        does not fit into ``limits.outstanding`` with the requests that are unanswered already, or if a
        :class:`~memproto.Quit` is not its last request. What ``requests`` raises changes nothing either.
        """
        check_bool("quiet", quiet)
        if not isinstance(requests, Iterable):
            raise misuse("requests", requests, "an iterable of requests")
        batch = tuple(requests)
        if not batch:
            return []
        if not self.reusable or len(self._outstanding) + len(batch) > self._limits.outstanding:
            raise self._refusal(len(batch))
        first, last = batch[:-1], batch[-1]
        if any(type(request) is _QUIT for request in first):
            raise LocalProtocolError("Quit is not the last request of the batch, nothing can be sent after it")
        dialect = self._dialect
        before = dialect.opaque
        try:
            exchanges: list[Exchange[R | Silence]] = [dialect.encode(request, quiet) for request in first]
            exchanges.append(dialect.encode(last))
        except BaseException:
            dialect.opaque = before
            raise
        if type(last) is _QUIT:
            self._enter(CLIENT[self._state][ClientInput.SEND_QUIT])
        self._outstanding.extend(exchanges)
        return exchanges

    def _refusal(self, count: int) -> LocalProtocolError:
        """Why ``count`` requests cannot be sent now."""
        if not self.reusable:
            # The state follows when the end has been pulled.
            state = ClientState.CLOSED if self._eof and self._state is _OPEN else self._state
            return LocalProtocolError(f"nothing can be sent any more: {state.value}")
        outstanding, limit = len(self._outstanding), self._limits.outstanding
        if count == 1:
            return LocalProtocolError(f"requests outstanding are {outstanding}, which is the limit")
        return LocalProtocolError(
            f"requests of the batch are {count}, {outstanding} are outstanding, limit of both is {limit}"
        )

    def fence(self) -> bytes:
        """Bytes that settle the quiet requests sent so far (a NOOP); none if they are settled anyway."""
        if not self._outstanding or not self._outstanding[-1].quiet or not self.reusable:
            return b""
        # The limit is for what the embedder asks; at the limit nothing else could settle it.
        exchange = self._dialect.encode(Noop())
        self._outstanding.append(exchange)
        self.abandon(exchange)
        return exchange.data

    def abandon(self, exchange: Exchange[object]) -> None:
        """Stop waiting for this reply. It is still awaited, read and dropped, and never given to anyone else.

        Only for requests whose bytes have been written, or still will be: after a write that was cut short
        the connection cannot be used, see :meth:`close`.
        """
        if not isinstance(exchange, Exchange):
            raise misuse("exchange", exchange, "an Exchange")
        exchange._abandoned = True

    def close(self) -> None:
        """Give the connection up: nothing more can be sent, and what is received is dropped."""
        self._enter(CLIENT[self._state][ClientInput.GIVE_UP])
        self._outstanding.clear()
        self._buffer.clear()

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        """Add bytes received from the server. Raises :class:`~memproto.LocalProtocolError` if ``data`` is no bytes."""
        if self._eof:
            raise LocalProtocolError("receive_data() after receive_eof()")
        piece = data if isinstance(data, bytes) else bytes_of("data", data)
        if self._receiving:
            self._buffer.feed(piece)

    def receive_eof(self) -> None:
        """The server will send nothing more. Replies received before are still delivered."""
        self._eof = True

    def next_event(self) -> ClientEvent | Signal:
        """The next answered exchange, ``ConnectionClosed``, or ``Signal.NEED_DATA``.

        Raises :class:`~memproto.RemoteProtocolError` when an answer fits nothing that was asked, breaks the protocol
        or a limit, or is cut off by the end of the stream; and again each time it is called after that.
        The connection is then not reusable for good.
        """
        if self._fault is not None:
            raise RemoteProtocolError(f"the connection has failed already: {self._fault}")
        waiting = self._outstanding
        reply: AnyReply | Silence | None
        try:
            while self._receiving:
                reply = None
                if self._regular and waiting:
                    exchange = waiting[0]
                    reply = exchange._reader.read(self._buffer, exchange, self._limits)
                if reply is None:
                    reply = self._read_irregular()
                    if reply is None:
                        if not self._eof:
                            return _NEED_DATA
                        reply = self._end()
                        if reply is None:
                            break
                exchange = waiting.popleft()
                if not exchange._abandoned:
                    exchange._reply = reply
                    return ReplyReceived(exchange, reply)
        except RemoteProtocolError as fault:
            self._fault = fault
            self._enter(CLIENT[self._state][ClientInput.FAULT])
            self._buffer.clear()
            raise
        return ConnectionClosed()

    def _read_irregular(self) -> AnyReply | Silence | None:
        """The reply to the oldest exchange whatever its form, ``None`` if more bytes are needed."""
        if self._distrust:
            raise RemoteProtocolError(self._distrust)
        if self._buffer.need or (self._regular and not len(self._buffer)):
            return None
        dialect, waiting = self._dialect, self._outstanding
        # First, so that an interruption leaves no part of a reply to a reader that does not know of it.
        self._regular = False
        reply = dialect.read_irregular(self._buffer, waiting)
        if isinstance(reply, Failure):
            self._distrust = dialect.fault_after(waiting[0].request, reply)
        self._regular = dialect.regular and not self._distrust
        return reply

    def _end(self) -> AnyReply | Silence | None:
        """The reply that the end of the stream is to the oldest exchange, ``None`` if there is none."""
        waiting = self._outstanding
        if len(self._buffer) or self._buffer.discarding:
            raise RemoteProtocolError(f"stream ended inside a packet, of which {len(self._buffer)} bytes are here")
        if not waiting:
            self._enter(CLIENT[self._state][ClientInput.END])
            return None
        if not self._quit_was_read:
            self._quit_was_read = self._state is ClientState.QUITTING and all(exchange.quiet for exchange in waiting)
        if self._quit_was_read:
            # The server has read the QUIT, and so everything before it.
            return Ok() if len(waiting) == 1 else Silence()
        raise RemoteProtocolError(f"stream ended before {len(waiting)} of the requests were answered")
