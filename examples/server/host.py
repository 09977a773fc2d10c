"""The server: one engine, its listening sockets, all sessions; and its statistics."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import time

from examples.server.listeners import Listeners
from examples.server.options import Options
from examples.server.session import Session, log
from examples.server.udp import Datagrams
from memproto import AnyReply, AnyRequest, Limits, Stats, StatsReply, Verbosity
from memproto.engine import Engine

#: How long a stopping server goes on while there is still something arriving, in seconds.
LAST_CALL = 1.0
#: How long it then waits for clients to take their last answers.
GRACE = 5.0


_PROTOCOL_NAMES = {"auto": "auto-negotiate"}


def log_level(verbose: int) -> int:
    """The level for so many ``-v``."""
    return (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]


class Server:
    """A cache that listens."""

    def __init__(self, options: Options) -> None:
        self.engine = Engine(memory_limit=options.memory, item_size_max=options.item_size_max)
        self.limits = Limits(value=options.item_size_max)
        self.dialects = options.dialects
        self.requests_per_turn = options.requests_per_turn
        self.datagrams_per_reply = options.datagrams_per_reply
        self.bytes_read = self.bytes_written = 0
        self._options = options
        self._sessions: set[Session] = set()
        self._started = time.time()
        self._total = self._rejected = 0
        self._verbose = options.verbose
        self._listeners = Listeners()
        self._empty = asyncio.Event()

    async def start(self) -> Listeners:
        """Listen; where. Raises ``ListenError`` if that cannot be."""
        await self._listeners.open(self._options, lambda: Session(self), lambda: Datagrams(self))
        return self._listeners

    async def stop(self) -> None:
        """Answer what has arrived, stop accepting, and close."""
        await self._quiet()
        self._listeners.close()
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
        """Let the engine carry it out, and add what only the process knows."""
        if isinstance(request, Verbosity):
            self._verbose = request.level
            log.setLevel(log_level(request.level))
        elif isinstance(request, Stats):
            return self._statistics(request, now)
        return self.engine.execute(request, now)

    def _statistics(self, request: Stats, now: float) -> AnyReply:
        if request.group == b"conns":
            return StatsReply(_encoded(self._connection_statistics()))
        reply = self.engine.execute(request, now)
        if not isinstance(reply, StatsReply):
            return reply
        if request.group == b"settings":
            return StatsReply(_encoded(self._settings()) + reply.stats)
        if request.group == b"":
            return StatsReply(_encoded(self._process_statistics(now)) + reply.stats)
        return reply

    def _settings(self) -> dict[str, object]:
        options = self._options
        return {
            "maxconns": options.connections,
            "tcpport": options.port,
            "udpport": options.udp,
            "inter": options.host,
            "verbosity": self._verbose,
            "domain_socket": options.path or "NULL",
            "num_threads": 1,
            "reqs_per_event": self.requests_per_turn,
            "binding_protocol": _PROTOCOL_NAMES.get(options.protocol, options.protocol),
        }

    def _process_statistics(self, now: float) -> dict[str, object]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
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

    def _connection_statistics(self) -> dict[str, object]:
        numbers: dict[str, object] = {}
        for number, address in enumerate(self._listeners.addresses):
            kind = "" if address.startswith(("unix:", "udp:")) else "tcp:"
            numbers[f"{number}:addr"] = kind + address
            numbers[f"{number}:state"] = "conn_listening"
        for number, session in enumerate(self._sessions, len(numbers) // 2):
            numbers[f"{number}:addr"] = session.peer
            numbers[f"{number}:state"] = "conn_read"
        return numbers


def _encoded(numbers: dict[str, object]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name.encode(), str(number).encode()) for name, number in numbers.items())
