"""What holds for every input in text: both ways round, whatever the cuts, whatever the bytes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memproto import (
    AnyReply,
    ClassicEnvelope,
    ClientConnection,
    ClientState,
    Debug,
    Dialect,
    Envelope,
    Failure,
    Get,
    Limits,
    LocalProtocolError,
    Malformed,
    MetaEnvelope,
    Noop,
    Packet,
    Quit,
    RemoteProtocolError,
    ServerConnection,
    Signal,
    Status,
    Touch,
    UnknownLine,
    Values,
)
from memproto._buffer import ReceiveBuffer
from memproto._collecting import LineCollector, PacketCollector, ShortCollector
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
from tests.helpers import Told, each_byte, tell
from tests.mutations import mutated
from tests.serving import Served
from tests.text_helpers import TEXT, serve

SMALL = Limits(value=64, line=400, keys_line=800, outstanding=3, keys=3, stats=3, answer=200)

Asked = list[ClassicEnvelope | MetaEnvelope]
ENVELOPES: st.SearchStrategy[ClassicEnvelope | MetaEnvelope] = classic_envelopes() | meta_envelopes()


# --- law 1: both ways round


@given(text_keys())
def test_text_keys_are_words(key: bytes) -> None:
    assert 1 <= len(key) <= 250
    assert set(key).isdisjoint(b" \r\n\0")


@given(ENVELOPES)
def test_requests_both_ways(envelope: ClassicEnvelope | MetaEnvelope) -> None:
    data = encode_request(envelope)
    again = decode_request(data)
    assert again == envelope
    # Now with the line as it came.
    assert again.line or data == b"\r\n"
    assert encode_request(again) == data


@given(meta_lines())
def test_the_bytes_of_meta_both_ways(data: bytes) -> None:
    envelope = decode_request(data)
    assert encode_request(envelope) == data
    assert isinstance(envelope, MetaEnvelope)
    assert encode_request(MetaEnvelope(envelope.request, envelope.command, envelope.flags)) == data


@given(envelope=ENVELOPES, data=st.data())
def test_replies_both_ways(envelope: ClassicEnvelope | MetaEnvelope, data: st.DataObject) -> None:
    reply = data.draw(text_replies_to(envelope))
    said = encode_reply(reply, envelope)
    if said:
        assert said.endswith(b"\r\n")
        assert decode_reply(said, envelope) == reply
    else:
        silent = isinstance(envelope, ClassicEnvelope) and (envelope.noreply or isinstance(envelope.request, Quit))
        assert silent or (isinstance(envelope, MetaEnvelope) and b"q" in envelope.flags)


# --- laws 2 and 3: the server

STREAMS = st.one_of(
    st.lists(ENVELOPES.map(encode_request), max_size=5).map(b"".join),
    st.lists(ENVELOPES.map(encode_request), max_size=5).map(b"".join).flatmap(mutated),
    st.lists(st.sampled_from([b"set", b" ", b"\r\n", b"\n", b"ms", b"k", b"5", b"noreply", b"mg", b"0", b"q"])).map(
        b"".join
    ),
    st.binary(max_size=100),
)


@given(stream=STREAMS, data=st.data(), auth_required=st.booleans(), eof=st.booleans())
def test_cuts_never_change_what_a_server_sees(
    stream: bytes, data: st.DataObject, auth_required: bool, eof: bool
) -> None:
    def run(cut: Sequence[bytes]) -> Served[Envelope]:
        return serve(cut, limits=SMALL, auth_required=auth_required, dialects=TEXT, eof=eof)

    whole = run([stream])
    assert run(data.draw(pieces(stream))) == whole
    assert run(each_byte(stream)) == whole


@given(stream=STREAMS, data=st.data(), auth_required=st.booleans())
def test_any_bytes_are_served_within_the_limits(stream: bytes, data: st.DataObject, auth_required: bool) -> None:
    server = ServerConnection(SMALL, auth_required=auth_required, dialects=TEXT)
    waiting: list[Envelope] = []

    def answer(envelope: Envelope) -> None:
        assert isinstance(envelope, ClassicEnvelope | MetaEnvelope)
        if isinstance(envelope.request, Malformed):
            server.send(envelope.request.reply, envelope)
        else:
            server.send(data.draw(text_replies_to(envelope)), envelope)

    for piece in data.draw(pieces(stream)):
        server.receive_data(piece)
        while True:
            try:
                event = server.next_event()
            except RemoteProtocolError:
                event = Signal.PAUSED
            if not isinstance(event, Envelope):
                break
            waiting.append(event)
            assert server.outstanding == len(waiting) <= SMALL.outstanding
        if event is Signal.NEED_DATA:
            assert server.buffered <= max(SMALL.keys_line, SMALL.value + 2)
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


@each_dialect
@given(data=st.data(), eof=st.booleans())
def test_cuts_never_change_what_a_client_is_told(dialect: Dialect, data: st.DataObject, eof: bool) -> None:
    asked = data.draw(_asked(dialect))
    _, emitted = _ask(asked, dialect)

    def answer(envelope: Envelope) -> AnyReply:
        assert isinstance(envelope, ClassicEnvelope | MetaEnvelope)
        return data.draw(text_replies_to(envelope))

    served = serve([emitted], answer)
    assert served.fault is None
    stream = data.draw(st.just(served.output) | mutated(served.output))

    def run(cut: Sequence[bytes]) -> Told:
        return tell(_ask(asked, dialect)[0], cut, eof=eof)

    whole = run([stream])
    assert run(data.draw(pieces(stream))) == whole
    assert run(each_byte(stream)) == whole
    if stream == served.output and whole.fault is not None:
        # What a server may have read as commands, or the end of a stream that it did not announce.
        assert eof or whole.fault.startswith("the server may have read the data of ")


@each_dialect
@given(stream=STREAMS, data=st.data())
def test_any_bytes_are_told_within_the_limits(dialect: Dialect, stream: bytes, data: st.DataObject) -> None:
    asked = data.draw(_asked(dialect))
    client, _ = _ask(asked, dialect, Limits(value=1 << 10))
    for piece in data.draw(pieces(stream)):
        told = tell(client, [piece])
        if told.fault is not None:
            assert client.state is ClientState.FAULTED
    assert client.reusable is (client.state is ClientState.OPEN)


@each_dialect
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
            keys: list[tuple[bytes, ...]] = [(key,) for key in request.keys] if dialect is Dialect.META else []
            expected += [("get", key, request.exptime) for key in keys or [request.keys]]
        elif isinstance(request, Touch) and dialect is Dialect.META:
            expected.append(("get", (request.key,), request.exptime))
        else:
            expected.append(request)
    seen = [
        ("get", request.keys, request.exptime) if isinstance(request, Get) else request for request in served.requests
    ]
    assert [type(request) for request in seen] == [type(request) for request in expected]
    for was, is_ in zip(expected, seen, strict=True):
        # How a key is spelt depends on its bytes alone.
        if not repr(was).count("base64") and not repr(is_).count("base64"):
            assert was == is_ or repr(was).count("meta=") == 0


def test_nothing_is_taken_for_an_unknown_line_that_is_known() -> None:
    for line in (b"get k", b" set k 0 0 1", b"mn", b"foo HTTP/1.0", b"\x80", b"\x08", b"a\r\nb", b"x" * 2048):
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
        b"touch k 1\r\n",
        b"foo\r\n",
        b"quit\r\n",
    ],
)
@given(data=st.data())
def test_replies_to_each_kind_both_ways(asked: bytes, data: st.DataObject) -> None:
    envelope = decode_request(asked)
    reply = data.draw(text_replies_to(envelope))
    said = encode_reply(reply, envelope)
    assert decode_reply(said, envelope) == reply if said else isinstance(envelope.request, Quit)


@given(st.data())
def test_a_malformed_request_has_its_own_reply(data: st.DataObject) -> None:
    refused = Malformed(Failure(Status.INVALID_ARGUMENTS), "because")
    for envelope in (ClassicEnvelope(refused, b"set"), MetaEnvelope(refused, b"ms")):
        assert data.draw(text_replies_to(envelope)) == Failure(Status.INVALID_ARGUMENTS)


def test_what_binary_cannot_say_has_no_binary_reply() -> None:
    with pytest.raises(TypeError, match=r"^Debug cannot be said in binary$"):
        replies_to(Debug(b"k"))


def test_a_collector_is_made_by_its_dialect() -> None:
    with pytest.raises(NotImplementedError):
        LineCollector().take(ReceiveBuffer())
    exchange = ClientConnection().send(Noop())
    with pytest.raises(NotImplementedError):
        PacketCollector().take(Packet(0x81, 0), exchange)
    with pytest.raises(NotImplementedError):
        ShortCollector().careful(exchange, Limits())


def test_replies_can_be_empty() -> None:
    assert decode_reply(b"END\r\n", ClassicEnvelope(Get((b"k",)), b"get")) == Values()
    assert isinstance(decode_request(b"me k\r\n").request, Debug)
