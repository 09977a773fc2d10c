"""What holds for every input: cutting changes nothing, and any bytes end in events or the one exception."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memproto import (
    AnyReply,
    AnyRequest,
    BinaryEnvelope,
    ClientConnection,
    ClientState,
    ConnectionClosed,
    Dialect,
    Exchange,
    Failure,
    Get,
    InvalidRequest,
    Limits,
    LocalProtocolError,
    Noop,
    Packet,
    Quit,
    RemoteProtocolError,
    ReplyReceived,
    ServerConnection,
    Signal,
    Silence,
    Status,
    Unknown,
    Verbosity,
    decode_packet,
    encode_packet,
)
from memproto.binary import encode_request
from memproto.connection.events import ClientEvent
from memproto.testing import binary_envelopes, multi_gets, packets, pieces, replies_to, requests
from tests.support.kinds import KINDS, Kind, any_request, by_kind, requests_of
from tests.support.mutations import mutated
from tests.support.reached import reached, reaches
from tests.support.serving import Served, serve_binary
from tests.support.telling import Told, tell
from tests.support.wire import each_byte

# Tests with literal bytes cover the same branches; under tracing these take minutes.
pytestmark = pytest.mark.untraced

SMALL = Limits(value=64, head=400, outstanding=3, keys=8, stats=3)
SMALL_CLIENT = Limits(value=64, head=400, keys=8, stats=3, answer=200)


# Good packets, spoilt packets, raw packets, rubbish: everything a peer might say.
SOURCES = ("good", "locked", "any", "spoilt", "packets", "magic", "rubbish")


@st.composite
def streams_to_server(draw: st.DrawFn, source: str) -> bytes:
    if source in ("good", "locked", "any", "spoilt"):
        request = requests() if source == "any" else any_request(Dialect.BINARY)
        data = b"".join(map(encode_request, draw(st.lists(binary_envelopes(request), min_size=1, max_size=5))))
        return draw(mutated(data)) if source == "spoilt" else data
    if source == "packets":
        return b"".join(map(encode_packet, draw(st.lists(packets(), max_size=4))))
    return b"\x80" + draw(st.binary(min_size=23, max_size=100)) if source == "magic" else draw(st.binary(max_size=100))


@pytest.mark.parametrize("source", SOURCES)
@given(data=st.data(), auth_required=st.booleans(), eof=st.booleans())
def test_cuts_never_change_what_a_server_sees(source: str, data: st.DataObject, auth_required: bool, eof: bool) -> None:
    stream = data.draw(streams_to_server(source))

    def run(cut: Sequence[bytes]) -> Served[BinaryEnvelope]:
        return serve_binary(cut, limits=SMALL, auth_required=auth_required, eof=eof)

    whole = run([stream])
    assert run(data.draw(pieces(stream))) == whole
    assert run(each_byte(stream)) == whole


@pytest.mark.parametrize("source", SOURCES)
@reaches(answered={"good": 0.5, "any": 0.05}, waiting={"good": 0.05, "any": 0.05}, lost={"rubbish": 0.2, "locked": 0.2})
@given(data=st.data())
def test_any_bytes_are_served_within_the_limits(source: str, data: st.DataObject) -> None:
    stream = data.draw(streams_to_server(source))
    auth_required = source == "locked" or (source != "good" and data.draw(st.booleans()))
    server = ServerConnection(SMALL, auth_required=auth_required, dialects={Dialect.BINARY})
    waiting: list[BinaryEnvelope] = []

    def answer(envelope: BinaryEnvelope) -> None:
        request = envelope.request
        reply = request.reply if isinstance(request, InvalidRequest) else data.draw(replies_to(request))
        said = server.send(reply, envelope)
        reached("answered")
        assert len(said) == 0 or said[:2] == bytes([0x81, envelope.opcode])

    for piece in data.draw(pieces(stream)):
        server.receive_data(piece)
        # serve_binary() answers at once; here the embedder is slow, and answers late.
        while True:
            try:
                event = server.next_event()
            except RemoteProtocolError:
                reached("lost")
                event = Signal.PAUSED
            if not isinstance(event, BinaryEnvelope):
                break
            waiting.append(event)
            assert server.outstanding == len(waiting) <= SMALL.outstanding
        # What is held is what has not been decoded, and never more than one packet where decoding goes on.
        if event is Signal.NEED_DATA:
            if server.buffered:
                reached("waiting")
            assert server.buffered <= 24 + SMALL.head + SMALL.value
        if data.draw(st.booleans()):
            while waiting:
                answer(waiting.pop(0))
    for envelope in waiting:
        answer(envelope)
    assert server.outstanding == 0


# --- the client


Asked = list[tuple[AnyRequest, bool]]


def _ask(asked: Asked, limits: Limits | None = None) -> tuple[ClientConnection, bytes]:
    """A client that has asked this, and the bytes it emitted."""
    client = ClientConnection(limits)
    data = b""
    for request, quiet in asked:
        data += (client.send_quiet(request) if quiet else client.send(request)).data
    return client, data


def _may_be_quiet(request: AnyRequest) -> bool:
    try:
        ClientConnection().send_quiet(request)
    except LocalProtocolError:
        return False
    return True


# A server takes VERBOSITY for an opcode it does not know, and so may say what is no answer to it.
ASKED: st.SearchStrategy[Asked] = st.lists(
    (requests().filter(lambda request: not isinstance(request, Verbosity)) | multi_gets(4)).flatmap(
        lambda request: st.tuples(st.just(request), st.booleans() if _may_be_quiet(request) else st.just(False))
    ),
    max_size=5,
).filter(lambda asked: not any(isinstance(request, Quit) for request, _ in asked[:-1]))


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Asked, bytes]:
    """What a client asks, and the bytes of a server that gives each request one of the replies it can get."""
    asked = draw(ASKED.filter(bool))
    _, data = _ask(asked)
    said = serve_binary([data], lambda envelope: draw(replies_to(envelope.request)))
    assert said.fault is None
    return asked, said.output


@pytest.mark.parametrize("source", ["good", "spoilt"])
@reaches(unspoilt={"good": 1.0}, fault={"spoilt": 0.2}, reply={"good": 0.3})
@given(conversation=conversations(), data=st.data(), eof=st.booleans())
def test_cuts_never_change_the_replies_of_a_client(
    source: str, conversation: tuple[Asked, bytes], data: st.DataObject, eof: bool
) -> None:
    asked, said = conversation
    stream = said if source == "good" else data.draw(mutated(said))

    def run(cut: Sequence[bytes]) -> Told:
        return tell(_ask(asked)[0], cut, eof=eof)

    whole = run([stream])
    assert run(data.draw(pieces(stream))) == whole
    assert run(each_byte(stream)) == whole
    if whole.replies:
        reached("reply")
    if stream == said:
        reached("unspoilt")
        assert whole.fault is None or eof
    elif whole.fault is not None:
        reached("fault")


@pytest.mark.parametrize("source", ["good", "spoilt", "packet", "rubbish"])
@reaches(reply={"good": 0.2}, fault={"spoilt": 0.1, "rubbish": 0.3}, waiting={"good": 0.05})
@given(conversation=conversations(), data=st.data())
def test_any_bytes_are_read_by_a_client_within_the_limits(
    source: str, conversation: tuple[Asked, bytes], data: st.DataObject
) -> None:
    asked, said = conversation
    sources = {"good": st.just(said), "spoilt": mutated(said), "packet": packets().map(encode_packet)}
    stream = data.draw(sources.get(source, st.binary(max_size=100)))
    client = ClientConnection(SMALL_CLIENT)
    exchanges: list[Exchange[object]] = [
        client.send_quiet(request) if quiet else client.send(request) for request, quiet in asked
    ]
    events: list[ClientEvent] = []
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
            if isinstance(event, Signal):
                break
            reached("reply")
            events.append(event)
            if isinstance(event, ConnectionClosed):
                break
        # Once there is nothing to tell, no more is held than one packet that is not here whole.
        if len(client._buffer):
            reached("waiting")
            assert len(client._buffer) < SMALL_CLIENT.head + SMALL_CLIENT.value
    told = [event.exchange for event in events if isinstance(event, ReplyReceived)]
    assert all(exchange is due for exchange, due in zip(told, exchanges, strict=False))
    assert len(told) <= len(exchanges)
    assert client.reusable is (client.state is ClientState.OPEN)
    if client.state is not ClientState.FAULTED:
        assert client.outstanding == len(exchanges) - len(told)


@st.composite
def misdirected(draw: st.DrawFn) -> tuple[Asked, Packet]:
    """What a client asks, and one packet: a good reply to one of them, or that with another opaque or opcode."""
    asked = draw(ASKED.filter(lambda asked: any(not isinstance(request, Quit) for request, _ in asked)))
    _, data = _ask(asked)
    said = serve_binary([data], lambda envelope: draw(replies_to(envelope.request))).output
    packet = draw(st.sampled_from([packet for packet, _ in _each_packet(said)]) if said else packets())
    sent = [each for each, _ in _each_packet(data)]
    changes: st.SearchStrategy[dict[str, int]] = st.sampled_from(
        [
            {},
            *({"opaque": each.opaque} for each in sent),
            *({"opcode": each.opcode} for each in sent),
            {"opaque": packet.opaque ^ 1 << 31},
            {"opaque": (packet.opaque + len(sent)) % (1 << 32)},
            {"opcode": packet.opcode ^ 1},
            {"magic": 0x80},
        ]
    )
    return asked, packet.replace(**draw(changes))


@reaches(answered=0.1, refused=0.1)
@given(misdirected())
def test_an_answer_reaches_no_request_but_its_own(case: tuple[Asked, Packet]) -> None:
    asked, packet = case
    client = ClientConnection()
    exchanges: list[Exchange[object]] = [
        client.send_quiet(request) if quiet else client.send(request) for request, quiet in asked
    ]
    told = tell(client, [encode_packet(packet)])
    if told.fault is not None:
        reached("refused")
    for exchange, reply in zip(exchanges, told.replies, strict=False):
        if isinstance(reply, Silence):
            assert exchange.quiet
            continue
        reached("answered")
        sent = {(each.opaque, each.opcode) for each, _ in _each_packet(exchange.data)}
        assert (packet.opaque, packet.opcode) in sent
        assert not packet.is_request


def _each_packet(data: bytes) -> Iterator[tuple[Packet, int]]:
    at = 0
    while (taken := decode_packet(data, at)) is not None:
        yield taken
        at = taken[1]


@pytest.mark.parametrize("kind", ["any", "gets"])
@by_kind
@reaches(one={"any": 0.3}, several={"gets": 0.5})
@given(data=st.data())
def test_what_a_client_emits_a_server_reads(kind: str, data: st.DataObject) -> None:
    get: st.SearchStrategy[AnyRequest] = multi_gets(4)
    gets = st.lists(st.tuples(get, st.booleans()), min_size=1, max_size=3)
    asked: Asked = data.draw(gets if kind == "gets" else ASKED)
    served = serve_binary([_ask(asked)[1]])
    assert served.fault is None
    expected: list[tuple[type[AnyRequest], tuple[bytes, ...]]] = []
    for request, _ in asked:
        keys = request.keys if isinstance(request, Get) else ()
        # VERBOSITY has a message, but is not served in binary.
        type_ = Unknown if isinstance(request, Verbosity) else type(request)
        expected += [(type_, (key,)) for key in keys] or [(type_, ())]
        reached("several" if len(keys) > 1 else "one")
        if len(keys) > 1:
            expected.append((Noop, ()))
    seen = [(type(each), each.keys if isinstance(each, Get) else ()) for each in served.requests]
    assert seen == expected


# --- each kind of request by itself, and so in every run


# VERBOSITY has a message, but to a server its opcode is unknown.
@pytest.mark.parametrize("kind", [kind for kind in KINDS[Dialect.BINARY] if kind is not Verbosity])
@by_kind
@reaches(reply=0.1)
@given(data=st.data())
def test_each_kind_of_request_is_sent_served_answered_and_its_reply_delivered(kind: Kind, data: st.DataObject) -> None:
    asked: Asked = []
    for request in data.draw(
        st.lists(requests_of(kind, Dialect.BINARY), min_size=1, max_size=1 if kind is Quit else 3)
    ):
        asked.append((request, _may_be_quiet(request) and data.draw(st.booleans())))
    client, emitted = _ask(asked)
    given: list[AnyReply] = []

    def answer(envelope: BinaryEnvelope) -> AnyReply:
        given.append(data.draw(replies_to(envelope.request)))
        return given[-1]

    served = serve_binary([emitted], answer)
    assert served.fault is None
    if kind is Unknown:
        sent = [packet for packet, _ in _each_packet(emitted)]
        assert served.requests == [Unknown(packet) for packet in sent]
        wanted = [request.packet for request, _ in asked if isinstance(request, Unknown)]
        assert [each.replace(opaque=0) for each in sent] == [each.replace(opaque=0) for each in wanted]
    else:
        assert served.requests == [request for request, _ in asked]
    told = tell(client, [served.output])
    assert told.fault is None
    for reply, was, (_, quiet) in zip(told.replies, given, asked, strict=False):
        if isinstance(reply, Silence):
            assert quiet
            assert not isinstance(was, Failure) or was.status == Status.KEY_NOT_FOUND
        else:
            reached("reply")
            assert reply == was
    # What is still open is quiet, and waits for the next reply to a request that is not quiet.
    assert all(quiet for _, quiet in asked[len(told.replies) :])


@pytest.mark.parametrize("kind", KINDS[Dialect.BINARY])
@by_kind
@given(data=st.data())
def test_cuts_change_nothing_for_each_kind_of_request(kind: Kind, data: st.DataObject) -> None:
    envelopes = data.draw(st.lists(binary_envelopes(requests_of(kind, Dialect.BINARY)), min_size=1, max_size=3))
    emitted = data.draw(mutated(b"".join(map(encode_request, envelopes))))
    limits = data.draw(st.sampled_from([None, SMALL, Limits(value=1, head=34), Limits(value=1, head=280)]))
    whole = serve_binary([emitted], limits=limits)
    assert serve_binary(data.draw(pieces(emitted)), limits=limits) == whole
    assert serve_binary(each_byte(emitted), limits=limits) == whole
