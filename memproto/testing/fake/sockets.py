"""Sockets in memory: a client that lets its user choose the socket module talks to a fake without a network."""

from __future__ import annotations

import errno
import os
import socket
from socket import AddressFamily, SocketKind
from types import ModuleType
from typing import Self

from memproto.testing.fake.conversation import Conversation
from memproto.testing.fake.state import FakeState


def connect(state: FakeState) -> Conversation:
    """A connection in memory. Raises ConnectionRefusedError while the fake refuses connections."""
    if not state.accepting:
        raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    conversation = Conversation(state, lambda: state.clock.advanced)
    state.in_memory.add(conversation)
    return conversation


class FakeSocket:
    """What clients use of a socket. Waiting takes no time: it advances the time of the fake.

    Each ``connect()`` is a new connection to the fake, whatever the address.
    """

    def __init__(self, state: FakeState) -> None:
        self._state = state
        self._conversation: Conversation | None = None
        self._received = b""
        self._timeout: float | None = None
        self._open = True
        self._sends = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- options

    def settimeout(self, timeout: float | None) -> None:
        """Set how many seconds of the fake's time an operation may take."""
        self._timeout = timeout

    def gettimeout(self) -> float | None:
        """How many seconds an operation may take."""
        return self._timeout

    def setblocking(self, flag: bool) -> None:
        """Wait without a limit, or not at all."""
        self._timeout = None if flag else 0.0

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        """Do nothing."""

    def fileno(self) -> int:
        """-1, because there is no descriptor."""
        return -1

    # --- the connection

    def connect(self, address: object) -> None:
        """Connect to the fake. Raises ConnectionRefusedError while it refuses connections."""
        self._conversation = connect(self._state)

    def sendall(self, data: bytes) -> None:
        """Send all of the data. Raises OSError if the connection is closed."""
        conversation = self._connected()
        if not self._sends or conversation.ended:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        if data:
            conversation.receive(bytes(data))

    def send(self, data: bytes) -> int:
        """Send all of the data; how many bytes it has. Raises OSError if the connection is closed."""
        self.sendall(data)
        return len(data)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """The next bytes, at most so many; empty at the end of the stream.

        Raises TimeoutError when the fake sends nothing within the timeout, BlockingIOError if that is 0, and
        RuntimeError if there is no timeout and the fake will never send anything.
        """
        conversation = self._connected()
        while not self._received:
            conversation.run()
            self._received = conversation.take()
            if self._received:
                break
            if conversation.finished:
                return b""
            self._wait(conversation)
        data, self._received = self._received[:size], self._received[size:]
        return data

    def recv_into(self, buffer: bytearray | memoryview, size: int = 0) -> int:
        """Receive into the buffer, at most ``size`` bytes or as many as it holds; how many. Raises as ``recv`` does."""
        data = self.recv(size or len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _wait(self, conversation: Conversation) -> None:
        clock, due = self._state.clock, conversation.due_at
        seconds = None if due is None else due - clock.advanced
        if self._timeout == 0:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        if self._timeout is not None and (seconds is None or seconds > self._timeout):
            clock.advance(self._timeout)
            raise TimeoutError("timed out")
        if seconds is None:
            raise RuntimeError("recv() would wait for ever: the fake has nothing to send, and there is no timeout")
        clock.advance(seconds)

    def shutdown(self, how: int) -> None:
        """Close the side of the client, unless ``how`` is ``SHUT_RD``."""
        if how != socket.SHUT_RD and self._sends:
            self._sends = False
            self._connected().receive(b"")

    def close(self) -> None:
        """Close the connection."""
        if self._conversation is not None and self._open and self._sends:
            self._conversation.receive(b"")
        self._open = False

    def _connected(self) -> Conversation:
        if not self._open:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if self._conversation is None:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        return self._conversation


class FakeSocketModule(ModuleType):
    """The module ``socket`` for a client that is to talk to a fake in memory; constants and errors are the real ones.

    For pymemcache: ``pymemcache.Client("any:11211", socket_module=fake.socket_module)``.
    """

    def __init__(self, state: FakeState) -> None:
        super().__init__("socket", self.__doc__)
        self._state = state

    def __getattr__(self, name: str) -> object:
        return getattr(socket, name)

    def socket(self, family: int = -1, type: int = -1, proto: int = -1) -> FakeSocket:  # noqa: A002 - the name of socket
        """A socket that is not connected yet."""
        return FakeSocket(self._state)

    def create_connection(self, address: object, timeout: float | None = None) -> FakeSocket:
        """A connected socket. Raises ConnectionRefusedError while the fake refuses connections."""
        made = FakeSocket(self._state)
        made.settimeout(timeout)
        made.connect(address)
        return made

    def getaddrinfo(
        self, host: str, port: int, *_: int, **__: int
    ) -> list[tuple[AddressFamily, SocketKind, int, str, tuple[str, int]]]:
        """One address, whatever the host; nothing is looked up."""
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))]
