"""Bytes of both directions, one after the other, as the bytes of each side. Pure.

Binary packets say their direction. Of text, the lines that begin with a command are the client's, and their data; all
others are the server's.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from memproto import OPCODES, ClassicEnvelope, Get, Item, Magic, MetaDebug, Noop, Set, Side, Values
from memproto.binary import HEADER
from memproto.text import CLASSIC_COMMANDS, META_FLAGS, encode_reply, encode_request, meta_envelope

__all__ = ["LENGTH_AT", "Piece", "Splitter", "is_request"]

_COMMANDS: Final = frozenset(
    {*CLASSIC_COMMANDS, *META_FLAGS, meta_envelope(Noop()).command, meta_envelope(MetaDebug(b"key")).command}
)
_LONGEST: Final = max(map(len, _COMMANDS))
# An item of a size that no other word of a message has.
_ITEM: Final = Item(b"key", bytes(17))


def _length_at(message: bytes) -> tuple[bytes, int]:
    """Return the first word of a message that has the item's value, and which word is its length."""
    words = message.split(b"\r\n", 1)[0].split(b" ")
    return words[0], words.index(b"%d" % len(_ITEM.value))


_GET: Final = Get((_ITEM.key,))
#: By the first word of a line: which of its words is the length of the data behind it.
LENGTH_AT: Final = {
    **{
        verb: 1 + index
        for verb, command in CLASSIC_COMMANDS.items()
        for index, argument in enumerate(command.arguments)
        if argument.name == "length"
    },
    **dict(
        map(
            _length_at,
            (
                encode_request(meta_envelope(Set(_ITEM.key, _ITEM.value))),
                encode_reply(Values((_ITEM,)), ClassicEnvelope(_GET, b"get")),
                encode_reply(Values((_ITEM,)), meta_envelope(_GET, b"v")),
            ),
        )
    ),
}
# No line that matters is longer.
_MAX_LINE: Final = 1 << 23
_CRLF: Final = 2
_MAX_DIGITS: Final = 10
_MAGICS: Final = (Magic.REQUEST, Magic.RESPONSE)


def is_request(data: bytes) -> bool:
    """Return whether bytes look like the beginning of a request, by their first bytes."""
    if data[:1] == bytes([Magic.REQUEST]):
        return len(data) == 1 or data[1] in OPCODES
    word = data[: _LONGEST + 1].split(None, 1)
    return bool(word) and word[0] in _COMMANDS


class Piece(NamedTuple):
    """Bytes of one message, who has sent it, and whether it is binary."""

    side: Side
    is_binary: bool
    data: bytes


class Splitter:
    """Takes bytes in any cuts, and says of each piece who has sent it."""

    def __init__(self) -> None:
        self._rest = b""
        self._side = Side.CLIENT
        self._is_binary = False
        # How much of the current message is still to come.
        self._left = 0

    def add(self, data: bytes) -> list[Piece]:
        """Take bytes; the pieces whose sender is known."""
        data = self._rest + data
        pieces: list[Piece] = []
        at = 0
        while at < len(data):
            if not self._left and not self._begin(data, at):
                break
            taken = data[at : at + self._left]
            pieces.append(Piece(self._side, self._is_binary, taken))
            at += len(taken)
            self._left -= len(taken)
        self._rest = data[at:]
        return pieces

    def end(self) -> list[Piece]:
        """Return the bytes that are less than one line or header."""
        rest, self._rest = self._rest, b""
        if not rest:
            return []
        return [Piece(Side.CLIENT if is_request(rest) else Side.SERVER, rest[0] in _MAGICS, rest)]

    def _begin(self, data: bytes, at: int) -> bool:
        """Find out who sends the message at ``at``, and how long it is; ``False`` if more bytes are needed."""
        self._is_binary = data[at] in _MAGICS
        if self._is_binary:
            if len(data) - at < HEADER.size:
                return False
            self._side = Side.CLIENT if data[at] == Magic.REQUEST else Side.SERVER
            self._left = HEADER.size + HEADER.unpack(data[at : at + HEADER.size])["body_length"]
            return True
        end = data.find(b"\n", at) + 1
        if not end:
            if len(data) - at < _MAX_LINE:
                return False
            end = len(data)
        words = data[at:end].split(None, 5) or [b""]
        self._left = end - at
        self._side = Side.CLIENT if words[0] in _COMMANDS else Side.SERVER
        place = LENGTH_AT.get(words[0], len(words))
        if place < len(words) and words[place].isdigit():
            self._left += int(words[place][:_MAX_DIGITS]) + _CRLF
        return True
