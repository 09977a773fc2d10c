"""What can become of an answer."""

from __future__ import annotations

import enum
import random
from typing import TypeAlias


class Fault(enum.Enum):
    """What becomes of one answer."""

    WHOLE = "whole"
    PIECES = "in pieces"
    STALLED = "stalled in the middle for longer than the timeout"
    LATE = "later than the timeout"
    LATER = "later than two timeouts"
    CUT = "cut, and the connection closed"
    CLOSED = "carried out, and the connection closed without an answer"
    UNREAD = "the connection closed without carrying it out"
    TWICE = "twice"
    AGAIN = "once more, later than the timeout"
    BEHIND = "once more, in front of the next one"
    NEVER = "never"


#: What a server in its right mind, and the network, can do to a client.
SLOW = (Fault.PIECES, Fault.STALLED, Fault.LATE, Fault.LATER, Fault.CUT, Fault.CLOSED, Fault.UNREAD)
#: What only a broken server or proxy does.
BROKEN = (Fault.TWICE, Fault.AGAIN, Fault.BEHIND, Fault.NEVER)


class Mark(enum.Enum):
    """What is in a stream of answers besides bytes."""

    STALL = "nothing for as long as a timeout"
    END = "the end of the stream"


#: A stretch of the stream from the server to the client.
Stretch: TypeAlias = bytes | Mark


class Plan:
    """Draws what becomes of each answer. With ``faults`` empty all is well."""

    def __init__(self, seed: str, faults: tuple[Fault, ...], rate: float = 0.25) -> None:
        self._random = random.Random(seed)
        self.faults = faults
        self.rate = rate

    def draw(self) -> Fault:
        """What becomes of the next answer."""
        if not self.faults or self._random.random() >= self.rate:
            return Fault.WHOLE
        return self._random.choice(self.faults)

    def spoil(self, fault: Fault, answer: bytes) -> list[Stretch]:
        """The stream that carries this answer, without empty stretches."""
        at = self._random.randrange(len(answer) + 1)
        head, tail = answer[:at], answer[at:]
        stretches: dict[Fault, list[Stretch]] = {
            Fault.WHOLE: [answer],
            Fault.BEHIND: [answer],
            Fault.PIECES: self._pieces(answer) if fault is Fault.PIECES else [],
            Fault.STALLED: [head, Mark.STALL, tail],
            Fault.LATE: [Mark.STALL, answer],
            Fault.LATER: [Mark.STALL, Mark.STALL, answer],
            Fault.CUT: [head, Mark.END],
            Fault.CLOSED: [Mark.END],
            Fault.UNREAD: [Mark.END],
            Fault.TWICE: [answer + answer],
            Fault.AGAIN: [answer, Mark.STALL, answer],
            Fault.NEVER: [],
        }
        return [stretch for stretch in stretches[fault] if stretch]

    def _pieces(self, answer: bytes) -> list[Stretch]:
        pieces: list[Stretch] = []
        while answer:
            size = self._random.randint(1, max(20, len(answer) // 8))
            pieces.append(answer[:size])
            answer = answer[size:]
        return pieces
