"""What holds for every input: cutting changes nothing, and any bytes end in events or the one exception."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hypothesis import given
from hypothesis import strategies as st

from memproto import (
    AnyRequest,
    BinaryEnvelope,
    ClientConnection,
    ClientState,
    Dialect,
    Get,
    Limits,
    LocalProtocolError,
    Malformed,
    Noop,
    Packet,
    Quit,
    RemoteProtocolError,
    ServerConnection,
    Signal,
    Unknown,
    Verbosity,
    decode_packet,
    encode_packet,
)
from memproto.binary import encode_request
from memproto.testing import binary_envelopes, multi_gets, packets, pieces, replies_to, requests
from tests.helpers import Told, each_byte, serve, tell
from tests.serving import Served

SMALL = Limits(value=64, head=400, outstanding=3, keys=8, stats=3)


@st.composite
def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """The same bytes with a few of them changed, left out or put in."""
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(st.binary(max_size=3)) + data[at + draw(st.integers(0, 3)) :]
    return data


# Good packets, spoilt packets, raw packets, rubbish: everything a peer might say.
STREAMS_TO_SERVER = st.one_of(
    st.lists(binary_envelopes().map(encode_request), max_size=5).map(b"".join),
    st.lists(binary_envelopes().map(encode_request), max_size=5).map(b"".join).flatmap(mutated),
    st.lists(packets().map(encode_packet), max_size=4).map(b"".join),
    st.binary(max_size=100).map(lambda tail: b"\x80" + tail),
    st.binary(max_size=100),
)


@given(stream=STREAMS_TO_SERVER, data=st.data(), auth_required=st.booleans(), eof=st.booleans())
def test_cuts_never_change_what_a_server_sees(
    stream: bytes, data: st.DataObject, auth_required: bool, eof: bool
) -> None:
    def run(cut: Sequence[bytes]) -> Served[BinaryEnvelope]:
        return serve(cut, limits=SMALL, auth_required=auth_required, eof=eof)

    whole = run([stream])
    assert run(data.draw(pieces(stream))) == whole
    assert run(each_byte(stream)) == whole


@given(stream=STREAMS_TO_SERVER, data=st.data(), auth_required=st.booleans())
def test_any_bytes_are_served_within_the_limits(stream: bytes, data: st.DataObject, auth_required: bool) -> None:
    server = ServerConnection(SMALL, auth_required=auth_required, dialects={Dialect.BINARY})
    waiting: list[BinaryEnvelope] = []

    def answer(envelope: BinaryEnvelope) -> None:
        request = envelope.request
        reply = request.reply if isinstance(request, Malformed) else data.draw(replies_to(request))
        said = server.send(reply, envelope)
        assert len(said) == 0 or said[:2] == bytes([0x81, envelope.opcode])

    for piece in data.draw(pieces(stream)):
        server.receive_data(piece)
        # serve() answers at once; here the embedder is slow, and answers late.
        while True:
            try:
                event = server.next_event()
            except RemoteProtocolError:
                event = Signal.PAUSED
            if not isinstance(event, BinaryEnvelope):
                break
            waiting.append(event)
            assert server.outstanding == len(waiting) <= SMALL.outstanding
        # What is held is what has not been decoded, and never more than one packet where decoding goes on.
        if event is Signal.NEED_DATA:
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
    asked = draw(ASKED)
    _, data = _ask(asked)
    said = serve([data], lambda envelope: draw(replies_to(envelope.request)))
    assert said.fault is None
    return asked, said.output


@given(conversation=conversations(), data=st.data(), eof=st.booleans())
def test_cuts_never_change_what_a_client_is_told(
    conversation: tuple[Asked, bytes], data: st.DataObject, eof: bool
) -> None:
    asked, said = conversation
    stream = data.draw(st.just(said) | mutated(said))

    def run(cut: Sequence[bytes]) -> Told:
        return tell(_ask(asked)[0], cut, eof=eof)

    whole = run([stream])
    assert run(data.draw(pieces(stream))) == whole
    assert run(each_byte(stream)) == whole
    if stream == said:
        assert whole.fault is None or eof


@given(asked=ASKED, stream=st.binary(max_size=100) | packets().map(encode_packet), data=st.data())
def test_any_bytes_are_told_within_the_limits(asked: Asked, stream: bytes, data: st.DataObject) -> None:
    client, _ = _ask(asked, Limits(value=1 << 10))
    for piece in data.draw(pieces(stream)):
        told = tell(client, [piece])
        if told.fault is not None:
            assert client.state is ClientState.FAULTED
    assert client.reusable is (client.state is ClientState.OPEN)


@given(packet=packets(), asked=ASKED)
def test_an_answer_reaches_no_request_but_its_own(packet: Packet, asked: Asked) -> None:
    client, data = _ask(asked)
    opaques = {taken[0].opaque for taken in _each_packet(data)}
    told = tell(client, [encode_packet(packet)])
    if told.replies:
        assert packet.opaque in opaques
        assert not packet.is_request


def _each_packet(data: bytes) -> Iterator[tuple[Packet, int]]:
    at = 0
    while (taken := decode_packet(data, at)) is not None:
        yield taken
        at = taken[1]


@given(asked=ASKED)
def test_what_a_client_emits_a_server_reads(asked: Asked) -> None:
    _, data = _ask(asked)
    served = serve([data])
    assert served.fault is None
    expected: list[tuple[type[AnyRequest], tuple[bytes, ...]]] = []
    for request, _ in asked:
        keys = request.keys if isinstance(request, Get) else ()
        # VERBOSITY has a message, but is not served in binary.
        kind = Unknown if isinstance(request, Verbosity) else type(request)
        expected += [(kind, (key,)) for key in keys] or [(kind, ())]
        if len(keys) > 1:
            expected.append((Noop, ()))
    seen = [(type(each), each.keys if isinstance(each, Get) else ()) for each in served.requests]
    assert seen == expected
