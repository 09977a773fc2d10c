"""Servers of one test each: a script of what they read and send, on a port of 127.0.0.1."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from examples.tiny_server import TinyServer
from tests.support.certificates import server_context
from tests.support.peers import DEADLINE

#: Binary replies to a no-op and to a version request, with the opaque 0.
NOOP_REPLY = b"\x81\x0a" + bytes(22)
VERSION_REPLY = b"\x81\x0b" + bytes(9) + b"\x05" + bytes(12) + b"1.2.3"

#: What a server does with one connection.
Handler = Callable[[socket.socket], None]


def numbered(reply: bytes, opaque: int) -> bytes:
    """The binary reply with this opaque."""
    return reply[:12] + opaque.to_bytes(4, "big") + reply[16:]


def read(link: socket.socket, size: int) -> bytes:
    """Read so many bytes; fails if the client closes before."""
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


def until_closed(link: socket.socket) -> None:
    with suppress(ConnectionError):  # a reset, if the client leaves something unread
        while link.recv(1000):
            pass


def late_by_a_call(link: socket.socket) -> None:
    """Leave out the answer to the first of three calls."""
    for number in range(3):
        assert read(link, 9) == b"version\r\n"
        if number:
            link.sendall(b"VERSION 9.9.9\r\n")
    assert link.recv(1) == b""


def answer_version_in_text(link: socket.socket) -> None:
    assert read(link, 9) == b"version\r\n"
    link.sendall(b"VERSION 1.2.3\r\n")


def when_let(go: threading.Semaphore) -> Handler:
    """Answer six calls, each when the semaphore lets it."""

    def handler(link: socket.socket) -> None:
        for number in range(6):
            assert read(link, 24)[1] == 0x0B
            assert go.acquire(timeout=DEADLINE)
            link.sendall(numbered(VERSION_REPLY, number))

    return handler


def over_tls(handler: Handler) -> Handler:
    context = server_context()

    def secured(link: socket.socket) -> None:
        with context.wrap_socket(link, server_side=True) as wrapped:
            handler(wrapped)

    return secured


@contextmanager
def threaded_tiny_server() -> Iterator[int]:
    with TinyServer() as tiny:
        thread = threading.Thread(target=tiny.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield tiny.server_address[1]
        finally:
            tiny.shutdown()
            thread.join(DEADLINE)
