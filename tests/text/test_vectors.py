"""Text exchanges and sessions recorded from memcached and real clients, byte for byte."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest

from memproto import (
    AnyReply,
    ClassicEnvelope,
    ConnectionClosed,
    Envelope,
    Failure,
    InvalidRequest,
    Limits,
    MetaEnvelope,
    Quit,
    RemoteProtocolError,
    SaslAuth,
    ServerConnection,
    Signal,
    Status,
)
from memproto.text import decode_reply, decode_request, encode_reply, encode_request
from tests.support.recordings import DATA
from tests.support.serving import TEXT, serve
from tests.support.stubs import stub
from tests.support.text_streams import recorded_reply, requests_in
from tests.support.wire import each_byte


@dataclass(frozen=True)
class Vector:
    name: str
    request: bytes
    reply: bytes
    closes: bool
    arguments: tuple[str, ...]


def _vectors() -> list[Vector]:
    rows = json.loads((DATA / "text_vectors.json").read_text())
    return [
        Vector(
            asked["name"].removesuffix(".req"),
            bytes.fromhex(asked["hex"]),
            bytes.fromhex(told["hex"]),
            bool(told.get("closes")),
            tuple(asked.get("server_args") or ()),
        )
        for asked, told in zip(rows[::2], rows[1::2], strict=True)
    ]


ALL = _vectors()
BY_NAME = {vector.name: vector for vector in ALL}

# Refused, or more than requests: what they are is told by the connection's answers alone.
REFUSED = {
    "ascii.get_no_key",
    "ascii.cas_bad",
    "ascii.set_long",
    "ascii.set_bad_flags",
    "ascii.set_negative_len",
    "ascii.set_few_tokens",
    "ascii.set_key251",
    "ascii.get_key251",
    "ascii.delete_one",
    "ascii.incr_bad_delta",
    "ascii.incr_negative",
    "ascii.touch_bad",
    "ascii.gat_bad_exptime",
    "ascii.flush_all_bad",
    "ascii.verbosity_no_arg",
    "meta.mg_duplicate_flag",
    "meta.mg_bad_flag",
    "meta.mg_bad_token",
    "meta.mg_opaque32",
    "meta.mg_no_key",
    "meta.mg_key251",
    "meta.ms_bad_mode",
    "meta.ms_bad_len",
    "meta.ms_no_len",
    "meta.ms_bad_chunk",
    "meta.ms_opaque_long",
    "meta.mg_b64_bad",
    "meta.md_bad_flag",
    "meta.ma_bad_mode",
    "meta.ma_bad_delta",
}
CLOSING = {"ascii.http_closes", "ascii.line_2049_no_newline"}
GOOD = [
    vector
    for vector in ALL
    if vector.name not in REFUSED | CLOSING
    and not vector.name.endswith(("toolarge", "toolarge_noreply", "binary_refused"))
]


def _name(vector: Vector) -> str:
    return vector.name


def test_recorded_exchanges_are_complete() -> None:
    assert (len(ALL), len(BY_NAME), len(GOOD)) == (167, 167, 131)
    assert set(BY_NAME) >= REFUSED | CLOSING
    assert sum(vector.name.startswith("meta.") for vector in ALL) == 81


@pytest.mark.parametrize("vector", GOOD, ids=_name)
def test_recorded_messages_decode_and_encode_to_the_same_bytes(vector: Vector) -> None:
    told = vector.reply
    for data in requests_in(vector.request):
        envelope = decode_request(data)
        assert encode_request(envelope) == data.replace(b"version\n", b"version\r\n")
        recorded = recorded_reply(told, data)
        if recorded:
            assert encode_reply(decode_reply(recorded, envelope), envelope) == recorded
            told = told[len(recorded) :]
    assert told == b""


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_recorded_request_that_memcached_refused_is_not_decoded(name: str) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_request(BY_NAME[name].request)


# --- the server


class _Run:
    """The exchanges of one connection, with memcached's recorded replies as the embedder's."""

    def __init__(self, vector: Vector) -> None:
        limits = Limits(value=1024 - 64) if "1024" in vector.arguments else Limits()
        dialects = TEXT if "-Y" in vector.arguments else None
        self.server = (
            ServerConnection(limits)
            if dialects is None
            else ServerConnection(limits, auth_required=True, dialects=dialects)
        )
        self.closed = False

    def exchange(self, pieces: Iterable[bytes], told: bytes) -> bytes:
        answer = _answer_from(told)
        output = b""
        for piece in pieces:
            self.server.receive_data(piece)
            output += self._pull(answer)
        return output

    def _pull(self, answer: Callable[[Envelope], AnyReply]) -> bytes:
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
                output += self.server.send(answer(event), event)
        return output


def _answer_from(told: bytes) -> Callable[[Envelope], AnyReply]:
    """An answerer that says what was recorded, and has nothing to tell where nothing was."""
    left = [told]

    def answer(to: Envelope) -> AnyReply:
        assert isinstance(to, ClassicEnvelope | MetaEnvelope)
        if isinstance(to.request, InvalidRequest):
            mine = encode_reply(to.request.reply, to)
            assert left[0].startswith(mine)
            left[0] = left[0][len(mine) :]
            return to.request.reply
        recorded = recorded_reply(left[0], to.line + b"\n")
        left[0] = left[0][len(recorded) :]
        return decode_reply(recorded, to) if recorded else stub(to.request)

    return answer


def _before(vector: Vector) -> list[Vector]:
    if "-Y" not in vector.arguments or vector.name.endswith("binary_refused"):
        return []
    return [other for other in ALL[: ALL.index(vector)] if other.arguments == vector.arguments]


def _cuttings(name: str, data: bytes) -> list[list[bytes]]:
    places: Iterable[int] = range(1, len(data))
    if len(data) > 300:
        places = sorted(random.Random(name).sample(range(1, len(data)), 40))
    return [[data], each_byte(data), *([data[:place], data[place:]] for place in places)]


@pytest.mark.parametrize("vector", ALL, ids=_name)
def test_the_server_answers_as_memcached_did(vector: Vector) -> None:
    before = _before(vector)
    for pieces in _cuttings(vector.name, vector.request):
        run = _Run(vector)
        for other in before:
            assert run.exchange([other.request], other.reply) == other.reply
        assert run.exchange(pieces, vector.reply) == vector.reply
        assert run.closed is vector.closes


def test_refused_credentials_are_decoded_as_an_authentication_failure() -> None:
    served = serve([BY_NAME["ascii.auth_bad"].request], auth_required=True, dialects=TEXT)
    assert served.requests == [SaslAuth(b"PLAIN", b"\0user\0wrong")]
    refused = Failure(Status.AUTH_ERROR)
    assert decode_reply(b"CLIENT_ERROR authentication failure\r\n", served.events[0]) == refused  # type: ignore[arg-type]


# --- sessions

SESSIONS = {
    path.stem: [
        (row["conn"], row["dir"], bytes.fromhex(row["hex"])) for row in map(json.loads, path.read_text().splitlines())
    ]
    for path in sorted((DATA / "text_sessions").glob("*.jsonl"))
}
CONNECTIONS = {
    f"{name}-{conn}": (
        [data for each, direction, data in chunks if (each, direction) == (conn, "c2s")],
        b"".join(data for each, direction, data in chunks if (each, direction) == (conn, "s2c")),
    )
    for name, chunks in SESSIONS.items()
    for conn in sorted({each for each, _, _ in chunks})
}
# The one request that 1.6.18 does not keep quiet about.
DEFECTIVE = b"ma qctr v D1 J5 N0 q MI\r\n"
each_connection = pytest.mark.parametrize("name", sorted(CONNECTIONS))


def test_recorded_sessions_are_complete() -> None:
    assert len(SESSIONS) == 8
    # As the recorder counted them.
    assert sum(len(data) for chunks, _ in CONNECTIONS.values() for data in chunks) == 32831
    assert sum(len(told) for _, told in CONNECTIONS.values()) == 32046


@each_connection
def test_messages_of_a_recorded_session_decode_and_encode_to_the_same_bytes(name: str) -> None:
    chunks, told = CONNECTIONS[name]
    for data in requests_in(b"".join(chunks)):
        recorded = recorded_reply(told, data)
        try:
            envelope = decode_request(data)
        except RemoteProtocolError:
            assert recorded.startswith((b"ERROR", b"CLIENT_ERROR", b"SERVER_ERROR"))
        else:
            assert encode_request(envelope) == data
            if recorded and data != DEFECTIVE:
                assert encode_reply(decode_reply(recorded, envelope), envelope) == recorded
            elif not recorded:
                assert isinstance(envelope.request, Quit) or b"noreply" in data or b" q" in data
        told = told[len(recorded) :]
    assert told == b""


def _replay(name: str, cut: list[bytes]) -> None:
    _, told = CONNECTIONS[name]
    served = serve(cut, _answer_from(told), eof=True)
    assert served.fault is None
    # This one we leave out, as newer releases do.
    assert served.output == (told.replace(b"VA 1\r\n5\r\n", b"", 1) if name.startswith("dalli") else told)
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
