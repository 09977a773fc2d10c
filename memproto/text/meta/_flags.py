"""The flags of the meta commands: the one statement of what each is, and the parser of a command's flags.

For each flag of each command :data:`FLAGS_OF` states the letter, the token behind it, the field of the request that it
sets, and whether and where replies return it. Readers, writers, documentation and strategies derive from this table.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final, NamedTuple

from memproto import model
from memproto._wire.checks import U32, U64
from memproto.model import AnyRequest, Request, Status
from memproto.text._failures import Refusals, lines_of
from memproto.text._lines import BAD_FORMAT, OF_ONE_KEY, exptime_of, unsigned_of

#: The longest opaque token, in bytes; its letter comes on top.
MAX_OPAQUE: Final = 31

#: More flags than this are refused, as memcached refuses about 17.
MAX_FLAGS: Final = 16


class Token(enum.Enum):
    """What stands behind a flag's letter."""

    NONE = "nothing"
    ANY = "ignored, may be anything"
    OPAQUE = "up to 31 bytes"
    NUMBER32 = "signed 32-bit number, an expiry"
    FLAGS = "unsigned 32-bit number"
    NUMBER64 = "unsigned 64-bit number"
    MODE = "a mode letter"


class Returned(enum.Enum):
    """With which replies a flag comes back."""

    NEVER = ""
    SUCCESS = "with a success"
    ALWAYS = "with every reply"


class Flag(NamedTuple):
    """One flag of one command."""

    letter: bytes
    token: Token
    meaning: str
    #: The field of the request that it sets.
    field: str = ""
    #: The field of the request's :class:`~memproto.MetaOptions` that it sets.
    option: str = ""
    #: What a flag without a token sets its option to.
    sets: bool = True
    returned: Returned = Returned.NEVER
    #: The field of the reply, or of its item, that it comes back with; or ``key`` or ``opaque``.
    reply: str = ""


# The letters that readers and writers treat in a way of their own.
BASE64: Final = b"b"
KEY: Final = b"k"
OPAQUE: Final = b"O"
QUIET: Final = b"q"
VALUE: Final = b"v"

# Naming a member through its enum costs more than a lookup of a flag.
_NONE, _EXPTIME, _NUMBER = Token.NONE, Token.NUMBER32, Token.NUMBER64


def _returns(letter: bytes, reply: str, meaning: str, option: str = "") -> Flag:
    """A flag that a success returns with a field of the reply."""
    return Flag(letter, _NONE, meaning, option=option, returned=Returned.SUCCESS, reply=reply)


_COMMON = (
    Flag(BASE64, _NONE, "the key is base64", option="base64"),
    Flag(KEY, _NONE, "return the key", returned=Returned.ALWAYS, reply="key"),
    Flag(OPAQUE, Token.OPAQUE, "opaque, returned as it is", returned=Returned.ALWAYS, reply="opaque"),
    Flag(QUIET, _NONE, "quiet"),
    Flag(b"P", Token.ANY, "for proxies"),
    Flag(b"L", Token.ANY, "for proxies"),
)
_COMPARE = Flag(b"C", _NUMBER, "only if the CAS is this", field="cas")
_NEW_CAS = Flag(b"E", _NUMBER, "the item's new CAS", option="new_cas")
_SET_EXPTIME = Flag(b"T", _EXPTIME, "set the expiry", field="exptime")
_RETURN_CAS = _returns(b"c", "cas", "return the CAS")
_RETURN_TTL = _returns(b"t", "ttl", "return the seconds left, -1 for never", option="details")
_RETURN_VALUE = Flag(VALUE, _NONE, "return the value")
_CREATE = b"N"

# Of each command, in the order in which a client writes those that a request sets.
_OWN: dict[bytes, tuple[Flag, ...]] = {
    b"mg": (
        Flag(b"R", _EXPTIME, "win if fewer seconds than this are left", option="recache"),
        _COMPARE._replace(field="", option="unless_cas"),
        _NEW_CAS,
        Flag(b"u", _NONE, "do not count as a use", option="bump", sets=False),
        # The expiry of a created item comes behind the one for items that are there, or it would not hold.
        _SET_EXPTIME,
        Flag(_CREATE, _EXPTIME, "on a miss create an empty item with this expiry, and win", option="vivify"),
        _returns(b"h", "hit_before", "return whether it was hit before", option="details"),
        _returns(b"l", "last_access", "return the seconds since the last access", option="details"),
        _RETURN_TTL,
        *_COMMON,
        _RETURN_VALUE,
        _returns(b"f", "flags", "return the client flags"),
        _RETURN_CAS,
        _returns(b"s", "size", "return the size of the value"),
    ),
    b"ms": (
        Flag(b"M", Token.MODE, "mode: S set, E add, A append, P prepend, R replace"),
        Flag(b"F", Token.FLAGS, "client flags", field="flags"),
        _SET_EXPTIME,
        _COMPARE,
        _NEW_CAS,
        Flag(b"I", _NONE, "with C: store as stale if the CAS is lower than the item's", option="invalidate"),
        *_COMMON,
        Flag(_CREATE, _EXPTIME, "with append: create on a miss", option="vivify"),
        # What is not stored has the CAS 0.
        _RETURN_CAS._replace(returned=Returned.ALWAYS),
        Flag(b"s", _NONE, "the size of the value, which memcached 1.6.18 does not return"),
    ),
    b"md": (
        _COMPARE,
        Flag(b"I", _NONE, "mark stale", option="invalidate"),
        Flag(b"x", _NONE, "drop the value, keep the item", option="drop_value"),
        _SET_EXPTIME._replace(field="", option="exptime"),
        _NEW_CAS,
        *_COMMON,
    ),
    b"ma": (
        Flag(b"M", Token.MODE, "mode: I or + increment, D or - decrement"),
        Flag(b"D", _NUMBER, "how much to count", field="delta"),
        _COMPARE,
        # As for mg.
        _SET_EXPTIME._replace(field="", option="exptime"),
        Flag(_CREATE, _EXPTIME, "create on a miss with this expiry", field="exptime"),
        Flag(b"J", _NUMBER, "the number to create with", field="initial"),
        _RETURN_TTL,
        _NEW_CAS,
        *_COMMON,
        _RETURN_CAS,
        _RETURN_VALUE,
    ),
}

