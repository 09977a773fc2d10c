"""The server: memproto's own connection and engine, whose answers go as the plan says."""

from __future__ import annotations

from collections import deque

from memproto import ConnectionClosed, RemoteProtocolError, ServerConnection, Set, Signal
from memproto.engine import Engine
from tests.desync.faults import Fault, Mark, Plan, Stretch
from tests.desync.oracle import COUNTERS, VALUES, Call, Kind, Oracle

# Far enough apart that no increments of a schedule lead from one to the other.
_FIRST = 1_000_000


class Service:
    """The cache behind all connections of one schedule."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.oracle = Oracle()
        self.engine = Engine()
        self._lines: list[Line] = []
        for number, key in enumerate((*COUNTERS, *VALUES[:2])):
            self._set(key, b"%d" % (_FIRST * (number + 1)) if key in COUNTERS else b"%b/serial-first" % key)

    def _set(self, key: bytes, value: bytes) -> None:
        self.oracle.issue(Call(Kind.SET, (key,), value))
        request = Set(key, value)
        self.oracle.executed(request, self.engine.execute(request, 0))

    def write(self, key: bytes, number: int) -> None:
        """What another client does, over a connection of its own."""
        self._set(key, b"%b/serial-other-%d" % (key, number))

    def connect(self) -> Line:
        """A new connection."""
        self._lines.append(Line(self))
        return self._lines[-1]

    def recover(self) -> None:
        """All is well from now on: what is late arrives."""
        self.plan.faults = ()
        for line in self._lines:
            line.stream = deque(stretch for stretch in line.stream if stretch is not Mark.STALL)


class Line:
    """One connection: ``receive`` takes what the client says, ``stream`` has what it will find."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._connection = ServerConnection()
        self.stream: deque[Stretch] = deque()
        #: Whether the server has closed; what is received then is not read.
        self.closed = False
        self._owed = b""

    def receive(self, data: bytes) -> None:
        """Carry out what is complete."""
        if self.closed:
            return
        self._connection.receive_data(data)
        try:
            while not isinstance(event := self._connection.next_event(), Signal):
                if isinstance(event, ConnectionClosed):
                    self._say([Mark.END])
                    return
                fault = self._service.plan.draw()
                if fault is Fault.UNREAD:
                    self._say([Mark.END])
                    return
                # Nothing in a schedule expires.
                reply = self._service.engine.execute(event.request, 0)
                self._service.oracle.executed(event.request, reply)
                answer = self._connection.send(reply, to=event)
                if answer and self._say([self._owed, *self._service.plan.spoil(fault, answer)]):
                    return
                if answer:
                    self._owed = answer if fault is Fault.BEHIND else b""
        except RemoteProtocolError as error:
            self._say([error.reply_hint, Mark.END])

    def _say(self, stretches: list[Stretch]) -> bool:
        """Put this on its way; whether it was the last."""
        self.stream.extend(filter(None, stretches))
        self.closed = Mark.END in stretches
        return self.closed
