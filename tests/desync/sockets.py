"""Sockets that are none: what they give and when is the schedule's, and a timeout takes no time."""

from __future__ import annotations

import random
import selectors
import socket
from collections.abc import Iterator
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
        #: How many steps until a KeyboardInterrupt; each operation has a step before and a step behind it.
        self.fuse = 0
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
            raise KeyboardInterrupt

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

    def close(self) -> None:
        self._open = False

    def shutdown(self, _how: int) -> None: ...

    def _check(self) -> None:
        if not self._open:
            raise OSError("the socket is closed")

    def wait(self, write: bool, timeout: float | None) -> bool:
        """What a selector does: whether there is something before the timeout."""
        self._network.step()
        self._check()
        stream = self._line.stream
        stalled = not stream or stream[0] is Mark.STALL
        ready = not stalled or (write and self._network.chance.random() >= self._network.jam)
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
                raise BlockingIOError
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
            raise self._network.fail(BrokenPipeError("the server has closed"))
        size = len(data)
        if self._network.chance.random() < self._network.short:
            size = self._network.chance.randrange(size + 1)
            if not size and not self._blocking:
                raise BlockingIOError
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


class FakeSelector:
    """What the clients use of a selector: one socket, readable or writable."""

    def __init__(self) -> None:
        self._registered: dict[FakeSocket, int] = {}

    def register(self, link: FakeSocket, events: int) -> None:
        self._registered[link] = events

    def modify(self, link: FakeSocket, events: int) -> None:
        if link not in self._registered:
            raise KeyError(f"{link!r} is not registered")
        self._registered[link] = events

    def unregister(self, link: FakeSocket) -> None:
        del self._registered[link]

    def select(self, timeout: float | None = None) -> list[tuple[FakeSocket, int]]:
        return [
            (link, events)
            for link, events in self._registered.items()
            if link.wait(bool(events & selectors.EVENT_WRITE), timeout)
        ]

    def __enter__(self) -> FakeSelector:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._registered.clear()


class FakeModule(ModuleType):
    """Stands for the modules ``socket``, ``selectors`` and ``time``; the constants are the real ones."""

    def __init__(self, network: Network) -> None:
        super().__init__("fake")
        self._network = network

    def __getattr__(self, name: str) -> object:
        if name.isupper():
            return getattr(socket if hasattr(socket, name) else selectors, name)
        raise AttributeError(name)

    def monotonic(self) -> float:
        return self._network.now

    def create_connection(self, *_: object) -> FakeSocket:
        return self._network.connect()

    def socket(self, *_: object) -> FakeSocket:
        return self._network.connect()

    def getaddrinfo(self, host: str, port: int, *_: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]

    def DefaultSelector(self) -> FakeSelector:  # noqa: N802  # the name it stands for
        return FakeSelector()


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
