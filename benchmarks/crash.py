"""A trial of the promise of ``--persist``: the server is killed at random moments and loses nothing that it answered.

Clients change items of their own in all dialects and note each answer. After ``kill -9`` and a restart every item must
be as the last answer left it: value, flags, expiry and CAS. The one request of each client that was not answered may
have been carried out or not, but not by half. No two stores of the whole trial may have been given the same CAS.
"""

from __future__ import annotations

import math
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks._report import Table, parser, report
from memproto import (
    Add,
    Append,
    Counter,
    Decrement,
    Delete,
    Dialect,
    Failure,
    Get,
    Increment,
    Item,
    MetaOptions,
    Prepend,
    Replace,
    Request,
    Set,
    Stored,
    Touch,
    Values,
)
from memproto.clients.client import Client
from memproto.commands import Command, Replies

_HOST = "127.0.0.1"
_ROOT = Path(__file__).resolve().parent.parent
#: Never reached unless something is broken.
_PATIENCE = 60.0
_MONTH = 30 * 24 * 60 * 60
_NEVER = (math.inf, math.inf)


@dataclass(frozen=True, slots=True)
class Known:
    """An item as it must be. It ends at a moment between the two of ``ends``; a ``cas`` of 0 is not known."""

    store: tuple[int, int]
    value: bytes
    flags: int
    ends: tuple[float, float]
    cas: int = 0


State = Known | None


