"""The server's side of the text dialects: literal lines in, literal lines out."""

from __future__ import annotations

import re

import pytest

from memproto import (
    Add,
    AdminCommand,
    AdminReply,
    AnyReply,
    AnyRequest,
    Append,
    Authenticated,
    Challenge,
    ClassicEnvelope,
    ClusterConfig,
    ClusterConfigReply,
    ClusterNode,
    Counter,
    Decrement,
    Delete,
    Deleted,
    Dialect,
    Failure,
    Flush,
    Get,
    Increment,
    InvalidRequest,
    Item,
    ItemMeta,
    Limits,
    LocalProtocolError,
    MetaDebug,
    MetaDebugReply,
    MetaEnvelope,
    MetaOptions,
    Noop,
    Ok,
    Prepend,
    Quit,
    RawReply,
    RemoteProtocolError,
    Replace,
    SaslAuth,
    ServerConnection,
    ServerState,
    Set,
    Signal,
    Stats,
    StatsReply,
    Status,
    Stored,
    Touch,
    Touched,
    UnknownLine,
    Values,
    Verbosity,
    Version,
    VersionReply,
)
from memproto._wire.buffer import ReceiveBuffer
from memproto.text import decode_reply, decode_request, encode_reply, encode_request, meta_envelope
from memproto.text._server import TextServer
from tests.support.serving import TEXT, serve, serve_three_ways
from tests.support.wire import each_byte

ITEM = Item(b"k", b"ab", 5, 9)
HIT = Values((ITEM,))
MISS = Failure(Status.KEY_NOT_FOUND)
EXISTS = Failure(Status.KEY_EXISTS)
NOT_STORED = Failure(Status.NOT_STORED)

