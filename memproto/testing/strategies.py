"""Hypothesis strategies for everything that crosses a connection.

Sizes, ranges and opcodes are read from the declarations that the codec itself is derived from.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TypeVar

from hypothesis import strategies as st

from memproto._binary_messages import FAMILIES
from memproto._layout import (
    ARITHMETIC,
    COUNTER,
    EXPIRATION,
    FLAGS,
    HEADER,
    NO_CREATE,
    OPCODES,
    STORE,
    VERBOSITY,
    OpcodeSpec,
)
from memproto._packing import Layout
from memproto.enums import STATUSES, Magic, Status
from memproto.events import BinaryEnvelope
from memproto.limits import MAX_KEY, MAX_MECHANISM
from memproto.messages import (
    Add,
    AnyReply,
    AnyRequest,
    Append,
    Authenticated,
    Challenge,
    Counter,
    Decrement,
    Delete,
    Deleted,
    Failure,
    Flush,
    Get,
    Increment,
    Item,
    Malformed,
    Mechanisms,
    Noop,
    Ok,
    Packet,
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
    Stored,
    Touch,
    Touched,
    Unknown,
    Values,
    Verbosity,
    Version,
    VersionReply,
)

T = TypeVar("T")

# Long enough to cross every header, short enough to keep examples readable.
_TEXT = 64


def _numbers(layout: Layout, name: str) -> st.SearchStrategy[int]:
    """Every number that fits this field."""
    (field,) = (field for field in layout.fields if field.name == name)
    return st.integers(0, (1 << 8 * field.size) - 1)


def _cas() -> st.SearchStrategy[int]:
    return _numbers(HEADER, "cas")


def keys() -> st.SearchStrategy[bytes]:
    """Every key of the binary protocol: 1 to 250 bytes of any kind."""
    return st.binary(min_size=1, max_size=MAX_KEY)


def values(max_size: int = 256) -> st.SearchStrategy[bytes]:
    """Values of up to ``max_size`` bytes, the empty one included."""
    return st.binary(max_size=max_size)


# --- requests


def _exptimes() -> st.SearchStrategy[int]:
    return _numbers(EXPIRATION, "expiration")


def _creating_exptimes() -> st.SearchStrategy[int | None]:
    # The one number that the wire has no room for: it stands for None.
    return st.none() | _numbers(ARITHMETIC, "expiration").filter(lambda number: number != NO_CREATE)


def _stores(kind: Callable[[bytes, bytes, int, int, int], T]) -> st.SearchStrategy[T]:
    return st.builds(kind, keys(), values(), _numbers(STORE, "flags"), _numbers(STORE, "expiration"), _cas())


def _arithmetic(kind: Callable[[bytes, int, int, int | None, int], T]) -> st.SearchStrategy[T]:
    delta, initial = _numbers(ARITHMETIC, "delta"), _numbers(ARITHMETIC, "initial")
    return st.builds(kind, keys(), delta, initial, _creating_exptimes(), _cas())


def _sasl(kind: Callable[[bytes, bytes], T]) -> st.SearchStrategy[T]:
    return st.builds(kind, st.binary(min_size=1, max_size=MAX_MECHANISM), values(_TEXT))


def unknown_requests() -> st.SearchStrategy[Unknown]:
    """Requests under every opcode that has no message of its own, with any body."""
    return st.builds(
        Unknown,
        st.builds(
            Packet,
            magic=st.just(Magic.REQUEST),
            opcode=_numbers(HEADER, "opcode").filter(lambda opcode: opcode not in FAMILIES),
            extras=_extras(),
            key=st.just(b"") | keys(),
            value=values(),
            vbucket_or_status=_numbers(HEADER, "vbucket_or_status"),
            data_type=_numbers(HEADER, "data_type"),
            opaque=_numbers(HEADER, "opaque"),
            cas=_cas(),
        ),
    )


def multi_gets(max_keys: int = 8) -> st.SearchStrategy[Get]:
    """Gets of several keys, which a client connection lays out as many packets; the same key may be there twice."""
    several = st.lists(keys(), min_size=2, max_size=max_keys).map(tuple)
    return st.builds(Get, several, st.none() | _exptimes())


def requests() -> st.SearchStrategy[AnyRequest]:
    """Every request that one binary packet can say."""
    return st.one_of(
        st.just(Noop()),
        st.just(Version()),
        st.just(Quit()),
        st.just(SaslList()),
        st.builds(Get, st.tuples(keys()), st.none() | _exptimes()),
        st.builds(Delete, keys(), _cas()),
        st.builds(Touch, keys(), _exptimes()),
        st.builds(Flush, st.none() | _exptimes()),
        st.builds(Stats, st.just(b"") | keys()),
        st.builds(Verbosity, _numbers(VERBOSITY, "level")),
        st.builds(Append, keys(), values(), _cas()),
        st.builds(Prepend, keys(), values(), _cas()),
        _stores(Set),
        _stores(Add),
        _stores(Replace),
        _arithmetic(Increment),
        _arithmetic(Decrement),
        _sasl(SaslAuth),
        _sasl(SaslStep),
        unknown_requests(),
    )


def _says(spec: OpcodeSpec, request: AnyRequest) -> bool:
    """Whether this opcode can carry the request: a get with an expiry needs the opcodes that have room for one."""
    if FAMILIES[spec.opcode].kind is not type(request):
        return False
    has_room = spec.request.extras_of(EXPIRATION.size) is not None
    return not isinstance(request, Get) or has_room == (request.exptime is not None)


def _opcodes_for(request: AnyRequest) -> st.SearchStrategy[int]:
    if isinstance(request, Unknown):
        return st.just(request.packet.opcode)
    return st.sampled_from([opcode for opcode in FAMILIES if _says(OPCODES[opcode], request)])


@st.composite
def binary_envelopes(draw: st.DrawFn, request: st.SearchStrategy[AnyRequest] | None = None) -> BinaryEnvelope:
    """A request and all that the binary protocol wraps around it, under each opcode that can say it."""
    asked = draw(requests() if request is None else request)
    opcode = draw(_opcodes_for(asked))
    if isinstance(asked, Unknown):
        packet = asked.packet
        return BinaryEnvelope(asked, opcode, packet.opaque, packet.vbucket_or_status, packet.data_type)
    ignored_cas = st.just(0) if FAMILIES[opcode].uses_cas else _cas()
    return BinaryEnvelope(
        asked,
        opcode,
        draw(_numbers(HEADER, "opaque")),
        draw(_numbers(HEADER, "vbucket_or_status")),
        draw(_numbers(HEADER, "data_type")),
        draw(ignored_cas),
    )


# --- replies


def _reserved(request: AnyRequest | None) -> frozenset[int]:
    """The statuses that are another reply than a failure in the light of this request."""
    if isinstance(request, Get):
        return frozenset({Status.SUCCESS, Status.KEY_NOT_FOUND})
    if isinstance(request, (SaslAuth, SaslStep)):
        return frozenset({Status.SUCCESS, Status.AUTH_CONTINUE})
    return frozenset({Status.SUCCESS})


@st.composite
def failures(draw: st.DrawFn, request: AnyRequest | None = None) -> Failure:
    """Every failure, to any request or to this one: any status but success, and any text.

    A get's miss is ``Values()`` and a SASL continuation a ``Challenge``, so neither is among the failures of these. A
    text is never the standard one, which ``None`` stands for.
    """
    reserved = _reserved(request)
    named = st.sampled_from([status for status in STATUSES.values() if status not in reserved])
    others = _numbers(HEADER, "vbucket_or_status").filter(lambda number: number not in reserved)
    status = draw(st.one_of(named, others))
    known = STATUSES.get(status)
    if known is None:
        return Failure(status, draw(st.binary(max_size=_TEXT)))
    return Failure(known, draw(st.none() | st.binary(max_size=_TEXT).filter(lambda text: text != known.text)))


def _successes(request: AnyRequest) -> st.SearchStrategy[AnyReply]:
    cas = _cas()
    match request:
        case Get():
            item = st.builds(Item, st.just(request.keys[0]), values(), _numbers(FLAGS, "flags"), cas)
            return st.builds(Values, st.just(()) | st.tuples(item))
        case Set() | Add() | Replace() | Append() | Prepend():
            return st.builds(Stored, cas)
        case Delete():
            return st.builds(Deleted, cas)
        case Increment() | Decrement():
            return st.builds(Counter, _numbers(COUNTER, "counter"), cas)
        case Touch():
            return st.builds(Touched, st.none() | _numbers(FLAGS, "flags"), cas)
        case Flush() | Noop() | Quit() | Verbosity():
            return st.just(Ok())
        case Stats():
            pair = st.tuples(st.binary(min_size=1, max_size=_TEXT), st.binary(max_size=_TEXT))
            return st.builds(StatsReply, st.lists(pair, max_size=4).map(tuple))
        case Version():
            return st.builds(VersionReply, st.binary(max_size=_TEXT))
        case SaslList():
            name = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", min_size=1, max_size=20).map(str.encode)
            return st.builds(Mechanisms, st.lists(name, max_size=4).map(tuple))
        case SaslAuth() | SaslStep():
            return st.builds(Authenticated, values(_TEXT)) | st.builds(Challenge, values(_TEXT))
        case Unknown():
            return _raw_replies()
        case Malformed():
            return st.just(request.reply)
        case _:
            raise TypeError(f"{type(request).__name__} cannot be said in binary")


def _raw_replies() -> st.SearchStrategy[RawReply]:
    return st.builds(
        RawReply,
        extras=_extras(),
        key=st.binary(max_size=MAX_KEY),
        value=values(),
        cas=_cas(),
        data_type=_numbers(HEADER, "data_type"),
    )


def _extras() -> st.SearchStrategy[bytes]:
    return st.binary(max_size=32)


def replies_to(request: AnyRequest) -> st.SearchStrategy[AnyReply]:
    """Every reply that can answer this request of one key: a success, a miss, a failure."""
    if isinstance(request, Malformed):
        return _successes(request)
    return _successes(request) | failures(request)


def replies() -> st.SearchStrategy[AnyReply]:
    """Every reply to any request."""
    return requests().flatmap(replies_to)


# --- bytes


def packets() -> st.SearchStrategy[Packet]:
    """Raw packets of both directions with any opcode, status and body, sensible or not."""
    return st.builds(
        Packet,
        magic=st.sampled_from((Magic.REQUEST, Magic.RESPONSE)),
        opcode=_numbers(HEADER, "opcode"),
        extras=_extras(),
        key=st.binary(max_size=MAX_KEY),
        value=values(),
        vbucket_or_status=_numbers(HEADER, "vbucket_or_status"),
        data_type=_numbers(HEADER, "data_type"),
        opaque=_numbers(HEADER, "opaque"),
        cas=_cas(),
    )


def cuts(data: bytes, max_cuts: int = 8) -> st.SearchStrategy[list[int]]:
    """Places to cut ``data`` at, in order; the same place twice makes an empty piece."""
    return st.lists(st.integers(0, len(data)), max_size=max_cuts).map(sorted)


def pieces(data: bytes, max_cuts: int = 8) -> st.SearchStrategy[list[bytes]]:
    """The same bytes in pieces, some of them perhaps empty."""

    def cut(places: list[int]) -> list[bytes]:
        edges = [0, *places, len(data)]
        return [data[begin:end] for begin, end in pairwise(edges)]

    return cuts(data, max_cuts).map(cut)
