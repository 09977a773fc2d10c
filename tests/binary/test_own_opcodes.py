"""Opcodes that the embedder declares: Couchbase's HELLO and SELECT_BUCKET, and extras of his own."""

from __future__ import annotations

import construct
import pytest

from memproto import (
    AnyReply,
    Body,
    ClientConnection,
    Envelope,
    Failure,
    Layout,
    Ok,
    OpcodeSpec,
    Packet,
    Presence,
    Quiet,
    RawReply,
    ServerConnection,
    Silence,
    Status,
    Unknown,
)
from tests.support.serving import serve_binary_three_ways
from tests.support.telling import Told, tell
from tests.support.wire import each_byte, wire

FEATURE = Layout(construct.Struct("feature" / construct.Int16ub * "number of a feature"))
DURABILITY = Layout(construct.Struct("level" / construct.Int8ub, "timeout" / construct.Int16ub))
HELLO = OpcodeSpec(0x1F, "HELLO", Body(key=Presence.MAY, value=Presence.MAY), Body(value=Presence.MAY))
SELECT_BUCKET = OpcodeSpec(0x89, "SELECT_BUCKET", Body(key=Presence.MUST))
OBSERVE = OpcodeSpec(0x91, "OBSERVE", Body((DURABILITY,), Presence.MUST), twin=0x92)
OBSERVEQ = OpcodeSpec(0x92, "OBSERVEQ", Body((DURABILITY,), Presence.MUST), quiet=Quiet.SUCCESS, twin=0x91)
OWN = (HELLO, SELECT_BUCKET, OBSERVE, OBSERVEQ)

HELLO_REQUEST = wire("801f0005 00000000 00000009 00000000 0000000000000000 'agent' 0003 0007")
HELLO_REPLY = wire("811f0000 00000000 00000002 00000000 0000000000000000 0007")
HELLO_PACKET = Packet(0x80, 0x1F, key=b"agent", value=FEATURE.pack(feature=3) + FEATURE.pack(feature=7))


def test_server_reads_and_answers_an_own_opcode() -> None:
    granted = RawReply(value=FEATURE.pack(feature=7))
    answers: dict[int, AnyReply] = {0x1F: granted, 0x0A: Ok()}
    served = serve_binary_three_ways(HELLO_REQUEST, lambda envelope: answers[envelope.opcode], opcodes=OWN)
    assert served.requests == [Unknown(HELLO_PACKET)]
    assert served.output == HELLO_REPLY


def test_client_sends_an_own_opcode_and_reads_its_reply() -> None:
    client = ClientConnection(opcodes=OWN)
    assert client.send(Unknown(HELLO_PACKET)).data == HELLO_REQUEST
    assert client.send(Unknown(Packet(0x80, 0x89, key=b"bucket"))).data == wire(
        "80890006 00000000 00000006 00000001 0000000000000000 'bucket'"
    )
    replies = [HELLO_REPLY, wire("81890000 00000024 00000009 00000001 0000000000000000 'No access'")]
    assert tell(client, replies) == Told([RawReply(value=b"\0\x07"), Failure(0x24, b"No access")])


def test_quiet_own_opcode_may_get_silence() -> None:
    client = ClientConnection(opcodes=OWN)
    packet = Packet(0x80, 0x92, DURABILITY.pack(level=1, timeout=2), b"k")
    exchanges = [client.send(Unknown(packet)), client.send(Unknown(packet))]
    assert [exchange.quiet for exchange in exchanges] == [True, True]
    assert exchanges[0].data == wire("80920001 03000000 00000004 00000000 0000000000000000 010002 'k'")
    assert client.fence() != b""
    reply = wire("81920000 00000086 00000000 00000001 0000000000000000")
    assert tell(client, [reply]) == Told([Silence(), Failure(0x86, b"")])


def test_opcode_that_nobody_declared_is_not_quiet() -> None:
    client = ClientConnection()
    exchange = client.send(Unknown(Packet(0x80, 0x92)))
    assert not exchange.quiet
    assert tell(client, [wire("81920000 00000081 00000000 00000000 0000000000000000")]).replies == [
        Failure(Status.UNKNOWN_COMMAND, b"")
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("80890000 00000000 00000000 00000000 0000000000000000", "key of SELECT_BUCKET is missing"),
        (
            "80890001 00000000 00000002 00000000 0000000000000000 'kv'",
            "value of SELECT_BUCKET is 1 bytes, must not be there",
        ),
        ("801f0000 01000000 00000001 00000000 0000000000000000 00", "extras of HELLO are 1 bytes, must be 0"),
        ("80910001 00000000 00000001 00000000 0000000000000000 'k'", "extras of OBSERVE are 0 bytes, must be 3"),
    ],
)
def test_shape_of_an_own_opcode_is_checked_at_the_server(text: str, reason: str) -> None:
    served = serve_binary_three_ways(wire(text), opcodes=OWN)
    assert (served.events, served.fault) == ([], reason)
    assert served.output[6:8] == b"\0\x04"


