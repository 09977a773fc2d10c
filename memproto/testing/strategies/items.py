"""What requests and replies are made of: keys, values, words of a line, numbers."""

from __future__ import annotations

from typing import Final, TypeAlias, TypeVar

from hypothesis import strategies as st

from memproto import MAX_KEY
from memproto.engine import MONTH
from memproto.testing.arguments import misuse

T = TypeVar("T")
#: Where keys or values come from.
Bytes: TypeAlias = st.SearchStrategy[bytes]

# Requests must meet each other's items, or every get is a miss: three of four keys are from here.
POOL: Final[tuple[bytes, ...]] = (b"a", b"b", b"key")

# What must never be taken for a line of its own where it is a value.
_LINES = (b"\r\n", b"\n", b"END\r\n", b"flush_all\r\n", b"mn\r\n")

# What cannot stand in a word becomes a digit, so that no example is thrown away.
BREAKS = b"\0\n\r "
_LEGAL = bytes.maketrans(BREAKS, b"0123")
_LEGAL_TEXT = bytes.maketrans(b"\0\r\n", b"012")
_TEXT = 40


def exptimes(least: int, most: int) -> st.SearchStrategy[int]:
    """Expiries: never, some seconds from now, or anything within these bounds."""
    return st.one_of(st.just(0), st.integers(1, MONTH), st.integers(least, most))


U32: Final[st.SearchStrategy[int]] = st.integers(0, (1 << 32) - 1)
U64: Final[st.SearchStrategy[int]] = st.integers(0, (1 << 64) - 1)
#: Those of text.
EXPTIMES: Final[st.SearchStrategy[int]] = exptimes(-(1 << 31), (1 << 31) - 1)


def long(words: Bytes, size: int) -> Bytes:
    """Words repeated up to ``size`` bytes or one less; of itself hypothesis hardly ever makes anything that long."""
    return st.builds(lambda word, length: (word * length)[:length], words, st.integers(size - 1, size))


def keys() -> Bytes:
    """Every key of the binary protocol: 1 to 250 bytes of any kind."""
    return st.binary(min_size=1, max_size=MAX_KEY) | long(st.binary(min_size=1, max_size=4), MAX_KEY)


def values(max_size: int = 256) -> Bytes:
    """Values of up to ``max_size`` bytes, the empty one included; some look like lines of a text dialect."""
    lines = st.lists(st.sampled_from(_LINES), min_size=1, max_size=3)
    return st.binary(max_size=max_size) | lines.map(lambda parts: b"".join(parts)[:max_size])


def words(max_size: int = _TEXT) -> Bytes:
    """Words of a line."""
    return st.binary(min_size=1, max_size=max_size).map(lambda word: word.translate(_LEGAL))


def texts() -> Bytes:
    """What can stand at the end of a line."""
    return st.binary(max_size=_TEXT).map(lambda line: line.translate(_LEGAL_TEXT))


def text_keys() -> Bytes:
    """Every key that can stand in a line as it is: 1 to 250 bytes, none of them a space, CR, LF or NUL."""
    return words(MAX_KEY) | long(words(4), MAX_KEY)


@st.composite
def pooled(draw: st.DrawFn, anything: st.SearchStrategy[T], *usual: T) -> T:
    """Three times of four one of the usual ones, else anything."""
    # Not one_of, which takes equal branches for one.
    return draw(st.sampled_from(usual)) if draw(st.integers(0, 3)) < 3 else draw(anything)


def given_or(name: str, given: object, usual: Bytes) -> Bytes:
    """The strategy that a user gives, or the usual one for ``None``. Raises LocalProtocolError."""
    if given is None:
        return usual
    if not isinstance(given, st.SearchStrategy):
        raise misuse(name, given, "a hypothesis strategy for bytes, such as sampled_from")
    return given


def pooled_keys(given: object) -> Bytes:
    """The keys that a user gives; without them those of binary requests."""
    return given_or("keys", given, pooled(keys(), *POOL))


def pooled_text_keys(given: object) -> Bytes:
    """The keys that a user gives; without them those of text requests."""
    return given_or("keys", given, pooled(text_keys(), *POOL))


def values_or(given: object) -> Bytes:
    """The values that a user gives, or any."""
    return given_or("values", given, values())
