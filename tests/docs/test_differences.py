"""The declared differences from memcached 1.6.18: what we say, what it says, and that the documentation names each."""

from __future__ import annotations

import re
import socket
import tempfile
from pathlib import Path

import pytest

from memproto import (
    AnyReply,
    AnyRequest,
    Authenticated,
    ClientConnection,
    Dialect,
    Failure,
    Get,
    InvalidRequest,
    Mechanisms,
    Noop,
    Ok,
    RemoteProtocolError,
    SaslAuth,
    SaslList,
    SaslStep,
    ServerConnection,
    Set,
    Status,
    Values,
)
from memproto.engine import Engine
from memproto.model import Envelope
from tests.support.peers import DEADLINE, memcached

PAGE = (Path(__file__).parent.parent.parent / "docs" / "differences.md").read_text(encoding="utf-8")

BAD = b"CLIENT_ERROR bad command line format\r\n"
ONE = b"set one 7 0 2\r\n55\r\n"
STORED = b"STORED\r\n"
LONG = b"k" * 251
NOOP = bytes.fromhex("800a0000 00000000 00000000 00000001 0000000000000000")

#: A VERSION request, what both answer, the head of a SET of ``one``, and what memcached says to an unknown opcode.
VERSION = bytes.fromhex("800b0000 00000000 00000000 00000002 0000000000000000")
VERSION_REPLY = bytes.fromhex("810b0000 00000000 00000006 00000002 0000000000000000") + b"1.6.18"
SET_ONE = "80010003 08000000 {} 00000001 0000000000000000 0000000000000000 6f6e65"
UNKNOWN = "81{}0000 00000081 0000000f 00000001 0000000000000000 556e6b6e6f776e20636f6d6d616e64"

