"""Whole text messages, classic and meta, encoded and decoded without a connection.

For tools that hold complete bytes: analysers, fuzzers, tests. Connections do the same incrementally.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from memproto import model
from memproto._fields import check_value
from memproto._wire.arguments import bytes_of, check_envelope
from memproto._wire.buffer import ReceiveBuffer
from memproto._wire.exchange import Exchange
from memproto.errors import LocalProtocolError, RemoteProtocolError
from memproto.limits import Limits
from memproto.model import AnyReply, AnyRequest, ClassicEnvelope, Dialect, InvalidRequest, MetaEnvelope, Request
from memproto.model._checks import check_reply, check_request
from memproto.model._meta_options import without_meta_options
from memproto.text._client_readers import TextReader
from memproto.text._lines import CRLF, STORES, TextEnvelope
from memproto.text._server import TextServer
from memproto.text.classic import _client as _classic_client
from memproto.text.classic import _server as _classic_server
from memproto.text.classic._arguments import verb_for
from memproto.text.classic._client_readers import reader_for
from memproto.text.classic._cluster import decode_cluster_config, encode_cluster_config
from memproto.text.classic._commands import COMMANDS, Argument, Command
from memproto.text.meta import _server as _meta_server
from memproto.text.meta._client_irregular import IrregularReply
from memproto.text.meta._flags import FLAGS_OF, MAX_FLAGS, MAX_OPAQUE, MODES, Flag, Returned, Token
from memproto.text.meta._keys import key_word
from memproto.text.meta._operations import MetaRequest, envelope_of, key_of

__all__ = [
    "CLASSIC_COMMANDS",
    "MAX_FLAGS",
    "MAX_OPAQUE",
    "META_FLAGS",
    "META_MODES",
    "Argument",
    "Command",
    "Flag",
    "Returned",
    "Token",
    "decode_cluster_config",
    "decode_reply",
    "decode_request",
    "encode_cluster_config",
    "encode_reply",
    "encode_reply_part",
    "encode_request",
    "meta_envelope",
]

#: The flags of the meta commands: command -> letter -> flag, in the order in which a client writes them.
META_FLAGS: Final[Mapping[bytes, Mapping[bytes, Flag]]] = MappingProxyType(
    {command: MappingProxyType(flags) for command, flags in FLAGS_OF.items()}
)

#: The modes of ``ms`` and ``ma``: command -> letter behind ``M`` -> request. The first is meant where none is given.
META_MODES: Final[Mapping[bytes, Mapping[bytes, type[AnyRequest]]]] = MappingProxyType(
    {command: MappingProxyType(modes) for command, modes in MODES.items()}
)

#: The commands of classic text by their first word.
CLASSIC_COMMANDS: Final[Mapping[bytes, Command]] = MappingProxyType(COMMANDS)

# A message that is here whole may be as large as its own numbers can say.
_ANY_SIZE = Limits(value=1 << 31, line=1 << 31, keys_line=1 << 31, keys=1 << 31, stats=1 << 31, answer=1 << 62)


def meta_envelope(request: MetaRequest, *ask: bytes) -> MetaEnvelope:
    """A request in a meta envelope; ``ask`` are further flag words, such as ``b"v"`` or ``b"Oabc"``.

    Raises :class:`~memproto.LocalProtocolError` if the request does not fit a line.
    """
    check_request(request)
    check_value("ask", ask, tuple[bytes, ...])
    return envelope_of(request, ask)


def encode_request(envelope: TextEnvelope) -> bytes:
    """The bytes of one request; the line as it was received if the envelope has one.

    Raises :class:`~memproto.LocalProtocolError` if the request does not fit a line, or does not agree with
    the envelope's verb or flags.
    """
    check_envelope("envelope", envelope, ClassicEnvelope, MetaEnvelope)
    request = envelope.request
    if envelope.line:
        return _with_data(envelope.line, request)
    if isinstance(envelope, MetaEnvelope):
        return _encode_meta(envelope)
    if isinstance(request, model.UnknownLine):
        return _agreeing(request.line + CRLF, envelope)
    request = without_meta_options(request)
    if isinstance(request, model.SaslAuth | model.Noop):
        # Only a connection that awaits credentials reads a ``set`` as them; and ``version``, which stands for
        # Noop in classic, is read as Version.
        return b"".join(_classic_client.encode(request, verb_for(request)))
    encoded = b"".join(_classic_client.encode(request, envelope.verb, envelope.noreply))
    return _agreeing(encoded, envelope)


def _with_data(line: bytes, request: Request[object]) -> bytes:
    data = _classic_client.data_of(request)
    return line + CRLF if data is None else line + CRLF + data + CRLF


def _encode_meta(envelope: MetaEnvelope) -> bytes:
    request = envelope.request
    words = [envelope.command]
    if not isinstance(request, model.Noop):
        words.append(key_word(key_of(request), b"b" in envelope.flags))
    if isinstance(request, STORES):
        words.append(b"%d" % len(request.value))
    return _agreeing(_with_data(b" ".join((*words, *envelope.flags)), request), envelope)


def _agreeing(encoded: bytes, envelope: TextEnvelope) -> bytes:
    """The bytes, once it is sure that they say this request and not another."""
    try:
        decoded = decode_request(encoded)
    except RemoteProtocolError as error:
        raise LocalProtocolError(f"request does not fit a line: {error}") from None
    if decoded != envelope:
        raise LocalProtocolError(f"envelope says {envelope!r}, its words say {decoded!r}")
    return encoded


def decode_request(data: bytes) -> TextEnvelope:
    """The one request that ``data`` holds, whole, its line end included.

    Raises :class:`~memproto.RemoteProtocolError` if it is malformed, incomplete or followed by more bytes.
    """
    data = bytes_of("data", data)
    buffer = ReceiveBuffer()
    buffer.feed(data)
    envelope = TextServer(_ANY_SIZE, tuple(Dialect)).read(buffer)
    if envelope is None:
        raise RemoteProtocolError(f"{len(data)} bytes are less than one request")
    if isinstance(envelope.request, InvalidRequest):
        raise RemoteProtocolError(envelope.request.reason)
    if len(buffer):
        raise RemoteProtocolError(f"{len(buffer)} bytes follow the request")
    return envelope


def encode_reply(reply: AnyReply, to: TextEnvelope) -> bytes:
    """The bytes that answer the request in ``to``; empty where it asked for silence.

    Raises :class:`~memproto.LocalProtocolError` if the reply does not answer that request or does not fit a line.
    """
    check_envelope("to", to, ClassicEnvelope, MetaEnvelope)
    check_reply(reply)
    if isinstance(to, ClassicEnvelope):
        return b"".join(_classic_server.reply_parts(reply, to))
    return b"".join(_meta_server.reply_parts(reply, to))


def encode_reply_part(reply: model.Values | model.AdminReply, to: ClassicEnvelope) -> tuple[bytes, ...]:
    """Some of the items that answer a get, or of the lines that answer a dump, without the end; in pieces.

    For a reply that is produced in parts. The last part, which may be empty, is sent with
    ``ServerConnection.send``: it has the end.

    Raises :class:`~memproto.LocalProtocolError` if the reply does not answer that request, has no parts, or does not
    fit a line.
    """
    check_envelope("to", to, ClassicEnvelope)
    check_reply(reply)
    return _classic_server.part_of_reply(reply, to)


def decode_reply(data: bytes, to: TextEnvelope) -> AnyReply:
    """What ``data``, the whole reply, says to the request in ``to``.

    Raises :class:`~memproto.RemoteProtocolError` if it does not answer that request, is incomplete or is followed
    by more bytes.
    """
    check_envelope("to", to, ClassicEnvelope, MetaEnvelope)
    data = bytes_of("data", data)
    buffer = ReceiveBuffer()
    buffer.feed(data)
    reader: TextReader
    if isinstance(to, MetaEnvelope):
        reader = IrregularReply(to.request, to.flags, _ANY_SIZE)
    else:
        reader = reader_for(to.request, _ANY_SIZE)
    reply = _read_reply(to.request, reader, buffer)
    if reply is None:
        raise RemoteProtocolError(f"{len(data)} bytes are less than one reply")
    if len(buffer):
        raise RemoteProtocolError(f"{len(buffer)} bytes follow the reply")
    return reply


def _read_reply(request: Request[object], reader: TextReader, buffer: ReceiveBuffer) -> AnyReply | None:
    exchange: Exchange[object] = Exchange(request, (), False, reader)
    reply = reader.read(buffer, exchange, _ANY_SIZE)
    if reply is not None:
        return reply
    irregular = reader.begin(exchange, _ANY_SIZE).read_irregular(buffer, exchange, _ANY_SIZE)
    assert not isinstance(irregular, model.Silence)
    return irregular