def test_a_quiet_success_is_not_said_at_the_server() -> None:
    data = wire("80920001 03000000 00000004 00000000 0000000000000000 010002 'k'")
    answers: dict[int, AnyReply] = {0x92: RawReply(), 0x0A: Ok()}
    served = serve_binary_three_ways(data, lambda envelope: answers[envelope.opcode], opcodes=OWN)
    assert (len(served.events), served.output) == (1, b"")


def test_own_opcode_in_the_place_of_a_named_one_is_read_by_its_own_layout() -> None:
    ioctl = OpcodeSpec(0x23, "IOCTL_GET", Body(key=Presence.MUST))
    data = wire("80230001 00000000 00000001 00000000 0000000000000000 'k'")
    assert serve_binary_three_ways(data, opcodes=[ioctl]).requests == [Unknown(Packet(0x80, 0x23, key=b"k"))]
    assert serve_binary_three_ways(data).fault == "extras of GATK are 0 bytes, must be 4"


def test_own_opcode_may_be_allowed_before_authentication() -> None:
    free = OpcodeSpec(0x1F, "HELLO", HELLO.request, HELLO.reply, allowed_before_auth=True)
    served = serve_binary_three_ways(HELLO_REQUEST, lambda _: RawReply(), opcodes=[free], auth_required=True)
    assert served.requests == [Unknown(HELLO_PACKET)]
    served = serve_binary_three_ways(HELLO_REQUEST, lambda _: RawReply(), opcodes=OWN, auth_required=True)
    assert (served.requests, served.fault) == ([], "opcode 0x1f before authentication")


# --- both sides together

LOCKED = OpcodeSpec(0x94, "LOCKED")
LOCKEDQ = OpcodeSpec(0x95, "LOCKEDQ", quiet=Quiet.MISS)
DOQ = OpcodeSpec(0x96, "DOQ", quiet=Quiet.SUCCESS)
ALL = (LOCKED, LOCKEDQ, DOQ)
MISS = Failure(Status.KEY_NOT_FOUND)


@pytest.mark.parametrize(
    ("opcode", "sent", "reply"),
    [
        (0x94, RawReply(value=b"v"), RawReply(value=b"v")),
        (0x94, Failure(9, b"no"), Failure(9, b"no")),
        (0x94, RawReply(9, value=b"no"), Failure(9, b"no")),
        (0x94, RawReply(9, b"e", b"k", b"no", 7), Failure(9, b"no")),
        (0x94, MISS, MISS),
        (0x94, Failure(Status.NOT_STORED), Failure(Status.NOT_STORED)),
        (0x95, RawReply(value=b"v"), RawReply(value=b"v")),
        (0x95, MISS, Silence()),
        (0x95, Failure(Status.KEY_NOT_FOUND, b"gone"), Silence()),
        (0x95, RawReply(Status.KEY_NOT_FOUND), Silence()),
        (0x95, Failure(9, b"no"), Failure(9, b"no")),
        (0x96, RawReply(), Silence()),
        (0x96, MISS, MISS),
        (0x96, RawReply(9, value=b"no"), Failure(9, b"no")),
        # One that nobody declared.
        (0xE0, Failure(Status.UNKNOWN_COMMAND), Failure(Status.UNKNOWN_COMMAND)),
        (0xE0, RawReply(0x86, value=b"busy"), Failure(0x86, b"busy")),
    ],
)
def test_any_status_but_success_is_a_failure_at_the_client(
    opcode: int, sent: AnyReply, reply: AnyReply | Silence
) -> None:
    client, server = ClientConnection(opcodes=ALL), ServerConnection(opcodes=ALL)
    asked = client.send(Unknown(Packet(0x80, opcode)))
    server.receive_data(asked.data + client.fence())
    event = server.next_event()
    assert isinstance(event, Envelope)
    heard = server.send(sent, event)
    assert (heard == b"") is (reply == Silence())
    fence = server.next_event()
    if isinstance(fence, Envelope):
        heard += server.send(Ok(), fence)
    assert tell(client, each_byte(heard)) == Told([reply])
    assert asked.reply == reply
