"""What the server does by the clock: remove expired items, close idle connections, keep the process within its memory.

Whatever takes long is divided into turns, between which the clients are served.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Collection
from typing import Protocol

from memproto.server.clock import Clock
from memproto.server.log import log
from memproto.server.options import Options
from memproto.server.process_memory import ProcessMemory, check_interval
from memproto.server.session import Session
from memproto.server.store import Store

#: How often it looks for expired items and idle connections, in seconds, and at how many items.
TICK = 0.25
ITEMS_PER_TICK = 5000
#: How many items it looks at, or removes, in one turn. It takes a millisecond, and a few with a journal.
ITEMS_PER_TURN = 1000
#: While memory is short: the divisor of the memory that incomplete requests and answers not taken may have together,
#: and the divisor of the memory that is left to the items.
HELD_SHARE, LEAST_SHARE = 4, 8
#: The memory of a connection itself, without TLS and with it. Evicting cannot free this, and ``-c`` limits it.
PLAIN, ENCRYPTED = 4 * 1024, 64 * 1024


class Maintained(Protocol):
    """What maintenance asks of its server."""

    bytes_read: int
    bytes_written: int
    #: How many idle connections were closed.
    idle_kicks: int
    #: How many requests of one connection are answered in a row; 0 while nobody is to be answered.
    requests_per_turn: int

    def now(self) -> float:
        """The time for the engine, in Unix seconds."""
        ...

    def commit(self) -> bool:
        """Write all changes to the journal; whether that was possible."""
        ...


class Maintenance:
    """The work of one server besides answering. ``sessions`` are its connections, now and later."""

    def __init__(
        self, server: Maintained, sessions: Collection[Session], store: Store, clock: Clock, options: Options
    ) -> None:
        self._server = server
        self._sessions = sessions
        self._store = store
        self._engine = store.engine
        self._clock = clock
        self._options = options
        self._next_tick: asyncio.TimerHandle | None = None
        self._next_turn: asyncio.Handle | None = None
        self._idle_since: dict[Session, float] = {}
        # What is done in turns: how many items to look at for expiry, and to what size to shrink.
        self._to_expire = 0
        self._shrink_to: int | None = None
        self._memory: ProcessMemory | None = None
        #: From how many bytes read and written on the memory is to be checked again.
        self.check_memory_at: int = sys.maxsize

    def start(self) -> None:
        """Begin, in the running event loop."""
        self._tick()

    def limit_process_memory(self, memory: ProcessMemory) -> None:
        """Keep the whole process within ``options.memory``, as far as evicting and closing connections can do that."""
        self._memory = memory
        self.check_memory_at = 0

    def stop(self) -> None:
        """Do nothing more."""
        for handle in (self._next_tick, self._next_turn):
            if handle is not None:
                handle.cancel()
        if self._memory is not None:
            self._memory.close()

    def _tick(self) -> None:
        self._next_tick = asyncio.get_running_loop().call_later(TICK, self._tick)
        self._to_expire = ITEMS_PER_TICK
        self.work_later()
        self._store.wall_clock_ahead(self._clock.ahead())
        self.check_memory()
        if self._options.idle_timeout:
            self._close_idle(time.monotonic())
        self._server.commit()

    # --- items

    def work_later(self) -> None:
        """Do a part of the work that waits in the next turn of the event loop."""
        # Before the server listens there is no loop; then the first tick calls this.
        if self._next_turn is None and self._next_tick is not None:
            self._next_turn = asyncio.get_running_loop().call_soon(self._work)

    def _work(self) -> None:
        self._next_turn = None
        most = ITEMS_PER_TURN
        if self._to_expire > 0:
            self._to_expire -= most
            self._engine.expire(self._server.now(), most)
        self._shrink()
        self._engine.work(most)
        if self._server.commit():
            self._store.sweep(most)
        if self._to_expire > 0 or self._shrink_to is not None or self._store.pending:
            self.work_later()

    def _shrink(self) -> None:
        if self._shrink_to is not None:
            self._engine.shrink(self._shrink_to, ITEMS_PER_TURN)
            if self._engine.size <= self._shrink_to or len(self._engine) <= 1:
                self._shrink_to = None

    # --- memory

    def check_memory(self) -> None:
        """If the process is too large, close the connections that hold most, then evict items."""
        memory, server = self._memory, self._server
        if memory is None:
            return
        budget = self._engine.memory_limit
        self.check_memory_at = server.bytes_read + server.bytes_written + check_interval(budget)
        excess = memory.excess(budget, len(self._sessions) * (PLAIN if self._options.tls is None else ENCRYPTED))
        if not excess:
            return
        log.info("%s bytes too many are in use", excess)
        excess -= self._close_largest_connections(budget // HELD_SHARE)
        if self._options.evict and excess > 0:
            # Twice as much, because items that leave do not always leave whole pages.
            self._shrink_to = max(self._engine.size - 2 * excess, budget // LEAST_SHARE)
            self._shrink()
            if self._shrink_to is not None:
                self.work_later()

    def _close_largest_connections(self, share: int) -> int:
        """Close the connections that hold most, until all others hold at most ``share`` bytes; the bytes set free."""
        holding = sorted(((session.bytes_held, session) for session in self._sessions), key=lambda each: each[0])
        held = before = sum(size for size, _ in holding)
        while held > share:
            size, session = holding.pop()
            session.abort()
            held -= size
        if held < before:
            log.info("memory is short and connections hold %s bytes: those with %s closed", before, before - held)
            # The loop may give that back at the end of this turn only; until then nobody is answered.
            self._server.requests_per_turn = 0
            asyncio.get_running_loop().call_soon(self._answer_again)
        return before - held

    def _answer_again(self) -> None:
        self._server.requests_per_turn = self._options.requests_per_turn

    # --- idle connections

    def forget(self, session: Session) -> None:
        """Note that this connection is closed."""
        self._idle_since.pop(session, None)

    def _close_idle(self, now: float) -> None:
        idle_since = self._idle_since
        for session in list(self._sessions):
            if session.received_lately or session.busy:
                session.received_lately = False
                idle_since[session] = now
            elif now - idle_since.setdefault(session, now) >= self._options.idle_timeout:
                log.info("%s: idle for %s s, closed", session.peer, self._options.idle_timeout)
                self._server.idle_kicks += 1
                session.abort()
