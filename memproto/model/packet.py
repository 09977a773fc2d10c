"""The binary packet, the rawest of messages."""

from __future__ import annotations

from typing import ClassVar, Final, final

from memproto.model._message import Message
from memproto.model.enums import STATUSES, Magic


@final
class Packet(Message):
    """One binary packet as it lies on the wire, for any opcode, known or not.

    The three length fields of the header are not here: they are computed from ``extras``, ``key`` and
    ``value`` when the packet is encoded. ``vbucket_or_status`` is the vbucket id of a request and the status
    of a response; both share bytes 6 and 7 of the header.
    """

    __match_args__: ClassVar = (
        "magic",
        "opcode",
        "extras",
        "key",
        "value",
        "vbucket_or_status",
        "data_type",
        "opaque",
        "cas",
    )
    __slots__ = __match_args__

    def __init__(
        self,
        magic: int,
        opcode: int,
        extras: bytes = b"",
        key: bytes = b"",
        value: bytes = b"",
        vbucket_or_status: int = 0,
        data_type: int = 0,
        opaque: int = 0,
        cas: int = 0,
    ) -> None:
        self.magic: Final[int] = magic
        self.opcode: Final[int] = opcode
        self.extras: Final[bytes] = extras
        self.key: Final[bytes] = key
        self.value: Final[bytes] = value
        self.vbucket_or_status: Final[int] = vbucket_or_status
        self.data_type: Final[int] = data_type
        self.opaque: Final[int] = opaque
        self.cas: Final[int] = cas

    @property
    def is_request(self) -> bool:
        """Whether the magic byte says request (0x80)."""
        return self.magic == Magic.REQUEST

    @property
    def status(self) -> int:
        """Bytes 6 and 7 read as a response's status, a :class:`Status` where memcached knows it."""
        return STATUSES.get(self.vbucket_or_status, self.vbucket_or_status)
