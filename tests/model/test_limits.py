"""Each limit one below, at it, and one above it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from memproto import (
    BinaryEnvelope,
    ClientConnection,
    Envelope,
    Failure,
    Get,
    Increment,
    InvalidRequest,
    Item,
    Limits,
    LocalProtocolError,
    Noop,
    Ok,
    OpcodeSpec,
    Packet,
    RawReply,
    RemoteProtocolError,
    SaslAuth,
    ServerConnection,
    Set,
    Signal,
    Stats,
    StatsReply,
    Status,
    Unknown,
    Values,
    Version,
    VersionReply,
)
from tests.support.serving import serve_binary, serve_binary_three_ways
from tests.support.telling import Told, tell_three_ways
from tests.support.wire import NOOP_REQUEST, each_byte, wire


def test_the_defaults_are_memcacheds() -> None:
    limits = Limits()
    assert (limits.value, limits.head, limits.sasl) == (1048576, 16384, 16384)
    assert (limits.outstanding, limits.keys, limits.stats) == (1024, 100_000, 10_000)
    assert (limits.line, limits.keys_line, limits.bare_lf) == (2048, 4_194_304, True)
    assert limits.answer == 67108864


@pytest.mark.parametrize(
    "name", ["value", "head", "sasl", "line", "keys_line", "outstanding", "keys", "answer", "stats"]
)
def test_a_limit_is_at_least_one(name: str) -> None:
    least: dict[str, Any] = {name: 1}
    assert getattr(replace(Limits(), **least), name) == 1
    for number in (0, -1):
        with pytest.raises(LocalProtocolError, match=f"^limit {name} is {number}, the least is 1$"):
            replace(Limits(), **{**least, name: number})


# --- keys of the protocol


def _get(size: int) -> bytes:
    length = size.to_bytes(2, "big")
    return b"\x80\0" + length + bytes(6) + length + bytes(12) + b"k" * size


def _too_large(what: bytes) -> Failure:
    return Failure(Status.REPLY_TOO_LARGE, what)


def test_key_lengths_at_the_server() -> None:
    for size in (1, 249, 250):
        assert serve_binary_three_ways(_get(size)).requests == [Get((b"k" * size,))]
    for size in (251, 252, 16000, 16384 - 24):
        served = serve_binary_three_ways(_get(size))
        assert (served.requests, served.fault) == ([], f"key is {size} bytes, limit is 250")
        assert served.output == wire("81000000 00000004 00000011 00000000 0000000000000000 'Invalid arguments'")


def test_key_lengths_at_the_client() -> None:
    client = ClientConnection()
    for size in (1, 249, 250):
        assert client.send(Get((b"k" * size,))).data[:4] == b"\x80\0" + size.to_bytes(2, "big")
        assert client.send(Get((b"k", b"k" * size))).data[25:29] == b"\x80\x0d" + size.to_bytes(2, "big")
    before = client.outstanding
    for request in (Get((b"k" * 251,)), Get((b"k", b"k" * 251)), Set(b"k" * 251, b""), Increment(b"k" * 251)):
        with pytest.raises(LocalProtocolError, match=r"^key is 251 bytes, limit is 250$"):
            client.send(request)
    assert client.outstanding == before


# --- limits.value


def _set(size: int) -> bytes:
    return b"\x80\x01\0\x01\x08\0\0\0" + (size + 9).to_bytes(4, "big") + bytes(20) + b"k" + b"v" * size


TOO_LARGE = wire("81010000 00000003 0000000a 00000000 0000000000000000 'Too large.'")


def test_value_at_the_server() -> None:
    limits = Limits(value=100)
    for size in (0, 1, 99, 100):
        assert serve_binary_three_ways(_set(size), limits=limits).requests == [Set(b"k", b"v" * size)]
    for size in (101, 102, 5000):
        served = serve_binary_three_ways(_set(size), limits=limits)
        refusal = InvalidRequest(
            Failure(Status.VALUE_TOO_LARGE), f"value is {size} bytes, limit is 100", Set(b"k", b"")
        )
        assert (served.requests, served.output) == ([refusal], TOO_LARGE)


def test_the_default_for_values() -> None:
    assert serve_binary([_set(1048576)]).requests == [Set(b"k", b"v" * 1048576)]
    served = serve_binary([_set(1048577) + NOOP_REQUEST])
    assert [type(request) for request in served.requests] == [InvalidRequest, Noop]


def test_a_value_over_the_limit_is_not_held() -> None:
    server = ServerConnection(Limits(value=100))
    data = _set(100_000)
    for at in range(0, len(data) - 1, 1000):
        server.receive_data(data[at : min(at + 1000, len(data) - 1)])
        assert server.next_event() is Signal.NEED_DATA
        assert server.buffered == 0
    server.receive_data(data[-1:])
    event = server.next_event()
    assert isinstance(event, BinaryEnvelope)
    assert server.send(Failure(Status.VALUE_TOO_LARGE), event) == TOO_LARGE


def test_value_of_an_unknown_opcode() -> None:
    limits = Limits(value=100)

    def unknown(size: int) -> bytes:
        return b"\x80\x50\0\x02\x01\0\0\0" + (size + 3).to_bytes(4, "big") + bytes(12) + b"ekk" + b"v" * size

    for size in (0, 99, 100):
        packet = Packet(0x80, 0x50, b"e", b"kk", b"v" * size)
        assert serve_binary_three_ways(unknown(size), limits=limits).requests == [Unknown(packet)]
    reason = "value is 101 bytes, limit is 100"
    served = serve_binary_three_ways(unknown(101), limits=limits)
    assert served.requests == [InvalidRequest(Failure(Status.UNKNOWN_COMMAND), reason)]
    assert served.output == wire("81500000 00000081 0000000f 00000000 0000000000000000 'Unknown command'")


def test_sasl_data() -> None:
    limits = Limits(sasl=100)

    def auth(size: int) -> bytes:
        return b"\x80\x21\0\x05\0\0\0\0" + (size + 5).to_bytes(4, "big") + bytes(12) + b"PLAIN" + b"x" * size

    for size in (0, 99, 100):
        assert serve_binary_three_ways(auth(size), limits=limits).requests == [SaslAuth(b"PLAIN", b"x" * size)]
    served = serve_binary_three_ways(auth(101), limits=limits)
    assert served.requests == [InvalidRequest(Failure(Status.OUT_OF_MEMORY), "SASL data are 101 bytes, limit is 100")]
    assert served.output == wire("81210000 00000082 0000000d 00000000 0000000000000000 'Out of memory'")


@pytest.mark.parametrize(
    "begin",
    [
        b"\x80\x21\0\x05\0\0\0\0\x3f\xff\xff\xff" + bytes(12) + b"PLAIN",
        b"\x80\x22\0\x05\0\0\0\0\x00\x0f\xff\xff" + bytes(12) + b"PLAIN",
        b"\x80\x21\0\x05\0\0\0\0\x00\x00\x40\x05" + bytes(12) + b"PLAIN",
        b"\x80\x01\0\x01\x08\0\0\0\x00\x0f\xff\xff" + bytes(12) + bytes(8) + b"k",
        b"\x80\x50\xff\xff\0\0\0\0\x00\x0f\xff\xff" + bytes(12),
        b"set k 0 0 1048576\r\n",
        b"set k 0 0 2048\r\n",
        b"set k 0 0 2048",
        b"ms k 1048576\r\n",
        b"get" + b" k" * 3000,
        b"",
    ],
    ids=lambda begin: repr(begin[:22]),
)
@pytest.mark.parametrize("size", [1, 1000, 16_000])
def test_little_is_held_before_authentication_however_it_comes(begin: bytes, size: int) -> None:
    limits = Limits(value=1 << 30)
    server = ServerConnection(limits, auth_required=True)
    server.receive_data(begin)
    sent = 0
    while sent < (3_000 if size == 1 else 300_000):
        try:
            while isinstance(event := server.next_event(), Envelope):
                request = event.request
                server.send(request.reply if isinstance(request, InvalidRequest) else Failure(Status.AUTH_ERROR), event)
        except RemoteProtocolError:
            break
        # One request, and the line or the header of the next.
        assert server.buffered <= 24 + 32 + limits.sasl + size
        server.receive_data(b"x" * size)
        sent += size
    assert server.buffered <= 24 + 32 + limits.sasl + size


def test_mechanism_names() -> None:
    def auth(opcode: int, size: int) -> bytes:
        head = bytes([0x80, opcode, 0, size, 0, 0, 0, 0, 0, 0, 0, size + 1])
        return head + bytes(12) + b"M" * size + b"x"

    for size in (1, 31, 32):
        assert serve_binary_three_ways(auth(0x21, size)).requests == [SaslAuth(b"M" * size, b"x")]
    for opcode in (0x21, 0x22):
        served = serve_binary_three_ways(auth(opcode, 33))
        refusal = InvalidRequest(Failure(Status.INVALID_ARGUMENTS), "mechanism is 33 bytes, limit is 32")
        assert (served.requests, served.closed) == ([refusal], False)
    with pytest.raises(LocalProtocolError, match=r"^mechanism is 33 bytes, limit is 32$"):
        ClientConnection().send(SaslAuth(b"M" * 33))
    assert len(ClientConnection().send(SaslAuth(b"M" * 32)).data) == 24 + 32


def test_value_at_the_client() -> None:
    def version(size: int) -> bytes:
        return b"\x81\x0b\0\0\0\0\0\0" + size.to_bytes(4, "big") + bytes(12) + b"v" * size

    for size in (0, 99, 100):
        told = tell_three_ways(lambda client: client.send(Version()), version(size), Limits(value=100))
        assert told.replies == [VersionReply(b"v" * size)]
    told = tell_three_ways(lambda client: client.send(Version()), version(101), Limits(value=100))
    assert told == Told([_too_large(b"value is 101 bytes, limit is 100")])


# --- limits.head


def test_head_at_the_server() -> None:
    def unknown(size: int) -> bytes:
        key = size - 24 - 4
        return b"\x80\x50" + key.to_bytes(2, "big") + b"\x04\0\0\0" + (key + 4).to_bytes(4, "big") + bytes(12 + 4 + key)

    limits = Limits(head=100)
    for size in (28, 99, 100):
        assert [type(request) for request in serve_binary_three_ways(unknown(size), limits=limits).requests] == [
            Unknown
        ]
    served = serve_binary_three_ways(unknown(101), limits=limits)
    assert (served.requests, served.output, served.closed) == ([], b"", True)
    assert served.fault == "header, extras and key are 101 bytes, limit is 100"
    # By default a key of up to 250 bytes never gets there; a longer one is answered up to 16 KiB only.
    assert serve_binary([unknown(16384)]).output[6:8] == b"\0\x04"
    assert serve_binary([unknown(16385)]).output == b""


# --- limits.outstanding


def test_outstanding_at_the_server() -> None:
    server = ServerConnection(Limits(outstanding=2))
    server.receive_data(NOOP_REQUEST * 3)
    first, second = server.next_event(), server.next_event()
    assert (server.next_event(), server.outstanding, server.buffered) == (Signal.PAUSED, 2, 24)
    assert isinstance(first, BinaryEnvelope)
    assert isinstance(second, BinaryEnvelope)
    server.send(Ok(), first)
    assert isinstance(server.next_event(), BinaryEnvelope)
    assert (server.next_event(), server.outstanding, server.buffered) == (Signal.PAUSED, 2, 0)


def test_outstanding_at_the_client() -> None:
    client = ClientConnection(Limits(outstanding=2))
    client.send(Noop())
    client.send_quiet(Get((b"k",)))
    for send in (client.send, client.send_quiet):
        with pytest.raises(LocalProtocolError, match=r"^requests outstanding are 2, which is the limit$"):
            send(Get((b"k",)))
    assert (client.outstanding, client.reusable) == (2, True)
    client.receive_data(bytes.fromhex("810a") + bytes(22))
    assert client.next_event() is not Signal.NEED_DATA
    assert client.outstanding == 1
    assert client.send(Noop()).data[12:16] == b"\0\0\0\x02"


# --- limits.keys


def test_keys_at_the_client() -> None:
    client = ClientConnection(Limits(keys=3))
    for count in (1, 2, 3):
        assert client.send(Get((b"k",) * count)).request == Get((b"k",) * count)
    for keys, message in (((b"k",) * 4, "keys are 4, must be 1 to 3"), ((), "keys are 0, must be 1 to 3")):
        with pytest.raises(LocalProtocolError) as caught:
            client.send(Get(keys))
        assert str(caught.value) == message
    assert client.outstanding == 3


# --- limits.stats, and limits.value for all statistics of an answer together


def _statistic(name: bytes, value: bytes) -> bytes:
    body = len(name) + len(value)
    return b"\x81\x10" + len(name).to_bytes(2, "big") + bytes(4) + body.to_bytes(4, "big") + bytes(12) + name + value


def test_stats_at_the_client() -> None:
    limits = Limits(stats=3)
    for count in (0, 2, 3):
        data = _statistic(b"n", b"v") * count + _statistic(b"", b"")
        told = tell_three_ways(lambda client: client.send(Stats()), data, limits)
        assert told.replies == [StatsReply(((b"n", b"v"),) * count)]
    for count in (4, 5, 9):
        data = _statistic(b"n", b"v") * count + _statistic(b"", b"")
        told = tell_three_ways(lambda client: client.send(Stats()), data, limits)
        assert told == Told([_too_large(b"statistics are 4 and more, limit is 3")])


def test_size_of_stats_at_the_client() -> None:
    limits = Limits(answer=10)
    for size in (3, 4):
        data = _statistic(b"n", b"v" * 4) + _statistic(b"m", b"w" * size) + _statistic(b"", b"")
        told = tell_three_ways(lambda client: client.send(Stats()), data, limits)
        assert told.replies == [StatsReply(((b"n", b"v" * 4), (b"m", b"w" * size)))]
    data = _statistic(b"n", b"v" * 4) + _statistic(b"m", b"w" * 5) + _statistic(b"", b"")
    told = tell_three_ways(lambda client: client.send(Stats()), data, limits)
    assert told == Told([_too_large(b"statistics are 11 bytes and more, limit is 10")])


def _hit_of(size: int, key: bytes) -> bytes:
    body = 4 + len(key) + size
    head = wire("810d") + len(key).to_bytes(2, "big") + wire("04000000") + body.to_bytes(4, "big") + bytes(12)
    return head + bytes(4) + key + bytes(size)


def test_what_is_incomplete_never_exceeds_one_packet() -> None:
    limits = Limits(value=64, head=512)
    server = ServerConnection(limits)
    for byte in each_byte(_set(64)[:-1]):
        server.receive_data(byte)
        assert server.next_event() is Signal.NEED_DATA
        assert server.buffered <= 64 + 512
    client = ClientConnection(limits)
    client.send(Get((b"a", b"b")))
    hit = wire("810d0001 04000000 00000045 00000000 0000000000000000 00000000 'a'") + bytes(64)
    for at, byte in enumerate(each_byte(hit)):
        client.receive_data(byte)
        assert client.next_event() is Signal.NEED_DATA
        # A whole packet is taken at once.
        assert client.buffered == (at + 1) % len(hit)
    # Of packets over a limit nothing is held but the header.
    for data in (_hit_of(65, b"a"), _hit_of(1 << 20, b"a"), _hit_of(1, b"a" * 600)):
        client = ClientConnection(limits)
        client.send(Get((b"a", b"b")))
        most = 0
        for start in range(0, min(len(data), 5000), 50):
            client.receive_data(data[start : start + 50])
            assert client.next_event() is Signal.NEED_DATA
            most = max(most, client.buffered)
        assert most <= 64 + 512
        if len(data) > 5000:
            client.receive_data(data[5000:-1])
            assert client.next_event() is Signal.NEED_DATA
            assert client.buffered <= 64 + 512


def test_values_of_a_multi_get() -> None:
    def hit(opaque: str, value: bytes) -> bytes:
        head = f"810d0001 04000000 000000{5 + len(value):02x} {opaque} 0000000000000000 00000000"
        return wire(head) + b"abc"[int(opaque, 16) : int(opaque, 16) + 1] + value

    noop = wire("810a0000 00000000 00000000 00000003 0000000000000000")
    get = Get((b"a", b"b", b"c"))
    for size in (3, 4):
        data = hit("00000000", b"v" * 6) + hit("00000002", b"w" * size) + noop
        told = tell_three_ways(lambda client: client.send(get), data, Limits(answer=10))
        assert told.replies == [Values((Item(b"a", b"v" * 6), Item(b"c", b"w" * size)))]
    data = hit("00000000", b"v" * 6) + hit("00000002", b"w" * 5) + noop
    told = tell_three_ways(lambda client: client.send(get), data, Limits(answer=10))
    assert told == Told([_too_large(b"values are 11 bytes and more, limit is 10")])


def test_head_of_a_reply() -> None:
    def reply(key: bytes) -> bytes:
        return wire(f"81550{len(key):03x} 00000000 00000{len(key):03x} 00000000 0000000000000000") + key

    request = Unknown(Packet(0x80, 0x55))
    for size in (99, 100):
        told = tell_three_ways(lambda client: client.send(request), reply(b"k" * size), Limits(head=124))
        assert told.replies == [RawReply(key=b"k" * size)]
    told = tell_three_ways(lambda client: client.send(request), reply(b"k" * 101), Limits(head=124))
    assert told == Told([_too_large(b"header, extras and key are 125 bytes, limit is 124")])


def test_value_of_an_opcode_of_ones_own() -> None:
    own = OpcodeSpec(0x50, "OWN")
    over = b"\x80\x50\0\0\0\0\0\0" + (101).to_bytes(4, "big") + bytes(12) + b"v" * 101
    served = serve_binary_three_ways(over, limits=Limits(value=100), opcodes=[own])
    assert served.requests == [InvalidRequest(Failure(Status.VALUE_TOO_LARGE), "value is 101 bytes, limit is 100")]
    assert served.output == wire("81500000 00000003 0000000a 00000000 0000000000000000 'Too large.'")
