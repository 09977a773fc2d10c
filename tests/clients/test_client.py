"""The blocking client with servers that are slow, gone or wrong; well-behaved ones are in tests/peers."""

from __future__ import annotations

import gc
import socket
import sys
import threading
from types import FrameType
from typing import TYPE_CHECKING, assert_type

import pytest

from examples.tiny_server import TinyServer
from memproto import Dialect, Limits, LocalProtocolError, RemoteProtocolError
from memproto.clients.client import Client, ServerError
from memproto.commands import Serde
from tests.support.opaques import opaques_begin_at_0
from tests.support.peers import DEADLINE
from tests.support.scripted_servers import (
    NOOP_REPLY,
    VERSION_REPLY,
    answer_noop,
    answer_version,
    numbered,
    read,
    say,
    server,
)

__all__ = ["opaques_begin_at_0"]

if TYPE_CHECKING:
    from _typeshed import TraceFunction


def test_late_reply_never_reaches_another_call() -> None:
    timed_out = threading.Event()

    def slow(link: socket.socket) -> None:
        assert read(link, 24)[1] == 0x0B
        assert timed_out.wait(DEADLINE)
        # Both answers in one piece, the first of them too late.
        assert read(link, 24)[1] == 0x0B
        link.sendall(VERSION_REPLY + numbered(VERSION_REPLY, 1).replace(b"1.2.3", b"4.5.6"))
        assert read(link, 24)[1] == 0x0A
        link.sendall(numbered(NOOP_REPLY, 2))

    with server(slow) as port, Client(port=port, timeout=0.1) as client:
        with pytest.raises(TimeoutError):
            client.version()
        client.timeout = DEADLINE
        timed_out.set()
        assert client.version() == b"4.5.6"
        assert client.noop()


def test_call_with_half_a_reply_in_time_raises_timeout_and_leaves_connection_usable() -> None:
    timed_out = threading.Event()

    def slow(link: socket.socket) -> None:
        read(link, 24)
        link.sendall(VERSION_REPLY[:26])
        assert timed_out.wait(DEADLINE)
        link.sendall(VERSION_REPLY[26:])
        read(link, 24)
        link.sendall(numbered(NOOP_REPLY, 1))

    with server(slow) as port, Client(port=port, timeout=0.1) as client:
        with pytest.raises(TimeoutError):
            client.version()
        client.timeout = DEADLINE
        timed_out.set()
        assert client.noop()


def test_request_cut_off_by_timeout_costs_connection() -> None:
    done = threading.Event()

    def deaf(link: socket.socket) -> None:
        assert done.wait(DEADLINE)

    with server(deaf, answer_noop) as port, Client(port=port, timeout=0.3) as client:
        with pytest.raises(TimeoutError):
            client.set(b"key", bytes(64 * 2**20))
        done.set()
        client.timeout = DEADLINE
        assert client.noop()


def test_reply_before_request_is_sent_whole_is_read() -> None:
    size = 16 * 2**20

    def hasty(link: socket.socket) -> None:
        # The header and extras are enough to refuse; the rest still has to be sent, or the framing is lost.
        assert read(link, 24)[1] == 0x01
        link.sendall(b"\x81\x01" + bytes(5) + b"\x03" + bytes(16))
        read(link, 8 + 3 + size)
        read(link, 24)
        link.sendall(numbered(NOOP_REPLY, 1))

    with server(hasty) as port, Client(port=port, timeout=DEADLINE) as client:
        with pytest.raises(ServerError, match="status 0x0003"):
            client.set(b"key", bytes(size))
        assert client.noop()


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "magic"),
        (b"\x80\x0b" + bytes(22), "magic"),
        (numbered(VERSION_REPLY, 7), "opaque"),
        (NOOP_REPLY, "opcode"),
        (b"\x81\x0b\0\x01" + bytes(20), "body length is 0, less than"),
    ],
    ids=["http", "request", "opaque", "opcode", "lengths"],
)
def test_server_that_breaks_protocol_raises_remote_protocol_error(words: bytes, fault: str) -> None:
    with server(say(words), answer_version) as port, Client(port=port, timeout=DEADLINE) as client:
        with pytest.raises(RemoteProtocolError, match=fault):
            client.version()
        assert client.version() == b"1.2.3"


@pytest.mark.parametrize("words", [b"", VERSION_REPLY[:1], VERSION_REPLY[:28]], ids=len)
def test_server_that_closes_during_call_raises_connection_error(words: bytes) -> None:
    with server(say(words), answer_version) as port, Client(port=port, timeout=DEADLINE) as client:
        with pytest.raises(ConnectionError, match="the server closed the connection before it had answered"):
            client.version()
        assert client.version() == b"1.2.3"


def test_call_to_port_without_listener_raises_connection_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    client = Client(port=port, timeout=DEADLINE)
    assert client.set_multi({}) == []  # nothing is asked, so that nobody need be there
    for _ in range(2):
        with pytest.raises(ConnectionRefusedError):
            client.noop()
    client.close()


def test_call_that_is_interrupted_costs_connection() -> None:
    def leave(link: socket.socket) -> None:
        read(link, 24)
        link.sendall(VERSION_REPLY)

    def interrupt(way: str, data: bytes) -> None:
        if interrupted.is_set():
            return
        interrupted.set()
        raise KeyboardInterrupt

    interrupted = threading.Event()
    with server(leave, answer_version) as port, Client(port=port, timeout=DEADLINE, trace=interrupt) as client:
        with pytest.raises(KeyboardInterrupt):
            client.version()
        assert client.version() == b"1.2.3"


