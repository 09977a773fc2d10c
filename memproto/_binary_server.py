"""The server's half of the binary dialect."""

from __future__ import annotations

from collections.abc import Iterable

from memproto._binary_replies import reply_parts
from memproto._binary_requests import RequestReader
from memproto._layout import OPCODES, OpcodeSpec
from memproto.events import BinaryEnvelope, Envelope
from memproto.limits import Limits
from memproto.messages import AnyReply


class BinaryServer(RequestReader):
    """Reads binary requests and writes their replies."""

    __slots__ = ("_own",)

    def __init__(self, limits: Limits, opcodes: Iterable[OpcodeSpec] = ()) -> None:
        own = tuple(opcodes)
        super().__init__(limits, own)
        self._own = {spec.opcode: spec for spec in own}

    @property
    def midway(self) -> bool:
        """Whether a request has been read in part."""
        return self._swallowing is not None

    def write(self, reply: AnyReply, to: Envelope) -> tuple[bytes, ...]:
        """The bytes that answer a request, in pieces. Raises LocalProtocolError."""
        assert isinstance(to, BinaryEnvelope)
        opcode = to.opcode
        spec = self._own.get(opcode) or OPCODES.get(opcode) or OpcodeSpec(opcode, "UNKNOWN")
        return reply_parts(reply, to, spec)
