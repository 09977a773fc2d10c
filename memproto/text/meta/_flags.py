"""The flags of the meta commands: which command takes which, with what token, and what each means."""

from __future__ import annotations

import base64
import binascii
import enum
from typing import NamedTuple

from memproto._wire.checks import U32, U64, check_bytes, check_number
from memproto.errors import LocalProtocolError
from memproto.limits import MAX_KEY
from memproto.text._lines import BAD_FORMAT, CAS_ZERO, exptime_of, unsigned_of

#: The longest opaque token, in bytes; its letter comes on top.
MAX_OPAQUE = 31

#: More flags than this are refused, as memcached refuses about 17.
MAX_FLAGS = 16


class Token(enum.Enum):
    """What stands behind a flag's letter."""

    NONE = "nothing"
    ANY = "ignored, may be anything"
    OPAQUE = "up to 31 bytes"
    NUMBER32 = "signed 32-bit number, an expiry"
    FLAGS = "unsigned 32-bit number"
    NUMBER64 = "unsigned 64-bit number"
    MODE = "a mode letter"


class Flag(NamedTuple):
    """One flag letter of a command: its token, whether a reply carries it, and its meaning."""

    letter: bytes
    token: Token
    returned: bool
    meaning: str


def _table(*flags: Flag) -> dict[bytes, Flag]:
    # What another command knows is read here too, and ignored.
    return {flag.letter: flag for flag in (*_ELSEWHERE, *flags)}


_COMMON = (
    Flag(b"b", Token.NONE, False, "the key is base64"),
    Flag(b"k", Token.NONE, True, "return the key"),
    Flag(b"O", Token.OPAQUE, True, "opaque, returned as it is"),
    Flag(b"q", Token.NONE, False, "quiet"),
    Flag(b"P", Token.ANY, False, "for proxies"),
    Flag(b"L", Token.ANY, False, "for proxies"),
)
_CAS = Flag(b"c", Token.NONE, True, "return the CAS")
_COMPARE = Flag(b"C", Token.NUMBER64, False, "only if the CAS is this")
_NEW_CAS = Flag(b"E", Token.NUMBER64, False, "the item's new CAS")
_TTL = Flag(b"t", Token.NONE, True, "return the seconds left, -1 for never")
_SET_TTL = Flag(b"T", Token.NUMBER32, False, "set the expiry")
_VALUE = Flag(b"v", Token.NONE, False, "return the value")
_SIZE = Flag(b"s", Token.NONE, True, "return the size of the value")
_CLIENT_FLAGS = Flag(b"f", Token.NONE, True, "return the client flags")
_INVALIDATE = Flag(b"I", Token.NONE, False, "mark stale")
_LETTERS = (b"c", b"f", b"h", b"l", b"s", b"t", b"u", b"v")

_ELSEWHERE = (
    *(Flag(letter, Token.NONE, False, "of other commands, ignored") for letter in (*_LETTERS, b"I")),
    *(Flag(letter, Token.NUMBER32, False, "of other commands, ignored") for letter in (b"N", b"R", b"T")),
    *(Flag(letter, Token.NUMBER64, False, "of other commands, ignored") for letter in (b"C", b"D", b"J")),
    Flag(b"F", Token.FLAGS, False, "of other commands, ignored"),
    Flag(b"M", Token.MODE, False, "of other commands, ignored"),
)

#: Command -> its flags by letter.
FLAGS_OF: dict[bytes, dict[bytes, Flag]] = {
    b"mg": _table(
        *_COMMON,
        _CAS,
        _CLIENT_FLAGS,
        Flag(b"h", Token.NONE, True, "return whether it was hit before"),
        Flag(b"l", Token.NONE, True, "return the seconds since the last access"),
        _SIZE,
        _TTL,
        Flag(b"u", Token.NONE, False, "do not count as a use"),
        _VALUE,
        Flag(b"N", Token.NUMBER32, False, "on a miss create an empty item with this expiry, and win"),
        Flag(b"R", Token.NUMBER32, False, "win if fewer seconds than this are left"),
        _SET_TTL,
        _COMPARE,
        _NEW_CAS,
    ),
    b"ms": _table(
        *_COMMON,
        _CAS,
        _COMPARE,
        _NEW_CAS,
        Flag(b"F", Token.FLAGS, False, "client flags"),
        Flag(b"I", Token.NONE, False, "with C: store as stale if the CAS is lower than the item's"),
        Flag(b"M", Token.MODE, False, "mode: S set, E add, A append, P prepend, R replace"),
        _SIZE,
        _SET_TTL,
        Flag(b"N", Token.NUMBER32, False, "with append: create on a miss"),
    ),
    b"md": _table(
        *_COMMON,
        _COMPARE,
        _NEW_CAS,
        _INVALIDATE,
        _SET_TTL,
        Flag(b"x", Token.NONE, False, "drop the value, keep the item"),
    ),
    b"ma": _table(
        *_COMMON,
        _CAS,
        _COMPARE,
        _NEW_CAS,
        Flag(b"N", Token.NUMBER32, False, "create on a miss with this expiry"),
        Flag(b"J", Token.NUMBER64, False, "the number to create with"),
        Flag(b"D", Token.NUMBER64, False, "how much to count"),
        Flag(b"M", Token.MODE, False, "mode: I or + increment, D or - decrement"),
        _SET_TTL,
        _TTL,
        _VALUE,
    ),
}

