"""The same as ``memproto.clients.cluster`` for asyncio: the nodes of a call on many keys are asked at the same time.

    async with AsyncCluster(["10.0.0.1:11211", "10.0.0.2:11211:3"], timeout=0.5) as cluster:
        await cluster.set(b"greeting", b"hello")
        await cluster.get_multi([b"greeting", b"other"])

Each node has one connection, or ``pool`` of them, which any number of tasks share.
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
from memproto.clients.routing import FAULTS, UNKNOWN, Answers, ClusterOptions, Dead, Keys, Options, Plan, Plans, Unknown
from memproto.commands import RAW, Command, Commands, ServerError

__all__ = ["UNKNOWN", "AsyncCluster", "AsyncClusterOf", "Unknown"]

# Faults of which it is known that the node has not received the call.
_NOT_SENT: Final = (NotSentError, ConnectionRefusedError, FileNotFoundError, socket.gaierror)

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
V = TypeVar("V")


def _reading(
    build: Callable[Concatenate[Commands[V], bytes, P], Command[T]], missing: T
) -> Callable[Concatenate[AsyncClusterOf[V], bytes, P], Coroutine[None, None, T]]:
    """The method for a call on one key, and what it gives while the node is dead."""

    @wraps(build)
    async def method(cluster: AsyncClusterOf[V], key: bytes, /, *arguments: P.args, **options: P.kwargs) -> T:
        plans = cluster.plans
        return await cluster.run(plans.read(key, build(plans.commands, key, *arguments, **options), missing))

    return method


def _writing(
    build: Callable[Concatenate[Commands[V], bytes, P], Command[T]], missing: T
) -> Callable[Concatenate[AsyncClusterOf[V], bytes, P], Coroutine[None, None, T | Unknown]]:
    """The same for one that changes something, and may be ``UNKNOWN``."""

    @wraps(build)
    async def method(cluster: AsyncClusterOf[V], key: bytes, /, *arguments: P.args, **options: P.kwargs) -> T | Unknown:
        plans = cluster.plans
        return await cluster.run(plans.write(key, build(plans.commands, key, *arguments, **options), missing))

    return method


class AsyncClusterOf(Generic[V]):
    """A client for each node, opened when it is needed; ``calls`` says what the values are."""

    def __init__(
        self,
        commands: Commands[V],
        nodes: Iterable[NodeLike],
        *,
        pool: int = 1,
        timeout: float = 1.0,
        dead: Dead = "miss",
        retry_after: float = 30.0,
        placement: Placement = "ketama_weighted",
        **options: Unpack[Options],
    ) -> None:
        self.plans: Plans[V] = Plans(commands, Ring(nodes, placement), dead, retry_after, timeout)
        self._clients = {
            # Who is dead for how long is decided here alone: no backoff.
            node: AsyncClientOf(
                commands, node.host, node.port, pool=pool, timeout=timeout, backoff=(0.0, 0.0), **options
            )
            for node in self.plans.ring.all
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def run(self, plan: Plan[R, T]) -> T:
        """Ask what the plan wants to be asked, all nodes at the same time."""
        try:
            asked = next(plan)
            while True:
                if len(asked) > 1:
                    # So that no node is asked anything if what is for another one does not fit the protocol.
                    for node, command in asked.items():
                        self._clients[node].check(command)
                commands = [self._clients[node].run(command) for node, command in asked.items()]
                answers: Answers[R] = Answers()
                for node, answer in zip(asked, await asyncio.gather(*commands, return_exceptions=True), strict=True):
                    if not isinstance(answer, BaseException):
                        answers.results[node] = answer
                    elif isinstance(answer, ServerError):
                        answers.refusals[node] = answer
                    elif not isinstance(answer, FAULTS):
                        raise answer
                    elif not isinstance(answer, _NOT_SENT):
                        answers.unknown.add(node)
                asked = plan.send(answers)
        except StopIteration as end:
            result: T = end.value
            return result

    async def get(self, key: bytes) -> V | None:
        """The value, ``None`` if there is none."""
        return await self.run(self.plans.read(key, self.plans.commands.get(key), None))

    async def gat(self, key: bytes, exptime: int) -> V | None:
        """The value, with a new expiry set; ``None`` if there is none."""
        return await self.run(self.plans.read(key, self.plans.commands.gat(key, exptime), None))

    gets: Final = _reading(Commands.gets, None)
    set: Final = _writing(Commands.set, False)
    add: Final = _writing(Commands.add, False)
    replace: Final = _writing(Commands.replace, False)
    append: Final = _writing(Commands.append, False)
    prepend: Final = _writing(Commands.prepend, False)
    cas: Final = _writing(Commands.cas, None)
    delete: Final = _writing(Commands.delete, False)
    incr: Final = _writing(Commands.incr, None)
    decr: Final = _writing(Commands.decr, None)
    touch: Final = _writing(Commands.touch, False)

    async def get_multi(self, keys: Iterable[bytes]) -> dict[bytes, V]:
        """The values of those keys that have one."""
        return await self.run(self.plans.get_multi(keys))

    async def set_multi(self, items: Mapping[bytes, V], exptime: int = 0, flags: int = 0) -> Keys:
        """Store them all; the keys of those that are not stored, best none. Of those in ``unknown`` some may be."""
        return await self.run(self.plans.set_multi(items, exptime, flags))

    async def delete_multi(self, keys: Iterable[bytes]) -> Keys:
        """Remove them all; the keys of those that were there. Of those in ``unknown`` some may have been removed."""
        return await self.run(self.plans.delete_multi(keys))

    async def flush(self, delay: int | None = None) -> bool:
        """Forget all items; whether every node has answered that it did."""
        return len(await self.run(self.plans.everywhere(self.plans.commands.flush(delay)))) == len(self._clients)

    async def stats(self, group: bytes = b"") -> dict[Node, dict[bytes, bytes]]:
        """The statistics of each node that is alive."""
        return await self.run(self.plans.everywhere(self.plans.commands.stats(group)))

    async def close(self) -> None:
        """Hang up everywhere. It is for good: from now on all keys are missing."""
        await asyncio.gather(*[client.close() for client in self._clients.values()])


class AsyncCluster(AsyncClusterOf[bytes]):
    """The same for values that are bytes."""

    def __init__(self, nodes: Iterable[NodeLike], **options: Unpack[ClusterOptions]) -> None:
        super().__init__(Commands(RAW), nodes, **options)