@dataclass(slots=True)
class Findings:
    """What the trial has come to. ``losses`` tells of each item that is not as it must be."""

    rounds: int = 0
    acknowledged: int = 0
    in_doubt: int = 0
    carried_out: int = 0
    repeated: int = 0
    losses: list[str] = field(default_factory=list)
    restarts: list[float] = field(default_factory=list)
    numbers: dict[int, tuple[int, int]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def given(self, cas: int, store: tuple[int, int]) -> None:
        """Note the CAS that a store was given, or still has."""
        with self.lock:
            self.repeated += self.numbers.setdefault(cas, store) != store


def _first(replies: Replies) -> object:
    return replies[0]


def _ask(client: Client, request: Request[object]) -> object:
    return client.run(Command((request,), _first))


def _window(exptime: int, start: float, end: float) -> tuple[float, float]:
    """When an item ends that was given this ``exptime`` between two moments."""
    if exptime == 0:
        return _NEVER
    return (exptime, exptime) if exptime > _MONTH else (start + exptime, end + exptime)


def matches(state: State, item: Item | None, start: float, end: float) -> bool:
    """Whether an item, asked for between two moments, is as it must be."""
    if state is None:
        return item is None
    low, high = state.ends
    if item is None:
        return end >= low
    if start >= high or item.meta is None:
        return False
    left = item.meta.ttl
    in_time = left == -1 if low == math.inf else math.floor(low - end) <= left <= math.ceil(high - start)
    return in_time and (item.value, item.flags) == (state.value, state.flags) and state.cas in (0, item.cas)


@dataclass(frozen=True, slots=True)
class Plan:
    """A request, and the state of its key after it if it succeeds; ``exptime`` is ``None`` where the expiry stays."""

    request: Request[object]
    succeeds: bool
    after: State
    exptime: int | None = None


class Owner:
    """A client with keys of its own: what it knows of them, and the one of which it does not know."""

    def __init__(self, number: int, findings: Findings, seed: int) -> None:
        self.number = number
        self.states: dict[bytes, State] = {}
        self.doubt: tuple[bytes, State] | None = None
        self._findings = findings
        self._random = random.Random(seed)
        self._stores = 0
        for kind, count in ((b"any", 30), (b"number", 6), (b"mortal", 6)):
            self.states.update((b"%d:%b:%d" % (number, kind, at), None) for at in range(count))
        self._keys = tuple(self.states)

    def work(self, port: int, dialect: Dialect) -> None:
        """Change items until the server is gone."""
        with closing(Client(_HOST, port, timeout=_PATIENCE, dialect=dialect)) as client:
            while self._step(client, dialect):
                pass

    def _step(self, client: Client, dialect: Dialect) -> bool:
        key = self._random.choice(self._keys)
        before = self.states[key]
        plan = self._plan(key, before, dialect)
        start = time.time()
        try:
            reply = _ask(client, plan.request)
        except OSError:
            if plan.succeeds:
                self.doubt = key, self._ended(plan, start, time.time())
            return False
        after = self._ended(plan, start, time.time())
        with self._findings.lock:
            self._findings.acknowledged += 1
        if isinstance(reply, Failure) == plan.succeeds:
            self._lost(key, before, "answered", plan.request, reply)
        if plan.succeeds:
            self.states[key] = after
            return self._learn(client, key, after, reply)
        return True

    def _ended(self, plan: Plan, start: float, end: float) -> State:
        if plan.after is None or plan.exptime is None:
            return plan.after
        return replace(plan.after, ends=_window(plan.exptime, start, end))

    def _learn(self, client: Client, key: bytes, after: State, reply: object) -> bool:
        """Note the CAS of what was stored, which some dialects only tell who asks."""
        if after is None or after.cas:
            return True
        cas = reply.cas if isinstance(reply, Stored | Counter) else 0
        if not cas:
            try:
                values = _ask(client, Get((key,)))
            except OSError:
                return False
            if not isinstance(values, Values) or not values.items:
                if after.ends[0] > time.time():
                    self._lost(key, after, "is gone at once")
                return True
            cas = values.items[0].cas
        self.states[key] = replace(after, cas=cas)
        self._findings.given(cas, after.store)
        return True

    def _lost(self, key: bytes, found: object, words: str, *others: object) -> None:
        told = [repr(each)[:150] for each in (found, *others)]
        with self._findings.lock:
            self._findings.losses.append(" ".join([f"{key!r}: {told[0]}", words, *told[1:]]))

    # --- what to do next

    def _new(self, value: bytes | None = None, flags: int | None = None) -> Known:
        self._stores += 1
        store = self.number, self._stores
        if value is None:
            size = self._random.choice((0, 10, 100, 100, 1000, 5000, 30_000))
            value = b"%d.%d " % store + bytes([self._stores % 256]) * size
        return Known(store, value, self._random.choice((0, 1, 2**32 - 1)) if flags is None else flags, _NEVER)

    def _plan(self, key: bytes, before: State, dialect: Dialect) -> Plan:
        kind = key.split(b":")[1]
        if kind == b"mortal":
            return self._store(Set, key, True, self._random.choice((1, 2)))
        if kind == b"number":
            return self._count(key, before, dialect)
        exptime = self._random.choice((0, 0, 500, 100_000, int(time.time()) + 5000))
        match self._random.randrange(8):
            case 0 if before is not None:
                return Plan(Delete(key), True, None)
            case 1 if before is not None:
                return Plan(Touch(key, exptime), True, before, exptime)
            case 2 | 3 if before is not None and len(before.value) < 50_000:
                return self._extend(key, before)
            case 4 | 5:
                return self._store(Add, key, before is None, exptime)
            case 6:
                return self._store(Replace, key, before is not None, exptime)
        return self._store(Set, key, True, exptime)

    def _store(self, kind: type[Set | Add | Replace], key: bytes, succeeds: bool, exptime: int) -> Plan:
        new = self._new()
        return Plan(kind(key, new.value, new.flags, exptime), succeeds, new, exptime)

    def _extend(self, key: bytes, before: Known) -> Plan:
        piece = self._new()
        at_end = self._random.random() < 0.5
        value = before.value + piece.value if at_end else piece.value + before.value
        request = (Append if at_end else Prepend)(key, piece.value)
        return Plan(request, True, replace(piece, value=value, flags=before.flags, ends=before.ends))

    def _count(self, key: bytes, before: State, dialect: Dialect) -> Plan:
        initial = self._random.randrange(10**9)
        if before is None and dialect is Dialect.CLASSIC:
            # Which cannot create one.
            return Plan(Set(key, b"%d" % initial, 0, 0), True, self._new(b"%d" % initial, 0), 0)
        if before is None:
            return Plan(Increment(key, 1, initial, 0), True, self._new(b"%d" % initial, 0), 0)
        if self._random.randrange(5) == 0:
            return Plan(Delete(key), True, None)
        delta, kind = self._random.randrange(1000), self._random.choice((Increment, Decrement))
        number = int(before.value) + delta if kind is Increment else max(int(before.value) - delta, 0)
        # A shorter one is padded with blanks.
        new = self._new((b"%d" % number).ljust(len(before.value)), before.flags)
        return Plan(kind(key, delta), True, replace(new, ends=before.ends))

    # --- what has become of it

    def verify(self, client: Client) -> None:
        """Compare all items with what is known; what is there is what is known from now on."""
        doubt, self.doubt = self.doubt, None
        for key, before in self.states.items():
            start = time.time()
            values = _ask(client, Get((key,), meta=MetaOptions(details=True, bump=False)))
            end = time.time()
            item = values.items[0] if isinstance(values, Values) and values.items else None
            states = [before]
            if doubt is not None and doubt[0] == key:
                states.append(doubt[1])
                self._findings.in_doubt += 1
            found = [state for state in states if matches(state, item, start, end)]
            if not found:
                self._lost(key, item, "must be", *states)
                found = [None if item is None else self._new(item.value, item.flags)]
            # Both may match, as when 0 was to be added: the first has the CAS of its store.
            state = found[0]
            self._findings.carried_out += len(states) == 2 and state is states[1]
            if state is not None and item is not None:
                self._findings.given(item.cas, state.store)
                state = replace(state, cas=item.cas)
            self.states[key] = None if item is None else state


class Child:
    """The server as a child process; ``port`` is where it listens, ``seconds`` what it took to get there."""

    def __init__(self, path: Path, arguments: tuple[str, ...]) -> None:
        start = time.perf_counter()
        command = (sys.executable, "-m", "memproto", "serve", "-p", "-1", "--persist", str(path), *arguments)
        self.process = subprocess.Popen(command, cwd=_ROOT, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        watch = threading.Timer(_PATIENCE, self.process.kill)
        watch.start()
        line = self.process.stderr.readline()
        watch.cancel()
        self.seconds = time.perf_counter() - start
        if not line.startswith("listening on "):
            raise RuntimeError(f"the server does not start: {line}{self.end()}")
        self.port = int(line.rpartition(":")[2])

    def end(self) -> str:
        """``kill -9``, unless it has ended; what it had still to say. A second time there is nothing."""
        assert self.process.stderr is not None
        if self.process.stderr.closed:
            return ""
        with self.process as process:
            process.kill()
            return self.process.stderr.read()

    def stop(self) -> str:
        """Let it end in good order; what it had still to say."""
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_PATIENCE)
        return self.end()


def trial(
    path: Path,
    rounds: int,
    clients: int,
    seed: int,
    arguments: tuple[str, ...] = (),
    between: Callable[[], None] = lambda: None,
) -> Findings:
    """Kill the server so many times. ``between`` is called while it is down."""
    findings = Findings()
    chance = random.Random(seed)
    owners = [Owner(number, findings, chance.randrange(2**32)) for number in range(clients)]
    for at in range(rounds + 2):
        server = Child(path, arguments)
        try:
            if at:
                findings.restarts.append(server.seconds)
                with closing(Client(_HOST, server.port, timeout=_PATIENCE, dialect=Dialect.META)) as client:
                    for owner in owners:
                        owner.verify(client)
            if at < rounds:
                _work_and_kill(server, owners, at, chance.uniform(0.02, 0.4))
                findings.rounds += 1
                said = server.end()
                between()
            else:
                said = server.stop()  # in good order, once
        finally:
            server.end()
        if said:
            findings.losses.append(f"the server says: {said}")
    return findings


def _work_and_kill(server: Child, owners: list[Owner], turn: int, seconds: float) -> None:
    spoken = tuple(Dialect)
    threads = [
        threading.Thread(target=owner.work, args=(server.port, spoken[(owner.number + turn) % 3])) for owner in owners
    ]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    server.process.kill()
    for thread in threads:
        thread.join()


def table(findings: Findings) -> Table:
    """The findings as rows."""
    rows = (
        ("rounds of kill -9", findings.rounds),
        ("requests answered", findings.acknowledged),
        ("requests in doubt when it was killed", findings.in_doubt),
        ("of them carried out", findings.carried_out),
        ("items not as answered", len(findings.losses)),
        ("CAS seen", len(findings.numbers)),
        ("CAS repeated", findings.repeated),
        ("seconds to restart, median", statistics.median(findings.restarts)),
        ("seconds to restart, most", max(findings.restarts)),
    )
    return Table("A server that is killed", ("", "number"), rows)


def main() -> int:
    """The command line; the exit code."""
    options = parser("crash", __doc__)
    options.add_argument("--rounds", type=int, default=50, help="how often the server is killed")
    options.add_argument("--clients", type=int, default=4, help="clients at a time")
    options.add_argument("--seed", type=int, default=None, help="what the random numbers start from")
    options.add_argument("--sync", choices=("normal", "full"), default="normal", help="the option of the server")
    options.add_argument("--fast", action="store_true", help="10 rounds")
    arguments = options.parse_args()
    seed = random.randrange(2**32) if arguments.seed is None else arguments.seed
    print(f"Seed: {seed}\n", flush=True)
    rounds = 10 if arguments.fast else arguments.rounds
    with tempfile.TemporaryDirectory() as folder:
        findings = trial(Path(folder, "journal"), rounds, arguments.clients, seed, ("--sync", arguments.sync))
    for each in findings.losses[:20]:
        print(each)
    report("crash", [table(findings)], arguments.json)
    return 1 if findings.losses or findings.repeated else 0


if __name__ == "__main__":
    sys.exit(main())