#: Where the page tells of it: what is sent in one piece to an empty server, what memcached says, and what we say.
DIFFERENCES: list[tuple[str, bytes, bytes, bytes]] = [
    ("Base64", b"mg YQ=T b k\r\n", b"EN kYQA= b\r\n", b"CLIENT_ERROR error decoding key\r\n"),
    ("Base64", b"mg YQ==YQ== b k\r\n", b"EN kYQ== b\r\n", b"CLIENT_ERROR error decoding key\r\n"),
    ("The key that `me` and `k` return", b"ms YQ== 1 b\r\nv\r\nme a\r\n", b"HD\r\nME YQ== exp=", b"HD\r\nME a exp="),
    ("The key that `me` and `k` return", b"ms a 1\r\nv\r\nme YQ== b\r\n", b"HD\r\nME a exp=", b"HD\r\nME YQ== exp="),
    ("The key that `me` and `k` return", b"mg AA== b N9 k\r\n", b"HD k\0 W\r\n", b"HD kAA== b W\r\n"),
    (
        "Two faults among the flags",
        b"ms a 1 MX c c\r\nv\r\n",
        b"CLIENT_ERROR duplicate flag\r\n",
        b"CLIENT_ERROR invalid mode for ms M token\r\n",
    ),
    ("Two faults among the flags", b"mg a Tx !\r\n", b"CLIENT_ERROR invalid flag\r\n", b"CLIENT_ERROR bad token"),
    (
        "A flush behind another",
        ONE + b"flush_all\r\nflush_all 2592001\r\nget one\r\n",
        STORED + b"OK\r\nOK\r\nVALUE one 7 2\r\n55\r\nEND\r\n",
        STORED + b"OK\r\nOK\r\nEND\r\n",
    ),
    (
        "The second of a flush",
        b"flush_all 1\r\n" + ONE + b"get one\r\n",
        b"OK\r\n" + STORED + b"END\r\n",
        b"OK\r\n" + STORED + b"VALUE one 7 2\r\n55\r\nEND\r\n",
    ),
    ("`C` of `mg`", ONE + b"mg one C1 v\r\n", STORED + b"VA 2\r\n55\r\n", STORED + b"HD\r\n"),
    (
        "`T` of `ma`",
        b"set n 0 0 1\r\n9\r\nma n T100\r\nmg n t v\r\n",
        STORED + b"HD\r\nVA 2 t-1\r\n10\r\n",
        STORED + b"HD\r\nVA 2 t100\r\n10\r\n",
    ),
    ("Lengths and numbers over 32 bits", b"set a 0 0 4294967297\r\nv\r\n", STORED, BAD + b"ERROR\r\n"),
    ("Lengths and numbers over 32 bits", b"ms a 4294967297\r\nv\r\n", b"HD\r\n", BAD + b"ERROR\r\n"),
    ("Lengths and numbers over 32 bits", b"set a 4294967296 0 1\r\nv\r\n", STORED, BAD),
    ("Lengths and numbers over 32 bits", b"ms a 1 F4294967296\r\nv\r\n", b"HD\r\n", BAD),
    ("Lengths and numbers over 32 bits", b"verbosity 4294967296\r\n", b"OK\r\n", BAD),
    ("The data of a store that is refused", b"set a x 0 3\r\nfoo\r\n", BAD + b"ERROR\r\n", BAD),
    ("The data of a store that is refused", b"ms " + LONG + b" 3\r\nfoo\r\n", BAD + b"ERROR\r\n", BAD),
    ("Replies before a refused `get`", b"version\r\nget " + LONG + b"\r\n", BAD, b"VERSION 1.6.18\r\n" + BAD),
    ("NUL in a line", ONE + b"get one\0x\r\n", STORED + b"VALUE one 7 2\r\n55\r\nEND\r\n", STORED + b"END\r\n"),
    ("NUL in a line", ONE + b"incr one 5\0\r\n", STORED + b"60\r\n", STORED + b"CLIENT_ERROR invalid numeric delta"),
    ("Flags of later releases", ONE + b"mg one E5\r\n", STORED + b"CLIENT_ERROR invalid flag\r\n", STORED + b"HD\r\n"),
    (
        "Flags of later releases",
        ONE + b"md one x\r\n",
        STORED + b"CLIENT_ERROR invalid or duplicate flag\r\n",
        STORED + b"HD\r\n",
    ),
    ("Flags of later releases", b"ms two 1 MA N30\r\nx\r\n", b"NS\r\n", b"HD\r\n"),
    ("Flags of later releases", b"ma two N0 q\r\n", b"HD\r\n", b""),
    # Before it answers, memcached takes 4 bytes of the next request for a second copy of the extras.
    (
        "VERBOSITY",
        bytes.fromhex("801b0000 04000000 00000004 00000001 0000000000000000 00000001"),
        b"",
        bytes.fromhex(UNKNOWN.format("1b")),
    ),
    (
        "A body of 2^31 bytes or more",
        bytes.fromhex("80500000 00000000 80000000 00000001 0000000000000000") + VERSION,
        bytes.fromhex(UNKNOWN.format("50")) + VERSION_REPLY,
        b"",
    ),
    (
        "A SASL request with a mechanism or data that are too long",
        bytes.fromhex("80210001 00000000 00004002 00000001 0000000000000000 58") + bytes(0x4001) + VERSION,
        bytes.fromhex(UNKNOWN.format("21")) + VERSION_REPLY,
        bytes.fromhex("81210000 00000082 0000000d 00000001 0000000000000000") + b"Out of memory" + VERSION_REPLY,
    ),
    ("Replies before a wrong magic byte", VERSION + bytes(24), b"", VERSION_REPLY),
    ("Couchbase's framings", b"\x08x\r\nversion\r\n", b"ERROR\r\nVERSION 1.6.18\r\n", b"ERROR\r\n"),
    ("Commands", ONE + b"bget one\r\n", STORED + b"VALUE one 7 2\r\n55\r\nEND\r\n", STORED + b"ERROR\r\n"),
]


