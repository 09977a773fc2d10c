"""What holds for every input in text: both ways round, whatever the cuts, whatever the bytes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memproto import (
    Add,
    AnyReply,
    AnyRequest,
    Append,
    ClassicEnvelope,
    ClientConnection,
    ClientState,
    Decrement,
    Delete,
    Dialect,
    Envelope,
    Exchange,
    Failure,
    Get,
    Increment,
    InvalidRequest,
    Limits,
    LocalProtocolError,
    MetaDebug,
    MetaEnvelope,
    MetaOptions,
    Noop,
    Prepend,
    Quit,
    RemoteProtocolError,
    Replace,
    ReplyReceived,
    ServerConnection,
    Set,
    Signal,
    Status,
    Touch,
    UnknownLine,
    Values,
    Version,
)
from memproto._wire.buffer import ReceiveBuffer
from memproto.testing import (
    classic_envelopes,
    meta_envelopes,
    meta_lines,
    pieces,
    replies_to,
    text_keys,
    text_replies_to,
)
from memproto.text import decode_reply, decode_request, encode_reply, encode_request
from memproto.text._client_readers import TextReader
from tests.support.kinds import DIALECTS_AND_KINDS, Kind, any_request, by_kind, options_of, requests_of, with_options
from tests.support.mutations import mutated
from tests.support.reached import reached, reaches
from tests.support.serving import TEXT, Served, serve
from tests.support.telling import Told, tell
from tests.support.wire import each_byte

SMALL = Limits(value=64, line=400, keys_line=800, outstanding=3, keys=3, stats=3, answer=200)
SMALL_CLIENT = Limits(value=64, line=400, stats=3, answer=200)
# Smaller than many a line that a good peer says.
TINY = Limits(value=4, line=24, keys_line=40, keys=2, stats=2)
TINY_CLIENT = Limits(value=4, line=24, stats=2, answer=9)

Asked = list[ClassicEnvelope | MetaEnvelope]
ENVELOPES: st.SearchStrategy[ClassicEnvelope | MetaEnvelope] = classic_envelopes() | meta_envelopes()


# --- law 1: both ways round


@given(text_keys())
def test_text_keys_are_words(key: bytes) -> None:
    assert 1 <= len(key) <= 250
    assert set(key).isdisjoint(b" \r\n\0")


@given(ENVELOPES)
def test_any_request_is_decoded_as_it_was_encoded(envelope: ClassicEnvelope | MetaEnvelope) -> None:
    data = encode_request(envelope)
    again = decode_request(data)
    assert again == envelope
    # Now with the line as it came.
    assert again.line or data == b"\r\n"
    assert encode_request(again) == data


@given(meta_lines())
def test_any_line_of_meta_is_encoded_as_it_was_decoded(data: bytes) -> None:
    envelope = decode_request(data)
    assert encode_request(envelope) == data
    assert isinstance(envelope, MetaEnvelope)
    assert encode_request(MetaEnvelope(envelope.request, envelope.command, envelope.flags)) == data


@pytest.mark.parametrize("dialect", TEXT)
@reaches(said=0.3, silent=0.0)
@given(data=st.data())
def test_any_reply_is_decoded_as_it_was_encoded(dialect: Dialect, data: st.DataObject) -> None:
    source: st.SearchStrategy[ClassicEnvelope | MetaEnvelope] = meta_envelopes()
    envelope = data.draw(classic_envelopes() if dialect is Dialect.CLASSIC else source)
    reply = data.draw(text_replies_to(envelope))
    said = encode_reply(reply, envelope)
    reached("said" if said else "silent")
    if said:
        assert said.endswith(b"\r\n")
        assert decode_reply(said, envelope) == reply
    else:
        silent = isinstance(envelope, ClassicEnvelope) and (envelope.noreply or isinstance(envelope.request, Quit))
        assert silent or (isinstance(envelope, MetaEnvelope) and b"q" in envelope.flags)


# --- laws 2 and 3: the server

SOURCES = ("good", "locked", "any", "spoilt", "words", "rubbish")
_WORDS = st.sampled_from([b"set", b" ", b"\r\n", b"\n", b"ms", b"k", b"5", b"noreply", b"mg", b"0", b"q"])


@st.composite
def streams(draw: st.DrawFn, source: str) -> bytes:
    if source in ("good", "locked", "any", "spoilt"):
        dialect = draw(st.sampled_from(TEXT))
        clients = any_request(dialect).filter(lambda request: not isinstance(request, Quit))
        said = ENVELOPES.map(encode_request) if source == "any" else clients.map(lambda each: _said(each, dialect))
        data = b"".join(draw(st.lists(said, min_size=1, max_size=5)))
        return draw(mutated(data)) if source == "spoilt" else data
    return draw(st.lists(_WORDS).map(b"".join) if source == "words" else st.binary(max_size=100))


def _said(request: AnyRequest, dialect: Dialect) -> bytes:
    return ClientConnection(dialect=dialect).send(request).data


@pytest.mark.untraced
@pytest.mark.parametrize("source", SOURCES)
@reaches(event={"good": 0.5, "any": 0.1, "locked": 0.1})
@given(data=st.data(), eof=st.booleans())
def test_cuts_never_change_what_a_server_sees(source: str, data: st.DataObject, eof: bool) -> None:
    stream = data.draw(streams(source))
    auth_required = source == "locked" or (source != "good" and data.draw(st.booleans()))
    limits = data.draw(st.sampled_from([SMALL, SMALL, TINY, None]))

    def run(cut: Sequence[bytes]) -> Served[Envelope]:
        return serve(cut, limits=limits, auth_required=auth_required, dialects=TEXT, eof=eof)

    whole = run([stream])
    if whole.events:
        reached("event")
    assert run(data.draw(pieces(stream))) == whole
    assert run(each_byte(stream)) == whole


@pytest.mark.untraced
@pytest.mark.parametrize("source", SOURCES)
@reaches(answered={"good": 0.5, "any": 0.1}, waiting={"rubbish": 0.05}, lost=0.0)
@given(data=st.data())
def test_any_bytes_are_served_within_the_limits(source: str, data: st.DataObject) -> None:
    stream = data.draw(streams(source))
    auth_required = source == "locked" or (source != "good" and data.draw(st.booleans()))
    server = ServerConnection(SMALL, auth_required=auth_required, dialects=TEXT)
    waiting: list[Envelope] = []

    def answer(envelope: Envelope) -> None:
        assert isinstance(envelope, ClassicEnvelope | MetaEnvelope)
        reached("answered")
        if isinstance(envelope.request, InvalidRequest):
            server.send(envelope.request.reply, envelope)
        else:
            server.send(data.draw(text_replies_to(envelope)), envelope)

    for piece in data.draw(pieces(stream)):
        server.receive_data(piece)
        while True:
            try:
                event = server.next_event()
            except RemoteProtocolError:
                reached("lost")
                event = Signal.PAUSED
            if not isinstance(event, Envelope):
                break
            waiting.append(event)
            assert server.outstanding == len(waiting) <= SMALL.outstanding
        if event is Signal.NEED_DATA:
            if server.buffered:
                reached("waiting")
            assert server.buffered <= max(SMALL.keys_line + 1, SMALL.value + 2)
        if data.draw(st.booleans()):
            while waiting:
                answer(waiting.pop(0))
    for envelope in waiting:
        answer(envelope)
    assert server.outstanding == 0


# --- laws 2 and 3: the client


def _ask(asked: Asked, dialect: Dialect, limits: Limits | None = None) -> tuple[ClientConnection, bytes]:
    client = ClientConnection(limits, dialect=dialect)
    return client, b"".join(client.send(envelope.request).data for envelope in asked)


def _can_say(envelope: ClassicEnvelope | MetaEnvelope, dialect: Dialect) -> bool:
    try:
        ClientConnection(dialect=dialect).send(envelope.request)
    except LocalProtocolError:
        return False
    return True


def _asked(dialect: Dialect) -> st.SearchStrategy[Asked]:
    source: st.SearchStrategy[ClassicEnvelope | MetaEnvelope] = classic_envelopes()
    if dialect is Dialect.META:
        source = ENVELOPES
    several = st.lists(source.filter(lambda envelope: _can_say(envelope, dialect)), max_size=4)
    return several.filter(lambda asked: not any(isinstance(each.request, Quit) for each in asked[:-1]))


each_dialect = pytest.mark.parametrize("dialect", TEXT, ids=lambda dialect: dialect.value)


@st.composite
def conversations(draw: st.DrawFn, dialect: Dialect) -> tuple[Asked, bytes]:
    """What a client asks, and the bytes of a server that gives each request one of the replies it can get."""
    asked = draw(_asked(dialect))

    def answer(envelope: Envelope) -> AnyReply:
        assert isinstance(envelope, ClassicEnvelope | MetaEnvelope)
        return draw(text_replies_to(envelope))

    served = serve([_ask(asked, dialect)[1]], answer)
    assert served.fault is None
    return asked, served.output


@pytest.mark.untraced
@each_dialect
@pytest.mark.parametrize("source", ["good", "spoilt"])
@reaches(unspoilt={"good": 1.0}, fault={"spoilt": 0.2}, reply={"good": 0.3})
@given(data=st.data(), eof=st.booleans())
def test_cuts_never_change_the_replies_of_a_client(
    source: str, dialect: Dialect, data: st.DataObject, eof: bool
) -> None:
    asked, said = data.draw(conversations(dialect))
    stream = said if source == "good" else data.draw(mutated(said))
    limits = None if source == "good" else data.draw(st.sampled_from([None, SMALL_CLIENT, TINY_CLIENT]))

    def run(cut: Sequence[bytes]) -> Told:
        return tell(_ask(asked, dialect, limits)[0], cut, eof=eof)

    whole = run([stream])
    assert run(data.draw(pieces(stream))) == whole
    assert run(each_byte(stream)) == whole
    if whole.replies:
        reached("reply")
    if whole.fault is not None:
        reached("fault")
    if stream == said and limits is None:
        reached("unspoilt")
        # What a server may have read as commands, or the end of a stream that it did not announce.
        assert whole.fault is None or eof or whole.fault.startswith("the server may have read the data of ")


@pytest.mark.untraced
@each_dialect
@pytest.mark.parametrize("source", ["good", "spoilt", "stream", "rubbish"])
@reaches(reply={"good": 0.2}, fault={"spoilt": 0.1})
@given(data=st.data())
def test_any_bytes_are_read_by_a_client_within_the_limits(source: str, dialect: Dialect, data: st.DataObject) -> None:
    asked, said = data.draw(conversations(dialect))
    sources = {"good": st.just(said), "spoilt": mutated(said), "stream": streams("any")}
    stream = data.draw(sources.get(source, st.binary(max_size=100)))
    client = ClientConnection(SMALL_CLIENT, dialect=dialect)
    exchanges: list[Exchange[object]] = [client.send(envelope.request) for envelope in asked]
    told: list[Exchange[object]] = []
    for piece in data.draw(pieces(stream)):
        client.receive_data(piece)
        while True:
            try:
                event = client.next_event()
            except RemoteProtocolError:
                reached("fault")
                assert client.state is ClientState.FAULTED
                assert len(client._buffer) == 0
                break
            if not isinstance(event, ReplyReceived):
                break
            reached("reply")
            told.append(event.exchange)
        if client.state is not ClientState.FAULTED:
            # No more is held than one line, or one value with the end of its line, that is not here whole.
            assert len(client._buffer) <= max(SMALL_CLIENT.line + 1, SMALL_CLIENT.value + 2)
    assert all(exchange is due for exchange, due in zip(told, exchanges, strict=False))
    assert len(told) <= len(exchanges)
    assert client.reusable is (client.state is ClientState.OPEN)
    if client.state is not ClientState.FAULTED:
        assert client.outstanding == len(exchanges) - len(told)


@each_dialect
@reaches(get=0.05)
@given(data=st.data())
def test_what_a_client_emits_a_server_reads(dialect: Dialect, data: st.DataObject) -> None:
    """One request of the embedder's is one on the server, and the same one; a meta get of many keys is one each."""
    asked = data.draw(_asked(dialect))
    _, emitted = _ask(asked, dialect)
    served = serve([emitted])
    assert served.fault is None
    expected: list[object] = []
    for envelope in asked:
        request = envelope.request
        if isinstance(request, Get):
            reached("get")
            keys: list[tuple[bytes, ...]] = [(key,) for key in request.keys] if dialect is Dialect.META else []
            expected += [("get", key, request.exptime) for key in keys or [request.keys]]
        elif isinstance(request, Touch) and dialect is Dialect.META:
            expected.append(("get", (request.key,), request.exptime))
        elif isinstance(request, Add | Replace) and request.cas:
            # A compare-and-swap.
            expected.append(Set(request.key, request.value, cas=request.cas))
        else:
            expected.append(request)
    seen = [
        ("get", request.keys, request.exptime) if isinstance(request, Get) else request for request in served.requests
    ]
    assert [type(request) for request in seen] == [type(request) for request in expected]


