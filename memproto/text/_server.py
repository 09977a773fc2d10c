"""The server's half of the text dialects: classic and meta lines, mixed as they come, on one connection."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from memproto import model
from memproto._wire.buffer import ReceiveBuffer
from memproto.errors import RemoteProtocolError
from memproto.limits import Limits
from memproto.model import AnyReply, ClassicEnvelope, Dialect, Envelope, Failure, InvalidRequest, MetaEnvelope, Status
from memproto.text._lines import CRLF, Block, TextEnvelope, unsigned_of, words_of
from memproto.text.classic import _server as _classic
from memproto.text.meta import _server as _meta

_Parser = Callable[[list[bytes], bytes, Limits], TextEnvelope | Block]

# Lines that may be as long as their keys; memcached looks no further than 100 spaces.
_KEYS_LINE = re.compile(rb" {0,100}gets? ")

_BAD_CHUNK = Failure(Status.INVALID_ARGUMENTS, b"bad data chunk")
_BAD_TERMINATION = Failure(Status.INVALID_ARGUMENTS, b"bad command line termination")


def _parsers(dialects: Collection[Dialect]) -> dict[bytes, _Parser]:
    parsers: dict[bytes, _Parser] = {}
    if Dialect.CLASSIC in dialects:
        parsers.update(_classic.PARSERS)
    if Dialect.META in dialects:
        parsers.update(_meta.PARSERS)
    return parsers


def _not_authenticated(words: list[bytes], line: bytes) -> ClassicEnvelope:
    refused = InvalidRequest(Failure(Status.AUTH_ERROR), "command before authentication")
    return ClassicEnvelope(refused, words[0] if words else b"", False, line)


def _parse_credentials(words: list[bytes], line: bytes, limits: Limits) -> TextEnvelope | Block:
    # Like memcached, which does not look at words behind the length.
    size = unsigned_of(words[4], limits.line) if len(words) >= 5 else None
    if size is None:
        return _not_authenticated(words, line)

    def finish(data: bytes) -> ClassicEnvelope:
        user, space, password = data.partition(b" ")
        if not space:
            reply = Failure(Status.INVALID_ARGUMENTS, b"bad authentication token format")
            refused = InvalidRequest(reply, "no space between user and password")
            return ClassicEnvelope(refused, words[0], False, line)
        return ClassicEnvelope(model.SaslAuth(b"PLAIN", b"\0" + user + b"\0" + password), words[0], False, line)

    return Block(size, finish)


_ALL = _parsers(tuple(Dialect))
_BEFORE_AUTH: dict[bytes, _Parser] = {b"set": _parse_credentials}


class TextServer:
    """Reads text requests and writes their replies."""

    __slots__ = ("_allowed", "_awaiting_auth", "_block", "_limits", "_parsers")

    def __init__(self, limits: Limits, dialects: Collection[Dialect]) -> None:
        self._limits = limits
        self._awaiting_auth = False
        # By the command word: all that is allowed, and what is allowed now.
        self._allowed = self._parsers = _ALL if set(Dialect) <= set(dialects) else _parsers(dialects)
        # A command line that has been read, and whose data have not.
        self._block: Block | None = None

    @property
    def awaiting_auth(self) -> bool:
        """Whether the peer has yet to authenticate: then a ``set`` carries user and password, all else is refused."""
        return self._awaiting_auth

    @awaiting_auth.setter
    def awaiting_auth(self, awaiting_auth: bool) -> None:
        self._awaiting_auth = awaiting_auth
        self._parsers = _BEFORE_AUTH if awaiting_auth else self._allowed

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
        # memcached looks at the limit only while the LF is missing, so that there it depends on how the bytes arrive.
        keys_limit = limits.line if self._awaiting_auth else limits.keys_line
        line = buffer.take_line(limits.line, limits.bare_lf, keys_limit, _KEYS_LINE)
        if line is None:
            return None
        words = words_of(line)
        parser = self._parsers.get(words[0]) if words else None
        parsed = self._read_irregular(words, line) if parser is None else parser(words, line, limits)
        if not isinstance(parsed, Block):
            return parsed
        if parsed.refused is not None:
            # Like memcached: answered at once, and the data go by without being held.
            buffer.discard(parsed.size + len(CRLF))
            return parsed.refused
        self._block = parsed
        return self._finish(parsed, buffer)

    def _read_irregular(self, words: list[bytes], line: bytes) -> ClassicEnvelope:
        """The request of a line whose command is not known, or not allowed now. Raises RemoteProtocolError."""
        if self._awaiting_auth:
            return _not_authenticated(words, line)
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
        reply = _BAD_TERMINATION if self._awaiting_auth else _BAD_CHUNK
        refused = InvalidRequest(reply, f"data are not followed by CR LF after {size} bytes")
        if isinstance(envelope, MetaEnvelope):
            return MetaEnvelope(refused, envelope.command, (), envelope.line)
        return ClassicEnvelope(refused, envelope.verb, envelope.noreply, envelope.line)

    def write(self, reply: AnyReply, to: Envelope) -> tuple[bytes, ...]:
        """The bytes that answer a request, in pieces. Raises LocalProtocolError."""
        if isinstance(to, MetaEnvelope):
            return _meta.reply_parts(reply, to)
        assert isinstance(to, ClassicEnvelope)
        return _classic.reply_parts(reply, to)
