"""The client's side of the text dialects: chooses classic or meta for each request, reads replies in order.

Text replies do not say which request they answer, so each is read by its place. For that reason no request is sent with
``noreply`` or, alone, with ``q``: an error in reply to a silent request could be taken for the reply to the next one. A
quiet request is sent as one that asks for a reply, and its success becomes silence.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias, TypeVar

from memproto._wire.buffer import ReceiveBuffer
from memproto._wire.exchange import OPAQUES, Exchange
from memproto.errors import LocalProtocolError, RemoteProtocolError
from memproto.limits import Limits
from memproto.model import AnyReply, Dialect, Failure, Get, Quit, Request, Silence, Status, UnknownLine
from memproto.model._checks import check_request
from memproto.text._client_readers import Quieted, TextReader
from memproto.text._lines import CRLF, STORES, Parts, check_text, words_of
from memproto.text.classic import _client as _classic
from memproto.text.classic._client_readers import reader_for
from memproto.text.classic._commands import COMMANDS
from memproto.text.meta import _client as _meta
from memproto.text.meta._server import PARSERS as META_PARSERS

R = TypeVar("R")

# Refusals of a command line after which many servers take its data for commands, whose replies answer nothing.
_UNREAD: Final = (Status.INVALID_ARGUMENTS, Status.UNKNOWN_COMMAND, Status.AUTH_ERROR)

_KNOWN: Final = COMMANDS.keys() | META_PARSERS.keys()

_Encode: TypeAlias = Callable[[Request[object], int], Parts | None]
# What encodes the regular requests of each kind, and reads the replies.
_REGULAR: Final[Mapping[Dialect, Mapping[type[Request[object]], tuple[_Encode, TextReader]]]] = {
    Dialect.CLASSIC: {kind: (each.encode, each.reader) for kind, each in _classic.ENCODERS.items()},
    Dialect.META: {kind: (each.encode, each) for kind, each in _meta.BY_REQUEST.items()},
}

#: No line of a regular reply is longer; under a smaller limit all replies are read as irregular ones.
REGULAR_LINE: Final = 320


class TextClient:
    """Encodes requests in classic or meta text, and reads their replies in order."""

    __slots__ = ("_limits", "_meta", "_plans", "_started", "_wide", "opaque")

    def __init__(self, limits: Limits, dialect: Dialect, first_opaque: int = 0) -> None:
        self._limits = limits
        self._meta = dialect is Dialect.META
        self._plans = _REGULAR[dialect]
        self._wide = limits.line >= REGULAR_LINE
        # The reader that has begun an irregular reply to the oldest exchange.
        self._started: TextReader | None = None
        self.opaque = first_opaque

    @property
    def regular(self) -> bool:
        """Whether the reader of the oldest exchange may read: not behind a part of the reply that was read already."""
        return self._wide and self._started is None

    def encode(self, request: Request[R], quiet: bool = False) -> Exchange[R]:
        """Encode a request. Raises LocalProtocolError."""
        opaque = self.opaque
        plan = None if quiet else self._plans.get(type(request))
        if plan is not None:
            encode, regular = plan
            parts = encode(request, opaque)
            if parts is not None:
                self.opaque = (opaque + 1) % OPAQUES
                return Exchange(request, parts, False, regular, opaque)
        check_request(request)
        parts, reader = self._encode_irregular(request)
        self.opaque = (opaque + 1) % OPAQUES
        # A text server does not answer Quit, it closes the connection.
        silent = isinstance(request, Quit)
        return Exchange(request, parts, silent, Quieted(reader) if quiet and not silent else reader, opaque)

    def _encode_irregular(self, request: Request[object]) -> tuple[Parts, TextReader]:
        limits = self._limits
        if isinstance(request, Get) and not 1 <= len(request.keys) <= limits.keys:
            raise LocalProtocolError(f"keys are {len(request.keys)}, must be 1 to {limits.keys}")
        if isinstance(request, UnknownLine):
            self._check_unknown(request.line)
            return (request.line + CRLF,), reader_for(request, limits)
        if self._meta and type(request) in _meta.BY_REQUEST:
            return _meta.encode(request, self.opaque, limits)
        return _classic.encode_irregular(request, limits)

    def _check_unknown(self, line: bytes) -> None:
        """Raise LocalProtocolError if a line would be another request than the unknown one it is sent as."""
        check_text("line", line, self._limits.line)
        words = words_of(line)
        if words and (words[0] in _KNOWN or words[-1].startswith(b"HTTP/")):
            raise LocalProtocolError(f"line is {line!r}, whose command is known, or closes the connection")
        if line and not 0x20 <= line[0] < 0x7F:
            # As the first byte of a connection it would choose another protocol.
            raise LocalProtocolError(f"line begins with {line[0]:#04x}, must begin with printable ASCII")

    def read_irregular(self, buffer: ReceiveBuffer, waiting: deque[Exchange[object]]) -> AnyReply | Silence | None:
        """The reply to the oldest exchange whatever its form; ``None`` if more bytes are needed.

        Raises RemoteProtocolError.
        """
        if not waiting:
            if not buffer.gather(1):
                return None
            raise RemoteProtocolError(f"byte {buffer.data[buffer.at]:#04x} came that nothing asked for")
        exchange = waiting[0]
        if self._started is None:
            reader = exchange._reader
            assert isinstance(reader, TextReader)
            self._started = reader.begin(exchange, self._limits)
        reply = self._started.read_irregular(buffer, exchange, self._limits)
        if reply is not None:
            self._started = None
        return reply

    def fault_after(self, request: Request[object], failure: Failure) -> str:
        """Many servers that refuse a command line take its data for commands, whose replies answer nothing."""
        if failure.status in _UNREAD and isinstance(request, STORES):
            return f"the server may have read the data of {request!r:.80} as commands"
        return ""
