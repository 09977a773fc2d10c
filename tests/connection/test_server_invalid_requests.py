"""What the server connection does with malformed packets: each row of the protocol's table, and its order of checks."""

from __future__ import annotations

import pytest

from memproto import (
    Failure,
    Get,
    InvalidRequest,
    Limits,
    Noop,
    Packet,
    RemoteProtocolError,
    ServerConnection,
    Signal,
    Stats,
    Status,
    Touch,
    Unknown,
)
from tests.support.serving import serve_binary, serve_binary_three_ways
from tests.support.wire import NOOP_REPLY, NOOP_REQUEST, each_byte, wire

INVALID = "00000004 00000011 00000000 0000000000000000 'Invalid arguments'"
UNKNOWN = "00000081 0000000f 00000000 0000000000000000 'Unknown command'"
TOO_LARGE = "00000003 0000000a 00000000 0000000000000000 'Too large.'"

# --- refused with an answer, then closed. Bytes, the answer's status and text, the reason.

CLOSED: list[tuple[str, str, str]] = [
    # lengths that contradict each other
    (
        "80000005 00000000 00000003 00000000 0000000000000000 'abcde'",
        UNKNOWN,
        "body length is 3, less than extras (0) + key (5)",
    ),
    (
        "80010003 08000000 0000000a 00000000 0000000000000000 0000000000000000 'abc'",
        UNKNOWN,
        "body length is 10, less than extras (8) + key (3)",
    ),
    # a key over 250 bytes, under any opcode
    ("800000fb 00000000 000000fb 00000000 0000000000000000" + "6b" * 251, INVALID, "key is 251 bytes, limit is 250"),
    ("805000fb 00000000 000000fb 00000000 0000000000000000" + "6b" * 251, INVALID, "key is 251 bytes, limit is 250"),
    ("800a00fb 00000000 000000fb 00000000 0000000000000000" + "6b" * 251, INVALID, "key is 251 bytes, limit is 250"),
    # wrong extras, a missing or forbidden key, a forbidden value
    ("80000001 01000000 00000002 00000000 0000000000000000 00 'k'", INVALID, "extras of GET are 1 bytes, must be 0"),
    ("80000000 00000000 00000000 00000000 0000000000000000", INVALID, "key of GET is missing"),
    (
        "80000001 00000000 00000002 00000000 0000000000000000 'kv'",
        INVALID,
        "value of GET is 1 bytes, must not be there",
    ),
    ("80090000 00000000 00000000 00000000 0000000000000000", INVALID, "key of GETQ is missing"),
    ("80010001 00000000 00000001 00000000 0000000000000000 'k'", INVALID, "extras of SET are 0 bytes, must be 8"),
    (
        "80110001 04000000 00000005 00000000 0000000000000000 00000000 'k'",
        INVALID,
        "extras of SETQ are 4 bytes, must be 8",
    ),
    ("80010000 08000000 00000008 00000000 0000000000000000 0000000000000000", INVALID, "key of SET is missing"),
    (
        "80050001 08000000 00000009 00000000 0000000000000000 0000000000000000 'k'",
        INVALID,
        "extras of INCREMENT are 8 bytes, must be 20",
    ),
    (
        "80150001 14000000 00000016 00000000 0000000000000000" + "00" * 20 + "'kv'",
        INVALID,
        "value of INCREMENTQ is 1 bytes, must not be there",
    ),
    (
        "80040001 04000000 00000005 00000000 0000000000000000 00000000 'k'",
        INVALID,
        "extras of DELETE are 4 bytes, must be 0",
    ),
    ("800e0000 00000000 00000001 00000000 0000000000000000 'v'", INVALID, "key of APPEND is missing"),
    ("800a0001 00000000 00000001 00000000 0000000000000000 'k'", INVALID, "key of NOOP is 1 bytes, must not be there"),
    (
        "800b0000 00000000 00000001 00000000 0000000000000000 'v'",
        INVALID,
        "value of VERSION is 1 bytes, must not be there",
    ),
    ("80170001 00000000 00000001 00000000 0000000000000000 'k'", INVALID, "key of QUITQ is 1 bytes, must not be there"),
    ("80100000 04000000 00000004 00000000 0000000000000000 00000000", INVALID, "extras of STAT are 4 bytes, must be 0"),
    ("801c0001 00000000 00000001 00000000 0000000000000000 'k'", INVALID, "extras of TOUCH are 0 bytes, must be 4"),
    ("801d0000 04000000 00000004 00000000 0000000000000000 00000000", INVALID, "key of GAT is missing"),
    ("80210000 00000000 00000000 00000000 0000000000000000", INVALID, "key of SASL_AUTH is missing"),
    # extras of FLUSH that are neither absent nor 4 bytes
    (
        "80080000 03000000 00000003 00000000 0000000000000000 000000",
        INVALID,
        "extras of FLUSH are 3 bytes, must be 0 or 4",
    ),
    (
        "80180000 08000000 00000008 00000000 0000000000000000" + "00" * 8,
        INVALID,
        "extras of FLUSHQ are 8 bytes, must be 0 or 4",
    ),
    (
        "80080000 04000000 00000005 00000000 0000000000000000 00000000 'v'",
        INVALID,
        "value of FLUSH is 1 bytes, must not be there",
    ),
    # a body of 4 GiB where there must be none
    (
        "80000001 00000000 ffffffff 00000000 0000000000000000 'k'",
        INVALID,
        "value of GET is 4294967294 bytes, must not be there",
    ),
    (
        "800a0000 00000000 ffffffff 00000000 0000000000000000",
        INVALID,
        "value of NOOP is 4294967295 bytes, must not be there",
    ),
]


