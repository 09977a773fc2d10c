"""Decide which requests of a command go to which of several servers, without I/O, for both cluster clients.

A plan is a generator. It yields a command for each node that takes part, which may all run at the same time; the client
sends it their :class:`NodeResults`; it yields the next commands, and in the end it returns the result of the call.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, Literal, TypeAlias, TypedDict, TypeVar

from memproto.clients.options import Options
from memproto.clients.ring import Node, NodeLike, Placement, Ring
from memproto.commands import Command, Commands, Key, ServerError

D = TypeVar("D")
K = TypeVar("K", bytes, str)
AnyKey = TypeVar("AnyKey", bound=Key)
R = TypeVar("R")
T = TypeVar("T")
V = TypeVar("V")

#: What becomes of the keys of a dead node.
DeadNodes: TypeAlias = Literal["miss", "move", "raise"]


class Unknown(enum.Enum):
    """The result of a write whose node failed before it replied: the node may have carried it out. It is false."""

    UNKNOWN = "unknown"

    def __bool__(self) -> bool:
        return False


UNKNOWN: Final = Unknown.UNKNOWN


class KeyList(list[AnyKey]):
    """The list of keys that a call on many keys of a cluster returns."""

    def __init__(self, keys: Iterable[AnyKey], unknown: Iterable[AnyKey]) -> None:
        super().__init__(keys)
        #: The keys whose node failed before it replied: it may have carried out the write.
        self.unknown: frozenset[AnyKey] = frozenset(unknown)


@dataclass(slots=True)
class NodeResults(Generic[R]):
    """The results of one command for each of several nodes. A node without result or refusal has failed."""

    results: dict[Node, R] = field(default_factory=dict)
    #: A node that refuses a command has not failed. The caller gets the refusal.
    refusals: dict[Node, ServerError] = field(default_factory=dict)
    #: What the nodes that failed have raised.
    failures: dict[Node, Exception] = field(default_factory=dict)
    #: The failed nodes that may have carried out the command.
    unknown: set[Node] = field(default_factory=set)


@dataclass(slots=True)
class _Rounds(Generic[R, AnyKey]):
    """What all rounds of a call have come to."""

    results: list[R] = field(default_factory=list)
    #: The keys that got no node.
    unplaced: list[AnyKey] = field(default_factory=list)
    #: The keys whose node failed and may have carried out the command.
    unknown: set[AnyKey] = field(default_factory=set)


Plan: TypeAlias = Generator[dict[Node, Command[R]], NodeResults[R], T]


class _OfCluster(TypedDict, total=False):
    dead: DeadNodes
    retry_after: float
    placement: Placement


class ClusterOptions(Options, _OfCluster, total=False):
    """The options of a cluster; ``retry_after`` is in seconds."""


def check_retry_after(seconds: object) -> None:
    """Raise TypeError unless this is a number, ValueError if it is less than 0."""
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        raise TypeError(f"retry_after is {seconds!r:.60}, must be a number of seconds")
    if not seconds >= 0:
        raise ValueError(f"retry_after is {seconds!r}, must be 0 seconds or more")


class Router(Generic[V]):
    """Builds the plans of all calls, and knows which nodes are dead. It does no I/O.

    A dead node gets no commands for ``retry_after`` seconds; then one call tries it, for at most ``timeout`` seconds,
    while the others still treat it as dead. Raises ValueError if ``dead`` is not ``"miss"``, ``"move"`` or ``"raise"``.
    """

    def __init__(
        self, commands: Commands[V], ring: Ring, dead: DeadNodes, retry_after: float, timeout: float | None
    ) -> None:
        if dead not in ("miss", "move", "raise"):
            raise ValueError(f"dead is {dead!r}, must be miss, move or raise")
        check_retry_after(retry_after)
        self.commands = commands
        self.ring: Ring = ring
        self._dead = dead
        self._retry_after = retry_after
        self._timeout = retry_after if timeout is None else timeout
        self._dead_until: dict[Node, float] = {}

    def dead_nodes(self) -> frozenset[Node]:
        """Return the nodes that get no commands at present."""
        now = time.monotonic() if self._dead_until else 0.0
        # Of a copy: another thread may change the dictionary.
        return frozenset(node for node, until in self._dead_until.copy().items() if until > now)

    def node(self, key: Key) -> Node | None:
        """Return the node that gets the commands for a key at present, ``None`` if it is dead.

        Raises ConnectionError in place of ``None`` with ``dead="raise"``.
        """
        return self._node_for(key, self.dead_nodes())

    def set_nodes(self, nodes: Iterable[NodeLike]) -> None:
        """Make a ring of other nodes. Raises ValueError as :class:`Ring` does."""
        self.ring = Ring(nodes, self.ring.placement)
        for node in self._dead_until.copy():
            if node not in self.ring.all:
                self._dead_until.pop(node, None)

    def read(self, key: Key, command: Command[T], missing: D) -> Plan[T, T | D]:
        """Run a command on one key. The result is ``missing`` if its node is dead."""
        found = yield from self._rounds([key], lambda _: command)
        return found.results[0] if found.results else missing

    def write(self, key: Key, command: Command[T], missing: D) -> Plan[T, T | D | Unknown]:
        """Run a command that changes one key.

        The result is ``UNKNOWN`` if a node that may have carried it out has failed and no other node has replied. It
        is ``missing`` if no node has received it.
        """
        found = yield from self._rounds([key], lambda _: command)
        return found.results[0] if found.results else UNKNOWN if found.unknown else missing

    def read_multi(
        self, keys: Iterable[K], build: Callable[[list[K]], Command[dict[K, T]]]
    ) -> Plan[dict[K, T], dict[K, T]]:
        """Run a command for all keys whose result has those that are found."""
        found = yield from self._rounds(self._unique(keys), build)
        return {key: value for part in found.results for key, value in part.items()}

    def store_multi(
        self, items: Mapping[K, V], build: Callable[[dict[K, V]], Command[list[K]]]
    ) -> Plan[list[K], KeyList[K]]:
        """Store all items. The result has the keys of those that are not stored, or not known to be."""
        keys = list(self.commands.keys_of_items(items))
        found = yield from self._rounds(keys, lambda part: build({key: items[key] for key in part}))
        return KeyList([key for refused in found.results for key in refused] + found.unplaced, found.unknown)

    def change_multi(
        self, keys: Iterable[K], build: Callable[[list[K]], Command[list[K]]]
    ) -> Plan[list[K], KeyList[K]]:
        """Run a command for all keys whose result has those that it has changed."""
        found = yield from self._rounds(self._unique(keys), build)
        return KeyList([key for changed in found.results for key in changed], found.unknown)

    def on_all_nodes(self, command: Command[T]) -> Plan[T, dict[Node, T]]:
        """Run a command on every node that is not dead. The result has those that replied."""
        dead = self.dead_nodes()
        found = yield from self._run_on_nodes({node: command for node in self.ring.all if node not in dead})
        return found.results

    def _unique(self, keys: Iterable[K]) -> list[K]:
        given = self.commands.keys_of(keys)
        try:
            return list(dict.fromkeys(given))
        except TypeError:
            for key in given:
                self.commands.encode(key)
            raise

    def _rounds(self, left: list[AnyKey], build: Callable[[list[AnyKey]], Command[R]]) -> Plan[R, _Rounds[R, AnyKey]]:
        """Run commands for all keys on their nodes; then, for the keys of nodes that failed, on the next nodes."""
        done = _Rounds[R, AnyKey]()
        failed: frozenset[Node] = frozenset()
        while left:
            # A node that has failed gets no second command of the same call, however short retry_after is.
            dead = self.dead_nodes() | failed
            parts: dict[Node, list[AnyKey]] = {}
            for key in left:
                node = self._node_for(key, dead)
                if node is None:
                    done.unplaced.append(key)
                else:
                    parts.setdefault(node, []).append(key)
            found: NodeResults[R] = NodeResults()
            if parts:
                found = yield from self._run_on_nodes({node: build(part) for node, part in parts.items()})
            done.results += found.results.values()
            failed |= parts.keys() - found.results.keys()
            left = []
            for node, part in parts.items():
                if node in found.results:
                    done.unknown.difference_update(part)
                else:
                    left += part
                    if node in found.unknown:
                        done.unknown.update(part)
        return done

    def _node_for(self, key: Key, dead: frozenset[Node]) -> Node | None:
        place = key if isinstance(key, bytes) else self.commands.encode(key)
        first = self.ring.node(place)
        if first not in dead:
            return first
        if self._dead == "raise":
            raise ConnectionError(f"{first} is dead: it has failed in the last {self._retry_after} seconds")
        if self._dead == "miss":
            return None
        return next((node for node in self.ring.nodes(place) if node not in dead), None)

    def _run_on_nodes(self, commands: dict[Node, Command[R]]) -> Plan[R, NodeResults[R]]:
        """Yield the commands, and note which nodes are dead. Raises ServerError if a node has refused its command."""
        for node in commands.keys() & self._dead_until.copy().keys():
            # It was dead until now. Other calls do not try it until this one has a result.
            self._dead_until[node] = time.monotonic() + self._timeout
        found = yield commands
        for node in commands:
            if node not in found.results and node not in found.refusals:
                if node in self.ring.all:  # it may be removed by now
                    self._dead_until[node] = time.monotonic() + self._retry_after
            elif self._dead_until:
                self._dead_until.pop(node, None)
        for refusal in found.refusals.values():
            raise refusal
        if self._dead == "raise":
            for failure in found.failures.values():
                raise failure
        return found
