"""The server's half of the text dialects: classic and meta lines, mixed as they come, on one connection."""

from __future__ import annotations

from collections.abc import Callable, Collection

from memproto._wire.buffer import ReceiveBuffer
from memproto.errors import RemoteProtocolError
from memproto.limits import Limits
from memproto.model import (
    AnyReply,
    ClassicEnvelope,
    Dialect,
    Envelope,
    Failure,
    InvalidRequest,
    MetaEnvelope,
    SaslAuth,
    Status,
)
from memproto.text._lines import CRLF, Block, TextEnvelope, take_line, unsigned_of, words_of
from memproto.text.classic import _server as _classic
from memproto.text.meta import _server as _meta

_Parser = Callable[[list[bytes], bytes, Limits], TextEnvelope | Block]

_BAD_CHUNK = Failure(Status.INVALID_ARGUMENTS, b"bad data chunk")
_BAD_TERMINATION = Failure(Status.INVALID_ARGUMENTS, b"bad command line termination")


def _parsers(dialects: Collection[Dialect]) -> dict[bytes, _Parser]:
    parsers: dict[bytes, _Parser] = {}
    if Dialect.CLASSIC in dialects:
        parsers.update(_classic.PARSERS)
    if Dialect.META in dialects:
        parsers.update(_meta.PARSERS)
    return parsers


_ALL = _parsers(tuple(Dialect))


class TextServer:
    """Reads text requests and writes their replies.

    ``awaiting_auth`` is whether the peer has yet to authenticate: then a ``set`` carries user and password, and nothing
    else gets through.
    """

    __slots__ = ("_block", "_limits", "_parsers", "awaiting_auth")

    def __init__(self, limits: Limits, dialects: Collection[Dialect]) -> None:
        self._limits = limits
        self._parsers = _ALL if set(Dialect) <= set(dialects) else _parsers(dialects)
        self._block: Block | None = None
        self.awaiting_auth = False

    @property
    def mid_request(self) -> bool:
        """Whether a request has been read in part."""
        return self._block is not None

    def read(self, buffer: ReceiveBuffer) -> TextEnvelope | None:
        """The next request, or ``None`` for "more bytes are needed". Raises RemoteProtocolError."""
        if buffer.need:
            return None
        if self._block is not None:
            return self._finish(self._block, buffer)
        limits = self._limits
        line = take_line(buffer, limits.line, limits.line if self.awaiting_auth else limits.keys_line, limits.bare_lf)
        if line is None:
            return None
        words = words_of(line)
        parsed = self._parse(words, line)
        if not isinstance(parsed, Block):
            return parsed
        if parsed.refused is not None:
            # Like memcached: answered at once, and the data go by without being held.
            buffer.discard(parsed.size + len(CRLF))
            return parsed.refused
        self._block = parsed
        return self._finish(parsed, buffer)

    def _parse(self, words: list[bytes], line: bytes) -> TextEnvelope | Block:
        if self.awaiting_auth:
            return self._parse_awaiting_auth(words, line)
        parser = self._parsers.get(words[0]) if words else None
        if parser is not None:
            return parser(words, line, self._limits)
        if words and words[-1].startswith(b"HTTP/"):
            raise RemoteProtocolError(f"line {line[:80]!r} is HTTP")
        return _classic.unknown(words, line)

    def _finish(self, block: Block, buffer: ReceiveBuffer) -> TextEnvelope | None:
        """The request of a command line whose data are complete."""
        size = block.size
        if not buffer.gather(size + len(CRLF)):
            return None
        at = buffer.at
        buffer.at = at + size + len(CRLF)
        self._block = None
        envelope = block.finish(buffer.data[at : at + size])
        if buffer.data[at + size : buffer.at] == CRLF:
            return envelope
        # Before credentials; what they end in has a text of its own.
        reply = _BAD_TERMINATION if self.awaiting_auth else _BAD_CHUNK
        refused = InvalidRequest(reply, f"data are not followed by CR LF after {size} bytes")
        if isinstance(envelope, MetaEnvelope):
            return MetaEnvelope(refused, envelope.command, (), envelope.line)
        return ClassicEnvelope(refused, envelope.verb, envelope.noreply, envelope.line)

    # --- before authentication

    def _parse_awaiting_auth(self, words: list[bytes], line: bytes) -> TextEnvelope | Block:
        # Like memcached, which does not look at words behind the length.
        size = unsigned_of(words[4], self._limits.line) if len(words) >= 5 and words[0] == b"set" else None
        if size is None:
            refused = InvalidRequest(Failure(Status.AUTH_ERROR), "command before authentication")
            return ClassicEnvelope(refused, words[0] if words else b"", False, line)

        def finish(data: bytes) -> ClassicEnvelope:
            user, space, password = data.partition(b" ")
            if not space:
                reply = Failure(Status.INVALID_ARGUMENTS, b"bad authentication token format")
                refused = InvalidRequest(reply, "no space between user and password")
                return ClassicEnvelope(refused, words[0], False, line)
            return ClassicEnvelope(SaslAuth(b"PLAIN", b"\0" + user + b"\0" + password), words[0], False, line)

        return Block(size, finish)

    # --- writing

    def write(self, reply: AnyReply, to: Envelope) -> tuple[bytes, ...]:
        """The bytes that answer a request, in pieces. Raises LocalProtocolError."""
        if isinstance(to, MetaEnvelope):
            return _meta.reply_parts(reply, to)
        assert isinstance(to, ClassicEnvelope)
        return _classic.reply_parts(reply, to)
