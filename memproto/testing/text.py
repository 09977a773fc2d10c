"""Hypothesis strategies for the text dialects; the flags of meta are read from the tables of the codec."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

from hypothesis import strategies as st

from memproto import text
from memproto._wire.arguments import check_envelope
from memproto._wire.checks import I32, U32, U64
from memproto.limits import MAX_KEY, MONTH
from memproto.model import (
    Add,
    AdminCommand,
    AdminReply,
    AnyReply,
    AnyRequest,
    Append,
    ClassicEnvelope,
    Counter,
    Decrement,
    Delete,
    Deleted,
    Failure,
    Get,
    Increment,
    InvalidRequest,
    Item,
    ItemMeta,
    MetaDebug,
    MetaDebugReply,
    MetaEnvelope,
    Noop,
    Ok,
    Prepend,
    Quit,
    RawReply,
    Replace,
    Set,
    Stats,
    StatsReply,
    Status,
    Stored,
    UnknownLine,
    Values,
    Version,
    VersionReply,
)
from memproto.testing.strategies import POOL, chosen, given_or, long, pooled, values, weighted
from memproto.text._failures import error_line, failure_in
from memproto.text._lines import BREAKS, CAS_ZERO, TextEnvelope
from memproto.text.classic._commands import (
    ADMIN_VERBS,
    ANY_KEYS,
    BY_REQUEST,
    CACHEDUMP,
    CAS,
    COMMANDS,
    DELAY,
    DELTA,
    DETAIL_DUMP,
    DUMPS,
    EXPTIME,
    FLAGS,
    KEY,
    KEYS,
    LENGTH,
    LEVEL,
    NOREPLY,
    NOT_STORED,
    STATS,
    STATS_WITHOUT_LINES,
    WITH_CAS,
    failure_of,
)
from memproto.text.meta._flags import (
    COMMANDS as META_COMMANDS,
)
from memproto.text.meta._flags import (
    COUNT_MODES,
    FLAGS_OF,
    MAX_FLAGS,
    MAX_OPAQUE,
    STORE_MODES,
    Flag,
    Token,
)
from memproto.text.meta._keys import MAX_BASE64_KEY, key_word
from memproto.text.meta._server import PARSERS as META

T = TypeVar("T")

_TEXT = 40

# What cannot stand in a word becomes a digit, so that no example is thrown away.
_LEGAL = bytes.maketrans(bytes(sorted(BREAKS)), b"0123")
_LEGAL_TEXT = bytes.maketrans(b"\0\r\n", b"012")


def _words(max_size: int = _TEXT) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=1, max_size=max_size).map(lambda word: word.translate(_LEGAL))


def _texts() -> st.SearchStrategy[bytes]:
    """What can stand at the end of a line."""
    return st.binary(max_size=_TEXT).map(lambda line: line.translate(_LEGAL_TEXT))


def text_keys() -> st.SearchStrategy[bytes]:
    """Every key that can stand in a line as it is: 1 to 250 bytes, none of them a space, CR, LF or NUL."""
    return _words(MAX_KEY) | long(_words(4), MAX_KEY)


def _u32() -> st.SearchStrategy[int]:
    return st.integers(0, U32)


def _u64() -> st.SearchStrategy[int]:
    return st.integers(0, U64)


def _exptimes() -> st.SearchStrategy[int]:
    return st.one_of(st.just(0), st.integers(1, MONTH), st.integers(-I32 - 1, I32))


def _keys(given: st.SearchStrategy[bytes] | None) -> st.SearchStrategy[bytes]:
    return given_or("keys", given, pooled(text_keys(), *POOL))


def _values(given: st.SearchStrategy[bytes] | None) -> st.SearchStrategy[bytes]:
    return given_or("values", given, values())


# --- classic requests


def _lines(verb: bytes, request: st.SearchStrategy[AnyRequest]) -> st.SearchStrategy[ClassicEnvelope]:
    noreply = st.booleans() if COMMANDS[verb].noreply else st.just(False)
    return st.builds(ClassicEnvelope, request, st.just(verb), noreply)


def _groups() -> st.SearchStrategy[bytes]:
    known = st.sampled_from([b"", b"items", DETAIL_DUMP, *STATS_WITHOUT_LINES])
    return known | st.lists(_words(20).filter(lambda word: word != CACHEDUMP), max_size=3).map(b" ".join)


def _administration() -> st.SearchStrategy[ClassicEnvelope]:
    rest = st.lists(_words(20) | st.sampled_from([words[0] for words in DUMPS]), max_size=3)
    tuned = st.builds(lambda verb, words: (verb, *words), st.sampled_from(ADMIN_VERBS), rest)
    dumped = rest.map(lambda words: (STATS, CACHEDUMP, *words))
    kept = (tuned | dumped).filter(lambda words: not COMMANDS[words[0]].noreply or words[-1] != NOREPLY)
    return kept.flatmap(lambda words: _lines(words[0], st.just(AdminCommand(words))))


def _is_unknown(line: bytes) -> bool:
    words = line.split()
    return line[:1] < b"\x7f" and not (words and (words[0] in COMMANDS.keys() | META.keys() or b"HTTP/" in words[-1]))


def _unknown_lines() -> st.SearchStrategy[ClassicEnvelope]:
    line = _texts().map(lambda line: line.lstrip(b" ")).filter(_is_unknown)
    return line.map(lambda line: ClassicEnvelope(UnknownLine(line), line.split(b" ")[0]))


def _classic(
    keys: st.SearchStrategy[bytes], values: st.SearchStrategy[bytes]
) -> dict[type[AnyRequest], st.SearchStrategy[ClassicEnvelope]]:
    some_keys = st.lists(keys, min_size=1, max_size=4).map(tuple)
    arguments = {
        **dict.fromkeys((KEYS, ANY_KEYS), some_keys),
        KEY: keys,
        LENGTH: values,
        **dict.fromkeys((FLAGS, LEVEL), _u32()),
        EXPTIME: _exptimes(),
        DELAY: st.none() | _exptimes(),
        DELTA: _u64(),
        CAS: _u64().map(lambda cas: cas or CAS_ZERO),
    }
    made: dict[type[AnyRequest], st.SearchStrategy[ClassicEnvelope]] = {}
    for command in sorted(COMMANDS.values(), key=lambda command: command.request not in (Version, Quit)):
        if command.request not in (Stats, AdminCommand):
            fields = {each.field: arguments[each] for each in command.arguments if each in arguments}
            lines = _lines(command.verb, st.builds(command.request, **fields))
            made[command.request] = made[command.request] | lines if command.request in made else lines
    others = {Stats: _lines(STATS, st.builds(Stats, _groups())), AdminCommand: _administration()}
    return made | others | {UnknownLine: _unknown_lines()}


def classic_envelopes(
    *,
    keys: st.SearchStrategy[bytes] | None = None,
    values: st.SearchStrategy[bytes] | None = None,
    kinds: Collection[type[AnyRequest]] | None = None,
) -> st.SearchStrategy[ClassicEnvelope]:
    """Every request of classic text under every verb, loud and with ``noreply``; also lines that nobody knows.

    ``keys``, ``values`` and ``kinds`` are as in :func:`requests`; keys must be able to stand in a line.
    """
    made = _classic(_keys(keys), _values(values))
    return weighted(chosen(kinds, made)).flatmap(made.__getitem__)


# --- meta requests


# What each mode of ms and ma stores or counts, and which are left out where that is meant.
_MODES: dict[type[AnyRequest], tuple[bytes, ...]] = {
    kind: tuple(mode for mode, made in {**STORE_MODES, **COUNT_MODES}.items() if made is kind)
    for kind in (Set, Add, Append, Prepend, Replace, Increment, Decrement)
}
_UNMARKED = (Set, Increment)


def _tokens(flag: Flag) -> st.SearchStrategy[bytes]:
    tokens: dict[Token, st.SearchStrategy[bytes]] = {
        Token.NONE: st.just(b""),
        Token.ANY: st.just(b"") | _words(),
        Token.OPAQUE: st.just(b"") | _words(MAX_OPAQUE) | long(_words(4), MAX_OPAQUE),
        Token.NUMBER32: _exptimes().map(lambda number: b"%d" % number),
        Token.FLAGS: _u32().map(lambda number: b"%d" % number),
        Token.NUMBER64: _u64().map(lambda number: b"%d" % number),
        # Of a command that ignores it.
        Token.MODE: st.sampled_from(sorted(STORE_MODES)),
    }
    return tokens[flag.token].map(lambda token: flag.letter + token)


def _mode(kind: type[AnyRequest]) -> st.SearchStrategy[bytes]:
    """The word of the mode, empty for none."""
    marked = st.sampled_from(_MODES[kind]).map(lambda mode: b"M" + mode)
    return st.just(b"") | marked if kind in _UNMARKED else marked


@st.composite
def _meta_flags(draw: st.DrawFn, kind: type[AnyRequest]) -> list[bytes]:
    command = META_COMMANDS[kind]
    if command == b"me":
        return list(draw(st.sampled_from([(), (b"b",), (b"b", b"x")])))
    table = FLAGS_OF[command]
    letters = sorted(table.keys() - {b"M"} if kind in _MODES else table)
    wanted = draw(st.lists(st.sampled_from(letters), unique=True, max_size=MAX_FLAGS - (kind in _MODES)))
    flags = [draw(_tokens(table[letter])) for letter in wanted]
    if kind in _MODES and (mode := draw(_mode(kind))):
        flags.insert(draw(st.integers(0, len(flags))), mode)
    return flags


@st.composite
def _meta_line(
    draw: st.DrawFn,
    kinds: list[type[AnyRequest]],
    keys: st.SearchStrategy[bytes],
    encoded: st.SearchStrategy[bytes],
    values: st.SearchStrategy[bytes],
) -> bytes:
    kind = draw(weighted(kinds))
    command = META_COMMANDS[kind]
    if command == b"mn":
        return b"mn\r\n"
    flags = draw(_meta_flags(kind))
    key = draw(encoded if b"b" in flags else keys)
    if b"b" in flags and len(key) <= MAX_BASE64_KEY:
        key = key_word(key, True)
    else:
        flags = [word for word in flags if word != b"b"]
    if command != b"ms":
        return b" ".join((command, key, *flags)) + b"\r\n"
    data = draw(values)
    return b" ".join((command, key, b"%d" % len(data), *flags)) + b"\r\n" + data + b"\r\n"


def meta_lines(
    *,
    keys: st.SearchStrategy[bytes] | None = None,
    values: st.SearchStrategy[bytes] | None = None,
    kinds: Collection[type[AnyRequest]] | None = None,
) -> st.SearchStrategy[bytes]:
    """Every request of the meta dialect as bytes: each command, its flags in any order, plain and base64 keys.

    ``keys``, ``values`` and ``kinds`` are as in :func:`requests`; keys must be able to stand in a line, and those of
    more than 186 bytes are never sent in base64.
    """
    anything = st.binary(min_size=1, max_size=MAX_BASE64_KEY)
    anything |= long(st.binary(min_size=1, max_size=4), MAX_BASE64_KEY)
    encoded = given_or("keys", keys, pooled(anything, *POOL))
    return _meta_line(chosen(kinds, META_COMMANDS), _keys(keys), encoded, _values(values))


def _enveloped(line: bytes) -> MetaEnvelope:
    envelope = text.decode_request(line)
    assert isinstance(envelope, MetaEnvelope)
    return envelope.replace(line=b"")


def meta_envelopes(
    *,
    keys: st.SearchStrategy[bytes] | None = None,
    values: st.SearchStrategy[bytes] | None = None,
    kinds: Collection[type[AnyRequest]] | None = None,
) -> st.SearchStrategy[MetaEnvelope]:
    """Every request of the meta dialect, as :func:`meta_lines` spells them."""
    return meta_lines(keys=keys, values=values, kinds=kinds).map(_enveloped)


# --- replies


def _failures(envelope: TextEnvelope) -> st.SearchStrategy[Failure]:
    """The failures that come out of a text reply to this as they went in."""
    request = envelope.request
    texts = _texts().filter(lambda line: failure_of(b"CLIENT_ERROR " + line, request) == Failure(4, line))
    server_texts = _texts().filter(lambda line: failure_in(error_line(Failure(0x82, line))[:-2]) == Failure(0x82, line))
    plain = [
        Status.VALUE_TOO_LARGE,
        Status.INVALID_ARGUMENTS,
        Status.DELTA_BAD_VALUE,
        Status.AUTH_ERROR,
        Status.OUT_OF_MEMORY,
    ]
    # ERROR is an unknown group to a client that asked for one.
    plain.append(Status.KEY_NOT_FOUND if isinstance(request, Stats) else Status.UNKNOWN_COMMAND)
    if type(request) in BY_REQUEST and NOT_STORED in BY_REQUEST[type(request)].refusals:
        plain += [Status.KEY_NOT_FOUND, Status.KEY_EXISTS]
        if not isinstance(request, Add | Replace):
            plain.append(Status.NOT_STORED)
    return st.one_of(
        st.sampled_from(plain).map(Failure),
        texts.map(lambda line: Failure(Status.INVALID_ARGUMENTS, line)),
        server_texts.map(lambda line: Failure(Status.OUT_OF_MEMORY, line)),
        _texts().map(lambda line: Failure(Status.UNKNOWN_COMMAND, b": " + line)),
    )


def _ends_dump(line: bytes) -> bool:
    return line in DUMPS.values() or failure_in(line) is not None or line.split(b" ")[0].isupper()


def _administered(words: tuple[bytes, ...]) -> st.SearchStrategy[AdminReply]:
    end = DUMPS.get(words[1:2])
    if end is None:
        return _texts().filter(lambda line: failure_in(line) is None).map(lambda line: AdminReply((line,)))
    inner = st.lists(_texts().filter(lambda line: not _ends_dump(line)), max_size=4)
    return inner.map(lambda lines: AdminReply((*lines, end))) | st.just(AdminReply((b"BUSY currently processing",)))


def _statistics(group: bytes) -> st.SearchStrategy[StatsReply]:
    if group in STATS_WITHOUT_LINES:
        return st.just(StatsReply())
    if group == DETAIL_DUMP:
        lines = st.lists(_words().map(lambda word: b"PREFIX " + word + b" get 1\r\n"), max_size=3).map(b"".join)
        return lines.map(lambda dump: StatsReply(((b"detailed", dump + b"END\r\n"),)))
    return st.lists(st.tuples(_words(), _texts()), max_size=4).map(lambda pairs: StatsReply(tuple(pairs)))


@st.composite
def _found(
    draw: st.DrawFn, envelope: ClassicEnvelope, keys: tuple[bytes, ...], values: st.SearchStrategy[bytes]
) -> Values:
    with_cas = envelope.verb in WITH_CAS
    hits = [key for key in keys if draw(st.booleans())]
    return Values(tuple(Item(key, draw(values), draw(_u32()), draw(_u64()) if with_cas else 0) for key in hits))


def _classic_successes(envelope: ClassicEnvelope, values: st.SearchStrategy[bytes]) -> st.SearchStrategy[AnyReply]:
    request = envelope.request
    match request:
        case Get(keys):
            return _found(envelope, keys, values)
        case Increment() | Decrement():
            return st.builds(Counter, _u64())
        case Version():
            return st.builds(VersionReply, _texts())
        case Stats(group):
            return _statistics(group)
        case AdminCommand(words):
            return _administered(words)
        case UnknownLine():
            lines = _texts().filter(lambda line: failure_in(line) is None)
            return lines.map(lambda line: RawReply(value=line + b"\r\n"))
        case _:
            # No other reply has a field in classic text.
            return st.builds(request.reply_types()[0])


@st.composite
def _meta_item(draw: st.DrawFn, request: Get, letters: frozenset[bytes], values: st.SearchStrategy[bytes]) -> Values:
    (key,) = request.keys
    unchanged = b"v" in letters and b"C" in letters and draw(st.booleans())
    with_value = b"v" in letters and not unchanged
    meta = ItemMeta(
        ttl=draw(st.integers(-1, 1 << 32)) if b"t" in letters else -1,
        hit_before=b"h" in letters and draw(st.booleans()),
        last_access=draw(_u32()) if b"l" in letters else 0,
        won=draw(st.booleans()),
        lost=draw(st.booleans()),
        stale=draw(st.booleans()),
        unchanged=unchanged,
        size=draw(_u32()) if b"s" in letters and not with_value else None,
    )
    told = meta != ItemMeta() or not letters.isdisjoint((b"h", b"l", b"t", b"N", b"R"))
    spelt = not BREAKS.isdisjoint(key) or draw(st.booleans())
    item = Item(
        key,
        draw(values) if with_value else b"",
        draw(_u32()) if b"f" in letters else 0,
        draw(_u64()) if b"c" in letters else 0,
        b"k" in letters and spelt,
        meta if told else None,
    )
    return Values((item,))


def _meta_successes(envelope: MetaEnvelope, values: st.SearchStrategy[bytes]) -> st.SearchStrategy[AnyReply]:
    request = envelope.request
    letters = frozenset(word[:1] for word in envelope.flags)
    cas = _u64() if b"c" in letters else st.just(0)
    match request:
        case Get():
            return st.just(Values()) | _meta_item(request, letters, values)
        case Increment() | Decrement():
            left = st.integers(-1, 1 << 32).map(ItemMeta) if b"t" in letters else st.none()
            return st.builds(Counter, _u64() if b"v" in letters else st.just(0), cas, left)
        case Delete():
            return st.just(Deleted())
        case Noop():
            return st.just(Ok())
        case MetaDebug():
            fact = _words().map(lambda word: word.replace(b"=", b"-"))
            return st.lists(st.tuples(fact, fact), max_size=4).map(lambda facts: MetaDebugReply(tuple(facts)))
        case _:
            return st.builds(Stored, cas)


def text_replies_to(
    envelope: TextEnvelope, *, values: st.SearchStrategy[bytes] | None = None
) -> st.SearchStrategy[AnyReply]:
    """Every reply to this request that a text dialect can say in full: a success, a miss, a failure."""
    check_envelope("envelope", envelope, ClassicEnvelope, MetaEnvelope)
    request = envelope.request
    if isinstance(request, InvalidRequest):
        return st.just(request.reply)
    if isinstance(envelope, ClassicEnvelope):
        return _classic_successes(envelope, _values(values)) | _failures(envelope)
    debugged = st.just(Failure(Status.KEY_NOT_FOUND)) if isinstance(request, MetaDebug) else st.nothing()
    return _meta_successes(envelope, _values(values)) | _failures(envelope) | debugged
