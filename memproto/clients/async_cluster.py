"""The asyncio client of several servers: ``memproto.clients.cluster``, but a call on many keys uses all nodes at once.

    async with AsyncCluster(["10.0.0.1:11211", "10.0.0.2:11211:3"], timeout=0.5) as cluster:
        await cluster.set(b"greeting", b"hello")
        await cluster.get_multi([b"greeting", b"other"])

Each node has at most ``pool`` connections, which any number of tasks share.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import wraps
from typing import Concatenate, Final, Generic, ParamSpec, Self, TypeVar, Unpack

from memproto.clients.async_client import AsyncClientOf
from memproto.clients.async_connection import NotSentError
from memproto.clients.ring import Node, NodeLike, Placement, Ring
from memproto.clients.routing import (
    NODE_FAILURES,
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
from memproto.commands import RAW, Command, Commands, ServerError

__all__ = ["UNKNOWN", "AsyncCluster", "AsyncClusterOf", "Unknown"]

# After one of these errors the node has certainly not received the command.
_NOT_SENT: Final = (NotSentError, ConnectionRefusedError, FileNotFoundError, socket.gaierror)

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
V = TypeVar("V")


def _read_method(
    build: Callable[Concatenate[Commands[V], bytes, P], Command[T]], missing: T
) -> Callable[Concatenate[AsyncClusterOf[V], bytes, P], Coroutine[None, None, T]]:
    """Return the method for a command that reads one key. Its result is ``missing`` while the node is dead."""

    @wraps(build)
    async def method(cluster: AsyncClusterOf[V], key: bytes, /, *arguments: P.args, **options: P.kwargs) -> T:
        router = cluster.router
        return await cluster.run(router.read(key, build(router.commands, key, *arguments, **options), missing))

    return method


def _write_method(
    build: Callable[Concatenate[Commands[V], bytes, P], Command[T]], missing: T
) -> Callable[Concatenate[AsyncClusterOf[V], bytes, P], Coroutine[None, None, T | Unknown]]:
    """Return the method for a command that changes one key. Its result may be ``UNKNOWN``."""

    @wraps(build)
    async def method(cluster: AsyncClusterOf[V], key: bytes, /, *arguments: P.args, **options: P.kwargs) -> T | Unknown:
        router = cluster.router
        return await cluster.run(router.write(key, build(router.commands, key, *arguments, **options), missing))

    return method


class AsyncClusterOf(Generic[V]):
    """A client for each node, which connects when a call needs it.

    ``commands`` has the serde, which says what values are. ``timeout`` limits each command of a node, ``retry_after``
    is how long a dead node gets no commands, both in seconds; see ``memproto.clients.cluster`` for ``dead``. Raises
    ValueError for options that are out of range.
    """

    def __init__(
        self,
        commands: Commands[V],
        nodes: Iterable[NodeLike],
        *,
        pool: int = 1,
        timeout: float = 1.0,
        dead: DeadNodes = "miss",
        retry_after: float = 30.0,
        placement: Placement = "ketama_weighted",
        **options: Unpack[Options],
    ) -> None:
        self.router: Router[V] = Router(commands, Ring(nodes, placement), dead, retry_after, timeout)
        self._clients = {
            # No backoff: only the router decides how long a node is dead.
            node: AsyncClientOf(
                commands, node.host, node.port, pool=pool, timeout=timeout, backoff=(0.0, 0.0), **options
            )
            for node in self.router.ring.all
        }

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
                    for node, command in commands.items():
                        self._clients[node].check(command)
                runs = [self._clients[node].run(command) for node, command in commands.items()]
                found: NodeResults[R] = NodeResults()
                for node, result in zip(commands, await asyncio.gather(*runs, return_exceptions=True), strict=True):
                    if not isinstance(result, BaseException):
                        found.results[node] = result
                    elif isinstance(result, ServerError):
                        found.refusals[node] = result
                    elif not isinstance(result, NODE_FAILURES):
                        raise result
                    elif not isinstance(result, _NOT_SENT):
                        found.unknown.add(node)
                commands = plan.send(found)
        except StopIteration as end:
            outcome: T = end.value
            return outcome

    async def get(self, key: bytes) -> V | None:
        """Return the value, ``None`` if there is none."""
        return await self.run(self.router.read(key, self.router.commands.get(key), None))

    async def gat(self, key: bytes, exptime: int) -> V | None:
        """Return the value and set a new expiry; ``None`` if there is none."""
        return await self.run(self.router.read(key, self.router.commands.gat(key, exptime), None))

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

    async def get_multi(self, keys: Iterable[bytes]) -> dict[bytes, V]:
        """Return the values of those keys that have one."""
        return await self.run(self.router.get_multi(keys))

    async def set_multi(self, items: Mapping[bytes, V], exptime: int = 0, flags: int = 0) -> KeyList:
        """Store all items, and return the keys of those that are not stored; of those in ``unknown`` some may be."""
        return await self.run(self.router.set_multi(items, exptime, flags))

    async def delete_multi(self, keys: Iterable[bytes]) -> KeyList:
        """Delete all keys, and return those that existed; some of those in ``unknown`` may have been deleted."""
        return await self.run(self.router.delete_multi(keys))

    async def flush(self, delay: int | None = None) -> bool:
        """Remove all items. The result says whether every node has confirmed that."""
        return len(await self.run(self.router.on_all_nodes(self.router.commands.flush(delay)))) == len(self._clients)

    async def stats(self, group: bytes = b"") -> dict[Node, dict[bytes, bytes]]:
        """Return the statistics of each node that is not dead."""
        return await self.run(self.router.on_all_nodes(self.router.commands.stats(group)))

    async def close(self) -> None:
        """Close all connections. A closed cluster stays closed: all keys are missing from now on."""
        await asyncio.gather(*[client.close() for client in self._clients.values()])


class AsyncCluster(AsyncClusterOf[bytes]):
    """:class:`AsyncClusterOf` for values that are bytes."""

    def __init__(self, nodes: Iterable[NodeLike], **options: Unpack[ClusterOptions]) -> None:
        super().__init__(Commands(RAW), nodes, **options)