#: The flags that nobody asks for, in the order in which they end a reply -> the field of the item's ``meta``.
UNASKED: Final = {b"Z": "lost", b"X": "stale", b"W": "won"}

_IGNORED = "of other commands, ignored"


def _accepted(command: bytes) -> dict[bytes, Flag]:
    """By letter the flags that a command has, and those of other commands, which are read and ignored; but for x."""
    accepted = {flag.letter: flag for flag in _OWN[command]}
    for other in (flag for own in _OWN.values() for flag in own if flag.letter != b"x"):
        accepted.setdefault(other.letter, Flag(other.letter, other.token, _IGNORED))
    return accepted


#: Command -> by letter the flags that it accepts.
FLAGS_OF: Final[dict[bytes, dict[bytes, Flag]]] = {command: _accepted(command) for command in _OWN}

#: Request -> its command.
COMMANDS: Final[dict[type[Request[object]], bytes]] = {
    model.Noop: b"mn",
    model.Get: b"mg",
    **dict.fromkeys((model.Set, model.Add, model.Replace, model.Append, model.Prepend), b"ms"),
    model.Delete: b"md",
    **dict.fromkeys((model.Increment, model.Decrement), b"ma"),
    model.MetaDebug: b"me",
}

#: Modes of ms -> the request that it makes; the first is meant where none is given.
STORE_MODES: Final[dict[bytes, type[model.Set | model.Add | model.Append | model.Prepend | model.Replace]]] = {
    b"S": model.Set,
    b"E": model.Add,
    b"A": model.Append,
    b"P": model.Prepend,
    b"R": model.Replace,
}
#: The same for ma.
COUNT_MODES: Final[dict[bytes, type[model.Increment | model.Decrement]]] = {
    b"I": model.Increment,
    b"+": model.Increment,
    b"D": model.Decrement,
    b"-": model.Decrement,
}
#: Command -> its modes.
MODES: Final[dict[bytes, Mapping[bytes, type[AnyRequest]]]] = {b"ms": STORE_MODES, b"ma": COUNT_MODES}

#: Command -> by letter the fields of its replies that come back as flags.
RETURNED: Final[dict[bytes, dict[bytes, str]]] = {
    command: {flag.letter: flag.reply for flag in own if flag.returned is not Returned.NEVER}
    for command, own in _OWN.items()
}
#: Command -> what these fields are in a miss or a failure, as far as that returns them.
RETURNED_BY_FAILURES: Final[dict[bytes, dict[str, int]]] = {
    command: {flag.reply: 0 for flag in own if flag.returned is Returned.ALWAYS and flag.letter not in (KEY, OPAQUE)}
    for command, own in _OWN.items()
}


def flag_for(command: bytes, field: str) -> bytes:
    """The template of the flag that says a field of a request, with the space before it."""
    (letter,) = (flag.letter for flag in _OWN[command] if flag.field == field)
    return b" " + letter + b"%d"


# --- refusals

_REFUSED: Final[Refusals] = {b"NS": Status.NOT_STORED, b"EX": Status.KEY_EXISTS, b"NF": Status.KEY_NOT_FOUND}

#: Request -> what each code says to it. To an add and a replace NS says which condition does not hold.
STATUSES: Final[dict[type[Request[object]], Refusals]] = {
    **dict.fromkeys(OF_ONE_KEY, _REFUSED),
    model.Add: {**_REFUSED, b"NS": Status.KEY_EXISTS},
    model.Replace: {**_REFUSED, b"NS": Status.KEY_NOT_FOUND},
}
#: Request -> the code for each status.
CODES: Final = {kind: lines_of(statuses, b"NS") for kind, statuses in STATUSES.items()}


# --- parsing


class FlagError(Exception):
    """A flag that memcached refuses; ``text`` is its answer, ``reason`` names flag, value and rule."""

    def __init__(self, text: bytes, reason: str) -> None:
        super().__init__(reason)
        self.text = text
        self.reason = reason


