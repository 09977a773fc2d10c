"""Requests, envelopes and packets of the binary protocol; sizes, ranges and opcodes are read from its tables."""

from __future__ import annotations

from collections.abc import Collection

from hypothesis import strategies as st

from memproto import (
    MAX_KEY,
    MAX_MECHANISM,
    OPCODES,
    Add,
    AnyRequest,
    Append,
    BinaryEnvelope,
    Decrement,
    Delete,
    Flush,
    Get,
    Increment,
    Layout,
    LocalProtocolError,
    Magic,
    Noop,
    Opcode,
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
    Verbosity,
    Version,
)
from memproto.binary import HEADER, NO_CREATE, REQUESTS
from memproto.testing.strategies.items import exptimes, given_or, pooled, pooled_keys, values_or
from memproto.testing.strategies.kinds import chosen, weighted

# Long enough to cross every header, short enough to keep examples readable.
TEXT = 64


def _numbers(name: str, layouts: tuple[Layout, ...]) -> st.SearchStrategy[int]:
    (field,) = (field for layout in layouts for field in layout.fields if field.name == name)
    return st.integers(0, (1 << 8 * field.size) - 1)


def of_header(name: str) -> st.SearchStrategy[int]:
    """Every number that fits this field of the header."""
    return _numbers(name, (HEADER,))


def of_extras(name: str, opcode: int) -> st.SearchStrategy[int]:
    """Every number that fits this field of the extras of requests."""
    return _numbers(name, OPCODES[opcode].request.extras or ())


def extras() -> st.SearchStrategy[bytes]:
    """Extras of no particular layout."""
    return st.binary(max_size=32)


# The largest number is an expiry like any other, but where an item can be created it stands for None.
_EXPTIMES, _CREATING_EXPTIMES = exptimes(0, NO_CREATE), exptimes(0, NO_CREATE - 1)


def _asked_cas() -> st.SearchStrategy[int]:
    """Mostly none: a request with a CAS of its own hardly ever finds an item that has it."""
    return pooled(of_header("cas"), 0)


def _requests_of(
    keys: st.SearchStrategy[bytes], values: st.SearchStrategy[bytes]
) -> dict[type[AnyRequest], st.SearchStrategy[AnyRequest]]:
    cas, flags, exptime = _asked_cas(), of_extras("flags", Opcode.SET), _EXPTIMES
    stored = keys, values, flags, exptime, cas
    delta, initial = (of_extras(name, Opcode.INCREMENT) for name in ("delta", "initial"))
    counted = keys, delta, initial, st.none() | _CREATING_EXPTIMES, cas
    sasl = st.binary(min_size=1, max_size=MAX_MECHANISM), st.binary(max_size=TEXT)
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
        Verbosity: st.builds(Verbosity, of_extras("level", Opcode.VERBOSITY)),
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
            opcode=of_header("opcode").filter(lambda opcode: opcode not in REQUESTS),
            extras=extras(),
            key=st.just(b"") | pooled_keys(keys),
            value=values_or(values),
            vbucket_or_status=of_header("vbucket_or_status"),
            data_type=of_header("data_type"),
            opaque=of_header("opaque"),
            cas=of_header("cas"),
        ),
    )


def multi_gets(max_keys: int = 8, *, keys: st.SearchStrategy[bytes] | None = None) -> st.SearchStrategy[Get]:
    """Gets of 2 to ``max_keys`` keys, which a client connection sends as many packets; a key may be there twice."""
    several = st.lists(pooled_keys(keys), min_size=2, max_size=max_keys).map(tuple)
    return st.builds(Get, several, st.none() | _EXPTIMES)


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
    made = _requests_of(pooled_keys(keys), values_or(values))
    return weighted(chosen(kinds, made)).flatmap(made.__getitem__)


def _opcodes_for(request: AnyRequest) -> st.SearchStrategy[int]:
    if isinstance(request, Unknown):
        return st.just(request.packet.opcode)
    opcodes = [opcode for opcode, kind in REQUESTS.items() if kind is type(request)]
    if isinstance(request, Get):
        # With an expiry it needs the opcodes that have room for one.
        bare = request.exptime is None
        opcodes = [opcode for opcode in opcodes if bare == (OPCODES[opcode].request.extras_of(0) is not None)]
    return st.sampled_from(opcodes)


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
    ignored_cas = st.just(0) if hasattr(asked, "cas") else of_header("cas")
    return BinaryEnvelope(
        asked,
        opcode,
        draw(of_header("opaque")),
        draw(of_header("vbucket_or_status")),
        draw(of_header("data_type")),
        draw(ignored_cas),
    )


def packets(
    *, keys: st.SearchStrategy[bytes] | None = None, values: st.SearchStrategy[bytes] | None = None
) -> st.SearchStrategy[Packet]:
    """Raw packets of both directions with any opcode, status and body, sensible or not.

    A key may be up to 250 bytes, and there may be none.
    """
    return st.builds(
        Packet,
        magic=st.sampled_from((Magic.REQUEST, Magic.RESPONSE)),
        opcode=of_header("opcode"),
        extras=extras(),
        key=given_or("keys", keys, st.binary(max_size=MAX_KEY)),
        value=values_or(values),
        vbucket_or_status=of_header("vbucket_or_status"),
        data_type=of_header("data_type"),
        opaque=of_header("opaque"),
        cas=of_header("cas"),
    )
