"""Frames in, exchanges out: which connections are memcached's, which end is the client, what UDP says."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from memproto import Side
from memproto.capture.decoder import Decoder
from memproto.capture.follower import Ends, Follower, Record, _Stream
from memproto.capture.packets import Frame, LinkType, Skipped
from memproto.capture.sources import Packets, recognise
from memproto.capture.summary import summarise
from tests.capture.frames import ACK, CLIENT, FIN, RST, SERVER, SYN, End, ip, tcp, udp
from tests.support.peers import ROOT

CAPTURES = ROOT / "tests" / "data" / "captures"
OTHER_PORT = (SERVER[0], 5000)
SECOND = (CLIENT[0], 40001)


def _frames(*packets: bytes, begin: float = 0.0) -> list[Frame]:
    return [Frame(begin + order / 1000, LinkType.RAW, packet) for order, packet in enumerate(packets)]


def _dialog(client: End, server: End, *messages: tuple[End, bytes], opened: bool = True) -> list[bytes]:
    """The packets of a connection, with or without its beginning."""
    packets = [tcp(client, server, seq=99, flags=SYN), tcp(server, client, seq=499, ack=100, flags=SYN | ACK)] * opened
    at = {client: 100, server: 500}
    for source, data in messages:
        target = server if source == client else client
        packets.append(tcp(source, target, data, at[source], at[target]))
        at[source] += len(data)
    return packets


def _decoded(decoder: Decoder, frames: Iterable[Frame]) -> list[Record]:
    return [record for frame in frames for record in decoder.add(frame)] + list(decoder.end())


def _said(records: Iterable[Record]) -> list[tuple[str, str]]:
    return [(summary.command, summary.result) for summary in map(summarise, records)]


GET, END = (CLIENT, b"get k\r\n"), (SERVER, b"END\r\n")


def test_an_exchange_has_its_ends_time_latency_and_sizes() -> None:
    (record,) = _decoded(Decoder(), _frames(*_dialog(CLIENT, SERVER, GET, END), begin=100.0))
    assert record.ends == Ends("10.0.0.1:40000", "10.0.0.2:11211", "tcp")
    assert (record.time, record.sent, record.received) == (100.002, 7, 5)
    assert record.latency == pytest.approx(0.001)
    assert (record.request, record.reply) == (b"", b"")


def test_the_bytes_of_messages_are_kept_on_request() -> None:
    messages = [(CLIENT, b"get k"), (CLIENT, b"\r\nmn\r\n"), (SERVER, b"EN"), (SERVER, b"D\r\nMN\r\n")]
    first, second = _decoded(Decoder(keep=True), _frames(*_dialog(CLIENT, SERVER, *messages)))
    assert [(each.request, each.reply) for each in (first, second)] == [
        (b"get k\r\n", b"END\r\n"),
        (b"mn\r\n", b"MN\r\n"),
    ]
    # From the last byte of the request to the last of the reply.
    assert first.time == pytest.approx(0.002)
    assert first.latency == pytest.approx(0.002)


def test_a_connection_of_another_port_is_recognised_by_its_first_request() -> None:
    messages = [(CLIENT, b"get k\r\n"), (OTHER_PORT, b"END\r\n")]
    for opened in (True, False):
        records = _decoded(Decoder(), _frames(*_dialog(CLIENT, OTHER_PORT, *messages, opened=opened)))
        # What went before may belong to the request, or to the reply.
        assert _said(records) == [("get", "miss" if opened else "miss, not certain")]
        assert records[0].ends == Ends("10.0.0.1:40000", "10.0.0.2:5000", "tcp")


def test_a_connection_of_something_else_is_left_out() -> None:
    decoder = Decoder()
    http = [(CLIENT, b"GET / HTTP/1.1\r\n\r\n"), (OTHER_PORT, b"HTTP/1.1 200 OK\r\n"), (CLIENT, b"get k\r\n")]
    mail = [(OTHER_PORT, b"220 ready\r\n"), (SECOND, b"get k\r\n")]
    packets = _dialog(CLIENT, OTHER_PORT, *http) + _dialog(SECOND, OTHER_PORT, *mail)
    assert _decoded(decoder, _frames(*packets)) == []
    assert decoder.others == 2


def test_a_capture_that_begins_in_the_middle_of_a_value_waits_for_a_request() -> None:
    parts = [(OTHER_PORT, b"the rest of a value\r\nEND\r\n")] * 3 + [(CLIENT, b"get k\r\n"), (OTHER_PORT, b"END\r\n")]
    said = _said(_decoded(Decoder(), _frames(*_dialog(CLIENT, OTHER_PORT, *parts, opened=False))))
    assert said == [("get", "miss, not certain")]
    assert _decoded(Decoder(), _frames(*_dialog(CLIENT, OTHER_PORT, *parts[:3], opened=False))) == []
    decoder = Decoder()
    packets = _dialog(CLIENT, OTHER_PORT, *parts[:1] * 9, *parts[3:], opened=False)
    assert _decoded(decoder, _frames(*packets)) == []
    assert decoder.others == 1


@pytest.mark.parametrize("server", [OTHER_PORT, SERVER])
def test_a_lost_request_is_told_and_the_next_ones_are_decoded(server: End) -> None:
    lost = b"set a 0 0 1\r\nv\r\n"
    packets = _dialog(
        CLIENT, server, (CLIENT, lost), (server, b"STORED\r\n"), (CLIENT, b"get k\r\n"), (server, b"END\r\n")
    )
    del packets[2]
    said = _said(_decoded(Decoder(), _frames(*packets)))
    assert ("get", "miss, not certain") in said
    assert ("", "16 bytes of the client skipped: the bytes were not captured") in said


def test_a_lost_reply_is_told() -> None:
    packets = _dialog(
        CLIENT,
        SERVER,
        (CLIENT, b"mg k k v\r\n"),
        (SERVER, b"VA 1 kk\r\nv\r\n"),
        (CLIENT, b"mn\r\n"),
        (SERVER, b"MN\r\n"),
    )
    del packets[3]
    records = _decoded(Decoder(keep=True), _frames(*packets))
    assert ("", "12 bytes of the server skipped: the bytes were not captured") in _said(records)
    assert ("mn", "ok, not certain") in _said(records)
    (skipped,) = (record for record in records if summarise(record).status == "skipped")
    assert (skipped.sent, skipped.received, skipped.reply) == (0, 12, bytes(12))


def test_a_value_that_was_cut_by_the_capture_has_zeros_in_its_place() -> None:
    packets = _dialog(
        CLIENT, SERVER, (CLIENT, b"get k\r\n"), (SERVER, b"VALUE k 0 8\r\nabcd"), (SERVER, b"efgh\r\nEND\r\n")
    )
    # The second half of the value was captured without its last bytes.
    frames = _frames(*packets[:-1], packets[-1][:-9])
    (record,) = (each for each in _decoded(Decoder(keep=True), frames) if summarise(each).command)
    assert summarise(record).command == "get"


def test_a_reply_without_its_request_is_told() -> None:
    packets = _dialog(CLIENT, SERVER, (SERVER, b"VALUE k 0 1\r\nv\r\nEND\r\n"), GET, END, opened=False)
    records = _decoded(Decoder(keep=True), _frames(*packets))
    assert [summarise(record).status for record in records][-1] == "miss"
    (unmatched,) = (record for record in records if summarise(record).status == "unmatched")
    assert unmatched.reply == b"VALUE k 0 1\r\nv\r\nEND\r\n"
    assert unmatched.time == 0.0


def test_a_faulty_message_is_told_and_the_next_ones_are_decoded() -> None:
    noop = bytes.fromhex("800a0000 00000000 00000000 00000001 0000000000000000")
    faulty = b"\x07" + noop[1:]
    packets = _dialog(
        CLIENT,
        SERVER,
        (CLIENT, noop),
        (CLIENT, faulty + noop),
        (SERVER, b"\x81" + noop[1:]),
        (SERVER, b"\x81" + noop[1:]),
    )
    records = _decoded(Decoder(keep=True), _frames(*packets))
    assert {"ok"} <= {summarise(record).status for record in records}
    assert len(records) >= 3


def test_named_ports_are_the_only_ones() -> None:
    frames = _frames(
        *_dialog(CLIENT, SERVER, GET, END), *_dialog(SECOND, OTHER_PORT, (SECOND, b"mn\r\n"), (OTHER_PORT, b"MN\r\n"))
    )
    assert _said(_decoded(Decoder(frozenset({5000})), frames)) == [("mn", "ok")]
    assert len(_decoded(Decoder(frozenset({5000, 11211})), frames)) == 2
    assert _decoded(Decoder(frozenset({80})), frames) == []


def test_the_port_says_which_end_is_the_client_of_a_capture_without_its_beginning() -> None:
    frames = _frames(*_dialog(CLIENT, SERVER, (SERVER, b"STORED\r\n"), GET, END, opened=False))
    records = _decoded(Decoder(), frames)
    assert ("get", "miss, not certain") in _said(records)
    assert {record.ends for record in records} == {Ends("10.0.0.1:40000", "10.0.0.2:11211", "tcp")}


def test_a_connection_that_ends_gives_what_had_no_reply() -> None:
    packets = _dialog(CLIENT, SERVER, GET)
    packets += [
        tcp(CLIENT, SERVER, seq=107, ack=500, flags=FIN | ACK),
        tcp(SERVER, CLIENT, seq=500, ack=108, flags=FIN | ACK),
    ]
    decoder = Decoder()
    records = [record for frame in _frames(*packets) for record in decoder.add(frame)]
    assert len(records) == 1
    assert summarise(records[0]).status == "not_seen"
    assert list(decoder.end()) == []


def test_frames_without_a_segment_are_counted() -> None:
    decoder = Decoder()
    packets = [ip("10.0.0.1", "10.0.0.2", 1, bytes(8)), b"", b""]
    assert _decoded(decoder, _frames(*packets)) == []
    assert decoder.skipped == {Skipped.OTHER_PROTOCOL: 1, Skipped.TRUNCATED: 2}


def _datagram(request_id: int, payload: bytes, sequence: int = 0, total: int = 1) -> bytes:
    return b"".join(number.to_bytes(2, "big") for number in (request_id, sequence, total, 0)) + payload


def test_exchanges_over_udp_are_matched_by_request_id() -> None:
    records = _decoded(
        Decoder(keep=True),
        _frames(
            udp(CLIENT, SERVER, _datagram(7, b"get k\r\n")),
            udp(CLIENT, SERVER, _datagram(8, b"mn\r\n")),
            udp(SERVER, CLIENT, _datagram(8, b"MN\r\n")),
            # The reply in two datagrams, the second first.
            udp(SERVER, CLIENT, _datagram(7, b"END\r\n", 1, 2)),
            udp(SERVER, CLIENT, _datagram(7, b"VALUE k 0 1\r\nv\r\n", 0, 2)),
        ),
    )
    assert _said(records) == [("mn", "ok"), ("get", "hit, 1 byte")]
    assert records[0].ends == Ends("10.0.0.1:40000", "10.0.0.2:11211", "udp")
    assert records[1].reply == b"VALUE k 0 1\r\nv\r\nEND\r\n"


def test_datagrams_that_answer_nothing_are_passed_over() -> None:
    packets = [
        udp(SERVER, CLIENT, b"short"),
        udp(CLIENT, SERVER, b"short"),
        udp(SERVER, CLIENT, _datagram(9, b"MN\r\n")),
        udp(CLIENT, OTHER_PORT, _datagram(9, b"mn\r\n")),
    ]
    assert _decoded(Decoder(), _frames(*packets)) == []


def test_a_request_id_that_comes_again_ends_the_question_before() -> None:
    ask = udp(CLIENT, SERVER, _datagram(7, b"mn\r\n"))
    records = _decoded(Decoder(), _frames(ask, ask, udp(SERVER, CLIENT, _datagram(7, b"MN\r\n"))))
    assert summarise(records[0]).status == "not_seen"
    assert [summarise(record).status for record in records[1:]] == ["ok"]


def test_questions_that_are_never_answered_make_room() -> None:
    asks = [udp(CLIENT, SERVER, _datagram(number, b"mn\r\n")) for number in range(1025)]
    decoder = Decoder()
    assert len([record for frame in _frames(*asks) for record in decoder.add(frame)]) == 1
    assert len(list(decoder.end())) == 1024


@pytest.mark.parametrize("path", sorted(CAPTURES.glob("*.pcap")), ids=lambda path: path.stem)
def test_recorded_traffic_is_all_exchanges(path: Path) -> None:
    with path.open("rb") as file:
        source = recognise(file)
        assert isinstance(source, Packets)
        records = _decoded(Decoder(keep=True), source.frames)
    summaries = [summarise(record) for record in records]
    assert len(records) >= 6
    assert {"user:1", "nothing"} <= {key.decode() for summary in summaries for key in summary.keys}
    assert not {summary.status for summary in summaries} & {"skipped", "unmatched", "not_seen", "unknown_command"}
    for record in records:
        assert (len(record.request), len(record.reply)) == (record.sent, record.received)
        assert record.latency is None or 0 <= record.latency < 1


def test_bytes_that_are_not_held_any_more_have_no_time() -> None:
    stream = _Stream()
    assert stream.times(range(3)) == (None, None)
    stream.add(3, 1.0, b"abc")
    stream.add(3, 2.0, b"")
    assert stream.times(range(1, 4)) == (1.0, 2.0)
    assert stream.bytes_of(range(1, 5)) == b"bc\0\0"
    stream.release(3)
    assert stream.times(range(3, 4)) == (2.0, 2.0)


def test_a_request_without_a_reply_is_closed_only_if_the_server_was_seen_to_finish() -> None:
    packets = _dialog(CLIENT, SERVER, GET, END, GET)
    fin = tcp(SERVER, CLIENT, seq=505, ack=114, flags=FIN | ACK)
    reset = tcp(SERVER, CLIENT, seq=505, ack=114, flags=RST)
    for end, status in (None, "not_seen"), (fin, "closed"), (reset, "closed"):
        records = _decoded(Decoder(), _frames(*packets, *([end] if end else [])))
        assert [summarise(record).status for record in records] == ["miss", status]


def test_the_bytes_of_a_large_gap_are_not_held() -> None:
    follower = Follower(None, keep=True)
    follower.client_sent(b"version\r\n")
    lost, skipped = follower.lost(Side.SERVER, 1 << 40)
    assert summarise(lost).status == "not_seen"
    assert (skipped.received, len(skipped.reply)) == (1 << 40, 1 << 20)
