"""A strategy reaches each thing that it claims, and requests meet each other's items."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from memproto import (
    Add,
    AdminCommand,
    AdminReply,
    AnyReply,
    AnyRequest,
    Append,
    Challenge,
    ClassicEnvelope,
    ClusterConfig,
    Counter,
    Decrement,
    Delete,
    Envelope,
    Failure,
    Flush,
    Get,
    Increment,
    LocalProtocolError,
    MetaDebug,
    MetaDebugReply,
    MetaEnvelope,
    Noop,
    Ok,
    Prepend,
    Quit,
    RawReply,
    Replace,
    SaslAuth,
    SaslList,
    SaslStep,
    Set,
    Stats,
    StatsReply,
    Status,
    Stored,
    Touch,
    Touched,
    Unknown,
    UnknownLine,
    Values,
    Verbosity,
    Version,
)
from memproto.engine import Engine
from memproto.testing import (
    binary_envelopes,
    classic_envelopes,
    failures,
    keys,
    meta_envelopes,
    meta_lines,
    multi_gets,
    packets,
    replies,
    replies_to,
    requests,
    text_keys,
    text_replies_to,
    unknown_requests,
)
from memproto.text.classic._commands import ADMIN_VERBS, COMMANDS, DUMPS
from memproto.text.meta._flags import FLAGS_OF, Token

T = TypeVar("T")

_SETTINGS = settings(
    max_examples=4000,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
    deadline=None,
)


def _sample(strategy: st.SearchStrategy[T], size: int) -> list[T]:
    """So many examples, the same in each run."""
    made: list[T] = []

    # Ten at a time: hypothesis likes to vary its last example, and those in one list do not depend on each other.
    @settings(_SETTINGS, derandomize=True, max_examples=-(-size // 10))
    @given(st.lists(strategy, min_size=10, max_size=10))
    def collect(some: list[T]) -> None:
        made.extend(some)

    collect()
    return made


def reaches(strategy: st.SearchStrategy[T], claim: Callable[[T], object], size: int = 400) -> None:
    """Fail unless the strategy makes something of which the claim is true."""
    wanted = settings(_SETTINGS, derandomize=True, max_examples=-(-size // 10))
    find(st.lists(strategy, min_size=10, max_size=10), lambda some: any(map(claim, some)), settings=wanted)


@pytest.fixture(scope="module")
def classic() -> list[ClassicEnvelope]:
    """So many envelopes that each claim about them is met many times; made once, because that takes seconds."""
    sizes = {kind: 600 if kind is UnknownLine else 150 for kind in CLASSIC_KINDS}
    return [each for kind, size in sizes.items() for each in _sample(classic_envelopes(kinds={kind}), size)]


@pytest.fixture(scope="module")
def meta() -> list[MetaEnvelope]:
    return [each for kind in META_KINDS for each in _sample(meta_envelopes(kinds={kind}), 200)]


BINARY_KINDS: list[type[AnyRequest]] = [
    Noop,
    Version,
    Quit,
    SaslList,
    Get,
    Delete,
    Touch,
    Flush,
    Stats,
    Verbosity,
    Append,
    Prepend,
    Set,
    Add,
    Replace,
    Increment,
    Decrement,
    SaslAuth,
    SaslStep,
    Unknown,
]
CLASSIC_KINDS: list[type[AnyRequest]] = [
    Version,
    Quit,
    Get,
    Set,
    Add,
    Replace,
    Append,
    Prepend,
    Delete,
    Increment,
    Decrement,
    Touch,
    Flush,
    Verbosity,
    Stats,
    AdminCommand,
    ClusterConfig,
    UnknownLine,
]
META_KINDS: list[type[AnyRequest]] = [
    Noop,
    Get,
    Set,
    Add,
    Replace,
    Append,
    Prepend,
    Delete,
    Increment,
    Decrement,
    MetaDebug,
]


def _name(kind: type[AnyRequest]) -> str:
    return kind.__name__


# --- kinds


@pytest.mark.once
@pytest.mark.parametrize("kind", BINARY_KINDS, ids=_name)
def test_binary_strategies_make_the_kind_that_is_asked_for_and_no_other(kind: type[AnyRequest]) -> None:
    assert {type(request) for request in _sample(requests(kinds={kind}), 20)} == {kind}
    assert {type(envelope.request) for envelope in _sample(binary_envelopes(kinds=[kind]), 20)} == {kind}


@pytest.mark.once
@pytest.mark.parametrize("kind", CLASSIC_KINDS, ids=_name)
def test_classic_envelopes_are_of_the_kind_that_is_asked_for(kind: type[AnyRequest]) -> None:
    assert {type(envelope.request) for envelope in _sample(classic_envelopes(kinds={kind}), 20)} == {kind}


@pytest.mark.once
@pytest.mark.parametrize("kind", META_KINDS, ids=_name)
def test_meta_envelopes_are_of_the_kind_that_is_asked_for(kind: type[AnyRequest]) -> None:
    assert {type(envelope.request) for envelope in _sample(meta_envelopes(kinds={kind}), 20)} == {kind}


@pytest.mark.once
@pytest.mark.parametrize(
    ("make", "kinds"),
    [
        (requests, BINARY_KINDS),
        (binary_envelopes, BINARY_KINDS),
        (classic_envelopes, CLASSIC_KINDS),
        (meta_envelopes, META_KINDS),
    ],
)
def test_without_kinds_each_kind_is_made(
    make: Callable[[], st.SearchStrategy[AnyRequest | Envelope]], kinds: list[type[AnyRequest]]
) -> None:
    made = _sample(make(), 1500)
    assert {type(each.request if isinstance(each, Envelope) else each) for each in made} == set(kinds)


@pytest.mark.parametrize("make", [requests, binary_envelopes, classic_envelopes, meta_envelopes, meta_lines, replies])
def test_kinds_that_cannot_be_made_are_refused_by_an_error_that_names_them(
    make: Callable[..., st.SearchStrategy[object]],
) -> None:
    with pytest.raises(LocalProtocolError, match=r"^one of the kinds is the class \w+, must be one of the requests"):
        make(kinds={SaslStep if make in (classic_envelopes, meta_envelopes, meta_lines) else MetaDebug})
    with pytest.raises(LocalProtocolError, match=r"^one of the kinds is 'Get', must be one of the requests made"):
        make(kinds=["Get"])
    wrong: object
    for wrong in (Get, "Get", 5, ()):
        with pytest.raises(LocalProtocolError, match=r"^kinds is .*, must be a collection of request classes, such as"):
            make(kinds=wrong)


@pytest.mark.parametrize(
    "make", [requests, binary_envelopes, classic_envelopes, meta_envelopes, meta_lines, packets, unknown_requests]
)
@pytest.mark.parametrize("name", ["keys", "values"])
def test_keys_and_values_that_are_no_strategy_are_refused(
    make: Callable[..., st.SearchStrategy[object]], name: str
) -> None:
    for wrong in ([b"a"], b"a", keys):
        with pytest.raises(LocalProtocolError, match=f"^{name} is .*, must be a hypothesis strategy for bytes"):
            make(**{name: wrong})


def test_requests_of_ones_own_are_not_mixed_with_kinds() -> None:
    with pytest.raises(LocalProtocolError, match="request is given, so that keys, values and kinds are"):
        binary_envelopes(requests(), kinds={Get})
    assert {type(envelope.request) for envelope in _sample(binary_envelopes(st.just(Noop())), 5)} == {Noop}


# --- keys and values


_KEYED = {Get, Set, Add, Replace, Append, Prepend, Delete, Touch, Increment, Decrement, MetaDebug}


def _keys_of(request: AnyRequest) -> tuple[bytes, ...]:
    if isinstance(request, Get):
        return request.keys
    if isinstance(request, Set | Add | Replace | Append | Prepend | Delete | Touch | Increment | Decrement | MetaDebug):
        return (request.key,)
    return ()


@pytest.mark.once
@pytest.mark.parametrize("make", [binary_envelopes, classic_envelopes, meta_envelopes])
def test_keys_and_values_given_are_the_only_ones(make: Callable[..., st.SearchStrategy[Envelope]]) -> None:
    own_keys, own_values = {b"one", b"k" * 200}, {b"", b"two"}
    seen: Tally[object] = Tally()

    @settings(_SETTINGS, derandomize=True, max_examples=400)
    @given(make(keys=st.sampled_from(sorted(own_keys)), values=st.sampled_from(sorted(own_values))))
    def collect(envelope: Envelope) -> None:
        request = envelope.request
        for key in _keys_of(request):
            assert key in own_keys
            seen[key] += 1
        if isinstance(request, Set | Add | Replace | Append | Prepend):
            assert request.value in own_values
            seen[request.value] += 1

    collect()
    assert set(seen) == own_keys | own_values


@pytest.mark.once
@pytest.mark.parametrize("make", [requests, classic_envelopes, meta_envelopes, binary_envelopes])
def test_most_keys_are_of_a_small_pool_and_the_others_anything(
    make: Callable[..., st.SearchStrategy[AnyRequest | Envelope]],
) -> None:
    tally: Tally[bytes] = Tally()
    lengths: set[int] = set()

    @settings(_SETTINGS, derandomize=True, max_examples=200)
    @given(make(kinds={Get, Set}))
    def collect(each: AnyRequest | Envelope) -> None:
        found = _keys_of(each.request if isinstance(each, Envelope) else each)
        tally.update(found)
        lengths.update(map(len, found))

    collect()
    pool = sum(count for _, count in tally.most_common(3))
    assert 0.4 < pool / tally.total() < 0.98
    assert len(tally) > 8
    assert max(lengths) > 30


HITS: dict[str, st.SearchStrategy[AnyRequest]] = {
    "requests": requests(),
    "binary": binary_envelopes().map(lambda envelope: envelope.request),
    "classic": classic_envelopes().map(lambda envelope: envelope.request),
    "meta": meta_envelopes().map(lambda envelope: envelope.request),
}


@pytest.mark.once
@pytest.mark.parametrize("name", HITS)
def test_gets_of_a_generated_run_often_hit(name: str) -> None:
    tallies: dict[float, Tally[str]] = {0.0: Tally(), 1_700_000_000.0: Tally()}

    @settings(_SETTINGS, derandomize=True, max_examples=50)
    @given(st.lists(HITS[name], min_size=20, max_size=60))
    def run(batch: list[AnyRequest]) -> None:
        for now, seen in tallies.items():
            engine = Engine()
            for request in batch:
                reply = engine.execute(request, now)
                if isinstance(request, Get):
                    seen["hit" if isinstance(reply, Values) and reply.items else "miss"] += 1
                elif isinstance(request, Set | Add | Replace):
                    seen["stored" if isinstance(reply, Stored) else "not stored"] += 1

    run()
    for seen in tallies.values():
        assert seen["miss"] > 10
        assert seen["hit"] > 0.1 * seen["miss"], seen
        assert seen["stored"] > 10
        assert seen["not stored"] > 10


# --- binary


@pytest.mark.once
def test_binary_strategies_reach_their_limits() -> None:
    reaches(keys(), lambda key: len(key) == 250)
    reaches(requests(kinds={Set}), lambda request: isinstance(request, Set) and request.cas > 1 << 32)
    reaches(requests(kinds={Set}), lambda request: isinstance(request, Set) and request.value == b"")
    reaches(requests(kinds={Set}), lambda request: isinstance(request, Set) and request.exptime > 1 << 31, 2000)
    reaches(requests(kinds={Increment}), lambda request: isinstance(request, Increment) and request.exptime is None)
    reaches(multi_gets(), lambda request: len(set(request.keys)) < len(request.keys))
    reaches(multi_gets(), lambda request: len(request.keys) == 8)
    reaches(multi_gets(keys=st.just(b"k")), lambda request: set(request.keys) == {b"k"})
    reaches(packets(keys=st.just(b"k")), lambda packet: packet.key == b"k")
    reaches(packets(), lambda packet: packet.key == b"")
    reaches(unknown_requests(), lambda request: request.packet.key == b"")


@pytest.mark.once
def test_each_status_is_among_the_failures() -> None:
    seen = {failure.status for failure in _sample(failures(), 400)}
    assert seen >= {status for status in Status if 0 < status < 1 << 16}
    assert any(status not in set(Status) for status in seen)


@pytest.mark.once
def test_replies_reach_misses_hits_failures_and_challenges() -> None:
    get = Get((b"k",))
    reaches(replies_to(get), lambda reply: reply == Values())
    reaches(replies_to(get, values=st.just(b"v")), lambda reply: isinstance(reply, Values) and reply.items)
    reaches(replies_to(get), lambda reply: isinstance(reply, Failure))
    reaches(replies_to(SaslAuth(b"PLAIN")), lambda reply: isinstance(reply, Challenge))
    reaches(replies_to(Touch(b"k")), lambda reply: isinstance(reply, Touched) and reply.flags is None)
    reaches(replies(kinds={Unknown}), lambda reply: isinstance(reply, RawReply) and reply.extras)


# --- classic


@pytest.mark.once
@pytest.mark.parametrize("verb", sorted({*COMMANDS, *ADMIN_VERBS}))
def test_each_verb_is_among_the_classic_envelopes(verb: bytes, classic: list[ClassicEnvelope]) -> None:
    assert any(envelope.verb == verb for envelope in classic)


@pytest.mark.once
@pytest.mark.parametrize(
    "verb",
    [
        b"set",
        b"add",
        b"replace",
        b"cas",
        b"append",
        b"prepend",
        b"delete",
        b"incr",
        b"decr",
        b"touch",
        b"flush_all",
        b"verbosity",
        b"cache_memlimit",
    ],
)
@pytest.mark.parametrize("noreply", [False, True])
def test_each_verb_is_there_and_with_noreply_too(verb: bytes, noreply: bool, classic: list[ClassicEnvelope]) -> None:
    assert any(envelope.verb == verb and envelope.noreply is noreply for envelope in classic)


CLASSIC: dict[str, Callable[[AnyRequest], object]] = {
    "several keys": lambda request: isinstance(request, Get) and len(request.keys) == 4,
    "one key": lambda request: isinstance(request, Get) and len(request.keys) == 1,
    "a get that touches": lambda request: isinstance(request, Get) and request.exptime,
    "a long key": lambda request: isinstance(request, Delete) and len(request.key) > 200,
    "a key with a byte above 127": lambda request: isinstance(request, Delete) and max(request.key) > 127,
    "an empty value": lambda request: isinstance(request, Set) and not request.value,
    "a value with a line end": lambda request: isinstance(request, Set) and b"\n" in request.value,
    "a negative exptime": lambda request: isinstance(request, Set) and request.exptime < 0,
    "an exptime over a month": lambda request: isinstance(request, Touch) and request.exptime > 3_000_000,
    "flags": lambda request: isinstance(request, Set) and request.flags > 1 << 16,
    "a cas": lambda request: isinstance(request, Set) and request.cas > 0,
    "the cas 0": lambda request: isinstance(request, Set) and request.cas == -1,
    "a flush without a delay": lambda request: request == Flush(),
    "a flush with a delay": lambda request: isinstance(request, Flush) and request.exptime,
    "all statistics": lambda request: request == Stats(),
    "the items": lambda request: request == Stats(b"items"),
    "a reset": lambda request: request == Stats(b"reset"),
    "details on": lambda request: request == Stats(b"detail on"),
    "details off": lambda request: request == Stats(b"detail off"),
    "details": lambda request: request == Stats(b"detail dump"),
    "a group of two words": lambda request: (
        isinstance(request, Stats) and request.group.count(b" ") == 1 and not request.group.startswith(b"detail")
    ),
    "a dump of a class": lambda request: isinstance(request, AdminCommand) and request.words[1:2] == (b"cachedump",),
    "two more words": lambda request: isinstance(request, AdminCommand) and len(request.words) == 3,
    "an empty line": lambda request: request == UnknownLine(b""),
    "a line of several words": lambda request: isinstance(request, UnknownLine) and b" " in request.line,
    "a delta over 2**32": lambda request: isinstance(request, Increment) and request.delta > 1 << 32,
}


@pytest.mark.once
@pytest.mark.parametrize("name", CLASSIC)
def test_classic_envelopes_reach_each_claim(name: str, classic: list[ClassicEnvelope]) -> None:
    assert any(CLASSIC[name](envelope.request) for envelope in classic)


@pytest.mark.once
@pytest.mark.parametrize("words", sorted(DUMPS))
def test_each_dump_is_among_the_classic_envelopes(words: tuple[bytes, ...]) -> None:
    reaches(
        classic_envelopes(kinds={AdminCommand}),
        lambda envelope: isinstance(envelope.request, AdminCommand) and envelope.request.words[1:2] == words,
    )


@pytest.mark.once
def test_text_keys_are_words_of_every_length() -> None:
    reaches(text_keys(), lambda key: len(key) == 250)
    reaches(text_keys(), lambda key: len(key) == 1)


# --- meta


_FLAGS = [(command, letter) for command, flags in FLAGS_OF.items() for letter in flags]


@pytest.mark.once
@pytest.mark.parametrize(("command", "letter"), _FLAGS)
def test_each_flag_of_each_command_is_among_the_meta_lines(
    command: bytes, letter: bytes, meta: list[MetaEnvelope]
) -> None:
    assert any(letter in {word[:1] for word in envelope.flags} for envelope in meta if envelope.command == command)


@pytest.mark.once
@pytest.mark.parametrize(
    ("command", "mode"), [(b"ms", mode) for mode in b"SEAPR"] + [(b"ma", mode) for mode in b"I+D-"]
)
def test_each_mode_is_among_the_meta_lines(command: bytes, mode: int, meta: list[MetaEnvelope]) -> None:
    word = b"M%c" % mode
    assert any(word in envelope.flags for envelope in meta if envelope.command == command)


@pytest.mark.once
@pytest.mark.parametrize("command", [b"ms", b"ma"])
def test_the_mode_may_be_left_out(command: bytes) -> None:
    kinds: set[type[AnyRequest]] = {Set} if command == b"ms" else {Increment}
    reaches(meta_envelopes(kinds=kinds), lambda envelope: not any(word[:1] == b"M" for word in envelope.flags))


def _token(envelope: MetaEnvelope, letter: bytes) -> bytes:
    return next((word[1:] for word in envelope.flags if word[:1] == letter), b"")


META: dict[str, Callable[[MetaEnvelope], object]] = {
    "no flags": lambda envelope: envelope.command == b"mg" and not envelope.flags,
    "twelve flags": lambda envelope: len(envelope.flags) > 11,
    "flags not in order": lambda envelope: list(envelope.flags) != sorted(envelope.flags),
    "an opaque of 31 bytes": lambda envelope: len(_token(envelope, b"O")) == 31,
    "an empty opaque": lambda envelope: b"O" in envelope.flags,
    "a token for a proxy": lambda envelope: _token(envelope, b"P"),
    "a negative expiry": lambda envelope: _token(envelope, b"T")[:1] == b"-",
    "the CAS 0": lambda envelope: _token(envelope, b"C") == b"0",
    "a large CAS": lambda envelope: len(_token(envelope, b"E")) == 20,
    "a key in base64 that no line can hold": lambda envelope: (
        b"b" in envelope.flags and any(not {0, 10, 13, 32}.isdisjoint(key) for key in _keys_of(envelope.request))
    ),
    "a key in base64 of 186 bytes": lambda envelope: (
        b"b" in envelope.flags and any(len(key) > 150 for key in _keys_of(envelope.request))
    ),
    "a long key": lambda envelope: any(len(key) > 200 for key in _keys_of(envelope.request)),
    "a debug query in base64": lambda envelope: envelope.command == b"me" and b"b" in envelope.flags,
    "a debug query with a flag": lambda envelope: envelope.command == b"me" and b"x" in envelope.flags,
    "a value with a line end": lambda envelope: isinstance(envelope.request, Set) and b"\n" in envelope.request.value,
}


@pytest.mark.once
@pytest.mark.parametrize("name", META)
def test_meta_envelopes_reach_each_claim(name: str, meta: list[MetaEnvelope]) -> None:
    assert any(META[name](envelope) for envelope in meta)


def test_each_kind_of_token_belongs_to_a_flag_that_is_reached() -> None:
    assert {flag.token for flags in FLAGS_OF.values() for flag in flags.values()} == set(Token)


@pytest.mark.once
def test_a_key_given_that_is_too_long_for_base64_goes_out_as_it_is() -> None:
    long = meta_envelopes(keys=st.just(b"k" * 250), kinds={Delete})
    for envelope in _sample(long, 50):
        assert _keys_of(envelope.request) == (b"k" * 250,)
        assert b"b" not in envelope.flags


# --- replies in text


def _classic(request: AnyRequest, verb: bytes) -> ClassicEnvelope:
    return ClassicEnvelope(request, verb)


GETS = _classic(Get((b"a", b"b")), b"gets")
MG = MetaEnvelope(Get((b"k",)), b"mg", (b"v", b"f", b"c", b"k", b"t", b"h", b"l"))
HD = MetaEnvelope(Get((b"k",)), b"mg", (b"s", b"C1", b"v"))


def _meta_of(reply: AnyReply, name: str) -> object:
    if not isinstance(reply, Values) or not reply.items or reply.items[0].meta is None:
        return None
    value: object = getattr(reply.items[0].meta, name)
    return value


REPLIES: dict[str, tuple[ClassicEnvelope | MetaEnvelope, Callable[[AnyReply], object]]] = {
    "no hit": (GETS, lambda reply: reply == Values()),
    "all hits": (GETS, lambda reply: isinstance(reply, Values) and len(reply.items) == 2),
    "a hit with a CAS": (GETS, lambda reply: isinstance(reply, Values) and reply.items and reply.items[0].cas),
    "a counter": (_classic(Increment(b"k"), b"incr"), lambda reply: isinstance(reply, Counter) and reply.value > 1),
    "statistics": (_classic(Stats(), b"stats"), lambda reply: isinstance(reply, StatsReply) and len(reply.stats) > 1),
    "no such statistics": (_classic(Stats(b"x"), b"stats"), lambda reply: reply == Failure(Status.KEY_NOT_FOUND)),
    "a reset": (_classic(Stats(b"reset"), b"stats"), lambda reply: reply == StatsReply()),
    "details": (
        _classic(Stats(b"detail dump"), b"stats"),
        lambda reply: isinstance(reply, StatsReply) and b"PREFIX" in reply.stats[0][1],
    ),
    "a dump": (
        _classic(AdminCommand((b"lru_crawler", b"metadump")), b"lru_crawler"),
        lambda reply: isinstance(reply, AdminReply) and len(reply.lines) > 2,
    ),
    "a busy dump": (
        _classic(AdminCommand((b"lru_crawler", b"metadump")), b"lru_crawler"),
        lambda reply: isinstance(reply, AdminReply) and reply.lines[0].startswith(b"BUSY"),
    ),
    "an answer to an unknown line": (
        _classic(UnknownLine(b"what"), b"what"),
        lambda reply: isinstance(reply, RawReply) and len(reply.value) > 2,
    ),
    "ERROR": (_classic(Version(), b"version"), lambda reply: reply == Failure(Status.UNKNOWN_COMMAND)),
    "ERROR with a text": (
        _classic(Version(), b"version"),
        lambda reply: isinstance(reply, Failure) and reply.status == Status.UNKNOWN_COMMAND and reply.text,
    ),
    "a client's error with a text": (
        _classic(Set(b"k", b"v"), b"set"),
        lambda reply: isinstance(reply, Failure) and reply.status == Status.INVALID_ARGUMENTS and reply.text,
    ),
    "a server's error with a text": (
        _classic(Set(b"k", b"v"), b"set"),
        lambda reply: isinstance(reply, Failure) and reply.status == Status.OUT_OF_MEMORY and reply.text,
    ),
    "too large": (_classic(Set(b"k", b"v"), b"set"), lambda reply: reply == Failure(Status.VALUE_TOO_LARGE)),
    "no number": (_classic(Increment(b"k"), b"incr"), lambda reply: reply == Failure(Status.DELTA_BAD_VALUE)),
    "not allowed": (_classic(Flush(), b"flush_all"), lambda reply: reply == Failure(Status.AUTH_ERROR)),
    "NOT_STORED": (_classic(Append(b"k", b""), b"append"), lambda reply: reply == Failure(Status.NOT_STORED)),
    "EXISTS": (_classic(Set(b"k", b"", 0, 0, 1), b"cas"), lambda reply: reply == Failure(Status.KEY_EXISTS)),
    "NOT_FOUND": (_classic(Delete(b"k"), b"delete"), lambda reply: reply == Failure(Status.KEY_NOT_FOUND)),
    "a miss": (MG, lambda reply: reply == Values()),
    "a value": (MG, lambda reply: isinstance(reply, Values) and reply.items and reply.items[0].value),
    "seconds left": (MG, lambda reply: (_meta_of(reply, "ttl") or 0) != -1 and _meta_of(reply, "ttl") is not None),
    "hit before": (MG, lambda reply: _meta_of(reply, "hit_before")),
    "last access": (MG, lambda reply: _meta_of(reply, "last_access")),
    "won": (MG, lambda reply: _meta_of(reply, "won")),
    "lost": (MG, lambda reply: _meta_of(reply, "lost")),
    "stale": (MG, lambda reply: _meta_of(reply, "stale")),
    "unchanged": (HD, lambda reply: _meta_of(reply, "unchanged")),
    "a size": (HD, lambda reply: _meta_of(reply, "size")),
    "a key in base64": (MG, lambda reply: isinstance(reply, Values) and reply.items and reply.items[0].base64),
    "fields of an item": (
        MetaEnvelope(MetaDebug(b"k"), b"me"),
        lambda reply: isinstance(reply, MetaDebugReply) and len(reply.fields) > 1,
    ),
    "no fields": (MetaEnvelope(MetaDebug(b"k"), b"me"), lambda reply: reply == Failure(Status.KEY_NOT_FOUND)),
    "done": (MetaEnvelope(Noop(), b"mn"), lambda reply: reply == Ok()),
    "a new CAS": (
        MetaEnvelope(Set(b"k", b""), b"ms", (b"c",)),
        lambda reply: isinstance(reply, Stored) and reply.cas,
    ),
    "a counter's seconds": (
        MetaEnvelope(Increment(b"k"), b"ma", (b"t", b"v")),
        lambda reply: isinstance(reply, Counter) and reply.meta is not None and reply.meta.ttl > 0,
    ),
}


@pytest.mark.once
@pytest.mark.parametrize("name", REPLIES)
def test_text_replies_reach_each_claim(name: str) -> None:
    envelope, claim = REPLIES[name]
    reaches(text_replies_to(envelope), claim)


@pytest.mark.once
def test_values_of_text_replies_are_those_given() -> None:
    given_ = st.just(b"given")
    for envelope in (GETS, MG):
        reaches(
            text_replies_to(envelope, values=given_),
            lambda reply: isinstance(reply, Values) and any(item.value == b"given" for item in reply.items),
        )
