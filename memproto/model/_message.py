"""The decorator that makes a class a message, and the packet, the rawest of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

from memproto.model.enums import STATUSES, Magic

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def message(cls: type[T]) -> type[T]:
    """Make a class plain data: slots, equality by type and value, hashable, read-only to type checkers."""
    return dataclass(slots=True, unsafe_hash=True)(cls)


@message
class Packet:
    """One binary packet as it lies on the wire, for any opcode, known or not.

    The three length fields of the header are not here: they are computed from ``extras``, ``key`` and
    ``value`` when the packet is encoded. ``vbucket_or_status`` is the vbucket id of a request and the status
    of a response; both share bytes 6 and 7 of the header.
    """

    magic: int
    opcode: int
    extras: bytes = b""
    key: bytes = b""
    value: bytes = b""
    vbucket_or_status: int = 0
    data_type: int = 0
    opaque: int = 0
    cas: int = 0

    @property
    def is_request(self) -> bool:
        """Whether the magic byte says request (0x80)."""
        return self.magic == Magic.REQUEST

    @property
    def status(self) -> int:
        """Bytes 6 and 7 read as a response's status, a :class:`Status` where memcached knows it."""
        return STATUSES.get(self.vbucket_or_status, self.vbucket_or_status)
