"""Authentication: the reference server's file of users, SASL PLAIN, text authentication."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path

import pytest

from memproto import (
    AnyReply,
    Authenticated,
    Challenge,
    ConnectionClosed,
    Dialect,
    Envelope,
    Failure,
    Mechanisms,
    SaslAuth,
    SaslList,
    SaslStep,
    ServerConnection,
    ServerState,
    Signal,
    Status,
    Version,
    VersionReply,
)
from memproto.server.auth import Users
from memproto.server.command_line import parse_arguments
from memproto.server.errors import AuthFileError
from tests.server.test_process import run_server
from tests.support.peers import DEADLINE, running_example

REFUSED = Failure(Status.AUTH_ERROR)
IN = Authenticated()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    path.write_bytes(b"bob:secret\nann:pass:word\r\nann@home:other\nspace:two words\nempty:\n")
    return path


# --- the file


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", ": no users: there must be lines of user:password"),
        (b"bob:secret\nbob\n", ":2: no colon: it must be user:password"),
        (b"\nbob:secret\n", ":1: no colon: it must be user:password"),
        (b"bob:secret\n\n", ":2: no colon: it must be user:password"),
        (b":secret\n", ":1: the user before the colon is empty"),
        (b"bob:sec\0ret\n", ":1: a zero byte, which neither a user nor a password can have"),
        (b"bob:" + b"x" * 251, ":1: line is 255 bytes, the limit is 254"),
        (b"u:p\n" * 9, ":9: too many users, the limit is 8"),
    ],
)
def test_file_that_breaks_a_rule_is_refused_by_line_and_rule(tmp_path: Path, content: bytes, rule: str) -> None:
    path = tmp_path / "users"
    path.write_bytes(content)
    with pytest.raises(AuthFileError) as caught:
        Users.load(path)
    assert str(caught.value) == f"{path}{rule}"
    assert caught.value.code == 1


def test_file_that_cannot_be_read_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(AuthFileError) as caught:
        Users.load(tmp_path / "none")
    assert str(caught.value) == f"{tmp_path}/none: cannot be read: No such file or directory"
    with pytest.raises(AuthFileError, match="cannot be read: Is a directory"):
        Users.load(str(tmp_path))


def test_file_at_its_limits_is_read(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_bytes(b"u:p\n" * 7 + b"bob:" + b"x" * 250)
    assert Users.load(path).knows(b"bob", b"x" * 250)


def test_options_and_environment_choose_the_file_and_how_it_is_read(file: Path) -> None:
    assert Users.load_for(parse_arguments([], {})) is None
    text = Users.load_for(parse_arguments(["-Y", str(file)], {}))
    sasl = Users.load_for(parse_arguments(["-S", "-Y", str(file)], {}))
    database = Users.load_for(parse_arguments(["-S"], {"MEMCACHED_SASL_PWDB": str(file)}))
    assert text is not None
    assert sasl is not None
    assert database is not None
    # A realm is SASL's, and fields behind the password the database's.
    known = [
        (users.knows(b"bob@home", b"secret"), users.knows(b"ann", b"pass"), users.knows(b"ann", b"pass:word"))
        for users in (text, sasl, database)
    ]
    assert known == [(False, False, True), (True, False, True), (True, True, False)]


def test_database_of_more_users_than_a_file_may_have_is_read(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text("".join(f"user{number}:pass{number}:::::::\n" for number in range(100)))
    assert Users.load(path, fields=True).knows(b"user99", b"pass99")


def test_file_that_is_read_again_replaces_the_users_unless_it_is_bad(file: Path) -> None:
    users = Users.load(file)
    file.write_text("bob:changed\n")
    assert users.knows(b"bob", b"secret")
    users.reload()
    assert (users.knows(b"bob", b"secret"), users.knows(b"bob", b"changed"), users.knows(b"empty", b"")) == (
        False,
        True,
        False,
    )
    file.write_text("nonsense\n")
    with pytest.raises(AuthFileError):
        users.reload()
    assert users.knows(b"bob", b"changed")


# --- the answers


@pytest.mark.parametrize(
    ("data", "reply"),
    [
        (b"\0bob\0secret", IN),
        (b"bob\0bob\0secret", IN),
        (b"\0bob@example.org\0secret", IN),
        (b"\0ann\0pass:word", IN),
        (b"\0ann@home\0other", IN),
        (b"\0ann@home\0pass:word", IN),
        (b"\0space\0two words", IN),
        (b"\0empty\0", IN),
        (b"ann\0bob\0secret", REFUSED),
        (b"\0bob\0Secret", REFUSED),
        (b"\0bob\0secret ", REFUSED),
        (b"\0bob\0secre", REFUSED),
        (b"\0bob\0", REFUSED),
        (b"\0Bob\0secret", REFUSED),
        (b"\0bo\0secret", REFUSED),
        (b"\0\0secret", REFUSED),
        (b"\0\0", REFUSED),
        (b"\0@bob\0secret", REFUSED),
        (b"\0nobody\0secret", REFUSED),
        (b"\0bob\0other", REFUSED),
        (b"\0b\xc3\xb6b\0\xff", REFUSED),
        (b"bob\0secret", REFUSED),
        (b"bob", REFUSED),
        (b"\0bob\0secret\0", REFUSED),
        (b"\0bob\0sec\0ret", REFUSED),
    ],
)
def test_right_credentials_are_accepted_and_wrong_ones_refused(file: Path, data: bytes, reply: AnyReply) -> None:
    users = Users.load(file)
    assert users.answer(SaslAuth(b"PLAIN", data)) == reply
    assert users.answer(SaslStep(b"PLAIN", data)) == reply


def test_sasl_requests_besides_plain_are_answered_or_refused(file: Path) -> None:
    users = Users.load(file)
    assert users.answer(SaslList()) == Mechanisms((b"PLAIN",))
    assert users.answer(SaslAuth(b"PLAIN", b"")) == Challenge(b"")
    assert users.answer(SaslStep(b"PLAIN", b"")) == REFUSED
    assert users.answer(SaslAuth(b"CRAM-MD5", b"")) == REFUSED
    assert users.answer(SaslAuth(b"CRAM-MD5", b"\0bob\0secret")) == REFUSED
    assert users.answer(SaslStep(b"LOGIN", b"\0bob\0secret")) == REFUSED


# --- through a connection


def talk(users: Users, dialect: Dialect, received: bytes) -> tuple[bytes, ServerConnection]:
    """What a server with nothing but users and a version answers."""
    connection = ServerConnection(auth_required=True, dialects={dialect})
    connection.receive_data(received)
    out = b""
    while not isinstance(event := connection.next_event(), Signal | ConnectionClosed):
        assert isinstance(event, Envelope)
        request = event.request
        if isinstance(request, SaslList | SaslAuth | SaslStep):
            out += connection.send(users.answer(request), event)
        elif isinstance(request, Version):
            out += connection.send(VersionReply(b"1.2.3"), event)
        else:
            out += connection.send(getattr(request, "reply", Failure(Status.KEY_NOT_FOUND)), event)
    return out, connection


def sasl(opcode: int, mechanism: bytes, data: bytes) -> bytes:
    head = b"\x80" + bytes([opcode]) + len(mechanism).to_bytes(2, "big") + bytes(4)
    return head + (len(mechanism) + len(data)).to_bytes(4, "big") + bytes(12) + mechanism + data


def answer(opcode: int, status: int, value: bytes) -> bytes:
    head = b"\x81" + bytes([opcode, 0, 0, 0, 0]) + status.to_bytes(2, "big")
    return head + len(value).to_bytes(4, "big") + bytes(12) + value


LIST, AUTH, STEP, GET = 0x20, 0x21, 0x22, 0x00


def test_binary_connection_is_authenticated_by_sasl(file: Path) -> None:
    users = Users.load(file)
    out, connection = talk(
        users,
        Dialect.BINARY,
        sasl(LIST, b"", b"")
        + sasl(STEP, b"PLAIN", b"\0bob\0secret")
        + sasl(AUTH, b"DIGEST-MD5", b"")
        + sasl(AUTH, b"PLAIN", b"\0bob\0wrong")
        + sasl(AUTH, b"PLAIN", b"")
        + sasl(STEP, b"PLAIN", b"\0bob\0secret")
        + sasl(GET, b"key", b""),
    )
    assert out == (
        answer(LIST, 0, b"PLAIN")
        + answer(STEP, 0x20, b"Auth failure.")
        + answer(AUTH, 0x20, b"Auth failure.")
        + answer(AUTH, 0x20, b"Auth failure.")
        + answer(AUTH, 0x21, b"")
        + answer(STEP, 0, b"Authenticated")
        + answer(GET, 0x01, b"Not found")
    )
    assert connection.state is ServerState.AUTHENTICATED


def test_text_connection_is_authenticated_by_the_first_set(file: Path) -> None:
    users = Users.load(file, realms=False)
    out, connection = talk(
        users,
        Dialect.CLASSIC,
        b"get key\r\n"
        b"set x 0 0 9\r\nbob wrong\r\n"
        b"set x 0 0 12\r\nbob@x secret\r\n"
        b"set x 0 0 3\r\nbob\r\n"
        b"set x 0 0 10\r\nbob secret\r\n"
        b"version\r\n",
    )
    assert out == (
        b"CLIENT_ERROR unauthenticated\r\n"
        b"CLIENT_ERROR authentication failure\r\n"
        b"CLIENT_ERROR authentication failure\r\n"
        b"CLIENT_ERROR bad authentication token format\r\n"
        b"STORED\r\n"
        b"VERSION 1.2.3\r\n"
    )
    assert connection.state is ServerState.AUTHENTICATED


# --- through the server


def say(port: int, data: bytes, wanted: int = 1 << 16) -> bytes:
    """Its answers until it hangs up, or so many bytes of them."""
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as link:
        link.sendall(data)
        link.shutdown(socket.SHUT_WR)
        received = b""
        while len(received) < wanted and (piece := link.recv(1 << 16)):
            received += piece
        return received


def test_server_with_text_authentication_lets_known_users_in(file: Path) -> None:
    with running_example("-Y", str(file)) as server:
        right = b"set x 0 0 10\r\nbob secret\r\n"
        assert say(server.port, b"get x\r\n") == b"CLIENT_ERROR unauthenticated\r\n"
        assert say(server.port, right + b"get x\r\nmn\r\n") == b"STORED\r\nEND\r\nMN\r\n"
        # A binary request is the beginning of a line.
        assert say(server.port, sasl(AUTH, b"PLAIN", b"\0bob\0secret"))[:1] != b"\x81"
        file.write_text("bob:changed\n")
        server.process.send_signal(signal.SIGHUP)
        new = b"set x 0 0 11\r\nbob changed\r\n"
        deadline = time.monotonic() + DEADLINE
        while say(server.port, new) != b"STORED\r\n":
            assert time.monotonic() < deadline
        assert say(server.port, right) == b"CLIENT_ERROR authentication failure\r\n"
        file.write_text("nonsense\n")
        server.process.send_signal(signal.SIGHUP)
        assert say(server.port, new) == b"STORED\r\n"
    assert server.lines[1].endswith(f" not read again: {file}:1: no colon: it must be user:password\n")


def test_server_with_sasl_lets_known_users_in(file: Path) -> None:
    with running_example("-S", "-Y", str(file)) as server:
        assert say(server.port, sasl(LIST, b"", b"")) == answer(LIST, 0, b"PLAIN")
        # The refusal is the end.
        assert say(server.port, sasl(GET, b"key", b"") * 2) == answer(GET, 0x20, b"Auth failure.")
        right = sasl(AUTH, b"PLAIN", b"\0bob\0secret")
        told = say(server.port, right + sasl(GET, b"key", b""))
        assert told == answer(AUTH, 0, b"Authenticated") + answer(GET, 1, b"Not found")
        assert say(server.port, b"version\r\n") == b""


def test_server_with_a_bad_file_does_not_start(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text("bob:secret\nsecret\n")
    for arguments in (("-Y", str(path)), ("-S", "-Y", str(path))):
        told = run_server("-p", "-1", *arguments)
        assert (told.returncode, told.stderr) == (1, f"{path}:2: no colon: it must be user:password\n")


def test_every_attempt_is_counted(file: Path) -> None:
    def packet(opcode: int, key: bytes, value: bytes) -> bytes:
        size = len(key) + len(value)
        return bytes((0x80, opcode, 0, len(key), 0, 0, 0, 0)) + size.to_bytes(4, "big") + bytes(12) + key + value

    with (
        running_example("-S", "-Y", str(file)) as server,
        socket.create_connection(("127.0.0.1", server.port), DEADLINE) as link,
    ):
        # A step without a challenge, an unknown mechanism, a wrong password, a challenge and its step.
        link.sendall(
            packet(0x22, b"PLAIN", b"\0bob\0secret")
            + packet(0x21, b"NONE", b"x")
            + packet(0x21, b"PLAIN", b"\0bob\0wrong")
            + packet(0x21, b"PLAIN", b"")
            + packet(0x22, b"PLAIN", b"\0bob\0secret")
            + packet(0x10, b"", b"")
            + packet(0x07, b"", b"")
        )
        told = b""
        while piece := link.recv(65536):
            told += piece
    assert b"auth_cmds4" in told
    assert b"auth_errors3" in told
