"""The server: one store, its listening sockets, all sessions, and what it does by the clock."""

from __future__ import annotations

import asyncio
import logging
import ssl
import sys
import time
from collections.abc import Callable, Mapping
from typing import Self

from memproto import (
    AdminCommand,
    AnyReply,
    AnyRequest,
    Authenticated,
    Failure,
    Flush,
    InvalidRequest,
    Limits,
    Ok,
    SaslAuth,
    SaslList,
    SaslStep,
    ServerConnection,
    Stats,
    StatsReply,
    Status,
    Verbosity,
)
from memproto.engine import Dump, Engine
from memproto.server import statistics
from memproto.server.auth import Users
from memproto.server.clock import Clock
from memproto.server.journal import JournalError
from memproto.server.listeners import Listeners
from memproto.server.options import Options
from memproto.server.prefix_counts import Details
from memproto.server.process_memory import ProcessMemory, step
from memproto.server.session import Hangup, Session, log
from memproto.server.store import Store
from memproto.server.tls import refresh
from memproto.server.udp import Datagrams

#: How long a stopping server goes on while there is still something arriving, in seconds.
LAST_CALL = 1.0
#: How long it then waits for clients to take their last answers.
GRACE = 5.0
#: How often it looks for expired items and idle connections, in seconds, and at how many items.
TICK = 0.25
ITEMS_PER_TICK = 5000
#: At so many it looks, or so many it removes, in one turn: a millisecond, and a few with a journal.
ITEMS_PER_TURN = 1000
#: While memory is short: the part of the budget that requests half received and answers not taken may have together,
#: and the part that is left to the items.
HELD_SHARE, LEAST_SHARE = 4, 8
#: What a connection takes beside that, without TLS and with it. Evicting cannot free this, and ``-c`` bounds it.
PLAIN, ENCRYPTED = 4 * 1024, 64 * 1024


DEFAULTS = Options()


def log_level(verbose: int) -> int:
    """The level for so many ``-v``."""
    return (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]


