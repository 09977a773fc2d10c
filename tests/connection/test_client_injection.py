"""No argument of a request can say something else: a server reads exactly this request, or nothing was sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memproto import (
    Add,
    AdminCommand,
    AnyRequest,
    Append,
    ClientConnection,
    ClientState,
    Decrement,
    Delete,
    Dialect,
    Envelope,
    Flush,
    Get,
    Increment,
    LocalProtocolError,
    MetaDebug,
    MetaOptions,
    Noop,
    Packet,
    Prepend,
    Replace,
    SaslAuth,
    ServerConnection,
    Set,
    Signal,
    Stats,
    Touch,
    Unknown,
    UnknownLine,
    Verbosity,
)
from memproto._fields import field_names
from tests.support.kinds import by_kind
from tests.support.reached import reached, reaches

BINARY, CLASSIC, META = Dialect.BINARY, Dialect.CLASSIC, Dialect.META

# --- literal cases

INJECTED = b"flush_all\r\nquit"


@pytest.mark.parametrize("size", range(180, 256))
def test_a_key_that_base64_makes_too_long_is_refused_in_meta(size: int) -> None:
    key, base64 = b"k" * size, MetaOptions(base64=True)
    requests: list[AnyRequest] = [
        Set(key, INJECTED, meta=base64),
        Append(key, INJECTED, meta=base64),
        Get((key,), meta=base64),
        Get((b"a", key), meta=base64),
        Delete(key, meta=base64),
        Increment(key, meta=base64),
        MetaDebug(b"\xff" * size),
        Get((b"\xff" * size,)),
        Touch(b"\xff" * size),
    ]
    for request in requests:
        client = ClientConnection(dialect=META)
        if size <= 186:
            words = client.send(request).data.replace(b"\r\n", b" ").split(b" ")
            assert max(map(len, words)) <= 250
        else:
            rule = "key is %d bytes and needs base64, limit is 186" if size <= 250 else "key is %d bytes, limit is 250"
            with pytest.raises(LocalProtocolError, match=f"^{rule % size}$"):
                client.send(request)
            assert client.outstanding == 0


@pytest.mark.parametrize("dialect", [CLASSIC, META])
def test_a_group_of_statistics_whose_last_words_no_text_server_reads_is_refused(dialect: Dialect) -> None:
    client = ClientConnection(dialect=dialect)
    with pytest.raises(LocalProtocolError, match=r"^group is b'items x', which a text server reads as b'items'$"):
        client.send(Stats(b"items x"))
    assert client.send(Stats(b"detail on")).data == b"stats detail on\r\n"


# --- the law

# About the limits of a key, and of a key in base64; printable ones need no base64, others do in meta.
LONG_KEYS = st.builds(
    lambda letter, size: letter * size, st.sampled_from([b"k", b"~", b"\x80", b"\xff"]), st.integers(180, 260)
) | st.builds(lambda size: b"k" * size, st.sampled_from([186, 187, 188, 249, 250, 251]))
KEYS = st.one_of(
    LONG_KEYS,
    st.binary(max_size=12),
    st.sampled_from(
        [b"k", b"noreply", b"a b", b"a\r\nflush_all\r\n", b"\n", b"0", b"\x80", b"k\0", b"", b"mn", b"set"]
    ),
)
TEXTS = st.binary(max_size=300) | KEYS | st.sampled_from([b"cachedump 1", b"items x", b"detail on"])
VALUES = st.binary(max_size=40) | st.sampled_from([INJECTED, b"\r\nflush_all\r\n", b"flush_all\r\n", b"mn\r\n"])
NUMBERS = st.one_of(
    st.sampled_from([0, 1, -1, -2, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 64) - 1, 1 << 64]),
    st.integers(-(1 << 65), 1 << 65),
)
SMALL = st.integers(0, 99) | NUMBERS
OPTIONS = st.none() | st.builds(
    MetaOptions,
    vivify=st.none() | SMALL,
    recache=st.none() | SMALL,
    bump=st.booleans(),
    unless_cas=st.just(0) | SMALL,
    new_cas=st.just(0) | SMALL,
    invalidate=st.booleans(),
    exptime=st.none() | SMALL,
    drop_value=st.booleans(),
    base64=st.booleans(),
    details=st.booleans(),
    ttl_first=st.booleans(),
) | st.just(MetaOptions(base64=True))  # fmt: skip
KINDS: list[type[AnyRequest]] = [
    *(Get, Set, Add, Replace, Append, Prepend, Delete, Increment, Decrement, Touch, Flush, Stats, Verbosity),
    *(UnknownLine, AdminCommand, MetaDebug, SaslAuth),
]  # fmt: skip


@st.composite
def anything(draw: st.DrawFn, kind: type[AnyRequest]) -> AnyRequest:
    """A request with any bytes and any numbers in its fields."""
    if kind is SaslAuth:
        data = draw(TEXTS | st.just(b"")) + b"\0" + draw(TEXTS) + b"\0" + draw(TEXTS)
        return SaslAuth(draw(st.just(b"PLAIN") | KEYS), data)
    strategies: dict[str, st.SearchStrategy[object]] = {
        "key": KEYS,
        "keys": st.lists(KEYS, max_size=3).map(tuple),
        "words": st.lists(TEXTS | st.sampled_from([b"slabs", b"stats", b"cachedump", b"lru"]), max_size=4).map(tuple),
        "value": VALUES,
        "group": TEXTS,
        "line": TEXTS,
        **dict.fromkeys(("flags", "cas"), st.just(0) | SMALL),
        **dict.fromkeys(("delta", "initial", "level"), SMALL),
        "exptime": (SMALL | st.none()) if kind in (Get, Increment, Decrement, Flush) else SMALL,
        "meta": OPTIONS,
    }
    return kind(*(draw(strategies[name]) for name in field_names(kind) if name not in kind._not_compared))  # type: ignore[arg-type]


def expected(request: AnyRequest, dialect: Dialect) -> AnyRequest:
    """What a server reads of this request; what it cannot say was refused before."""
    if isinstance(request, Add | Replace) and request.cas and dialect is not BINARY:
        # A compare-and-swap.
        request = Set(request.key, request.value, request.flags, request.exptime, request.cas, request.meta)
    if isinstance(request, Increment | Decrement) and request.exptime is None and dialect is not META:
        # Without an expiry there is nothing to create.
        request = request.replace(initial=request.initial if dialect is BINARY else 0)
    if isinstance(request, Verbosity) and dialect is BINARY:
        # memcached does not know it in binary.
        return Unknown(Packet(0x80, 0x1B, request.level.to_bytes(4, "big")))
    if dialect is not META:
        return request.replace(meta=None) if hasattr(request, "meta") else request
    if isinstance(request, Touch):
        request = Get((request.key,), request.exptime)
    if not isinstance(request, Get | Set | Add | Replace | Append | Prepend | Increment | Decrement | Delete):
        return request
    options = request.meta or MetaOptions()
    key = request.keys[0] if isinstance(request, Get) else request.key
    options = options.replace(base64=options.base64 or not all(0x20 < byte < 0x7F for byte in key))
    # The order of two flags is read only where both stand.
    expiry = request.exptime if isinstance(request, Get) else options.exptime
    options = options.replace(ttl_first=options.ttl_first and expiry is not None)
    if isinstance(request, Delete):
        # Whether its key came in base64 is not kept of a delete, which stores nothing.
        options = options.replace(base64=False)
    empty = options == MetaOptions() and not isinstance(request, Get)
    return request.replace(meta=None if empty else options)


@pytest.mark.parametrize("dialect", list(Dialect))
@pytest.mark.parametrize("kind", KINDS)
@by_kind
@reaches(sent=0.0, refused=0.0)
@given(data=st.data())
def test_a_server_reads_exactly_the_request_or_nothing_was_sent(
    kind: type[AnyRequest], dialect: Dialect, data: st.DataObject
) -> None:
    request = data.draw(anything(kind))
    client = ClientConnection(dialect=dialect)
    try:
        sent = client.send(request).data
    except LocalProtocolError:
        reached("refused")
        assert (client.outstanding, client.state) == (0, ClientState.OPEN)
        assert client.send(Noop()).data == ClientConnection(dialect=dialect).send(Noop()).data
        return
    reached("sent")
    server = ServerConnection(auth_required=isinstance(request, SaslAuth) and dialect is not BINARY)
    server.receive_data(sent)
    read = []
    while isinstance(event := server.next_event(), Envelope):
        read.append(event.request)
    assert event in (Signal.NEED_DATA, Signal.PAUSED)
    assert server.buffered == 0
    if isinstance(request, Get) and dialect is not CLASSIC:
        wanted: list[AnyRequest] = [Get((key,), request.exptime, request.meta) for key in request.keys]
        wanted = [expected(each, dialect) for each in wanted]
        if dialect is BINARY and len(request.keys) > 1:
            wanted.append(Noop())
        assert read == wanted
    else:
        assert read == [expected(request, dialect)]
