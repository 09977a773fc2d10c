"""The server: one store, its listening sockets, and all its connections."""

from __future__ import annotations

import asyncio
import ssl
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
from memproto.server.log import log, log_level
from memproto.server.maintenance import Maintenance
from memproto.server.options import Options
from memproto.server.prefix_counts import PrefixCounts
from memproto.server.process_memory import ProcessMemory
from memproto.server.session import Hangup, Session
from memproto.server.store import Store
from memproto.server.tls import refresh
from memproto.server.udp import Datagrams

DEFAULTS = Options()
#: How long a stopping server goes on while requests still arrive, in seconds.
LAST_CALL = 1.0
#: How long it then waits for clients to take their last answers.
GRACE = 5.0


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
        self.users: Users | None = Users.load_for(options)
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
        self._prefix_counts = PrefixCounts()
        self._sessions: set[Session] = set()
        self.listeners: Listeners = Listeners(tls)
        self._no_sessions = asyncio.Event()
        self._awaiting_commit: list[Session] = []
        self._next_commit: asyncio.Handle | None = None
        self._maintenance = Maintenance(self, self._sessions, self.store, self.clock, options)
        # The requests that the engine alone cannot execute.
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
        self._maintenance.start()

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
        self._maintenance.limit_process_memory(memory)

    async def stop(self) -> None:
        """Answer what has arrived, stop listening, and close; it takes at most about 6 seconds."""
        await self._wait_until_quiet()
        self.listeners.close()
        for session in list(self._sessions):
            session.finish()
        try:
            async with asyncio.timeout(GRACE):
                while self._sessions:
                    self._no_sessions.clear()
                    await self._no_sessions.wait()
        except TimeoutError:
            for session in list(self._sessions):
                session.abort()
            await asyncio.sleep(0)
        self._maintenance.stop()
        self.commit()
        self.store.close()

    async def _wait_until_quiet(self) -> None:
        """Wait until no more connections are made and no more bytes move, but at most :data:`LAST_CALL` seconds."""
        deadline = time.monotonic() + LAST_CALL
        seen = None
        while seen != (now := (self.total, self.bytes_read, self.bytes_written)) and time.monotonic() < deadline:
            seen = now
            await asyncio.sleep(0.05)

    # --- called by sessions and datagrams

    def connection(self) -> ServerConnection:
        """A new protocol state for one connection."""
        secured = self.users is not None
        if self._options.dialect is not None:
            return ServerConnection(self.limits, auth_required=secured, codec=self._options.dialect())
        return ServerConnection(self.limits, auth_required=secured, dialects=self._options.dialects)

    def connections(self) -> int:
        """How many connections there are."""
        return len(self._sessions)

    def session_opened(self, session: Session) -> bool:
        """Count a new connection; whether it is within the limit."""
        self._sessions.add(session)
        self.total += 1
        log.debug("%s: connected", session.peer)
        if len(self._sessions) <= self._options.connections:
            return True
        self.rejected += 1
        return False

    def session_closed(self, session: Session) -> None:
        """Forget a connection that is closed."""
        self._sessions.discard(session)
        self._maintenance.forget(session)
        if not self._sessions:
            self._no_sessions.set()

    @property
    def bytes_copied(self) -> int:
        """How many bytes of values requests such as ``append`` have copied, though they are small themselves."""
        return self.engine.copied

    def count_received(self, size: int) -> None:
        """Count bytes received, and check the memory: each connection may stay in the middle of a value."""
        self.bytes_read += size
        if self.bytes_read + self.bytes_written >= self._maintenance.check_memory_at:
            self._maintenance.check_memory()

    def uncommitted(self) -> bool:
        """Whether there are changes that are not in the journal."""
        return self.store.uncommitted()

    def commit_later(self, session: Session) -> None:
        """Commit once at the end of this turn, for all sessions that wait for it."""
        self._awaiting_commit.append(session)
        if self._next_commit is None:
            self._next_commit = asyncio.get_running_loop().call_soon(self.commit)

    def commit(self) -> bool:
        """Commit now, and let the sessions that wait for it go on; whether that was possible."""
        if self._next_commit is not None:
            self._next_commit.cancel()
            self._next_commit = None
        waiting, self._awaiting_commit = self._awaiting_commit, []
        try:
            committed = self.store.commit()
        except JournalError as error:
            self._stop_without_journal(error)
            return False
        if not committed:
            now = self.now()
            for session in waiting:
                session.replace_replies(lambda request: self._execute_uncommitted(request, now))
        for session in waiting:
            session.committed()
        return committed

    def _stop_without_journal(self, error: JournalError) -> None:
        # The items in memory may be neither those from before nor those that clients have got replies about.
        log.critical("cannot even read the journal any more, so the server stops: %s", error)
        for session in list(self._sessions):
            session.abort()
        self.stopping.set()

    def begin(self, request: AnyRequest, now: float) -> AnyReply | Dump:
        """Execute a request, by the engine unless it is about the process; a dump is returned to be read in parts."""
        if self.bytes_read + self.bytes_written >= self._maintenance.check_memory_at:
            self._maintenance.check_memory()
        own = self._own.get(type(request))
        reply = self.engine.execute(request, now) if own is None else own(request, now)
        if self._prefix_counts.on and not isinstance(reply, Dump):
            self._prefix_counts.record(request, reply)
        return reply

    def execute(self, request: AnyRequest, now: float) -> AnyReply:
        """Execute a request without parts; a dump is refused."""
        reply = self.begin(request, now)
        if isinstance(reply, Dump):
            reply.close()
            return Failure(Status.UNKNOWN_COMMAND)
        return reply

    def _execute_uncommitted(self, request: AnyRequest, now: float) -> AnyReply:
        if isinstance(request, Flush | AdminCommand | InvalidRequest) or type(request) not in self._own:
            return self.store.refuse(request, now)
        return self.execute(request, now)

    # --- requests that the engine alone cannot execute

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
        self._maintenance.work_later()
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
        self._maintenance.work_later()
        return self.engine.begin(request, now)

    def _statistics(self, request: Stats, now: float) -> AnyReply:
        if request.group == b"conns":
            return statistics.connections(self.listeners, self._sessions, now, self.started)
        if (counted := self._prefix_counts.answer(request)) is not None:
            return counted
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
            self._prefix_counts.reset()
            self._maintenance.check_memory()
        return reply
