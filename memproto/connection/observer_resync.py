"""Finds the next message of a stream in which the observer does not know where one begins."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from memproto.binary._layout import OpcodeSpec
from memproto.binary._packet import HEADER_SIZE, shape_fault, unpack_header
from memproto.connection.observer_streams import ObservedStream
from memproto.limits import MAX_KEY
from memproto.model import STATUSES, Magic
from memproto.text.classic._commands import COMMANDS, CONFIG, END, STAT, VALUE, VERSION
from memproto.text.meta._server import PARSERS as META_PARSERS

# Where a message may begin: at a magic byte, and behind the end of a line.
_PLACES: Final = {
    (magic, kind): re.compile(pattern % re.escape(bytes([magic])))
    for magic in (Magic.REQUEST, Magic.RESPONSE)
    for kind, pattern in ((None, b"\n|%b"), (True, b"%b"), (False, b"\n(?#%b)"))
}


def _one_of(words: set[bytes]) -> bytes:
    return b"(?:" + b"|".join(map(re.escape, sorted(words, reverse=True))) + b")"


_REST: Final = rb"[^\x00-\x1f]*(?:\r?\n|\r?\Z)"
_REPLY_WORDS: Final = {
    word for command in COMMANDS.values() for word in (command.success, *command.refusals) if b" " not in word
} | {END, b"HD", b"EN", b"NF", b"NS", b"EX", b"MN", b"ME", b"CLIENT_ERROR", b"SERVER_ERROR", VERSION, STAT, CONFIG}
_REQUEST_LINE: Final = re.compile(_one_of(COMMANDS.keys() | META_PARSERS.keys()) + rb"(?=[ \r\n])" + _REST).match
_REPLY_LINE: Final = re.compile(
    b"(?:%b(?=[ \r\n])|%b [^ ]{1,250} [0-9]+ [0-9]+(?=[ \r]|\\Z)|VA [0-9]+(?=[ \r]|\\Z))%b"
    % (_one_of(_REPLY_WORDS - {b""}), VALUE, _REST)
).match
# What may become the first word of a line.
_WORD: Final = re.compile(rb"[A-Za-z_]{0,15}\Z").match


def find_message(stream: ObservedStream, binary: bool | None, specs: Mapping[int, OpcodeSpec], most: int) -> bool:
    """Move to the next place where a message begins, and drop what is before it; whether there is one.

    ``binary`` is ``None`` as long as that is not known. ``most`` is the longest value of a message.
    """
    magic = Magic.REQUEST if stream.is_client else Magic.RESPONSE
    stream.gather(len(stream))
    stream.need = 0
    data, at = stream.data, stream.at
    if stream.may_begin:
        begins = _begins_at(stream, at, magic, binary, specs, most)
        if begins is not False:
            return begins is True
        stream.may_begin = False
    for place in _PLACES[magic, binary].finditer(data, at):
        begin = place.start() + (data[place.start()] != magic)
        begins = _begins_at(stream, begin, magic, binary, specs, most)
        if begins is not False:
            stream.at = place.start() if begins is None else begin
            return begins is True
    stream.at = len(data)
    return False


def _begins_at(
    stream: ObservedStream, at: int, magic: int, binary: bool | None, specs: Mapping[int, OpcodeSpec], most: int
) -> bool | None:
    """Whether a message begins at this index; ``None`` if more bytes are needed to know."""
    data = stream.data
    if at == len(data):
        return None
    if data[at] == magic:
        return binary is not False and _is_header(data, at, specs, most)
    if binary:
        return False
    line = _REQUEST_LINE(data, at) if stream.is_client else _REPLY_LINE(data, at)
    if line is None and len(data) - at < MAX_KEY + 40 and _is_beginning(data, at, stream.is_client):
        return None
    return line is not None


def _is_beginning(data: bytes, at: int, is_client: bool) -> bool:
    """Whether more bytes may make a line of what begins here."""
    return _WORD(data, at) is not None or (
        not is_client and data.startswith((VALUE, b"VA "), at) and b"\n" not in data[at:]
    )


def _is_header(data: bytes, at: int, specs: Mapping[int, OpcodeSpec], most: int) -> bool | None:
    """Whether this is the header of a packet that memcached knows; ``None`` if it is not complete."""
    if len(data) - at < HEADER_SIZE:
        return None
    magic, opcode, key, extras, data_type, status, body, _, _ = unpack_header(data, at)
    spec, value, end = specs.get(opcode), body - key - extras, at + HEADER_SIZE + body
    if spec is None or data_type or key > MAX_KEY or not 0 <= value <= most:
        return False
    if magic == Magic.RESPONSE and status:
        return status in STATUSES and not extras
    if shape_fault(spec.request if magic == Magic.REQUEST else spec.reply, spec.name, extras, key, value) is not None:
        return False
    # Where it ends the next one begins, if it has been received.
    return bool(end >= len(data) or data[end] == magic)
