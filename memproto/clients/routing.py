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

from memproto import Dialect, Limits, RemoteProtocolError
from memproto.clients.ring import Node, Placement, Ring
from memproto.commands import Command, Commands, ServerError

R = TypeVar("R")
T = TypeVar("T")
V = TypeVar("V")

#: What becomes of the keys of a dead node.
DeadNodes: TypeAlias = Literal["miss", "move"]


class Unknown(enum.Enum):
    """The result of a write whose node failed before it replied: the node may have carried it out. It is false."""

    UNKNOWN = "unknown"

    def __bool__(self) -> bool:
        return False


UNKNOWN: Final = Unknown.UNKNOWN


class KeyList(list[bytes]):
    """The list of keys that a call on many keys of a cluster returns."""

    def __init__(self, keys: Iterable[bytes], unknown: Iterable[bytes]) -> None:
        super().__init__(keys)
        #: The keys whose node failed before it replied: it may have carried out the write.
        self.unknown: frozenset[bytes] = frozenset(unknown)


@dataclass(slots=True)
class NodeResults(Generic[R]):
    """The results of one command for each of several nodes. A node that is in neither dictionary has failed."""

    results: dict[Node, R] = field(default_factory=dict)
    #: A node that refuses a command has not failed. The caller gets the refusal.
    refusals: dict[Node, ServerError] = field(default_factory=dict)
    #: The failed nodes that may have carried out the command.
    unknown: set[Node] = field(default_factory=set)


Plan: TypeAlias = Generator[dict[Node, Command[R]], NodeResults[R], T]

#: The errors that make a node dead.
NODE_FAILURES: Final = (OSError, RemoteProtocolError)


class Options(TypedDict, total=False):
    """The options of the connections to every node."""

    dialect: Dialect
    limits: Limits | None
    username: str | None
    password: str


class ClusterOptions(Options, total=False):
    """All options of a cluster; ``retry_after`` and ``timeout`` are in seconds."""

    timeout: float
    dead: DeadNodes
    retry_after: float
    placement: Placement


class Router(Generic[V]):
    """Builds the plans of all calls, and knows which nodes are dead. It does no I/O.

    A dead node gets no commands for ``retry_after`` seconds; then one call tries it, for at most ``timeout`` seconds,
    while the others still treat it as dead. Raises ValueError if ``dead`` is neither ``"miss"`` nor ``"move"``.
    """

    def __init__(self, commands: Commands[V], ring: Ring, dead: DeadNodes, retry_after: float, timeout: float) -> None:
        if dead not in ("miss", "move"):
            raise ValueError(f"dead is {dead!r}, must be miss or move")
        self.commands = commands
        self.ring = ring
        self._moves = dead == "move"
        self._retry_after = retry_after
        self._timeout = timeout
        self._dead_until: dict[Node, float] = {}

    def dead_nodes(self) -> frozenset[Node]:
        """Return the nodes that get no commands at present."""
        now = time.monotonic() if self._dead_until else 0.0
        return frozenset(node for node, until in self._dead_until.items() if until > now)

    def read(self, key: bytes, command: Command[T], missing: T) -> Plan[T, T]:
        """Run a command on one key. The result is ``missing`` if its node is dead."""
        results, _, _ = yield from self._rounds([key], lambda _: command)
        return results[0] if results else missing

    def write(self, key: bytes, command: Command[T], missing: T) -> Plan[T, T | Unknown]:
        """Run a command that changes one key.

        The result is ``UNKNOWN`` if a node that may have carried it out has failed and no other node has replied. It
        is ``missing`` if no node has received it.
        """
        results, _, unknown = yield from self._rounds([key], lambda _: command)
        return results[0] if results else UNKNOWN if unknown else missing

    def get_multi(self, keys: Iterable[bytes]) -> Plan[dict[bytes, V], dict[bytes, V]]:
        """Get the values of those keys that have one."""
        results, _, _ = yield from self._rounds(keys, self.commands.get_multi)
        return {key: value for found in results for key, value in found.items()}

    def set_multi(self, items: Mapping[bytes, V], exptime: int = 0, flags: int = 0) -> Plan[list[bytes], KeyList]:
        """Store all items. The result has the keys of those that are not stored, or not known to be."""

        def build(keys: Iterable[bytes]) -> Command[list[bytes]]:
            return self.commands.set_multi({key: items[key] for key in keys}, exptime, flags)

        results, unplaced, unknown = yield from self._rounds(items, build)
        return KeyList([key for refused in results for key in refused] + unplaced, unknown)

    def delete_multi(self, keys: Iterable[bytes]) -> Plan[list[bytes], KeyList]:
        """Delete all keys. The result has those that existed."""
        results, _, unknown = yield from self._rounds(keys, self.commands.delete_multi)
        return KeyList([key for removed in results for key in removed], unknown)

    def on_all_nodes(self, command: Command[T]) -> Plan[T, dict[Node, T]]:
        """Run a command on every node that is not dead. The result has those that replied."""
        dead = self.dead_nodes()
        found = yield from self._run_on_nodes({node: command for node in self.ring.all if node not in dead})
        return found.results

    def _rounds(
        self, keys: Iterable[bytes], build: Callable[[list[bytes]], Command[R]]
    ) -> Plan[R, tuple[list[R], list[bytes], set[bytes]]]:
        """Run commands for all keys on their nodes; then, for the keys of nodes that failed, on the next nodes.

        Returns all results, the keys that got no node, and the keys whose node failed and may have carried it out.
        """
        left, results, unplaced, unknown = list(dict.fromkeys(keys)), list[R](), list[bytes](), set[bytes]()
        failed: frozenset[Node] = frozenset()
        while left:
            # A node that has failed gets no second command of the same call, however short retry_after is.
            dead = self.dead_nodes() | failed
            parts: dict[Node, list[bytes]] = {}
            for key in left:
                node = self._node_for(key, dead)
                if node is None:
                    unplaced.append(key)
                else:
                    parts.setdefault(node, []).append(key)
            found: NodeResults[R] = NodeResults()
            if parts:
                found = yield from self._run_on_nodes({node: build(part) for node, part in parts.items()})
            results += found.results.values()
            failed |= parts.keys() - found.results.keys()
            left = []
            for node, part in parts.items():
                if node in found.results:
                    unknown.difference_update(part)
                else:
                    left += part
                    if node in found.unknown:
                        unknown.update(part)
        return results, unplaced, unknown

    def _node_for(self, key: bytes, dead: frozenset[Node]) -> Node | None:
        first = self.ring.node(key)
        if first not in dead:
            return first
        if not self._moves:
            return None
        return next((node for node in self.ring.nodes(key) if node not in dead), None)

    def _run_on_nodes(self, commands: dict[Node, Command[R]]) -> Plan[R, NodeResults[R]]:
        """Yield the commands, and note which nodes are dead. Raises ServerError if a node has refused its command."""
        for node in commands.keys() & self._dead_until.keys():
            # It was dead until now. Other calls do not try it until this one has a result.
            self._dead_until[node] = time.monotonic() + self._timeout
        found = yield commands
        for node in commands:
            if node not in found.results and node not in found.refusals:
                self._dead_until[node] = time.monotonic() + self._retry_after
            elif self._dead_until:
                self._dead_until.pop(node, None)
        for refusal in found.refusals.values():
            raise refusal
        return found
