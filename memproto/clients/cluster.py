"""A blocking client over several servers; each key is on one of them, see ``memproto.clients.ring``.

with Cluster(["10.0.0.1:11211", "10.0.0.2:11211:3"], timeout=0.5) as cluster:
    cluster.set(b"greeting", b"hello")
    cluster.get_multi([b"greeting", b"other"])

Cluster(nodes, dead="move", retry_after=10.0)
Cluster(nodes, dead="raise", values="json")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Concatenate, Final, Generic, ParamSpec, Self, TypeVar, Unpack, overload
from weakref import WeakValueDictionary

from memproto import Item, Limits
from memproto.clients.client import Client
from memproto.clients.documented import documented_by
from memproto.clients.options import Options, Settings, Values, serde_of
from memproto.clients.ring import Node, NodeLike, Placement, Ring
from memproto.clients.routing import (
    UNKNOWN,
    ClusterOptions,
    DeadNodes,
    KeyList,
    NodeResults,
    Plan,
    Router,
    Unknown,
)
from memproto.clients.stream import Fault
from memproto.commands import Command, Commands, Key, Lease, Serde, ServerError

if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    V = TypeVarWithDefault("V", default=bytes)
else:
    V = TypeVar("V")

__all__ = ["UNKNOWN", "Cluster", "Unknown"]

D = TypeVar("D")
K = TypeVar("K", bytes, str)
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
U = TypeVar("U")


def _read_method(
    build: Callable[Concatenate[Commands[U], Key, P], Command[T]], missing: D
) -> Callable[Concatenate[Cluster[U], Key, P], T | D]:
    """Return the method for a command that reads one key. Its result is ``missing`` while the node is dead."""

    @documented_by(build)
    def method(cluster: Cluster[U], key: Key, /, *arguments: P.args, **options: P.kwargs) -> T | D:
        router = cluster.router
        return cluster.run(router.read(key, build(router.commands, key, *arguments, **options), missing))

    return method


def _write_method(
    build: Callable[Concatenate[Commands[U], Key, P], Command[T]], missing: D
) -> Callable[Concatenate[Cluster[U], Key, P], T | D | Unknown]:
    """Return the method for a command that changes one key. Its result may be ``UNKNOWN``."""

    @documented_by(build, " | Unknown")
    def method(cluster: Cluster[U], key: Key, /, *arguments: P.args, **options: P.kwargs) -> T | D | Unknown:
        router = cluster.router
        return cluster.run(router.write(key, build(router.commands, key, *arguments, **options), missing))

    return method


class Cluster(Generic[V]):
    """A blocking client of several servers. Each key is on one of them, see :class:`Ring`.

    Values are bytes, unless ``values`` is a serde or the name of one: those of :func:`memproto.conventions.serde`, and
    ``json``. :class:`Settings` explains the other options; ``timeout`` limits each command of a node.

    A node is dead if it fails: by a timeout, a lost connection, too many connections or a broken protocol. A dead node
    gets no commands for ``retry_after`` seconds; then one call tries it. Until it replies, ``dead`` says what happens:

    - ``"miss"``: its keys are missing. A call that reads finds nothing. A call that writes returns ``False``, or
      ``None`` where a miss is ``None``, if the node has not received the command. It returns ``UNKNOWN``, which is
      false too, if the node failed before it replied: the node may have carried out the command. ``set_multi`` and
      ``delete_multi`` give such keys as ``unknown`` of the list.
    - ``"move"``: its keys belong to the next node on the ring that is not dead, beginning with the call that failed.
      When the node comes back, so do its keys, with the values that it still has. This is for values that may be old,
      or that expire soon. A write is ``UNKNOWN`` only if no other node has replied.
    - ``"raise"``: the error of the node is raised, and ``ConnectionError`` while it is dead.

    In all three, items that were deleted in the meantime may come back with the node. A call may find several dead
    nodes, and each costs it up to ``timeout``: in ``"move"`` a call on one key may do so, and a call on many keys uses
    its nodes one after the other.

    :class:`ServerError` and :class:`~memproto.LocalProtocolError` are raised as by :class:`Client`; a refusal makes no
    node dead. Raises ValueError for options that are out of range, and for nodes that are none or not different.
    """

    @overload
    def __init__(
        self: Cluster[bytes], nodes: Iterable[NodeLike], *, values: None = None, **options: Unpack[ClusterOptions]
    ) -> None: ...

    @overload
    def __init__(
        self: Cluster[object], nodes: Iterable[NodeLike], *, values: str, **options: Unpack[ClusterOptions]
    ) -> None: ...

    @overload
    def __init__(self, nodes: Iterable[NodeLike], *, values: Serde[V], **options: Unpack[ClusterOptions]) -> None: ...

    def __init__(
        self,
        nodes: Iterable[NodeLike],
        *,
        values: Values[V] = None,
        dead: DeadNodes = "miss",
        retry_after: float = 30.0,
        placement: Placement = "ketama_weighted",
        **options: Unpack[Options],
    ) -> None:
        settings = Settings(**options)
        commands = Commands(serde_of(values), encoding=settings.encoding, prefix=settings.prefix)
        self.router: Router[V] = Router(commands, Ring(nodes, placement), dead, retry_after, settings.timeout)
        self._options: Options = options
        self._limits, self._dialect = settings.limits or Limits(), settings.dialect
        self._clients: dict[Node, Client[bytes]] = {}
        # Those that calls in progress still use: if the node comes back, its pool counts their connections.
        self._removed: WeakValueDictionary[Node, Client[bytes]] = WeakValueDictionary()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def run(self, plan: Plan[R, T]) -> T:
        """Run the commands of a plan, on one node after the other, and return the result of the plan."""
        found: NodeResults[R] | None = None
        while True:
            try:
                commands = next(plan) if found is None else plan.send(found)
            except StopIteration as end:  # of the plan; the serde, too, or a signal handler may raise one
                result: T = end.value
                return result
            found = NodeResults()
            if len(commands) > 1:
                # Check all first: if a command does not fit the protocol, no node may get one.
                for command in commands.values():
                    command.check(self._limits, self._dialect)
            for node, command in commands.items():
                try:
                    found.results[node] = self._client(node).attempt(command)
                except Fault as fault:
                    # Nothing else makes a node dead: a TimeoutError, for one, comes from a signal handler.
                    found.failures[node] = fault.error
                    if fault.sent:
                        found.unknown.add(node)
                except ServerError as refusal:
                    found.refusals[node] = refusal

    @overload
    def get(self, key: Key) -> V | None: ...

    @overload
    def get(self, key: Key, default: D) -> V | D: ...

    def get(self, key: Key, default: D | None = None) -> V | D | None:
        """Get a value. The result is ``default`` for a miss, and while the node is dead."""
        return self.run(self.router.read(key, self.router.commands.get(key, default), default))

    def get_or_lease(self, key: Key, lease: int, recache: int | None = None) -> Lease[V]:
        """Get a value, and learn whether this caller should store a new one. While the node is dead each one should.

        In the meta dialect only; see :meth:`memproto.commands.Commands.get_or_lease`.
        """
        command = self.router.commands.get_or_lease(key, lease, recache)
        return self.run(self.router.read(key, command, Lease[V](None, True)))

    gat: Final = _read_method(Commands[V].gat, None)
    gets: Final = _read_method(Commands[V].gets, None)
    set: Final = _write_method(Commands[V].set, False)
    add: Final = _write_method(Commands[V].add, False)
    replace: Final = _write_method(Commands[V].replace, False)
    append: Final = _write_method(Commands[V].append, False)
    prepend: Final = _write_method(Commands[V].prepend, False)
    cas: Final = _write_method(Commands[V].cas, None)
    delete: Final = _write_method(Commands[V].delete, False)
    invalidate: Final = _write_method(Commands[V].invalidate, False)
    incr: Final = _write_method(Commands[V].incr, None)
    decr: Final = _write_method(Commands[V].decr, None)
    touch: Final = _write_method(Commands[V].touch, False)

    def get_multi(self, keys: Iterable[K]) -> dict[K, V]:
        """Get many values. The result has those keys that have a value."""
        return self.run(self.router.read_multi(keys, self.router.commands.get_multi))

    def gets_multi(self, keys: Iterable[K]) -> dict[K, Item]:
        """Get many items as they are stored. The result has those keys that have an item."""
        return self.run(self.router.read_multi(keys, self.router.commands.gets_multi))

    def gat_multi(self, keys: Iterable[K], exptime: int) -> dict[K, V]:
        """Get many values, and set their expiry. The result has those keys that have a value."""
        return self.run(self.router.read_multi(keys, lambda part: self.router.commands.gat_multi(part, exptime)))

    def set_multi(self, items: Mapping[K, V], exptime: int = 0, flags: int = 0) -> KeyList[K]:
        """Store all items, and return the keys of those that are not stored; of those in ``unknown`` some may be."""
        commands = self.router.commands
        return self.run(self.router.store_multi(items, lambda part: commands.set_multi(part, exptime, flags)))

    def add_multi(self, items: Mapping[K, V], exptime: int = 0, flags: int = 0) -> KeyList[K]:
        """Store the items whose keys are absent, and return the keys of the others; ``unknown`` as in ``set_multi``."""
        commands = self.router.commands
        return self.run(self.router.store_multi(items, lambda part: commands.add_multi(part, exptime, flags)))

    def delete_multi(self, keys: Iterable[K]) -> KeyList[K]:
        """Delete all keys, and return those that existed; some of those in ``unknown`` may have been deleted."""
        return self.run(self.router.change_multi(keys, self.router.commands.delete_multi))

    def touch_multi(self, keys: Iterable[K], exptime: int = 0) -> KeyList[K]:
        """Set a new expiry of all keys, and return those that existed; ``unknown`` as in ``delete_multi``."""
        commands = self.router.commands
        return self.run(self.router.change_multi(keys, lambda part: commands.touch_multi(part, exptime)))

    def incr_multi(
        self, keys: Iterable[K], delta: int = 1, initial: int | None = None, exptime: int = 0
    ) -> dict[K, int]:
        """Add to all keys, and return the new numbers of those that are known to be changed."""
        commands = self.router.commands
        plan = self.router.read_multi(keys, lambda part: commands.incr_multi(part, delta, initial, exptime))
        return self.run(plan)

    def flush(self, delay: int | None = None) -> bool:
        """Remove all items. The result says whether every node has confirmed that."""
        return len(self.run(self.router.on_all_nodes(self.router.commands.flush(delay)))) == len(self.nodes)

    def stats(self, group: bytes = b"") -> dict[Node, dict[bytes, bytes]]:
        """Return the statistics of each node that is not dead."""
        return self.run(self.router.on_all_nodes(self.router.commands.stats(group)))

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes, dead ones as well."""
        return self.router.ring.all

    def set_nodes(self, nodes: Iterable[NodeLike]) -> None:
        """Add and remove nodes, so that these are the nodes. Some keys move to other nodes; their items do not.

        A call in progress in another thread may still use a node that is removed, or finds it dead. Raises ValueError
        if there is no node, or one is there twice.
        """
        self.router.set_nodes(nodes)
        for node, client in [*self._clients.items()]:
            if node not in self.router.ring.all:
                self._removed[node] = client
                client.retired = True
                self._clients.pop(node, None)
                client.close()

    def _client(self, node: Node) -> Client[bytes]:
        """Return the client of a node. Raises Fault for a node that was removed."""
        client = self._clients.get(node)
        if client is not None:
            return client
        if node not in self.router.ring.all:
            raise Fault(ConnectionError(f"{node} is not a node any more"))
        client = self._removed.get(node) or Client(node.host, node.port, **self._options)
        client.retired = False
        return self._clients.setdefault(node, client)

    def close(self) -> None:
        """Close all connections. Another call opens new ones."""
        for client in [*self._clients.values()]:
            client.close()
