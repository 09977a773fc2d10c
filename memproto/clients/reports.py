"""What a client reports of each call, for metrics and logs.

def log(report: CallReport) -> None:
    print(report.node, report.command, report.keys, report.outcome, report.seconds)

Client("cache.example", on_call=log)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from memproto import Failure, Get, Values
from memproto.clients.ring import Node
from memproto.commands import Command

__all__ = ["CallReport", "report_of"]


@final
@dataclass(frozen=True, slots=True)
class CallReport:
    """One call of a client to one server; a cluster makes one for each node that takes part."""

    #: The server.
    node: Node
    #: The kind of request in lower case, such as ``get``, ``set``, ``increment``.
    command: str
    #: How many keys were sent; 0 for a command without keys.
    keys: int
    #: How many of them the server has found or changed.
    done: int
    #: How long the call took.
    seconds: float
    #: What the call raised; ``None`` if it returned.
    error: BaseException | None = None

    @property
    def outcome(self) -> str:
        """``ok``, ``miss`` if not all keys were found or changed, or the name of the exception's class."""
        return type(self.error).__name__ if self.error is not None else "ok" if self.done == self.keys else "miss"


def report_of(
    node: Node,
    command: Command[object],
    replies: Sequence[object],
    seconds: float,
    error: BaseException | None = None,
) -> CallReport:
    """Return the report of a call that got these replies, or failed with an error."""
    keys = done = 0
    for request in command.requests:
        keys += len(request.keys) if isinstance(request, Get) else 1 if hasattr(request, "key") else 0
    if keys:
        for reply in replies:
            done += len(reply.items) if isinstance(reply, Values) else 0 if isinstance(reply, Failure) else 1
    return CallReport(node, type(command.requests[0]).__name__.lower(), keys, done, seconds, error)
