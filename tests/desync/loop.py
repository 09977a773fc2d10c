"""An event loop without I/O: connections lead to the scheduled server, and the clock moves when everybody waits."""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Callable, Iterable

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
    """Its connections are to ``service``."""

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

    def hang_up(self) -> None:
        """Close what the client has left open."""
        for transport in self._transports:
            transport.close()


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
