"""Exchanges recorded from memcached, byte for byte."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import pytest

from memproto import (
    OPCODES,
    AnyReply,
    BinaryEnvelope,
    ClientConnection,
    ConnectionClosed,
    InvalidRequest,
    Limits,
    Noop,
    Quiet,
    RemoteProtocolError,
    ReplyReceived,
    ServerConnection,
    Signal,
    Unknown,
    decode_packet,
    encode_packet,
)
from memproto.binary import decode_reply, decode_request, encode_reply, encode_request, opcode_for
from tests.support.binary_streams import answer_from, frames, recorded_reply
from tests.support.recordings import Vector, vectors
from tests.support.serving import serve_binary
from tests.support.wire import each_byte

# Answered by memcached's text protocol, which is not spoken here; or recorded without the request's bytes.
TEXT = {"bad.first_byte_0x81_is_ascii", "bad.first_byte_0x82_is_ascii", "ascii.auth_binary_refused"}
OMITTED = {"oom.set"}
# The header's lengths contradict each other or the bytes, or the magic is wrong.
UNFRAMED = TEXT | {
    "bad.keylen_gt_bodylen",
    "bad.key_plus_ext_gt_bodylen",
    "bad.keylen_gt_bodylen_incomplete",
    "bad.magic_mid_stream",
    "bad.ascii_after_binary",
    "touch.trailing_value_is_next_frame",
}
# Framed, and refused all the same.
REFUSED = {
    "sasl.mech_name_33": "mechanism is 33 bytes, limit is 32",
    "sasl.auth_no_mech": "key of SASL_AUTH is missing",
}
# memcached swallows extras and key twice here; we swallow the body once, so that both NOOPs are answered.
MISCOUNTED = "bad.unknown_opcode_with_key24"

ALL = vectors()
GOOD = [
    vector
    for vector in ALL
    if not vector.name.startswith("bad.") and vector.name not in {*UNFRAMED, *OMITTED, *REFUSED}
]
SERVED = [vector for vector in ALL if vector.name not in TEXT | OMITTED | {MISCOUNTED}]


def _name(vector: Vector) -> str:
    return vector.name


def test_all_recorded_vectors_are_there() -> None:
    assert len(ALL) == 195
    assert len({vector.name for vector in ALL}) == 195
    assert {vector.name for vector in ALL} >= UNFRAMED | OMITTED | {MISCOUNTED}
    assert sum(vector.name.startswith("bad.") for vector in ALL) == 37


# --- packets


@pytest.mark.parametrize("vector", [vector for vector in ALL if vector.name not in UNFRAMED], ids=_name)
def test_recorded_packets_decode_and_encode_to_the_same_bytes(vector: Vector) -> None:
    for stream in (vector.request, vector.reply):
        at, again = 0, b""
        while at < len(stream):
            taken = decode_packet(stream, at)
            assert taken is not None
            packet, at = taken
            again += encode_packet(packet)
        assert again == stream


# --- messages


@pytest.mark.parametrize("vector", GOOD, ids=_name)
def test_recorded_messages_decode_and_encode_to_the_same_bytes(vector: Vector) -> None:
    waiting = frames(vector.reply)
    for frame in frames(vector.request):
        envelope = decode_request(frame)
        assert encode_request(envelope) == frame
        recorded = recorded_reply(waiting, envelope)
        if recorded:
            assert encode_reply(decode_reply(recorded, envelope), envelope) == recorded
        else:
            # After QUITQ nothing is answered; all else that is silent is quiet.
            assert vector.closes or OPCODES[envelope.opcode].quiet is not Quiet.NOTHING
    assert waiting == []


@pytest.mark.parametrize("vector", [vector for vector in ALL if vector.name in REFUSED], ids=_name)
def test_recorded_requests_that_are_wrong_are_refused_with_the_reason(vector: Vector) -> None:
    with pytest.raises(RemoteProtocolError, match=f"^{REFUSED[vector.name]}$"):
        decode_request(vector.request)


# --- the server


def _limits(vector: Vector) -> Limits:
    # memcached counts the item's header too, here 56 bytes and more.
    return Limits(value=1024 - 64) if "1024" in vector.arguments else Limits()


class _Run:
    """The exchanges of one connection, with memcached's recorded replies as the embedder's."""

    def __init__(self, vector: Vector) -> None:
        self.server = ServerConnection(_limits(vector), auth_required="-S" in vector.arguments)
        self.closed = False

    def exchange(self, pieces: Iterable[bytes], reply: bytes) -> bytes:
        answer = answer_from(frames(reply))
        output = b""
        for piece in pieces:
            self.server.receive_data(piece)
            output += self._pull(answer)
        return output

    def _pull(self, answer: Callable[[BinaryEnvelope], AnyReply]) -> bytes:
        output = b""
        while not self.closed:
            try:
                event = self.server.next_event()
            except RemoteProtocolError as fault:
                self.closed = True
                return output + fault.reply_hint
            if isinstance(event, Signal):
                return output
            if isinstance(event, ConnectionClosed):
                self.closed = True
            else:
                assert isinstance(event, BinaryEnvelope)
                output += self.server.send(answer(event), event)
        return output


def _before(vector: Vector) -> list[Vector]:
    """What went before on the same connection, where that matters: on servers that want authentication."""
    if "-S" not in vector.arguments:
        return []
    before: list[Vector] = []
    for other in ALL:
        if other == vector:
            break
        if other.arguments == vector.arguments:
            before = [] if other.closes else [*before, other]
    return before


def _cuttings(vector: Vector) -> list[list[bytes]]:
    data = vector.request
    places: Iterable[int] = range(1, len(data))
    if len(data) > 300:
        places = sorted(random.Random(vector.name).sample(range(1, len(data)), 40))
    return [[data], each_byte(data), *([data[:place], data[place:]] for place in places)]


@pytest.mark.parametrize("vector", SERVED, ids=_name)
def test_the_server_answers_as_memcached_did(vector: Vector) -> None:
    before = _before(vector)
    for pieces in _cuttings(vector):
        run = _Run(vector)
        for other in before:
            assert run.exchange([other.request], other.reply) == other.reply
        assert run.exchange(pieces, vector.reply) == vector.reply
        assert run.closed is vector.closes


def test_an_unknown_opcode_is_swallowed_exactly_once() -> None:
    (vector,) = (vector for vector in ALL if vector.name == MISCOUNTED)
    served = serve_binary([vector.request])
    assert [type(request) for request in served.requests] == [Unknown, Noop, Noop]
    unknown, *_, last = frames(vector.reply)
    first = last[:15] + b"\x01" + last[16:]
    assert served.output == unknown + first + last


@pytest.mark.parametrize("name", sorted(TEXT - {"ascii.auth_binary_refused"}))
def test_another_first_byte_is_refused(name: str) -> None:
    (vector,) = (vector for vector in ALL if vector.name == name)
    served = serve_binary([vector.request])
    # 0x82 is another framing and gets memcached's answer; 0x81 a packet the wrong way round.
    reply_hint = b"ERROR\r\n" if vector.request[0] == 0x82 else b""
    assert (served.events, served.output, served.closed) == ([], reply_hint, True)
    assert served.fault is not None
    assert served.fault.startswith(f"magic is {vector.request[0]:#04x}, expected 0x80 (request)")


def test_oversize_sets_tell_which_key_they_were_for() -> None:
    (vector,) = (vector for vector in ALL if vector.name == "toolarge.set")
    event = serve_binary([vector.request], limits=_limits(vector)).events[0]
    assert isinstance(event.request, InvalidRequest)
    assert event.request.reason == "value is 1000 bytes, limit is 960"
    assert repr(event.request.request) == "Set(key=b'k2', value=b'', flags=0, exptime=0, cas=0, meta=None)"


# --- the client


def _of_the_client(vector: Vector) -> BinaryEnvelope | None:
    """The request of an exchange of one packet that a client connection says with the same opcode."""
    if vector not in GOOD or len(frames(vector.request)) != 1:
        return None
    envelope = decode_request(vector.request)
    if isinstance(envelope.request, Unknown):
        return envelope
    quiet = OPCODES[envelope.opcode].quiet is not Quiet.NOTHING
    return envelope if opcode_for(envelope.request, quiet) == envelope.opcode else None


ASKED = [(vector, envelope) for vector in ALL if (envelope := _of_the_client(vector)) is not None]


def test_client_sends_and_reads_most_recorded_exchanges() -> None:
    assert len(ASKED) > 100


@pytest.mark.parametrize(("vector", "envelope"), ASKED, ids=[vector.name for vector, _ in ASKED])
def test_client_sends_and_reads_the_recorded_bytes(vector: Vector, envelope: BinaryEnvelope) -> None:
    def without_opaque(packet: bytes) -> bytes:
        return packet[:12] + bytes(4) + packet[16:]

    client = ClientConnection(_limits(vector))
    known = OPCODES.get(envelope.opcode)
    quiet = known is not None and known.quiet is not Quiet.NOTHING
    exchange = client.send_quiet(envelope.request) if quiet else client.send(envelope.request)
    expected = without_opaque(vector.request)
    if vector.name.endswith(("vbucket_and_datatype_ignored", "vbucket_ignored")):
        expected = expected[:5] + bytes(3) + expected[8:]
    # The CAS that an operation has no use for is not sent.
    assert exchange.data == expected[:16] + (bytes(8) if envelope.ignored_cas else expected[16:24]) + expected[24:]
    for byte in each_byte(b"".join(map(without_opaque, frames(vector.reply)))):
        assert client.next_event() is Signal.NEED_DATA
        client.receive_data(byte)
    told: AnyReply | None = decode_reply(vector.reply, envelope) if vector.reply else None
    if told is None:
        assert quiet
        assert client.next_event() is Signal.NEED_DATA
    else:
        assert client.next_event() == ReplyReceived(exchange, told)
