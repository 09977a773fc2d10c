"""UDP for a fake: the server's own rules for datagrams, and the faults."""

from __future__ import annotations

import heapq
import selectors
import socket
from collections.abc import Callable

from memproto import AnyReply, AnyRequest, Envelope, LocalProtocolError, ServerConnection
from memproto.server.session import Hangup
from memproto.server.udp import Address, Conversation
from memproto.testing.fake.faults import Fault, Piece, Reply
from memproto.testing.fake.state import FakeState

_READ_BYTES = 64 * 1024
#: How many datagrams are read before the other clients have their turn.
_DATAGRAMS = 64


class _Host:
    """What the conversation of one datagram asks of its server."""

    requests_per_turn = 100
    datagrams_per_reply = 1024
    bytes_read = bytes_written = 0

    def __init__(self, state: FakeState) -> None:
        self._state = state
        self._number = state.number_connection()
        self.fault: Fault | None = None

    def connection(self) -> ServerConnection:
        return self._state.new_connection()

    def commit(self) -> bool:
        return True

    def now(self) -> float:
        return self._state.clock.now

    def execute(self, request: AnyRequest, now: float) -> AnyReply:
        self.fault = fault = self._state.record(Envelope(request), self._number)
        if isinstance(fault, Reply):
            return fault.reply
        if fault is not None and not fault.execute:
            raise Hangup
        return self._state.execute(request)


def answer(state: FakeState, data: bytes, source: Address) -> list[Piece]:
    """The datagrams that answer one, and how many seconds after it each is sent.

    A fault of the last request in the datagram happens to each datagram of the reply.
    """
    with state.lock:
        host = _Host(state)
        conversation = Conversation(host, data, source)
        datagrams: list[bytes] = []
        while not conversation.over:
            datagrams += conversation.turn()
    fault = host.fault
    if fault is None:
        return [(0, datagram) for datagram in datagrams]
    spoiled = datagrams if fault.execute or isinstance(fault, Reply) else [b""]
    return [piece for datagram in spoiled for piece in fault.pieces(datagram) if piece[1]]


class UdpSocket:
    """Receives datagrams and sends the replies, each at its time. Raises OSError if the address is in use."""

    def __init__(self, state: FakeState, elapsed: Callable[[], float], host: str, port: int) -> None:
        self._state = state
        self._elapsed = elapsed
        self.socket: socket.socket = socket.socket(
            socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM
        )
        try:
            self.socket.setblocking(False)
            self.socket.bind((host, port))
        except BaseException:
            self.socket.close()
            raise
        # When, in which order, what and whereto.
        self._unsent: list[tuple[float, int, bytes, Address]] = []
        self._count = 0
        self.broken: bool = False

    @property
    def events(self) -> int:
        """What the selector is to wait for."""
        return selectors.EVENT_READ

    def read(self) -> None:
        """Answer what has arrived."""
        for _ in range(_DATAGRAMS):
            try:
                data, source = self.socket.recvfrom(_READ_BYTES)
            except OSError:  # there is no more, or the network reports that a reply was not delivered
                return
            now = self._elapsed()
            try:
                answers = answer(self._state, data, source)
            except LocalProtocolError as error:
                # The test's own, such as a reply that does not answer the request.
                self._state.errors.append(error)
                continue
            for seconds, datagram in answers:
                self._count += 1
                heapq.heappush(self._unsent, (now + seconds, self._count, datagram, source))

    def write(self, now: float) -> None:
        """Send what is due. What the network does not take is lost, as datagrams may be."""
        while self._unsent and self._unsent[0][0] <= now:
            _, _, datagram, target = heapq.heappop(self._unsent)
            try:
                self.socket.sendto(datagram, target)
            except OSError:
                continue

    def wakes_at(self) -> float | None:
        """When the next datagram is due."""
        return self._unsent[0][0] if self._unsent else None

    def wake(self, now: float) -> None:
        """Send it."""
        self.write(now)

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()
