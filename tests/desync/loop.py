"""An event loop without I/O: connections lead to the scheduled server, and the clock moves when everybody waits."""

from __future__ import annotations

import asyncio
import errno
import random
import selectors
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType

from tests.desync.faults import Mark
from tests.desync.service import Service

#: How long a stall takes, and the timeout of a call, in seconds of the loop's own clock.
STALL, TIMEOUT = 100.0, 60.0


class _Clock(selectors.SelectSelector):
    """Instead of waiting for sockets it moves the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everybody waits, for nothing")
        self.now += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its connections are to ``service``: transports, or sockets whose readiness it tells."""

    def __init__(self, service: Service, seed: str) -> None:
        self._clock = _Clock()
        super().__init__(self._clock)
        self._service = service
        self.chance = random.Random(seed)
        #: How likely a write finds the transport's buffer full.
        self.jam = 0.1
        #: How often the network has let the client down.
        self.failures = 0
        #: Whether it is the server that runs now.
        self.serving = False
        self._transports: list[FakeTransport] = []
        self._streams: dict[int, FakeStream] = {}

    def time(self) -> float:
        return self._clock.now

    async def create_connection(  # type: ignore[override]  # the typeshed has overloads, of which one is used
        self, protocol_factory: Callable[[], asyncio.Protocol], *_: object, **__: object
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        await asyncio.sleep(0)
        protocol = protocol_factory()
        transport = FakeTransport(self, self._service, protocol)
        self._transports.append(transport)
        protocol.connection_made(transport)
        await asyncio.sleep(0)
        return transport, protocol

    def open_stream(self) -> FakeStream:
        """A socket, with a number that no real one has."""
        made = FakeStream(self, self._service, 1_000_000 + len(self._streams))
        self._streams[made.fileno()] = made
        return made

    def add_reader(self, fd: int, callback: Callable[[], None], *_: object) -> None:  # type: ignore[override]
        self._streams[fd].set_reader(callback)

    def remove_reader(self, fd: int) -> bool:  # type: ignore[override]
        return self._streams[fd].set_reader(None)

    def add_writer(self, fd: int, callback: Callable[[], None], *_: object) -> None:  # type: ignore[override]
        self._streams[fd].set_writer(callback)

    def remove_writer(self, fd: int) -> bool:  # type: ignore[override]
        return self._streams[fd].set_writer(None)

    def hang_up(self) -> None:
        """Close what the client has left open."""
        for transport in self._transports:
            transport.close()
        for stream in self._streams.values():
            stream.close()

    @property
    def open_streams(self) -> int:
        """How many sockets are open."""
        return sum(not stream.closed for stream in self._streams.values())


class FakeStream:
    """What a client uses of a socket that does not block, and what the loop knows of it."""

    def __init__(self, loop: VirtualLoop, service: Service, number: int) -> None:
        self._loop = loop
        self._line = service.connect()
        self._number = number
        self.closed = False
        self._pumping = self._jammed = False
        self._reader: Callable[[], None] | None = None
        self._writer: Callable[[], None] | None = None

    # --- the client's side

    def fileno(self) -> int:
        return self._number

    def setblocking(self, flag: bool) -> None:
        assert not flag

    def setsockopt(self, *_: int) -> None: ...

    def connect_ex(self, _address: object) -> int:
        return 0

    def recv(self, size: int) -> bytes:
        self._check()
        stream = self._line.stream
        head = stream[0] if stream else Mark.STALL
        if head is Mark.STALL:
            raise BlockingIOError(errno.EAGAIN, "there is nothing to read")
        if isinstance(head, Mark):
            self._loop.failures += 1
            return b""
        stream.popleft()
        if head[size:]:
            stream.appendleft(head[size:])
        return head[:size]

    def send(self, data: bytes | memoryview) -> int:
        self._check()
        size = len(data)
        if self._loop.chance.random() < self._loop.jam:
            size = self._loop.chance.randrange(size + 1)
            if not size:
                raise BlockingIOError(errno.EAGAIN, "there is no room")
        self._loop.serving = True
        self._line.receive(bytes(data[:size]))
        self._loop.serving = False
        self._wake()
        return size

    def close(self) -> None:
        self.closed = True

    def _check(self) -> None:
        if self.closed:
            raise OSError(errno.EBADF, "the socket is closed")

    # --- the loop's side

    def set_reader(self, reader: Callable[[], None] | None) -> bool:
        before, self._reader = self._reader, reader
        self._wake()
        return before is not None

    def set_writer(self, writer: Callable[[], None] | None) -> bool:
        before, self._writer = self._writer, writer
        if writer is not None and not self._jammed:
            self._jammed = True
            self._loop.call_later(self._loop.chance.choice((0.0, STALL)), self._make_room)
        return before is not None

    def _make_room(self) -> None:
        self._jammed = False
        if self._writer is not None and not self.closed:
            writer = self._writer
            self.set_writer(writer)  # first, because the loop goes on telling whatever becomes of this
            writer()

    def _wake(self) -> None:
        if not self._pumping and self._reader is not None and self._line.stream:
            self._pumping = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pumping = False
        stream = self._line.stream
        if self.closed or self._reader is None or not stream:
            return
        self._pumping = True
        if stream[0] is Mark.STALL:
            stream.popleft()
            self._loop.failures += 1
            self._loop.call_later(STALL, self._pump)
        else:
            # First, because the loop goes on telling whatever becomes of this.
            self._loop.call_soon(self._pump)
            self._reader()


class _Sockets(ModuleType):
    """Stands for the module ``socket``; the constants are the real ones."""

    def __getattr__(self, name: str) -> object:
        if name.isupper():
            return getattr(socket, name)
        raise AttributeError(name)

    def socket(self, *_: object) -> FakeStream:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        return loop.open_stream()


@contextmanager
def streams(module: ModuleType) -> Iterator[None]:
    """The sockets that ``module`` opens are those of the running loop meanwhile."""
    real = vars(module)["socket"]
    vars(module)["socket"] = _Sockets("sockets")
    try:
        yield
    finally:
        vars(module)["socket"] = real


class FakeTransport(asyncio.Transport):
    """Gives the server what is written at once, and the client what the schedule says."""

    def __init__(self, loop: VirtualLoop, service: Service, protocol: asyncio.BaseProtocol) -> None:
        super().__init__()
        self._loop = loop
        self._line = service.connect()
        self._protocol = protocol
        self._closing = self._pumping = self._paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing:
            return
        self._loop.serving = True
        self._line.receive(bytes(data))
        self._loop.serving = False
        if not self._pumping:
            self._pumping = True
            self._loop.call_soon(self._pump)
        if self._loop.chance.random() < self._loop.jam:
            self._protocol.pause_writing()
            self._loop.call_later(self._loop.chance.choice((0.0, STALL)), self._protocol.resume_writing)

    def writelines(self, pieces: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(pieces))

    def _pump(self) -> None:
        self._pumping = False
        if self._closing or self._paused or not self._line.stream:
            return
        head = self._line.stream.popleft()
        self._pumping = head is not Mark.END
        if isinstance(head, bytes):
            # First, because what is read next does not depend on what becomes of this.
            self._loop.call_soon(self._pump)
            if isinstance(self._protocol, asyncio.Protocol):
                self._protocol.data_received(head)
        elif head is Mark.STALL:
            self._loop.failures += 1
            self._loop.call_later(STALL, self._pump)
        else:
            self._loop.failures += 1
            if not (isinstance(self._protocol, asyncio.Protocol) and self._protocol.eof_received()):
                self.close()

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        if not self._pumping:
            self._pumping = True
            self._loop.call_soon(self._pump)

    def is_reading(self) -> bool:
        return not self._paused

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def can_write_eof(self) -> bool:
        return False