#: Request, what it says, a reply, and what that says.
EXCHANGES: list[tuple[bytes, AnyRequest, AnyReply, bytes]] = [
    # classic
    (b"get k\r\n", Get((b"k",)), Values((Item(b"k", b"ab", 5),)), b"VALUE k 5 2\r\nab\r\nEND\r\n"),
    (b"get k\r\n", Get((b"k",)), Values(), b"END\r\n"),
    (b"get k\r\n", Get((b"k",)), Failure(Status.OUT_OF_MEMORY, b"x"), b"SERVER_ERROR x\r\n"),
    (b"gets k k\r\n", Get((b"k", b"k")), Values((ITEM, ITEM)), b"VALUE k 5 2 9\r\nab\r\n" * 2 + b"END\r\n"),
    (b"gat -1 k\r\n", Get((b"k",), -1), Values((Item(b"k", b""),)), b"VALUE k 0 0\r\n\r\nEND\r\n"),
    (b"gats 10 k\r\n", Get((b"k",), 10), HIT, b"VALUE k 5 2 9\r\nab\r\nEND\r\n"),
    (b"set k 5 6 2\r\nab\r\n", Set(b"k", b"ab", 5, 6), Stored(), b"STORED\r\n"),
    (b"cas k 5 6 2 9\r\nab\r\n", Set(b"k", b"ab", 5, 6, 9), EXISTS, b"EXISTS\r\n"),
    (b"cas k 5 6 2 9\r\nab\r\n", Set(b"k", b"ab", 5, 6, 9), MISS, b"NOT_FOUND\r\n"),
    (b"add k 5 6 2\r\nab\r\n", Add(b"k", b"ab", 5, 6), EXISTS, b"NOT_STORED\r\n"),
    (b"replace k 5 6 2\r\nab\r\n", Replace(b"k", b"ab", 5, 6), MISS, b"NOT_STORED\r\n"),
    (b"append k 0 0 2\r\nab\r\n", Append(b"k", b"ab"), NOT_STORED, b"NOT_STORED\r\n"),
    (b"prepend k 0 0 0\r\n\r\n", Prepend(b"k", b""), Stored(), b"STORED\r\n"),
    (b"delete k\r\n", Delete(b"k"), Deleted(), b"DELETED\r\n"),
    (b"incr k 5\r\n", Increment(b"k", 5), Counter(18446744073709551615), b"18446744073709551615\r\n"),
    (b"decr k 5\r\n", Decrement(b"k", 5), MISS, b"NOT_FOUND\r\n"),
    (b"touch k -5\r\n", Touch(b"k", -5), Touched(), b"TOUCHED\r\n"),
    (b"flush_all\r\n", Flush(), Ok(), b"OK\r\n"),
    (b"flush_all 5\r\n", Flush(5), Failure(Status.AUTH_ERROR), b"CLIENT_ERROR flush_all not allowed\r\n"),
    (b"verbosity 1\r\n", Verbosity(1), Ok(), b"OK\r\n"),
    (b"version\r\n", Version(), VersionReply(b"1.6.18"), b"VERSION 1.6.18\r\n"),
    (b"quit\r\n", Quit(), Ok(), b""),
    (b"stats\r\n", Stats(), StatsReply(((b"a", b"b c"), (b"d", b""))), b"STAT a b c\r\nSTAT d \r\nEND\r\n"),
    (b"stats reset\r\n", Stats(b"reset"), StatsReply(), b"RESET\r\n"),
    (b"stats detail on\r\n", Stats(b"detail on"), StatsReply(), b"OK\r\n"),
    (b"stats detail dump\r\n", Stats(b"detail dump"), StatsReply(((b"detailed", b"PREFIX a get 1\r\nEND\r\n"),)),
     b"PREFIX a get 1\r\nEND\r\n"),
    (b"stats nope\r\n", Stats(b"nope"), MISS, b"ERROR\r\n"),
    # What follows a group that is known is not looked at.
    (b"stats settings items\r\n", Stats(b"settings"), StatsReply(((b"a", b"b"),)), b"STAT a b\r\nEND\r\n"),
    (b"stats detail on x\r\n", Stats(b"detail on"), StatsReply(), b"OK\r\n"),
    (b"stats cachedump 1 9\r\n", AdminCommand((b"stats", b"cachedump", b"1", b"9")),
     AdminReply((b"ITEM k [1 b; 0 s]", b"END")), b"ITEM k [1 b; 0 s]\r\nEND\r\n"),
    (b"cache_memlimit 64\r\n", AdminCommand((b"cache_memlimit", b"64")), AdminReply(), b"OK\r\n"),
    (b"shutdown\r\n", AdminCommand((b"shutdown",)), Failure(Status.UNKNOWN_COMMAND, b": shutdown not enabled"),
     b"ERROR: shutdown not enabled\r\n"),
    (b"slabs automove 1\r\n", AdminCommand((b"slabs", b"automove", b"1")), AdminReply((b"BUSY x",)), b"BUSY x\r\n"),
    (b"lru_crawler metadump all\r\n", AdminCommand((b"lru_crawler", b"metadump", b"all")),
     AdminReply((b"OK", b"key=k", b"END")), b"OK\r\nkey=k\nEND\r\n"),
    (b"lru_crawler mgdump all\r\n", AdminCommand((b"lru_crawler", b"mgdump", b"all")),
     AdminReply((b"OK", b"mg k", b"EN")), b"OK\r\nmg k\r\nEN\r\n"),
    (b"watch evictions\r\n", UnknownLine(b"watch evictions"), RawReply(value=b"OK\r\n"), b"OK\r\n"),
    (b"foo bar\r\n", UnknownLine(b"foo bar"), Failure(Status.UNKNOWN_COMMAND), b"ERROR\r\n"),
    (b"foo\r\n", UnknownLine(b"foo"), Failure(Status.UNKNOWN_COMMAND, b"no such"), b"ERROR no such\r\n"),
    # meta
    (b"mn\r\n", Noop(), Ok(), b"MN\r\n"),
    (b"me k\r\n", MetaDebug(b"k"), MetaDebugReply(((b"exp", b"-1"), (b"la", b"0"))), b"ME k exp=-1 la=0\r\n"),
    (
        b"config get cluster\r\n",
        ClusterConfig(),
        ClusterConfigReply(12, (ClusterNode(b"a.example", b"10.0.0.1", 11211), ClusterNode(b"b.example", b"", 11212))),
        b"CONFIG cluster 0 45\r\n12\na.example|10.0.0.1|11211 b.example||11212\n\r\nEND\r\n",
    ),
    (b"config get cluster\r\n", ClusterConfig(), Failure(Status.UNKNOWN_COMMAND), b"ERROR\r\n"),
    (b"config get other\r\n", UnknownLine(b"config get other"), Failure(Status.UNKNOWN_COMMAND), b"ERROR\r\n"),
    (b"me k\r\n", MetaDebug(b"k"), MISS, b"EN\r\n"),
    (b"mg k\r\n", Get((b"k",), None, MetaOptions()), HIT, b"HD\r\n"),
    (b"mg k v\r\n", Get((b"k",), None, MetaOptions()), HIT, b"VA 2\r\nab\r\n"),
    (b"mg k s v f c k Ox q\r\n", Get((b"k",), None, MetaOptions()), HIT, b"VA 2 s2 f5 c9 kk Ox\r\nab\r\n"),
    (b"mg k s\r\n", Get((b"k",), None, MetaOptions()), Values((Item(b"k", b"", meta=ItemMeta(size=7)),)), b"HD s7\r\n"),
    (b"mg k T5 t h l\r\n", Get((b"k",), 5, MetaOptions(details=True)),
     Values((Item(b"k", b"", meta=ItemMeta(5, True, 3)),)), b"HD t5 h1 l3\r\n"),
    (b"mg k N5 R6 u C7 E8 v\r\n", Get((b"k",), None, MetaOptions(5, 6, False, 7, 8)),
     Values((Item(b"k", b"", meta=ItemMeta(won=True, lost=True, stale=True)),)), b"VA 0 Z X W\r\n\r\n"),
    (b"mg k C7 v\r\n", Get((b"k",), None, MetaOptions(unless_cas=7)),
     Values((Item(b"k", b"", meta=ItemMeta(unchanged=True)),)), b"HD\r\n"),
    (b"mg Zm9v b k\r\n", Get((b"foo",), None, MetaOptions(base64=True)),
     Values((Item(b"foo", b"", base64=True),)), b"HD kZm9v b\r\n"),
    (b"mg AP8= b k\r\n", Get((b"\0\xff",), None, MetaOptions(base64=True)), Values((Item(b"\0\xff", b""),)),
     b"HD kAP8= b\r\n"),
    (b"mg k v O1 k\r\n", Get((b"k",), None, MetaOptions()), Values(), b"EN O1 kk\r\n"),
    (b"ms k 2 F5 T6 C7 c O1 k\r\nab\r\n", Set(b"k", b"ab", 5, 6, 7), Stored(9), b"HD c9 O1 kk\r\n"),
    (b"ms k 2 ME C7\r\nab\r\n", Add(b"k", b"ab"), EXISTS, b"NS\r\n"),
    (b"ms k 2 MR c\r\nab\r\n", Replace(b"k", b"ab"), MISS, b"NS c0\r\n"),
    (b"ms k 2 MA C3 N5\r\nab\r\n", Append(b"k", b"ab", 3, MetaOptions(vivify=5)), EXISTS, b"EX\r\n"),
    (b"ms k 2 MP\r\nab\r\n", Prepend(b"k", b"ab"), NOT_STORED, b"NS\r\n"),
    (b"ms Zm9v 0 b I E5 k\r\n\r\n", Set(b"foo", b"", meta=MetaOptions(invalidate=True, new_cas=5, base64=True)),
     Stored(), b"HD kZm9v b\r\n"),
    (b"md k C5 k O2\r\n", Delete(b"k", 5), Deleted(), b"HD kk O2\r\n"),
    (b"md k I T5 E6 x\r\n", Delete(b"k", 0, MetaOptions(invalidate=True, exptime=5, new_cas=6, drop_value=True)),
     MISS, b"NF\r\n"),
    (b"ma k v c t O1 k\r\n", Increment(b"k", meta=MetaOptions(details=True)), Counter(17, 4, ItemMeta(30)),
     b"VA 2 c4 t30 O1 kk\r\n17\r\n"),
    (b"ma k t\r\n", Increment(b"k", meta=MetaOptions(details=True)), Counter(17), b"HD t-1\r\n"),
    (b"ma k MD D5 N6 J7 C8\r\n", Decrement(b"k", 5, 7, 6, 8), Counter(17), b"HD\r\n"),
    (b"ma k\r\n", Increment(b"k"), Failure(Status.DELTA_BAD_VALUE),
     b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"),
    (b"ma k\r\n", Increment(b"k"), Failure(Status.NOT_MY_VBUCKET), b"SERVER_ERROR \r\n"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "request_", "reply", "said"), EXCHANGES, ids=lambda value: repr(value)[:60])
def test_request_is_decoded_and_its_reply_encoded(
    data: bytes, request_: AnyRequest, reply: AnyReply, said: bytes
) -> None:
    envelope = decode_request(data)
    assert envelope.request == request_
    assert envelope.line + b"\r\n" == data[: data.index(b"\n") + 1]
    assert encode_request(envelope) == data
    assert encode_reply(reply, envelope) == said
    served = serve_three_ways(data, lambda to: reply if to.request == request_ else VersionReply(b"1.6.18"))
    assert (served.events, served.output, served.closed) == ([envelope], said, data == b"quit\r\n")


# --- quiet


@pytest.mark.parametrize(
    ("data", "silent", "answered"),
    [
        (b"mg k q\r\n", [Values(), MISS], {HIT: b"HD\r\n"}),
        (b"ms k 0 q\r\n\r\n", [Stored(1)], {NOT_STORED: b"NS\r\n", EXISTS: b"EX\r\n", MISS: b"NF\r\n"}),
        (b"md k q\r\n", [Deleted()], {MISS: b"NF\r\n", EXISTS: b"EX\r\n"}),
        (b"ma k q v\r\n", [Counter(1)], {MISS: b"NF\r\n", EXISTS: b"EX\r\n", NOT_STORED: b"NS\r\n"}),
    ],
)
def test_quiet_request_hides_its_success_or_miss_but_no_error(
    data: bytes, silent: list[AnyReply], answered: dict[AnyReply, bytes]
) -> None:
    envelope = decode_request(data)
    for reply in silent:
        assert encode_reply(reply, envelope) == b""
    for reply, said in answered.items():
        assert encode_reply(reply, envelope) == said
    assert encode_reply(Failure(Status.OUT_OF_MEMORY, b"x"), envelope) == b"SERVER_ERROR x\r\n"


@pytest.mark.parametrize(
    "data",
    [
        *(verb + b" k 0 0 1 noreply\r\nv\r\n" for verb in (b"set", b"add", b"replace", b"append", b"prepend")),
        b"cas k 0 0 1 5 noreply\r\nv\r\n",
        b"delete k noreply\r\n",
        b"delete k 0 noreply\r\n",
        b"incr k 1 noreply\r\n",
        b"decr k 1 noreply\r\n",
        b"touch k 1 noreply\r\n",
        b"flush_all noreply\r\n",
        b"flush_all 5 noreply\r\n",
        b"verbosity 1 noreply\r\n",
        b"cache_memlimit 64 noreply\r\n",
        # Refused, and silent too.
        b"set k x 0 1 noreply\r\nv\r\n",
        b"incr k x noreply\r\n",
        b"touch k x noreply\r\n",
        b"set k 0 0 1 noreply\r\nvvv",
    ],
)
def test_noreply_hides_success_and_failure(data: bytes) -> None:
    served = serve([data])
    assert len(served.events) == 1
    assert isinstance(served.events[0], ClassicEnvelope)
    assert served.events[0].noreply
    assert served.output == b""
    assert serve([data], lambda to: Failure(Status.OUT_OF_MEMORY)).output == b""


@pytest.mark.parametrize(
    "data", [b"get noreply\r\n", b"version noreply\r\n", b"foo noreply\r\n", b"delete noreply\r\n", b"set noreply\r\n"]
)
def test_noreply_of_a_command_without_it_hides_nothing(data: bytes) -> None:
    assert serve([data]).output != b""


# --- errors, ascii.md sections 1 to 6 and meta.md section 6

BAD_FORMAT = b"CLIENT_ERROR bad command line format\r\n"
LONG = b"k" * 251
REFUSED: list[tuple[bytes, bytes]] = [
    (b"\r\n", b"ERROR\r\n"),
    (b"\n", b"ERROR\r\n"),
    (b"   \r\n", b"ERROR\r\n"),
    (b"GET k\r\n", b"ERROR\r\n"),
    *((verb + b"\r\n", b"ERROR\r\n") for verb in (b"get", b"gets", b"gat", b"gats", b"set", b"cas", b"delete")),
    *((verb + b" k\r\n", b"ERROR\r\n") for verb in (b"incr", b"decr", b"touch", b"set", b"add", b"cas")),
    (b"cas k 0 0 1\r\n", b"ERROR\r\n"),
    (b"verbosity\r\n", b"ERROR\r\n"),
    (b"incr k 1 2 3\r\n", b"ERROR\r\n"),
    (b"touch k 1 2 3\r\n", b"ERROR\r\n"),
    (b"flush_all 1 2 3\r\n", b"ERROR\r\n"),
    (b"delete k 0 0 0\r\n", b"ERROR\r\n"),
    *((verb + b" " + LONG + b"\r\n", BAD_FORMAT) for verb in (b"get", b"gets", b"gat 0", b"delete", b"mg", b"md")),
    *((verb + b" " + LONG + b" 1\r\n", BAD_FORMAT) for verb in (b"incr", b"decr", b"touch")),
    (b"get ok " + LONG + b"\r\n", BAD_FORMAT),
    (b"set " + LONG + b" 0 0 1\r\nv\r\n", BAD_FORMAT),
    (b"ms " + LONG + b" 1\r\nv\r\n", BAD_FORMAT),
    *((b"set k " + flags + b" 0 1\r\nv\r\n", BAD_FORMAT) for flags in (b"x", b"-1", b"4294967296")),
    (b"set k 0 x 1\r\nv\r\n", BAD_FORMAT),
    *((b"set k 0 0 " + size + b"\r\n", BAD_FORMAT) for size in (b"x", b"-1", b"2147483646", b"9" * 30)),
    (b"cas k 0 0 1 x\r\n", BAD_FORMAT),
    (b"cas k 0 0 1 18446744073709551616\r\n", BAD_FORMAT),
    (b"set k 0 0 1\r\nvv\r", b"CLIENT_ERROR bad data chunk\r\n"),
    (b"delete k 1\r\n", b"CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]\r\n"),
    (b"incr k x\r\n", b"CLIENT_ERROR invalid numeric delta argument\r\n"),
    (b"decr k -1\r\n", b"CLIENT_ERROR invalid numeric delta argument\r\n"),
    (b"incr k 18446744073709551616\r\n", b"CLIENT_ERROR invalid numeric delta argument\r\n"),
    (b"touch k x\r\n", b"CLIENT_ERROR invalid exptime argument\r\n"),
    (b"gat x k\r\n", b"CLIENT_ERROR invalid exptime argument\r\n"),
    (b"flush_all x\r\n", b"CLIENT_ERROR invalid exptime argument\r\n"),
    (b"verbosity x\r\n", BAD_FORMAT),
    # meta
    *((command + b"\r\n", b"ERROR\r\n") for command in (b"mg", b"ms", b"md", b"ma")),
    (b"me\r\n", BAD_FORMAT),
    (b"me " + LONG + b"\r\n", BAD_FORMAT),
    (b"ms k\r\n", BAD_FORMAT),
    (b"ms k x\r\n", BAD_FORMAT),
    (b"ms k 2147483646\r\n", BAD_FORMAT),
    (b"ms k S2\r\n", BAD_FORMAT),
    (b"mg k v v\r\n", b"CLIENT_ERROR duplicate flag\r\n"),
    (b"md k q q\r\n", b"CLIENT_ERROR invalid or duplicate flag\r\n"),
    (b"ma k q q\r\n", b"CLIENT_ERROR invalid or duplicate flag\r\n"),
    (b"ms k 1 c c\r\nv\r\n", b"CLIENT_ERROR duplicate flag\r\n"),
    (b"mg k !\r\n", b"CLIENT_ERROR invalid flag\r\n"),
    (b"ms k 1 !\r\nv\r\n", b"CLIENT_ERROR invalid flag\r\n"),
    (b"md k !\r\n", b"CLIENT_ERROR invalid or duplicate flag\r\n"),
    *((b"mg k " + flag + b"\r\n", b"CLIENT_ERROR bad token in command line format\r\n")
      for flag in (b"T", b"Tx", b"N", b"Nx", b"R-", b"Cx", b"C-1")),
    (b"ms k 1 Fx\r\nv\r\n", BAD_FORMAT),
    (b"ma k Jx\r\n", b"CLIENT_ERROR invalid or duplicate flag\r\n"),
    (b"ma k D18446744073709551616\r\n", b"CLIENT_ERROR invalid or duplicate flag\r\n"),
    (b"ms k 1 MX\r\nv\r\n", b"CLIENT_ERROR invalid mode for ms M token\r\n"),
    (b"ms k 1 MSET\r\nv\r\n", b"CLIENT_ERROR incorrect length for M token\r\n"),
    (b"ma k MX\r\n", b"CLIENT_ERROR invalid mode for ma M token\r\n"),
    (b"mg k O" + b"x" * 32 + b"\r\n", b"CLIENT_ERROR opaque token too long\r\n"),
    (b"ms k 1 O" + b"x" * 32 + b"\r\nv\r\n", b"CLIENT_ERROR opaque token too long\r\n"),
    (b"mg k" + b" v" * 17 + b"\r\n", b"CLIENT_ERROR options flags are too long\r\n"),
    (b"ms k 1" + b" v" * 17 + b"\r\nv\r\n", b"CLIENT_ERROR options flags too long\r\n"),
    *((b"mg " + key + b" b\r\n", b"CLIENT_ERROR error decoding key\r\n") for key in (b"AP8", b"!!!", b"=")),
    (b"ms k 2\r\nhix\r", b"CLIENT_ERROR bad data chunk\r\n"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "said"), REFUSED, ids=lambda value: repr(value)[:50])
def test_malformed_line_is_refused_as_memcached_does(data: bytes, said: bytes) -> None:
    served = serve_three_ways(data)
    assert served.output == said
    assert not served.closed
    (event,) = served.events
    assert isinstance(event.request, InvalidRequest | UnknownLine)
    if isinstance(event.request, InvalidRequest):
        assert event.request.reason
        with pytest.raises(RemoteProtocolError):
            decode_request(data)


def test_numbers_wrap_as_memcached_wraps_them() -> None:
    assert decode_request(b"touch k 4294967296\r\n").request == Touch(b"k", 0)
    assert decode_request(b"touch k -2147483649\r\n").request == Touch(b"k", 2147483647)
    assert serve([b"touch k " + b"1" * 21 + b"\r\n"]).output == b"CLIENT_ERROR invalid exptime argument\r\n"


def test_more_spaces_and_a_bare_lf_are_accepted_in_lines_but_not_behind_data() -> None:
    for data in (b"  get   k  \n", b" get k\r\n", b"get k \r\n", b"get k\n"):
        served = serve_three_ways(data)
        assert served.requests == [Get((b"k",))]
    assert decode_request(b"get a\tb\r\n").request == Get((b"a\tb",))
    # The end of the data is CR LF and nothing else.
    assert serve([b"set k 0 0 1\nv\n\n"]).output == b"CLIENT_ERROR bad data chunk\r\n"
    assert serve([b"set k 0 0 1\nv\r\n"]).requests == [Set(b"k", b"v")]


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n", b"x HTTP/\r\n"])
def test_line_of_http_closes_the_connection(data: bytes) -> None:
    served = serve_three_ways(data)
    assert (served.events, served.output, served.closed) == ([], b"", True)
    assert served.fault == f"line {data[:-2]!r} is HTTP"


# --- limits


@pytest.mark.parametrize("start", [b"", b"set ", b"gat 0 ", b"mg ", b" " * 101 + b"get "])
def test_line_over_its_limit_is_a_fault_and_one_at_it_is_read(start: bytes) -> None:
    for size in (2047, 2048):
        server = ServerConnection(dialects=TEXT)
        server.receive_data(start.ljust(size, b"k"))
        assert server.next_event() is Signal.NEED_DATA
        served = serve_three_ways(start.ljust(size, b"k") + b"\n")
        assert (len(served.events), served.fault) == (1, None)
    for data in (start.ljust(2049, b"k"), start.ljust(2049, b"k") + b"\n"):
        served = serve_three_ways(data, dialects=TEXT)
        assert (served.events, served.output) == ([], b"")
        assert served.fault == "line has more than 2048 bytes, which is the limit"


@pytest.mark.parametrize("start", [b"get ", b"gets ", b" " * 100 + b"get "])
def test_lines_of_many_keys_have_their_own_limit(start: bytes) -> None:
    limits = Limits(keys_line=4000)
    for size in (2049, 3999, 4000):
        data = start + b"k " * ((size - len(start)) // 2)
        data = data.ljust(size)
        served = serve_three_ways(data + b"\n", limits=limits)
        assert [type(request) for request in served.requests] == [Get]
    for end in (b"", b"\n"):
        served = serve_three_ways(start.ljust(4001, b"k") + end, limits=limits)
        assert served.fault == "line has more than 4000 bytes, which is the limit"


def test_line_over_equal_limits_of_lines_and_key_lines_is_a_fault() -> None:
    limits = Limits(line=10, keys_line=10)
    assert serve_three_ways(b"get kkkkkk\n", limits=limits).requests == [Get((b"kkkkkk",))]
    assert serve([b"get kkkkkkk\n"], limits=limits).fault == "line has more than 10 bytes, which is the limit"


@pytest.mark.parametrize("command", [b"set k 1 2 %d\r\n", b"ms k %d F1 T2\r\n"])
def test_value_over_its_limit_is_refused_and_one_at_it_is_stored(command: bytes) -> None:
    limits = Limits(value=3)
    for size in (2, 3):
        served = serve_three_ways(command % size + b"v" * size + b"\r\n", limits=limits)
        assert [type(request) for request in served.requests] == [Set]
    data = command % 4 + b"vvvv\r\n"
    served = serve_three_ways(data, limits=limits)
    assert served.output == b"SERVER_ERROR object too large for cache\r\n"
    (refused,) = served.requests
    assert isinstance(refused, InvalidRequest)
    assert refused.reason == "value is 4 bytes, limit is 3"
    assert isinstance(refused.request, Set)
    assert (refused.request.key, refused.request.value) == (b"k", b"")


def test_a_value_too_large_is_not_held() -> None:
    server = ServerConnection(Limits(value=3))
    server.receive_data(b"add k 1 2 1000000\r\nv")
    event = server.next_event()
    assert isinstance(event, ClassicEnvelope)
    assert isinstance(event.request, InvalidRequest)
    assert event.request.request == Add(b"k", b"", 1, 2)
    assert server.send(event.request.reply, event) == b"SERVER_ERROR object too large for cache\r\n"
    for _ in range(10):
        server.receive_data(bytes(99_999))
        assert (server.next_event(), server.buffered) == (Signal.NEED_DATA, 0)
    server.receive_data(b"vvvvvvvvv\r\nmn\r\n")
    assert server.next_event() == MetaEnvelope(Noop(), b"mn")


def test_get_of_more_keys_than_the_limit_is_refused() -> None:
    limits = Limits(keys=2)
    assert serve_three_ways(b"get a b\r\n", limits=limits).requests == [Get((b"a", b"b"))]
    assert serve_three_ways(b"get a b c\r\n", limits=limits).output == BAD_FORMAT
    assert serve_three_ways(b"gats 0 a b c\r\n", limits=limits).output == BAD_FORMAT


@pytest.mark.parametrize(
    "data", [b"g", b"get k", b"get k\r", b"set k 0 0 2\r\n", b"set k 0 0 2\r\nab\r", b"ms k 9\r\nx"]
)
def test_stream_that_ends_inside_a_request_is_a_fault(data: bytes) -> None:
    served = serve([b"mn\r\n" + data], eof=True)
    assert (served.requests, served.output) == ([Noop()], b"MN\r\n")
    assert served.fault is not None
    assert re.fullmatch(r"stream ended inside a request, of which \d+ bytes are here", served.fault)
    # Also while data that are not wanted go by.
    assert serve([b"set k 0 0 9\r\nx"], limits=Limits(value=1), eof=True).fault is not None


# --- dialects


def test_classic_and_meta_mix_on_one_connection() -> None:
    served = serve_three_ways(b"mn\r\nget k\r\nms k 1 c\r\nv\r\nset k 0 0 1\r\nv\r\nmg k v\r\n")
    meta, classic = Dialect.META, Dialect.CLASSIC
    assert [event.dialect for event in served.events] == [meta, classic, meta, classic, meta]
    assert served.output == b"MN\r\nEND\r\nHD c1\r\nSTORED\r\nEN\r\n"


def test_a_dialect_can_be_forbidden() -> None:
    data = b"mn\r\nversion\r\n"
    assert serve([data], dialects={Dialect.CLASSIC}).output == b"ERROR\r\nVERSION 1.6.18\r\n"
    assert serve([data], dialects={Dialect.META}).output == b"MN\r\nERROR\r\n"
    assert serve([data], dialects={Dialect.META, Dialect.BINARY}).output == b"MN\r\nERROR\r\n"
    served = serve([data], dialects={Dialect.BINARY})
    assert served.fault == "magic is 0x6d, expected 0x80 (request)"
    # Without binary its first byte is text.
    assert serve([b"\x80\r\n"], dialects=TEXT).requests == [UnknownLine(b"\x80")]


# --- authentication

AUTH = b"set x 1 2 11\r\nuser secret\r\n"
UNAUTHENTICATED = b"CLIENT_ERROR unauthenticated\r\n"


@pytest.mark.parametrize("dialects", [TEXT, (Dialect.CLASSIC,), (Dialect.META,)])
def test_connection_that_needs_credentials_refuses_all_else_until_they_are_accepted(
    dialects: tuple[Dialect, ...],
) -> None:
    server = ServerConnection(auth_required=True, dialects=dialects)
    server.receive_data(b"mg k\r\n" + AUTH + AUTH + b"mn\r\nget k\r\n")
    refused = server.next_event()
    assert isinstance(refused, ClassicEnvelope)
    assert refused.request == InvalidRequest(Failure(Status.AUTH_ERROR), "command before authentication")
    assert isinstance(refused.request, InvalidRequest)
    assert server.send(refused.request.reply, refused) == UNAUTHENTICATED
    for reply, said, state in (
        (Failure(Status.AUTH_ERROR), b"CLIENT_ERROR authentication failure\r\n", ServerState.UNAUTHENTICATED),
        (Authenticated(), b"STORED\r\n", ServerState.AUTHENTICATED),
    ):
        asked = server.next_event()
        assert isinstance(asked, ClassicEnvelope)
        assert asked.request == SaslAuth(b"PLAIN", b"\0user\0secret")
        assert encode_request(asked) == AUTH
        assert server.next_event() is Signal.PAUSED
        with pytest.raises(LocalProtocolError, match=r"^Challenge does not answer SaslAuth$"):
            server.send(Challenge(), asked)
        assert server.send(reply, asked) == said
        assert server.state is state
    event = server.next_event()
    known = MetaEnvelope(Noop(), b"mn") if Dialect.META in dialects else ClassicEnvelope(UnknownLine(b"mn"), b"mn")
    assert event == known


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"get k\r\n", UNAUTHENTICATED),
        (b"\r\n", UNAUTHENTICATED),
        (b"version\r\n", UNAUTHENTICATED),
        (b"quit\r\n", UNAUTHENTICATED),
        (b"set x 0 0\r\n", UNAUTHENTICATED),
        (b"set x 0 0 x\r\n", UNAUTHENTICATED),
        (b"set x 0 0 2049\r\n", UNAUTHENTICATED),
        (b"add x 0 0 11\r\n", UNAUTHENTICATED),
        (b"set x 0 0 4\r\nuser\r\n", b"CLIENT_ERROR bad authentication token format\r\n"),
        (b"set x 0 0 3\r\nu pxx", b"CLIENT_ERROR bad command line termination\r\n"),
        # A password may hold spaces, and noreply means nothing here.
        (b"set x 0 0 6 noreply\r\nu p w \r\n", b"STORED\r\n"),
        (b"set x 0 0 3 y z\r\nu p\r\n", b"STORED\r\n"),
    ],
)
def test_line_before_authentication_is_answered_as_memcached_does(data: bytes, said: bytes) -> None:
    served = serve_three_ways(data, auth_required=True, dialects=TEXT)
    assert (served.output, served.closed) == (said, False)


