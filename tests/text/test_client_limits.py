"""The client's side of the text dialects: its limits, and that no argument can say what was not meant."""

from __future__ import annotations

import re

import pytest

from memproto import (
    Add,
    AdminCommand,
    AnyRequest,
    ClientConnection,
    ClientState,
    Delete,
    Dialect,
    Failure,
    Get,
    Increment,
    Item,
    Limits,
    LocalProtocolError,
    MetaDebug,
    MetaOptions,
    Request,
    SaslAuth,
    SaslStep,
    Set,
    Stats,
    Status,
    Touch,
    UnknownLine,
    Values,
    Verbosity,
)
from tests.support.serving import TEXT
from tests.support.telling import Told, tell, tell_three_ways

CLASSIC, META = Dialect.CLASSIC, Dialect.META

# --- limits


def test_reply_over_a_limit_fails_its_request_only() -> None:
    def told(dialect: Dialect, request: AnyRequest, heard: bytes, limits: Limits) -> str | None:
        told = tell_three_ways(lambda client: client.send(request), heard, limits, dialect=dialect)
        (reply,) = told.replies
        assert told.fault is None
        if not isinstance(reply, Failure):
            return None
        assert reply.status is Status.REPLY_TOO_LARGE
        return reply.reason.decode()

    many = Get((b"a", b"b"))
    limits = Limits(answer=3)
    over = "values are 4 bytes and more, limit is 3"
    assert told(CLASSIC, many, b"VALUE a 0 2\r\nvv\r\nVALUE b 0 1\r\nv\r\nEND\r\n", limits) is None
    assert told(CLASSIC, many, b"VALUE a 0 2\r\nvv\r\nVALUE b 0 2\r\nvv\r\nEND\r\n", limits) == over
    assert told(META, many, b"VA 2 ka O0\r\nvv\r\nVA 1 kb O0\r\nv\r\n", limits) is None
    assert told(META, many, b"VA 2 ka O0\r\nvv\r\nVA 2 kb O0\r\nvv\r\n", limits) == over
    limits = Limits(stats=2, answer=20)
    assert told(CLASSIC, Stats(), b"STAT a 1\r\nSTAT b 2\r\nEND\r\n", limits) is None
    assert told(CLASSIC, Stats(), b"STAT a 1\r\n" * 5 + b"END\r\n", limits) == "statistics are 3 and more, limit is 2"
    over = "statistics are 21 bytes and more, limit is 20"
    assert told(CLASSIC, Stats(), b"STAT a 12345678901234\r\nEND\r\n", limits) == over
    dump = Stats(b"detail dump")
    assert told(CLASSIC, dump, b"PREFIX a\r\n" + b"12345\r\n" + b"END\r\n", Limits(answer=22)) is None
    assert (
        told(CLASSIC, dump, b"PREFIX a\r\n" * 3 + b"END\r\n", Limits(answer=22))
        == "lines are 30 bytes and more, limit is 22"
    )


def test_get_of_too_many_keys_or_none_is_refused() -> None:
    for dialect in TEXT:
        client = ClientConnection(Limits(keys=2), dialect=dialect)
        client.send(Get((b"a", b"b")))
        for request in (Get((b"a", b"b", b"c")), Get(())):
            with pytest.raises(LocalProtocolError, match=r"^keys are \d, must be 1 to 2$"):
                client.send(request)
        assert client.outstanding == 1


def test_long_lines_are_split() -> None:
    keys = tuple(b"%04d" % number for number in range(1000))
    for exptime, verb, line in ((None, b"gets ", 5000), (5, b"gats 5 ", 2048)):
        client = ClientConnection(Limits(keys_line=line), dialect=CLASSIC)
        exchange = client.send(Get(keys, exptime))
        lines = exchange.data.split(b"\r\n")[:-1]
        assert len(lines) == (2 if exptime is None else 3)
        assert all(each.startswith(verb) and len(each) < line for each in lines)
        assert b" ".join(each.removeprefix(verb) for each in lines).split() == list(keys)
        told = tell(client, [b"VALUE 0001 0 1\r\nx\r\nEND\r\n" + b"END\r\n" * (len(lines) - 1)])
        assert told == Told([Values((Item(b"0001", b"x"),))])


