"""Replies of the binary protocol."""

from __future__ import annotations

from typing import get_args

from hypothesis import strategies as st

from memproto import MAX_KEY, model
from memproto.binary import REQUESTS
from memproto.testing.arguments import check_type
from memproto.testing.strategies.binary import TEXT, extras, of_extras, of_header, requests
from memproto.testing.strategies.items import U64, Bytes, values_or
from memproto.testing.strategies.kinds import Kinds


def _reserved(request: model.AnyRequest | None) -> frozenset[int]:
    """The statuses that are another reply than a failure in the light of this request."""
    if isinstance(request, model.Get):
        return frozenset({model.Status.SUCCESS, model.Status.KEY_NOT_FOUND})
    if isinstance(request, (model.SaslAuth, model.SaslStep)):
        return frozenset({model.Status.SUCCESS, model.Status.AUTH_CONTINUE})
    return frozenset({model.Status.SUCCESS})


@st.composite
def failures(draw: st.DrawFn, request: model.AnyRequest | None = None) -> model.Failure:
    """Every failure, to any request or to this one: any status but success, and any text.

    A get's miss is ``Values()`` and a SASL continuation a ``Challenge``, so neither is among the failures of these. A
    text is never the standard one, which ``None`` stands for.
    """
    reserved = _reserved(request)
    named = st.sampled_from([status for status in model.STATUSES.values() if status not in reserved])
    others = of_header("vbucket_or_status").filter(lambda number: number not in reserved)
    status = draw(st.one_of(named, others))
    known = model.STATUSES.get(status)
    if known is None:
        return model.Failure(status, draw(st.binary(max_size=TEXT)))
    return model.Failure(known, draw(st.none() | st.binary(max_size=TEXT).filter(lambda text: text != known.text)))


def _successes(request: model.AnyRequest, values: Bytes) -> st.SearchStrategy[model.AnyReply]:
    if not isinstance(request, model.Unknown) and type(request) not in REQUESTS.values():
        raise TypeError(f"{type(request).__name__} cannot be said in binary")
    cas, flags, data = of_header("cas"), of_extras("flags", model.Opcode.SET), st.binary(max_size=TEXT)
    key = st.just(request.keys[0]) if isinstance(request, model.Get) else st.nothing()
    items = st.builds(model.Item, key, values, flags, cas)
    statistic = st.tuples(st.binary(min_size=1, max_size=TEXT), data)
    mechanism = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", min_size=1, max_size=20).map(str.encode)
    made: dict[type[model.AnyReply], st.SearchStrategy[model.AnyReply]] = {
        model.Ok: st.just(model.Ok()),
        model.Values: st.builds(model.Values, st.just(()) | st.tuples(items)),
        model.Stored: st.builds(model.Stored, cas),
        model.Deleted: st.builds(model.Deleted, cas),
        model.Counter: st.builds(model.Counter, U64, cas),
        model.Touched: st.builds(model.Touched, st.none() | flags, cas),
        model.StatsReply: st.builds(model.StatsReply, st.lists(statistic, max_size=4).map(tuple)),
        model.VersionReply: st.builds(model.VersionReply, data),
        model.Mechanisms: st.builds(model.Mechanisms, st.lists(mechanism, max_size=4).map(tuple)),
        model.Authenticated: st.builds(model.Authenticated, data),
        model.Challenge: st.builds(model.Challenge, data),
        model.RawReply: st.builds(
            model.RawReply, st.just(0), extras(), st.binary(max_size=MAX_KEY), values, cas, of_header("data_type")
        ),
    }
    return st.one_of([made[kind] for kind in request.reply_types()])


def replies_to(request: model.AnyRequest, *, values: Bytes | None = None) -> st.SearchStrategy[model.AnyReply]:
    """Every reply that can answer this request of one key: a success, a miss, a failure."""
    expected = "a request, such as Get; an event has it as event.request"
    check_type("request", request, get_args(model.AnyRequest), expected)
    if isinstance(request, model.InvalidRequest):
        return st.just(request.reply)
    return _successes(request, values_or(values)) | failures(request)


def replies(
    *, keys: Bytes | None = None, values: Bytes | None = None, kinds: Kinds | None = None
) -> st.SearchStrategy[model.AnyReply]:
    """Every reply to any request, or to requests of these ``kinds``; the others are as in :func:`requests`."""
    asked = requests(keys=keys, values=values, kinds=kinds)
    return asked.flatmap(lambda request: replies_to(request, values=values))
