"""Replies of the binary protocol."""

from __future__ import annotations

from collections.abc import Collection
from typing import get_args

from hypothesis import strategies as st

from memproto import (
    MAX_KEY,
    AnyReply,
    AnyRequest,
    Authenticated,
    Challenge,
    Counter,
    Deleted,
    Failure,
    Get,
    InvalidRequest,
    Item,
    Mechanisms,
    Ok,
    Opcode,
    RawReply,
    SaslAuth,
    SaslStep,
    StatsReply,
    Status,
    Stored,
    Touched,
    Unknown,
    Values,
    VersionReply,
)
from memproto.binary import REQUESTS
from memproto.model import STATUSES
from memproto.testing.arguments import check_type
from memproto.testing.strategies.binary import TEXT, extras, of_extras, of_header, requests
from memproto.testing.strategies.items import U64, values_or


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
    others = of_header("vbucket_or_status").filter(lambda number: number not in reserved)
    status = draw(st.one_of(named, others))
    known = STATUSES.get(status)
    if known is None:
        return Failure(status, draw(st.binary(max_size=TEXT)))
    return Failure(known, draw(st.none() | st.binary(max_size=TEXT).filter(lambda text: text != known.text)))


def _successes(request: AnyRequest, values: st.SearchStrategy[bytes]) -> st.SearchStrategy[AnyReply]:
    if not isinstance(request, Unknown) and type(request) not in REQUESTS.values():
        raise TypeError(f"{type(request).__name__} cannot be said in binary")
    cas, flags, data = of_header("cas"), of_extras("flags", Opcode.SET), st.binary(max_size=TEXT)
    items = st.builds(Item, st.just(request.keys[0]), values, flags, cas) if isinstance(request, Get) else st.nothing()
    statistic = st.tuples(st.binary(min_size=1, max_size=TEXT), data)
    mechanism = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", min_size=1, max_size=20).map(str.encode)
    made: dict[type[AnyReply], st.SearchStrategy[AnyReply]] = {
        Ok: st.just(Ok()),
        Values: st.builds(Values, st.just(()) | st.tuples(items)),
        Stored: st.builds(Stored, cas),
        Deleted: st.builds(Deleted, cas),
        Counter: st.builds(Counter, U64, cas),
        Touched: st.builds(Touched, st.none() | flags, cas),
        StatsReply: st.builds(StatsReply, st.lists(statistic, max_size=4).map(tuple)),
        VersionReply: st.builds(VersionReply, data),
        Mechanisms: st.builds(Mechanisms, st.lists(mechanism, max_size=4).map(tuple)),
        Authenticated: st.builds(Authenticated, data),
        Challenge: st.builds(Challenge, data),
        RawReply: st.builds(
            RawReply,
            extras=extras(),
            key=st.binary(max_size=MAX_KEY),
            value=values,
            cas=cas,
            data_type=of_header("data_type"),
        ),
    }
    return st.one_of([made[kind] for kind in request.reply_types()])


def replies_to(request: AnyRequest, *, values: st.SearchStrategy[bytes] | None = None) -> st.SearchStrategy[AnyReply]:
    """Every reply that can answer this request of one key: a success, a miss, a failure."""
    expected = "a request, such as Get; an event has it as event.request"
    check_type("request", request, get_args(AnyRequest), expected)
    if isinstance(request, InvalidRequest):
        return st.just(request.reply)
    return _successes(request, values_or(values)) | failures(request)


def replies(
    *,
    keys: st.SearchStrategy[bytes] | None = None,
    values: st.SearchStrategy[bytes] | None = None,
    kinds: Collection[type[AnyRequest]] | None = None,
) -> st.SearchStrategy[AnyReply]:
    """Every reply to any request, or to requests of these ``kinds``; the others are as in :func:`requests`."""
    asked = requests(keys=keys, values=values, kinds=kinds)
    return asked.flatmap(lambda request: replies_to(request, values=values))
