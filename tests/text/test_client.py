"""The client's side of the text dialects: what it says, what it understands, and that nothing puts it out of step."""

from __future__ import annotations

import pytest

from memproto import (
    Add,
    AdminCommand,
    AdminReply,
    AnyReply,
    AnyRequest,
    Append,
    Authenticated,
    ClientConnection,
    ClientState,
    Counter,
    Decrement,
    Delete,
    Deleted,
    Dialect,
    Failure,
    Flush,
    Get,
    Increment,
    Item,
    ItemMeta,
    MetaDebug,
    MetaDebugReply,
    MetaOptions,
    Noop,
    Ok,
    Prepend,
    Quit,
    RawReply,
    Replace,
    ReplyReceived,
    SaslAuth,
    Set,
    Signal,
    Silence,
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
from tests.support.serving import TEXT
from tests.support.telling import Told, tell, tell_three_ways

CLASSIC, META = Dialect.CLASSIC, Dialect.META
MISS = Failure(Status.KEY_NOT_FOUND)

BOTH: list[tuple[AnyRequest, bytes, bytes, AnyReply]] = [
    (Flush(), b"flush_all\r\n", b"OK\r\n", Ok()),
    (Flush(5), b"flush_all 5\r\n", b"CLIENT_ERROR flush_all not allowed\r\n", Failure(Status.AUTH_ERROR)),
    (Version(), b"version\r\n", b"VERSION 1.6.18\r\n", VersionReply(b"1.6.18")),
    (Verbosity(2), b"verbosity 2\r\n", b"OK\r\n", Ok()),
    (Stats(), b"stats\r\n", b"STAT a b c\r\nSTAT d \r\nEND\r\n", StatsReply(((b"a", b"b c"), (b"d", b"")))),
    (Stats(b"reset"), b"stats reset\r\n", b"RESET\r\n", StatsReply()),
    (Stats(b"nope"), b"stats nope\r\n", b"ERROR\r\n", MISS),
    (Stats(b"detail dump"), b"stats detail dump\r\n", b"PREFIX a get 1\r\nEND\r\n",
     StatsReply(((b"detailed", b"PREFIX a get 1\r\nEND\r\n"),))),
    (Stats(b"detail dump"), b"stats detail dump\r\n", b"CLIENT_ERROR x\r\n", Failure(4, b"x")),
    (AdminCommand((b"slabs", b"automove", b"0")), b"slabs automove 0\r\n", b"OK\r\n", AdminReply()),
    (AdminCommand((b"shutdown",)), b"shutdown\r\n", b"ERROR: no\r\n", Failure(Status.UNKNOWN_COMMAND, b": no")),
    (AdminCommand((b"lru_crawler", b"metadump", b"all")), b"lru_crawler metadump all\r\n", b"key=k\r\nEND\r\n",
     AdminReply((b"key=k", b"END"))),
    (AdminCommand((b"lru_crawler", b"mgdump", b"all")), b"lru_crawler mgdump all\r\n", b"OK\r\nmg k\r\nEN\r\n",
     AdminReply((b"OK", b"mg k", b"EN"))),
    (AdminCommand((b"lru_crawler", b"metadump", b"9")), b"lru_crawler metadump 9\r\n", b"BADCLASS x\r\n",
     AdminReply((b"BADCLASS x",))),
    (AdminCommand((b"lru_crawler", b"metadump", b"all")), b"lru_crawler metadump all\r\n", b"BUSY x\r\n",
     AdminReply((b"BUSY x",))),
    (AdminCommand((b"lru_crawler", b"metadump", b"all")), b"lru_crawler metadump all\r\n", b"LOCKED x\r\n",
     AdminReply((b"LOCKED x",))),
    (AdminCommand((b"stats", b"cachedump", b"1", b"1")), b"stats cachedump 1 1\r\n", b"END\r\n", AdminReply((b"END",))),
    (SaslAuth(b"PLAIN", b"\0u\0p w"), b"set auth 0 0 5\r\nu p w\r\n", b"STORED\r\n", Authenticated()),
    (SaslAuth(b"PLAIN", b"\0u\0p"), b"set auth 0 0 3\r\nu p\r\n", b"CLIENT_ERROR authentication failure\r\n",
     Failure(Status.AUTH_ERROR)),
    (UnknownLine(b"foo x"), b"foo x\r\n", b"BAR\r\n", RawReply(value=b"BAR\r\n")),
    (UnknownLine(b""), b"\r\n", b"ERROR\r\n", Failure(Status.UNKNOWN_COMMAND)),
]  # fmt: skip
IN_CLASSIC: list[tuple[AnyRequest, bytes, bytes, AnyReply]] = [
    (Get((b"k",)), b"gets k\r\n", b"VALUE k 5 2 9\r\nab\r\nEND\r\n", Values((Item(b"k", b"ab", 5, 9),))),
    (Get((b"k",)), b"gets k\r\n", b"VALUE k +5 +2 +9\r\nab\r\nEND\r\n", Values((Item(b"k", b"ab", 5, 9),))),
    (Get((b"k",)), b"gets k\r\n", b"END\r\n", Values()),
    (Get((b"k",)), b"gets k\r\n", b"SERVER_ERROR x\r\n", Failure(Status.OUT_OF_MEMORY, b"x")),
    (Get((b"a", b"b", b"a")), b"gets a b a\r\n", b"VALUE a 0 0\r\n\r\nVALUE a 0 1 2\r\nx\r\nEND\r\n",
     Values((Item(b"a", b""), Item(b"a", b"x", 0, 2)))),
    (Get((b"k",), -1), b"gats -1 k\r\n", b"END\r\n", Values()),
    (Set(b"k", b"v", 5, 6), b"set k 5 6 1\r\nv\r\n", b"STORED\r\n", Stored()),
    (Set(b"k", b"v", cas=6), b"cas k 0 0 1 6\r\nv\r\n", b"EXISTS\r\n", Failure(Status.KEY_EXISTS)),
    (Add(b"k", b"v"), b"add k 0 0 1\r\nv\r\n", b"NOT_STORED\r\n", Failure(Status.KEY_EXISTS)),
    (Replace(b"k", b"v"), b"replace k 0 0 1\r\nv\r\n", b"NOT_STORED\r\n", MISS),
    (Append(b"k", b"v"), b"append k 0 0 1\r\nv\r\n", b"NOT_STORED\r\n", Failure(Status.NOT_STORED)),
    (Prepend(b"k", b"\r\n"), b"prepend k 0 0 2\r\n\r\n\r\n", b"STORED\r\n", Stored()),
    (Delete(b"k"), b"delete k\r\n", b"DELETED\r\n", Deleted()),
    (Delete(b"noreply"), b"delete noreply 0\r\n", b"NOT_FOUND\r\n", MISS),
    (Increment(b"k", 2), b"incr k 2\r\n", b"17\r\n", Counter(17)),
    (Decrement(b"k", 2), b"decr k 2\r\n", b"9 \r\n", Counter(9)),
    (Increment(b"k"), b"incr k 1\r\n", b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n",
     Failure(Status.DELTA_BAD_VALUE)),
    (Touch(b"k", 5), b"touch k 5\r\n", b"TOUCHED\r\n", Touched()),
    (Touch(b"k", 5), b"touch k 5\r\n", b"NOT_FOUND\r\n", MISS),
    (Noop(), b"version\r\n", b"VERSION 1.6.18\r\n", Ok()),
]  # fmt: skip
IN_META: list[tuple[AnyRequest, bytes, bytes, AnyReply]] = [
    (Get((b"k",)), b"mg k v f c k O0\r\n", b"VA 2 f5 c9 kk O0\r\nab\r\n", Values((Item(b"k", b"ab", 5, 9),))),
    (Get((b"k",)), b"mg k v f c k O0\r\n", b"EN kk O0\r\n", Values()),
    # Older releases put two spaces.
    (Get((b"k",)), b"mg k v f c k O0\r\n", b"VA 0  f5  c9 kk O0 \r\n\r\n", Values((Item(b"k", b"", 5, 9),))),
    (Get((b"a", b"b"), 5), b"mg a T5 v f c k O0\r\nmg b T5 v f c k O0\r\n", b"EN kk O0\r\n".replace(b"kk", b"ka") +
     b"VA 1 f0 c1 kb O0\r\nx\r\n", Values((Item(b"b", b"x", 0, 1),))),
    (Get((b"a", b"b")), b"mg a v f c k O0\r\nmg b v f c k O0\r\n", b"SERVER_ERROR x\r\nSERVER_ERROR y\r\n",
     Failure(Status.OUT_OF_MEMORY, b"x")),
    (Get((b"\0\xff",)), b"mg AP8= v f c k O0 b\r\n", b"VA 0 f0 c1 kAP8= b O0\r\n\r\n",
     Values((Item(b"\0\xff", b"", 0, 1, True),))),
    (Get((b"k",), 9, MetaOptions(recache=6, bump=False, unless_cas=7, details=True)),
     b"mg k R6 C7 u T9 h l t v f c k O0\r\n", b"HD h1 l2 t-1 f0 c7 kk O0 Z X W\r\n",
     Values((Item(b"k", b"", 0, 7, False, ItemMeta(-1, True, 2, True, True, True, True)),))),
    (Set(b"k", b"v", 5, 6, 7), b"ms k 1 F5 T6 C7 c O0\r\nv\r\n", b"HD c9 O0\r\n", Stored(9)),
    (Set(b"k", b"v", cas=7), b"ms k 1 C7 c O0\r\nv\r\n", b"EX c0 O0\r\n", Failure(Status.KEY_EXISTS)),
    (Add(b"k", b"v"), b"ms k 1 ME c O0\r\nv\r\n", b"NS c0 O0\r\n", Failure(Status.KEY_EXISTS)),
    (Replace(b"k", b"v"), b"ms k 1 MR c O0\r\nv\r\n", b"NS O0\r\n", MISS),
    (Append(b"k", b"v", 3), b"ms k 1 MA C3 c O0\r\nv\r\n", b"NF O0\r\n", MISS),
    (Prepend(b"k", b"v"), b"ms k 1 MP c O0\r\nv\r\n", b"NS O0\r\n", Failure(Status.NOT_STORED)),
    (Delete(b"k", 3), b"md k C3 O0\r\n", b"HD O0\r\n", Deleted()),
    (Delete(b"k"), b"md k O0\r\n", b"NF O0\r\n", MISS),
    (Touch(b"k", 5), b"mg k T5 f c k O0\r\n", b"HD f7 c9 kk O0\r\n", Touched(7, 9)),
    (Touch(b"k", -1), b"mg k T-1 f c k O0\r\n", b"EN kk O0\r\n", MISS),
    (Touch(b"k"), b"mg k T0 f c k O0\r\n", b"SERVER_ERROR x\r\n", Failure(Status.OUT_OF_MEMORY, b"x")),
    (Increment(b"k"), b"ma k MI D1 v c O0\r\n", b"VA 2 c3 O0\r\n17\r\n", Counter(17, 3)),
    (Decrement(b"k", 2, 3, 4, 5), b"ma k MD D2 C5 N4 J3 v c O0\r\n", b"NF O0\r\n", MISS),
    (Increment(b"k", meta=MetaOptions(details=True)), b"ma k MI D1 t v c O0\r\n", b"VA 1 t30 c1 O0\r\n1\r\n",
     Counter(1, 1, ItemMeta(30))),
    # A binary client has stored the key as it is, and memcached tells it so.
    (Get((b"a b",)), b"mg YSBi v f c k O0 b\r\n", b"VA 1 f0 c9 ka b O0\r\nx\r\n", Values((Item(b"a b", b"x", 0, 9),))),
    (Touch(b"a b", 5), b"mg YSBi T5 f c k O0 b\r\n", b"HD f0 c9 ka b O0\r\n", Touched(0, 9)),
    (Noop(), b"mn\r\n", b"MN\r\n", Ok()),
    (MetaDebug(b"k"), b"me k\r\n", b"ME k exp=-1 la=0\r\n", MetaDebugReply(((b"exp", b"-1"), (b"la", b"0")))),
    (MetaDebug(b"\0"), b"me AA== b\r\n", b"EN\r\n", MISS),
]  # fmt: skip
ALL = [
    *((dialect, *row) for dialect in TEXT for row in BOTH),
    *((CLASSIC, *row) for row in IN_CLASSIC),
    *((META, *row) for row in IN_META),
]


@pytest.mark.parametrize(("dialect", "request_", "said", "heard", "reply"), ALL, ids=lambda value: repr(value)[:40])
def test_request_is_encoded_and_its_reply_read(
    dialect: Dialect, request_: AnyRequest, said: bytes, heard: bytes, reply: AnyReply
) -> None:
    assert ClientConnection(dialect=dialect).send(request_).data == said
    told = tell_three_ways(lambda client: client.send(request_), heard, dialect=dialect)
    assert told == Told([reply])


# --- in step


@pytest.mark.parametrize(
    ("dialect", "request_", "heard", "fault"),
    [
        (CLASSIC, Get((b"k",)), b"VALUE x 0 1\r\nv\r\nEND\r\n", "key of a VALUE is b'x', which was not asked for here"),
        (CLASSIC, Get((b"a", b"b")), b"VALUE b 0 0\r\n\r\nVALUE a 0 0\r\n", "key of a VALUE is b'a', which was not"),
        (CLASSIC, Get((b"k",)), b"VALUE k 0 1\r\nvv\r\n", "data of b'k' are not followed by CR LF after 1 bytes"),
        (CLASSIC, Get((b"k",)), b"VALUE k x 1\r\n", "numbers in b'VALUE k x 1' are not flags, length and cas"),
        (CLASSIC, Get((b"k",)), b"VALUE k 0\r\n", "line b'VALUE k 0' does not answer Get"),
        (CLASSIC, Get((b"k",)), b"STORED\r\n", "line b'STORED' does not answer Get"),
        (CLASSIC, Get((b"k",)), b"NOT_FOUND\r\n", "line b'NOT_FOUND' does not answer Get"),
        (CLASSIC, Set(b"k", b""), b"DELETED\r\n", "line b'DELETED' does not answer Set"),
        (CLASSIC, Set(b"k", b""), b"ERRORS\r\n", "line b'ERRORS' does not answer Set"),
        (CLASSIC, Set(b"k", b""), b"x" * 2049, "line has more than 2048 bytes, which is the limit"),
        (CLASSIC, Increment(b"k"), b"x\r\n", "line b'x' does not answer Increment"),
        (CLASSIC, Flush(), b"STORED\r\n", "line b'STORED' does not answer Flush"),
        (CLASSIC, Stats(), b"VALUE\r\n", "line b'VALUE' does not answer Stats"),
        (CLASSIC, Stats(), b"STAT  x\r\n", "line b'STAT  x' does not answer Stats"),
        (CLASSIC, Stats(), b"RESET\r\n", "line b'RESET' does not answer Stats"),
        (META, Get((b"k",)), b"VA 1 kx\r\nv\r\n", "key of the reply is b'x', asked was b'k'"),
        (META, Get((b"k",)), b"EN kx\r\n", "key of the reply is b'x', asked was b'k'"),
        (META, Get((b"k",)), b"EN O1\r\n", "opaque of the reply is b'1', which was not sent with this request"),
        (META, Get((b"k",)), b"VA 1 f0 c0 O0\r\nv\r\n", "key is missing in the reply, asked was b'k'"),
        (META, Get((b"k",)), b"EN O0\r\n", "key is missing in the reply, asked was b'k'"),
        (META, Get((b"k",)), b"EN kk\r\n", "opaque is missing in the reply, one was sent with this request"),
        (META, Get((b"k",)), b"VA 1 f0 c0 kk\r\nv\r\n", "opaque is missing in the reply, one was sent"),
        (META, Get((b"k",)), b"VA 1 f0 c0 kk O1\r\nv\r\n", "opaque of the reply is b'1', which was not sent"),
        (META, Get((b"a", b"b")), b"EN ka O0\r\nEN ka O0\r\n", "key of the reply is b'a', asked was b'b'"),
        (META, Get((b"a", b"b")), b"EN ka O0\r\nVA 1 f0 c0 kb O1\r\nv\r\n", "opaque of the reply is b'1', which"),
        (META, Set(b"k", b""), b"HD c1\r\n", "opaque is missing in the reply, one was sent with this request"),
        (META, Set(b"k", b""), b"HD c1 O1\r\n", "opaque of the reply is b'1', which was not sent with this request"),
        (META, Set(b"k", b""), b"HD c18446744073709551616 O0\r\n", "flag c of the reply is b'18446744073709551616'"),
        (META, Add(b"k", b""), b"NS\r\n", "opaque is missing in the reply, one was sent with this request"),
        (META, Delete(b"k"), b"HD\r\n", "opaque is missing in the reply, one was sent with this request"),
        (META, Delete(b"k"), b"NF O7\r\n", "opaque of the reply is b'7', which was not sent with this request"),
        (META, Increment(b"k"), b"VA 1 c1\r\n1\r\n", "opaque is missing in the reply, one was sent"),
        (META, Get((b"k",)), b"VA 1 kk O0\r\nvv\r\n", "value is not followed by CR LF after 1 bytes"),
        (META, Get((b"k",)), b"VA x kk\r\n", "line b'VA x kk' does not answer Get"),
        (META, Get((b"k",)), b"VA\r\n", "line b'VA' does not answer Get"),
        # The value was asked for.
        (META, Get((b"k",)), b"HD kk\r\n", "line b'HD kk' does not answer Get"),
        (META, Get((b"k",)), b"VA 0 kk O0 cx\r\n\r\n", "flag c of the reply is b'x', must be a number"),
        (META, Get((b"k",)), b"\r\n", "line b'' does not answer Get"),
        (META, Get((b"k",)), b"MN\r\n", "line b'MN' does not answer Get"),
        (META, Set(b"k", b""), b"EN\r\n", "line b'EN' does not answer Set"),
        (META, Set(b"k", b""), b"VA 0\r\n\r\n", "line b'VA 0' does not answer Set"),
        (META, Increment(b"k"), b"VA 1 O0\r\nx\r\n", "counter is b'x', must be a number"),
        (META, Increment(b"k"), b"HD\r\n", "line b'HD' does not answer Increment"),
        (META, Noop(), b"HD\r\n", "line b'HD' does not answer Noop"),
        (META, MetaDebug(b"k"), b"ME x\r\n", "line b'ME x' does not answer MetaDebug of b'k'"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_reply_that_does_not_answer_the_request_is_a_fault(
    dialect: Dialect, request_: Get, heard: bytes, fault: str
) -> None:
    told = tell_three_ways(lambda client: client.send(request_), heard, dialect=dialect)
    assert told.replies == []
    assert told.fault is not None
    assert told.fault.startswith(fault)


@pytest.mark.parametrize("dialect", TEXT)
def test_bytes_that_nothing_asked_for_are_a_fault(dialect: Dialect) -> None:
    client = ClientConnection(dialect=dialect)
    assert tell(client, [b"E", b"RROR Too many open connections\r\n"]).fault == "byte 0x45 came that nothing asked for"
    assert (client.state, client.reusable) == (ClientState.FAULTED, False)


@pytest.mark.parametrize("dialect", TEXT)
@pytest.mark.parametrize("request_", [Set(b"k", b"v"), Append(b"k", b"v"), Add(b"k", b"v")])
@pytest.mark.parametrize("line", [b"CLIENT_ERROR bad command line format", b"ERROR", b"CLIENT_ERROR unauthenticated"])
def test_replies_behind_a_store_refused_before_its_data_are_not_believed(
    dialect: Dialect, request_: Set, line: bytes
) -> None:
    """Its data may have been read as commands, whose answers look like those to later requests."""
    client = ClientConnection(dialect=dialect)
    exchange = client.send(request_)
    client.send(Version())
    client.receive_data(line + b"\r\nERROR\r\nVERSION 1\r\n")
    told = client.next_event()
    assert isinstance(told, ReplyReceived)
    assert told.exchange is exchange
    assert isinstance(told.reply, Failure)
    fault = tell(client, [b""]).fault
    assert fault is not None
    assert fault.startswith("the server may have read the data of ")
    assert not client.reusable


def test_store_refused_after_its_data_leaves_the_connection_usable() -> None:
    client = ClientConnection(dialect=CLASSIC)
    client.send(Set(b"k", b"v"))
    client.send(Increment(b"k"))
    told = tell(client, [b"SERVER_ERROR object too large for cache\r\nCLIENT_ERROR invalid numeric delta argument\r\n"])
    refused = Failure(Status.INVALID_ARGUMENTS, b"invalid numeric delta argument")
    assert told == Told([Failure(Status.VALUE_TOO_LARGE), refused])
    assert client.reusable


@pytest.mark.parametrize("dialect", TEXT)
@pytest.mark.parametrize("heard", [b"", b"V", b"VALUE k 0 3\r\n", b"VALUE k 0 3\r\nab"])
def test_stream_that_ends_inside_a_reply_is_a_fault(dialect: Dialect, heard: bytes) -> None:
    client = ClientConnection(dialect=dialect)
    client.send(Stats() if dialect is META else Get((b"k",)))
    told = tell(client, [heard[:1] if dialect is META else heard], eof=True)
    assert told.replies == []
    assert told.fault is not None
    assert told.fault.startswith("stream ended ")


@pytest.mark.parametrize("dialect", TEXT)
def test_an_abandoned_answer_is_read_and_dropped(dialect: Dialect) -> None:
    client = ClientConnection(dialect=dialect)
    dropped = client.send(Version())
    kept = client.send(Version())
    client.abandon(dropped)
    client.receive_data(b"VERSION 1\r\nVERSION 2\r\n")
    assert client.next_event() == ReplyReceived(kept, VersionReply(b"2"))
    assert (client.next_event(), dropped.reply, client.outstanding) == (Signal.NEED_DATA, None, 0)


@pytest.mark.parametrize("dialect", TEXT)
def test_quiet_requests_in_text_are_sent_without_noreply(dialect: Dialect) -> None:
    client = ClientConnection(dialect=dialect)
    stored = b"HD c1 O0\r\n" if dialect is META else b"STORED\r\n"
    missed, failed = (b"EN kk O1\r\n", b"NS O2\r\n") if dialect is META else (b"END\r\n", b"NOT_STORED\r\n")
    for request in (Set(b"k", b"v"), Get((b"k",)), Add(b"k", b"v"), Flush()):
        sent = client.send_quiet(request).data
        assert b"noreply" not in sent
        assert b" q" not in sent
    assert client.fence() == b""
    told = tell(client, [stored + missed + failed + b"OK\r\n"])
    assert told == Told([Silence(), Silence(), Failure(Status.KEY_EXISTS), Silence()])
    client.send_quiet(Get((b"k",)))
    hit = b"VA 1 f0 c1 kk O4\r\nv\r\n" if dialect is META else b"VALUE k 0 1 1\r\nv\r\nEND\r\n"
    assert tell(client, [hit]) == Told([Values((Item(b"k", b"v", 0, 1),))])


@pytest.mark.parametrize("dialect", TEXT)
@pytest.mark.parametrize("quiet", [False, True])
def test_quit_is_the_last_request_and_the_end_of_the_stream_answers_it(dialect: Dialect, quiet: bool) -> None:
    client = ClientConnection(dialect=dialect)
    client.send(Version())
    assert (client.send_quiet(Quit()) if quiet else client.send(Quit())).data == b"quit\r\n"
    assert client.state is ClientState.QUITTING
    assert tell(client, [b"VERSION 1\r\n"], eof=True) == Told([VersionReply(b"1"), Ok()], None, True)
