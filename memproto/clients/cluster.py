"""A blocking client over several servers; each key is on one of them, see ``memproto.clients.ring``.

    with Cluster(["10.0.0.1:11211", "10.0.0.2:11211:3"], timeout=0.5) as cluster:
        cluster.set(b"greeting", b"hello")
        cluster.get_multi([b"greeting", b"other"])

    Cluster(nodes, dead="move", retry_after=10.0)
    ClusterOf(Commands(serde), nodes)  # other values than bytes

A node is dead if it fails: by a timeout, a lost connection, too many connections or a broken protocol. No such failure
is raised. A dead node gets no commands for ``retry_after`` seconds; then one call tries it. Until it answers, ``dead``
says what happens:

- ``"miss"``: its keys are missing. A call that reads finds nothing. A call that writes returns ``False`` if the node
  has stored or removed nothing, because it has not received the command. It returns ``UNKNOWN``, which is false too,
  if the node failed before it replied: the node may have carried out the command. ``set_multi`` and ``delete_multi``
  give such keys as ``unknown`` of the list.
- ``"move"``: its keys belong to the next node on the ring that is not dead, beginning with the call that failed. When
  the node comes back, so do its keys, with the values that it still has. This is for values that may be old, or that
  expire soon.

In both, items that were deleted in the meantime may come back with the node. A call may find several dead nodes, and
each costs it up to ``timeout``: in "move" a call on one key may do so, and a call on many keys uses its nodes one after
the other. In "move" a write is ``UNKNOWN`` only if no other node has replied. ``ServerError`` and
``memproto.LocalProtocolError`` are raised as by the client of one server; a refusal makes no node dead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Concatenate, Final, Generic, ParamSpec, Self, TypeVar, Unpack

from memproto.clients.client import ClientOf
from memproto.clients.ring import Node, NodeLike, Placement, Ring
from memproto.clients.routing import (
    UNKNOWN,
    ClusterOptions,
    DeadNodes,
    KeyList,
    NodeResults,
    Options,
    Plan,
    Router,
    Unknown,
)
from memproto.clients.stream import Fault
from memproto.commands import RAW, Command, Commands, ServerError

__all__ = ["UNKNOWN", "Cluster", "ClusterOf", "Unknown"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
V = TypeVar("V")


def _read_method(
    build: Callable[Concatenate[Commands[V], bytes, P], Command[T]], missing: T
) -> Callable[Concatenate[ClusterOf[V], bytes, P], T]:
    """Return the method for a command that reads one key. Its result is ``missing`` while the node is dead."""

    @wraps(build)
    def method(cluster: ClusterOf[V], key: bytes, /, *arguments: P.args, **options: P.kwargs) -> T:
        router = cluster.router
        return cluster.run(router.read(key, build(router.commands, key, *arguments, **options), missing))

    return method


def _write_method(
    build: Callable[Concatenate[Commands[V], bytes, P], Command[T]], missing: T
) -> Callable[Concatenate[ClusterOf[V], bytes, P], T | Unknown]:
    """Return the method for a command that changes one key. Its result may be ``UNKNOWN``."""

    @wraps(build)
    def method(cluster: ClusterOf[V], key: bytes, /, *arguments: P.args, **options: P.kwargs) -> T | Unknown:
        router = cluster.router
        return cluster.run(router.write(key, build(router.commands, key, *arguments, **options), missing))

    return method


class ClusterOf(Generic[V]):
    """A client for each node, which connects when a call needs it.

    ``commands`` has the serde, which says what values are. ``timeout`` limits each command of a node, ``retry_after``
    is how long a dead node gets no commands, both in seconds; the module's documentation explains ``dead``. Raises
    ValueError for options that are out of range.
    """

    def __init__(
        self,
        commands: Commands[V],
        nodes: Iterable[NodeLike],
        *,
        timeout: float = 1.0,
        dead: DeadNodes = "miss",
        retry_after: float = 30.0,
        placement: Placement = "ketama_weighted",
        **options: Unpack[Options],
    ) -> None:
        self.router: Router[V] = Router(commands, Ring(nodes, placement), dead, retry_after, timeout)
        self._clients = {
            node: ClientOf(commands, node.host, node.port, timeout, **options) for node in self.router.ring.all
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def run(self, plan: Plan[R, T]) -> T:
        """Run the commands of a plan, on one node after the other, and return the result of the plan."""
        try:
            commands = next(plan)
            while True:
                found: NodeResults[R] = NodeResults()
                if len(commands) > 1:
                    # Check all first: if a command does not fit the protocol, no node may get one.
                    for node, command in commands.items():
                        self._clients[node].check(command)
                for node, command in commands.items():
                    try:
                        found.results[node] = self._clients[node].attempt(command)
                    except Fault as fault:
                        # Nothing else makes a node dead: a TimeoutError, for one, comes from a signal handler.
                        if fault.sent:
                            found.unknown.add(node)
                    except ServerError as refusal:
                        found.refusals[node] = refusal
                commands = plan.send(found)
        except StopIteration as end:
            result: T = end.value
            return result

    def get(self, key: bytes) -> V | None:
        """Return the value, ``None`` if there is none."""
        return self.run(self.router.read(key, self.router.commands.get(key), None))

    def gat(self, key: bytes, exptime: int) -> V | None:
        """Return the value and set a new expiry; ``None`` if there is none."""
        return self.run(self.router.read(key, self.router.commands.gat(key, exptime), None))

    gets: Final = _read_method(Commands.gets, None)
    set: Final = _write_method(Commands.set, False)
    add: Final = _write_method(Commands.add, False)
    replace: Final = _write_method(Commands.replace, False)
    append: Final = _write_method(Commands.append, False)
    prepend: Final = _write_method(Commands.prepend, False)
    cas: Final = _write_method(Commands.cas, None)
    delete: Final = _write_method(Commands.delete, False)
    incr: Final = _write_method(Commands.incr, None)
    decr: Final = _write_method(Commands.decr, None)
    touch: Final = _write_method(Commands.touch, False)

    def get_multi(self, keys: Iterable[bytes]) -> dict[bytes, V]:
        """Return the values of those keys that have one."""
        return self.run(self.router.get_multi(keys))

    def set_multi(self, items: Mapping[bytes, V], exptime: int = 0, flags: int = 0) -> KeyList:
        """Store all items, and return the keys of those that are not stored; of those in ``unknown`` some may be."""
        return self.run(self.router.set_multi(items, exptime, flags))

    def delete_multi(self, keys: Iterable[bytes]) -> KeyList:
        """Delete all keys, and return those that existed; some of those in ``unknown`` may have been deleted."""
        return self.run(self.router.delete_multi(keys))

    def flush(self, delay: int | None = None) -> bool:
        """Remove all items. The result says whether every node has confirmed that."""
        return len(self.run(self.router.on_all_nodes(self.router.commands.flush(delay)))) == len(self._clients)

    def stats(self, group: bytes = b"") -> dict[Node, dict[bytes, bytes]]:
        """Return the statistics of each node that is not dead."""
        return self.run(self.router.on_all_nodes(self.router.commands.stats(group)))

    def close(self) -> None:
        """Close all connections. Another call opens new ones."""
        for client in self._clients.values():
            client.close()


class Cluster(ClusterOf[bytes]):
    """:class:`ClusterOf` for values that are bytes."""

    def __init__(self, nodes: Iterable[NodeLike], **options: Unpack[ClusterOptions]) -> None:
        super().__init__(Commands(RAW), nodes, **options)
