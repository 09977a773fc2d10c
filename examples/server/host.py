"""The server: one engine, one listening socket, all sessions; and its statistics."""

from __future__ import annotations

import asyncio
import os
import resource
import time

from examples.server.options import Options
from examples.server.session import Session
from memproto import AnyReply, AnyRequest, Limits, Stats, StatsReply
from memproto.engine import Engine

#: How long a stopping server goes on while there is still something arriving, in seconds.
LAST_CALL = 1.0
#: How long it then waits for clients to take their last answers.
GRACE = 5.0


class Server:
    """A cache that listens. ``address`` is where, once :meth:`start` has returned."""

    def __init__(self, options: Options) -> None:
        self.engine = Engine(memory_limit=options.memory, item_size_max=options.item_size_max)
        self.limits = Limits(value=options.item_size_max)
        self.requests_per_turn = options.requests_per_turn
        self.bytes_read = self.bytes_written = 0
        self._options = options
        self._sessions: set[Session] = set()
        self._started = time.time()
        self._total = self._rejected = 0
        self._listener: asyncio.Server | None = None
        self._empty = asyncio.Event()

    async def start(self) -> tuple[str, int]:
        """Listen; the address. Raises ``OSError`` if that cannot be."""
        loop = asyncio.get_running_loop()
        port = max(self._options.port, 0)  # the system takes 0 for "any free one"
        self._listener = await loop.create_server(lambda: Session(self), self._options.host, port, backlog=1024)
        host, port = self._listener.sockets[0].getsockname()[:2]
        return str(host), int(port)

    async def stop(self) -> None:
        """Answer what has arrived, stop accepting, and close."""
        await self._quiet()
        if self._listener is not None:
            self._listener.close()
        for session in list(self._sessions):
            session.finish()
        try:
            async with asyncio.timeout(GRACE):
                while self._sessions:
                    self._empty.clear()
                    await self._empty.wait()
        except TimeoutError:
            for session in list(self._sessions):
                session.abort()
            await asyncio.sleep(0)

    async def _quiet(self) -> None:
        """Wait until those who have connected are let in and what they sent is answered, or the last call is over."""
        deadline = time.monotonic() + LAST_CALL
        seen = None
        while seen != (now := (self._total, self.bytes_read, self.bytes_written)) and time.monotonic() < deadline:
            seen = now
            await asyncio.sleep(0.05)

    # --- for the sessions

    def opened(self, session: Session) -> bool:
        """Count a connection; false if there are too many."""
        self._sessions.add(session)
        self._total += 1
        if len(self._sessions) <= self._options.connections:
            return True
        self._rejected += 1
        return False

    def closed(self, session: Session) -> None:
        """Forget a connection."""
        self._sessions.discard(session)
        if not self._sessions:
            self._empty.set()

    def execute(self, request: AnyRequest, now: float) -> AnyReply:
        """Let the engine carry it out, and add to its statistics what only the process knows."""
        reply = self.engine.execute(request, now)
        if isinstance(request, Stats) and isinstance(reply, StatsReply):
            return StatsReply(self._own_statistics(request.group, now) + reply.stats)
        return reply

    def _own_statistics(self, group: bytes, now: float) -> tuple[tuple[bytes, bytes], ...]:
        if group == b"settings":
            numbers: dict[str, object] = {
                "maxconns": self._options.connections,
                "tcpport": self._options.port,
                "inter": self._options.host,
                "verbosity": self._options.verbose,
                "num_threads": 1,
                "reqs_per_event": self.requests_per_turn,
                "binding_protocol": "binary",
            }
        elif group == b"":
            usage = resource.getrusage(resource.RUSAGE_SELF)
            numbers = {
                "pid": os.getpid(),
                "uptime": int(now - self._started),
                "time": int(now),
                "version": "1.6.18",
                "pointer_size": 64,
                "rusage_user": f"{usage.ru_utime:.6f}",
                "rusage_system": f"{usage.ru_stime:.6f}",
                "max_connections": self._options.connections,
                "curr_connections": len(self._sessions),
                "total_connections": self._total,
                "rejected_connections": self._rejected,
                "connection_structures": len(self._sessions),
                "bytes_read": self.bytes_read,
                "bytes_written": self.bytes_written,
                "threads": 1,
            }
        else:
            return ()
        return tuple((name.encode(), str(number).encode()) for name, number in numbers.items())
