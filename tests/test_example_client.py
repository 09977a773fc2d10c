"""The example client with servers that are slow, gone or wrong; well-behaved ones are in test_peer_client."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from examples.client import Client, ServerError
from memproto import RemoteProtocolError
from tests.peers import DEADLINE

NOOP_REPLY = b"\x81\x0a" + bytes(22)
VERSION_REPLY = b"\x81\x0b" + bytes(9) + b"\x05" + bytes(12) + b"1.2.3"

Handler = Callable[[socket.socket], None]


def numbered(reply: bytes, opaque: int) -> bytes:
    return reply[:12] + opaque.to_bytes(4, "big") + reply[16:]


def read(link: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = link.recv(size - len(data))
        assert piece, f"the client closed after {len(data)} of {size} bytes"
        data += piece
    return data


@contextmanager
def server(*handlers: Handler) -> Iterator[int]:
    """Handle so many connections, one after the other; fails if that did not go as it should."""
    failures: list[BaseException] = []

    def run(listener: socket.socket) -> None:
        try:
            for handler in handlers:
                link, _ = listener.accept()
                with link:
                    link.settimeout(DEADLINE)
                    handler(link)
        except BaseException as error:
            failures.append(error)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE)
        thread = threading.Thread(target=run, args=(listener,))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join(2 * DEADLINE)
    assert failures == []
    assert not thread.is_alive()


def answer_noop(link: socket.socket) -> None:
    assert read(link, 24)[:2] == b"\x80\x0a"
    link.sendall(NOOP_REPLY)


def answer_version(link: socket.socket) -> None:
    assert read(link, 24)[:2] == b"\x80\x0b"
    link.sendall(VERSION_REPLY)


def say(words: bytes) -> Handler:
    def handler(link: socket.socket) -> None:
        read(link, 24)
        link.sendall(words)
        # Closing now could turn into a reset, which would be another error.
        link.shutdown(socket.SHUT_WR)
        while link.recv(1000):
            pass

    return handler


def test_a_late_answer_is_never_given_to_another_call() -> None:
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
        client._timeout = DEADLINE
        timed_out.set()
        assert client.version() == b"4.5.6"
        assert client.noop()


def test_half_of_an_answer_in_time() -> None:
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
        client._timeout = DEADLINE
        timed_out.set()
        assert client.noop()


def test_a_request_cut_off_by_the_timeout_costs_the_connection() -> None:
    done = threading.Event()

    def deaf(link: socket.socket) -> None:
        assert done.wait(DEADLINE)

    with server(deaf, answer_noop) as port, Client(port=port, timeout=0.3) as client:
        with pytest.raises(TimeoutError):
            client.set(b"key", bytes(64 * 2**20))
        done.set()
        client._timeout = DEADLINE
        assert client.noop()


def test_an_answer_before_the_request_is_over() -> None:
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
        (VERSION_REPLY[:26], "ended inside a packet"),
        (b"", "ended before 1 of the requests were answered"),
        (b"\x81\x0b" + bytes(6) + b"\x7f" + bytes(15), "value is"),
    ],
    ids=["http", "request", "opaque", "opcode", "cut", "silence", "huge"],
)
def test_a_server_that_talks_rubbish(words: bytes, fault: str) -> None:
    with server(say(words), answer_version) as port, Client(port=port, timeout=DEADLINE) as client:
        with pytest.raises(RemoteProtocolError, match=fault):
            client.version()
        assert client.version() == b"1.2.3"


def test_a_server_that_closed_between_two_calls() -> None:
    closed = threading.Event()

    def brief(link: socket.socket) -> None:
        answer_noop(link)
        link.close()
        closed.set()

    with server(brief, answer_version) as port, Client(port=port, timeout=DEADLINE) as client:
        assert client.noop()
        assert closed.wait(DEADLINE)
        # Whether the request got through before that cannot be known, so it is not sent again.
        with pytest.raises((RemoteProtocolError, ConnectionError)):
            client.version()
        assert client.version() == b"1.2.3"


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    client = Client(port=port, timeout=DEADLINE)
    for _ in range(2):
        with pytest.raises(ConnectionRefusedError):
            client.noop()
    client.close()


def test_any_interruption_costs_the_connection() -> None:
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


def test_the_trace_has_every_byte() -> None:
    told: list[tuple[str, bytes]] = []
    with (
        server(answer_version) as port,
        Client(port=port, timeout=DEADLINE, trace=lambda way, data: told.append((way, data))) as client,
    ):
        client.version()
    assert told[:2] == [(">", b"\x80\x0b" + bytes(22)), ("<", VERSION_REPLY)]
    assert told[2:] == [(">", b"\x80\x07" + bytes(10) + b"\0\0\0\x01" + bytes(8))]


def test_the_words_of_a_refusal() -> None:
    refusal = b"\x81\x0b" + bytes(4) + b"\x00\x82" + bytes(3) + b"\x06" + bytes(12) + b"n\xf6 way"
    with (
        server(say(refusal)) as port,
        Client(port=port, timeout=DEADLINE) as client,
        pytest.raises(ServerError) as caught,
    ):
        client.version()
    assert str(caught.value) == "n\N{REPLACEMENT CHARACTER} way (status 0x0082)"
    assert (caught.value.failure.status, caught.value.failure.text) == (0x82, b"n\xf6 way")
