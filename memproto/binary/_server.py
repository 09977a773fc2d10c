"""The server's half of the binary dialect."""

from __future__ import annotations

from collections.abc import Iterable

from memproto.binary._layout import OPCODES, OpcodeSpec
from memproto.binary._replies import reply_parts
from memproto.binary._requests import RequestReader
from memproto.limits import Limits
from memproto.model import AnyReply, BinaryEnvelope, Envelope

# A copy, because a lookup in the read-only view takes longer.
_SPECS = dict(OPCODES)


class BinaryServer(RequestReader):
    """Reads binary requests and writes their replies."""

    __slots__ = ("_specs",)

    def __init__(self, limits: Limits, opcodes: Iterable[OpcodeSpec] = ()) -> None:
        own = tuple(opcodes)
        super().__init__(limits, own)
        self._specs = {**_SPECS, **{spec.opcode: spec for spec in own}} if own else _SPECS

    @property
    def mid_request(self) -> bool:
        """Whether a request has been read in part."""
        return self._swallowing is not None

    def write(self, reply: AnyReply, to: Envelope) -> tuple[bytes, ...]:
        """The bytes that answer a request, in pieces. Raises LocalProtocolError."""
        assert isinstance(to, BinaryEnvelope)
        opcode = to.opcode
        return reply_parts(reply, to, self._specs.get(opcode) or OpcodeSpec(opcode, "UNKNOWN"))