# --- each kind of request by itself, and so in every run


def _bare(request: AnyRequest) -> AnyRequest:
    """The request without what the client adds by itself: flags that ask, and how a key is spelt."""
    if isinstance(request, Get | Set | Add | Replace | Append | Prepend | Increment | Decrement | Delete):
        options = (request.meta or MetaOptions()).replace(base64=False)
        return request.replace(meta=None if options == MetaOptions() else options)
    return request


def _as_said(request: AnyRequest, dialect: Dialect) -> AnyRequest:
    """What a server of this dialect makes of a request that the dialect has no form of its own for."""
    if isinstance(request, Noop) and dialect is Dialect.CLASSIC:
        return Version()
    if isinstance(request, Touch) and dialect is Dialect.META:
        return Get((request.key,), request.exptime)
    if isinstance(request, Add | Replace) and request.cas:
        return _bare(Set(request.key, request.value, request.flags, request.exptime, request.cas, request.meta))
    return _bare(request)


@pytest.mark.parametrize(
    ("dialect", "kind"), [(dialect, kind) for dialect, kind in DIALECTS_AND_KINDS if dialect is not Dialect.BINARY]
)
@pytest.mark.untraced
@by_kind
@reaches(reply=0.2)
@given(data=st.data())
def test_each_kind_of_request_is_sent_served_answered_and_its_reply_delivered(
    dialect: Dialect, kind: Kind, data: st.DataObject
) -> None:
    asked = data.draw(st.lists(requests_of(kind, dialect), min_size=1, max_size=1 if kind is Quit else 3))
    if dialect is Dialect.META:
        options = st.sampled_from([None, *options_of(kind)])
        asked = [with_options(request, data.draw(options)) for request in asked]
    client = ClientConnection(dialect=dialect)
    emitted = b"".join(client.send(request).data for request in asked)
    given: list[AnyReply] = []

    def answer(envelope: Envelope) -> AnyReply:
        assert isinstance(envelope, ClassicEnvelope | MetaEnvelope)
        given.append(data.draw(text_replies_to(envelope)))
        return given[-1]

    served = serve([emitted], answer)
    assert served.fault is None
    assert [_bare(request) for request in served.requests] == [_as_said(request, dialect) for request in asked]
    told = tell(client, [served.output])
    if told.fault is not None:
        # A refused store, whose data the server may have read as commands.
        assert told.fault.startswith("the server may have read the data of ")
    for reply, was in zip(told.replies, given, strict=False):
        reached("reply")
        if kind in (Add, Replace) and was == Failure(Status.NOT_STORED):
            # What memcached does not say to a store with a CAS, means to the client what it means without.
            assert isinstance(reply, Failure)
        elif (dialect, kind) not in ((Dialect.CLASSIC, Noop), (Dialect.META, Touch)):
            assert reply == was
    if told.fault is None and kind is not Quit:
        assert len(told.replies) == len(asked)


