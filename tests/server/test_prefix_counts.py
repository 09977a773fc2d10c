"""``stats detail`` of the reference server, beside memcached's."""

from __future__ import annotations

import socket

import pytest

from memproto import Delete, Deleted, Failure, Get, Item, Set, Stats, StatsReply, Status, Stored, Touch, Values
from memproto.server.prefix_counts import MAX_PREFIXES, PrefixCounts
from tests.support.peers import DEADLINE, server_of


@pytest.mark.parametrize("name", [pytest.param("memcached", marks=pytest.mark.peer("memcached")), "memproto"])
def test_requests_are_counted_by_prefix_while_it_is_on(name: str) -> None:
    with server_of(name) as port, socket.create_connection(("127.0.0.1", port), DEADLINE) as link:
        stream = link.makefile("rwb", buffering=0)

        def ask(line: bytes) -> bytes:
            stream.write(line.replace(b"\n", b"\r\n") + b"mn\r\n")
            told = b""
            while not told.endswith(b"MN\r\n"):
                told += stream.readline()
            return told.removesuffix(b"MN\r\n").replace(b"\r\n", b"\n")

        usage = b"CLIENT_ERROR usage: stats detail on|off|dump\n"
        assert ask(b"stats detail\n") == ask(b"stats detail x\n") == usage
        assert ask(b"set a:1 0 0 1\nx\nstats detail dump\n") == b"STORED\nEND\n"
        assert ask(b"stats detail on\n") == b"OK\n"
        ask(b"set a:1 0 0 1\nx\nget a:1\nget a:2 a:3:4 a:1\ngat 0 a:1\ndelete a:1\ndelete a:1\n")
        ask(b"add a:1 0 0 1\nx\nadd a:1 0 0 1\nx\nappend a:9 0 0 1\nx\nreplace a:9 0 0 1\nx\n")
        # What has no prefix does not count, nor do these.
        ask(b"set none 0 0 1\nx\nget none\nincr a:1 1\ntouch a:1 0\n")
        counted = b"PREFIX a get 5 hit 3 set 5 del 2\nEND\n"
        assert ask(b"stats detail dump\n") == counted
        ask(b"stats detail off\nget a:1\n")
        assert ask(b"stats detail dump\n") == counted
        ask(b"stats detail on\nset :b 0 0 1\nx\n")
        assert sorted(ask(b"stats detail dump\n").splitlines()) == sorted(
            [*counted.splitlines(), b"PREFIX  get 0 hit 0 set 1 del 0"]
        )
        assert ask(b"stats reset\nstats detail dump\n") == b"RESET\nEND\n"


def test_prefixes_are_counted_up_to_a_limit() -> None:
    details = PrefixCounts()
    for number in range(MAX_PREFIXES + 100):
        details.record(Set(b"%d:k" % number, b""), Stored(1))
    details.record(Get((b"0:k", b"none:k")), Values((Item(b"0:k", b""),)))
    told = details.answer(Stats(b"detail dump"))
    assert isinstance(told, StatsReply)
    ((_, dump),) = told.stats
    lines = dump.split(b"\r\n")
    assert len(lines) == MAX_PREFIXES + 2
    assert lines[0] == b"PREFIX 0 get 1 hit 1 set 1 del 0"
    assert b"PREFIX none " not in dump


def test_other_statistics_are_not_its_affair() -> None:
    for group in (b"", b"detail", b"detail x"):
        assert PrefixCounts().answer(Stats(group)) is None


def test_counts_of_one_prefix_are_shown_until_a_reset() -> None:
    counts = PrefixCounts()
    assert counts.answer(Stats(b"detail on")) == StatsReply()
    on = [counts.on]
    for request, reply in (
        (Set(b"a:1", b"x"), Stored(1)),
        (Get((b"a:1", b"a:2")), Values((Item(b"a:1", b"x"),))),
        (Get((b"a:2",)), Failure(Status.KEY_NOT_FOUND)),
        (Delete(b"a:1"), Deleted()),
        (Set(b"none", b"x"), Stored(2)),
        (Touch(b"a:1", 0), Failure(Status.KEY_NOT_FOUND)),
    ):
        counts.record(request, reply)
    assert counts.answer(Stats(b"detail off")) == StatsReply()
    assert [*on, counts.on] == [True, False]
    assert counts.answer(Stats(b"detail dump")) == StatsReply(
        ((b"detailed", b"PREFIX a get 3 hit 1 set 1 del 1\r\nEND\r\n"),)
    )
    counts.reset()
    assert counts.answer(Stats(b"detail dump")) == StatsReply(((b"detailed", b"END\r\n"),))