def test_trace_gets_every_byte() -> None:
    told: list[tuple[str, bytes]] = []
    with (
        server(answer_version) as port,
        Client(port=port, timeout=DEADLINE, trace=lambda way, data: told.append((way, data))) as client,
    ):
        client.version()
    assert told[:2] == [(">", b"\x80\x0b" + bytes(22)), ("<", VERSION_REPLY)]
    assert told[2:] == [(">", b"\x80\x07" + bytes(10) + b"\0\0\0\x01" + bytes(8))]


def test_reply_to_no_request_costs_connection_after_call_succeeds() -> None:
    def twice(link: socket.socket) -> None:
        assert read(link, 9) == b"version\r\n"
        link.sendall(b"VERSION 1.2.3\r\nVERSION 1.2.3\r\n")
        assert link.recv(1) == b""

    def once(link: socket.socket) -> None:
        assert read(link, 9) == b"version\r\n"
        link.sendall(b"VERSION 4.5.6\r\n")

    with (
        server(twice, once) as port,
        Client(port=port, timeout=DEADLINE, dialect=Dialect.CLASSIC) as client,
    ):
        assert client.version() == b"1.2.3"
        assert client.version() == b"4.5.6"


def test_command_of_several_requests_with_wrong_one_sends_none() -> None:
    told: list[bytes] = []
    with server(answer_noop, answer_version) as port:
        client = Client(port=port, timeout=DEADLINE, trace=lambda way, data: told.append(data))
        with client:
            assert client.noop()
            told.clear()
            with pytest.raises(LocalProtocolError, match="key of SET is missing"):
                client.set_multi({b"a": b"1", b"": b"2"})
            assert told == []
            assert client.version() == b"1.2.3"


@pytest.mark.parametrize("dialect", Dialect, ids=lambda dialect: dialect.name.lower())
def test_command_over_outstanding_limit_with_wrong_last_request_sends_none(dialect: Dialect) -> None:
    told: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = Client(
            port=listener.getsockname()[1],
            timeout=DEADLINE,
            dialect=dialect,
            limits=Limits(outstanding=2),
            trace=lambda way, data: told.append(data),
        )
        with client:
            with pytest.raises(LocalProtocolError, match="key"):
                client.set_multi({b"a": b"", b"b": b"", b"c": b"", b"k" * 251: b""})
            with pytest.raises(LocalProtocolError, match="key"):
                client.delete_multi([b"a", b"b", b"c", b""])
    assert told == []


def test_client_with_own_serde_has_its_values() -> None:
    def answer(link: socket.socket) -> None:
        assert read(link, 13) == b"set k 3 0 2\r\n"
        assert read(link, 4) == b"12\r\n"
        link.sendall(b"STORED\r\n")
        assert read(link, 8) == b"gets k\r\n"
        link.sendall(b"VALUE k 3 2 1\r\n12\r\nEND\r\n")

    serde = Serde[int](lambda number: (b"%d" % number, 3), lambda data, flags: int(data) * flags)
    with (
        server(answer) as port,
        Client(values=serde, port=port, timeout=DEADLINE, dialect=Dialect.CLASSIC) as client,
    ):
        assert_type(client, Client[int])
        assert client.set(b"k", 12) is True
        assert assert_type(client.get(b"k"), int | None) == 36
        assert assert_type(client.get_multi(()), dict[bytes, int]) == {}


class Own(BaseException):
    pass


# Where nothing refers to a socket yet, the garbage collector closes it, and warns.
@pytest.mark.untraced
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("error", [KeyboardInterrupt, TimeoutError, BlockingIOError, Own])
@pytest.mark.parametrize("dialect", Dialect, ids=lambda dialect: dialect.name.lower())
def test_interruption_at_any_line_never_leads_to_wrong_reply(dialect: Dialect, error: type[BaseException]) -> None:
    kept = 0
    with TinyServer() as tiny, Client(port=tiny.server_address[1], timeout=DEADLINE, dialect=dialect) as client:
        thread = threading.Thread(target=tiny.serve_forever, args=(0.01,))
        thread.start()
        try:
            assert client.set_multi({b"a": b"value of a", b"b": b"value of b"}) == []
            lines = 0
            while interrupted_at(lines, client, error):
                # Only a connection on which nothing is outstanding may be used again.
                assert [link.protocol.outstanding for link in client._connections] in ([], [0])
                kept += len(client._connections)
                assert client.get(b"b") == b"value of b"
                if lines % 2:
                    client.close()  # and so the opening of a connection, too
                lines += 1
                assert lines < 2000
        finally:
            tiny.shutdown()
            thread.join(DEADLINE)
    gc.collect()  # while the warnings are ignored
    assert lines > 40
    assert kept < lines / 2


def interrupted_at(line: int, client: Client, error: type[BaseException]) -> bool:
    """Ask for ``a``, with an exception before so many lines of the client or the library; whether there were."""
    left = line

    def trace(frame: FrameType, event: str, argument: object) -> TraceFunction | None:
        nonlocal left
        name = frame.f_code.co_filename
        if not name.endswith(("memproto/clients/client.py", "memproto/clients/stream.py")) and "memproto" not in name:
            return None
        if event == "line":
            if left == 0:
                raise error
            left -= 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        assert client.get(b"a") == b"value of a"
    except error:
        return True
    finally:
        sys.settrace(before)
    return False


def test_refused_call_raises_server_error_with_text_of_refusal() -> None:
    refusal = b"\x81\x0b" + bytes(4) + b"\x00\x82" + bytes(3) + b"\x06" + bytes(12) + b"n\xf6 way"
    with (
        server(say(refusal)) as port,
        Client(port=port, timeout=DEADLINE) as client,
        pytest.raises(ServerError) as caught,
    ):
        client.version()
    assert str(caught.value) == "n\N{REPLACEMENT CHARACTER} way (status 0x0082)"
    assert (caught.value.failure.status, caught.value.failure.text) == (0x82, b"n\xf6 way")