#: md and ma have one text for all faults of a flag that can be seen before it is carried out.
JOINT: Final[dict[bytes, bytes]] = dict.fromkeys((b"md", b"ma"), b"invalid or duplicate flag")

# Those whose fault has a text of its own.
_BAD_NUMBERS = {b"F": BAD_FORMAT, b"D": b"invalid numeric delta value", b"J": b"invalid numeric initial value"}

_OPAQUE_TOKEN: Final = Token.OPAQUE


class ParsedFlags(NamedTuple):
    """The flags of one command."""

    #: What an envelope carries: each a letter and its token, without what stands behind a letter that takes no token.
    words: tuple[bytes, ...]
    #: The fields of the request that they set.
    fields: dict[str, int]
    #: The fields of its ``MetaOptions`` that they set.
    options: dict[str, int]
    #: The letter of the mode, empty if there is none.
    mode: bytes


# Command -> the words of flags that have no token and set nothing; and what the others are.
_BARE: Final = {
    command: frozenset(flag.letter for flag in table.values() if flag.token is _NONE and not flag.option)
    for command, table in FLAGS_OF.items()
}
_RULES: Final = {
    command: {flag.letter: (flag.token, flag.field, flag.option, flag.sets) for flag in table.values()}
    for command, table in FLAGS_OF.items()
}


def parse_flags(command: bytes, words: list[bytes]) -> ParsedFlags:
    """The flags of a command. Raises FlagError."""
    if len(words) > MAX_FLAGS:
        text = b"options flags are too long" if command == b"mg" else b"options flags too long"
        raise FlagError(text, f"flags are {len(words)}, limit is {MAX_FLAGS}")
    bare, rules = _BARE[command], _RULES[command]
    fields: dict[str, int] = {}
    options: dict[str, int] = {}
    mode = b""
    letters: dict[bytes, None] = {}
    for word in words:
        if word in bare and word not in letters:
            letters[word] = None
            continue
        letter = word[:1]
        rule = rules.get(letter)
        if rule is None or letter in letters:
            raise _unfit(word, command, rule is not None)
        letters[letter] = None
        token, field, option, sets = rule
        if token is _OPAQUE_TOKEN and len(word) <= MAX_OPAQUE + 1:
            continue
        if token is _NONE:
            if word != letter:
                words = [letter if each is word else each for each in words]
            if option:
                options[option] = sets
        elif token is Token.MODE:
            mode = _mode(word[1:], command)
        elif field:
            fields[field] = _number(word, token, command)
        else:
            number = _number(word, token, command)
            if option:
                options[option] = number
    if b"T" in letters and (b"t" in letters or _CREATE in letters):
        _apply_order(FLAGS_OF[command], b"".join(letters), fields, options)
    return ParsedFlags(tuple(words), fields, options, mode)


def _unfit(word: bytes, command: bytes, duplicate: bool) -> FlagError:
    joint = JOINT.get(command)
    if duplicate:
        return FlagError(joint or b"duplicate flag", f"flag {word[:1].decode()} stands there twice")
    return FlagError(joint or b"invalid flag", f"flag {word!r} is not one of {command.decode()}")


def _apply_order(table: dict[bytes, Flag], letters: bytes, fields: dict[str, int], options: dict[str, int]) -> None:
    """Flags act from left to right, which makes a difference to what stands before T."""
    if not table[b"t"].option:
        return
    before = letters[: letters.index(b"T")]
    if b"t" in before:
        options["ttl_first"] = True
    if _CREATE in before:
        # The item that this creates has the later expiry of the two: in mg T is the field, in ma N is.
        sets, creates = table[b"T"], table[_CREATE]
        if sets.field:
            options[creates.option] = fields[sets.field]
        else:
            fields[creates.field] = options[sets.option]


def _mode(token: bytes, command: bytes) -> bytes:
    if len(token) != 1:
        text = JOINT.get(command, b"incorrect length for M token")
        raise FlagError(text, f"mode is {token!r}, must be one letter")
    modes = MODES.get(command)
    if modes is not None and token not in modes:
        raise FlagError(b"invalid mode for %b M token" % command, f"mode is {token!r}, none of {command!r}")
    return token


def _number(word: bytes, kind: Token, command: bytes) -> int:
    """The number of a flag, 0 for a token that is none."""
    token = word[1:]
    if kind is Token.NUMBER32:
        number = exptime_of(token)
    elif kind is Token.NUMBER64 or kind is Token.FLAGS:
        number = unsigned_of(token, U64 if kind is Token.NUMBER64 else U32)
    elif kind is _OPAQUE_TOKEN:
        raise FlagError(b"opaque token too long", f"opaque is {len(token)} bytes, limit is {MAX_OPAQUE}")
    else:
        return 0
    if number is None:
        letter = word[:1]
        text = JOINT.get(command) or _BAD_NUMBERS.get(letter, b"bad token in command line format")
        raise FlagError(text, f"token of {letter.decode()} is {token!r}, must be a {kind.value}")
    return number
