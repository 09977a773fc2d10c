"""Which request of a client goes to which of several servers, without I/O: for both cluster clients.

A plan is a generator. It yields what to ask which node, all of it at the same time if that can be done, takes the
:class:`Answers`, yields what there is to ask then, and returns what it has come to.
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
Dead: TypeAlias = Literal["miss", "move"]


class Unknown(enum.Enum):
    """The result of a write whose node has failed before it answered: it may have been carried out. It is false."""

    UNKNOWN = "unknown"

    def __bool__(self) -> bool:
        return False


UNKNOWN: Final = Unknown.UNKNOWN


class Keys(list[bytes]):
    """Keys that have something in common, and as ``unknown`` those of which it is not known whether they have."""

    def __init__(self, keys: Iterable[bytes], unknown: Iterable[bytes]) -> None:
        super().__init__(keys)
        self.unknown: frozenset[bytes] = frozenset(unknown)


@dataclass(slots=True)
class Answers(Generic[R]):
    """What the nodes have answered. Those that are neither in ``results`` nor in ``refusals`` have failed."""

    results: dict[Node, R] = field(default_factory=dict)
    #: What a node has refused is no fault of it, but the caller's business.
    refusals: dict[Node, ServerError] = field(default_factory=dict)
    #: Which of those that have failed may have carried out the call.
    unknown: set[Node] = field(default_factory=set)


Plan: TypeAlias = Generator[dict[Node, Command[R]], Answers[R], T]

#: What makes a node dead.
FAULTS: Final = (OSError, RemoteProtocolError)


class Options(TypedDict, total=False):
    """How every node is spoken with."""

    dialect: Dialect
    limits: Limits | None
    username: str | None
    password: str


class ClusterOptions(Options, total=False):
    """All of them; ``retry_after`` and ``timeout`` are in seconds."""

    timeout: float
    dead: Dead
    retry_after: float
    placement: Placement


class Plans(Generic[V]):
    """Which node is asked what, and which are dead; this one asks nobody."""

    def __init__(self, commands: Commands[V], ring: Ring, dead: Dead, retry_after: float, timeout: float) -> None:
        if dead not in ("miss", "move"):
            raise ValueError(f"dead is {dead!r}, must be miss or move")
        self.commands = commands
        self.ring = ring
        self._moves = dead == "move"
        self._retry_after = retry_after
        self._timeout = timeout
        self._until: dict[Node, float] = {}

    def dead(self) -> frozenset[Node]:
        """The nodes that are asked nothing at present."""
        now = time.monotonic() if self._until else 0.0
        return frozenset(node for node, until in self._until.items() if until > now)

    def read(self, key: bytes, command: Command[T], missing: T) -> Plan[T, T]:
        """The result of a call on one key; ``missing`` if its node is dead."""
        results, _, _ = yield from self._rounds([key], lambda _: command)
        return results[0] if results else missing

    def write(self, key: bytes, command: Command[T], missing: T) -> Plan[T, T | Unknown]:
        """The same; ``UNKNOWN`` if a node has failed that may have carried it out, and no other has answered."""
        results, _, unknown = yield from self._rounds([key], lambda _: command)
        return results[0] if results else UNKNOWN if unknown else missing

    def get_multi(self, keys: Iterable[bytes]) -> Plan[dict[bytes, V], dict[bytes, V]]:
        """The values of those keys that have one."""
        results, _, _ = yield from self._rounds(keys, self.commands.get_multi)
        return {key: value for found in results for key, value in found.items()}

    def set_multi(self, items: Mapping[bytes, V], exptime: int = 0, flags: int = 0) -> Plan[list[bytes], Keys]:
        """Store them all; the keys of those that are not stored, or not known to be."""

        def build(keys: Iterable[bytes]) -> Command[list[bytes]]:
            return self.commands.set_multi({key: items[key] for key in keys}, exptime, flags)

        results, unplaced, unknown = yield from self._rounds(items, build)
        return Keys([key for refused in results for key in refused] + unplaced, unknown)

    def delete_multi(self, keys: Iterable[bytes]) -> Plan[list[bytes], Keys]:
        """Remove them all; the keys of those that were there."""
        results, _, unknown = yield from self._rounds(keys, self.commands.delete_multi)
        return Keys([key for removed in results for key in removed], unknown)

    def everywhere(self, command: Command[T]) -> Plan[T, dict[Node, T]]:
        """The results of all nodes that are alive."""
        dead = self.dead()
        answers = yield from self._ask({node: command for node in self.ring.all if node not in dead})
        return answers.results

    def _rounds(
        self, keys: Iterable[bytes], build: Callable[[list[bytes]], Command[R]]
    ) -> Plan[R, tuple[list[R], list[bytes], set[bytes]]]:
        """All results, the keys that no node has, and which of these a node that has failed may have seen.

        Asked are the nodes of all keys, then the next ones of some.
        """
        todo, results, unplaced, unknown = list(dict.fromkeys(keys)), list[R](), list[bytes](), set[bytes]()
        failed: frozenset[Node] = frozenset()
        while todo:
            # Who has failed is not asked again in the same call, however short retry_after is.
            dead = self.dead() | failed
            parts: dict[Node, list[bytes]] = {}
            for key in todo:
                node = self._place(key, dead)
                if node is None:
                    unplaced.append(key)
                else:
                    parts.setdefault(node, []).append(key)
            answers: Answers[R] = Answers()
            if parts:
                answers = yield from self._ask({node: build(part) for node, part in parts.items()})
            results += answers.results.values()
            failed |= parts.keys() - answers.results.keys()
            todo = []
            for node, part in parts.items():
                if node in answers.results:
                    unknown.difference_update(part)
                else:
                    todo += part
                    if node in answers.unknown:
                        unknown.update(part)
        return results, unplaced, unknown

    def _place(self, key: bytes, dead: frozenset[Node]) -> Node | None:
        first = self.ring.node(key)
        if first not in dead:
            return first
        if not self._moves:
            return None
        return next((node for node in self.ring.nodes(key) if node not in dead), None)

    def _ask(self, asked: dict[Node, Command[R]]) -> Plan[R, Answers[R]]:
        """Ask, and take note of who is dead. Raises a refusal."""
        for node in asked.keys() & self._until.keys():
            # Dead till now: nobody else asks until this one knows.
            self._until[node] = time.monotonic() + self._timeout
        answers = yield asked
        for node in asked:
            if node not in answers.results and node not in answers.refusals:
                self._until[node] = time.monotonic() + self._retry_after
            elif self._until:
                self._until.pop(node, None)
        for refusal in answers.refusals.values():
            raise refusal
        return answers