def _ours(data: bytes) -> bytes:
    server, engine = ServerConnection(), Engine()
    server.receive_data(data)
    server.receive_eof()
    said = b""
    try:
        while isinstance(event := server.next_event(), Envelope):
            said += server.send(engine.execute(event.request, 1_000_000_000.0), event)
    except RemoteProtocolError as fault:
        said += fault.reply_hint
    return said


@pytest.mark.parametrize(("title", "sent", "theirs", "ours"), DIFFERENCES, ids=lambda value: repr(value)[:40])
def test_what_we_say(title: str, sent: bytes, theirs: bytes, ours: bytes) -> None:
    assert theirs != ours
    assert f"**{title}**" in PAGE
    assert _ours(sent) == ours if ours.endswith(b"\r\n") or not ours else _ours(sent).startswith(ours)


@pytest.mark.parametrize(("title", "sent", "theirs", "ours"), DIFFERENCES, ids=lambda value: repr(value)[:40])
def test_what_memcached_says(title: str, sent: bytes, theirs: bytes, ours: bytes) -> None:
    with (
        memcached("-o", "no_modern", "-t", "1") as port,
        socket.create_connection(("127.0.0.1", port), DEADLINE) as link,
    ):
        link.sendall(sent)
        link.shutdown(socket.SHUT_WR)
        said = b""
        try:
            while more := link.recv(65536):
                said += more
        except ConnectionResetError:
            pass
    assert said == theirs if theirs.endswith(b"\r\n") or not theirs else said.startswith(theirs)


def test_a_dump_behind_other_commands_is_answered() -> None:
    assert "**A dump behind other commands**" in PAGE
    sent = b"mg a v\r\nlru_crawler metadump all\r\n"
    assert _ours(sent) == b"EN\r\nEND\r\n"
    # The crawler runs only with the threads that the other tests do without.
    with memcached() as port, socket.create_connection(("127.0.0.1", port), DEADLINE) as link:
        link.sendall(sent)
        lines = link.makefile("rb")
        said = [lines.readline(), lines.readline()]
    assert said == [b"EN\r\n", b"ERROR cannot pipeline other commands before metadump\r\n"]


def test_a_client_stays_authenticated_after_sasl_requests_that_bring_no_wrong_credentials() -> None:
    # No memcached of the tests has SASL with passwords that it knows.
    assert "**SASL requests of a client that has authenticated**" in PAGE
    client = ClientConnection(dialect=Dialect.BINARY)
    server = ServerConnection(auth_required=True)

    def ask(request: AnyRequest, verdict: AnyReply | None = None) -> AnyReply | None:
        exchange = client.send(request)
        server.receive_data(exchange.data)
        event = server.next_event()
        assert isinstance(event, Envelope)
        reply = event.request.reply if isinstance(event.request, InvalidRequest) else verdict
        assert reply is not None
        client.receive_data(server.send(reply, to=event))
        client.next_event()
        return exchange.reply

    credentials = SaslAuth(b"PLAIN", b"\0ada\0engine")
    assert ask(credentials, Authenticated()) == Authenticated()
    assert ask(SaslList(), Mechanisms((b"PLAIN",))) == Mechanisms((b"PLAIN",))
    assert isinstance(ask(SaslStep(b"PLAIN", b"")), Failure)
    assert ask(credentials, Authenticated()) == Authenticated()
    assert ask(Noop(), Ok()) == Ok()
    refused = Failure(Status.AUTH_ERROR)
    ask(credentials, refused)
    with pytest.raises(RemoteProtocolError):
        ask(Noop())


def test_a_wrong_magic_byte_is_reported_at_once() -> None:
    # memcached waits for the 24 bytes of a header.
    assert "**A wrong magic byte**" in PAGE
    server = ServerConnection()
    server.receive_data(NOOP + b"\x01")
    event = server.next_event()
    assert isinstance(event, Envelope)
    with pytest.raises(RemoteProtocolError, match=r"^magic is 0x01, expected 0x80 \(request\)$"):
        server.next_event()


