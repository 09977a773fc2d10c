"""A blocking client over several servers; each key is on one of them, see ``memproto.clients.ring``.

    with Cluster(["10.0.0.1:11211", "10.0.0.2:11211:3"], timeout=0.5) as cluster:
        cluster.set(b"greeting", b"hello")
        cluster.get_multi([b"greeting", b"other"])

    Cluster(nodes, dead="move", retry_after=10.0)
    ClusterOf(Commands(serde), nodes)  # other values than bytes

A node that fails, by a timeout, a lost connection, too many of them or broken protocol, is dead: nothing of that is
raised, and it is asked nothing for ``retry_after`` seconds. Then one call tries it. Until it answers, by ``dead``:

- ``"miss"``: its keys are not there. What reads finds nothing. What writes is ``False`` if nothing was stored or
  removed, because the node was not asked or has not received it, and ``UNKNOWN``, which is false too, if the node has
  failed before it answered: it may have carried it out. ``set_multi`` and ``delete_multi`` give such keys as
  ``unknown`` of the list.
- ``"move"``: its keys belong to the next node on the ring that is alive, beginning with the call that failed. When it
  comes back so do they, to the values that they had when it went, if it still has them: this is for values that may
  be old, or that expire soon.

What was deleted in the meantime may be back with the node, in both. A call may find several nodes dead, and each
costs it up to ``timeout``: a call on one key does so in "move", a call on many asks their nodes one after the other.
In "move" a write is ``UNKNOWN`` only if no other node has answered. ``ServerError`` and
``memproto.LocalProtocolError`` are raised as by the client of one server; a refusal makes no node dead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Concatenate, Final, Generic, ParamSpec, Self, TypeVar, Unpack

from memproto.clients.client import ClientOf
from memproto.clients.ring import Node, NodeLike, Placement, Ring
from memproto.clients.routing import UNKNOWN, Answers, ClusterOptions, Dead, Keys, Options, Plan, Plans, Unknown
from memproto.clients.stream import Fault
from memproto.commands import RAW, Command, Commands, ServerError

__all__ = ["UNKNOWN", "Cluster", "ClusterOf", "Unknown"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
V = TypeVar("V")


def _reading(
    build: Callable[Concatenate[Commands[V], bytes, P], Command[T]], missing: T
) -> Callable[Concatenate[ClusterOf[V], bytes, P], T]:
    """The method for a call on one key, and what it gives while the node is dead."""

    @wraps(build)
    def method(cluster: ClusterOf[V], key: bytes, /, *arguments: P.args, **options: P.kwargs) -> T:
        plans = cluster.plans
        return cluster.run(plans.read(key, build(plans.commands, key, *arguments, **options), missing))

    return method


def _writing(
    build: Callable[Concatenate[Commands[V], bytes, P], Command[T]], missing: T
) -> Callable[Concatenate[ClusterOf[V], bytes, P], T | Unknown]:
    """The same for one that changes something, and may be ``UNKNOWN``."""

    @wraps(build)
    def method(cluster: ClusterOf[V], key: bytes, /, *arguments: P.args, **options: P.kwargs) -> T | Unknown:
        plans = cluster.plans
        return cluster.run(plans.write(key, build(plans.commands, key, *arguments, **options), missing))

    return method


class ClusterOf(Generic[V]):
    """A client for each node, opened when it is needed; ``calls`` says what the values are."""

    def __init__(
        self,
        commands: Commands[V],
        nodes: Iterable[NodeLike],
        *,
        timeout: float = 1.0,
        dead: Dead = "miss",
        retry_after: float = 30.0,
        placement: Placement = "ketama_weighted",
        **options: Unpack[Options],
    ) -> None:
        self.plans: Plans[V] = Plans(commands, Ring(nodes, placement), dead, retry_after, timeout)
        self._clients = {
            node: ClientOf(commands, node.host, node.port, timeout, **options) for node in self.plans.ring.all
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def run(self, plan: Plan[R, T]) -> T:
        """Ask what the plan wants to be asked, one node after the other."""
        try:
            asked = next(plan)
            while True:
                answers: Answers[R] = Answers()
                if len(asked) > 1:
                    # So that no node is asked anything if what is for another one does not fit the protocol.
                    for node, command in asked.items():
                        self._clients[node].check(command)
                for node, command in asked.items():
                    try:
                        answers.results[node] = self._clients[node].attempt(command)
                    except Fault as fault:
                        # Nothing else: a TimeoutError, say, is the program's own, out of a signal handler.
                        if fault.sent:
                            answers.unknown.add(node)
                    except ServerError as refusal:
                        answers.refusals[node] = refusal
                asked = plan.send(answers)
        except StopIteration as end:
            result: T = end.value
            return result

    def get(self, key: bytes) -> V | None:
        """The value, ``None`` if there is none."""
        return self.run(self.plans.read(key, self.plans.commands.get(key), None))

    def gat(self, key: bytes, exptime: int) -> V | None:
        """The value, with a new expiry set; ``None`` if there is none."""
        return self.run(self.plans.read(key, self.plans.commands.gat(key, exptime), None))

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

    def get_multi(self, keys: Iterable[bytes]) -> dict[bytes, V]:
        """The values of those keys that have one."""
        return self.run(self.plans.get_multi(keys))

    def set_multi(self, items: Mapping[bytes, V], exptime: int = 0, flags: int = 0) -> Keys:
        """Store them all; the keys of those that are not stored, best none. Of those in ``unknown`` some may be."""
        return self.run(self.plans.set_multi(items, exptime, flags))

    def delete_multi(self, keys: Iterable[bytes]) -> Keys:
        """Remove them all; the keys of those that were there. Of those in ``unknown`` some may have been removed."""
        return self.run(self.plans.delete_multi(keys))

    def flush(self, delay: int | None = None) -> bool:
        """Forget all items; whether every node has answered that it did."""
        return len(self.run(self.plans.everywhere(self.plans.commands.flush(delay)))) == len(self._clients)

    def stats(self, group: bytes = b"") -> dict[Node, dict[bytes, bytes]]:
        """The statistics of each node that is alive."""
        return self.run(self.plans.everywhere(self.plans.commands.stats(group)))

    def close(self) -> None:
        """Hang up everywhere."""
        for client in self._clients.values():
            client.close()


class Cluster(ClusterOf[bytes]):
    """The same for values that are bytes."""

    def __init__(self, nodes: Iterable[NodeLike], **options: Unpack[ClusterOptions]) -> None:
        super().__init__(Commands(RAW), nodes, **options)
