"""The asyncio client of several servers: ``memproto.clients.cluster``, but a call on many keys uses all nodes at once.

    async with AsyncCluster(["10.0.0.1:11211", "10.0.0.2:11211:3"], timeout=0.5) as cluster:
        await cluster.set(b"greeting", b"hello")
        await cluster.get_multi([b"greeting", b"other"])

Each node has at most ``pool`` connections, which any number of tasks share.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Concatenate, Final, Generic, NoReturn, ParamSpec, Self, TypeVar, Unpack, overload

from memproto import Item, Limits
from memproto.clients.async_client import AsyncClient
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

__all__ = ["UNKNOWN", "AsyncCluster", "Unknown"]

D = TypeVar("D")
K = TypeVar("K", bytes, str)
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
U = TypeVar("U")


def _read_method(
    build: Callable[Concatenate[Commands[U], Key, P], Command[T]], missing: D
) -> Callable[Concatenate[AsyncCluster[U], Key, P], Coroutine[None, None, T | D]]:
    """Return the method for a command that reads one key. Its result is ``missing`` while the node is dead."""

    @documented_by(build)
    async def method(cluster: AsyncCluster[U], key: Key, /, *arguments: P.args, **options: P.kwargs) -> T | D:
        router = cluster.router
        return await cluster.run(router.read(key, build(router.commands, key, *arguments, **options), missing))

    return method


def _write_method(
    build: Callable[Concatenate[Commands[U], Key, P], Command[T]], missing: D
) -> Callable[Concatenate[AsyncCluster[U], Key, P], Coroutine[None, None, T | D | Unknown]]:
    """Return the method for a command that changes one key. Its result may be ``UNKNOWN``."""

    @documented_by(build, " | Unknown")
    async def method(cluster: AsyncCluster[U], key: Key, /, *arguments: P.args, **options: P.kwargs) -> T | D | Unknown:
        router = cluster.router
        return await cluster.run(router.write(key, build(router.commands, key, *arguments, **options), missing))

    return method


class AsyncCluster(Generic[V]):
    """An asyncio client of several servers. A call on many keys uses all its nodes at the same time.

    Values are bytes, unless ``values`` is a serde or the name of one: those of :func:`memproto.conventions.serde`, and
    ``json``. :class:`Settings` explains the other options; ``timeout`` limits each command of a node. ``dead`` and
    ``retry_after`` are as in :class:`Cluster`, and so are the errors, but each timeout of a write is ``UNKNOWN``:
    the client does not know whether the node has received the command.
    """

    @overload
    def __init__(
        self: AsyncCluster[bytes],
        nodes: Iterable[NodeLike],
        *,
        values: None = None,
        **options: Unpack[ClusterOptions],
    ) -> None: ...

    @overload
    def __init__(
        self: AsyncCluster[object], nodes: Iterable[NodeLike], *, values: str, **options: Unpack[ClusterOptions]
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
        self._clients: dict[Node, AsyncClient[bytes]] = {}
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def run(self, plan: Plan[R, T]) -> T:
        """Run the commands of a plan, on all nodes at the same time, and return the result of the plan."""
        try:
            commands = next(plan)
            while True:
                if len(commands) > 1:
                    # Check all first: if a command does not fit the protocol, no node may get one.
                    for command in commands.values():
                        command.check(self._limits, self._dialect)
                runs = [self._run_on(node, command) for node, command in commands.items()]
                found: NodeResults[R] = NodeResults()
                for node, result in zip(commands, await asyncio.gather(*runs, return_exceptions=True), strict=True):
                    if not isinstance(result, BaseException):
                        found.results[node] = result
                    elif isinstance(result, Fault):
                        found.failures[node] = result.error
                        if result.sent:
                            found.unknown.add(node)
                    elif isinstance(result, ServerError):
                        found.refusals[node] = result
                    else:
                        raise result
                commands = plan.send(found)
        except StopIteration as end:
            outcome: T = end.value
            return outcome

    @overload
    async def get(self, key: Key) -> V | None: ...

    @overload
    async def get(self, key: Key, default: D) -> V | D: ...

    async def get(self, key: Key, default: D | None = None) -> V | D | None:
        """Get a value. The result is ``default`` for a miss, and while the node is dead."""
        return await self.run(self.router.read(key, self.router.commands.get(key, default), default))

    async def get_or_lease(self, key: Key, lease: int, recache: int | None = None) -> Lease[V]:
        """Get a value, and learn whether this caller should store a new one. While the node is dead each one should.

        In the meta dialect only; see :meth:`memproto.commands.Commands.get_or_lease`.
        """
        command = self.router.commands.get_or_lease(key, lease, recache)
        return await self.run(self.router.read(key, command, Lease[V](None, True)))

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

    async def get_multi(self, keys: Iterable[K]) -> dict[K, V]:
        """Get many values. The result has those keys that have a value."""
        return await self.run(self.router.read_multi(keys, self.router.commands.get_multi))

    async def gets_multi(self, keys: Iterable[K]) -> dict[K, Item]:
        """Get many items as they are stored. The result has those keys that have an item."""
        return await self.run(self.router.read_multi(keys, self.router.commands.gets_multi))

    async def gat_multi(self, keys: Iterable[K], exptime: int) -> dict[K, V]:
        """Get many values, and set their expiry. The result has those keys that have a value."""
        return await self.run(self.router.read_multi(keys, lambda part: self.router.commands.gat_multi(part, exptime)))

    async def set_multi(self, items: Mapping[K, V], exptime: int = 0, flags: int = 0) -> KeyList[K]:
        """Store all items, and return the keys of those that are not stored; of those in ``unknown`` some may be."""
        commands = self.router.commands
        return await self.run(self.router.store_multi(items, lambda part: commands.set_multi(part, exptime, flags)))

    async def add_multi(self, items: Mapping[K, V], exptime: int = 0, flags: int = 0) -> KeyList[K]:
        """Store the items whose keys are absent, and return the keys of the others; ``unknown`` as in ``set_multi``."""
        commands = self.router.commands
        return await self.run(self.router.store_multi(items, lambda part: commands.add_multi(part, exptime, flags)))

    async def delete_multi(self, keys: Iterable[K]) -> KeyList[K]:
        """Delete all keys, and return those that existed; some of those in ``unknown`` may have been deleted."""
        return await self.run(self.router.change_multi(keys, self.router.commands.delete_multi))

    async def touch_multi(self, keys: Iterable[K], exptime: int = 0) -> KeyList[K]:
        """Set a new expiry of all keys, and return those that existed; ``unknown`` as in ``delete_multi``."""
        commands = self.router.commands
        return await self.run(self.router.change_multi(keys, lambda part: commands.touch_multi(part, exptime)))

    async def incr_multi(
        self, keys: Iterable[K], delta: int = 1, initial: int | None = None, exptime: int = 0
    ) -> dict[K, int]:
        """Add to all keys, and return the new numbers of those that are known to be changed."""
        commands = self.router.commands
        plan = self.router.read_multi(keys, lambda part: commands.incr_multi(part, delta, initial, exptime))
        return await self.run(plan)

    async def flush(self, delay: int | None = None) -> bool:
        """Remove all items. The result says whether every node has confirmed that."""
        return len(await self.run(self.router.on_all_nodes(self.router.commands.flush(delay)))) == len(
            self.router.ring.all
        )

    async def stats(self, group: bytes = b"") -> dict[Node, dict[bytes, bytes]]:
        """Return the statistics of each node that is not dead."""
        return await self.run(self.router.on_all_nodes(self.router.commands.stats(group)))

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes, dead ones as well."""
        return self.router.ring.all

    async def set_nodes(self, nodes: Iterable[NodeLike]) -> None:
        """Add and remove nodes, so that these are the nodes. Some keys move to other nodes; their items do not.

        A call in progress finds a removed node dead. Raises ValueError if there is no node, or one is
        there twice.
        """
        self.router.set_nodes(nodes)
        # One after the other: another task may change the nodes while this one waits.
        while gone := [node for node in self._clients if node not in self.router.ring.all]:
            await self._clients.pop(gone[0]).close()

    def _run_on(self, node: Node, command: Command[R]) -> Coroutine[None, None, R]:
        client = self._clients.get(node)
        if client is None:
            if self._closed or node not in self.router.ring.all:
                return _refuse(node)
            # No backoff: only the router decides how long a node is dead.
            client = self._clients[node] = AsyncClient(node.host, node.port, backoff=(0.0, 0.0), **self._options)
        return client.attempt(command)

    async def close(self) -> None:
        """Close all connections. A closed cluster stays closed: all keys are missing from now on."""
        self._closed = True
        closing = [client.close() for client in self._clients.values()]
        self._clients.clear()
        # Shielded: if a task were cancelled before it begins, its sockets would stay open.
        await asyncio.shield(asyncio.gather(*closing))


async def _refuse(node: Node) -> NoReturn:
    raise Fault(ConnectionError(f"{node} is not a node any more"))