@pytest.mark.parametrize(("text", "answer", "reason"), CLOSED, ids=[reason for _, _, reason in CLOSED])
def test_malformed_request_is_refused_and_the_connection_closed(text: str, answer: str, reason: str) -> None:
    data = wire(text)
    served = serve_binary_three_ways(data)
    assert (served.events, served.closed, served.fault) == ([], True, reason)
    assert served.output == wire(f"81{data[1]:02x}0000 {answer}")


@pytest.mark.parametrize(("text", "answer", "reason"), CLOSED, ids=[reason for _, _, reason in CLOSED])
def test_nothing_is_said_before_extras_and_key_are_there(text: str, answer: str, reason: str) -> None:
    data = wire(text)
    head = 24 + data[4] + int.from_bytes(data[2:4], "big")
    server = ServerConnection()
    for byte in each_byte(data[: head - 1]):
        server.receive_data(byte)
        assert server.next_event() is Signal.NEED_DATA
    # The value is not waited for.
    assert serve_binary([data[:head]]).fault == reason


# --- closed without an answer


def test_wrong_magic_behind_a_request_is_a_fault() -> None:
    for magic in sorted(set(range(256)) - {0x80}):
        served = serve_binary_three_ways(NOOP_REQUEST + bytes([magic]) + bytes(23))
        assert (served.requests, served.output, served.closed) == ([Noop()], NOOP_REPLY, True)
        assert served.fault is not None
        assert served.fault.startswith(f"magic is {magic:#04x}, expected 0x80 (request)")


@pytest.mark.parametrize(
    ("magic", "name"),
    [
        (0x08, "a request with Couchbase's framing extras"),
        (0x18, "a response with Couchbase's framing extras"),
        (0x82, "Couchbase's server-to-client request"),
        (0x83, "Couchbase's client-to-server response"),
    ],
)
def test_magic_of_a_framing_of_couchbase_is_named_in_the_fault(magic: int, name: str) -> None:
    served = serve_binary([bytes([magic])])
    assert served.fault == (
        f"magic is {magic:#04x}, expected 0x80 (request): {name} is another framing, which memcached does not speak"
    )


def test_head_over_16_kib_is_a_fault() -> None:
    data = b"\x80\0\x40\0\0\0\0\0\0\0\x40\0" + bytes(12)
    served = serve_binary_three_ways(data)
    assert (served.output, served.closed) == (b"", True)
    assert served.fault == "header, extras and key are 16408 bytes, limit is 16384"


# --- answered, and the connection goes on


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("801c0001 04000000 0000001d 00000000 0000000000000000 00000009 'k'", Touch(b"k", 9)),
        ("801d0001 04000000 0000001d 00000000 0000000000000000 00000009 'k'", Get((b"k",), 9)),
        ("801e0001 04000000 0000001d 00000000 0000000000000000 00000009 'k'", Get((b"k",), 9)),
        ("80230001 04000000 0000001d 00000000 0000000000000000 00000009 'k'", Get((b"k",), 9)),
        ("80240001 04000000 0000001d 00000000 0000000000000000 00000009 'k'", Get((b"k",), 9)),
        ("80100001 00000000 00000019 00000000 0000000000000000 'k'", Stats(b"k")),
        ("80100000 00000000 00000018 00000000 0000000000000000", Stats()),
    ],
)
def test_an_unchecked_value_is_the_next_packet(text: str, request_: object) -> None:
    # Their headers announce the 24 bytes of this NOOP as their value.
    assert serve_binary_three_ways(wire(text) + NOOP_REQUEST).requests == [request_, Noop()]
    assert serve_binary_three_ways(wire(text)).requests == [request_]


