"""Requests by kind: laws are parametrized by these, so that every run draws each kind in each dialect."""

from __future__ import annotations

from itertools import product

from hypothesis import settings
from hypothesis import strategies as st

from memproto import (
    Add,
    AdminCommand,
    AnyRequest,
    Append,
    ClusterConfig,
    Decrement,
    Delete,
    Dialect,
    Flush,
    Get,
    Increment,
    MetaDebug,
    MetaOptions,
    Noop,
    Packet,
    Prepend,
    Quit,
    Replace,
    SaslAuth,
    SaslList,
    SaslStep,
    Set,
    Stats,
    Touch,
    Unknown,
    UnknownLine,
    Verbosity,
    Version,
)

Kind = type[AnyRequest]

#: For a law that is run for each kind: all kinds together get many times the examples of another law.
_most = settings().max_examples
by_kind = settings(max_examples=max(_most // 4, min(_most, 30)))

_EVERY: tuple[Kind, ...] = (
    *(Get, Set, Add, Replace, Append, Prepend, Delete, Increment, Decrement, Touch),
    *(Flush, Stats, Verbosity, Version, Noop, Quit),
)
_TEXT: tuple[Kind, ...] = (UnknownLine, AdminCommand, ClusterConfig)

#: The kinds of request that each dialect can say.
KINDS: dict[Dialect, tuple[Kind, ...]] = {
    Dialect.BINARY: (*_EVERY, SaslList, SaslAuth, SaslStep, Unknown),
    Dialect.CLASSIC: (*_EVERY, *_TEXT),
    Dialect.META: (*_EVERY, *_TEXT, MetaDebug),
}
#: Each dialect with each of its kinds.
DIALECTS_AND_KINDS = [(dialect, kind) for dialect, kinds in KINDS.items() for kind in kinds]


def _numbers(least: int, most: int) -> st.SearchStrategy[int]:
    edges = {least, most, *(number for number in (0, 1, 60, 2_592_000, 2_592_001) if least <= number <= most)}
    return st.sampled_from(sorted(edges)) | st.integers(least, most)


_POOL = (b"k", b"key:1", b"key:2", b"noreply", b"0")
_EDGES = (b"p" * 186, b"p" * 187, b"p" * 250)
_NO_WORDS = (b"a b", b"\0", b"a\r\nb", b"\x7f\xff", b"\n", b" ", b"\x80" * 186)
_WORDS = st.binary(min_size=1, max_size=20).map(lambda word: word.translate(bytes.maketrans(b" \r\n\0", b"0123")))

KEYS: dict[Dialect, st.SearchStrategy[bytes]] = {
    Dialect.BINARY: st.sampled_from((*_POOL, *_EDGES, *_NO_WORDS, b"\x80" * 250)) | st.binary(min_size=1, max_size=20),
    Dialect.CLASSIC: st.sampled_from((*_POOL, *_EDGES)) | _WORDS,
    Dialect.META: st.sampled_from((*_POOL, *_EDGES, *_NO_WORDS)) | st.binary(min_size=1, max_size=20),
}
VALUES = st.sampled_from((b"", b"\r\n", b"END\r\n", b"flush_all\r\n", b"1" * 64)) | st.binary(max_size=40)
_U32, _U64 = _numbers(0, (1 << 32) - 1), _numbers(0, (1 << 64) - 1)
_I32 = _numbers(-(1 << 31), (1 << 31) - 1)


def requests_of(kind: Kind, dialect: Dialect) -> st.SearchStrategy[AnyRequest]:
    """Requests of this kind that this dialect can say; of one key, if they have any."""
    key, classic = KEYS[dialect], dialect is Dialect.CLASSIC
    exptime = _U32 if dialect is Dialect.BINARY else _I32
    no_cas = st.just(0)
    # In text a comparison with CAS 0 is spelt -1; of the stores of classic text only ``cas``, a Set, compares.
    cas = _U64 if dialect is Dialect.BINARY else no_cas | _U64 | st.just(-1)
    if classic and kind is not Set:
        cas = no_cas
    if kind is Get:
        return st.builds(Get, st.tuples(key), st.none() | exptime)
    if kind in (Set, Add, Replace):
        return st.builds(kind, key, VALUES, _U32, exptime, cas)
    if kind in (Append, Prepend):
        return st.builds(kind, key, VALUES, no_cas if classic else _U64)
    if kind in (Increment, Decrement):
        if classic:
            return st.builds(kind, key, _U64)
        # The one number that binary has no room for stands for None.
        created = st.none() | exptime.filter(lambda number: number != (1 << 32) - 1)
        return st.builds(kind, key, _U64, _U64, created, _U64)
    if kind is Delete:
        return st.builds(Delete, key, cas)
    if kind is Touch:
        return st.builds(Touch, key, exptime)
    if kind is Flush:
        return st.builds(Flush, st.none() | exptime)
    if kind is Stats:
        groups = [b"", b"items", b"settings", b"reset", b"detail on", b"detail dump", b"no such group"]
        if dialect is Dialect.BINARY:
            # A text server looks at the first word of these only, and makes words of the rest.
            groups = 3 * groups + [
                b"items x",
                b"settings items",
                b"detail on x",
                b" items",
                b"items ",
                b"a  b",
                b"cachedump 1",
                b"a\r\nb",
            ]
        return st.builds(Stats, st.sampled_from(groups))
    if kind is Verbosity:
        return st.builds(Verbosity, _U32)
    if kind in (SaslAuth, SaslStep):
        return st.builds(kind, st.sampled_from((b"PLAIN", b"X")), st.sampled_from((b"\0u\0p", b"")) | VALUES)
    if kind is Unknown:
        packet = st.builds(
            Packet,
            st.just(0x80),
            st.sampled_from((0x1B, 0x21 + 0x40, 0xA0, 0xFF)),
            st.binary(max_size=8),
            st.just(b"") | key,
            VALUES,
            st.just(0),
            st.just(0),
            _U32,
            _U64,
        )
        return st.builds(Unknown, packet)
    if kind is UnknownLine:
        return st.builds(UnknownLine, st.sampled_from((b"", b"foo", b"GET k", b"foo bar", b"sett k 0 0 1", b"x" * 200)))
    if kind is AdminCommand:
        lines = (b"lru_crawler metadump all", b"lru_crawler enable", b"stats cachedump 1 10", b"slabs automove 1")
        return st.builds(AdminCommand, st.sampled_from([tuple(line.split(b" ")) for line in lines]))
    if kind is MetaDebug:
        return st.builds(MetaDebug, key)
    plain: dict[Kind, AnyRequest] = {
        Version: Version(),
        Noop: Noop(),
        Quit: Quit(),
        SaslList: SaslList(),
        ClusterConfig: ClusterConfig(),
    }
    return st.just(plain[kind])


def any_request(dialect: Dialect) -> st.SearchStrategy[AnyRequest]:
    """A request of any kind, each kind as often as the others."""
    return st.sampled_from(KINDS[dialect]).flatmap(lambda kind: requests_of(kind, dialect))


_STORE_OPTIONS: dict[str, list[object]] = {"invalidate": [False, True], "vivify": [None, 30]}
_COUNT_OPTIONS: dict[str, list[object]] = {"exptime": [None, 30, -1], "new_cas": [0, 9], "details": [False, True]}
_OPTIONS: dict[Kind, dict[str, list[object]]] = {
    Get: {
        "vivify": [None, 30, -1],
        "recache": [None, 60],
        "unless_cas": [0, 7],
        "bump": [True, False],
        "new_cas": [0, 9],
        "details": [False, True],
    },
    Set: _STORE_OPTIONS,
    Add: _STORE_OPTIONS,
    Replace: _STORE_OPTIONS,
    Append: _STORE_OPTIONS,
    Prepend: _STORE_OPTIONS,
    Increment: _COUNT_OPTIONS,
    Decrement: _COUNT_OPTIONS,
    Delete: {"invalidate": [True], "drop_value": [False, True], "exptime": [None, 30], "new_cas": [0, 9]},
}


def options_of(kind: Kind) -> list[MetaOptions]:
    """Every combination of a few values of the meta options that this kind of request can have."""
    choices = _OPTIONS.get(kind, {})
    return [MetaOptions(**dict(zip(choices, chosen, strict=True))) for chosen in product(*choices.values())]  # type: ignore[arg-type]


def with_options(request: AnyRequest, options: MetaOptions | None) -> AnyRequest:
    """The request with these meta options, if it can have any."""
    if isinstance(request, Get | Set | Add | Replace | Append | Prepend | Increment | Decrement | Delete):
        return request.replace(meta=options)
    return request
