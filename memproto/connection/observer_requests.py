"""The client's direction of an observed conversation: requests, and what is skipped between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from memproto.binary._layout import OPCODES, OpcodeSpec
from memproto.binary._packet import HEADER_SIZE, unpack_header
from memproto.binary._server import BinaryServer
from memproto.connection.observer_certainty import Certainty
from memproto.connection.observer_events import SkippedBytes
from memproto.connection.observer_resync import find_message
from memproto.connection.observer_streams import ObservedStream
from memproto.errors import RemoteProtocolError
from memproto.limits import Limits
from memproto.model import Dialect, Envelope, InvalidRequest, Magic, SaslAuth, UnknownLine
from memproto.text._lines import CRLF
from memproto.text._server import TextServer


class ObservedRequests:
    """Reads requests as a server does, and finds the next one where a server would give up."""

    __slots__ = (
        "_auth_required",
        "_awaiting_auth",
        "_certainty",
        "_limits",
        "_opcodes",
        "_reader",
        "binary",
        "specs",
        "stream",
        "sure",
    )

    def __init__(
        self, limits: Limits, opcodes: tuple[OpcodeSpec, ...], auth_required: bool, certainty: Certainty
    ) -> None:
        self.stream: Final[ObservedStream] = ObservedStream(is_client=True)
        self._limits = limits
        self._certainty = certainty
        self._opcodes = opcodes
        self.specs: Final[Mapping[int, OpcodeSpec]] = {**OPCODES, **{spec.opcode: spec for spec in opcodes}}
        # Whether the data of the first ``set`` in text are credentials, and whether those of the next one are.
        self._auth_required = self._awaiting_auth = auth_required
        self._reader: BinaryServer | TextServer | None = None
        #: Whether the requests are binary, as far as is known; and whether a known request was among them.
        self.binary: bool | None = None
        self.sure: bool = False

    def read(self) -> Envelope | SkippedBytes | None:
        """The next request, or what was skipped before it; ``None`` if more bytes are needed."""
        stream = self.stream
        if stream.lost is not None:
            if not find_message(stream, self.binary if self.sure else None, self.specs, self._limits.value):
                return stream.skip_part()
            self._reader = None
            # A login comes first. If it was not seen, it was among these bytes.
            self._awaiting_auth = False
            skipped = stream.skip()
            self._certainty.lose_requests(stream.begin, stream.begin)
            if skipped is not None:
                return skipped
        if not len(stream) and not stream.mid_message:
            return None
        try:
            reader = self._reader or self._new_reader()
            envelope: Envelope | None = reader.read(stream)
        except RemoteProtocolError as fault:
            self._certainty.lose_requests(stream.begin, stream.end)
            stream.lose_message(str(fault))
            return self.read()
        if envelope is not None:
            self._note(envelope)
        return envelope

    def _new_reader(self) -> BinaryServer | TextServer:
        stream = self.stream
        stream.gather(1)
        if not self.sure:
            self.binary = stream.data[stream.at] == Magic.REQUEST
        if self.binary:
            self._reader = BinaryServer(self._limits, self._opcodes)
        else:
            self._reader = TextServer(self._limits, tuple(Dialect))
            self._reader.awaiting_auth = self._awaiting_auth
        return self._reader

    def _note(self, envelope: Envelope) -> None:
        request = envelope.request
        self.sure = self.sure or not isinstance(request, InvalidRequest | UnknownLine)
        if isinstance(request, SaslAuth):
            self._await_auth(False)

    def _await_auth(self, awaiting_auth: bool) -> None:
        self._awaiting_auth = awaiting_auth
        if isinstance(self._reader, TextServer):
            self._reader.awaiting_auth = awaiting_auth

    def refuse_auth(self) -> None:
        """Note that the credentials were wrong."""
        self._await_auth(self._auth_required)

    def lose_bytes(self, size: int) -> None:
        """Go on behind a gap of this size."""
        self.stream.lose_bytes(size)
        self._certainty.lose_requests(self.stream.begin, self.stream.end)

    def fill_gap(self, size: int) -> int:
        """Go on inside a value of which bytes are missing; how many of them are behind it. All else must be read."""
        in_value = self._reader.mid_request if isinstance(self._reader, TextServer) else is_in_value(self.stream)
        return self.stream.fill(size, b"" if self.binary else CRLF, in_value)


def is_in_value(stream: ObservedStream) -> bool:
    """Whether a packet is being received of which no more than the value, or its rest, is missing."""
    if stream.need < HEADER_SIZE or len(stream) < HEADER_SIZE or stream.lost is not None:
        return False
    stream.gather(HEADER_SIZE)
    _, _, key_length, extras_length, _, _, _, _, _ = unpack_header(stream.data, stream.at)
    head: int = HEADER_SIZE + key_length + extras_length
    return len(stream) >= head
