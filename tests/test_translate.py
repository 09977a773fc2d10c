"""From one dialect to another: what is kept, and that what is not kept is named."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memproto import (
    Add,
    AdminCommand,
    AnyReply,
    AnyRequest,
    Append,
    BinaryEnvelope,
    ClassicEnvelope,
    ClusterConfig,
    Counter,
    Decrement,
    Delete,
    Deleted,
    Dialect,
    Envelope,
    Failure,
    Flush,
    Get,
    Increment,
    InvalidRequest,
    Item,
    MetaDebug,
    MetaEnvelope,
    MetaOptions,
    Noop,
    Ok,
    Packet,
    Prepend,
    Quit,
    Replace,
    SaslAuth,
    SaslList,
    SaslStep,
    Set,
    Stats,
    Status,
    Stored,
    Touch,
    Touched,
    TranslationError,
    Unknown,
    UnknownLine,
    Values,
    Verbosity,
    Version,
    VersionReply,
    binary,
    text,
    translate,
    translate_reply,
)
from memproto.testing import binary_envelopes
from memproto.text import decode_request, encode_request, meta_envelope
from memproto.text.classic._arguments import verb_for
from tests.support.kinds import DIALECTS_AND_KINDS, KINDS, Kind, by_kind, options_of, requests_of
from tests.support.reached import reached, reaches

# --- law 6

OPAQUELESS = (Flush, Stats, Version, Verbosity, Quit)
NO_TIME = (1 << 31) - 1
COMPARING = (Set, Add, Replace, Append, Prepend, Delete, Increment, Decrement)
INVALID = MetaEnvelope(InvalidRequest(Failure(4), "x"), b"mg")
META_SAYS = (Get, Set, Add, Replace, Append, Prepend, Delete, Increment, Decrement, Noop, MetaDebug)


def _needs_base64(key: bytes) -> bool:
    return any(byte <= 32 or byte >= 127 for byte in key)


def _lost(envelope: BinaryEnvelope) -> str | None:
    """What keeps this from being said in meta, told without the code under test."""
    request = envelope.request
    if isinstance(request, Unknown | SaslList | SaslAuth | SaslStep):
        return type(request).__name__
    key = request.keys[0] if isinstance(request, Get) else getattr(request, "key", b"")
    if len(key) > 186 and _needs_base64(key):
        return f"key is {len(key)} bytes and needs base64, limit is 186"
    if isinstance(request, Flush) and (request.exptime or 0) > NO_TIME:
        return f"delay is {request.exptime}, text has signed 32 bits"
    if isinstance(request, Stats):
        words = [word for word in request.group.split(b" ") if word]
        spaced = b" ".join(words) == request.group
        if not spaced or not set(request.group).isdisjoint(b"\r\n\0") or words[:1] == [b"cachedump"]:
            return "group is "
        # Of these a text server reads one word, or two.
        read = {b"detail": 2, **dict.fromkeys((b"settings", b"items", b"slabs", b"sizes", b"conns", b"reset"), 1)}
        if words and len(words) > read.get(words[0], len(words)):
            return "group is "
    return None


def _meaning(request: AnyRequest) -> AnyRequest:
    """The request with what means the same made the same: dates after 2038 are never, CAS stores are sets.

    And how a key is spelt is no difference, nor what a counter begins with that is not to be created.
    """
    options = getattr(request, "meta", None)
    if options is not None and options.replace(base64=False) == MetaOptions():
        options = None
    match request:
        case Get(keys, exptime):
            return Get(keys, _time(exptime), options)
        case Set(key, value, flags, exptime, cas):
            return Set(key, value, flags, _time(exptime) or 0, cas, options)
        case Add(key, value, flags, exptime, cas):
            return (Set if cas else Add)(key, value, flags, _time(exptime) or 0, cas, options)
        case Replace(key, value, flags, exptime, cas):
            return (Set if cas else Replace)(key, value, flags, _time(exptime) or 0, cas, options)
        case Append(key, value, cas):
            return Append(key, value, cas, options)
        case Prepend(key, value, cas):
            return Prepend(key, value, cas, options)
        case Delete(key, cas):
            return Delete(key, cas, options)
        case Touch(key, exptime):
            return Touch(key, _time(exptime) or 0)
        case Increment(key, delta, initial, exptime, cas):
            return Increment(key, delta, 0 if exptime is None else initial, _time(exptime), cas, options)
        case Decrement(key, delta, initial, exptime, cas):
            return Decrement(key, delta, 0 if exptime is None else initial, _time(exptime), cas, options)
        case _:
            return request


def _time(exptime: int | None) -> int | None:
    return 0 if exptime is not None and exptime > NO_TIME else exptime


_LOST = (SaslList, SaslAuth, SaslStep, Unknown)


_KEPT: dict[Kind, float] = {kind: 0.3 for kind in KINDS[Dialect.BINARY] if kind not in _LOST}


@pytest.mark.parametrize("kind", KINDS[Dialect.BINARY])
@by_kind
@reaches(
    kept=_KEPT,
    lost={SaslList: 1.0, SaslAuth: 1.0, SaslStep: 1.0, Unknown: 1.0},
)
@given(data=st.data())
def test_binary_to_meta_and_back_keeps_meaning_opaque_and_cas(kind: Kind, data: st.DataObject) -> None:
    envelope = data.draw(binary_envelopes(requests_of(kind, Dialect.BINARY)))
    lost = _lost(envelope)
    reached("kept" if lost is None else "lost")
    if lost is not None:
        with pytest.raises(TranslationError, match=re.escape(lost)):
            translate(envelope, Dialect.META)
        return
    there = translate(envelope, Dialect.META)
    assert isinstance(there, MetaEnvelope | ClassicEnvelope)
    # It goes over the wire as it is.
    arrived = decode_request(encode_request(there))
    assert arrived == there
    back = translate(arrived, Dialect.BINARY)
    assert isinstance(back, BinaryEnvelope)
    assert _meaning(back.request) == _meaning(envelope.request)
    if isinstance(envelope.request, OPAQUELESS):
        assert isinstance(there, ClassicEnvelope)
        assert back.opaque == 0
    elif not isinstance(envelope.request, Noop):
        assert isinstance(there, MetaEnvelope)
        assert back.opaque == envelope.opaque
    # A quiet one stays quiet, but for those that are said in classic words.
    without_quiet = {0x18: 0x08, 0x17: 0x07}
    cas_store = {0x02: 0x01, 0x03: 0x01, 0x12: 0x11, 0x13: 0x11}
    opcode = without_quiet.get(envelope.opcode, envelope.opcode)
    if getattr(envelope.request, "cas", 0):
        opcode = cas_store.get(opcode, opcode)
    assert back.opcode == opcode
    assert binary.decode_request(binary.encode_request(back)) == back


_WITH_KEYS = (Get, Set, Add, Replace, Append, Prepend, Delete, Increment, Decrement, Touch)


@pytest.mark.parametrize("kind", _WITH_KEYS)
@by_kind
@given(data=st.data(), key=st.binary(min_size=187, max_size=250).map(lambda key: b"\x80" + key[1:]))
def test_a_key_that_is_too_long_in_base64_is_named(kind: Kind, data: st.DataObject, key: bytes) -> None:
    envelope = data.draw(binary_envelopes(requests_of(kind, Dialect.BINARY)))
    named = {"keys": (key,)} if kind is Get else {"key": key}
    too_long = envelope.replace(request=envelope.request.replace(**named))
    assert _lost(too_long) is not None
    with pytest.raises(TranslationError, match=f"^key is {len(key)} bytes and needs base64, limit is 186$"):
        translate(too_long, Dialect.META)


# A request that is expired already: in binary a time long past says so, but to a flush.
PAST = 30 * 24 * 60 * 60 + 1


def _expired(request: AnyRequest) -> AnyRequest:
    """The request with every expiry that is over made the same, and a flush of now without a delay."""
    if isinstance(request, Flush):
        delay = request.exptime or 0
        return Flush(delay) if delay > 0 else Flush()
    exptime = getattr(request, "exptime", None)
    if not isinstance(exptime, int) or (0 <= exptime != PAST):
        return request
    assert isinstance(request, Get | Set | Add | Replace | Increment | Decrement | Touch)
    return request.replace(exptime=-1)


def _as_asked(request: AnyRequest) -> AnyRequest:
    """A touch and a get that touches and is not told the value are one."""
    if isinstance(request, Get) and request.meta is None and request.exptime is not None:
        return Touch(request.keys[0], request.exptime)
    return request


def _same(there: AnyRequest, request: AnyRequest) -> bool:
    one, other = (_expired(_meaning(each)) for each in (there, request))
    if isinstance(one, Touch) is not isinstance(other, Touch):
        one, other = _as_asked(one), _as_asked(other)
    return one == other


def _envelopes(kind: Kind, dialect: Dialect) -> st.SearchStrategy[Envelope]:
    # Few dialects can compare a CAS, so that half of the requests have none.
    requests = requests_of(kind, dialect).flatmap(
        lambda request: st.sampled_from(
            [request, request.replace(cas=0)] if isinstance(request, COMPARING) else [request]
        )
    )
    if dialect is Dialect.BINARY:
        return binary_envelopes(requests)
    if dialect is Dialect.CLASSIC or kind not in META_SAYS:
        if kind is Noop:
            return st.just(ClassicEnvelope(Version(), b"version"))
        return requests.map(
            lambda request: (
                ClassicEnvelope(request, request.line.split(b" ")[0])
                if isinstance(request, UnknownLine)
                else ClassicEnvelope(request, verb_for(request))
            )
        )
    options = st.none() | st.sampled_from(options_of(kind) or [MetaOptions()])

    def envelope(request: AnyRequest, meta: MetaOptions | None, ask: tuple[bytes, ...]) -> Envelope:
        if meta is not None and isinstance(request, (Get, *COMPARING)):
            request = request.replace(meta=meta)
        assert isinstance(request, META_SAYS)
        return meta_envelope(request, *ask)

    asks = st.sampled_from([(), (b"v",), (b"k", b"O0000beef"), (b"q",), (b"Oany",)])
    return st.builds(envelope, requests, options, asks)


@pytest.mark.parametrize(
    ("envelope", "dialect"),
    [
        (BinaryEnvelope(Get((b"k",)), 0), Dialect.BINARY),
        (ClassicEnvelope(Get((b"k",)), b"get"), Dialect.CLASSIC),
    ],
)
def test_envelope_that_is_in_the_dialect_already_is_the_same(envelope: Envelope, dialect: Dialect) -> None:
    assert translate(envelope, dialect) is envelope


@pytest.mark.untraced
@pytest.mark.parametrize("to", Dialect)
@pytest.mark.parametrize(("dialect", "kind"), DIALECTS_AND_KINDS)
def test_what_translate_returns_can_be_encoded_and_means_the_same(dialect: Dialect, kind: Kind, to: Dialect) -> None:
    translated = 0

    @settings(max_examples=max(settings().max_examples // 2, 10))
    @given(envelope=_envelopes(kind, dialect))
    def law(envelope: Envelope) -> None:
        nonlocal translated
        try:
            there = translate(envelope, to)
        except TranslationError:
            assert envelope.dialect is not to
            return
        translated += 1
        if envelope.dialect is to:
            assert there is envelope
            return
        if isinstance(there, BinaryEnvelope):
            arrived: Envelope = binary.decode_request(binary.encode_request(there))
            assert arrived == there
        else:
            assert isinstance(there, ClassicEnvelope | MetaEnvelope)
            data = encode_request(there)
            arrived = decode_request(data)
            if isinstance(there.request, Noop) and data == b"version\r\n":
                arrived = there
            assert arrived == there
        assert _same(arrived.request, envelope.request)

    law()
    lost = (SaslList, SaslAuth, SaslStep, Unknown, UnknownLine, AdminCommand, ClusterConfig)
    own = dialect if kind not in OPAQUELESS or dialect is Dialect.BINARY else Dialect.CLASSIC
    assert translated or own is to or kind in lost or (kind is MetaDebug and to is not Dialect.META)


# --- requests, row by row: mapping.md section 2

ROWS: list[tuple[BinaryEnvelope, bytes, bytes | None]] = [
    (BinaryEnvelope(Get((b"k",)), 0x00, 1), b"mg k v f c O00000001\r\n", b"gets k\r\n"),
    (BinaryEnvelope(Get((b"k",)), 0x0C, 2), b"mg k v f c k O00000002\r\n", b"gets k\r\n"),
    (BinaryEnvelope(Get((b"k",)), 0x09, 3), b"mg k v f c O00000003 q\r\n", b"gets k\r\n"),
    (BinaryEnvelope(Get((b"k",)), 0x0D, 0xFEED), b"mg k v f c k O0000feed q\r\n", b"gets k\r\n"),
    (BinaryEnvelope(Touch(b"k", 9), 0x1C), b"mg k T9 f c O00000000\r\n", b"touch k 9\r\n"),
    (BinaryEnvelope(Get((b"k",), 9), 0x1D), b"mg k T9 v f c O00000000\r\n", b"gats 9 k\r\n"),
    (BinaryEnvelope(Get((b"k",), 9), 0x24), b"mg k T9 v f c k O00000000 q\r\n", b"gats 9 k\r\n"),
    (
        BinaryEnvelope(Set(b"k", b"v", 5, 6), 0x01, 7),
        b"ms k 1 F5 T6 c O00000007\r\nv\r\n",
        b"set k 5 6 1\r\nv\r\n",
    ),
    (
        BinaryEnvelope(Set(b"k", b"v", 5, 6, 9), 0x11, 7),
        b"ms k 1 F5 T6 C9 c O00000007 q\r\nv\r\n",
        b"cas k 5 6 1 9\r\nv\r\n",
    ),
    (BinaryEnvelope(Add(b"k", b"v"), 0x02), b"ms k 1 ME c O00000000\r\nv\r\n", b"add k 0 0 1\r\nv\r\n"),
    (BinaryEnvelope(Add(b"k", b"v", cas=9), 0x02), b"ms k 1 C9 c O00000000\r\nv\r\n", b"cas k 0 0 1 9\r\nv\r\n"),
    (BinaryEnvelope(Replace(b"k", b"v"), 0x03), b"ms k 1 MR c O00000000\r\nv\r\n", b"replace k 0 0 1\r\nv\r\n"),
    (
        BinaryEnvelope(Replace(b"k", b"v", cas=9), 0x03),
        b"ms k 1 C9 c O00000000\r\nv\r\n",
        b"cas k 0 0 1 9\r\nv\r\n",
    ),
    (BinaryEnvelope(Append(b"k", b"v"), 0x0E), b"ms k 1 MA c O00000000\r\nv\r\n", b"append k 0 0 1\r\nv\r\n"),
    (BinaryEnvelope(Prepend(b"k", b"v", 3), 0x0F), b"ms k 1 MP C3 c O00000000\r\nv\r\n", None),
    (BinaryEnvelope(Delete(b"k"), 0x04), b"md k O00000000\r\n", b"delete k\r\n"),
    (BinaryEnvelope(Delete(b"k", 3), 0x14), b"md k C3 O00000000 q\r\n", None),
    (BinaryEnvelope(Increment(b"k", 2), 0x05), b"ma k MI D2 v c O00000000\r\n", b"incr k 2\r\n"),
    (BinaryEnvelope(Decrement(b"k", 2, 5, 6), 0x06), b"ma k MD D2 N6 J5 v c O00000000\r\n", None),
    (BinaryEnvelope(Flush(), 0x08), b"flush_all\r\n", b"flush_all\r\n"),
    (BinaryEnvelope(Flush(9), 0x18), b"flush_all 9\r\n", b"flush_all 9\r\n"),
    (BinaryEnvelope(Noop(), 0x0A, 5), b"mn\r\n", b"version\r\n"),
    (BinaryEnvelope(Version(), 0x0B), b"version\r\n", b"version\r\n"),
    (BinaryEnvelope(Stats(b"items"), 0x10), b"stats items\r\n", b"stats items\r\n"),
    (BinaryEnvelope(Verbosity(1), 0x1B), b"verbosity 1\r\n", b"verbosity 1\r\n"),
    (BinaryEnvelope(Quit(), 0x17), b"quit\r\n", b"quit\r\n"),
    # A key that cannot stand in a line, and a date after 2038.
    (BinaryEnvelope(Get((b"\0\xff",)), 0x00), b"mg AP8= v f c O00000000 b\r\n", None),
    (BinaryEnvelope(Set(b"k", b"", 0, 1 << 31), 0x01), b"ms k 0 c O00000000\r\n\r\n", b"set k 0 0 0\r\n\r\n"),
]


#: A line of text, and the opcode and the request that binary says for it.
TO_BINARY: list[tuple[bytes, int, AnyRequest]] = [
    (b"get k\r\n", 0x00, Get((b"k",))),
    (b"gets k\r\n", 0x00, Get((b"k",))),
    (b"gat 9 k\r\n", 0x1D, Get((b"k",), 9)),
    (b"gats 9 k\r\n", 0x1D, Get((b"k",), 9)),
    (b"set k 1 2 1\r\nv\r\n", 0x01, Set(b"k", b"v", 1, 2)),
    (b"cas k 1 2 1 9\r\nv\r\n", 0x01, Set(b"k", b"v", 1, 2, 9)),
    (b"add k 1 2 1\r\nv\r\n", 0x02, Add(b"k", b"v", 1, 2)),
    (b"replace k 1 2 1\r\nv\r\n", 0x03, Replace(b"k", b"v", 1, 2)),
    (b"append k 0 0 1\r\nv\r\n", 0x0E, Append(b"k", b"v")),
    (b"prepend k 0 0 1\r\nv\r\n", 0x0F, Prepend(b"k", b"v")),
    # A quiet success of text would hide errors too.
    (b"set k 1 2 1 noreply\r\nv\r\n", 0x01, Set(b"k", b"v", 1, 2)),
    (b"delete k noreply\r\n", 0x04, Delete(b"k")),
    (b"incr k 2\r\n", 0x05, Increment(b"k", 2)),
    (b"decr k 2\r\n", 0x06, Decrement(b"k", 2)),
    (b"touch k 9\r\n", 0x1C, Touch(b"k", 9)),
    (b"flush_all\r\n", 0x08, Flush()),
    (b"flush_all 9\r\n", 0x08, Flush(9)),
    (b"stats items\r\n", 0x10, Stats(b"items")),
    (b"version\r\n", 0x0B, Version()),
    (b"quit\r\n", 0x07, Quit()),
    (b"mg k v\r\n", 0x00, Get((b"k",))),
    (b"mg k v k\r\n", 0x0C, Get((b"k",))),
    (b"mg k v q\r\n", 0x09, Get((b"k",))),
    (b"mg k k v q\r\n", 0x0D, Get((b"k",))),
    (b"mg k s\r\n", 0x00, Get((b"k",))),
    (b"mg k T9 v\r\n", 0x1D, Get((b"k",), 9)),
    (b"mg k T9 v k\r\n", 0x23, Get((b"k",), 9)),
    (b"mg k T9 v q\r\n", 0x1E, Get((b"k",), 9)),
    (b"mg k T9 v k q\r\n", 0x24, Get((b"k",), 9)),
    (b"mg k T9\r\n", 0x1C, Touch(b"k", 9)),
    (b"mg k T9 q k\r\n", 0x1C, Touch(b"k", 9)),
    (b"ms k 1 q\r\nv\r\n", 0x11, Set(b"k", b"v")),
    (b"ms k 1 ME q k\r\nv\r\n", 0x12, Add(b"k", b"v")),
    (b"ms k 1 MR q\r\nv\r\n", 0x13, Replace(b"k", b"v")),
    (b"ms k 1 MA q\r\nv\r\n", 0x19, Append(b"k", b"v")),
    (b"ms k 1 MP q\r\nv\r\n", 0x1A, Prepend(b"k", b"v")),
    (b"md k q\r\n", 0x14, Delete(b"k")),
    (b"ma k q\r\n", 0x15, Increment(b"k")),
    (b"ma k MD q N9 J5\r\n", 0x16, Decrement(b"k", 1, 5, 9)),
    (b"mn\r\n", 0x0A, Noop()),
]


@pytest.mark.parametrize(("said", "opcode", "request_"), TO_BINARY, ids=lambda value: repr(value)[:40])
def test_request_of_text_is_translated_to_binary(said: bytes, opcode: int, request_: AnyRequest) -> None:
    assert translate(decode_request(said), Dialect.BINARY) == BinaryEnvelope(request_, opcode)


@pytest.mark.parametrize(("envelope", "meta", "classic"), ROWS, ids=lambda value: repr(value)[:60])
def test_request_of_binary_is_translated_to_both_text_dialects(
    envelope: BinaryEnvelope, meta: bytes, classic: bytes | None
) -> None:
    there = translate(envelope, Dialect.META)
    assert isinstance(there, MetaEnvelope | ClassicEnvelope)
    assert encode_request(there) == meta
    if classic is None:
        with pytest.raises(TranslationError):
            translate(envelope, Dialect.CLASSIC)
    else:
        there = translate(envelope, Dialect.CLASSIC)
        assert isinstance(there, ClassicEnvelope)
        assert encode_request(there) == classic


@pytest.mark.parametrize(
    ("data", "dialect", "translated"),
    [
        (b"get k\r\n", Dialect.META, b"mg k v f c\r\n"),
        (b"gat 5 k\r\n", Dialect.META, b"mg k T5 v f c\r\n"),
        (b"touch k 5\r\n", Dialect.META, b"mg k T5 f c\r\n"),
        (b"set k 1 2 1 noreply\r\nv\r\n", Dialect.META, b"ms k 1 F1 T2 c\r\nv\r\n"),
        (b"cas k 1 -2 1 7\r\nv\r\n", Dialect.META, b"ms k 1 F1 T-2 C7 c\r\nv\r\n"),
        (b"incr k 5\r\n", Dialect.META, b"ma k MI D5 v c\r\n"),
        (b"delete k\r\n", Dialect.META, b"md k\r\n"),
        (b"mn\r\n", Dialect.CLASSIC, b"version\r\n"),
        (b"mg k s v\r\n", Dialect.CLASSIC, b"gets k\r\n"),
        (b"mg Zm9v b v\r\n", Dialect.CLASSIC, b"gets foo\r\n"),
        (b"ms k 1 F7 Oabc\r\nv\r\n", Dialect.CLASSIC, b"set k 7 0 1\r\nv\r\n"),
    ],
)
def test_request_of_one_text_dialect_is_translated_to_the_other(
    data: bytes, dialect: Dialect, translated: bytes
) -> None:
    there = translate(decode_request(data), dialect)
    assert isinstance(there, MetaEnvelope | ClassicEnvelope)
    assert encode_request(there) == translated


def test_meta_request_has_the_opcode_and_opaque_of_its_flags_in_binary() -> None:
    def to_binary(data: bytes) -> Envelope:
        return translate(decode_request(data), Dialect.BINARY)

    assert to_binary(b"mg k T5\r\n") == BinaryEnvelope(Touch(b"k", 5), 0x1C)
    assert to_binary(b"mg k T5 q O0000000a\r\n") == BinaryEnvelope(Touch(b"k", 5), 0x1C, 10)
    # The size is known by the value only.
    assert to_binary(b"mg k T5 s\r\n") == BinaryEnvelope(Get((b"k",), 5), 0x1D)
    assert to_binary(b"mg k T5 v k q\r\n") == BinaryEnvelope(Get((b"k",), 5), 0x24)
    assert to_binary(b"mg k v O0000FEED\r\n") == BinaryEnvelope(Get((b"k",)), 0x00, 0xFEED)
    assert to_binary(b"md k q C4\r\n") == BinaryEnvelope(Delete(b"k", 4), 0x14)
    # Expired already: a time long past.
    assert to_binary(b"ms k 0 T-1\r\n\r\n") == BinaryEnvelope(Set(b"k", b"", 0, 2592001), 0x01)
    assert to_binary(b"flush_all -1\r\n") == BinaryEnvelope(Flush(0), 0x08)
    assert to_binary(b"mn\r\n") == BinaryEnvelope(Noop(), 0x0A)


# --- what is not kept


@pytest.mark.parametrize(
    ("envelope", "dialect", "named"),
    [
        (BinaryEnvelope(SaslList(), 0x20), Dialect.META, "SaslList belongs to one connection or dialect"),
        (BinaryEnvelope(SaslAuth(b"PLAIN"), 0x21), Dialect.CLASSIC, "SaslAuth belongs to one connection or dialect"),
        (BinaryEnvelope(SaslStep(b"PLAIN"), 0x22), Dialect.META, "SaslStep belongs to one connection or dialect"),
        (BinaryEnvelope(Unknown(Packet(0x80, 0x99)), 0x99), Dialect.META, "Unknown belongs to one connection"),
        (ClassicEnvelope(UnknownLine(b"foo"), b"foo"), Dialect.BINARY, "UnknownLine belongs to one connection"),
        (INVALID, Dialect.BINARY, "InvalidRequest belongs to one connection"),
        (BinaryEnvelope(Get((b" " * 187,)), 0), Dialect.META, "key is 187 bytes and needs base64, limit is 186"),
        (BinaryEnvelope(Get((b" ",)), 0), Dialect.CLASSIC, "key is b' ', must hold no space, CR, LF or NUL"),
        (BinaryEnvelope(Flush(1 << 31), 8), Dialect.META, "delay is 2147483648, text has signed 32 bits"),
        (BinaryEnvelope(Delete(b"k", 1), 4), Dialect.CLASSIC, "cas is 1, delete cannot compare one"),
        (BinaryEnvelope(Append(b"k", b"", 1), 0xE), Dialect.CLASSIC, "cas is 1, append cannot compare one"),
        (BinaryEnvelope(Increment(b"k", 1, 0, 0), 5), Dialect.CLASSIC, "can neither create a counter"),
        (BinaryEnvelope(Stats(b"cachedump 1 1"), 0x10), Dialect.META, "this is an AdminCommand request"),
        (decode_request(b"get a b\r\n"), Dialect.BINARY, "keys are 2, one binary packet carries 1"),
        (decode_request(b"get a b\r\n"), Dialect.META, "keys are 2, one meta command carries 1"),
        (decode_request(b"gat 0\r\n"), Dialect.BINARY, "keys are 0, one binary packet carries 1"),
        (BinaryEnvelope(Get(()), 0), Dialect.CLASSIC, "keys are 0, the least is 1"),
        (decode_request(b"stats " + b"x" * 251 + b"\r\n"), Dialect.BINARY, "limit is 250"),
        (decode_request(b"me k\r\n"), Dialect.BINARY, "MetaDebug has no opcode of its own in binary"),
        (decode_request(b"me k\r\n"), Dialect.CLASSIC, "MetaDebug cannot be said in classic text"),
        (decode_request(b"mg k Oxyz\r\n"), Dialect.BINARY, "opaque is b'xyz', binary has 32 bits"),
        (decode_request(b"mg k O0x0000ab\r\n"), Dialect.BINARY, "opaque is b'0x0000ab', binary has 32 bits"),
        (decode_request(b"mg k O000000001\r\n"), Dialect.BINARY, "opaque is b'000000001', binary has 32 bits"),
        *(
            (decode_request(b"mg k " + flag + b"\r\n"), dialect, "only meta can say")
            for flag in (b"N30", b"R30", b"h", b"l", b"t", b"u", b"C5", b"E5")
            for dialect in (Dialect.BINARY, Dialect.CLASSIC)
        ),
        *(
            (decode_request(b"md k " + flag + b"\r\n"), Dialect.BINARY, "only meta can say")
            for flag in (b"I", b"x", b"I T30", b"x E9")
        ),
        *(
            (decode_request(b"ma k " + flag + b"\r\n"), Dialect.BINARY, "only meta can say")
            for flag in (b"t", b"T30", b"E9")
        ),
        *(
            (decode_request(b"ms k 0 " + flag + b"\r\n\r\n"), Dialect.CLASSIC, "only meta can say")
            for flag in (b"I", b"E9", b"MA N5")
        ),
    ],
    ids=lambda value: repr(value)[:80],
)
def test_what_is_lost_is_named(envelope: Envelope, dialect: Dialect, named: str) -> None:
    with pytest.raises(TranslationError, match=re.escape(named)):
        translate(envelope, dialect)


# --- replies: mapping.md section 4, every row

SET = BinaryEnvelope(Set(b"k", b"v"), 0x01)
ADD = BinaryEnvelope(Add(b"k", b"v"), 0x02)
REPLACE = BinaryEnvelope(Replace(b"k", b"v"), 0x03)
APPEND = BinaryEnvelope(Append(b"k", b"v"), 0x0E)
GETK = BinaryEnvelope(Get((b"k",)), 0x0C)
DELETE = BinaryEnvelope(Delete(b"k"), 0x04)
INCR = BinaryEnvelope(Increment(b"k"), 0x05)
TOUCH = BinaryEnvelope(Touch(b"k", 5), 0x1C)
NOOP = BinaryEnvelope(Noop(), 0x0A)
STAT = BinaryEnvelope(Stats(b"x"), 0x10)
TOO_LARGE = b"SERVER_ERROR object too large for cache\r\n"
NOT_A_NUMBER = b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"

REPLIES: list[tuple[BinaryEnvelope, bytes | None, bytes | None, AnyReply]] = [
    (
        GETK,
        b"VA 1 f7 c3 kk O00000000\r\nv\r\n",
        b"VALUE k 7 1 3\r\nv\r\nEND\r\n",
        Values((Item(b"k", b"v", 7, 3),)),
    ),
    (GETK, b"EN kk O00000000\r\n", b"END\r\n", Values()),
    (SET, b"HD c9 O00000000\r\n", None, Stored(9)),
    (SET, None, b"STORED\r\n", Stored(0)),
    (ADD, b"NS\r\n", b"NOT_STORED\r\n", Failure(Status.KEY_EXISTS)),
    (REPLACE, b"NS\r\n", b"NOT_STORED\r\n", Failure(Status.KEY_NOT_FOUND)),
    (APPEND, b"NS\r\n", b"NOT_STORED\r\n", Failure(Status.NOT_STORED)),
    (BinaryEnvelope(Prepend(b"k", b"v"), 0x0F), b"NS\r\n", b"NOT_STORED\r\n", Failure(Status.NOT_STORED)),
    (SET, b"NS\r\n", None, Failure(Status.NOT_STORED)),
    (BinaryEnvelope(Set(b"k", b"v", cas=1), 1), b"EX c0\r\n", b"EXISTS\r\n", Failure(Status.KEY_EXISTS)),
    (BinaryEnvelope(Set(b"k", b"v", cas=1), 1), b"NF c0\r\n", b"NOT_FOUND\r\n", Failure(Status.KEY_NOT_FOUND)),
    (DELETE, b"NF\r\n", b"NOT_FOUND\r\n", Failure(Status.KEY_NOT_FOUND)),
    (INCR, b"NF\r\n", b"NOT_FOUND\r\n", Failure(Status.KEY_NOT_FOUND)),
    (DELETE, b"HD O00000000\r\n", b"DELETED\r\n", Deleted(0)),
    (INCR, b"VA 2 c4\r\n17\r\n", None, Counter(17, 4)),
    (INCR, None, b"17\r\n", Counter(17)),
    (TOUCH, b"HD f7 c3\r\n", None, Touched(7, 3)),
    (TOUCH, b"EN\r\n", b"NOT_FOUND\r\n", Failure(Status.KEY_NOT_FOUND)),
    (TOUCH, None, b"TOUCHED\r\n", Touched()),
    (NOOP, b"MN\r\n", b"VERSION 1.6.18\r\n", Ok()),
    (SET, TOO_LARGE, TOO_LARGE, Failure(Status.VALUE_TOO_LARGE)),
    (INCR, NOT_A_NUMBER, NOT_A_NUMBER, Failure(Status.DELTA_BAD_VALUE)),
    (
        SET,
        b"CLIENT_ERROR bad command line format\r\n",
        b"CLIENT_ERROR bad command line format\r\n",
        Failure(Status.INVALID_ARGUMENTS),
    ),
    (SET, b"CLIENT_ERROR x\r\n", b"CLIENT_ERROR x\r\n", Failure(Status.INVALID_ARGUMENTS, b"x")),
    (
        SET,
        b"SERVER_ERROR out of memory storing object\r\n",
        b"SERVER_ERROR out of memory storing object\r\n",
        Failure(Status.OUT_OF_MEMORY),
    ),
    (SET, b"SERVER_ERROR x\r\n", b"SERVER_ERROR x\r\n", Failure(Status.OUT_OF_MEMORY, b"x")),
    (SET, b"ERROR\r\n", b"ERROR\r\n", Failure(Status.UNKNOWN_COMMAND)),
    (STAT, b"ERROR\r\n", b"ERROR\r\n", Failure(Status.KEY_NOT_FOUND)),
    (STAT, b"CLIENT_ERROR x\r\n", b"CLIENT_ERROR x\r\n", Failure(Status.KEY_NOT_FOUND, b"x")),
]


@pytest.mark.parametrize(("asked", "meta", "classic", "reply"), REPLIES, ids=lambda value: repr(value)[:70])
def test_reply_of_text_is_translated_to_the_reply_of_binary(
    asked: BinaryEnvelope, meta: bytes | None, classic: bytes | None, reply: AnyReply
) -> None:
    for data, dialect in ((meta, Dialect.META), (classic, Dialect.CLASSIC)):
        if data is not None:
            there = translate(asked, dialect)
            assert isinstance(there, MetaEnvelope | ClassicEnvelope)
            assert translate_reply(text.decode_reply(data, there), asked) == reply


@pytest.mark.parametrize(
    ("asked", "reply", "said"),
    [
        (b"add k 0 0 1\r\nv\r\n", Failure(Status.KEY_EXISTS), b"NOT_STORED\r\n"),
        (b"cas k 0 0 1 1\r\nv\r\n", Failure(Status.KEY_EXISTS), b"EXISTS\r\n"),
        (b"delete k\r\n", Failure(Status.KEY_EXISTS), b"EXISTS\r\n"),
        (b"replace k 0 0 1\r\nv\r\n", Failure(Status.KEY_NOT_FOUND), b"NOT_STORED\r\n"),
        (b"get k\r\n", Failure(Status.KEY_NOT_FOUND, b"no words of memcached's"), b"END\r\n"),
        (b"delete k\r\n", Failure(Status.KEY_NOT_FOUND), b"NOT_FOUND\r\n"),
        (b"ms k 1 ME\r\nv\r\n", Failure(Status.KEY_EXISTS), b"NS\r\n"),
        (b"ms k 1 C1\r\nv\r\n", Failure(Status.KEY_EXISTS), b"EX\r\n"),
        (b"ms k 1 MR\r\nv\r\n", Failure(Status.KEY_NOT_FOUND), b"NS\r\n"),
        (b"ms k 1 MR C1\r\nv\r\n", Failure(Status.KEY_NOT_FOUND), b"NF\r\n"),
        (b"ms k 1 MA\r\nv\r\n", Failure(Status.NOT_STORED), b"NS\r\n"),
        (b"mg k v\r\n", Failure(Status.KEY_NOT_FOUND), b"EN\r\n"),
        (b"md k\r\n", Failure(Status.KEY_NOT_FOUND, b"other words"), b"NF\r\n"),
        (b"mg k v\r\n", Failure(0x86), b"SERVER_ERROR \r\n"),
    ],
)
def test_reply_of_binary_is_said_in_text(asked: bytes, reply: AnyReply, said: bytes) -> None:
    envelope = decode_request(asked)
    assert text.encode_reply(translate_reply(reply, envelope), envelope) == said


def test_reply_of_another_type_is_turned_into_that_of_the_original() -> None:
    touch = decode_request(b"mg k T5 f c\r\n")
    assert translate_reply(Touched(7, 3), touch) == Values((Item(b"k", b"", 7, 3),))
    assert translate_reply(Touched(None, 3), touch) == Values((Item(b"k", b"", 0, 3),))
    assert translate_reply(Failure(Status.OUT_OF_MEMORY), touch) == Failure(Status.OUT_OF_MEMORY)
    assert translate_reply(VersionReply(b"1"), NOOP) == Ok()
    assert translate_reply(VersionReply(b"1"), BinaryEnvelope(Version(), 0x0B)) == VersionReply(b"1")
    # A text front keeps the words.
    stats = decode_request(b"stats x\r\n")
    assert translate_reply(Failure(Status.INVALID_ARGUMENTS, b"x"), stats) == Failure(Status.INVALID_ARGUMENTS, b"x")


@given(st.sampled_from([Dialect.BINARY, Dialect.CLASSIC]))
def test_how_a_key_is_spelt_is_no_loss(dialect: Dialect) -> None:
    there = translate(decode_request(b"ms Zm9v 1 b\r\nv\r\n"), dialect)
    assert there.request == Set(b"foo", b"v")
    assert decode_request(b"ms Zm9v 1 b\r\nv\r\n").request == Set(b"foo", b"v", meta=MetaOptions(base64=True))
