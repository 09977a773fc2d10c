"""Passwords of logins: none is shown unless that is asked for."""

from __future__ import annotations

import pytest

from memproto import Failure, ObservedExchange
from memproto.capture.credentials import without_password
from memproto.capture.follower import Follower, Record
from memproto.model import SaslAuth, Set

TEXT = b"set auth 0 0 9\r\nuser pass\r\n"
PLAIN = bytes.fromhex("802100050000000000000010 00000001 0000000000000000") + b"PLAIN\0user\0passw"
STEP = bytes.fromhex("802200070000000000000009 00000001 0000000000000000") + b"SCRAM-1xy"


def _record(data: bytes, reply: bytes = b"", *, mid_stream: bool = False) -> Record:
    follower = Follower(None, keep=True, auth_required=True, mid_stream=mid_stream)
    records = follower.client_sent(data) + follower.server_sent(reply) + follower.end()
    return without_password(records[0], auth_required=True)


@pytest.mark.parametrize(
    ("data", "shown", "asked"),
    [
        (TEXT, TEXT.replace(b"pass", b"****"), SaslAuth(b"PLAIN", b"\0user\0****")),
        (PLAIN, PLAIN.replace(b"passw", b"*****"), SaslAuth(b"PLAIN", b"\0user\0*****")),
    ],
)
def test_login_has_stars_in_place_of_its_password(data: bytes, shown: bytes, asked: SaslAuth) -> None:
    record = _record(data)
    assert isinstance(record.event, ObservedExchange)
    assert (record.event.envelope.request, record.request) == (asked, shown)


def test_data_of_another_mechanism_are_all_stars() -> None:
    record = _record(STEP)
    assert record.request == STEP.replace(b"xy", b"**")
    assert b"xy" not in repr(record).encode()


def test_login_without_a_space_has_stars_in_place_of_its_data() -> None:
    record = _record(b"set auth 0 0 4\r\npass\r\n", b"CLIENT_ERROR bad authentication token format\r\n")
    assert record.request == b"set auth 0 0 4\r\n******"
    assert isinstance(record.event, ObservedExchange)
    assert isinstance(record.event.reply, Failure)
    assert "pass\\r" not in repr(record)


def test_first_set_behind_a_beginning_that_was_not_seen_is_no_login() -> None:
    record = _record(TEXT, mid_stream=True)
    assert isinstance(record.event, ObservedExchange)
    assert record.event.envelope.request == Set(b"auth", b"user pass")


def test_what_is_no_login_stays_as_it_is() -> None:
    follower = Follower(None, keep=True)
    (stored,) = follower.client_sent(TEXT) + follower.server_sent(b"STORED\r\n")
    assert without_password(stored, auth_required=False) is stored
    (unmatched,) = follower.server_sent(b"STORED\r\n")
    assert without_password(unmatched, auth_required=True) is unmatched
