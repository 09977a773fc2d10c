"""What all connections of a fake share: the engine, the rules, the clock, and the list of requests."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from weakref import WeakSet

from memproto import (
    AnyReply,
    AnyRequest,
    Dialect,
    Envelope,
    Limits,
    SaslAuth,
    SaslList,
    SaslStep,
    ServerConnection,
    Stats,
    StatsReply,
)
from memproto.engine import Engine
from memproto.testing.arguments import check_type
from memproto.testing.fake.clock import FakeClock
from memproto.testing.fake.discovery import Discovery
from memproto.testing.fake.faults import Fault
from memproto.testing.fake.items import Access, ItemJournal
from memproto.testing.fake.rules import Rules

if TYPE_CHECKING:
    from memproto.server.auth import Users


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A request that a fake has received."""

    request: AnyRequest
    #: The request with what its dialect adds, such as the opcode.
    envelope: Envelope
    #: The number of the connection, from 1 on in the order in which connections were made.
    connection: int
    #: When it was received, in Unix seconds of the fake's own time.
    time: float
    #: The fault that a rule has for it.
    fault: Fault | None = None


class ConnectionInMemory(Protocol):
    """What a fake asks of a connection that has no socket."""

    @property
    def delayed(self) -> bool:
        """Whether something waits whose time has not come."""
        ...

    def hang_up(self) -> None:
        """Close the connection at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeOptions:
    """What a fake is asked to be; :class:`FakeMemcached` documents each."""

    version: bytes
    dialects: Collection[Dialect] | None
    users: Mapping[str, str] | None
    item_size_max: int
    memory_limit: int
    evict: bool
    max_requests: int


#: The settings of the process, which clients look for; those of the cache are the engine's.
_SETTINGS = ((b"verbosity", b"0"), (b"num_threads", b"1"))


class FakeState:
    """The state of a fake. Whoever uses it holds :attr:`lock`."""

    def __init__(self, options: FakeOptions) -> None:
        self._options = options
        self.lock: AbstractContextManager[bool] = threading.RLock()
        self.clock: FakeClock = FakeClock()
        self.rules: Rules = Rules()
        self.discovery: Discovery = Discovery()
        self.requests: deque[ReceivedRequest] = deque(maxlen=options.max_requests)
        #: Errors that a connection met with, which are raised when the fake is stopped.
        self.errors: list[Exception] = []
        #: How many connections there have been, and how many there are.
        self.connections_made: int = 0
        self.connections: int = 0
        #: Whether connections in memory are accepted, and those that there are.
        self.accepting: bool = True
        self.in_memory: WeakSet[ConnectionInMemory] = WeakSet()
        self._limits = Limits(value=options.item_size_max)
        self._users = None if options.users is None else _users(options.users)
        self.reset()
        # Refuses wrong arguments here and not in the thread of the server.
        self.new_connection()

    def reset(self) -> None:
        """Begin anew: no items, no rules, no requests, and the time of the system."""
        options = self._options
        self.journal: ItemJournal = ItemJournal()
        self.engine: Engine = Engine(
            memory_limit=options.memory_limit,
            item_size_max=options.item_size_max,
            evict=options.evict,
            version=options.version,
            journal=self.journal,
        )
        self.rules.clear()
        self.discovery.clear()
        self.requests.clear()
        self.clock.follow()
        self._started = self.clock.now

    def new_connection(self) -> ServerConnection:
        """The protocol state of a new connection."""
        secured = self._users is not None
        return ServerConnection(self._limits, auth_required=secured, dialects=self._options.dialects)

    def number_connection(self) -> int:
        """The number of a new connection."""
        self.connections_made += 1
        return self.connections_made

    def record(self, envelope: Envelope, connection: int) -> Fault | None:
        """Note a request that was received; the fault that it meets with, if any."""
        fault = self.rules.fault_for(envelope.request)
        received = ReceivedRequest(envelope.request, envelope, connection, self.clock.now, fault)
        self.requests.append(received)
        return fault

    def execute(self, request: AnyRequest) -> AnyReply:
        """Execute a request now."""
        if self._users is not None and isinstance(request, SaslList | SaslAuth | SaslStep):
            return self._users.answer(request)
        configuration = self.discovery.answer(request)
        if configuration is not None:
            return configuration
        reply = self.engine.execute(request, self.clock.now)
        if isinstance(reply, StatsReply) and isinstance(request, Stats):
            if request.group == b"":
                return StatsReply(self._statistics() + reply.stats)
            if request.group == b"settings":
                return StatsReply(_SETTINGS + reply.stats)
        return reply

    def _statistics(self) -> tuple[tuple[bytes, bytes], ...]:
        """Those of the process, which clients look for."""
        now = self.clock.now
        numbers = {
            b"pid": os.getpid(),
            b"uptime": int(now - self._started),
            b"time": int(now),
            b"pointer_size": 64,
            b"curr_connections": self.connections,
            b"total_connections": self.connections_made,
            b"threads": 1,
        }
        return ((b"version", self._options.version), *((name, b"%d" % number) for name, number in numbers.items()))

    @contextmanager
    def access(self, settle: Callable[[], None]) -> Iterator[Access]:
        """The items, while no request is executed; what clients have sent before is carried out first."""
        settle()
        with self.lock:
            now = self.clock.now
            # Carries out a delayed flush whose time has come.
            self.engine.expire(now, 0)
            yield Access(self.engine, self.journal, now)


def _users(users: Mapping[str, str]) -> Users:
    # The server package takes long to import, and few tests need it.
    from memproto.server.auth import Users

    check_type("users", users, (Mapping,), "a mapping of user names to passwords, both str")
    for name, password in users.items():
        check_type("one of the users", name, (str,), "a str")
        check_type(f"the password of {name}", password, (str,), "a str")
    entries = tuple((name.encode(), password.encode()) for name, password in users.items())
    return Users(Path(), entries, realms=True, fields=False)
