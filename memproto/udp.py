"""memcached over UDP: the header before every datagram, the cutting of replies and their reassembly.

The payload behind the header is ordinary protocol bytes of any dialect; each datagram stands for itself. There
is no socket and no clock here: ``now`` is an argument. Layer this module below a
:class:`~memproto.ServerConnection`, a fresh one for each request, or a reader of replies.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, fields
from math import isfinite
from typing import ClassVar, Final, TypeAlias, final

from construct import Int16ub, Struct

from memproto import model
from memproto._fields import BYTES_LIKE, check_fields, check_time, check_value
from memproto._wire.packing import Layout
from memproto.errors import LocalProtocolError, RemoteProtocolError

__all__ = [
    "DATAGRAM_OVERHEAD",
    "HEADER",
    "MAX_DATAGRAMS",
    "PAYLOAD_SIZE",
    "Datagram",
    "Message",
    "Reassembler",
    "ReassemblyLimits",
    "accept_request",
    "decode_datagram",
    "encode_datagram",
    "split",
]

#: The header before the payload of every datagram, in both directions: 8 bytes, big-endian.
HEADER = Layout(
    Struct(
        "request_id" / Int16ub * "chosen by the client, copied into every datagram of the reply",
        "sequence" / Int16ub * "reply: 0, 1, 2 ... within one message; request: ignored, send 0",
        "total" / Int16ub * "datagrams of this message; 1 in a request; 0 in a reply: nothing to say",
        "reserved" / Int16ub * "sent as 0, ignored when received",
    )
)

#: Most datagrams of one message: what the header's total can say.
MAX_DATAGRAMS = 0xFFFF
#: Payload bytes of one datagram as memcached cuts them: 1400 bytes with the header.
PAYLOAD_SIZE = 1400 - HEADER.size
#: What a datagram that waits for the others is charged beside its payload, in bytes: about what it costs to keep.
DATAGRAM_OVERHEAD = 128


@final
class Datagram(model.Message):
    """One datagram: the four numbers of the header, each 0 to 65535, and the payload behind it."""

    __match_args__: ClassVar = ("request_id", "sequence", "total", "reserved", "payload")
    __slots__ = __match_args__

    def __init__(
        self, request_id: int, sequence: int = 0, total: int = 1, reserved: int = 0, payload: bytes = b""
    ) -> None:
        self.request_id: Final[int] = request_id
        self.sequence: Final[int] = sequence
        self.total: Final[int] = total
        self.reserved: Final[int] = reserved
        self.payload: Final[bytes] = payload


def decode_datagram(data: bytes) -> Datagram:
    """The datagram in ``data``, one whole UDP payload.

    Any four numbers are accepted, also a total of 0 and a reserved field other than 0. Raises
    :class:`~memproto.RemoteProtocolError` for fewer than 8 bytes, :class:`~memproto.LocalProtocolError` for what is
    not bytes, nothing else.
    """
    if type(data) is not bytes:
        check_value("data", data, BYTES_LIKE)
    if len(data) < HEADER.size:
        raise RemoteProtocolError(f"datagram is {len(data)} bytes, its header alone has {HEADER.size}")
    request_id, sequence, total, reserved = HEADER.packer.unpack_from(data)
    return Datagram(request_id, sequence, total, reserved, bytes(data[HEADER.size :]))


def encode_datagram(datagram: Datagram) -> bytes:
    """The bytes of one datagram. A number that does not fit 16 bits is a :class:`~memproto.LocalProtocolError`.

    A field of a wrong type is one, too. The length of the payload is not checked: what a datagram can carry is the
    network's affair.
    """
    check_value("datagram", datagram, Datagram)
    header = HEADER.pack_checked(datagram.request_id, datagram.sequence, datagram.total, datagram.reserved)
    return header + datagram.payload


def accept_request(data: bytes) -> Datagram | None:
    """The request in a datagram that a server received, ``None`` for one that memcached drops without a word.

    Dropped are requests of more or fewer datagrams than 1, and those without a payload: 8 bytes or less. The
    sequence and the reserved field are not looked at. Raises :class:`~memproto.LocalProtocolError` for what is not
    bytes, and nothing else.
    """
    check_value("data", data, BYTES_LIKE)
    if len(data) <= HEADER.size:
        return None
    datagram = decode_datagram(data)
    return datagram if datagram.total == 1 else None


def split(
    payload: bytes,
    request_id: int,
    payload_size: int = PAYLOAD_SIZE,
    *,
    maximum: int = MAX_DATAGRAMS,
    header_if_empty: bool = False,
) -> list[bytes]:
    """One reply as datagrams of ``payload_size`` payload bytes each, the last one shorter, in order.

    An empty payload is no datagram, as memcached's text dialects leave a suppressed reply unsaid; with
    ``header_if_empty`` it is one header with a total of 0, as memcached answers a quiet binary request.

    ``maximum``, 1 to 65535, bounds the datagrams of one reply, and so what a request with a forged source can
    make a server send to a stranger. Raises :class:`~memproto.LocalProtocolError`, before anything is cut, if the
    reply needs more, or if an argument is out of range or of a wrong type.
    """
    check_value("payload", payload, bytes)
    check_value("payload_size", payload_size, int)
    check_value("maximum", maximum, int)
    if payload_size < 1:
        raise LocalProtocolError(f"payload_size is {payload_size}, the least is 1")
    if not 1 <= maximum <= MAX_DATAGRAMS:
        raise LocalProtocolError(f"maximum is {maximum}, must be 1 to {MAX_DATAGRAMS}")
    total = -(-len(payload) // payload_size)
    if total > maximum:
        raise LocalProtocolError(f"reply of {len(payload)} bytes needs {total} datagrams, limit is {maximum}")
    if not payload:
        return [encode_datagram(Datagram(request_id, total=0))] if header_if_empty else []
    return [
        HEADER.pack_checked(request_id, sequence, total, 0) + payload[at : at + payload_size]
        for sequence, at in enumerate(range(0, len(payload), payload_size))
    ]


@dataclass(frozen=True, slots=True)
class ReassemblyLimits:
    """What a :class:`Reassembler` will hold. Each is checked before a datagram is held."""

    #: Unfinished messages; one more drops the oldest.
    messages: int = 1024
    #: Bytes of all unfinished messages, :data:`DATAGRAM_OVERHEAD` for each datagram included.
    held: int = 4 * 1024 * 1024
    #: Seconds after its first datagram at which an unfinished message is dropped.
    timeout: float = 2.0

    def __post_init__(self) -> None:
        check_fields(self)
        for field in fields(self):
            number = getattr(self, field.name)
            least = 0 if field.name == "timeout" else 1
            # Written so that a timeout that is not a number is refused too.
            if not number >= least:
                raise LocalProtocolError(f"limit {field.name} is {number}, the least is {least}")


@final
class Message(model.Message):
    """The payload of one message, complete and in order, and the request that it answers."""

    __match_args__: ClassVar = ("request_id", "payload")
    __slots__ = __match_args__

    def __init__(self, request_id: int, payload: bytes) -> None:
        self.request_id: Final[int] = request_id
        self.payload: Final[bytes] = payload


# Peer and request id.
_Request: TypeAlias = tuple[Hashable, int]
# The same, and the total.
_Key: TypeAlias = tuple[Hashable, int, int]


class _Unfinished:
    """The datagrams of a message that are here: payloads by sequence, what they are charged, and since when."""

    __slots__ = ("begun", "charge", "parts")

    def __init__(self, begun: float) -> None:
        self.begun = begun
        self.charge = 0
        self.parts: dict[int, bytes] = {}


class Reassembler:
    """Datagrams in, in any order, with losses and duplicates; whole messages out, each as it becomes complete.

    **One request may be answered by several messages.** memcached numbers the response of each command, and each hit
    of a ``get`` with several keys, separately and under the same request id. They come out one by one in the order
    in which they become complete; only the protocol state of the caller knows which one is the last. A message
    of one datagram comes out as often as it arrives, since two equal replies look like one duplicate.

    Messages are distinguished by peer, request id and total. A sequence number that comes again with other bytes
    contradicts what is held and begins a new message in its place. No more can be known from the headers: ask
    one command per request id, do not use an id again within the timeout, and :meth:`forget` what is over.

    Ignored are a total of 0 (there was nothing to say) and a sequence number that is not below the total.
    Unfinished messages are dropped when their time is over, and when a limit would be passed: the one that
    began first goes first, until the datagram fits; a message that alone would pass ``held`` is never complete.
    """

    __slots__ = ("_held", "_totals", "_unfinished", "dropped", "limits")

    def __init__(self, limits: ReassemblyLimits | None = None) -> None:
        check_value("limits", limits, ReassemblyLimits | None)
        self.limits: ReassemblyLimits = ReassemblyLimits() if limits is None else limits
        #: How many unfinished messages were given up so far, those of :meth:`forget` not counted.
        self.dropped: int = 0
        self._held = 0
        # In the order of their beginning. A plain dict keeps it too, but to find its first entry it passes over all
        # places from which one was removed.
        self._unfinished: OrderedDict[_Key, _Unfinished] = OrderedDict()
        # The totals of the unfinished messages of each request.
        self._totals: dict[_Request, set[int]] = {}

    def __len__(self) -> int:
        """How many messages are unfinished."""
        return len(self._unfinished)

    @property
    def held(self) -> int:
        """Bytes held for unfinished messages, :data:`DATAGRAM_OVERHEAD` for each datagram included."""
        return self._held

    def feed(self, data: bytes, now: float, peer: Hashable = None) -> Message | None:
        """Take one datagram; the message that it completes, ``None`` if it completes none.

        ``now`` is in seconds from any origin and does not go back; ``peer`` identifies the sender, by its address for
        instance, and may be left out where there is only one. Raises :class:`~memproto.RemoteProtocolError` for a
        datagram of fewer than 8 bytes, which changes nothing except that messages whose time is over are dropped, and
        :class:`~memproto.LocalProtocolError`, with nothing changed, for an argument of a wrong type and for a ``now``
        that is infinite or NaN.
        """
        if type(data) is not bytes:
            check_value("data", data, BYTES_LIKE)
        self.expire(now)
        datagram = decode_datagram(data)
        if datagram.sequence >= datagram.total:
            return None
        if datagram.total == 1:
            return Message(datagram.request_id, datagram.payload)
        key = (peer, datagram.request_id, datagram.total)
        unfinished = self._unfinished.get(key)
        if unfinished is not None and datagram.sequence in unfinished.parts:
            if unfinished.parts[datagram.sequence] == datagram.payload:
                return None
            self._drop(key)
        if not self._make_room(key, DATAGRAM_OVERHEAD + len(datagram.payload)):
            return None
        return self._add(key, datagram, now)

    def _add(self, key: _Key, datagram: Datagram, now: float) -> Message | None:
        unfinished = self._unfinished.get(key)
        if unfinished is None:
            unfinished = self._unfinished[key] = _Unfinished(now)
            self._totals.setdefault(key[:2], set()).add(datagram.total)
        unfinished.parts[datagram.sequence] = datagram.payload
        charge = DATAGRAM_OVERHEAD + len(datagram.payload)
        unfinished.charge += charge
        self._held += charge
        if len(unfinished.parts) < datagram.total:
            return None
        self._remove(key)
        return Message(datagram.request_id, b"".join(unfinished.parts[at] for at in range(datagram.total)))

    def expire(self, now: float) -> None:
        """Drop the messages whose time is over. :meth:`feed` does so too; call it when nothing arrives.

        Raises :class:`~memproto.LocalProtocolError` if ``now`` is no number, infinite or NaN.
        """
        if type(now) is not float or not isfinite(now):
            check_time("now", now)
        while self._unfinished:
            key, oldest = next(iter(self._unfinished.items()))
            if now - oldest.begun < self.limits.timeout:
                return
            self._drop(key)

    def forget(self, request_id: int, peer: Hashable = None) -> None:
        """Drop the unfinished messages of this request: its reply is complete, or the client no longer waits for it.

        Raises :class:`~memproto.LocalProtocolError` if ``request_id`` is no int.
        """
        if type(request_id) is not int:
            check_value("request_id", request_id, int)
        for total in tuple(self._totals.get((peer, request_id), ())):
            self._remove((peer, request_id, total))

    def _make_room(self, key: _Key, charge: int) -> bool:
        """Drop the oldest until ``charge`` more fits; False if it never does, or if the message itself had to go."""
        if charge > self.limits.held:
            return False
        if key not in self._unfinished and len(self._unfinished) >= self.limits.messages:
            self._drop(next(iter(self._unfinished)))
        while self._held + charge > self.limits.held:
            oldest = next(iter(self._unfinished))
            self._drop(oldest)
            if oldest == key:
                return False
        return True

    def _drop(self, key: _Key) -> None:
        self._remove(key)
        self.dropped += 1

    def _remove(self, key: _Key) -> None:
        self._held -= self._unfinished.pop(key).charge
        totals = self._totals[key[:2]]
        totals.remove(key[2])
        if not totals:
            del self._totals[key[:2]]
