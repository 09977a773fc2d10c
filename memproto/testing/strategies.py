"""Hypothesis strategies for everything that crosses a connection.

Sizes, ranges and opcodes are read from the declarations that the codec itself is derived from.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from typing import TypeVar

from hypothesis import strategies as st

from memproto._fields import BYTES_LIKE, check_value
from memproto._wire.arguments import misuse
from memproto._wire.packing import Layout
from memproto.binary._layout import (
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
from memproto.binary._operations import OPERATIONS
from memproto.errors import LocalProtocolError
from memproto.limits import MAX_KEY, MAX_MECHANISM, MONTH
from memproto.model import (
    STATUSES,
    Add,
    AnyReply,
    AnyRequest,
    Append,
    Authenticated,
    BinaryEnvelope,
    Challenge,
    Counter,
    Decrement,
    Delete,
    Deleted,
    Failure,
    Flush,
    Get,
    Increment,
    InvalidRequest,
    Item,
    Magic,
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
    Status,
    Stored,
    Touch,
    Touched,
    Unknown,
    Values,
    Verbosity,
    Version,
    VersionReply,
)
from memproto.model._checks import check_request

T = TypeVar("T")

# Long enough to cross every header, short enough to keep examples readable.
_TEXT = 64


def _numbers(layout: Layout, name: str) -> st.SearchStrategy[int]:
    """Every number that fits this field."""
    (field,) = (field for field in layout.fields if field.name == name)
    return st.integers(0, (1 << 8 * field.size) - 1)


def _cas() -> st.SearchStrategy[int]:
    return _numbers(HEADER, "cas")


# What must never be taken for a line of its own where it is a value.
_LINES = (b"\r\n", b"\n", b"END\r\n", b"flush_all\r\n", b"mn\r\n")


def keys() -> st.SearchStrategy[bytes]:
    """Every key of the binary protocol: 1 to 250 bytes of any kind."""
    return st.binary(min_size=1, max_size=MAX_KEY) | long(st.binary(min_size=1, max_size=4), MAX_KEY)


def values(max_size: int = 256) -> st.SearchStrategy[bytes]:
    """Values of up to ``max_size`` bytes, the empty one included; some look like lines of a text dialect."""
    lines = st.lists(st.sampled_from(_LINES), min_size=1, max_size=3)
    return st.binary(max_size=max_size) | lines.map(lambda parts: b"".join(parts)[:max_size])


def long(words: st.SearchStrategy[bytes], size: int) -> st.SearchStrategy[bytes]:
    """Words repeated up to ``size`` bytes or one less; of itself hypothesis hardly ever makes anything that long."""
    return st.builds(lambda word, length: (word * length)[:length], words, st.integers(size - 1, size))


# Requests must meet each other's items, or every get is a miss: three of four keys are from here.
POOL = (b"a", b"b", b"key")


@st.composite
def pooled(draw: st.DrawFn, anything: st.SearchStrategy[T], *usual: T) -> T:
    """Three times of four one of the usual ones, else anything."""
    # Not one_of, which takes equal branches for one.
    return draw(st.sampled_from(usual)) if draw(st.integers(0, 3)) < 3 else draw(anything)


def given_or(name: str, given: object, usual: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """The strategy that a user gives, or the usual one for ``None``. Raises LocalProtocolError."""
    if given is None:
        return usual
    if not isinstance(given, st.SearchStrategy):
        raise misuse(name, given, "a hypothesis strategy for bytes, such as sampled_from")
    return given


def chosen(kinds: object, made: Collection[type[AnyRequest]]) -> list[type[AnyRequest]]:
    """The kinds of requests that a user gives, or all that are made for ``None``. Raises LocalProtocolError."""
    if kinds is None:
        return list(made)
    if isinstance(kinds, str | bytes) or not isinstance(kinds, Collection) or not kinds:
        raise misuse("kinds", kinds, "a collection of request classes, such as {Get, Set}, and not be empty")
    wanted = [kind for kind in made if kind in kinds]
    for kind in kinds:
        if kind not in wanted:
            names = ", ".join(sorted(each.__name__ for each in made))
            raise misuse("one of the kinds", kind, f"one of the requests made here: {names}")
    return wanted


# A run in which every twentieth request is a get, and every twentieth a flush, has hardly any hit.
_WEIGHTS: dict[type[AnyRequest], int] = {Get: 6, Set: 6}


def weighted(kinds: list[type[AnyRequest]]) -> st.SearchStrategy[type[AnyRequest]]:
    """One of the kinds, the usual ones more often."""
    return st.sampled_from([kind for kind in kinds for _ in range(_WEIGHTS.get(kind, 1))])


# --- requests


def _exptimes() -> st.SearchStrategy[int]:
    return st.one_of(st.just(0), st.integers(1, MONTH), _numbers(EXPIRATION, "expiration"))


def _creating_exptimes() -> st.SearchStrategy[int | None]:
    # The one number that the wire has no room for: it stands for None.
    return st.none() | _exptimes().filter(lambda number: number != NO_CREATE)


def _asked_cas() -> st.SearchStrategy[int]:
    """Mostly none: a request with a CAS of its own hardly ever finds an item that has it."""
    return pooled(_cas(), 0)


def _requests_of(
    keys: st.SearchStrategy[bytes], values: st.SearchStrategy[bytes]
) -> dict[type[AnyRequest], st.SearchStrategy[AnyRequest]]:
    cas, flags, exptime = _asked_cas(), _numbers(STORE, "flags"), _exptimes()
    stored = keys, values, flags, exptime, cas
    delta, initial = _numbers(ARITHMETIC, "delta"), _numbers(ARITHMETIC, "initial")
    counted = keys, delta, initial, _creating_exptimes(), cas
    sasl = st.binary(min_size=1, max_size=MAX_MECHANISM), st.binary(max_size=_TEXT)
    return {
        Noop: st.just(Noop()),
        Version: st.just(Version()),
        Quit: st.just(Quit()),
        SaslList: st.just(SaslList()),
        Get: st.builds(Get, st.tuples(keys), st.none() | exptime),
        Delete: st.builds(Delete, keys, cas),
        Touch: st.builds(Touch, keys, exptime),
        Flush: st.builds(Flush, st.none() | exptime),
        Stats: st.builds(Stats, st.just(b"") | keys),
        Verbosity: st.builds(Verbosity, _numbers(VERBOSITY, "level")),
        Append: st.builds(Append, keys, values, cas),
        Prepend: st.builds(Prepend, keys, values, cas),
        Set: st.builds(Set, *stored),
        Add: st.builds(Add, *stored),
        Replace: st.builds(Replace, *stored),
        Increment: st.builds(Increment, *counted),
        Decrement: st.builds(Decrement, *counted),
        SaslAuth: st.builds(SaslAuth, *sasl),
        SaslStep: st.builds(SaslStep, *sasl),
        Unknown: unknown_requests(keys=keys, values=values),
    }


def unknown_requests(
    *, keys: st.SearchStrategy[bytes] | None = None, values: st.SearchStrategy[bytes] | None = None
) -> st.SearchStrategy[Unknown]:
    """Requests under every opcode that has no message of its own, with any body."""
    return st.builds(
        Unknown,
        st.builds(
            Packet,
            magic=st.just(Magic.REQUEST),
            opcode=_numbers(HEADER, "opcode").filter(lambda opcode: opcode not in OPERATIONS),
            extras=_extras(),
            key=st.just(b"") | _keys(keys),
            value=_values(values),
            vbucket_or_status=_numbers(HEADER, "vbucket_or_status"),
            data_type=_numbers(HEADER, "data_type"),
            opaque=_numbers(HEADER, "opaque"),
            cas=_cas(),
        ),
    )


def _keys(given: st.SearchStrategy[bytes] | None) -> st.SearchStrategy[bytes]:
    return given_or("keys", given, pooled(keys(), *POOL))


def _values(given: st.SearchStrategy[bytes] | None) -> st.SearchStrategy[bytes]:
    return given_or("values", given, values())


def multi_gets(max_keys: int = 8, *, keys: st.SearchStrategy[bytes] | None = None) -> st.SearchStrategy[Get]:
    """Gets of 2 to ``max_keys`` keys, which a client connection sends as many packets; a key may be there twice."""
    several = st.lists(_keys(keys), min_size=2, max_size=max_keys).map(tuple)
    return st.builds(Get, several, st.none() | _exptimes())


def requests(
    *,
    keys: st.SearchStrategy[bytes] | None = None,
    values: st.SearchStrategy[bytes] | None = None,
    kinds: Collection[type[AnyRequest]] | None = None,
) -> st.SearchStrategy[AnyRequest]:
    """Every request that one binary packet can say.

    Three of four keys are from a small pool, so that requests meet: some gets hit, some adds fail. ``keys`` and
    ``values`` are strategies of your own for them; ``kinds`` are the classes wanted, such as ``{Get, Set}``.
    Raises :class:`~memproto.LocalProtocolError` for a kind that is not made here.
    """
    made = _requests_of(_keys(keys), _values(values))
    return weighted(chosen(kinds, made)).flatmap(made.__getitem__)


def _says(spec: OpcodeSpec, request: AnyRequest) -> bool:
    """Whether this opcode can carry the request: a get with an expiry needs the opcodes that have room for one."""
    if OPERATIONS[spec.opcode].request is not type(request):
        return False
    has_room = spec.request.extras_of(EXPIRATION.size) is not None
    return not isinstance(request, Get) or has_room == (request.exptime is not None)


def _opcodes_for(request: AnyRequest) -> st.SearchStrategy[int]:
    if isinstance(request, Unknown):
        return st.just(request.packet.opcode)
    return st.sampled_from([opcode for opcode in OPERATIONS if _says(OPCODES[opcode], request)])


def binary_envelopes(
    request: st.SearchStrategy[AnyRequest] | None = None,
    *,
    keys: st.SearchStrategy[bytes] | None = None,
    values: st.SearchStrategy[bytes] | None = None,
    kinds: Collection[type[AnyRequest]] | None = None,
) -> st.SearchStrategy[BinaryEnvelope]:
    """A request and all that the binary protocol wraps around it, under each opcode that can say it.

    ``request`` is where the requests come from; without it they are those of :func:`requests`, which takes ``keys``,
    ``values`` and ``kinds``.
    """
    if request is None:
        request = requests(keys=keys, values=values, kinds=kinds)
    elif (keys, values, kinds) != (None, None, None):
        raise LocalProtocolError("request is given, so that keys, values and kinds are those of its requests")
    return _enveloped(request)


@st.composite
def _enveloped(draw: st.DrawFn, request: st.SearchStrategy[AnyRequest]) -> BinaryEnvelope:
    asked = draw(request)
    opcode = draw(_opcodes_for(asked))
    if isinstance(asked, Unknown):
        packet = asked.packet
        return BinaryEnvelope(asked, opcode, packet.opaque, packet.vbucket_or_status, packet.data_type)
    ignored_cas = st.just(0) if OPERATIONS[opcode].uses_cas else _cas()
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


def _successes(request: AnyRequest, values: st.SearchStrategy[bytes]) -> st.SearchStrategy[AnyReply]:
    cas = _cas()
    match request:
        case Get():
            item = st.builds(Item, st.just(request.keys[0]), values, _numbers(FLAGS, "flags"), cas)
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
            data = st.binary(max_size=_TEXT)
            return st.builds(Authenticated, data) | st.builds(Challenge, data)
        case Unknown():
            return _raw_replies(values)
        case InvalidRequest():
            return st.just(request.reply)
        case _:
            raise TypeError(f"{type(request).__name__} cannot be said in binary")


def _raw_replies(values: st.SearchStrategy[bytes]) -> st.SearchStrategy[RawReply]:
    return st.builds(
        RawReply,
        extras=_extras(),
        key=st.binary(max_size=MAX_KEY),
        value=values,
        cas=_cas(),
        data_type=_numbers(HEADER, "data_type"),
    )


def _extras() -> st.SearchStrategy[bytes]:
    return st.binary(max_size=32)


def replies_to(request: AnyRequest, *, values: st.SearchStrategy[bytes] | None = None) -> st.SearchStrategy[AnyReply]:
    """Every reply that can answer this request of one key: a success, a miss, a failure."""
    check_request(request)
    if isinstance(request, InvalidRequest):
        return _successes(request, _values(values))
    return _successes(request, _values(values)) | failures(request)


def replies(
    *,
    keys: st.SearchStrategy[bytes] | None = None,
    values: st.SearchStrategy[bytes] | None = None,
    kinds: Collection[type[AnyRequest]] | None = None,
) -> st.SearchStrategy[AnyReply]:
    """Every reply to any request, or to requests of these ``kinds``; the others are as in :func:`requests`."""
    asked = requests(keys=keys, values=values, kinds=kinds)
    return asked.flatmap(lambda request: replies_to(request, values=values))


# --- bytes


def packets(
    *, keys: st.SearchStrategy[bytes] | None = None, values: st.SearchStrategy[bytes] | None = None
) -> st.SearchStrategy[Packet]:
    """Raw packets of both directions with any opcode, status and body, sensible or not.

    A key may be up to 250 bytes, and there may be none.
    """
    return st.builds(
        Packet,
        magic=st.sampled_from((Magic.REQUEST, Magic.RESPONSE)),
        opcode=_numbers(HEADER, "opcode"),
        extras=_extras(),
        key=given_or("keys", keys, st.binary(max_size=MAX_KEY)),
        value=_values(values),
        vbucket_or_status=_numbers(HEADER, "vbucket_or_status"),
        data_type=_numbers(HEADER, "data_type"),
        opaque=_numbers(HEADER, "opaque"),
        cas=_cas(),
    )


def cuts(data: bytes, max_cuts: int = 8) -> st.SearchStrategy[list[int]]:
    """Places to cut ``data`` at, in order; the same place twice makes an empty piece."""
    check_value("data", data, BYTES_LIKE)
    return st.lists(st.integers(0, len(data)), max_size=max_cuts).map(sorted)


def pieces(data: bytes, max_cuts: int = 8) -> st.SearchStrategy[list[bytes]]:
    """The same bytes in pieces, some of them perhaps empty."""

    def cut(places: list[int]) -> list[bytes]:
        edges = [0, *places, len(data)]
        return [data[begin:end] for begin, end in pairwise(edges)]

    return cuts(data, max_cuts).map(cut)
