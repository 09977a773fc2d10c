"""The commands that control ``memproto fake``, without a process."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import TypeAlias

import pytest

from memproto.cli.fake_control import Control
from memproto.testing import FakeMemcached
from tests.support.peers import DEADLINE

Answer: TypeAlias = "dict[str, object]"


@pytest.fixture
def fake() -> Iterator[FakeMemcached]:
    with FakeMemcached() as running:
        yield running


@pytest.fixture
def control(fake: FakeMemcached) -> Control:
    return Control(fake)


def told(control: Control, line: str) -> Answer:
    answer = control.answer(line)
    assert "\n" not in answer
    said: Answer = json.loads(answer)
    return said


def ask(fake: FakeMemcached, data: bytes) -> bytes:
    """What a client reads after this, and after the reply to a version, until the connection is closed."""
    with socket.create_connection(fake.address, DEADLINE) as client:
        client.sendall(data + b"quit\r\n")
        client.shutdown(socket.SHUT_WR)
        said = b""
        while piece := client.recv(1000):
            said += piece
        return said


def test_advance_expires_items_and_now_stops_the_clock(fake: FakeMemcached, control: Control) -> None:
    assert ask(fake, b"set k 0 60 1\r\nv\r\n") == b"STORED\r\n"
    answer = told(control, "advance 61")
    assert answer.pop("ok") is True
    assert answer.keys() == {"now"}
    assert ask(fake, b"get k\r\n") == b"END\r\n"
    assert told(control, "now 1000.5") == {"ok": True, "now": 1000.5}
    assert told(control, "now") == {"ok": True, "now": 1000.5}
    assert told(control, "advance 2") == {"ok": True, "now": 1002.5}


def test_down_refuse_and_up(fake: FakeMemcached, control: Control) -> None:
    for command in ("down", "refuse"):
        assert told(control, command) == {"ok": True}
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(fake.address, DEADLINE)
        assert told(control, "up") == {"ok": True}
        assert ask(fake, b"mn\r\n") == b"MN\r\n"


@pytest.mark.parametrize(
    ("fault", "reply"),
    [
        ("how=close", b""),
        ("how=close execute=no", b""),
        ("how=drop", b""),
        ("how=drop execute=yes", b""),
        ("how=delay seconds=0", b"END\r\n"),
        ("how=delay seconds=0 after=2", b"END\r\n"),
        ("how=cut size=2", b"EN"),
        ("how=duplicate", b"END\r\nEND\r\n"),
        ("how=duplicate after=0", b"END\r\nEND\r\n"),
        (r"how=garbage data='VALUE k\u0000\u00ff\r\n'", b"VALUE k\0\xff\r\n"),
        ("how=reply status=out_of_memory", b"SERVER_ERROR out of memory"),
        ("how=reply status=out_of_memory text='no room'", b"SERVER_ERROR no room"),
    ],
)
def test_each_fault_can_be_made(fake: FakeMemcached, control: Control, fault: str, reply: bytes) -> None:
    assert told(control, f"fail get key=k* {fault}") == {"ok": True, "rule": 1}
    said = ask(fake, b"get key\r\n")
    assert said.startswith(reply)
    assert bool(said) == bool(reply)
    assert told(control, "remove 1") == {"ok": True, "applied": 1}
    assert ask(fake, b"get key\r\n") == b"END\r\n"


def test_a_rule_is_for_some_requests_keys_and_times_only(fake: FakeMemcached, control: Control) -> None:
    assert told(control, 'fail get,delete key="user:*" nth=2 times=1 how=reply status=out_of_memory') == {
        "ok": True,
        "rule": 1,
    }
    said = ask(fake, b"get user:1\r\ntouch user:1 0\r\nget other\r\ndelete user:2\r\nget user:1\r\n")
    assert [line.split()[0] for line in said.splitlines()] == [b"END", b"NOT_FOUND", b"END", b"SERVER_ERROR", b"END"]
    assert told(control, "fail how=close") == {"ok": True, "rule": 2}
    assert ask(fake, b"version\r\n") == b""
    assert told(control, "clear") == {"ok": True}
    assert ask(fake, b"mn\r\n") == b"MN\r\n"


def test_requests_are_told_field_by_field(fake: FakeMemcached, control: Control) -> None:
    fake.now = 1000
    told(control, "fail delete how=drop")
    ask(fake, b"set k\xff 5 60 1\r\nv\r\n")
    ask(fake, b"delete k\r\n")
    answer = told(control, "requests")
    requests = answer["requests"]
    assert isinstance(requests, list)
    first, _quit, second = requests[:3]
    assert first["request"].items() >= {"type": "Set", "key": "k\\xff", "value": "v", "flags": 5, "exptime": 60}.items()
    assert (first["dialect"], first["connection"], first["time"], first["fault"]) == ("classic", 1, 1000, None)
    assert (second["request"]["type"], second["connection"]) == ("Delete", 2)
    assert second["fault"].startswith("Drop(")


def test_a_request_of_many_keys_and_one_with_meta_options_can_be_told(fake: FakeMemcached, control: Control) -> None:
    ask(fake, b"get a b\r\nmg k v t\r\nms k 1 MA\r\nx\r\nnonsense\r\n")
    requests = told(control, "requests")["requests"]
    assert isinstance(requests, list)
    assert requests[0]["request"]["keys"] == ["a", "b"]
    assert len(requests) >= 4


def test_quit_ends(control: Control) -> None:
    assert not control.ended
    assert told(control, "quit") == {"ok": True}
    assert control.ended


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("", "no command ''"),
        ("halt", "no command 'halt': it must be one of advance, now"),
        ("down 1", "1 arguments, must be 0"),
        ("advance", "0 arguments, must be 1"),
        ("advance x", "SECONDS is 'x', must be a number"),
        ("remove x", "RULE is 'x', must be a whole number"),
        ("fail how=close key=a key=b", "key is given twice"),
        ("advance -1", "seconds"),
        ("now 1 2", "2 arguments, must be 0 or 1"),
        ("now nan", "now"),
        ("fail", "how is '', must be one of close, drop"),
        ("fail gat how=close", "no request 'gat': it must be one of get"),
        ("fail get how=explode", "how is 'explode', must be one of"),
        ("fail how=close key", "'key' must be NAME=VALUE"),
        ("fail how=close nth=x", "nth is 'x'"),
        ("fail how=close times=0", "times"),
        ("fail how=delay", "how=delay needs seconds"),
        ("fail how=close size=2", "how=close does not take size"),
        ("fail how=close execute=maybe", "execute is 'maybe': must be yes or no"),
        ("fail how=reply status=busy", "status is 'busy': must be one of success, key_not_found"),
        (r"fail how=garbage data='\x'", "data is"),
        (r"fail how=garbage data='\u1234'", "data is"),
        ("remove 1", "no rule 1: there were 0 so far"),
        ("remove 0", "no rule 0"),
        ("'", "No closing quotation"),
    ],
)
def test_a_wrong_command_is_answered_with_what_is_wrong(control: Control, line: str, error: str) -> None:
    answer = told(control, line)
    assert answer["ok"] is False
    assert str(answer["error"]).startswith(error)


def test_time_is_that_of_the_system_at_first(control: Control) -> None:
    now = told(control, "now")["now"]
    assert isinstance(now, float)
    assert abs(now - time.time()) < DEADLINE
