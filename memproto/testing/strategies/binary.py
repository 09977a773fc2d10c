"""Requests, envelopes and packets of the binary protocol; sizes, ranges and opcodes are read from its tables."""

from __future__ import annotations

from hypothesis import strategies as st

from memproto import MAX_KEY, MAX_MECHANISM, OPCODES, Layout, LocalProtocolError, model
from memproto.binary import HEADER, NO_CREATE, REQUESTS
from memproto.testing.strategies.items import Bytes, exptimes, given_or, pooled, pooled_keys, values_or
from memproto.testing.strategies.kinds import Kinds, chosen, weighted

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


def extras() -> Bytes:
    """Extras of no particular layout."""
    return st.binary(max_size=32)


# The largest number is an expiry like any other, but where an item can be created it stands for None.
_EXPTIMES, _CREATING_EXPTIMES = exptimes(0, NO_CREATE), exptimes(0, NO_CREATE - 1)


def _requests_of(keys: Bytes, values: Bytes) -> dict[type[model.AnyRequest], st.SearchStrategy[model.AnyRequest]]:
    # Mostly none: a request with a CAS of its own hardly ever finds an item that has it.
    cas = pooled(of_header("cas"), 0)
    stored = keys, values, of_extras("flags", model.Opcode.SET), _EXPTIMES, cas
    delta, initial = (of_extras(name, model.Opcode.INCREMENT) for name in ("delta", "initial"))
    counted = keys, delta, initial, st.none() | _CREATING_EXPTIMES, cas
    sasl = st.binary(min_size=1, max_size=MAX_MECHANISM), st.binary(max_size=TEXT)
    return {
        **{kind: st.builds(kind) for kind in (model.Noop, model.Version, model.Quit, model.SaslList)},
        model.Get: st.builds(model.Get, st.tuples(keys), st.none() | _EXPTIMES),
        model.Delete: st.builds(model.Delete, keys, cas),
        model.Touch: st.builds(model.Touch, keys, _EXPTIMES),
        model.Flush: st.builds(model.Flush, st.none() | _EXPTIMES),
        model.Stats: st.builds(model.Stats, st.just(b"") | keys),
        model.Verbosity: st.builds(model.Verbosity, of_extras("level", model.Opcode.VERBOSITY)),
        **{kind: st.builds(kind, keys, values, cas) for kind in (model.Append, model.Prepend)},
        **{kind: st.builds(kind, *stored) for kind in (model.Set, model.Add, model.Replace)},
        **{kind: st.builds(kind, *counted) for kind in (model.Increment, model.Decrement)},
        **{kind: st.builds(kind, *sasl) for kind in (model.SaslAuth, model.SaslStep)},
        model.Unknown: unknown_requests(keys=keys, values=values),
    }


def unknown_requests(*, keys: Bytes | None = None, values: Bytes | None = None) -> st.SearchStrategy[model.Unknown]:
    """Requests under every opcode that has no message of its own, with any body."""
    opcode = of_header("opcode").filter(lambda opcode: opcode not in REQUESTS)
    return _packets(st.just(model.Magic.REQUEST), opcode, st.just(b"") | pooled_keys(keys), values).map(model.Unknown)


def multi_gets(max_keys: int = 8, *, keys: Bytes | None = None) -> st.SearchStrategy[model.Get]:
    """Gets of 2 to ``max_keys`` keys, which a client connection sends as many packets; a key may be there twice."""
    several = st.lists(pooled_keys(keys), min_size=2, max_size=max_keys).map(tuple)
    return st.builds(model.Get, several, st.none() | _EXPTIMES)


def requests(
    *, keys: Bytes | None = None, values: Bytes | None = None, kinds: Kinds | None = None
) -> st.SearchStrategy[model.AnyRequest]:
    """Every request that one binary packet can say.

    Three of four keys are from a small pool, so that requests meet: some gets hit, some adds fail. ``keys`` and
    ``values`` are strategies of your own for them; ``kinds`` are the classes wanted, such as ``{Get, Set}``.
    Raises :class:`~memproto.LocalProtocolError` for a kind that is not made here.
    """
    made = _requests_of(pooled_keys(keys), values_or(values))
    return weighted(chosen(kinds, made)).flatmap(made.__getitem__)


def _opcodes_for(request: model.AnyRequest) -> st.SearchStrategy[int]:
    if isinstance(request, model.Unknown):
        return st.just(request.packet.opcode)
    opcodes = [opcode for opcode, kind in REQUESTS.items() if kind is type(request)]
    if isinstance(request, model.Get):
        # With an expiry it needs the opcodes that have room for one.
        bare = request.exptime is None
        opcodes = [opcode for opcode in opcodes if bare == (OPCODES[opcode].request.extras_of(0) is not None)]
    return st.sampled_from(opcodes)


def binary_envelopes(
    request: st.SearchStrategy[model.AnyRequest] | None = None,
    *,
    keys: Bytes | None = None,
    values: Bytes | None = None,
    kinds: Kinds | None = None,
) -> st.SearchStrategy[model.BinaryEnvelope]:
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
def _enveloped(draw: st.DrawFn, request: st.SearchStrategy[model.AnyRequest]) -> model.BinaryEnvelope:
    asked = draw(request)
    opcode = draw(_opcodes_for(asked))
    if isinstance(asked, model.Unknown):
        packet = asked.packet
        return model.BinaryEnvelope(asked, opcode, packet.opaque, packet.vbucket_or_status, packet.data_type)
    ignored_cas = st.just(0) if hasattr(asked, "cas") else of_header("cas")
    opaque, vbucket, data_type = (draw(of_header(name)) for name in ("opaque", "vbucket_or_status", "data_type"))
    return model.BinaryEnvelope(asked, opcode, opaque, vbucket, data_type, draw(ignored_cas))


def packets(*, keys: Bytes | None = None, values: Bytes | None = None) -> st.SearchStrategy[model.Packet]:
    """Raw packets of both directions with any opcode, status and body, sensible or not.

    A key may be up to 250 bytes, and there may be none.
    """
    magic = st.sampled_from((model.Magic.REQUEST, model.Magic.RESPONSE))
    return _packets(magic, of_header("opcode"), given_or("keys", keys, st.binary(max_size=MAX_KEY)), values)


def _packets(
    magic: st.SearchStrategy[int], opcode: st.SearchStrategy[int], key: Bytes, values: Bytes | None
) -> st.SearchStrategy[model.Packet]:
    numbers = {name: of_header(name) for name in ("vbucket_or_status", "data_type", "opaque", "cas")}
    return st.builds(model.Packet, magic, opcode, extras(), key, values_or(values), **numbers)