def test_nothing_is_taken_for_an_unknown_line_that_is_known() -> None:
    for line in (b"get k", b" set k 0 0 1", b"mn", b"foo HTTP/1.0", b"\x80", b"\x08", b"a\r\nb", b"x" * 2049):
        for dialect in TEXT:
            client = ClientConnection(dialect=dialect)
            with pytest.raises(LocalProtocolError):
                client.send(UnknownLine(line))
            assert client.outstanding == 0


@pytest.mark.parametrize(
    "asked",
    [
        b"stats\r\n",
        b"stats reset\r\n",
        b"stats detail dump\r\n",
        b"lru_crawler metadump all\r\n",
        b"slabs automove 1\r\n",
        b"mn\r\n",
        b"me k\r\n",
        b"ma k v t\r\n",
        b"ma k\r\n",
        b"md k\r\n",
        b"mg k v C5 s t\r\n",
        b"mg k s\r\n",
        b"ms k 0 c\r\n\r\n",
        b"gets k\r\n",
        b"incr k 1\r\n",
        b"version\r\n",
        b"config get cluster\r\n",
        b"touch k 1\r\n",
        b"foo\r\n",
        b"quit\r\n",
    ],
)
@given(data=st.data())
def test_any_reply_to_each_kind_is_decoded_as_it_was_encoded(asked: bytes, data: st.DataObject) -> None:
    envelope = decode_request(asked)
    reply = data.draw(text_replies_to(envelope))
    said = encode_reply(reply, envelope)
    assert decode_reply(said, envelope) == reply if said else isinstance(envelope.request, Quit)


@given(st.data())
def test_a_malformed_request_has_its_own_reply(data: st.DataObject) -> None:
    refused = InvalidRequest(Failure(Status.INVALID_ARGUMENTS), "because")
    for envelope in (ClassicEnvelope(refused, b"set"), MetaEnvelope(refused, b"ms")):
        assert data.draw(text_replies_to(envelope)) == Failure(Status.INVALID_ARGUMENTS)


def test_what_binary_cannot_say_has_no_binary_reply() -> None:
    with pytest.raises(TypeError, match=r"^MetaDebug cannot be said in binary$"):
        replies_to(MetaDebug(b"k"))


def test_reader_without_a_regular_form_reads_nothing() -> None:
    exchange = ClientConnection().send(Noop())
    reader = TextReader()
    assert reader.read(ReceiveBuffer(), exchange, Limits()) is None
    with pytest.raises(NotImplementedError):
        reader.read_irregular(ReceiveBuffer(), exchange, Limits())


def test_reply_without_items_is_decoded_as_no_items() -> None:
    assert decode_reply(b"END\r\n", ClassicEnvelope(Get((b"k",)), b"get")) == Values()
    assert isinstance(decode_request(b"me k\r\n").request, MetaDebug)