#: Modes of ms and of ma -> the name of the request they make.
STORE_MODES = {b"S": "Set", b"E": "Add", b"A": "Append", b"P": "Prepend", b"R": "Replace"}
COUNT_MODES = {b"I": "Increment", b"+": "Increment", b"D": "Decrement", b"-": "Decrement"}
_MODES = {b"ms": STORE_MODES, b"ma": COUNT_MODES}

# The letters that take no token.
_BARE = frozenset(flag.letter for table in FLAGS_OF.values() for flag in table.values() if flag.token is Token.NONE)

# Naming a member through its enum costs more than a lookup of a flag.
_NO_TOKEN = Token.NONE

Numbers = dict[bytes, int]


class FlagError(Exception):
    """A flag that memcached refuses; ``text`` is its answer, ``reason`` names flag, value and rule."""

    def __init__(self, text: bytes, reason: str) -> None:
        super().__init__(reason)
        self.text = text
        self.reason = reason


#: md and ma have one text for all faults of a flag that can be seen before it is carried out.
JOINT: dict[bytes, bytes] = dict.fromkeys((b"md", b"ma"), b"invalid or duplicate flag")


def compared(numbers: Numbers) -> int:
    """The CAS to compare with, of a command for which C0 is a comparison too."""
    return (numbers[b"C"] or CAS_ZERO) if b"C" in numbers else 0


def compare_flag(cas: int, zero: bool = False) -> tuple[bytes, ...]:
    """The flag that compares; ``zero`` is whether C0 is a comparison. Raises LocalProtocolError."""
    check_number("cas", cas, CAS_ZERO if zero else 0, U64)
    return (b"C%d" % max(cas, 0),) if cas else ()


def numbers_of(command: bytes, words: list[bytes]) -> Numbers:
    """The letters that are set, each with its number (0 where it has none). Raises FlagError."""
    table = FLAGS_OF[command]
    joint = JOINT.get(command, b"")
    if len(words) > MAX_FLAGS:
        text = b"options flags are too long" if command == b"mg" else b"options flags too long"
        raise FlagError(text, f"flags are {len(words)}, limit is {MAX_FLAGS}")
    found: Numbers = {}
    for word in words:
        letter = word[:1]
        flag = table.get(letter)
        if flag is None:
            raise FlagError(joint or b"invalid flag", f"flag {word!r} is not one of {command.decode()}")
        if letter in found:
            raise FlagError(joint or b"duplicate flag", f"flag {letter.decode()} stands there twice")
        found[letter] = 0 if flag.token is _NO_TOKEN else _number(flag, word[1:], command, joint)
    return found


def flags_of(words: list[bytes]) -> tuple[bytes, ...]:
    """The flag words, without what nobody looks at behind a letter that takes no token."""
    return tuple([word[:1] if len(word) > 1 and word[:1] in _BARE else word for word in words])


def _number(flag: Flag, token: bytes, command: bytes, joint: bytes) -> int:
    if flag.token is Token.OPAQUE and len(token) > MAX_OPAQUE:
        raise FlagError(b"opaque token too long", f"opaque is {len(token)} bytes, limit is {MAX_OPAQUE}")
    if flag.token is Token.MODE:
        if len(token) != 1:
            raise FlagError(joint or b"incorrect length for M token", f"mode is {token!r}, must be one letter")
        modes = _MODES.get(command)
        if modes is not None and token not in modes:
            raise FlagError(b"invalid mode for %b M token" % command, f"mode is {token!r}, none of {command!r}")
        return token[0]
    number: int | None = 0
    if flag.token is Token.NUMBER32:
        number = exptime_of(token)
    elif flag.token in (Token.NUMBER64, Token.FLAGS):
        number = unsigned_of(token, U64 if flag.token is Token.NUMBER64 else U32)
    if number is None:
        text = _BAD_NUMBERS.get(flag.letter, b"bad token in command line format")
        raise FlagError(joint or text, f"token of {flag.letter.decode()} is {token!r}, must be a {flag.token.value}")
    return number


_BAD_NUMBERS = {b"F": BAD_FORMAT, b"D": b"invalid numeric delta value", b"J": b"invalid numeric initial value"}


# --- keys

_PRINTABLE = bytes(range(0x21, 0x7F))


def decoded_key(word: bytes) -> bytes | None:
    """The key that a base64 word stands for, ``None`` if it is not base64 with padding as an encoder writes it."""
    try:
        key = binascii.a2b_base64(word)
    except binascii.Error:
        return None
    # Of foreign bytes, too much padding and bits that are not used the decoder says nothing; a key has one spelling.
    return key if key and base64_word(key) == word else None


def needs_base64(key: bytes) -> bool:
    """Whether a key cannot stand in a line as it is."""
    return key.translate(None, _PRINTABLE) != b""


def base64_word(key: bytes) -> bytes:
    """The key as a reply says it in base64, however long."""
    return base64.b64encode(key)


#: The longest key that base64 can carry, in bytes.
MAX_BASE64_KEY = MAX_KEY // 4 * 3


def key_word(key: bytes, encoded: bool) -> bytes:
    """The key as it stands in a line. Raises LocalProtocolError if that is too long.

    A server refuses a longer word, and reads the data behind the line as commands.
    """
    check_bytes("key", key, MAX_KEY, 1)
    word = base64.b64encode(key) if encoded else key
    if len(word) > MAX_KEY:
        raise LocalProtocolError(f"key is {len(key)} bytes and needs base64, limit is {MAX_BASE64_KEY}")
    return word
