"""An observer reports the exchanges of client and server, whatever the cuts and in whatever causal order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memproto import (
    AnyReply,
    AnyRequest,
    BinaryEnvelope,
    ClassicEnvelope,
    ClientConnection,
    ConnectionClosed,
    Dialect,
    Envelope,
    Exchange,
    Failure,
    Get,
    Limits,
    MetaEnvelope,
    Noop,
    ObservedExchange,
    Observer,
    ObserverEvent,
    Quit,
    RemoteProtocolError,
    ReplyReceived,
    ServerConnection,
    Side,
    Signal,
    Silence,
    SkippedBytes,
    Touch,
    UnmatchedReply,
    Values,
    Verbosity,
    binary,
    text,
)
from memproto.testing import (
    binary_envelopes,
    classic_envelopes,
    meta_envelopes,
    pieces,
    replies_to,
    text_replies_to,
)
from tests.support.kinds import any_request
from tests.support.mutations import mutated
from tests.support.reached import reached, reaches

# Tests with literal bytes cover the same branches; under tracing these take minutes.
pytestmark = pytest.mark.untraced

EACH = pytest.mark.parametrize("dialect", list(Dialect), ids=lambda dialect: dialect.value)

MULTI_GETS = st.lists(st.sampled_from((b"a", b"b", b"c")), min_size=2).map(tuple).map(Get)
SOURCES: dict[Dialect, st.SearchStrategy[BinaryEnvelope | ClassicEnvelope | MetaEnvelope]] = {
    Dialect.BINARY: binary_envelopes(),
    Dialect.CLASSIC: classic_envelopes(),
    # With room for an opaque.
    Dialect.META: meta_envelopes().filter(lambda envelope: len(envelope.flags) < text.MAX_FLAGS) | classic_envelopes(),
}


@dataclass
class Conversation:
    """What both sides sent, and what the server made of it: each request, its reply, and where both stand."""

    asked: bytes = b""
    said: bytes = b""
    exchanges: list[ObservedExchange] = field(default_factory=list)


def _is_error_line(envelope: Envelope, reply: AnyReply) -> bool:
    if not isinstance(envelope, ClassicEnvelope | MetaEnvelope) or not isinstance(reply, Failure):
        return False
    return b"ERROR" in text.encode_reply(reply, envelope).split(b"\r\n")[0].split(b" ")[0]


def _serve(asked: bytes, data: st.DataObject) -> Conversation:
    """A server that gives each request one of the replies it can get.

    An error line in text does not say what it answers, so there is none to a quiet request or behind one.
    """
    held = Conversation(asked)
    server = ServerConnection()
    server.receive_data(asked)
    request_at, after_quiet = 0, False
    while isinstance(envelope := server.next_event(), Envelope):
        after_quiet = after_quiet or _is_quiet(envelope)
        reply = data.draw(_replies(envelope, after_quiet))
        said = server.send(reply, envelope)
        after_quiet = after_quiet and not said
        request_range = range(request_at, len(asked) - server.buffered)
        reply_range = range(len(held.said), len(held.said) + len(said)) if said else range(0)
        heard = _decoded(said, envelope) if said else Silence()
        held.exchanges.append(ObservedExchange(envelope, heard, request_range, reply_range))
        request_at = request_range.stop
        held.said += said
    return held


def _replies(envelope: Envelope, without_errors: bool) -> st.SearchStrategy[AnyReply]:
    if not isinstance(envelope, ClassicEnvelope | MetaEnvelope):
        return replies_to(envelope.request)
    return text_replies_to(envelope).filter(lambda reply: not (without_errors and _is_error_line(envelope, reply)))


def _is_quiet(envelope: Envelope) -> bool:
    if isinstance(envelope, MetaEnvelope):
        return b"q" in envelope.flags
    return isinstance(envelope, ClassicEnvelope) and envelope.noreply


def _decoded(said: bytes, envelope: Envelope) -> AnyReply:
    if isinstance(envelope, BinaryEnvelope):
        return binary.decode_reply(said, envelope)
    assert isinstance(envelope, ClassicEnvelope | MetaEnvelope)
    return text.decode_reply(said, envelope)


@st.composite
def _requests(draw: st.DrawFn, dialect: Dialect) -> bytes:
    """Requests of any form, as a stream; a Quit comes last."""
    envelopes = draw(
        st.lists(SOURCES[dialect], min_size=1, max_size=3).filter(
            lambda each: not any(isinstance(envelope.request, Quit) for envelope in each[:-1])
        )
    )
    return b"".join(_encoded(envelope, number) for number, envelope in enumerate(envelopes))


def _encoded(envelope: Envelope, number: int) -> bytes:
    """The bytes of a request; quiet requests have an opaque, by which alone their replies can be told apart."""
    if isinstance(envelope, BinaryEnvelope):
        return binary.encode_request(envelope.replace(opaque=number))
    if isinstance(envelope, MetaEnvelope) and b"q" in envelope.flags:
        flags = tuple(word for word in envelope.flags if word[:1] != b"O")
        envelope = envelope.replace(flags=(*flags, b"O%d" % number))
    assert isinstance(envelope, ClassicEnvelope | MetaEnvelope)
    return text.encode_request(envelope)


def _pull(observer: Observer, events: list[ObserverEvent], most: int = 1 << 30) -> None:
    while len(events) < most and not isinstance(event := observer.next_event(), Signal):
        events.append(event)


def _observe(held: Conversation, data: st.DataObject, observer: Observer) -> list[ObserverEvent]:
    """Show a conversation to an observer, in pieces, in an order that may have been that on the wire."""
    events: list[ObserverEvent] = []
    asked, said = (iter(data.draw(pieces(each))) for each in (held.asked, held.said))
    seen = told = 0
    piece: bytes | None = next(asked)
    reply: bytes | None = next(said)
    while piece is not None or reply is not None:
        # A reply is sent when its request has been received.
        due = sum(len(each.reply_range) for each in held.exchanges if each.request_range.stop <= seen)
        ready = reply is not None and told + len(reply) <= due
        if piece is None or (ready and data.draw(st.booleans())):
            assert reply is not None
            observer.server_sent(reply)
            told += len(reply)
            reply = next(said, None)
        else:
            observer.client_sent(piece)
            seen += len(piece)
            piece = next(asked, None)
        if data.draw(st.booleans()):
            _pull(observer, events)
    observer.client_eof()
    observer.server_eof()
    _pull(observer, events, len(held.exchanges))
    return events


@EACH
@reaches(reply=0.5)
@given(data=st.data())
def test_exchanges_are_those_of_the_server_in_every_order(dialect: Dialect, data: st.DataObject) -> None:
    asked = data.draw(_requests(dialect))
    held = _serve(asked, data)
    if any(exchange.reply != Silence() for exchange in held.exchanges):
        reached("reply")
    assert _observe(held, data, Observer()) == held.exchanges


@EACH
@reaches(many={Dialect.BINARY: 0.1, Dialect.META: 0.1})
@given(data=st.data())
def test_exchanges_have_the_replies_that_the_client_reads(dialect: Dialect, data: st.DataObject) -> None:
    client = ClientConnection(dialect=dialect)
    kinds = any_request(dialect) | MULTI_GETS
    requests = data.draw(st.lists(kinds, min_size=1, max_size=3).filter(_ends_with_quit))
    sent: list[Exchange[object]] = [client.send(request) for request in requests]
    held = _serve(b"".join(exchange.data for exchange in sent), data)
    events = iter(_observe(held, data, Observer()))
    client.receive_data(held.said)
    end = 0
    for exchange in sent:
        end += len(exchange.data)
        group = [event for event in _until(events, end) if isinstance(event, ObservedExchange)]
        try:
            received = client.next_event()
        except RemoteProtocolError as fault:
            # The observer goes on where the client does not trust the server any more.
            if not isinstance(exchange.request, Verbosity) and "may have read the data of" not in str(fault):
                raise
            return
        if not isinstance(received, ReplyReceived):
            # The end of the stream answers a Quit.
            assert isinstance(exchange.request, Quit)
        elif len(group) > 1:
            reached("many")
            items = [item for each in group if isinstance(each.reply, Values) for item in each.reply.items]
            assert isinstance(received.reply, Failure) or received.reply == Values(tuple(items))
        elif not isinstance(exchange.request, Noop | Touch | Verbosity):
            # These are read as other requests: the first two in text, the last in binary.
            assert group[0].reply == received.reply


def _ends_with_quit(requests: list[AnyRequest]) -> bool:
    return not any(isinstance(request, Quit) for request in requests[:-1])


def _until(events: Iterator[ObserverEvent], end: int) -> Iterator[ObserverEvent]:
    for event in events:
        yield event
        if isinstance(event, ObservedExchange) and event.request_range.stop == end:
            return


TIGHT = Limits(value=64, line=400, keys_line=800, outstanding=3, keys=3, stats=3, answer=200)


@EACH
@reaches(skipped=0.1, unmatched=0.02)
@given(data=st.data())
def test_every_byte_is_reported_once_whatever_comes(dialect: Dialect, data: st.DataObject) -> None:
    held = _serve(data.draw(_requests(dialect)), data)
    observer = Observer(data.draw(st.sampled_from([None, TIGHT])), mid_stream=data.draw(st.booleans()))
    events: list[ObserverEvent] = []
    sizes = {Side.CLIENT: 0, Side.SERVER: 0}
    streams = {Side.CLIENT: held.asked, Side.SERVER: held.said}
    turns = [
        (side, piece) for side, stream in streams.items() for piece in data.draw(pieces(data.draw(_spoilt(stream))))
    ]
    for side, piece in data.draw(st.permutations(turns)) if data.draw(st.booleans()) else turns:
        is_client = side is Side.CLIENT
        if data.draw(st.integers(0, 9)) == 0:
            (observer.client_gap if is_client else observer.server_gap)(len(piece))
        else:
            (observer.client_sent if is_client else observer.server_sent)(piece)
        sizes[side] += len(piece)
        _pull(observer, events)
    observer.client_eof()
    observer.server_eof()
    while (event := observer.next_event()) != ConnectionClosed():
        assert not isinstance(event, Signal)
        events.append(event)
    seen: dict[Side, list[range]] = {Side.CLIENT: [], Side.SERVER: []}
    for event in events:
        match event:
            case ObservedExchange():
                seen[Side.CLIENT].append(event.request_range)
                seen[Side.SERVER].append(event.reply_range)
            case UnmatchedReply():
                reached("unmatched")
                seen[Side.SERVER].append(event.reply_range)
            case SkippedBytes():
                reached("skipped")
                seen[event.side].append(event.skipped)
    for side, ranges in seen.items():
        # A request is reported with its reply, and so later than what was skipped behind it.
        at = 0
        for each in sorted((each for each in ranges if each), key=lambda each: each.start):
            assert each.start == at
            at = each.stop
        # The rest of a value over the limit may not have come.
        assert at >= sizes[side]


def _spoilt(stream: bytes) -> st.SearchStrategy[bytes]:
    return st.just(stream) | mutated(stream) | st.integers(0, len(stream)).map(lambda at: stream[at:])
