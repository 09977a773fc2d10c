"""What a client over several servers asks which of them, without asking: for ``examples.cluster`` and its asyncio twin.

A plan is a generator. It yields what to ask which node, all of it at the same time if that can be done, takes the
results of the nodes that have not failed, yields what there is to ask then, and returns what it has come to.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Final, Generic, Literal, TypeAlias, TypedDict, TypeVar

from examples.ring import Node, Placement, Ring
from memproto import Dialect, Limits, RemoteProtocolError
from memproto.calls import Call, Calls

R = TypeVar("R")
T = TypeVar("T")
V = TypeVar("V")

#: What becomes of the keys of a dead node.
Dead: TypeAlias = Literal["miss", "move"]

Plan: TypeAlias = Generator[dict[Node, Call[R]], dict[Node, R], T]

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

    def __init__(self, calls: Calls[V], ring: Ring, dead: Dead, retry_after: float, timeout: float) -> None:
        if dead not in ("miss", "move"):
            raise ValueError(f"dead is {dead!r}, must be miss or move")
        self.calls = calls
        self.ring = ring
        self._moves = dead == "move"
        self._retry_after = retry_after
        self._timeout = timeout
        self._until: dict[Node, float] = {}

    def dead(self) -> frozenset[Node]:
        """The nodes that are asked nothing at present."""
        now = time.monotonic() if self._until else 0.0
        return frozenset(node for node, until in self._until.items() if until > now)

    def one(self, key: bytes, call: Call[T], missing: T) -> Plan[T, T]:
        """The result of a call on one key; ``missing`` if its node is dead."""
        results, _ = yield from self._rounds([key], lambda _: call)
        return results[0] if results else missing

    def get_multi(self, keys: Iterable[bytes]) -> Plan[dict[bytes, V], dict[bytes, V]]:
        """The values of those keys that have one."""
        results, _ = yield from self._rounds(keys, self.calls.get_multi)
        return {key: value for found in results for key, value in found.items()}

    def set_multi(self, items: Mapping[bytes, V], exptime: int = 0, flags: int = 0) -> Plan[list[bytes], list[bytes]]:
        """Store them all; the keys of those that are not stored, best none."""

        def build(keys: Iterable[bytes]) -> Call[list[bytes]]:
            return self.calls.set_multi({key: items[key] for key in keys}, exptime, flags)

        results, unplaced = yield from self._rounds(items, build)
        return [key for refused in results for key in refused] + unplaced

    def delete_multi(self, keys: Iterable[bytes]) -> Plan[list[bytes], list[bytes]]:
        """Remove them all; the keys of those that were there."""
        results, _ = yield from self._rounds(keys, self.calls.delete_multi)
        return [key for removed in results for key in removed]

    def everywhere(self, call: Call[T]) -> Plan[T, dict[Node, T]]:
        """The results of all nodes that are alive."""
        dead = self.dead()
        done = yield from self._ask({node: call for node in self.ring.all if node not in dead})
        return done

    def _rounds(
        self, keys: Iterable[bytes], build: Callable[[list[bytes]], Call[R]]
    ) -> Plan[R, tuple[list[R], list[bytes]]]:
        """All results, and the keys that no node has: asked are the nodes of all keys, then the next ones of some."""
        todo, results, unplaced = list(dict.fromkeys(keys)), list[R](), list[bytes]()
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
            done = (yield from self._ask({node: build(part) for node, part in parts.items()})) if parts else {}
            results += done.values()
            failed |= parts.keys() - done.keys()
            todo = [key for node, part in parts.items() if node not in done for key in part]
        return results, unplaced

    def _place(self, key: bytes, dead: frozenset[Node]) -> Node | None:
        first = self.ring.node(key)
        if first not in dead:
            return first
        if not self._moves:
            return None
        return next((node for node in self.ring.nodes(key) if node not in dead), None)

    def _ask(self, asked: dict[Node, Call[R]]) -> Plan[R, dict[Node, R]]:
        for node in asked.keys() & self._until.keys():
            # Dead till now: nobody else asks until this one knows.
            self._until[node] = time.monotonic() + self._timeout
        done = yield asked
        for node in asked:
            if node not in done:
                self._until[node] = time.monotonic() + self._retry_after
            elif self._until:
                self._until.pop(node, None)
        return done