def test_before_authentication_every_line_is_short() -> None:
    served = serve_three_ways(b"get " + b"k " * 1023, auth_required=True, dialects=TEXT)
    assert served.fault == "line has more than 2048 bytes, which is the limit"


# --- the embedder's faults


@pytest.mark.parametrize(
    ("data", "reply", "message"),
    [
        (b"get k\r\n", Stored(), "Stored does not answer Get"),
        (b"mg k\r\n", Stored(), "Stored does not answer Get"),
        (b"mn\r\n", Values(), "Values does not answer Noop"),
        (b"get k\r\n", Values((Item(b"x\r\n", b""),)), "key of an item is b'x\\r\\n', which was not asked for"),
        (b"get k\r\n", Values((Item(b"k", b"", -1),)), "flags is -1, must be 0 to 4294967295"),
        (b"gets k\r\n", Values((Item(b"k", b"", 0, 1 << 64),)), "cas is 18446744073709551616"),
        (b"mg k f\r\n", Values((Item(b"k", b"", -1),)), "flags is -1, must be 0 to 4294967295"),
        (b"mg k c\r\n", Values((Item(b"k", b"", 0, 1 << 64),)), "cas is 18446744073709551616"),
        (b"mg k\r\n", Values((ITEM, ITEM)), "items are 2, one meta reply carries 1"),
        (b"incr k 1\r\n", Counter(-1), "counter is -1"),
        (b"ma k v\r\n", Counter(1 << 64), "counter is 18446744073709551616"),
        (b"version\r\n", VersionReply(b"1\r\n"), "version is b'1\\r\\n', must hold no CR, LF or NUL"),
        (b"stats\r\n", StatsReply(((b"a b", b""),)), "name of a statistic is b'a b', must hold no space"),
        (b"stats\r\n", StatsReply(((b"a", b"\n"),)), "value of a statistic is b'\\n'"),
        (
            b"stats detail dump\r\n",
            StatsReply(((b"detailed", b"x"),)),
            "the one value of this answer must be lines, of which END",
        ),
        (b"slabs x\r\n", AdminReply((b"a\n",)), "line is b'a\\n', must hold no CR, LF or NUL"),
        (b"slabs x\r\n", AdminReply(()), "lines are 0, expected 1 line"),
        (
            b"lru_crawler metadump all\r\n",
            AdminReply((b"a", b"b")),
            "lines are 2, expected 1 line, or lines of which b'END' is the last",
        ),
        (b"me k\r\n", MetaDebugReply(((b"a=", b"b"),)), "field is b'a=', must hold no ="),
        (b"me k\r\n", MetaDebugReply(((b"a", b"b c"),)), "field is b'b c', must hold no space, CR, LF or NUL"),
        (b"get k\r\n", Failure(0), "status of a failure is 0, which means success"),
        (b"mg k\r\n", Failure(0), "status of a failure is 0, which means success"),
        (b"set k 0 0 0\r\n\r\n", Failure(4, b"a\r\nb"), "text is b'a\\r\\nb', must hold no CR, LF or NUL"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_reply_that_does_not_fit_its_request_is_refused_and_the_request_stays_open(
    data: bytes, reply: AnyReply, message: str
) -> None:
    server = ServerConnection()
    server.receive_data(data)
    event = server.next_event()
    assert isinstance(event, ClassicEnvelope | MetaEnvelope)
    with pytest.raises(LocalProtocolError, match=f"^{re.escape(message)}"):
        server.send(reply, event)
    assert server.outstanding == 1


def test_reply_without_content_is_encoded_in_the_form_of_its_request() -> None:
    # A miss of many keys.
    assert encode_reply(MISS, decode_request(b"get a b\r\n")) == b"END\r\n"
    # Nothing is said by a server that obeys, nor counted by one that counts nothing.
    assert encode_reply(AdminReply(()), decode_request(b"shutdown\r\n")) == b""
    assert encode_reply(StatsReply(), decode_request(b"stats detail dump\r\n")) == b"END\r\n"
    assert encode_reply(MetaDebugReply(), decode_request(b"me AP8= b\r\n")) == b"ME AP8=\r\n"
    assert encode_reply(Values((Item(b"\xc3\xa9", b""),)), decode_request(b"mg \xc3\xa9 k\r\n")) == b"HD k\xc3\xa9\r\n"


# --- whole messages


def test_meta_envelope_has_the_flags_that_the_request_needs() -> None:
    assert meta_envelope(Get((b"k",)), b"v", b"Oabc") == decode_request(b"mg k v Oabc\r\n")
    assert meta_envelope(Get((b" ",))) == decode_request(b"mg IA== b\r\n")
    assert meta_envelope(Set(b"k", b"v", 0, -1), b"q") == decode_request(b"ms k 1 T-1 q\r\nv\r\n")
    assert meta_envelope(Add(b"k", b"v", cas=5)) == decode_request(b"ms k 1 C5\r\nv\r\n")
    assert meta_envelope(Increment(b"k", 1, 5)) == decode_request(b"ma k MI D1 J5\r\n")
    assert meta_envelope(Delete(b" ", 0, MetaOptions(drop_value=True, base64=True))) == decode_request(
        b"md IA== x b\r\n"
    )
    assert meta_envelope(MetaDebug(b"k")) == decode_request(b"me k\r\n")
    full = MetaOptions(5, 6, False, 7, 8, base64=True, details=True, ttl_first=True)
    assert meta_envelope(Get((b"k",), 9, replace_vivify(full))).request == Get((b"k",), 9, replace_vivify(full))
    plain = Get((b"k",), 5, MetaOptions())
    assert meta_envelope(plain) == decode_request(b"mg k T5\r\n")
    assert meta_envelope(Get((b"k",), None, MetaOptions(vivify=5))) == decode_request(b"mg k N5\r\n")
    stale = Delete(b"k", 0, MetaOptions(invalidate=True, exptime=5, new_cas=6))
    assert meta_envelope(stale) == decode_request(b"md k I T5 E6\r\n")
    counted = Decrement(b"k", 2, 3, 4, 5, MetaOptions(exptime=6, new_cas=7, details=True, ttl_first=True))
    assert meta_envelope(counted).request == counted
    kept = Append(b"k", b"v", 5, MetaOptions(vivify=6, invalidate=True, new_cas=7, base64=True))
    assert meta_envelope(kept).request == kept


def replace_vivify(options: MetaOptions) -> MetaOptions:
    """As a get, whose own expiry is another."""
    return MetaOptions(None, *(getattr(options, name) for name in MetaOptions.__match_args__[1:]))


@pytest.mark.parametrize(
    ("request_", "ask", "message"),
    [
        (Get((b"a", b"b")), (), "keys are 2, one meta command carries 1"),
        (Get((b" " * 187,)), (), "key is 187 bytes and needs base64, limit is 186"),
        (Get((b"k" * 251,)), (), "key is 251 bytes, limit is 250"),
        (Get((b"k" * 187,)), (b"b",), "key is 187 bytes and needs base64, limit is 186"),
        (Get((b"k",)), (b"v", b"v"), "flag v stands there twice"),
        (Get((b"k",)), (b"v\r\nflush_all",), "not words of a line"),
        (Get((b"k",)), (b"O1 v",), "not words of a line"),
        (Set(b"k", b"", meta=MetaOptions(recache=5)), (), "recache is 5, Set has no flag for it"),
        (Delete(b"k", meta=MetaOptions(exptime=5)), (), "need invalidate or drop_value"),
        (Get((b"k",), 5, MetaOptions(ttl_first=True)), (), "ttl_first is for details"),
        (Get((b"k",), 1 << 31), (), "exptime is 2147483648, must be -2147483648 to 2147483647"),
        (Increment(b"k", -1), (), "delta is -1, must be 0 to 18446744073709551615"),
        (Version(), (), "Version cannot be said in meta"),
        (Touch(b"k", 5), (), "Touch cannot be said in meta"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_meta_envelope_of_a_request_that_fits_no_line_is_refused(
    request_: Get, ask: tuple[bytes, ...], message: str
) -> None:
    with pytest.raises(LocalProtocolError, match=re.escape(message)):
        meta_envelope(request_, *ask)


@pytest.mark.parametrize(
    ("envelope", "message"),
    [
        (ClassicEnvelope(Get((b"k",)), b"delete"), "envelope says "),
        (ClassicEnvelope(Get((b"k",)), b"incr"), "request does not fit a line: "),
        (ClassicEnvelope(UnknownLine(b"get k"), b"get"), "envelope says "),
        (MetaEnvelope(Get((b"k",), 5, MetaOptions()), b"mg", (b"v",)), "envelope says "),
        (MetaEnvelope(Get(()), b"mg"), "key is 0 bytes, the least is 1"),
        (ClassicEnvelope(SaslAuth(b"CRAM-MD5"), b"set"), "classic text authenticates with PLAIN only"),
        (ClassicEnvelope(SaslAuth(b"PLAIN", b"as\0user\0p"), b"set"), "classic text authenticates with PLAIN only"),
    ],
    ids=repr,
)
def test_envelope_that_contradicts_its_request_is_not_encoded(
    envelope: ClassicEnvelope | MetaEnvelope, message: str
) -> None:
    with pytest.raises(LocalProtocolError, match=f"^{re.escape(message)}"):
        encode_request(envelope)


def test_credentials_are_encoded_as_a_set() -> None:
    assert encode_request(ClassicEnvelope(SaslAuth(b"PLAIN", b"\0u\0p w"), b"set")) == b"set auth 0 0 5\r\nu p w\r\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "0 bytes are less than one request"),
        (b"get k", "5 bytes are less than one request"),
        (b"get k\r\nx", "1 bytes follow the request"),
        (b"get\r\n", "get with 0 words behind it"),
    ],
)
def test_bytes_that_are_not_one_request_are_not_decoded(data: bytes, message: str) -> None:
    with pytest.raises(RemoteProtocolError, match=f"^{message}$"):
        decode_request(data)


def test_a_request_over_every_limit_of_a_connection_is_decoded_if_it_is_whole() -> None:
    value, keys = bytes(2 << 20), tuple(b"%0250d" % number for number in range(2000))
    assert decode_request(b"set k 0 0 2097152\r\n" + value + b"\r\n").request == Set(b"k", value)
    assert decode_request(b"ms k 2097152\r\n" + value + b"\r\n").request == Set(b"k", value)
    assert decode_request(b"get " + b" ".join(keys) + b"\r\n").request == Get(keys)
    assert decode_request(b"foo " + bytes(10_000) + b"\r\n").request == UnknownLine(b"foo " + bytes(10_000))


@pytest.mark.parametrize(
    ("asked", "data", "message"),
    [
        (b"get k\r\n", b"VALUE", "5 bytes are less than one reply"),
        (b"mg k v\r\n", b"VA 5\r\nab", "8 bytes are less than one reply"),
        (b"mg k v\r\n", b"EN\r\nEN\r\n", "4 bytes follow the reply"),
    ],
)
def test_bytes_that_are_not_one_reply_are_not_decoded(asked: bytes, data: bytes, message: str) -> None:
    with pytest.raises(RemoteProtocolError, match=f"^{message}$"):
        decode_reply(data, decode_request(asked))


@pytest.mark.parametrize("line", [b"version\n", b"\n", b"get k\n", b"mn\n"])
def test_a_bare_lf_ends_a_line_unless_it_is_forbidden(line: bytes) -> None:
    assert len(serve([line]).events) == 1
    crlf = line[:-1] + b"\r\n"
    for cut in ([crlf + line], each_byte(crlf + line)):
        served = serve(cut, limits=Limits(bare_lf=False))
        assert len(served.events) == 1
        assert served.fault == f"line {line[:-1]!r} ends in a bare LF, must end in CR LF"


def test_the_dialects_may_be_given_in_any_collection() -> None:
    for dialects in ({Dialect.BINARY}, [Dialect.BINARY], (Dialect.BINARY,)):
        served = serve([b"version\r\n"], dialects=dialects)
        assert (served.events, served.fault) == ([], "magic is 0x76, expected 0x80 (request)")


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (None, b"SERVER_ERROR out of memory storing object\r\n"),
        (b"Out of memory allocating item", b"SERVER_ERROR out of memory storing object\r\n"),
        (b"Out of memory incrementing value", b"SERVER_ERROR out of memory\r\n"),
        (b"Out of memory allocating new item", b"SERVER_ERROR Out of memory allocating new item\r\n"),
        (b"disk full", b"SERVER_ERROR disk full\r\n"),
    ],
)
def test_failure_with_the_text_of_binary_has_the_text_of_memcached_in_lines(told: bytes | None, line: bytes) -> None:
    assert encode_reply(Failure(Status.OUT_OF_MEMORY, told), ClassicEnvelope(Set(b"k", b""), b"set")) == line
    assert encode_reply(Failure(Status.OUT_OF_MEMORY, told), MetaEnvelope(Set(b"k", b""), b"ms")) == line


def test_a_text_server_that_awaits_credentials_refuses_every_command_until_they_are_accepted() -> None:
    server, buffer = TextServer(Limits(), (Dialect.CLASSIC,)), ReceiveBuffer()
    for awaiting_auth, request in ((True, InvalidRequest), (False, Get)):
        server.awaiting_auth = awaiting_auth
        assert server.awaiting_auth is awaiting_auth
        buffer.feed(b"get k\r\n")
        envelope = server.read(buffer)
        assert envelope is not None
        assert type(envelope.request) is request