class Server:
    """A memcached in the running event loop of asyncio. ``async with`` starts and stops it.

    Creating it reads the file of users and the items of ``options.persist``, which takes time if there are many, and
    raises :class:`StartError` if one of these files cannot be used. ``tls``, ``store`` and ``clock`` are for
    ``memproto serve`` and for tests; they take the place of what the server would make itself.

    The server logs to ``logging.getLogger("memproto.server")``, whose level a client may change with ``verbosity``.
    """

    #: The items. A program may execute requests of its own; those that change items are written to the journal
    #: with the next request of a client, or a quarter of a second later.
    engine: Engine
    #: Set when a client with the right to do so asks the server to stop, or when the journal cannot be read any more:
    #: then call :meth:`stop`.
    stopping: asyncio.Event

    def __init__(
        self,
        options: Options = DEFAULTS,
        *,
        tls: ssl.SSLContext | None = None,
        store: Store | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.users: Users | None = Users.wanted(options)
        self.store: Store = Store(options) if store is None else store
        self.engine: Engine = self.store.engine
        self.limits: Limits = Limits(value=options.item_size_max)
        self.requests_per_turn: int = options.requests_per_turn
        self.datagrams_per_reply: int = options.datagrams_per_reply
        self.durable: bool = options.persist is not None
        self.stopping: asyncio.Event = asyncio.Event()
        self.clock: Clock = Clock() if clock is None else clock
        self.now: Callable[[], float] = self.clock.now
        self.started: float = self.now()
        self.bytes_read: int = 0
        self.bytes_written: int = 0
        self.total: int = 0
        self.rejected: int = 0
        self.auth_commands: int = 0
        self.auth_errors: int = 0
        self.idle_kicks: int = 0
        self.yields: int = 0
        self.verbose: int = options.verbose
        self._options = options
        self._details = Details()
        self._sessions: set[Session] = set()
        self.listeners: Listeners = Listeners(tls)
        self._empty = asyncio.Event()
        self._unsettled: list[Session] = []
        self._settling: asyncio.Handle | None = None
        self._clock: asyncio.TimerHandle | None = None
        self._silent: dict[Session, float] = {}
        # What is done in turns: how many items to look at for expiry, and to what size to shrink.
        self._working: asyncio.Handle | None = None
        self._to_expire = 0
        self._shrink_to: int | None = None
        self._footprint: ProcessMemory | None = None
        self._weigh_at = sys.maxsize
        #: What the engine is not asked.
        self._own: Mapping[type[AnyRequest], Callable[..., AnyReply | Dump]] = {
            Verbosity: self._set_verbosity,
            Stats: self._statistics,
            Flush: self._flush,
            AdminCommand: self._administer,
            **(dict.fromkeys((SaslList, SaslAuth, SaslStep), self._authenticate) if self.users else {}),
            **({InvalidRequest: self._refuse} if self.users else {}),
        }

    async def start(self) -> None:
        """Listen. Raises :class:`StartError` if an address or a certificate cannot be used; then all is closed."""
        try:
            await self.listeners.open(self._options, lambda: Session(self), lambda: Datagrams(self))
        except BaseException:
            self.store.close()
            raise
        self._tick()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def addresses(self) -> tuple[str, ...]:
        """All addresses that it listens on, such as ``127.0.0.1:11211``, ``udp:[::1]:11211``, ``unix:/run/cache``."""
        return tuple(self.listeners.addresses)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the first TCP address. Raises RuntimeError if there is none."""
        if self.listeners.tcp is None:
            raise RuntimeError("the server does not listen on TCP: it has not been started, or port is 0")
        return self.listeners.tcp

    def reload(self) -> None:
        """Read users and certificates again, for later connections. Raises :class:`StartError`; the old ones remain."""
        if self.users is not None:
            self.users.reload()
        if self.listeners.tls is not None and self._options.tls is not None:
            refresh(self.listeners.tls, self._options.tls)

    def limit_process_memory(self, memory: ProcessMemory) -> None:
        """Keep the whole process within ``options.memory``, as far as evicting and closing connections can do that."""
        self._footprint = memory
        self._weigh_at = 0

    async def stop(self) -> None:
        """Answer what has arrived, stop listening, and close; it takes at most about 6 seconds."""
        await self._quiet()
        self.listeners.close()
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
        for handle in (self._clock, self._working):
            if handle is not None:
                handle.cancel()
        if self._footprint is not None:
            self._footprint.close()
        self.settle()
        self.store.close()

    async def _quiet(self) -> None:
        """Wait until those who have connected are let in and what they sent is answered, or the last call is over."""
        deadline = time.monotonic() + LAST_CALL
        seen = None
        while seen != (now := (self.total, self.bytes_read, self.bytes_written)) and time.monotonic() < deadline:
            seen = now
            await asyncio.sleep(0.05)

    # --- by the clock

    def _tick(self) -> None:
        self._clock = asyncio.get_running_loop().call_later(TICK, self._tick)
        self._to_expire = ITEMS_PER_TICK
        self._work_later()
        self.store.wall_clock_ahead(self.clock.ahead())
        self._weigh()
        if self._options.idle_timeout:
            self._close_idle(time.monotonic())
        self.settle()

    def _work_later(self) -> None:
        # Before the server listens there is no loop; then the first tick calls this.
        if self._working is None and self._clock is not None:
            self._working = asyncio.get_running_loop().call_soon(self._work)

    def _work(self) -> None:
        """A part of what takes long: then it is the clients' turn."""
        self._working = None
        most = ITEMS_PER_TURN
        if self._to_expire > 0:
            self._to_expire -= most
            self.engine.expire(self.now(), most)
        self._shrink()
        self.engine.work(most)
        if self.settle():
            self.store.sweep(most)
        if self._to_expire > 0 or self._shrink_to is not None or self.store.pending:
            self._work_later()

    def _shrink(self) -> None:
        if self._shrink_to is not None:
            self.engine.shrink(self._shrink_to, ITEMS_PER_TURN)
            if self.engine.size <= self._shrink_to or len(self.engine) <= 1:
                self._shrink_to = None

    def _weigh(self) -> None:
        footprint = self._footprint
        if footprint is None:
            return
        budget = self.engine.memory_limit
        self._weigh_at = self.bytes_read + self.bytes_written + step(budget)
        excess = footprint.excess(budget, len(self._sessions) * (PLAIN if self.listeners.tls is None else ENCRYPTED))
        if not excess:
            return
        log.info("%s bytes too many are in use", excess)
        excess -= self._close_hoarders(budget // HELD_SHARE)
        if self._options.evict and excess > 0:
            # Twice as much, because items that leave do not always leave whole pages.
            self._shrink_to = max(self.engine.size - 2 * excess, budget // LEAST_SHARE)
            self._shrink()
            if self._shrink_to is not None:
                self._work_later()

    def _close_hoarders(self, share: int) -> int:
        """Close those for whom most is held, until the rest fits the share of them all; the bytes set free."""
        holding = sorted(((session.held, session) for session in self._sessions), key=lambda each: each[0])
        held = before = sum(size for size, _ in holding)
        while held > share:
            size, session = holding.pop()
            session.abort()
            held -= size
        if held < before:
            log.info("memory is short and connections hold %s bytes: those with %s closed", before, before - held)
            # The loop may give that back at the end of this turn only; until then nobody is answered.
            self.requests_per_turn = 0
            asyncio.get_running_loop().call_soon(self._go_on)
        return before - held

    def _go_on(self) -> None:
        self.requests_per_turn = self._options.requests_per_turn

    def _close_idle(self, now: float) -> None:
        silent = self._silent
        for session in list(self._sessions):
            if session.stirred or session.busy:
                session.stirred = False
                silent[session] = now
            elif now - silent.setdefault(session, now) >= self._options.idle_timeout:
                log.info("%s: idle for %s s, closed", session.peer, self._options.idle_timeout)
                self.idle_kicks += 1
                session.abort()

    # --- for the sessions

    def connection(self) -> ServerConnection:
        """What a new connection speaks."""
        secured = self.users is not None
        if self._options.dialect is not None:
            return ServerConnection(self.limits, auth_required=secured, codec=self._options.dialect())
        return ServerConnection(self.limits, auth_required=secured, dialects=self._options.dialects)

    def connections(self) -> int:
        """How many there are."""
        return len(self._sessions)

    def opened(self, session: Session) -> bool:
        """Count a connection; false if there are too many."""
        self._sessions.add(session)
        self.total += 1
        log.debug("%s: connected", session.peer)
        if len(self._sessions) <= self._options.connections:
            return True
        self.rejected += 1
        return False

    def closed(self, session: Session) -> None:
        """Forget a connection."""
        self._sessions.discard(session)
        self._silent.pop(session, None)
        if not self._sessions:
            self._empty.set()

    @property
    def copied(self) -> int:
        """Bytes of values that were copied for requests that do not show it."""
        return self.engine.copied

    def received(self, size: int) -> None:
        """Count them, and look at the memory: half a value may be all that ever comes of each connection."""
        self.bytes_read += size
        if self.bytes_read + self.bytes_written >= self._weigh_at:
            self._weigh()

    def unsettled(self) -> bool:
        """Whether there are changes that are not on the disk."""
        return self.store.unsettled()

    def settle_later(self, session: Session) -> None:
        """Commit at the end of this turn, for all who want it, and tell them."""
        self._unsettled.append(session)
        if self._settling is None:
            self._settling = asyncio.get_running_loop().call_soon(self.settle)

    def settle(self) -> bool:
        """Commit now, and tell those who wait for it; whether all is on the disk."""
        if self._settling is not None:
            self._settling.cancel()
            self._settling = None
        waiting, self._unsettled = self._unsettled, []
        try:
            settled = self.store.settle()
        except JournalError as error:
            self._give_up(error)
            return False
        if not settled:
            now = self.now()
            for session in waiting:
                session.redo(lambda request: self._redo(request, now))
        for session in waiting:
            session.settled()
        return settled

    def _give_up(self, error: JournalError) -> None:
        # What is in memory may be neither what was there before nor what the clients were told.
        log.critical("cannot even read the journal any more, so the server stops: %s", error)
        for session in list(self._sessions):
            session.abort()
        self.stopping.set()

    def begin(self, request: AnyRequest, now: float) -> AnyReply | Dump:
        """Carry out a request: by the engine, but for what only the process knows. A dump is to be read in parts."""
        if self.bytes_read + self.bytes_written >= self._weigh_at:
            self._weigh()
        own = self._own.get(type(request))
        reply = self.engine.execute(request, now) if own is None else own(request, now)
        if self._details.on and not isinstance(reply, Dump):
            self._details.record(request, reply)
        return reply

    def execute(self, request: AnyRequest, now: float) -> AnyReply:
        """The same for one that takes no parts, and has to do without a dump."""
        reply = self.begin(request, now)
        if isinstance(reply, Dump):
            reply.close()
            return Failure(Status.UNKNOWN_COMMAND)
        return reply

    def _redo(self, request: AnyRequest, now: float) -> AnyReply:
        if isinstance(request, Flush | AdminCommand | InvalidRequest) or type(request) not in self._own:
            return self.store.refuse(request, now)
        return self.execute(request, now)

    # --- what the engine is not asked

    def _set_verbosity(self, request: Verbosity, now: float) -> AnyReply:
        self.verbose = request.level
        log.setLevel(log_level(request.level))
        return Ok()

    def _authenticate(self, request: SaslList | SaslAuth | SaslStep, now: float) -> AnyReply:
        assert self.users is not None
        reply = self.users.answer(request)
        if not isinstance(request, SaslList):
            self.auth_commands += isinstance(reply, Authenticated | Failure)
            self.auth_errors += isinstance(reply, Failure)
        return reply

    def _flush(self, request: Flush, now: float) -> AnyReply | Dump:
        self._work_later()
        return self.engine.begin(request, now)

    def _refuse(self, request: InvalidRequest, now: float) -> AnyReply:
        # memcached asks its SASL library, which says no.
        if isinstance(request.request, SaslStep):
            self.auth_commands += 1
            self.auth_errors += 1
        return self.engine.execute(request, now)

    def _administer(self, request: AdminCommand, now: float) -> AnyReply | Dump:
        if self._options.shutdown:
            match request.words:
                case (b"shutdown",) | (b"shutdown", b"graceful"):
                    self.stopping.set()
                    raise Hangup
                case (b"shutdown", *_):
                    return Failure(Status.INVALID_ARGUMENTS, b"invalid shutdown mode")
        self._work_later()
        return self.engine.begin(request, now)

    def _statistics(self, request: Stats, now: float) -> AnyReply:
        if request.group == b"conns":
            return statistics.connections(self.listeners, self._sessions, now, self.started)
        if (told := self._details.answer(request)) is not None:
            return told
        reply = self.engine.execute(request, now)
        if not isinstance(reply, StatsReply):
            return reply
        if request.group == b"settings":
            return StatsReply(statistics.settings(self, self._options).stats + reply.stats)
        if request.group == b"":
            return StatsReply(statistics.process(self, self._options, len(self._sessions), now).stats + reply.stats)
        if request.group == b"reset":
            self.total = self.rejected = self.auth_commands = self.auth_errors = 0
            self.bytes_read = self.bytes_written = self.idle_kicks = self.yields = 0
            self._details.reset()
            self._weigh()
        return reply
