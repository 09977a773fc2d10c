"""Records as lines, fields, JSON and statistics; filters; values by a convention."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest

from memproto import (
    Dialect,
    Failure,
    Item,
    NoReply,
    ObservedExchange,
    Packet,
    Side,
    SkippedBytes,
    SkipReason,
    Status,
    UnmatchedReply,
    Values,
)
from memproto.capture.fields import format_fields, format_short
from memproto.capture.filters import FilterError, parse_filter
from memproto.capture.follower import Ends, Record
from memproto.capture.json_lines import record_object, to_json
from memproto.capture.lines import format_line, format_time, shown_value
from memproto.capture.raw_bytes import decode_bytes
from memproto.capture.statistics import Statistics
from memproto.capture.summary import opcode_name, shown, summarise
from memproto.capture.values import ValueReader
from memproto.conventions import CONVENTIONS
from memproto.model import ClassicEnvelope, Envelope, Get, MetaEnvelope, Quit, UnknownLine
from tests.support.pages import ROOT

ENDS = Ends("10.0.0.1:40000", "10.0.0.2:11211", "tcp")


def _packet(
    magic: int, opcode: int, extras: bytes = b"", key: bytes = b"", value: bytes = b"", status: int = 0
) -> bytes:
    sizes = len(key).to_bytes(2, "big") + bytes([len(extras), 0]) + status.to_bytes(2, "big")
    length = len(extras + key + value).to_bytes(4, "big")
    return bytes([magic, opcode]) + sizes + length + (42).to_bytes(4, "big") + bytes(8) + extras + key + value


def _record(data: bytes) -> Record:
    (record,) = decode_bytes([data], keep=True)
    return record._replace(ends=ENDS, time=100.5, latency=0.002)


def _event(event: ObservedExchange | UnmatchedReply | SkippedBytes) -> Record:
    return Record(event, ENDS, 100.5, None, 7, 5)


def _no_reply(reason: NoReply, envelope: Envelope | None = None) -> Record:
    return _event(ObservedExchange(envelope or ClassicEnvelope(Get((b"k",)), b"get"), reason, range(7), range(0)))


SKIPPED = _event(SkippedBytes(Side.SERVER, range(3, 13), SkipReason.FAULT, "magic is 0x67"))
UNMATCHED = _event(UnmatchedReply(Failure(Status.KEY_NOT_FOUND), range(5), Packet(0x81, 0, b"", b"", b"Not found", 1)))
UNMATCHED_TEXT = _event(UnmatchedReply(Values((Item(b"k", b"v"),)), range(5)))
GETKQ_NOOP = _packet(0x80, 0x0D, key=b"k") + _packet(0x80, 0x0A) + _packet(0x81, 0x0A)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"get k\r\nEND\r\n", ("classic", "get", (b"k",), "miss", "miss")),
        (b"get k\r\nVALUE k 7 1\r\nv\r\nEND\r\n", ("classic", "get", (b"k",), "hit", "hit, 1 byte, flags 7")),
        (
            b"get k l\r\nVALUE k 0 2\r\nvv\r\nEND\r\n",
            ("classic", "get", (b"k", b"l"), "hit", "hit 1 of 2, 2 bytes"),
        ),
        (b"set k 0 0 1\r\nv\r\nSTORED\r\n", ("classic", "set", (b"k",), "stored", "stored")),
        (
            b"cas k 0 0 1 5\r\nv\r\nEXISTS\r\n",
            ("classic", "cas", (b"k",), "key_exists", "key_exists: Data exists for key."),
        ),
        (b"delete k\r\nNOT_FOUND\r\n", ("classic", "delete", (b"k",), "miss", "miss")),
        (b"incr k 1\r\n15\r\n", ("classic", "incr", (b"k",), "ok", "15")),
        (b"touch k 1\r\nTOUCHED\r\n", ("classic", "touch", (b"k",), "touched", "touched")),
        (b"flush_all\r\nOK\r\n", ("classic", "flush_all", (), "ok", "ok")),
        (b"version\r\nVERSION 1.6.18\r\n", ("classic", "version", (), "ok", "1.6.18")),
        (b"stats\r\nSTAT pid 1\r\nEND\r\n", ("classic", "stats", (), "ok", "1 statistics")),
        (b"lru mode flat\r\nOK\r\n", ("classic", "lru", (), "ok", "OK")),
        (b"lru_crawler metadump all\r\nkey=a\r\nkey=b\r\nEND\r\n", ("classic", "lru_crawler", (), "ok", "3 lines")),
        (b"mg k v\r\nVA 1\r\nv\r\n", ("meta", "mg", (b"k",), "hit", "hit, 1 byte")),
        (b"md k\r\nHD\r\n", ("meta", "md", (b"k",), "deleted", "deleted")),
        (b"me k\r\nME k exp=-1\r\n", ("meta", "me", (b"k",), "ok", "ok")),
        (_packet(0x80, 0x20) + _packet(0x81, 0x20, value=b"PLAIN"), ("binary", "SASL_LIST_MECHS", (), "ok", "PLAIN")),
        (
            _packet(0x80, 0x21, key=b"PLAIN", value=b"\0u\0p") + _packet(0x81, 0x21, value=b"Authenticated"),
            ("binary", "SASL_AUTH", (), "authenticated", "authenticated"),
        ),
        (
            _packet(0x80, 0x00, key=b"k") + _packet(0x81, 0x00, value=b"?", status=0x86),
            ("binary", "GET", (b"k",), "status_134", "status_134: ?"),
        ),
        (
            _packet(0x80, 0x00, key=b"k") + _packet(0x81, 0x00, status=0x88),
            ("binary", "GET", (b"k",), "status_136", "status_136"),
        ),
    ],
)
def test_an_exchange_is_told_in_a_few_words(data: bytes, said: tuple[str, str, tuple[bytes, ...], str, str]) -> None:
    assert summarise(_record(data)) == said


def test_silence_after_a_quiet_get_is_a_miss_and_else_is_told_as_silence() -> None:
    quiet, _ = decode_bytes([GETKQ_NOOP], keep=False)
    assert summarise(quiet)[1:] == ("GETKQ", (b"k",), "miss", "miss, not answered")
    silent, _ = decode_bytes([b"delete k noreply\r\nmn\r\nMN\r\n"], keep=False)
    assert summarise(silent)[3:] == ("silent", "no reply asked for")


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (
            SKIPPED,
            (
                "",
                "",
                (),
                "skipped",
                "10 bytes of the server skipped: the sender broke the protocol or a limit (magic is 0x67)",
            ),
        ),
        (
            _event(SkippedBytes(Side.CLIENT, range(3), SkipReason.GAP)),
            ("", "", (), "skipped", "3 bytes of the client skipped: the bytes were not captured"),
        ),
        (UNMATCHED, ("binary", "GET", (), "unmatched", "a reply without its request: key_not_found: Not found")),
        (UNMATCHED_TEXT, ("", "", (), "unmatched", "a reply without its request: hit, 1 byte")),
        (_no_reply(NoReply.CLOSED), ("classic", "get", (b"k",), "closed", NoReply.CLOSED.value)),
        (_no_reply(NoReply.CLOSED, Envelope(Quit())), ("", "", (), "closed", NoReply.CLOSED.value)),
        (
            _no_reply(NoReply.CLOSED, ClassicEnvelope(UnknownLine(b"hello you"), b"", line=b"hello you")),
            ("classic", "hello", (), "closed", NoReply.CLOSED.value),
        ),
        (
            _event(
                ObservedExchange(
                    MetaEnvelope(Get((b"k",)), b"mg", (b"v",)), Values((Item(b"k", b"\0\0"),)), range(8), range(9), 2
                )
            ),
            ("meta", "mg", (b"k",), "hit", "hit, 2 bytes, 2 bytes of values not captured"),
        ),
    ],
)
def test_what_is_no_whole_exchange_is_told_too(
    record: Record, said: tuple[str, str, tuple[bytes, ...], str, str]
) -> None:
    assert summarise(record) == said


def test_a_line_has_its_columns() -> None:
    record = _record(b"get k l\r\nEND\r\n")
    assert format_line(record, summarise(record)) == (
        "00:01:40.500000  10.0.0.1:40000 > 10.0.0.2:11211        2.000ms  "
        "classic get        k and 1 more          >9 <5        miss"
    )
    assert format_line(record, summarise(record), "'v'").endswith("miss  'v'")
    udp = record._replace(ends=ENDS._replace(transport="udp"), time=None, latency=None)
    assert format_line(udp, summarise(udp)).startswith("-  10.0.0.1:40000 > 10.0.0.2:11211 udp          -  classic get")
    assert format_line(SKIPPED, summarise(SKIPPED)).split()[4:7] == ["-", "-", "-"]
    unknown = record._replace(ends=None)
    assert format_line(unknown, summarise(unknown)).startswith("00:01:40.500000    2.000ms  classic get")


def test_times_have_a_date_if_it_is_known() -> None:
    assert format_time(1700000000.25) == "2023-11-14 22:13:20.250000"
    assert format_time(86399.5) == "23:59:59.500000"


def test_bytes_are_shown_on_one_line() -> None:
    assert shown(b"a\r\n\xff\x00" + "é".encode()) == "a\\r\\n\\xff\\x00é"
    assert shown(b"x" * 61) == "x" * 60 + "..."
    assert shown_value("a") == "'a'"
    assert (opcode_name(0x0D), opcode_name(0xF0)) == ("GETKQ", "0xf0")


def _schema() -> dict[str, object]:
    page = (ROOT / "docs" / "captured-traffic.md").read_text(encoding="utf-8")
    found = re.search(r"^```json\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert found is not None
    schema: dict[str, object] = json.loads(found[1])
    return schema


VALIDATOR = jsonschema.Draft202012Validator(_schema())
TRAFFIC = [
    _record(b"get k\r\nVALUE k 16 1\r\n\xff\r\nEND\r\n"),
    _record(b"set k 16 0 2\r\nhi\r\nSTORED\r\n"),
    _record(_packet(0x80, 0x00, key=b"\xff") + _packet(0x81, 0x00, status=1)),
    SKIPPED,
    UNMATCHED,
    UNMATCHED_TEXT,
    _no_reply(NoReply.NOT_SEEN),
    *decode_bytes([GETKQ_NOOP], keep=False),
]


@pytest.mark.parametrize("record", TRAFFIC)
def test_json_fits_the_schema_of_the_page(record: Record) -> None:
    for reader in (None, ValueReader(CONVENTIONS["pymemcache-pickle"])):
        found = json.loads(json.dumps(record_object(record, summarise(record), reader)))
        VALIDATOR.validate(found)
        assert ("values" in found) is (reader is not None and found["type"] != "skipped")


def test_the_schema_refuses_what_is_not_said() -> None:
    found = record_object(TRAFFIC[0], summarise(TRAFFIC[0]), None)
    for change in ({"more": 1}, {"keys": [{"base64": 5}]}, {"dialect": "udp"}):
        assert not VALIDATOR.is_valid({**found, **change})
    assert not VALIDATOR.is_valid({name: value for name, value in found.items() if name != "request"})


def test_json_has_the_messages_with_their_fields() -> None:
    found = record_object(TRAFFIC[0], summarise(TRAFFIC[0]), None)
    assert found["request"] == {"kind": "Get", "keys": ["k"], "exptime": None, "meta": None}
    assert found["envelope"] == {"verb": "get", "noreply": False, "line": "get k"}
    assert found["reply"] == {
        "kind": "Values",
        "items": [
            {
                "kind": "Item",
                "key": "k",
                "value": {"base64": "/w=="},
                "flags": 16,
                "cas": 0,
                "base64": False,
                "meta": None,
            }
        ],
    }
    stored = record_object(TRAFFIC[1], summarise(TRAFFIC[1]), ValueReader(CONVENTIONS["pymemcache-pickle"]))
    assert stored["values"] == ["hi"]
    assert stored["request"] == {
        "kind": "Set", "key": "k", "value": "hi", "flags": 16, "exptime": 0, "cas": 0, "meta": None
    }  # fmt: skip


def test_values_of_any_kind_become_json() -> None:
    assert to_json({1: [True, 2.5, None, (b"a",)], "x": Dialect.META}) == {
        "1": [True, 2.5, None, ["a"]],
        "x": "Dialect.META",
    }


def test_a_value_that_cannot_be_read_says_why() -> None:
    reader = ValueReader(CONVENTIONS["pymemcache-pickle"])
    assert reader.read(b"5", 2) == 5
    (error,) = reader.values_of(_record(b"get k\r\nVALUE k 2 1\r\nx\r\nEND\r\n").event)
    assert isinstance(error, dict)
    assert "value is not" in error["error"]
    assert reader.values_of(SKIPPED.event) == []
    assert reader.values_of(UNMATCHED_TEXT.event) == [b"v"]


HIT = _record(b"get user:1 b\r\nVALUE b 0 1\r\nv\r\nEND\r\n")


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("dialect=classic", True),
        ("dialect=binary,classic", True),
        ("dialect!=classic", False),
        ("command=GET", True),
        ("command=g?ts", False),
        ("key=user:*", True),
        ("key = b", True),
        ("key=c", False),
        ("key!=c", True),
        ("status=hit", True),
        ("status!=hit,miss", False),
        ("latency>1ms", True),
        ("latency>=2ms", True),
        ("latency<2ms", False),
        ("latency<=2000us", True),
        ("latency=0.002", True),
        ("latency!=0.002s", False),
        ("size>20", True),
        ("size>=1k", False),
        ("size<1M", True),
    ],
)
def test_a_filter_holds_or_not(condition: str, holds: bool) -> None:
    assert parse_filter(condition)(HIT, summarise(HIT)) is holds


def test_no_latency_meets_no_condition_on_it() -> None:
    for condition in ("latency>0", "latency<1", "latency!=0"):
        assert not parse_filter(condition)(SKIPPED, summarise(SKIPPED))


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("key", "is not of the form NAME=VALUE"),
        ("colour=red", "'colour' is none of dialect, command, key, status, certain, latency, size"),
        ("key>b", "key is compared with = or !=, not with >"),
        ("latency>soon", "latency is compared with a number, alone or with one of s, ms, us, not with 'soon'"),
        ("size>5ms", "size is compared with a number, alone or with one of b, k, m, not with '5ms'"),
    ],
)
def test_a_filter_that_cannot_be_understood_is_told(condition: str, words: str) -> None:
    with pytest.raises(FilterError, match=re.escape(words)):
        parse_filter(condition)


def _counted(*records: Record) -> str:
    statistics = Statistics()
    for record in records:
        statistics.add(record, summarise(record))
    return statistics.format()


def test_statistics_tell_commands_hits_keys_sizes_expiries_errors_and_the_slowest() -> None:
    stored = _record(b"set user:1 0 60 300\r\n" + b"x" * 300 + b"\r\nSTORED\r\n")
    missed_in_binary = _record(_packet(0x80, 0x00, key=b"b") + _packet(0x81, 0x00, status=1))
    touched = _record(b"touch user:1 0\r\nTOUCHED\r\n")
    missed = _record(b"get user:1\r\nEND\r\n")._replace(time=102.0, latency=0.5)
    text = _counted(
        HIT,
        stored,
        touched,
        _record(b"touch user:2 -1\r\nTOUCHED\r\n"),
        _record(b"touch user:3 1900000000\r\nTOUCHED\r\n"),
        missed,
        missed_in_binary,
        SKIPPED,
        _no_reply(NoReply.CLOSED),
        _record(b"version\r\nERROR\r\n"),
    )
    assert text.splitlines()[:2] == ["9 exchanges in 1.500 s", "1 of 4 keys found: hit rate 25.0 %"]
    for part in (
        "commands\n  3  classic get\n  3  classic touch\n  1  classic set",
        "hot keys\n  4  user:1\n  2  b\n  1  user:2\n  1  user:3\n",
        "sizes of values\n  1  1 byte\n  1  256 to 511 bytes",
        "expiries\n  1  at once\n  1  never\n  1  32 to 63 seconds\n  1  at a Unix time",
        "errors and events\n  1  skipped\n  1  closed\n  1  unknown_command",
        "slowest\n  00:01:42.000000",
    ):
        assert part in text


def test_statistics_of_nothing_are_one_line() -> None:
    assert _counted() == "0 exchanges"
    assert _counted(HIT._replace(time=None, latency=None)).startswith("1 exchanges\n")
    assert "0 of 1 keys found" in _counted(_record(b"get k\r\nSERVER_ERROR out of memory\r\n"))


def test_the_ten_slowest_are_kept() -> None:
    records = [HIT._replace(latency=number / 1000) for number in [*range(20), 3]]
    lines = _counted(*records).partition("slowest\n")[2].splitlines()
    assert [line.split("ms")[0].split()[-1] for line in lines] == [f"{number}.000" for number in range(19, 9, -1)]


def test_keys_are_counted_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memproto.capture.statistics._MAX_KEYS", 4)
    records = [_record(b"get %s\r\nEND\r\n" % key) for key in (b"a", b"a", b"b", b"c", b"d", b"e", b"f")]
    statistics = Statistics()
    for record in records:
        statistics.add(record, summarise(record))
    assert len(statistics.keys) <= 4
    assert statistics.keys[b"a"] == 2


SET = bytes.fromhex(
    "80010003 08000000 0000000d 0000002a 0000000000000000"  # header
    "00000007 0000000a"  # flags, expiration
    "6b6579 6869"  # key, hi
)
STORED = bytes.fromhex("81010000 00000000 00000000 0000002a 0000000000000005")


def test_a_binary_exchange_is_explained_field_by_field() -> None:
    record = _record(SET + STORED)
    lines = format_fields(record).splitlines()
    assert lines[:16] == [
        "request SET, 37 bytes",
        "  80                       magic              128     REQUEST",
        "  01                       opcode             1       SET",
        "  00 03                    key_length         3       bytes of key",
        "  08                       extras_length      8       bytes of extras",
        "  00                       data_type          0       "
        "reserved: ignored in requests, 0 in memcached's responses",
        "  00 00                    vbucket_or_status  0       "
        "request: vbucket id, ignored by memcached; response: status",
        "  00 00 00 0d              body_length        13      extras + key + value, in bytes",
        "  00 00 00 2a              opaque             42      copied into the response bit for bit",
        "  00 00 00 00 00 00 00 00  cas                0       version of the item, 0 for none",
        "  00 00 00 07              flags              7       "
        "the client's own 32 bits, stored with the item and given back",
        "  00 00 00 0a              expiration         10      "
        "0 never; up to 2592000 seconds from now; above that Unix time",
        "  6b 65 79                 key                b'key'",
        "  68 69                    value              b'hi'",
        "  = Set(key=b'key', value=b'hi', flags=7, exptime=10, cas=0, meta=None)",
        "response SET, 24 bytes",
    ]
    assert "  00 00                    vbucket_or_status  0    status SUCCESS" in lines
    assert lines[-1] == "  = Stored(cas=5)"
    assert format_short(record).splitlines() == [
        "> request  SET, opaque 42, flags 7, expiration 10, key b'key', value b'hi'",
        "< response SET, opaque 42, cas 5",
    ]


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (
            _packet(0x80, 0x05, bytes(20), b"k") + _packet(0x81, 0x05, value=bytes(7) + b"\x0a"),
            "counter            10   the new number",
        ),
        (
            _packet(0x80, 0x0D, key=b"k") + _packet(0x81, 0x0D, bytes(4), b"k", b"v"),
            "GETKQ: a miss is not answered",
        ),
        (_packet(0x80, 0xDD) + _packet(0x81, 0xDD, status=0x81), "request unknown opcode, 24 bytes"),
        (_packet(0x80, 0x00, key=b"k") + _packet(0x81, 0x00, status=0x85), "status of another server"),
        (_packet(0x80, 0x00, key=b"k") + _packet(0x81, 0x00, value=b"Not found", status=1), "the server's message"),
        (
            _packet(0x80, 0xDD, b"\xff") + _packet(0x81, 0xDD, status=0x81),
            "extras             b'\\xff'  of no declared layout",
        ),
        (
            _packet(0x80, 0x0B) + _packet(0x81, 0x0B, value=b"1" * 20),
            "value              b'1111111111111111'... (20 bytes)",
        ),
    ],
)
def test_unusual_packets_are_explained_too(data: bytes, seen: str) -> None:
    record = _record(data)
    assert seen in format_fields(record)
    assert "opaque 42" in format_short(record)


def _fields(data: bytes) -> list[tuple[str, ...]]:
    """The lines of an explanation without the title lines, each cut where columns are."""
    lines = format_fields(_record(data)).splitlines()
    return [tuple(re.split(r"  +", line.strip())) for line in lines if line.startswith("  ")]


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (
            b"incr k 5\r\n15\r\n",
            [
                ("command", "b'incr'", "Increment"),
                ("key", "b'k'"),
                ("delta", "b'5'"),
                ("line", "b'15\\r\\n'", "the new number"),
            ],
        ),
        (
            b"get k l\r\nVALUE l 0 2\r\nhi\r\nEND\r\n",
            [
                ("command", "b'get'", "Get"),
                ("keys", "b'k'"),
                ("keys", "b'l'"),
                ("line", "b'VALUE l 0 2\\r\\n'", "an item: key, flags, length, CAS if asked for"),
                ("data", "b'hi'"),
                ("line", "b'END\\r\\n'", "the end of the items"),
            ],
        ),
        (
            b"mg key v Oab\r\nVA 2 Oab W\r\nhi\r\n",
            [
                ("command", "b'mg'"),
                ("key", "b'key'"),
                ("flag", "b'v'", "return the value"),
                ("flag", "b'Oab'", "opaque, returned as it is"),
                (
                    "line",
                    "b'VA 2 Oab W\\r\\n'",
                    "a value: length; Oab opaque, returned as it is; W you are to store it again",
                ),
                ("data", "b'hi'"),
            ],
        ),
        (
            b"ms key 2 T0\r\nhi\r\nNS\r\n",
            [
                ("command", "b'ms'"),
                ("key", "b'key'"),
                ("length", "b'2'", "bytes of data behind the line"),
                ("flag", "b'T0'", "set the expiry"),
                ("data", "b'hi'"),
            ],
        ),
        (
            b"stats\r\nSTAT pid 1\r\nEND\r\n",
            [
                ("command", "b'stats'", "Stats"),
                ("line", "b'STAT pid 1\\r\\n'", "a statistic: name, value"),
                ("line", "b'END\\r\\n'", "the end of the statistics"),
            ],
        ),
        (
            b"verbosity 1 2 3\r\nERROR\r\n",
            [
                ("command", "b'verbosity'", "Verbosity"),
                ("level", "b'1'"),
                ("word", "b'2'"),
                ("word", "b'3'"),
                ("line", "b'ERROR\\r\\n'", "refused: UNKNOWN_COMMAND"),
            ],
        ),
        (b"me k\r\nEN\r\n", [("line", "b'me k'"), ("line", "b'EN\\r\\n'", "refused: KEY_NOT_FOUND")]),
        (b"md azE= b x\r\nHD\r\n", [("flag", "b'b'", "the key is base64"), ("line", "b'HD\\r\\n'", "it is removed")]),
    ],
)
def test_text_is_explained_word_by_word(data: bytes, rows: list[tuple[str, ...]]) -> None:
    said = [row for row in _fields(data) if not row[0].startswith("= ")]
    assert all(row in said for row in rows), said


def test_what_has_no_reply_is_explained_too() -> None:
    quiet, _ = decode_bytes([b"delete k noreply\r\nmn\r\nMN\r\n"], keep=True)
    assert format_fields(quiet).splitlines() == [
        "request, 18 bytes",
        "  command  b'delete'   Delete",
        "  key      b'k'",
        "  noreply  b'noreply'  no reply is wanted",
        "  = Delete(key=b'k', cas=0, meta=None)",
        "no reply: the request asked for none, or for failures only",
    ]
    for noreply in (b"set k 0 0 1 noreply\r\nv\r\nmn\r\nMN\r\n",):
        stored, _ = decode_bytes([noreply], keep=True)
        assert "  noreply  b'noreply'  no reply is wanted" in format_fields(stored)
    closed = _no_reply(NoReply.CLOSED)._replace(request=b"get k\r\n")
    assert format_fields(closed).endswith("\nno reply: the connection ended before the reply")


def test_replies_without_a_request_and_skipped_bytes_are_explained_too() -> None:
    reply = _packet(0x81, 0x00, value=b"Not found", status=1)
    assert format_fields(UNMATCHED._replace(reply=reply)).startswith("response GET, 33 bytes\n")
    text = format_fields(UNMATCHED_TEXT._replace(reply=b"VALUE k 0 1\r\nv\r\nEND\r\n"))
    assert text.splitlines()[1] == "  line  b'VALUE k 0 1\\r\\n'  an item: key, flags, length, CAS if asked for"
    assert format_fields(SKIPPED._replace(reply=b"gxx")).splitlines() == [
        "skipped",
        "  67 78 78  bytes  b'gxx'  the sender broke the protocol or a limit",
    ]


@pytest.mark.parametrize("damaged", [SET[:30], bytes(24)])
def test_packets_whose_bytes_were_lost_are_shown_as_bytes(damaged: bytes) -> None:
    (record,) = decode_bytes([SET + STORED], keep=True)
    lines = format_fields(record._replace(request=SET + damaged)).splitlines()
    assert any(line.endswith("not a whole packet") for line in lines)


def test_a_long_message_is_cut() -> None:
    line = next(
        line
        for line in format_fields(_record(b"set k 0 0 900\r\n" + b"x" * 900 + b"\r\nSTORED\r\n")).splitlines()
        if line.startswith("  = ")
    )
    assert line.endswith("xxx...")
    assert len(line) < 420


def test_a_word_of_a_meta_reply_that_has_no_meaning_is_left_unexplained() -> None:
    explained = format_fields(_record(b"mg YQ== b k v\r\nVA 1 kYQ== b\r\nx\r\n"))
    assert "a value: length; kYQ== the key" in explained
    assert "the key; b" not in explained
