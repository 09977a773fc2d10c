"""Meta text: requests with their flags, and the replies to them. Flags and modes are read from the tables."""

from __future__ import annotations

import base64

from hypothesis import strategies as st

from memproto import MAX_KEY, model, text
from memproto.testing.strategies.items import (
    BREAKS,
    EXPTIMES,
    POOL,
    U32,
    U64,
    Bytes,
    given_or,
    long,
    pooled,
    pooled_text_keys,
    values_or,
    words,
)
from memproto.testing.strategies.kinds import Kinds, chosen, weighted
from memproto.text import MAX_FLAGS, MAX_OPAQUE, META_FLAGS, META_MODES, Flag, Token

# --- requests

# The longest key whose base64 is a key.
_MAX_BASE64_KEY = MAX_KEY // 4 * 3

# The words of each request that has a mode, and which requests are meant where it is left out.
_MODES: dict[type[model.AnyRequest], list[bytes]] = {
    kind: [b"M" + letter for letter, made in modes.items() if made is kind]
    for modes in META_MODES.values()
    for kind in modes.values()
}
_UNMARKED = [next(iter(modes.values())) for modes in META_MODES.values()]
_COMMANDS: dict[type[model.AnyRequest], bytes] = {
    model.Noop: b"mn",
    model.Get: b"mg",
    **{kind: command for command, modes in META_MODES.items() for kind in modes.values()},
    model.Delete: b"md",
    model.MetaDebug: b"me",
}


def _tokens(flag: Flag) -> Bytes:
    tokens: dict[Token, Bytes] = {
        Token.NONE: st.just(b""),
        Token.ANY: st.just(b"") | words(),
        Token.OPAQUE: st.just(b"") | words(MAX_OPAQUE) | long(words(4), MAX_OPAQUE),
        Token.NUMBER32: EXPTIMES.map(lambda number: b"%d" % number),
        Token.FLAGS: U32.map(lambda number: b"%d" % number),
        Token.NUMBER64: U64.map(lambda number: b"%d" % number),
        # Of a command that ignores it.
        Token.MODE: st.sampled_from(sorted(META_MODES[b"ms"])),
    }
    return tokens[flag.token].map(lambda token: flag.letter + token)


@st.composite
def _flags(draw: st.DrawFn, kind: type[model.AnyRequest]) -> list[bytes]:
    command = _COMMANDS[kind]
    if command == b"me":
        return list(draw(st.sampled_from([(), (b"b",), (b"b", b"x")])))
    table = META_FLAGS[command]
    letters = sorted(table.keys() - {b"M"} if kind in _MODES else table)
    wanted = draw(st.lists(st.sampled_from(letters), unique=True, max_size=MAX_FLAGS - (kind in _MODES)))
    flags = [draw(_tokens(table[letter])) for letter in wanted]
    if kind in _MODES and (kind not in _UNMARKED or draw(st.booleans())):
        flags.insert(draw(st.integers(0, len(flags))), draw(st.sampled_from(_MODES[kind])))
    return flags


@st.composite
def _line(draw: st.DrawFn, kinds: list[type[model.AnyRequest]], keys: Bytes, encoded: Bytes, values: Bytes) -> bytes:
    kind = draw(weighted(kinds))
    command = _COMMANDS[kind]
    if command == b"mn":
        return b"mn\r\n"
    flags = draw(_flags(kind))
    key = draw(encoded if b"b" in flags else keys)
    if b"b" in flags and len(key) <= _MAX_BASE64_KEY:
        key = base64.b64encode(key)
    else:
        flags = [word for word in flags if word != b"b"]
    if command != b"ms":
        return b" ".join((command, key, *flags)) + b"\r\n"
    data = draw(values)
    return b" ".join((command, key, b"%d" % len(data), *flags)) + b"\r\n" + data + b"\r\n"


def meta_lines(*, keys: Bytes | None = None, values: Bytes | None = None, kinds: Kinds | None = None) -> Bytes:
    """Every request of the meta dialect as bytes: each command, its flags in any order, plain and base64 keys.

    ``keys``, ``values`` and ``kinds`` are as in :func:`requests`; keys must be able to stand in a line, and those of
    more than 186 bytes are never sent in base64.
    """
    anything = st.binary(min_size=1, max_size=_MAX_BASE64_KEY)
    anything |= long(st.binary(min_size=1, max_size=4), _MAX_BASE64_KEY)
    encoded = given_or("keys", keys, pooled(anything, *POOL))
    return _line(chosen(kinds, _COMMANDS), pooled_text_keys(keys), encoded, values_or(values))


def _enveloped(line: bytes) -> model.MetaEnvelope:
    envelope = text.decode_request(line)
    assert isinstance(envelope, model.MetaEnvelope)
    return envelope.replace(line=b"")


def meta_envelopes(
    *, keys: Bytes | None = None, values: Bytes | None = None, kinds: Kinds | None = None
) -> st.SearchStrategy[model.MetaEnvelope]:
    """Every request of the meta dialect, as :func:`meta_lines` spells them."""
    return meta_lines(keys=keys, values=values, kinds=kinds).map(_enveloped)


# --- replies


@st.composite
def _item(draw: st.DrawFn, request: model.Get, letters: frozenset[bytes], values: Bytes) -> model.Values:
    (key,) = request.keys
    unchanged = b"v" in letters and b"C" in letters and draw(st.booleans())
    with_value = b"v" in letters and not unchanged
    meta = model.ItemMeta(
        ttl=draw(st.integers(-1, 1 << 32)) if b"t" in letters else -1,
        hit_before=b"h" in letters and draw(st.booleans()),
        last_access=draw(U32) if b"l" in letters else 0,
        won=draw(st.booleans()),
        lost=draw(st.booleans()),
        stale=draw(st.booleans()),
        unchanged=unchanged,
        size=draw(U32) if b"s" in letters and not with_value else None,
    )
    told = meta != model.ItemMeta() or not letters.isdisjoint((b"h", b"l", b"t", b"N", b"R"))
    spelt = not set(BREAKS).isdisjoint(key) or draw(st.booleans())
    item = model.Item(
        key,
        draw(values) if with_value else b"",
        draw(U32) if b"f" in letters else 0,
        draw(U64) if b"c" in letters else 0,
        b"k" in letters and spelt,
        meta if told else None,
    )
    return model.Values((item,))


def meta_successes(envelope: model.MetaEnvelope, values: Bytes) -> st.SearchStrategy[model.AnyReply]:
    """The replies that say a success or a miss."""
    request = envelope.request
    letters = frozenset(word[:1] for word in envelope.flags)
    cas = U64 if b"c" in letters else st.just(0)
    match request:
        case model.Get():
            return st.just(model.Values()) | _item(request, letters, values)
        case model.Increment() | model.Decrement():
            left = st.integers(-1, 1 << 32).map(model.ItemMeta) if b"t" in letters else st.none()
            return st.builds(model.Counter, U64 if b"v" in letters else st.just(0), cas, left)
        case model.Delete():
            return st.just(model.Deleted())
        case model.Noop():
            return st.just(model.Ok())
        case model.MetaDebug():
            part = words().map(lambda word: word.replace(b"=", b"-"))
            return st.lists(st.tuples(part, part), max_size=4).map(lambda pairs: model.MetaDebugReply(tuple(pairs)))
        case _:
            return st.builds(model.Stored, cas)
