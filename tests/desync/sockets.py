"""Sockets that are none: what they give and when is the schedule's, and a timeout takes no time."""

from __future__ import annotations

import errno
import random
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType

from tests.desync.faults import Mark
from tests.desync.service import Service

#: How long a wait in vain takes, more than any client's timeout, in seconds.
VAIN = 100.0


class Network:
    """Makes the sockets of a schedule, and interrupts its calls."""

    def __init__(self, service: Service, seed: str) -> None:
        self._service = service
        self.chance = random.Random(seed)
        #: Whether the network has let the client down since this was last set to false.
        self.failed = False
        #: How many steps until an interruption; each operation has a step before and a step behind it.
        self.fuse = 0
        #: What a signal handler raises then.
        self.error: Callable[[], BaseException] = KeyboardInterrupt
        #: How many there have been.
        self.interruptions = 0
        #: How likely a write falls short, and how likely there is no room for one within the timeout.
        self.short = self.jam = 0.1
        #: Whether it is the server that runs now.
        self.serving = False
        #: The clock, in seconds; nothing but waiting in vain takes time.
        self.now = 0.0

    def connect(self) -> FakeSocket:
        """A connected socket."""
        self.step()
        made = FakeSocket(self, self._service)
        self.step()
        return made

    def step(self) -> None:
        """Before and behind each operation."""
        self.fuse -= 1
        if self.fuse == 0:
            self.interruptions += 1
            raise self.error()

    def fail(self, error: OSError) -> OSError:
        """Take note that the network lets the client down."""
        self.failed = True
        self.now += VAIN
        return error


class FakeSocket:
    """What the clients use of a socket."""

    def __init__(self, network: Network, service: Service) -> None:
        self._network = network
        self._line = service.connect()
        self._blocking = True
        self._open = True
        self._end_seen = False

    def setblocking(self, flag: bool) -> None:
        self._blocking = flag

    def settimeout(self, timeout: float | None) -> None:
        self._blocking = timeout != 0

    def setsockopt(self, *_: int) -> None: ...

    def connect(self, _address: object) -> None:
        self._network.step()

    def connect_ex(self, _address: object) -> int:
        self._network.step()
        return 0

    def close(self) -> None:
        self._open = False

    def shutdown(self, _how: int) -> None: ...

    def _check(self) -> None:
        if not self._open:
            raise OSError(errno.EBADF, "the socket is closed")

    def wait(self, events: int, timeout: float | None) -> int:
        """What a selector does: which of the events there are before the timeout."""
        self._network.step()
        self._check()
        stream = self._line.stream
        stalled = not stream or stream[0] is Mark.STALL
        room = events & select.POLLOUT and self._network.chance.random() >= self._network.jam
        ready = (0 if stalled else events & select.POLLIN) | (select.POLLOUT if room else 0)
        if not ready and timeout != 0:
            self._network.fail(TimeoutError())
            if stream:
                stream.popleft()
        self._network.step()
        return ready

    def recv(self, size: int) -> bytes:
        self._network.step()
        self._check()
        stream = self._line.stream
        if not stream or stream[0] is Mark.STALL:
            if not self._blocking:
                self._network.step()
                raise BlockingIOError(errno.EAGAIN, "there is nothing to read")
            if stream:
                stream.popleft()
            raise self._network.fail(TimeoutError("timed out"))
        head = stream[0]
        if isinstance(head, Mark):
            self._end_seen = self._network.failed = True
            data = b""
        else:
            stream.popleft()
            data = head[:size]
            if head[size:]:
                stream.appendleft(head[size:])
        self._network.step()
        return data

    def send(self, data: bytes | memoryview) -> int:
        self._network.step()
        self._check()
        if self._end_seen:
            raise self._network.fail(BrokenPipeError(errno.EPIPE, "the server has closed"))
        size = len(data)
        if self._network.chance.random() < self._network.short:
            size = self._network.chance.randrange(size + 1)
            if not size and not self._blocking:
                raise BlockingIOError(errno.EAGAIN, "there is no room")
        self._deliver(data[:size])
        self._network.step()
        return size

    def _deliver(self, data: bytes | memoryview) -> None:
        self._network.serving = True
        self._line.receive(bytes(data))
        self._network.serving = False

    def sendall(self, data: bytes | bytearray | memoryview) -> None:
        data = bytes(data)
        data = data[self.send(data) :]
        if data:
            if self._network.chance.random() < self._network.jam:
                raise self._network.fail(TimeoutError("timed out"))
            self._deliver(data)
            self._network.step()


class FakePoll:
    """What the clients use of ``select.poll``: one socket, readable or writable."""

    def __init__(self) -> None:
        self._registered: dict[FakeSocket, int] = {}

    def register(self, link: FakeSocket, events: int) -> None:
        self._registered[link] = events

    def poll(self, milliseconds: float | None = None) -> list[tuple[int, int]]:
        found = [link.wait(events, milliseconds) for link, events in self._registered.items()]
        return [(0, events) for events in found if events]


class FakeModule(ModuleType):
    """Stands for the modules ``socket``, ``select`` and ``time``; the constants are the real ones."""

    def __init__(self, network: Network) -> None:
        super().__init__("fake")
        self._network = network

    def __getattr__(self, name: str) -> object:
        if name.isupper():
            return getattr(socket, name)
        raise AttributeError(name)

    def monotonic(self) -> float:
        return self._network.now

    def create_connection(self, *_: object) -> FakeSocket:
        return self._network.connect()

    def socket(self, *_: object) -> FakeSocket:
        return self._network.connect()

    def getaddrinfo(self, host: str, port: int, *_: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]

    def poll(self) -> FakePoll:
        return FakePoll()


@contextmanager
def replaced(module: ModuleType, names: tuple[str, ...], network: Network) -> Iterator[None]:
    """The modules that ``module`` has imported under these names are fakes meanwhile."""
    fake = FakeModule(network)
    real = {name: getattr(module, name) for name in names}
    try:
        for name in names:
            setattr(module, name, fake)
        yield
    finally:
        for name, each in real.items():
            setattr(module, name, each)
