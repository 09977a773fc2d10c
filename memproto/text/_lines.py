"""What both text dialects share: lines, words, numbers, keys, and the lines that say a failure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from memproto import model
from memproto._fields import check_fields
from memproto._wire.buffer import ReceiveBuffer
from memproto._wire.checks import I32, I64, U32, U64, check_bytes, check_number
from memproto.errors import LocalProtocolError
from memproto.limits import MAX_KEY, Limits
from memproto.model import ClassicEnvelope, Item, MetaEnvelope

TextEnvelope: TypeAlias = ClassicEnvelope | MetaEnvelope

#: The bytes of a message, in pieces.
Parts: TypeAlias = tuple[bytes, ...]

CRLF = b"\r\n"
LF = b"\n"

# Kinds of requests, once made: a union that is written where it is asked for is made again each time.
WITH_FLAGS = (model.Set, model.Add, model.Replace)
CONCATENATIONS = (model.Append, model.Prepend)
STORES = (*WITH_FLAGS, *CONCATENATIONS)
COUNTS = (model.Increment, model.Decrement)
OF_ONE_KEY = (*STORES, model.Delete, *COUNTS)

# The ``cas`` of a request that compares with a CAS of 0. As the 0 of a request is no comparison, this one is not 0.
CAS_ZERO = -1

# The digits of 2**64 - 1. A longer number fits nothing, and how large it is does not matter.
_DIGITS = 20
_ANY_LARGE = 1 << 70

# What C takes for blanks, as far as it can stand in a word.
_NUMBER = re.compile(rb"[\t\v\f\r]*([-+]?)([0-9]+)(?:[\t\v\f\r].*)?", re.DOTALL).fullmatch

#: A length this large or larger is refused before anything else is looked at, as memcached does.
HUGE = (1 << 31) - 2

# No word of a line that we write holds one of these.
BREAKS = frozenset(b"\r\n\0 ")
BREAK = re.compile(b"[\r\n\0 ]").search

BAD_FORMAT = b"bad command line format"


def words_of(line: bytes) -> list[bytes]:
    """The words of a line; only the space separates them."""
    words = line.split(b" ")
    return [word for word in words if word] if b"" in words else words


def unsigned(word: bytes, most: int) -> int | None:
    """The number that a word of a reply spells, ``None`` if it spells none or one above ``most``."""
    # 20 digits are enough for 2**64 - 1; longer words are not even converted.
    if len(word) > _DIGITS or not (word.isdigit() or (word[:1] == b"+" and word[1:].isdigit())):
        return None
    number = int(word)
    return number if number <= most else None


def _scanned(word: bytes) -> int | None:
    """The number that C's ``strtol`` finds in a word of a request, of any size; ``None`` where memcached refuses it.

    Blanks and a sign may stand before the digits; a blank ends them, and what follows it is not looked at.
    """
    found = _NUMBER(word)
    if found is None:
        return None
    sign, digits = found.groups()
    digits = digits.lstrip(b"0")
    number = int(digits or b"0") if len(digits) <= _DIGITS else _ANY_LARGE
    return -number if sign == b"-" else number


def unsigned_of(word: bytes, most: int) -> int | None:
    """An unsigned number as memcached reads it in a request; ``None`` if it is none, or above ``most``.

    As with C's ``strtoull`` a negative number counts from 2**64 down; what has 64 bits then is refused.
    """
    if word.isdigit() and len(word) <= _DIGITS:
        number = int(word)
        return number if number <= most else None
    scanned = _scanned(word)
    if scanned is None or not -U64 <= scanned <= U64:
        return None
    number = scanned % (U64 + 1)
    if scanned < 0 and number > I64:
        return None
    return number if number <= most else None


def length_of(word: bytes) -> int | None:
    """The length of the data of a storage command; ``None`` if it is none, or too large to be one."""
    length = int(word) if word.isdigit() and len(word) <= _DIGITS else _scanned(word)
    return length if length is not None and 0 <= length < HUGE else None


def exptime_of(word: bytes) -> int | None:
    """An expiry as memcached reads it: 64 bits, of which the lower 32 count; ``None`` if it is no number that fits."""
    number = int(word) if word.isdigit() and len(word) <= _DIGITS else _scanned(word)
    if number is None or not -I64 - 1 <= number <= I64:
        return None
    return (number + I32 + 1) % (U32 + 1) - I32 - 1


def check_word(name: str, word: bytes, most: int = MAX_KEY) -> None:
    """Raise LocalProtocolError unless ``word`` can stand in a line: 1 to ``most`` bytes, no blank, CR, LF or NUL."""
    check_bytes(name, word, most, 1)
    if BREAK(word):
        raise LocalProtocolError(f"{name} is {word!r}, must hold no space, CR, LF or NUL")


def check_keys(keys: tuple[bytes, ...]) -> None:
    """Raise LocalProtocolError unless each key can stand in a line. All are looked at together: they may be many."""
    if len(keys) > 1 and set(map(type, keys)) == {bytes}:
        joined, lengths = b"".join(keys), set(map(len, keys))
        if min(lengths) >= 1 and max(lengths) <= MAX_KEY and len(joined.translate(None, bytes(BREAKS))) == len(joined):
            return
    for key in keys:
        check_word("key", key)


def check_item(item: Item) -> None:
    """Raise LocalProtocolError unless the fields of an item are of the declared types, and its numbers fit a line."""
    check_fields(item)
    check_number("flags", item.flags, 0, U32)
    check_number("cas", item.cas, 0, U64)


def check_exptime(exptime: int) -> None:
    """Raise LocalProtocolError unless an expiry fits signed 32 bits."""
    check_number("exptime", exptime, -I32 - 1, I32)


def check_text(name: str, text: bytes, most: int = 1 << 20) -> None:
    """Raise LocalProtocolError unless ``text``, of up to ``most`` bytes, can end a line: no CR, LF or NUL."""
    check_bytes(name, text, most)
    if not {0, 10, 13}.isdisjoint(text):
        raise LocalProtocolError(f"{name} is {text!r}, must hold no CR, LF or NUL")


def read_line(buffer: ReceiveBuffer, limits: Limits) -> bytes | None:
    """The next line of a reply, without its end; ``None`` if it is not complete. Raises RemoteProtocolError."""
    return buffer.take_line(limits.line, limits.bare_lf)


@dataclass(slots=True)
class Block:
    """A command line that has been read; ``size`` bytes of data and CR LF are still to come.

    ``finish`` makes the envelope of the data; with ``refused`` the data are swallowed and that is the event.
    """

    size: int
    finish: Callable[[bytes], TextEnvelope]
    refused: TextEnvelope | None = None
