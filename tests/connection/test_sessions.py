"""Sessions of real clients with memcached, byte for byte, in the chunks seen and in any others."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memproto import OPCODES, decode_packet, encode_packet
from memproto.binary import decode_reply, decode_request, encode_reply, encode_request
from memproto.testing import pieces
from tests.support.binary_streams import answer_from, frames, recorded_reply
from tests.support.recordings import sessions
from tests.support.serving import serve_binary
from tests.support.wire import each_byte

SESSIONS = sessions()
# Every connection: the chunks that the client sent, and all that it got.
CONNECTIONS = {
    f"{name}-{conn}": (
        [data for each, direction, data in chunks if (each, direction) == (conn, "c2s")],
        b"".join(data for each, direction, data in chunks if (each, direction) == (conn, "s2c")),
    )
    for name, chunks in SESSIONS.items()
    for conn in sorted({each for each, _, _ in chunks})
}

each_connection = pytest.mark.parametrize("name", sorted(CONNECTIONS))


def test_recorded_sessions_are_complete() -> None:
    # Sessions, bytes to the server and bytes from it.
    assert len(SESSIONS) == 9
    assert sum(len(data) for chunks, _ in CONNECTIONS.values() for data in chunks) == 28761
    assert sum(len(told) for _, told in CONNECTIONS.values()) == 71644


@each_connection
def test_recorded_packets_decode_and_encode_to_the_same_bytes(name: str) -> None:
    chunks, told = CONNECTIONS[name]
    for stream in (b"".join(chunks), told):
        at, again = 0, b""
        while (taken := decode_packet(stream, at)) is not None:
            packet, at = taken
            again += encode_packet(packet)
        assert again == stream


@each_connection
def test_recorded_messages_decode_and_encode_to_the_same_bytes(name: str) -> None:
    chunks, told = CONNECTIONS[name]
    waiting = frames(told)
    for frame in frames(b"".join(chunks)):
        envelope = decode_request(frame)
        assert encode_request(envelope) == frame
        recorded = recorded_reply(waiting, envelope)
        if recorded:
            assert encode_reply(decode_reply(recorded, envelope), envelope) == recorded
        else:
            assert OPCODES[envelope.opcode].name.endswith("Q")
    assert waiting == []


def _replay(name: str, cut: list[bytes]) -> None:
    _, told = CONNECTIONS[name]
    served = serve_binary(cut, answer_from(frames(told)), auth_required="sasl" in name, eof=True)
    assert served.fault is None
    assert served.output == told
    assert served.closed


@each_connection
def test_the_server_says_what_memcached_said(name: str) -> None:
    chunks, _ = CONNECTIONS[name]
    data = b"".join(chunks)
    _replay(name, chunks)
    _replay(name, [data])
    _replay(name, each_byte(data))
    places = random.Random(name)
    for _ in range(20):
        at = places.randrange(len(data))
        _replay(name, [data[:at], data[at:]])


@pytest.mark.untraced
@each_connection
@given(data=st.data())
def test_cuts_do_not_change_what_a_server_says_in_a_session(name: str, data: st.DataObject) -> None:
    chunks, _ = CONNECTIONS[name]
    _replay(name, data.draw(pieces(b"".join(chunks), max_cuts=20)))