def test_the_old_item_is_removed_when_all_of_a_value_that_is_too_large_has_arrived() -> None:
    assert "**The old item under a value that is too large**" in PAGE
    engine, begun = Engine(), ServerConnection()
    engine.execute(Set(b"one", b"55"), 1_000_000_000.0)
    begun.receive_data(bytes.fromhex(SET_ONE.format("0010000c")))
    for arrived, kept in ((0, 1), (0x100000, 1), (1, 0)):
        begun.receive_data(bytes(arrived))
        event = begun.next_event()
        if isinstance(event, Envelope):
            engine.execute(event.request, 1_000_000_000.0)
        reply = engine.execute(Get((b"one",)), 1_000_000_000.0)
        assert isinstance(reply, Values)
        assert len(reply.items) == kept


@pytest.mark.parametrize("length", ["0010000c", "80000000", "ffffffff"])
def test_memcached_removes_it_when_the_key_has_arrived(length: str) -> None:
    with (
        memcached("-o", "no_modern", "-t", "1") as port,
        socket.create_connection(("127.0.0.1", port), DEADLINE) as link,
        socket.create_connection(("127.0.0.1", port), DEADLINE) as other,
    ):
        other.sendall(ONE)
        assert other.recv(100) == STORED
        link.sendall(bytes.fromhex(SET_ONE.format(length)))
        said = b""
        for _ in range(1000):
            other.sendall(b"get one\r\n")
            said = other.recv(100)
            if said == b"END\r\n":
                break
        assert said == b"END\r\n"


UNAUTHENTICATED = b"CLIENT_ERROR unauthenticated\r\n"

CREDENTIALS: list[tuple[str, bytes, bytes, list[SaslAuth | None], bytes]] = [
    ("Credentials in text", b"set a 0 0 4\r\nu  p\r\n", STORED, [SaslAuth(b"PLAIN", b"\0u\0 p")], b""),
    ("Credentials in text", b"set a 0 0 4\r\nu p\0\r\n", STORED, [SaslAuth(b"PLAIN", b"\0u\0p\0")], b""),
    ("Replies before credentials", b"version\r\nget a\r\n", UNAUTHENTICATED, [None, None], UNAUTHENTICATED * 2),
]


@pytest.mark.parametrize(("title", "sent", "theirs", "asked", "ours"), CREDENTIALS)
def test_before_authentication(
    title: str, sent: bytes, theirs: bytes, asked: list[SaslAuth | None], ours: bytes
) -> None:
    assert f"**{title}**" in PAGE
    server, engine, said, seen = ServerConnection(auth_required=True), Engine(), b"", []
    server.receive_data(sent)
    while isinstance(event := server.next_event(), Envelope):
        seen.append(event.request if isinstance(event.request, SaslAuth) else None)
        if not isinstance(event.request, SaslAuth):
            said += server.send(engine.execute(event.request, 1_000_000_000.0), event)
    assert (seen, said) == (asked, ours)

    # Not in pytest's folder: memcached gives up the rights of root before it reads the file.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        users = Path(folder, "users")
        users.write_text("u:p\n", encoding="ascii")
        with (
            memcached("-Y", str(users), "-t", "1") as port,
            socket.create_connection(("127.0.0.1", port), DEADLINE) as link,
        ):
            link.sendall(sent)
            link.shutdown(socket.SHUT_WR)
            answer = b""
            while more := link.recv(65536):
                answer += more
    assert answer == theirs


def test_a_counter_of_blanks_is_no_number() -> None:
    # memcached reads on behind the item, into memory that holds anything.
    assert "**A counter of blanks**" in PAGE
    said = _ours(b"set a 0 0 1\r\n \r\nincr a 1\r\n")
    assert said == STORED + b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"


def test_every_difference_gives_a_reason() -> None:
    rows = re.findall(r"^- \*\*(.+?)\*\*(.*?)(?=^- |^#|\Z)", PAGE, re.M | re.S)
    assert len(rows) > 20
    for title, text in rows:
        assert "Reason:" in text, title