@pytest.mark.parametrize(
    ("text", "packet"),
    [
        ("80500000 00000000 00000000 00000000 0000000000000000", Packet(0x80, 0x50)),
        ("80ff0000 00000000 00000002 00000000 0000000000000000 'vv'", Packet(0x80, 0xFF, value=b"vv")),
        ("80250001 02000000 00000003 00000000 0000000000000000 'eek'", Packet(0x80, 0x25, b"ee", b"k")),
        ("801f0001 02000000 00000005 00000000 0000000000000000 'eekvv'", Packet(0x80, 0x1F, b"ee", b"k", b"vv")),
        ("801b0000 00000000 00000000 00000000 0000000000000000", Packet(0x80, 0x1B)),
        (
            "801b0001 04000000 00000006 00000000 0000000000000000 00000000 'kv'",
            Packet(0x80, 0x1B, bytes(4), b"k", b"v"),
        ),
        ("80300000 00000000 00000000 00000000 0000000000000000", Packet(0x80, 0x30)),
        ("80470000 00000000 00000000 00000000 0000000000000000", Packet(0x80, 0x47)),
    ],
)
def test_unknown_opcode_is_skipped_with_its_whole_body(text: str, packet: Packet) -> None:
    served = serve_binary_three_ways(wire(text))
    assert served.requests == [Unknown(packet)]
    assert served.output == wire(f"81{packet.opcode:02x}0000 {UNKNOWN}")
    # Unlike the other refusals this one waits for the whole body.
    assert serve_binary([wire(text)[:-1]]).output == b""


def test_value_over_its_limit_is_skipped_and_refused() -> None:
    limits = Limits(value=3)
    for opcode in (0x01, 0x02, 0x03, 0x11, 0x12, 0x13):
        data = wire(f"80{opcode:02x}0001 08000000 0000000d 00000000 0000000000000005 0000000100000002 'kvvvv'")
        served = serve_binary_three_ways(data, limits=limits)
        (refused,) = served.requests
        assert isinstance(refused, InvalidRequest)
        assert refused.reply == Failure(Status.VALUE_TOO_LARGE)
        assert repr(refused.request).endswith("(key=b'k', value=b'', flags=1, exptime=2, cas=5, meta=None)")
        assert served.output == wire(f"81{opcode:02x}0000 {TOO_LARGE}")
    for opcode in (0x0E, 0x0F, 0x19, 0x1A):
        data = wire(f"80{opcode:02x}0001 00000000 00000005 00000000 0000000000000000 'kvvvv'")
        assert serve_binary_three_ways(data, limits=limits).output == wire(f"81{opcode:02x}0000 {TOO_LARGE}")


@pytest.mark.parametrize("length", ["40000001", "7fffffff", "80000000", "fc000014", "ffffffff"])
@pytest.mark.parametrize("head", ["80010001 08000000", "800e0001 00000000", "80210001 00000000"])
def test_a_value_that_is_too_large_is_swallowed_however_long_it_is(head: str, length: str) -> None:
    # From 2^31 on too, where memcached 1.6.18 takes the length for a negative one and never answers again.
    extras = bytes(int(head[9:11], 16))
    server = ServerConnection()
    server.receive_data(wire(f"{head} {length} 00000000 0000000000000000") + extras + b"k")
    for _ in range(3):
        assert (server.next_event(), server.buffered) == (Signal.NEED_DATA, 0)
        server.receive_data(NOOP_REQUEST * 4000)
    server.receive_eof()
    with pytest.raises(RemoteProtocolError, match="stream ended inside a request"):
        server.next_event()


def test_an_unknown_opcode_with_an_endless_body_is_waited_for() -> None:
    server = ServerConnection()
    server.receive_data(wire("80500000 00000000 ffffffff 00000000 0000000000000000") + NOOP_REQUEST)
    assert (server.next_event(), server.buffered) == (Signal.NEED_DATA, 0)


# --- the order of the checks: lengths, authentication, key, shape


def test_lengths_are_checked_before_authentication() -> None:
    data = wire("80000005 00000000 00000003 00000000 0000000000000000 'abcde'")
    assert serve_binary([data], auth_required=True).output == wire(f"81000000 {UNKNOWN}")


def test_authentication_comes_before_the_key() -> None:
    data = wire("800000fb 00000000 000000fb 00000000 0000000000000000" + "6b" * 251)
    assert serve_binary([data], auth_required=True).output[6:8] == b"\0\x20"
    sasl = wire("802100fb 00000000 000000fb 00000000 0000000000000000" + "6b" * 251)
    served = serve_binary([sasl], auth_required=True)
    assert (served.output[6:8], served.fault) == (b"\0\x04", "key is 251 bytes, limit is 250")


def test_key_is_checked_before_the_extras() -> None:
    data = wire("800000fb 01000000 000000fc 00000000 0000000000000000 00" + "6b" * 251)
    assert serve_binary([data]).fault == "key is 251 bytes, limit is 250"


def test_request_allowed_before_authentication_is_checked_as_any_other() -> None:
    served = serve_binary([wire("800b0000 00000000 00000001 00000000 0000000000000000 'v'")], auth_required=True)
    assert (served.output, served.closed) == (wire(f"810b0000 {INVALID}"), True)


def test_reply_to_an_invalid_request_has_its_opaque() -> None:
    served = serve_binary([wire("80000000 00000000 00000000 deadbeef 0000000000000000")])
    assert served.output[12:16] == bytes.fromhex("deadbeef")