# --- nothing can be put into a line that does not belong there


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Get((b"a b",)), "key is b'a b', must hold no space, CR, LF or NUL"),
        (Get((b"k", b"a\r\nb")), "key is b'a\\r\\nb', must hold no"),
        (Get((b"",)), "key is 0 bytes, the least is 1"),
        (Get((b"k" * 251,)), "key is 251 bytes, limit is 250"),
        (Get((b"k",), 1 << 31), "exptime is 2147483648, must be -2147483648 to 2147483647"),
        (Set(b"k", b"", -1), "flags is -1, must be 0 to 4294967295"),
        (Set(b"k", b"", cas=1 << 64), "cas is 18446744073709551616"),
        (Add(b"k", b"", cas=1), "cas is 1, add cannot compare one in classic text"),
        (Delete(b"k", 1), "cas is 1, delete cannot compare one in classic text"),
        (Increment(b"k", exptime=0), "classic text can neither create a counter (exptime) nor compare a cas"),
        (Increment(b"k", 1 << 64), "delta is 18446744073709551616"),
        (Verbosity(-1), "level is -1, must be 0 to 4294967295"),
        (Touch(b"k", "5"), "exptime is str, must be an int"),  # type: ignore[arg-type]
        (Stats(b"a\r\nb"), "group is b'a\\r\\nb', must hold no CR, LF or NUL"),
        (Stats(b"a  b"), "its words must be separated by one space"),
        (Stats(b"cachedump 1 1"), "in text this is an AdminCommand request"),
        (AdminCommand(()), "AdminCommand cannot be said in classic text"),
        (AdminCommand((b"set", b"k", b"0", b"0", b"9")), "command is b'set', not an administrative one"),
        (AdminCommand((b"slabs", b"a\nb")), "word is b'a\\nb', must hold no"),
        (AdminCommand((b"cache_memlimit", b"9", b"noreply")), "its answer would be waited for"),
        (UnknownLine(b"set k 0 0 9"), "whose command is known"),
        (UnknownLine(b"\x80"), "line begins with 0x80"),
        (SaslAuth(b"PLAIN", b"\0u x\0p"), "user is b'u x', must hold no"),
        (SaslAuth(b"PLAIN", b"\0u\0p\r\n"), "password is b'p\\r\\n', must hold no"),
        (SaslAuth(b"PLAIN", b"\0u\0" + b"p" * 1025), "password is 1025 bytes, limit is 1024"),
        (SaslStep(b"PLAIN"), "SaslStep cannot be said in classic text"),
        (Set(b"k", b"", meta=MetaOptions(vivify=5)), "has meta options that only meta can say"),
        (MetaDebug(b"k"), "MetaDebug cannot be said in classic text"),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_request_that_classic_cannot_say_is_refused_and_nothing_is_sent(request_: Get, message: str) -> None:
    client = ClientConnection(dialect=CLASSIC)
    with pytest.raises(LocalProtocolError, match=re.escape(message)):
        client.send(request_)
    assert (client.outstanding, client.state) == (0, ClientState.OPEN)


def test_meta_options_are_said_in_meta_only() -> None:
    request = Get((b"k",), None, MetaOptions(vivify=30))
    for dialect in (Dialect.BINARY, CLASSIC):
        client = ClientConnection(dialect=dialect)
        with pytest.raises(LocalProtocolError, match="has meta options that only meta can say"):
            client.send(request)
        assert client.outstanding == 0
        # How the key was spelt is no question.
        client.send(Get((b"k",), None, MetaOptions(base64=True)))


@pytest.mark.parametrize(
    ("dialect", "request_", "said"),
    [
        (Dialect.CLASSIC, Delete(b"k"), b"DELETED\n"),
        (Dialect.CLASSIC, Get((b"k",)), b"END\n"),
        (Dialect.CLASSIC, Stats(), b"END\n"),
        (Dialect.CLASSIC, Stats(b"detail dump"), b"END\n"),
        (Dialect.META, Delete(b"k"), b"HD O0\n"),
        (Dialect.META, Get((b"k", b"l")), b"EN kk O0\nEN kl O0\n"),
    ],
)
def test_a_bare_lf_ends_a_line_of_a_reply_unless_it_is_forbidden(
    dialect: Dialect, request_: Request[object], said: bytes
) -> None:
    for limits, fault in ((None, False), (Limits(bare_lf=False), True)):
        client = ClientConnection(limits, dialect=dialect)
        client.send(request_)
        told = tell(client, [said])
        assert (told.fault is not None) is fault
        assert len(told.replies) == (not fault)
    assert told.fault is not None
    assert told.fault.endswith("ends in a bare LF, must end in CR LF")
