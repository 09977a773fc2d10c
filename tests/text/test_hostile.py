"""Whatever a client says in text, the reply of the engine to it can be sent, and reads as the reply to it."""

from __future__ import annotations

import base64

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from memproto import ClassicEnvelope, Failure, Get, MetaEnvelope, RemoteProtocolError, ServerConnection
from memproto.engine import Engine
from memproto.model import Envelope
from memproto.text import decode_reply, decode_request
from tests.support.reached import reached, reaches

#: Every key that can come in a line: 1 to 250 bytes, none of them a space or LF.
KEYS = st.one_of(
    st.binary(min_size=1, max_size=250),
    st.integers(1, 250).flatmap(
        lambda size: st.sampled_from([b"\r", b"\0", b"\xff", b"\t", b"k"]).map(lambda one: one * size)
    ),
    st.sampled_from([b"k" * 249 + b"\r", b"\r" + b"k" * 249, b"k" * 249 + b"\0", b"\xc3\xa9" * 125, b"b", b"noreply"]),
).map(lambda key: key.translate(bytes.maketrans(b" \n", b"__")))

#: Commands with a place for a key, in the order in which they find something to answer.
COMMANDS = [
    b"mg %s k v N30",
    b"ms %s 2 k c O1\r\n10",
    b"ms %s 2 ME k\r\n10",
    b"ms %s 2 C1 k\r\n10",
    b"mg %s k v f c t h l s O1",
    b"ma %s k v c t",
    b"me %s",
    b"me %s k O1 q",
    b"set %s 0 0 2\r\n10",
    b"get %s %s",
    b"gets %s",
    b"gat 0 %s",
    b"incr %s 1",
    b"touch %s 0",
    b"append %s 0 0 1\r\n1",
    b"md %s k C1",
    b"md %s I k",
    b"mg %s k v",
    b"delete %s",
    b"md %s k",
    b"ma %s k",
    b"mg %s k",
    b"mg %s k q",
    b"me %s x",
]


def _said(server: ServerConnection, engine: Engine, data: bytes) -> list[tuple[Envelope, bytes]]:
    server.receive_data(data)
    said = []
    while isinstance(event := server.next_event(), Envelope):
        said.append((event, server.send(engine.execute(event.request, 1.0), event)))
    return said


@reaches(said=1.0)
@given(key=KEYS)
@example(key=b"k" * 249 + b"\r")
@example(key=b"\xc3\xa9" * 125)
@example(key=b"\0" * 250)
def test_every_reply_to_any_key_can_be_sent(key: bytes) -> None:
    server, engine = ServerConnection(), Engine()
    for command in COMMANDS:
        data = command.replace(b"%s", key) + b"\r\n"
        ((event, said),) = _said(server, engine, data)
        assert isinstance(event, ClassicEnvelope | MetaEnvelope)
        assert event == decode_request(data)
        if said:
            reached("said")
            assert not isinstance(decode_reply(said, event), Failure) or not said.startswith(b"ERROR")


@given(key=st.binary(min_size=1, max_size=186))
def test_every_reply_to_any_base64_key_can_be_sent(key: bytes) -> None:
    server, engine = ServerConnection(), Engine()
    for command in COMMANDS:
        if command[:1] != b"m":
            continue
        line, _, data = command.partition(b"\r\n")
        sent = line.replace(b"%s", base64.b64encode(key)) + b" b\r\n" + (data + b"\r\n" if data else b"")
        ((event, said),) = _said(server, engine, sent)
        assert isinstance(event, MetaEnvelope)
        request = event.request
        assert (request.keys[0] if isinstance(request, Get) else getattr(request, "key", None)) == key
        if said:
            decode_reply(said, event)


LINES = st.lists(
    st.sampled_from(
        [*(word for command in COMMANDS for word in command.split(b" ")), b"k", b"0", b"b", b"q", b"AP8=", b"%s"]
    )
    | st.binary(max_size=8).map(lambda word: word.translate(None, b"\n")),
    max_size=8,
).map(lambda words: b" ".join(words) + b"\r\n")


@reaches(answered=0.2)
@given(lines=st.lists(LINES, max_size=8), key=KEYS)
def test_every_reply_to_any_line_can_be_sent(lines: list[bytes], key: bytes) -> None:
    server, engine = ServerConnection(), Engine()
    try:
        _said(server, engine, b"".join(lines).replace(b"%s", key))
    except RemoteProtocolError:
        return
    reached("answered")
    assert server.outstanding == 0


@pytest.mark.parametrize(
    "word",
    [
        b"YQ",
        b"YQ=",
        b"YQ===",
        b"=YQ=",
        b"YQ==x",
        b"YQ==YQ==",
        b"Y\rQ=",
        b"YQ=T",
        b"bAP8=",
        b"=",
        b"====",
        b"!!!!",
        b"Y-_=",
        b"YR==",
    ],
)
@pytest.mark.parametrize("line", [b"mg %s b", b"ms %s 0 b", b"md %s b", b"ma %s b", b"me %s b"])
def test_base64_is_read_strictly(word: bytes, line: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match=r"not base64 with padding$"):
        decode_request(line.replace(b"%s", word) + b"\r\n")
