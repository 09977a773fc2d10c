"""What can happen to the reply of one request: data, and the bytes that a client then receives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias, get_args

from memproto import AnyReply
from memproto.testing.arguments import check_count, check_data, check_seconds, check_type, misuse

# Each fault says whether the request is executed, what is sent in place of the reply, and whether the connection is
# closed then.

#: Bytes of a spoiled reply, and how many seconds after the request they are sent.
Piece: TypeAlias = tuple[float, bytes]


@dataclass(frozen=True, slots=True)
class Close:
    """The server closes the connection and sends no reply. With ``execute=False`` the request is not executed."""

    closes: ClassVar[bool] = True
    execute: bool = True

    def __post_init__(self) -> None:
        check_type("execute", self.execute, (bool,), "True or False")

    def pieces(self, reply: bytes) -> tuple[Piece, ...]:
        """What is sent in place of the reply."""
        return ()


@dataclass(frozen=True, slots=True)
class Drop:
    """The reply is never sent, and the connection goes on. With ``execute=False`` the request is not executed."""

    closes: ClassVar[bool] = False
    execute: bool = True

    def __post_init__(self) -> None:
        check_type("execute", self.execute, (bool,), "True or False")

    def pieces(self, reply: bytes) -> tuple[Piece, ...]:
        """What is sent in place of the reply."""
        return ()


@dataclass(frozen=True, slots=True)
class Delay:
    """The reply is sent after ``seconds``; its first ``after`` bytes are sent at once.

    The request is executed at once. Later replies of this connection wait; other connections do not.
    """

    closes: ClassVar[bool] = False
    execute: ClassVar[bool] = True
    seconds: float
    after: int = 0

    def __post_init__(self) -> None:
        check_seconds("seconds", self.seconds)
        check_count("after", self.after)

    def pieces(self, reply: bytes) -> tuple[Piece, ...]:
        """What is sent in place of the reply."""
        return (0, reply[: self.after]), (self.seconds, reply[self.after :])


@dataclass(frozen=True, slots=True)
class Cut:
    """The first ``size`` bytes of the reply are sent, and the connection is closed."""

    closes: ClassVar[bool] = True
    execute: ClassVar[bool] = True
    size: int

    def __post_init__(self) -> None:
        check_count("size", self.size)

    def pieces(self, reply: bytes) -> tuple[Piece, ...]:
        """What is sent in place of the reply."""
        return ((0, reply[: self.size]),)


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The reply is sent twice, the second time ``after`` seconds later."""

    closes: ClassVar[bool] = False
    execute: ClassVar[bool] = True
    after: float = 0

    def __post_init__(self) -> None:
        check_seconds("after", self.after)

    def pieces(self, reply: bytes) -> tuple[Piece, ...]:
        """What is sent in place of the reply."""
        return (0, reply), (self.after, reply)


@dataclass(frozen=True, slots=True)
class Reply:
    """The request is not executed. This reply answers it, such as ``Reply(Failure(Status.OUT_OF_MEMORY))``."""

    closes: ClassVar[bool] = False
    execute: ClassVar[bool] = False
    reply: AnyReply

    def pieces(self, reply: bytes) -> tuple[Piece, ...]:
        """What is sent: the encoded reply."""
        return ((0, reply),)


@dataclass(frozen=True, slots=True)
class Garbage:
    """The request is not executed. These bytes are sent in place of a reply."""

    closes: ClassVar[bool] = False
    execute: ClassVar[bool] = False
    data: bytes

    def __post_init__(self) -> None:
        check_data(self.data)

    def pieces(self, reply: bytes) -> tuple[Piece, ...]:
        """What is sent in place of the reply."""
        return ((0, bytes(self.data)),)


#: What a rule does to a reply.
Fault: TypeAlias = Close | Delay | Cut | Reply | Garbage | Drop | Duplicate


def check_fault(how: object) -> None:
    """Raise LocalProtocolError unless this is a fault."""
    if not isinstance(how, Fault):
        faults = ", ".join(kind.__name__ for kind in get_args(Fault))
        raise misuse("how", how, f"a fault such as Close(), one of {faults}")
