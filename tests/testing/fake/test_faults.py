"""Faults of a fake on sockets: what a client receives, and which requests the rules are for."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from memproto import (
    Counter,
    Failure,
    Flush,
    Get,
    Increment,
    LocalProtocolError,
    Set,
    Stats,
    StatsReply,
    Status,
    Stored,
    Version,
)
from memproto.testing import (
    Close,
    Cut,
    Delay,
    Drop,
    Duplicate,
    FakeMemcached,
    Fault,
    Garbage,
    Reply,
    UnusedRuleWarning,
)
from memproto.testing.fake.link import LINGER
from tests.support.peers import DEADLINE

VALUE = b"VALUE user:1 0 1\r\nx\r\nEND\r\n"


@pytest.fixture(scope="module")
def shared() -> Iterator[FakeMemcached]:
    with FakeMemcached() as fake:
        yield fake


@pytest.fixture
def fake(shared: FakeMemcached) -> FakeMemcached:
    shared.clear()
    shared.items[b"user:1"] = b"x"
    return shared


def converse(fake: FakeMemcached, data: bytes) -> bytes:
    """Everything that is received for this, up to the end of the stream."""
    with socket.create_connection(fake.address, DEADLINE) as link:
        link.sendall(data)
        link.shutdown(socket.SHUT_WR)
        received = b""
        while piece := link.recv(65536):
            received += piece
        return received


def connections(fake: FakeMemcached) -> int:
    reply = fake.execute(Stats())
    assert isinstance(reply, StatsReply)
    return int(dict(reply.stats)[b"curr_connections"])


@pytest.mark.parametrize(
    ("how", "received"),
    [
        (Close(), b""),
        (Close(execute=False), b""),
        (Cut(10), b"VALUE user"),
        (Cut(1000), VALUE),
        (Cut(0), b""),
        (Drop(), b"MN\r\n"),
        (Drop(execute=False), b"MN\r\n"),
        (Duplicate(), VALUE + VALUE + b"MN\r\n"),
        (Garbage(b"\x00?\r\n"), b"\x00?\r\nMN\r\n"),
        (Reply(Failure(Status.OUT_OF_MEMORY, b"no")), b"SERVER_ERROR no\r\nMN\r\n"),
        (Delay(0.01), VALUE + b"MN\r\n"),
        (Delay(0.01, after=5), VALUE + b"MN\r\n"),
        (Duplicate(after=0.01), VALUE + VALUE + b"MN\r\n"),
    ],
    ids=repr,
)
def test_each_fault_changes_what_a_client_receives(fake: FakeMemcached, how: Fault, received: bytes) -> None:
    with fake.fail(Get, how=how) as rule:
        assert converse(fake, b"get user:1\r\nmn\r\n") == received
        assert rule.applied == 1
        assert fake.requests[0].fault == how
    assert converse(fake, b"get user:1\r\nmn\r\n") == VALUE + b"MN\r\n"


@pytest.mark.parametrize(
    ("how", "stored"),
    [
        (Close(), True),
        (Close(execute=False), False),
        (Drop(), True),
        (Drop(execute=False), False),
        (Cut(2), True),
        (Duplicate(), True),
        (Delay(1000), True),
        (Reply(Failure(Status.OUT_OF_MEMORY)), False),
        (Garbage(b"?"), False),
    ],
    ids=repr,
)
def test_each_fault_says_whether_the_request_is_executed(fake: FakeMemcached, how: Fault, stored: bool) -> None:
    fake.fail(Set, how=how)
    with socket.create_connection(fake.address, DEADLINE) as link:
        link.sendall(b"set key 0 0 1\r\ny\r\n")
        assert (b"key" in fake.items) is stored


def test_the_nth_request_and_those_behind_it_meet_with_a_fault_so_many_times(fake: FakeMemcached) -> None:
    rule = fake.fail(Version, nth=2, times=2, how=Garbage(b"?"))
    assert converse(fake, b"version\r\n" * 5) == b"VERSION 1.6.18\r\n??" + b"VERSION 1.6.18\r\n" * 2
    assert (rule.matched, rule.applied) == (5, 2)
    assert repr(rule) == "<Rule Garbage(data=b'?') for Version nth=2 matched=5 applied=2>"


def test_a_rule_is_for_the_kinds_and_keys_that_it_names(fake: FakeMemcached) -> None:
    rule = fake.fail((Get, Increment), key=b"user:*", how=Drop())
    converse(fake, b"get other\r\nget other user:1\r\nincr user:1 1\r\ndelete user:2\r\nversion\r\nmg user:7\r\n")
    assert rule.applied == 3
    anything = fake.fail(key=b"user:1", how=Drop())
    converse(fake, b"version\r\nstats\r\nflush_all\r\ndelete user:1\r\n")
    assert anything.applied == 1


def test_of_several_rules_the_last_applies_and_the_others_count(fake: FakeMemcached) -> None:
    first = fake.fail(how=Garbage(b"1"))
    with fake.fail(Version, times=1, how=Garbage(b"2")) as second:
        assert converse(fake, b"version\r\nversion\r\n") == b"21"
    assert (first.matched, first.applied, second.matched, second.applied) == (2, 1, 2, 1)
    first.remove()
    first.remove()
    assert converse(fake, b"mn\r\n") == b"MN\r\n"


def test_a_delay_delays_no_other_client_and_passes_when_time_is_advanced(fake: FakeMemcached) -> None:
    fake.fail(Version, times=1, how=Delay(30_000_000))
    with socket.create_connection(fake.address, DEADLINE) as slow:
        slow.sendall(b"version\r\nmn\r\n")
        assert len(fake.requests) == 2
        assert converse(fake, b"version\r\n") == b"VERSION 1.6.18\r\n"
        fake.advance(29_999_999)
        slow.settimeout(0.02)
        with pytest.raises(TimeoutError):
            slow.recv(1)
        fake.advance(1)
        slow.setblocking(False)
        assert slow.recv(100) == b"VERSION 1.6.18\r\nMN\r\n"


def test_a_fault_with_a_quiet_request_counts_and_sends_nothing(fake: FakeMemcached) -> None:
    with fake.fail(Set, how=Duplicate()) as rule:
        assert converse(fake, b"set k 0 0 1 noreply\r\nx\r\nmn\r\n") == b"MN\r\n"
        assert rule.applied == 1


def test_binary_requests_meet_with_the_same_faults(fake: FakeMemcached) -> None:
    version = b"\x80\x0b" + bytes(10) + b"\0\0\0\x07" + bytes(8)
    with fake.fail(Version, how=Reply(Failure(Status.OUT_OF_MEMORY))):
        reply = converse(fake, version)
    assert (reply[:2], reply[6:8], reply[12:16]) == (b"\x81\x0b", b"\0\x82", b"\0\0\0\x07")


def test_a_client_that_does_not_close_its_side_is_closed_after_a_while(fake: FakeMemcached) -> None:
    fake.fail(Version, how=Close())
    with socket.create_connection(fake.address, DEADLINE) as link:
        link.sendall(b"version\r\n")
        assert link.recv(1) == b""
        link.sendall(b"mn\r\n")
        assert [type(each.request) for each in fake.requests] == [Version]
        assert connections(fake) == 1
        fake.advance(LINGER + 1)
        assert connections(fake) == 0
        # It was reset, since what it has sent has no reply; otherwise only the reply to this would tell it so.
        with pytest.raises(BrokenPipeError):
            link.sendall(b"mn\r\n")


def test_a_client_that_sends_nothing_more_is_closed_without_a_reset(fake: FakeMemcached) -> None:
    fake.fail(Version, how=Close())
    with socket.create_connection(fake.address, DEADLINE) as link:
        link.sendall(b"version\r\n")
        assert link.recv(1) == b""
        fake.advance(LINGER + 1)
        assert connections(fake) == 0
        assert link.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


def test_a_client_that_resets_the_connection_disturbs_nobody(fake: FakeMemcached) -> None:
    fake.items[b"k"] = bytes(1_000_000)
    fake.fail(Version, how=Delay(1000))
    for request in (b"get k\r\n" * 20, b"version\r\n", b"get"):
        with socket.create_connection(fake.address, DEADLINE) as link:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            link.sendall(request)
            received = len(fake.requests)
    fake.advance(1000)
    assert received == len(fake.requests)
    assert converse(fake, b"mn\r\n") == b"MN\r\n"


# --- outages


def test_down_closes_connections_and_refuses_new_ones_on_the_same_port(fake: FakeMemcached) -> None:
    address = fake.address
    with socket.create_connection(address, DEADLINE) as link:
        link.sendall(b"mn\r\n")
        with fake.down():
            fake.down()
            while link.recv(100):
                pass
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(address, DEADLINE)
    assert fake.address == address
    assert converse(fake, b"get user:1\r\n") == VALUE
    fake.up()


def test_refuse_leaves_connections_that_there_are(fake: FakeMemcached) -> None:
    with socket.create_connection(fake.address, DEADLINE) as link:
        assert fake.requests == []
        with fake.refuse():
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(fake.address, DEADLINE)
            link.sendall(b"mn\r\n")
            assert link.recv(4) == b"MN\r\n"


# --- mistakes of a test


def test_a_reply_that_cannot_answer_the_request_is_refused(fake: FakeMemcached) -> None:
    with pytest.raises(LocalProtocolError, match="reply is Stored, must be a Failure or a reply to Get"):
        fake.fail(Get, how=Reply(Stored()))
    fake.fail(Set, how=Reply(Stored())).remove()
    with pytest.raises(LocalProtocolError, match="reply is Counter, must be a Failure or a reply to Set"):
        fake.fail((Increment, Set), how=Reply(Counter(1)))


def test_an_error_of_a_reply_is_raised_by_stop() -> None:
    fake = FakeMemcached().start()
    fake.fail(Increment, how=Reply(Counter(-1)))
    assert converse(fake, b"incr n 1\r\nmn\r\n") == b""
    assert converse(fake, b"mn\r\n") == b"MN\r\n"
    with pytest.raises(LocalProtocolError, match="counter is -1"):
        fake.stop()
    fake.stop()


def test_an_error_of_a_reply_is_raised_at_the_end_of_the_block() -> None:
    def fails() -> None:
        with FakeMemcached() as fake:
            fake.fail(Increment, how=Reply(Counter(-1)))
            converse(fake, b"incr n 1\r\n")

    with pytest.raises(LocalProtocolError, match="counter is -1"):
        fails()


def test_an_error_of_a_reply_is_raised_by_clear_once_and_the_fake_is_clear() -> None:
    with FakeMemcached() as fake:
        fake.items[b"key"] = b"value"
        fake.fail(Increment, how=Reply(Counter(-1)))
        assert converse(fake, b"incr n 1\r\nmn\r\n") == b""
        with pytest.raises(LocalProtocolError, match="counter is -1"):
            fake.clear()
        assert converse(fake, b"incr n 1\r\n") == b"NOT_FOUND\r\n"
        assert fake.items == {}
        fake.clear()


def test_an_error_of_a_reply_does_not_hide_that_of_the_test() -> None:
    def fails() -> None:
        with FakeMemcached() as fake:
            fake.fail(Increment, how=Reply(Counter(-1)))
            converse(fake, b"incr n 1\r\n")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()


def test_wrong_rules_are_refused_by_name(fake: FakeMemcached) -> None:
    for arguments, words in (
        ({"request": int, "how": Drop()}, "request is the class int, must be a request class"),
        ({"request": (Get, Stored), "how": Drop()}, "request is the class Stored, must be a request class"),
        ({"key": "k", "how": Drop()}, "key is 'k', must be a pattern in bytes"),
        ({"nth": 0, "how": Drop()}, "nth is 0, must be an int, 1 or more"),
        ({"times": True, "how": Drop()}, "times is True, must be an int, 1 or more"),
        ({"how": Close}, "how is the class Close, must be a fault"),
        ({"how": None}, "how is None, must be a fault"),
        ({"request": (), "how": Drop()}, "request is an empty tuple, must have a request class"),
    ):
        with pytest.raises(LocalProtocolError) as caught:
            fake.fail(**arguments)
        assert str(caught.value).startswith(words)
    assert converse(fake, b"mn\r\n") == b"MN\r\n"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Delay(-1),
        lambda: Delay(float("inf")),
        lambda: Delay(1, after=-1),
        lambda: Cut(-1),
        lambda: Cut(True),
        lambda: Garbage("text"),  # type: ignore[arg-type]
        lambda: Close(execute=1),  # type: ignore[arg-type]
        lambda: Drop(execute=1),  # type: ignore[arg-type]
        lambda: Duplicate(after=-1),
    ],
)
def test_faults_out_of_range_are_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(LocalProtocolError):
        make()


def test_requests_without_a_key_are_no_match_for_a_key(fake: FakeMemcached) -> None:
    rule = fake.fail((Stats, Flush), key=b"*", how=Close())
    converse(fake, b"stats\r\nflush_all\r\n")
    assert rule.matched == 0
    rule.remove()


def test_a_rule_that_no_request_met_with_gives_one_warning_at_its_end(fake: FakeMemcached) -> None:
    with pytest.warns(UnusedRuleWarning) as caught, fake.fail(Get, key=b"user:*", nth=2, how=Close()):
        converse(fake, b"get user:1\r\n")
    said = "no request met with the fault of <Rule Close(execute=True) for Get key=b'user:*' nth=2 matched=1 applied=0>"
    assert [str(each.message) for each in caught] == [said]
    assert caught[0].filename == __file__
    fake.fail(how=Close())
    with pytest.warns(UnusedRuleWarning):
        fake.clear()
    with FakeMemcached() as other:
        rule = other.fail(how=Close())
        with pytest.warns(UnusedRuleWarning):
            other.stop()
        rule.remove()


def test_no_warning_hides_the_error_of_a_test(fake: FakeMemcached) -> None:
    with pytest.raises(ZeroDivisionError), fake.fail(how=Close()):
        raise ZeroDivisionError


def test_a_request_without_a_reply_that_was_sent_before_a_rule_ends_meets_with_it(fake: FakeMemcached) -> None:
    with socket.create_connection(fake.address, DEADLINE) as link:
        with fake.fail(Set, how=Drop(execute=False)):
            link.sendall(b"set k 0 0 1 noreply\r\nx\r\n")
        assert b"k" not in fake.items
